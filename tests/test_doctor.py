"""``ntvep doctor`` finds what is wrong, says what to type, and exits 0 only if a run can start."""

import json
import shutil
import sys
from collections import namedtuple

import polars as pl
import pytest
import torch

from ntvep import cli
from ntvep.commands import doctor
from ntvep.io import fasta
from ntvep.windows import Span
from tests.workflow.demo import DEMO, REFERENCE

COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO\n")
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """``run(...)`` gives exit status, and the checks of each name as (state, found, next)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ntvep", "doctor", "--json", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        content = json.loads(capsys.readouterr().out)
        assert content["ready"] == (left.value.code == 0)
        checks = {}
        for check in content["checks"]:
            checks.setdefault(check.pop("name"), []).append(tuple(check.values()))
        return left.value.code, checks

    return call


def test_the_demo_is_ready(run, monkeypatch, capsys):
    status, checks = run(DEMO, "-r", REFERENCE, "-m", "demo-6mer", "--device", "cpu")
    assert status == 0
    assert checks["model"] == [
        ("ok", "ntvep-demo-6mer: Nucleotide Transformer, 1,731,979 parameters, "
         "windows of 3,072 bases; "
         "licence: apache-2.0", "")]  # fmt: skip
    assert checks["reference"][0][1].endswith("1 contigs, 202,666 bases")
    assert checks["vcf"] == [("ok", f"{DEMO}: 1,974 records, of the reference's assembly", "")]
    assert checks["device"][0][1].startswith("cpu (1 threads; torch 2.")
    assert len(checks["disk"]) == 2
    # The same for people: one line per check, then the command.
    command = ["ntvep", "doctor", DEMO, "-r", REFERENCE, "-m", "demo-6mer", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in command])
    with pytest.raises(SystemExit):
        cli.main()
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == sum(map(len, checks.values()))
    assert all(line.split()[0] in ("ok", "warn") for line in lines)
    assert last == f"ready: ntvep score {DEMO} -r {REFERENCE} -m demo-6mer -o scored.vcf.gz"


def test_without_files_the_next_command_is_said(run, capsys):
    status, checks = run("--device", "cpu")
    assert status == 0
    assert not {"model", "reference", "vcf", "labels"} & checks.keys()
    text = doctor.to_text(doctor.examine(doctor.Files(), "cpu"), doctor.Files())
    assert text.endswith("with your files: ntvep doctor IN.vcf -r REFERENCE.fa -m MODEL")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("model", ("-m", "some/model"), "type: ntvep model fetch some/model"),
        ("model", ("-m", "."), "no config.json; expected a checkpoint folder"),
        ("reference", ("-r", "no.fa"), "no.fa: no such reference file"),
        ("vcf", ("no.vcf",), "no.vcf: no such file"),
        ("vcf", ("shifted.vcf", "-r", REFERENCE), "wrong build?"),
        (
            "vcf",
            ("few.vcf", "-r", REFERENCE),
            "none on a contig of the reference (CM000684.2 beside",
        ),
        ("labels", ("--labels", "shifted.vcf", "-r", REFERENCE), "wrong build?"),
        ("labels", ("--labels", "shifted.parquet", "-r", REFERENCE), "wrong build?"),
        ("labels", ("--labels", "other.parquet"), "expected Parquet with columns chrom, pos"),
        ("device", ("--device", "tpu"), "expected one of auto, cpu, cuda, mps"),
    ],
)
def test_what_is_missing_or_of_another_assembly_fails(run, tmp_path, name, arguments, message):
    lines = [line.split("\t") for line in DEMO.read_text().splitlines(keepends=True)]
    for fields in lines:
        if not fields[0].startswith("#"):
            fields[1] = str(int(fields[1]) + 1)
    (tmp_path / "shifted.vcf").write_text("".join("\t".join(fields) for fields in lines))
    few = ["##fileformat=VCFv4.2\n", "\t".join(COLUMNS), "CM000684.2\t20050000\t.\tA\tC\t.\t.\t.\n"]
    (tmp_path / "few.vcf").write_text("".join(few))
    rows = [(f[0], int(f[1]), f[3], f[4]) for f in lines if not f[0].startswith("#")]
    table = pl.DataFrame(rows, ["chrom", "pos", "ref", "alt"], orient="row")
    table.write_parquet("shifted.parquet")
    table.rename({"ref": "a"}).write_parquet("other.parquet")
    status, checks = run(*arguments)
    assert status == 1
    state, found, _ = checks[name][0]
    assert (state, message in found) == ("FAIL", True), found


def test_labels_that_match(run, tmp_path):
    lines = [line.split("\t") for line in DEMO.read_text().splitlines() if line[0] != "#"]
    rows = [(f[0], int(f[1]), f[3], f[4]) for f in lines if f[4].isalpha()]
    pl.DataFrame(rows, ["chrom", "pos", "ref", "alt"], orient="row").write_parquet("l.parquet")
    status, checks = run("--labels", "l.parquet", "-r", REFERENCE)
    assert status == 0
    assert checks["labels"] == [
        ("ok", f"l.parquet: {len(rows):,} alleles, of the reference's assembly", "")
    ]
    _, checks = run("--labels", "l.parquet")
    assert checks["labels"][0][0] == "warn"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_gpu_that_is_not_there(run):
    status, checks = run("--device", "cuda")
    assert (status, checks["device"][0][0]) == (1, "FAIL")
    status, checks = run("--device", "auto")
    assert (status, checks["device"][0][0]) == (0, "warn")


@pytest.mark.parametrize(
    ("length", "assembly"), [(248_956_422, ", GRCh38"), (249_250_621, ", GRCh37"), (1_000, "")]
)
def test_assembly_of_a_reference(run, tmp_path, monkeypatch, length, assembly):
    """The first contig's length tells; a file of that length is too much for a test."""
    (tmp_path / "ref.fa").write_text(">1\nACGT\n")
    record = fasta.Record("1", "1", Span(0, length))
    monkeypatch.setattr(fasta, "_records", lambda file: iter([record]))
    _, checks = run("-r", "ref.fa")
    assert checks["reference"][0][1] == f"ref.fa: 1 contigs, {length:,} bases{assembly}"


def test_versions(run, monkeypatch):
    """Below the requirement fails; allowed but not tested warns; a CUDA build is fine."""
    real = doctor.version
    found = {"typer": "0.1", "polars": "99.0", "torch": real("torch").partition("+")[0] + "+cu130"}
    monkeypatch.setattr(doctor, "version", lambda name: found.get(name) or real(name))
    status, checks = run("--device", "cpu")
    assert status == 1
    by_state = {state: text for state, text, _ in checks["packages"]}
    assert by_state["FAIL"].startswith("typer 0.1; expected >=0.15")
    assert by_state["warn"].startswith("polars 99.0; tested with 2.")
    assert not any("torch" in text for _, text, _ in checks["packages"])


@pytest.mark.parametrize(("free", "state"), [(9e9, "ok"), (1e9, "warn"), (1e7, "FAIL")])
def test_free_disk(run, monkeypatch, free, state):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1e12, 1e12 - free, free))
    status, checks = run("--device", "cpu")
    assert [check[0] for check in checks["disk"]] == [state, state]
    assert status == (state == "FAIL")


def test_a_folder_that_cannot_be_written(run, monkeypatch):
    """/proc has room, and refuses even root."""
    monkeypatch.chdir("/proc")
    monkeypatch.setenv("NTVEP_HOME", "/proc/ntvep")
    status, checks = run("--device", "cpu")
    assert status == 1
    here, models = checks["disk"]
    assert here[0] == "FAIL"
    assert here[1].startswith("cannot write to /proc (")
    # Others may have put the models there.
    assert models[0] == "warn"
    assert "NTVEP_HOME" in models[2]


def test_a_model_too_large_for_the_memory(run, monkeypatch):
    monkeypatch.setattr(doctor, "_memory_bytes", lambda: 10_000_000)
    status, checks = run("-m", "demo-6mer", "--device", "cpu")
    assert (status, checks["memory"][1][0]) == (0, "warn")
    assert "loading this model takes 0.0 GB" in checks["memory"][1][1]


def test_a_broken_torch_is_a_finding(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ntvep.models.device", None)
    status, checks = run()
    assert status == 1
    assert checks["device"][0][0] == "FAIL"
    assert "pip install" in checks["device"][0][2]
