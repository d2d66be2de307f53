"""Metrics against scikit-learn, scipy, a plain bootstrap, and simulated truth."""

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from ntvep.evaluate import metrics


def simulated(seed, n=600, n_clusters=40, shift=1.0, ties=False):
    rng = np.random.default_rng(seed)
    of_row = rng.integers(0, n_clusters, n)
    label = rng.random(n) < 0.3
    score = rng.normal(size=n) + shift * label + rng.normal(size=n_clusters)[of_row]
    return label, np.round(score) if ties else score, of_row


def clusters_of(of_row, resamples=50):
    n = int(of_row.max()) + 1
    return metrics.Clusters(of_row, metrics.draw(n, resamples, 1), "")


def test_by_hand():
    # Positives 3, 1; negatives 2, 0: of four pairs three are in order. From above: 1/1 at recall
    # 1/2, 2/3 at recall 1.
    label, score = np.array([True, False, True, False]), np.array([3.0, 2.0, 1.0, 0.0])
    assert metrics.auroc(label, score) == 0.75
    assert metrics.auprc(label, score) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("curves", [False, True])
def test_resamples_are_those_of_scikit_learn_with_weights(ties, curves):
    label, score, of_row = simulated(3, ties=ties)
    groups = clusters_of(of_row)
    found = metrics.discrimination(metrics.ranked(label, score, groups), curves=curves)
    weights = groups.copies[of_row]
    for resample in range(50):
        w = weights[:, resample]
        assert found.auroc_draws[resample] == pytest.approx(
            roc_auc_score(label, score, sample_weight=w), abs=1e-6
        )
        assert found.auprc_draws[resample] == pytest.approx(
            average_precision_score(label, score, sample_weight=w), abs=1e-6
        )
    assert found.auroc.value == roc_auc_score(label, score)
    assert found.auprc.value == pytest.approx(average_precision_score(label, score), abs=1e-12)
    assert found.auroc.low == pytest.approx(np.percentile(found.auroc_draws, 2.5))
    assert found.auroc.high == pytest.approx(np.percentile(found.auroc_draws, 97.5))


def test_bins_change_an_interval_by_little():
    label, score, of_row = simulated(4, n=30_000, n_clusters=300)
    data = metrics.ranked(label, score, clusters_of(of_row, 200))
    exact = metrics.discrimination(data, bins=40_000)
    for bins, tolerance in ((metrics.BINS, 1e-5), (256, 1e-4)):
        binned = metrics.discrimination(data, bins=bins)
        assert binned.auroc_draws == pytest.approx(exact.auroc_draws, abs=tolerance)
        assert binned.auprc_draws == pytest.approx(exact.auprc_draws, abs=30 * tolerance)


def test_curves_are_scikit_learns():
    label, score, of_row = simulated(5, ties=True)
    found = metrics.discrimination(metrics.ranked(label, score, clusters_of(of_row)), curves=True)
    x, y, _ = roc_curve(label, score)
    assert found.roc.value == pytest.approx(np.interp(metrics.CURVE_POINTS, x, y))
    assert (found.roc.low <= found.roc.high).all()
    precision, recall, _ = precision_recall_curve(label, score)
    for at in (20, 100, 200):
        reached = recall >= metrics.CURVE_POINTS[at] - 1e-12
        # The highest threshold that reaches this recall is the last point that does.
        expected = precision[np.flatnonzero(reached)[-1]]
        assert found.precision_recall.value[at] == pytest.approx(expected)


def test_nan_scores_are_left_out():
    label, score, of_row = simulated(6)
    score[::7] = np.nan
    data = metrics.ranked(label, score, clusters_of(of_row))
    assert len(data.label) == np.isfinite(score).sum()
    kept = np.isfinite(score)
    found = metrics.discrimination(data).auroc.value
    assert found == pytest.approx(roc_auc_score(label[kept], score[kept]))


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_is_scipys_and_its_resamples_rank_anew(ties):
    rng = np.random.default_rng(7)
    of_row = np.repeat(np.arange(60), 2)
    x = rng.normal(size=120)
    y = x + rng.normal(size=120)
    if ties:
        x, y = np.round(x), np.round(y)
    groups = clusters_of(of_row, 30)
    found = metrics.spearman(x, y, groups)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    expected = []
    for resample in range(30):
        rows = np.repeat(np.arange(120), groups.copies[of_row, resample].astype(int))
        expected.append(stats.spearmanr(x[rows], y[rows]).statistic)
    assert found.low == pytest.approx(np.percentile(expected, 2.5), abs=1e-6)
    assert found.high == pytest.approx(np.percentile(expected, 97.5), abs=1e-6)


def test_paired_difference_uses_the_same_resamples():
    label, score, of_row = simulated(8)
    groups = clusters_of(of_row, 200)
    a = metrics.discrimination(metrics.ranked(label, score, groups))
    b = metrics.discrimination(metrics.ranked(label, 2 * score + 1, groups))
    same = metrics.difference(a.auroc, a.auroc_draws, b.auroc, b.auroc_draws)
    assert (same.value, same.low, same.high) == pytest.approx((0, 0, 0), abs=1e-7)


def test_clusters_are_groups_else_blocks():
    table = pl.DataFrame(
        {
            "chrom": ["1", "1", "1", "2", "1"],
            "pos": [10, 999_999, 1_000_000, 10, 5],
            "group": [None, None, None, None, "BRCA2"],
        }
    )
    found = metrics.clusters(table, resamples=3)
    one, two, three, four, gene = found.of_row
    assert one == two
    assert len({one, three, four, gene}) == 4
    assert "1 genes or groups" in found.choice
    assert "3 blocks of 1,000,000 bases" in found.choice
    # A resample draws as many clusters as there are.
    assert found.copies.sum(axis=0).tolist() == [4, 4, 4]
    blocks = metrics.clusters(table.drop("group"), resamples=3)
    assert blocks.of_row[4] == blocks.of_row[0]


def test_intervals_are_reproducible():
    label, score, of_row = simulated(9)
    table = pl.DataFrame({"chrom": "1", "pos": of_row * metrics.BLOCK_BASES})
    twice = [
        metrics.discrimination(metrics.ranked(label, score, metrics.clusters(table))).auroc
        for _ in range(2)
    ]
    assert twice[0] == twice[1]


def test_nominal_95_percent_is_95_percent():
    """Each cluster shifts its scores: a bootstrap over single variants covers less."""
    truth = stats.norm.cdf(1.0 / np.sqrt(2 * (1 + 1)))
    covered, covered_single = [], []
    for seed in range(300):
        label, score, of_row = simulated(seed, n=400, n_clusters=100)
        for groups, results in (
            (of_row, covered),
            (np.arange(len(label)), covered_single),
        ):
            data = metrics.ranked(label, score, clusters_of(groups, 200))
            found = metrics.discrimination(data).auroc
            results.append(found.low <= truth <= found.high)
    assert 0.92 <= np.mean(covered) <= 0.98
    assert np.mean(covered_single) < np.mean(covered)
