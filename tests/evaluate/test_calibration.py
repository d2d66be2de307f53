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
    curve = calibrate(two_normals()).curve.drop_nulls("ratio")
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
    # Nothing is predicted where the curve says nothing.
    assert 17_000 < (table["positives"] + table["negatives"]).sum() < 20_000


def test_a_score_that_knows_genes_alone_is_found_out():
    """Each gene has one score, and labels of its own: other genes' curves predict nothing."""
    rng = np.random.default_rng(1)
    of_row = np.repeat(np.arange(100), 40)
    label = rng.random(100)[of_row] < rng.random(len(of_row))
    groups = metrics.Clusters(of_row, metrics.draw(100, 200, 0), "")
    found = calibrate(metrics.ranked(label, rng.normal(size=100)[of_row], groups))
    spread = np.log(found.curve["ratio"].drop_nulls()).std()
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


def test_a_wide_or_one_sided_window_says_nothing():
    """At ratios of 50 and more the window has the ratio of values far below."""
    found = calibrate(two_normals(n=2_000)).curve
    assert found["value"].max() > 2.5
    beyond = found.filter(found["value"] > 2.45)
    assert beyond["ratio"].null_count() == beyond.height > 2
    curve = calibrate(two_normals()).curve
    assert curve.filter(curve["value"].is_between(0, 1.5))["ratio"].null_count() == 0
    # A window of one value alone has no slope: its ratio is that of the value.
    label = np.arange(600) % 3 == 0
    groups = metrics.Clusters(np.arange(600) % 50, metrics.draw(50, 50, 0), "")
    flat = calibrate(metrics.ranked(label, np.repeat([0.0, 1.0], 300), groups)).curve
    assert flat.filter(flat["value"] == 0.0)["ratio"].null_count() == 0


def test_too_few_clusters_give_no_band():
    curve = calibrate(two_normals(n_clusters=5)).curve
    assert curve["ratio"].drop_nulls().len() > 30
    assert curve["low"].null_count() == curve.height
