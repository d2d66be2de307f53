"""Scores of whatever form are judged: an annotated VCF, a table that somebody made or filtered."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn.metrics import roc_auc_score

from ntvep.commands.evaluate import Choices, evaluate, judge
from ntvep.commands.score_files import read_any
from ntvep.errors import ConfigError, InputError
from tests.evaluate.synthetic import variants, write_labels
from tests.test_cli import MODEL, files, run, score  # noqa: F401
from tests.test_score_options import OTHER_MODEL

KEY = ["chrom", "pos", "ref", "alt"]


@pytest.mark.parametrize("name", ["out.vcf", "out.vcf.gz", "out.bcf"])
def test_an_annotated_vcf_is_read_as_its_table(run, files, name):  # noqa: F811
    assert score(run, "--table", "out.parquet", output=name).status == 0
    (found,) = read_any(files / name, {})
    (wanted,) = read_any(files / "out.parquet", {})
    assert found.made.fingerprint == wanted.made.fingerprint
    assert found.table.columns == wanted.table.columns
    # A VCF has six digits; a BCF float32.
    assert_frame_equal(found.table, wanted.table, rel_tol=5e-6)


def test_an_annotated_vcf_is_judged(run, files):  # noqa: F811
    assert score(run).status == 0
    write_labels(files / "labels.parquet", _labels())
    report = judge(
        [files / "out.vcf"], [files / "labels.parquet"], Choices(ref_mismatch_limit=1), command=""
    )
    assert [made.fingerprint for made in report.models.values()] != [None]
    (headline,) = (
        report.sets[0].analysis.tables["headline"].filter(pl.col("score") == "llr").to_dicts()
    )
    assert headline["positives"] + headline["negatives"] == 6


def test_runs_that_share_a_vcf_stand_side_by_side(run, files):  # noqa: F811
    """Each has its own scores, under the name that its user gave it; --tag reads some of them."""
    scores = ("--scores", "llr")
    assert score(run, *scores, "--tag", "A", output="a.vcf").status == 0
    asked = {"source": "a.vcf", "model": OTHER_MODEL, "output": "ab.vcf"}
    assert score(run, *scores, "--tag", "B", **asked).status == 0
    for model, name in ((MODEL, "a.parquet"), (OTHER_MODEL, "b.parquet")):
        assert score(run, *scores, output=name, model=model).status == 0
    labels = [write_labels(files / "labels.parquet", _labels())]

    def found(paths, **options):
        report = judge(paths, labels, Choices(ref_mismatch_limit=1, **options), command="")
        headline = report.sets[0].analysis.tables["surprising"]
        return list(report.models), dict(zip(headline["pos"], headline["value"], strict=True))

    names, first = found([files / "ab.vcf"])
    assert names == ["A", "B"]
    for tag, table in (("A", "a.parquet"), ("B", "b.parquet")):
        names, values = found([files / "ab.vcf"], tags=[tag])
        _, wanted = found([files / table])
        assert names == [tag]
        assert values == pytest.approx(wanted, rel=5e-6)
        assert (values == first) == (tag == "A")
    with pytest.raises(InputError, match="--tag is 'C'; expected the tags A, B"):
        found([files / "ab.vcf"], tags=["C"])


def _labels():
    """Of the alleles that can be scored."""
    labels = pl.read_csv("in.vcf", separator="\t", comment_prefix="##").filter(
        pl.col("#CHROM") != "chr3"
    )
    return labels.select(
        chrom="#CHROM", pos=pl.col("POS").cast(pl.Int64), ref="REF",
        alt=pl.col("ALT").str.split(",").list.first(),
        label=pl.Series([True, False] * 3 + [True]), effect=pl.lit(None, pl.Float64),
        group=pl.lit(None, pl.String), consequence=pl.lit(None, pl.String),
        stars=pl.lit(None, pl.UInt8), source=pl.lit("mine"),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["mine.tsv", "mine.csv", "mine.parquet"])
def test_a_table_of_unknown_provenance(tmp_path, name):
    """Filtered rows, a number of their own: scikit-learn's AUROC, and the report says unknown."""
    scores, labels = variants()
    mine = scores.filter(pl.col("status") == "ok").select(
        *KEY, badness=-pl.col("llr"), note=pl.lit("x")
    )
    path = tmp_path / name
    if name == "mine.parquet":
        mine.write_parquet(path)
    else:
        mine.write_csv(path, separator="\t" if name == "mine.tsv" else ",")
    write_labels(tmp_path / "labels.parquet", labels)
    report = judge(
        [path],
        [tmp_path / "labels.parquet"],
        choices=Choices(own_scores=["badness:higher"]),
        command="",
    )
    tables = report.sets[0].analysis.tables
    (row,) = tables["headline"].filter(pl.col("score") == "badness").to_dicts()
    joined = mine.join(labels, KEY)
    assert row["auroc"] == pytest.approx(
        roc_auc_score(joined["label"], joined["badness"]), abs=1e-12
    )
    assert row["auroc"] > 0.6
    assert report.models == {f"{name} (provenance unknown)": None}


def test_the_page_marks_unknown_provenance(tmp_path):
    scores, labels = variants()
    scores.select(*KEY, "llr").write_csv(tmp_path / "mine.tsv", separator="\t")
    write_labels(tmp_path / "labels.parquet", labels)
    given = [tmp_path / "mine.tsv"], [tmp_path / "labels.parquet"], tmp_path / "report"
    evaluate(*given, choices=Choices(own_scores=["llr:lower"]), command="")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "mine.tsv (provenance unknown)" in page


def test_a_table_that_says_nothing_of_itself_asks(tmp_path):
    scores, labels = variants()
    scores.select(*KEY, "llr", "cosine_distance").write_parquet(tmp_path / "mine.parquet")
    scores.select("pos", "llr").write_csv(tmp_path / "no_key.csv")
    given = [write_labels(tmp_path / "labels.parquet", labels)]
    with pytest.raises(ConfigError, match=r"add --score NAME:lower or NAME:higher.*llr, cosine_d"):
        judge([tmp_path / "mine.parquet"], given, command="")
    with pytest.raises(ConfigError, match="expected lower, which is more deleterious"):
        judge(
            [tmp_path / "mine.parquet"],
            given,
            choices=Choices(own_scores=["llr:higher"]),
            command="",
        )
    with pytest.raises(ConfigError, match=r"--score llr: expected NAME:lower or NAME:higher"):
        judge([tmp_path / "mine.parquet"], given, choices=Choices(own_scores=["llr"]), command="")
    with pytest.raises(InputError, match="has no column chrom, ref, alt; found pos, llr"):
        judge(
            [tmp_path / "no_key.csv"], given, choices=Choices(own_scores=["llr:lower"]), command=""
        )


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ('##INFO=<ID=CLNSIG,Number=.,Type=String,Description="x">\n', "ntvep labels clinvar "),
        ("", "ntvep labels table TABLE.tsv"),
    ],
)
def test_a_vcf_given_as_labels(tmp_path, line, advice):
    path = tmp_path / "clinvar.vcf"
    path.write_text(
        f"##fileformat=VCFv4.1\n{line}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        "1\t5\t.\tA\tC\t.\t.\t.\n"
    )
    scores, _ = variants()
    scores.select(*KEY, "llr").write_csv(tmp_path / "mine.tsv", separator="\t")
    with pytest.raises(InputError, match=f"this is a VCF.*{advice}"):
        judge(
            [tmp_path / "mine.tsv"], [path], choices=Choices(own_scores=["llr:lower"]), command=""
        )
