"""README.md: every command in it runs; those that need a network are only parsed."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib

import pysam
import pytest
import typer

from ntvep import cli
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
DEMO = ROOT / "ntvep" / "demo"
REFERENCE = DEMO / "chr22_20012478_20215143.grch38.fa.gz"
# What a reader puts a model's name for, and the small random model that runs here instead.
MODELS = re.compile(r"\b(?:songlab|marin-dna|arcinstitute|InstaDeepAI)/[\w.-]+|\bMODEL\b")
MODEL = str(ROOT / "tests" / "golden" / "gpn_convnet")
NETWORK = (["model", "fetch"], ["fetch"])


def blocks(language: str) -> list[str]:
    """Code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


COMMANDS = [
    words
    for block in blocks("sh")
    for line in block.replace("\\\n", " ").splitlines()
    if (words := shlex.split(line, comments=True))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder: a reference, and a few variants in it."""
    folder = tmp_path_factory.mktemp("readme")
    for ending in ("", ".fai", ".gzi"):
        (folder / f"GRCh38.fa{ending}").symlink_to(f"{REFERENCE}{ending}")
    lines = (DEMO / "demo.vcf").read_text().splitlines(keepends=True)
    head = [line for line in lines if line.startswith("#")]
    rows = [line for line in lines if "SOURCE=odd" not in line and not line.startswith("#")]
    rows = [line for line in rows if len(line.split("\t")[3]) == len(line.split("\t")[4]) == 1]
    clinical = '##INFO=<ID={},Number=.,Type=String,Description="as in ClinVar">\n'
    head[-1:] = [clinical.format("CLNSIG"), clinical.format("CLNREVSTAT"), head[-1]]
    for name, step in (("in", 70), ("clinvar", 35)):
        # Enough of both classes for an AUROC: every second one is called pathogenic.
        made = []
        for number, line in enumerate(rows[::step]):
            fields = line.rstrip("\n").split("\t")
            sense = ("Benign", "Pathogenic")[number % 2]
            stars = "criteria_provided,_single_submitter"
            fields[7] += f";CLNSIG={sense};CLNREVSTAT={stars}" if name == "clinvar" else ""
            made.append("\t".join(fields) + "\n")
        (folder / f"{name}.vcf").write_text("".join([*head, *made]))
        pysam.tabix_compress(f"{folder}/{name}.vcf", f"{folder}/{name}.vcf.gz")
    sheet = "sample\tvcf\none\tin.vcf.gz\ntwo\tclinvar.vcf.gz\n"
    (folder / "samples.tsv").write_text(sheet)
    return folder


def ran(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Run one ``ntvep`` command in this process; its exit status is 0."""
    sys.argv = words
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code, (words, capsys.readouterr().err)


def parsed(words: list[str]) -> None:
    """Parse a command and run nothing; a wrong name or option raises."""
    command = typer.main.get_command(cli.app)
    while getattr(command, "commands", None):
        command = command.commands[words.pop(0)]
    command.make_context("ntvep", words)


@pytest.mark.slow
def test_every_command_runs(folder, monkeypatch, capsys):
    """In the order of the page: one reads what another has written."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [])
    found = [words for words in COMMANDS if words[0] in ("ntvep", "bcftools")]
    assert len(found) > 10
    for words in found:
        here = [MODELS.sub(MODEL, word).replace("cuda", "cpu") for word in words]
        if words[1:2] in NETWORK or words[1:3] in NETWORK:
            parsed(words[1:])
        elif words[0] == "ntvep":
            ran(here, capsys)
        elif shutil.which("bcftools"):
            subprocess.run(here, check=True, capture_output=True)


def test_the_python_example_runs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (block,) = blocks("python")
    exec(compile(MODELS.sub(MODEL, block), "README.md", "exec"), {})
    assert "llr" in capsys.readouterr().out


@pytest.mark.slow
def test_every_workflow_of_the_page_can_start(folder, monkeypatch):
    monkeypatch.chdir(folder)
    found = [words for words in COMMANDS if words[0] == "snakemake"]
    assert found
    for words in found:
        here = [MODELS.sub(MODEL, word) for word in words]
        for place in ("profiles/", "config/"):
            here = [str(ROOT / word) if word.startswith(place) else word for word in here]
        if "--configfile" in here:
            # That names a genome and a model which are not on this machine.
            here += ["--config", "vcf=in.vcf.gz", "reference=GRCh38.fa", f"model={MODEL}"]
        done = subprocess.run(
            [*here[:1], "--dry-run", "--snakefile", str(ROOT / "Snakefile"), *here[1:]],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (here, done.stdout[-2000:], done.stderr[-2000:])


def test_other_commands_name_what_there_is():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for words in COMMANDS:
        if words[0] == "make":
            assert words[1] in targets
        elif words[0] == "pip":
            asked = re.findall(r"\[(.*)\]", words[-1])
            assert set(",".join(asked).split(",")) - {""} <= set(extras["optional-dependencies"])
            assert all((ROOT / word).exists() for word in words if word.endswith(".txt"))
        else:
            assert words[0] in ("ntvep", "snakemake", "bcftools"), words


def test_the_page_is_short():
    assert len(README.splitlines()) <= 200
