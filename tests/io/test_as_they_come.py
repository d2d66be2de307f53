"""Files as they come: what can be read is read and said, what cannot is named with what to type."""

import bz2
import gzip
import io
import lzma
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pysam
import pytest

from ntvep.errors import InputError, OutputError
from ntvep.io import vcf
from tests.io.files import (
    HEADER,
    SITES,
    alleles,
    annotated_lines,
    header_lines,
    inspected,
    inspected_text,
    many,
    record,
    records_of,
    sites,
    text_of,
    without_ours,
    write,
)

needs_bcftools = pytest.mark.skipif(
    not shutil.which("bcftools"), reason="bcftools is not installed"
)
GENOTYPES = b"\tFORMAT\ts1\ts2"


def bcftools(*arguments: str | Path) -> bytes:
    done = subprocess.run(["bcftools", *map(str, arguments)], check=True, capture_output=True)
    assert b"[E::" not in done.stderr
    assert b"[W::" not in done.stderr
    return done.stdout


def typed(error: InputError | OutputError, names: dict[str, Path]) -> None:
    """Do what an error says that one should type, as a user would."""
    command = re.search(r"(?:Type|Remove it with): (.*)", str(error))
    assert command, error
    line = re.sub(r", or (leave|remove) .*", "", command[1])
    for name, path in names.items():
        line = line.replace(name, str(path))
    subprocess.run(["bash", "-c", line], check=True)


# Tabs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tabs", [b"\t", b"\t\t"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("samples", [b"", GENOTYPES])
@needs_bcftools
def test_a_column_line_that_ends_in_tabs(
    tmp_path: Path, tabs: bytes, end: bytes, samples: bytes
) -> None:
    genotypes = b"\tGT\t0/1\t1/1" if samples else b""
    lines = [record(pos).rstrip(b"\n") + genotypes + b"\n" for pos in (10, 11)]
    text = (HEADER + SITES + samples + tabs + b"\n" + b"".join(lines)).replace(b"\n", end)
    inspection = inspected_text(tmp_path, text)
    assert inspection.records == 2
    assert "tab at the end of the #CHROM line removed: other tools refuse it" in inspection.notes
    assert inspection.header[-1] == SITES + samples + end
    output = write(inspection, tmp_path / "out.vcf")
    assert list(map(without_ours, records_of(output.read_bytes()))) == [
        line.replace(b"\n", end) for line in lines
    ]
    # bcftools itself refuses the input, and reads the output.
    assert len(bcftools("view", "-H", output).splitlines()) == 2


def test_records_that_end_in_the_tab_of_the_column_line(tmp_path: Path) -> None:
    """They were read before, and still are, beside records without it."""
    lines = [record(10).replace(b"\n", b"\t\n"), record(11)]
    inspection = inspected_text(tmp_path, HEADER + SITES + b"\t\n" + b"".join(lines))
    assert inspection.records == 2
    assert list(map(without_ours, annotated_lines(inspection))) == lines


@pytest.mark.parametrize("samples", [b"", GENOTYPES])
def test_a_record_with_a_tab_too_many_says_so(tmp_path: Path, samples: bytes) -> None:
    genotypes = b"\tGT\t0/1\t1/1" if samples else b""
    good = record(10).rstrip(b"\n") + genotypes
    text = HEADER + SITES + samples + b"\n" + good + b"\n" + good + b"\t\n"
    columns = 11 if samples else 8
    with pytest.raises(InputError) as raised:
        inspected_text(tmp_path, text)
    assert (
        f"in.vcf, line 6: one tab too many at its end ({columns + 1} columns, but the header has "
        f"{columns}). Remove it with: sed" in str(raised.value)
    )
    typed(raised.value, {"FILE": tmp_path / "in.vcf", "NEW.vcf": tmp_path / "new.vcf"})
    assert (tmp_path / "new.vcf").read_bytes() == text.replace(b"\t\n", b"\n")
    assert inspected_text(tmp_path, text, "skip").records == 1


def test_a_skip_that_leaves_nothing_is_an_error(tmp_path: Path) -> None:
    text = sites(*(record(pos).replace(b"\n", b"\tGT\n") for pos in (10, 11, 12)))
    with pytest.raises(InputError) as raised:
        inspected_text(tmp_path, text, "skip")
    assert "skip would leave out all 3 records" in str(raised.value)
    assert "line 5: 9 columns, but the header has 8" in str(raised.value)
    assert inspected_text(tmp_path, text + record(13), "skip").records == 1
    # A file without records has nothing to leave out.
    assert inspected_text(tmp_path, sites(), "skip").records == 0


# Blank lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_blank_lines_are_counted_and_the_rest_is_untouched(tmp_path: Path, end: bytes) -> None:
    lines = HEADER.splitlines(keepends=True)
    text = b"".join(
        [b"\n", lines[0], b"\n\n", *lines[1:], SITES, b"\n\n", record(10), b"\n", record(11)]
    )
    text = (text + b"\n\n\n").replace(b"\n", end)
    plain = sites(record(10), record(11)).replace(b"\n", end)
    inspection = inspected_text(tmp_path, text)
    assert inspection.notes == ("8 blank lines left out",)
    found = b"".join((*header_lines(inspection), *annotated_lines(inspection)))
    expected = inspected_text(tmp_path, plain)
    assert found == b"".join((*header_lines(expected), *annotated_lines(expected)))


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    text = b"\n" + HEADER.replace(b"\n", b"\n\n") + SITES + b"\n\n" + record(10) + b"\nchr1\t5\n"
    with pytest.raises(InputError, match=r"in\.vcf, line 12: 2 columns"):
        inspected_text(tmp_path, text)
    assert [bad.line for bad in inspected_text(tmp_path, text, "skip").bad] == [12]


# BCF ----------------------------------------------------------------------------------------------


@pytest.fixture
def plain_bcf(tmp_path: Path) -> Path:
    """BCF that is not compressed, as bcftools writes to a pipe with -Ou."""
    path = tmp_path / "plain.vcf"
    path.write_bytes(many(50))
    (tmp_path / "plain.bcf").write_bytes(bcftools("view", "--no-version", "-Ou", path))
    return tmp_path / "plain.bcf"


@needs_bcftools
def test_uncompressed_bcf_is_read(
    plain_bcf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = plain_bcf.read_bytes()
    assert data.startswith(b"BCF\x02\x02")
    expected = alleles(inspected(tmp_path / "plain.vcf"))
    assert expected.height == 50
    assert alleles(inspected(plain_bcf)).equals(expected)
    assert inspected(write(inspected(plain_bcf), tmp_path / "out.bcf")).records == 50

    class Stdin:
        buffer = io.BytesIO(data)

    monkeypatch.setattr("sys.stdin", Stdin)
    with vcf.opened(Path("-")) as inspection:
        assert alleles(inspection).equals(expected)


@needs_bcftools
def test_uncompressed_bcf_that_was_cut_within_a_record_is_an_error(
    plain_bcf: Path, tmp_path: Path
) -> None:
    data = plain_bcf.read_bytes()
    borders, place = [], 9 + int.from_bytes(data[5:9], "little")
    while place < len(data):
        borders.append(place)
        place += 8 + sum(int.from_bytes(data[place + i : place + i + 4], "little") for i in (0, 4))
    assert (len(borders), place) == (50, len(data))
    cut = tmp_path / "cut.bcf"
    for size in range(4, len(data)):
        cut.write_bytes(data[:size])
        if size in borders:
            # As of text: nothing shows that records are lacking.
            assert inspected(cut).records == borders.index(size)
        else:
            with pytest.raises(InputError, match=r"cut\.bcf: htslib cannot decode this BCF"):
                inspected(cut)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("magic", "message"),
    [
        (b"BCF\x02\x01", r"is BCF version 2\.1, which htslib .* do not read.*picard"),
        (b"BCF\x04\x00", r"is BCF version 1, which htslib .* do not read.*samtools 0\.1\.19"),
    ],
)
def test_older_bcf_is_named(
    tmp_path: Path, pack: Callable[[bytes], bytes], magic: bytes, message: str
) -> None:
    path = tmp_path / "x.bcf"
    path.write_bytes(pack(magic + bytes(100)))
    with pytest.raises(InputError, match=message):
        inspected(path)


# What is not a VCF yet ----------------------------------------------------------------------------


def test_a_second_header_is_named(tmp_path: Path) -> None:
    one = sites(record(10))
    with pytest.raises(InputError) as raised:
        inspected_text(tmp_path, one + sites(record(11)))
    assert str(raised.value).startswith(
        "in.vcf, line 6: a header line among the records, as where files were joined with cat. "
        "Join files with: bcftools concat"
    )
    inspection = inspected_text(tmp_path, one + sites(record(11)), "skip")
    assert (inspection.records, [bad.line for bad in inspection.bad]) == (2, [6, 7, 8, 9])


def zipped(text: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("in.vcf", text)
    return held.getvalue()


def utf16(text: bytes) -> bytes:
    return text.decode().encode("utf-16")


FORMS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "is bzip2": (bz2.compress, "bunzip2"),
    "is xz": (lzma.compress, "xz"),
    "is a zip archive": (zipped, "unzip"),
    "is UTF-16 text": (utf16, "iconv"),
    "is UTF-16 text ": (lambda text: text.decode().encode("utf-16-le"), "iconv"),
    " is UTF-16 text": (lambda text: text.decode().encode("utf-16-be"), "iconv"),
    "is UTF-32 text": (lambda text: text.decode().encode("utf-32"), "iconv"),
    "its lines end in CR only": (lambda text: text.replace(b"\n", b"\r"), "tr"),
    "found a record: no header": (lambda text: b"".join(records_of(text)), "sed"),
    "found a record": (lambda text: text.replace(SITES + b"\n", b""), "sed"),
}


@pytest.mark.parametrize("form", FORMS)
def test_another_form_is_named_with_what_to_type(tmp_path: Path, form: str) -> None:
    spoil, tool = FORMS[form]
    text = sites(record(10), record(11))
    path = tmp_path / "in.vcf.gz"
    path.write_bytes(spoil(text))
    with pytest.raises(InputError) as raised:
        inspected(path)
    message = str(raised.value)
    assert form.strip() in message
    assert f"Type: {tool} " in message
    new = tmp_path / ("new.vcf.gz" if "NEW.vcf.gz" in message else "new.vcf")
    if not shutil.which(tool) or (new.suffix == ".gz" and not shutil.which("bgzip")):
        pytest.skip(f"{tool} or bgzip is not installed")
    typed(raised.value, {"FILE": path, "NEW.vcf.gz": new, "NEW.vcf": new})
    again = inspected(new)
    assert again.records == 2
    assert [line.rstrip(b"\r\n") for line in records_of(text_of(new))] == [
        line.rstrip(b"\n") for line in records_of(text)
    ]


@pytest.mark.parametrize("form", ["is UTF-16 text", "its lines end in CR only"])
def test_another_form_is_named_inside_gzip_too(tmp_path: Path, form: str) -> None:
    path = tmp_path / "in.vcf.gz"
    path.write_bytes(gzip.compress(FORMS[form][0](sites(record(10)))))
    with pytest.raises(InputError, match=form):
        inspected(path)


def test_zstandard_is_named(tmp_path: Path) -> None:
    path = tmp_path / "in.vcf"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(50))
    with pytest.raises(InputError, match=r"is zstd; .*Type: zstd -dc FILE \| bgzip > NEW\.vcf\.gz"):
        inspected(path)


def test_a_lost_header_with_samples_is_not_invented(tmp_path: Path) -> None:
    line = record(10).rstrip(b"\n") + b"\tGT\t0/1\n"
    with pytest.raises(
        InputError, match=r"line 1: .*no header\. Prepend the header of the original file"
    ):
        inspected_text(tmp_path, line)


# Outputs ------------------------------------------------------------------------------------------

TYPED = (
    HEADER
    + b'##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    + b'##FORMAT=<ID=DP,Number=1,Type=Integer,Description="d">\n'
    + SITES
    + b"\tFORMAT\ts1\n"
)


@pytest.mark.parametrize(
    ("info", "genotype", "reason"),
    [
        (".", "GT:DP\t0/1:q7", "Invalid character in 'DP' FORMAT field at chr1:11"),
        (".", "GT:DP\tsecret:7", "value not a number or '.' at chr1:11"),
        (".", "GT:DP\t0/1:7:secret", "Incorrect number of FORMAT fields at chr1:11"),
        ("SECRET KEY=1", "GT:DP\t0/1:7", "Tag not defined in header) at chr1:11"),
    ],
)
def test_a_refusal_of_bcf_says_which_record_and_why(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], info: str, genotype: str, reason: str
) -> None:
    good = record(10).rstrip(b"\n") + b"\tGT:DP\t0/1:5\n"
    bad = record(11, info=info).rstrip(b"\n") + b"\t" + genotype.encode() + b"\n"
    inspection = inspected_text(tmp_path, TYPED + good + bad)
    before = pysam.get_verbosity()
    with pytest.raises(OutputError) as raised:
        write(inspection, tmp_path / "out.bcf")
    message = str(raised.value)
    assert reason in message
    assert message.endswith("write .vcf.gz, which keeps every byte")
    assert not re.search("secret|q7|'q'", message, re.IGNORECASE)
    assert not (tmp_path / "out.bcf").exists()
    # Standard error is where it was, and htslib as talkative.
    assert capfd.readouterr() == ("", "")
    assert pysam.get_verbosity() == before


@pytest.mark.parametrize(
    ("info", "begins"),
    [
        ("AC=1;", b"AC=1;NTVEP_LLR="),
        ("AC=1;;", b"AC=1;NTVEP_LLR="),
        (";", b"NTVEP_LLR="),
        ("AC=1;NTVEP_OLD=3;", b"AC=1;NTVEP_LLR="),
        (".;", b"NTVEP_LLR="),
    ],
)
def test_info_that_ends_in_a_semicolon(tmp_path: Path, info: str, begins: bytes) -> None:
    (line,) = annotated_lines(inspected_text(tmp_path, sites(record(info=info))))
    found = line.split(b"\t")[7]
    assert found.startswith(begins)
    assert b";;" not in found
