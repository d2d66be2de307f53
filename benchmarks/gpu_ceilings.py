"""a card -> what it can do at most: matrix products, attention, memory; with torch alone."""

import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

Row = Sequence[object]
HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}
BACKENDS = {
    "torch's choice": None,
    "flash": SDPBackend.FLASH_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


def wait(device: str) -> None:
    """Until the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], device: str, rounds: int = 7, warm: int = 3) -> float:
    """Median time of one call; the device is done when the clock is read.

    On a card a round is as many calls as last 20 ms or more, so that neither a launch nor the clock
    is what is measured.
    """
    for _ in range(warm):
        work()
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    calls = max(1, round(0.02 / (time.perf_counter() - started))) if device == "cuda" else 1
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(calls):
            work()
        wait(device)
        times.append((time.perf_counter() - started) / calls)
    return statistics.median(times)


def product(
    rows: int, inner: int, columns: int, dtype: torch.dtype, device: str, rounds: int = 7
) -> float:
    """Operations a second of a matrix product of random numbers; zeros would run faster."""
    a = torch.randn(rows, inner, device=device).to(dtype)
    b = torch.randn(columns, inner, device=device).to(dtype)
    return 2 * rows * inner * columns / seconds(lambda: F.linear(a, b), device, rounds)


def ceiling(dtype: torch.dtype, device: str) -> float:
    """Operations a second of the fastest square product: what fractions are of."""
    sizes = (4_096, 8_192, 12_288) if device == "cuda" else (256,)
    return max(product(size, size, size, dtype, device) for size in sizes)


def attention(
    passes: int, heads: int, tokens: int, dim: int, dtype: torch.dtype, device: str, backend: str
) -> float | None:
    """Operations a second of attention, as the encoder calls it; None where it cannot be run."""
    # As the encoder cuts its one product for queries, keys and values: strided views.
    projected = torch.randn(passes, tokens, 3, heads, dim, device=device).to(dtype)
    query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
    chosen = BACKENDS[backend]

    def attend() -> torch.Tensor:
        return F.scaled_dot_product_attention(query, key, value)

    try:
        if chosen is None:
            took = seconds(attend, device)
        else:
            with sdpa_kernel(chosen):
                took = seconds(attend, device)
    except RuntimeError as error:
        none = "No available kernel" in str(error) or "No viable backend" in str(error)
        if none or isinstance(error, torch.OutOfMemoryError):
            return None
        raise
    return 4 * passes * heads * tokens**2 * dim / took


def copying(device: str) -> float:
    """Bytes a second that a copy within the device's memory reads and writes."""
    source = torch.randn(1 << (28 if device == "cuda" else 20), device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source), device)


def tables(device: str) -> list[tuple[Row, list[Row]]]:
    """All ceilings: heads and rows of each table."""
    tokens, dim, heads = (64_000, 1_280, 20) if device == "cuda" else (64, 32, 2)
    passes, length = (64, 1_000) if device == "cuda" else (2, 32)
    shapes = {
        "square, the fastest of three: the ceiling": None,
        f"{tokens:,} tokens, {dim} -> {3 * dim}": (dim, 3 * dim),
        f"{tokens:,} tokens, {dim} -> {dim}": (dim, dim),
        f"{tokens:,} tokens, {dim} -> {4 * dim}": (dim, 4 * dim),
        f"{tokens:,} tokens, {4 * dim} -> {dim}": (4 * dim, dim),
    }
    products: list[Row] = []
    for name, shape in shapes.items():
        rates = [
            ceiling(dtype, device) if shape is None else product(tokens, *shape, dtype, device)
            for dtype in HALVES.values()
        ]
        products.append((name, *(f"{rate / 1e12:.2f}" for rate in rates)))
    attended: list[Row] = []
    for backend in BACKENDS:
        found = [
            attention(passes, heads, length, dim // heads, dtype, device, backend)
            for dtype in HALVES.values()
        ]
        cells = ["no kernel" if one is None else f"{one / 1e12:.2f}" for one in found]
        attended.append((backend, *cells))
    return [
        (("matrix product, TFLOP/s", *HALVES), products),
        ((f"attention, {passes} x {heads} heads x {length} tokens, TFLOP/s", *HALVES), attended),
        (("memory", "GB/s, read and written"), [("a copy", f"{copying(device) / 1e9:.0f}")]),
    ]
