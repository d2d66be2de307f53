"""The workflow gives what one run of ``ntvep score`` gives, and refuses a wrong configuration."""

import shutil

import numpy as np
import polars as pl
import pysam
import pytest
import yaml
from polars.testing import assert_frame_equal

from ntvep import dna
from ntvep.io.fasta import open_reference
from tests.conftest import ROOT
from tests.workflow.demo import REFERENCE, annotated, few_records, run, snakemake

WINDOW = ["--window-tokens", "16", "--max-allele-bases", "20"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with 60 records of the demo, odd ones among them, with INFO and no order of size."""
    folder = tmp_path_factory.mktemp("workflow")
    few_records(folder / "small.vcf", 30)
    return folder


def test_workflow_equals_one_run(small):
    # With a space in every path, and the model's folder, whose files count.
    shutil.copytree(ROOT / "tests" / "golden" / "v2", small / "a model")
    (small / "my").write_text("precious")
    settings = [
        "vcf=small.vcf",
        f"reference={REFERENCE}",
        "model=a model",
        "results=my out",
        "chunks=3",
        "window_tokens=16",
        "max_allele_bases=20",
        "device=cpu",
        "cache=known",
    ]
    snakemake(small, "--config", *settings)
    alone = [
        "small.vcf",
        "-r",
        REFERENCE,
        "-m",
        "a model",
        "-o",
        "alone.vcf.gz",
        "--table",
        "alone.parquet",
    ]
    run("ntvep", "score", *alone, *WINDOW, folder=small)
    assert annotated(small / "my out" / "scores.vcf.gz") == annotated(small / "alone.vcf.gz")
    assert (small / "my out" / "scores.vcf.gz.tbi").exists()
    assert list((small / "known").rglob("*.parquet"))
    tables = [pl.read_parquet(small / name) for name in ("my out/scores.parquet", "alone.parquet")]
    assert_frame_equal(*tables)
    assert len(list((small / "my out" / "benchmarks").rglob("*.tsv"))) == 6
    # A setting of the demo must not leak into a run of other variants.
    assert not (small / "my out" / "compare.txt").exists()
    # Nothing is left to do; a chunk that is gone is scored again, and only that one.
    assert "Nothing to be done" in snakemake(small, "--config", *settings).stderr
    (small / "my out" / "chunks" / "00001.parquet").unlink()
    (small / "my out" / "scores.vcf.gz").unlink()
    again = snakemake(small, "--config", *settings).stderr
    assert "rule score" in again
    assert "00000" not in again.partition("rule gather")[0].partition("rule score")[2]
    # Other weights under the same name: all is scored again.
    weights = small / "a model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))
    dry = snakemake(small, "--dry-run", "--config", *settings).stdout
    assert dry.count("rule score:") == 3
    assert (small / "my").read_text() == "precious"


def test_settings_reach_the_command(small):
    given = ["vcf=small.vcf", f"reference={REFERENCE}", "model=demo-6mer", "results=dry"]
    settings = ["layer=0", "deterministic=True", "max_n_fraction=0", "batch_size=8"]
    command = snakemake(
        small, "--dry-run", "--printshellcmds", "--config", *given, *settings
    ).stdout
    (score,) = [line for line in command.splitlines() if "ntvep score" in line]
    for option in ("--layer 0 ", "--deterministic ", "--max-n-fraction 0 ", "--batch-size 8 "):
        assert option in score
    dry = ("--dry-run", "--printshellcmds", "--config", *given)
    lines = snakemake(small, *dry, *settings).stdout.splitlines()
    (score,) = [line for line in lines if "ntvep score" in line]
    for option in ("--layer 0 ", "--deterministic ", "--max-n-fraction 0 ", "--batch-size 8 "):
        assert option in score
    usual = snakemake(small, *dry).stdout
    assert "ntvep score" in usual
    assert "--deterministic" not in usual


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("chunk=3", "configuration: chunk: no such key; did you mean chunks. config/README.md"),
        ("views=3", "model demo-6mer: --views is 3; expected 1, 2 or all (12)"),
        ("window_tokens=99999", "this model takes 1 to 512"),
        ("scores=llr,nonsense", "unknown score 'nonsense'"),
        ("chunks=0", "chunks: 0 is less than the minimum of 1"),
        ("scores=l1,l2", "has no llr, which background and compare need"),
    ],
)
def test_a_wrong_configuration_is_refused(small, setting, message):
    given = ["vcf=small.vcf", f"reference={REFERENCE}", "model=demo-6mer", "results=wrong", setting]
    given.append("background={}")
    done = snakemake(small, "--dry-run", "--config", *given, check=False)
    assert done.returncode != 0
    assert message in done.stderr + done.stdout
    assert not (small / "wrong").exists()
    # One sentence, not the whole schema.
    assert "additionalProperties" not in done.stderr + done.stdout


def test_a_reference_without_a_vcf_is_not_the_demos(tmp_path):
    """The demo's VCF is of GRCh38; the user's genome may be any."""
    given = ["reference=my.fa", "model=demo"]
    done = snakemake(tmp_path, "--dry-run", "--config", *given, check=False)
    assert done.returncode != 0
    assert "reference is given and vcf is not" in done.stderr + done.stdout


def test_our_configurations_are_whole(tmp_path):
    """Dry run of what ``make demo`` runs; every key is in the schema and in config/README.md."""
    shutil.copytree(ROOT / ".test", tmp_path / ".test")
    (tmp_path / "ntvep").symlink_to(ROOT / "ntvep")
    done = snakemake(tmp_path, "--dry-run", "--configfile", ".test/config/config.yaml")
    assert "rule evaluate" in done.stdout + done.stderr
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    documented = (ROOT / "config" / "README.md").read_text()
    for key in schema["properties"]:
        assert f"| `{key}` |" in documented, key
    for path in [*(ROOT / "config").glob("*.yaml"), *(ROOT / ".test/config").glob("*.yaml")]:
        assert set(yaml.safe_load(path.read_text())) <= set(schema["properties"]), path


def test_a_background_gives_percentiles(small):
    config = {
        "vcf": "small.vcf", "reference": str(REFERENCE), "model": "demo-6mer",
        "results": "compared",
        "window_tokens": 16, "max_allele_bases": 20, "views": 1, "scores": "llr", "device": "cpu",
        "background": {
            "per_context": 20, "indel_bases": 1, "seed": 3, "region": ["chr22:20050001-20150000"],
        },
    }  # fmt: skip
    (small / "background.yaml").write_text(yaml.safe_dump(config))
    snakemake(small, "--configfile", "background.yaml")
    background = pl.read_parquet(small / "compared" / "background.parquet")
    assert background["pos"].is_between(20050001, 20150000).all()
    found = pl.read_parquet(small / "compared" / "scores.parquet")
    with pysam.VariantFile(str(small / "compared" / "scores.vcf.gz")) as file:
        # A record without ALT has a row in the table, too.
        records = [(record.info, len(record.alts or ".")) for record in file]
    for name in ("llr_percentile", "llr_phred", "llr_calibrated"):
        key = f"NTVEP_{name.upper()}"
        written = [value for info, alts in records for value in info.get(key, [None] * alts)]
        expected = found[name].cast(pl.Float64).to_numpy()
        np.testing.assert_allclose(np.array(written, float), expected, rtol=1e-5)
    bases = open_reference(REFERENCE)
    checked = 0
    snvs = found.filter(
        pl.col("status") == "ok", pl.col("ref").str.len_bytes() == 1,
        pl.col("alt").str.len_bytes() == 1,
    )  # fmt: skip
    for chrom, pos, alt, llr, percentile in snvs.select(
        "chrom", "pos", "alt", "llr", "llr_percentile"
    ).iter_rows():
        around, alt = dna.decode(bases.fetch(chrom, pos - 2, pos + 1)), alt.upper()
        if around[1] in "AG":
            around, alt = (t.translate(str.maketrans("ACGT", "TGCA"))[::-1] for t in (around, alt))
        context = f"{around[0]}[{around[1]}>{alt}]{around[2]}"
        others = background.filter(pl.col("context") == context)["llr"].to_numpy()
        if percentile is not None:
            assert percentile == pytest.approx(
                100 * ((others < llr).sum() + (others == llr).sum() / 2) / len(others)
            )
            checked += 1
    assert checked > 10
    indels = found.filter(pl.col("ref").str.len_bytes() != pl.col("alt").str.len_bytes())
    assert indels["llr_phred"].count() > 0
