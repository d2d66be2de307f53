"""what records use, and a header -> the header lines that it lacks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from ntvep.io.vcf_keys import FLAG, TEXT, Field, Shape, reserved, samples_pattern, widened
from ntvep.io.vcf_lines import FILEFORMAT, Record
from ntvep.schema import tagged_key

# A run with --tag X leaves a line ##ntvep_X_scores.
_TAGS = re.compile(rb"##ntvep_([A-Za-z0-9]+)_scores=")
_CONTIG_ID, _CONTIG_LENGTH = re.compile(rb"[<,]ID=([^,>]+)"), re.compile(rb"[<,]length=(\d{1,18})")
_DECLARED = re.compile(rb'##(INFO|FILTER|FORMAT|contig)=<(?:[^"]*,)?ID=(<[^>]*>|[^,>]+)')
_CONTIG_LENGTH = re.compile(rb"##contig=<.*\blength=(\d+)")
_VERSION = re.compile(rb"##fileformat=VCFv4\.(\d+)")
# An id that a header line can hold; any other would break that line, and with it the header.
_DECLARABLE = re.compile(rb'<[^\x00-\x20\x7f"\\,<>]+>|[^\x00-\x20\x7f"\\,<>]+')
# A key, and = where it has a value.
_INFO_KEY = re.compile(rb"(?:^|;)([^=;]+=?)")
# Memory does not grow with the number of records, whatever their FORMAT.
_MOST_PATTERNS = 1000
# Beyond this a .tbi cannot point (tabix, 14-bit linear index over 2^29 bases).
TBI_END = 1 << 29


@dataclass(frozen=True)
class Ours:
    """Which keys of INFO and header lines one run of ours has: those it writes, and replaces.

    Attributes:
        tag: of ``--tag``; empty for none.
        keys: what an entry of INFO begins with.
        lines: what a header line begins with.
    """

    tag: str
    keys: re.Pattern[bytes]
    lines: re.Pattern[bytes]

    def key(self, plain: str) -> str:
        """The INFO key of a column or status."""
        return tagged_key(plain, self.tag)


def tags_in(header: Sequence[bytes]) -> list[str]:
    """Tags of the runs that annotated a VCF with ``--tag``."""
    return [match[1].decode() for line in header if (match := _TAGS.match(line))]


def ours(header: Sequence[bytes] = (), tag: str = "") -> Ours:
    """What is a run's own in a VCF with this header: scores of other tags are not."""
    own = f"{tag}_" if tag else "".join(f"(?!{other}_)" for other in tags_in(header))
    keys = f"NTVEP_{own}".encode()
    lines = f"##INFO=<ID=NTVEP_{own}|##ntvep_{own}".encode()
    return Ours(tag, re.compile(keys), re.compile(lines))


def declared(header: Sequence[bytes]) -> dict[bytes, set[bytes]]:
    """Ids that a header declares, by ``INFO``, ``FILTER``, ``FORMAT`` and ``contig``."""
    found = {kind: set[bytes]() for kind in (b"INFO", b"FILTER", b"FORMAT", b"contig")}
    for line in header:
        if match := _DECLARED.match(line):
            found[match[1]].add(match[2])
    return found


def contig_lengths(header: Sequence[bytes]) -> dict[str, int]:
    """Lengths of contigs, as far as a header declares them."""
    found = {}
    for line in header:
        name, length = _CONTIG_ID.search(line), _CONTIG_LENGTH.search(line)
        if line.startswith(b"##contig=<") and name and length:
            found[name[1].decode("utf-8", "replace")] = int(length[1])
    return found


class Used:
    """What the records of an input use, gathered while they stream by."""

    def __init__(self, header: Sequence[bytes]) -> None:
        self.header = header
        self.declared = declared(header)
        self.records = 0
        self.contigs: dict[bytes, int] = {}
        self.is_sorted = True
        self._last_base = 0
        self._contig, self._pos = b"", 0
        self._filters: set[bytes] = set()
        self._info_keys: set[bytes] = set()
        self._formats: set[bytes] = set()
        # Reserved keys that the header lacks: what all of their values agree with.
        version = _VERSION.match(header[0])
        minor = int(version[1]) if version else 2
        self._infos = self._undeclared("INFO", minor)
        self._samples = self._undeclared("FORMAT", minor)
        # Any GT is text.
        self._genotype = self._samples.pop(b"GT", TEXT)
        self._watched = {key + b"=" for key in self._infos}
        self._patterns: dict[tuple[bytes, int], re.Pattern[bytes] | None] = {}

    def _undeclared(self, field: Field, minor: int) -> dict[bytes, Shape]:
        known = self.declared[field.encode()]
        return {key: shape for key, shape in reserved(field, minor).items() if key not in known}

    def has(self, own: Ours) -> bool:
        """Whether a record has an INFO key of a run of ours, declared or not."""
        return any(map(own.keys.match, self._info_keys))

    @property
    def needs_csi(self) -> bool:
        """Whether records, or contigs, reach beyond what a .tbi can index."""
        lengths = (int(m[1]) for line in self.header if (m := _CONTIG_LENGTH.match(line)))
        return max(self._last_base, *lengths, 0) > TBI_END

    def add(self, line: bytes, record: Record) -> None:
        """Count one good record."""
        contig, digits, ref, alt, filters, info = record.groups()
        pos = int(digits)
        self.records += 1
        if contig != self._contig:
            self.is_sorted &= contig not in self.contigs
            self._contig, self._pos = contig, 0
        self.is_sorted &= pos >= self._pos
        self._pos = pos
        self._last_base = max(self._last_base, pos + len(ref) - 1)
        self.contigs[contig] = self.contigs.get(contig, 0) + 1
        self._filters.add(filters)
        keys = _INFO_KEY.findall(info)
        self._info_keys.update(keys)
        alts = 0 if alt == b"." else alt.count(b",") + 1
        if not self._watched.isdisjoint(keys):
            for entry in info.split(b";"):
                key, _, value = entry.partition(b"=")
                if shape := self._infos.get(key):
                    self._infos[key] = widened(shape, value, alts)
        tail = line[record.end() :].rstrip(b"\r\n")
        if tail:
            self._add_samples(tail[1:], alts)

    def _add_samples(self, columns: bytes, alts: int) -> None:
        """Count FORMAT and the columns of samples behind it."""
        keys, tab, samples = columns.partition(b"\t")
        if (keys, alts) not in self._patterns:
            if len(self._patterns) == _MOST_PATTERNS:
                self._patterns.clear()
            names = keys.split(b":")
            self._formats.update(names)
            shapes = [self._samples.get(name, TEXT) for name in names]
            text = all(shape == TEXT for shape in shapes)
            self._patterns[keys, alts] = None if text else samples_pattern(shapes, alts)
        pattern = self._patterns[keys, alts]
        if pattern is None or pattern.fullmatch(tab + samples):
            return
        # A value does not fit, or is not known to: look at each.
        before = dict(self._samples)
        for place, key in enumerate(keys.split(b":")):
            if self._samples.get(key, TEXT) == TEXT:
                continue
            for sample in samples.split(b"\t"):
                values = sample.split(b":")
                if place < len(values):
                    self._samples[key] = widened(self._samples[key], values[place], alts)
        if self._samples != before:
            self._patterns.clear()

    def missing(self) -> tuple[list[bytes], int]:
        """Header lines for what records use and the header lacks; number of ids that fit in none.

        The lines have no line ends.
        """
        lines = [] if self.header[0].startswith(b"##fileformat=") else [FILEFORMAT]
        filters = chain.from_iterable(names.split(b";") for names in self._filters)
        wanted = [
            (b"FILTER", name, b',Description="Not declared in the input"')
            for name in sorted({*filters} - {b"PASS", b"0"})
        ]
        keys = {key.removesuffix(b"=") for key in self._info_keys}
        for key in sorted(key for key in keys if not key.startswith(b"NTVEP_")):
            has_value = key + b"=" in self._info_keys
            wanted.append((b"INFO", key, _shape(self._infos.get(key, TEXT) if has_value else FLAG)))
        samples = self._samples | {b"GT": self._genotype}
        wanted += [
            (b"FORMAT", key, _shape(samples.get(key, TEXT))) for key in sorted(self._formats)
        ]
        # In the order of the file: an index numbers contigs as the header does.
        wanted += [(b"contig", contig, b"") for contig in self.contigs]
        undeclared = [
            (kind, name, rest)
            for kind, name, rest in wanted
            if name not in self.declared[kind] and name not in (b"", b".")
        ]
        fitting = [entry for entry in undeclared if _DECLARABLE.fullmatch(entry[1])]
        lines += [b"##%s=<ID=%s%s>" % entry for entry in fitting]
        return lines, len(undeclared) - len(fitting)


def _shape(shape: Shape) -> bytes:
    text = f',Number={shape.number},Type={shape.type},Description="Not declared in the input"'
    return text.encode()
