"""scores of matched variants -> how they do within match groups, with intervals over the groups.

A match group is a positive and the negatives that were drawn for it. Groups are the unit here, so
that each positive keeps its own negatives. Intervals are by deletion of one group after the other
(see :mod:`ntvep.evaluate.uncertainty`): percentiles of resampled groups are too narrow, and for few
groups too high. Standard errors, which benchmarks publish, are of 1,000 resamples of whole groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Int, Shaped

from ntvep.evaluate import genes, metrics, uncertainty
from ntvep.evaluate.matching import MATCH_GROUP
from ntvep.evaluate.metrics import Clusters, Draws, Interval, Ranked


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval and its standard error, NaN where they are not known."""

    interval: Interval
    error: float


@dataclass(frozen=True)
class InGroups:
    """How a score does on matched variants.

    Attributes:
        groups: that have a scored positive and a scored negative.
        pairwise: share of pairs of a group in which the positive scores higher, ties half; the
            mean over groups, so that each positive counts equally.
        auroc, auprc: over all variants of these groups.
        auprc_by_chromosome: the mean over chromosomes with a positive, each counting for its
            variants; of its interval chromosomes are the unit.
    """

    groups: int
    pairwise: Estimate
    auroc: Estimate
    auprc: Estimate
    auprc_by_chromosome: Estimate


@dataclass(frozen=True, eq=False)
class Matched:
    """The labelled variants as match groups hold them.

    Attributes:
        clusters: number of the match group, -1 without one; the same resamples for all scores.
        chrom: number of the chromosome.
    """

    clusters: Clusters
    chrom: Int[np.ndarray, " variant"]

    def scored(self, data: Ranked) -> tuple[Ranked, Int[np.ndarray, " some"]]:
        """Scored variants of match groups, which are their clusters, and their chromosomes."""
        row = data.row[self.clusters.of_row[data.row] >= 0]
        kept = np.isin(data.row, row)
        clusters = self.clusters.rows(row)
        return Ranked(row, data.label[kept], data.score[kept], clusters), self.chrom[row]


def match_groups(labelled: pl.DataFrame) -> Matched | None:
    """Match groups of labelled variants; None where the labels have none."""
    if MATCH_GROUP not in labelled.columns or not labelled[MATCH_GROUP].count():
        return None
    group, chrom = (
        (labelled[name].rank("dense").cast(pl.Int64).fill_null(0) - 1).to_numpy()
        for name in (MATCH_GROUP, "chrom")
    )
    copies = metrics.draw(int(group.max()) + 1, metrics.RESAMPLES, metrics.SEED)
    return Matched(Clusters(group, copies, "match groups"), chrom)


def in_groups(data: Ranked, chrom: Int[np.ndarray, " variant"]) -> InGroups | None:
    """Judge a score within match groups; None with fewer than 10 of them.

    Args:
        data: scored variants whose clusters are match groups.
        chrom: number of the chromosome of each of them.
    """
    share = won_by_group(data)
    paired = np.isfinite(share)
    groups = int(paired.sum())
    if groups < metrics.TOO_FEW:
        return None
    kept = paired[data.clusters.of_row]
    data, chrom = data.some(kept), chrom[kept]
    copies = data.clusters.copies
    drawn = _ratio((share[paired] @ copies[paired]), copies[paired].sum(axis=0))
    by_auroc, by_auprc, _ = _draws(data)
    found = metrics.discrimination(data)
    parts = [data.some(chrom == number) for number in np.unique(chrom[data.label])]
    return InGroups(
        groups,
        Estimate(genes.mean_of_parts(share[paired]).found, _error(drawn)),
        Estimate(found.auroc, _error(by_auroc)),
        Estimate(found.auprc, _error(by_auprc)),
        Estimate(genes.by_chromosome(parts).found, _error(_by_chromosome(parts))),
    )


def won_by_group(data: Ranked) -> Float[np.ndarray, " group"]:
    """Share of the pairs within each match group that are in order, ties half; NaN of no pair."""
    n = len(data.clusters.copies)
    of_row = data.clusters.of_row[None].astype(np.int64)
    won = uncertainty.won_inside(data.label[None], data.score[None], of_row, n)[0]
    sizes = uncertainty.class_sizes(data.label[None], of_row, n)[:, 0]
    return _ratio(won, sizes[0] * sizes[1])


def _by_chromosome(parts: Sequence[Ranked]) -> Draws:
    """Average precision of each chromosome with a positive, averaged by its variants."""
    total, weight = np.zeros((2, parts[0].clusters.copies.shape[1]))
    for part in parts:
        _, drawn, size = _draws(part)
        # A resample without a positive of this chromosome goes without the chromosome.
        has = np.isfinite(drawn)
        total += np.where(has, drawn * size, 0)
        weight += np.where(has, size, 0)
    return _ratio(total, weight)


def _draws(data: Ranked) -> tuple[Draws, Draws, Draws]:
    """AUROC, average precision and number of variants of each resample.

    Scores are counted in at most 4,096 bins, each of which is one threshold.
    """
    of_bin, n = metrics.score_bins(data)
    counts = metrics.resampled(2 * of_bin + data.label, data.clusters, 2 * n).reshape(n, 2, -1)
    above = _from_above(counts)
    negatives, positives = above[0]
    beaten = negatives - above[:, 0] + counts[:, 0] / 2
    auroc = _ratio((counts[:, 1] * beaten).sum(axis=0), negatives * positives)
    precision = np.nan_to_num(_ratio(above[:, 1], above.sum(axis=1)))
    auprc = _ratio((counts[:, 1] * precision).sum(axis=0), positives)
    return auroc, auprc, negatives + positives


def _from_above(
    counts: Shaped[np.ndarray, "bin two resample"],
) -> Float[np.ndarray, "bin two resample"]:
    """Counts in this bin and in those of higher scores."""
    sums = counts.astype(np.float64)
    # Row by row: numpy's cumsum along the first axis jumps through memory, and takes five times
    # as long.
    for row in range(len(sums) - 2, -1, -1):
        sums[row] += sums[row + 1]
    return sums


def _error(drawn: Draws) -> float:
    known = drawn[np.isfinite(drawn)]
    return float(known.std(ddof=1)) if len(known) > 1 else float("nan")


def _ratio(
    part: Float[np.ndarray, "..."], whole: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    part, whole = np.broadcast_arrays(part.astype(np.float64), whole)
    ratio: Float[np.ndarray, "..."] = np.divide(
        part, whole, out=np.full(part.shape, np.nan), where=whole > 0
    )
    return ratio


def as_row(found: InGroups | None) -> Mapping[str, float | int | None]:
    """Columns of a table: each number with ``_low``, ``_high`` and ``_se``; null where unknown."""
    row: dict[str, float | int | None] = {"groups": found.groups if found else None}
    names: Sequence[str] = ("pairwise", "auroc", "auprc", "auprc_by_chromosome")
    for name in names:
        estimate = getattr(found, name) if found else None
        values = (
            (estimate.interval.value, estimate.interval.low, estimate.interval.high, estimate.error)
            if estimate
            else (np.nan,) * 4
        )
        for suffix, value in zip(("", "_low", "_high", "_se"), values, strict=True):
            row[name + suffix] = float(value) if np.isfinite(value) else None
    return row
