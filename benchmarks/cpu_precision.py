"""bfloat16 on a CPU that multiplies in it: how much faster every family is, and how near.

    python -m benchmarks.cpu_precision [--rounds 3] [--only nt-50m-200] [--parts]

Medium networks of random weights in the published layouts, and the demo models, which are trained
but too small to gain. All scores in one view. Float32, bfloat16 and, for NT, batches of
transformers' own class in both precisions (nothing shared; benchmarks/throughput.py) take turns in
one process; the table has medians and ranges of the rounds. The last two columns tell how far
bfloat16 is from float32: the largest error beside the spread of the score, and the rank
correlation, for ``llr`` and for the distance that has the worst.

``--parts`` holds parts of NT's blocks in float32 instead, to find what costs the accuracy.
"""

import argparse
import copy
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.stats import spearmanr

from benchmarks.checkpoints import PUBLISHED, SHAPES, Published, drawn, make
from benchmarks.passes import SLICE, snvs
from benchmarks.throughput import BATCH, prepared_pairs, ranged, seconds, unshared
from ntvep.io.fasta import open_reference
from ntvep.models.loaded import LoadedModel, load_model
from ntvep.models.second_opinion import load_reference
from ntvep.objectives import DISTANCES, defined_scores
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.settings import Settings

# Variants whose order means something.
_FEWEST = 20
FIRST, LAST = 20_020_000, 20_200_000


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        load: the model in a precision; the folder is empty.
        bases: of a window; None takes the model's own.
        variants: how many SNVs.
        is_nt: whether transformers' own class can be run beside it.
    """

    load: Callable[[Path, str], LoadedModel]
    bases: int | None
    variants: int
    is_nt: bool = False


def _nt(folder: Path, precision: str) -> LoadedModel:
    if not (folder / "config.json").exists():
        make(folder, SHAPES["50m"])
    return load_model(str(folder), device="cpu", precision=precision)


def _drawn(name: str, **changes: Any) -> Callable[[Path, str], LoadedModel]:
    shape = Published(PUBLISHED[name].golden, dict(PUBLISHED[name].changes) | changes)
    return lambda folder, precision: drawn(folder / precision, shape, "cpu", precision)


def _demo(name: str) -> Callable[[Path, str], LoadedModel]:
    return lambda _, precision: load_model(name, device="cpu", precision=precision)


CASES = {
    "nt-50m-200": Case(_nt, 6 * 199, 20, is_nt=True),
    "nt-50m-1000": Case(_nt, 6 * 999, 3, is_nt=True),
    "gpn": Case(_drawn("gpn"), None, 20),
    "phylogpn": Case(_drawn("phylogpn", outer_dim=480, inner_dim=240), None, 20),
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
    ),
    "demo": Case(_demo("demo"), None, 40),
    "demo-6mer": Case(_demo("demo-6mer"), None, 40),
}


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


def nearness(right: pl.DataFrame, found: pl.DataFrame) -> tuple[str, str]:
    """In words: ``llr``, and the worst of the distances."""
    distances = [name for name in right.columns if name.removesuffix("_token") in DISTANCES]
    worst = min(distances, key=lambda name: _rank(right[name], found[name]))
    return _told(right["llr"], found["llr"]), f"{worst}: {_told(right[worst], found[worst])}"


def _rank(right: pl.Series, found: pl.Series) -> float:
    return float(spearmanr(right.to_numpy(), found.to_numpy()).statistic)


def _told(right: pl.Series, found: pl.Series) -> str:
    error = np.abs(found.to_numpy() - right.to_numpy()).max()
    rank = f", {_rank(right, found):.5f}" if len(right) >= _FEWEST else ""
    return f"{error:.0e} of {right.std():.0e}{rank}"


def rows(name: str, case: Case, rounds: int, folder: Path) -> Iterator[str]:
    """The line of one case."""
    models = {precision: case.load(folder, precision) for precision in ("fp32", "bf16")}
    contexts = {precision: context_of(model, case) for precision, model in models.items()}
    table = alleles_of(case.variants)
    ways: dict[str, Callable[[], object]] = {
        precision: lambda c=context: score_alleles(table, c)
        for precision, context in contexts.items()
    }
    if case.is_nt:
        ways |= _of_transformers(folder, table, contexts["fp32"])
    scores = {
        precision: score_alleles(table, context).scores for precision, context in contexts.items()
    }
    # What is run for the first time also makes its kernels.
    for work in ways.values():
        work()
    times = [{way: seconds(work) for way, work in ways.items()} for _ in range(rounds)]
    speed = case.variants / statistics.median(one["fp32"] for one in times)
    llr, distances = nearness(scores["fp32"], scores["bf16"])
    theirs = [ranged(times, f"transformers {way}", way) if case.is_nt else "" for way in models]
    cells = (name, case.variants, f"{speed:.1f}", ranged(times, "fp32", "bf16"), *theirs)
    yield f"| {' | '.join(map(str, cells))} | {llr} | {distances} |"


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
    "last block": lambda name: name.startswith("11."),
    "first and last block": lambda name: name.startswith(("0.", "11.")),
    "queries, keys, values": lambda name: name.endswith("qkv"),
    "attention output": lambda name: name.endswith("attention_out"),
    "feed-forward input": lambda name: name.endswith("ffn_in"),
    "feed-forward output": lambda name: name.endswith("ffn_out"),
    "both outputs": lambda name: name.endswith(("attention_out", "ffn_out")),
}


def part_rows(case: Case, rounds: int, folder: Path) -> Iterator[str]:
    """A line for each part that is held in float32."""
    full = case.load(folder, "fp32")
    table = alleles_of(case.variants)
    exact = context_of(full, case)
    right = score_alleles(table, exact).scores
    contexts = {}
    for part, holds in PARTS.items():
        half = case.load(folder, "bf16")
        own = dict(full.model.encoder.blocks.named_modules())  # type: ignore[attr-defined]
        blocks = half.model.encoder.blocks  # type: ignore[attr-defined]
        for name, module in blocks.named_modules():
            if holds(name) and hasattr(module, "weight"):
                module.float().load_state_dict(copy.deepcopy(own[name].state_dict()))
        contexts[part] = context_of(half, case)
    found = {part: score_alleles(table, context).scores for part, context in contexts.items()}
    times = [
        {
            "fp32": seconds(lambda: score_alleles(table, exact)),
            **{
                part: seconds(lambda c=context: score_alleles(table, c))
                for part, context in contexts.items()
            },
        }
        for _ in range(rounds)
    ]
    for part, scores in found.items():
        yield f"| {part} | {ranged(times, 'fp32', part)} | {' | '.join(nearness(right, scores))} |"


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
    near = ("llr: error of spread, rank", "worst distance: error of spread, rank")
    with tempfile.TemporaryDirectory() as folder:
        if given.parts:
            _print(("in float32", "fp32 / this", *near))
            for row in part_rows(CASES["nt-50m-200"], given.rounds, Path(folder)):
                print(row, flush=True)
            return
        _print(
            ("model", "variants", "fp32, variants/s", "fp32 / bf16",
             "transformers / ours, fp32", "transformers / ours, bf16", *near)
        )  # fmt: skip
        for name in given.only or CASES:
            own = Path(folder) / name
            own.mkdir()
            for row in rows(name, CASES[name], given.rounds, own):
                print(row, flush=True)


if __name__ == "__main__":
    main()
