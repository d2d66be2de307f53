"""The workflow fetches resources, and brings labels into one form, as its configuration says."""

import gzip
import hashlib

import polars as pl
import pytest
import yaml
from snakemake.exceptions import WorkflowError
from snakemake.utils import validate

from ntvep.io.tables import read_labels
from tests.conftest import ROOT
from tests.evaluate.file_server import Site, serving
from tests.workflow.demo import DEMO, REFERENCE, snakemake

HEADER = "##fileformat=VCFv4.1\n##fileDate=2026-01-04\n"
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
CLINVAR = HEADER + COLUMNS + "".join(
    f"22\t{20012478 + n}\t.\tA\tC\t.\t.\tCLNSIG={'Pathogenic' if n % 3 == 0 else 'Benign'};"
    f"CLNREVSTAT={'criteria_provided,_single_submitter' if n < 9 else 'no_assertion_provided'};"
    "MC=SO:0001583|missense_variant\n"
    for n in range(12)
)  # fmt: skip
BASE = {"vcf": str(DEMO), "reference": str(REFERENCE), "model": "demo-6mer", "results": "out"}


def configured(folder, **keys):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(BASE | keys))
    return ["--configfile", path]


def test_resources_and_labels(tmp_path):
    packed = gzip.compress(CLINVAR.encode())
    table = "chrom\tpos\tref\talt\tclass\tscore x\n22\t20012480\tA\tC\tDM?\t1\n22\t9\tA\tC\tR\t2\n"
    (tmp_path / "panel.tsv").write_text(table)
    (tmp_path / "trained.tsv").write_text("chrom\tpos\tref\talt\nchr22\t9\tA\tC\n")
    with serving(Site({"clinvar.vcf.gz": packed}, {"clinvar.vcf.gz": '"1"'})) as site:
        arguments = configured(
            tmp_path,
            resources={
                "resources/clinvar.vcf.gz": {
                    "url": site.url("clinvar.vcf.gz"),
                    "md5": hashlib.md5(packed).hexdigest(),
                    "release": "weekly",
                }
            },
            labels={
                "clinvar": {
                    "source": "clinvar",
                    "files": "resources/clinvar.vcf.gz",
                    "min_stars": 1,
                    "consequence": ["missense_variant", "stop_gained"],
                    "match": {"negatives": 2, "seed": 5},
                },
                "panel": {
                    "source": "table",
                    "files": "panel.tsv",
                    "label": "class",
                    "positive": ["DM", "DM?"],
                    "negative": ["R"],
                    "feature": ["score x"],
                    "exclude": ["trained.tsv"],
                },
            },
        )
        targets = ["out/labels/clinvar.matched.parquet", "out/labels/panel.parquet"]
        snakemake(tmp_path, *arguments, "--", "resources", *targets, network=True)
    assert (tmp_path / "resources" / "clinvar.vcf.gz").read_bytes() == packed
    assert '"release": "weekly"' in (tmp_path / "resources/clinvar.vcf.gz.fetched.json").read_text()
    assert read_labels(tmp_path / "out/labels/clinvar.parquet").height == 9
    matched = read_labels(tmp_path / targets[0])
    assert matched.select(pl.col("label").sum(), pl.len()).row(0) == (3, 9)
    assert set(matched["source"]) == {"ClinVar 2026-01-04"}
    panel = read_labels(tmp_path / targets[1])
    assert panel.select("label", "score x").rows() == [(True, 1.0)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"a": {"source": "clinvar"}}, "'files' is a required property"),
        ({"a": {"source": "hgmd", "files": "x"}}, r"'hgmd' is not one of \['clinvar'"),
        ({"a": {"source": "table", "files": "x", "min_stars": 1}}, "'min_stars' was unexpected"),
        ({"a": {"source": "clinvar", "files": "x", "min_stars": 7}}, "7 is greater than"),
        ({"a b": {"source": "clinvar", "files": "x"}}, "'a b' does not match"),
    ],
    ids=["files", "source", "option", "value", "name"],
)
def test_wrong_labels_are_refused(labels, message):
    with pytest.raises(WorkflowError, match=message):
        validate(BASE | {"labels": labels}, str(ROOT / "workflow/schemas/config.schema.yaml"))


def test_labels_lead_to_a_report_and_the_resources_file_is_valid(tmp_path):
    (tmp_path / "x.vcf").write_text(CLINVAR)
    arguments = configured(tmp_path, labels={"a": {"source": "clinvar", "files": "x.vcf"}})
    resources = ROOT / "config" / "resources.yaml"
    done = snakemake(tmp_path, "--dry-run", *arguments, resources, "--", "resources", "all")
    said = done.stdout + done.stderr
    assert "rule evaluate" in said
    assert "out/labels/a.parquet" in said
    for name in yaml.safe_load(resources.read_text())["resources"]:
        assert name in said
