"""The same command gives the same bytes; another batch, chunk or thread, the same numbers."""

import json
import os
import re
import subprocess
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from ntvep import pipeline
from ntvep.commands import pace, ready
from ntvep.commands.options import Options
from ntvep.commands.score import score_file
from ntvep.errors import ConfigError
from ntvep.io import tables
from ntvep.objectives import defined_scores
from ntvep.schema import score_schema
from tests.conftest import ROOT

# Whole runs, in processes of their own.
pytestmark = pytest.mark.slow

MODEL = str(ROOT / "tests" / "golden" / "v2")
NAMES = defined_scores("masked", "kmer")
SECONDS = re.compile(rb'"\w*seconds?": ?[0-9.e-]+')
RECORDS = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of all kinds on two contigs."""
    folder = tmp_path_factory.mktemp("reproducible")
    rng = np.random.default_rng(3)
    contigs = {n: "".join(rng.choice(list("ACGT"), 1500)) for n in ("chr1", "chr2")}
    (folder / "ref.fa").write_text("".join(f">{n}\n{s}\n" for n, s in contigs.items()))
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for name, sequence in contigs.items():
        for pos in sorted(rng.choice(np.arange(20, 1480), RECORDS // 2, replace=False)):
            ref = sequence[pos - 1 : pos - 1 + int(rng.integers(1, 4))]
            alts = {"".join(rng.choice(list("ACGT"), int(rng.integers(1, 5)))) for _ in range(2)}
            alleles = ",".join(sorted(alts - {ref}) or ["<DEL>"])
            lines.append(f"{name}\t{pos}\t.\t{ref}\t{alleles}\t.\t.\tX=1")
    (folder / "in.vcf").write_text("\n".join(lines) + "\n")
    return folder


def score(folder: Path, name: str, **options: object) -> list[dict[str, str]]:
    """What stands in each record's INFO."""
    settings: dict[str, object] = {
        "window_tokens": 16,
        "max_allele_bases": 20,
        "device": "cpu",
        "batch_size": 16,
    }
    settings |= options
    score_file(
        folder / "in.vcf", folder / "ref.fa", MODEL, folder / name,
        options=Options(**settings), command="ntvep", force=True, quiet=True,
    )  # fmt: skip
    lines = (folder / name).read_text().splitlines()
    return [
        dict(part.split("=") for part in line.split("\t")[7].split(";") if "NTVEP_" in part)
        for line in lines
        if not line.startswith("#")
    ]


def test_the_same_command_gives_the_same_bytes(folder: Path) -> None:
    """VCF, its index and Parquet, of two processes; only the seconds that it took may differ."""
    found = []
    for seed in ("1", "2"):
        command = [
            sys.executable, "-c", "from ntvep.cli import main; main()",
            "score", "in.vcf", "-r", "ref.fa", "-m", MODEL, "-o", "out.vcf.gz", "--force", "-q",
            "--table", "out.parquet", "--window-tokens", "16", "--max-allele-bases", "20",
        ]  # fmt: skip
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=folder, env=os.environ | environment, check=True)
        found.append({path.name: path.read_bytes() for path in folder.glob("out.*")})
    first, second = found
    assert set(first) == {"out.parquet", "out.vcf.gz", "out.vcf.gz.summary.json", "out.vcf.gz.tbi"}
    for name in ("out.vcf.gz", "out.vcf.gz.tbi"):
        assert first[name] == second[name]
    texts = [SECONDS.sub(b"", some["out.vcf.gz.summary.json"]) for some in found]
    assert texts[0] == texts[1]
    assert texts[0] != first["out.vcf.gz.summary.json"]
    # A Parquet file ends with its metadata, in which the summary stands, and their length.
    bodies = [data[: -8 - int.from_bytes(data[-8:-4], "little")] for data in (
        first["out.parquet"], second["out.parquet"]
    )]  # fmt: skip
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) > 1000


@pytest.fixture(scope="module")
def whole(folder: Path) -> list[dict[str, str]]:
    """Every score, with both strands, in one chunk and the batches that are found best."""
    return score(folder, "whole.vcf", batch_size=None)


@pytest.mark.parametrize(
    ("options", "chunk"),
    [({"batch_size": 1}, 2000), ({"batch_size": 7}, 2000), ({}, 1), ({}, 13),
     ({"threads": 1}, 2000), ({"threads": 2}, 2000)],
    ids=["batch 1", "batch 7", "chunk 1", "chunk 13", "1 thread", "2 threads"],
)  # fmt: skip
def test_how_it_is_computed_does_not_show(folder, whole, monkeypatch, options, chunk) -> None:
    """Six significant digits, as they are printed, of every score of every allele."""
    monkeypatch.setattr(ready, "PAIRS_PER_PLAN", 2 * chunk)
    threads = torch.get_num_threads()
    try:
        found = score(folder, "other.vcf", **options)
    finally:
        torch.set_num_threads(threads)
    assert len(found) == len(whole) == RECORDS
    assert sum(map(len, whole)) > RECORDS * len(NAMES) / 2
    for one, other in zip(whole, found, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_print(one[key], other[key], key)


@pytest.mark.parametrize("window", [1, 5, 9])
def test_short_windows_have_the_same_bits_in_every_batch(folder, window) -> None:
    """With so few rows the kernels of a CPU depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        options = {"window_tokens": window, "max_allele_bases": window}
        usual = score(folder, "usual.vcf", batch_size=None, **options)
        for size in (1, 3):
            assert score(folder, "other.vcf", batch_size=size, **options) == usual
    finally:
        torch.set_num_threads(threads)
    assert any("NTVEP_LLR" in info for info in usual)


def test_deterministic_on_a_cpu_is_what_is_usual(folder, whole, monkeypatch) -> None:
    # Set first, so that it is taken away again afterwards.
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    try:
        found = score(folder, "other.vcf", deterministic=True)
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(whole, found, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            assert_same_print(one[key], other[key], key)


def test_deterministic_scores_come_from_no_cache(folder) -> None:
    with pytest.raises(ConfigError, match="--deterministic with --cache"):
        score(folder, "other.vcf", deterministic=True, cache=folder / "cache")


def test_a_cache_may_be_a_name(folder, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    score(Path(), "named.vcf", views=1, scores="llr", cache=Path("by name"))
    assert list((folder / "by name").rglob("*.parquet"))


@pytest.mark.parametrize("cached", [False, True])
def test_plans_follow_the_clock_with_a_cache_alone(folder, monkeypatch, cached) -> None:
    """A clock that says that every plan takes a hundred seconds."""
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=count(10**9, 100).__next__))
    monkeypatch.setattr(ready, "PAIRS_PER_PLAN", 8)
    plans, plan = [], pipeline.plan
    monkeypatch.setattr(pipeline, "plan", lambda *given: plans.append(given) or plan(*given))
    monkeypatch.setattr(ready, "_FIRST_RECORDS", 4)
    score(folder, "other.vcf", scores="llr", cache=folder / "paced" if cached else None)
    # 24 records in plans of 4; or of one record, once those on their way are done.
    assert len(plans) > 8 if cached else len(plans) == 6


def test_row_groups_do_not_depend_on_plans_and_end_with_a_record(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tables, "_ROW_GROUP", 5)
    columns = score_schema(("llr",), False)
    schema = {column.name: column.dtype for column in columns}
    records = [0, 0, 1, 2, 2, 2, 2, 3, 4, 5, 5, 6, 7]
    rows = [(r, 1, "c", r + 1, "A", "C", "ok", 0.5, False) for r in records]
    table = pl.DataFrame(rows, schema=schema, orient="row")
    for step in (1, 4, 13):
        path = tmp_path / f"{step}.parquet"
        with tables.table_writer(path, columns, "{}", lambda: "{}") as write:
            for part in table.iter_slices(step):
                write(part)
        groups = [rows["record"].to_list() for rows in tables.read_row_groups(path)]
        assert groups == [[0, 0, 1, 2, 2, 2, 2], [3, 4, 5, 5, 6], [7]]


def assert_same_print(one: str, other: str, key: str) -> None:
    for a, b in zip(one.split(","), other.split(","), strict=True):
        if a != b:
            # A unit of the sixth digit; and what sums of float32 leave around zero.
            assert float(a) == pytest.approx(float(b), rel=1e-5, abs=2e-6), key


def test_a_fingerprint_is_of_what_changes_numbers(folder: Path) -> None:
    def fingerprint(**options: object) -> str:
        score(folder, "print.vcf", scores="llr", **options)
        return json.loads((folder / "print.vcf.summary.json").read_text())["fingerprint"]

    usual = fingerprint(views=1)
    assert usual == fingerprint(views=1, batch_size=64, max_n_fraction=0.5)
    assert len({usual, fingerprint(), fingerprint(views=1, window_tokens=14)}) == 3


def test_tables_of_two_runs_are_equal(folder: Path) -> None:
    tables = []
    for name in ("one.vcf", "two.vcf"):
        score_file(
            folder / "in.vcf", folder / "ref.fa", MODEL, folder / name,
            table=folder / f"{name}.parquet", force=True, quiet=True, command="ntvep",
            options=Options(window_tokens=16, max_allele_bases=20, scores="llr", device="cpu"),
        )  # fmt: skip
        tables.append(pl.read_parquet(folder / f"{name}.parquet"))
    # To the last bit, not to a tolerance.
    assert tables[0].equals(tables[1])
    assert (folder / "one.vcf").read_bytes() == (folder / "two.vcf").read_bytes()
