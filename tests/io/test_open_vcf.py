"""Opening by content, and proof that a file is whole before anything is done with it."""

import gzip
import io
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pysam
import pytest

from ntvep.errors import InputError, NtvepError, OutputError
from ntvep.io import open_vcf, vcf
from tests.io.files import alleles, inspected, many, record, sites, write

TEXT = many(9000)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same 9,000 records in every form; the suffixes say nothing."""
    folder = tmp_path_factory.mktemp("forms")
    found = {form: folder / f"{form}.dat" for form in ("text", "gzip", "members", "bgzip", "bcf")}
    found["text"].write_bytes(TEXT)
    found["gzip"].write_bytes(gzip.compress(TEXT))
    half = len(TEXT) // 2
    found["members"].write_bytes(gzip.compress(TEXT[:half]) + gzip.compress(TEXT[half:]))
    with pysam.BGZFile(str(found["bgzip"]), "wb", None) as packed:
        packed.write(TEXT)
    with (
        pysam.VariantFile(str(found["text"])) as source,
        pysam.VariantFile(str(found["bcf"]), "wb", header=source.header) as target,
    ):
        for one in source:
            target.write(one)
    return found


@pytest.mark.parametrize("form", ["text", "gzip", "members", "bgzip", "bcf"])
def test_every_form_is_read_by_its_content(files: dict[str, Path], form: str) -> None:
    expected = alleles(inspected(files["text"]))
    assert expected.height == 9000
    assert alleles(inspected(files[form])).equals(expected)


def block_starts(data: bytes) -> list[int]:
    starts, place = [], 0
    while place < len(data):
        starts.append(place)
        place += int.from_bytes(data[place + 16 : place + 18], "little") + 1
    return starts


@pytest.mark.parametrize("form", ["bgzip", "bcf"])
@pytest.mark.parametrize(
    "damage",
    ["at a block", "no end block", "at a byte", "crc", "data", "garbage", "in the end block"],
)
def test_damaged_bgzip_is_an_error(
    files: dict[str, Path], tmp_path: Path, form: str, damage: str
) -> None:
    data = files[form].read_bytes()
    starts = block_starts(data)
    assert len(starts) > 3
    flipped = bytearray(data)
    flipped[starts[2] - 6 if damage == "crc" else starts[1] + 2000] ^= 1
    spoiled = {
        "at a block": data[: starts[2]],
        "no end block": data[: starts[-1]],
        "at a byte": data[: starts[2] + 1000],
        "crc": bytes(flipped),
        "data": bytes(flipped),
        "garbage": data + b"more",
        "in the end block": data[:-5],
    }[damage]
    path = tmp_path / "spoiled.vcf.gz"
    path.write_bytes(spoiled)
    with pytest.raises(InputError, match=r"spoiled\.vcf\.gz: .*(truncated|damaged).*Copy it again"):
        inspected(path)


@pytest.mark.parametrize("damage", ["cut", "crc", "garbage", "second member cut"])
def test_damaged_gzip_is_an_error(files: dict[str, Path], tmp_path: Path, damage: str) -> None:
    data = files["gzip"].read_bytes()
    flipped = bytearray(data)
    flipped[-6] ^= 1
    members = files["members"].read_bytes()
    path = tmp_path / "spoiled.vcf.gz"
    path.write_bytes(
        {
            "cut": data[:-3000],
            "crc": bytes(flipped),
            "garbage": data + b"more",
            "second member cut": members[:-20],
        }[damage]
    )
    with pytest.raises(InputError, match=r"spoiled\.vcf\.gz: .*damaged.*gzip -t"):
        inspected(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (gzip.compress(b"", mtime=0), "decompresses to nothing"),
        (open_vcf.BGZF_EOF, "decompresses to nothing"),
        (b"BCF\x02\x02rest of it", "htslib cannot decode this BCF .*bcftools view FILE"),
        (b"BAM\x01\x00\x00", "this is not a VCF"),
        (b">chr1\nACGT\n", "this is not a VCF"),
    ],
    ids=["empty", "empty gzip", "empty bgzip", "plain BCF", "BAM", "FASTA"],
)
def test_what_is_no_vcf_is_an_error(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.vcf"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"x\.vcf.*{message}"):
        inspected(path)


def test_a_bcf_that_htslib_cannot_decode_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.bcf"
    with pysam.BGZFile(str(path), "wb", None) as packed:
        packed.write(b"BCF\x02\x02" + bytes(200))
    with pytest.raises(InputError, match=r"x\.bcf.*type|x\.bcf.*bcftools view"):
        inspected(path)


def test_missing_file_and_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.vcf: no such file"):
        inspected(tmp_path / "none.vcf")
    with pytest.raises(InputError, match="is a folder"):
        inspected(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.vcf"
    path.write_bytes(TEXT)
    path.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        inspected(path)


def test_standard_input_is_spooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    class Stdin:
        buffer = io.BytesIO(gzip.compress(sites(record(), record(11))))

    monkeypatch.setattr("sys.stdin", Stdin)
    with vcf.opened(Path("-")) as inspection:
        assert (inspection.name, inspection.records) == ("standard input", 2)
        assert alleles(inspection).height == 2
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_with_a_name_is_spooled_too(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=pipe.write_bytes, args=(sites(record(), record(11)),))
    feeder.start()
    with vcf.opened(pipe) as inspection:
        assert (inspection.name, alleles(inspection).height) == (str(pipe), 2)
    feeder.join()


def test_no_room_for_standard_input(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="export TMPDIR="):
        open_vcf.spool(io.BytesIO(TEXT), tmp_path / "missing")


def test_a_file_that_changes_between_the_reads_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.vcf"
    path.write_bytes(sites(record(), record(11)))
    inspection = inspected(path)
    path.write_bytes(sites(record()))
    with pytest.raises(InputError, match="had 2 records and now has 1"):
        alleles(inspection)


def test_htslib_is_as_talkative_as_before(tmp_path: Path) -> None:
    before = pysam.get_verbosity()
    with open_vcf.quiet_htslib():
        assert pysam.get_verbosity() == 0
    path = tmp_path / "x.bcf"
    with pysam.BGZFile(str(path), "wb", None) as packed:
        packed.write(b"BCF\x02\x02" + bytes(200))
    with pytest.raises(NtvepError):
        inspected(path)
    assert pysam.get_verbosity() == before


def test_odd_characters_in_a_bcf_header_do_not_end_its_line(tmp_path: Path) -> None:
    header = pysam.VariantHeader()
    header.add_line("##contig=<ID=chr1,length=1000>")
    header.add_line('##INFO=<ID=X,Number=1,Type=Integer,Description="a\u2028b">')
    path = tmp_path / "x.bcf"
    with pysam.VariantFile(str(path), "wb", header=header) as target:
        target.write(target.new_record(contig="chr1", start=4, alleles=("A", "C")))
    assert inspected(path).records == 1


@pytest.mark.skipif(not shutil.which("bgzip"), reason="bgzip is not installed")
def test_bgzip_itself_accepts_our_bgzip(files: dict[str, Path], tmp_path: Path) -> None:
    output = write(inspected(files["text"]), tmp_path / "out.vcf.gz")
    subprocess.run(["bgzip", "--test", str(output)], check=True)
    assert len(block_starts(output.read_bytes())) > 3


def test_joined_bgzip_files_are_one(files: dict[str, Path], tmp_path: Path) -> None:
    """The block that ends the first file stands within the second: legal, and all is read."""
    whole = files["bgzip"].read_bytes()
    again = tmp_path / "rest.vcf.gz"
    with pysam.BGZFile(str(again), "wb", None) as packed:
        packed.write(record(9500) + record(9501))
    path = tmp_path / "joined.vcf.gz"
    path.write_bytes(whole + again.read_bytes())
    assert inspected(path).records == 9002
    # A whole VCF behind another has a header where records are expected.
    path.write_bytes(whole + whole)
    with pytest.raises(InputError, match=r"line 9005: a header line.*bcftools concat"):
        inspected(path)


@pytest.mark.parametrize("form", ["text", "gzip", "bgzip"])
def test_cut_behind_a_line(files: dict[str, Path], tmp_path: Path, form: str) -> None:
    """Compressed, the cut shows. Plain text that ends with a whole line is whole text."""
    lines = TEXT.splitlines(keepends=True)
    half = b"".join(lines[:5000])
    path = tmp_path / "cut.vcf"
    if form == "text":
        path.write_bytes(half)
        assert inspected(path).records == 4996
        return
    if form == "gzip":
        path.write_bytes(gzip.compress(half)[:-8])
    else:
        with pysam.BGZFile(str(path), "wb", None) as packed:
            packed.write(half)
        path.write_bytes(path.read_bytes()[: -len(open_vcf.BGZF_EOF)])
    with pytest.raises(InputError, match=r"cut\.vcf: .*(truncated|damaged)"):
        inspected(path)


@pytest.mark.parametrize("content", [b"", b"garbage", open_vcf.BGZF_EOF])
def test_an_index_beside_the_input_is_not_used(
    files: dict[str, Path], tmp_path: Path, content: bytes
) -> None:
    """Old, empty or damaged: the whole input is read, so no index can lead astray."""
    for form, suffix in (("bgzip", ".tbi"), ("bgzip", ".csi"), ("bcf", ".csi")):
        path = tmp_path / f"{form}.vcf.gz"
        shutil.copy(files[form], path)
        index = path.with_name(path.name + suffix)
        index.write_bytes(content)
        os.utime(index, (0, 0))
        assert alleles(inspected(path)).height == 9000
        assert index.read_bytes() == content


@pytest.mark.parametrize("suffix", [".vcf.gz", ".bcf"])
def test_our_index_is_not_older_than_its_file(
    files: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    """Tools warn of an index that is older: it may be of another file."""
    output = write(inspected(files["text"]), tmp_path / f"out{suffix}")
    (index,) = tmp_path.glob("out.*[ct][sb]i")
    assert index.stat().st_mtime_ns >= output.stat().st_mtime_ns
