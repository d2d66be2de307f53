"""labels and one score -> its local positive likelihood ratio: how much a value says.

After Pejaver et al. 2022 (Am J Hum Genet 109:2163): around each value the smallest symmetric window
with enough labelled variants; the ratio of the share of all positives to the share of all negatives
in it. A likelihood ratio does not depend on how many positives there are among the labels. Where
the window is so wide, or so far to one side of the value, that the ratio changes within it, what it
measures is the ratio of other values, and none is given. It is a curve for research, and becomes a
call about a variant nowhere in ntvep.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from ntvep.evaluate import uncertainty
from ntvep.evaluate.metrics import SEED, TOO_FEW, Ranked, resampled

POINTS = 100
FEWEST_IN_WINDOW = 100
SHARE_IN_WINDOW = 0.03
MOST_SHIFT = 0.1
"""A window whose log ratio differs by more than this from that at its value is too wide."""
FOLDS = 5
RELIABILITY_BINS = 10

ODDS: Mapping[str, float] = {
    "supporting": 2.406,
    "moderate": 5.790,
    "strong": 33.53,
    "very strong": 1124.0,
}
"""Odds of Tavtigian et al. 2018 (Genet Med 20:1054) at the prior of Pejaver et al. 2022, 4.41 %."""


@dataclass(frozen=True)
class Calibration:
    """The curve, and whether it holds in unseen genes.

    Attributes:
        curve: ``value`` of the score (as oriented), ``ratio``, ``low``, ``high``, ``positives``,
            ``negatives``; no ratio where the window is not narrow and centred, no ``low`` and
            ``high`` with too few clusters.
        reliability: variants binned by the ratio that the other folds' curves predict:
            ``predicted`` (geometric mean), ``observed``, ``low``, ``high``, ``positives``,
            ``negatives``.
    """

    curve: pl.DataFrame
    reliability: pl.DataFrame


def calibrate(data: Ranked, *, seed: int = SEED) -> Calibration | None:
    """The local likelihood ratio with its interval; None where there are too few variants.

    Intervals are those of the clusters' resamples. Folds are made of whole clusters.
    """
    if len(data.label) < 2 * FEWEST_IN_WINDOW or not data.is_enough:
        return None
    values = _grid(data.score)
    first, last = windows_around(data.score, values)
    cut = np.unique(np.concatenate((first, last)))
    segment = np.searchsorted(cut, np.arange(len(data.label)), side="right")
    cells, n = 2 * segment + data.label, 2 * len(cut) + 2
    whole, drawn = (
        # Counts below each cut; then of what lies between two of them.
        np.cumsum(counts.reshape(len(cut) + 1, 2, -1), axis=0, dtype=np.float64)
        for counts in (_counts(cells, n), resampled(cells, data.clusters, n))
    )
    begin, end = np.searchsorted(cut, first), np.searchsorted(cut, last)
    curve = _table(*((c[end] - c[begin], c[-1]) for c in (whole, drawn)))
    says = pl.Series(_is_narrow(data, values, first, last))
    has_band = data.support.scarcer >= uncertainty.FEWEST_CLUSTERS
    curve = curve.with_columns(
        pl.when(says).then("observed"),
        *(pl.when(says & has_band).then(name).alias(name) for name in ("low", "high")),
    )
    return Calibration(
        curve.rename({"observed": "ratio"}).insert_column(0, pl.Series("value", values)),
        _reliability(data, seed),
    )


def _is_narrow(
    data: Ranked,
    values: Float[np.ndarray, " point"],
    first: Int[np.ndarray, " point"],
    last: Int[np.ndarray, " point"],
) -> Bool[np.ndarray, " point"]:
    """Whether a window measures the ratio at its value rather than at neighbouring values.

    To first order the log ratio is a line of slope b, the difference of the classes' means over
    their variance (a linear discriminant); the ratio of the window is the mean of the ratio over
    its negatives, whose logarithm differs by b (mean - value) + b^2 variance / 2 from that at the
    value. Windows with too few of a class say nothing.
    """
    cut = np.unique(np.concatenate(([0], first, last)))
    # Sums between cuts are short, and differences of sums over all would cancel.
    cut = cut[cut < len(data.label)]
    positive = np.where(data.label, data.score, 0)
    of_parts = np.array(
        [
            [np.add.reduceat(values, cut) for values in powers]
            for powers in (
                (np.ones(len(data.label)), data.score, data.score**2),
                (data.label.astype(np.float64), positive, positive**2),
            )
        ]
    )
    sums = np.concatenate((np.zeros((2, 3, 1)), np.cumsum(of_parts, axis=-1)), axis=-1)
    begin, end = np.searchsorted(cut, first), np.searchsorted(cut, last)
    of_all, of_positives = sums[..., end] - sums[..., begin]
    n, total, squares = np.stack((of_all - of_positives, of_positives), axis=1)
    mean = total / np.maximum(n, 1)
    deviations = np.maximum(squares - n * mean**2, 0)
    variance = deviations.sum(axis=0) / np.maximum(n.sum(axis=0) - 2, 1)
    # In a window of one value there is no slope.
    slope = np.divide(mean[1] - mean[0], variance, out=np.zeros(len(values)), where=variance > 0)
    shift = slope * (mean[0] - values) + slope**2 * deviations[0] / np.maximum(n[0], 1) / 2
    narrow: Bool[np.ndarray, " point"] = (n.min(axis=0) >= TOO_FEW) & (np.abs(shift) <= MOST_SHIFT)
    return narrow


def windows_around(
    scores: Float[np.ndarray, " variant"], values: Float[np.ndarray, " point"]
) -> tuple[Int[np.ndarray, " point"], Int[np.ndarray, " point"]]:
    """The smallest interval around each value, symmetric, that holds enough of the scores.

    Enough are 100, or 3 % of them if that is more. Equal scores are inside together.

    Args:
        scores: ascending.
        values: where.

    Returns:
        Places of the first score inside and of the first after.
    """
    n = len(scores)
    wanted = min(n, max(FEWEST_IN_WINDOW, round(SHARE_IN_WINDOW * n)))
    # The window [i, i + wanted) may move on while what it gains is nearer than what it loses.
    sums = scores[: n - wanted] + scores[wanted:]
    first = np.searchsorted(sums, 2 * values)
    low, high = scores[first], scores[first + wanted - 1]
    return np.searchsorted(scores, low), np.searchsorted(scores, high, side="right")


def _grid(scores: Float[np.ndarray, " variant"]) -> Float[np.ndarray, " point"]:
    """Values to look at: half of them evenly over the scores, half over the variants."""
    low, high = np.quantile(scores, [0.005, 0.995])
    evenly = np.linspace(low, high, POINTS // 2)
    by_variants = np.quantile(scores, np.linspace(0.005, 0.995, POINTS // 2))
    values: Float[np.ndarray, " point"] = np.unique(np.concatenate((evenly, by_variants)))
    return values


def _counts(cells: Int[np.ndarray, " variant"], n: int) -> Float[np.ndarray, "cell one"]:
    return np.bincount(cells, minlength=n).astype(np.float64)[:, None]


def _table(
    whole: tuple[Float[np.ndarray, "point two one"], Float[np.ndarray, "two one"]],
    drawn: tuple[Float[np.ndarray, "point two resample"], Float[np.ndarray, "two resample"]],
) -> pl.DataFrame:
    """Ratios with intervals, from counts of negatives and positives there and in all."""
    low, high = np.percentile(_ratio(*drawn), (2.5, 97.5), axis=1)
    if not drawn[1].any():
        # Resamples that hold nothing: see metrics.draw.
        low = high = np.full_like(low, np.nan)
    return pl.DataFrame(
        {
            "observed": _ratio(*whole)[:, 0],
            "low": low,
            "high": high,
            "positives": whole[0][:, 1, 0].astype(np.int64),
            "negatives": whole[0][:, 0, 0].astype(np.int64),
        }
    )


def _ratio(
    here: Float[np.ndarray, "point two resample"], everywhere: Float[np.ndarray, "two resample"]
) -> Float[np.ndarray, "point resample"]:
    """Share of all positives over share of all negatives; half a variant keeps it finite."""
    share = (here + 0.5) / (everywhere + 0.5)
    ratio: Float[np.ndarray, "point resample"] = share[:, 1] / share[:, 0]
    return ratio


def _reliability(data: Ranked, seed: int) -> pl.DataFrame:
    """Each variant's ratio as the curve of other clusters predicts it, against what is observed."""
    n_clusters = len(data.clusters.copies)
    fold = np.random.default_rng(seed).permutation(n_clusters)[data.clusters.of_row] % FOLDS
    predicted = np.full(len(data.label), np.nan)
    for held_out in range(FOLDS):
        seen, unseen = data.some(fold != held_out), fold == held_out
        if not seen.is_enough or not unseen.any():
            continue
        values = _grid(seen.score)
        first, last = windows_around(seen.score, values)
        below = np.append(0, np.cumsum(seen.label))
        positive = (below[last] - below[first]).astype(np.float64)
        here = np.stack((last - first - positive, positive), axis=1)[:, :, None]
        everywhere = np.array([[seen.negatives], [seen.positives]], np.float64)
        ratio = _ratio(here, everywhere)[:, 0]
        says = _is_narrow(seen, values, first, last)
        if says.any():
            # Below and above them the curve says nothing.
            logs = np.interp(data.score[unseen], values[says], np.log(ratio[says]), np.nan, np.nan)
            predicted[unseen] = logs
    known = np.isfinite(predicted)
    if not known.any():
        return _table(*[(np.empty((0, 2, 1)), np.ones((2, 1)))] * 2).insert_column(
            0, pl.Series("predicted", [], pl.Float64)
        )
    predicted, data = predicted[known], data.some(known)
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, RELIABILITY_BINS + 1)[1:-1]))
    of_bin, n = np.searchsorted(edges, predicted, side="right"), len(edges) + 1
    cells = 2 * of_bin + data.label
    whole, drawn = (
        counts.reshape(n, 2, -1).astype(np.float64)
        for counts in (_counts(cells, 2 * n), resampled(cells, data.clusters, 2 * n))
    )
    size = np.maximum(np.bincount(of_bin, minlength=n), 1)
    mean = np.exp(np.bincount(of_bin, predicted, minlength=n) / size)
    table = _table(*((c, c.sum(axis=0)) for c in (whole, drawn)))
    table = table.insert_column(0, pl.Series("predicted", mean))
    return table.filter(pl.col("positives") + pl.col("negatives") > 0)
