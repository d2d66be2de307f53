"""Match groups: pairwise accuracy, standard errors and intervals over groups, leaks by subset."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ntvep.evaluate import metrics
from ntvep.evaluate.analysis import Score, analyse
from ntvep.evaluate.match_groups import in_groups, match_groups, won_by_group
from ntvep.evaluate.matching import MATCH_GROUP


def ranked(label, score, groups):
    copies = metrics.draw(int(groups.max()) + 1, metrics.RESAMPLES, 0)
    return metrics.ranked(label, score, metrics.Clusters(groups, copies, ""))


def matched(n=60, others=3, seed=0):
    """Variants of n groups on four chromosomes; a score that knows the label, and one that leaks.

    The feature is near the positives in one consequence alone.
    """
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n), others + 1)
    label = np.tile([True] + [False] * others, n)
    score = label + rng.normal(size=n)[group] * 0.7 + rng.normal(size=len(label))
    of_promoter = group % 2 == 0
    return pl.DataFrame(
        {
            "chrom": np.array(["chr1", "chr2", "chr3", "chrX"])[group % 4],
            "pos": 1_000_000 * group + np.arange(len(group)) + 1,
            "ref": "A",
            "alt": "C",
            "label": label,
            "effect": pl.Series([None] * len(label), dtype=pl.Float64),
            "group": pl.Series([None] * len(label), dtype=pl.String),
            "consequence": np.where(of_promoter, "upstream_gene_variant", "intron_variant"),
            "consequence_rank": np.where(of_promoter, 35.0, 27.0),
            "stars": pl.Series([None] * len(label), dtype=pl.UInt8),
            "variant_type": "SNV",
            "status": "ok",
            "llr": -score,
            "tss_distance": rng.random(len(label)) + np.where(of_promoter & label, 0, 0.5),
            MATCH_GROUP: group.astype(float),
        }
    )


SCORES = [Score("llr", "llr", -1, "score", "m"), Score("tss_distance", "TSS", -1, "feature")]


def test_pairwise_accuracy_by_hand():
    scores = np.array([1.0, 0.0, 2.0, 1.0, 5.0, 5.0, 9.0, 3.0])
    label = np.array([1, 0, 0, 0, 1, 0, 1, 0], bool)
    groups = np.array([0, 0, 0, 0, 1, 1, 2, 3])
    # Group 0: one of three won, one tied; group 1: a tie; groups 2 and 3 lack a class.
    won = won_by_group(ranked(label, scores, groups))
    assert won[:2] == pytest.approx([1.5 / 3, 0.5])
    assert np.isnan(won[2:]).all()


def test_numbers_are_scikit_learns_and_errors_those_of_resampled_groups():
    """The standard errors of resamples that are drawn one by one, group by group."""
    table = matched()
    label, score = table["label"].to_numpy(), -table["llr"].to_numpy()
    group = table[MATCH_GROUP].cast(int).to_numpy()
    chrom = group % 4
    data = ranked(label, score, group)
    found = in_groups(data, chrom[data.row])
    assert found.groups == 60
    assert found.auroc.interval.value == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    expected = average_precision_score(label, score)
    assert found.auprc.interval.value == pytest.approx(expected, abs=1e-12)
    # Each chromosome has 60 variants: the plain mean.
    parts = [average_precision_score(label[chrom == c], score[chrom == c]) for c in range(4)]
    assert found.auprc_by_chromosome.interval.value == pytest.approx(np.mean(parts), abs=1e-12)
    rng = np.random.default_rng(1)
    rows = [np.flatnonzero(group == g) for g in range(60)]
    drawn = []
    for _ in range(600):
        chosen = rng.integers(0, 60, 60)
        at = np.concatenate([rows[g] for g in chosen])
        pairs = [np.mean(score[rows[g][0]] > score[rows[g][1:]]) for g in chosen]
        by_chrom = [
            (len(at[chrom[at] == c]), average_precision_score(
                label[at][chrom[at] == c], score[at][chrom[at] == c]))
            for c in range(4)
        ]  # fmt: skip
        drawn.append(
            (
                np.mean(pairs),
                roc_auc_score(label[at], score[at]),
                average_precision_score(label[at], score[at]),
                sum(n * v for n, v in by_chrom) / len(at),
            )
        )
    errors = np.std(drawn, axis=0)
    for estimate, error in zip(
        (found.pairwise, found.auroc, found.auprc, found.auprc_by_chromosome), errors, strict=True
    ):
        assert estimate.error == pytest.approx(error, rel=0.12)
        # Four chromosomes are too few for an interval of theirs.
        if estimate is found.auprc_by_chromosome:
            assert np.isnan(estimate.interval.low)
            continue
        assert estimate.interval.low < estimate.interval.value < estimate.interval.high
        width = estimate.interval.high - estimate.interval.low
        assert width == pytest.approx(2 * 1.96 * error, rel=0.35)


def test_what_matching_left_is_said_of_each_subset():
    """The distance tells positives apart upstream, and tells nothing in introns."""
    rows = {
        (row["score"], row["subset"]): row
        for row in analyse(matched(120), SCORES, name="x").tables["match_groups"].to_dicts()
    }
    assert set(rows) == {(s.name, subset) for s in SCORES for subset in (
        "all", "upstream_gene_variant", "intron_variant")}  # fmt: skip
    leak = rows["TSS", "upstream_gene_variant"]
    assert leak["kind"] == "feature"
    assert leak["auroc_low"] > 0.7
    assert leak["pairwise_low"] > 0.7
    none = rows["TSS", "intron_variant"]
    assert none["auroc_low"] < 0.5 < none["auroc_high"]
    assert rows["llr", "all"]["groups"] == 120
    assert rows["llr", "intron_variant"]["positives"] == 60


def test_groups_without_a_scored_pair_do_not_count():
    table = matched(40)
    # The positive of every second group, and all negatives of group 1, have no score.
    lost = (table[MATCH_GROUP] % 2 == 0) & table["label"] | (
        (table[MATCH_GROUP] == 1) & ~table["label"]
    )
    table = table.with_columns(llr=pl.when(~lost).then("llr"))
    row = analyse(table, SCORES, name="x").tables["match_groups"].row(0, named=True)
    assert row["groups"] == 19
    ungrouped = table.with_columns(pl.lit(None, pl.Float64).alias(MATCH_GROUP))
    assert match_groups(ungrouped) is None
    assert "match_groups" not in analyse(ungrouped, SCORES, name="x").tables
    few = analyse(table.head(60), SCORES, name="x").tables["match_groups"].row(0, named=True)
    assert (few["groups"], few["note"]) == (None, "too few")
