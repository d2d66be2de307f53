"""config.json and vocab.txt -> DNABERT (3- to 6-mers): a plain BERT over overlapping k-mers.

Ji et al., Bioinformatics 37:2112 (2021). Its ``tokenizer_config.json`` asks for lower case, with
which every k-mer would be unknown; the authors' own program does not, and neither does this one:
k-mers are looked up as they are.
"""

from itertools import product
from pathlib import Path

from ntvep.description import Description
from ntvep.errors import ModelError
from ntvep.models import bert
from ntvep.models.family import Config, Family, Shapes
from ntvep.models.tokenizer_files import check_ids, file_sha256, read_vocabulary_lines
from ntvep.tokenizers.overlapping import overlapping_tokenizer

TITLE = "DNABERT"
_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_K_OF_VOCABULARY = {4**k + len(_SPECIALS): k for k in (3, 4, 5, 6)}


def vocabulary(k: int) -> tuple[str, ...]:
    """The tokens of the authors' vocab.txt: five specials, then k-mers in the order A, T, C, G."""
    return (*_SPECIALS, *map("".join, product("ATCG", repeat=k)))


def _recognises(config: Config) -> bool:
    return (
        config.get("model_type") == "bert"
        and config.get("vocab_size") in _K_OF_VOCABULARY
        and not {"pre_layer_norm", "alibi_starting_size", "rope_theta"} & config.keys()
    )


def _describe(folder: Path, config: Config) -> Description:
    design = bert.read_design(config, TITLE, folder / "config.json")
    k = _K_OF_VOCABULARY[design.vocab_size]
    path = folder / "vocab.txt"
    tokens = read_vocabulary_lines(path)
    check_ids(path, tokens, design.vocab_size)
    expected = vocabulary(k)
    if tokens != expected:
        first = next((i for i, t in enumerate(tokens) if t != expected[i]), len(tokens))
        raise ModelError(
            f"{path}: line {first + 1} is {(*tokens, '')[first]!r:.20}, expected "
            f"{expected[first]!r}: the five special tokens and then all {k}-mers in the order A, "
            "T, C, G, as published; the ids would not be those of training. Fetch the model again "
            "with: ntvep model fetch ID"
        )
    bases = design.max_tokens - 2 + k - 1
    return Description(
        family="dnabert",
        objective="masked",
        tokenizer=overlapping_tokenizer(tokens, k),
        vocabulary_sha256=file_sha256(path),
        layers=design.layers,
        max_tokens=design.max_tokens,
        default_bases=bases,
        trained_bases=bases,
    )


def _build(config: Config, shapes: Shapes) -> bert.Bert:
    bert.refuse_other_kinds(shapes, TITLE)
    return bert.Bert(bert.read_design(config, TITLE))


DNABERT = Family(
    name="dnabert",
    title="DNABERT (3- to 6-mers)",
    models=tuple(f"zhihan1996/DNA_bert_{k}" for k in (3, 4, 5, 6)),
    objective="masked",
    tokens="overlapping k-mers",
    window="509 + k",
    licence="unverified (code: Apache-2.0)",
    authors=(
        "no zero-shot score: they compare predictions of a fine-tuned classifier. llr of an SNV is "
        "the mean over the k masked tokens that hold the base; a sum over them is k times as much"
    ),
    recognises=_recognises,
    describe=_describe,
    build=_build,
    tensors=bert.tensors,
)
