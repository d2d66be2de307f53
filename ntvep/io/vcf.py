"""VCF -> ALLELES: an input is read whole once and proven sound, then streamed in chunks."""

import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import polars as pl

from ntvep.errors import InputError
from ntvep.io.open_vcf import open_lines, spool
from ntvep.io.staging import STANDARD_STREAM
from ntvep.schema import ALLELES, Status, check

_COLUMNS = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
_BOM = b"\xef\xbb\xbf"
# An ALT is any printable text without commas: what is no allele of bases gets a status.
_ALLELE = rb"[!-+\--~]+"
# No control characters; and a line that begins with # is no record.
_CHROM = rb"[^\x00-\x20\x7f#][^\x00-\x20\x7f]*"
# The last POS that VCF's 32-bit integers, and with them BCF and every index, can hold.
_LAST_POS = 2**31 - 1
_RECORD = re.compile(
    rb"("
    + _CHROM
    + rb")\t(\d{1,18})\t[^\t]*\t([!-~]+)\t("
    + _ALLELE
    + rb"(?:,"
    + _ALLELE
    + rb")*)\t"
    rb"[^\t]*\t([^\t]*)\t([^\t\r\n]*)"
)
# What an error may quote of a wrong field: nothing that can be an id, a genotype or INFO.
_NO_BASES = rb"[ACGTUNRYSWKMBDHVacgtunryswkmbdhv<>*.,\[\]\s\x00-\x1f\x7f-\xff]{0,20}"
_SHOWABLE = {
    "CHROM": re.compile(rb"#?(?:chr)?[\w\s\x00-\x1f]{0,3}"),
    "POS": re.compile(rb"[-+.,\dxXeE ]{0,12}"),
    "REF": re.compile(_NO_BASES),
    "ALT": re.compile(_NO_BASES),
}
_DECLARED = re.compile(rb'##(INFO|FILTER|FORMAT|contig)=<(?:[^"]*,)?ID=(<[^>]*>|[^,>]+)')
_CONTIG_LENGTH = re.compile(rb"##contig=<.*\blength=(\d+)")
# What an earlier run of ours added to a header.
OURS = re.compile(rb"##INFO=<ID=NTVEP_|##ntvep_")
# An id that a header line can hold; any other would break that line, and with it the header.
_DECLARABLE = re.compile(rb'<[^\x00-\x20\x7f"\\,<>]+>|[^\x00-\x20\x7f"\\,<>]+')
_INFO_KEY = re.compile(rb"(?:^|;)([^=;]+)")
_BASES = re.compile(r"[ACGT]+", re.IGNORECASE)
# Beyond this a .tbi cannot point (tabix, 14-bit linear index over 2^29 bases).
_TBI_END = 1 << 29


@dataclass(frozen=True)
class BadRecord:
    """A line that is no VCF record, and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class Inspection:
    """What one full read of an input tells, before a model is loaded.

    Attributes:
        path: the file that was read.
        name: how the user called it.
        header: all header lines with their line ends, ``#CHROM`` last; no byte order mark.
        records: number of good records.
        contigs: contigs as spelled, with their number of records, in order of appearance.
        is_sorted: each contig's records stand together, POS never falls.
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
        lines: as they stand in the input, line ends included.
        alleles: ALLELES; ``ok`` where the text alone does not forbid a score.
    """

    lines: tuple[bytes, ...]
    alleles: pl.DataFrame


@contextmanager
def opened(
    source: Path, on_bad_record: Literal["fail", "skip"] = "fail", refuse_annotated: bool = False
) -> Iterator[Inspection]:
    """Inspect a VCF or BCF; standard input is kept in a temporary file meanwhile.

    Raises:
        InputError: see :func:`inspect`.
    """
    is_stdin = source == STANDARD_STREAM
    # A pipe under a name, as in ``ntvep score <(zcat x.vcf.gz)``, can be read only once too.
    if not is_stdin and not source.is_fifo():
        yield inspect(source, str(source), on_bad_record, refuse_annotated)
        return
    name = "standard input" if is_stdin else str(source)
    with tempfile.TemporaryDirectory(prefix="ntvep-") as folder, ExitStack() as stack:
        stream = sys.stdin.buffer if is_stdin else stack.enter_context(source.open("rb"))
        yield inspect(spool(stream, Path(folder)), name, on_bad_record, refuse_annotated)


def inspect(
    path: Path, name: str, on_bad_record: Literal["fail", "skip"], refuse_annotated: bool = False
) -> Inspection:
    """Read an input once, whole: prove it intact and learn what its header lacks.

    Args:
        path: VCF text, gzip, bgzip, or BCF; the content decides.
        name: how the user called it, for messages.
        on_bad_record: stop at a line that is no record, or leave such lines out and list them.
        refuse_annotated: stop if it already has annotations of ntvep.

    Raises:
        InputError: damaged, cut, not a VCF, or a bad record; names the line.
    """
    with open_lines(path, name) as lines:
        header, body, had_bom = _split_header(lines, name)
        declared = {kind: set[bytes]() for kind in (b"INFO", b"FILTER", b"FORMAT", b"contig")}
        for line in header:
            if match := _DECLARED.match(line):
                declared[match[1]].add(match[2])
        used = _Used()
        bad: list[BadRecord] = []
        for number, line, record in _records(body, header):
            if isinstance(record, str):
                if on_bad_record == "fail":
                    raise InputError(
                        f"{name}, line {number}: {record}. Mend the line, or leave such lines out "
                        "with --on-bad-record skip"
                    )
                bad.append(BadRecord(number, record))
            else:
                used.add(line, record)
    ours = any(OURS.match(line) for line in header) or used.has_ours
    if ours and refuse_annotated:
        raise InputError(
            f"{name}: already has NTVEP annotations; leave --refuse-annotated out to replace them"
        )
    added, broken = _missing_declarations(header, declared, used)
    notes = []
    if had_bom:
        notes.append("byte order mark removed")
    if added:
        notes.append(f"header completed with {len(added)} lines for what it uses but lacks")
    if broken:
        notes.append(f"{broken} ids that it uses fit in no header line; other tools may refuse it")
    if ours:
        notes.append("annotations of an earlier ntvep run are replaced")
    if not used.is_sorted:
        notes.append("records are not sorted by contig and position: no index will be written")
    lengths = (int(m[1]) for line in header if (m := _CONTIG_LENGTH.match(line)))
    return Inspection(
        path=path,
        name=name,
        header=tuple(header),
        records=used.records,
        contigs={contig.decode(): count for contig, count in used.contigs.items()},
        is_sorted=used.is_sorted,
        needs_csi=max(used.last_base, *lengths, 0) > _TBI_END,
        bad=tuple(bad),
        added=tuple(added),
        notes=tuple(notes),
    )


def read_chunks(inspection: Inspection, sizes: Iterable[int]) -> Iterator[Chunk]:
    """Read an inspected input again, in chunks of these numbers of good records."""
    with open_lines(inspection.path, inspection.name) as lines:
        header, body, _ = _split_header(lines, inspection.name)
        good = (
            (line, record)
            for _, line, record in _records(body, header)
            if not isinstance(record, str)
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
def streamed(path: Path, size: int) -> Iterator[tuple[tuple[bytes, ...], Iterator[Chunk]]]:
    """Read a VCF or BCF once: its header, and its records in chunks of this many.

    For inputs that nothing is written back to: they need no inspection first.

    Raises:
        InputError: (while reading, too) damaged, cut, not a VCF, or a bad record.
    """
    name = str(path)
    with open_lines(path, name) as lines:
        header, body, _ = _split_header(lines, name)

        def good() -> Iterator[tuple[bytes, re.Match[bytes]]]:
            for number, line, record in _records(body, header):
                if isinstance(record, str):
                    raise InputError(f"{name}, line {number}: {record}. Mend or remove the line")
                yield line, record

        def chunks() -> Iterator[Chunk]:
            records, first = good(), 0
            while some := tuple(islice(records, size)):
                kept, parsed = zip(*some, strict=True)
                yield Chunk(kept, _alleles(parsed, first))
                first += len(kept)

        yield tuple(header), chunks()


def info_of(line: bytes) -> str:
    """INFO of a good record."""
    return line.split(b"\t", 8)[7].rstrip(b"\r\n").decode("utf-8", "replace")


def _split_header(
    lines: Iterator[bytes], name: str
) -> tuple[list[bytes], Iterator[tuple[int, bytes]], bool]:
    """Header lines, numbered lines behind them, and whether there was a byte order mark."""
    first = next(lines)
    had_bom = first.startswith(_BOM)
    header: list[bytes] = []
    for line in chain([first.removeprefix(_BOM)], lines):
        header.append(line)
        if not line.startswith(b"##"):
            break
    columns = header[-1].rstrip(b"\r\n")
    number = len(header)
    if not columns.startswith(b"#CHROM"):
        raise InputError(
            f"{name}, line {number}: expected header lines that begin with ## and then the line "
            "of column names that begins with #CHROM; this is not a VCF, or its header was cut"
        )
    if not (columns + b"\t").startswith(_COLUMNS + b"\t"):
        raise InputError(
            f"{name}, line {number}: expected the columns {_COLUMNS.decode()!r}, separated by "
            "tabs, at the beginning of the #CHROM line"
        )
    if holes := [place for place, line in enumerate(header, start=1) if b"\0" in line]:
        raise InputError(
            f"{name}, line {holes[0]}: holds NUL bytes, as a file has where it was lost. Copy it "
            "again and compare checksums"
        )
    return header, enumerate(lines, start=number + 1), had_bom


def _records(
    body: Iterator[tuple[int, bytes]], header: Sequence[bytes]
) -> Iterator[tuple[int, bytes, re.Match[bytes] | str]]:
    """Each line's number, its text, and its fields or what is wrong with it."""
    tabs = header[-1].count(b"\t")
    for number, line in body:
        record = _RECORD.match(line)
        if record is None or line.count(b"\t") != tabs or b"\0" in line or not _is_sound(record):
            yield number, line, _what_is_wrong(line, tabs)
        else:
            yield number, line, record


def _is_sound(record: re.Match[bytes]) -> bool:
    if len(record[2]) > 9 and int(record[2]) > _LAST_POS:
        return False
    if record[1].isascii():
        return True
    try:
        record[1].decode()
    except UnicodeDecodeError:
        return False
    return True


def _what_is_wrong(line: bytes, tabs: int) -> str:
    """Why a line is no record; says nothing of samples or INFO."""
    fields = line.rstrip(b"\r\n").split(b"\t")
    if fields == [b""]:
        return "a blank line"
    if len(fields) != tabs + 1:
        cut = "" if line.endswith(b"\n") else "; the file ends here, so it may have been cut"
        return f"{len(fields)} columns, but the header has {tabs + 1}{cut}"
    names = ("CHROM", "POS", "REF", "ALT")
    patterns = (_CHROM, rb"\d{1,18}", rb"[!-~]+", _ALLELE + rb"(?:," + _ALLELE + rb")*")
    for name, place, pattern in zip(names, (0, 1, 3, 4), patterns, strict=True):
        if not re.fullmatch(pattern, fields[place]):
            return f"{name} is {_shown(name, fields[place])}"
    if b"\0" in line:
        return "it holds NUL bytes, as a file has where it was lost"
    if int(fields[1]) > _LAST_POS:
        return f"POS is {int(fields[1])}, but the last that VCF can hold is {_LAST_POS}"
    return "CHROM is not UTF-8"


def _shown(name: str, field: bytes) -> str:
    """A field that is wrong, unless it may be another column's: a line can have lost a tab."""
    if not _SHOWABLE[name].fullmatch(field):
        return f"{len(field)} bytes that are no {name}; not shown, for they may be of a sample"
    return repr(field.decode("ascii", "backslashreplace"))


class _Used:
    """What the records of an input use, gathered while they stream by."""

    def __init__(self) -> None:
        self.records = 0
        self.contigs: dict[bytes, int] = {}
        self.filters: set[bytes] = set()
        self.infos: set[bytes] = set()
        self.formats: set[bytes] = set()
        self.is_sorted = True
        self.last_base = 0
        self._contig, self._pos = b"", 0

    @property
    def has_ours(self) -> bool:
        """Whether a record has an INFO key of ours, declared or not."""
        return any(key.startswith(b"NTVEP_") for key in self.infos)

    def add(self, line: bytes, record: re.Match[bytes]) -> None:
        """Count one good record."""
        contig, digits, ref, _, filters, info = record.groups()
        pos = int(digits)
        self.records += 1
        if contig != self._contig:
            self.is_sorted &= contig not in self.contigs
            self._contig, self._pos = contig, 0
        self.is_sorted &= pos >= self._pos
        self._pos = pos
        self.last_base = max(self.last_base, pos + len(ref) - 1)
        self.contigs[contig] = self.contigs.get(contig, 0) + 1
        self.filters.add(filters)
        self.infos.update(_INFO_KEY.findall(info))
        tail = line[record.end() :]
        if tail[:1] == b"\t":
            self.formats.add(tail.split(b"\t", 2)[1].rstrip(b"\r\n"))


def _missing_declarations(
    header: Sequence[bytes], declared: Mapping[bytes, set[bytes]], used: _Used
) -> tuple[list[bytes], int]:
    """Header lines for what records use and the header lacks; number of ids that fit in none."""
    lines = [] if header[0].startswith(b"##fileformat=") else [b"##fileformat=VCFv4.2"]

    broken = 0

    def missing(kind: bytes, ids: Iterable[bytes], rest: bytes) -> None:
        nonlocal broken
        for name in ids:
            if name in declared[kind] or name in (b"", b"."):
                continue
            if _DECLARABLE.fullmatch(name):
                lines.append(b"##%s=<ID=%s%s>" % (kind, name, rest))
            else:
                broken += 1

    undeclared = b'Description="Not declared in the input"'
    filters = chain.from_iterable(names.split(b";") for names in used.filters)
    missing(b"FILTER", sorted({*filters} - {b"PASS", b"0"}), b"," + undeclared)
    infos = sorted(key for key in used.infos if not key.startswith(b"NTVEP_"))
    missing(b"INFO", infos, b",Number=.,Type=String," + undeclared)
    formats = chain.from_iterable(keys.split(b":") for keys in used.formats)
    missing(b"FORMAT", sorted({*formats}), b",Number=.,Type=String," + undeclared)
    # In the order of the file: an index numbers contigs as the header does.
    missing(b"contig", used.contigs, b"")
    return lines, broken


def _alleles(records: Sequence[re.Match[bytes]], first: int) -> pl.DataFrame:
    rows: list[tuple[int, int, str, int, str, str, str]] = []
    for number, record in enumerate(records, start=first):
        chrom, pos, ref, alts, _, _ = record.groups()
        site = chrom.decode(), int(pos), ref.decode()
        for allele, alt in enumerate(alts.decode().split(","), start=1):
            rows.append((number, allele, *site, alt, text_status(site[2], alt)))
    schema = {column.name: column.dtype for column in ALLELES}
    return check(pl.DataFrame(rows, schema=schema, orient="row"), ALLELES)


def text_status(ref: str, alt: str) -> Status:
    """The status that REF and ALT decide by themselves."""
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
