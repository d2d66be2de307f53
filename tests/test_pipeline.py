"""Scores by hand on toy models, statuses in their own rows, and what sharing must not change."""

from math import log

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ntvep import pipeline
from ntvep.pipeline import resolve, score_alleles
from tests.toy import VOCABULARY, Genome, Unigram, alleles, context, unigram
from tests.toy import settings as settings_of

SETTINGS = settings_of(views=1, max_allele_bases=6)
# Grid of phase 0:      AAAAAA CCCCCC ACGTAC GGGGGG TTTTTT
GENOME = Genome({"c": "AAAAAACCCCCCACGTACGGGGGGTTTTTT"})


def run(table, model, settings=SETTINGS, genome=GENOME):
    return score_alleles(table, context(genome, model, settings))


def row(scored, number=0):
    return scored.scores.row(number, named=True)


def test_llr_by_hand():
    """ACGTAC -> ATGTAC: P(ALT) 0.1, P(REF) 0.4, so llr = ln(0.1 / 0.4) < 0: ALT is less likely."""
    model = unigram({"ACGTAC": 0.4, "ATGTAC": 0.1})
    found = row(run(alleles(("c", 14, "C", "T")), model))
    assert found["llr"] == pytest.approx(log(0.1 / 0.4), abs=1e-6)
    assert found["llr"] == pytest.approx(-1.386294, abs=1e-6)
    # Without context the unmasked window says the same, and so does the whole likelihood.
    assert found["llr_unmasked"] == pytest.approx(-1.386294, abs=1e-6)
    assert found["pll_delta"] == pytest.approx(-1.386294, abs=1e-6)


def test_reverse_view_by_hand():
    """The other strand of ACGTAC -> ATGTAC is GTACGT -> GTACAT; the score is the mean of both."""
    model = unigram({"ACGTAC": 0.4, "ATGTAC": 0.1, "GTACGT": 0.05, "GTACAT": 0.2})
    both = settings_of(views=2, max_allele_bases=6)
    found = row(run(alleles(("c", 14, "C", "T")), model, both))
    assert found["llr"] == pytest.approx((log(0.1 / 0.4) + log(0.2 / 0.05)) / 2, abs=1e-6)


def test_marginal_by_hand():
    """Base 1 of the token: P(T) sums all 6-mers with T there, of which two are named."""
    named = {"ACGTAC": 0.4, "ATGTAC": 0.1, "CTGTAC": 0.2}
    rest = (1 - 0.7) / (2 + 4096 + 5 - 3)
    p_t, p_c = 0.3 + 1022 * rest, 0.4 + 1023 * rest
    found = row(run(alleles(("c", 14, "C", "T")), unigram(named)))
    assert found["llr_marginal"] == pytest.approx(log(p_t / p_c), abs=1e-6)


def test_entropy_by_hand():
    p = np.exp(unigram({"ACGTAC": 0.5}).log_probs)
    found = row(run(alleles(("c", 14, "C", "T")), unigram({"ACGTAC": 0.5})))
    assert found["entropy"] == pytest.approx(-float(np.sum(p * np.log(p))), rel=1e-6)


def test_mnv_across_two_tokens_by_hand():
    """CCACGTAC: CC|AC -> CT|GC changes CCCCCC -> CCCCCT and ACGTAC -> GCGTAC."""
    p = {"CCCCCC": 0.1, "ACGTAC": 0.2, "CCCCCT": 0.3, "GCGTAC": 0.05}
    found = row(run(alleles(("c", 12, "CA", "TG")), unigram(p)))
    assert found["llr"] == pytest.approx(log(0.3 * 0.05 / (0.1 * 0.2)), abs=1e-6)
    assert found["llr_marginal"] is None
    assert found["llr_unmasked"] == pytest.approx(log(0.3 * 0.05 / (0.1 * 0.2)), abs=1e-6)


def test_deletion_by_hand():
    """Deleting C at 0-based 13 pulls the rest in: the token with p is AGTACG, of REF ACGTAC."""
    p = {"ACGTAC": 0.2, "AGTACG": 0.01, "GGGGGG": 0.1, "GGGGGT": 0.3, "CCCCCC": 0.05}
    found = row(run(alleles(("c", 13, "AC", "A")), unigram(p)))
    assert found["llr"] == pytest.approx(log(0.01 / 0.2), abs=1e-6)
    # Window CCCCCC ACGTAC GGGGGG -> CCCCCC AGTACG GGGGGT.
    assert found["pll_delta"] == pytest.approx(log(0.01 * 0.3 / (0.2 * 0.1)), abs=1e-6)
    assert found["llr_unmasked"] is None
    assert found["frameshifted"] is True


def test_distances_by_hand():
    model = unigram({})
    ids = {s: VOCABULARY.index(s) for s in ("ACGTAC", "ATGTAC")}
    model.embeddings[:] = 0.0
    model.embeddings[:, 0] = 3.0
    model.embeddings[ids["ACGTAC"]] = (3, 0, 0, 0)
    model.embeddings[ids["ATGTAC"]] = (3, 12, 0, 0)
    found = row(run(alleles(("c", 14, "C", "T")), model))
    # Token pool: (3, 0) against (3, 12).
    assert found["l1_token"] == pytest.approx(12)
    assert found["l2_token"] == pytest.approx(12)
    assert found["dot_token"] == pytest.approx(9)
    assert found["cosine_distance_token"] == pytest.approx(1 - 9 / (3 * 153**0.5))
    # Mean over three tokens: (3, 0) against (3, 4).
    assert found["l2"] == pytest.approx(4)
    assert found["dot"] == pytest.approx(9)
    assert found["cosine_distance"] == pytest.approx(1 - 9 / 15)


def test_swapping_ref_and_alt_negates_llr():
    rng = np.random.default_rng(3)
    model = Unigram(np.log(rng.dirichlet(np.ones(4103))), rng.normal(size=(4103, 4)))
    swapped = Genome({"c": GENOME.contigs["c"][:13] + "T" + GENOME.contigs["c"][14:]})
    there = row(run(alleles(("c", 14, "C", "T")), model))
    back = row(run(alleles(("c", 14, "T", "C")), model, genome=swapped))
    for name in ("llr", "llr_marginal", "pll_delta"):
        assert back[name] == pytest.approx(-there[name], abs=1e-6)


MIXED = (
    ("c", 14, "C", "T"),
    ("x", 5, "A", "C"),
    ("c", 1, "A", "<DEL>", "symbolic_allele"),
    ("c", 2, "C", "A"),
    ("d", 3, "G", "A"),
    ("c", 31, "A", "C"),
    ("c", 0, "A", "C"),
    ("c", 1, "AAAAAACC", "A"),
    ("c", 14, "C", "A"),
    ("d", 8, "G", "T"),
    ("n", 13, "A", "C"),
    ("n", 1, "A", "C"),
    ("m", 2, "C", "T"),
)
STATUSES = [
    "ok",
    "contig_not_in_reference",
    "symbolic_allele",
    "ref_mismatch",
    "ok",
    "position_out_of_range",
    "position_out_of_range",
    "allele_too_long",
    "ok",
    "at_contig_end",
    "n_in_variant_token",
    "too_many_n",
    "ok",
]
MIXED_GENOME = Genome(
    GENOME.contigs
    | {
        "d": "ACGTACGG"[:2] + "GTACGG",
        "n": "ANNNNNNNNNNN" + "ANACGT" + "ACGTACCCCGGG",
        "m": "acgtac",
    }
)


def test_contigs_and_statuses_interleaved_come_back_on_their_own_rows():
    model = unigram({"ACGTAC": 0.4, "ATGTAC": 0.1, "AAGTAC": 0.2})
    settings = settings_of(views=1, max_allele_bases=6, max_n_fraction=0.4)
    found = run(alleles(*MIXED), model, settings, MIXED_GENOME).scores
    assert found["status"].to_list() == STATUSES
    keys = ["chrom", "pos", "ref", "alt"]
    assert found.select(keys).rows() == [r[:4] for r in MIXED]
    by_row = dict(enumerate(found["llr"].to_list()))
    assert by_row[0] == pytest.approx(log(0.1 / 0.4), abs=1e-6)
    assert by_row[8] == pytest.approx(log(0.2 / 0.4), abs=1e-6)
    assert by_row[12] == pytest.approx(log(0.1 / 0.4), abs=1e-6)
    assert [r for r, v in by_row.items() if v is None] == [
        r for r, s in enumerate(STATUSES) if s != "ok"
    ]
    dry, passes = resolve(alleles(*MIXED), context(MIXED_GENOME, None, settings))
    assert dry["status"].to_list() == STATUSES
    assert passes == run(alleles(*MIXED), model, settings, MIXED_GENOME).passes


def test_a_number_that_is_not_finite_is_a_status():
    model = unigram({"ACGTAC": 0.4})
    model.embeddings[:, 0] = np.nan
    found = run(alleles(("c", 14, "C", "T")), model).scores
    assert found["status"].to_list() == ["numerical_failure"]
    assert found["llr"].to_list() == [None]


def all_snvs(first, last):
    text = GENOME.contigs["c"]
    return [
        ("c", p + 1, text[p], base)
        for p in range(first, last)
        for base in "ACGT"
        if base != text[p]
    ]


def test_passes_are_shared():
    """18 SNVs of one 6-mer: one masked pass; one reference pass; 18 ALT passes."""
    model = unigram({})
    snvs = all_snvs(12, 18)
    llr_only = settings_of(("llr", "llr_marginal", "entropy"), views=1, max_allele_bases=6)
    assert run(alleles(*snvs), model, llr_only).passes == 1
    assert run(alleles(*snvs), model, SETTINGS).passes == 1 + 1 + 18
    unmasked = settings_of(("llr_unmasked",), views=1, max_allele_bases=6)
    assert run(alleles(*snvs), model, unmasked).passes == 1
    assert len(set(model.passes)) == 20
    both = settings_of(views=2, max_allele_bases=6)
    assert run(alleles(*snvs), model, both).passes == 2 * 20
    # Deleting any one G of GGGGGG spells the same ALT: REF and ALT, each unmasked and masked.
    deletions = [("c", p, "GG", "G") for p in (19, 20, 21)]
    assert run(alleles(*deletions), model, SETTINGS).passes == 4


@pytest.mark.parametrize("pairs_per_plan", [1, 2, 7, 10_000])
def test_order_and_company_change_nothing(monkeypatch, pairs_per_plan):
    rng = np.random.default_rng(4)
    model = Unigram(np.log(rng.dirichlet(np.ones(4103))), rng.normal(size=(4103, 4)))
    indels = [("c", 13, "AC", "A"), ("c", 13, "A", "AGG"), ("c", 12, "CAC", "G")]
    rows = [*all_snvs(8, 20), *indels, *MIXED]
    settings = settings_of(views=12, max_allele_bases=6)
    expected = run(alleles(*rows), model, settings, MIXED_GENOME).scores
    monkeypatch.setattr(pipeline, "PAIRS_PER_PLAN", pairs_per_plan)
    order = rng.permutation(len(rows))
    shuffled = run(alleles(*(rows[i] for i in order)), model, settings, MIXED_GENOME).scores
    back = shuffled[np.argsort(order).tolist()].with_columns(expected["record"])
    assert_frame_equal(back, expected, abs_tol=1e-12)
    alone = [run(alleles(r), model, settings, MIXED_GENOME).scores for r in rows]
    together = pl.concat(alone).with_columns(expected["record"])
    assert_frame_equal(together, expected, abs_tol=1e-12)


def test_no_alleles_give_an_empty_table():
    found = run(alleles(), unigram({}))
    assert found.scores.height == found.passes == 0
    assert "llr" in found.scores.columns
