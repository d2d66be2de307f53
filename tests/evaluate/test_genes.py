"""What is told by gene, place and consequence: each average against plain loops."""

import numpy as np
import pytest
from scipy import special, stats
from sklearn.metrics import average_precision_score, roc_auc_score

from ntvep.evaluate import genes, metrics


def simulated(seed=0, n=300, n_genes=15):
    rng = np.random.default_rng(seed)
    of_row = rng.integers(0, n_genes, n)
    label = rng.random(n) < 0.3 + 0.4 * (of_row % 2)
    score = np.round(rng.normal(size=n) + label + rng.normal(size=n_genes)[of_row], 1)
    groups = metrics.Clusters(of_row, metrics.draw(n_genes, 5, 0), "", [])
    return label, score, of_row, metrics.ranked(label, score, groups)


def won(a, b):
    return (a > b) + (a == b) / 2


def test_within_and_between_genes():
    label, score, of_row, data = simulated()
    inside, between = [], []
    for i in np.flatnonzero(label):
        for j in np.flatnonzero(~label):
            (inside if of_row[i] == of_row[j] else between).append(won(score[i], score[j]))
    found = genes.by_gene(data)
    assert genes.within_genes(found).found.value == pytest.approx(np.mean(inside))
    assert genes.between_genes(data, found) == pytest.approx(np.mean(between))
    for gene in range(15):
        rows = of_row == gene
        assert found.auroc[gene] == pytest.approx(roc_auc_score(label[rows], score[rows]))
    # Of a ratio of sums over genes, by hand.
    pairs = np.array(
        [(label & (of_row == g)).sum() * (~label & (of_row == g)).sum() for g in range(15)]
    )
    value = np.mean(inside)
    effective = pairs.sum() ** 2 / (pairs**2).sum()
    assert genes.within_genes(found).effective == pytest.approx(effective)
    # The interval by leaving out each gene in truth.
    in_order = found.won
    logits = special.logit(
        [(in_order.sum() - w) / (pairs.sum() - p) for w, p in zip(in_order, pairs, strict=True)]
    )
    half = stats.t.ppf(0.975, effective - 1) * np.sqrt(
        14 / 15 * ((logits - logits.mean()) ** 2).sum()
    )
    shifted = special.logit(value) - 14 * (logits.mean() - special.logit(value)) / 2
    ends = (min(special.logit(value), shifted) - half, max(special.logit(value), shifted) + half)
    interval = genes.within_genes(found).found
    assert (interval.low, interval.high) == pytest.approx(special.expit(ends))


def test_prevalence_is_that_of_the_other_variants():
    label = np.array([True, False, True, True, False])
    found = genes.prevalence_of_others(label, np.array([0, 0, 0, 1, 2]))
    # Alone in its gene a variant has the share among all others: 2 of 4, 3 of 4.
    assert found.tolist() == [1 / 2, 1.0, 1 / 2, 2 / 4, 3 / 4]


def test_balanced_blocks():
    label, score, of_row, data = simulated(1)
    weight = np.empty(len(label))
    for i in range(len(label)):
        weight[i] = 1 / ((label == label[i]) & (of_row == of_row[i])).sum()
    above = below = 0.0
    for i in np.flatnonzero(label):
        for j in np.flatnonzero(~label):
            above += weight[i] * weight[j] * won(score[i], score[j])
            below += weight[i] * weight[j]
    found = genes.balanced(data, of_row[data.row])
    assert found.found.value == pytest.approx(above / below)
    assert found.parts == 15


def test_blocks_of_one_variant_each_are_no_weights():
    label, score, _, data = simulated(2)
    found = genes.balanced(data, np.arange(len(label)))
    assert found.found.value == pytest.approx(roc_auc_score(label, score))


def test_macro_and_chromosome_averages():
    label, score, of_row, data = simulated(3)
    part = of_row % 3
    parts = [data.some((part == number)[data.row]) for number in range(3)]
    each = [roc_auc_score(label[part == n], score[part == n]) for n in range(3)]
    assert genes.macro(parts).found.value == pytest.approx(np.mean(each))
    each = [average_precision_score(label[part == n], score[part == n]) for n in range(3)]
    sizes = [(part == n).sum() for n in range(3)]
    found = genes.by_chromosome(parts)
    assert found.found.value == pytest.approx(np.average(each, weights=sizes))
    assert np.isnan(found.found.low)
    assert genes.macro([]).parts == 0
