"""VCF -> ALLELES: an input is read whole once and proven sound, then streamed in chunks."""

import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import polars as pl

from ntvep.errors import InputError
from ntvep.io.open_vcf import open_lines, spool
from ntvep.io.staging import STANDARD_STREAM
from ntvep.io.vcf_header import Used, ours
from ntvep.io.vcf_lines import Header, Problem, Record, read_header, read_records
from ntvep.schema import ALLELES, Status, check

_BASES = re.compile(r"[ACGT]+", re.IGNORECASE)


@dataclass(frozen=True)
class BadRecord:
    """A line that is not a VCF record, and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class Inspection:
    """What one full read of an input tells, before a model is loaded.

    Attributes:
        path: the file that was read.
        name: how the user called it.
        header: all header lines with their line ends, ``#CHROM`` last; no byte order mark, no
            blank lines.
        records: number of good records.
        contigs: contigs as spelled, with their number of records, in order of appearance.
        is_sorted: each contig's records are contiguous, and POS never decreases.
        needs_csi: positions reach beyond what a .tbi can index.
        bad: lines left out; empty unless asked for.
        added: header lines for what is used and not declared, without line ends.
        notes: what the user should know, a sentence each.
    """

    path: Path
    name: str
    header: tuple[bytes, ...]
    records: int
    contigs: Mapping[str, int]
    is_sorted: bool
    needs_csi: bool
    bad: tuple[BadRecord, ...]
    added: tuple[bytes, ...]
    notes: tuple[str, ...]

    @property
    def newline(self) -> bytes:
        """The line end of the header, for lines that are added to it."""
        return b"\r\n" if self.header[0].endswith(b"\r\n") else b"\n"


@dataclass(frozen=True)
class Chunk:
    """Consecutive records.

    Attributes:
        lines: as in the input, line ends included.
        alleles: ALLELES; ``ok`` unless the text by itself rules out a score.
    """

    lines: tuple[bytes, ...]
    alleles: pl.DataFrame


@contextmanager
def opened(
    source: Path,
    on_bad_record: Literal["fail", "skip"] = "fail",
    refuse_annotated: bool = False,
    tag: str = "",
) -> Iterator[Inspection]:
    """Inspect a VCF or BCF; standard input is kept in a temporary file meanwhile.

    Raises:
        InputError: see :func:`inspect`.
    """
    is_stdin = source == STANDARD_STREAM
    # A pipe under a name, as in ``ntvep score <(zcat x.vcf.gz)``, can be read only once too.
    if not is_stdin and not source.is_fifo():
        yield inspect(source, str(source), on_bad_record, refuse_annotated, tag)
        return
    name = "standard input" if is_stdin else str(source)
    with tempfile.TemporaryDirectory(prefix="ntvep-") as folder, ExitStack() as stack:
        stream = sys.stdin.buffer if is_stdin else stack.enter_context(source.open("rb"))
        yield inspect(spool(stream, Path(folder)), name, on_bad_record, refuse_annotated, tag)


def inspect(
    path: Path,
    name: str,
    on_bad_record: Literal["fail", "skip"],
    refuse_annotated: bool = False,
    tag: str = "",
) -> Inspection:
    """Read an input once, whole: prove it intact and learn what its header lacks.

    Args:
        path: VCF text, gzip, bgzip, or BCF; the content decides.
        name: how the user called it, for messages.
        on_bad_record: stop at a line that is not a record, or leave such lines out and list them.
        refuse_annotated: stop if it already has annotations of ntvep, of this tag.
        tag: of the run that will annotate it.

    Raises:
        InputError: damaged, cut, not a VCF, or a bad record; names the line.
    """
    with open_lines(path, name) as lines:
        header = read_header(lines, name)
        used = Used(header.lines)
        bad: list[tuple[int, Problem]] = []
        blank = header.blank
        for number, line, record in read_records(lines, header):
            if record is None:
                blank += 1
            elif not isinstance(record, Problem):
                used.add(line, record)
            elif on_bad_record == "skip":
                bad.append((number, record))
            else:
                raise InputError(
                    f"{name}, line {number}: {record.reason}. {record.remedy}, or leave such lines "
                    "out with --on-bad-record skip"
                )
    if bad and not used.records:
        number, problem = bad[0]
        raise InputError(
            f"{name}: --on-bad-record skip would leave out all {len(bad)} records; expected at "
            f"least one valid record. The first, line {number}: {problem.reason}. {problem.remedy}"
        )
    own = ours(header.lines, tag)
    is_ours = any(map(own.lines.match, header.lines)) or used.has(own)
    if is_ours and refuse_annotated:
        raise InputError(
            f"{name}: already has NTVEP annotations; leave --refuse-annotated out to replace them"
        )
    added, broken = used.missing()
    return Inspection(
        path=path,
        name=name,
        header=header.lines,
        records=used.records,
        contigs={contig.decode(): count for contig, count in used.contigs.items()},
        is_sorted=used.is_sorted,
        needs_csi=used.needs_csi,
        bad=tuple(BadRecord(number, problem.reason) for number, problem in bad),
        added=tuple(added),
        notes=tuple(_notes(header, used, blank, len(added), broken, is_ours)),
    )


def _notes(
    header: Header, used: Used, blank: int, added: int, broken: int, is_ours: bool
) -> Iterator[str]:
    if header.had_bom:
        yield "byte order mark removed"
    if header.spare_tabs:
        yield "tab at the end of the #CHROM line removed: other tools refuse it"
    if blank:
        yield f"{blank} blank line{'s' * (blank > 1)} left out"
    if added:
        yield f"header completed with {added} lines for what it uses but lacks"
    if broken:
        yield (
            f"{broken} ids that it uses cannot be declared in the header; other tools may refuse it"
        )
    if is_ours:
        yield "annotations of an earlier ntvep run are replaced"
    if not used.is_sorted:
        yield "records are not sorted by contig and position: no index will be written"


def read_chunks(inspection: Inspection, sizes: Iterable[int]) -> Iterator[Chunk]:
    """Read an inspected input again, in chunks of these numbers of good records."""
    with open_lines(inspection.path, inspection.name) as lines:
        header = read_header(lines, inspection.name)
        good = (
            (line, record)
            for _, line, record in read_records(lines, header)
            if isinstance(record, re.Match)
        )
        first = 0
        for size in sizes:
            some = tuple(islice(good, size))
            if not some:
                if first != inspection.records:
                    raise InputError(
                        f"{inspection.name}: had {inspection.records} records and now has {first}: "
                        "it was changed while it was read. Run again when it is finished"
                    )
                return
            kept, parsed = zip(*some, strict=True)
            yield Chunk(kept, _alleles(parsed, first))
            first += len(kept)


@contextmanager
def streamed(
    path: Path, size: int, on_bad_record: Literal["fail", "skip"] = "fail"
) -> Iterator[tuple[tuple[bytes, ...], Iterator[Chunk]]]:
    """Read a VCF or BCF once: its header, and its records in chunks of this many.

    For inputs that nothing is written back to: they need no inspection first.

    Args:
        path: of it.
        size: records in a chunk.
        on_bad_record: stop at a line that is not a record, or leave such lines out.

    Raises:
        InputError: (while reading, too) damaged, cut, not a VCF, or a bad record.
    """
    name = str(path)
    with open_lines(path, name) as lines:
        header = read_header(lines, name)

        def good() -> Iterator[tuple[bytes, Record]]:
            for number, line, record in read_records(lines, header):
                if isinstance(record, Problem):
                    if on_bad_record == "skip":
                        continue
                    raise InputError(
                        f"{name}, line {number}: {record.reason}. {record.remedy}, or remove the "
                        "line"
                    )
                if record is not None:
                    yield line, record

        def chunks() -> Iterator[Chunk]:
            records, first = good(), 0
            while some := tuple(islice(records, size)):
                kept, parsed = zip(*some, strict=True)
                yield Chunk(kept, _alleles(parsed, first))
                first += len(kept)

        yield header.lines, chunks()


def info_of(line: bytes) -> str:
    """INFO of a good record."""
    return line.split(b"\t", 8)[7].rstrip(b"\r\n").decode("utf-8", "replace")


def _alleles(records: Sequence[Record], first: int) -> pl.DataFrame:
    rows: list[tuple[int, int, str, int, str, str, str]] = []
    for number, record in enumerate(records, start=first):
        chrom, pos, ref, alts, _, _ = record.groups()
        site = chrom.decode(), int(pos), ref.decode()
        for allele, alt in enumerate(alts.decode().split(","), start=1):
            rows.append((number, allele, *site, alt, text_status(site[2], alt)))
    schema = {column.name: column.dtype for column in ALLELES}
    return check(pl.DataFrame(rows, schema=schema, orient="row"), ALLELES)


_LETTERS = frozenset("ACGTacgt")


def text_status(ref: str, alt: str) -> Status:
    """The status that REF and ALT decide by themselves."""
    if ref in _LETTERS and alt in _LETTERS:
        # Nearly every allele is an SNV.
        return Status.SAME_AS_REF if alt.upper() == ref.upper() else Status.OK
    if _BASES.fullmatch(alt):
        if not _BASES.fullmatch(ref):
            return Status.AMBIGUOUS_BASE
        return Status.SAME_AS_REF if alt.upper() == ref.upper() else Status.OK
    if alt in (".", "<*>", "<NON_REF>"):
        return Status.NO_ALT
    if alt == "*":
        return Status.SPANNING_DELETION
    if "[" in alt or "]" in alt or alt.startswith(".") or alt.endswith("."):
        return Status.BREAKEND
    if alt.startswith("<"):
        return Status.SYMBOLIC_ALLELE
    return Status.AMBIGUOUS_BASE


def place_and_info(line: bytes) -> tuple[str, int, list[str]]:
    """CHROM, POS and the entries of INFO of a good record."""
    fields = line.rstrip(b"\r\n").split(b"\t", 8)
    return fields[0].decode(), int(fields[1]), fields[7].decode("utf-8", "replace").split(";")
