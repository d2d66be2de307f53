"""pickles of weights -> one safetensors file: the only room that unpickles, in its own process."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ntvep.errors import ModelError, some
from ntvep.models.layout import is_part

if TYPE_CHECKING:
    from torch import Tensor

# What Transformer Engine keeps of a layer's scaling for FP8, in Evo 2's files: no weights.
_DROPPED = re.compile(r"(.+\.)?_extra_state")
# What PyTorch Lightning writes beside ``state_dict`` in a .ckpt.
_LIGHTNING = frozenset(
    ("state_dict", "epoch", "global_step", "pytorch-lightning_version", "loops", "callbacks",
     "optimizer_states", "lr_schedulers", "hparams_name", "hparams_type", "hyper_parameters")
)  # fmt: skip
# Names that share memory make a file larger than its pickle was, and a hostile one as large as
# it pleases. Published models have at most two names for one tensor.
_MOST_GROWTH = 4
_SMALL_BYTES = 1 << 20
_LOGIN = ("HF_", "HUGGING")


class ConversionStoppedError(ModelError):
    """The process that converts ended without a word: what is wrong need not be the pickle."""


def convert_apart(pickles: Sequence[Path], output: Path) -> None:
    """Convert in a process of its own, which gets no login and whose memory ends with it.

    Args:
        pickles: shards of one state dictionary, or the parts of one pickle in their order.
        output: the safetensors file; nothing half-written is to be taken for it, so let it lie
            where nobody looks. A joined pickle lies beside it meanwhile.

    Raises:
        ModelError: they hold more than named weights, or are damaged.
        ConversionStoppedError: the process was killed, most likely for its memory.
        OSError: it cannot be written.
    """
    paths = map(str, (*pickles, output))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(_LOGIN)}
    done = subprocess.run(
        # -P: a file in the folder we were called from is not taken for one of our modules.
        [sys.executable, "-P", "-m", __name__, *paths],
        env=environment | {"CUDA_VISIBLE_DEVICES": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode == 0:
        return
    # Text, and no pickle: what comes of that process is believed no more than what went into it.
    said = done.stdout.strip().rpartition("\n")[2]
    if done.returncode == _REFUSED and said:
        raise ModelError(json.loads(said))
    if done.returncode == _UNWRITTEN and said:
        number, text = json.loads(said)
        raise OSError(number, text)
    size = sum(path.stat().st_size for path in pickles)
    raise ConversionStoppedError(
        f"{pickles[0]}: converting it ended by {_how(done.returncode)} "
        f"({_last_line(done.stderr)}); it needs up to {2 * size / 1e9:.1f} GB of memory. Type the "
        "command again on a machine with that much free memory; what was downloaded is kept"
    )


def convert(pickles: Sequence[Path], output: Path) -> None:
    """Convert in this process; see :func:`convert_apart`.

    Only tensors under their names are taken: ``torch.load(weights_only=True)`` runs no code of a
    pickle. Entries named ``_extra_state`` are dropped. Names that share memory become tensors of
    their own, as safetensors has it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    joined = output.with_name(f"{output.name}.joined")
    try:
        if is_part(pickles[0].name):
            _join(pickles, joined)
            state = _unpickle(joined, called=pickles[0])
        else:
            state = {}
            for path in pickles:
                part = _unpickle(path, called=path)
                if double := sorted(state.keys() & part.keys()):
                    raise ModelError(f"{path}: {some(double, 1)} is in another shard too")
                state |= part
        _refuse_growth(pickles, state.values())
        save_file(_apart(state), output, metadata={"format": "pt"})
    except SafetensorError as error:
        # That is how it says that a disk is full.
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else 0, _first_line(error)) from error
    finally:
        joined.unlink(missing_ok=True)


def _join(parts: Iterable[Path], whole: Path) -> None:
    with whole.open("wb") as file:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, file, 1 << 24)


def _unpickle(path: Path, *, called: Path) -> "dict[str, Tensor]":
    """The named weights of a pickle; ``called`` is its name in errors."""
    import torch

    try:
        # A BytesIO holds bytes, and nothing comes of it: it is dropped, or refused, below.
        with torch.serialization.safe_globals([io.BytesIO]):
            # Pickles of old releases of torch are not zip files, and cannot be mapped.
            loaded = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    # A damaged pickle can raise anything; what came of it is never used.
    except Exception as error:
        # torch says it so: an error of this machine, and none of the pickle.
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise
        raise ModelError(
            f"{called}: holds more than weights, or is damaged ({_first_line(error)}); nothing in "
            "it was run. Get the model from a source that you trust"
        ) from error
    if isinstance(loaded, dict) and "state_dict" in loaded and loaded.keys() <= _LIGHTNING:
        loaded = loaded["state_dict"]
    if isinstance(loaded, dict):
        weights = {key: value for key, value in loaded.items() if not is_dropped(key)}
        other = [repr(key) for key, value in weights.items() if not _is_weight(key, value)]
        if weights and not other:
            return weights
        found = some(other, 3) or "nothing"
    else:
        found = f"a {type(loaded).__name__}"
    raise ModelError(
        f"{called}: does not hold named weights ({found}); expected a state "
        "dictionary, as published on the Hugging Face hub"
    )


def is_dropped(key: object) -> bool:
    """Whether an entry of a pickle is known to be no weight, and left out."""
    return isinstance(key, str) and _DROPPED.fullmatch(key) is not None


def _is_weight(key: object, value: object) -> bool:
    import torch

    return (
        isinstance(key, str)
        and isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _refuse_growth(pickles: Sequence[Path], tensors: "Iterable[Tensor]") -> None:
    size = sum(path.stat().st_size for path in pickles)
    unpacked = sum(tensor.nbytes for tensor in tensors)
    if unpacked > _MOST_GROWTH * size + _SMALL_BYTES:
        raise ModelError(
            f"{pickles[0]}: {size:,} bytes hold weights of {unpacked:,}; expected no more than "
            f"{_MOST_GROWTH} times as many. Get the model from a source that you trust"
        )


def _apart(state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """The same tensors, each of its own memory; copied only where they were not."""
    import torch

    made: dict[str, Tensor] = {}
    taken: set[int] = set()
    for key, tensor in state.items():
        memory = tensor.untyped_storage().data_ptr()
        if memory in taken or not tensor.is_contiguous():
            made[key] = tensor.detach().clone(memory_format=torch.contiguous_format)
        else:
            made[key] = tensor.detach()
        taken.add(memory)
    return made


# Between the two processes ------------------------------------------------------------------------

_REFUSED, _UNWRITTEN = 3, 4


def _main(arguments: Sequence[str]) -> int:
    *pickles, output = map(Path, arguments)
    try:
        convert(pickles, output)
    except ModelError as error:
        print(json.dumps(str(error)))
        return _REFUSED
    except OSError as error:
        print(json.dumps([error.errno, error.strerror]))
        return _UNWRITTEN
    return 0


def _how(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")


def _last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "no reason given")


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
