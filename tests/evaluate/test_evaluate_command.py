"""``ntvep evaluate`` from files to files: its numbers, its errors, and what it leaves behind."""

import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from typer.testing import CliRunner

from ntvep.cli import app
from ntvep.commands.evaluate import Choices, evaluate, judge
from ntvep.errors import ConfigError, InputError, OutputError
from ntvep.evaluate import analysis
from ntvep.evaluate.analysis import SIGN, baselines_of
from ntvep.evaluate.report import MARK
from ntvep.io.staging import staged_folder
from ntvep.objectives import SCORE_NAMES
from tests.evaluate.synthetic import provenance, variants, write_labels, write_scores


def files(folder, scores=None, labels=None):
    """Synthetic variants, or these, as files: of scores, of labels."""
    default_scores, default_labels = variants()
    return (
        [write_scores(folder / "scores.parquet", default_scores if scores is None else scores)],
        [write_labels(folder / "labels.parquet", default_labels if labels is None else labels)],
    )


def tables(tmp_path, scores=None, labels=None, **options):
    """Tables of the report, without the report."""
    (found,) = judge(*files(tmp_path, scores, labels), Choices(**options), command="").sets
    return {**found.analysis.tables, "outcomes": found.outcomes, "notes": found.notes}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder that the command line wrote."""
    folder = tmp_path_factory.mktemp("report")
    files(folder)
    command = [
        "evaluate",
        "scores.parquet",
        "--labels",
        "labels.parquet",
        "--output",
        "report",
        "-q",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "from ntvep.cli import main; main()", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ClinVar 2026-11-01: llr, AUROC 0." in done.stdout
    assert "the consequence alone 0." in done.stdout
    return folder / "report"


def table(report, name):
    return pl.read_parquet(report / "data" / f"{name}.parquet")


def test_metrics_are_scikit_learns_on_the_joined_rows(report):
    scores, labels = variants()
    joined = scores.join(labels, ["chrom", "pos", "ref", "alt"]).filter(pl.col("status") == "ok")
    headline = {row["score"]: row for row in table(report, "headline").to_dicts()}
    for name, sign in (("llr", -1), ("cosine_distance", 1), ("AF", -1)):
        rows = joined if name != "AF" else scores.join(labels, ["chrom", "pos", "ref", "alt"])
        row, score = headline[name], sign * rows[name]
        assert row["auroc"] == pytest.approx(roc_auc_score(rows["label"], score), abs=1e-12)
        expected = average_precision_score(rows["label"], score)
        assert row["auprc"] == pytest.approx(expected, abs=1e-12)
        assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
        assert row["positives"] == rows["label"].sum()
        assert row["prevalence"] == pytest.approx(rows["label"].mean())
    assert headline["llr"]["without_score"] == 600 - joined.height
    assert headline["llr"]["deleterious"] == "lower"


def test_strata_are_subsets(report):
    scores, labels = variants()
    joined = scores.join(labels, ["chrom", "pos", "ref", "alt"]).filter(pl.col("status") == "ok")
    rows = table(report, "strata").filter(pl.col("score") == "llr")
    for family, stratum, column, value in (
        ("consequence", "missense_variant", "consequence", "missense_variant"),
        ("chromosome", "chr22", "chrom", "chr22"),
        ("review stars", "2", "stars", 2),
        ("variant type", "deletion", "ref", "CAG"),
    ):
        part = joined.filter(pl.col(column) == value)
        row = rows.filter(pl.col("family") == family, pl.col("stratum") == stratum).row(
            0, named=True
        )
        assert row["auroc"] == pytest.approx(roc_auc_score(part["label"], -part["llr"]), abs=1e-12)
        whole = labels.filter(pl.col(column) == value) if column != "chrom" else part
        if column != "chrom":
            assert row["without_score"] == whole.height - part.height
    order = rows.filter(pl.col("family") == "consequence")["stratum"].to_list()
    assert order == ["stop_gained", "missense_variant", "synonymous_variant", "intron_variant"]


def test_too_few_is_no_number(tmp_path):
    scores, labels = variants()
    rare = (labels["consequence"] == "stop_gained") & ~labels["label"]
    labels = labels.filter(~rare | (rare.cum_sum() <= 9))
    rows = tables(tmp_path, scores, labels)["strata"]
    row = rows.filter(pl.col("score") == "llr", pl.col("stratum") == "stop_gained").row(
        0, named=True
    )
    assert row["negatives"] <= 9
    assert row["auroc"] is None
    assert row["positive_clusters"] > row["negative_clusters"] > 1
    assert row["auroc_low"] is None
    assert row["note"] == "too few"


def test_shuffled_labels_are_a_half_within_the_interval(tmp_path):
    scores, labels = variants()
    labels = labels.with_columns(label=pl.col("label").shuffle(seed=3), effect=None)
    labels = labels.with_columns(pl.col("effect").cast(pl.Float64))
    row = tables(tmp_path, scores, labels)["headline"].row(0, named=True)
    assert row["auroc_low"] < 0.5 < row["auroc_high"]


def test_one_cluster_gives_no_interval(tmp_path):
    """A slice shorter than a block, or one gene: nothing says how much clusters differ."""
    scores, labels = variants()
    labels = labels.with_columns(group=pl.lit("the only gene"))
    found = tables(tmp_path, scores, labels)
    row = found["headline"].row(0, named=True)
    assert 0.5 < row["auroc"] < 1
    assert row["auroc_low"] is row["auprc_high"] is None
    assert row["positive_clusters"] == row["negative_clusters"] == 1
    assert row["note"] == (
        "1.0 effective clusters: no interval; 100 % of positives lie in the only gene; "
        "100 % of negatives lie in the only gene"
    )
    assert found["calibration"]["low"].null_count() == found["calibration"].height
    assert found["curves"]["high"].null_count() == found["curves"].height
    assert set(found["differences"]["auroc_verdict"]) == {"no interval"}
    assert "reliability" not in found
    (tmp_path / "written").mkdir()
    given = files(tmp_path / "written", scores, labels)
    (line,) = evaluate(*given, tmp_path / "report", command="")
    assert "(no interval;" in line
    assert "<small>no interval</small>" in (tmp_path / "report" / "index.html").read_text()


def test_orientation_reaches_every_table(report):
    """Each table that turns a score says so, and turns it back where it shows its values."""
    curve = table(report, "calibration").filter(pl.col("score") == "llr").drop_nulls("ratio")
    lowest, highest = curve.sort("value")["ratio"].gather([0, -1])
    assert lowest > 2 > 0.5 > highest
    effects = table(report, "effects").filter(pl.col("score") == "llr")
    assert effects.filter(pl.col("effect").str.starts_with("as signed"))["spearman"].item() < -0.3
    severity = {r["score"]: r["spearman"] for r in table(report, "severity").to_dicts()}
    assert severity["llr"] > 0.1
    surprising = table(report, "surprising")
    # SNVs and indels are ranked apart, and so are their percentiles.
    scores, labels = variants()
    ok = scores.join(labels, ["chrom", "pos", "ref", "alt"]).filter(pl.col("status") == "ok")
    for kind, whole in (
        ("substitution", ok.filter(pl.col("ref") == "A")),
        ("indel", ok.filter(pl.col("ref") != "A")),
    ):
        part = surprising.filter(pl.col("kind") == kind)
        for label, lowest_first in ((False, True), (True, False)):
            rows = part.filter(pl.col("label") == label)
            expected = whole.filter(pl.col("label") == label)["llr"].sort(
                descending=not lowest_first
            )
            assert rows["value"].to_list() == expected[:10].to_list()
            assert rows["rank"].to_list() == list(range(1, 11))
        row = part.row(0, named=True)
        above = (whole["llr"] > row["value"]).sum() + 1
        assert row["percentile"] == pytest.approx(100 * above / whole.height)


def test_every_label_row_has_an_outcome(tmp_path):
    scores, labels = variants()
    extra = labels.head(5).with_columns(label=~pl.col("label"))
    found = tables(tmp_path, scores.slice(0, 590), pl.concat([labels, extra]))
    outcomes = dict(found["outcomes"].select("outcome", "labels").rows())
    assert outcomes == {"matched": 585, "not_in_scores": 10, "conflict": 10}
    statuses = found["statuses"]
    assert statuses["variants"].sum() == 585
    assert set(statuses["status"]) == {"ok", "too_many_n"}


def test_files(report):
    assert {path.name for path in report.iterdir()} >= {"index.html", "figures", "data"}
    names = {path.stem for path in (report / "data").iterdir()}
    assert names >= {"headline", "curves", "strata", "differences", "calibration", "published"}
    for name in names:
        tsv = (report / "data" / f"{name}.tsv").read_text().splitlines()
        assert len(tsv) == table(report, name).height + 1
    for name in ("curves", "strata", "distributions", "severity", "leaks", "calibration"):
        assert (report / "figures" / f"{name}.svg").read_text().startswith("<svg")
        assert (report / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_the_same_numbers_twice(report, tmp_path):
    for name, again in tables(tmp_path).items():
        if name != "notes":
            assert table(report, name).equals(again), name


def test_two_models_are_compared_on_what_both_have(tmp_path):
    scores, labels = variants()
    worse = scores.with_columns(pl.col("llr") * 0.0 + pl.col("pos").cast(pl.Float64).sin()).slice(
        50
    )
    files = [
        write_scores(tmp_path / "a.parquet", scores, provenance("NT-a", "a")),
        write_scores(tmp_path / "b.parquet", worse, provenance("NT-b", "c")),
    ]
    label_files = [write_labels(tmp_path / "l.parquet", labels)]
    found = judge(files, label_files, command="").sets[0].analysis.tables
    both = scores.slice(50).join(worse.select("chrom", "pos", worse="llr"), ["chrom", "pos"])
    both = both.join(labels, ["chrom", "pos"])
    both = both.filter(pl.col("status") == "ok")
    a, b = (roc_auc_score(both["label"], -both[c]) for c in ("llr", "worse"))
    rows = {(r["a"], r["b"]): r for r in found["differences"].to_dicts()}
    row = rows["llr · NT-a", "llr · NT-b"]
    assert row["auroc_difference"] == pytest.approx(a - b, abs=1e-12)
    assert row["auroc_difference_low"] > 0
    assert row["variants"] == both.height
    assert ("cosine_distance · NT-a", "cosine_distance · NT-b") in rows
    statuses = found["statuses"].filter(pl.col("status") == "not in these scores")
    assert statuses.select("model", "variants").group_by("model").sum().rows() == [("NT-b", 50)]
    headline = {r["score"]: r for r in found["headline"].to_dicts()}
    assert headline["consequence rule"]["positives"] == labels["label"].sum()


def test_parts_of_one_table_are_one_model(tmp_path):
    scores, labels = variants()
    files = [
        write_scores(tmp_path / "1.parquet", scores.slice(0, 300).drop("cosine_distance")),
        write_scores(tmp_path / "2.parquet", scores.slice(300)),
    ]
    found = judge(files, [write_labels(tmp_path / "l.parquet", labels)], command="")
    headline = found.sets[0].analysis.tables["headline"]
    whole = (headline["positives"] + headline["negatives"]).to_list()
    ok = scores["status"] == "ok"
    assert headline["score"][:2].to_list() == ["llr", "cosine_distance"]
    assert whole[:2] == [ok.sum(), ok[300:].sum()]


def test_positives_and_negatives_from_two_sources(tmp_path):
    scores, labels = variants()
    files = [
        write_labels(tmp_path / f"{name}.parquet", labels.filter(which).with_columns(
            source=pl.lit(name), effect=pl.lit(None, pl.Float64)))
        for name, which in (("HGMD", labels["label"]), ("gnomAD", ~labels["label"]))
    ]  # fmt: skip
    file = write_scores(tmp_path / "s.parquet", scores)
    (found,) = judge([file], files, command="").sets
    assert found.analysis.name == "HGMD + gnomAD"
    assert found.analysis.positives == labels["label"].sum()
    assert found.analysis.negatives == (~labels["label"]).sum()


def test_matched_negatives(tmp_path):
    scores, labels = variants()
    found = tables(tmp_path, scores, labels, matched=1)
    row = next(r for r in found["headline"].to_dicts() if r["score"] == "consequence rule")
    # All consequences have as many positives as negatives.
    assert row["auroc"] == pytest.approx(0.5)
    assert row["positives"] == row["negatives"]
    assert "Matched: 1 negatives" in found["notes"][0]


def test_snvs_and_indels_apart_and_all_scores_on_the_same_variants(report):
    scores, labels = variants()
    joined = scores.join(labels, ["chrom", "pos", "ref", "alt"])
    ok = joined.filter(pl.col("status") == "ok")
    row = table(report, "headline").row(0, named=True)
    for kind, part in (
        ("snv", ok.filter(pl.col("ref") == "A")),
        ("indel", ok.filter(pl.col("ref") != "A")),
    ):
        expected = roc_auc_score(part["label"], -part["llr"])
        assert row[f"{kind}_auroc"] == pytest.approx(expected, abs=1e-12)
        assert row[f"{kind}_positives"] == part["label"].sum()
    common = {r["score"]: r for r in table(report, "common").to_dicts()}
    assert set(common) == {"llr", "cosine_distance", "AF", "consequence rule", "allele length"}
    assert {(r["positives"], r["negatives"]) for r in common.values()} == {
        (ok["label"].sum(), (~ok["label"]).sum())
    }
    expected = roc_auc_score(ok["label"], -ok["AF"])
    assert common["AF"]["auroc"] == pytest.approx(expected, abs=1e-12)


def test_a_score_that_knows_the_gene_alone_is_found_out(tmp_path):
    """Its AUROC is high over all genes, and 0.5 within each; so is that of the baseline."""
    scores, labels = variants()
    rng = np.random.default_rng(3)
    share = rng.random(60)
    gene = rng.integers(0, 60, 600)
    label = rng.random(600) < share[gene]
    labels = labels.with_columns(
        label=pl.Series(label),
        group=pl.Series([f"GENE{number}" for number in gene]),
        effect=pl.lit(None, pl.Float64),
    )
    scores = scores.with_columns(llr=pl.Series(-share[gene]))
    found = tables(tmp_path, scores, labels)
    row = found["averages"].row(0, named=True)
    assert row["score"] == "llr"
    assert row["auroc"] > 0.75
    assert row["within_genes"] == 0.5
    assert row["between_genes"] > row["auroc"]
    genes = found["genes"].filter(pl.col("score") == "llr")
    assert genes["positives"].sum() + genes["negatives"].sum() == 600
    assert genes["auroc"].drop_nulls().eq(0.5).all()
    rule = found["headline"].filter(pl.col("score") == "share of positives in the gene")
    assert rule["auroc"].item() > 0.7
    assert rule["auroc_low"].item() is None


# Errors -------------------------------------------------------------------------------------------


def test_a_class_that_is_absent_or_small_fails_no_run(tmp_path):
    """There is no number; the page says so, and lists the few."""
    scores, labels = variants()
    labels = labels.with_columns(effect=pl.lit(None, pl.Float64))
    few = labels["label"] | ((~labels["label"]).cum_sum() <= 3)
    for kept, said in ((labels["label"], "no negatives"), (few, "3 negatives")):
        folder = tmp_path / said.replace(" ", "_")
        folder.mkdir()
        (line,) = evaluate(*files(folder, scores, labels.filter(kept)), folder / "r", command="")
        assert "too few for an AUROC of llr" in line
        page = (folder / "r" / "index.html").read_text()
        assert f"Among the scores are {said}: too few" in page
        assert table(folder / "r", "headline")["auroc"].null_count() == 6
    hits = table(folder / "r", "hits")
    ok = scores.join(labels.filter(kept), ["chrom", "pos"]).filter(pl.col("status") == "ok")
    # Among the variants of the same kind.
    rank = (-pl.col("llr")).rank().over("ref") / pl.len().over("ref") * 100
    expected = ok.with_columns(percentile=rank).filter(~pl.col("label")).sort("llr")
    assert hits["pos"].to_list() == expected["pos"].to_list()
    assert hits["percentile"].to_list() == pytest.approx(expected["percentile"].to_list())


def test_matching_without_a_class_matches_nothing(tmp_path):
    scores, labels = variants()
    labels = labels.filter("label").with_columns(effect=pl.lit(None, pl.Float64))
    assert tables(tmp_path, scores, labels, matched=1)["notes"] == [
        "Not matched: one class is absent."
    ]


def test_no_label_among_the_scores(tmp_path):
    scores, labels = variants()
    labels = labels.with_columns(pl.col("pos") + 1_000_000, effect=pl.lit(None, pl.Float64))
    with pytest.raises(InputError, match=r"0 positives and 0 negatives .*600 not_in_scores"):
        tables(tmp_path, scores, labels)


def test_flipped_alleles_are_caught(tmp_path):
    """REF and ALT of a tenth of the labels swapped: their REF is not what was scored."""
    scores, labels = variants()
    flip = pl.int_range(pl.len()) % 10 == 0
    flipped = labels.with_columns(
        ref=pl.when(flip).then("alt").otherwise("ref"),
        alt=pl.when(flip).then("ref").otherwise("alt"),
    )
    with pytest.raises(InputError, match="wrong assembly"):
        tables(tmp_path, scores, flipped)


def test_scores_without_provenance(tmp_path):
    scores, labels = variants()
    scores.write_parquet(tmp_path / "bare.parquet")
    with pytest.raises(ConfigError, match=r"bare.parquet: does not say what made it.*--score"):
        evaluate(
            [tmp_path / "bare.parquet"],
            [write_labels(tmp_path / "l.parquet", labels)],
            tmp_path / "r",
            command="",
        )


def test_two_fingerprints_in_one_table(tmp_path):
    scores, labels = variants()
    mixed = write_scores(
        tmp_path / "s.parquet", scores, replace(provenance(), fingerprint="0" * 16)
    )
    with pytest.raises(InputError, match=r"s.parquet: scores of 2 fingerprints in one table"):
        evaluate(
            [mixed], [write_labels(tmp_path / "l.parquet", labels)], tmp_path / "r", command=""
        )


def test_a_table_of_labels_is_no_table_of_scores(tmp_path):
    scores, labels = variants()
    file = write_labels(tmp_path / "labels.parquet", labels)
    with pytest.raises(InputError, match="no labels: it lacks"):
        evaluate([write_scores(tmp_path / "s.parquet", scores)], [tmp_path / "s.parquet"],
                 tmp_path / "r", command="")  # fmt: skip
    with pytest.raises(ConfigError, match="given twice"):
        evaluate([tmp_path / "s.parquet"], [file, file], tmp_path / "r", command="")


def test_unknown_feature(tmp_path):
    with pytest.raises(ConfigError, match=r"--direction CADD: .* found AF"):
        tables(tmp_path, directions=["CADD:lower"])


def test_the_size_of_a_score_is_declared_beforehand(tmp_path):
    """Where REF and ALT are arbitrary: the larger |llr| counts, and it comes first."""
    scores, labels = variants()
    found = tables(tmp_path, scores, labels, absolute=True)
    headline = found["headline"]
    assert headline["score"][0] == "|llr|"
    row = headline.row(0, named=True)
    assert row["deleterious"] == "higher"
    joined = labels.join(scores.filter(pl.col("llr").is_not_null()), ["chrom", "pos", "ref", "alt"])
    joined = joined.filter(pl.col("label").is_not_null())
    exact = roc_auc_score(joined["label"], joined["llr"].abs())
    assert row["auroc"] == pytest.approx(exact)
    assert "|cosine_distance|" not in headline["score"].to_list()
    assert "|llr|" not in tables(tmp_path, scores, labels)["headline"]["score"].to_list()


def test_other_scores_stand_beside_ours(tmp_path):
    """By allele, as rows of every table; a variant that they lack is counted."""
    scores, labels = variants()
    places = labels.select("chrom", "pos", "ref", "alt", "label")
    rng = np.random.default_rng(1)
    theirs = places.with_columns(
        REVEL=pl.col("label").fill_null(False).cast(pl.Float64) + pl.Series(rng.random(len(places)))
    ).sample(fraction=1, shuffle=True, seed=1)[:-40]
    path = tmp_path / "revel.tsv.gz"
    theirs.drop("label").write_csv(path, separator="\t", compression="gzip")
    theirs.rename({"REVEL": "turned"}).write_parquet(tmp_path / "turned.parquet")
    typed = [f"{path}:REVEL", f"{tmp_path}/turned.parquet:turned:lower"]
    found = tables(tmp_path, scores, labels, against=typed)
    rows = {row["score"]: row for row in found["headline"].iter_rows(named=True)}
    up, down = rows["REVEL"], rows["turned"]
    assert (up["deleterious"], down["deleterious"]) == ("higher", "lower")
    joined = labels.join(theirs, ["chrom", "pos", "ref", "alt"], how="inner")
    joined = joined.filter(pl.col("label").is_not_null())
    exact = roc_auc_score(joined["label"], joined["REVEL"])
    assert up["auroc"] == pytest.approx(exact)
    assert down["auroc"] == pytest.approx(1 - exact)
    assert up["without_score"] > 0
    with pytest.raises(ConfigError, match=r"--against none.bw: no such file"):
        tables(tmp_path, scores, labels, against=["none.bw"])


def test_only_a_report_is_replaced(tmp_path):
    out = tmp_path / "report"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match="not a report"), staged_folder(out, MARK, force=True):
        pass
    assert (out / "thesis.tex").read_text() == "mine"
    (out / "thesis.tex").unlink()
    for text in ("first", "second"):
        with staged_folder(out, MARK, force=text == "second") as folder:
            (folder / MARK).write_text(text)
    with pytest.raises(OutputError, match="--force"), staged_folder(out, MARK):
        pass
    with pytest.raises(FileNotFoundError), staged_folder(out, MARK, force=True) as folder:
        (folder / "half").with_name("no folder").joinpath("half").write_text("half")
    assert (out / MARK).read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_effects_without_labels(tmp_path):
    """As significant pairs of GTEx come: there is a correlation, and no AUROC."""
    scores, labels = variants()
    labels = labels.with_columns(
        label=pl.lit(None, pl.Boolean), consequence=pl.lit(None, pl.String)
    )
    (line,) = evaluate(*files(tmp_path, scores, labels), tmp_path / "report", command="")
    assert line == "ClinVar 2026-11-01: 0 positives, 0 negatives: too few for an AUROC of llr"
    report = tmp_path / "report"
    rows = table(report, "effects").filter(pl.col("score") == "llr").to_dicts()
    joined = scores.join(labels, ["chrom", "pos"]).filter(pl.col("status") == "ok")
    signed = stats.spearmanr(joined["llr"], joined["effect"]).statistic
    size = stats.spearmanr(-joined["llr"], joined["effect"].abs()).statistic
    assert [row["spearman"] for row in rows] == pytest.approx([signed, size], abs=1e-12)
    assert not (report / "data" / "curves.tsv").exists()
    page = (report / "index.html").read_text()
    assert "Correlation with the effect" in page
    assert "Leak check" not in page


def test_signs_are_these():
    """Spelled out once more: whoever changes one changes what every report means."""
    lower = ["llr", "llr_site", "llr_marginal", "llr_unmasked", "pll_delta", "entropy"]
    lower += ["dot", "dot_token"]
    higher = ["cosine_distance", "l1", "l2", "cosine_distance_token", "l1_token", "l2_token"]
    assert set(SCORE_NAMES) == {*lower, *higher}
    assert all(SIGN[name] == -1 for name in lower)
    assert all(SIGN[name] == 1 for name in higher)
    names = ["AF", "CADD", "tss_distance", "x"]
    features = {s.name: s.direction for s in baselines_of([], names, {"x": -1})}
    assert features == {"AF": "lower", "CADD": "higher", "tss_distance": "lower", "x": "lower"}
    with pytest.raises(ConfigError, match=r"x: is lower or higher .* --direction x:lower or"):
        baselines_of([], names)


def test_every_option_arrives(monkeypatch):
    seen = {}

    def catch(*positional, **options):
        seen.update(options, positional=positional)
        return ["done"]

    monkeypatch.setattr("ntvep.commands.evaluate.evaluate", catch)
    command = (
        "evaluate a.parquet b.parquet --labels x --labels y -o out -r ref.fa --matched 3 "
        "--direction AF:lower --direction x:higher --score mine:lower "
        "--against a.bw --against b.tsv:REVEL --absolute --tag A --tag B "
        "--ref-mismatch-limit 0.5 --force"
    )
    done = CliRunner().invoke(app, command.split())
    assert done.output == "done\n"
    *paths, choices = seen.pop("positional")
    assert paths == [[Path("a.parquet"), Path("b.parquet")], [Path("x"), Path("y")], Path("out")]
    assert seen.pop("command").startswith("ntvep")
    assert seen == {"force": True}
    assert asdict(choices) == {
        "reference": Path("ref.fa"),
        "matched": 3,
        "directions": ["AF:lower", "x:higher"],
        "own_scores": ["mine:lower"],
        "against": ["a.bw", "b.tsv:REVEL"],
        "absolute": True,
        "tags": ["A", "B"],
        "ref_mismatch_limit": 0.5,
    }


def test_a_reference_adds_baselines(tmp_path):
    """Two rules look at the genome: the kind of mutation, and how near the end is."""
    scores, labels = variants()
    snv = labels["ref"] == "A"
    bases = np.array(list("T" * 10_000))
    bases[labels["pos"].to_numpy() - 1] = "A"
    indel = labels.filter(~snv)["pos"].to_numpy()
    bases[indel - 1], bases[indel], bases[indel + 1] = "C", "A", "G"
    fasta = tmp_path / "ref.fa"
    fasta.write_text(f">chr20\n{''.join(bases)}\n>chr22\n{''.join(bases)}\n")
    found = tables(tmp_path, scores, labels, reference=fasta)["headline"]
    assert {"mutation class", "distance to contig end"} <= set(found["score"])
    # A>G everywhere: one class, which tells nothing.
    row = found.filter(pl.col("score") == "mutation class").row(0, named=True)
    assert row["auroc"] == 0.5
    assert row["without_score"] == (~snv).sum()


def test_a_system_that_does_not_say_which_cores_there_are(monkeypatch):
    """As macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert 1 <= analysis._workers() <= 4


def test_sensitivity_at_fixed_specificity_is_a_point_of_the_roc_curve(report):
    scores, labels = variants()
    ok = scores.join(labels, ["chrom", "pos", "ref", "alt"]).filter(pl.col("status") == "ok")
    false, true, _ = roc_curve(ok["label"], -ok["llr"], drop_intermediate=False)
    rows = table(report, "sensitivity").filter(pl.col("score") == "llr").to_dicts()
    assert [row["specificity"] for row in rows] == [0.9, 0.95, 0.99]
    for row in rows[:2]:
        exact = np.interp(1 - row["specificity"], false, true)
        assert row["sensitivity"] == pytest.approx(exact, abs=1e-9)
        assert row["sensitivity_low"] < row["sensitivity"] < row["sensitivity_high"]
    # Fewer than ten of 360 negatives lie above a threshold at 99 %.
    assert (rows[2]["sensitivity"], rows[2]["note"]) == (None, "too few")


def test_an_assay_of_one_gene_has_blocks_within_it(tmp_path):
    """Effects all over one gene: a scatter, Spearman's correlation, and intervals for that gene."""
    scores, labels = variants()
    labels = labels.filter(pl.col("chrom") == "chr20").with_columns(group=pl.lit("BRCA1"))
    (found,) = judge(*files(tmp_path, scores, labels), command="").sets
    assert found.analysis.within == "BRCA1"
    assert found.analysis.clusters.startswith("20 blocks of neighbouring places within BRCA1")
    tables = found.analysis.tables
    row = tables["headline"].row(0, named=True)
    assert 15 < row["positive_clusters"] <= 20
    assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
    # There is no other gene that a score could know.
    assert "averages" not in tables
    assert "share of positives in the gene" not in tables["headline"]["score"]
    joined = scores.join(labels, ["chrom", "pos", "ref", "alt"]).filter(pl.col("status") == "ok")
    effect = tables["effects"].filter(pl.col("score") == "llr").row(0, named=True)
    exact = stats.spearmanr(joined["llr"], joined["effect"]).statistic
    assert effect["spearman"] == pytest.approx(exact, abs=1e-12)
    assert effect["spearman_low"] < exact < effect["spearman_high"]
    scatter = tables["scatter"]
    assert (
        scatter.select("pos", "score", "effect").rows()
        == joined.sort("pos").select("pos", "llr", "effect").rows()
    )
    # Without effects, variants of one gene are one cluster: nothing says how genes differ.
    labels = labels.with_columns(effect=pl.lit(None, pl.Float64))
    (tmp_path / "labels").mkdir()
    (found,) = judge(*files(tmp_path / "labels", scores, labels), command="").sets
    assert found.analysis.within == ""
    assert "scatter" not in found.analysis.tables


def test_a_figure_that_rests_on_one_gene_is_said_where_it_stands(tmp_path):
    """Two genes have an AF; the others have llr and the consequence."""
    scores, labels = variants()
    rows = pl.int_range(pl.len())
    labels = labels.with_columns(
        AF=pl.when(rows % 3 == 0).then("AF"),
        group=pl.when((rows % 3 == 0) & (rows % 15 != 0))
        .then(pl.lit("CDKL5"))
        .otherwise(pl.format("G{}", rows % 40)),
    )
    given = files(tmp_path, scores, labels)
    evaluate(*given, tmp_path / "report", command="")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "positives lie in CDKL5" in page
    assert "Its figure is a figure of that gene." in page
    of_llr = table(tmp_path / "report", "headline").row(0, named=True)["note"]
    assert "CDKL5" not in of_llr
