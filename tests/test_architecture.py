"""docs/architecture.md agrees with the code: python recipes/draw_architecture.py draws it anew."""

import importlib.util
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def recipe():
    path = ROOT / "recipes" / "draw_architecture.py"
    spec = importlib.util.spec_from_file_location("draw_architecture", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_code_says(recipe):
    page = recipe.PAGE.read_text()
    drawn = page.split(recipe.BEGIN)[1].split(recipe.END)[0].strip()
    assert drawn == recipe.drawn().strip(), "type: python recipes/draw_architecture.py"


def test_every_module_is_on_the_page_and_says_what_it_does(recipe):
    text = recipe.PAGE.read_text()
    for path in (ROOT / "ntvep").rglob("*.py"):
        name = path.parent.name + "/" if path.stem == "__init__" else path.stem
        row = re.search(
            rf"^\| `{re.escape(name.replace('ntvep/', '__init__'))}(\.py)?` \| (.*)", text, re.M
        )
        assert row, path
        assert len(row[2].split(" |")[0]) > 10, path


def test_its_imports_are_pythons(recipe):
    """What Python itself loads for a module is reached by the arrows of the page."""
    start = "ntvep.scoring"
    reached, left = set(), [start]
    while left:
        module = left.pop()
        reached.add(module)
        left += recipe.imports(module) - reached
    code = f"import {start}, sys; print(*[m for m in sys.modules if m.startswith('ntvep.')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= reached
    assert {"ntvep.dna", "ntvep.windows"} <= set(done.stdout.split())
