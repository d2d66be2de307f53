"""``ntvep background``: contexts, what is drawn, and where a score lies among it."""

import gzip
import hashlib
import json
import logging
import math
import shutil
import sys
from collections import Counter
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pysam
import pytest
from polars.testing import assert_frame_equal
from scipy import stats
from sklearn.metrics import roc_auc_score

from ntvep import cli, dna
from ntvep.commands.evaluate import judge
from ntvep.commands.score_files import read_any
from ntvep.evaluate import background
from ntvep.evaluate.background import CONTEXTS, by_context, compare, context_names, contexts, draw
from ntvep.io.tables import read_metadata, table_writer
from ntvep.provenance import Provenance
from ntvep.schema import CONTEXT, PENTANUCLEOTIDE
from ntvep.windows import Span
from tests.toy import Genome, alleles

PLANTED = Path(__file__).parents[1] / "planted"
SEQUENCE = "".join(np.random.default_rng(5).choice(list("ACGT"), 30_000, p=(0.3, 0.2, 0.2, 0.3)))
GENOME = Genome({"a": SEQUENCE[:20_000], "b": "NNACGTNACN" + SEQUENCE[20_000:] + "acgtN"})
SETTINGS = ["--views", 1, "--window-tokens", 16, "--max-allele-bases", 20]
EVERYWHERE = [(name, Span(0, len(bases))) for name, bases in GENOME.contigs.items()]


def by_hand(left, ref, alt, right):
    """The context of one SNV, in letters."""
    if ref in "AG":
        left, ref, alt, right = (dict(zip("ACGT", "TGCA", strict=True))[b]
                                 for b in (right, ref, alt, left))  # fmt: skip
    return f"{left}[{ref}>{alt}]{right}"


def wider_by_hand(bases, pos, alt):
    """The pentanucleotide of one SNV, in letters; None where it is not known."""
    if pos < 3 or "N" in (around := bases[pos - 3 : pos + 2].upper()) or len(around) < 5:
        return None
    outer = around[0] + around[4]
    if around[2] in "AG":
        outer = outer[::-1].translate(str.maketrans("ACGT", "TGCA"))
    return outer[0] + by_hand(around[1], around[2], alt, around[3]) + outer[1]


# Contexts -----------------------------------------------------------------------------------------


def test_contexts_of_both_strands():
    assert by_hand("C", "G", "A", "T") == "A[C>T]G"
    every = [snv for snv in product("ACGT", repeat=4) if snv[1] != snv[2]]
    found = context_names(*(dna.encode("".join(column)) for column in zip(*every, strict=True)))
    assert found.tolist() == [by_hand(*snv) for snv in every]
    assert Counter(found.tolist()) == dict.fromkeys(CONTEXTS, 2)
    assert len(CONTEXTS) == 96


def test_contexts_of_alleles():
    genome = Genome({"c": "ACGTTNACG"})
    table = alleles(
        ("c", 2, "C", "T"),
        ("c", 3, "g", "a"),
        ("c", 2, "CG", "CA"),  # the same, spelled with a base before it
        ("c", 1, "A", "T"),  # no base before it
        ("c", 9, "G", "T"),  # none behind it
        ("c", 5, "T", "A"),  # beside an N
        ("c", 2, "CG", "TA"),
        ("c", 2, "CG", "CA", "ambiguous_base"),
        ("c", 3, "C", "A", "ref_mismatch"),
        ("c", 8, "T", "A"),  # another base there
        ("d", 2, "C", "T"),
    )
    there = contexts(table, genome)
    found, differs = there.context, there.differs
    assert found.to_list()[:3] == ["A[C>T]G", "A[C>T]G", "A[C>T]G"]
    assert found[2:].to_list() == ["A[C>T]G", *[None] * 6, "A[C>A]G", None]
    assert np.flatnonzero(differs).tolist() == [9]
    # One base on the left of the first is missing; so is the base behind that before the last.
    assert there.pentanucleotide.to_list() == [None, *["AA[C>T]GT"] * 2, *[None] * 8]
    assert contexts(table.clear(), genome).context.to_list() == []


# Drawing ------------------------------------------------------------------------------------------


def test_as_many_of_each_context_and_each_where_it_says():
    drawn = draw(GENOME, EVERYWHERE, 25, seed=1)
    assert Counter(drawn["context"]) == dict.fromkeys(CONTEXTS, 25)
    assert drawn.select("chrom", "pos").is_unique().all()
    for chrom, pos, ref, alt, context in drawn.iter_rows():
        left, base, right = GENOME.contigs[chrom][pos - 2 : pos + 1].upper()
        assert base == ref
        assert context == by_hand(left, ref, alt, right)
    assert drawn.equals(drawn.sort("chrom", "pos"))


def test_slices_that_overlap_give_no_place_twice():
    class Slices(Genome):
        def spans(self, chrom):
            return (Span(0, 12_000), Span(8_000, 20_000))

    overlapping = Slices({"a": SEQUENCE[:20_000]})
    drawn = draw(overlapping, [("a", Span(0, 20_000))], 100, seed=1)
    assert drawn.height > 8_000
    assert drawn.select("chrom", "pos").is_unique().all()


def test_nothing_to_draw_from_is_a_table_too():
    drawn = draw(GENOME, [("x", Span(0, 100))], 25, seed=1)
    assert drawn.columns == draw(GENOME, EVERYWHERE, 25, seed=1).columns
    assert drawn.is_empty()


def test_a_seed_gives_the_same_and_blocks_do_not_matter(monkeypatch):
    drawn = draw(GENOME, EVERYWHERE, 20, seed=1)
    assert_frame_equal(drawn, draw(GENOME, EVERYWHERE, 20, seed=1))
    assert not drawn.equals(draw(GENOME, EVERYWHERE, 20, seed=2))
    monkeypatch.setattr(background, "_BLOCK", 501)
    assert_frame_equal(drawn, draw(GENOME, EVERYWHERE, 20, seed=1))


def test_every_place_is_as_likely():
    """Of 30 seeds: no part of the genome, and no strand, is drawn more often."""
    drawn = pl.concat([draw(GENOME, EVERYWHERE[:1], 20, seed) for seed in range(30)])
    bins = np.histogram(drawn["pos"], 10, (0, 20_000))[0]
    assert stats.chisquare(bins).pvalue > 0.001
    pyrimidines = drawn["ref"].is_in(["C", "T"]).sum()
    expected = sum(map(SEQUENCE[:20_000].count, "CT")) / 20_000
    assert stats.binomtest(pyrimidines, drawn.height, expected).pvalue > 0.001


def test_regions_and_scarce_contexts():
    regions = [("a", Span(100, 400)), ("b", Span(0, 10))]
    drawn = draw(GENOME, regions, 1_000, seed=0)
    # Every place once; of b, "ACGT" has two places between two bases.
    assert drawn.filter(pl.col("chrom") == "a")["pos"].to_list() == list(range(101, 401))
    assert drawn.filter(pl.col("chrom") == "b")["pos"].to_list() == [4, 5]
    assert draw(GENOME, [("b", Span(0, 3))], 20, seed=0).height == 0


# Comparing ----------------------------------------------------------------------------------------


def test_percentile_is_scipys():
    rng = np.random.default_rng(2)
    # Rounded, so that there are ties.
    among = pl.DataFrame({"context": ["x"] * 200 + ["y"] * 20 + ["z"] * 19,
                          "llr": rng.normal(size=239).round(1)})  # fmt: skip
    among = pl.concat([among, pl.DataFrame({"context": ["x"], "llr": [None]}, among.schema)])
    names = ["x", "y", "z", None, "w", "x", "y", "x"]
    llr = [0.1, -0.5, 0.0, 0.0, 0.0, None, 9.0, -9.0]
    percentile, phred = compare(pl.Series(llr), pl.Series(names), by_context(among))
    for row, (name, value) in enumerate(zip(names, llr, strict=True)):
        if name not in ("x", "y") or value is None:
            assert percentile[row] is phred[row] is None
            continue
        of_context = among.filter(pl.col("context") == name)["llr"].drop_nulls().to_list()
        expected = stats.percentileofscore(of_context, value, kind="mean")
        assert percentile[row] == pytest.approx(expected, abs=1e-12)
        as_low = sum(other <= value for other in of_context)
        assert 10 ** (-phred[row] / 10) == pytest.approx((1 + as_low) / (1 + len(of_context)))
    # Lower than all 200, and higher than all 20.
    assert percentile[7] == 0.0
    assert phred[7] == pytest.approx(10 * math.log10(201))
    assert (percentile[6], phred[6]) == (100.0, 0.0)


# The command line ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scores of the planted variants and of two indels, and a background."""
    folder = tmp_path_factory.mktemp("background")
    shutil.copy(PLANTED / "genome.fa", folder)
    bases = "".join((PLANTED / "genome.fa").read_text().splitlines()[1:])
    # The background knows of the first alone.
    indels = "".join(
        f"planted\t71000\t.\t{bases[70999 : 71000 + n]}\t{bases[70999]}\t.\t.\t.\n" for n in (1, 2)
    )
    (folder / "in.vcf").write_text((PLANTED / "variants.vcf").read_text() + indels)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        asked = ["-r", "genome.fa", "-m", PLANTED / "model", "--device", "cpu", "-q", *SETTINGS]
        names, draws = (
            ["--scores", "llr,entropy"],
            [*asked[:-2], "--per-context", 20, "--indel-bases", 1],
        )
        assert run(patch, "score", "in.vcf", *asked, *names, "-o", "s.parquet") == 0
        assert run(patch, "background", "draw", *draws, "-o", "b.parquet") == 0
        apply = ["background", "apply", "s.parquet", "-b", "b.parquet", "-r", "genome.fa"]
        assert run(patch, *apply, "-o", "p.parquet") == 0
    return folder


def run(patch, *arguments):
    patch.setattr(sys, "argv", ["ntvep", *map(str, arguments)])
    log = logging.getLogger("ntvep")
    with pytest.raises(SystemExit) as left:
        cli.main()
    # Its stream is this test's: the next one must not write to it.
    log.handlers = []
    log.setLevel(logging.NOTSET)
    return left.value.code or 0


@pytest.fixture
def command(folder, monkeypatch, capsys):
    def call(*arguments):
        status = run(monkeypatch, *arguments)
        captured = capsys.readouterr()
        return SimpleNamespace(status=status, out=captured.out, err=captured.err)

    monkeypatch.chdir(folder)
    return call


def test_a_background_is_scored_as_variants_are(folder, command):
    drawn = pl.read_parquet(folder / "b.parquet")
    snvs = drawn.filter(pl.col("context").is_in(CONTEXTS))
    assert Counter(snvs["context"]) == dict.fromkeys(CONTEXTS, 20)
    assert drawn.height - snvs.height == Counter(drawn["context"]).total() - 96 * 20 > 300
    assert drawn["llr"].null_count() == 0
    bases = "".join((folder / "genome.fa").read_text().splitlines()[1:])
    wanted = ("pos", "ref", "alt", "context", "pentanucleotide")
    for pos, ref, alt, context, wider in snvs.select(wanted).iter_rows():
        assert context == by_hand(bases[pos - 2], ref, alt, bases[pos])
        assert wider == wider_by_hand(bases, pos, alt)
    indels = drawn.filter(~pl.col("context").is_in(CONTEXTS))
    assert indels["pentanucleotide"].null_count() == indels.height
    # The same SNVs as variants of a VCF.
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    some = drawn.sample(40, seed=1).sort("pos")
    lines += [f"planted\t{p}\t.\t{r}\t{a}\t.\t.\t." for p, r, a in some["pos", "ref", "alt"].rows()]
    (folder / "some.vcf").write_text("\n".join([*lines, ""]))
    asked = ("-r", "genome.fa", "-m", PLANTED / "model", "--device", "cpu", "--scores", "llr")
    assert command("score", "some.vcf", *asked, *SETTINGS, "-o", "some.parquet").status == 0
    again = pl.read_parquet(folder / "some.parquet")
    np.testing.assert_allclose(again["llr"], some["llr"], atol=1e-5)


def test_apply_adds_columns_and_changes_nothing_else(folder):
    scores, compared = (pl.read_parquet(folder / f"{name}.parquet") for name in "sp")
    added = ["llr_percentile", "llr_phred", "llr_calibrated"]
    assert_frame_equal(scores, compared.drop(added))
    assert compared.columns[-3:] == added
    provenance, summary = read_metadata(folder / "p.parquet")
    before, said = read_metadata(folder / "s.parquet")
    sha256 = hashlib.sha256((folder / "b.parquet").read_bytes()).hexdigest()
    assert json.loads(provenance) == json.loads(before) | {"background": sha256}
    assert summary == said
    drawn = pl.read_parquet(folder / "b.parquet")
    bases = "".join((folder / "genome.fa").read_text().splitlines()[1:])
    *snvs, indel, longer = compared.iter_rows(named=True)
    assert longer["llr"] is not None
    assert longer["llr_percentile"] is longer["llr_phred"] is None
    gone, behind = indel["ref"][1], bases[71_001:]
    run = len(behind) - len(behind.lstrip(gone)) + (bases[70_999] == gone)
    assert bases[70_998] != gone
    own = {"A": "T", "G": "C"}.get(gone, gone)
    for row in (*snvs, indel):
        if row is indel:
            context = f"1:Del:{own}:{run}"
        else:
            context = by_hand(bases[row["pos"] - 2], row["ref"], row["alt"], bases[row["pos"]])
        among = drawn.filter(pl.col("context") == context)["llr"]
        assert among.len() == 20
        tail = (1 + (among <= row["llr"]).sum()) / 21
        assert 10 ** (-row["llr_phred"] / 10) == pytest.approx(tail)
        expected = stats.percentileofscore(among, row["llr"], kind="mean")
        assert row["llr_percentile"] == pytest.approx(expected, abs=1e-12)


def planted_bases(folder):
    return "".join((folder / "genome.fa").read_text().splitlines()[1:])


@pytest.fixture(scope="module")
def calibrated(folder):
    """A background that has 40, 20 and 19 SNVs of three pentanucleotides of the scored ones."""
    bases, rng = planted_bases(folder), np.random.default_rng(3)
    scored = pl.read_parquet(folder / "s.parquet")[:-2]
    names = [wider_by_hand(bases, pos, alt) for pos, alt in scored.select("pos", "alt").rows()]
    some = [name for name, _ in Counter(names).most_common(3)]
    provenance, _ = read_metadata(folder / "b.parquet")
    rows = pl.read_parquet(folder / "b.parquet")[:79].with_columns(
        pentanucleotide=pl.Series(np.repeat(some, (40, 20, 19))), llr=rng.normal(-2, 3, 79)
    )
    made = Provenance.from_json(provenance, "b.parquet")
    columns = (*made.columns, CONTEXT, PENTANUCLEOTIDE)
    with table_writer(folder / "c.parquet", columns, provenance, lambda: "{}") as write:
        write(rows.select(column.name for column in columns))
    return names, some, rows


def test_calibrated_is_less_the_mean_of_the_pentanucleotide(folder, command, calibrated):
    names, some, drawn = calibrated
    apply = ["background", "apply", "s.parquet", "-b", "c.parquet", "-r", "genome.fa"]
    assert command(*apply, "-o", "less.parquet").status == 0
    *snvs, indel, longer = pl.read_parquet(folder / "less.parquet").iter_rows(named=True)
    assert indel["llr_calibrated"] is longer["llr_calibrated"] is None
    for name, row in zip(names, snvs, strict=True):
        if name not in some[:2]:
            assert row["llr_calibrated"] is None
            continue
        of_name = [llr for n, llr in drawn.select("pentanucleotide", "llr").rows() if n == name]
        expected = row["llr"] - math.fsum(of_name) / len(of_name)
        assert row["llr_calibrated"] == pytest.approx(expected, abs=1e-9)
    assert Counter(names)[some[1]] > 1 < Counter(names)[some[2]]


def test_calibrated_in_info_and_in_the_report(folder, command, calibrated):
    asked = ["-r", "genome.fa", "-m", PLANTED / "model", "--device", "cpu", *SETTINGS,
             "--scores", "llr,entropy", "--background", "c.parquet"]  # fmt: skip
    done = command("score", "in.vcf", *asked, "-o", "c.vcf", "--table", "cs.parquet")
    assert done.status == 0, done.err
    table = pl.read_parquet(folder / "cs.parquet")["llr_calibrated"]
    with pysam.VariantFile(str(folder / "c.vcf")) as file:
        found = [record.info.get("NTVEP_LLR_CALIBRATED", (None,))[0] for record in file]
    assert found == [value if value is None else pytest.approx(value, 1e-5) for value in table]
    assert 0 < table.count() < 300
    labels = ("labels", "table", PLANTED / "labels.tsv", "-o", "l.parquet", "--force")
    assert command(*labels).status == 0
    for scored in ("cs.parquet", "c.vcf"):
        (found,) = judge([folder / scored], [folder / "l.parquet"], command="").sets
        headline = {row["score"]: row for row in found.analysis.tables["headline"].to_dicts()}
        judged = headline["llr_calibrated"]
        assert judged["positives"] + judged["negatives"] == table.count()


def test_the_report_says_what_it_changes(folder, command):
    labels = ("labels", "table", PLANTED / "labels.tsv", "-o", "l.parquet", "--force")
    assert command(*labels).status == 0
    (labels,) = judge([folder / "p.parquet"], [folder / "l.parquet"], command="").sets
    found = {row["score"]: row for row in labels.analysis.tables["headline"].to_dicts()}
    truth = pl.read_csv(PLANTED / "labels.tsv", separator="\t")
    rows = pl.read_parquet(folder / "p.parquet").join(truth, ["chrom", "pos", "ref", "alt"])
    signs = {"llr": -1, "llr_percentile": -1, "llr_phred": 1}
    areas = {name: roc_auc_score(rows["label"], sign * rows[name]) for name, sign in signs.items()}
    for name, area in areas.items():
        assert found[name]["auroc"] == pytest.approx(area, abs=1e-12)
    # An eighth of this genome is motif, and so of its background: there are ties at the low end.
    assert areas["llr_percentile"] > 0.9
    difference = next(
        row for row in labels.analysis.tables["differences"].to_dicts()
        if (row["a"], row["b"]) == ("llr", "llr_percentile")
    )  # fmt: skip
    expected = areas["llr"] - areas["llr_percentile"]
    assert difference["auroc_difference"] == pytest.approx(expected, abs=1e-12)
    (note,) = (note for note in labels.notes if note.startswith("llr_percentile"))
    assert note.startswith("llr_percentile is llr among variants at random places")
    assert "300 variants that have both, the AUROC of llr less that of llr_percentile" in note
    assert f"is {expected:.3f} (95 %" in note
    assert difference["auroc_difference_low"] <= expected <= difference["auroc_difference_high"]


def test_scoring_with_a_background_is_scoring_then_comparing(folder, command):
    """The numbers are those of ``background apply``: in tables, in INFO, and as they are read."""
    asked = ["-r", "genome.fa", "-m", PLANTED / "model", "--device", "cpu", *SETTINGS,
             "--scores", "llr,entropy", "--background", "b.parquet"]  # fmt: skip
    done = command("score", "in.vcf", *asked, "-o", "bg.vcf.gz", "--table", "bg.parquet")
    assert done.status == 0, done.err
    applied, table = (pl.read_parquet(folder / name) for name in ("p.parquet", "bg.parquet"))
    assert_frame_equal(applied, table)
    assert table["llr_percentile"].null_count() == 1
    with pysam.VariantFile(str(folder / "bg.vcf.gz")) as file:
        for key in ("NTVEP_LLR_PERCENTILE", "NTVEP_LLR_PHRED"):
            assert (file.header.info[key].number, file.header.info[key].type) == ("A", "Float")
        for record, row in zip(file, table.iter_rows(named=True), strict=True):
            for name in ("llr_percentile", "llr_phred"):
                found = record.info.get(f"NTVEP_{name.upper()}", (None,))[0]
                assert found == (row[name] if row[name] is None else pytest.approx(row[name], 1e-5))
    (run,) = read_any(folder / "bg.vcf.gz", {})
    read, made = run.table, run.made
    assert made.background == json.loads(read_metadata(folder / "p.parquet")[0])["background"]
    np.testing.assert_allclose(read["llr_percentile"], table["llr_percentile"], rtol=1e-5)
    # Its llr are verified; a percentile is not a score of the model.
    asked = ["-r", "genome.fa", "-m", PLANTED / "model", "--device", "cpu"]
    for name in ("bg.vcf.gz", "bg.parquet"):
        done = command("verify", name, *asked)
        assert done.status == 0, done.err


def test_a_region_is_scanned_with_a_background(folder, command):
    asked = ["-r", "genome.fa", "-m", PLANTED / "model", "--device", "cpu", *SETTINGS[:4],
             "--region", "planted:1000-1100", "--scores", "llr"]  # fmt: skip
    assert command("scan", *asked, "--background", "b.parquet", "-o", "scan.parquet").status == 0
    assert command("scan", *asked, "-o", "plain.parquet").status == 0
    apply = ["background", "apply", "plain.parquet", "-b", "b.parquet", "-r", "genome.fa"]
    assert command(*apply, "-o", "then.parquet").status == 0
    found, expected = (pl.read_parquet(folder / f"{name}.parquet") for name in ("scan", "then"))
    assert_frame_equal(found, expected)
    assert found["llr_phred"].null_count() == 0


def test_chunks_are_gathered_with_their_percentiles(folder, command):
    asked = ["-r", "genome.fa", "-m", PLANTED / "model", "--device", "cpu", *SETTINGS,
             "--scores", "llr,entropy"]  # fmt: skip
    assert command("split", "in.vcf", "-o", "chunks", "--chunks", 2).status == 0
    for number in ("00000", "00001"):
        name = f"chunks/{number}"
        some = ["--background", "b.parquet", "-o", f"{name}.parquet"]
        assert command("score", f"{name}.vcf.gz", *asked, *some).status == 0
    gather = ("gather", "in.vcf", "chunks/00000.parquet", "chunks/00001.parquet", "-o", "g.vcf.gz")
    assert command(*gather, "--table", "g.parquet").status == 0
    found, expected = (pl.read_parquet(folder / f"{name}.parquet") for name in "gp")
    assert_frame_equal(found, expected)
    assert b"NTVEP_LLR_PHRED=" in gzip.decompress((folder / "g.vcf.gz").read_bytes())
    plain = ["--force", "-o", "chunks/00001.parquet"]
    assert command("score", "chunks/00001.vcf.gz", *asked, *plain).status == 0
    mixed = command(*gather, "--force")
    assert mixed.status == 1
    assert "chunks/00001.parquet: compared with another background" in mixed.err


def test_what_does_not_fit_is_refused(folder, command):
    asked = ("-r", "genome.fa", "-m", PLANTED / "model", "--device", "cpu", "--region",
             "planted:1000-1400", "--per-context", 20)  # fmt: skip
    done = command("background", "draw", *asked, "-o", "other.parquet")
    assert done.status == 0
    assert "96 contexts have fewer than 20 places" in done.err
    drawn = pl.read_parquet(folder / "other.parquet")
    assert drawn["pos"].to_list() == list(range(1000, 1401))

    apply = ("background", "apply", "s.parquet", "-r", "genome.fa", "-o", "new.parquet")
    mixed = command(*apply, "-b", "other.parquet")
    assert (mixed.status, mixed.out) == (1, "")
    assert "other.parquet: its fingerprint is" in mixed.err
    assert "1 views, 16-token windows" in mixed.err
    assert "not a background: it lacks context" in command(*apply, "-b", "s.parquet").err
    letters = (folder / "genome.fa").read_text().splitlines()
    swap = str.maketrans("ACGT", "CATG")
    other = [letters[0], *(line.translate(swap) for line in letters[1:])]
    (folder / "other.fa").write_text("\n".join([*other, ""]))
    wrong = command("background", "apply", "s.parquet", "-r", "other.fa", "-b", "b.parquet",
                    "-o", "new.parquet")  # fmt: skip
    assert "other.fa has another base there" in wrong.err
    assert not (folder / "new.parquet").exists()
    scan = ("scan", *asked[:6], "--region", "planted:1-9", "-o", "new.parquet")
    early = command(*scan, "--background", "b.parquet")
    assert "b.parquet: its fingerprint is" in early.err
    nothing = command(*scan, *SETTINGS[:4], "--scores", "entropy", "--background", "b.parquet")
    assert (nothing.status, "--background compares llr" in nothing.err) == (2, True)
    wrong = command("background", "draw", *asked, "--indel-bases", -1, "-o", "no.parquet")
    assert (wrong.status, "--indel-bases is -1" in wrong.err) == (2, True)
    few = command("background", "draw", *asked[:-1], 5, "-o", "few.parquet")
    assert (few.status, "--per-context is 5" in few.err) == (2, True)


def test_regions_of_a_bed_are_merged(folder, command):
    (folder / "some.bed").write_text("planted\t99\t150\nplanted\t120\t160\nplanted\t500\t510\n")
    asked = ("-r", "genome.fa", "-m", PLANTED / "model", "--device", "cpu", "--bed", "some.bed")
    done = command("background", "draw", *asked, "-o", "bed.parquet", "-q")
    assert done.status == 0
    found = pl.read_parquet(folder / "bed.parquet")["pos"].to_list()
    assert found == [*range(100, 161), *range(501, 511)]
