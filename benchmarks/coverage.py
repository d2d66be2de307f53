"""simulated clusters -> how often 95 % intervals hold the truth: the table of docs/evaluation.md.

    python -m benchmarks.coverage --data-sets 2000 --workers 2 > coverage.tsv
    python -m benchmarks.coverage --table coverage.tsv

A variant's score is a shift for positives, plus what its cluster shares, plus what is its own, all
normal; the intraclass correlation (ICC) is the cluster's share of the variance within a class. A
second score has half of its noise in common with the first. The truth is that of variants of
different clusters: of a new gene. Clusters are of one size, or of sizes in proportion to 1, 1/2, 1/3,
... (Zipf) with positives and negatives in the same clusters, or, "apart", with the largest clusters
of positives the smallest of negatives.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

from ntvep.evaluate import uncertainty

SIZES = ((10, 10), (10, 200), (20, 200), (50, 50), (50, 2_000), (200, 2_000))
CLUSTERS = (3, 5, 10, 20, 50, 200)
SHAPES = ("equal", "zipf", "zipf apart")
# The second score of a pair.
WEAKER = {0.5: 0.5, 0.8: 0.75, 0.96: 0.93}
STATISTICS = ("auroc", "auprc", "auroc_difference", "auprc_difference")
_INTERVALS = {
    "auroc": (uncertainty.auroc_interval, uncertainty.auroc_difference),
    "auprc": (uncertainty.auprc_interval, uncertainty.auprc_difference),
}
# Values held at once: a few hundred MB.
_MOST_VALUES = 400_000


@dataclass(frozen=True)
class Cell:
    """One design of the simulation."""

    positives: int
    negatives: int
    clusters: int
    shape: str
    icc: float
    auroc: float


def cells() -> Iterator[Cell]:
    """The grid: never more clusters than variants of the rarer class."""
    for (m, n), k, shape, icc, auroc in product(SIZES, CLUSTERS, SHAPES, (0.0, 0.3), WEAKER):
        if k <= min(m, n):
            yield Cell(m, n, k, shape, icc, auroc)


def allocated(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Cluster of each positive, and of each negative; by largest remainders."""
    share = np.ones(cell.clusters) if cell.shape == "equal" else 1 / np.arange(1, cell.clusters + 1)
    share /= share.sum()
    found = []
    for n, weights in (
        (cell.positives, share),
        (cell.negatives, share[::-1] if cell.shape == "zipf apart" else share),
    ):
        sizes = np.floor(n * weights).astype(int)
        rest = np.argsort(-(n * weights - sizes), kind="stable")[: n - sizes.sum()]
        sizes[rest] += 1
        found.append(np.repeat(np.arange(cell.clusters), sizes))
    return found[0], found[1]


def true_auprc(auroc: float, prevalence: float) -> float:
    """Of two normals of variance 1: the mean precision at a positive."""
    shift = np.sqrt(2) * stats.norm.ppf(auroc)
    recall = (np.arange(200_000) + 0.5) / 200_000
    false = stats.norm.sf(stats.norm.isf(recall) + shift)
    return float((prevalence * recall / (prevalence * recall + (1 - prevalence) * false)).mean())


def simulated(cell: Cell, data_sets: int, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """In batches: label and cluster of each variant, and two scores [data set, variant]."""
    of_positives, of_negatives = allocated(cell)
    of_row = np.concatenate((of_positives, of_negatives))
    label = np.arange(len(of_row)) < cell.positives
    rng = np.random.default_rng(seed)
    shifts = [np.sqrt(2) * stats.norm.ppf(a) for a in (cell.auroc, WEAKER[cell.auroc])]
    batch = max(1, _MOST_VALUES // len(of_row))
    for done in range(0, data_sets, batch):
        size = min(batch, data_sets - done)
        shared, own = (
            [rng.normal(size=(size, n)) for _ in range(3)] for n in (cell.clusters, len(of_row))
        )
        scores = []
        for number, shift in enumerate(shifts):
            # In common with the other score, and not.
            parts = [(x[2] + x[number]) / np.sqrt(2) for x in (shared, own)]
            noise = np.sqrt(cell.icc) * parts[0][:, of_row] + np.sqrt(1 - cell.icc) * parts[1]
            scores.append(shift * label + noise)
        yield label, of_row, *scores


def coverage(
    cell: Cell, data_sets: int = 2_000, seed: int = 1, fewest: float = uncertainty.FEWEST_CLUSTERS
) -> dict[str, object]:
    """Coverage, mean width and misses on either side of each statistic's intervals."""
    uncertainty.FEWEST_CLUSTERS = fewest
    prevalence = cell.positives / (cell.positives + cell.negatives)
    aurocs = np.array([cell.auroc, WEAKER[cell.auroc]])
    auprcs = np.array([true_auprc(a, prevalence) for a in aurocs])
    truth = dict(
        zip(
            STATISTICS,
            (aurocs[0], auprcs[0], -np.diff(aurocs)[0], -np.diff(auprcs)[0]),
            strict=True,
        )
    )
    found: dict[str, list[np.ndarray]] = {name: [] for name in STATISTICS}
    for label, of_row, *scores in simulated(cell, data_sets, seed):
        deleted = {"auroc": [], "auprc": []}
        for score in scores:
            order = np.argsort(score, axis=-1)
            labels, clusters = label[order], of_row[order]
            values = np.take_along_axis(score, order, axis=-1)
            deleted["auroc"].append(
                uncertainty.auroc_without(labels, values, clusters, cell.clusters)
            )
            deleted["auprc"].append(
                uncertainty.auprc_without(labels, values, clusters, cell.clusters)
            )
        sizes = uncertainty.class_sizes(labels, clusters, cell.clusters)
        effective = uncertainty.effective_clusters(sizes).min(axis=0)
        for name, (a, b) in deleted.items():
            one, two = _INTERVALS[name]
            found[name].append(np.stack(one(a, effective)))
            found[f"{name}_difference"].append(np.stack(two(a, b, effective)))
    row: dict[str, object] = {f.name: getattr(cell, f.name) for f in fields(cell)}
    row |= {"data_sets": data_sets, "effective": float(effective.mean())}
    for name, parts in found.items():
        low, high = np.concatenate(parts, axis=-1)
        given = np.isfinite(low)
        row[f"{name}_given"] = float(given.mean())
        low, high = low[given], high[given]
        misses = {"above": low > truth[name], "below": high < truth[name]}
        row |= {f"{name}_{side}": _mean(missed) for side, missed in misses.items()}
        row[f"{name}_coverage"] = _mean(~(misses["above"] | misses["below"]))
        row[f"{name}_width"] = _mean(high - low)
    return row


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 4) if len(values) else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data-sets", type=int, default=2_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--fewest", type=float, default=uncertainty.FEWEST_CLUSTERS)
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    if given.table:
        print(markdown(pl.read_csv(given.table, separator="\t")))
        return
    run = partial(coverage, data_sets=given.data_sets, fewest=given.fewest)
    header = None
    with ProcessPoolExecutor(given.workers) as pool:
        for row in pool.map(run, cells()):
            if header is None:
                header = list(row)
                print(*header, sep="\t")
            print(*(row[name] for name in header), sep="\t", flush=True)


if __name__ == "__main__":
    main()
