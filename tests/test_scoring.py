"""Formulas by hand: sums over tokens, weighted means, distances, views, what is defined."""

from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest

from ntvep import scoring
from ntvep.passes import AnswerIndex, Asking, TokenPair
from ntvep.tokenizers.kmer import kmers
from ntvep.tokenizers.overlapping import overlapping_tokenizer
from tests.toy import like_nt
from tests.toy_families import FOUR_MERS, tokenizer


def index(pair, place, weight=None):
    weight = [1] * len(pair) if weight is None else weight
    return AnswerIndex(*(np.array(column, np.int64) for column in (pair, place, weight)))


def test_sums_of_tokens_by_pair():
    log_probs = np.log(np.array([0.5, 0.25, 0.1], np.float32))
    # Pair 0 asked for two tokens, pair 2 for one that pair 0 asked for too, pair 1 for none.
    asked = index([0, 0, 2], [2, 0, 0])
    expected = [log(0.1) + log(0.5), 0.0, log(0.5)]
    np.testing.assert_allclose(scoring.summed(log_probs, asked, 3), expected, rtol=1e-6)
    nobody = scoring.summed(log_probs, index([], []), 2)
    assert nobody.tolist() == [0.0, 0.0]
    assert nobody.dtype == np.float64


def test_a_likelier_ref_is_negative():
    log_probs = np.log(np.array([0.4, 0.1], np.float32))
    found = scoring.llr(log_probs, index([0], [1]), index([0], [0]), 1)
    np.testing.assert_allclose(found, [log(0.1 / 0.4)], rtol=1e-6)


def test_marginal_is_a_difference_of_two_bases():
    bases = np.zeros((2, 3, 4))
    bases[0, 1] = [-1.0, -2.0, -4.0, -8.0]
    bases[1, 2] = [-16.0, -32.0, -64.0, -128.0]
    # Offset, REF, ALT: C to T in the middle; T to A at the end.
    snvs = np.array([[1, 1, 3], [2, 3, 0]])
    assert scoring.llr_marginal(bases, snvs).tolist() == [-8.0 + 2.0, -16.0 + 128.0]


def test_a_mean_of_rows_weighs_each():
    hidden = np.array([[1.0, 0.0], [3.0, 8.0], [5.0, 2.0]])
    plain = scoring.mean_rows(hidden, index([0, 0, 1], [0, 1, 2]), 2)
    assert plain.tolist() == [[2.0, 4.0], [5.0, 2.0]]
    # A token of three bases, one of one; alone, a weight does not show.
    weighted = scoring.mean_rows(hidden, index([0, 0, 1], [0, 1, 2], [3, 1, 7]), 2)
    assert weighted.tolist() == [[1.5, 2.0], [5.0, 2.0]]
    # One row may be asked by two.
    shared = scoring.mean_rows(hidden, index([0, 1, 1], [1, 1, 2], [2, 2, 2]), 2)
    assert shared.tolist() == [[3.0, 8.0], [4.0, 5.0]]


def test_distances_by_hand():
    ref, alt = np.array([[3.0, 0.0], [1.0, 1.0]]), np.array([[3.0, 4.0], [2.0, 2.0]])
    found = scoring.distances(ref, alt)
    assert found["l1"].tolist() == [4.0, 2.0]
    np.testing.assert_allclose(found["l2"], [4.0, sqrt(2)])
    assert found["dot"].tolist() == [9.0, 4.0]
    np.testing.assert_allclose(found["cosine_distance"], [1 - 9 / 15, 0.0], atol=1e-15)


def test_the_cosine_of_near_vectors_keeps_its_digits():
    """1 - cos(t) is t^2 / 2 for a small angle t; 1 minus a rounded cosine would be 0."""
    found = scoring.cosine_distance(np.array([[1.0, 0.0]]), np.array([[1.0, 1e-9]]))
    np.testing.assert_allclose(found, [5e-19], rtol=1e-6)


def test_views_are_averaged_where_they_are_used():
    values = np.array([[1.0, 3.0, 99.0], [2.0, 0.0, 0.0], [1.0, np.nan, 5.0]])
    used = np.array([[True, True, False], [True, False, False], [True, True, True]])
    mean, sd = scoring.over_views(values, used)
    np.testing.assert_allclose(mean, [2.0, 2.0, np.nan])
    np.testing.assert_allclose(sd, [sqrt(2), np.nan, np.nan])


KMERS = like_nt()
IDS = KMERS.tokenizer.encode(np.zeros(18, np.uint8))


def pair(ref=range(1, 2), alt=None, snv=(0, 0, 1), same=True, tokens=IDS, alt_tokens=None):
    alt = alt or ref
    ids = tuple([0] * len(ref)), tuple([0] * len(alt))
    return TokenPair(tokens, alt_tokens, ref, alt, *ids, snv, same, same)


def asking(model, *scores):
    return Asking(model, scores)


def test_how_often_a_base_is_counted():
    """Overlapping 3-mers hold an SNV in three tokens, in one at a window's end."""
    pairs = [pair(range(2, 5)), pair(range(1, 2)), pair(range(1, 6), snv=None)]
    assert scoring.times_counted(pairs, 3).tolist() == [3.0, 1.0, 3.0]
    assert scoring.times_counted(pairs, 1).tolist() == [1.0, 1.0, 1.0]


def defined(name, pairs, model):
    return scoring.defined(name, pairs, asking(model, name)).tolist()


def test_what_is_defined_for_which_pair():
    some = [pair(), pair(snv=None), pair(snv=None, same=False)]
    assert defined("llr", some, KMERS) == [True, True, True]
    assert defined("llr_marginal", some, KMERS) == [True, False, False]
    assert defined("llr_unmasked", some, KMERS) == [True, True, False]
    assert defined("pll_delta", some, KMERS) == [True, True, True]
    assert defined("llr_site", some, KMERS) == [False] * 3
    rates = replace(KMERS, objective="rates", tokenizer=tokenizer("base"), step=1, field=5)
    assert defined("llr", some, rates) == [True, False, False]
    assert defined("l1", some, rates) == [True, True, True]
    assert defined("l1_token", some, rates) == [False] * 3
    # Overlapping 3-mers have no marginal: no token says all of a base.
    names = ["[MASK]", "[CLS]", "[UNK]", *kmers(3)]
    three = overlapping_tokenizer(names, 3, front=["[CLS]"], back=[])
    assert defined("llr_marginal", some, replace(KMERS, tokenizer=three, step=1)) == [False] * 3


def test_a_causal_llr_needs_as_many_terms_on_both_sides():
    cut = tokenizer("base")
    causal = replace(KMERS, objective="causal", tokenizer=cut, step=1)

    def tokens(letters):
        return cut.encode(np.array(["ACGTN".index(letter) for letter in letters], np.uint8))

    same = pair(tokens=tokens("ACGT"), alt_tokens=tokens("ACTT"))
    shorter = pair(tokens=tokens("ACGT"), alt_tokens=tokens("ACG"))
    # Another base beside an N: four tokens on both sides, but the ALT has three terms.
    unknown = pair(tokens=tokens("ACGT"), alt_tokens=tokens("ACGN"))
    told = pair(tokens=tokens("ACGT"))
    assert defined("llr", [same, shorter, unknown, told], causal) == [True, False, False, True]
    # Segments of ALT are others: the number of terms may differ, that of all else may not.
    cut = tokenizer("bpe")
    bpe = replace(causal, tokenizer=cut)
    fewer = pair(tokens=tokens("ACGCGT"), alt_tokens=tokens("ACGACGT"))
    unknown = pair(tokens=tokens("ACGCGT"), alt_tokens=tokens("ACGNGT"))
    assert defined("llr", [fewer, unknown], bpe) == [True, False]


def test_four_mers_have_a_marginal_too():
    four = replace(KMERS, tokenizer=tokenizer("kmer"), step=4)
    assert len(FOUR_MERS) == len(four.tokenizer.terms)
    assert defined("llr_marginal", [pair(), pair(snv=None)], four) == [True, False]


@pytest.mark.parametrize("scores", [("llr",), ("llr", "l1")])
def test_only_what_is_asked_for_comes_back(scores):
    """Scores of no pair: nothing to be computed, and each column is there."""
    from ntvep.passes import plan
    from tests.toy import unigram

    ask = asking(KMERS, *scores)
    made = plan([], ask)
    found = scoring.score([], ask, made, unigram({}).answer(made.questions))
    assert {name: len(column) for name, column in found.items()} == dict.fromkeys(scores, 0)
