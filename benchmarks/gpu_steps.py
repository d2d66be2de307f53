"""a card -> what each step of the engine gives, side by side in rounds; numpy and torch alone."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import MethodType
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention import sdpa_kernel

from benchmarks.gpu_ceilings import BACKENDS, ceiling, wait
from ntvep.models import engine as engine_module
from ntvep.models import transfer
from ntvep.models.engine import Engine
from ntvep.models.nt import Architecture, Block, NucleotideTransformer, rotate
from ntvep.passes import Inputs, Questions
from ntvep.tokenizers.kmer import kmer_tokenizer, kmers

Row = Sequence[object]
Tables = list[tuple[Row, list[Row]]]
_VOCABULARY = ("<unk>", "<pad>", "<mask>", "<cls>", *kmers(6), *"ATCGN")
_ROUNDS = 5


def tables(step: str, device: str) -> Tables:
    """Heads and rows of a step."""
    steps: Mapping[str, Callable[[str], Tables]] = {
        "batches": _batches,
        "waits": _waits,
        "attention": _attention,
        "qkv": _qkv,
        "compile": _compile,
        "autotune": partial(_compile, mode="max-autotune-no-cudagraphs"),
        "graphs": partial(_compile, mode="reduce-overhead", whole=True),
    }
    return steps[step](device)


def network(device: str) -> NucleotideTransformer:
    """NT-500m, made on the card, its products in float16; without one, a tiny one in float32."""
    cuda = device == "cuda"
    arch = Architecture(
        layers=24 if cuda else 2,
        dim=1_280 if cuda else 32,
        ffn_dim=5_120 if cuda else 64,
        heads=20 if cuda else 2,
        vocab_size=len(_VOCABULARY),
        max_tokens=1_000 if cuda else 32,
        learned_positions=True,
        token_dropout=True,
        gated=False,
        ffn_bias=True,
        norm_before=False,
        layer_norm_eps=1e-12,
        pad_id=1,
        mask_id=2,
    )
    torch.manual_seed(0)
    with torch.device(device):
        made = NucleotideTransformer(arch).eval().requires_grad_(False)
    return made.in_precision(torch.float16) if cuda else made


def batch(model: NucleotideTransformer, passes: int, device: str) -> torch.Tensor:
    """Random tokens of the longest input."""
    return torch.randint(4, 4_100, (passes, model.max_tokens), device=device)


def operations(model: NucleotideTransformer) -> int:
    """Of one pass through the encoder."""
    arch, tokens = model.arch, model.max_tokens
    each = 2 * (4 * arch.dim**2 + 2 * arch.dim * arch.ffn_dim) + 4 * tokens * arch.dim
    return arch.layers * tokens * each


def in_turns(ways: Mapping[str, Callable[[], object]], device: str) -> dict[str, list[float]]:
    """Seconds of each way in each round; a slow moment meets all of them."""
    calls = 3 if device == "cuda" else 1
    for work in ways.values():
        for _ in range(calls):
            work()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, work in ways.items():
            wait(device)
            started = time.perf_counter()
            for _ in range(calls):
                work()
            wait(device)
            times[name].append((time.perf_counter() - started) / calls)
    return times


def _rows(
    times: Mapping[str, list[float]],
    passes: Mapping[str, int],
    model: NucleotideTransformer,
    device: str,
) -> list[Row]:
    """Passes a second of each way, its share of the ceiling, and how much faster than the first."""
    top = ceiling(torch.float16, device) if device == "cuda" else None
    first = next(iter(times))
    rows = []
    for name, some in times.items():
        each = [one / passes[name] for one in some]
        ratios = [a / passes[first] / b for a, b in zip(times[first], each, strict=True)]
        rate = 1 / statistics.median(each)
        share = "" if top is None else f"{rate * operations(model) / top:.2f}"
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append((name, f"{rate:,.1f}", share, spread))
    return rows


def _heads(what: str) -> Row:
    return what, "passes/s", "of the ceiling", "times the first line, median and range"


def _forward(model: NucleotideTransformer, ids: torch.Tensor) -> Callable[[], torch.Tensor]:
    @torch.inference_mode()
    def run() -> torch.Tensor:
        return model.hidden(ids)[1]

    return run


def _batches(device: str) -> Tables:
    model = network(device)
    sizes = (65, 1, 2, 4, 8, 16, 32, 130, 260) if device == "cuda" else (4, 2)
    ways, memory, passes = {}, {}, {}
    for size in sizes:
        name = f"{size} passes, {size * model.max_tokens:,} tokens"
        run = _forward(model, batch(model, size, device))
        try:
            run()
        except torch.OutOfMemoryError:
            continue
        if device == "cuda":
            wait(device)
            torch.cuda.reset_peak_memory_stats()
            run()
            memory[name] = f"{torch.cuda.max_memory_allocated() / 2**30:.1f}"
        ways[name], passes[name] = run, size
    rows = _rows(in_turns(ways, device), passes, model, device)
    return [((*_heads("batch"), "GiB"), [(*row, memory.get(str(row[0]), "")) for row in rows])]


def _attention(device: str) -> Tables:
    model = network(device)
    size = 65 if device == "cuda" else 4
    run = _forward(model, batch(model, size, device))
    right = run()

    def by(backend: str) -> Callable[[], torch.Tensor]:
        chosen = BACKENDS[backend]
        if chosen is None:
            return run

        def within() -> torch.Tensor:
            with sdpa_kernel(chosen):
                return run()

        return within

    ways, differences = {}, {}
    for backend in BACKENDS:
        try:
            # Some releases of cuDNN were wrong at lengths that are not a multiple of 128.
            differences[backend] = f"{float((by(backend)() - right).abs().max()):.0e}"
            ways[backend] = by(backend)
        except RuntimeError as error:
            differences[backend] = " ".join(str(error).split())[:60]
    passes = dict.fromkeys(ways, size)
    rows = [
        (*row, differences[str(row[0])])
        for row in _rows(in_turns(ways, device), passes, model, device)
    ]
    rows += [(name, "", "", "", why) for name, why in differences.items() if name not in ways]
    return [((*_heads("attention by"), "hidden states differ by"), rows)]


def _qkv(device: str) -> Tables:
    model, apart = network(device), network(device)
    for block in apart.blocks:
        block.forward = MethodType(_three_products, block)
    size = 65 if device == "cuda" else 4
    ids = batch(model, size, device)
    ways = {"one product": _forward(model, ids), "three products": _forward(apart, ids)}
    if (off := float((ways["one product"]() - ways["three products"]()).abs().max())) > 0.05:
        raise RuntimeError(f"hidden states differ by {off}")
    rows = _rows(in_turns(ways, device), dict.fromkeys(ways, size), model, device)
    return [(_heads("queries, keys and values by"), rows)]


def _three_products(self: Block, x: torch.Tensor, rotary: object) -> torch.Tensor:
    """A block as it was published: each of the three by itself."""
    normed = self.attention_norm(x).to(self.qkv.weight.dtype)
    weights, biases = self.qkv.weight.chunk(3), self.qkv.bias.chunk(3)
    query, key, value = (
        self._heads(F.linear(normed, w, b), 1)[0] for w, b in zip(weights, biases, strict=True)
    )
    if rotary is not None:
        query, key = rotate(query, *rotary), rotate(key, *rotary)
    return self._rest(x, F.scaled_dot_product_attention(query, key, value))


def _compile(device: str, mode: str | None = None, whole: bool = False) -> Tables:
    """Blocks, or with ``whole`` the encoder in one piece, compiled for one length."""
    model, compiled, cuda = network(device), network(device), device == "cuda"
    size = 65 if cuda else 4
    ids = batch(model, size, device)
    # Without a card nothing is compiled: dynamo's part alone is rehearsed.
    options = {"backend": "inductor" if cuda else "eager", "mode": mode if cuda else None}
    if whole:
        compiled.hidden = torch.compile(compiled.hidden, dynamic=False, **options)
    else:
        for number, block in enumerate(compiled.blocks):
            compiled.blocks[number] = torch.compile(block, dynamic=False, **options)
    ways = {"eager": _forward(model, ids), mode or "torch.compile": _forward(compiled, ids)}
    started = time.perf_counter()
    found = ways[mode or "torch.compile"]().clone()
    wait(device)
    took = time.perf_counter() - started
    off = float((found - ways["eager"]()).abs().max())
    notes = ("", f"{took:.0f} s; hidden states differ by {off:.0e}")
    times = in_turns(ways, device)
    rows = _rows(times, dict.fromkeys(ways, size), model, device)
    what = "the encoder" if whole else "blocks"
    return [
        (
            (*_heads(what), "compilation"),
            [(*row, note) for row, note in zip(rows, notes, strict=True)],
        )
    ]


def _waits(device: str) -> Tables:
    """The engine's answers to plans, with and without what keeps the host from waiting."""
    model = network(device)
    tokenizer = kmer_tokenizer(_VOCABULARY)
    passes = 520 if device == "cuda" else 3
    size = None if device == "cuda" else 2
    engine = Engine(model, tokenizer, batch_size=size)
    plans = [_plan(model, passes, seed) for seed in range(3)]

    def one_after_the_other() -> None:
        for plan in plans:
            engine.answer(plan)

    def ahead() -> None:
        waiting = [engine.begin(plan) for plan in plans]
        for answers in waiting:
            answers()

    def within(*changes: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            with ExitStack() as stack:
                for change in changes:
                    stack.enter_context(change())
                one_after_the_other()

        return run

    ways = {
        "as it is: the next plan begins before the last one's answers are there": ahead,
        "each plan's answers are waited for": one_after_the_other,
        "the same, a wait behind each batch": within(_one_at_a_time),
        "the same, a copy for each array, from pageable memory": within(_pageable),
    }
    count = dict.fromkeys(ways, passes * len(plans))
    return [(_heads("transfers"), _rows(in_turns(ways, device), count, model, device))]


def _plan(model: NucleotideTransformer, passes: int, seed: int) -> Questions:
    """All that is asked for all scores: two of three passes in full, one at its masked token."""
    rng = np.random.default_rng(seed)
    tokenizer = kmer_tokenizer(_VOCABULARY)
    bases = rng.integers(0, 4, (passes, 6 * (model.max_tokens - 1))).astype(np.uint8)
    tokens = tuple(tokenizer.encode(window) for window in bases)
    every, none = np.arange(passes), np.full(passes, -1)
    at = np.full(passes, model.max_tokens // 2)
    masked, whole = every[::3], every[every % 3 > 0]
    rows = np.stack((every, at), axis=1)
    return Questions(
        Inputs(
            tokens,
            every,
            np.stack((masked, at[masked], np.full(len(masked), tokenizer.mask)), axis=1),
            none,
            none * 0,
        ),
        rows=rows,
        tokens=np.stack((every, np.full(passes, 50)), axis=1),
        bases=np.stack((masked, masked * 0, masked * 0), axis=1),
        entropy=masked,
        hidden=rows[whole],
        likelihood=np.stack((whole, whole * 0 + 1), axis=1),
        pooled=whole,
    )


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    with mock.patch.object(transfer, "_IN_FLIGHT", 0):
        yield


@contextmanager
def _pageable() -> Iterator[None]:
    def each(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}

    with mock.patch.object(engine_module, "send", each):
        yield
