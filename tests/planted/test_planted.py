"""Planted truth: motifs in a random genome, a model that has learned them (recipes/planted.py).

The whole workflow must find them, must find nothing once labels are shuffled, and must refuse
labels whose REF and ALT are swapped.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.metrics import average_precision_score, roc_auc_score

from ntvep.evaluate.report import MARK
from tests.workflow.demo import run, snakemake

PLANTED = Path(__file__).parent
ALLELE = ["chrom", "pos", "ref", "alt"]


def write_tsv(path, labels):
    labels.write_csv(path, separator="\t")


@pytest.fixture(scope="module")
def labels():
    return pl.read_csv(PLANTED / "labels.tsv", separator="\t")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, labels):
    """Where ``snakemake`` has scored, labelled and evaluated, with true and shuffled labels."""
    folder = tmp_path_factory.mktemp("planted")
    # Its index must not be built in the repository.
    shutil.copy(PLANTED / "genome.fa", folder)
    write_tsv(folder / "true.tsv", labels)
    write_tsv(folder / "shuffled.tsv", labels.with_columns(pl.col("label").shuffle(seed=1)))
    configuration = {
        "vcf": str(PLANTED / "variants.vcf"),
        "reference": "genome.fa",
        "model": str(PLANTED / "model"),
        "scores": "llr,entropy",
        "device": "cpu",
        "results": "out",
        "labels": {
            name: {"source": "table", "files": f"{name}.tsv"} for name in ("true", "shuffled")
        },
    }
    (folder / "planted.yaml").write_text(yaml.safe_dump(configuration))
    snakemake(folder, "--configfile", "planted.yaml")
    return folder


def headline(folder, name):
    """Rows of the report's table for a set of labels, by score."""
    report = folder / "out" / "report"
    number = 1 + json.loads((report / MARK).read_text())["labels"].index(f"{name}.tsv")
    rows = pl.read_parquet(report / "data" / f"{number}-headline.parquet").to_dicts()
    return {row["score"]: row for row in rows}


def joined(folder, name):
    scores = pl.read_parquet(folder / "out" / "scores.parquet")
    labels = pl.read_csv(folder / f"{name}.tsv", separator="\t")
    rows = scores.join(labels, ALLELE)
    assert rows.height == labels.height == 300
    assert set(rows["status"]) == {"ok"}
    return rows


def test_what_was_planted_is_found(folder):
    llr = headline(folder, "true")["llr"]
    assert (llr["positives"], llr["negatives"], llr["without_score"]) == (150, 150, 0)
    assert llr["auroc"] >= 0.95
    assert llr["auroc_low"] >= 0.95
    rules = [row for row in headline(folder, "true").values() if row["kind"] == "baseline"]
    # No trivial rule knows where the motifs are.
    assert len(rules) >= 3
    assert all(row["auroc_low"] < 0.6 for row in rules)


@pytest.mark.parametrize("name", ["true", "shuffled"])
def test_the_tables_numbers_are_scikit_learns(folder, name):
    rows, found = joined(folder, name), headline(folder, name)
    for score in ("llr", "entropy"):
        row = found[score]
        assert row["auroc"] == pytest.approx(roc_auc_score(rows["label"], -rows[score]), abs=1e-12)
        expected = average_precision_score(rows["label"], -rows[score])
        assert row["auprc"] == pytest.approx(expected, abs=1e-12)


def test_shuffled_labels_are_a_half_within_the_interval(folder):
    llr = headline(folder, "shuffled")["llr"]
    assert llr["auroc_low"] < 0.5 < llr["auroc_high"]
    assert 0.02 < llr["auroc_high"] - llr["auroc_low"] < 0.25


def test_swapped_alleles_are_refused(folder, labels):
    swapped = pl.int_range(pl.len()) % 10 == 3
    labels = labels.with_columns(
        ref=pl.when(swapped).then("alt").otherwise("ref"),
        alt=pl.when(swapped).then("ref").otherwise("alt"),
    )
    write_tsv(folder / "swapped.tsv", labels)
    run("ntvep", "labels", "table", "swapped.tsv", "-o", "swapped.parquet", folder=folder)
    asked = ["out/scores.parquet", "-l", "swapped.parquet", "-r", "genome.fa", "-o", "swapped"]
    done = run("ntvep", "evaluate", *asked, folder=folder, check=False)
    assert done.returncode == 1
    assert "swapped.tsv: wrong assembly? REF of 30 of 300 labels" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "swapped").exists()


def test_variants_are_where_they_say(labels):
    """Every REF is the genome's; both classes are all over it, and in every phase of the grid."""
    genome = "".join((PLANTED / "genome.fa").read_text().splitlines()[1:])
    assert all(genome[pos - 1] == ref != alt for pos, ref, alt in labels[ALLELE[1:]].iter_rows())
    for (_,), rows in labels.group_by("label"):
        assert rows["pos"].max() - rows["pos"].min() > 0.9 * len(genome)
        assert set(np.unique(rows["pos"] % 6)) == set(range(6))
