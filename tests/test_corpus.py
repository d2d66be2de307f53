"""The whole command on the hts-specs suite of valid and invalid VCFs, with a small model."""

import csv
import logging
import signal
import sys

import pytest

from ntvep import cli
from ntvep.models.loaded import load_model
from tests.conftest import ROOT

MODEL = str(ROOT / "tests" / "golden" / "v2")
LOADED = load_model(MODEL, device="cpu")
PARTS = 4
# Longest that one command may take for one file.
SECONDS = 10


def bodies(data):
    """Records, each without INFO; and INFO apart. A blank line is not a record."""
    lines = [line for line in data.splitlines() if line and not line.startswith(b"#")]
    fields = [line.rstrip(b"\r\n").split(b"\t") for line in lines]
    return [f[:7] + f[8:] for f in fields], [f[7] for f in fields]


def hangs(number, frame):
    raise AssertionError(f"a file took more than {SECONDS} s")


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_file_passes_through_or_is_refused_whole(shared, tmp_path, monkeypatch, capsys, part):
    """A spec-valid file: exit 0, every byte outside INFO kept; any other: that, or one error.

    ``variants`` says of each allele what ``score`` says.
    """
    corpus = shared / "data" / "vcf-corpus"
    if not corpus.is_dir():
        pytest.skip("no VCF corpus beside this checkout")
    reference = tmp_path / "ref.fa"
    reference.write_text(">1\n" + "ACGTTGCA" * 100 + "\n>20\n" + "GATTACAC" * 100 + "\n")
    rows = csv.DictReader((corpus / "MANIFEST.tsv").read_text().splitlines(), delimiter="\t")
    files = sorted(row["file"] for row in rows)[part::PARTS]
    assert len(files) > 150
    # One model for all files: its loading is tested elsewhere.
    monkeypatch.setattr("ntvep.commands.ready.load_model", lambda _, **options: LOADED)
    limits = [
        "--window-tokens",
        "16",
        "--max-allele-bases",
        "20",
        "--ref-mismatch-limit",
        "1",
        "-q",
    ]

    def run(command, name, output, *options):
        given = [command, str(corpus / name), "-r", str(reference), "-o", str(output)]
        monkeypatch.setattr(sys, "argv", ["ntvep", *given, *limits, *options])
        logging.getLogger("ntvep").handlers = []
        # What hangs is ended, and fails the test.
        signal.alarm(SECONDS)
        with pytest.raises(SystemExit) as left:
            cli.main()
        signal.alarm(0)
        # Log lines begin with their time; the error does not.
        return left.value.code, capsys.readouterr().err.partition("ntvep: error:")[1:]

    signal.signal(signal.SIGALRM, hangs)
    refused = 0
    for name in files:
        output, listed = tmp_path / "out.vcf", tmp_path / "out.tsv"
        code, error = run("score", name, output, "-m", MODEL, "--scores", "llr")
        assert (code, error) == run("variants", name, listed, "-m", MODEL), name
        if code == 0:
            before, infos = bodies((corpus / name).read_bytes())
            after, annotated = bodies(output.read_bytes())
            assert after == before, name
            statuses = [line.split("\t")[-1] for line in listed.read_text().splitlines()[1:]]
            for old, new in zip(infos, annotated, strict=True):
                assert old in (b".", b"") or new.startswith(old.rstrip(b";") + b";"), name
                status = new.rpartition(b"NTVEP_STATUS=")[2].decode().split(",")
                assert status == [statuses.pop(0) for _ in status], name
            assert not statuses, name
            for path in (output, listed, tmp_path / "out.vcf.summary.json"):
                path.unlink()
        else:
            refused += 1
            assert "/passed/" not in name, error
            assert code == 1, name
            assert len(error[1].strip().splitlines()) == 1, name
        assert sorted(path.name for path in tmp_path.iterdir()) == ["ref.fa", "ref.fa.fai"], name
    assert refused > 0
