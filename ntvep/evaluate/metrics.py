"""labels and one score -> AUROC, AUPRC and Spearman, with intervals of a bootstrap over clusters.

Point values are scikit-learn's and scipy's. Intervals are the percentiles 2.5 and 97.5 of 1,000
resamples of whole clusters (genes, or 1-Mb blocks of the genome): variants of one gene share
sequence, windows and how they came to be labelled, and are not independent. A resample is a number
of copies of each cluster, so that every statistic of it follows from counts: how many positives
and negatives of which score a resample holds is one product of a sparse and a dense matrix. Scores
are counted in at most 4,096 bins; where there are more distinct values, the resamples are moved by
the difference between the exact and the binned value, so that binning cannot shift an interval.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int, Shaped
from scipy import sparse, stats
from sklearn.metrics import average_precision_score, roc_auc_score

RESAMPLES = 1_000
SEED = 0
TOO_FEW = 10
"""With fewer positives or negatives than this there is no number."""
BLOCK_BASES = 1_000_000
BINS = 4_096
CURVE_POINTS = np.linspace(0.0, 1.0, 201)
_LEVELS = (2.5, 97.5)
_MOST_CLUSTERS = 100_000
_JOINT_BINS = 128

Draws = Float[np.ndarray, " resample"]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; the interval is NaN where no resample has a value."""

    value: float
    low: float
    high: float


def in_words(low: float, high: float, name: str = "") -> str:
    """An interval for people, with its name before it if there is one to name."""
    return "no interval" if np.isnan(low) else f"{name}{low:.3f} to {high:.3f}"


@dataclass(frozen=True, eq=False)
class Clusters:
    """What is resampled together.

    Attributes:
        of_row: number of the cluster of each variant.
        copies: how often each resample holds each cluster; the same for all that is compared.
        choice: what the clusters are, for people.
    """

    of_row: Int[np.ndarray, " variant"]
    copies: Float[np.ndarray, "cluster resample"]
    choice: str

    def rows(self, chosen: Shaped[np.ndarray, " some"]) -> "Clusters":
        """The same resamples, seen by some of the variants: a mask, or row numbers."""
        return Clusters(self.of_row[chosen], self.copies, self.choice)


@dataclass(frozen=True, eq=False)
class Ranked:
    """Variants in ascending order of a score that grows with the evidence for a positive.

    ``row`` is the number of each variant in the table that they come from.
    """

    row: Int[np.ndarray, " variant"]
    label: Bool[np.ndarray, " variant"]
    score: Float[np.ndarray, " variant"]
    clusters: Clusters

    def some(self, chosen: Shaped[np.ndarray, " some"]) -> "Ranked":
        """Some of the variants: a mask, or ascending places."""
        return Ranked(
            self.row[chosen],
            self.label[chosen],
            self.score[chosen],
            self.clusters.rows(chosen),
        )

    @property
    def positives(self) -> int:
        """How many are positive."""
        return int(self.label.sum())

    @property
    def negatives(self) -> int:
        """How many are not."""
        return len(self.label) - self.positives

    @property
    def is_enough(self) -> bool:
        """Whether there are enough of both classes for a number."""
        return min(self.positives, self.negatives) >= TOO_FEW


@dataclass(frozen=True, eq=False)
class Band:
    """A curve over :data:`CURVE_POINTS`, with a pointwise 95 % band."""

    value: Float[np.ndarray, " point"]
    low: Float[np.ndarray, " point"]
    high: Float[np.ndarray, " point"]


@dataclass(frozen=True, eq=False)
class Discrimination:
    """How well a score tells positives from negatives.

    Attributes:
        auroc: area under the receiver operating characteristic; ties count half.
        auprc: average precision; its chance level is the prevalence.
        auroc_draws, auprc_draws: values of the resamples, NaN where one lacks a class.
        roc: true-positive rate over the false-positive rate, if asked for.
        precision_recall: precision over recall, if asked for.
    """

    auroc: Interval
    auprc: Interval
    auroc_draws: Draws
    auprc_draws: Draws
    roc: Band | None = None
    precision_recall: Band | None = None


def clusters(
    table: pl.DataFrame,
    *,
    block_bases: int = BLOCK_BASES,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Clusters:
    """Genes where the labels name one, else blocks of the genome; and the resamples of them.

    Args:
        table: with ``chrom``, ``pos`` and, if there are any, ``group`` (nullable).
        block_bases: length of a block.
        resamples: how many.
        seed: of the resamples.
    """
    block = pl.concat_str("chrom", pl.lit(":"), pl.col("pos") // block_bases)
    n_groups = table["group"].n_unique() if "group" in table.columns else 0
    # So many groups are no groups: single variants, most likely.
    by_group = 0 < n_groups <= _MOST_CLUSTERS and table["group"].null_count() < table.height
    # The prefix keeps a gene that is called like a block apart from it.
    name = pl.coalesce(pl.lit("group ") + pl.col("group"), block) if by_group else block
    number = table.select(name.rank("dense").cast(pl.Int32) - 1).to_series().to_numpy()
    n = int(number.max(initial=-1)) + 1
    grouped = table["group"].drop_nulls().n_unique() if by_group else 0
    blocks = f"{n - grouped:,} blocks of {block_bases:,} bases"
    choice = blocks if not grouped else f"{grouped:,} genes or groups of the labels"
    if grouped and n > grouped:
        choice += f", and {blocks} where no group is named"
    if n < 2:
        choice = "a single cluster, which gives no interval"
    return Clusters(number, draw(n, resamples, seed), choice)


def draw(n: int, resamples: int, seed: int) -> Float[np.ndarray, "cluster resample"]:
    """Copies of each of ``n`` clusters in each resample: n draws with replacement.

    One cluster says nothing of how clusters differ: its resamples are empty, and give no interval.
    """
    if n < 2:
        return np.zeros((n, resamples), np.float32)
    rng = np.random.default_rng(seed)
    copies = np.empty((n, resamples), np.float32)
    for column in range(resamples):
        copies[:, column] = np.bincount(rng.integers(0, n, n), minlength=n)
    return copies


def ranked(
    label: Bool[np.ndarray, " variant"], score: Float[np.ndarray, " variant"], clusters: Clusters
) -> Ranked:
    """Put variants in order; those whose score is NaN are left out."""
    order = np.argsort(score, kind="stable")
    # NaNs are sorted to the end.
    order = order[: len(order) - np.isnan(score).sum()]
    return Ranked(order, label[order], score[order].astype(np.float64), clusters.rows(order))


def auroc(label: Bool[np.ndarray, " variant"], score: Float[np.ndarray, " variant"]) -> float:
    """Area under the receiver operating characteristic (scikit-learn's)."""
    # As integers: scikit-learn looks at every single label of another type.
    return float(roc_auc_score(label.astype(np.int8), score))


def auprc(label: Bool[np.ndarray, " variant"], score: Float[np.ndarray, " variant"]) -> float:
    """Average precision (scikit-learn's): no interpolation between points."""
    return float(average_precision_score(label.astype(np.int8), score))


def discrimination(data: Ranked, *, curves: bool = False, bins: int = BINS) -> Discrimination:
    """AUROC and average precision with intervals; with ``curves`` also the curves with bands.

    Args:
        data: has at least one variant of each class.
        curves: whether to compute curves.
        bins: most score bins of the resamples; more are slower, and nearer to exact.
    """
    of_bin, n = _score_bins(data, bins)
    cells = 2 * of_bin + data.label
    value = auroc(data.label, data.score), auprc(data.label, data.score)
    counts = resampled(cells, data.clusters, 2 * n).reshape(n, 2, -1)
    whole = np.bincount(cells, minlength=2 * n).astype(np.float32).reshape(n, 2, 1)
    above = _from_above(counts)
    moved = [
        drawn + (v - binned)
        for drawn, v, binned in zip(
            areas(counts, above), value, areas(whole, _from_above(whole)), strict=True
        )
    ]
    bands = _curves(data, above) if curves else (None, None)
    return Discrimination(
        auroc=interval(value[0], moved[0]),
        auprc=interval(value[1], moved[1]),
        auroc_draws=moved[0],
        auprc_draws=moved[1],
        roc=bands[0],
        precision_recall=bands[1],
    )


def areas(
    counts: Float[np.ndarray, "bin two resample"], above: Float[np.ndarray, "bin two resample"]
) -> tuple[Draws, Draws]:
    """AUROC and average precision of each resample; NaN where it lacks a class.

    AUROC is P(score of a positive > score of a negative) + P(they are equal) / 2: Mann and
    Whitney's U over the number of pairs. Average precision is the precision at each score that
    occurs, weighted by the positives that it adds.

    Args:
        counts: negatives and positives, by ascending score.
        above: negatives and positives of this score or a higher one.
    """
    negative, positive = counts[:, 0], counts[:, 1]
    false, found = above[:, 0], above[:, 1]
    # A positive beats the negatives that are not above it, and half of its equals.
    lost = np.einsum("br,br->r", positive, false - negative / 2)
    precision = found / np.maximum(false + found, 1)
    gained = np.einsum("br,br->r", positive, precision)
    return 1 - _ratio(lost, false[0] * found[0]), _ratio(gained, found[0])


def interval(value: float, draws: Draws) -> Interval:
    """A value with the percentiles 2.5 and 97.5 of its resamples, those that have a value."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return Interval(value, np.nan, np.nan)
    low, high = np.percentile(known, _LEVELS)
    return Interval(value, float(low), float(high))


def difference(a: Interval, a_draws: Draws, b: Interval, b_draws: Draws) -> Interval:
    """By how much a exceeds b: both on the same variants, and in the same resamples."""
    return interval(a.value - b.value, a_draws - b_draws)


def spearman(
    x: Float[np.ndarray, " variant"], y: Float[np.ndarray, " variant"], clusters: Clusters
) -> Interval:
    """Spearman's rank correlation (scipy's) with its interval; ranks are taken in each resample.

    NaN where x or y is constant. Resamples are counted in up to 128 bins of each variable.
    """
    value = float(stats.spearmanr(x, y).statistic) if np.ptp(x) and np.ptp(y) else np.nan
    (of_x, n_x), (of_y, n_y) = _quantile_bins(x, _JOINT_BINS), _quantile_bins(y, _JOINT_BINS)
    cells = of_x * n_y + of_y
    counts = resampled(cells, clusters, n_x * n_y)
    whole = np.bincount(cells, minlength=n_x * n_y).astype(np.float32)[:, None]
    drawn, binned = (_rank_correlation(c.reshape(n_x, n_y, -1)) for c in (counts, whole))
    return interval(value, drawn + (value - binned))


def _rank_correlation(joint: Float[np.ndarray, "x y resample"]) -> Draws:
    """Pearson's correlation of the mid-ranks, from joint counts."""
    ranks = []
    for counts in (joint.sum(axis=1, dtype=np.float64), joint.sum(axis=0, dtype=np.float64)):
        rank = np.cumsum(counts, axis=0) - counts / 2
        total = counts.sum(axis=0)
        centred = rank - (rank * counts).sum(axis=0) / np.maximum(total, 1)
        spread = np.sqrt((centred**2 * counts).sum(axis=0))
        ranks.append(_ratio(centred, np.broadcast_to(spread, centred.shape)))
    within = np.einsum("xyr,yr->xr", joint, ranks[1])
    correlation: Draws = np.einsum("xr,xr->r", within, ranks[0])
    return correlation


def _ratio(
    part: Shaped[np.ndarray, "*shape"], whole: Shaped[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Part of the whole; NaN of nothing."""
    nothing = np.full(part.shape, np.nan)
    ratio: Float[np.ndarray, "*shape"] = np.divide(part, whole, out=nothing, where=whole > 0)
    return ratio


def resampled(
    cells: Int[np.ndarray, " variant"], clusters: Clusters, n: int
) -> Float[np.ndarray, "cell resample"]:
    """How many variants of each cell each resample holds."""
    shape = (n, len(clusters.copies))
    ones = np.ones(len(cells), np.float32)
    counts: Float[np.ndarray, "cell resample"] = (
        sparse.csc_matrix((ones, (cells, clusters.of_row)), shape=shape) @ clusters.copies
    )
    return counts


def _score_bins(data: Ranked, most: int) -> tuple[Int[np.ndarray, " variant"], int]:
    """Bin of each variant, ascending, and their number: a bin a value if there are few values.

    Else a bin holds at most 1 / most of the positives and negatives, half and half, so that rare
    positives have bins of their own. Equal scores are in one bin.
    """
    begins = np.append(True, data.score[1:] != data.score[:-1])
    value = np.cumsum(begins) - 1
    if value[-1] < most:
        return value, int(value[-1]) + 1
    share = np.where(data.label, 0.5 / data.positives, 0.5 / data.negatives)
    before = (np.cumsum(share) - share)[begins]
    level = np.minimum((before * most).astype(np.int64), most - 1)
    number = np.cumsum(np.append(0, level[1:] != level[:-1]))
    return number[value], int(number[-1]) + 1


def _quantile_bins(
    values: Float[np.ndarray, " variant"], most: int
) -> tuple[Int[np.ndarray, " variant"], int]:
    """Bin of each value, ascending, and their number; equal values are in one bin."""
    distinct, inverse = np.unique(values, return_inverse=True)
    if len(distinct) <= most:
        return inverse, len(distinct)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, most + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right"), len(edges) + 1


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


def _curves(data: Ranked, above: Float[np.ndarray, "bin two resample"]) -> tuple[Band, Band]:
    """ROC and precision-recall curve: values of each variant, bands of the resamples' bins."""
    # No threshold lies between equal scores: the first of them in ascending order counts.
    first = np.append(True, data.score[1:] != data.score[:-1])
    found, false = (np.cumsum(c[::-1])[::-1][first] for c in (data.label, ~data.label))
    has_both = (above[0] > 0).all(axis=0)
    false_drawn, found_drawn = np.ascontiguousarray(above[:, :, has_both].transpose(1, 2, 0))
    bands = []
    for curve in (_roc, _precision_recall):
        drawn = [curve(*pair) for pair in zip(found_drawn, false_drawn, strict=True)]
        none = np.full((2, len(CURVE_POINTS)), np.nan)
        low, high = np.percentile(drawn, _LEVELS, axis=0) if drawn else none
        bands.append(Band(curve(found, false), low, high))
    return bands[0], bands[1]


def _roc(
    found: Shaped[np.ndarray, " threshold"], false: Shaped[np.ndarray, " threshold"]
) -> Float[np.ndarray, " point"]:
    """True-positive rate over the false-positive rate, with straight lines between thresholds."""
    x, y = np.append(false, 0)[::-1] / false[0], np.append(found, 0)[::-1] / found[0]
    rates: Float[np.ndarray, " point"] = np.interp(CURVE_POINTS, x, y)
    return rates


def _precision_recall(
    found: Shaped[np.ndarray, " threshold"], false: Shaped[np.ndarray, " threshold"]
) -> Float[np.ndarray, " point"]:
    """Precision at the highest threshold that reaches each recall."""
    # The first point asks for some recall: at none there is no precision.
    wanted = np.maximum(CURVE_POINTS * found[0] - 1e-6, 0.5)
    at = len(found) - 1 - np.searchsorted(found[::-1], wanted)
    precision: Float[np.ndarray, " point"] = found[at] / (found[at] + false[at])
    return precision
