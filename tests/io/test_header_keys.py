"""Keys that a header lacks: declared as the specification has them, if the values agree."""

import re
import shutil
import subprocess
import time
import warnings
from pathlib import Path

import pysam
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ntvep.io.vcf_keys import FLAG, TEXT, Shape, reserved, samples_pattern, widened
from tests.io.files import SITES, inspected, inspected_text, record, write

SUFFIXES = [".vcf", ".vcf.gz", ".bcf"]
needs_bcftools = pytest.mark.skipif(
    not shutil.which("bcftools"), reason="bcftools is not installed"
)
# The tables of reserved keys of VCF 4.3 (sections 1.6.1, 1.6.2), row by row.
INFO_OF_4_3 = """AA 1 String, AC A Integer, AD R Integer, ADF R Integer, ADR R Integer, AF A Float,
AN 1 Integer, BQ 1 Float, CIGAR A String, DB 0 Flag, DP 1 Integer, END 1 Integer, H2 0 Flag,
H3 0 Flag, MQ 1 Float, MQ0 1 Integer, NS 1 Integer, SB 4 Integer, SOMATIC 0 Flag,
VALIDATED 0 Flag, 1000G 0 Flag"""
FORMAT_OF_4_3 = """AD R Integer, ADF R Integer, ADR R Integer, DP 1 Integer, EC A Integer,
FT 1 String, GL G Float, GP G Float, GQ 1 Integer, GT 1 String, HQ 2 Integer, MQ 1 Integer,
PL G Integer, PP G Integer, PQ 1 Integer, PS 1 Integer"""
# Declarations in which versions differ (sections 3 and 4), and those of 4.5.
OF_VERSIONS = """INFO 2 SVLEN . Integer, INFO 3 SVLEN . Integer, INFO 4 SVLEN A Integer,
INFO 2 CIPOS 2 Integer, INFO 4 CIPOS . Integer, INFO 2 CN 1 Integer, INFO 4 CN A Float,
INFO 2 MATEID . String, INFO 5 MATEID A String, INFO 2 MEINFO 4 String, INFO 4 MEINFO . String,
INFO 4 SVCLAIM A String, INFO 5 RUC . Float, FORMAT 2 CN 1 Integer, FORMAT 4 CN 1 Float,
FORMAT 2 CNL . Float, FORMAT 3 CNL G Float, FORMAT 4 PSL P String, FORMAT 2 PSL . String,
FORMAT 5 LEN 1 Integer, FORMAT 5 LAD LR Integer, FORMAT 4 LAD . Integer, FORMAT 5 M5mC M Float"""


SHAPES = [
    TEXT,
    *(Shape(number, "Integer") for number in ("1", "2", "A", "R", "G", "P", ".")),
    *(Shape(number, "Float") for number in ("1", "A", "G")),
    Shape("1", "String"),
]


def rows(text: str) -> list[list[str]]:
    return [row.split() for row in text.replace("\n", " ").split(", ")]


def test_reserved_keys_are_those_of_the_specification() -> None:
    for field, table in (("INFO", INFO_OF_4_3), ("FORMAT", FORMAT_OF_4_3)):
        for key, number, kind in rows(table):
            assert reserved(field, 3)[key.encode()] == (number, kind), key  # type: ignore[arg-type]
    for field, minor, key, number, kind in rows(OF_VERSIONS):
        found = reserved(field, int(minor))[key.encode()]  # type: ignore[arg-type]
        assert found == (number, kind), (minor, key)


@pytest.mark.parametrize(
    ("shape", "value", "alts", "expected"),
    [
        (("1", "Integer"), b"7", 1, ("1", "Integer")),
        (("1", "Integer"), b".", 1, ("1", "Integer")),
        (("1", "Integer"), b"", 1, ("1", "Integer")),
        (("1", "Integer"), b"7.5", 1, ("1", "Float")),
        (("1", "Integer"), b"7,8", 1, (".", "Integer")),
        (("1", "Integer"), b"x", 1, ("1", "String")),
        # BCF's smallest integers stand for what is missing, and 2^31 is not a 32-bit integer.
        (("1", "Integer"), b"2147483647", 1, ("1", "Integer")),
        (("1", "Integer"), b"2147483648", 1, ("1", "Float")),
        (("1", "Integer"), b"-2147483640", 1, ("1", "Integer")),
        (("1", "Integer"), b"-2147483641", 1, ("1", "Float")),
        (("A", "Float"), b"0.5,.", 2, ("A", "Float")),
        (("A", "Float"), b"1e-5,-inf", 2, ("A", "Float")),
        (("A", "Float"), b"0.5", 2, (".", "Float")),
        (("A", "Float"), b"0.5", 0, (".", "Float")),
        (("A", "Float"), b"0,5x", 2, ("A", "String")),
        (("R", "Integer"), b"1,2,3", 2, ("R", "Integer")),
        (("R", "Integer"), b"1", 0, ("R", "Integer")),
        (("R", "Integer"), b"1,2", 2, (".", "Integer")),
        (("G", "Integer"), b"0,1,2", 1, ("G", "Integer")),
        (("G", "Integer"), b"0,1", 1, ("G", "Integer")),
        (("G", "Integer"), b"0,1,2,3,4,5", 2, ("G", "Integer")),
        (("G", "Integer"), b"0,1,2,3,4", 2, (".", "Integer")),
        (("P", "Integer"), b"1,2,3", 1, ("P", "Integer")),
        (("1", "String"), b"a,b", 1, TEXT),
        (FLAG, b"1", 1, TEXT),
        (TEXT, b"1", 1, TEXT),
    ],
)
def test_a_declaration_agrees_with_every_value(
    shape: tuple[str, str], value: bytes, alts: int, expected: tuple[str, str]
) -> None:
    assert widened(Shape(*shape), value, alts) == expected


@given(
    st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3),
    st.integers(0, 3),
    st.lists(st.text("019.,:-ex", max_size=9), max_size=3),
)
@example([Shape("G", "Integer"), TEXT], 2, ["0,1,2,3,4,5:x", "0,1,2", ".", "", "1,.,3:"])
def test_samples_that_match_widen_nothing(
    shapes: list[Shape], alts: int, samples: list[str]
) -> None:
    columns = [sample.encode() for sample in samples]
    values = [
        (shape, value)
        for column in columns
        for shape, value in zip(shapes, column.split(b":"), strict=False)
    ]
    agree = all(widened(shape, value, alts) == shape for shape, value in values)
    too_long = any(column.count(b":") >= len(shapes) for column in columns)
    text = b"".join(b"\t" + column for column in columns)
    matches = samples_pattern(shapes, alts).fullmatch(text) is not None
    assert agree or not matches
    assert not (too_long and matches)
    # What is usual matches, or all that this saves is lost.
    usual = all(re.fullmatch(rb"[019](,[019])*|\.", value) for _, value in values)
    few = all(
        value.count(b",") in (0, alts, (alts + 1) * (alts + 2) // 2 - 1) for _, value in values
    )
    assert matches or not (agree and usual and few) or too_long


def test_many_samples_take_no_time(tmp_path: Path) -> None:
    """Millions of values whose keys are not declared: seconds if each is taken apart in Python."""
    names = b"\tFORMAT" + b"".join(b"\ts%d" % i for i in range(500))
    line = record(10).rstrip(b"\n") + b"\tGT:DP:AD:PL" + b"\t0/1:7:3,4:10,0,20" * 500 + b"\n"
    text = SITES + names + b"\n" + line * 2000
    started = time.process_time()
    inspection = inspected_text(tmp_path, text)
    assert time.process_time() - started < 4
    assert [line for line in inspection.added if b"PL,Number=G,Type=Integer," in line]


BARE = (
    SITES
    + b"\tFORMAT\ts1\ts2\n"
    + b"chr1\t10\t.\tA\tC\t50\tPASS\tDP=5;AF=0.5;AC=1;DB;END=10;MQ=60.0;NEW;X=3;SB=0.3"
    + b"\tGT:AD:DP:GQ:PL\t0/1:2,3:5:99:10,0,20\t./.\n"
    + b"chr1\t20\t.\tA\tC,G\t.\t.\tDP=.;AF=0.1,.;AC=1,2;MQ=59;X=4;IMPRECISE;SVLEN=-3,4;AN=4;AN"
    + b"\tGT:AD:DP:GQ:PL:FT:HQ:Y\t0|2:1,2,3:6:9.5:0,1,2,3,4,5:q1;q2:5,6:a\t1:.:2\n"
)
DECLARED = """INFO AC A Integer, INFO AF A Float, INFO AN 1 Integer, INFO DB 0 Flag,
INFO DP 1 Integer, INFO END 1 Integer, INFO IMPRECISE 0 Flag, INFO MQ 1 Float, INFO NEW 0 Flag,
INFO SB . Float, INFO SVLEN . Integer, INFO X . String, FORMAT AD R Integer, FORMAT DP 1 Integer,
FORMAT FT 1 String, FORMAT GQ 1 Float, FORMAT GT 1 String, FORMAT HQ 2 Integer,
FORMAT PL G Integer, FORMAT Y . String"""


def test_a_header_is_completed_with_number_and_type(tmp_path: Path) -> None:
    added = [line.decode() for line in inspected_text(tmp_path, BARE).added]
    keys = [line for line in added if line.startswith(("##INFO", "##FORMAT"))]
    assert keys == [
        f'##{field}=<ID={key},Number={number},Type={kind},Description="Not declared in the input">'
        for field, key, number, kind in rows(DECLARED)
    ]


def test_a_declared_key_is_not_judged(tmp_path: Path) -> None:
    own = b'##fileformat=VCFv4.2\n##INFO=<ID=AF,Number=.,Type=String,Description="x">\n'
    inspection = inspected_text(tmp_path, own + BARE)
    assert not [line for line in inspection.added if b"ID=AF," in line]


@pytest.mark.parametrize("suffix", SUFFIXES)
@needs_bcftools
def test_bcftools_filters_by_keys_that_the_header_lacked(tmp_path: Path, suffix: str) -> None:
    output = write(inspected_text(tmp_path, BARE), tmp_path / f"out{suffix}")

    def positions(expression: str) -> list[str]:
        asked = ["bcftools", "query", "-i", expression, "-f", "%POS\n", str(output)]
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert positions("INFO/AF>0.2") == ["10"]
    assert positions("INFO/AC[1]>1") == ["20"]
    assert positions("INFO/DB=1") == ["10"]
    assert positions("INFO/DP>4 & INFO/MQ>59.5") == ["10"]
    assert positions('GT="het" & FMT/DP>5') == ["20"]
    assert positions("FMT/PL[0:0]>5") == ["10"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pysam_has_nothing_to_warn_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str
) -> None:
    output = write(inspected_text(tmp_path, BARE), tmp_path / f"out{suffix}")
    before = pysam.set_verbosity(3)
    try:
        with pysam.VariantFile(str(output)) as variants:
            first, second = variants
    finally:
        pysam.set_verbosity(before)
    assert first.info["AF"] == (pytest.approx(0.5),)
    assert first.info["DB"] is True
    assert first.samples["s1"]["GT"] == (0, 1)
    assert (first.samples["s1"]["DP"], first.samples["s1"]["AD"]) == (5, (2, 3))
    assert second.info["AC"] == (1, 2)
    assert second.info["SVLEN"] == (-3, 4)
    assert second.samples["s1"]["PL"] == (0, 1, 2, 3, 4, 5)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cyvcf2_reads_numbers(tmp_path: Path, suffix: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cyvcf2 = pytest.importorskip("cyvcf2")
    output = write(inspected_text(tmp_path, BARE), tmp_path / f"out{suffix}")
    first, second = cyvcf2.VCF(output)
    assert (first.INFO["DP"], first.INFO["AF"]) == (5, pytest.approx(0.5))
    assert first.format("DP").tolist()[0] == [5]
    assert first.gt_types.tolist() == [1, 2]
    assert second.INFO["AC"] == (1, 2)


def test_what_is_completed_is_not_completed_again(tmp_path: Path) -> None:
    once = write(inspected_text(tmp_path, BARE), tmp_path / "once.vcf")
    assert inspected(once).added == ()
    assert once.read_bytes().count(b"<ID=AF,") == 1
