"""A sample sheet, several models: each VCF as ntvep score makes it, each allele scored once."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from ntvep import dna
from ntvep.evaluate.background import context_names
from ntvep.io.fasta import open_reference
from tests.conftest import ROOT
from tests.workflow import demo
from tests.workflow.demo import REFERENCE, annotated, few_records, run, snakemake

SMALL = ROOT / "tests" / "golden" / "v2"
CONFIG = {
    "samples": "samples.tsv", "reference": str(REFERENCE), "results": "out", "chunks": 2,
    "samples_per_job": 2, "device": "cpu", "max_allele_bases": 8, "scores": "llr", "pages": True,
    "pictures": 1,
    "models": {
        "six": {"model": str(SMALL), "window_tokens": 16, "max_allele_bases": 20},
        "gpn": {"model": str(ROOT / "tests" / "golden" / "gpn_convnet"), "views": 1},
    },
    "labels": {"made_up": {"source": "table", "files": "labels.tsv", "label": "class",
                           "positive": ["simulated"], "negative": ["observed"]}},
}  # fmt: skip


def sheet(folder, names, header="sample\tvcf\tsex"):
    lines = [header, *(f"{name}\t{name}.vcf\tfemale" for name in names)]
    (folder / "samples.tsv").write_text("\n".join(lines) + "\n")


def write_inputs(folder, names):
    for number, name in enumerate(names):
        few_records(folder / f"{name}.vcf", 6)
        if number:
            # Each sample lacks a few of the records of the one before.
            lines = (folder / f"{name}.vcf").read_text().splitlines(keepends=True)
            (folder / f"{name}.vcf").write_text("".join(lines[: -3 * number]))
    rows = [line.split("\t") for line in demo.DEMO.read_text().splitlines() if line[0] != "#"]
    labels = ["chrom\tpos\tref\talt\tclass"]
    labels += [
        "\t".join([*fields[:2], *fields[3:5], fields[7].split("=")[1].split(";")[0]])
        for fields in rows[:200]
        if "SOURCE=odd" not in fields[7]
    ]
    (folder / "labels.tsv").write_text("\n".join(labels) + "\n")
    sheet(folder, names)


def test_samples_and_models(tmp_path):
    write_inputs(tmp_path, "abc")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    snakemake(tmp_path, "--configfile", "config.yaml")
    out = tmp_path / "out"
    options = {"six": ["--window-tokens", "16", "--max-allele-bases", "20"],
               "gpn": ["--views", "1", "--max-allele-bases", "8"]}  # fmt: skip
    for model in ("six", "gpn"):
        alone = [f"{name}.vcf" for name in "a"]
        command = ["ntvep", "score", *alone, "-r", REFERENCE, "-o", f"{model}.vcf.gz", "--scores",
                   "llr", "-m", CONFIG["models"][model]["model"], *options[model]]  # fmt: skip
        run(*command, folder=tmp_path)
        assert annotated(out / model / "a.vcf.gz") == annotated(tmp_path / f"{model}.vcf.gz")
        for name in "abc":
            assert (out / model / f"{name}.vcf.gz.tbi").is_file()
            page = (out / model / "pages" / f"{name}.html").read_text()
            assert "not for diagnosis" in page
            # Of the first SNV and the first indel, by the model that scored.
            assert page.count("data:image/svg+xml;base64,") == 2
            assert f"llr of every SNV by {Path(CONFIG['models'][model]['model']).name}" in page
        summary = json.loads((out / model / "summary.json").read_text())
        assert summary["passes"] > 0
        table = pl.read_parquet(out / model / "alleles.parquet")
        assert table.height == summary["distinct"] < summary["alleles"]
        assert table["samples"].max() == 3
        counts = pl.read_csv(out / model / "samples.tsv", separator="\t")
        assert counts.select("sample", "sex").rows() == [(name, "female") for name in "abc"]
        assert counts["alleles"].sum() == summary["alleles"]
    assert (out / "report" / "index.html").is_file()
    # Whole parts of a run with more chunks lie about: none enters a result, and no pass is run.
    before = (out / "six" / "alleles.parquet").read_bytes()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"chunks": 1}))
    few_records(tmp_path / "d.vcf", 3)
    sheet(tmp_path, "abcd")
    snakemake(tmp_path, "--configfile", "config.yaml")
    for model in ("six", "gpn"):
        summary = json.loads((out / model / "summary.json").read_text())
        assert (summary["passes"], summary["known"]) == (0, summary["statuses"]["ok"])
        assert (out / model / "d.vcf.gz").is_file()
    after = pl.read_parquet(out / "six" / "alleles.parquet")
    assert after.drop("samples", "record").equals(pl.read_parquet(before).drop("samples", "record"))
    assert "Nothing to be done" in snakemake(tmp_path, "--configfile", "config.yaml").stderr


@pytest.mark.slow
def test_a_background_of_each_model_gives_percentiles_to_each_sample(tmp_path):
    """As ``ntvep score --background`` does with the background that the workflow drew."""
    write_inputs(tmp_path, "ab")
    config = {
        key: CONFIG[key]
        for key in ("samples", "reference", "results", "chunks", "device", "scores")
    } | {
        "models": {"six": CONFIG["models"]["six"]},
        "background": {"per_context": 20, "seed": 3, "region": ["chr22:20050001-20150000"]},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    snakemake(tmp_path, "--configfile", "config.yaml")
    out = tmp_path / "out" / "six"
    background = pl.read_parquet(out / "background.parquet")
    assert background["pos"].is_between(20_050_001, 20_150_000).all()
    for name in "ab":
        run("ntvep", "score", f"{name}.vcf", "-r", REFERENCE, "-m", SMALL, "-o", f"{name}.vcf.gz",
            "--scores", "llr", "--window-tokens", "16", "--max-allele-bases", "20",
            "--background", out / "background.parquet", folder=tmp_path)  # fmt: skip
        lines = annotated(out / f"{name}.vcf.gz")
        assert lines == annotated(tmp_path / f"{name}.vcf.gz")
        assert sum("NTVEP_LLR_PERCENTILE=" in line for line in lines) > 5
    table = pl.read_parquet(out / "alleles.parquet")
    row = table.filter(
        pl.col("llr_percentile").is_not_null(),
        pl.col("ref").str.len_bytes() == 1,
        pl.col("alt").str.len_bytes() == 1,
    ).row(0, named=True)
    left, _, right = open_reference(REFERENCE).fetch(row["chrom"], row["pos"] - 2, row["pos"] + 1)
    alleles = (dna.encode(row[name].upper())[0] for name in ("ref", "alt"))
    (context,) = context_names(*(np.array([base]) for base in (left, *alleles, right)))
    others = background.filter(pl.col("context") == context)["llr"]
    below = (others < row["llr"]).sum() + (others == row["llr"]).sum() / 2
    assert row["llr_percentile"] == pytest.approx(100 * below / len(others))


BAD = [
    ("sample\tvcf\na\ta.vcf\na\ta.vcf\n../x\ta.vcf\ngone\tgone.vcf\nempty\tempty.vcf\n"
     "moved\tmoved.vcf\n", ["5 problems", "sample a occurs twice", "cannot be a file name",
      "no such file", "has no record", "wrong build?"]),
    ("sample\tfile\na\ta.vcf\n", ["has no column vcf; found sample, file"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), BAD, ids=["lines", "column"])
def test_a_bad_sheet_is_refused_before_any_job(text, said, tmp_path):
    few_records(tmp_path / "a.vcf", 30)
    lines = (tmp_path / "a.vcf").read_text().splitlines(keepends=True)
    (tmp_path / "empty.vcf").write_text("".join(line for line in lines if line[0] == "#"))
    fields = [line.split("\t") if line[0] != "#" else [line] for line in lines]
    moved = [f if len(f) == 1 else [f[0], str(int(f[1]) + 1), *f[2:]] for f in fields]
    (tmp_path / "moved.vcf").write_text("".join("\t".join(f) for f in moved))
    (tmp_path / "samples.tsv").write_text(text)
    given = ["samples=samples.tsv", f"reference={REFERENCE}", "model=demo-6mer", "results=out"]
    done = snakemake(tmp_path, "--config", *given, check=False)
    assert done.returncode != 0
    for words in said:
        assert words in done.stderr + done.stdout, words
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["samples=samples.tsv", "vcf=a.vcf", "model=demo"], "samples and vcf are both given"),
        (["samples=samples.tsv"], "neither models nor model is given"),
        (["samples=samples.tsv", "models={x: {model: demo, view: 1}}"], "did you mean views"),
        (["samples=samples.tsv", "models={logs: {model: demo}}"], "is a folder of results"),
        (["samples=samples.tsv", "models={x: {model: demo}}", "views=7"], "model x: --views is 7"),
    ],
)
def test_a_wrong_configuration_is_refused(settings, message, tmp_path):
    few_records(tmp_path / "a.vcf", 3)
    sheet(tmp_path, "a")
    given = [*settings, f"reference={REFERENCE}", "results=out"]
    done = snakemake(tmp_path, "--dry-run", "--config", *given, check=False)
    assert done.returncode != 0
    assert message in done.stderr + done.stdout


def test_each_model_has_its_own_keys_else_those_on_top(tmp_path):
    few_records(tmp_path / "a.vcf", 3)
    sheet(tmp_path, "a")
    config = CONFIG | {"views": 1, "jobs": {"partition": "big", "mem_mb": 9000}}
    config["models"] = {
        "one": {"model": "demo", "precision": "fp32", "threads": 2, "device": "cuda:0,cuda:1"},
        "two": {"model": "demo-6mer", "views": 2, "layer": 0, "scores": "l2"},
    }
    del config["labels"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--configfile", "config.yaml",
                     "--workflow-profile", "none")  # fmt: skip
    jobs = [part for part in done.stdout.split("\n\n") if "rule score:" in part]
    commands = {re.search("model=(one|two)", job)[1]: job for job in jobs}
    for option in ("--views 1 ", "--threads 2 ", "--scores llr ", "--precision fp32",
                   "--device cuda:0,cuda:1", "gpu=2", "mem_mb=9000", "slurm_partition=big",
                   "--cache out/one/known"):  # fmt: skip
        assert option in commands["one"], option
    for option in ("--views 2 ", "--layer 0 ", "--scores l2 ", "--threads 1 ", "gpu=0"):
        assert option in commands["two"], option


def test_containers_are_refused_and_not_ignored(tmp_path):
    few_records(tmp_path / "a.vcf", 3)
    given = ["vcf=a.vcf", f"reference={REFERENCE}", "model=demo-6mer"]
    done = snakemake(tmp_path, "--dry-run", "--sdm", "apptainer", "--config", *given, check=False)
    assert done.returncode != 0
    assert "the rules name no container" in done.stderr + done.stdout


# Python reads it at its start: scoring jobs take one of four GPUs, wait for each other, and compute
# on the CPU.
FOUR_GPUS = """
import sys

if "score" in sys.orig_argv[2:4]:
    import time
    from pathlib import Path

    import torch

    from ntvep.models import device, loaded

    def taken(names):
        number = device.claim(["a", "b", "c", "d"], Path("gpus"), range(4))
        Path("taken").mkdir(exist_ok=True)
        Path("taken", str(time.time_ns())).write_text(str(number))
        end = time.monotonic() + 300
        while len(list(Path("taken").iterdir())) < 4 and time.monotonic() < end:
            time.sleep(0.1)
        return (torch.device("cpu"),)

    loaded.resolve_devices = taken
"""


def test_jobs_side_by_side_take_a_gpu_each(tmp_path, monkeypatch):
    few_records(tmp_path / "a.vcf", 8)
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(FOUR_GPUS)
    paths = os.pathsep.join([str(tmp_path / "start"), str(ROOT)])
    monkeypatch.setattr(demo, "ENVIRONMENT", demo.ENVIRONMENT | {"PYTHONPATH": paths})
    given = [f"reference={REFERENCE}", f"model={SMALL}", "vcf=a.vcf", "chunks=4", "device=cuda",
             "window_tokens=16", "max_allele_bases=20", "scores=llr", "results=out"]  # fmt: skip
    snakemake(tmp_path, "--cores", "4", "--resources", "gpu=4", "--config", *given)
    taken = sorted(path.read_text() for path in (tmp_path / "taken").iterdir())
    assert taken == ["0", "1", "2", "3"]


def test_two_runs_with_other_results_in_one_folder(tmp_path):
    few_records(tmp_path / "a.vcf", 4)
    started = []
    for name in ("first", "second"):
        given = [f"reference={REFERENCE}", f"model={SMALL}", "vcf=a.vcf", f"results={name}",
                 "window_tokens=16", "max_allele_bases=20", "scores=llr", "device=cpu"]  # fmt: skip
        main = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "--cores", "1"]
        started.append(
            subprocess.Popen([*map(str, main), "--config", *given], cwd=tmp_path,
                             env=demo.ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        )  # fmt: skip
    for one in started:
        _, said = one.communicate()
        assert one.returncode == 0, said[-2000:]
    texts = [annotated(tmp_path / name / "scores.vcf.gz") for name in ("first", "second")]
    assert texts[0] == texts[1]
