"""A family that only the tests know goes through the workflow as it is: one of each objective."""

import os

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from ntvep.commands.options import Options
from ntvep.commands.score import score_file
from ntvep.models import registry
from tests import toy_families
from tests.conftest import ROOT
from tests.workflow import demo

# Python reads it at its start, in every process that the workflow starts.
AT_START = """
import sys

if "ntvep" in sys.argv[0] or "snakemake" in " ".join(sys.orig_argv):
    from ntvep.models import registry
    from tests import toy_families

    registry.FAMILIES = (*toy_families.TOYS.values(), *registry.FAMILIES)
"""


@pytest.mark.parametrize("name", ["toy_masked", "toy_causal", "toy_rates"])
def test_a_toy_goes_through_the_workflow(name, tmp_path, monkeypatch):
    folder = toy_families.write(name, tmp_path / "model")
    demo.few_records(tmp_path / "in.vcf", 4)
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(AT_START)
    paths = os.pathsep.join([str(tmp_path / "start"), str(ROOT)])
    monkeypatch.setattr(demo, "ENVIRONMENT", demo.ENVIRONMENT | {"PYTHONPATH": paths})
    settings = {
        "vcf": "in.vcf", "reference": str(demo.REFERENCE), "model": str(folder), "results": "out",
        "chunks": 2, "device": "cpu", "max_allele_bases": 8,
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    demo.snakemake(tmp_path, "--configfile", "config.yaml")
    monkeypatch.setattr(registry, "FAMILIES", (*toy_families.TOYS.values(), *registry.FAMILIES))
    score_file(
        tmp_path / "in.vcf", demo.REFERENCE, str(folder), tmp_path / "alone.parquet",
        options=Options(device="cpu", max_allele_bases=8), command="ntvep", quiet=True,
    )  # fmt: skip
    found = pl.read_parquet(tmp_path / "out" / "scores.parquet")
    alone = pl.read_parquet(tmp_path / "alone.parquet")
    # Chunks make other batches: the last digits of float32 may differ.
    assert_frame_equal(found.drop("status"), alone.drop("status"), abs_tol=1e-6)
    assert found["llr"].is_not_null().any()
    checked = pl.read_parquet(tmp_path / "out" / "alleles.parquet")
    assert checked["status"].to_list() == found["status"].to_list()
