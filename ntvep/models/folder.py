"""checkpoint folder -> its files: config.json and texts, bounded; tensors, from safetensors."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ntvep.errors import ModelError, some
from ntvep.files import digest
from ntvep.models.family import Config, Shapes, TensorMap
from ntvep.models.layout import is_pickle, wanted_files

_FLOATS = ("F16", "BF16", "F32", "F64")
# Far beyond every published file: what is larger is damaged or hostile.
_LONGEST_TEXT = 16 << 20


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder.

    Raises:
        ModelError: there is none; pickles are never read here.
    """
    if files := sorted(folder.glob("*.safetensors")):
        return files
    try:
        pickles = [n for n in wanted_files(p.name for p in folder.iterdir()) if is_pickle(n)]
    except ValueError:
        pickles = []
    if pickles:
        raise ModelError(
            f"{folder}: only {some(pickles, 3)}, a pickle; ntvep reads weights from safetensors "
            f"only. Convert it once with: ntvep model fetch {folder}"
        )
    raise ModelError(
        f"{folder}: no *.safetensors file; fetch the model again with: ntvep model fetch ID"
    )


def weights_sha256(files: Iterable[Path]) -> str:
    """sha256 of one weights file; of several shards, the sha256 of their hex digests in order."""
    digests = [digest(path) for path in files]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Parse config.json.

    Raises:
        ModelError: it is missing, or no JSON object.
    """
    path = folder / "config.json"
    text = read_text(
        path,
        "; expected a checkpoint folder in Hugging Face layout (config.json, tokenizer files, "
        "model.safetensors). Get one with: ntvep model fetch "
        "InstaDeepAI/nucleotide-transformer-500m-human-ref",
    )
    config = parse_json(path, text)
    if not isinstance(config, dict):
        raise ModelError(f"{path}: expected a JSON object")
    return config


def parse_json(path: Path, text: str) -> Any:
    """JSON of a small file.

    Raises:
        ModelError: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not valid JSON ({error}); fetch the model again") from error


def read_text(
    path: Path, without: str = "; fetch the model again with: ntvep model fetch ID"
) -> str:
    """A small text file; ``without`` ends the sentence that it is missing.

    Raises:
        ModelError: it is missing, too large, or no text.
    """
    if not path.exists():
        raise ModelError(f"{path.parent}: no {path.name}{without}")
    try:
        # Before it is opened: a pipe would keep us waiting.
        if not path.is_file():
            raise ModelError(f"{path}: cannot be read (it is not a file)")
        if (size := path.stat().st_size) > _LONGEST_TEXT:
            raise ModelError(
                f"{path}: {size} bytes, expected no more than {_LONGEST_TEXT}; fetch the model "
                "again"
            )
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not a text file ({error}); fetch the model again") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def checked_numbers(config: Config, bounds: Mapping[str, tuple[int, int]]) -> None:
    """Refuse numbers of a config.json that no model has: they decide how much memory is asked for.

    Args:
        config: the parsed file.
        bounds: fewest and most, by key.

    Raises:
        KeyError: a key is missing.
        ValueError: a number is none, or out of bounds.
    """
    for key, (fewest, most) in bounds.items():
        # A bool is an int for Python.
        if type(config[key]) is not int or not fewest <= config[key] <= most:
            raise ValueError(
                f"{key} is {config[key]!r:.40}, expected a number from {fewest} to {most}"
            )


def checked_flags(config: Config, keys: Iterable[str]) -> None:
    """Refuse flags that are neither true, false nor absent.

    Raises:
        ValueError: one is something else.
    """
    for key in keys:
        if config.get(key) not in (None, True, False):
            raise ValueError(f"{key} is {config[key]!r:.40}, expected true or false")


def read_shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor.

    Raises:
        ModelError: a file is damaged, or a name occurs in two files.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        if not path.is_file():
            raise ModelError(f"{path}: it is not a file; fetch the model again")
        try:
            with safe_open(path, "pt") as handle:
                for key in handle.keys():  # noqa: SIM118 (not a dict)
                    if key in shapes:
                        raise ModelError(
                            f"{path}: {key} is in another *.safetensors file of the folder too; "
                            "expected the weights of one model"
                        )
                    shapes[key] = tuple(handle.get_slice(key).get_shape())
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{path}: not a whole safetensors file ({error}); fetch the model again"
            ) from error
    return shapes


def read_published_state(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint under its published name, in float32."""
    state: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as handle:
            state |= {key: handle.get_tensor(key).float() for key in handle.keys()}  # noqa: SIM118
    return state


def _sources(name: str, tensors: TensorMap, shapes: Shapes) -> tuple[str, ...]:
    """The published tensors that one of our parameters is read from in this checkpoint."""
    return tuple(
        key if key in shapes else tensors.tied.get(key, key) for key in tensors.published(name)
    )


def check_tensors(
    folder: Path, title: str, module: nn.Module, tensors: TensorMap, shapes: Shapes
) -> None:
    """Every tensor is used or known to be ignored, every needed one is there in its shape.

    Raises:
        ModelError: otherwise.
    """
    expected: dict[str, tuple[int, ...]] = {}
    for name, tensor in module.state_dict().items():
        keys = _sources(name, tensors, shapes)
        shape = (tensor.shape[0] // len(keys), *tensor.shape[1:]) if tensor.ndim else ()
        expected |= dict.fromkeys(keys, shape)
    missing = sorted(expected.keys() - shapes.keys())
    extra = sorted(
        key
        for key in shapes.keys() - expected.keys()
        if not any(pattern.fullmatch(key) for pattern in tensors.ignored)
    )
    wrong = sorted(key for key in expected.keys() & shapes.keys() if expected[key] != shapes[key])
    problems = [
        f"{len(keys)} {what} weights (first: {keys[0]})"
        for what, keys in (("missing", missing), ("unexpected", extra))
        if keys
    ]
    problems += [
        f"{key} has shape {shapes[key]}, config.json says {expected[key]}" for key in wrong[:1]
    ]
    if problems:
        raise ModelError(
            f"{folder}: weights and config.json do not describe the same {title} model: "
            f"{'; '.join(problems)}"
        )


def read_state(
    folder: Path, files: Iterable[Path], module: nn.Module, tensors: TensorMap
) -> dict[str, Tensor]:
    """The weights of a network, under our names, in float32.

    Raises:
        ModelError: a tensor is not of a floating-point type, or holds NaN or infinity.
    """
    files = list(files)
    shapes = read_shapes(files)
    wanted = {name: _sources(name, tensors, shapes) for name in module.state_dict()}
    needed = {key for keys in wanted.values() for key in keys}
    published: dict[str, Tensor] = {}
    for path in files:
        with safe_open(path, "pt") as handle:
            for key in needed.intersection(handle.keys()):
                if (dtype := handle.get_slice(key).get_dtype()) not in _FLOATS:
                    raise ModelError(f"{path}: {key} has type {dtype}, expected one of {_FLOATS}")
                published[key] = handle.get_tensor(key).float()
    for key, tensor in published.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{folder}: {key} holds NaN or infinity; the weights are damaged")
    return {name: _joined([published[key] for key in keys]) for name, keys in wanted.items()}


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]
