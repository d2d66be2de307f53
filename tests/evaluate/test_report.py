"""The page: it needs nothing, says what it should, and runs nothing that stood in a file."""

import json
import re
import subprocess
import time
from html.parser import HTMLParser

import polars as pl
import pytest

from ntvep.commands.evaluate import evaluate
from tests.browser import CHROMIUM, FLAGS, browser
from tests.evaluate.synthetic import provenance, variants, write_labels, write_scores

EVIL = "<script>document.title='gone'</script><img src=x onerror=alert(1)>\"'&{{7*7}}"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of variants whose every name is hostile."""
    folder = tmp_path_factory.mktemp("evil")
    scores, labels = variants()
    labels = labels.with_columns(
        group=pl.col("group") + EVIL,
        source=pl.lit(EVIL),
        consequence=pl.when(pl.col("consequence") == "missense_variant")
        .then(pl.lit(EVIL))
        .otherwise("consequence"),
    ).rename({"AF": f"AF{EVIL}"})
    scores_file = write_scores(folder / "s.parquet", scores, provenance(f"NT {EVIL}"))
    labels_file = write_labels(folder / "l.parquet", labels)
    evaluate([scores_file], [labels_file], folder / "report", command=f"ntvep {EVIL}")
    return folder / "report" / "index.html"


class Elements(HTMLParser):
    """Tags with their attributes, and the text outside scripts."""

    def __init__(self):
        super().__init__()
        self.tags, self.text, self.inside = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and tag == self.inside[-1]:
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside:
            self.text.append(data)


@pytest.fixture(scope="module")
def parsed(page):
    elements = Elements()
    elements.feed(page.read_text())
    return elements


def test_names_from_files_are_inert(page, parsed):
    scripts = [attrs for tag, attrs in parsed.tags if tag == "script"]
    assert [attrs.get("id") for attrs in scripts] == ["specs", "themes", None, None]
    assert not [attrs for _, attrs in parsed.tags if any(name.startswith("on") for name in attrs)]
    images = [attrs["src"] for tag, attrs in parsed.tags if tag == "img"]
    assert all(source.startswith("data:image/svg+xml;base64,") for source in images)
    # It is there, as text, and jinja2 did not read it as a template of its own.
    text = "".join(parsed.text)
    assert EVIL in text
    for svg in (page.parent / "figures").glob("*.svg"):
        assert "<script" not in svg.read_text()
        assert "<img" not in svg.read_text()


def test_nothing_is_loaded_from_elsewhere(parsed):
    loads = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
    found = [attrs.get(loads[tag], "") for tag, attrs in parsed.tags if tag in loads]
    assert all(not url or url.startswith("data:") for url in found)
    links = [attrs["href"] for tag, attrs in parsed.tags if tag == "a"]
    outside = [link for link in links if not link.startswith(("#", "data/", "figures/"))]
    assert outside
    assert all(re.match(r"https://(www\.ensembl|genome\.ucsc|gnomad)", link) for link in outside)
    policy = next(a for _, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'")


def _positives():
    return int(variants()[1]["label"].sum())


def test_what_is_said(page, parsed):
    text = " ".join("".join(parsed.text).split())
    for said in (
        "For research, not for diagnosis",
        "CC BY-NC-SA 4.0",
        "Variants of one cluster are not independent: 60 genes",
        "fewer than ten effective clusters of a class",
        "On the same variants",
        "llr gene by gene",
        "share of positives in the gene",
        "cannot tell the two apart",
        "Leak check",
        "Outcome of every label",
        "The most surprising variants",
        "Negatives, substitutions",
        "Positives, indels",
        "Sensitivity at fixed specificity",
        "Rules that read no sequence",
        "1,000 resamples of whole clusters (seed 0;",
        "scipy 1.",
        f"{_positives()} positives, {600 - _positives()} negatives and 0 without a label",
        "Local likelihood ratio",
        "NT-2.5b-multi",
        "md5 of the contigs",
        "fingerprint of the scores",
    ):
        assert said in text, said
    # A curve, never a call.
    for call in ("PP3", "BP4", "is pathogenic", "likely pathogenic"):
        assert call not in text
    headings = [tag for tag, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1


def test_readable_without_a_script_or_a_pointer(parsed):
    sections = [a for tag, a in parsed.tags if tag == "section" and a.get("class") == "figure"]
    stills = [a for tag, a in parsed.tags if tag == "img"]
    tables = sum(tag == "details" for tag, _ in parsed.tags)
    assert len(sections) == len(stills) == tables >= 9
    assert all(len(still["alt"]) > 40 for still in stills)


def test_variants_have_their_whole_place_and_alleles(parsed):
    text = " ".join("".join(parsed.text).split())
    scores, labels = variants()
    known = scores.join(labels, ["chrom", "pos", "ref", "alt"]).filter(~pl.col("label"))
    first = known.filter(pl.col("alt") == "C").sort("llr", nulls_last=True).row(0, named=True)
    assert f"{first['chrom']}:{first['pos']}CAG > C{first['llr']:.3f}" in text


def test_figures_have_their_n(page):
    specs = json.loads(re.search(r'id="specs">(.*?)</script>', page.read_text(), re.DOTALL)[1])
    for name in ("headline", "curves", "differences", "distributions", "strata", "averages",
                 "severity", "effects", "leaks", "calibration"):  # fmt: skip
        assert re.search(r"\(n = \d+( \+ \d+)?\)", json.dumps(specs[f"figure-{name}"])), name
    assert re.search(r"\(\d+ positive, \d+ negative\)", json.dumps(specs["figure-consequences"]))


def test_specifications_tell_series_apart_without_colour(page):
    specs = json.loads(re.search(r'id="specs">(.*?)</script>', page.read_text(), re.DOTALL)[1])
    for name in ("figure-curves", "figure-distributions"):
        assert '"strokeDash"' in json.dumps(specs[name])
    for name in ("figure-strata", "figure-headline", "figure-consequences"):
        assert '"shape"' in json.dumps(specs[name])


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(page, tmp_path, scheme):
    """Opens from file://; every figure is drawn; the console is silent; nothing was run."""
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    done = subprocess.run(
        [
            CHROMIUM,
            *FLAGS,
            "--enable-logging=stderr",
            "--virtual-time-budget=20000",
            *dark,
            f"--user-data-dir={tmp_path}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    drawn = re.search(r'<body data-drawn="(\d+)"', done.stdout)
    assert drawn, done.stdout[-2000:]
    figures = page.read_text().count('class="figure"')
    assert int(drawn[1]) == figures
    assert "<title>gone" not in done.stdout
    ink = {"light": "#1f2933", "dark": "#d7dde4"}[scheme]
    assert f'fill="{ink}"' in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_each_figure_is_seen_once_on_screen_and_on_paper(page, tmp_path):
    """The drawing on a screen, the picture on paper; at 700 px no heading runs into the next."""
    seen = """[...document.querySelectorAll('.plot')].map((plot) =>
      [...plot.children].filter((e) => getComputedStyle(e).display != 'none')
      .map((e) => e.className.split(' ')[0]).join())"""
    cut = """[...document.querySelectorAll('.variants th')].filter((e) =>
      e.scrollWidth > e.clientWidth).map((e) => e.innerText)"""
    (tmp_path / "profile").mkdir()
    with browser(tmp_path / "profile") as chromium:
        chromium.open(page.as_uri(), width=700)
        figures = chromium.ask("document.querySelectorAll('.plot').length")
        deadline = time.monotonic() + 60
        while not chromium.ask("document.body.dataset.drawn") and time.monotonic() < deadline:
            time.sleep(0.2)
        assert chromium.ask("document.body.dataset.drawn") == str(figures)
        assert chromium.ask(seen) == ["live"] * figures
        assert chromium.ask("document.documentElement.scrollWidth") <= 700
        assert chromium.ask(cut) == []
        chromium.call("Emulation.setEmulatedMedia", {"media": "print"})
        assert chromium.ask(seen) == ["still"] * figures
