"""simulated clusters -> how often 95 % intervals hold the truth: the table of docs/evaluation.md.

    python -m benchmarks.coverage --data-sets 2000 --workers 2 > benchmarks/coverage.tsv
    python -m benchmarks.coverage --data-sets 2000 --match-groups > benchmarks/coverage_matched.tsv
    python -m benchmarks.coverage --table benchmarks/coverage.tsv

A variant's score is a shift for positives, plus what its cluster shares, plus what is its own, all
normal; the intraclass correlation (ICC) is the cluster's share of the variance within a class. A
second score has half of its noise in common with the first. The truth is that of variants of
different clusters: of a new gene. Clusters are of one size, or of sizes in proportion to 1, 1/2,
1/3, ... (Zipf) with positives and negatives in the same clusters, or, "apart", with the largest
clusters of positives the smallest of negatives. The cells with the least work come first.

Match groups are clusters of one positive and as many negatives each. Pairwise accuracy compares
variants of one group, so that its truth is that within a cluster.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

from ntvep.evaluate import genes, uncertainty

SIZES = ((10, 10), (10, 200), (20, 200), (50, 50), (50, 2_000), (200, 2_000))
CLUSTERS = (3, 5, 10, 20, 50, 200)
SHAPES = ("equal", "zipf", "zipf apart")
# The second score of a pair.
WEAKER = {0.5: 0.5, 0.8: 0.75, 0.96: 0.93}
GROUPS = (10, 20, 50, 200)
NEGATIVES_OF_A_GROUP = (1, 9)
NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "auroc_difference": "AUROC difference",
    "auprc_difference": "AUPRC difference",
    "pairwise": "pairwise accuracy",
}
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


def cells() -> list[Cell]:
    """The grid: never more clusters than variants of the rarer class; cheap cells first."""
    found = [
        Cell(m, n, k, shape, icc, auroc)
        for (m, n), k, shape, icc, auroc in product(SIZES, CLUSTERS, SHAPES, (0.0, 0.3), WEAKER)
        if k <= min(m, n)
    ]
    return sorted(found, key=lambda c: (c.positives + c.negatives) * min(c.clusters, 32))


def matched_cells() -> list[Cell]:
    """The grid of match groups."""
    return [
        Cell(groups, groups * negatives, groups, "equal", icc, auroc)
        for groups, negatives, icc, auroc in product(
            GROUPS, NEGATIVES_OF_A_GROUP, (0.0, 0.3), WEAKER
        )
    ]


def effective(cell: Cell) -> float:
    """Effective clusters of the class that has fewer: the same in all data sets of a cell."""
    sizes = np.stack([np.bincount(rows, minlength=cell.clusters) for rows in allocated(cell)])
    return float(uncertainty.effective_clusters(sizes).min())


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
    cell: Cell, data_sets: int = 2_000, seed: int = 1, *, matched: bool = False
) -> dict[str, object]:
    """Coverage, mean width and misses on either side of each statistic's intervals.

    A cell with too few effective clusters has no interval and is not simulated.
    """
    intervals, truth = (
        (_in_groups, _truth_in_groups(cell)) if matched else (_intervals, _truth(cell))
    )
    number = effective(cell)
    if number < uncertainty.FEWEST_CLUSTERS:
        data_sets = 0
    found: dict[str, list[np.ndarray]] = {name: [] for name in truth}
    for label, of_row, *scores in simulated(cell, data_sets, seed):
        for name, ends in intervals(cell, label, of_row, scores).items():
            found[name].append(ends)
    row: dict[str, object] = {f.name: getattr(cell, f.name) for f in fields(cell)}
    row |= {"data_sets": data_sets, "effective": round(number, 2)}
    for name, parts in found.items():
        low, high = np.concatenate(parts, axis=-1) if parts else np.empty((2, 0))
        given = np.isfinite(low)
        row[f"{name}_given"] = _mean(given)
        low, high = low[given], high[given]
        misses = {"above": low > truth[name], "below": high < truth[name]}
        row |= {f"{name}_{side}": _mean(missed) for side, missed in misses.items()}
        row[f"{name}_coverage"] = _mean(~(misses["above"] | misses["below"]))
        row[f"{name}_width"] = _mean(high - low)
    return row


def _intervals(
    cell: Cell, label: np.ndarray, of_row: np.ndarray, scores: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """Ends of each statistic's intervals [end, data set]."""
    deleted: dict[str, list[uncertainty.Deleted]] = {"auroc": [], "auprc": []}
    for score in scores:
        order = np.argsort(score, axis=-1)
        ranked = (label[order], np.take_along_axis(score, order, axis=-1), of_row[order])
        deleted["auroc"].append(uncertainty.auroc_without(*ranked, cell.clusters))
        deleted["auprc"].append(uncertainty.auprc_without(*ranked, cell.clusters))
    clusters = np.full(len(scores[0]), effective(cell))
    ends = {}
    for name, (a, b) in deleted.items():
        one, two = _INTERVALS[name]
        ends[name] = np.stack(one(a, clusters))
        ends[f"{name}_difference"] = np.stack(two(a, b, clusters))
    return ends


def _in_groups(
    cell: Cell, label: np.ndarray, of_row: np.ndarray, scores: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """Ends of the intervals of the first score in match groups [end, data set]."""
    both = _intervals(cell, label, of_row, scores)
    ends = []
    for row in scores[0]:
        order = np.argsort(row)
        data = (label[order][None], row[order][None], of_row[order][None])
        won = uncertainty.won_inside(*data, cell.clusters)[0]
        found = genes.mean_of_parts(won * cell.clusters / cell.negatives).found
        ends.append((found.low, found.high))
    return {"pairwise": np.array(ends).T, "auroc": both["auroc"], "auprc": both["auprc"]}


def _truth_in_groups(cell: Cell) -> dict[str, float]:
    """As :func:`_truth`; within a group what it shares cancels, so that pairs are easier."""
    within = stats.norm.cdf(stats.norm.ppf(cell.auroc) / np.sqrt(1 - cell.icc))
    between = _truth(cell)
    return {"pairwise": float(within), "auroc": between["auroc"], "auprc": between["auprc"]}


def _truth(cell: Cell) -> dict[str, float]:
    prevalence = cell.positives / (cell.positives + cell.negatives)
    aurocs = (cell.auroc, WEAKER[cell.auroc])
    auprcs = [true_auprc(auroc, prevalence) for auroc in aurocs]
    return {
        "auroc": aurocs[0],
        "auprc": auprcs[0],
        "auroc_difference": aurocs[0] - aurocs[1],
        "auprc_difference": auprcs[0] - auprcs[1],
    }


def markdown(table: pl.DataFrame) -> str:
    """The table of the page: least and greatest coverage, in %, of the cells of each design.

    Below it each cell that is outside 92 to 98 %.
    """
    simulated = table.filter(pl.col("data_sets") > 0)
    by = ["positives", "negatives", "clusters", "shape", "effective"]
    statistics = [name for name in NAMES if f"{name}_coverage" in table.columns]
    lines = [
        " | ".join(
            (
                "| positives + negatives | clusters | effective | cells",
                *(f"{NAMES[name]} | width" for name in statistics),
            )
        )
        + " |",
        "|---" * (4 + 2 * len(statistics)) + "|",
    ]
    outside = []
    for design, rows in simulated.sort(by[:-1]).group_by(by, maintain_order=True):
        m, n, k, shape, number = design
        cell = f"| {m} + {n:,} | {k}, {shape} | {number:.1f} | {rows.height} |"
        for name in statistics:
            of = rows[f"{name}_coverage"]
            ends = sorted({f"{100 * x:.1f}" for x in (of.min(), of.max())}, key=float)
            cell += f" {' to '.join(ends)} | {rows[f'{name}_width'].mean():.2f} |"
        lines.append(cell)
    for name in statistics:
        covered = pl.col(f"{name}_coverage")
        outside += [
            f"| {name.replace('_', ' ')} | {row['positives']} + {row['negatives']:,} | "
            f"{row['clusters']}, {row['shape']} | {row['icc']} | {row['auroc']} | "
            f"{100 * row[f'{name}_coverage']:.1f} | {row[f'{name}_width']:.2f} |"
            for row in simulated.filter((covered < 0.92) | (covered > 0.98)).iter_rows(named=True)
        ]
    head = "| statistic | positives + negatives | clusters | ICC | AUROC | coverage | width |"
    return "\n".join([*lines, "", head, "|---" * 7 + "|", *outside])


def _mean(values: np.ndarray) -> float:
    return round(float(values.mean()), 4) if len(values) else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of 95 % intervals; see the docstring.")
    parser.add_argument("--data-sets", type=int, default=2_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--match-groups", action="store_true")
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    if given.table:
        print(markdown(pl.read_csv(given.table, separator="\t", null_values="nan")))
        return
    grid = matched_cells() if given.match_groups else cells()
    run = partial(coverage, data_sets=given.data_sets, matched=given.match_groups)
    with ProcessPoolExecutor(given.workers) as pool:
        for number, row in enumerate(pool.map(run, grid)):
            if not number:
                print(*row, sep="\t")
            print(*row.values(), sep="\t", flush=True)


if __name__ == "__main__":
    main()
