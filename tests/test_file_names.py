"""Files whose names no header line can hold as they are: a line end, bytes that are not UTF-8."""

import os
import subprocess
import sys
from pathlib import Path

import pysam
import pytest

from ntvep.provenance import Provenance
from ntvep.settings import Settings
from tests.test_cli import MODEL, WINDOW, body, files, run, score  # noqa: F401 - fixtures
from tests.toy import identity

# Whole runs, in processes of their own.
pytestmark = pytest.mark.slow

NOT_UTF8 = os.fsdecode(b"in\xff.vcf")
NAMES = ["in\n.vcf", "in\r##x.vcf", NOT_UTF8, 'in"\\x0a.vcf', "in\u2028\x07.vcf"]
SUFFIXES = [".vcf", ".vcf.gz", ".vcf.gz", ".vcf", ".vcf.gz"]


def said(*arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
    """A process of its own: how it reads its arguments, and prints, is what is tested."""
    main = "from ntvep.cli import main; main()"
    return subprocess.run([sys.executable, "-c", main, *arguments], capture_output=True)


@pytest.mark.parametrize(("name", "suffix"), [*zip(NAMES, SUFFIXES, strict=True)])
def test_any_file_name_makes_a_valid_header(run, files, name, suffix):  # noqa: F811
    (files / "in.vcf").rename(files / name)
    output = name.removesuffix(".vcf") + "-out" + suffix
    done = score(run, source=name, output=output)
    assert done.status == 0, done.err
    with pysam.VariantFile(os.fsencode(files / output)) as variants:
        lines = str(variants.header).splitlines()
        assert sum(1 for _ in variants) == 8
    assert all(line.startswith("#") for line in lines)
    made = Provenance.from_vcf_header(lines, output)
    # What was typed can be told from the header.
    assert name in made.command
    assert run("verify", output, "-r", "ref.fa", "-m", MODEL).status == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_name_comes_back_from_the_header(name):
    model = identity(name, revision="r1")
    made = Provenance("1.2", f"ntvep {name}", model, Settings(("llr",)), name, {"1": "m"}, "f" * 16)
    lines = made.vcf_lines()
    for line in lines:
        line.encode()
        assert line.isprintable()
    declared = [f"##INFO=<ID={c.vcf},Number=A>" for c in made.columns if c.vcf]
    assert Provenance.from_vcf_header([*declared, *lines], "x.vcf") == made


def test_a_printable_name_stands_as_it_is():
    model = identity("é-模型 v2", revision="r1")
    made = Provenance("1.2", "ntvep score é.vcf", model, Settings(("llr",)), "r.fa", {}, "f" * 16)
    command, scores = made.vcf_lines()
    assert command == '##ntvep_command=<Version=1.2,Command="ntvep score é.vcf">'
    assert '<Model="é-模型 v2",' in scores


@pytest.mark.parametrize("output", [b"out\xff.bcf", b"out\xff.parquet", b"out.vcf"])
def test_a_name_that_a_library_refuses_is_an_error(files, output):  # noqa: F811
    reference = b"ref.fa" if b"\xff" in output else b"ref\xff.fa"
    Path("ref.fa").rename(os.fsdecode(reference))
    before = sorted(Path().iterdir())
    done = said("score", "in.vcf", "-r", reference, "-m", MODEL, "-o", output, *WINDOW)
    assert done.returncode == 1
    last = done.stderr.decode().splitlines()[-1]
    refused = os.fsdecode(reference if output == b"out.vcf" else output)
    assert last == (
        "ntvep: error: " + refused.replace("\udcff", "\\udcff") + ": its name is not UTF-8, and a "
        "library cannot open it; no output was written. Rename it with: mv"
    )
    assert b"Traceback" not in done.stderr
    assert [path for path in sorted(Path().iterdir()) if path.suffix != ".fai"] == before


def test_a_name_that_is_not_utf8_is_printed(files):  # noqa: F811
    Path("in.vcf").rename(NOT_UTF8)
    done = said("score", NOT_UTF8, "-r", "ref.fa", "-m", MODEL, "-o", b"o\xff.vcf", *WINDOW)
    assert done.returncode == 0, done.stderr
    done = said("verify", b"o\xff.vcf", "-r", "ref.fa", "-m", MODEL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"o\\udcff.vcf: 74 scores of 10 alleles reproduced")
    assert len(body(Path(os.fsdecode(b"o\xff.vcf")).read_text())) == 9
