"""VCF, gzip, bgzip, BCF -> lines: opened by what they hold, proven whole while they are read."""

import gzip
import re
import shutil
import tempfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

import pysam

from ntvep.errors import InputError, OutputError

_GZIP = b"\x1f\x8b"
# The version of BCF that htslib reads.
_BCF = b"BCF\x02\x02"
# The first bytes of a file, which tell its format; line ends are looked for in the same number.
_START = 1 << 16
_CR_ALONE = re.compile(rb"(?:\xef\xbb\xbf)?#[^\n\r]*\r[^\n\r][^\n]*\Z")
# How a file begins, what it is then, and what makes a VCF of it.
_OTHER_FORMS = (
    (b"BZh", "bzip2", "bunzip2 -c FILE | bgzip > NEW.vcf.gz"),
    (b"\xfd7zXZ\0", "xz", "xz -dc FILE | bgzip > NEW.vcf.gz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -dc FILE | bgzip > NEW.vcf.gz"),
    (b"PK\x03\x04", "a zip archive", "unzip -p FILE | bgzip > NEW.vcf.gz"),
    (b"\xff\xfe\0\0", "UTF-32 text", "iconv -f UTF-32 -t UTF-8 FILE > NEW.vcf"),
    (b"\xff\xfe", "UTF-16 text", "iconv -f UTF-16 -t UTF-8 FILE > NEW.vcf"),
    (b"\xfe\xff", "UTF-16 text", "iconv -f UTF-16 -t UTF-8 FILE > NEW.vcf"),
    (b"#\0", "UTF-16 text", "iconv -f UTF-16LE -t UTF-8 FILE > NEW.vcf"),
    (b"\0#", "UTF-16 text", "iconv -f UTF-16BE -t UTF-8 FILE > NEW.vcf"),
)
# The empty block that every whole bgzip file ends with (SAM specification, section 4.1.2).
BGZF_EOF = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def is_bgzip(start: bytes) -> bool:
    """Whether a file's first 18 bytes are the header of a bgzip block."""
    return start[:4] == b"\x1f\x8b\x08\x04" and start[12:14] == b"BC"


def spool(stream: BinaryIO, folder: Path) -> Path:
    """Copy a stream to a file, so that it can be read more than once.

    Raises:
        OutputError: the folder cannot hold it.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="stdin-", delete=False) as copy:
            shutil.copyfileobj(stream, copy)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot hold a copy of the input, which is read twice ({error.strerror}); "
            "type: export TMPDIR=/a/folder/with/room, or give a file"
        ) from error
    return Path(copy.name)


@contextmanager
def open_lines(path: Path, name: str) -> Iterator[Iterator[bytes]]:
    """Read a VCF's lines, line ends included; BCF is decoded to VCF text by htslib.

    Args:
        path: the file; its content decides how it is read, not its suffix.
        name: how the user called it, for messages.

    Raises:
        InputError: missing, a folder, empty, or (while reading) truncated or damaged.
    """
    if path.is_dir():
        raise InputError(f"{name}: is a folder; expected a VCF or BCF file")
    if not path.exists():
        raise InputError(f"{name}: no such file; expected a VCF (.vcf, .vcf.gz) or BCF")
    try:
        raw = path.open("rb")
    except OSError as error:
        raise InputError(
            f"{name}: cannot be read ({error.strerror}); type: ls -l {name}"
        ) from error
    with raw:
        start = raw.read(_START)
        raw.seek(0)
        if not start:
            raise InputError(f"{name}: the file is empty; expected a VCF or BCF")
        if not start.startswith(_GZIP):
            _refuse_other_forms(start, name)
            yield _bcf_lines(path, name) if start.startswith(b"BCF") else raw
            return
        if is_bgzip(start):
            _refuse_cut_bgzip(raw, name)
        with gzip.open(raw, "rb") as plain:
            try:
                inside = plain.peek(_START)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise _damaged(name, error) from error
            if not inside:
                raise InputError(
                    f"{name}: decompresses to nothing; expected a VCF or BCF. Check the command "
                    "that wrote it"
                )
            _refuse_other_forms(inside, name)
            lines = _checked(plain, name)
            yield _bcf_lines(path, name, lines) if inside.startswith(b"BCF") else lines


def _refuse_other_forms(start: bytes, name: str) -> None:
    """Raise InputError if a file begins as something that is made a VCF with one command."""
    for magic, form, command in _OTHER_FORMS:
        if start.startswith(magic):
            raise InputError(
                f"{name}: is {form}; expected a VCF (plain, gzip, bgzip) or BCF. Type: {command}"
            )
    if start.startswith(b"BCF") and not start.startswith(_BCF[: len(start)]):
        # In version 1 the byte after the letters is a 4, and no minor version follows.
        is_second = start[3:4] == b"\x02" and start[4:]
        found = f"2.{start[4]}" if is_second else "1"
        command = (
            "picard VcfFormatConverter -I FILE -O NEW.vcf --REQUIRE_INDEX false"
            if is_second
            else "bcftools view FILE > NEW.vcf (bcftools of samtools 0.1.19)"
        )
        raise InputError(
            f"{name}: is BCF version {found}, which htslib and today's bcftools do not read; "
            f"expected 2.2. Type: {command}"
        )
    if _CR_ALONE.match(start):
        raise InputError(
            f"{name}: its lines end in CR only, as on classic Mac OS; expected LF or CR LF. "
            "Type: tr '\\r' '\\n' < FILE > NEW.vcf"
        )


def _refuse_cut_bgzip(raw: BinaryIO, name: str) -> None:
    size = raw.seek(0, 2)
    raw.seek(max(0, size - len(BGZF_EOF)))
    whole = raw.read() == BGZF_EOF
    raw.seek(0)
    if not whole:
        raise InputError(
            f"{name}: the bgzip file has no end-of-file block: it was truncated, or something was "
            "appended to it. Copy it again and compare checksums"
        )


def _checked(lines: IO[bytes] | gzip.GzipFile, name: str) -> Iterator[bytes]:
    """Lines of gzip or bgzip; every member's checksum is proven as it is read."""
    try:
        yield from lines
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(
        f"{name}: the compressed file is truncated or damaged ({error}). Copy it again and compare "
        "checksums; type: gzip -t FILE to test it"
    )


def _bcf_lines(path: Path, name: str, checked: Iterable[bytes] = ()) -> Iterator[bytes]:
    # htslib itself reads over a damaged block, so the checksums are proven first. BCF that is not
    # compressed has none: as of text, a reader can tell that it was cut within a record, no more.
    deque(checked, maxlen=0)
    try:
        with quiet_htslib(), pysam.VariantFile(str(path)) as bcf:
            # Not splitlines(): a description may hold other characters that end lines for it.
            yield from (line.encode() + b"\n" for line in str(bcf.header).strip("\n").split("\n"))
            yield from (str(record).encode() for record in bcf)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        # htslib's words hold the path, which of a stream is not the user's.
        reason = str(error).replace(str(path), name)
        raise InputError(
            f"{name}: htslib cannot decode this BCF ({reason}). Copy it again; check it with: "
            "bcftools view FILE"
        ) from error


@contextmanager
def quiet_htslib() -> Iterator[None]:
    """Keep htslib's own messages from standard error; ours say more."""
    before = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(before)
