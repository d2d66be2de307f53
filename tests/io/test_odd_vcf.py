"""Odd VCFs: records out are records in, or one error and no output; a twin reads the result."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ntvep.errors import InputError, NtvepError
from tests.io.files import (
    HEADER,
    SITES,
    annotated_lines,
    chunks,
    header_lines,
    inspected,
    inspected_text,
    record,
    sites,
    text_of,
    write,
)
from tests.io.odd_vcf import OddVcf, odd_vcfs
from tests.io.vcf_twin import STATUSES, assert_annotated, assert_passed_through

thorough = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@thorough
@given(odd_vcfs(), st.sampled_from([1, 3, 1000]))
def test_records_out_are_records_in(tmp_path: Path, odd: OddVcf, size: int) -> None:
    if odd.bad:
        with pytest.raises(InputError, match=f"in.vcf, line {odd.bad[0]}: "):
            inspected_text(tmp_path, odd.text)
    if odd.bad and not odd.records:
        with pytest.raises(InputError, match="skip would leave out all"):
            inspected_text(tmp_path, odd.text, "skip")
        return
    inspection = inspected_text(tmp_path, odd.text, "skip")
    assert tuple(bad.line for bad in inspection.bad) == odd.bad
    after = b"".join((*header_lines(inspection), *annotated_lines(inspection, size)))
    assert_passed_through(odd.text, after, odd.bad)
    # What is annotated is annotated again: nothing grows, nothing is left out.
    again = inspected_text(tmp_path, after)
    assert again.added == ()
    assert b"".join((*header_lines(again), *annotated_lines(again, size))) == after


@thorough
@given(odd_vcfs(), st.sampled_from([".vcf", ".vcf.gz", ".bcf"]))
def test_a_file_is_whole_or_not_there(tmp_path: Path, odd: OddVcf, suffix: str) -> None:
    output = tmp_path / f"out{suffix}"
    for left in tmp_path.iterdir():
        left.unlink()
    try:
        write(inspected_text(tmp_path, odd.text), output)
        refused = False
    except NtvepError:
        refused = True
    if refused:
        # BCF cannot hold all that text can.
        assert odd.bad or suffix == ".bcf"
        assert {path.name for path in tmp_path.iterdir()} == {"in.vcf"}
    elif suffix == ".bcf":
        assert inspected(output).records == inspected(tmp_path / "in.vcf").records
    else:
        assert not odd.bad
        assert_passed_through(odd.text, text_of(output))
    assert not list(tmp_path.glob(".*"))


def test_the_twin_sees_what_is_lost_or_invented() -> None:
    before = sites(record(10, "A", "C,G"), record(11, info="X=1"))
    lines = before.splitlines(keepends=True)
    ours = [
        lines[-2].replace(b"\t.\n", b"\tNTVEP_LLR=1,2;NTVEP_STATUS=ok,ok\n"),
        lines[-1].replace(b"X=1", b"X=1;NTVEP_STATUS=no_alt"),
    ]
    head = lines[:-2]
    assert_passed_through(before, b"".join(head + ours))
    wrong = [
        [*head, *ours[::-1]],
        [*head, ours[0]],
        [*head[1:], *ours],
        [*head, ours[0], ours[1].replace(b"no_alt", b"fine")],
        [*head, ours[0], ours[1].replace(b"X=1;", b"")],
        [*head, ours[0], ours[1].replace(b"\tA\t", b"\ta\t")],
        [*head, ours[0].replace(b"ok,ok", b"ok"), ours[1]],
        [*head, ours[0].replace(b"=1,2", b"=1"), ours[1]],
        [*head, ours[0].replace(b"=1,2", b"=1,nan"), ours[1]],
        [*head, ours[0].replace(b"ok,ok", b"ok,no_alt"), ours[1]],
        [*head, ours[0], ours[1].replace(b"\n", b"\r\n")],
    ]
    for spoiled in wrong:
        with pytest.raises((AssertionError, KeyError)):
            assert_passed_through(before, b"".join(spoiled))


def test_the_generator_reaches_what_text_decides(tmp_path: Path) -> None:
    """Every status of the text, bad lines, every line end: else the properties above say little."""
    seen: set[str] = set()

    @settings(thorough, max_examples=40)
    @given(odd_vcfs())
    def look(odd: OddVcf) -> None:
        seen.update(("bad",) if odd.bad else ())
        if odd.bad and not odd.records:
            return
        notes = "".join(inspected_text(tmp_path, odd.text, "skip").notes)
        seen.update(said for said in ("blank lines", "#CHROM line") if said in notes)
        seen.update(end for end in ("\r\n", "\n") if end.encode() in odd.text)
        seen.update(("bom",) if odd.text.startswith(b"\xef\xbb\xbf") else ())
        for chunk in chunks(inspected_text(tmp_path, odd.text, "skip")):
            seen.update(chunk.alleles["status"])
            seen.update(("many",) if chunk.alleles["allele"].max() == 100 else ())

    look()
    assert seen >= {
        "bad", "bom", "many", "\r\n", "\n", "blank lines", "#CHROM line", "ok", "no_alt",
        "symbolic_allele", "breakend", "spanning_deletion", "ambiguous_base", "same_as_ref",
    }  # fmt: skip
    assert {status.encode() for status in seen if status.isidentifier()} - {
        b"bad", b"bom", b"many"
    } <= STATUSES  # fmt: skip


def test_info_of_a_megabyte(tmp_path: Path) -> None:
    line = record(10, info="X=" + "a,%3B" * 200_000)
    (new,) = annotated_lines(inspected_text(tmp_path, sites(line)))
    assert len(new) > 1_000_000
    assert_annotated(line, new)


def test_a_hundred_alts_and_a_thousand_samples(tmp_path: Path) -> None:
    line = record(10, alt=",".join("ACGT"[i % 4] * (i + 2) for i in range(100)))
    line = line.rstrip(b"\n") + b"\tGT" + b"".join(b"\t%d|100" % (i % 100) for i in range(1000))
    names = b"\tFORMAT" + b"".join(b"\tS%d" % i for i in range(1000))
    text = HEADER + SITES + names + b"\n" + line + b"\n"
    (new,) = annotated_lines(inspected_text(tmp_path, text))
    assert_annotated(line + b"\n", new)
    assert new.count(b",ok") == 99


@pytest.mark.parametrize("declared", [False, True])
def test_two_hundred_thousand_contigs(tmp_path: Path, declared: bool) -> None:
    names = [f"scaffold_{number}" for number in range(200_000)]
    header = HEADER
    if declared:
        header += b"".join(b"##contig=<ID=%s,length=500>\n" % name.encode() for name in names)
    text = header + SITES + b"\n" + b"".join(record(chrom=name) for name in names)
    started = time.monotonic()
    inspection = inspected_text(tmp_path, text)
    assert len(inspection.contigs) == inspection.records == 200_000
    assert len(inspection.added) == (0 if declared else 200_000)
    lengths = dict.fromkeys(names, 500)
    lines = header_lines(inspection, lengths)
    assert sum(line.startswith(b"##contig=<ID=scaffold_") for line in lines) == 200_000
    # Quadratic work would take minutes.
    assert time.monotonic() - started < 20
