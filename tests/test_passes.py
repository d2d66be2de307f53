"""Which passes a few pairs need, written out: requests, distinct passes, and who reads what."""

from dataclasses import replace

import numpy as np
import pytest

from ntvep import dna
from ntvep.description import Description
from ntvep.passes import Asking, Locus, TokenPair, _packed, _unpacked, first_difference, plan, sides
from tests.toy import TOKENIZER, VOCABULARY, like_nt
from tests.toy_families import BPE_TOKENS, tokenizer

MASKED = like_nt()
MASK = TOKENIZER.mask
CLS, A, C, G, T = (VOCABULARY.index(t) for t in ("<cls>", "AAAAAA", "CCCCCC", "GGGGGG", "TTTTTT"))
WINDOW = TOKENIZER.encode(dna.encode("AAAAAACCCCCCGGGGGG"))
BASE = tokenizer("base")
CAUSAL = Description("toy", "causal", BASE, "", 1, 96, 48, 64)
RATES = Description("toy", "rates", BASE, "", 1, 96, 48, 64, field=5)


def substitution(alt, token=2, tokens=WINDOW):
    """Another token in the place of one; an SNV of its first base."""
    changed = range(token, token + 1)
    return TokenPair(
        tokens, None, changed, changed, tokens.at(changed), (alt,), (0, 1, 2), True, True
    )


def deletion(letters="AAAAAACCCCCGGGGGGT"):
    """One C less: the tokens of ALT are spelled out."""
    alt, changed = TOKENIZER.encode(dna.encode(letters)), range(2, 3)
    ids = WINDOW.at(changed), alt.at(changed)
    return TokenPair(WINDOW, alt, changed, changed, *ids, None, False, False)


def test_alleles_of_one_token_share_its_masked_pass():
    made = plan([substitution(T), substitution(A)], Asking(MASKED, ("llr",)))
    asked = made.questions
    assert asked.inputs.rows(np.arange(len(asked.inputs))).tolist() == [[CLS, A, MASK, G]]
    assert asked.rows.tolist() == [[0, 2]]
    # REF of both, then ALT of both, all of one row.
    assert asked.tokens.tolist() == [[0, C], [0, C], [0, T], [0, A]]
    assert (made.alone_ref.pair.tolist(), made.alone_ref.place.tolist()) == ([0, 1], [0, 1])
    assert (made.alone_alt.pair.tolist(), made.alone_alt.place.tolist()) == ([0, 1], [2, 3])
    for nothing in (asked.bases, asked.entropy, asked.hidden, asked.likelihood, asked.pooled):
        assert len(nothing) == 0
    for nobody in (made.bases, made.entropy, made.ref_sum, made.alt_sum, made.alt_pool):
        assert nobody.tolist() == [-1, -1]
    assert len(made.unmasked_ref.pair) == len(made.hidden_alt.pair) == 0


def test_every_kind_of_answer_and_where_it_is_found():
    scores = ("llr", "llr_marginal", "llr_unmasked", "pll_delta", "entropy", "l1", "l1_token")
    made = plan([substitution(T), substitution(A), substitution(T)], Asking(MASKED, scores))
    asked = made.questions
    # Masked, REF, and two different ALT windows: the third pair asks for nothing new.
    assert asked.inputs.rows(np.arange(len(asked.inputs))).tolist() == [
        [CLS, A, MASK, G],
        [CLS, A, C, G],
        [CLS, A, T, G],
        [CLS, A, A, G],
    ]
    assert asked.rows.tolist() == [[0, 2], [1, 2]]
    assert asked.entropy.tolist() == [0]
    assert made.entropy.tolist() == [0, 0, 0]
    assert asked.bases.tolist() == [[0, 0, 0]]
    assert made.bases.tolist() == [0, 0, 0]
    masked, unmasked = (
        [[0, C]] * 3 + [[0, T], [0, A], [0, T]],
        [[1, C]] * 3 + [[1, T], [1, A], [1, T]],
    )
    assert asked.tokens.tolist() == masked + unmasked
    assert made.unmasked_ref.place.tolist() == [6, 7, 8]
    assert made.unmasked_alt.place.tolist() == [9, 10, 11]
    # From the token behind <cls> on.
    assert asked.likelihood.tolist() == [[1, 1], [2, 1], [3, 1]]
    assert (made.ref_sum.tolist(), made.alt_sum.tolist()) == ([0, 0, 0], [1, 2, 1])
    assert asked.pooled.tolist() == [1, 2, 3]
    assert (made.ref_pool.tolist(), made.alt_pool.tolist()) == ([0, 0, 0], [1, 2, 1])
    assert asked.hidden.tolist() == [[1, 2], [2, 2], [3, 2]]
    assert (made.hidden_ref.place.tolist(), made.hidden_alt.place.tolist()) == ([0] * 3, [1, 2, 1])


def test_sequences_are_one_if_all_their_tokens_are_wherever_they_differ():
    """Windows of a repeat agree in the middle; an object of its own may hold the same tokens."""
    texts = ["AAAAAA" + 18 * "GT" * 3 + end for end in ("CCCCCC", "TTTTTT", "CCCCCC", "GGGGGG")]
    windows = [TOKENIZER.encode(dna.encode(text)) for text in texts]
    windows += [windows[1], TOKENIZER.encode(dna.encode(texts[1])), WINDOW]
    pairs = [substitution(T, tokens=window) for window in windows]
    inputs = plan(pairs, Asking(MASKED, ("llr",))).questions.inputs
    assert [tokens.bases for tokens in inputs.sequences] == [120, 120, 120, 18]
    assert inputs.sequence.tolist() == [0, 1, 2, 3]
    ref, _, _ = sides(pairs)
    assert ref.sequence.tolist() == [0, 1, 0, 2, 1, 1, 3]
    last = [int(tokens.ids[-1]) for tokens in inputs.sequences[:3]]
    assert last == [C, T, G]


def test_an_indel_is_masked_on_both_sides():
    made = plan([deletion(), substitution(T)], Asking(MASKED, ("llr",)))
    asked, alt = made.questions, deletion().alt.ids.tolist()
    assert asked.inputs.rows(np.arange(len(asked.inputs))).tolist() == [
        [CLS, A, MASK, G],
        [*alt[:2], MASK, *alt[3:]],
    ]
    assert asked.rows.tolist() == [[0, 2], [1, 2]]
    # Of the deletion, ALT's token is asked in its own window; the SNV's in that of REF.
    assert asked.tokens.tolist() == [[0, C], [0, C], [1, alt[2]], [0, T]]
    assert made.alone_alt.place.tolist() == [2, 3]


def test_what_is_asked_travels_with_the_questions():
    asking = Asking(MASKED, ("llr",), layer=3, pool="mean_cls", softmax="acgt")
    questions = plan([substitution(T)], asking).questions
    assert (questions.layer, questions.pool, questions.softmax) == (3, "mean_cls", "acgt")


def test_passes_of_many_pairs_are_distinct_and_each_reads_its_own():
    """The same, found by writing every input out."""
    rng = np.random.default_rng(2)
    windows = [TOKENIZER.encode(rng.integers(0, 4, 18).astype(np.uint8)) for _ in range(3)]
    first = VOCABULARY.index("AAAAAA")
    pairs = [
        substitution(int(rng.integers(first, first + 5)), int(rng.integers(1, 4)), window)
        for window in windows
        for _ in range(20)
    ] + [deletion()]
    made = plan(pairs, Asking(MASKED, ("llr", "l1")))
    inputs = made.questions.inputs
    rows = [tuple(row) for row in inputs.rows(np.arange(len(inputs))).tolist()]
    assert len(set(rows)) == len(rows)
    expected = set()
    for number, pair in enumerate(pairs):
        ref = pair.ref.ids.tolist()
        alt = list(ref) if pair.alt is None else pair.alt.ids.tolist()
        if pair.alt is None:
            alt[pair.alt_changed.start] = pair.alt_ids[0]
        masked = list(ref)
        masked[pair.ref_changed.start] = MASK
        expected |= {tuple(ref), tuple(alt), tuple(masked)}
        if pair.alt is not None:
            masked_alt = list(alt)
            masked_alt[pair.alt_changed.start] = MASK
            expected.add(tuple(masked_alt))
        questions = made.questions
        assert rows[questions.pooled[made.ref_pool[number]]] == tuple(ref)
        assert rows[questions.pooled[made.alt_pool[number]]] == tuple(alt)
        (place,) = made.alone_ref.place[made.alone_ref.pair == number]
        row, token = questions.tokens[place]
        assert token == pair.ref_ids[0]
        assert rows[questions.rows[row, 0]] == tuple(masked)
        assert questions.rows[row, 1] == pair.ref_changed.start
    assert set(rows) == expected


def test_tokens_of_many_lengths_weigh_their_bases():
    """ACGCGT is [CLS] A CGCG T [SEP]; with GA for CG it is A GA CG T."""
    pieces = tokenizer("bpe")
    masked = replace(MASKED, tokenizer=pieces)
    ref, alt = (pieces.encode(dna.encode(text)) for text in ("ACGCGT", "AGACGT"))
    assert [BPE_TOKENS[i] for i in ref.ids] == ["[CLS]", "A", "CGCG", "T", "[SEP]"]
    assert [BPE_TOKENS[i] for i in alt.ids] == ["[CLS]", "A", "GA", "CG", "T", "[SEP]"]
    changed = range(2, 3), range(2, 4)
    ids = ref.at(changed[0]), alt.at(changed[1])
    pair = TokenPair(ref, alt, *changed, *ids, None, False, False)
    made = plan([pair], Asking(masked, ("l1_token",)))
    assert made.hidden_ref.weight.tolist() == [4]
    assert made.hidden_alt.weight.tolist() == [2, 2]
    weights = [made.questions.inputs.weights(np.array([number])).tolist() for number in (0, 1)]
    assert weights == [[[0, 1, 4, 1, 0]], [[0, 1, 2, 2, 1, 0]]]


def letters(text):
    return BASE.encode(dna.encode(text))


def snv(text, place, alt):
    ids = {letter: int(BASE.ids["ACGTN".index(letter)]) for letter in "ACGTN"}
    changed = range(place, place + 1)
    bases = 0, "ACGT".index(text[place]), "ACGT".index(alt)
    return TokenPair(
        letters(text), None, changed, changed, (ids[text[place]],), (ids[alt],), bases, True, True
    )


def test_a_causal_model_reads_both_bases_in_one_window():
    """What stands before an SNV is the same: one row, and ALT's window goes on from REF's."""
    pairs = [snv("ACGTAC", 3, "G"), snv("ACGTAC", 5, "A")]
    made = plan(pairs, Asking(CAUSAL, ("llr", "llr_site", "entropy")))
    asked, (a, c, g, t) = made.questions, BASE.nucleotides
    assert asked.inputs.rows(np.arange(len(asked.inputs))).tolist() == [
        [a, c, g, t, a, c],
        [a, c, g, g, a, c],
        [a, c, g, t, a, a],
    ]
    assert asked.rows.tolist() == [[0, 3], [0, 5]]
    assert asked.tokens.tolist() == [[0, t], [1, c], [0, g], [1, a]]
    # Sums begin where REF and ALT begin to differ: an own sum of REF for each.
    assert asked.likelihood.tolist() == [[0, 3], [0, 5], [1, 3], [2, 5]]
    assert (made.ref_sum.tolist(), made.alt_sum.tolist()) == ([0, 1], [2, 3])
    assert asked.inputs.parent.tolist() == [-1, 0, 0]
    assert asked.inputs.shared.tolist() == [0, 3, 5]


def test_a_pass_that_others_go_on_from_is_whole():
    """ALT of the first is REF of the second."""
    first = snv("ACGTAC", 3, "G")._replace(alt=letters("ACGGAC"))
    made = plan([first, snv("ACGGAC", 4, "T")], Asking(CAUSAL, ("llr",)))
    inputs = made.questions.inputs
    assert len(inputs) == 3
    assert inputs.parent.tolist() == [-1, -1, 1]
    assert inputs.shared.tolist() == [0, 0, 4]


def test_the_first_difference_lies_before_the_change_in_a_repeat_never():
    """A deletion of one A of AAA shows where the A's end."""
    ref, alt = letters("CAAAG"), letters("CAAGT")
    some = TokenPair(ref, alt, range(1, 2), range(1, 2), (3,), (3,), None, False, False)
    same = some._replace(alt=letters("CAAA"))
    assert first_difference([some, same, snv("ACGT", 2, "A")]).tolist() == [3, 4, 2]


def rate_pair(genome, p, alt, chrom="c", reverse=False):
    """An SNV in the middle of the five bases that its output depends on."""
    made = snv(genome[p - 2 : p + 3], 2, alt)
    return made._replace(
        alt=letters(genome[p - 2 : p] + alt + genome[p + 1 : p + 3]),
        locus=Locus(chrom, reverse, p),
    )


GENOME = "ACGTTGCAACGTTTGACCATG"


def test_windows_of_a_rate_model_that_overlap_are_one_input():
    """At 5 and 7: bases 3 to 9, and one beyond so that lengths are few."""
    made = plan([rate_pair(GENOME, 7, "C"), rate_pair(GENOME, 5, "A")], Asking(RATES, ("llr",)))
    asked, beyond = made.questions, int(BASE.ids[dna.BEYOND])
    (row,) = asked.inputs.rows(np.array([0])).tolist()
    assert len(asked.inputs) == 1
    assert row == [*letters(GENOME[3:10]).ids.tolist(), beyond]
    # In the order in which they are asked; REF and ALT of one place.
    assert asked.rows.tolist() == [[0, 4], [0, 2]]
    a, c, g, _ = BASE.nucleotides
    assert (GENOME[7], GENOME[5]) == ("A", "G")
    assert asked.tokens.tolist() == [[0, a], [1, g], [0, c], [1, a]]


def test_windows_apart_or_of_other_strands_are_not_joined():
    pairs = [
        rate_pair(GENOME, 5, "A"),
        rate_pair(GENOME, 10, "A"),
        rate_pair(GENOME, 6, "A", reverse=True),
        rate_pair(GENOME, 6, "A", chrom="d"),
    ]
    made = plan(pairs, Asking(RATES, ("llr",)))
    assert sorted(map(len, (t.ids for t in made.questions.inputs.sequences)))[:4] == [5, 5, 5, 5]
    # Two of them read the same bases: they are one pass.
    assert len(made.questions.inputs) == 3
    assert len(made.questions.rows) == 3


def test_a_masked_model_needs_a_mask():
    without = replace(MASKED, tokenizer=replace(TOKENIZER, mask=None))
    with pytest.raises(ValueError, match="a masked model needs a tokenizer with a mask"):
        plan([substitution(T)], Asking(without, ("llr",)))


def numbers(*values):
    return np.array(values, np.int64)


def test_keys_are_packed_and_unpacked():
    parts = numbers(0, 4, 2), numbers(6, 0, 3)
    keys = _packed((5, 7), *parts)
    assert keys.tolist() == [6, 28, 17]
    assert [part.tolist() for part in _unpacked((5, 7), keys)] == [[0, 4, 2], [6, 0, 3]]
    # As large as 64 bits hold.
    sizes = 2**31 - 1, 2**32
    keys = _packed(sizes, numbers(2**31 - 2), numbers(2**32 - 1))
    assert keys.tolist() == [(2**31 - 1) * 2**32 - 1]
    assert [part.tolist() for part in _unpacked(sizes, keys)] == [[2**31 - 2], [2**32 - 1]]


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ((2**32, 2**31), ([0], [0])),
        ((2**40, 2**20, 2**10), ([0], [0], [0])),
        ((5, 7), ([5], [0])),
        ((5, 7), ([0], [7])),
        ((5, 7), ([0, -1], [0, 0])),
    ],
)
def test_keys_that_would_be_another_key_are_refused(sizes, parts):
    with pytest.raises(OverflowError, match=r"do not fit 64 bits|is not below"):
        _packed(sizes, *(numbers(*part) for part in parts))
