"""Figures of README and docs are those of the last measurements that benchmarks/ holds.

A figure of a page is marked with the cell of a table that it comes from:

    402 MB<!-- of benchmarks/README.md: 1,000,000 | 1 bp | llr | 1 | peak MB -->

The last name is the column, the others are the first cells of the one row that begins with them.
"""

import re
from pathlib import Path

import polars as pl
import pytest

from benchmarks import coverage, scale
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARK = re.compile(r"([+-]?\d[\d.,]*)?\s?([^\s<|]+)?<!-- of (\S+): ([^>]*) -->")
PLAIN = str.maketrans("", "", "+,%* ")


def tables(text: str) -> list[list[list[str]]]:
    """Tables of a page: rows of cells, the head first."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.M)
    split = [[line.strip().strip("|").split("|") for line in b.splitlines()] for b in blocks]
    return [[[cell.strip() for cell in row] for row in rows] for rows in split]


def measured(page: Path, cells: list[str], column: str) -> str:
    """The cell of a table that a mark names."""
    found = [
        row[rows[0].index(column)]
        for rows in tables(page.read_text())
        if column in rows[0]
        for row in rows[2:]
        if row[: len(cells)] == cells
    ]
    assert len(found) == 1, (page.name, cells, column, found)
    return found[0]


def marks(text: str) -> list[tuple[str, str, list[str], str]]:
    """Each mark: its figure, the page and the cell that it names."""
    found = []
    for figure, _, page, cell in MARK.findall(text):
        *cells, column = [part.strip() for part in cell.split("|")]
        found.append((figure, page, cells, column))
    assert len(found) == text.count("<!-- of ")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_marked_figures_are_those_of_the_measurements(page):
    for figure, source, cells, column in marks(page.read_text()):
        found = measured(ROOT / source, cells, column)
        assert figure.translate(PLAIN) == found.translate(PLAIN), (cells, column, figure, found)


def test_figures_are_marked():
    assert sum(len(marks(page.read_text())) for page in PAGES) >= 2


def test_a_figure_of_yesterday_is_seen(tmp_path):
    table = "| list | peak MB |\n|---|---|\n| a | 1,402 |\n| b | 7 |\n"
    (tmp_path / "page.md").write_text(table)
    text = "takes 1,402 MB<!-- of page.md: a | peak MB --> and +7 %<!-- of page.md: b | peak MB -->"
    assert marks(text) == [
        ("1,402", "page.md", ["a"], "peak MB"),
        ("+7", "page.md", ["b"], "peak MB"),
    ]
    assert measured(tmp_path / "page.md", ["a"], "peak MB") == "1,402"
    with pytest.raises(AssertionError):
        measured(tmp_path / "page.md", ["c"], "peak MB")


@pytest.mark.parametrize("name", ["coverage", "coverage_matched"])
def test_the_table_of_coverage_is_that_of_its_measurements(name):
    table = pl.read_csv(ROOT / f"benchmarks/{name}.tsv", separator="\t", null_values="nan")
    page = (ROOT / "docs/evaluation.md").read_text()
    for made in coverage.markdown(table).split("\n\n"):
        assert made in page


def test_the_forecast_is_what_its_script_prints(capsys):
    scale.forecast(100)
    made = capsys.readouterr().out.split("\n\n", 1)[1].strip()
    assert any(made in page.read_text() for page in PAGES)
