"""labels, one score, clusters -> how much of an AUROC gene, place or consequence explains.

A score that gives each gene its share of pathogenic variants has a high AUROC over all genes, and
0.5 within each. What is pooled is therefore set beside what is left within genes, and beside
averages in which no gene, place or consequence counts for the number of its variants.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ntvep.evaluate import metrics, uncertainty
from ntvep.evaluate.metrics import Interval, Ranked
from ntvep.evaluate.uncertainty import Deleted

BLOCK_BASES = 500_000
"""Blocks that count equally in the AUROC balanced by coordinate."""
_STEP = 1e-6
FEWEST_OF_CONSEQUENCE = 30
"""A consequence with fewer scored variants is not in the macro average."""


@dataclass(frozen=True)
class Average:
    """A number over parts: genes, blocks, consequences, chromosomes.

    Attributes:
        found: with its interval; NaN where nothing can be averaged.
        parts: over how many.
        effective: Kish's effective number of what the interval rests on.
    """

    found: Interval
    parts: int
    effective: float


@dataclass(frozen=True, eq=False)
class Genes:
    """AUROC of each gene by itself; where no gene is named, of each block.

    Attributes:
        positives, negatives, won: by cluster; won are the pairs in order, ties counting half.
    """

    positives: Float[np.ndarray, " cluster"]
    negatives: Float[np.ndarray, " cluster"]
    won: Float[np.ndarray, " cluster"]

    @property
    def pairs(self) -> Float[np.ndarray, " cluster"]:
        """Pairs of a positive and a negative."""
        pairs: Float[np.ndarray, " cluster"] = self.positives * self.negatives
        return pairs

    @property
    def auroc(self) -> Float[np.ndarray, " cluster"]:
        """NaN where a class is absent."""
        auroc: Float[np.ndarray, " cluster"] = np.divide(
            self.won, self.pairs, out=np.full_like(self.won, np.nan), where=self.pairs > 0
        )
        return auroc


def by_gene(data: Ranked) -> Genes:
    """Pairs won within each cluster of the table, those without variants included."""
    n = len(data.clusters.copies)
    arguments = (data.label[None], data.score[None], data.clusters.of_row[None].astype(np.int64), n)
    sizes = uncertainty.class_sizes(data.label[None], arguments[2], n)[:, 0]
    return Genes(sizes[1], sizes[0], uncertainty.won_inside(*arguments)[0])


def within_genes(genes: Genes) -> Average:
    """AUROC over pairs of one gene: sum of the pairs won over the sum of the pairs.

    Genes count by their pairs. The interval is that of a ratio of sums over genes.
    """
    pairs = genes.pairs
    total = pairs.sum()
    if not total:
        return _nothing()
    value = genes.won.sum() / total
    return _of_parts(value, (genes.won - value * pairs)[pairs > 0] / total, pairs[pairs > 0])


def between_genes(data: Ranked, genes: Genes) -> float:
    """AUROC over pairs of two genes; NaN where there are none."""
    pairs = data.positives * data.negatives - genes.pairs.sum()
    won = np.where(data.label, uncertainty.pairs_won(data.label[None], data.score[None])[0], 0)
    return float((won.sum() - genes.won.sum()) / pairs) if pairs else float("nan")


def prevalence_of_others(
    label: Bool[np.ndarray, " variant"], of_row: Int[np.ndarray, " variant"]
) -> Float[np.ndarray, " variant"]:
    """Share of positives among the other variants of each variant's gene.

    That of all others where the gene has none.
    """
    n = np.bincount(of_row)[of_row] - 1
    positives = np.bincount(of_row, label)[of_row] - label
    overall = (label.sum() - label) / max(len(label) - 1, 1)
    share: Float[np.ndarray, " variant"] = np.where(n > 0, positives / np.maximum(n, 1), overall)
    return share


def balanced(data: Ranked, of_part: Int[np.ndarray, " variant"]) -> Average:
    """AUROC in which each part has, in each class that it has, the same weight.

    A pair counts for one over the product of how many variants of their class their parts have. The
    interval is by what each cluster adds (first order).

    Args:
        data: scored variants, with at least one of each class.
        of_part: number of the part of each of them, from 0.
    """
    part_and_class = 2 * of_part + data.label
    sizes = np.bincount(part_and_class, minlength=2 * (int(of_part.max()) + 1)).reshape(-1, 2)
    # A class weighs 1, and each part that has it as much as any other.
    share = 1 / np.maximum(sizes, 1) / (sizes > 0).sum(axis=0)
    weight = share.ravel()[part_and_class]
    beaten = _weight_beaten(data, weight)
    value = float((weight * beaten)[data.label].sum())
    influence = weight * (beaten - value)
    n = len(data.clusters.copies)
    by_cluster = np.bincount(data.clusters.of_row, influence, minlength=n)
    cluster_and_class = 2 * data.clusters.of_row + data.label
    weights = np.bincount(cluster_and_class, weight, 2 * n).reshape(n, 2).T
    effective = min(float(uncertainty.effective_clusters(w[None])[0]) for w in weights)
    share = np.maximum(*weights)
    found = _interval(value, by_cluster, share, effective)
    return Average(found, len(np.unique(of_part)), effective)


def _weight_beaten(
    data: Ranked, weight: Float[np.ndarray, " variant"]
) -> Float[np.ndarray, " variant"]:
    """Weight of the other class that a variant is in order with; equal scores count half."""
    run = np.cumsum(np.append(True, data.score[1:] != data.score[:-1])) - 1
    sums = []
    for of_class in (~data.label, data.label):
        of_run = np.bincount(run, weight * of_class)
        sums.append((np.cumsum(of_run) - of_run / 2)[run])
    # Each class weighs 1 in all.
    beaten: Float[np.ndarray, " variant"] = np.where(data.label, sums[0], 1 - sums[1])
    return beaten


def macro(parts: Sequence[Ranked]) -> Average:
    """Mean AUROC of parts of the variants, each of which counts equally.

    Args:
        parts: those with enough variants of both classes; see :data:`FEWEST_OF_CONSEQUENCE`.
    """
    if not parts:
        return _nothing()
    n = len(parts[0].clusters.copies)
    influence, share, values, effective = np.zeros(n), np.zeros(n), [], []
    for data in parts:
        value = metrics.auroc(data)
        won = uncertainty.pairs_won(data.label[None], data.score[None])[0]
        of_class = np.where(data.label, data.positives, data.negatives)
        others = np.where(data.label, data.negatives, data.positives)
        by_row = (won / others - value) / of_class
        influence += np.bincount(data.clusters.of_row, by_row, minlength=n) / len(parts)
        sizes = [
            np.bincount(data.clusters.of_row[c], minlength=n) for c in (data.label, ~data.label)
        ]
        share += np.maximum(*(size / size.sum() for size in sizes)) / len(parts)
        values.append(value)
        effective.append(data.support.scarcer)
    mean = float(np.mean(values))
    return Average(_interval(mean, influence, share, min(effective)), len(parts), min(effective))


def mean_of_parts(values: Float[np.ndarray, " part"]) -> Average:
    """Mean over parts, which count equally."""
    weight = np.ones(len(values))
    value = float(values.mean())
    return _of_parts(value, (values - value) / len(values), weight)


def by_chromosome(parts: Sequence[Ranked]) -> Average:
    """Average precision of each chromosome, averaged by how many variants each has.

    As TraitGym's AUPRC_by_chrom_weighted_average. Chromosomes are what the interval counts.

    Args:
        parts: of one chromosome each, with at least one positive.
    """
    if not parts:
        return _nothing()
    values = np.array([metrics.auprc(data) for data in parts])
    weight = np.array([len(data.label) for data in parts], np.float64)
    value = float((weight * values).sum() / weight.sum())
    return _of_parts(value, weight * (values - value) / weight.sum(), weight)


def _of_parts(
    value: float, influence: Float[np.ndarray, " part"], weight: Float[np.ndarray, " part"]
) -> Average:
    effective = float(uncertainty.effective_clusters(weight[None])[0])
    share = weight / weight.sum()
    return Average(_interval(float(value), influence, share, effective), len(weight), effective)


def _interval(
    value: float,
    influence: Float[np.ndarray, " part"],
    share: Float[np.ndarray, " part"],
    effective: float,
) -> Interval:
    """Interval by deletion of each part, which takes its influence over what the others weigh.

    That is exact for a ratio of sums over the parts, and first order for the other averages.
    """
    there = share > 0
    if (share >= 1).any():
        return Interval(value, float("nan"), float("nan"))
    without = value - influence[there] / (1 - share[there])
    deleted = Deleted(np.array([value]), without[None], _STEP)
    ends = uncertainty.auroc_interval(deleted, np.array([effective]))
    return Interval(value, float(ends[0][0]), float(ends[1][0]))


def _nothing() -> Average:
    return Average(Interval(float("nan"), float("nan"), float("nan")), 0, 0.0)
