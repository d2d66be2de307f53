"""What a user's file says of people stays in it: marked words are looked for wherever we write."""

import gzip
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ntvep import cli
from tests.conftest import ROOT

MODEL = str(ROOT / "tests" / "golden" / "v2")
CHR1 = "".join(np.random.default_rng(5).choice(list("ACGT"), 600))
OTHER = str.maketrans("ACGT", "CGTA")
# Wherever a person can be named: header, ID, FILTER, INFO, FORMAT, sample names and their columns.
HEADER = (
    "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=600>\n##MARK=header\n"
    '##SAMPLE=<ID=MARKsample,Description="MARKdescription">\n'
    '##INFO=<ID=MARKinfo,Number=1,Type=String,Description="MARKmeaning">\n'
    '##FILTER=<ID=MARKfilter,Description="f">\n'
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    '##FORMAT=<ID=MARKformat,Number=1,Type=String,Description="f">\n'
)
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tMARKone\tMARKtwo\n"


def record(place: int, **change: str) -> str:
    ref = CHR1[place - 1]
    fields = {
        "chrom": "chr1", "pos": str(place), "id": "MARKid", "ref": ref, "alt": ref.translate(OTHER),
        "qual": "MARKqual", "filter": "MARKfilter", "info": "MARKinfo=MARKvalue;MARKflag",
        "format": "GT:MARKformat", "one": "0|1:MARKgenotype", "two": "1/1:MARKgenotype",
    } | change  # fmt: skip
    return "\t".join(fields.values()) + "\n"


def without(line: str, *columns: int) -> str:
    """The line with these columns lost, and as many appended: all behind them are shifted."""
    fields = line.rstrip("\n").split("\t")
    kept = [field for place, field in enumerate(fields) if place not in columns]
    return "\t".join([*kept, *fields[-1:] * len(columns)]) + "\n"


WRONG: dict[str, str] = {
    "a column less": record(9).replace("\tMARKqual", "", 1),
    "a column more": record(9).replace("\n", "\tMARKmore\n"),
    "blanks for tabs": record(9).replace("\t", " "),
    "one blank for a tab": record(9).replace("chr1\t", "MARKone chr1\t"),
    "POS is an id": record(9, pos="MARKid"),
    "POS is a genotype": record(9, pos="0/1"),
    "REF is an id": record(9, ref="MARK id"),
    "ALT is INFO": record(9, alt="MARKinfo=1;x y"),
    "ALT ends with a comma": record(9, alt="MARKalt,"),
    "CHROM is a name": record(9, chrom="MARK name"),
    "CHROM is not UTF-8": record(9, chrom="MARK\udcff"),
    "a very long POS": record(9, pos="9" * 12 + "MARK"),
    "NUL bytes": record(9, info="MARKinfo=\0\0"),
    "a header line": "##MARKheader\n",
    "a tab more": record(9)[:-1] + "\t\n",
    "cut": record(9)[:60],
    **{f"columns {lost} lost": without(record(9), *lost)
       for lost in [(0,), (1,), (2,), (0, 1), (0, 1, 2), (0, 1, 2, 3), (1, 2, 3, 4, 5)]},
}  # fmt: skip
HEADERS: dict[str, str] = {
    "no column line": HEADER + record(9),
    "column line of blanks": HEADER + COLUMNS.replace("\t", " ") + record(9),
    "other columns": HEADER + COLUMNS.replace("INFO", "MARKinfo") + record(9),
    "a header line without #": HEADER + "MARKheader\n" + COLUMNS + record(9),
    "NUL bytes in the header": HEADER + "##MARK\0\n" + COLUMNS + record(9),
    "NUL bytes in a sample's name": HEADER + COLUMNS.replace("two", "\0") + record(9),
    "nothing declared": COLUMNS + record(9) + record(12, info='MARK"odd,key=1'),
}

# With its ID lost, a record is one still: QUAL stands for ALT. No text can tell.
PASSING = ("nothing declared", "columns (2,) lost")


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """``run(text, "score", ...)``: exit status, and all that was said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))
    (tmp_path / "ref.fa").write_text(f">chr1\n{CHR1}\n")

    def call(text: str, command: str, *arguments: str) -> tuple[int, str]:
        (tmp_path / "in.vcf").write_bytes(text.encode("utf-8", "surrogateescape"))
        monkeypatch.setattr(sys, "argv", ["ntvep", command, "in.vcf", *arguments])
        logging.getLogger("ntvep").handlers = []
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert isinstance(left.value.code, int)
        captured = capfd.readouterr()
        return left.value.code, captured.out + captured.err

    return call


SCORE = (
    "-r", "ref.fa", "-m", MODEL, "--window-tokens", "16", "--max-allele-bases", "20", "-v",
    "--scores", "llr", "--ref-mismatch-limit", "1",
)  # fmt: skip
VARIANTS = ("-r", "ref.fa", "-o", "alleles.tsv", "--ref-mismatch-limit", "1")


@pytest.mark.parametrize("wrong", [*WRONG, *HEADERS])
def test_no_error_quotes_a_person(run, tmp_path: Path, wrong: str) -> None:
    text = HEADERS.get(wrong) or HEADER + COLUMNS + record(7) + WRONG[wrong] + record(30)
    for mode in ("fail", "skip"):
        for command, options in (("variants", VARIANTS), ("split", ("-o", "c", "--chunks", "2"))):
            status, said = run(text, command, *options, "--on-bad-record", mode)
            assert "MARK" not in said
            assert "Traceback" not in said
            if command == "variants":
                refused = wrong not in PASSING and (mode == "fail" or wrong in HEADERS)
                assert status == int(refused), said
                (tmp_path / "alleles.tsv").unlink(missing_ok=True)


def test_nothing_but_the_annotated_vcf_holds_it(run, tmp_path: Path) -> None:
    wrong = "".join(line for name, line in WRONG.items() if name not in PASSING)
    text = HEADER + COLUMNS + record(7) + record(30) + record(31, alt="<DEL>") + wrong
    outputs = ("-o", "out.vcf", "--table", "out.parquet", "--on-bad-record", "skip")
    status, said = run(text, "score", *SCORE, *outputs)
    assert status == 0, said
    assert "line 13 left out: 10 columns" in said
    assert "MARK" not in said
    summary = (tmp_path / "out.vcf.summary.json").read_text()
    # One passes, and the cut one is one line with what follows it.
    assert len(json.loads(summary)["bad_records"]) == len(WRONG) - 2
    status, said = run(text, "split", "-o", "c", "--chunks", "2", "--on-bad-record", "skip")
    assert status == 0, said
    annotated = (tmp_path / "out.vcf").read_text().splitlines(keepends=True)
    assert all("MARK" not in line for line in annotated if line.startswith("##ntvep_"))
    # Where they belong they all are: but for its INFO, a record is what it was.
    expected = record(7).split("\t")
    found = next(line for line in annotated if line.startswith("chr1\t7\t")).split("\t")
    assert found[:7] + found[8:] == expected[:7] + expected[8:]
    assert found[7].startswith(expected[7] + ";NTVEP_")
    private = {"in.vcf", "out.vcf"}
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name not in private:
            assert b"MARK" not in path.read_bytes(), path.name
    for chunk in (tmp_path / "c").iterdir():
        assert b"MARK" not in gzip.decompress(chunk.read_bytes())


def test_a_model_that_fails_says_nothing_of_them(run, tmp_path: Path) -> None:
    """Errors that come after the input was read: no model, no output folder, a full disk."""
    text = HEADER + COLUMNS + record(7)
    for options in (
        ("-m", "no-such-model", "-o", "out.vcf"),
        ("-m", MODEL, "-o", "nowhere/out.vcf"),
        ("-m", MODEL, "-o", "out.vcf", "--window-tokens", "9999"),
        ("-m", MODEL, "-o", "out.bcf", *SCORE[4:]),
    ):
        status, said = run(text, "score", "-r", "ref.fa", *options)
        assert status or options[3] == "out.bcf", said
        assert "MARK" not in said
    assert not (tmp_path / "out.vcf").exists()
