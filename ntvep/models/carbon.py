"""config.json -> Carbon: 6-mers after ``<dna>`` in a vocabulary of words, through Llama.

The first ids are those of a tokenizer of text (Qwen's), which ntvep does not need and the authors'
code would fetch; then come ``<dna>``, ``</dna>``, ``<oov>`` and the 6-mers in the order of A, T, C,
G. The same strings are words of the text's tokenizer too, so ids are computed, never looked up; the
files of the folder that name special tokens have to agree. As GENERator's, tokens never restart.
"""

import hashlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from ntvep.description import Description
from ntvep.errors import ModelError
from ntvep.models.family import Config, Family
from ntvep.models.folder import parse_json, read_text
from ntvep.models.generator import describe_kmers
from ntvep.models.native import most_tokens, native_config, native_tensors
from ntvep.models.stock import build
from ntvep.tokenizers.kmer import WholeKmers, kmers, whole_kmer_tokenizer

_K = 6
_WORDS = 151_669
_SPECIAL = {"<dna>": _WORDS, "</dna>": _WORDS + 1, "<oov>": _WORDS + 2}
_FIRST = _WORDS + len(_SPECIAL)
# The ids, padded to a multiple of 64.
_WIDTH = 155_776
_FETCH = "fetch the model again with: ntvep model fetch HuggingFaceBio/Carbon-500M"


def _recognises(config: Config) -> bool:
    return config.get("model_type") == "llama" and config.get("vocab_size") == _WIDTH


def carbon_tokenizer() -> WholeKmers:
    """The tokenizer of DNA that every published Carbon has."""
    place = {"".join(kmer): i for i, kmer in enumerate(product("ATCG", repeat=_K))}
    return whole_kmer_tokenizer(
        [_FIRST + place[kmer] for kmer in kmers(_K)],
        _SPECIAL["<oov>"],
        _WIDTH,
        k=_K,
        front=(_SPECIAL["<dna>"],),
    )


def _named(folder: Path) -> Iterator[tuple[Path, str, Any]]:
    """Special tokens of DNA and their ids, from any file of the folder that names them."""
    for name in ("tokenizer_config.json", "added_tokens.json", "vocab.json", "tokenizer.json"):
        path = folder / name
        if not path.exists():
            continue
        read = parse_json(path, read_text(path))
        if not isinstance(read, dict):
            raise ModelError(f"{path}: expected a JSON object; {_FETCH}")
        yield from ((path, token, number) for token, number in _listed(read) if token in _SPECIAL)


def _listed(read: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Tokens and ids, in the layout of the file that it is read from."""
    if isinstance(tokens := read.get("added_tokens_decoder"), dict):
        return [(token.get("content"), i) for i, token in tokens.items() if isinstance(token, dict)]
    if isinstance(tokens := read.get("added_tokens"), list):
        return [
            (token.get("content"), token.get("id")) for token in tokens if isinstance(token, dict)
        ]
    return list(read.items())


def _describe(folder: Path, config: Config) -> Description:
    native = native_config(config)
    for path, token, number in _named(folder):
        if str(number) != str(_SPECIAL[token]):
            raise ModelError(
                f"{path}: {token} is token {number!r:.20}, expected {_SPECIAL[token]}: the 6-mers "
                f"of this checkpoint are not where those of Carbon are; {_FETCH}"
            )
    if config.get("k", _K) != _K:
        raise ModelError(
            f"{folder / 'config.json'}: k is {config['k']!r:.20}, expected {_K}; {_FETCH}"
        )
    tokenizer = carbon_tokenizer()
    # No file of the folder lists the 6-mers.
    listed = "\n".join(f"{kmer} {i}" for kmer, i in zip(kmers(_K), tokenizer.id_of, strict=True))
    digest = hashlib.sha256(listed.encode()).hexdigest()
    return describe_kmers(
        "carbon", tokenizer, digest, native.num_hidden_layers, most_tokens(config) or 0
    )


CARBON = Family(
    name="carbon",
    title="Carbon",
    models=(
        "HuggingFaceBio/Carbon-500M",
        "HuggingFaceBio/Carbon-3B",
        "HuggingFaceBio/Carbon-8B",
    ),
    objective="causal",
    tokens="6-mers",
    window="8,190",
    licence="Apache-2.0",
    authors=(
        "theirs is llr / (number of 6-mers), forward strand, in bfloat16; for ClinVar it is "
        "-llr_marginal where the variant is the first base of its 6-mer, given 24,000 bases to its "
        "left"
    ),
    recognises=_recognises,
    describe=_describe,
    build=build,
    tensors=native_tensors,
)
