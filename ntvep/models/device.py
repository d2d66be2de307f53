"""device and precision by name -> torch's own; chosen when asked, never at import."""

import os
import re
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from itertools import count
from pathlib import Path

import torch

from ntvep.errors import ConfigError
from ntvep.files import locked

_CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
DEVICES = ("auto", "cpu", "cuda", "mps")
_NUMBERED = re.compile(r"(?P<kind>cpu|cuda):(?P<number>\d{1,3})")
# Locks of GPUs, until this process ends.
_HELD = ExitStack()
# Of the encoder's matrix products; sums between layers, norms and the head are float32 in each, but
# tf32 is a setting of the process and holds for the head's products too.
PRECISIONS = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "mixed": torch.bfloat16,
}
# Share of the first blocks whose products stay in float32.
SPARED = {"mixed": 0.5}
_CPU_FLAGS = Path("/proc/cpuinfo")


class _BusyError(Exception):
    """Another run has it."""


def resolve_device(name: str) -> torch.device:
    """The device for ``--device``; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: the name is unknown, or this machine has no such device.
    """
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if present[device])
    if name not in present:
        raise ConfigError(f"--device is {name!r}; expected one of {', '.join(DEVICES)}")
    if not present[name]:
        build = torch.version.cuda
        hint = (
            f"torch {torch.__version__} is a CPU-only build; install a CUDA build of torch"
            if name == "cuda" and build is None
            else "check the driver with: nvidia-smi"
            if name == "cuda"
            else "it needs an Apple GPU"
        )
        raise ConfigError(f"--device {name}: no such device here ({hint}), or use --device cpu")
    return torch.device(name)


def resolve_devices(names: str) -> tuple[torch.device, ...]:
    """The devices for ``--device``: one, or several of one kind, such as ``cuda:0,cuda:1``.

    On a CPU such numbers stand for workers. ``cuda`` without a number is, of several GPUs, the one
    that the fewest runs of this user have: those side by side get one each.

    Raises:
        ConfigError: a name is unknown or given twice, kinds are mixed, or there is no such device.
    """
    parts = [_NUMBERED.fullmatch(name.strip()) for name in names.split(",")]
    if not all(parts) and (len(parts) > 1 or ":" in names):
        raise ConfigError(
            f"--device is {names!r}; expected one of {', '.join(DEVICES)}, a GPU such as cuda:1, "
            "or several, such as cuda:0,cuda:1"
        )
    if not parts[0]:
        device = resolve_device(names)
        return (_own_gpu(),) if device.type == "cuda" else (device,)
    kinds = {part["kind"] for part in parts if part}
    numbers = [int(part["number"]) for part in parts if part]
    if len(kinds) > 1 or len(set(numbers)) < len(numbers):
        raise ConfigError(
            f"--device is {names!r}; expected devices of one kind, each once: scores of different "
            "kinds have different fingerprints"
        )
    (kind,) = kinds
    resolve_device(kind)
    if kind == "cpu":
        return tuple(torch.device("cpu") for _ in numbers)
    there = torch.cuda.device_count()
    if max(numbers) >= there:
        raise ConfigError(
            f"--device is {names!r}; this machine has {there} GPU{'s' * (there > 1)}, cuda:0 to "
            f"cuda:{there - 1}"
        )
    gpus = _gpus()
    return tuple(torch.device("cuda", _claimed(gpus, (number,))) for number in numbers)


@cache
def _own_gpu() -> torch.device:
    """The GPU of this process: chosen once."""
    gpus = _gpus()
    return torch.device("cuda", _claimed(gpus, range(len(gpus))))


def _gpus() -> tuple[str, ...]:
    """What tells each GPU from any other one, of those that this process may see."""
    return tuple(
        str(torch.cuda.get_device_properties(number).uuid)
        for number in range(torch.cuda.device_count())
    )


def _claimed(gpus: Sequence[str], numbers: Sequence[int]) -> int:
    """The number among ``numbers`` of the GPU that the fewest runs have; it counts as had now."""
    folder = Path(tempfile.gettempdir()) / f"ntvep-gpus-{os.getuid()}"
    return claim([gpus[number] for number in numbers], folder, numbers)


def claim(gpus: Sequence[str], folder: Path, numbers: Sequence[int]) -> int:
    """Take one of some GPUs, as long as this process lives: one that nobody has, if there is one.

    A run holds the lock of a file ``GPU.0``, or ``GPU.1`` where another run has that one, and so
    on; the operating system lets go of it when the process ends, however that ends.

    Args:
        gpus: what tells each from any other one.
        folder: of the locks, on a disk of this machine.
        numbers: of the GPUs.

    Returns:
        The number of the GPU.
    """
    folder.mkdir(exist_ok=True)
    busy = _BusyError()
    for slot in count():
        for gpu, number in zip(gpus, numbers, strict=True):
            try:
                _HELD.enter_context(locked(folder / f"{gpu}.{slot}", busy))
            except _BusyError:
                continue
            return number
    raise AssertionError


def multiplies_in_bf16(device: torch.device) -> bool:
    """Whether it is a CPU with a matrix unit for bfloat16 (AMX), as Linux tells it."""
    return device.type == "cpu" and _has_amx()


@cache
def _has_amx() -> bool:
    library: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return library and _CPU_FLAGS.exists() and "amx_bf16" in _CPU_FLAGS.read_text().split()


def resolve_precision(
    name: str, device: torch.device, half: str = "fp16", on_cpu: str = "fp32"
) -> str:
    """The precision for ``--precision``.

    ``auto`` is ``half`` on CUDA, ``on_cpu`` on a CPU that multiplies in bfloat16, else fp32. Each
    keeps the order of ``llr`` and of every distance: rank correlations with float64 or float32
    above 0.999 (benchmarks/README.md, "Precision" and "bfloat16 on a CPU"). On CUDA devices
    float16 and bfloat16 take the same time, and bfloat16 is eight times coarser.

    Args:
        name: as asked for.
        device: where the model is run.
        half: what the model takes on CUDA.
        on_cpu: what it takes on a CPU for which this is faster.

    Raises:
        ConfigError: the name is unknown, or the device cannot compute in it.
    """
    if name == "auto":
        fast = multiplies_in_bf16(device)
        name = half if device.type == "cuda" else on_cpu if fast else "fp32"
    if name not in PRECISIONS:
        raise ConfigError(f"--precision is {name!r}; expected one of auto, {', '.join(PRECISIONS)}")
    if name == "tf32" and device.type != "cuda":
        raise ConfigError("--precision tf32: a format of NVIDIA GPUs; use fp32 on this device")
    if name == "mixed" and device.type != "cpu":
        raise ConfigError("--precision mixed: made for CPUs; use fp16 or bf16 on this device")
    if device.type == "cuda" and name == "bf16" and not torch.cuda.is_bf16_supported():
        raise ConfigError("--precision bf16: this GPU has no bfloat16; use fp16 or fp32")
    return name


def be_deterministic() -> None:
    """Have torch take kernels whose sums have one order, and refuse operations that have none.

    For the whole process, and before its first product on a GPU: cuBLAS reads its setting then
    (cuBLAS documentation, "Results reproducibility").

    Raises:
        ConfigError: this process has used a GPU already, with another setting.
    """
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if in_use and os.environ.get(_CUBLAS[0]) != _CUBLAS[1]:
        raise ConfigError(
            "--deterministic: this process has used the GPU without it; start Python with "
            f"{'='.join(_CUBLAS)} in its environment"
        )
    os.environ.setdefault(*_CUBLAS)
    torch.use_deterministic_algorithms(True)


def describe(device: torch.device) -> str:
    """A device in words: what it is, its memory, and the build of torch that drives it."""
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    torch_is = f"torch {torch.__version__}, {build} build"
    if device.type != "cuda":
        return f"{device.type} ({torch.get_num_threads()} threads; {torch_is})"
    properties = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    return (
        f"cuda: {torch.cuda.device_count()} x {properties.name}, {free / 1e9:.1f} of "
        f"{total / 1e9:.1f} GB free ({torch_is})"
    )
