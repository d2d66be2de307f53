"""FASTA as it is found: an index of another file, damage, odd lines, tiny and enormous contigs."""

import logging
import os
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysam
import pytest

from ntvep import cli, dna
from ntvep.errors import InputError
from ntvep.io import fasta
from ntvep.io.fasta import open_reference
from tests.io.files import HEADER, SITES

RNG = np.random.default_rng(11)
CONTIGS = {
    name: "".join(RNG.choice(list("ACGTacgtNRYKM"), length))
    for name, length in (("chr1", 130_000), ("chr2", 60), ("chr3", 61), ("chr4", 1), ("chrM", 777))
}


def fasta_text(contigs: dict[str, str], width: int = 60, end: str = "\n") -> str:
    return "".join(
        f">{name} some words{end}"
        + "".join(text[i : i + width] + end for i in range(0, len(text), width))
        for name, text in contigs.items()
    )


@pytest.fixture
def write_fasta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bool], Path]:
    """Writes text as x.fa, or as x.fa.gz in bgzip, over what is there; indexes stay."""
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))

    def write(text: str, packed: bool) -> Path:
        path = tmp_path / "x.fa"
        path.write_bytes(text.encode())
        if packed:
            pysam.tabix_compress(str(path), str(path) + ".gz", force=True)
            path.unlink()
            return path.with_name("x.fa.gz")
        return path

    return write


def read_all(path: Path) -> dict[str, str]:
    opened = open_reference(path)
    opened.md5(opened.records)
    return {
        name: dna.decode(opened.fetch(name, record.span.start, record.span.stop))
        for name, (record,) in opened.records.items()
    }


def codes(contigs: dict[str, str]) -> dict[str, str]:
    """What a FASTA's letters mean: upper case, and N for all but A, C, G, T."""
    return {
        name: "".join(base if base in "ACGT" else "N" for base in text.upper())
        for name, text in contigs.items()
    }


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("width", [60, 61, 10**6])
def test_every_layout_gives_the_same_bases(write_fasta, packed, end, width):
    path = write_fasta(fasta_text(CONTIGS, width, end), packed)
    # The second time with the index of the first.
    assert read_all(path) == read_all(path) == codes(CONTIGS)


@pytest.mark.parametrize("packed", [False, True])
def test_an_index_of_samtools_is_taken(write_fasta, packed):
    path = write_fasta(fasta_text(CONTIGS), packed)
    pysam.faidx(str(path))
    before = {p.name: p.stat().st_mtime_ns for p in path.parent.iterdir()}
    assert read_all(path) == codes(CONTIGS)
    assert {p.name: p.stat().st_mtime_ns for p in path.parent.iterdir()} == before


CHANGES: dict[str, Callable[[dict[str, str]], str]] = {
    "a base more": lambda c: fasta_text(c | {"chr1": "A" + c["chr1"]}),
    "a base less": lambda c: fasta_text(c | {"chr1": c["chr1"][1:]}),
    "a base more in the last contig": lambda c: fasta_text(c | {"chrM": c["chrM"] + "A"}),
    "another order": lambda c: fasta_text(dict(reversed(c.items()))),
    "another name": lambda c: fasta_text({k.replace("chr3", "chr5"): v for k, v in c.items()}),
    "other words behind a name": lambda c: fasta_text(c).replace(">chr1 some", ">chr1 other", 1),
    "names exchanged": lambda c: (
        fasta_text(c).replace("chr2", "chrx").replace("chr3", "chr2").replace("chrx", "chr3")
    ),
    "a contig more": lambda c: fasta_text(c | {"chr9": "ACGT"}),
    "a contig less": lambda c: fasta_text({k: v for k, v in c.items() if k != "chrM"}),
    "a contig less in the middle": lambda c: fasta_text(
        {k: v for k, v in c.items() if k != "chr2"}
    ),
    "longer lines": lambda c: fasta_text(c, 70),
    "other line ends": lambda c: fasta_text(c, end="\r\n"),
    # The same size, byte for byte: only the text itself tells.
    "a base moved to another contig": lambda c: fasta_text(
        c | {"chr2": c["chr2"][:-1], "chrM": c["chrM"] + "A"}
    ),
    "cut": lambda c: fasta_text(c)[:-100],
    "cut in the middle": lambda c: fasta_text(c)[:5000],
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_an_index_of_another_text_is_refused(write_fasta, change, packed):
    """With the index older or newer than the file, and of a file of the same size."""
    path = write_fasta(fasta_text(CONTIGS), packed)
    read_all(path)
    write_fasta(CHANGES[change](CONTIGS), packed)
    for when in (0, 4e9):
        for index in path.parent.glob("x.fa*i"):
            os.utime(index, (when, when))
        with pytest.raises(
            InputError, match=r"x\.fa.*(the index .* does not belong to this file|delete)"
        ):
            read_all(path)
    for index in path.parent.glob("x.fa*i"):
        index.unlink()
    read_all(path)


@pytest.mark.parametrize("packed", [False, True])
def test_other_bases_in_the_same_places_need_no_other_index(write_fasta, packed):
    path = write_fasta(fasta_text(CONTIGS), packed)
    read_all(path)
    other = CONTIGS | {"chr2": CONTIGS["chr2"][::-1], "chrM": CONTIGS["chrM"].lower()}
    write_fasta(fasta_text(other), packed)
    if packed:
        # Blocks may have moved: then the .gzi is stale, and said to be.
        path.with_name("x.fa.gz.gzi").unlink()
    assert read_all(path) == codes(other)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.fa.fai", b"", "it has its end where the file has 'chr1'"),
        ("x.fa.fai", b"chr1\t5\t6\n", "not a name and four numbers"),
        ("x.fa.fai", b"chr1\t-5\t17\t60\t61\n", "not a name and four numbers"),
        ("x.fa.fai", b"chr1\t130000\t17\t0\t0\n", "'chr1' have impossible lengths"),
        ("x.fa.fai", b"chr1\t130000\t17\t61\t60\n", "'chr1' have impossible lengths"),
        (
            "x.fa.fai",
            b"chr1\t200000\t17\t60\t61\n",
            "'chr1' has its last base elsewhere",
        ),
        ("x.fa.gz.gzi", b"", "the index x.fa.gz.gzi does not belong to this file .it is cut"),
        ("x.fa.gz.gzi", struct.pack("<Q", 1 << 60), "x.fa.gz.gzi .* it is cut|.it is cut"),
        ("x.fa.gz.gzi", struct.pack("<QQQ", 1, 20, 65280), "names blocks that do not exist"),
    ],
)
def test_a_damaged_index_is_refused(write_fasta, name, content, message):
    packed = ".gz" in name
    path = write_fasta(fasta_text(CONTIGS), packed)
    read_all(path)
    path.with_name(name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_all(path)


@pytest.mark.parametrize("damage", ["data", "crc", "cut in a block", "cut at a block", "garbage"])
@pytest.mark.parametrize("indexed", [False, True])
def test_a_damaged_bgzip_is_refused(write_fasta, damage, indexed, capfd):
    path = write_fasta(fasta_text(CONTIGS), True)
    if indexed:
        read_all(path)
    whole = bytearray(path.read_bytes())
    first = int.from_bytes(whole[16:18], "little") + 1
    if damage in ("data", "crc"):
        whole[1000 if damage == "data" else first - 6] ^= 1
    spoiled = {
        "cut in a block": whole[: first + 500],
        "cut at a block": whole[:first],
        "garbage": whole + b"garbage" * 9,
    }.get(damage, whole)
    path.write_bytes(spoiled)
    with pytest.raises(
        InputError, match=r"x\.fa\.gz.*(damaged|truncated|no end-of-file|does not " "belong)"
    ):
        read_all(path)


def test_a_name_that_stands_twice_is_refused(write_fasta):
    path = write_fasta(">chr1\nACGT\n>chr2\nGG\n>chr1\nTTTT\n", False)
    with pytest.raises(InputError, match="two records are named 'chr1'; expected each contig once"):
        open_reference(path)
    path = write_fasta(">chr1\nACGT\n>chr1\nTTTT\n>chr2\nGG\n", True)
    with pytest.raises(InputError, match="two records are named 'chr1'"):
        open_reference(path)


@pytest.mark.parametrize("packed", [False, True])
def test_lines_of_different_lengths(write_fasta, packed):
    """Refused where an index is built; and where one is there, when the bases are read."""
    even = {"chr1": "ACGT" * 30}
    ragged = fasta_text(even)[:-122].rstrip("\n") + "\n"
    path = write_fasta(ragged + "ACG\n" + "ACGT\n", packed)
    with pytest.raises(InputError, match="not a FASTA that can be indexed"):
        open_reference(path)
    # The same size and ends as what was indexed, another line length within.
    path = write_fasta(">a\nACGT\nACGT\nACGT\n>b\nAC\n", packed)
    read_all(path)
    write_fasta(">a\nACGTA\nACG\nACGT\n>b\nAC\n", packed)
    with pytest.raises(
        InputError, match=r"'a' has characters other than letters|does not belong to this file"
    ):
        read_all(path)


@pytest.mark.parametrize(
    "text", [">a\nAC GT\n", ">a\nAC1GT\n", ">a\nACGT\n\n\nAC\n", ">a\nAC\0T\n"]
)
def test_what_is_no_sequence_is_refused(write_fasta, text):
    path = write_fasta(text, False)
    with pytest.raises(InputError, match=r"other than letters|can be indexed"):
        read_all(path)


def test_contigs_of_few_bases_and_of_none(write_fasta, tmp_path, monkeypatch, capsys):
    """A contig shorter than a window has one of its own length; one of no bases is none."""
    path = write_fasta(">empty\n>tiny\nACG\n>short\n" + "ACGTTGCA" * 5 + "\n", False)
    (tmp_path / "in.vcf").write_bytes(
        HEADER + SITES
        + b"\nempty\t1\t.\tA\tC\t.\t.\t.\ntiny\t2\t.\tC\tA\t.\t.\t.\nshort\t20\t.\tT\tG\t.\t.\t.\n"
        b"short\t40\t.\tA\tG\t.\t.\t.\nshort\t41\t.\tA\tG\t.\t.\t.\n"
    )  # fmt: skip
    command = ["ntvep", "variants", str(tmp_path / "in.vcf"), "-r", str(path), "--views", "1"]
    command += ["-m", "demo-6mer"]
    monkeypatch.setattr(sys, "argv", command)
    logging.getLogger("ntvep").handlers = []
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    statuses = [line.split("\t")[-1] for line in capsys.readouterr().out.splitlines()[1:]]
    assert statuses == [
        "contig_not_in_reference", "at_contig_end", "ok", "at_contig_end",
        "position_out_of_range",
    ]  # fmt: skip


def huge(path: Path, length: int, tail: str) -> None:
    """A FASTA of one contig that is a hole but for its tail, in lines of 60, and its index."""
    line, head = 60, b">chr1\n"
    assert (length - len(tail)) % line == 0
    text = "\n".join(tail[i : i + line] for i in range(0, len(tail), line)) + "\n"
    with path.open("wb") as file:
        file.write(head)
        file.seek(len(head) + (length - len(tail)) // line * (line + 1))
        file.write(text.encode())
    fai = f"chr1\t{length}\t{len(head)}\t{line}\t{line + 1}\n"
    path.with_name(path.name + ".fai").write_text(fai)


def test_the_longest_contig_that_vcf_can_count(tmp_path, monkeypatch):
    """Places in the file beyond 32 bits."""
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))
    length = 2**31 - 1
    tail = "".join(RNG.choice(list("ACGT"), 600_000 + length % 60))
    huge(tmp_path / "huge.fa", length, tail)
    ours = open_reference(tmp_path / "huge.fa")
    assert ours.lengths(["chr1"]) == {"chr1": length}
    assert dna.decode(ours.fetch("chr1", length - 300_000, length)) == tail[-300_000:]
    # The hole is not sequence.
    with pytest.raises(InputError, match="other than letters between bases 1 and"):
        ours.md5(["chr1"])


@pytest.mark.parametrize("length", [2**31, 5_000_000_040])
def test_a_contig_that_vcf_cannot_count_is_refused(tmp_path, monkeypatch, length):
    """htslib reads the first 2,147,483,647 bases of it and says nothing."""
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))
    huge(tmp_path / "huge.fa", length, "ACGT" * 15 + "A" * (length % 60))
    with pytest.raises(InputError, match=f"'chr1' has {length} bases; .* Cut it into records"):
        open_reference(tmp_path / "huge.fa")


def test_a_folder_for_the_index_of_a_file_that_changes(write_fasta, monkeypatch, tmp_path):
    """An index in our own cache is of one size and time of the file."""
    build = fasta._build_index

    def refuse(path: Path, fai: Path, gzi: Path | None) -> None:
        if fai.parent == path.parent:
            raise PermissionError(13, "Permission denied")
        build(path, fai, gzi)

    monkeypatch.setattr(fasta, "_build_index", refuse)
    path = write_fasta(fasta_text(CONTIGS), False)
    assert read_all(path) == codes(CONTIGS)
    write_fasta(fasta_text(CONTIGS | {"chr1": "ACGT"}), False)
    assert read_all(path) == codes(CONTIGS | {"chr1": "ACGT"})
    shutil.rmtree(tmp_path / "home")
