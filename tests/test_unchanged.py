"""What ntvep 0.1 wrote for Nucleotide Transformers, before it knew other families, stays.

``tests/unchanged`` holds the files, made by ``recipes/unchanged.py`` with the last commit of the
first chapter. Another release of torch may move the last digits.
"""

import gzip
import json
import shutil

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ntvep.commands.cache import info
from ntvep.commands.score import Options, score_file
from ntvep.commands.verify import verify
from ntvep.errors import VerificationError
from ntvep.io.tables import read_metadata
from ntvep.provenance import Provenance, fingerprint
from tests.conftest import ROOT

FILES = ROOT / "tests" / "unchanged"
REFERENCE = ROOT / "ntvep" / "demo" / "chr22_20012478_20215143.grch38.fa.gz"
MODELS = {
    "demo": "demo-6mer",
    "v1": str(ROOT / "tests" / "golden" / "v1"),
    "v2": str(ROOT / "tests" / "golden" / "v2"),
}


def scored(name, views, folder, **options):
    window = {} if (name, views) == ("v2", 1) else {"window_tokens": 40}
    given = Options(views=views, device="cpu", precision="fp32", **window, **options)
    output = folder / "out.vcf.gz"
    model = options.pop("model", MODELS[name])
    summary = score_file(
        FILES / "variants.vcf",
        REFERENCE,
        model,
        output,
        table=folder / "out.parquet",
        options=given,
        command="ntvep",
        quiet=True,
    )
    return output, folder / "out.parquet", summary


def records(path):
    with gzip.open(path, "rt") as lines:
        return [line.split("\t") for line in lines if not line.startswith("#")]


def info_keys(fields):
    return [entry.partition("=")[0] for entry in fields[7].split(";")]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("views", [1, 2, 12])
def test_scores_statuses_and_fingerprints_are_as_they_were(name, views, tmp_path):
    if (name, views) == ("v2", 1):
        views = 1
    vcf, table, _ = scored(name, views, tmp_path)
    before, after = pl.read_parquet(FILES / f"{name}_{views}.parquet"), pl.read_parquet(table)
    assert before.columns == after.columns
    text = pl.col("status").cast(pl.String)
    assert_frame_equal(
        before.with_columns(text), after.with_columns(text), abs_tol=1e-5, rel_tol=1e-5
    )
    old, new = (
        Provenance.from_json(read_metadata(path)[0], str(path))
        for path in (FILES / f"{name}_{views}.parquet", table)
    )
    assert old.fingerprint == new.fingerprint == fingerprint(old.model, old.settings)
    for theirs, ours in zip(records(FILES / f"{name}_{views}.vcf.gz"), records(vcf), strict=True):
        assert theirs[:7] == ours[:7]
        assert info_keys(theirs) == info_keys(ours)


def test_the_old_cache_answers_without_a_pass(tmp_path):
    shutil.copytree(FILES / "cache", tmp_path / "cache")
    _, table, summary = scored("demo", 2, tmp_path, cache=tmp_path / "cache")
    assert (summary.passes, summary.known) == (0, summary.ok)
    before = pl.read_parquet(FILES / "demo_2.parquet")
    assert_frame_equal(before.drop("status"), pl.read_parquet(table).drop("status"))
    assert "b7ab95d334f80c1c" in info(tmp_path / "cache")


def test_the_old_cache_answers_without_a_model(tmp_path):
    shutil.copytree(FILES / "cache", tmp_path / "cache")
    summary = score_file(
        FILES / "variants.vcf",
        REFERENCE,
        "none",
        tmp_path / "out.parquet",
        options=Options(cache=tmp_path / "cache"),
        command="ntvep",
        quiet=True,
    )
    assert (summary.passes, summary.known) == (0, summary.ok)
    assert_frame_equal(
        pl.read_parquet(FILES / "demo_2.parquet").drop("status"),
        pl.read_parquet(tmp_path / "out.parquet").drop("status"),
    )


@pytest.mark.parametrize("ending", ["parquet", "vcf.gz"])
def test_old_outputs_verify(ending):
    found = verify(FILES / f"v1_12.{ending}", REFERENCE, MODELS["v1"], sample=40)
    assert found.alleles >= 40
    assert found.largest < 1e-4


def test_a_changed_score_does_not_verify(tmp_path):
    with gzip.open(FILES / "demo_2.vcf.gz", "rt") as lines:
        text = lines.read()
    first = next(part for part in text.split(";") if part.startswith("NTVEP_LLR="))
    value = first.partition("=")[2].split("\t")[0].split(",")[0]
    changed = text.replace(f"NTVEP_LLR={value}", f"NTVEP_LLR={float(value) + 0.01:.6g}", 1)
    (tmp_path / "changed.vcf").write_text(changed)
    with pytest.raises(VerificationError, match="llr"):
        verify(tmp_path / "changed.vcf", REFERENCE, "demo-6mer", sample=1000)


def test_a_summary_says_as_much_as_before(tmp_path):
    _, table, _ = scored("v1", 1, tmp_path)
    before = json.loads(read_metadata(FILES / "v1_1.parquet")[1])
    after = json.loads(read_metadata(table)[1])
    assert before.keys() <= after.keys()
    for name in ("records", "alleles", "ok", "statuses", "passes", "fingerprint"):
        assert before[name] == after[name], name
