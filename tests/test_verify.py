"""An output is scored again and compared: what was changed is found, by name."""

import json
import re

import polars as pl
import pyarrow.parquet as pq
import pytest

from ntvep.provenance import Provenance
from ntvep.settings import Settings
from tests.test_cli import MODEL, WINDOW, files, run, score  # noqa: F401 - fixtures
from tests.toy import identity, like_nt


@pytest.mark.parametrize("name", ["out.vcf", "out.vcf.gz", "out.bcf", "out.parquet"])
def test_an_output_is_reproduced(run, name):  # noqa: F811
    assert score(run, output=name).status == 0
    done = run("verify", name, "-r", "ref.fa", "-m", MODEL)
    assert done.status == 0, done.err
    # Six alleles have scores; every one has 13 columns, but llr_marginal and llr_unmasked are of
    # substitutions alone, and two of the six are indels.
    assert "74 scores of 10 alleles reproduced" in done.out
    assert float(re.search(r"difference (\S+)", done.out)[1]) < 1e-5


def test_a_sample_is_a_sample(run):  # noqa: F811
    score(run)
    done = run("verify", "out.vcf", "-r", "ref.fa", "-m", MODEL, "--sample", 2)
    assert re.search(r"scores of [2345] alleles", done.out), done.out


def test_a_changed_score_is_named(run, files):  # noqa: F811
    score(run)
    text = (files / "out.vcf").read_text()
    first = re.search(r"NTVEP_LLR=(-?[\d.]+)", text)
    (files / "out.vcf").write_text(text.replace(first[0], f"NTVEP_LLR={float(first[1]) + 1:.6g}"))
    done = run("verify", "out.vcf", "-r", "ref.fa", "-m", MODEL)
    assert done.status == 1
    assert re.search(r"chr1:100 .>. llr \S+, now", done.err)
    assert "1 of 84 values" in done.err


def test_a_changed_status_is_named(run, files):  # noqa: F811
    score(run, output="out.parquet")
    with pq.ParquetFile("out.parquet") as file:
        table, metadata = file.read(), file.metadata.metadata
    there = pl.col("pos") == 500
    wrong = pl.lit("too_many_n", pl.DataFrame(table)["status"].dtype)
    rows = pl.DataFrame(table).with_columns(status=pl.when(there).then(wrong).otherwise("status"))
    schema = table.schema.with_metadata(metadata)
    pq.write_table(rows.to_arrow().cast(schema), "out.parquet")
    done = run("verify", "out.parquet", "-r", "ref.fa", "-m", MODEL)
    assert done.status == 1
    assert "status too_many_n, now ref_mismatch" in done.err


def test_another_model_is_refused(run):  # noqa: F811
    score(run)
    done = run("verify", "out.vcf", "-r", "ref.fa", "-m", MODEL.replace("v2", "v1"))
    assert done.status == 1
    assert "Give --model the model of the output" in done.err


def test_a_file_without_provenance_is_refused(run):  # noqa: F811
    done = run("verify", "in.vcf", "-r", "ref.fa", "-m", MODEL)
    assert done.status == 1
    assert "its header does not say how it was scored" in done.err


def test_a_record_that_was_added_is_named(run, files):  # noqa: F811
    score(run)
    with (files / "out.vcf").open("a") as vcf:
        vcf.write("chr2\t390\t.\tA\tC,G\t.\t.\tX=1\n")
    done = run("verify", "out.vcf", "-r", "ref.fa", "-m", MODEL)
    assert done.status == 1
    assert "a sampled record at chr2:390 has no NTVEP_STATUS for each ALT" in done.err


def test_another_sequence_of_a_contig_is_said(run, files):  # noqa: F811
    score(run)
    assert "other sequences" not in run("verify", "out.vcf", "-r", "ref.fa", "-m", MODEL).err
    lines = (files / "ref.fa").read_text().splitlines(keepends=True)
    # The last base of chr2 is in no window.
    lines[-1] = lines[-1][:-2] + {"A": "C"}.get(lines[-1][-2], "A") + "\n"
    (files / "other.fa").write_text("".join(lines))
    done = run("verify", "out.vcf", "-r", "other.fa", "-m", MODEL)
    assert done.status == 0, done.err
    assert "out.vcf: was scored with other sequences of chr2 than other.fa has" in done.err


def test_another_precision_can_be_asked_for(run, monkeypatch):  # noqa: F811
    score(run)
    done = run("verify", "out.vcf", "-r", "ref.fa", "-m", MODEL, "--precision", "bf16")
    assert done.status == 1
    assert "values of 10 alleles are different" in done.err


@pytest.mark.parametrize(
    "command",
    [("verify", "all.parquet", "-r", "ref.fa", "-m", MODEL), ("gather", "in.vcf", "all.parquet",
     "-o", "x.vcf"), ("evaluate", "all.parquet", "--labels", "all.parquet", "-o", "report")],
    ids=["verify", "gather", "evaluate"],
)  # fmt: skip
def test_a_table_without_scores_is_named(run, command):  # noqa: F811
    assert run("variants", "in.vcf", "-r", "ref.fa", "-o", "all.parquet", *WINDOW).status == 0
    done = run(*command)
    assert done.status == 1
    assert "all.parquet: does not say how it was scored" in done.err


def test_the_header_says_all_of_the_provenance():
    settings = Settings(("llr", "l1"), 96, 12, 3, "mean_cls", "acgt", 30, 20, 0.25)
    how = {"revision": "r1", "precision": "bf16", "device": "cuda"}
    model = identity('a "b", \\c', like_nt(300), **how)
    contigs = {"chr1": "m1", "HLA:01": "m2"}
    made = Provenance("1.2", 'ntvep score "x"', model, settings, "ref.fa", contigs, "f" * 16)
    declared = [f"##INFO=<ID={c.vcf},Number=A>" for c in made.columns if c.vcf]
    assert Provenance.from_vcf_header([*declared, *made.vcf_lines()], "x.vcf") == made
    assert json.loads(made.to_json())["model"]["model_id"] == 'a "b", \\c'
