"""The picture of a region: a cell an SNV, letters as high as their bits."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from ntvep.cli import app
from ntvep.errors import InputError
from ntvep.evaluate.scan_picture import base_probabilities, draw
from ntvep.schema import score_schema
from tests.evaluate.synthetic import write_scores


def region(sequence, log_p, chrom="chr1", first=101):
    """Scores of every SNV, if the model gives the four bases these log-probabilities anywhere."""
    rows = [
        (chrom, first + at, ref, alt, log_p[alt] - log_p[ref])
        for at, ref in enumerate(sequence)
        for alt in "ACGT"
        if alt != ref
    ]
    table = pl.DataFrame(rows, schema=["chrom", "pos", "ref", "alt", "llr"], orient="row")
    return table.with_columns(llr_marginal="llr")


LOG_P = {base: float(np.log(p)) for base, p in zip("ACGT", (0.7, 0.1, 0.1, 0.1), strict=True)}


def test_probabilities_from_log_odds():
    for ref in "ACGT":
        odds = {base: LOG_P[base] - LOG_P[ref] for base in "ACGT" if base != ref}
        assert base_probabilities(odds, ref) == pytest.approx([0.7, 0.1, 0.1, 0.1])


def test_cells_and_letters():
    picture = draw(region("ACGT" * 25, LOG_P))
    tree = ET.fromstring(picture)
    space = "{http://www.w3.org/2000/svg}"
    boxes = list(tree.iter(f"{space}rect"))
    assert len(boxes) == 400
    assert sum(box.get("class") == "r" for box in boxes) == 100
    titles = [title.text for title in tree.iter(f"{space}title")]
    assert len(titles) == 300
    assert titles[0] == f"101 A>C: {np.log(1 / 7):.3f}"
    # ALT is likelier than REF only where A comes for another base: those cells have a dot.
    assert len(list(tree.iter(f"{space}circle"))) == 75
    # 0.7 of the bits: 2 - 1.357 bits, on 50 px for 2 bits.
    heights = re.findall(r'scale\(1\.6 ([\d.]+)\)">A<', picture)
    bits = 2 + 0.7 * np.log2(0.7) + 0.3 * np.log2(0.1)
    assert len(heights) == 100
    assert {float(h) for h in heights} == {round(0.7 * bits / 2 * 50 / 7.2, 3)}


def test_names_are_inert():
    picture = draw(region("AC", LOG_P, chrom="<script>"))
    assert "<script>" not in picture
    assert ET.fromstring(picture).get("aria-label") == "<script>:101-102, llr"


def test_bad_input():
    table = region("AC", LOG_P)
    with pytest.raises(InputError, match="no SNV has entropy"):
        draw(table, "entropy")
    with pytest.raises(InputError, match="2 contigs"):
        draw(pl.concat([table, region("A", LOG_P, chrom="chr2")]))
    with pytest.raises(InputError, match=r"over 9,\d+ bases"):
        draw(pl.concat([table, region("A", LOG_P, first=9_999)]))


def test_from_a_table_of_scores(tmp_path):
    table = region("ACGT", LOG_P).with_columns(
        record=pl.int_range(12), allele=pl.lit(1), status=pl.lit("ok"), frameshifted=pl.lit(False)
    )
    columns = score_schema(("llr", "llr_marginal"), False)
    scores = table.select(pl.col(c.name).cast(c.dtype) for c in columns)
    write_scores(tmp_path / "scan.parquet", scores)
    command = ["picture", str(tmp_path / "scan.parquet"), "-o", str(tmp_path / "scan.svg")]
    done = CliRunner().invoke(app, [*command, "--score", "llr_marginal"])
    assert done.exit_code == 0, done.output
    assert "chr1:101-104, llr_marginal" in (tmp_path / "scan.svg").read_text()
    assert "--force" in str(CliRunner().invoke(app, command).exception)
    assert CliRunner().invoke(app, [*command, "--force"]).exit_code == 0
    command[-1] = str(tmp_path / "scan.png")
    assert "expected a name that ends in .svg" in str(CliRunner().invoke(app, command).exception)
    assert not (tmp_path / "scan.png").exists()
