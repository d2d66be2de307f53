"""The pins of constraints.txt and of workflow/envs/*.yaml are one set, and pyproject allows it."""

import re
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

CONDA_NAMES = {"pytorch-cpu": "torch", "pytorch-gpu": "torch", "snakemake-minimal": "snakemake"}


@pytest.fixture(scope="module")
def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.fixture(scope="module")
def requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    every = [*project["dependencies"], *extras["workflow"], *extras["report"]]
    return [Requirement(r) for r in every]


def test_pyproject_allows_the_pins(pins, requirements):
    for requirement in requirements:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])
    assert pins["torch"] == "2.13.0"
    # pip takes no torch later than the one that was tested, even without the constraints.
    (torch,) = [r.specifier for r in requirements if r.name == "torch"]
    assert not torch.contains("2.14.0")


@pytest.mark.parametrize("name", ["ntvep.yaml", "ntvep-gpu.yaml"])
def test_conda_environments_have_the_pins(pins, requirements, name):
    content = yaml.safe_load((ROOT / "workflow" / "envs" / name).read_text())
    found = dict(line.split(" =", 1) for line in content["dependencies"] if "python >" not in line)
    found = {CONDA_NAMES.get(key, key): version for key, version in found.items()}
    wanted = {r.name for r in requirements}
    assert set(found) == wanted
    for key, version in found.items():
        assert version == pins[canonicalize_name(key)], key


def test_the_container_is_built_from_the_pins():
    """No engine builds it in these tests: what can go stale is compared."""
    text = (ROOT / "Containerfile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (python,) = re.findall(r"^FROM \S+/python:([\d.]+)-", text, re.M)
    assert python in SpecifierSet(project["requires-python"])
    instructions = re.sub(r"^#.*\n|\\\n", "", text, flags=re.M)
    installs = [line for line in instructions.splitlines() if "pip install" in line]
    assert installs
    assert all("--constraint constraints.txt" in line for line in installs)
    assert "==" not in instructions
    (user,) = re.findall(r"^USER (\d+)$", text, re.M)
    assert int(user) != 0


def test_no_path_of_one_machine_is_tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    pattern = re.compile(rb"(?<![\w.])/(home|root|work|Users)/\w")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            assert not pattern.search(path.read_bytes()), name
