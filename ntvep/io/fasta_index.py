"""FASTA and index -> proof that they belong together: htslib reads wrong bases by a stale index.

Every record's place is held against the text around it, and every place in a .gzi against the
blocks that there are. A copy of a FASTA has a new time and a changed one may keep its size, so
neither tells.
"""

import os
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ntvep.errors import InputError
from ntvep.io.open_vcf import is_bgzip

_HEADER_BYTES = 18
_SMALLEST_BLOCK = _HEADER_BYTES + 8
# htslib would take a longer contig for one of this length, without a word.
_LONGEST = 2**31 - 1

# Text of a FASTA by place and number of bytes, fewer at its end.
_Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class _Entry:
    """A line of a .fai: where a record's bases are, and how they are cut into lines."""

    name: bytes
    length: int
    offset: int
    line_bases: int
    line_bytes: int

    @property
    def end(self) -> int:
        """Place after the last base."""
        lines, rest = divmod(self.length - 1, self.line_bases)
        return self.offset + lines * self.line_bytes + rest + 1


def check_index(path: Path, fai: Path, gzi: Path | None) -> None:
    """Prove that an index is of this FASTA.

    Args:
        path: the FASTA; bgzip if there is a ``gzi``.
        fai: the index of its records.
        gzi: the index of its blocks.

    Raises:
        InputError: an index is of another text, or damaged; or a record's name occurs twice.
    """
    with path.open("rb") as file:
        read = _packed(file.fileno(), path, gzi) if gzi else _plain(file.fileno())
        # Some tools list records without bases, others do not.
        entries = [entry for entry in _entries(path, fai) if entry.length]
        names: set[bytes] = set()
        place = 0
        for entry in (*sorted(entries, key=lambda entry: entry.offset), None):
            found = _next_record(path, read, place)
            if found != ((entry.name, entry.offset) if entry else None):
                if found and found[0] in names:
                    raise InputError(
                        f"{path}: two records are named {_shown(found[0])}; expected each contig "
                        f"once. Rename or remove one, and delete {fai}"
                    )
                wanted = _shown(entry.name) if entry else "its end"
                there = _shown(found[0]) if found else "the end"
                raise _stale(path, fai, f"it has {wanted} where the file has {there}")
            if entry:
                names.add(entry.name)
                place = entry.end
                if not read(place - 1, 1).strip():
                    raise _stale(path, fai, f"{_shown(entry.name)} has its last base elsewhere")


def _next_record(path: Path, read: _Read, place: int) -> tuple[bytes, int] | None:
    """Name and first base's place of the record after ``place``; None at the end of the text.

    Records without bases are passed over. Bases before the next ``>`` are a record without a name.
    """
    record = None
    while line := _line(read, place):
        if line.startswith(b">"):
            name = b"".join(line[1:].split(maxsplit=1)[:1])
            if any(byte < 32 and byte not in b"\t\r\n" for byte in line):
                # htslib cuts names at some of them.
                raise InputError(
                    f"{path}: the line of the record {_shown(name)} has control characters; "
                    "expected printable text. Rename the record, and delete its index"
                )
            record = (name, place + len(line))
        elif line.strip():
            return record or (b"", place)
        place += len(line)
    return None


def _line(read: _Read, place: int) -> bytes:
    """The line at a place, line end included; of bases only the first."""
    size = 1 << 10
    while True:
        text = read(place, size)
        if end := text.find(b"\n") + 1:
            return text[:end]
        if len(text) < size or not text.startswith(b">"):
            return text
        size *= 2


def _entries(path: Path, fai: Path) -> list[_Entry]:
    entries: list[_Entry] = []
    for line in fai.read_bytes().splitlines():
        name, *numbers = line.rsplit(b"\t", 4)
        if len(numbers) != 4 or not all(n.isdigit() and len(n) < 16 for n in numbers):
            raise _stale(path, fai, "it has a line that is not a name and four numbers")
        entry = _Entry(name, *map(int, numbers))
        if entry.length and not 0 < entry.line_bases <= entry.line_bytes < _LONGEST:
            raise _stale(path, fai, f"the lines of {_shown(name)} have impossible lengths")
        if entry.length > _LONGEST:
            raise InputError(
                f"{path}: {_shown(name)} has {entry.length} bases; htslib and VCF count only up "
                f"to {_LONGEST}. Cut it into records named CONTIG:FIRST-LAST"
            )
        entries.append(entry)
    return entries


def _plain(file: int) -> _Read:
    return lambda place, size: os.pread(file, size, place)


def _packed(file: int, path: Path, gzi: Path) -> _Read:
    """Text of a bgzip file, whose blocks' places are taken from the blocks, not from the index."""
    packed, text = _blocks(file, path)
    listed = gzi.read_bytes()
    pairs = list(struct.iter_unpack("<QQ", listed[8:])) if len(listed) % 16 == 8 else []
    if len(listed) != 8 + 16 * len(pairs) or listed[:8] != struct.pack("<Q", len(pairs)):
        raise _stale(path, gzi, "it is cut")
    if not set(pairs) <= set(zip(packed, text, strict=True)):
        raise _stale(path, gzi, "it names blocks that do not exist")

    @lru_cache(maxsize=4)
    def block(number: int) -> bytes:
        whole = os.pread(file, packed[number + 1] - packed[number], packed[number])
        skipped = 12 + int.from_bytes(whole[10:12], "little")
        crc, size = struct.unpack("<II", whole[-8:])
        try:
            inside = zlib.decompress(whole[skipped:-8], -15)
        except zlib.error as error:
            raise _damaged(path, packed[number]) from error
        if (zlib.crc32(inside), len(inside)) != (crc, size):
            raise _damaged(path, packed[number])
        return inside

    def read(place: int, size: int) -> bytes:
        number = bisect_right(text, place) - 1
        found = b""
        while len(found) < size and number < len(packed) - 1:
            begin = max(place - text[number], 0)
            found += block(number)[begin : begin + size - len(found)]
            number += 1
        return found

    return read


def _blocks(file: int, path: Path) -> tuple[list[int], list[int]]:
    """Places of all bgzip blocks, and of their text; the last ones are the ends of both."""
    end = os.fstat(file).st_size
    packed, text = [0], [0]
    header = os.pread(file, _HEADER_BYTES, 0)
    while packed[-1] < end:
        if not is_bgzip(header):
            raise _damaged(path, packed[-1])
        behind = packed[-1] + int.from_bytes(header[16:18], "little") + 1
        # The size of its text ends a block; the next block's header follows.
        around = os.pread(file, 4 + _HEADER_BYTES, behind - 4)
        if behind > end or behind - packed[-1] < _SMALLEST_BLOCK:
            raise _damaged(path, packed[-1])
        size = int.from_bytes(around[:4], "little")
        packed.append(behind)
        text.append(text[-1] + size)
        header = around[4:]
    if len(text) < 2 or text[-1] != text[-2]:
        raise InputError(
            f"{path}: the bgzip file has no end-of-file block: it was truncated. Copy it again and "
            "compare checksums"
        )
    return packed, text


def _shown(name: bytes) -> str:
    return repr(name[:60].decode("utf-8", "backslashreplace"))


def _stale(path: Path, index: Path, why: str) -> InputError:
    return InputError(
        f"{path}: the index {index.name} does not belong to this file ({why}): the FASTA was "
        "changed after it was indexed, was truncated, or has characters other than letters. If "
        f"it is correct, delete {index}; it will be rebuilt"
    )


def _damaged(path: Path, place: int) -> InputError:
    return InputError(
        f"{path}: the bgzip block at byte {place} is truncated or damaged. Copy the file again and "
        f"compare checksums; type: bgzip --test {path}"
    )
