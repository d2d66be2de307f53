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
    shape = values.shape[:-1]
    sets = int(np.prod(shape))
    place = of_row.reshape(sets, -1) + n * np.arange(sets)[:, None]
    summed = np.bincount(place.ravel(), values.ravel().astype(np.float64), minlength=sets * n)
    # Of no variants numpy counts in integers, weights or not.
    sums: Float[np.ndarray, "*batch cluster"] = summed.astype(np.float64).reshape(*shape, n)
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
    beaten = pairs_won(label, score)
    of_positives = cluster_sums(np.where(label, beaten, 0), of_row, n)
    of_negatives = cluster_sums(np.where(label, 0, beaten), of_row, n)
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
    begin, end = _runs(_changes(score))
    below_negatives = _between(~label, begin, end)
    positives = label.sum(axis=-1, keepdims=True)
    won: Float[np.ndarray, "*batch variant"] = np.where(
        label, below_negatives, positives - _between(label, begin, end)
    )
    return won


def won_inside(
    label: Bool[np.ndarray, "*batch variant"],
    score: Float[np.ndarray, "*batch variant"],
    of_row: Int[np.ndarray, "*batch variant"],
    n: int,
) -> Float[np.ndarray, "*batch cluster"]:
    """Pairs within each cluster that are in order; equal scores count half."""
    # Stable: within a cluster variants keep the order of their score.
    place = np.argsort(of_row, axis=-1, kind="stable")
    label, score, of_row = (np.take_along_axis(a, place, -1) for a in (label, score, of_row))
    new_cluster = _changes(of_row)
    begin, end = _runs(_changes(score) | new_cluster)
    before = _counted(~label)
    first, _ = _runs(new_cluster)
    below = (_at(before, begin) + _at(before, end)) / 2 - _at(before, first)
    return cluster_sums(np.where(label, below, 0), of_row, n)


def class_sizes(
    label: Bool[np.ndarray, "*batch variant"], of_row: Int[np.ndarray, "*batch variant"], n: int
) -> Float[np.ndarray, "two *batch cluster"]:
    """Negatives, then positives, of each cluster."""
    return np.stack([cluster_sums(c, of_row, n) for c in (~label, label)])


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
    begin, _ = _runs(_changes(score))
    sizes = class_sizes(label, of_row, n)
    total = sizes.sum(axis=-1)
    prevalence = _ratio(total[_POSITIVE], total.sum(axis=0))[..., None]
    value, influence = _average_precision(label, begin, prevalence)
    # First order: a cluster's share of the derivative by the weights of its variants.
    without = value[..., None] - cluster_sums(influence, of_row, n)
    weight = _ratio(sizes, total[..., None]).max(axis=0).reshape(-1, n).max(axis=0)
    exact = min(EXACT_DELETIONS, int((weight >= EXACT_SHARE).sum()))
    largest = np.argsort(-weight, kind="stable")[:exact]
    without[..., largest] = _exactly_without(label, begin, of_row, prevalence, largest)
    positives = max(float(np.max(total[_POSITIVE])), 1.0)
    return Deleted(value, without, 0.5 / (positives * (positives + 1)))


def _average_precision(
    label: Bool[np.ndarray, "*batch variant"],
    begin: Int[np.ndarray, "*batch variant"],
    prevalence: Float[np.ndarray, "*batch one"],
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch variant"]]:
    """Average precision, and its derivative by the weight of each variant.

    With T and F the shares of positives and negatives at or above a score and q the prevalence,
    precision is q T / (q T + (1 - q) F).
    """
    above, n = [], []
    for of_class in (label, ~label):
        before = _counted(of_class)
        n.append(before[..., -1:])
        above.append(_ratio(n[-1] - _at(before, begin), n[-1]))
    true, false = above
    mixed = prevalence * true + (1 - prevalence) * false
    precision = _ratio(prevalence * true, mixed)
    share = np.where(label, _ratio(np.ones_like(n[0]), n[0]), 0)
    value = (share * np.where(label, precision, 0)).sum(axis=-1)
    slope = share * prevalence * (1 - prevalence) * _ratio(np.ones_like(mixed), mixed**2)
    _, end = _runs(begin == np.arange(begin.shape[-1]))
    gains = []
    for of_other, of_class in ((false, true), (-true, false)):
        # What a variant adds to T or F it adds at every score at or below its own.
        part = slope * of_other
        gains.append(_at(_counted(part), end) - (part * of_class).sum(axis=-1, keepdims=True))
    of_positive = precision - value[..., None] + gains[0]
    influence = np.where(label, _ratio(of_positive, n[0]), _ratio(gains[1], n[1]))
    return value, influence


def _exactly_without(
    label: Bool[np.ndarray, "*batch variant"],
    begin: Int[np.ndarray, "*batch variant"],
    of_row: Int[np.ndarray, "*batch variant"],
    prevalence: Float[np.ndarray, "*batch one"],
    clusters: Int[np.ndarray, " some"],
) -> Float[np.ndarray, "*batch some"]:
    """Average precision without each of some clusters; NaN where what is left lacks a class."""
    batch = label.shape[:-1]
    # Precision is evaluated only at positives, which are few.
    place = np.nonzero(label)[-1].reshape(*batch, -1)
    first = np.take_along_axis(begin, place, -1)
    of_positive = np.take_along_axis(of_row, place, -1)
    negatives = _counted(~label)
    false = negatives[..., -1:] - _at(negatives, first)
    # Of each positive the first one of its score.
    rank = (first - _at(negatives, first)).astype(np.int64)
    found = np.full((*batch, len(clusters)), np.nan)
    for number, cluster in enumerate(clusters):
        gone = np.cumsum((of_row == cluster) & ~label, axis=-1, dtype=np.int32)
        # After the place before the first: what is gone at or above it.
        before = np.where(first > 0, np.take_along_axis(gone, np.maximum(first - 1, 0), -1), 0)
        left = negatives[..., -1:] - gone[..., -1:]
        above = _ratio(false - (gone[..., -1:] - before), left)
        kept = of_positive != cluster
        counted = _counted(kept)
        positives = counted[..., -1:]
        true = _ratio(positives - _at(counted, rank), positives)
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


def _runs(
    changes: Bool[np.ndarray, "*batch variant"],
) -> tuple[Int[np.ndarray, "*batch variant"], Int[np.ndarray, "*batch variant"]]:
    """Of each variant the first of its run, and the first after it."""
    n = changes.shape[-1]
    place = np.broadcast_to(np.arange(n), changes.shape)
    begin = np.maximum.accumulate(np.where(changes, place, 0), axis=-1)
    last = np.full((*changes.shape[:-1], min(1, n)), n)
    following = np.concatenate((np.where(changes, place, n)[..., 1:], last), axis=-1)
    end = np.minimum.accumulate(following[..., ::-1], axis=-1)[..., ::-1]
    return begin, end


def _counted(values: Shaped[np.ndarray, "*batch variant"]) -> Float[np.ndarray, "*batch more"]:
    """Sum before each place, and of all at the end."""
    zero = np.zeros((*values.shape[:-1], 1))
    return np.concatenate((zero, np.cumsum(values, axis=-1, dtype=np.float64)), axis=-1)


def _at(
    counted: Float[np.ndarray, "*batch more"], place: Int[np.ndarray, "*batch variant"]
) -> Float[np.ndarray, "*batch variant"]:
    found: Float[np.ndarray, "*batch variant"] = np.take_along_axis(counted, place, axis=-1)
    return found


def _between(
    of_class: Bool[np.ndarray, "*batch variant"],
    begin: Int[np.ndarray, "*batch variant"],
    end: Int[np.ndarray, "*batch variant"],
) -> Float[np.ndarray, "*batch variant"]:
    """Of a class below each run, its own run counting half."""
    before = _counted(of_class)
    middle: Float[np.ndarray, "*batch variant"] = (_at(before, begin) + _at(before, end)) / 2
    return middle


def _ratio(
    part: Shaped[np.ndarray, "..."], whole: Shaped[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Part of the whole; NaN of nothing."""
    part, whole = np.broadcast_arrays(part, whole)
    nothing = np.full(part.shape, np.nan)
    ratio: Float[np.ndarray, "..."] = np.divide(part, whole, out=nothing, where=whole > 0)
    return ratio
