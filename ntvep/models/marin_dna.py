"""config.json -> MarinDNA (bolinas-dna): single bases after a BOS, through transformers' Qwen3."""

from pathlib import Path

from ntvep.description import Description
from ntvep.errors import ModelError
from ntvep.models.family import Config, Family
from ntvep.models.native import most_tokens, native_config, native_tensors
from ntvep.models.stock import build
from ntvep.models.stock_tokenizer import read_tokenizer

# The file of the published models: everything but these letters, lower-cased, is [UNK].
_VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "[BOS]": 2, "a": 3, "c": 4, "g": 5, "t": 6}


def _recognises(config: Config) -> bool:
    return config.get("model_type") == "qwen3" and config.get("vocab_size") == len(_VOCABULARY)


def _describe(folder: Path, config: Config) -> Description:
    native = native_config(config)
    limit = most_tokens(config)
    found = read_tokenizer(folder, native.vocab_size, masked=False)
    if dict(found.ids) != _VOCABULARY or found.tokenizer.front != (2,) or found.tokenizer.back:
        vocabulary = dict(sorted(found.ids.items(), key=lambda item: item[1]))
        raise ModelError(
            f"{folder / 'tokenizer.json'}: the vocabulary is {vocabulary!r:.120} "
            f"with {found.tokenizer.front} before and {found.tokenizer.back} after a sequence; "
            f"expected {_VOCABULARY!r} with (2,) before it, as MarinDNA has it. Fetch the model "
            "again with: ntvep model fetch marin-dna/marin-dna-exp135-m5.1"
        )
    if limit is None or limit < 2:
        raise ModelError(
            f"{folder / 'config.json'}: max_position_embeddings is {limit}; fetch the model again"
        )
    # Rotary positions would go on, but windows longer than the trained ones score far worse.
    bases = limit - len(found.tokenizer.front)
    return Description(
        family="marin-dna",
        objective="causal",
        tokenizer=found.tokenizer,
        vocabulary_sha256=found.sha256,
        layers=native.num_hidden_layers,
        max_tokens=limit,
        default_bases=bases,
        trained_bases=bases,
    )


MARIN_DNA = Family(
    name="marin-dna",
    title="MarinDNA",
    models=("marin-dna/marin-dna-exp135-m5.1", "marin-dna/exp166-p1B-step-16398"),
    objective="causal",
    tokens="bases",
    window="255",
    licence="Apache-2.0",
    authors=(
        "with --softmax acgt llr is their LLR, a sum from the variant on, mean of both strands; "
        "they rank Mendelian variants by -llr and those of complex traits by its absolute value"
    ),
    recognises=_recognises,
    describe=_describe,
    build=build,
    tensors=native_tensors,
)
