"""The picture of a region: a cell an SNV, letters as high as their bits."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from ntvep.cli import app
from ntvep.errors import InputError
from ntvep.evaluate.scan_picture import Beside, as_file, base_probabilities, draw
from ntvep.io.intervals import read_parts
from ntvep.provenance import fingerprint
from ntvep.schema import score_schema
from tests.evaluate.synthetic import provenance, write_scores


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


SPACE = "{http://www.w3.org/2000/svg}"


def tree_of(table, score="llr", **words):
    return ET.fromstring(as_file(draw(table, score, **words), ".svg"))


def labelled(tree, pattern):
    """Marks whose words are so."""
    marks = [mark for mark in tree.iter() if re.fullmatch(pattern, mark.get("aria-label", ""))]
    return {mark.get("aria-label"): mark for mark in marks}


def box(mark):
    """x, y, width, height of a rectangle's path."""
    found = re.fullmatch(r"M([-\d.]+),([-\d.]+)h([-\d.]+)v([-\d.]+)h.*Z", mark.get("d"))
    return [round(float(number), 6) for number in found.groups()]


def texts(tree):
    lines = [*tree.iter(f"{SPACE}text"), *tree.iter(f"{SPACE}tspan")]
    return [line.text for line in lines if line.text]


def test_a_cell_for_each_snv():
    """Red where ALT is less likely, blue where it is likelier; placed by base and row."""
    tree = tree_of(region("ACGT" * 25, LOG_P))
    cells = labelled(tree, r"[\d,]+ [ACGT]>[ACGT]: -?[\d.]+")
    assert len(cells) == 300
    assert len(labelled(tree, r"[\d,]+ [ACGT] \(REF\)")) == 100
    worse, better = cells[f"101 A>C: {np.log(1 / 7):.3f}"], cells[f"102 C>A: {np.log(7):.3f}"]
    assert (worse.get("fill"), better.get("fill")) == ("rgb(181, 56, 31)", "rgb(11, 98, 164)")
    assert cells["102 C>G: 0.000"].get("fill") == "rgb(255, 255, 255)"
    x, y, width, height = box(worse)
    assert box(better) == [x + width, y - height, width, height]
    # The 81st base begins the second row.
    below = box(cells[f"181 A>C: {np.log(1 / 7):.3f}"])
    assert below[0] == x
    assert below[1] > y + 4 * height
    # ALT is likelier than REF only where A comes for another base: those cells have a dot.
    dots = [m for m in tree.iter() if m.get("aria-roledescription") == "circle"]
    assert len(dots) == 75
    # A cell is hovered for its number.
    titles = [title.text for title in tree.iter(f"{SPACE}title")]
    assert f"101 A>C: {np.log(1 / 7):.3f}" in titles


def test_letters_are_as_high_as_their_bits():
    """0.7 of the bits, 2 - 1.357, on 46 px for 2 bits."""
    tree = tree_of(region("AC", LOG_P), logo="llr_marginal")
    bits = 2 + 0.7 * np.log2(0.7) + 0.3 * np.log2(0.1)
    letters = labelled(tree, rf"10[12] A: 0\.700, {0.7 * bits:.2f} bits")
    assert len(letters) == 2
    for letter in letters.values():
        ys = [float(y) for _, y in re.findall(r"([-\d.]+),([-\d.]+)", letter.get("d"))]
        assert max(ys) - min(ys) == pytest.approx(0.7 * bits / 2 * 46, abs=0.01)
    assert not labelled(tree_of(region("AC", LOG_P)), ".* bits")


def test_the_legend_has_units_and_each_score_its_words():
    table = region("ACGT", LOG_P)
    for score, words, title in (
        ("llr", "red: ALT is less likely than REF; blue, with a dot: likelier", "llr, nats"),
        ("entropy", "dark: the model knows little of this place", "entropy, nats"),
        ("cosine_distance", "dark: ALT moves the model's embedding far", "cosine_distance"),
        ("llr_percentile", "red: an llr that few changes of the same context have",
         "llr_percentile, percent"),
    ):  # fmt: skip
        named = table.rename({"llr": score})
        said = texts(tree_of(named, score, notes=["No logo: why"]))
        assert any(line.startswith(f"{score}: {words}") for line in said), said
        assert title in said
        assert "No logo: why" in said
        assert "For research, not for diagnosis." in said
        assert ("less likely" in " ".join(said)) == (score == "llr")


def test_colours_are_literal_in_every_form():
    """A program that knows no style sheet shows them: none is named, and none stands in CSS."""
    spec = draw(region("ACGT" * 3, LOG_P), logo="llr_marginal")
    svg = as_file(spec, ".svg").decode()
    assert "var(" not in svg
    assert "<style" not in svg
    assert "currentColor" not in svg
    assert as_file(spec, ".png").startswith(b"\x89PNG")
    assert as_file(spec, ".pdf").startswith(b"%PDF")


def test_marks_labels_and_genes():
    parts = pl.DataFrame(
        [(1, 102, "G1", True), (104, 900, "G2", False), (800, 900, "far", True)],
        schema=["first", "last", "name", "is_box"], orient="row",
    )  # fmt: skip
    labels = pl.DataFrame({"pos": [103, 999], "alt": ["T", "A"], "letter": ["P", "B"]})
    beside = Beside(marks=[(102, "G")], labels=labels, label_words="P pathogenic", parts=parts)
    tree = tree_of(region("ACGT", LOG_P), beside=beside)
    cells = labelled(tree, r"10[1-4] [ACGT]>[ACGT]: .*")
    places = {key[:7]: box(cell) for key, cell in cells.items()}
    said = texts(tree)
    assert said.count("P") == 2
    assert "B" not in said
    assert "P pathogenic" in said
    assert {"G1", "G2"} <= {*said}
    assert "far" not in said
    (one,) = labelled(tree, "G1: 1-102").values()
    (two,) = labelled(tree, "G2: 104-900").values()
    # Cut at the region; a gene is a line, an exon a box; each has a lane.
    assert box(one)[0] == places["101 A>C"][0]
    assert box(one)[2] == 28
    assert box(two)[0] == places["104 T>A"][0]
    assert box(two)[2] == 14
    assert box(one)[3] > 4 > box(two)[3]
    assert box(two)[1] > box(one)[1] + 8
    frames = [box(m) for m in tree.iter() if m.get("stroke-width") in ("1.4", "2.6")]
    column, cell = sorted(frames, key=lambda frame: -frame[3])
    assert cell == places["102 C>G"]
    assert column[0] == cell[0]
    assert column[3] == 70


def test_genes_are_read_by_name(tmp_path):
    (tmp_path / "g.gtf").write_text(
        '#!x\nchr1\ts\tgene\t11\t90\t.\t+\t.\tgene_id "E"; gene_name "TP53";\n'
        'chr1\ts\texon\t11\t20\t.\t+\t.\tgene_id "E"; gene_name "TP53";\n'
        'chr1\ts\texon\t11\t20\t.\t+\t.\tgene_id "E"; gene_name "TP53";\n'
        'chr1\ts\tCDS\t15\t20\t.\t+\t0\tgene_id "E";\n'
        'chr2\ts\texon\t5\t6\t.\t+\t.\tgene_id "F";\n'
    )
    (tmp_path / "i.bed").write_text("track x\nchr1\t10\t20\tpeak\nchr1\t30\t40\n")
    assert read_parts(tmp_path / "g.gtf").rows() == [
        ("chr1", 11, 90, "TP53", False), ("chr1", 11, 20, "TP53", True), ("chr2", 5, 6, "F", True),
    ]  # fmt: skip
    assert read_parts(tmp_path / "i.bed").rows() == [
        ("chr1", 11, 20, "peak", True), ("chr1", 31, 40, "interval", True),
    ]  # fmt: skip
    with pytest.raises(InputError, match="expected a name with"):
        (tmp_path / "x.txt").write_text("a")
        read_parts(tmp_path / "x.txt")


def test_names_are_inert():
    picture = as_file(draw(region("AC", LOG_P, chrom="<script>")), ".svg").decode()
    assert "<script" not in picture
    assert "<script>:101-102" in texts(ET.fromstring(picture))


def test_bad_input():
    table = region("AC", LOG_P)
    with pytest.raises(InputError, match="no SNV has a entropy"):
        draw(table, "entropy")
    with pytest.raises(InputError, match="2 contigs"):
        draw(pl.concat([table, region("A", LOG_P, chrom="chr2")]))
    with pytest.raises(InputError, match=r"over 9,\d+ bases"):
        draw(pl.concat([table, region("A", LOG_P, first=9_999)]))


@pytest.fixture
def scan(tmp_path):
    """A table of ntvep scan, of a model of 6-mers."""

    def write(scores):
        table = region("ACGT", LOG_P).with_columns(
            record=pl.int_range(12), allele=pl.lit(1), status=pl.lit("ok"),
            frameshifted=pl.lit(False),
        )  # fmt: skip
        columns = score_schema(scores, False)
        made = provenance()
        settings = replace(made.settings, scores=scores)
        made = replace(made, settings=settings, fingerprint=fingerprint(made.model, settings))
        table = table.select(pl.col(c.name).cast(c.dtype) for c in columns)
        return write_scores(tmp_path / "scan.parquet", table, made)

    return write


def picture(*words):
    return CliRunner().invoke(app, ["picture", *map(str, words)])


def test_from_a_table_of_scores(tmp_path, scan):
    out = tmp_path / "scan.svg"
    words = (scan(("llr", "llr_marginal")), "-o", out)
    done = picture(*words, "--score", "llr_marginal", "--mark", "chr1:102:C:G", "--mark", "1:103")
    assert done.exit_code == 0, done.exception
    tree = ET.parse(out).getroot()
    assert "chr1:101-104" in texts(tree)
    assert len(labelled(tree, ".* bits")) > 4
    assert sum(m.get("stroke-width") in ("1.4", "2.6") for m in tree.iter()) == 3
    assert "--force" in str(picture(*words).exception)
    done = picture(*words, "--force", "--region", "chr1:102-103")
    assert done.exit_code == 0, done.exception
    assert "chr1:102-103" in texts(ET.parse(out).getroot())
    for name, start in (("scan.png", b"\x89PNG"), ("scan.pdf", b"%PDF")):
        assert picture(words[0], "-o", tmp_path / name).exit_code == 0
        assert (tmp_path / name).read_bytes().startswith(start)


def test_it_says_why_there_is_no_logo(tmp_path, scan):
    path = scan(("llr",))
    assert picture(path, "-o", tmp_path / "o.svg").exit_code == 0
    said = texts(ET.parse(tmp_path / "o.svg").getroot())
    why = "No logo: it follows from llr_marginal, which was not scored"
    assert f"{why}; add --scores llr,llr_marginal." in said


def test_labels_and_genes_of_files(tmp_path, scan):
    (tmp_path / "c.vcf").write_text(
        '##fileformat=VCFv4.1\n##INFO=<ID=CLNSIG,Number=.,Type=String,Description="x">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        "1\t101\t.\tA\tC\t.\t.\tCLNSIG=Likely_pathogenic\n"
        "1\t102\t.\tC\tT\t.\t.\tCLNSIG=Uncertain_significance\n"
    )
    (tmp_path / "g.bed").write_text("chr1\t100\t102\tenhancer\n")
    words = ("--labels", tmp_path / "c.vcf", "--genes", tmp_path / "g.bed")
    done = picture(scan(("llr", "llr_marginal")), "-o", tmp_path / "o.svg", *words)
    assert done.exit_code == 0, done.exception
    said = texts(ET.parse(tmp_path / "o.svg").getroot())
    assert (said.count("P"), said.count("?"), said.count("enhancer")) == (2, 2, 1)


def test_what_is_refused(tmp_path, scan):
    path = scan(("llr",))
    for words, message in (
        (("-o", tmp_path / "o.jpg"), "expected a name that ends in .svg, .png, .pdf"),
        (("-o", tmp_path / "o.svg", "--mark", "chr2:5"), "--mark chr2:5: expected chr1:POS"),
        (("-o", tmp_path / "o.svg", "--region", "chr1"), "--region is 'chr1'; expected CONTIG:"),
        (("-o", tmp_path / "o.svg", "--region", "chr1:900-999"), "has no variant there"),
        (("-o", tmp_path / "o.svg", "--score", "pll_delta"), "no SNV has a pll_delta"),
        (("-o", tmp_path / "o.svg", "--genes", tmp_path / "no.bed"), "no such annotation"),
    ):
        assert message in str(picture(path, *words).exception), words
    assert [p.name for p in tmp_path.iterdir()] == ["scan.parquet"]
