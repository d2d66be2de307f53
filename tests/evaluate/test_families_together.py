"""Models of several families in one report: a masked, a causal and a rates model, side by side."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from ntvep.commands.evaluate import evaluate
from ntvep.commands.options import Options
from ntvep.commands.score import score_file
from ntvep.models import registry
from tests import toy_families
from tests.evaluate.synthetic import write_labels

SCORES = {"toy_masked": "llr,pll_delta", "toy_causal": "llr", "toy_rates": "llr"}
NAMES = tuple(SCORES)
KEY = ["chrom", "pos", "ref", "alt"]


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """SCORES of 160 SNVs and 40 deletions by each toy, and labels that say nothing of them."""
    folder = tmp_path_factory.mktemp("families")
    rng = np.random.default_rng(8)
    bases = "".join(rng.choice(list("ACGT"), 6_000))
    (folder / "ref.fa").write_text(f">chr1\n{bases}\n")
    places = np.arange(500, 5_500, 25)
    alleles = [
        (p + 1, bases[p : p + 3], bases[p])
        if i % 5 == 0
        else (p + 1, bases[p], "ACGT"["ACGT".index(bases[p]) - 1])
        for i, p in enumerate(places.tolist())
    ]
    lines = "".join(f"chr1\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for pos, ref, alt in alleles)
    (folder / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        + lines
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "FAMILIES", (*toy_families.TOYS.values(), *registry.FAMILIES))
        for name in NAMES:
            score_file(
                folder / "in.vcf", folder / "ref.fa", str(toy_families.write(name, folder / name)),
                folder / f"{name}.parquet", command="ntvep", quiet=True,
                options=Options(device="cpu", max_allele_bases=8, scores=SCORES[name]),
            )  # fmt: skip
    labels = pl.DataFrame(
        {
            "chrom": "chr1",
            "pos": [pos for pos, _, _ in alleles],
            "ref": [ref for _, ref, _ in alleles],
            "alt": [alt for _, _, alt in alleles],
            "label": rng.random(len(alleles)) < 0.5,
            "effect": None,
            "group": [f"G{number}" for number in rng.integers(0, 30, len(alleles))],
            "consequence": None,
            "stars": None,
            "source": "toys",
        },
        schema_overrides={"effect": pl.Float64, "consequence": pl.String, "stars": pl.UInt8},
    )
    write_labels(folder / "labels.parquet", labels)
    return folder, labels


def test_each_objective_has_its_own_rows(scored, tmp_path):
    folder, labels = scored
    files = [folder / f"{name}.parquet" for name in NAMES]
    evaluate(files, [folder / "labels.parquet"], tmp_path / "report", command="")
    tables = {p.stem: pl.read_parquet(p) for p in (tmp_path / "report/data").glob("*.parquet")}
    headline = {row["score"]: row for row in tables["headline"].to_dicts()}
    for name in NAMES:
        own = pl.read_parquet(folder / f"{name}.parquet").join(labels, KEY)
        own = own.filter(pl.col("llr").is_not_null())
        row = headline[f"llr · {name}"]
        expected = roc_auc_score(own["label"], -own["llr"])
        assert row["auroc"] == pytest.approx(expected, abs=1e-12)
        assert row["model"] == name
        assert row["without_score"] == 200 - own.height
    # A rate model scores substitutions alone, and has no pseudo-likelihood.
    assert headline["llr · toy_rates"]["without_score"] == 40
    assert "pll_delta · toy_masked" in headline
    assert "pll_delta · toy_rates" not in headline
    # On the variants that all of them have: the SNVs.
    common = {row["score"]: row for row in tables["common"].to_dicts()}
    assert {row["positives"] + row["negatives"] for row in common.values()} == {160}
    pairs = set(tables["differences"].select("a", "b").rows())
    assert {("llr · toy_masked", f"llr · {other}") for other in NAMES[1:]} < pairs
    assert ("llr · toy_causal", "llr · toy_rates") in pairs
    page = (tmp_path / "report" / "index.html").read_text()
    for name in NAMES:
        assert f"<h3>{name}</h3>" in page
        assert f"llr · {name}" in page
