"""lines -> the header and the records of a VCF, or what is wrong with a line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from ntvep.errors import InputError

FILEFORMAT = b"##fileformat=VCFv4.2"
COLUMNS = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
_BOM = b"\xef\xbb\xbf"
# An ALT is any printable text without commas: what is not an allele of bases gets a status.
_ALLELE = rb"[!-+\--~]+"
_ALLELES = _ALLELE + rb"(?:," + _ALLELE + rb")*"
# No control characters; and a line that begins with # is not a record.
_CHROM = rb"[^\x00-\x20\x7f#][^\x00-\x20\x7f]*"
# The last POS that VCF's 32-bit integers, and with them BCF and every index, can hold.
_LAST_POS = 2**31 - 1
# CHROM, POS, REF, ALT, FILTER and INFO.
_RECORD = re.compile(
    rb"(%s)\t(\d{1,18})\t[^\t]*\t([!-~]+)\t(%s)\t[^\t]*\t([^\t]*)\t([^\t\r\n]*)"
    % (_CHROM, _ALLELES)
)
_PATTERNS = {"CHROM": (0, _CHROM), "POS": (1, rb"\d{1,18}"), "REF": (3, rb"[!-~]+")}
_PATTERNS["ALT"] = (4, _ALLELES)
# What an error may quote of a wrong field: nothing that can be an id, a genotype or INFO.
_NO_BASES = rb"[ACGTUNRYSWKMBDHVacgtunryswkmbdhv<>*.,\[\]\s\x00-\x1f\x7f-\xff]{0,20}"
_SHOWABLE = {
    "CHROM": re.compile(rb"#?(?:chr)?[\w\s\x00-\x1f]{0,3}"),
    "POS": re.compile(rb"[-+.,\dxXeE ]{0,12}"),
    "REF": re.compile(_NO_BASES),
    "ALT": re.compile(_NO_BASES),
}

Record = re.Match[bytes]


@dataclass(frozen=True)
class Problem:
    """Why a line is not a record; never quotes samples or INFO.

    Attributes:
        reason: what was found.
        remedy: what to do, where it is not to mend the line.
    """

    reason: str
    remedy: str = "Fix the line"


@dataclass(frozen=True)
class Header:
    """What precedes the records.

    Attributes:
        lines: with their line ends, ``#CHROM`` last; without a byte order mark, blank lines, and
            tabs at the end of ``#CHROM``.
        read: number of lines of the file that it takes.
        tabs: in a record.
        spare_tabs: that the ``#CHROM`` line ended in; records may end in as many.
        had_bom: a byte order mark preceded it.
        blank: number of blank lines in it.
    """

    lines: tuple[bytes, ...]
    read: int
    tabs: int
    spare_tabs: int
    had_bom: bool
    blank: int


def read_header(lines: Iterator[bytes], name: str) -> Header:
    """Take a VCF's header from its lines.

    Raises:
        InputError: there is none, or its ``#CHROM`` line is not one; names the line.
    """
    first = next(lines)
    header: list[bytes] = []
    read, blank = 0, 0
    for read, line in enumerate(chain([first.removeprefix(_BOM)], lines), start=1):
        if not line.strip(b"\r\n"):
            blank += 1
            continue
        if b"\0" in line and line.startswith(b"#"):
            raise InputError(
                f"{name}, line {read}: holds NUL bytes, which appear where a file lost data. Copy "
                "it again and compare checksums"
            )
        header.append(line)
        if not line.startswith(b"##"):
            break
    columns = _columns(header[-1] if header else b"", name, read, bool(header[:-1]))
    text = columns.rstrip(b"\t")
    header[-1] = text + header[-1][len(columns) :]
    return Header(
        lines=tuple(header),
        read=read,
        tabs=text.count(b"\t"),
        spare_tabs=len(columns) - len(text),
        had_bom=first.startswith(_BOM),
        blank=blank,
    )


def _columns(line: bytes, name: str, number: int, has_others: bool) -> bytes:
    """The ``#CHROM`` line without its line end.

    Raises:
        InputError: it is none.
    """
    columns = line.rstrip(b"\r\n")
    if _RECORD.match(line):
        raise InputError(
            f"{name}, line {number}: expected the line of column names that begins with #CHROM, "
            f"found a record: no header. {_header_remedy(columns, number, has_others)}"
        )
    if not columns.startswith(b"#CHROM"):
        raise InputError(
            f"{name}, line {number}: expected header lines that begin with ## and then the line "
            "of column names that begins with #CHROM; this is not a VCF, or its header was cut"
        )
    if not (columns + b"\t").startswith(COLUMNS + b"\t"):
        raise InputError(
            f"{name}, line {number}: expected the columns {COLUMNS.decode()!r}, separated by "
            "tabs, at the beginning of the #CHROM line"
        )
    return columns


def _header_remedy(record: bytes, number: int, has_others: bool) -> str:
    if record.count(b"\t") != COLUMNS.count(b"\t"):
        return "Prepend the header of the original file: it names the samples"
    lacking = COLUMNS if has_others else FILEFORMAT + b"\n" + COLUMNS
    # sed spells tabs and line ends as Python does.
    return f"Type: sed '{number}i {repr(lacking.decode())[1:-1]}' FILE > NEW.vcf"


def read_records(
    lines: Iterator[bytes], header: Header
) -> Iterator[tuple[int, bytes, Record | Problem | None]]:
    """Each line's number, its text, and its fields; or what is wrong with it; None if it is blank.

    Args:
        lines: those after the header.
        header: see :func:`read_header`.
    """
    tabs, spare = header.tabs, header.spare_tabs
    for number, line in enumerate(lines, start=header.read + 1):
        record = _RECORD.match(line)
        if (
            record is not None
            and (line.count(b"\t") == tabs or (spare and _ends_in_tabs(line, tabs, spare)))
            and b"\0" not in line
            and _is_sound(record)
        ):
            yield number, line, record
        elif line.strip(b"\r\n"):
            yield number, line, _what_is_wrong(line, tabs)
        else:
            yield number, line, None


def _ends_in_tabs(line: bytes, tabs: int, spare: int) -> bool:
    return line.count(b"\t") == tabs + spare and line.rstrip(b"\r\n").endswith(b"\t" * spare)


def _is_sound(record: Record) -> bool:
    if len(record[2]) > 9 and int(record[2]) > _LAST_POS:
        return False
    if record[1].isascii():
        return True
    try:
        record[1].decode()
    except UnicodeDecodeError:
        return False
    return True


def _what_is_wrong(line: bytes, tabs: int) -> Problem:
    bare = line.rstrip(b"\r\n")
    fields = bare.split(b"\t")
    if bare.startswith((b"##", b"#CHROM\t")):
        return Problem(
            "a header line among the records, as where files were joined with cat",
            "Join files with: bcftools concat",
        )
    if len(fields) == tabs + 2 and not fields[-1]:
        return Problem(
            f"one tab too many at its end ({len(fields)} columns, but the header has {tabs + 1})",
            "Remove it with: sed -E 's/\\t(\\r?)$/\\1/' FILE > NEW.vcf",
        )
    if len(fields) != tabs + 1:
        cut = "" if line.endswith(b"\n") else "; the file ends here, so it may have been cut"
        return Problem(f"{len(fields)} columns, but the header has {tabs + 1}{cut}")
    for name, (place, pattern) in _PATTERNS.items():
        if not re.fullmatch(pattern, fields[place]):
            return Problem(f"{name} is {_shown(name, fields[place])}")
    if b"\0" in line:
        return Problem("it holds NUL bytes, which appear where a file lost data")
    if int(fields[1]) > _LAST_POS:
        return Problem(f"POS is {int(fields[1])}, but the largest that VCF allows is {_LAST_POS}")
    return Problem("CHROM is not UTF-8")


def _shown(name: str, field: bytes) -> str:
    """A field that is wrong, unless it may be another column's: a line can have lost a tab."""
    if not _SHOWABLE[name].fullmatch(field):
        return (
            f"{len(field)} bytes that are not a {name}; not shown, because they may identify a "
            "sample"
        )
    return repr(field.decode("ascii", "backslashreplace"))
