"""config.json and tokenizer.json -> MutBERT: a BERT with rotary positions over single bases.

Long et al., bioRxiv 2025.01.23.634452. Its own class takes a probability for each letter in place
of an id; a letter that is certain is an id, and that is what is scored here.
"""

from pathlib import Path

from ntvep.description import Description
from ntvep.models import bert
from ntvep.models.family import Config, Family, Shapes
from ntvep.models.tokenizer_files import check_ids, check_spelling, read_tokenizer_json
from ntvep.tokenizers.base import base_tokenizer

TITLE = "MutBERT"
# Of tokenizer.json. The vocab.txt beside it has another order, which was not that of training.
_TOKENS = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "A", "C", "G", "T")


def _recognises(config: Config) -> bool:
    return config.get("model_type") == "bert" and (
        "RoPEBertForMaskedLM" in (config.get("architectures") or ()) or "rope_theta" in config
    )


def _design(config: Config, path: Path = Path("config.json")) -> bert.Design:
    return bert.read_design(config, TITLE, path, rotary=True)


def _describe(folder: Path, config: Config) -> Description:
    design = _design(config, folder / "config.json")
    file = read_tokenizer_json(folder / "tokenizer.json")
    check_ids(file.path, file.tokens, design.vocab_size)
    check_spelling(file.path, file.tokens, dict(enumerate(_TOKENS)))
    ids = {token: number for number, token in enumerate(_TOKENS)}
    bases = design.max_tokens - len(file.front) - len(file.back)
    return Description(
        family="mutbert",
        objective="masked",
        tokenizer=base_tokenizer(
            ids | {"N": ids["[UNK]"]},
            design.vocab_size,
            mask=ids["[MASK]"],
            front=file.front,
            back=file.back,
        ),
        vocabulary_sha256=file.sha256,
        layers=design.layers,
        max_tokens=design.max_tokens,
        default_bases=bases,
        trained_bases=bases,
    )


def _build(config: Config, shapes: Shapes) -> bert.Bert:
    bert.refuse_other_kinds(shapes, TITLE)
    return bert.Bert(_design(config))


MUTBERT = Family(
    name="mutbert",
    title="MutBERT",
    models=tuple(f"JadenLong/MutBERT{kind}" for kind in ("", "-Human-Ref", "-Multi")),
    objective="masked",
    tokens="bases",
    window="510",
    licence="unverified",
    authors="no zero-shot score was found that llr could be compared with: they fine-tune",
    recognises=_recognises,
    describe=_describe,
    build=_build,
    tensors=bert.tensors,
)
