"""bfloat16 on a CPU that multiplies in it: how much faster every family is, and how near.

    python -m benchmarks.cpu_precision [--rounds 3] [--only nt-50m-200] [--parts]

Medium networks of random weights in the published layouts, and the demo models, which are trained
but too small to gain. All scores in one view. Float32, bfloat16, "mixed" and, for NT, batches of
transformers' own class in float32 and bfloat16 (nothing shared; benchmarks/throughput.py) take
turns in one process, on few variants; the table has medians and ranges of the rounds. Then more
variants are scored once in each precision (among 20, two neighbours that change places already cost
0.0015), and the last columns have the rank correlation with float32 of ``llr``, of the distance
that has the lowest, and of ``pll_delta``.

``--parts`` holds parts of NT's blocks in float32 instead, to find what costs the accuracy.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from scipy.stats import spearmanr

from benchmarks.checkpoints import PUBLISHED, SHAPES, Published, drawn, make
from benchmarks.passes import SLICE, snvs
from benchmarks.throughput import BATCH, prepared_pairs, ranged, seconds, unshared
from ntvep.io.fasta import open_reference
from ntvep.models.layers import Product
from ntvep.models.loaded import LoadedModel, load_model
from ntvep.models.second_opinion import load_reference
from ntvep.objectives import DISTANCES, defined_scores
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.settings import Settings

FIRST, LAST = 20_020_000, 20_200_000


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        load: the model in a precision; the folder is empty.
        bases: of a window; None takes the model's own.
        variants: how many SNVs are timed.
        ranked: how many are ranked.
        is_nt: whether transformers' own class can be run beside it.
    """

    load: Callable[[Path, str], LoadedModel]
    bases: int | None
    variants: int
    ranked: int
    is_nt: bool = False


def _nt(shape: str) -> Callable[[Path, str], LoadedModel]:
    def load(folder: Path, precision: str) -> LoadedModel:
        if not (folder / "config.json").exists():
            make(folder, SHAPES[shape])
        return load_model(str(folder), device="cpu", precision=precision)

    return load


def _drawn(name: str, **changes: Any) -> Callable[[Path, str], LoadedModel]:
    shape = Published(PUBLISHED[name].golden, dict(PUBLISHED[name].changes) | changes)
    return lambda folder, precision: drawn(folder / precision, shape, "cpu", precision)


def _demo(name: str) -> Callable[[Path, str], LoadedModel]:
    return lambda _, precision: load_model(name, device="cpu", precision=precision)


CASES = {
    "nt-50m-200": Case(_nt("50m"), 6 * 199, 20, 150, is_nt=True),
    "nt-50m-1000": Case(_nt("50m"), 6 * 999, 4, 60, is_nt=True),
    "nt-500m-200": Case(_nt("500m"), 6 * 199, 20, 50, is_nt=True),
    "nt-v2-50m-200": Case(_drawn("nt-v2-50m"), 6 * 199, 20, 100),
    "nt-v2-50m-2048": Case(_drawn("nt-v2-50m"), 6 * 2047, 2, 30),
    "gpn": Case(_drawn("gpn"), None, 10, 60),
    "phylogpn": Case(_drawn("phylogpn"), None, 8, 100),
    "dnabert2": Case(_drawn("dnabert2"), None, 10, 60),
    "mutbert": Case(_drawn("mutbert"), None, 5, 40),
    "caduceus": Case(_drawn("caduceus"), 256, 4, 24),
    "hyenadna": Case(_drawn("hyenadna"), 512, 20, 100),
    "causal": Case(
        _drawn(
            "marin-dna",
            num_hidden_layers=6,
            hidden_size=512,
            num_attention_heads=4,
            num_key_value_heads=4,
            intermediate_size=2048,
        ),
        None,
        20,
        200,
    ),
    "demo": Case(_demo("demo"), None, 40, 300),
    "demo-6mer": Case(_demo("demo-6mer"), None, 40, 300),
}
NARROW = ("bf16", "mixed")


def alleles_of(count: int) -> pl.DataFrame:
    """SNVs that share nothing."""
    places = range(FIRST, LAST, (LAST - FIRST) // count)
    return snvs(open_reference(SLICE), places).gather_every(3).head(count)


def context_of(model: LoadedModel, case: Case) -> ScoringContext:
    """All scores, one view."""
    description = model.description
    settings = Settings(
        scores=defined_scores(description.objective, description.tokenizer.kind),
        window_bases=case.bases or description.default_bases,
        views=1,
    )
    return ScoringContext(open_reference(SLICE), model.model, description, settings)


def nearness(right: pl.DataFrame, found: pl.DataFrame) -> str:
    """In words: rank correlation of ``llr``, the lowest of the distances, and ``pll_delta``."""
    distances = [name for name in right.columns if name.removesuffix("_token") in DISTANCES]
    ranks = {name: _rank(right[name], found[name]) for name in ("llr", *distances)}
    worst = min(distances, key=ranks.__getitem__)
    sums = f"{_rank(right['pll_delta'], found['pll_delta']):.4f}" if "pll_delta" in right else ""
    return f"{ranks['llr']:.5f} | {worst} {ranks[worst]:.5f} | {sums}"


def _rank(right: pl.Series, found: pl.Series) -> float:
    return float(spearmanr(right.to_numpy(), found.to_numpy()).statistic)


def rows(name: str, case: Case, rounds: int, folder: Path) -> Iterator[str]:
    """The line of one case."""
    contexts = {
        precision: context_of(case.load(folder, precision), case) for precision in ("fp32", *NARROW)
    }
    table = alleles_of(case.variants)
    ways: dict[str, Callable[[], object]] = {
        precision: lambda c=context: score_alleles(table, c)
        for precision, context in contexts.items()
    }
    if case.is_nt:
        ways |= _of_transformers(folder, table, contexts["fp32"])
    # What is run for the first time also makes its kernels.
    for work in ways.values():
        work()
    times = [{way: seconds(work) for way, work in ways.items()} for _ in range(rounds)]
    speed = case.variants / statistics.median(one["fp32"] for one in times)
    pairs = [("fp32", way) for way in NARROW]
    theirs = [("fp32", "fp32"), ("fp32", "mixed"), ("bf16", "bf16")]
    pairs += [(f"transformers {above}", below) for above, below in theirs if case.is_nt]
    ratios = [ranged(times, *pair) for pair in pairs] + [""] * (0 if case.is_nt else len(theirs))
    more = alleles_of(case.ranked)
    scores = {way: score_alleles(more, context).scores for way, context in contexts.items()}
    near = [nearness(scores["fp32"], scores[way]) for way in NARROW]
    cells = (name, case.variants, f"{speed:.1f}", *ratios, case.ranked, *near)
    yield f"| {' | '.join(map(str, cells))} |"


def _of_transformers(
    folder: Path, table: pl.DataFrame, context: ScoringContext
) -> Mapping[str, Callable[[], object]]:
    """Batches of its own class, in both precisions."""
    tokenizer, names = context.description.tokenizer, context.settings.scores

    def work(model: torch.nn.Module) -> object:
        pairs = prepared_pairs(table, context.reference, context.description, context.settings)
        return unshared(pairs, names, model, tokenizer, BATCH, None)  # type: ignore[arg-type]

    theirs = {"fp32": load_reference(folder), "bf16": load_reference(folder).bfloat16()}
    return {f"transformers {way}": lambda m=model: work(m) for way, model in theirs.items()}


# Parts of NT's blocks by the names of their modules.
PARTS: Mapping[str, Callable[[str], bool]] = {
    "nothing": lambda _: False,
    "first block": lambda name: name.startswith("0."),
    "first quarter": lambda name: name.startswith(("0.", "1.", "2.")),
    "first half (mixed)": lambda name: name.startswith(("0.", "1.", "2.", "3.", "4.", "5.")),
    "last block": lambda name: name.startswith("11."),
    "queries, keys, values": lambda name: name.endswith("qkv"),
    "attention output": lambda name: name.endswith("attention_out"),
    "feed-forward input": lambda name: name.endswith("ffn_in"),
    "feed-forward output": lambda name: name.endswith("ffn_out"),
}


def part_rows(case: Case, rounds: int, folder: Path) -> Iterator[str]:
    """A line for each part that is held in float32."""
    full = case.load(folder, "fp32")
    few, many = alleles_of(case.variants), alleles_of(case.ranked)
    exact = context_of(full, case)
    right = score_alleles(many, exact).scores
    own = dict(full.model.encoder.blocks.named_modules())  # type: ignore[attr-defined]
    for part, holds in PARTS.items():
        half = case.load(folder, "bf16")
        for name, module in half.model.encoder.blocks.named_modules():  # type: ignore[attr-defined]
            if holds(name) and isinstance(module, Product):
                module.float().load_state_dict(own[name].state_dict())
                module.pack()
        context = context_of(half, case)
        near = nearness(right, score_alleles(many, context).scores)
        times = [
            {
                "fp32": seconds(lambda: score_alleles(few, exact)),
                part: seconds(lambda c=context: score_alleles(few, c)),
            }
            for _ in range(rounds)
        ]
        yield f"| {part} | {ranged(times, 'fp32', part)} | {near} |"


def _print(heads: tuple[str, ...]) -> None:
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=CASES, action="append", help="all if none is named")
    parser.add_argument("--parts", action="store_true")
    given = parser.parse_args()
    print(f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads")
    near = ("llr", "worst distance", "pll_delta")
    with tempfile.TemporaryDirectory() as folder:
        if given.parts:
            _print(("in float32", "fp32 / this", *near))
            for row in part_rows(CASES["nt-50m-200"], given.rounds, Path(folder)):
                print(row, flush=True)
            return
        of_each = [f"{way}: {one}" for way in NARROW for one in near]
        _print(
            ("model", "timed", "fp32, variants/s", "fp32 / bf16", "fp32 / mixed",
             "transformers fp32 / fp32", "transformers fp32 / mixed", "transformers bf16 / bf16",
             "ranked", *of_each)
        )  # fmt: skip
        for name in given.only or CASES:
            own = Path(folder) / name
            own.mkdir()
            for row in rows(name, CASES[name], given.rounds, own):
                print(row, flush=True)


if __name__ == "__main__":
    main()
