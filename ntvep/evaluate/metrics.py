"""labels and one score -> AUROC, AUPRC and Spearman, with intervals that know of clusters.

Point values are scikit-learn's and scipy's. The unit is the cluster (genes, or 1-Mb blocks of the
genome): variants of one gene share sequence, windows and how they came to be labelled, and are not
independent. Intervals of AUROC, AUPRC and their differences are analytic (see
:mod:`ntvep.evaluate.uncertainty`). Bands of curves and intervals of correlations are percentiles
of 1,000 resamples of whole clusters. A resample is a number of copies of each cluster, so that
every statistic of it follows from counts: how many positives and negatives of which score it holds
is one product of a sparse and a dense matrix.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int, Shaped
from scipy import sparse

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
_RESAMPLES_AT_ONCE = 50

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
        place = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return Ranked(
            self.row[place], self.label[place], self.score[place], self.clusters.rows(place)
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
        by_class = np.bincount(2 * self.clusters.of_row + self.label, minlength=2)
        for name, sizes in (("positives", by_class[1::2]), ("negatives", by_class[::2])):
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


def auroc(data: Ranked) -> float:
    """Area under the receiver operating characteristic: scikit-learn's, without sorting again."""
    return _auroc(*_at_or_above(data))


def auprc(data: Ranked) -> float:
    """Average precision: scikit-learn's, without sorting again; nothing between points."""
    return _auprc(*_at_or_above(data))


def _auroc(found: Float[np.ndarray, " threshold"], false: Float[np.ndarray, " threshold"]) -> float:
    # As scikit-learn has it, to the last bit: without the points that lie between others on a line.
    kept = np.ones(len(found), bool)
    kept[1:-1] = (np.diff(found, 2) != 0) | (np.diff(false, 2) != 0)
    true_rate, false_rate = (
        np.append(0, counts[::-1][kept[::-1]] / counts[0]) for counts in (found, false)
    )
    return float(np.trapezoid(true_rate, false_rate))


def _auprc(found: Float[np.ndarray, " threshold"], false: Float[np.ndarray, " threshold"]) -> float:
    recall = np.append(found / found[0], 0)
    return max(0.0, float(-np.sum(np.diff(recall) * (found / (found + false)))))


def _at_or_above(
    data: Ranked,
) -> tuple[Float[np.ndarray, " threshold"], Float[np.ndarray, " threshold"]]:
    """Positives and negatives with each score or a higher one; scores ascend.

    No threshold lies between equal scores.
    """
    first = np.flatnonzero(np.append(True, data.score[1:] != data.score[:-1]))
    found = data.positives - np.append(0, np.cumsum(data.label))[first]
    return found.astype(np.float64), (len(data.label) - first - found).astype(np.float64)


def discrimination(data: Ranked, *, curves: bool = False) -> Discrimination:
    """AUROC and average precision with intervals; with ``curves`` also the curves with bands.

    Args:
        data: has at least one variant of each class.
        curves: whether to compute curves.
    """
    # A leading dimension: the functions are those of the simulation, which has many sets of data.
    label, score = data.label[None], data.score[None]
    present = np.bincount(data.clusters.of_row) > 0
    # Numbers without gaps: clusters that none of these variants lies in are not left out.
    of_row = (np.cumsum(present) - 1)[data.clusters.of_row]
    arguments = (label, score, of_row[None], int(present.sum()))
    by_auroc, by_auprc = (
        f(*arguments) for f in (uncertainty.auroc_without, uncertainty.auprc_without)
    )
    scarcer = np.array([data.support.scarcer])
    counts = _at_or_above(data)
    roc, precision_recall, lacking = _curves(data) if curves else (None, None, 0)
    return Discrimination(
        auroc=_interval(_auroc(*counts), uncertainty.auroc_interval(by_auroc, scarcer)),
        auprc=_interval(_auprc(*counts), uncertainty.auprc_interval(by_auprc, scarcer)),
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
    (rank_x, of_x, n_x), (rank_y, of_y, n_y) = _ranks_and_bins(x), _ranks_and_bins(y)
    # As scipy has it, to the last bit: Pearson's correlation of the ranks.
    value = float(np.corrcoef(rank_x, rank_y)[1, 0]) if n_x > 1 and n_y > 1 else np.nan
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
    return np.concatenate(list(_in_blocks(cells, clusters, n)), axis=1)


def _in_blocks(
    cells: Int[np.ndarray, " variant"], clusters: Clusters, n: int
) -> Iterator[Float[np.ndarray, "cell some"]]:
    """As :func:`resampled`, some resamples at a time, whose counts stay in a cache."""
    variants = _by_cluster(cells, clusters, n)
    for begin in range(0, clusters.copies.shape[1], _RESAMPLES_AT_ONCE):
        yield variants @ clusters.copies[:, begin : begin + _RESAMPLES_AT_ONCE]


def _by_cluster(
    cells: Int[np.ndarray, " variant"], clusters: Clusters, n: int
) -> Float[np.ndarray, "cell cluster"] | sparse.csc_array:
    """Variants of each cell and cluster; sparse unless it has fewer places than there are variants.

    A sparse one has a 1 for each variant: to add those of one place would cost more than it saves.
    """
    of_row, n_clusters = clusters.of_row, len(clusters.copies)
    if n * n_clusters <= len(cells):
        place = cells.astype(np.int64) * n_clusters + of_row
        counts = np.bincount(place, minlength=n * n_clusters)
        return counts.astype(np.float32).reshape(n, n_clusters)
    # Numpy sorts 16 bits by radix.
    number = of_row.astype(np.uint16) if n_clusters <= 1 << 16 else of_row
    indices = cells[np.argsort(number, kind="stable")].astype(np.int32)
    ends = np.cumsum(np.append(0, np.bincount(of_row, minlength=n_clusters)))
    ones = np.ones(len(cells), np.float32)
    return sparse.csc_array((ones, indices, ends.astype(np.int32)), shape=(n, n_clusters))


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


def _ranks_and_bins(
    values: Float[np.ndarray, " variant"],
) -> tuple[Float[np.ndarray, " variant"], Int[np.ndarray, " variant"], int]:
    """Mid-rank and bin of each value, both ascending, and the number of bins.

    A bin a value if there are few values, else bins of equally many; equal values share both.
    """
    order = np.argsort(values)
    ascending = values[order]
    first = np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1]))
    sizes = np.diff(np.append(first, len(values)))
    if len(first) <= _JOINT_BINS:
        of_ascending, n = np.repeat(np.arange(len(first)), sizes), len(first)
    else:
        shares = np.linspace(0, 1, _JOINT_BINS + 1)[1:-1]
        edges = np.unique(np.quantile(ascending, shares))
        of_ascending, n = np.searchsorted(edges, ascending, side="right"), len(edges) + 1
    rank, of_bin = np.empty(len(values)), np.empty(len(values), np.int64)
    rank[order], of_bin[order] = np.repeat(first + (sizes + 1) / 2, sizes), of_ascending
    return rank, of_bin, n


def _curves(data: Ranked) -> tuple[Band, Band, int]:
    """ROC and precision-recall curve: values of each variant, bands of the resamples' bins.

    Precision is at the prevalence of all in every resample. The third is how many resamples lack a
    class; without enough clusters for an interval there is no band.
    """
    of_bin, n = score_bins(data)
    has_band = data.support.scarcer >= uncertainty.FEWEST_CLUSTERS
    # As many negatives and positives as there are, whatever a resample drew.
    sizes = np.array([[data.negatives], [data.positives]], np.float64)
    lacking, drawn = 0, []
    for part in _in_blocks(2 * of_bin + data.label, data.clusters, 2 * n):
        # A row for each resample and class, from the highest score on.
        counts = np.ascontiguousarray(part.reshape(n, 2, -1)[::-1].transpose(2, 1, 0))
        for above in np.cumsum(counts, axis=-1, dtype=np.float64)[..., ::-1]:
            if not above[:, 0].all():
                lacking += 1
            elif has_band:
                false, found = above * (sizes / above[:, :1])
                drawn.append((_roc(found, false), _precision_recall(found, false)))
    found, false = _at_or_above(data)
    values = (_roc(found, false), _precision_recall(found, false))
    ends = (
        np.percentile(drawn, _LEVELS, axis=0)
        if drawn
        else np.full((2, 2, len(CURVE_POINTS)), np.nan)
    )
    roc, precision_recall = (
        Band(value, *of_curve) for value, of_curve in zip(values, ends.swapaxes(0, 1), strict=True)
    )
    return roc, precision_recall, lacking


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
