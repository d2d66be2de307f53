"""Labels meet scores on exactly the same change of the genome; every label row ends somewhere."""

import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntvep import dna, windows
from ntvep.commands.labels import label_clinvar
from ntvep.errors import ReferenceMismatchError
from ntvep.evaluate.joining import join
from ntvep.io.fasta import open_reference
from ntvep.io.tables import read_labels
from ntvep.schema import Status
from tests.evaluate.tables import labels
from tests.toy import Genome, alleles

#                        1234567890123456789
GENOME = Genome({"chr1": "ACGTTTTTACACACACGGA"})


def outcomes_of(joined):
    return dict(joined.labels["outcome"].value_counts().iter_rows())


def leftmost(chrom, start, gone, come):
    """The slow twin: apply the change, and look for the leftmost one that gives the same sequence.

    Only for pure insertions and deletions.
    """
    changed = chrom[:start] + come + chrom[start + len(gone) :]
    for place in range(len(chrom)):
        removed = chrom[place : place + len(gone)]
        added = changed[place : place + len(come)]
        if chrom[:place] + added + chrom[place + len(removed) :] == changed:
            return place, removed, added
    raise AssertionError


repeats = st.lists(
    st.tuples(st.sampled_from(["A", "AC", "CAG", "ACGT", "GT"]), st.integers(1, 6)), min_size=1
).map(lambda parts: "".join(unit * times for unit, times in parts))


@settings(max_examples=300, deadline=None)
@given(st.data(), repeats)
def test_left_alignment_equals_its_slow_twin(data, contig):
    start = data.draw(st.integers(0, len(contig) - 1))
    if data.draw(st.booleans()):
        gone = contig[start : start + data.draw(st.integers(1, 7))]
        come = ""
    else:
        gone, come = "", data.draw(st.text("ACGT", min_size=1, max_size=7))
        if data.draw(st.booleans()):
            come = contig[start : start + len(come)]
    fetch = lambda a, b: dna.encode(contig)[a:b]  # noqa: E731
    edit = windows.Edit(start, dna.codes(gone), dna.codes(come))
    found = windows.left_align(edit, 0, fetch)
    assert (found.start, dna.decode(found.ref), dna.decode(found.alt)) == leftmost(
        contig, start, gone, come
    )


def test_left_alignment_goes_as_far_as_a_long_repeat_and_no_further_than_the_sequence():
    contig = "G" + "CA" * 1000 + "T"
    fetch = lambda a, b: dna.encode(contig)[a:b]  # noqa: E731
    edit = windows.Edit(1999, dna.codes("CA"), b"")
    assert windows.left_align(edit, 0, fetch).start == 1
    # A slice of a contig has no base before its first.
    assert windows.left_align(edit, 1000, fetch).start == 1000
    assert dna.decode(windows.left_align(edit, 1000, fetch).ref) == "AC"


def test_left_alignment_equals_bcftools_norm(tmp_path):
    if not shutil.which("bcftools"):
        pytest.skip("no bcftools")
    rng = np.random.default_rng(5)
    units = ["A", "T", "AC", "GT", "CAG", "GATA", "".join(rng.choice([*"ACGT"], 9))]
    contig = "".join(units[rng.integers(len(units))] * rng.integers(1, 9) for _ in range(200))
    lines = []
    for number in range(1500):
        pos = int(rng.integers(2, len(contig) - 12))
        ref = contig[pos - 1 : pos - 1 + rng.integers(1, 9)]
        alt = ref[0] + "".join(rng.choice([*"ACGT"], rng.integers(0, 6)))
        if rng.random() < 0.5:
            alt = ref + contig[pos - 1 + len(ref) :][: rng.integers(1, 7)]
        if alt != ref:
            lines.append((pos, number, ref, alt))
    lines.sort()
    (tmp_path / "g.fa").write_text(f">chr1\n{contig}\n")
    header = f"##fileformat=VCFv4.2\n##contig=<ID=chr1,length={len(contig)}>\n"
    header += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    body = "".join(f"chr1\t{pos}\t{n}\t{ref}\t{alt}\t.\t.\t.\n" for pos, n, ref, alt in lines)
    (tmp_path / "in.vcf").write_text(header + body)
    command = ["bcftools", "norm", "-f", tmp_path / "g.fa", tmp_path / "in.vcf"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    theirs = {}
    for line in done.stdout.splitlines():
        if not line.startswith("#"):
            _, pos, n, ref, alt = line.split("\t")[:5]
            theirs[int(n)] = windows.trim(int(pos), ref, alt)
    assert len(theirs) == len(lines) > 1300
    moved = 0
    for pos, n, ref, alt in lines:
        ours = windows.trim(pos, ref, alt)
        moved += ours.start != theirs[n].start
        ours = windows.left_align(ours, 0, lambda a, b: dna.encode(contig)[a:b])
        # The base that bcftools keeps before an indel is trimmed from both.
        assert ours == theirs[n], (pos, ref, alt)
    assert moved > 50


def test_one_change_spelled_in_two_ways_is_joined():
    scores = alleles(
        ("chr1", 6, "TT", "T"),
        ("chr1", 9, "AC", "A"),
        ("chr1", 10, "CAC", "CACAC"),
        ("chr1", 17, "gg", "AT"),
    )
    table = labels(
        {"at": "chr1:3:GT:G", "label": True, "AF": 0.25},
        {"at": "chr1:8:TACAC:TACACAC", "label": False, "AF": 0.5},
        {"at": "chr1:16:CGGA:CATA", "label": False},
    )
    joined = join(scores, table, GENOME)
    assert outcomes_of(joined) == {"matched": 3}
    assert joined.table.select("record", "pos", "label", "label_pos", "label_alt", "AF").rows() == [
        (0, 6, True, 3, "G", 0.25),
        (2, 10, False, 8, "TACACAC", 0.5),
        (3, 17, False, 16, "CATA", None),
    ]
    assert joined.features == ("AF",)


def test_without_a_reference_only_trimming_is_done_and_said(caplog):
    scores = alleles(("chr1", 6, "TT", "T"), ("chr1", 17, "GG", "AT"))
    table = labels(
        {"at": "chr1:3:GT:G", "label": True}, {"at": "chr1:16:CGGA:CATA", "label": False}
    )
    joined = join(scores, table)
    assert outcomes_of(joined) == {"matched": 1, "not_in_scores": 1}
    assert "deletions in repeats may not match; give --reference" in caplog.text


def test_contig_aliases_are_one_contig():
    spelled = ["1", "chr1", "NC_000001.11"]
    scores = alleles(*((name, 1 + n, "ACG"[n], "T") for n, name in enumerate(spelled)))
    table = labels(
        *({"at": f"{name}:{1 + n}:{'ACG'[n]}:T"} for n, name in enumerate(reversed(spelled)))
    )
    assert outcomes_of(join(scores, table)) == {"matched": 3}
    # NC_000001.10 is chromosome 1 of GRCh37: another contig.
    assert outcomes_of(join(scores, labels({"at": "NC_000001.10:1:A:T"}))) == {"not_in_scores": 1}


def test_each_label_row_ends_as_one_outcome():
    scores = alleles(
        ("chr1", 1, "A", "C"),
        ("chr1", 2, "C", "A"),
        ("chr1", 9, "A", "G", Status.TOO_MANY_N),
        ("chr1", 10, "C", "G"),
    )
    table = labels(
        {"at": "chr1:1:A:C", "label": True},
        {"at": "chr1:1:A:C", "label": True, "consequence": "missense_variant"},
        {"at": "chr1:2:C:A", "label": True},
        {"at": "chr1:2:C:A", "label": False},
        {"at": "chr1:9:A:G", "label": False},
        {"at": "chr1:10:G:C", "label": False},
        {"at": "chr1:11:A:C", "label": False},
        {"at": "chr1:12:A:C", "label": False},
        {"at": "chr1:13:A:<DEL>", "label": False},
        {"at": "chr1:500:A:C", "label": False},
        {"at": "chr9:1:A:C", "label": False},
    )
    joined = join(scores, table, GENOME)
    assert joined.labels["outcome"].to_list() == [
        "matched", "duplicate", "conflict", "conflict", "matched", "ref_mismatch",
        "not_in_scores", "ref_mismatch", "no_bases", "not_in_reference", "not_in_reference",
    ]  # fmt: skip
    assert outcomes_of(joined)["conflict"] == 2
    # The row that is kept says what only its repeat says; no score does not mean no row.
    assert joined.table.select("pos", "status", "label", "consequence").rows() == [
        (1, "ok", True, "missense_variant"),
        (9, "too_many_n", False, None),
    ]
    assert joined.labels.drop("outcome").equals(table)


def test_effects_that_differ_are_a_conflict_and_nothing_said_is_none():
    scores = alleles(("chr1", 1, "A", "C"), ("chr1", 2, "C", "A"))
    table = labels(
        {"at": "chr1:1:A:C", "effect": 0.5},
        {"at": "chr1:1:A:C", "effect": -0.5},
        {"at": "chr1:2:C:A"},
        {"at": "chr1:2:C:A", "effect": 0.25, "label": True},
    )
    joined = join(scores, table, GENOME)
    assert outcomes_of(joined) == {"conflict": 2, "duplicate": 1, "matched": 1}
    assert joined.table.select("effect", "label").rows() == [(0.25, True)]


def test_sources_are_joined_side_by_side():
    scores = alleles(("chr1", 1, "A", "C"))
    table = pl.concat(
        [
            labels({"at": "chr1:1:A:C", "label": True}, source="one"),
            labels({"at": "chr1:1:A:C", "label": False}, source="two"),
        ]
    )
    joined = join(scores, table, GENOME)
    assert joined.table.select("source", "label").rows() == [("one", True), ("two", False)]


def test_an_allele_twice_among_the_scores_counts_once():
    scores = alleles(
        ("chr1", 6, "TT", "T", Status.TOO_MANY_N),
        ("chr1", 5, "TT", "T"),
        ("chr1", 4, "TT", "T"),
        ("chr1", 1, "A", "C"),
        ("chr1", 1, "A", "C"),
        ("chr1", 2, "C", "G"),
        ("chr1", 2, "C", "G"),
    )
    table = labels({"at": "chr1:3:GT:G", "label": True}, {"at": "chr1:1:A:C", "label": False})
    joined = join(scores, table, GENOME)
    assert joined.table["record"].to_list() == [1, 3]
    # Two more of the deletion, one more of the SNV; the last two have no label.
    assert joined.repeated_scores == 3


def test_a_feature_never_hides_a_score():
    scores = alleles(("chr1", 1, "A", "C")).with_columns(llr=pl.lit(-2.0))
    joined = join(scores, labels({"at": "chr1:1:A:C", "llr": 7.0, "AF": 0.1}), GENOME)
    assert joined.table.select("llr", "label_llr", "AF").rows() == [(-2.0, 7.0, 0.1)]
    assert joined.features == ("label_llr", "AF")


def random_snvs(count, length=3000):
    rng = np.random.default_rng(1)
    bases = rng.choice([*"ACGT"], length)
    genome = Genome({"chr1": "".join(bases)})
    rows = [
        ("chr1", int(place) + 1, str(bases[place]), "ACGT"["CGTA".index(bases[place])])
        for place in rng.choice(length, count, replace=False)
    ]
    return genome, rows


@pytest.mark.parametrize("with_reference", [True, False])
def test_ref_and_alt_swapped_in_a_tenth_of_the_labels_is_caught(with_reference):
    genome, rows = random_snvs(500)
    swapped = [(c, p, *((a, r) if n % 10 == 0 else (r, a))) for n, (c, p, r, a) in enumerate(rows)]
    table = labels(*({"at": ":".join(map(str, row)), "label": True} for row in swapped))
    reference = genome if with_reference else None
    with pytest.raises(ReferenceMismatchError, match=r"wrong assembly\? REF of 50 of 500 labels"):
        join(alleles(*rows), table, reference)
    joined = join(alleles(*rows), table, reference, ref_mismatch_limit=1)
    assert outcomes_of(joined) == {"matched": 450, "ref_mismatch": 50}


def test_each_source_is_judged_by_itself():
    """A small source of another assembly does not hide behind a large one."""
    genome, rows = random_snvs(1500)
    wrong = [(chrom, pos, alt, ref) for chrom, pos, ref, alt in rows[:15]]
    good = labels(*({"at": ":".join(map(str, row))} for row in rows), source="large")
    bad = labels(*({"at": ":".join(map(str, row))} for row in wrong), source="small")
    fine = labels(*({"at": ":".join(map(str, row))} for row in rows[:15]), source="small")
    with pytest.raises(ReferenceMismatchError, match=r"small: wrong assembly.*15 of 30 labels"):
        join(alleles(*rows), pl.concat([good, bad, fine]), genome)


def test_tables_without_rows():
    nothing = labels({"at": "chr1:1:A:C"}).clear()
    scores = alleles(("chr1", 1, "A", "C"))
    assert join(scores, nothing, GENOME).table.is_empty()
    assert outcomes_of(join(scores, nothing, GENOME)) == {}
    joined = join(scores.clear(), labels({"at": "chr1:1:A:C"}), GENOME)
    assert outcomes_of(joined) == {"not_in_scores": 1}
    assert joined.table.columns == join(scores, labels({"at": "chr1:1:A:C"})).table.columns


def test_one_wrong_label_in_a_hundred_is_listed_and_no_wrong_assembly():
    genome, rows = random_snvs(100)
    scores = alleles(*rows[:50])
    rows[7] = (*rows[7][:2], rows[7][3], rows[7][2])
    table = labels(*({"at": ":".join(map(str, row))} for row in rows))
    joined = join(scores, table, genome)
    assert outcomes_of(joined) == {"matched": 49, "not_in_scores": 50, "ref_mismatch": 1}
    assert joined.labels.filter(pl.col("outcome") == "ref_mismatch")["pos"].item() == rows[7][1]


@dataclass(frozen=True)
class Slices(Genome):
    """A reference that has two stretches of each contig."""

    def spans(self, chrom):
        return (windows.Span(3, 8), windows.Span(10, 16)) if chrom in self.contigs else ()

    def fetch(self, chrom, start, stop):
        assert any(span.start <= start and stop <= span.stop for span in self.spans(chrom))
        return super().fetch(chrom, start, stop)


def test_a_reference_of_slices():
    """A repeat is followed to the end of its slice; what leaves one is not in the reference."""
    #         1234567890123456
    genome = Slices({"chr1": "AAAAAAACGGCACACATTT"})
    scores = alleles(("chr1", 5, "AA", "A"), ("chr1", 13, "CAC", "C"))
    table = labels(
        {"at": "chr1:4:AA:A"},
        {"at": "chr1:11:CAC:C"},
        {"at": "chr1:7:ACG:A"},
        {"at": "chr1:2:A:AA"},
        {"at": "chr1:9:G:C"},
        {"at": "chr1:11:C:T"},
        {"at": "chr1:16:AT:A"},
    )
    joined = join(scores, table, genome)
    assert joined.labels["outcome"].to_list() == [
        "matched", "matched", "not_in_reference", "not_in_reference", "not_in_reference",
        "not_in_scores", "not_in_reference",
    ]  # fmt: skip


def test_many_labels_of_a_long_contig_are_compared_block_by_block():
    rng = np.random.default_rng(2)
    bases = rng.choice([*"ACGT"], 3_000_000)
    genome = Genome({"chr1": "".join(bases)})
    edge = 1 << 20
    places = [0, edge - 1, edge, 2 * edge - 1, 2 * edge, 2_999_999]
    other = dict(zip("ACGT", "CGTA", strict=True))
    table = labels(
        *({"at": f"chr1:{place + 1}:{bases[place]}:{other[bases[place]]}"} for place in places),
        *({"at": f"chr1:{place + 1}:{other[bases[place]]}:{bases[place]}"} for place in places[2:]),
        {"at": "chr1:3000001:A:C"},
    )
    joined = join(alleles(("chr2", 5, "A", "C")), table, genome)
    expected = {"not_in_scores": 6, "ref_mismatch": 4, "not_in_reference": 1}
    assert outcomes_of(joined) == expected
    assert joined.table.is_empty()


def test_real_labels_on_a_real_slice(tmp_path, shared):
    """gnomAD's variants of CDKL5 as scores, ClinVar's as labels, and the genome between them."""
    real = shared / "data" / "real"
    fasta = tmp_path / "chrX.fa.gz"
    fasta.write_bytes((real / "chrX_18400001_18680000.grch38.fa.gz").read_bytes())
    genome = open_reference(fasta)
    label_clinvar(real / "clinvar_slice.grch38.vcf.gz", tmp_path / "clinvar.parquet", command="")
    clinvar = read_labels(tmp_path / "clinvar.parquet")
    gnomad = pl.read_csv(real / "gnomad_cdkl5_grch38.tsv.gz", separator="\t", infer_schema=False)
    rows = [(c, int(p), r, a) for c, p, r, a in gnomad.select("chrom", "pos", "ref", "alt").rows()]
    joined = join(alleles(*rows), clinvar, genome)
    outcomes = outcomes_of(joined)
    on_x = clinvar.filter(pl.col("chrom") == "chrX")
    same = {*on_x.select("chrom", "pos", "ref", "alt").rows()} & {*rows}
    assert outcomes["matched"] == joined.table.height >= len(same) > 500
    assert outcomes["not_in_reference"] == clinvar.height - on_x.height
    assert outcomes.get("ref_mismatch", 0) <= 0.01 * on_x.height
    # Nothing is matched that is not the same sequence: both alleles, put into the slice.
    contig = dna.decode(genome.fetch("chrX", 18_400_000, 18_680_000))
    for row in joined.table.filter(pl.col("pos") != pl.col("label_pos")).iter_rows(named=True):
        ours, theirs = (
            contig[: row[f"{side}pos"] - 18_400_001]
            + row[f"{side}alt"]
            + contig[row[f"{side}pos"] - 18_400_001 + len(row[f"{side}ref"]) :]
            for side in ("", "label_")
        )
        assert ours == theirs
    # Swapped in a tenth of the rows, nothing goes on.
    tenth = pl.int_range(pl.len()) % 10 == 0
    swapped = on_x.with_columns(
        ref=pl.when(tenth).then("alt").otherwise("ref"),
        alt=pl.when(tenth).then("ref").otherwise("alt"),
    )
    with pytest.raises(ReferenceMismatchError, match=r"wrong assembly\?"):
        join(alleles(*rows), swapped, genome)
