"""Options of ``ntvep score``: what is scored, what the output is called, where it goes."""

import csv
import gzip
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pysam
import pytest
from polars.testing import assert_frame_equal

from ntvep.commands import pace, ready
from ntvep.commands.pace import Forecast
from ntvep.commands.selection import Selection, _merged
from tests.conftest import ROOT
from tests.test_cli import CHR1, CHR2, COLUMNS, HEADER, MODEL, WINDOW, body, files, run, score, snv  # noqa: F401

OTHER_MODEL = str(ROOT / "tests" / "golden" / "v1")


def info(line):
    entries = line.split("\t")[7].split(";")
    return dict(entry.partition("=")[::2] for entry in entries)


def typed(chrom, sequence, pos):
    ref, alt = snv(chrom, sequence, pos).split("\t")[3:5]
    return f"{chrom}:{pos}:{ref}:{alt}"


# Variants that are typed -------------------------------------------------------------------------


def test_a_typed_variant_is_shown_on_the_terminal(run):  # noqa: F811
    """The numbers are those of the same variant in a VCF."""
    assert score(run, output="out.parquet").status == 0
    table = pl.read_parquet("out.parquet")
    words = [typed("chr1", CHR1, 100), typed("chr2", CHR2, 200)]
    done = run("score", *words, "-r", "ref.fa", "-m", MODEL, *WINDOW, "--device", "cpu")
    assert done.status == 0, done.err
    paragraphs = done.out.strip().split("\n\n")
    assert len(paragraphs) == 2
    for paragraph, word, row in zip(paragraphs, words, (0, 8), strict=True):
        first, *lines = paragraph.splitlines()
        assert first == f"{word}  ok"
        shown = {line.split()[0]: line.split()[1:] for line in lines}
        assert shown["llr"] == [f"{table['llr'][row]:.6g}", "nats"]
        assert shown["cosine_distance"] == [f"{table['cosine_distance'][row]:.6g}"]


def test_a_typed_variant_without_a_score_says_why(run):  # noqa: F811
    ref, alt = snv("chr1", CHR1, 100).split("\t")[3:5]
    done = run("score", f"chr1:100:{alt}:{ref}", "-r", "ref.fa", "-m", MODEL, *WINDOW)
    assert done.status == 0, done.err
    assert done.out.startswith(f"chr1:100:{alt}:{ref}  ref_mismatch: REF is not what the")
    assert f"chr1:100: REF is {alt}, the reference has {ref}" in done.err


def test_typed_variants_go_into_files_too(run):  # noqa: F811
    words = [typed("chr2", CHR2, 200), typed("chr1", CHR1, 100), typed("chr2", CHR2, 100)]
    asked = ("score", *words, "-r", "ref.fa", "-m", MODEL, *WINDOW, "--scores", "llr", "-o")
    done = run(*asked, "typed.vcf.gz")
    assert done.status == 0, done.err
    # chr2 comes twice: there is no index.
    with pysam.VariantFile("typed.vcf.gz") as vcf:
        records = [f"{r.chrom}:{r.pos}:{r.ref}:{r.alts[0]}" for r in vcf]
    assert records == words
    assert run(*asked, "typed.parquet").status == 0
    assert pl.read_parquet("typed.parquet")["pos"].to_list() == [200, 100, 100]


def test_what_is_neither_a_file_nor_variants(run):  # noqa: F811
    done = run("score", "in.vcf", "-r", "ref.fa", "-m", MODEL, *WINDOW)
    assert (done.status, "in.vcf: no output given. Add -o scored.vcf.gz" in done.err) == (2, True)
    done = run("score", "chr1:1:A:G", "in.vcf", "-r", "ref.fa", "-m", MODEL, *WINDOW)
    assert (done.status, "in.vcf: expected CHROM:POS:REF:ALT" in done.err) == (2, True)


# What is selected --------------------------------------------------------------------------------


def statuses():
    lines = body(Path("out.vcf").read_text())[1:]
    return [info(line)["NTVEP_STATUS"] for line in lines]


def test_regions_select_what_overlaps(run, files):  # noqa: F811
    """A deletion at 400 of REF of three bases reaches 402; aliases of contigs are one contig."""
    (files / "some.bed").write_text("track name=x\n1\t99\t100\n1\t401\t402\n")
    done = score(run, "--regions", "some.bed", "--regions", "chr2")
    assert done.status == 0, done.err
    left_out = "not_selected"
    assert statuses() == [
        "ok", left_out, ",".join([left_out] * 3), "ok", left_out, left_out, "ok", left_out,
    ]  # fmt: skip
    # The others stay, byte for byte outside INFO.
    before, after = (body((files / n).read_text()) for n in ("in.vcf", "out.vcf"))
    assert [line.split("\t")[:7] for line in before] == [line.split("\t")[:7] for line in after]
    assert "NTVEP_LLR" not in after[2]
    assert "outside --regions" in done.err
    # Not being selected is not a failure.
    assert score(run, "--regions", "chr1:100", "--strict", output="s.vcf").status == 0


@pytest.mark.parametrize("text", ["chr1:9-5", "chr1:0-5", "chr1:x", "a b"])
def test_a_region_of_another_form(run, text):  # noqa: F811
    done = score(run, "--regions", text)
    assert (done.status, "expected CONTIG:FIRST-LAST" in done.err) == (2, True)


def test_pass_only(run, files):  # noqa: F811
    lines = [snv("chr1", CHR1, pos).split("\t") for pos in (100, 200, 300, 400)]
    for fields, value in zip(lines, ("PASS", ".", "q10", "q10;s50"), strict=True):
        fields[6] = value
    text = HEADER + COLUMNS + "\n" + "".join("\t".join(fields) for fields in lines)
    (files / "in.vcf").write_text(text)
    assert score(run, "--pass-only").status == 0
    assert statuses() == ["ok", "ok", "not_selected", "not_selected"]


def test_intervals_against_every_place():
    """Overlap found by search is that found base by base."""
    rng = np.random.default_rng(7)
    for _ in range(50):
        starts = np.sort(rng.integers(0, 60, 8))
        stops = starts + rng.integers(1, 9, 8)
        inside = {p for a, b in zip(starts, stops, strict=True) for p in range(a, b)}
        chosen = Selection({"chr1": _merged(starts, stops)}, False)
        for pos in range(1, 70):
            for length in (1, 4):
                expected = any(p in inside for p in range(pos - 1, pos - 1 + length))
                assert chosen._overlaps("1", pos, "A" * length) == expected


def test_a_selected_output_is_verified(run):  # noqa: F811
    assert score(run, "--regions", "chr1").status == 0
    done = run("verify", "out.vcf", "-r", "ref.fa", "-m", MODEL)
    assert done.status == 0, done.err


# Two models in one VCF ---------------------------------------------------------------------------


def test_two_tags_live_in_one_vcf(run, files):  # noqa: F811
    assert score(run, "--tag", "A", "--scores", "llr", output="a.vcf").status == 0
    asked = {"source": "a.vcf", "model": OTHER_MODEL}
    done = score(run, "--tag", "B", "--scores", "llr", **asked, output="ab.vcf")
    assert done.status == 0, done.err
    assert "annotations of an earlier" not in done.err
    assert score(run, "--scores", "llr", source="ab.vcf", output="abc.vcf").status == 0
    assert score(run, output="plain.vcf").status == 0
    one, both = (info(body((files / n).read_text())[1]) for n in ("plain.vcf", "abc.vcf"))
    assert both["NTVEP_A_LLR"] == both["NTVEP_LLR"] == one["NTVEP_LLR"]
    assert both["NTVEP_B_LLR"] != both["NTVEP_A_LLR"]
    assert both["NTVEP_A_STATUS"] == both["NTVEP_B_STATUS"] == "ok"
    for tag, model in (("A", MODEL), ("B", OTHER_MODEL), ("", MODEL)):
        done = run("verify", "abc.vcf", "-r", "ref.fa", "-m", model, "--tag", tag)
        assert done.status == 0, done.err
    done = run("verify", "abc.vcf", "-r", "ref.fa", "-m", MODEL, "--tag", "C")
    assert (done.status, "expected the tags A, B" in done.err) == (1, True)
    # pysam knows every key.
    with pysam.VariantFile("abc.vcf") as vcf:
        assert next(iter(vcf)).info["NTVEP_B_LLR"][0] == pytest.approx(float(both["NTVEP_B_LLR"]))


def test_a_tag_replaces_its_own_alone(run, files):  # noqa: F811
    assert score(run, "--tag", "A", output="a.vcf").status == 0
    assert score(run, "--tag", "B", source="a.vcf", output="ab.vcf").status == 0
    done = score(run, "--tag", "A", "--scores", "llr", source="ab.vcf", output="again.vcf")
    assert "annotations of an earlier ntvep run are replaced" in done.err
    text = (files / "again.vcf").read_text()
    keys = info(body(text)[1])
    assert {key for key in keys if key.startswith("NTVEP_A")} == {
        "NTVEP_A_LLR", "NTVEP_A_FRAMESHIFTED", "NTVEP_A_STATUS",
    }  # fmt: skip
    assert "NTVEP_B_COS" in keys
    assert text.count("##ntvep_A_scores=") == text.count("##ntvep_B_scores=") == 1
    assert "ID=NTVEP_A_COS" not in text
    # A run without a tag leaves them all, its own goes.
    done = score(run, "--refuse-annotated", source="again.vcf", output="third.vcf")
    assert done.status == 0, done.err
    done = score(run, "--tag", "A", "--refuse-annotated", source="again.vcf", output="4.vcf")
    assert (done.status, "already has NTVEP annotations" in done.err) == (1, True)


@pytest.mark.parametrize("tag", ["A_B", "x-y", "COS", "llr", "STATUS", "ü"])
def test_a_tag_that_could_be_taken_for_a_score(run, tag):  # noqa: F811
    done = score(run, "--tag", tag)
    assert (done.status, "expected letters and digits" in done.err) == (2, True)


def test_what_the_reference_has(run, files):  # noqa: F811
    done = score(run, "--show-ref")
    assert done.status == 0, done.err
    lines = body((files / "out.vcf").read_text())[1:]
    shown = [info(line).get("NTVEP_REF") for line in lines]
    assert shown == [None] * 4 + [CHR1[499]] + [None] * 3
    assert f"chr1:500: REF is {lines[4].split()[3]}, the reference has {CHR1[499]}" in done.err
    assert score(run, output="without.vcf").status == 0
    assert "NTVEP_REF" not in (files / "without.vcf").read_text()


# Tables of text ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.tsv", "out.tsv.gz", "out.csv"])
def test_tables_of_text_hold_what_parquet_holds(run, files, name):  # noqa: F811
    done = score(run, "--table", "out.parquet", output=name)
    assert done.status == 0, done.err
    wanted = pl.read_parquet("out.parquet")
    opened = gzip.open(name, "rt") if name.endswith(".gz") else open(name)  # noqa: PTH123, SIM115
    with opened as text:
        header, *rows = csv.reader(text, delimiter="," if name == "out.csv" else "\t")
    assert header == wanted.columns
    found = pl.DataFrame(rows, header, orient="row")
    found = found.with_columns(pl.all().replace("", None))
    is_true = {"frameshifted": pl.col("frameshifted") == "true"}
    found = found.with_columns(**is_true).cast(dict(wanted.schema))
    assert_frame_equal(found, wanted, check_exact=True)
    assert (files / f"{name}.summary.json").exists()


# Refused early, and warned of early --------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--views", "3", "--views is 3; expected 1, 2 or all"),
        ("--window-tokens", "9999", "this model takes 1 to"),
        ("--scores", "lr", "unknown score 'lr'"),
        ("--layer", "99", "--layer is '99'"),
    ],
)
def test_options_are_refused_before_weights_are_read(run, monkeypatch, option, value, said):  # noqa: F811
    def never(*arguments, **named):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(ready, "load_model", never)
    done = run("score", "in.vcf", "-r", "ref.fa", "-m", MODEL, "-o", "o.vcf", option, value)
    assert (done.status, said in done.err) == (2, True), done.err


def test_a_run_of_hours_is_warned_of_once(monkeypatch, caplog):
    """10 of 10,000 records in 40 seconds: 9,990 * 4 s are 11 hours."""
    now = [1000.0]
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: now[0]))
    caplog.set_level(logging.WARNING, "ntvep")
    long, short = Forecast(10_000), Forecast(1_000)
    for _ in range(8):
        now[0] += 5
        long.done(1.25)
        short.done(1.25)
    assert len(caplog.records) == 1
    text = caplog.records[0].getMessage()
    assert "about 11 more hours (10000 records, 0.25/s)" in text
