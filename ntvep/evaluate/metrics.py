"""labels and one score -> AUROC, AUPRC and Spearman, with intervals that know of clusters.

Point values are scikit-learn's and scipy's. The unit is the cluster (genes, or 1-Mb blocks of the
genome): variants of one gene share sequence, windows and how they came to be labelled, and are not
independent. Intervals of AUROC, AUPRC and their differences are analytic (see
:mod:`ntvep.evaluate.uncertainty`). Bands of curves and intervals of correlations are percentiles
of 1,000 resamples of whole clusters. A resample is a number of copies of each cluster, so that
every statistic of it follows from counts: how many positives and negatives of which score it holds
is one product of a sparse and a dense matrix.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int, Shaped
from scipy import sparse, stats
from sklearn.metrics import average_precision_score, roc_auc_score

from ntvep.evaluate import uncertainty
from ntvep.evaluate.uncertainty import Deleted, Ends

RESAMPLES = 1_000
SEED = 0
TOO_FEW = 10
"""With fewer positives or negatives than this there is no value."""
BLOCK_BASES = 1_000_000
BLOCKS_OF_ASSAY = 20
BINS = 4_096
CURVE_POINTS = np.linspace(0.0, 1.0, 201)
_LEVELS = (2.5, 97.5)
_MOST_CLUSTERS = 100_000
MOST = 0.5
"""A cluster with more of a class than this share is named."""
_JOINT_BINS = 128

Draws = Float[np.ndarray, " resample"]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; the interval is NaN where none can be given."""

    value: float
    low: float
    high: float


def in_words(low: float | None, high: float | None, name: str = "") -> str:
    """An interval for people, with its name before it if there is one to name."""
    if low is None or high is None or np.isnan(low):
        return "no interval"
    return f"{name}{low:.3f} to {high:.3f}"


@dataclass(frozen=True, eq=False)
class Clusters:
    """What is resampled together.

    Attributes:
        of_row: number of the cluster of each variant.
        copies: how often each resample holds each cluster; the same for all that is compared.
        choice: what the clusters are, for people.
        names: of the clusters.
        within: the gene or element of which the clusters are blocks; empty where there are several.
    """

    of_row: Int[np.ndarray, " variant"]
    copies: Float[np.ndarray, "cluster resample"]
    choice: str
    names: Sequence[str] = ()
    within: str = ""

    def rows(self, chosen: Shaped[np.ndarray, " some"]) -> "Clusters":
        """The same resamples, seen by some of the variants: a mask, or row numbers."""
        return replace(self, of_row=self.of_row[chosen])

    @property
    def effective(self) -> float:
        """Kish's effective number of the clusters that hold these variants."""
        return float(uncertainty.effective_clusters(np.bincount(self.of_row)[None])[0])


@dataclass(frozen=True)
class Support:
    """How many clusters a number rests on.

    Attributes:
        positives, negatives: Kish's effective number of the clusters of each class.
        concentration: in words, where one cluster holds most of a class; else empty.
    """

    positives: float
    negatives: float
    concentration: str

    @property
    def scarcer(self) -> float:
        """The effective number of the class that has fewer: that which limits an interval."""
        return min(self.positives, self.negatives)


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

    @cached_property
    def support(self) -> Support:
        """Effective clusters of each class, and whether one holds most of it."""
        effective, words = [], []
        for name, of_class in (("positives", self.label), ("negatives", ~self.label)):
            sizes = np.bincount(self.clusters.of_row[of_class])
            effective.append(float(uncertainty.effective_clusters(sizes[None])[0]))
            share = sizes.max() / sizes.sum() if sizes.sum() else 0.0
            if share > MOST and self.clusters.names:
                where = self.clusters.names[int(sizes.argmax())]
                words.append(f"{_percent(share)} of {name} lie in {where}")
        return Support(effective[0], effective[1], "; ".join(words))


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
        support: what the intervals rest on.
        auroc_deleted, auprc_deleted: without each cluster.
        roc: true-positive rate over the false-positive rate, if asked for.
        precision_recall: precision over recall, if asked for.
        lacking: how many of the curves' resamples lack a class and are left out of their bands.
    """

    auroc: Interval
    auprc: Interval
    support: Support
    auroc_deleted: Deleted
    auprc_deleted: Deleted
    roc: Band | None = None
    precision_recall: Band | None = None
    lacking: int = 0


def clusters(
    table: pl.DataFrame,
    *,
    block_bases: int = BLOCK_BASES,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Clusters:
    """Genes where the labels name any, else blocks of the genome; and the resamples of them.

    A variant in two genes (``TP53-AS1|TP53``) joins them: groups that share a name, directly or by
    way of others, are one cluster. An assay of one gene or element has blocks within it.

    Args:
        table: with ``chrom``, ``pos`` and, if there are any, ``group`` and ``effect`` (nullable).
        block_bases: length of a block.
        resamples: how many.
        seed: of the resamples.
    """
    begin = pl.col("pos") // block_bases * block_bases
    block = pl.format("{}:{}-{}", "chrom", begin, begin + block_bases - 1)
    n_groups = table["group"].n_unique() if "group" in table.columns else 0
    # This many groups are most likely single variants, not groups.
    by_group = 0 < n_groups <= _MOST_CLUSTERS and table["group"].null_count() < table.height
    if by_group:
        spelled = table["group"].drop_nulls().unique().to_list()
        joined = table["group"].replace_strict(joined_groups(spelled), return_dtype=pl.String)
        # The prefix keeps a gene that is called like a block apart from it.
        name = pl.coalesce(pl.lit("group ") + joined, block)
    else:
        joined, name = pl.Series([], dtype=pl.String), block
    named = table.select(cluster=name, number=name.rank("dense").cast(pl.Int32) - 1)
    number = named["number"].to_numpy()
    names = named.unique("number").sort("number")["cluster"].str.strip_prefix("group ").to_list()
    n, grouped = len(names), joined.drop_nulls().n_unique()
    blocks = f"{n - grouped:,} blocks of {block_bases:,} bases"
    choice = blocks if not grouped else f"{grouped:,} genes or groups of the labels"
    if grouped and n > grouped:
        choice += f", and {blocks} for variants without a group"
    if n < 2:
        assay = _blocks_of_assay(table, names, resamples, seed)
        if assay is not None:
            return assay
        choice = "a single cluster, so no interval"
    return Clusters(number, draw(n, resamples, seed), choice, names)


def _blocks_of_assay(
    table: pl.DataFrame, names: Sequence[str], resamples: int, seed: int
) -> Clusters | None:
    """Blocks of neighbouring places within the one gene of an assay; None for other labels.

    Where effects were measured all over one gene or element (saturation editing, MPRA) the question
    is how well a score orders its variants, and not how well it would do in another gene.
    """
    places = table["pos"].n_unique() if "effect" in table.columns and names else 0
    if places < 2 * BLOCKS_OF_ASSAY or not table["effect"].count() or table["chrom"].n_unique() > 1:
        return None
    place = table["pos"].rank("dense").cast(pl.Int64) - 1
    number = (place * BLOCKS_OF_ASSAY // places).to_numpy()
    ends = table.group_by(pl.Series(number).alias("block")).agg(
        first=pl.col("pos").min(), last=pl.col("pos").max(), chrom=pl.col("chrom").first()
    )
    said = ends.sort("block").select(pl.format("{}:{}-{}", "chrom", "first", "last")).to_series()
    choice = (
        f"{BLOCKS_OF_ASSAY} blocks of neighbouring places within {names[0]}; "
        "intervals hold only for it, and say nothing about other genes"
    )
    copies = draw(BLOCKS_OF_ASSAY, resamples, seed)
    return Clusters(number, copies, choice, said.to_list(), within=names[0])


def joined_groups(spelled: Iterable[str]) -> dict[str, str]:
    """Groups -> the name of their cluster; names are separated by ``|``, as in ClinVar's GENEINFO.

    What follows a ``:`` (the gene's number in GENEINFO) is not part of a name. The cluster has
    the name of the gene that most groups name, the first in the alphabet among equals.
    """
    names = {group: [part.partition(":")[0] for part in group.split("|")] for group in spelled}
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    said: dict[str, int] = {}
    for parts in names.values():
        for part in parts:
            said[part] = said.get(part, 0) + 1
            root[find(part)] = find(parts[0])
    best: dict[str, str] = {}
    for name in sorted(said, key=lambda name: (-said[name], name)):
        best.setdefault(find(name), name)
    return {group: best[find(parts[0])] for group, parts in names.items()}


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


def discrimination(data: Ranked, *, curves: bool = False) -> Discrimination:
    """AUROC and average precision with intervals; with ``curves`` also the curves with bands.

    Args:
        data: has at least one variant of each class.
        curves: whether to compute curves.
    """
    # A leading dimension: the functions are those of the simulation, which has many sets of data.
    label, score = data.label[None], data.score[None]
    present, of_row = np.unique(data.clusters.of_row, return_inverse=True)
    arguments = (label, score, of_row[None], len(present))
    by_auroc, by_auprc = (
        f(*arguments) for f in (uncertainty.auroc_without, uncertainty.auprc_without)
    )
    scarcer = np.array([data.support.scarcer])
    roc, precision_recall, lacking = _curves(data) if curves else (None, None, 0)
    return Discrimination(
        auroc=_interval(
            auroc(data.label, data.score), uncertainty.auroc_interval(by_auroc, scarcer)
        ),
        auprc=_interval(
            auprc(data.label, data.score), uncertainty.auprc_interval(by_auprc, scarcer)
        ),
        support=data.support,
        auroc_deleted=by_auroc,
        auprc_deleted=by_auprc,
        roc=roc,
        precision_recall=precision_recall,
        lacking=lacking,
    )


def differences(a: Discrimination, b: Discrimination) -> tuple[Interval, Interval]:
    """By how much AUROC and average precision of a exceed those of b, on the same variants."""
    scarcer = np.array([a.support.scarcer])
    auroc_ends = uncertainty.auroc_difference(a.auroc_deleted, b.auroc_deleted, scarcer)
    auprc_ends = uncertainty.auprc_difference(a.auprc_deleted, b.auprc_deleted, scarcer)
    return (
        _interval(a.auroc.value - b.auroc.value, auroc_ends),
        _interval(a.auprc.value - b.auprc.value, auprc_ends),
    )


def _interval(value: float, ends: Ends) -> Interval:
    """A value with the ends of the only set of data."""
    return Interval(value, float(ends[0][0]), float(ends[1][0]))


def percentiles(value: float, draws: Draws, effective: float) -> Interval:
    """A value with the percentiles 2.5 and 97.5 of its resamples, those that have a value.

    NaN with fewer effective clusters than any interval needs.
    """
    known = draws[np.isfinite(draws)]
    if not len(known) or effective < uncertainty.FEWEST_CLUSTERS:
        return Interval(value, np.nan, np.nan)
    low, high = np.percentile(known, _LEVELS)
    return Interval(value, float(low), float(high))


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
    return percentiles(value, drawn + (value - binned), clusters.effective)


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


def _percent(share: float) -> str:
    """A share for people; 100 % only of all."""
    return "more than 99 %" if 0.995 <= share < 1 else f"{100 * share:.0f} %"


def score_bins(data: Ranked, most: int = BINS) -> tuple[Int[np.ndarray, " variant"], int]:
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


def from_above(
    counts: Shaped[np.ndarray, "bin two resample"],
) -> Float[np.ndarray, "bin two resample"]:
    """Counts in this bin and in those of higher scores."""
    sums = counts.astype(np.float64)
    # Row by row: numpy's cumsum along the first axis jumps through memory, and takes five times
    # as long.
    for row in range(len(sums) - 2, -1, -1):
        sums[row] += sums[row + 1]
    return sums


def _curves(data: Ranked) -> tuple[Band, Band, int]:
    """ROC and precision-recall curve: values of each variant, bands of the resamples' bins.

    Precision is at the prevalence of all in every resample. The third is how many resamples lack a
    class; without enough clusters for an interval there is no band.
    """
    of_bin, n = score_bins(data)
    counts = resampled(2 * of_bin + data.label, data.clusters, 2 * n).reshape(n, 2, -1)
    above = from_above(counts)
    # No threshold lies between equal scores: the first of them in ascending order counts.
    first = np.append(True, data.score[1:] != data.score[:-1])
    found, false = (np.cumsum(c[::-1])[::-1][first] for c in (data.label, ~data.label))
    has_both = (above[0] > 0).all(axis=0)
    lacking = int((~has_both).sum())
    if data.support.scarcer < uncertainty.FEWEST_CLUSTERS:
        has_both[:] = False
    # As many positives and negatives as there are, whatever a resample drew.
    sizes = np.array([data.negatives, data.positives], np.float64)[:, None]
    scaled = above[:, :, has_both] * (sizes / above[0][:, has_both])
    false_drawn, found_drawn = np.ascontiguousarray(scaled.transpose(1, 2, 0))
    bands = []
    for curve in (_roc, _precision_recall):
        drawn = [curve(*pair) for pair in zip(found_drawn, false_drawn, strict=True)]
        none = np.full((2, len(CURVE_POINTS)), np.nan)
        low, high = np.percentile(drawn, _LEVELS, axis=0) if drawn else none
        bands.append(Band(curve(found, false), low, high))
    return bands[0], bands[1], lacking


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
    wanted = np.maximum(CURVE_POINTS * found[0] - 1e-6, 1e-3)
    at = len(found) - 1 - np.searchsorted(found[::-1], wanted)
    precision: Float[np.ndarray, " point"] = found[at] / (found[at] + false[at])
    return precision
