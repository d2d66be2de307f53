"""names in a repository or folder -> the files of a model, recognised by their names only."""

import re
from collections.abc import Collection, Iterable
from itertools import count

from ntvep.errors import some

# What every family may read, and what says whose work it is.
_TEXTS = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "README.md",
    "LICENSE",
)
# The weights are the first of these that there is. No name holds a slash: a listing from elsewhere
# must not choose where we write.
_NAME = r"(?!adapter_|optimizer|scheduler|scaler)[\w.-]+"
_WEIGHTS = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"model\.safetensors",
        r"model-(?P<shard>\d+)-of-(?P<shards>\d+)\.safetensors",
        rf"{_NAME}\.safetensors",
        r"pytorch_model\.bin",
        r"pytorch_model-(?P<shard>\d+)-of-(?P<shards>\d+)\.bin",
        rf"{_NAME}\.ckpt",
        rf"{_NAME}\.pt",
        rf"(?P<joined>{_NAME}\.pt)\.part(?P<part>\d+)",
    )
)
INDEXES = {
    ".safetensors": "model.safetensors.index.json",
    ".bin": "pytorch_model.bin.index.json",
}
_PICKLE = re.compile(r".*\.(bin|ckpt|pt|pt\.part\d+)")
_PART = re.compile(r".*\.pt\.part\d+")
# Weights of other programs: named where there are no others.
_FOREIGN = re.compile(r".*\.(h5|msgpack|onnx|gguf|ggml|pth|npz|mlmodel|tflite|pkl)")


def wanted_files(names: Iterable[str]) -> list[str]:
    """The files that are needed, small ones first, ``config.json`` before all.

    Weights are safetensors where there are any; else ``pytorch_model*.bin``, one ``.ckpt`` or one
    ``.pt``, whole or in parts (``.pt.part0``, ``.pt.part1``). Code and weights of other programs
    are never among them. Whether a tokenizer's file is needed, only the family knows: those that
    there are, are wanted.

    Args:
        names: paths below the repository or folder.

    Raises:
        ValueError: no config.json, no weights, a shard or part is missing, or it is not said
            which of several weights are meant. The message goes on after the repository's name.
    """
    there = set(names)
    lacking = [] if "config.json" in there else ["config.json"]
    if not (weights := _weights(there)):
        lacking.append("weights")
    if lacking:
        others = sorted(name for name in there if _FOREIGN.fullmatch(name))
        raise ValueError(
            f"lacks {' and '.join(lacking)}; expected config.json with safetensors, "
            "pytorch_model.bin, one .ckpt or one .pt"
            + (f", found {some(others)}, which ntvep does not read" if others else "")
        )
    suffix = "." + weights[0].rpartition(".")[2]
    index = [INDEXES[suffix]] if len(weights) > 1 and suffix in INDEXES else []
    return [*(name for name in (*_TEXTS, *index) if name in there), *weights]


def is_pickle(name: str) -> bool:
    """Whether these weights, or this part of them, must be converted before they are read."""
    return _PICKLE.fullmatch(name) is not None


def is_part(name: str) -> bool:
    """Whether this is a piece of a pickle that was cut; the pieces are one file, joined."""
    return _PART.fullmatch(name) is not None


def _weights(there: Collection[str]) -> list[str]:
    for kind in _WEIGHTS:
        if found := [match for name in there if (match := kind.fullmatch(name))]:
            return _whole(found)
    return []


def _whole(found: list[re.Match[str]]) -> list[str]:
    """The names of one model's weights in their order.

    Raises:
        ValueError: they are not those of one model, or not all of them.
    """
    groups = found[0].re.groupindex
    number = next((group for group in ("shard", "part") if group in groups), None)
    model = "shards" if number == "shard" else "joined" if number == "part" else 0
    names = sorted(match[0] for match in found)
    if len({match[model] for match in found}) > 1:
        raise ValueError(f"has weights of several models ({some(names)}); expected those of one")
    if number is None:
        return names
    by_number = {int(match[number]): match[0] for match in found}
    first = 1 if number == "shard" else 0
    # Nothing is counted up to a number that the listing states: it may be any.
    lacking = next(i for i in count(first) if i not in by_number)
    expected = int(found[0]["shards"]) if number == "shard" else max(by_number) + 1
    if not lacking - first == len(names) == expected:
        raise ValueError(
            f"lacks some of its weights: found {some(names)}, expected number {lacking} "
            "too, and each once"
        )
    return [by_number[i] for i in sorted(by_number)]
