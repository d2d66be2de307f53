"""What we install and why; and that neither an import nor a run asks a network."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import files, metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

# Processes of their own.
pytestmark = pytest.mark.slow

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DOCUMENT = (ROOT / "docs" / "dependencies.md").read_text()


def rows(heading: str) -> dict[str, list[str]]:
    """Columns of a table of docs/dependencies.md, by the package in the first."""
    section = DOCUMENT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    columns = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({column[0] for column in columns}) == len(columns)
    return {canonicalize_name(column[0].strip("`")): column[1:] for column in columns}


def names(requirements: list[str]) -> set[str]:
    names = {canonicalize_name(Requirement(text).name) for text in requirements}
    return names - {"ntvep"}


@pytest.mark.parametrize(
    ("heading", "requirements"),
    [
        ("What ntvep needs", [*PROJECT["dependencies"], *EXTRAS["workflow"], *EXTRAS["report"]]),
        ("What its tests need", EXTRAS["test"]),
        ("What its pages need", EXTRAS["docs"]),
    ],
)
def test_every_dependency_has_its_reason_and_licence(heading: str, requirements: list[str]) -> None:
    documented = rows(heading)
    assert set(documented) == names(requirements)
    assert all(len(reason) > 10 and licence for reason, licence in documented.values())


def test_licences_are_those_that_packages_state() -> None:
    words = {"Apache-2.0": "Apache", "BSD-3-Clause": "BSD", "BSD-2-Clause": "BSD", "MIT": "MIT"}
    for name, (_, licence) in rows("What ntvep needs").items():
        stated = metadata(name)
        text = " ".join(
            [
                *stated.get_all("License-Expression", []),
                *stated.get_all("License", []),
                *(line for line in stated.get_all("Classifier", []) if "License" in line),
                # Some state it in a file alone.
                *(path.read_text() for path in files(name) or [] if path.name == "LICENSE"),
            ]
        )
        assert words[licence] in text or (licence.startswith("BSD") and "Redistribution" in text)


def test_hashes_are_of_the_pins() -> None:
    """Each pin but torch's, with one hash or more, and nothing else."""
    pinned = {
        canonicalize_name(line.split("==")[0]): line.split("==")[1]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    hashed = {}
    text = (ROOT / "constraints-hashes.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            pin, *hashes = line.split()
            name, version = pin.split("==")
            assert hashes
            assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), line
            assert len(set(hashes)) == len(hashes)
            hashed[canonicalize_name(name)] = version
    assert pinned.pop("torch")
    assert hashed == pinned


# Every way out: a name that is looked up, a connection, a datagram.
OFFLINE = """
import socket
def refuse(*arguments, **options):
    raise AssertionError("asked a network")
for name in ("connect", "connect_ex", "sendto", "bind", "listen"):
    setattr(socket.socket, name, refuse)
for name in ("getaddrinfo", "gethostbyname", "create_connection", "gethostbyaddr"):
    setattr(socket, name, refuse)
"""


def run_offline(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", OFFLINE + code],
        cwd=folder, env={"PYTHONPATH": str(ROOT), "NTVEP_HOME": str(folder / "home"),
        "HOME": str(folder), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_guard_sees_a_call(tmp_path: Path) -> None:
    done = run_offline(tmp_path, "import urllib.request as u; u.urlopen('http://localhost:9')")
    assert "asked a network" in done.stderr


def test_import_and_score_ask_no_network(tmp_path: Path) -> None:
    """A hub id that is not here too: the answer is an error, not a download."""
    sequence = "ACGTTGCAAG" * 40
    (tmp_path / "ref.fa").write_text(f">chr1\n{sequence}\n")
    (tmp_path / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        "chr1\t201\t.\tA\tC\t.\t.\t.\n"
    )
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "ntvep").rglob("*.py"))
    ]
    code = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name.removesuffix(".__init__"))
from ntvep.cli import main
arguments = ["score", "in.vcf", "-r", "ref.fa", "--window-tokens", "16", "--max-allele-bases", "20"]
def run(*more):
    sys.argv = ["ntvep", *arguments, *more]
    try:
        main()
    except SystemExit as left:
        return left.code
print(run("-m", {str(ROOT / "tests" / "golden" / "v2")!r}, "-o", "out.vcf"))
print(run("-m", "InstaDeepAI/nucleotide-transformer-500m-human-ref", "-o", "none.vcf"))
"""
    done = run_offline(tmp_path, code)
    assert done.stdout.split() == ["0", "1"], done.stderr[-3000:]
    assert "asked a network" not in done.stderr
    assert "scoring never downloads" in done.stderr
    assert "NTVEP_STATUS=ok" in (tmp_path / "out.vcf").read_text()
