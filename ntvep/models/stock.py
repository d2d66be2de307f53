"""config.json -> any masked or causal language model that transformers has, without remote code.

What no other family of ntvep claims first is loaded here: through transformers' own class of its
``model_type``, with the tokenizer that the folder holds. Neither is taken on trust: every tensor is
used or known, the tokenizer is tried out when it is read, and the weights are probed before the
first answer (:mod:`ntvep.models.probes`).
"""

from pathlib import Path

from ntvep.description import Description
from ntvep.errors import ModelError
from ntvep.models.family import Config, Family, Shapes
from ntvep.models.folder import parse_json, read_text
from ntvep.models.native import (
    Native,
    is_native,
    most_tokens,
    native_config,
    native_tensors,
    objective_of,
)
from ntvep.models.stock_tokenizer import TokenizerFile, read_tokenizer

# The longest window that is chosen without being asked for.
_MOST_BASES = 8_192
# Of models without positions of their own (Mamba) whose tokenizer names no longest input either.
_UNBOUNDED = 8_192


def _describe(folder: Path, config: Config) -> Description:
    objective = objective_of(config)
    native = native_config(config)
    found = read_tokenizer(folder, native.vocab_size, masked=objective == "masked")
    limit = most_tokens(config) or _UNBOUNDED
    step, bases = _window(folder, found, min(limit, _trained(folder) or limit))
    return Description(
        family="stock",
        objective=objective,
        tokenizer=found.tokenizer,
        vocabulary_sha256=found.sha256,
        layers=native.num_hidden_layers,
        max_tokens=limit,
        default_bases=min(bases, _MOST_BASES // step * step),
        trained_bases=bases,
        step=step,
    )


def _window(folder: Path, found: TokenizerFile, limit: int) -> tuple[int, int]:
    """The step of windows, and the bases that an input of a given number of tokens holds."""
    tokenizer = found.tokenizer
    tokens = limit - len(tokenizer.front) - len(tokenizer.back)
    if tokens < 2:
        raise ModelError(
            f"{folder}: inputs of {limit} tokens at most leave no room for bases between "
            "special tokens; fetch the model again with: ntvep model fetch ID"
        )
    step = tokenizer.stride
    return step, int(tokens * found.bases_per_token) // step * step


def _trained(folder: Path) -> int | None:
    """The longest input that the tokenizer names, special tokens included."""
    path = folder / "tokenizer_config.json"
    settings = parse_json(path, read_text(path)) if path.exists() else {}
    named = settings.get("model_max_length") if isinstance(settings, dict) else None
    # Without a limit it is a number of thirty digits.
    return named if type(named) is int and 0 < named < 1 << 24 else None


def build(config: Config, shapes: Shapes) -> Native:
    """The network of a stock model; see :class:`ntvep.models.family.Family`."""
    return Native(config, shapes, most_tokens(config) or _UNBOUNDED)


STOCK = Family(
    name="stock",
    title="stock transformers",
    # None of them has been run here: these are in the layouts that are tested.
    models=("zhangtaolab/plant-dnamamba-singlebase", "RaphaelMourad/Mistral-DNA-v1-17M-hg38"),
    objective="masked or causal",
    tokens="bases, k-mers or byte pairs",
    window="the longest trained, at most 8,192",
    licence="unverified: see the model's page",
    authors=(
        "not known to ntvep, which has not validated this model; many print a mean over tokens "
        "where llr is a sum"
    ),
    recognises=is_native,
    describe=_describe,
    build=build,
    tensors=native_tensors,
)
