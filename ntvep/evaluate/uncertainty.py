"""sorted scores, labels, clusters -> 95 % intervals that hold with few clusters, by deletion.

Variants of one gene are not independent, so that the unit is the cluster. AUROC and AUPRC are
computed again without each cluster in turn, on the logit scale: the jackknife form of the
clustered variance of Obuchowski 1997 (Biometrics 53:567), whose linear approximation is too small
where a few clusters are large or the AUROC is near 1. Quantiles are those of Student's t; its
degrees of freedom are the effective number of clusters (Kish 1965) of the scarcer class less one.
``docs/evaluation.md`` has the simulated coverage; ``benchmarks/coverage.py`` makes it.

All functions take any number of leading dimensions: one set of data in a report, thousands in a
simulation. Along the last axis variants are in ascending order of the score.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import special, stats

LEVEL = 0.95
FEWEST_CLUSTERS = 10.0
"""No interval where a class has fewer effective clusters than this."""
EXACT_DELETIONS = 32
EXACT_SHARE = 0.01
"""For AUPRC at most this many clusters, the largest, are left out exactly, those with at least this
share of a class; the others to first order, which costs one pass for all of them."""
_NEGATIVE, _POSITIVE = 0, 1

Ends = tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]
"""Low and high ends of 95 % intervals."""
Place = Int[np.ndarray, "*batch variant"] | slice
"""Places among counts, one for each variant; a slice where no two scores are equal."""


@dataclass(frozen=True, eq=False)
class Deleted:
    """A statistic of all clusters, and without each of them.

    Attributes:
        value: of all.
        without: without each cluster; NaN where what is left lacks a class.
        step: half of the least amount by which the value can fall short of 1: a logit stays finite.
    """

    value: Float[np.ndarray, "*batch"]
    without: Float[np.ndarray, "*batch cluster"]
    step: float


def effective_clusters(sizes: Shaped[np.ndarray, "*batch cluster"]) -> Float[np.ndarray, "*batch"]:
    """Kish's effective number: this many clusters of equal size would weigh the same; 0 of nothing.

    (sum of sizes)^2 / (sum of squared sizes).
    """
    sizes = sizes.astype(np.float64)
    squares = (sizes**2).sum(axis=-1)
    number: Float[np.ndarray, "*batch"] = np.divide(
        sizes.sum(axis=-1) ** 2, squares, out=np.zeros_like(squares), where=squares > 0
    )
    return number


def cluster_sums(
    values: Shaped[np.ndarray, "*batch variant"], of_row: Int[np.ndarray, "*batch variant"], n: int
) -> Float[np.ndarray, "*batch cluster"]:
    """Sum of the values of each cluster."""
    summed = np.bincount(_of_set(of_row, n), values.ravel(), minlength=_sets(of_row) * n)
    # Of no variants numpy counts in integers, weights or not.
    sums: Float[np.ndarray, "*batch cluster"] = summed.astype(np.float64).reshape(
        *of_row.shape[:-1], n
    )
    return sums


def auroc_without(
    label: Bool[np.ndarray, "*batch variant"],
    score: Float[np.ndarray, "*batch variant"],
    of_row: Int[np.ndarray, "*batch variant"],
    n: int,
) -> Deleted:
    """AUROC without each of ``n`` clusters, exactly: what its pairs contribute is taken away.

    A pair of two clusters is lost with either, a pair within a cluster is counted once.
    """
    by_class = 2 * of_row + label
    of_both = cluster_sums(pairs_won(label, score), by_class, 2 * n)
    of_negatives, of_positives = of_both[..., _NEGATIVE::2], of_both[..., _POSITIVE::2]
    inside = won_inside(label, score, of_row, n)
    sizes = class_sizes(label, of_row, n)
    total = sizes.sum(axis=-1, keepdims=True)
    left = total - sizes
    whole = of_positives.sum(axis=-1, keepdims=True)
    pairs = left[_NEGATIVE] * left[_POSITIVE]
    without = _ratio(whole - of_positives - of_negatives + inside, pairs)
    all_pairs = (total[_NEGATIVE] * total[_POSITIVE])[..., 0]
    return Deleted(
        _ratio(whole[..., 0], all_pairs), without, 0.5 / max(float(np.max(all_pairs)), 1.0)
    )


def pairs_won(
    label: Bool[np.ndarray, "*batch variant"], score: Float[np.ndarray, "*batch variant"]
) -> Float[np.ndarray, "*batch variant"]:
    """Pairs with the other class that are in order, for each variant; equal scores count half.

    Of a positive: negatives below it. Of a negative: positives above it.
    """
    changes = _changes(score)
    begin, end = _run_begins(changes), _run_ends(changes)
    before = _counted(~label)
    place = np.broadcast_to(np.arange(before.shape[-1]), before.shape)
    if isinstance(begin, slice):
        # A variant is of one class, so that what counts half counts in neither.
        negatives, below = before[..., begin], place[..., begin]
    else:
        negatives, below = _middle(before, begin, end), _middle(place, begin, end)
    positives = label.sum(axis=-1, keepdims=True)
    won: Float[np.ndarray, "*batch variant"] = np.where(
        label, negatives, positives - (below - negatives)
    ).astype(np.float64)
    return won


def won_inside(
    label: Bool[np.ndarray, "*batch variant"],
    score: Float[np.ndarray, "*batch variant"],
    of_row: Int[np.ndarray, "*batch variant"],
    n: int,
) -> Float[np.ndarray, "*batch cluster"]:
    """Pairs within each cluster that are in order; equal scores count half."""
    # Numpy sorts 16 bits by radix. Stable: within a cluster variants keep the order of their score.
    number = of_row.astype(np.uint16 if n <= 1 << 16 else np.int64)
    place = _of_set(np.argsort(number, axis=-1, kind="stable"), label.shape[-1])
    positive = label.ravel()[place]
    ends = np.cumsum(np.bincount(_of_set(of_row, n), minlength=_sets(of_row) * n))
    begins = np.append(0, ends)[:-1]
    negatives = _counted(~positive)
    at = np.flatnonzero(positive)
    below = negatives[at].astype(np.float64)
    if not _changes(score).all():
        changes = _changes(score.ravel()[place])
        changes[begins[begins < ends]] = True
        below = _middle(negatives, _run_begins(changes), _run_ends(changes))[at]
    # Of the positives before each bound: what is below them.
    sums = _counted(below)
    first, last = begins - negatives[begins], ends - negatives[ends]
    inside = sums[last] - sums[first] - (last - first) * negatives[begins]
    won: Float[np.ndarray, "*batch cluster"] = inside.reshape(*of_row.shape[:-1], n)
    return won


def class_sizes(
    label: Bool[np.ndarray, "*batch variant"], of_row: Int[np.ndarray, "*batch variant"], n: int
) -> Float[np.ndarray, "two *batch cluster"]:
    """Negatives, then positives, of each cluster."""
    sets = _sets(of_row)
    counts = np.bincount(_of_set(2 * of_row + label, 2 * n), minlength=sets * 2 * n)
    by_class = counts.astype(np.float64).reshape(*of_row.shape[:-1], n, 2)
    sizes: Float[np.ndarray, "two *batch cluster"] = np.moveaxis(by_class, -1, 0)
    return sizes


def auprc_without(
    label: Bool[np.ndarray, "*batch variant"],
    score: Float[np.ndarray, "*batch variant"],
    of_row: Int[np.ndarray, "*batch variant"],
    n: int,
) -> Deleted:
    """Average precision without each cluster, always at the prevalence of all of them.

    Precision depends on how many positives there are: without the weights, a cluster that is left
    out would count for its prevalence and not for how its variants are ranked.

    Raises:
        ValueError: the sets of data differ in how many positives they have.
    """
    if np.ptp(label.sum(axis=-1)):
        raise ValueError("sets of data with different numbers of positives")
    changes = _changes(score)
    sizes = class_sizes(label, of_row, n)
    total = sizes.sum(axis=-1)
    prevalence = _ratio(total[_POSITIVE], total.sum(axis=0))[..., None]
    at_positives = _at_positives(label, changes)
    value, influence = _average_precision(label, at_positives, _run_ends(changes), prevalence)
    # First order: a cluster's share of the derivative by the weights of its variants.
    without = value[..., None] - cluster_sums(influence, of_row, n)
    weight = _ratio(sizes, total[..., None]).max(axis=0).reshape(-1, n).max(axis=0)
    exact = min(EXACT_DELETIONS, int((weight >= EXACT_SHARE).sum()))
    largest = np.argsort(-weight, kind="stable")[:exact]
    without[..., largest] = _exactly_without(label, at_positives, of_row, prevalence, largest)
    positives = max(float(np.max(total[_POSITIVE])), 1.0)
    return Deleted(value, without, 0.5 / (positives * (positives + 1)))


@dataclass(frozen=True, eq=False)
class _AtPositives:
    """Precision is evaluated only at positives, which are few.

    Attributes:
        place: of each positive.
        first: the first variant of its score.
        rank: positives before that one.
        found, false: positives, and negatives, at that score or above.
    """

    place: Int[np.ndarray, "*batch positive"]
    first: Int[np.ndarray, "*batch positive"]
    rank: Int[np.ndarray, "*batch positive"]
    found: Int[np.ndarray, "*batch positive"]
    false: Int[np.ndarray, "*batch positive"]


def _at_positives(
    label: Bool[np.ndarray, "*batch variant"], changes: Bool[np.ndarray, "*batch variant"]
) -> _AtPositives:
    place = np.nonzero(label)[-1].reshape(*label.shape[:-1], -1)
    begin = _run_begins(changes)
    positives, n = place.shape[-1], label.shape[-1]
    if isinstance(begin, slice):
        first, rank = place, np.broadcast_to(np.arange(positives), place.shape)
    else:
        first = _at(begin, place)
        rank = _at(_counted(label), first)
    return _AtPositives(place, first, rank, positives - rank, n - positives - (first - rank))


def _average_precision(
    label: Bool[np.ndarray, "*batch variant"],
    at: _AtPositives,
    end: Place,
    prevalence: Float[np.ndarray, "*batch one"],
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch variant"]]:
    """Average precision, and its derivative by the weight of each variant.

    With T and F the shares of positives and negatives at or above a score and q the prevalence,
    precision is q T / (q T + (1 - q) F).
    """
    positives = at.place.shape[-1]
    negatives = label.shape[-1] - positives
    true, false = _ratio(at.found, np.array(positives)), _ratio(at.false, np.array(negatives))
    mixed = prevalence * true + (1 - prevalence) * false
    precision = _ratio(prevalence * true, mixed)
    value = precision.sum(axis=-1) / max(positives, 1)
    slope = prevalence * (1 - prevalence) / max(positives, 1) / mixed**2
    # What a variant adds to T or F it adds at every score at or below its own.
    reached = _at(_counted(label), end)
    for_positives, for_negatives = (
        _counted(part) - (part * of_class).sum(axis=-1, keepdims=True)
        for part, of_class in ((slope * false, true), (-slope * true, false))
    )
    influence = _at(for_negatives, reached) / max(negatives, 1)
    of_positive = precision - value[..., None] + _at(for_positives, _at(reached, at.place))
    np.put_along_axis(influence, at.place, of_positive / max(positives, 1), axis=-1)
    return value, influence


def _exactly_without(
    label: Bool[np.ndarray, "*batch variant"],
    at: _AtPositives,
    of_row: Int[np.ndarray, "*batch variant"],
    prevalence: Float[np.ndarray, "*batch one"],
    clusters: Int[np.ndarray, " some"],
) -> Float[np.ndarray, "*batch some"]:
    """Average precision without each of some clusters; NaN where what is left lacks a class."""
    batch = label.shape[:-1]
    of_positive = _at(of_row, at.place)
    negatives = label.shape[-1] - at.place.shape[-1]
    found = np.full((*batch, len(clusters)), np.nan)
    for number, cluster in enumerate(clusters):
        gone = _counted((of_row == cluster) & ~label)
        left = negatives - gone[..., -1:]
        above = _ratio(at.false - (gone[..., -1:] - _at(gone, at.first)), left)
        kept = of_positive != cluster
        counted = _counted(kept)
        positives = counted[..., -1:]
        true = _ratio(positives - _at(counted, at.rank), positives)
        mixed = prevalence * true + (1 - prevalence) * above
        precision = np.where(kept, _ratio(prevalence * true, mixed), 0)
        value = _ratio(precision.sum(axis=-1, keepdims=True), positives)
        found[..., number] = np.where(left > 0, value, np.nan)[..., 0]
    return found


# Intervals ----------------------------------------------------------------------------------------


def auroc_interval(deleted: Deleted, clusters: Float[np.ndarray, "*batch"]) -> Ends:
    """95 % interval of an AUROC; NaN with fewer than 10 effective clusters of a class.

    The deletions are taken on the logit scale themselves: near 1 their variance on the scale of the
    AUROC, carried over by its derivative, is far too small for few positives.

    Args:
        deleted: the AUROC.
        clusters: effective number of them, of the scarcer class.
    """
    centre, without = (_logit(x, deleted.step) for x in (deleted.value, deleted.without))
    half = _quantile(clusters) * np.sqrt(_variance(without))
    return _ends(deleted, clusters, half, centre - _bias(centre, without) / 2)


def auprc_interval(deleted: Deleted, clusters: Float[np.ndarray, "*batch"]) -> Ends:
    """95 % interval of an average precision; NaN with fewer than 10 effective clusters of a class.

    Args:
        deleted: the average precision.
        clusters: effective number of them, of the scarcer class.
    """
    _, half = _on_logit(deleted, clusters)
    unbiased = deleted.value - _bias(deleted.value, deleted.without)
    return _ends(deleted, clusters, half, _logit(unbiased, deleted.step))


def auroc_difference(a: Deleted, b: Deleted, clusters: Float[np.ndarray, "*batch"]) -> Ends:
    """95 % interval of a - b, two AUROCs of the same variants; NaN as in :func:`auroc_interval`."""
    value, without = a.value - b.value, a.without - b.without
    half = _quantile(clusters) * np.sqrt(_variance(without))
    plain = np.maximum(value - half, -1), np.minimum(value + half, 1)
    # A score that separates completely does not vary, which is not to say that it is known.
    separates = _separates(a) | _separates(b)
    apart = _recovered(a, b, auroc_interval(a, clusters), auroc_interval(b, clusters))
    # Two spellings of one score differ by nothing, and not by something unknown.
    same = (without == 0).all(axis=-1) & ~separates
    enough = _enough(a, clusters)
    return tuple(  # type: ignore[return-value]
        np.where(enough, np.where(same, 0, np.where(separates, other, end)), np.nan)
        for end, other in zip(plain, apart, strict=True)
    )


def auprc_difference(a: Deleted, b: Deleted, clusters: Float[np.ndarray, "*batch"]) -> Ends:
    """95 % interval of a - b, average precisions of the same variants; NaN as for one of them.

    Its variance alone would be as wrong as that of a small average precision is: the two intervals
    are put together (method of variance estimates recovery; Zou 2007, Psychol Methods 12:399).
    """
    parts = [_ends(d, clusters, *reversed(_on_logit(d, clusters))) for d in (a, b)]
    low, high = _recovered(a, b, *parts)
    same = (a.without == b.without).all(axis=-1) & ~_separates(a)
    return np.where(same, low * 0, low), np.where(same, high * 0, high)


def _on_logit(
    deleted: Deleted, clusters: Float[np.ndarray, "*batch"]
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """Value and half a width on the logit scale, by the derivative of the logit."""
    inside = np.clip(deleted.value, deleted.step, 1 - deleted.step)
    error = np.sqrt(_variance(deleted.without)) / (inside * (1 - inside))
    return _logit(deleted.value, deleted.step), _quantile(clusters) * error


def _ends(
    deleted: Deleted,
    clusters: Float[np.ndarray, "*batch"],
    half: Float[np.ndarray, "*batch"],
    corrected: Float[np.ndarray, "*batch"],
) -> Ends:
    """Ends from half a width on the logit scale; the exact bound where the classes are separate.

    Deletion also says how biased a value of few clusters is (Quenouille 1956). The interval spans
    those around the value and around the corrected one: the correction is itself uncertain.
    """
    centre = _logit(deleted.value, deleted.step)
    low = special.expit(np.minimum(centre, corrected) - half)
    high = special.expit(np.maximum(centre, corrected) + half)
    # k independent pairs are all in order with probability AUROC^k (Clopper and Pearson 1934).
    bound = ((1 - LEVEL) / 2) ** (1 / np.maximum(clusters, 1))
    is_one, is_zero = deleted.value >= 1 - deleted.step, deleted.value <= deleted.step
    low = np.where(is_one, bound, np.where(is_zero, 0.0, low))
    high = np.where(is_zero, 1 - bound, np.where(is_one, 1.0, high))
    enough = _enough(deleted, clusters)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def _recovered(a: Deleted, b: Deleted, of_a: Ends, of_b: Ends) -> Ends:
    """Ends of a - b from those of a and of b, and the correlation of their deletions."""
    x, y = (d.without - d.without.mean(axis=-1, keepdims=True) for d in (a, b))
    spread = np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    together = _ratio((x * y).sum(axis=-1), spread)
    rho = np.where(np.isfinite(together), together, 0)
    below_a, above_a = a.value - of_a[0], of_a[1] - a.value
    below_b, above_b = b.value - of_b[0], of_b[1] - b.value
    down = below_a**2 + above_b**2 - 2 * rho * below_a * above_b
    up = above_a**2 + below_b**2 - 2 * rho * above_a * below_b
    value = a.value - b.value
    return (
        np.maximum(value - np.sqrt(np.maximum(down, 0)), -1),
        np.minimum(value + np.sqrt(np.maximum(up, 0)), 1),
    )


def _separates(deleted: Deleted) -> Bool[np.ndarray, "*batch"]:
    return (deleted.value >= 1 - deleted.step) | (deleted.value <= deleted.step)


def _enough(deleted: Deleted, clusters: Float[np.ndarray, "*batch"]) -> Bool[np.ndarray, "*batch"]:
    enough: Bool[np.ndarray, "*batch"] = (clusters >= FEWEST_CLUSTERS) & np.isfinite(
        deleted.without
    ).all(axis=-1)
    return enough


def _quantile(clusters: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
    df = np.maximum(clusters - 1, 1)
    quantile: Float[np.ndarray, "*batch"] = stats.t.ppf((1 + LEVEL) / 2, df)
    return quantile


def _variance(without: Float[np.ndarray, "*batch cluster"]) -> Float[np.ndarray, "*batch"]:
    """The jackknife's: (n - 1) / n times the sum of squares around the mean of the deletions."""
    n = without.shape[-1]
    mean = without.mean(axis=-1, keepdims=True)
    variance: Float[np.ndarray, "*batch"] = ((without - mean) ** 2).sum(axis=-1) * (n - 1) / n
    return variance


def _bias(
    value: Float[np.ndarray, "*batch"], without: Float[np.ndarray, "*batch cluster"]
) -> Float[np.ndarray, "*batch"]:
    bias: Float[np.ndarray, "*batch"] = (without.shape[-1] - 1) * (without.mean(axis=-1) - value)
    return bias


def _logit(x: Shaped[np.ndarray, "*shape"], step: float) -> Float[np.ndarray, "*shape"]:
    inside = np.clip(x, step, 1 - step)
    logit: Float[np.ndarray, "*shape"] = np.log(inside / (1 - inside))
    return logit


# Parts --------------------------------------------------------------------------------------------


def _changes(values: Shaped[np.ndarray, "*batch variant"]) -> Bool[np.ndarray, "*batch variant"]:
    """Where a value differs from the one before it, the first included."""
    first = np.ones((*values.shape[:-1], min(1, values.shape[-1])), bool)
    return np.concatenate((first, values[..., 1:] != values[..., :-1]), axis=-1)


def _run_begins(changes: Bool[np.ndarray, "*batch variant"]) -> Place:
    """Of each variant the first of its run."""
    if changes.all():
        return slice(None, -1)
    place = np.arange(changes.shape[-1])
    begin: Int[np.ndarray, "*batch variant"] = np.maximum.accumulate(
        np.where(changes, place, 0), axis=-1
    )
    return begin


def _run_ends(changes: Bool[np.ndarray, "*batch variant"]) -> Place:
    """Of each variant the first after its run."""
    if changes.all():
        return slice(1, None)
    n = changes.shape[-1]
    last = np.full((*changes.shape[:-1], 1), n)
    following = np.concatenate((np.where(changes, np.arange(n), n)[..., 1:], last), axis=-1)
    end: Int[np.ndarray, "*batch variant"] = np.minimum.accumulate(following[..., ::-1], axis=-1)
    return end[..., ::-1]


def _counted(values: Shaped[np.ndarray, "*batch variant"]) -> Shaped[np.ndarray, "*batch more"]:
    """Sum before each place, and of all at the end; of booleans an integer."""
    kind = np.int64 if values.dtype == bool else np.float64
    sums = np.zeros((*values.shape[:-1], values.shape[-1] + 1), kind)
    np.cumsum(values, axis=-1, dtype=kind, out=sums[..., 1:])
    return sums


def _at(
    values: Shaped[np.ndarray, "*batch some"], place: Place
) -> Shaped[np.ndarray, "*batch variant"]:
    """Values at places of the last axis."""
    if isinstance(place, slice):
        return values[..., place]
    if _sets(values) == 1:
        return values.ravel()[place.ravel()].reshape(place.shape)
    return np.take_along_axis(values, place, axis=-1)


def _middle(
    before: Int[np.ndarray, "*batch more"], begin: Place, end: Place
) -> Float[np.ndarray, "*batch variant"]:
    """Of what is counted below each run, the run itself counting half."""
    middle: Float[np.ndarray, "*batch variant"] = (_at(before, begin) + _at(before, end)) / 2
    return middle


def _sets(values: Shaped[np.ndarray, "*batch last"]) -> int:
    return int(np.prod(values.shape[:-1]))


def _of_set(of_row: Int[np.ndarray, "*batch variant"], n: int) -> Int[np.ndarray, " all"]:
    """Clusters of all sets of data, numbered on from one set to the next."""
    sets = _sets(of_row)
    if sets == 1:
        return of_row.ravel()
    numbered: Int[np.ndarray, " all"] = (
        of_row.reshape(sets, -1) + n * np.arange(sets)[:, None]
    ).ravel()
    return numbered


def _ratio(
    part: Shaped[np.ndarray, "..."], whole: Shaped[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Part of the whole; NaN of nothing."""
    part, whole = np.broadcast_arrays(part, whole)
    nothing = np.full(part.shape, np.nan)
    ratio: Float[np.ndarray, "..."] = np.divide(part, whole, out=nothing, where=whole > 0)
    return ratio
