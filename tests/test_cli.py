"""The command line from argv to exit status and files, in one process."""

import gzip
import io
import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from safetensors.torch import load_file, save_file

from ntvep import cli, pipeline
from ntvep.commands import ready
from ntvep.commands.options import Options
from ntvep.commands.score import score_file
from ntvep.objectives import defined_scores
from ntvep.schema import check, score_schema
from tests.conftest import ROOT

MODEL = str(ROOT / "tests" / "golden" / "v2")
WINDOW = ("--window-tokens", "16", "--max-allele-bases", "20")
RNG = np.random.default_rng(5)
CHR1 = "".join(RNG.choice(list("ACGT"), 1200))
CHR2 = "".join(RNG.choice(list("ACGT"), 400))
OTHER = str.maketrans("ACGT", "CGTA")


def snv(chrom, sequence, pos, tail=""):
    ref = sequence[pos - 1]
    return f"{chrom}\t{pos}\t.\t{ref}\t{ref.translate(OTHER)}\t.\t.\tX=1{tail}\n"


HEADER = (
    "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n##contig=<ID=chr2>\n"
    '##INFO=<ID=X,Number=1,Type=Integer,Description="x">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
)
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
RECORDS = [
    snv("chr1", CHR1, 100),
    snv("chr1", CHR1, 101),
    f"chr1\t300\trs1\t{CHR1[299]}\t{CHR1[299]}GA,<DEL>,*\t9\t.\t.\n",
    f"chr1\t400\t.\t{CHR1[399:402]}\t{CHR1[399]}\t.\t.\tX=2\n",
    f"chr1\t500\t.\t{CHR1[499].translate(OTHER)}\t{CHR1[499]}\t.\t.\tX=2\n",
    snv("chr1", CHR1, 1200),
    snv("chr2", CHR2, 200),
    "chr3\t5\t.\tA\tC\t.\t.\tX=1\n",
]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A reference and a VCF in an own folder, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))
    (tmp_path / "ref.fa").write_text(f">chr1\n{CHR1}\n>chr2\n{CHR2}\n")
    (tmp_path / "in.vcf").write_text(HEADER + COLUMNS + "\n" + "".join(RECORDS))
    return tmp_path


@pytest.fixture
def run(files, monkeypatch, capsys):
    """``run("score", ...)`` gives exit status, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ntvep", *map(str, arguments)])
        # The log's handler holds the standard error of the moment it was made.
        logging.getLogger("ntvep").handlers = []
        with pytest.raises(SystemExit) as left:
            cli.main()
        captured = capsys.readouterr()
        return SimpleNamespace(status=left.value.code or 0, out=captured.out, err=captured.err)

    return call


def score(run, *extra, source="in.vcf", output="out.vcf", reference="ref.fa", model=MODEL):
    asked = ("score", source, "-r", reference, "-m", model, "-o", output)
    return run(*asked, *WINDOW, *extra)


def body(text):
    return [line for line in text.splitlines() if not line.startswith("##")]


def test_score_annotates_every_allele_once(run, files):
    done = score(run, "--table", "out.parquet")
    assert done.status == 0, done.err
    assert "Scores are for research, not for diagnosis" in done.err
    table = pl.read_parquet("out.parquet")
    check(table, score_schema(defined_scores("masked", "kmer"), with_sd=False))
    assert table["status"].to_list() == [
        "ok", "ok", "ok", "symbolic_allele", "spanning_deletion", "ok", "ref_mismatch", "ok", "ok",
        "contig_not_in_reference",
    ]  # fmt: skip
    lines = body((files / "out.vcf").read_text())
    assert len(lines) == 1 + len(RECORDS)
    for before, after in zip(RECORDS, lines[1:], strict=True):
        old, new = before.rstrip("\n").split("\t"), after.split("\t")
        assert new[:7] == old[:7]
        assert new[7].startswith("NTVEP_" if old[7] == "." else f"{old[7]};NTVEP_")
    llr = table["llr"][0]
    assert f"NTVEP_LLR={llr:.6g};" in lines[1]
    third = lines[3].split("\t")[7]
    assert f"NTVEP_LLR={table['llr'][2]:.6g},.,." in third
    assert "NTVEP_STATUS=ok,symbolic_allele,spanning_deletion" in third
    summary = json.loads((files / "out.vcf.summary.json").read_text())
    assert (summary["records"], summary["alleles"], summary["ok"]) == (8, 10, 6)
    assert summary["statuses"]["ref_mismatch"] == 1
    # On each strand an SNV takes three passes, an indel four; but chr1:100 and chr1:101 lie in one
    # 6-mer and share the masked pass and the reference pass.
    assert summary["passes"] == 2 * (4 * 3 + 2 * 4 - 2)
    assert len(summary["fingerprint"]) == 16
    assert summary["seconds"] > 0


def test_provenance_names_no_folder(run, files):
    assert score(run, reference=files / "ref.fa", output=files / "out.vcf").status == 0
    text = (files / "out.vcf").read_text()
    lines = [line for line in text.splitlines() if line.startswith("##ntvep_")]
    assert len(lines) == 2
    assert str(files) not in text
    assert 'Command="ntvep score in.vcf -r ref.fa -m v2 -o out.vcf' in lines[0]
    assert "WeightsSHA256=" in lines[1]
    assert "chr1:" in lines[1]
    assert "chr2:" in lines[1]
    summary = json.loads((files / "out.vcf.summary.json").read_text())
    assert f"Fingerprint={summary['fingerprint']}" in lines[1]


@pytest.mark.parametrize("name", ["out.vcf", "out.vcf.gz", "out.bcf", "-"])
def test_formats_hold_the_same_records(run, files, name):
    score(run, output="plain.vcf")
    expected = body((files / "plain.vcf").read_text())
    if name.endswith("bcf"):
        # BCF cannot hold a record whose contig length is unknown to nobody: all are declared.
        assert score(run, output=name).status == 0
        again = score(run, source=name, output="again.vcf")
        assert again.status == 0, again.err
        found = body((files / "again.vcf").read_text())
        assert [line.split("\t")[:5] for line in found] == [
            line.split("\t")[:5] for line in expected
        ]
        return
    done = score(run, output=name)
    assert done.status == 0
    text = (
        done.out
        if name == "-"
        else (
            gzip.decompress((files / name).read_bytes()).decode()
            if name.endswith(".gz")
            else (files / name).read_text()
        )
    )
    assert body(text) == expected


def test_parquet_alone_and_python_give_the_same_table(run, files):
    assert score(run, output="out.parquet").status == 0
    table = pl.read_parquet(files / "out.parquet")
    inputs = files / "in.vcf", files / "ref.fa", MODEL
    options = Options(window_tokens=16, max_allele_bases=20)
    score_file(*inputs, files / "called.parquet", options=options, command="")
    assert_frame_equal(table, pl.read_parquet(files / "called.parquet"))
    assert score(run, "--table", "beside.parquet").status == 0
    assert_frame_equal(table, pl.read_parquet("beside.parquet"))
    assert (files / "out.parquet.summary.json").exists()


def test_standard_input(run, files, monkeypatch):
    score(run, output="file.vcf")
    stream = io.TextIOWrapper(io.BytesIO((files / "in.vcf").read_bytes()))
    monkeypatch.setattr(sys, "stdin", stream)
    assert score(run, source="-", output="stream.vcf").status == 0
    assert body((files / "stream.vcf").read_text()) == body((files / "file.vcf").read_text())


def test_a_run_that_scores_nothing_says_so_even_when_quiet(run, files):
    (files / "in.vcf").write_text(HEADER + COLUMNS + "\nchr7\t5\t.\tA\tC\t.\t.\t.\n")
    done = score(run, "-q")
    assert done.status == 0
    assert "no allele has a score: 1 contig_not_in_reference" in done.err


def test_chunks_and_batches_change_nothing(run, files, monkeypatch):
    score(run, output="whole.parquet")
    plans, plan = [], pipeline.plan
    monkeypatch.setattr(pipeline, "plan", lambda *given: plans.append(given) or plan(*given))
    monkeypatch.setattr(ready, "PAIRS_PER_PLAN", 4)
    score(run, "--batch-size", "3", output="parts.parquet")
    assert len(plans) == 4
    whole, parts = pl.read_parquet("whole.parquet"), pl.read_parquet("parts.parquet")
    assert_frame_equal(whole, parts, abs_tol=1e-6, rel_tol=1e-6)


def test_dry_run_gives_the_statuses(run, files):
    scored = score(run, output="out.parquet")
    statuses = pl.read_parquet("out.parquet")["status"].to_list()
    assert "36 forward passes (6.00 per scored allele) in " in scored.err
    done = run("variants", "in.vcf", "-r", "ref.fa", "-m", MODEL, *WINDOW)
    assert done.status == 0
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert rows[0] == ["record", "allele", "chrom", "pos", "ref", "alt", "status"]
    assert [row[-1] for row in rows[1:]] == statuses
    assert "8 records, 10 alleles, 6 scorable" in done.err
    # As many passes as the run took; none of them has been run yet, so there is no speed.
    summary = json.loads((files / "out.parquet.summary.json").read_text())
    assert (summary["passes"], summary["passes_per_allele"]) == (36, 6.0)
    assert "36 forward passes needed (6.00 per scorable allele)" in done.err
    # Without a model only what needs none is judged.
    alone = run("variants", "in.vcf", "-r", "ref.fa", *WINDOW)
    assert [line.split("\t")[-1] for line in alone.out.splitlines()[1:]] == statuses
    assert "passes" not in alone.err
    for name in ("alleles.tsv", "alleles.parquet"):
        asked = ("variants", "in.vcf", "-r", "ref.fa", "-m", MODEL, *WINDOW, "-o", name)
        assert run(*asked).status == 0
    assert pl.read_parquet("alleles.parquet")["status"].to_list() == statuses
    assert (files / "alleles.tsv").read_text() == done.out


def test_split_and_gather_equal_one_run(run, files):
    score(run, "--table", "whole.parquet", output="whole.vcf")
    assert run("split", "in.vcf", "-o", "chunks", "--chunks", "3").status == 0
    tables = []
    for number in range(3):
        tables.append(f"{number}.parquet")
        done = score(run, source=f"chunks/{number:05d}.vcf.gz", output=tables[-1])
        assert done.status == 0, done.err
    asked = ("gather", "in.vcf", "-o", "joined.vcf", "--table", "joined.parquet")
    done = run(*asked, *tables)
    assert done.status == 0, done.err
    whole, joined = (
        [
            line
            for line in (files / f"{name}.vcf").read_text().splitlines()
            if "##ntvep_" not in line
        ]
        for name in ("whole", "joined")
    )
    assert joined == whole
    assert_frame_equal(pl.read_parquet("joined.parquet"), pl.read_parquet("whole.parquet"))
    summary = json.loads((files / "joined.vcf.summary.json").read_text())
    assert (summary["records"], summary["alleles"], summary["ok"]) == (8, 10, 6)
    assert summary["passes"] == 36
    # A chunk that is missing, twice there, or in the wrong place is seen.
    for wrong in (tables[:2], tables[1:], [*tables, tables[2]], tables[::-1]):
        done = run("gather", "in.vcf", "-o", "wrong.vcf", *wrong)
        assert done.status == 1
        assert "missing" in done.err
        assert not (files / "wrong.vcf").exists()
    score(run, "--force", "--views", "1", source="chunks/00002.vcf.gz", output="2.parquet")
    done = run("gather", "in.vcf", "-o", "wrong.vcf", *tables)
    assert "(views 1, not 2). Score all chunks with the same model and options" in done.err


def test_records_of_one_site_stay_in_one_chunk(run, files):
    same = "".join(snv("chr1", CHR1, 100, f";N={n}") for n in range(9))
    (files / "site.vcf").write_text(HEADER + COLUMNS + "\n" + snv("chr1", CHR1, 90) + same)
    assert run("split", "site.vcf", "-o", "chunks", "--chunks", "5").status == 0
    chunks = sorted((files / "chunks").iterdir())
    texts = [gzip.decompress(path.read_bytes()).decode() for path in chunks]
    places = [{tuple(line.split("\t")[:2]) for line in body(text)[1:]} for text in texts]
    assert len(places) == 5
    assert sorted(len(some) for some in places if some) in ([1, 1], [2])


def test_contig_names_are_translated_and_said_once(run, files):
    text = (files / "in.vcf").read_text().replace("chr", "")
    (files / "plain.vcf").write_text(text)
    score(run, output="chr.parquet")
    done = score(run, source="plain.vcf", output="plain.parquet")
    assert done.status == 0
    assert done.err.count("1 = chr1") == 1
    drop = ["chrom"]
    assert_frame_equal(
        pl.read_parquet("plain.parquet").drop(drop), pl.read_parquet("chr.parquet").drop(drop)
    )


def test_a_slice_of_a_contig_is_read_as_that_stretch(run, files):
    (files / "slice.fa").write_text(f">chr1:91-1100\n{CHR1[90:1100]}\n")
    score(run, output="whole.parquet")
    assert score(run, reference="slice.fa", output="slice.parquet").status == 0
    whole, part = pl.read_parquet("whole.parquet"), pl.read_parquet("slice.parquet")
    # Far from the slice's ends the numbers are those of the whole contig; outside it, a status.
    assert_frame_equal(part[2:6], whole[2:6], abs_tol=1e-6)
    assert part["status"][7] == "position_out_of_range"
    assert part["status"][8] == "contig_not_in_reference"


def test_strict_writes_and_exits_3(run, files):
    done = score(run, "--strict")
    assert done.status == 3
    assert "4 of 10 alleles have no score (1 ref_mismatch, 1 contig_not_in_reference" in done.err
    assert (files / "out.vcf").exists()


def test_numerical_failure_writes_and_exits_4(run, files):
    shutil.copytree(MODEL, files / "broken")
    state = load_file(files / "broken" / "model.safetensors")
    state["lm_head.decoder.weight"] = torch.full_like(state["lm_head.decoder.weight"], 3e38)
    save_file(state, files / "broken" / "model.safetensors", metadata={"format": "pt"})
    done = score(run, model="broken", output="out.parquet")
    assert done.status == 4
    assert "whose status says so" in done.err
    table = pl.read_parquet("out.parquet")
    assert table["status"].to_list().count("numerical_failure") == 6
    assert table["llr"].null_count() == table.height


def mismatching(count, wrong):
    lines = [snv("chr1", CHR1, pos) for pos in range(1, count + 1)]
    for i in range(wrong):
        fields = lines[i].split("\t")
        fields[3], fields[4] = fields[4], fields[3]
        lines[i] = "\t".join(fields)
    return HEADER + COLUMNS + "\n" + "".join(lines)


def test_another_assembly_stops_before_the_model(run, files):
    (files / "in.vcf").write_text(mismatching(40, 8))
    done = score(run, model="no-such-model")
    assert done.status == 1
    assert "wrong build? 8 of the first 40 REF alleles disagree with ref.fa (limit 10%)" in done.err
    assert not (files / "out.vcf").exists()
    assert score(run, "--ref-mismatch-limit", "0.2", "--scores", "llr").status == 0
    (files / "in.vcf").write_text(mismatching(10, 8))
    assert score(run, "--force", "--scores", "llr").status == 0


def test_no_contig_in_common_stops(run, files):
    text = mismatching(120, 0).replace("chr1", "scaffold_7")
    (files / "in.vcf").write_text(text)
    done = score(run)
    assert done.status == 1
    assert (
        "ref.fa has none of its contigs: expected one of scaffold_7, found chr1, chr2" in done.err
    )


@pytest.mark.parametrize(
    ("extra", "status", "message"),
    [
        (("--scores", "llr,score"), 2, "unknown score 'score'; known scores: all, llr, llr_site, "),
        (("--window-tokens", "64"), 2, "takes 1 to 63 (its maximum of 64 minus special tokens)"),
        (("--window-tokens", "6"), 2, "leaves room for 13 changed bases"),
        (("--views", "3"), 2, "expected 1, 2 or all (12)"),
        (("--layer", "3"), 2, "this model has layers 0 (input embeddings) to 2 (last)"),
        (("--device", "tpu"), 2, "expected one of auto, cpu, cuda, mps"),
        (("--precision", "fp8"), 2, "expected one of auto, fp32, tf32, fp16, bf16"),
        (("--batch-size", "0"), 2, "--batch-size is 0"),
        (("--batch-size", "x"), 2, "expected auto, or 1 or more"),
        (("--threads", "0"), 2, "--threads is 0"),
        (("--ref-mismatch-limit", "2"), 2, "expected a share from 0 to 1"),
        (("--table", "out.csv"), 2, "expected a name that ends in .parquet"),
        (("-o", "out.txt"), 2, "expected a name that ends in .vcf, .vcf.gz, .bcf"),
        (("-o", "nowhere/out.vcf"), 1, "its folder does not exist; type: mkdir -p nowhere"),
        (("-o", "in.vcf"), 1, "in.vcf"),
        (("-m", "no-such"), 1, "expected demo, a checkpoint folder, or an id"),
        (("-m", "."), 1, "no config.json; expected a checkpoint folder"),
        (("-r", "no.fa"), 1, "no.fa: no such reference file"),
    ],
)
def test_bad_options_leave_nothing(run, files, extra, status, message):
    before = sorted(path.name for path in files.iterdir())
    done = score(run, *extra)
    assert (done.status, message in done.err) == (status, True), done.err
    assert done.err.startswith("ntvep: error: ") or "\nntvep: error: " in done.err
    assert "Traceback" not in done.err
    after = sorted(path.name for path in files.iterdir())
    assert [name for name in after if name != "ref.fa.fai"] == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "in.vcf: no such file"),
        ("", "in.vcf: the file is empty"),
        ("hello\n", "this is not a VCF, or its header was cut"),
        (HEADER + COLUMNS + "\nchr1\t5\n", "in.vcf, line 7: 2 columns, but the header has 8"),
        (HEADER + COLUMNS + "\nchr1\tx\t.\tA\tC\t.\t.\t.\n", "in.vcf, line 7: POS is 'x'"),
    ],
)
def test_bad_input_leaves_nothing(run, files, content, message):
    (files / "in.vcf").unlink()
    if content is not None:
        (files / "in.vcf").write_text(content)
    done = score(run)
    assert done.status == 1
    assert message in done.err
    assert not (files / "out.vcf").exists()


def test_bad_records_are_left_out_and_listed(run, files):
    (files / "in.vcf").write_text((files / "in.vcf").read_text() + "chr1\t5\nchr1\n")
    done = score(run, "--on-bad-record", "skip")
    assert done.status == 0
    assert "line 15 left out: 2 columns" in done.err
    summary = json.loads((files / "out.vcf.summary.json").read_text())
    assert [bad["line"] for bad in summary["bad_records"]] == [15, 16]
    assert len(body((files / "out.vcf").read_text())) == 9


def test_an_output_is_kept_without_force(run, files):
    (files / "out.vcf").write_text("mine")
    done = score(run)
    assert done.status == 1
    assert "out.vcf: exists; add --force to replace it" in done.err
    assert (files / "out.vcf").read_text() == "mine"
    assert score(run, "--force").status == 0
    assert (files / "out.vcf").read_text().startswith("##fileformat")


def test_own_output_as_input_is_replaced(run, files):
    score(run, "--views", "1", output="first.vcf")
    done = score(run, source="first.vcf", output="again.vcf")
    assert "annotations of an earlier ntvep run are replaced" in done.err
    score(run, output="fresh.vcf")
    again, fresh = ((files / name).read_text() for name in ("again.vcf", "fresh.vcf"))
    assert body(again) == body(fresh)
    assert again.count("##ntvep_") == fresh.count("##ntvep_") == 2
    done = score(run, "--refuse-annotated", source="first.vcf", output="no.vcf")
    assert (done.status, "--refuse-annotated" in done.err) == (1, True)


def test_nothing_of_samples_or_info_is_logged(run, files):
    rows = [line.rstrip("\n") + ";SECRET=1\tGT\t0/1\n" for line in RECORDS]
    text = HEADER + COLUMNS + "\tFORMAT\tSECRETSAMPLE\n" + "".join(rows) + "chr1\tSECRETx\n"
    (files / "in.vcf").write_text(text)
    done = score(run, "--on-bad-record", "skip", "-v")
    assert done.status == 0
    assert "SECRETSAMPLE" not in done.err
    assert "SECRET=" not in done.err
    summary = (files / "out.vcf.summary.json").read_text()
    assert "SECRET" not in summary
    for before, after in zip(rows, body((files / "out.vcf").read_text())[1:], strict=True):
        assert after.split("\t")[8:] == before.rstrip("\n").split("\t")[8:]


def test_help_has_examples_and_model_info_says_the_licence(run):
    assert "Examples" in run("score", "--help").out
    done = run("model", "info", "demo-6mer")
    assert done.status == 0
    for part in ("1,731,979", "masked", "6-mers, ", "3,072 bases", "513 tokens", "apache-2.0"):
        assert part in done.out
    assert "non-commercial" in run("--help").out


def test_model_check(run):
    done = run("model", "check", MODEL)
    assert done.status == 0
    assert "agrees with transformers" in done.out


def test_compare_two_groups(run, files):
    header = HEADER + '##INFO=<ID=NTVEP_LLR,Number=A,Type=Float,Description="x">\n' + COLUMNS
    values = [("a", -3), ("a", -2), ("a", 1), ("b", 0), ("b", 2), ("b", -2.5)] * 4
    lines = [
        f"chr1\t{i * 50_000 + 1}\t.\tA\tC\t.\t.\tG={group};GENEINFO=GENE{i}:1;NTVEP_LLR={llr}"
        for i, (group, llr) in enumerate(values)
    ]
    (files / "groups.vcf").write_text("\n".join([header, *lines]) + "\n")
    done = run("compare", "groups.vcf", "--positive", "G=a", "--negative", "G=b")
    # Pairs in which a has the lower llr: -3 beats 3, -2 beats 2, 1 beats 1 of 3.
    assert "12 alleles with G=a against 12 with G=b: AUROC 0.667 (95 % interval 0." in done.out
    assert "24 genes or groups of the labels, 12.0 and 12.0 effective" in done.out
    done = run("compare", "groups.vcf", "--positive", "G=a", "--negative", "G=c")
    # The rule of ntvep evaluate: what is absent or small fails no run.
    assert done.status == 0
    assert "12 alleles with G=a against 0 with G=c: too few for an AUROC" in done.out


def test_compare_reads_the_scores_of_a_tag(run, files):
    """NTVEP_B_LLR is the contrary of NTVEP_A_LLR: of it the other pairs are in order."""
    header = HEADER + "##ntvep_A_scores=<x>\n##ntvep_B_scores=<x>\n" + COLUMNS
    lines = [
        f"chr1\t{i * 50_000 + 1}\t.\tA\tC\t.\t.\tG={group};NTVEP_A_LLR={llr};NTVEP_B_LLR={-llr}"
        for i, (group, llr) in enumerate([("a", -3), ("a", 1), ("b", 0), ("b", 2)] * 6)
    ]
    (files / "groups.vcf").write_text("\n".join([header, *lines]) + "\n")
    groups = ("compare", "groups.vcf", "--positive", "G=a", "--negative", "G=b")
    assert "AUROC 0.750" in run(*groups, "--tag", "A").out
    assert "AUROC 0.250" in run(*groups, "--tag", "B").out
    done = run(*groups)
    assert (done.status, "--tag is ''; expected the tags A, B" in done.err) == (1, True)


def test_ctrl_c_leaves_nothing(files):
    records = [snv("chr1", CHR1, pos) for pos in range(1, 1100)] * 40
    (files / "long.vcf").write_text(HEADER + COLUMNS + "\n" + "".join(records))
    before = sorted(path.name for path in files.iterdir())
    command = [sys.executable, "-c", "from ntvep.cli import main; main()", "score", "long.vcf"]
    arguments = ["-r", "ref.fa", "-m", MODEL, "-o", "out.vcf.gz", "--views", "12", *WINDOW]
    with subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True) as process:
        # A hidden folder beside the output: the work has begun.
        while not list(files.glob(".ntvep-*")) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "ntvep: interrupted; no output was written" in err
    assert "Traceback" not in err
    after = sorted(path.name for path in files.iterdir())
    assert [name for name in after if name != "ref.fa.fai"] == before
