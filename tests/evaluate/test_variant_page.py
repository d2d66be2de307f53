"""The page of a sample in a browser: clicked, searched, printed; nothing in a file is run."""

import json
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from ntvep.cli import app
from tests.browser import CHROMIUM, browser
from tests.evaluate.annotated import VEP, said, write_vcf

EVIL = "<script>document.title='gone'</script><img src=x onerror=alert(1)>"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]
ROWS = """[...document.querySelectorAll('#table tbody tr')].map((row) =>
  [...row.cells].map((cell) => cell.textContent))"""
HEAD = "document.querySelector('#table th[data-name=%s] button')"
TAB = "[...document.querySelectorAll('.tabs button')].find((tab) => tab.textContent === '%s')"
SEARCH = "document.querySelector('input[type=search]')"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
        assert opened.complaints == []


def page_of(path, records, samples=(), header=()):
    write_vcf(path.with_suffix(".vcf"), records, samples, header=header)
    words = ["table", str(path.with_suffix(".vcf")), "-o", str(path), "-q"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.exception
    return path


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A sample, a gene and alleles that are called like scripts."""
    csq = ";CSQ=G|missense_variant||{}||||||"
    records = [
        ("chr22", 101, "A", "G", said("ok", "-1", "1", "0.2") + csq.format("TP53"), "0/1"),
        ("chr22", 102, "A", "G", said("ok", "-3", "1", "0.1"), "0/1"),
        ("chr22", 103, "A", "G", said("ok", "-2", "1", "0.3") + csq.format(EVIL), "1/1"),
        ("chr22", 104, "A", "<script>", "NTVEP_STATUS=symbolic_allele", "0/1"),
        ("chr22", 105, "A", "G", "NTVEP_STATUS=too_many_n", "0/1"),
        ("chr22", 200, "A", "AG", said("ok", "-9", "-4", "0.3"), "0/1"),
    ]  # fmt: skip
    records = [(*r[:4], r[4].replace("=x ", "%3Dx ").replace("='", "%3D'").replace("=alert",
                "%3Dalert"), *r[5:]) for r in records]  # fmt: skip
    folder = tmp_path_factory.mktemp("evil")
    return page_of(folder / "evil.html", records, [f"S1{EVIL}"], [VEP])


def variants(chromium):
    at = json.loads(chromium.ask("JSON.stringify(data.shown.indexOf('variant'))"))
    return [row[at].split(":")[1] for row in chromium.ask(ROWS)]


def test_a_click_sorts_and_a_search_finds(chromium, evil):
    chromium.open(evil.as_uri())
    # SNVs apart, by llr; what has no score comes last.
    assert variants(chromium) == ["102", "103", "101", "105"]
    chromium.click(HEAD % "cosine_distance")
    assert variants(chromium) == ["103", "101", "102", "105"]
    chromium.click(HEAD % "cosine_distance")
    assert variants(chromium) == ["102", "101", "103", "105"]
    chromium.click(HEAD % "variant")
    assert variants(chromium) == ["101", "102", "103", "105"]
    chromium.click(TAB % "Indels")
    assert variants(chromium) == ["200"]
    chromium.click(TAB % "All")
    for query, found in (
        ("tp53 missense", ["101"]),
        ("chr22:102-103", ["102", "103"]),
        ("22:1,04", ["104"]),
        ("homozygous 103", ["103"]),
        ("nothing", []),
        ("", ["101", "102", "103", "104", "105", "200"]),
    ):
        chromium.click(SEARCH)
        chromium.ask(f"{SEARCH}.select()")
        if query:
            chromium.type(query)
        else:
            chromium.ask(f"{SEARCH}.value = ''; {SEARCH}.dispatchEvent(new Event('input'))")
        assert variants(chromium) == found, query
    assert chromium.ask("document.querySelector('.found').textContent") == "6 of 6 variants"


def test_a_row_opens(chromium, evil):
    chromium.open(evil.as_uri())
    chromium.click("document.querySelector('.open')")
    forms = chromium.ask("[...document.querySelectorAll('.more .all')].map((e) => e.textContent)")
    assert forms == ["chr22:102:A:G", "22-102-A-G"]
    facts = chromium.ask("document.querySelector('.facts').innerText")
    assert "pll_delta (nats)" in facts
    chromium.click("document.querySelector('.open')")
    assert chromium.ask("document.querySelectorAll('.more').length") == 0


def test_names_from_files_are_text(chromium, evil):
    chromium.open(evil.as_uri())
    chromium.click(TAB % "All")
    for number in range(6):
        chromium.click(f"document.querySelectorAll('.open')[{number}]")
    assert chromium.ask("document.title").startswith("Scored variants of S1<script>")
    assert EVIL in chromium.ask("document.querySelector('h1').textContent")
    assert EVIL in chromium.ask("document.body.innerText")
    assert chromium.ask("document.querySelectorAll('img').length") == 0
    assert chromium.ask("document.scripts.length") == 2
    outside = chromium.ask(
        "[...document.querySelectorAll('[src], link')].map((e) => e.src || e.href)"
    )
    assert outside == ["data:,"]


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_clipped(chromium, evil, width):
    """The page itself never scrolls sideways; a wide table does so in its own frame."""
    chromium.open(evil.as_uri(), width=width)
    assert chromium.ask("document.documentElement.scrollWidth") <= width
    box = "document.querySelector('.rows')"
    hidden = chromium.ask(f"{box}.scrollWidth - {box}.clientWidth")
    assert hidden <= 0 or width == 400
    assert chromium.ask(f"getComputedStyle({box}).overflowX") == "auto"
    # Heads stay in sight.
    assert chromium.ask("getComputedStyle(document.querySelector('th')).position") == "sticky"


def test_a_browser_without_scripts_shows_the_first_rows(evil):
    text = evil.read_text().split("<tbody>")[1].split("</tbody>")[0]
    assert text.count("<tr>") == 6
    assert text.index("chr22:102:A:G") < text.index("chr22:103:A:G") < text.index("chr22:101:A:G")
    assert "<script" not in text


def test_twenty_thousand_rows(chromium, tmp_path):
    """Opened, sorted and searched in less than three seconds on one slow core."""
    rng = np.random.default_rng(0)
    llr = rng.normal(size=20_000).round(4)
    records = [
        ("chr22", 101 + number, "A", "G", said("ok", value, value, abs(value)), "0/1")
        for number, value in enumerate(llr)
    ]
    path = tmp_path / "many.html"
    write_vcf(path.with_suffix(".vcf"), records, ["S"])
    words = ["table", str(path.with_suffix(".vcf")), "-o", str(path), "-q", "--top", "20000"]
    assert CliRunner().invoke(app, words).exit_code == 0
    chromium.call("Performance.enable")
    before, begun = busy(chromium), time.monotonic()
    chromium.open(path.as_uri())
    opened = time.monotonic() - begun
    assert int(variants(chromium)[0]) == 101 + int(np.argmin(llr))
    chromium.click(HEAD % "cosine_distance")
    assert int(variants(chromium)[0]) == 101 + int(np.argmax(np.abs(llr)))
    chromium.click(SEARCH)
    chromium.type("20100")
    assert variants(chromium) == ["20100"]
    # What the page itself computed for all this, whatever else the machine does meanwhile.
    computed = busy(chromium) - before
    assert computed > 0.05
    assert min(opened, computed) < 3, (opened, computed)


def busy(chromium):
    metrics = chromium.call("Performance.getMetrics")["metrics"]
    return next(one["value"] for one in metrics if one["name"] == "TaskDuration")
