"""An installation as users make it: found from any folder, by mypy too, and without extras."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

# Environments of their own.
pytestmark = pytest.mark.slow

WITHOUT = """
import sys
sys.modules |= dict.fromkeys({names!r})
from ntvep.cli import main
main()
"""


@pytest.fixture
def editable(tmp_path):
    """A clone called ntvep, and the Python of an environment where it is installed editable."""
    clone = tmp_path / "ntvep"
    clone.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, clone)
    shutil.copytree(ROOT / "ntvep", clone / "ntvep", ignore=shutil.ignore_patterns("__pycache__"))
    (clone / "tests").mkdir()
    build = "from setuptools import build_meta; print(build_meta.build_editable('made'))"
    (clone / "made").mkdir()
    subprocess.run([sys.executable, "-c", build], cwd=clone, check=True, capture_output=True)
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    with zipfile.ZipFile(next((clone / "made").glob("*.whl"))) as wheel:
        wheel.extractall(site)
    return python


def asked(python, code, folder):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run(
        [python, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_a_folder_of_the_same_name_hides_nothing(editable, tmp_path):
    """In the folder above the clone, ntvep/ would make a namespace package."""
    code = "import ntvep; print(ntvep.__file__, ntvep.NtvepError.__module__, ntvep.__version__)"
    done = asked(editable, code, tmp_path)
    assert done.returncode == 0, done.stderr
    expected = tmp_path / "ntvep" / "ntvep" / "__init__.py"
    assert done.stdout.split() == [str(expected), "ntvep.errors", "0.2.0"]


def test_mypy_finds_an_editable_install(editable, tmp_path):
    code = "import ntvep\nreveal_type(ntvep.NtvepError.exit_status)\n"
    (tmp_path / "user.py").write_text(code)
    words = ["-m", "mypy", "--python-executable", editable, "--follow-imports=silent", "user.py"]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    # What is not found would be Any.
    assert re.search(r'Revealed type is "(builtins\.)?int"', done.stdout), done.stdout


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("evaluate", "a.parquet", "-l", "b.parquet", "-o", "r"), "altair"),
        (("evaluate", "a.parquet", "-l", "b.parquet", "-o", "r"), "jinja2"),
        (("evaluate", "a.parquet", "-l", "b.parquet", "-o", "r"), "vl_convert"),
    ],
)
def test_a_missing_extra_names_itself(tmp_path, words, missing):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(names={missing}), *words],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == (
        f"ntvep: error: {missing} is not installed, which this command needs; type: pip install "
        "'ntvep[report]'"
    )


def test_the_model_side_needs_no_extra(tmp_path):
    """Scoring, its help and the Python API run where no extra is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    names = {Requirement(text).name for text in extras["workflow"] + extras["report"]}
    imported = {{"vl-convert-python": "vl_convert"}.get(n, n) for n in names}
    sequence = "ACGTTGCAAG" * 40
    (tmp_path / "ref.fa").write_text(f">chr1\n{sequence}\n")
    words = ["score", "chr1:201:A:C", "-r", "ref.fa", "-m", str(ROOT / "tests/golden/v2"),
             "--window-tokens", "16", "--max-allele-bases", "20", "--device", "cpu"]  # fmt: skip
    code = WITHOUT.format(names=imported).replace("from ntvep", "import ntvep.api\nfrom ntvep")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("chr1:201:A:C  ok")
