"""VCF, gzip, bgzip, BCF -> lines: opened by what they hold, proven whole while they are read."""

import gzip
import shutil
import tempfile
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

import pysam

from ntvep.errors import InputError, OutputError

_GZIP = b"\x1f\x8b"
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
        InputError: missing, a folder, empty, or (while reading) cut or damaged.
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
        start = raw.read(18)
        raw.seek(0)
        if not start:
            raise InputError(f"{name}: the file is empty; expected a VCF or BCF")
        if not start.startswith(_GZIP):
            if start.startswith(b"BCF"):
                raise InputError(
                    f"{name}: an uncompressed BCF; type: bcftools view -Ob -o OUT.bcf {name}"
                )
            yield raw
            return
        if is_bgzip(start):
            _refuse_cut_bgzip(raw, name)
        with gzip.open(raw, "rb") as plain:
            try:
                inside = plain.peek(3)[:3]
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise _damaged(name, error) from error
            if not inside:
                raise InputError(
                    f"{name}: decompresses to nothing; expected a VCF or BCF. Check the command "
                    "that wrote it"
                )
            yield _bcf_lines(path, plain, name) if inside == b"BCF" else _checked(plain, name)


def _refuse_cut_bgzip(raw: BinaryIO, name: str) -> None:
    size = raw.seek(0, 2)
    raw.seek(max(0, size - len(BGZF_EOF)))
    whole = raw.read() == BGZF_EOF
    raw.seek(0)
    if not whole:
        raise InputError(
            f"{name}: the bgzip file has no end-of-file block: it was cut, or something was "
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
        f"{name}: the compressed file is cut or damaged ({error}). Copy it again and compare "
        "checksums; type: gzip -t FILE to test it"
    )


def _bcf_lines(path: Path, plain: gzip.GzipFile, name: str) -> Iterator[bytes]:
    # htslib itself reads over a damaged block, so the checksums are proven first.
    deque(_checked(plain, name), maxlen=0)
    try:
        with quiet_htslib(), pysam.VariantFile(str(path)) as bcf:
            # Not splitlines(): a description may hold other characters that end lines for it.
            yield from (line.encode() + b"\n" for line in str(bcf.header).strip("\n").split("\n"))
            yield from (str(record).encode() for record in bcf)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"{name}: htslib cannot decode this BCF ({error}); check it with: bcftools view {name}"
        ) from error


@contextmanager
def quiet_htslib() -> Iterator[None]:
    """Keep htslib's own messages from standard error; ours say more."""
    before = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(before)
