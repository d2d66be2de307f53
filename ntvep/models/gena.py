"""config.json and tokenizer.json -> GENA-LM: a BERT that norms first, over byte-pair tokens.

Fishman et al., Nucleic Acids Research 53:gkae1310 (2025). Some checkpoints have a norm after the
last layer (large-t2t, lastln-t2t), others have none: ``last_layer_norm`` of config.json says which,
and its absence means that there is one. The published class is remote code under the name BERT.
"""

from pathlib import Path

from ntvep.description import Description
from ntvep.models import bert
from ntvep.models.family import Config, Family, Shapes, TensorMap
from ntvep.models.tokenizer_files import check_spelling, read_byte_pairs

TITLE = "GENA-LM"
SPECIALS = dict(enumerate(("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")))
# The authors' "512 tokens, 4,500 bp". Human DNA has 6.6 bases a token (measured on parts of
# chromosomes 22 and X), so 3,000 bases nearly always fit.
_TRAINED, _DEFAULT = 4_500, 3_000


def _recognises(config: Config) -> bool:
    return config.get("model_type") == "bert" and "pre_layer_norm" in config


def _design(config: Config, path: Path = Path("config.json")) -> bert.Design:
    with bert.reading(path, TITLE):
        bert.expect(config, {"pre_layer_norm": True})
        last = config.get("last_layer_norm", True)
        if not isinstance(last, bool):
            raise ValueError(f"last_layer_norm is {last!r:.40}, expected true or false")
    return bert.read_design(config, TITLE, path, norm_first=True, final_norm=last)


def _describe(folder: Path, config: Config) -> Description:
    design = _design(config, folder / "config.json")
    file, tokenizer = read_byte_pairs(folder / "tokenizer.json", design.vocab_size)
    check_spelling(file.path, file.tokens, SPECIALS)
    return Description(
        family="gena",
        objective="masked",
        tokenizer=tokenizer,
        vocabulary_sha256=file.sha256,
        layers=design.layers,
        max_tokens=design.max_tokens,
        default_bases=_DEFAULT,
        trained_bases=_TRAINED,
    )


def _build(config: Config, shapes: Shapes) -> bert.Bert:
    bert.refuse_other_kinds(shapes, TITLE, own="pre_attention_ln")
    return bert.Bert(_design(config))


def _tensors(config: Config, shapes: Shapes) -> TensorMap:
    return bert.tensors(config, shapes, norm_first=True)


GENA = Family(
    name="gena",
    title="GENA-LM (without sparse attention)",
    models=tuple(
        f"AIRI-Institute/gena-lm-bert-{name}"
        for name in (
            "base",
            "base-t2t",
            "base-lastln-t2t",
            "base-t2t-multi",
            "large-t2t",
            "base-yeast",
            "base-fly",
            "base-athaliana",
        )
    ),
    objective="masked",
    tokens="byte pairs",
    window="3,000",
    licence="unverified (code and tokenizers: MIT)",
    authors=(
        "no zero-shot score: they fine-tune. DART-Eval's likelihood masks every token in turn, "
        "which is neither llr (only changed tokens masked) nor pll_delta (none masked)"
    ),
    recognises=_recognises,
    describe=_describe,
    build=_build,
    tensors=_tensors,
)
