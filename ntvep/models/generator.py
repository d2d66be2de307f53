"""config.json -> GENERator: 6-mers after ``<s>``, through transformers' Llama.

Its tokenizer cuts 6-mers from the left and never restarts: a 6-mer with a letter other than A,
C, G, T is one ``<oov>``, and so is a rest of fewer than six bases (GenerTeam/GENERator,
tokenizer.py).
"""

import hashlib
from pathlib import Path

from ntvep.description import Description
from ntvep.errors import ModelError
from ntvep.models.family import Config, Family
from ntvep.models.native import most_tokens, native_config, native_tensors
from ntvep.models.stock import build
from ntvep.models.stock_tokenizer import read_vocabulary
from ntvep.tokenizers.kmer import WholeKmers, kmers, lookup, whole_kmer_tokenizer

_K = 6
_VOCABULARY = 32 + 4**_K
# Left context in its authors' evaluation: 8,192 bases, cut to whole tokens with <s> before them.
_BASES = 8_190
_FETCH = "fetch the model again with: ntvep model fetch GenerTeam/GENERator-v2-eukaryote-1.2b-base"


def _recognises(config: Config) -> bool:
    return config.get("model_type") == "llama" and config.get("vocab_size") == _VOCABULARY


def _tokenizer(path: Path) -> WholeKmers:
    tokens = read_vocabulary(path)
    if len(tokens) != _VOCABULARY:
        raise ModelError(
            f"{path}: {len(tokens)} tokens, but the model has {_VOCABULARY}; the folder mixes two "
            f"checkpoints; {_FETCH}"
        )
    spelled = kmers(_K)
    try:
        # By string: their order, ATCG, is not the alphabet's.
        ids = lookup(tokens, (*spelled, "<oov>", "<s>"))
    except ValueError as error:
        raise ModelError(
            f"{path}: {error}; expected the 4,096 six-mers, <oov> and <s>, each once; {_FETCH}"
        ) from error
    return whole_kmer_tokenizer(
        [ids[kmer] for kmer in spelled], ids["<oov>"], len(tokens), k=_K, front=(ids["<s>"],)
    )


def _describe(folder: Path, config: Config) -> Description:
    native = native_config(config)
    path = folder / "vocab.txt"
    tokenizer = _tokenizer(path)
    if config.get("bos_token_id") not in (None, *tokenizer.front):
        raise ModelError(
            f"{path}: <s> is token {tokenizer.front[0]}, but config.json says bos_token_id "
            f"{config['bos_token_id']!r:.20}; the folder mixes two checkpoints; "
            f"{_FETCH}"
        )
    return describe_kmers(
        "generator",
        tokenizer,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        native.num_hidden_layers,
        most_tokens(config) or 0,
    )


def describe_kmers(
    family: str, tokenizer: WholeKmers, vocabulary_sha256: str, layers: int, limit: int
) -> Description:
    """What a causal model of 6-mers says of itself."""
    bases = (limit - len(tokenizer.front)) * tokenizer.k
    if bases <= 0:
        raise ModelError(
            f"config.json: max_position_embeddings is {limit}, which leaves no room for bases; "
            f"{_FETCH}"
        )
    return Description(
        family=family,
        objective="causal",
        tokenizer=tokenizer,
        vocabulary_sha256=vocabulary_sha256,
        layers=layers,
        max_tokens=limit,
        default_bases=min(_BASES, bases),
        trained_bases=bases,
        step=tokenizer.k,
    )


GENERATOR = Family(
    name="generator",
    title="GENERator",
    models=(
        "GenerTeam/GENERator-eukaryote-1.2b-base",
        "GenerTeam/GENERator-eukaryote-3b-base",
        "GenerTeam/GENERator-v2-eukaryote-1.2b-base",
        "GenerTeam/GENERator-v2-eukaryote-3b-base",
        "GenerTeam/GENERator-v2-prokaryote-1.2b-base",
        "GenerTeam/GENERator-v2-prokaryote-3b-base",
    ),
    objective="causal",
    tokens="6-mers",
    window="8,190",
    licence="MIT",
    authors=(
        "theirs is -llr_marginal of the forward strand where the variant is the first base of its "
        "6-mer, given 8,192 bases to its left"
    ),
    recognises=_recognises,
    describe=_describe,
    build=build,
    tensors=native_tensors,
)
