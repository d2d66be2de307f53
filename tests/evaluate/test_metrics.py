"""Metrics against scikit-learn, scipy, a plain bootstrap, and simulated truth."""

import numpy as np
import polars as pl
import pytest
from scipy import special, stats
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from benchmarks import coverage
from ntvep.commands.labels import label_clinvar
from ntvep.evaluate import metrics
from ntvep.io.tables import read_labels


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
    data = metrics.ranked(label, score, clusters_of(np.arange(4)))
    assert metrics.auroc(data) == 0.75
    assert metrics.auprc(data) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("values", [2, 3, 40, 10**6])
def test_values_are_scikit_learns_to_the_last_bit(values):
    """With ties (few values) and without; a class may have one variant."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        label = rng.random(rng.integers(5, 3000)) < rng.random()
        label[:2] = True, False
        score = rng.integers(0, values, len(label)) + np.round(0.3 * values * label)
        data = metrics.ranked(label, score / 7, clusters_of(np.arange(len(label))))
        assert metrics.auroc(data) == roc_auc_score(label, score)
        assert metrics.auprc(data) == average_precision_score(label, score)


@pytest.mark.parametrize("ties", [False, True])
def test_without_a_cluster_it_is_scikit_learns_without_its_variants(ties):
    """AUROC as it is; average precision with weights that keep the prevalence of all."""
    label, score, of_row = simulated(3, ties=ties)
    found = metrics.discrimination(metrics.ranked(label, score, clusters_of(of_row)))
    prevalence = label.mean()
    # The largest clusters are left out one by one, the others to first order.
    largest = np.argsort(-np.bincount(of_row))[:5]
    for cluster in range(40):
        kept = of_row != cluster
        y = label[kept]
        expected = roc_auc_score(y, score[kept])
        assert found.auroc_deleted.without[0, cluster] == pytest.approx(expected, abs=1e-12)
        weight = np.where(y, prevalence / y.sum(), (1 - prevalence) / (~y).sum())
        expected = average_precision_score(y, score[kept], sample_weight=weight)
        tolerance = 1e-12 if cluster in largest else 5e-3
        assert found.auprc_deleted.without[0, cluster] == pytest.approx(expected, abs=tolerance)
    assert found.auroc.value == roc_auc_score(label, score)
    assert found.auroc_deleted.value[0] == pytest.approx(found.auroc.value, abs=1e-12)
    assert found.auprc.value == pytest.approx(average_precision_score(label, score), abs=1e-12)
    assert found.auprc_deleted.value[0] == pytest.approx(found.auprc.value, abs=1e-12)


def test_an_interval_by_hand():
    """Twelve clusters of one positive and one negative: the formula in plain loops."""
    rng = np.random.default_rng(1)
    label, of_row = np.arange(24) % 2 == 0, np.arange(24) // 2
    score = rng.normal(size=24) + label
    found = metrics.discrimination(metrics.ranked(label, score, clusters_of(of_row)))
    logits = []
    for cluster in (None, *range(12)):
        kept = of_row != cluster
        logits.append(special.logit(roc_auc_score(label[kept], score[kept])))
    centre, *without = logits
    mean = sum(without) / 12
    half = stats.t.ppf(0.975, 11) * np.sqrt(11 / 12 * sum((x - mean) ** 2 for x in without))
    corrected = centre - 11 * (mean - centre) / 2
    low, high = min(centre, corrected) - half, max(centre, corrected) + half
    assert found.auroc.low == pytest.approx(special.expit(low), abs=1e-12)
    assert found.auroc.high == pytest.approx(special.expit(high), abs=1e-12)


def test_complete_separation_has_an_exact_bound():
    """Of n pairs in order P = AUROC^n: with ten of each, 0.025^(1/10) and no "1.000 to 1.000"."""
    label = np.arange(20) >= 10
    for turned, ends in ((1, (0.025**0.1, 1.0)), (-1, (0.0, 1 - 0.025**0.1))):
        data = metrics.ranked(label, turned * np.arange(20.0), clusters_of(np.arange(20)))
        found = metrics.discrimination(data).auroc
        assert (found.low, found.high) == pytest.approx(ends)


def test_effective_clusters_are_kishs_and_the_largest_is_named():
    """8 and 4 of 12: 12^2 / (64 + 16) = 1.8; ten alone in their genes: 10."""
    label = np.append(np.ones(12, bool), np.zeros(10, bool))
    of_row = np.concatenate((np.repeat([0, 1], [8, 4]), 2 + np.arange(10)))
    groups = metrics.Clusters(of_row, metrics.draw(12, 5, 0), "", [f"G{n}" for n in range(12)])
    data = metrics.ranked(label, np.arange(22.0), groups)
    assert data.support.positives == pytest.approx(1.8)
    assert data.support.negatives == pytest.approx(10)
    assert data.support.concentration == "67 % of positives lie in G0"
    found = metrics.discrimination(data)
    assert np.isnan([found.auroc.low, found.auroc.high, found.auprc.low]).all()


def test_precision_recall_stays_a_probability():
    """Clusters of one class each: resamples differ in their prevalence, and one lacks a class."""
    rng = np.random.default_rng(2)
    of_row = np.repeat(np.arange(24), 10)
    label = of_row < 12
    score = rng.normal(size=240) + 3 * label
    groups = metrics.Clusters(of_row, metrics.draw(24, 300, 1), "")
    groups.copies[:12, :7] = 0
    found = metrics.discrimination(metrics.ranked(label, score, groups), curves=True)
    assert found.lacking == 7
    assert 0.5 < found.auprc.low < found.auprc.value < found.auprc.high <= 1
    band = found.precision_recall
    assert ((band.low >= 0) & (band.high <= 1 + 1e-12)).all()
    # At full recall precision is near the prevalence of all, whatever a resample holds.
    assert band.low[-1] >= 0.5 - 1e-9


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
    assert found.value == stats.spearmanr(x, y).statistic
    expected = []
    for resample in range(30):
        rows = np.repeat(np.arange(120), groups.copies[of_row, resample].astype(int))
        expected.append(stats.spearmanr(x[rows], y[rows]).statistic)
    assert found.low == pytest.approx(np.percentile(expected, 2.5), abs=1e-6)
    assert found.high == pytest.approx(np.percentile(expected, 97.5), abs=1e-6)


def test_differences():
    """Of one score in two spellings nothing; of two that separate, not nothing but unknown."""
    label, score, of_row = simulated(8)
    groups = clusters_of(of_row, 200)

    def judged(values):
        return metrics.discrimination(metrics.ranked(label, values, groups))

    a, b, separate = judged(score), judged(2 * score + 1), judged(label + score / 100)
    for same in metrics.differences(a, b):
        assert (same.value, same.low, same.high) == pytest.approx((0, 0, 0), abs=1e-12)
    for found in metrics.differences(separate, judged(label - score / 100)):
        assert found.value == 0
        assert found.low == pytest.approx(-found.high)
        assert found.high > 0.05
    noise = judged(score + 2 * np.random.default_rng(0).normal(size=len(score)))
    by_auroc, _ = metrics.differences(a, noise)
    without = a.auroc_deleted.without[0] - noise.auroc_deleted.without[0]
    error = np.sqrt(39 / 40 * ((without - without.mean()) ** 2).sum())
    half = stats.t.ppf(0.975, a.support.scarcer - 1) * error
    assert by_auroc.value == pytest.approx(a.auroc.value - noise.auroc.value)
    assert (by_auroc.low, by_auroc.high) == pytest.approx(
        (by_auroc.value - half, by_auroc.value + half)
    )


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


def test_genes_that_share_a_variant_are_one_cluster():
    """TP53-AS1|TP53 lies in both; by way of it TP53 and TP53-AS1 are one, and so is WRAP53."""
    groups = ["TP53-AS1|TP53", "TP53", "TP53:7157|WRAP53:55135", "TP53-AS1", "BRCA2", None]
    table = pl.DataFrame({"chrom": "17", "pos": range(6), "group": groups})
    found = metrics.clusters(table, resamples=2)
    assert len(set(found.of_row[:4])) == 1
    assert len(set(found.of_row)) == 3
    assert [found.names[n] for n in found.of_row] == [*["TP53"] * 4, "BRCA2", "17:0-999999"]
    assert "2 genes or groups" in found.choice


def test_intervals_are_reproducible():
    label, score, of_row = simulated(9)
    table = pl.DataFrame({"chrom": "1", "pos": of_row * metrics.BLOCK_BASES})
    twice = [
        metrics.discrimination(metrics.ranked(label, score, metrics.clusters(table))).auroc
        for _ in range(2)
    ]
    assert twice[0] == twice[1]


@pytest.mark.parametrize(
    ("design", "truth"),
    [((10, 10, 10, "equal", 0.0, 0.96), 1), ((20, 200, 20, "equal", 0.3, 0.8), 4)],
)
def test_nominal_95_percent_is_95_percent(design, truth):
    """A small part of benchmarks/coverage.py; ten and ten at 0.96 had 77 % before."""
    found = coverage.coverage(coverage.Cell(*design), data_sets=400)
    for name in tuple(coverage.NAMES)[:truth]:
        assert found[f"{name}_coverage"] >= 0.92
        assert found[f"{name}_given"] == 1


def test_noise_on_real_labels_has_no_interval_that_excludes_a_half(tmp_path, shared):
    """ClinVar's slice: 99 % of the negatives are of one gene, so that no row has an interval.

    Were its variants of as many genes as one likes, 5 % of the intervals would exclude 0.5.
    """
    slice_ = shared / "data/real/clinvar_slice.grch38.vcf.gz"
    label_clinvar(slice_, tmp_path / "labels.parquet", command="")
    table = read_labels(tmp_path / "labels.parquet").filter(pl.col("label").is_not_null())
    rows = [("all", table)]
    rows += [
        (value, part)
        for column in ("consequence", "chrom", "stars")
        for (value,), part in table.group_by(column)
        if min(part["label"].sum(), (~part["label"]).sum()) >= metrics.TOO_FEW
    ]
    assert {"missense_variant", "chrX"} <= {name for name, _ in rows}
    for name, part in rows:
        given, _ = intervals_of_noise(part["label"].to_numpy(), metrics.clusters(part, resamples=2))
        assert given == 0, name
    label = table["label"].to_numpy()
    given, excluded = intervals_of_noise(label, clusters_of(np.arange(len(label)) % 40))
    assert given == 200
    assert 2 <= excluded <= 22


def intervals_of_noise(label, groups):
    """Of 200 scores that are noise: how many AUROCs have an interval, how many exclude 0.5."""
    given = excluded = 0
    for seed in range(200):
        score = np.random.default_rng(seed).normal(size=len(label))
        found = metrics.discrimination(metrics.ranked(label, score, groups)).auroc
        given += np.isfinite(found.low)
        excluded += found.high < 0.5 or found.low > 0.5
    return given, excluded
