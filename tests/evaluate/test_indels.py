"""Contexts of indels, and indels at random places: against strings that are cut and joined."""

import re
from collections import Counter

import numpy as np
import polars as pl
import pytest

from ntvep.evaluate import indels
from ntvep.evaluate.background import contexts
from ntvep.evaluate.indels import draw_indels, indel_contexts
from ntvep.windows import Span
from tests.toy import Genome, alleles

# Few letters and long runs, so that every kind of repeat occurs.
RNG = np.random.default_rng(8)
PARTS = ["".join(RNG.choice(list("ACGT"), n)) * int(m) for n, m in RNG.integers(1, 6, (900, 2))]
SEQUENCE = "".join(PARTS)
GENOME = Genome({"a": SEQUENCE, "b": "NACGTTTNACACACN" + SEQUENCE[:200] + "NNT"})


def applied(sequence, pos, ref, alt):
    assert sequence[pos - 1 : pos - 1 + len(ref)] == ref
    return sequence[: pos - 1] + alt + sequence[pos - 1 + len(ref) :]


def by_hand(sequence, pos, ref, alt):
    """Context of an allele spelled with one base before it: the run of whole copies around it."""
    unit = max(ref, alt, key=len)[1:]
    longer = sequence if len(ref) > len(alt) else applied(sequence, pos, ref, alt)
    length, copies = len(unit), 0
    # The longest run of one unit, turned as it may be, that holds these bases.
    for begin in range(max(0, pos - 6 * length), pos + 1):
        turned = longer[begin : begin + length]
        run = re.match(f"(?:{turned})+", longer[begin:])
        if begin + run.end() >= pos + length and sorted(turned) == sorted(unit):
            copies = max(copies, run.end() // length - 1)
    kind = "Del" if len(ref) > len(alt) else "Ins"
    base = "R" if length > 1 else {"A": "T", "G": "C"}.get(unit, unit)
    return f"{length}:{kind}:{base}:{min(copies, 5 if length == 1 else 2)}"


def every_deletion(sequence, length):
    """One spelling, with a base before it, of each sequence that a deletion can make."""
    # What begins with the first base has none before it.
    made = {sequence[length:]: None}
    for pos in range(1, len(sequence) - length):
        ref = sequence[pos - 1 : pos + length]
        made.setdefault(applied(sequence, pos, ref, ref[0]), (pos, ref, ref[0]))
    return set(made.values()) - {None}


def test_contexts_have_the_names_of_the_signatures():
    assert indel_contexts(1)[:13] == (
        *(f"1:Del:{base}:{copies}" for base in "CT" for copies in range(6)), "1:Ins:C:0",
    )  # fmt: skip
    assert indel_contexts(3)[-6:] == (
        "3:Del:R:0", "3:Del:R:1", "3:Del:R:2", "3:Ins:R:0", "3:Ins:R:1", "3:Ins:R:2",
    )  # fmt: skip
    assert len(set(indel_contexts(10))) == len(indel_contexts(10)) == 24 + 9 * 6


@pytest.mark.parametrize(
    ("sequence", "pos", "ref", "alt", "expected"),
    [
        ("GACG", 2, "AC", "A", "1:Del:C:0"),
        ("GAAAAG", 1, "GA", "G", "1:Del:T:3"),
        ("GAAAAG", 3, "AA", "A", "1:Del:T:3"),  # as above, spelled elsewhere
        ("GAAAAAAAG", 1, "GA", "G", "1:Del:T:5"),  # 6 beside it, which count as 5
        ("GAAAAG", 1, "G", "GA", "1:Ins:T:4"),
        ("GAAAAG", 1, "G", "GC", "1:Ins:C:0"),
        ("TCACAG", 1, "TCA", "T", "2:Del:R:1"),
        ("TCACAG", 2, "CAC", "C", "2:Del:R:1"),  # AC of CACA: the same
        ("TCACAG", 1, "T", "TCA", "2:Ins:R:2"),
        ("TCACAG", 1, "T", "TGG", "2:Ins:R:0"),
        ("TCAG", 2, "C", "CAC", "2:Ins:R:1"),
        ("AGTACGTACC", 1, "AGTAC", "A", "4:Del:R:1"),
    ],
)
def test_contexts_worked_out_on_paper(sequence, pos, ref, alt, expected):
    genome = Genome({"c": sequence})
    there = contexts(alleles(("c", pos, ref, alt)), genome)
    found, differs = there.context, there.differs
    assert found.to_list() == [expected]
    assert not differs.any()


def test_what_has_no_context():
    genome = Genome({"c": "ACGTNACGTA"})
    table = alleles(
        ("c", 3, "GT", "G"),  # beside an N
        ("c", 6, "A", "AN"),
        ("c", 8, "GTA", "G"),  # at the end
        ("c", 2, "CGT", "CA"),  # no indel alone
        ("c", 7, "CA", "C"),  # other bases are there
        ("d", 2, "CG", "C"),
    )
    there = contexts(table, genome)
    found, differs = there.context, there.differs
    assert found.to_list() == [None] * 6
    assert np.flatnonzero(differs).tolist() == [4]


def test_every_deletion_of_a_small_region_is_drawn_once():
    sequence = SEQUENCE[:700]
    genome = Genome({"a": sequence})
    drawn = draw_indels(genome, [("a", Span(0, len(sequence)))], 4, 10_000, seed=0)
    deletions = drawn.filter(pl.col("ref").str.len_bytes() > 1)
    for length in (1, 2, 4):
        of_length = deletions.filter(pl.col("ref").str.len_bytes() == length + 1)
        assert set(of_length["pos", "ref", "alt"].rows()) == every_deletion(sequence, length)
    for pos, ref, alt, context in drawn["pos", "ref", "alt", "context"].rows():
        assert context == by_hand(sequence, pos, ref, alt)
    insertions = drawn.filter(pl.col("alt").str.len_bytes() > 1)
    made = [applied(sequence, *row) for row in insertions["pos", "ref", "alt"].rows()]
    assert len(made) == len(set(made)) > 1_500
    assert Counter(drawn["context"]).keys() == set(indel_contexts(4))


def test_as_many_of_each_context_and_a_seed_gives_the_same(monkeypatch):
    everywhere = [(name, Span(0, len(bases))) for name, bases in GENOME.contigs.items()]
    monkeypatch.setattr(indels, "_BLOCK", 1_000)
    drawn = draw_indels(GENOME, everywhere, 3, 12, seed=1)
    assert Counter(drawn["context"]) == dict.fromkeys(indel_contexts(3), 12)
    assert drawn.equals(draw_indels(GENOME, everywhere, 3, 12, seed=1))
    assert not drawn.equals(draw_indels(GENOME, everywhere, 3, 12, seed=2))
    assert drawn.select("chrom", "pos", "ref", "alt").is_unique().all()
    for chrom, pos, ref, alt, context in drawn.rows():
        assert context == by_hand(GENOME.contigs[chrom], pos, ref, alt)
    table = alleles(*(row[:4] for row in drawn.rows()))
    assert contexts(table, GENOME).context.to_list() == drawn["context"].to_list()


def test_every_place_is_as_likely(monkeypatch):
    """Of 40 seeds, in blocks: no part of the genome is drawn more often than it has such places."""
    bases = "".join(np.random.default_rng(3).choice(list("ACGT"), 20_000))
    genome = Genome({"a": bases})
    monkeypatch.setattr(indels, "_BLOCK", 3_000)
    drawn = pl.concat(
        [draw_indels(genome, [("a", Span(0, 20_000))], 2, 10, seed) for seed in range(40)]
    )
    counts = np.histogram(drawn["pos"], 10, (0, 20_000))[0]
    # 30 contexts x 10 x 40; rare ones come from the same places again, so not chi-square's own.
    assert counts.sum() == drawn.height > 9_000
    assert np.abs(counts / counts.mean() - 1).max() < 0.12


def test_a_genome_is_looked_at_in_part(monkeypatch):
    """Of a large one a tenth of the places here, and so a tenth of what is there."""
    monkeypatch.setattr(indels, "_LOOKED_AT", len(SEQUENCE) // 10)
    drawn = draw_indels(GENOME, [("a", Span(0, len(SEQUENCE)))], 1, 100_000, seed=0)
    everything = every_deletion(SEQUENCE, 1)
    share = (drawn["ref"].str.len_bytes() == 2).sum() / len(everything)
    assert 0.07 < share < 0.13
