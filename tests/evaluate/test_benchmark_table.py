"""One command: a benchmark's file and scores of any model -> its table, ours beside it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score
from typer.testing import CliRunner

from ntvep.cli import app
from ntvep.commands.benchmark_table import benchmark_table
from ntvep.errors import ConfigError

KEY = ["chrom", "pos", "ref", "alt"]


def alleles(n):
    """n SNVs of four chromosomes, and a score of somebody's."""
    rng = np.random.default_rng(2)
    return pl.DataFrame(
        {
            "chrom": [str(1 + i // 40 % 4) for i in range(n)],
            "pos": [1_000_000 * (1 + i // 4) + i for i in range(n)],
            "ref": "A",
            "alt": "C",
            "label": [i % 4 == 0 for i in range(n)],
        }
    ).with_columns(mine=pl.col("label").cast(pl.Float64) - pl.Series(rng.normal(size=n)))


def test_traitgym(tmp_path):
    """Their metric, over their match groups, with its standard error; a subset a consequence."""
    rows = alleles(320).with_columns(
        match_group=pl.format("g{}", pl.int_range(pl.len()) // 4),
        consequence=pl.when(pl.int_range(pl.len()) // 4 % 2 == 0)
        .then(pl.lit("dELS"))
        .otherwise(pl.lit("PLS")),
    )
    rows.drop("mine").write_parquet(tmp_path / "test.parquet")
    rows.select(*KEY, "mine").write_csv(tmp_path / "mine.tsv", separator="\t")
    table = benchmark_table(
        "traitgym", tmp_path / "test.parquet", [tmp_path / "mine.tsv"], tmp_path / "out.tsv",
        command="", own_scores=["mine:higher"],
    )  # fmt: skip
    ours = table.filter(pl.col("model") == "mine")
    assert ours["metric"][0] == "AUPRC_by_chrom_weighted_average"
    assert ours["published"].to_list() == sorted(ours["published"], reverse=True)
    assert set(ours["subset"]) == {"all", "dELS", "PLS"}

    def value(metric, subset="all"):
        found = ours.filter(pl.col("metric") == metric, pl.col("subset") == subset)
        return found.row(0, named=True)

    by_chrom = [
        average_precision_score(part["label"], part["mine"]) for _, part in rows.group_by("chrom")
    ]
    row = value("AUPRC_by_chrom_weighted_average")
    assert row["score"] == pytest.approx(np.mean(by_chrom))
    assert 0 < row["se"] < 0.2
    assert ours.filter(pl.col("metric") == row["metric"], pl.col("subset") == "all").height == 1
    part = rows.filter(pl.col("consequence") == "PLS")
    assert value("AUROC", "PLS")["score"] == pytest.approx(
        roc_auc_score(part["label"], part["mine"])
    )
    groups = rows.group_by("match_group").agg(
        won=(
            pl.col("mine").filter("label").first() > pl.col("mine").filter(~pl.col("label"))
        ).mean()
    )
    assert value("pairwise_accuracy")["score"] == pytest.approx(groups["won"].mean())
    assert value("pairwise_accuracy")["published"] is False
    written = (tmp_path / "out.tsv").read_text().splitlines()
    assert written[0].split("\t")[:6] == ["benchmark", "subset", "model", "metric", "score", "se"]
    assert len(written) == table.height + 1


def test_assays_are_averaged(tmp_path):
    """MaveDB: Spearman's correlation in each assay, and their mean."""
    contig = {"1": "NC_000001.11", "2": "NC_000002.12"}
    rows = (
        alleles(160).filter(pl.col("chrom").is_in(["1", "2"])).with_columns(effect=pl.col("mine"))
    )
    rng = np.random.default_rng(4)
    rows = rows.with_columns(pl.col("effect") + pl.Series(rng.normal(size=rows.height)))
    rows.select(
        accession=pl.format("urn:mavedb:{}#{}", "chrom", "pos"),
        hgvs_nt=pl.format("{}:g.{}A>C", pl.col("chrom").replace(contig), "pos"),
        score="effect",
    ).write_csv(tmp_path / "scores.csv")
    rows.select(*KEY, "mine").write_csv(tmp_path / "mine.tsv", separator="\t")
    table = benchmark_table(
        "mavedb", tmp_path / "scores.csv", [tmp_path / "mine.tsv"], tmp_path / "out.csv",
        command="", own_scores=["mine:higher"],
    )  # fmt: skip
    found = table.filter(pl.col("model") == "mine", pl.col("metric") == "Spearman")
    each = [
        stats.spearmanr(part["mine"], part["effect"]).statistic
        for _, part in rows.group_by("chrom", maintain_order=True)
    ]
    assert found["subset"][0] == "mean of 2 assays"
    assert found["score"].to_list() == pytest.approx([np.mean(each), *each])


def test_options_and_names(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"--output x.parquet: expected a name that ends in"):
        benchmark_table("brca1", tmp_path, [], Path("x.parquet"), command="")
    seen = {}
    monkeypatch.setattr(
        "ntvep.commands.benchmark_table.benchmark_table",
        lambda *given, **options: seen.update(options, given=given),
    )
    typed = (
        "benchmark brca1 in.csv a.parquet b.vcf -o out.tsv -r ref.fa --subset s.parquet "
        "--score mine:lower --tag A --absolute --force"
    )
    assert CliRunner().invoke(app, typed.split()).exit_code == 0
    assert seen.pop("command").startswith("ntvep")
    assert seen == {
        "given": ("brca1", Path("in.csv"), [Path("a.parquet"), Path("b.vcf")], Path("out.tsv")),
        "reference": Path("ref.fa"),
        "subset": [Path("s.parquet")],
        "own_scores": ["mine:lower"],
        "tags": ["A"],
        "absolute": True,
        "force": True,
    }
