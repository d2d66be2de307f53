"""Records, statuses and what is odd about an input: one case for each row of the contract."""

import tracemalloc
from itertools import repeat
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntvep.errors import InputError
from ntvep.io.vcf import read_chunks, text_status
from ntvep.schema import ALLELES, Status, check
from tests.io.files import (
    HEADER,
    SITES,
    alleles,
    annotated_lines,
    chunks,
    inspected,
    inspected_text,
    many,
    record,
    sites,
)


@pytest.mark.parametrize(
    ("ref", "alt", "status"),
    [
        ("A", "C", "ok"),
        ("a", "c", "ok"),
        ("ACG", "TT", "ok"),
        ("A", ".", "no_alt"),
        ("A", "<*>", "no_alt"),
        ("A", "<NON_REF>", "no_alt"),
        ("N", ".", "no_alt"),
        ("A", "*", "spanning_deletion"),
        ("A", "A[chr2:7[", "breakend"),
        ("A", "]chr2:7]A", "breakend"),
        ("A", ".A", "breakend"),
        ("A", "A.", "breakend"),
        ("A", "<DEL>", "symbolic_allele"),
        ("A", "<CNV:TR>", "symbolic_allele"),
        ("N", "<DEL>", "symbolic_allele"),
        ("R", "<INS>", "symbolic_allele"),
        ("A", "R", "ambiguous_base"),
        ("A", "CN", "ambiguous_base"),
        ("N", "A", "ambiguous_base"),
        ("ACK", "A", "ambiguous_base"),
        (".", "A", "ambiguous_base"),
        ("A,C", "T", "ambiguous_base"),
        ("A", "A", "same_as_ref"),
        ("ac", "AC", "same_as_ref"),
    ],
)
def test_status_that_the_text_decides(tmp_path: Path, ref: str, alt: str, status: str) -> None:
    table = alleles(inspected_text(tmp_path, sites(record(10, ref, alt))))
    assert table.rows() == [(0, 1, "chr1", 10, ref, alt, status)]


@given(
    st.text("ACGTacgtNR<>[].*", min_size=1, max_size=5), st.text("ACGTN", min_size=1, max_size=3)
)
def test_only_bases_are_ever_scored(alt: str, ref: str) -> None:
    is_ok = text_status(ref, alt) is Status.OK
    assert is_ok == (set(alt.upper()) <= set("ACGT") >= set(ref) and alt.upper() != ref)


def test_every_alt_has_its_row_and_its_status(tmp_path: Path) -> None:
    text = sites(
        record(10, "A", "C,<DEL>,*,A"),
        record(0, "G", "."),
        record(5, "T", ",".join(["A" * n for n in range(2, 302)])),
    )
    table = check(alleles(inspected_text(tmp_path, text)), ALLELES)
    assert table.filter(pl.col("record") == 0).select("allele", "alt", "status").rows() == [
        (1, "C", "ok"),
        (2, "<DEL>", "symbolic_allele"),
        (3, "*", "spanning_deletion"),
        (4, "A", "same_as_ref"),
    ]
    # POS 0 is a telomere, which is legal text; the reference decides what becomes of it.
    assert table.row(4) == (1, 1, "chr1", 0, "G", ".", "no_alt")
    assert table["allele"].tail(300).to_list() == list(range(1, 301))


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
def test_chunks_are_the_whole_in_order(tmp_path: Path, size: int) -> None:
    text = many(500)
    inspection = inspected_text(tmp_path, text)
    parts = chunks(inspection, size)
    assert (
        b"".join(line for part in parts for line in part.lines)
        == text[-sum(len(line) for part in parts for line in part.lines) :]
    )
    table = pl.concat(part.alleles for part in parts)
    assert table["record"].to_list() == list(range(500))
    assert table["pos"].to_list() == list(range(10, 510))
    assert {len(part.lines) for part in parts[:-1]} <= {size}


BAD = {
    "a header line among the records": b"##contig=<ID=chr1>\n",
    "one tab too many at its end (9 columns": b"chr1\t10\t.\tA\tC\t.\t.\t.\t\n",
    "7 columns, but the header has 8": b"chr1\t10\t.\tA\tC\t.\t.\n",
    "9 columns, but the header has 8": b"chr1\t10\t.\tA\tC\t.\t.\t.\tGT\n",
    "1 columns": b"chr1 10 . A C . . .\n",
    "POS is 'x1'": record("x1"),
    "POS is '-4'": record(-4),
    "POS is '1.5'": record("1.5"),
    "POS is ''": record(""),
    "POS is 2147483648": record(2**31),
    "CHROM is ''": record(chrom=""),
    "CHROM is 'chr 1'": record(chrom="chr 1"),
    r"CHROM is 'chr\x01'": record(chrom="chr\x01"),
    "CHROM is '#chr1'": record(chrom="#chr1"),
    "CHROM is not UTF-8": b"chr\xff\t10\t.\tA\tC\t.\t.\t.\n",
    "REF is ''": record(ref=""),
    "REF is 'A C'": record(ref="A C"),
    r"REF is 'A\\xc3\\x84'": record(ref="AÄ"),
    "ALT is ''": record(alt=""),
    "ALT is 'A,,C'": record(alt="A,,C"),
    "ALT is ',A'": record(alt=",A"),
    "ALT is 'A,'": record(alt="A,"),
    "ALT is 'A C'": record(alt="A C"),
    r"ALT is 'A\x07'": record(alt="A\x07"),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_record_is_an_error_or_left_out_and_listed(tmp_path: Path, reason: str) -> None:
    text = sites(record(10), BAD[reason], record(11))
    with pytest.raises(InputError) as raised:
        inspected_text(tmp_path, text)
    assert str(raised.value).startswith("in.vcf, line 6: " + reason)
    assert "--on-bad-record skip" in str(raised.value)
    inspection = inspected_text(tmp_path, text, "skip")
    (bad,) = inspection.bad
    assert (inspection.records, bad.line) == (2, 6)
    assert bad.reason.startswith(reason)
    assert alleles(inspection).select("record", "pos").rows() == [(0, 10), (1, 11)]
    assert len(annotated_lines(inspection)) == 2


def test_text_cut_in_a_line_is_an_error(tmp_path: Path) -> None:
    text = sites(record(10), record(11))
    with pytest.raises(InputError, match=r"line 6: 4 columns.*the file ends here"):
        inspected_text(tmp_path, text[: -len("\tC\t.\t.\t.\n")])
    assert inspected_text(tmp_path, text[:-1]).records == 2


def test_messages_say_nothing_of_samples_or_info(tmp_path: Path) -> None:
    header = SITES + b"\tFORMAT\tPATIENT7\n"
    for line in (
        b"chr1\tx\t.\tA\tC\t.\t.\tSECRET=1\tGT\t0/1\n",
        b"chr1\t5\t.\tA\tC\t.\t.\tSECRET=1\tGT\t0/1\t1/1\n",
        b"chr1 5 . A C . . SECRET=1 GT 0/1\n",
    ):
        with pytest.raises(InputError) as raised:
            inspected_text(tmp_path, HEADER + header + line)
        assert not any(word in str(raised.value) for word in ("PATIENT7", "SECRET", "0/1"))


@pytest.mark.parametrize(
    "text",
    [
        HEADER,
        HEADER + b"#CHROM\tPOS\tID\tREF\tALT\n",
        HEADER + b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFOS\n",
        HEADER + SITES.replace(b"\t", b" ") + b"\n",
        HEADER + record(),
        b"hello\n",
        b"\n",
    ],
)
def test_a_file_without_a_right_column_line_is_an_error(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(InputError, match=r"in\.vcf, line \d+: expected .*#CHROM"):
        inspected_text(tmp_path, text)


def test_a_header_alone_is_a_whole_vcf(tmp_path: Path) -> None:
    inspection = inspected_text(tmp_path, sites())
    assert (inspection.records, inspection.contigs, inspection.notes) == (0, {}, ())
    assert chunks(inspection) == []


def test_byte_order_mark_goes_and_is_said(tmp_path: Path) -> None:
    inspection = inspected_text(tmp_path, b"\xef\xbb\xbf" + sites(record()))
    assert inspection.header[0] == b"##fileformat=VCFv4.2\n"
    assert inspection.notes == ("byte order mark removed",)


def test_crlf_is_kept(tmp_path: Path) -> None:
    inspection = inspected_text(tmp_path, sites(record(), record(11)).replace(b"\n", b"\r\n"))
    assert inspection.newline == b"\r\n"
    assert inspection.notes == ()
    lines = annotated_lines(inspection)
    assert all(line.endswith(b"NTVEP_STATUS=ok\r\n") and line.count(b"\r") == 1 for line in lines)


@pytest.mark.parametrize(
    ("places", "is_sorted"),
    [
        ([("1", 5), ("1", 5), ("1", 6), ("2", 1)], True),
        ([("2", 5), ("1", 9)], True),
        ([("1", 6), ("1", 5)], False),
        ([("1", 5), ("2", 5), ("1", 6)], False),
    ],
)
def test_order_and_duplicates_are_seen_and_kept(
    tmp_path: Path, places: list[tuple[str, int]], is_sorted: bool
) -> None:
    text = sites(*(record(pos, chrom=chrom) for chrom, pos in places))
    inspection = inspected_text(tmp_path, text)
    assert inspection.is_sorted is is_sorted
    assert any("no index" in note for note in inspection.notes) is not is_sorted
    assert alleles(inspection).select("chrom", "pos").rows() == places


def test_contigs_are_counted_in_order_of_appearance(tmp_path: Path) -> None:
    places = ["2", "1", "2", "X", "1", "2"]
    inspection = inspected_text(tmp_path, sites(*(record(chrom=chrom) for chrom in places)))
    assert list(inspection.contigs.items()) == [("2", 3), ("1", 2), ("X", 1)]


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        (sites(record(2**29)), False),
        (sites(record(2**29 + 1)), True),
        (sites(record(2**29, "AC")), True),
        (sites(record(), header=HEADER + b"##contig=<ID=chr2,length=536870913>\n"), True),
    ],
)
def test_far_positions_need_a_csi(tmp_path: Path, text: bytes, needs: bool) -> None:
    assert inspected_text(tmp_path, text).needs_csi is needs


def test_an_annotated_input_is_told_by_header_or_record(tmp_path: Path) -> None:
    by_header = sites(record(), header=HEADER + b"##INFO=<ID=NTVEP_LLR,Number=A>\n")
    by_record = sites(record(info="AC=3;NTVEP_LLR=4"))
    for text in (by_header, by_record):
        inspection = inspected_text(tmp_path, text)
        assert inspection.notes == ("annotations of an earlier ntvep run are replaced",)
        with pytest.raises(InputError, match=r"already has NTVEP.*--refuse-annotated"):
            inspected(inspection.path, refuse_annotated=True)
    assert inspected(inspected_text(tmp_path, sites(record())).path, refuse_annotated=True)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(n: int) -> int:
        path = inspected_text(tmp_path, many(n)).path
        tracemalloc.start()
        inspection = inspected(path)
        # Chunks are dropped as they come.
        assert sum(1 for _ in read_chunks(inspection, repeat(100))) == n // 100
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(200)
    assert peak(8000) < 2 * peak(800)
