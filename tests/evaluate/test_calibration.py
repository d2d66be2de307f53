"""The local likelihood ratio against densities that are known."""

import numpy as np
import pytest

from ntvep.evaluate import metrics
from ntvep.evaluate.calibration import calibrate, windows_around


def two_normals(n=20_000, n_clusters=200, seed=0):
    """Positives N(1, 1), a tenth of all; negatives N(0, 1): the ratio at s is exp(s - 1/2)."""
    rng = np.random.default_rng(seed)
    label = rng.random(n) < 0.1
    score = rng.normal(size=n) + label
    of_row = rng.integers(0, n_clusters, n)
    groups = metrics.Clusters(of_row, metrics.draw(n_clusters, 200, 0), "")
    return metrics.ranked(label, score, groups)


def test_the_curve_is_the_ratio_of_the_densities():
    curve = calibrate(two_normals()).curve
    middle = curve.filter(curve["value"].is_between(0.0, 2.0))
    assert middle.height > 30
    truth = np.exp(middle["value"].to_numpy() - 0.5)
    low, ratio, high = (middle[c].to_numpy() for c in ("low", "ratio", "high"))
    assert ratio == pytest.approx(truth, rel=0.3)
    assert ((low <= truth) & (truth <= high)).mean() > 0.8
    # Prevalence is a tenth: a ratio that forgot it would be nine times smaller.
    assert np.median(np.log(ratio / truth)) == pytest.approx(0, abs=0.08)


def test_what_is_predicted_from_other_genes_is_observed():
    table = calibrate(two_normals()).reliability
    assert table.height == 10
    assert table["predicted"].is_sorted()
    off = np.log(table["observed"] / table["predicted"])
    assert np.abs(off).max() < 0.3
    assert (table["positives"] + table["negatives"]).sum() == 20_000


def test_a_score_that_knows_genes_alone_is_found_out():
    """Each gene has one score, and labels of its own: other genes' curves predict nothing."""
    rng = np.random.default_rng(1)
    of_row = np.repeat(np.arange(100), 40)
    label = rng.random(100)[of_row] < rng.random(len(of_row))
    groups = metrics.Clusters(of_row, metrics.draw(100, 200, 0), "")
    found = calibrate(metrics.ranked(label, rng.normal(size=100)[of_row], groups))
    spread = np.log(found.curve["ratio"]).std()
    slope = np.polyfit(
        np.log(found.reliability["predicted"]), np.log(found.reliability["observed"]), 1
    )
    assert spread > 0.2
    assert slope[0] < 0.6


def test_windows_are_the_nearest():
    scores = np.sort(np.random.default_rng(2).normal(size=1_000))
    values = np.array([-9.0, -1.0, 0.0, 0.7, 9.0])
    first, last = windows_around(scores, values)
    for value, begin, end in zip(values, first, last, strict=True):
        nearest = np.argsort(np.abs(scores - value))[:100]
        assert (begin, end) == (nearest.min(), nearest.max() + 1)


def test_equal_scores_are_inside_together():
    scores = np.repeat([0.0, 1.0, 2.0], 300)
    assert [int(x[0]) for x in windows_around(scores, np.array([1.0]))] == [300, 600]


def test_too_few_give_no_curve():
    assert calibrate(two_normals(n=150)) is None
