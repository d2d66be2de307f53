"""The pages of docs/: links lead somewhere, and the site builds without a warning or a network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")}
    | {*ROOT.glob("config/*.md"), *ROOT.glob("ntvep/demo/**/*.md")}
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
# A file of the repository that a text names without a link.
NAMED = re.compile(
    r"`((?:docs|benchmarks|recipes|config|ntvep|tests|profiles|envs|workflow)/[\w/.-]+\.\w+)`"
)
LOADED = re.compile(
    r"<(?:script|img|iframe)\b[^>]*\bsrc=\"(https?:)?//|<link\b[^>]*\bhref=\"https?:"
)


def anchors(path: Path) -> set[str]:
    """Names that a repository's page gives its headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {text.strip().replace(" ", "-") for text in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text()
    for link in LINK.findall(text):
        if not re.match(r"https?:|mailto:", link):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link
    for name in NAMED.findall(text):
        assert (ROOT / name).exists(), name


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going",
         "-c", "docs/site", ".", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    pages = sorted(tmp_path.rglob("*.html"))
    assert {page.relative_to(tmp_path).as_posix() for page in pages} >= {
        "index.html", "docs/scores.html", "docs/site/commands.html", "docs/site/python.html",
    }  # fmt: skip
    for page in pages:
        assert not LOADED.search(page.read_text()), page
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"url\(\W?https?:|@import", style.read_text()), style
    # Made from the code: an option, a docstring, an error.
    assert "--max-allele-bases" in (tmp_path / "docs/site/commands.html").read_text()
    reference = (tmp_path / "docs/site/python.html").read_text()
    assert "ntvep.Model.embeddings" in reference
    assert "NumericalFailureError" in reference
