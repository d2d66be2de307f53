"""SCORES of a genome's SNVs <-> a store: a folder that gives any place's scores in a millisecond.

``STORE/store.json`` says what the scores are; ``STORE/CONTIG.arrow`` holds a contig as an Arrow
file whose record batches are blocks of :data:`BASES` consecutive bases, packed with zstd;
``index.arrow`` says where each block lies, with its checksum. A row is a base:

- ``ref``: its code (A 0, C 1, G 2, T 3; 4 where nothing was scored).
- ``status``: of its three SNVs, ALT in the order A, C, G, T without REF: a number in ``statuses``
  of ``store.json``; 255 where it was not scored.
- ``NAME.0``, ``NAME.1``, ``NAME.2``: of each score the low, middle and high byte of a signed number
  of steps above -32,768, so that score = (number - 32,768) x step; number -2^23 stands for null.

Bytes of one weight stand together because zstd packs them to within 2 % of their entropy then, and
16-bit numbers only to within 15 % (benchmarks/genome.md). Files are written once, aside, and never
changed: any number of processes may read them.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Bool, Float64, Int64, UInt8

from ntvep import dna
from ntvep.dna import Dna
from ntvep.errors import ConfigError, InputError
from ntvep.files import digest, write_json
from ntvep.genome import canonical
from ntvep.io.cache import Identity
from ntvep.schema import ALLELES, SCORE_COLUMNS, STATUS_DTYPE, TOKENS, Status
from ntvep.windows import Span, one_based_places

MARK = "store.json"
_INDEX = "index.arrow"
_FORMAT = "ntvep store 1"
# Bases of a block: a whole one is read for a place, and the fewer blocks the fewer bytes.
BASES = 8192
# Of scores in nats. Half a step, and what scoring again moves (the tolerance of ntvep verify,
# 1e-4), are the stated error together.
_STEP, _ERROR = 0.0018, 0.001
# Of mean counts of tokens over one or two views: exact.
_TOKEN_STEP = 0.5
ABSENT = 255
_BIAS, _NULL = 1 << 15, -(1 << 23)
_WEIGHTS = (0, 8, 16)
# What an Arrow file begins with.
_MAGIC = b"ARROW1\0\0"
_ONE_THREAD = pa.ipc.IpcReadOptions(use_threads=False)
# Blocks that a process keeps unpacked, and that are read at once; of more in one look-up several
# threads read so many each.
_KEPT = 64
_WORKERS = min(4, os.cpu_count() or 1)
# ALT codes of each REF code, and the column of each pair; what is not an SNV has column 3.
ALTS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [dna.N] * 3], np.uint8)
_COLUMN = np.full((6, 6), 3, np.intp)
for _ref in range(4):
    _COLUMN[_ref, ALTS[_ref]] = range(3)

Statuses = UInt8[np.ndarray, "base alt"]
Scores = Float64[np.ndarray, "base alt"]


@dataclass(frozen=True)
class StoredContig:
    """A contig of a store.

    Attributes:
        name: as the reference spells it.
        file: in the store's folder.
        snvs: that it has a status of.
        bytes: of the file.
        sha256: likewise.
    """

    name: str
    file: str
    snvs: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class About:
    """What a store says of itself.

    Attributes:
        identity: model, settings and fingerprint of its scores.
        reference: file name of the FASTA.
        md5: of the upper-case bases of each of its records that was scored, by name.
        steps: by score, what its values are multiples of.
        errors: by score, how far a value may lie from what the model says.
        statuses: what a status number means.
        version: of ntvep.
    """

    identity: Identity
    reference: str
    md5: Mapping[str, str]
    steps: Mapping[str, float]
    errors: Mapping[str, float]
    statuses: Sequence[Status]
    version: str


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive bases of a contig, with the scores of their SNVs.

    Attributes:
        contig: its name.
        start: place of the first base, 0-based.
        ref: codes of the bases; N where nothing was scored.
        statuses: of their SNVs, ALT in the order of :data:`ALTS`: a number in
            :attr:`About.statuses`, or :data:`ABSENT`.
        steps: of scores in nats, and the like.
        planes: bytes of each score.
    """

    contig: str
    start: int
    ref: Dna
    statuses: Statuses
    steps: Mapping[str, float]
    planes: Mapping[str, tuple[UInt8[np.ndarray, "base alt"], ...]] = field(repr=False)

    def scores(self, name: str) -> Scores:
        """Values of a score, NaN where there is none."""
        return _unpacked(self.planes[name], self.steps[name])


@dataclass(frozen=True, eq=False)
class Found:
    """What a store has of some SNVs.

    Attributes:
        statuses: numbers in :attr:`About.statuses`; :data:`ABSENT` where it does not have the SNV.
        scores: by name; NaN where there is none.
    """

    statuses: UInt8[np.ndarray, "snv"]
    scores: Mapping[str, Float64[np.ndarray, "snv"]]

    def chosen(self, some: Bool[np.ndarray, "snv"]) -> "Found":
        """What it has of some of them."""
        scores = {name: values[some] for name, values in self.scores.items()}
        return Found(self.statuses[some], scores)


@dataclass(frozen=True, eq=False)
class Store:
    """An open store.

    Attributes:
        folder: where it lies.
        about: what its scores are.
        contigs: in the order of their making.
        sha256: of ``store.json``, which has the checksums of all other files.
    """

    folder: Path
    about: About
    contigs: tuple[StoredContig, ...]
    sha256: str
    _index: Mapping[str, "_Places"] = field(repr=False)
    _by_canonical: Mapping[str, str] = field(repr=False)

    def name_of(self, chrom: str) -> str | None:
        """This store's name of a contig, or of its alias; None if it does not have it."""
        return chrom if chrom in self._index else self._by_canonical.get(canonical(chrom))

    def blocks(self, contig: str, within: Span | None = None) -> Iterator[Block]:
        """Blocks of a contig, in order; what lies between them has no scores.

        Args:
            contig: as this store names it.
            within: those that hold a part of this stretch; None for all.

        Raises:
            InputError: a block is damaged; names it.
        """
        places = self._index[contig]
        first, last = 0, len(places.blocks)
        if within is not None:
            first = int(np.searchsorted(places.blocks, within.start // BASES))
            last = int(np.searchsorted(places.blocks, -(-within.stop // BASES)))
        with _opened(self, places) as file:
            for number in range(first, last):
                yield from _read(self, places, [number], file)

    def find(self, chrom: str, places: Int64[np.ndarray, "snv"], refs: Dna, alts: Dna) -> Found:
        """Look SNVs up, fastest in the order of their places.

        Args:
            chrom: their contig.
            places: 0-based.
            refs: codes of REF; one that the store's genome does not have is not found.
            alts: codes of ALT.

        Raises:
            InputError: a block is damaged; names it.
        """
        statuses = np.full(len(places), ABSENT, np.uint8)
        planes = {n: np.zeros((len(_WEIGHTS), len(places)), np.uint8) for n in self.about.steps}

        def pick(groups: Iterable[np.ndarray], read: Callable[[int], Block]) -> None:
            for some in groups:
                block = read(int(numbers[some[0]]))
                at = places[some] - block.start
                which = at, columns[some]
                right = block.ref[at] == refs[some]
                statuses[some] = np.where(right, block.statuses[which], ABSENT)
                for name, into in planes.items():
                    for part, plane in enumerate(block.planes[name]):
                        into[part, some] = plane[which]

        def pick_from_file(groups: Sequence[np.ndarray]) -> None:
            wanted = [int(numbers[some[0]]) for some in groups]
            with _opened(self, here) as file:
                blocks = dict(zip(wanted, _read(self, here, wanted, file), strict=True))
            pick(groups, blocks.__getitem__)

        if (contig := self.name_of(chrom)) is None:
            return self._found(statuses, planes)
        blocks = places // BASES
        columns = _COLUMN[refs, alts]
        here = self._index[contig]
        numbers = np.minimum(np.searchsorted(here.blocks, blocks), len(here.blocks) - 1)
        known = (here.blocks[numbers] == blocks) & (columns < 3) & (places >= 0)
        rows = np.flatnonzero(known)
        rows = rows[np.argsort(numbers[rows], kind="stable")]
        borders = np.flatnonzero(np.diff(numbers[rows])) + 1
        groups = np.split(rows, borders) if len(rows) else []
        if len(groups) <= _KEPT:
            pick(groups, lambda number: _cached(self, here, number))
        else:
            # SNVs of a whole genome: nearly each has a block of its own, and unpacking bounds all.
            parts = [groups[at : at + _KEPT] for at in range(0, len(groups), _KEPT)]
            with ThreadPoolExecutor(_WORKERS) as pool:
                list(pool.map(pick_from_file, parts))
        return self._found(statuses, planes)

    def _found(
        self,
        statuses: UInt8[np.ndarray, "snv"],
        planes: Mapping[str, UInt8[np.ndarray, "part snv"]],
    ) -> Found:
        scores = {name: _unpacked([*planes[name]], step) for name, step in self.about.steps.items()}
        for values in scores.values():
            values[statuses == ABSENT] = np.nan
        return Found(statuses, scores)


@dataclass(frozen=True, eq=False)
class _Places:
    """Where the blocks of a contig lie in its file."""

    contig: StoredContig
    schema: bytes
    blocks: Int64[np.ndarray, "block"]
    offsets: Int64[np.ndarray, "block"]
    sizes: Int64[np.ndarray, "block"]
    sums: Int64[np.ndarray, "block"]


def open_store(folder: Path) -> Store:
    """Open a store: its own description, the index and the sizes of all files are checked.

    Raises:
        InputError: it is not a store, or is incomplete; names the file.
    """
    path = folder / MARK
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{folder}: not a store ({path.name}: {error.strerror}); make one from scans with: "
            "ntvep store build"
        ) from error
    try:
        content = json.loads(text)
        if content["format"] != _FORMAT:
            raise ValueError(f"format is {content['format']!r}, this ntvep reads {_FORMAT!r}")
        if content["sha256"] != _own_sum(content):
            raise ValueError("its checksum differs")
        about = About(
            identity=Identity.from_json(json.dumps(content["identity"])),
            statuses=[Status(status) for status in content["statuses"]],
            **{key: content[key] for key in ("reference", "md5", "steps", "errors", "version")},
        )
        contigs = tuple(StoredContig(**contig) for contig in content["contigs"])
        index_sha256 = content["index_sha256"]
    except (AttributeError, ConfigError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: not in the form that ntvep store build writes ({type(error).__name__}: "
            f"{error}); copy the store again, or build it again"
        ) from error
    index = _read_index(folder / _INDEX, index_sha256)
    schema = _schema(about.steps).serialize().to_pybytes()
    places = {
        contig.name: _places(folder, contig, schema, index[index[:, 0] == number])
        for number, contig in enumerate(contigs)
    }
    by_canonical = {canonical(name): name for name in places}
    return Store(folder, about, contigs, hashlib.sha256(text).hexdigest(), places, by_canonical)


def refuse_changed_file(store: Store, contig: StoredContig) -> None:
    """Read the file of a contig whole.

    Raises:
        InputError: its checksum differs.
    """
    path = store.folder / contig.file
    if digest(path) != contig.sha256:
        # A block says better where; what is outside of all blocks has no other name.
        for _ in store.blocks(contig.name):
            pass
        raise _damaged(path, "its checksum differs")


def _own_sum(content: Mapping[str, Any]) -> str:
    bare = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True).encode()).hexdigest()


def _read_index(path: Path, sha256: str) -> Int64[np.ndarray, "block 5"]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    if hashlib.sha256(text).hexdigest() != sha256:
        raise _damaged(path, "its checksum differs")
    table = pa.ipc.open_file(pa.py_buffer(text)).read_all()
    return np.stack([column.to_numpy() for column in table.columns], axis=1)


def _write_index(path: Path, rows: Int64[np.ndarray, "block 5"]) -> str:
    """Write what :func:`_read_index` reads; its checksum."""
    names = ("contig", "block", "offset", "size", "crc32")
    columns = {name: pa.array(rows[:, place]) for place, name in enumerate(names)}
    schema = pa.schema(dict.fromkeys(names, pa.int64()))
    with path.open("wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_table(pa.table(columns))
    return digest(path)


def _places(
    folder: Path, contig: StoredContig, schema: bytes, rows: Int64[np.ndarray, "block 5"]
) -> _Places:
    path = folder / contig.file
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    if size != contig.bytes:
        raise _damaged(path, f"it has {size} bytes, expected {contig.bytes}")
    return _Places(contig, schema, *(np.ascontiguousarray(rows[:, n]) for n in range(1, 5)))


def _damaged(path: Path, what: str) -> InputError:
    return InputError(
        f"{path}: {what}: the store is truncated or changed. Copy it again, or build it again "
        "with ntvep store build"
    )


@contextmanager
def _opened(store: Store, places: _Places) -> Iterator[BinaryIO]:
    """The file of a contig. Not mapped: its pages would count as memory of this process."""
    path = store.folder / places.contig.file
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    with file:
        yield file


def _packed_block(store: Store, places: _Places, number: int, file: BinaryIO) -> bytes:
    """A block as it lies in its file, its checksum proven before anything is unpacked."""
    path = store.folder / places.contig.file
    start = int(places.blocks[number]) * BASES
    try:
        packed = os.pread(file.fileno(), int(places.sizes[number]), int(places.offsets[number]))
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    if zlib.crc32(packed) != places.sums[number]:
        raise _damaged(
            path,
            f"block {number} ({places.contig.name}, {BASES} bases from {start + 1}) is changed",
        )
    return packed


def _read(store: Store, places: _Places, numbers: Sequence[int], file: BinaryIO) -> list[Block]:
    """Blocks, unpacked in one call of Arrow: threads that do so wait for each other at its ends."""
    packed = [_packed_block(store, places, number, file) for number in numbers]
    # As a stream of their own: only that is read without Arrow's threads, which cost more than
    # they save.
    stream = pa.py_buffer(b"".join((places.schema, *packed)))
    table = pa.ipc.open_stream(stream, options=_ONE_THREAD).read_all()
    columns = {name: table.column(name).chunks for name in table.column_names}
    steps, blocks = store.about.steps, []
    for row, number in enumerate(numbers):
        planes = {
            name: tuple(_array(columns[f"{name}.{part}"][row]) for part in range(len(_WEIGHTS)))
            for name in steps
        }
        start = int(places.blocks[number]) * BASES
        ref, status = (_array(columns[name][row]) for name in ("ref", "status"))
        blocks.append(Block(places.contig.name, start, ref, status, steps, planes))
    return blocks


@lru_cache(maxsize=_KEPT)
def _cached(store: Store, places: _Places, number: int) -> Block:
    with _opened(store, places) as file:
        return _read(store, places, [number], file)[0]


def _array(column: pa.Array) -> Any:
    if isinstance(column, pa.FixedSizeListArray):
        return column.values.to_numpy().reshape(-1, 3)
    return column.to_numpy()


def _unpacked(
    planes: Sequence[UInt8[np.ndarray, "*shape"]], step: float
) -> Float64[np.ndarray, "*shape"]:
    low, middle, high = planes
    number = low | middle.astype(np.int32) << 8 | high.view(np.int8).astype(np.int32) << 16
    values: Float64[np.ndarray, "*shape"] = (number - _BIAS) * step
    values[number == _NULL] = np.nan
    return values


def _packed(values: Scores, step: float) -> list[UInt8[np.ndarray, "base alt"]]:
    numbers = np.rint(values / step) + _BIAS
    numbers = np.where(np.isnan(values), _NULL, numbers).astype(np.int32)
    return [(numbers >> weight & 255).astype(np.uint8) for weight in _WEIGHTS]


def _schema(names: Iterable[str]) -> pa.Schema:
    three = pa.list_(pa.uint8(), 3)
    planes = {f"{name}.{part}": three for name in names for part in range(len(_WEIGHTS))}
    return pa.schema({"ref": pa.uint8(), "status": three, **planes})


def empty_table(about: About) -> pl.DataFrame:
    """What :func:`table_of` gives for a block without SNVs."""
    key = {c.name: c.dtype for c in ALLELES if c.name not in ("record", "allele")}
    return pl.DataFrame(schema=key | dict.fromkeys(about.steps, pl.Float64()))


def table_of(block: Block, about: About) -> pl.DataFrame:
    """The SNVs of a block that were scored: key, status and scores, in the order of a scan."""
    bases, columns = np.nonzero(block.statuses != ABSENT)
    refs = block.ref[bases]
    known = pl.Series(about.statuses, dtype=STATUS_DTYPE)
    scores = {name: block.scores(name)[bases, columns] for name in about.steps}
    table = pl.DataFrame(
        {
            "chrom": pl.repeat(block.contig, len(bases), dtype=pl.String, eager=True),
            "pos": one_based_places(bases + block.start),
            "ref": list(dna.decode(refs)),
            "alt": list(dna.decode(ALTS[refs, columns].tobytes())),
            "status": known.gather(block.statuses[bases, columns]),
            **scores,
        },
        schema=empty_table(about).schema,
    )
    return table.with_columns(pl.col(list(scores)).fill_nan(None))


def step_of(name: str) -> tuple[float, float] | None:
    """Step and error of a score column; None for one that has no place in a store.

    Distances are so small, and differ so between models, that no one step would do.
    """
    if name in [column.name for column in TOKENS]:
        return _TOKEN_STEP, 0.0
    score = SCORE_COLUMNS.get(name.removesuffix("_sd"))
    return (_STEP, _ERROR) if score is not None and score.unit == "nats" else None


@dataclass
class _Open:
    """A block that is being filled."""

    number: int
    ref: Dna
    statuses: Statuses
    scores: Mapping[str, Scores]

    @classmethod
    def empty(cls, number: int, names: Iterable[str]) -> "_Open":
        shape = BASES, 3
        return cls(
            number,
            np.full(BASES, dna.N, np.uint8),
            np.full(shape, ABSENT, np.uint8),
            {name: np.zeros(shape) for name in names},
        )


@dataclass(frozen=True)
class Snvs:
    """SNVs of one contig, to be stored.

    Attributes:
        chrom: the contig.
        places: 0-based.
        refs: codes of REF.
        alts: codes of ALT.
        statuses: numbers in :attr:`About.statuses`.
        scores: by name; NaN where there is none.
    """

    chrom: str
    places: Int64[np.ndarray, "snv"]
    refs: Dna
    alts: Dna
    statuses: UInt8[np.ndarray, "snv"]
    scores: Mapping[str, Float64[np.ndarray, "snv"]]


@contextmanager
def store_writer(folder: Path, about: About) -> Iterator[Callable[[Snvs, str], None]]:
    """Fill an empty folder; yields the function that takes SNVs, and the name of their source.

    Contigs come one after the other, their blocks in order; SNVs of a block may come in any order.

    Args:
        folder: where; the store is whole when the context ends.
        about: what the scores are.

    Raises:
        InputError: an SNV comes twice, too late, or with two REF; names the place and the source.
    """
    contigs: list[StoredContig] = []
    index: list[tuple[int, ...]] = []
    writing: _ContigWriter | None = None

    def end() -> None:
        if writing:
            contig, rows = writing.ended()
            index.extend((len(contigs), *row) for row in rows)
            contigs.append(contig)

    def write(snvs: Snvs, source: str) -> None:
        nonlocal writing
        if writing is None or writing.name != snvs.chrom:
            end()
            if snvs.chrom in [contig.name for contig in contigs]:
                raise InputError(
                    f"{source}: returns to {snvs.chrom} after another contig; give the scans of "
                    "each contig together"
                )
            writing = _ContigWriter(folder, snvs.chrom, about.steps)
        writing.add(snvs, source)

    try:
        yield write
        end()
        writing = None
    finally:
        if writing:
            writing.abandon()
    sha256 = _write_index(folder / _INDEX, np.array(index, np.int64).reshape(-1, 5))
    content = asdict(about) | {
        "format": _FORMAT,
        "identity": json.loads(about.identity.to_json()),
        "statuses": [status.value for status in about.statuses],
        "contigs": [asdict(contig) for contig in contigs],
        "index_sha256": sha256,
    }
    write_json(folder / MARK, content | {"sha256": _own_sum(content)})


class _ContigWriter:
    """The file of one contig, block by block."""

    def __init__(self, folder: Path, name: str, steps: Mapping[str, float]) -> None:
        self.name, self.steps = name, steps
        self.path = folder / f"{quote(name, safe='')}.arrow"
        self.snvs = 0
        self.places: list[tuple[int, int, int]] = []
        self.block: _Open | None = None
        self.file = self.path.open("xb")
        self.writer = pa.ipc.new_file(
            self.file,
            _schema(steps),
            options=pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=3)),
        )

    def add(self, snvs: Snvs, source: str) -> None:
        """Fill blocks; one is written when an SNV behind it comes."""
        numbers = snvs.places // BASES
        columns = _COLUMN[snvs.refs, snvs.alts]
        for number in np.unique(numbers).tolist():
            if self.block is None or number > self.block.number:
                self.flush()
                self.block = _Open.empty(number, self.steps)
            rows = np.flatnonzero(numbers == number)
            if number < self.block.number:
                raise InputError(
                    f"{source}: {self.name}:{snvs.places[rows[0]] + 1} comes after "
                    f"{self.name}:{self.block.number * BASES + 1}; give scans in genomic order"
                )
            self.fill(self.block, rows, columns[rows], snvs, source)

    def fill(
        self, block: _Open, rows: Int64[np.ndarray, "snv"], columns: Any, snvs: Snvs, source: str
    ) -> None:
        """Put SNVs into their block."""
        at = snvs.places[rows] - block.number * BASES
        taken = block.statuses[at, columns] != ABSENT
        before = block.ref[at]
        other = (before != dna.N) & (before != snvs.refs[rows])
        for wrong, what in ((taken, "was already in an earlier scan"), (other, "has another REF")):
            if wrong.any():
                place = int(snvs.places[rows[np.argmax(wrong)]])
                raise InputError(
                    f"{source}: {self.name}:{place + 1} {what}; give each scan once, of "
                    "non-overlapping regions, all of one reference"
                )
        block.ref[at] = snvs.refs[rows]
        block.statuses[at, columns] = snvs.statuses[rows]
        if len(rows) != np.count_nonzero(block.statuses[at, columns] != ABSENT):
            raise ValueError("a status has an unknown number")
        for name, values in block.scores.items():
            values[at, columns] = snvs.scores[name][rows]
        self.snvs += len(rows)

    def flush(self) -> None:
        """Write the block that is open."""
        if self.block is None:
            return
        columns = {"ref": pa.array(self.block.ref), "status": _three(self.block.statuses)}
        for name, step in self.steps.items():
            for part, plane in enumerate(_packed(self.block.scores[name], step)):
                columns[f"{name}.{part}"] = _three(plane)
        # The writer puts the schema before the first of them.
        begin = self.file.tell() or len(_MAGIC) + _schema(self.steps).serialize().size
        self.writer.write_batch(pa.record_batch(columns, schema=_schema(self.steps)))
        self.places.append((self.block.number, begin, self.file.tell() - begin))

    def ended(self) -> tuple[StoredContig, list[tuple[int, int, int, int]]]:
        """Write what is left; the contig, and number, place, size and checksum of its blocks."""
        self.flush()
        self.writer.close()
        self.file.close()
        rows = []
        with self.path.open("rb") as file:
            for number, begin, size in self.places:
                file.seek(begin)
                rows.append((number, begin, size, zlib.crc32(file.read(size))))
        size = self.path.stat().st_size
        contig = StoredContig(self.name, self.path.name, self.snvs, size, digest(self.path))
        return contig, rows

    def abandon(self) -> None:
        """Let go of the file: it is not to be finished."""
        self.file.close()


def _three(values: UInt8[np.ndarray, "base alt"]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 3)
