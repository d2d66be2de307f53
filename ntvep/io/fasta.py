"""FASTA -> reference bases: indexed access, contig aliases, and slices of contigs."""

import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path

import numpy as np
import pysam

from ntvep import dna
from ntvep.cache_dir import cache_dir
from ntvep.dna import Dna
from ntvep.errors import InputError
from ntvep.genome import canonical
from ntvep.io.fasta_index import check_index
from ntvep.io.open_vcf import is_bgzip, quiet_htslib
from ntvep.windows import Span

# Bases read and kept at once: many windows, and a few of these are still little memory.
_BLOCK = 1 << 18
# Contigs whose checksums are computed at once.
_WORKERS = min(4, os.cpu_count() or 1)
_SLICE = re.compile(r"(?P<contig>.+):(?P<first>[1-9]\d{0,17})-(?P<last>\d{1,18})", re.ASCII)
# IUPAC codes, gaps, and * of protein: anything else in a line is not sequence.
_LETTERS = bytes(range(ord("A"), ord("Z") + 1)) + bytes(range(ord("a"), ord("z") + 1)) + b"-*."


@dataclass(frozen=True)
class Record:
    """One FASTA record: the stretch ``span`` of ``contig`` (0-based, half-open)."""

    name: str
    contig: str
    span: Span


@dataclass(frozen=True, eq=False)
class FastaReference:
    """A reference genome in an indexed FASTA; see :class:`ntvep.alleles.Reference`.

    A record named ``contig:start-end`` (1-based, inclusive, of that length) is read as that
    stretch of that contig. A contig is found by its own name, else by an alias of GRCh38.

    Attributes:
        path: the FASTA.
        file: htslib's handle on it.
        records: its records, by the contig that they are of.
        by_canonical: contig of the FASTA by its canonical spelling.
        aliases: spellings that were asked for -> contig of the FASTA, where they differ.
    """

    path: Path
    file: pysam.FastaFile
    records: dict[str, tuple[Record, ...]]
    by_canonical: dict[str, str]
    aliases: dict[str, str] = field(default_factory=dict)
    # The next plan is prepared while scores of the last are compared and written; htslib's handle
    # has one place in the file, and gives two threads each other's bases.
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _found: dict[str, tuple[tuple[Record, ...], tuple[Span, ...]]] = field(
        default_factory=dict, repr=False
    )

    def contig(self, chrom: str) -> str | None:
        """The FASTA's name of a contig, or None if it has none."""
        if chrom in self.records:
            return chrom
        name = self.by_canonical.get(canonical(chrom))
        if name is not None:
            self.aliases[chrom] = name
        return name

    def spans(self, chrom: str) -> tuple[Span, ...]:
        """The stretches of this contig that there are; none if the contig is not there."""
        return self._of(chrom)[1]

    def fetch(self, chrom: str, start: int, stop: int) -> Dna:
        """Bases ``start`` to ``stop`` (0-based, half-open), inside one of the spans."""
        for record, span in zip(*self._of(chrom), strict=True):
            if span.start <= start and stop <= span.stop:
                return self._bases(record.name, start - span.start, stop - span.start)
        raise ValueError(f"{chrom}:{start}-{stop} is outside the spans of {self.path}")

    def _bases(self, name: str, start: int, stop: int) -> Dna:
        """Bases of a record, counted from its own first, out of blocks that are kept."""
        block = start // _BLOCK
        before = block * _BLOCK
        bases = _block(self, name, block)
        if stop > before + _BLOCK:
            more = range(block + 1, (stop - 1) // _BLOCK + 1)
            bases = np.concatenate((bases, *(_block(self, name, n) for n in more)))
        return bases[start - before : stop - before]

    def _of(self, chrom: str) -> tuple[tuple[Record, ...], tuple[Span, ...]]:
        """Records of a contig, and their spans."""
        found = self._found.get(chrom)
        if found is None:
            records = self.records.get(self.contig(chrom) or "", ())
            found = self._found[chrom] = records, tuple(record.span for record in records)
        return found

    def lengths(self, contigs: Iterable[str]) -> dict[str, int]:
        """Lengths in bases of those of these contigs that are there whole."""
        known = ((chrom, self.contig(chrom)) for chrom in contigs)
        return {
            chrom: self.records[contig][0].span.stop
            for chrom, contig in known
            if contig is not None and self.records[contig][0].name == contig
        }

    def md5(self, contigs: Iterable[str]) -> dict[str, str]:
        """md5 of the upper-case bases of each record of these contigs, as M5 in a SAM header."""
        names = {self.contig(chrom): None for chrom in contigs}
        used = list(chain.from_iterable(self.records.get(name or "", ()) for name in names))
        # Of a genome this takes longer than all else that a look-up in a store does alone.
        with ThreadPoolExecutor(_WORKERS) as pool:
            digits = pool.map(partial(_md5, self), used)
        return {record.name: one for record, one in zip(used, digits, strict=True)}


@lru_cache(maxsize=4096)
def _md5(reference: FastaReference, record: Record) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    length = record.span.stop - record.span.start
    for begin in range(0, length, _BLOCK):
        digest.update(_letters(reference, record.name, begin, begin + _BLOCK).upper())
    return digest.hexdigest()


@lru_cache(maxsize=32)
def _block(reference: FastaReference, name: str, number: int) -> Dna:
    return dna.encode(_letters(reference, name, number * _BLOCK, (number + 1) * _BLOCK))


def _letters(reference: FastaReference, name: str, start: int, stop: int) -> bytes:
    """Letters of a record, proven to be letters: lines that are not of one length show here.

    ``stop`` may lie beyond the record's end, and then means that end.
    """
    stop = min(stop, reference.file.get_reference_length(name))
    try:
        with reference._lock, quiet_htslib():
            text = reference.file.fetch(name, start, stop).encode()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{reference.path}: {name[:60]!r} cannot be read at bases {start + 1} to {stop}: the "
            "file is truncated or damaged. Copy it again and compare checksums"
        ) from error
    if len(text) != stop - start or text.translate(None, _LETTERS):
        raise InputError(
            f"{reference.path}: {name[:60]!r} has characters other than letters between bases "
            f"{start + 1} and {stop}: its lines differ in length, or it is not a sequence. "
            "Rewrite it, for instance with seqkit seq -w 60, and delete its index"
        )
    return text


def open_reference(path: Path) -> FastaReference:
    """Open a FASTA, plain or bgzipped. A missing index is built: beside it, else in the cache.

    Raises:
        InputError: the file is missing, empty, not FASTA, or compressed with plain gzip.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such reference file; expected a FASTA (.fa, or .fa.gz made with bgzip)"
        )
    try:
        with path.open("rb") as handle:
            start = handle.read(18)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); type: ls -l {path}"
        ) from error
    compressed = start[:2] == b"\x1f\x8b"
    if not start:
        raise InputError(f"{path}: the reference file is empty; expected a FASTA")
    if compressed and not is_bgzip(start):
        raise InputError(
            f"{path}: compressed with gzip, which does not allow random access; expected plain "
            f"FASTA or bgzip. Type: gunzip -c {path} | bgzip > {path.with_suffix('')}.bgz"
        )
    if not compressed and start[:1] not in b">;":
        raise InputError(f"{path}: not a FASTA: it does not begin with '>'")
    index, blocks = _index(path, compressed)
    check_index(path, index, blocks)
    try:
        file = pysam.FastaFile(
            os.fspath(path),
            filepath_index=os.fspath(index),
            filepath_index_compressed=os.fspath(blocks) if blocks else None,
        )
        found = list(_records(file))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read with its index {index} ({error}); delete the index, and it "
            "will be rebuilt"
        ) from error
    records: dict[str, tuple[Record, ...]] = {}
    for record in found:
        records[record.contig] = (*records.get(record.contig, ()), record)
    by_canonical = {canonical(contig): contig for contig in reversed(records)}
    return FastaReference(path, file, records, by_canonical)


def _records(file: pysam.FastaFile) -> Iterator[Record]:
    for name, length in zip(file.references, file.lengths, strict=True):
        match = _SLICE.fullmatch(name)
        if match and int(match["last"]) - int(match["first"]) + 1 == length:
            first = int(match["first"]) - 1
            yield Record(name, match["contig"], Span(first, first + length))
        else:
            yield Record(name, name, Span(0, length))


def _index(path: Path, compressed: bool) -> tuple[Path, Path | None]:
    """Paths of the .fai and, for bgzip, the .gzi; built where they are missing."""
    beside = Path(f"{path}.fai"), Path(f"{path}.gzi") if compressed else None
    if _all_there(beside):
        return beside
    status = path.stat()
    identity = f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    folder = cache_dir() / "fasta" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    cached = folder / beside[0].name, folder / beside[1].name if beside[1] else None
    if _all_there(cached):
        return cached
    try:
        _build_index(path, *beside)
        return beside
    except OSError:
        # A read-only folder: many sites keep their references in one.
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _build_index(path, *cached)
        except OSError as error:
            raise InputError(
                f"{path}: has no index, and none can be written beside it or in {folder} "
                f"({error.strerror}); type: samtools faidx {path}"
            ) from error
        return cached


def _all_there(index: tuple[Path, Path | None]) -> bool:
    return all(part is None or part.is_file() for part in index)


def _build_index(path: Path, fai: Path, gzi: Path | None) -> None:
    """Build aside, then rename: another process may be building the same index."""
    with tempfile.TemporaryDirectory(dir=fai.parent, prefix=".ntvep-index-") as folder:
        made = Path(folder) / fai.name, Path(folder) / gzi.name if gzi else None
        arguments = ["--fai-idx", os.fspath(made[0])]
        if made[1]:
            arguments += ["--gzi-idx", os.fspath(made[1])]
        try:
            pysam.faidx(*arguments, os.fspath(path))
        except pysam.utils.SamtoolsError as error:
            raise InputError(
                f"{path}: not a FASTA that can be indexed; expected records of equally long "
                "lines, each after a '>' line. The message of htslib above says where it fails"
                + (f"; it may be damaged too, type: bgzip --test {path}" if gzi else "")
            ) from error
        if gzi and made[1]:
            made[1].replace(gzi)
        made[0].replace(fai)
