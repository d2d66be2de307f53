"""Which tokens hold a change, by hand, for each kind of tokenizer and on both strands."""

from dataclasses import replace

import pytest

from ntvep import dna
from ntvep.alleles import token_pair
from ntvep.schema import Status
from ntvep.tokenizers.kmer import kmers
from ntvep.tokenizers.overlapping import overlapping_tokenizer
from ntvep.windows import Edit
from tests.toy import VOCABULARY, like_nt
from tests.toy_families import BPE_TOKENS, tokenizer

KMERS = like_nt()
BASE = replace(KMERS, tokenizer=tokenizer("base"), step=1)
CAUSAL = replace(BASE, objective="causal")
BPE = replace(KMERS, tokenizer=tokenizer("bpe"), step=1)
THREES = ("[MASK]", "[CLS]", "[UNK]", *kmers(3))
OVERLAPPING = replace(
    KMERS, tokenizer=overlapping_tokenizer(THREES, 3, front=["[CLS]"], back=[]), step=1
)
A, C, G, T = range(4)


def pair(model, text, start, ref, alt, reverse=False, changed=None):
    """The pair of one strand; ``changed`` is the ALT sequence, for what has to be spelled out."""
    cut = model.tokenizer

    def tokens(letters):
        bases = dna.encode(letters)
        return cut.encode(dna.reverse_complement(bases) if reverse else bases)

    edit = Edit(start, dna.codes(ref), dna.codes(alt))
    other = None if changed is None else tokens(changed)
    return token_pair(edit, (start, start), tokens(text), other, reverse, model)


def spelled(names, ids):
    return [names[i] for i in ids]


# k-mers -------------------------------------------------------------------------------------------
WINDOW = "AAAAAACCCCCCGGGGGG"


def test_an_snv_of_a_six_mer():
    made = pair(KMERS, WINDOW, 7, "C", "T")
    assert (made.ref_changed, made.alt_changed) == (range(2, 3), range(2, 3))
    assert spelled(VOCABULARY, made.ref_ids) == ["CCCCCC"]
    assert spelled(VOCABULARY, made.alt_ids) == ["CTCCCC"]
    assert made.snv == (1, C, T)
    assert made.alt is None
    assert (made.one_mask, made.same_places) == (True, True)


def test_an_snv_of_a_six_mer_on_the_other_strand():
    """CCCCCC GGGGGG TTTTTT: base 7 of 18 is base 10 there, the fifth of its token; G to A."""
    made = pair(KMERS, WINDOW, 7, "C", "T", reverse=True)
    assert made.ref_changed == range(2, 3)
    assert spelled(VOCABULARY, made.ref_ids) == ["GGGGGG"]
    assert spelled(VOCABULARY, made.alt_ids) == ["GGGGAG"]
    assert made.snv == (4, G, A)


def test_an_mnv_of_two_six_mers():
    made = pair(KMERS, WINDOW, 5, "AC", "TG")
    assert made.ref_changed == range(1, 3)
    assert spelled(VOCABULARY, made.alt_ids) == ["AAAAAT", "GCCCCC"]
    assert made.snv is None
    other = pair(KMERS, WINDOW, 5, "AC", "TG", reverse=True)
    assert other.ref_changed == range(2, 4)
    assert spelled(VOCABULARY, other.alt_ids) == ["GGGGGC", "ATTTTT"]


@pytest.mark.parametrize(("reverse", "ref", "alt"), [(False, "CCCCCC", "CCCCCG"),
                                                     (True, "GGGGGG", "CGGGGG")])  # fmt: skip
def test_a_deletion_in_a_six_mer(reverse, ref, alt):
    """The empty side takes the base behind it, as the forward strand reads."""
    made = pair(KMERS, WINDOW, 7, "C", "", reverse, changed="AAAAAACCCCCGGGGGGT")
    assert (made.ref_changed, made.alt_changed) == (range(2, 3), range(2, 3))
    assert spelled(VOCABULARY, made.ref_ids) == [ref]
    assert spelled(VOCABULARY, made.alt_ids) == [alt]
    assert (made.snv, made.one_mask, made.same_places) == (None, False, False)


def test_an_insertion_of_more_than_a_six_mer():
    made = pair(KMERS, WINDOW, 6, "", "TTTTTTT", changed="AAAAAATTTTTTTCCCCC")
    assert made.ref_changed == range(2, 3)
    assert made.alt_changed == range(2, 4)
    assert spelled(VOCABULARY, made.alt_ids) == ["TTTTTT", "TCCCCC"]


def test_an_n_in_a_changed_six_mer():
    """It breaks its token into single bases, one of which is changed; others do not matter."""
    assert pair(KMERS, "AAAAAACCNCCCGGGGGG", 7, "C", "T") == Status.N_IN_VARIANT_TOKEN
    assert pair(KMERS, "AANAAACCCCCCCCCGGG", 10, "C", "T") != Status.N_IN_VARIANT_TOKEN


# Single bases -------------------------------------------------------------------------------------


def test_an_snv_of_a_base():
    ids = dict(zip("ACGT", BASE.tokenizer.nucleotides, strict=True))
    made = pair(BASE, "ACGTAC", 1, "C", "T")
    assert (made.ref_changed, made.ref_ids, made.alt_ids) == (range(1, 2), (ids["C"],), (ids["T"],))
    assert made.snv == (0, C, T)
    other = pair(BASE, "ACGTAC", 1, "C", "T", reverse=True)
    assert (other.ref_changed, other.ref_ids, other.alt_ids) == (
        range(4, 5), (ids["G"],), (ids["A"],),
    )  # fmt: skip
    assert other.snv == (0, G, A)
    assert pair(BASE, "ANGTAC", 1, "N", "T") == Status.N_IN_VARIANT_TOKEN
    assert pair(BASE, "NCNTAC", 1, "C", "T").ref_changed == range(1, 2)


@pytest.mark.parametrize(
    ("model", "reverse", "ref", "alt"),
    [
        # GG before base 2 of ACGTAC. The junction takes the base behind it: base 2 forward.
        (BASE, False, range(2, 3), range(2, 4)),
        # Of six bases base 2 is base 3 there; of eight, bases 2 and 3 are bases 4 and 5.
        (BASE, True, range(3, 4), range(4, 6)),
        # A causal model reads the junction as this strand does: base 1 is behind it, base 4 there.
        (CAUSAL, False, range(2, 3), range(2, 4)),
        (CAUSAL, True, range(4, 5), range(4, 6)),
    ],
)
def test_an_insertion_between_bases(model, reverse, ref, alt):
    made = pair(model, "ACGTAC", 2, "", "GG", reverse, changed="ACGGGTAC")
    assert (made.ref_changed, made.alt_changed) == (ref, alt)
    assert (made.one_mask, made.same_places) == (False, False)


def test_a_first_token_is_predicted_by_nothing():
    """Of a causal model without a special token before the bases."""
    assert pair(CAUSAL, "ACGTAC", 0, "A", "T") is None
    assert pair(BASE, "ACGTAC", 0, "A", "T").ref_changed == range(0, 1)
    assert pair(CAUSAL, "ACGTAC", 5, "C", "T", reverse=True) is None
    assert pair(CAUSAL, "ACGTAC", 5, "C", "T").ref_changed == range(5, 6)


# Overlapping k-mers -------------------------------------------------------------------------------


def test_an_snv_of_overlapping_three_mers():
    """ACGTACGT has six 3-mers behind [CLS]; base 4 is in those that begin at 2, 3 and 4."""
    made = pair(OVERLAPPING, "ACGTACGT", 4, "A", "C")
    assert made.ref_changed == range(3, 6)
    assert spelled(THREES, made.ref_ids) == ["GTA", "TAC", "ACG"]
    assert spelled(THREES, made.alt_ids) == ["GTC", "TCC", "CCG"]
    first = pair(OVERLAPPING, "ACGTACGT", 0, "A", "C")
    assert (first.ref_changed, spelled(THREES, first.alt_ids)) == (range(1, 2), ["CCG"])
    other = pair(OVERLAPPING, "ACGTACGT", 4, "A", "C", reverse=True)
    # Base 3 of ACGTACGT, its own reverse complement; T to G.
    assert other.ref_changed == range(2, 5)
    assert spelled(THREES, other.alt_ids) == ["CGG", "GGA", "GAC"]


def test_a_junction_is_held_by_the_three_mers_across_it():
    made = pair(OVERLAPPING, "ACGTACGT", 4, "", "GG", changed="ACGTGGACGT")
    assert made.ref_changed == range(3, 5)
    assert spelled(THREES, made.ref_ids) == ["GTA", "TAC"]
    # Two bases are in four 3-mers.
    assert spelled(THREES, made.alt_ids) == ["GTG", "TGG", "GGA", "GAC"]


def test_no_three_mer_is_across_an_end():
    assert pair(OVERLAPPING, "ACGTACGT", 0, "", "GG", changed="GGACGTACGT") is None


def test_an_n_beside_an_overlapping_three_mer():
    assert pair(OVERLAPPING, "ACNTACGT", 4, "A", "C") == Status.N_IN_VARIANT_TOKEN
    assert pair(OVERLAPPING, "ANGTACGT", 4, "A", "C").ref_changed == range(3, 6)


# Byte pairs ---------------------------------------------------------------------------------------


def test_tokens_that_merge_otherwise():
    """A CGCG T, and with A for its last G: A CG C AT."""
    made = pair(BPE, "ACGCGT", 4, "G", "A", changed="ACGCAT")
    assert spelled(BPE_TOKENS, made.ref_ids) == ["CGCG", "T"]
    assert spelled(BPE_TOKENS, made.alt_ids) == ["CG", "C", "AT"]
    assert (made.ref_changed, made.alt_changed) == (range(2, 4), range(2, 5))
    assert made.snv == (0, G, A)
    assert (made.one_mask, made.same_places) == (False, False)


def test_one_token_for_one_is_one_mask():
    """A C CG T and A G CG T."""
    made = pair(BPE, "ACCGT", 1, "C", "G", changed="AGCGT")
    assert (made.ref_changed, made.alt_changed) == (range(2, 3), range(2, 3))
    assert (made.one_mask, made.same_places) == (True, True)
    other = pair(BPE, "ACCGT", 1, "C", "G", reverse=True, changed="AGCGT")
    assert spelled(BPE_TOKENS, other.ref_ids) == ["G"]
    assert spelled(BPE_TOKENS, other.alt_ids) == ["C"]


def test_a_deletion_that_leaves_the_same_tokens_elsewhere():
    """C C C less a C: the first of the common tokens behind the change goes back to both sides."""
    made = pair(BPE, "ACCCT", 1, "C", "", changed="ACCT")
    assert made.ref_ids[: len(made.ref_ids)] == made.ref.at(made.ref_changed)
    assert len(made.ref_ids) == len(made.alt_ids) + 1
    assert made.alt_ids
    assert made.ref_changed.start <= 2 < made.ref_changed.stop


def test_an_n_in_a_byte_pair():
    assert pair(BPE, "ACNGT", 2, "N", "C", changed="ACCGT") == Status.N_IN_VARIANT_TOKEN
