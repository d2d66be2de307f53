"""SCORES <-> a folder of Parquet shards: what was computed once is read by whoever comes next.

``DIR/<fingerprint>/<name>.parquet``. A shard is written aside and renamed when it is whole, and
never changed: any number of runs may share a folder. Only ``merge`` removes shards.
"""

import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ntvep.errors import ConfigError, InputError, OutputError
from ntvep.provenance import ModelIdentity
from ntvep.schema import KNOWN_KEY
from ntvep.settings import Settings

_IDENTITY = b"ntvep_identity"
# Rows that a lookup reads at the least: a shard is sorted, and a row group holds a stretch of it.
_ROW_GROUP = 1 << 14
# How often shards may vanish between their listing and their reading.
_LISTINGS = 5
_ORDER = ("chrom", "start", "ref", "alt")


@dataclass(frozen=True)
class Identity:
    """What the scores under one fingerprint were computed with.

    Attributes:
        fingerprint: see :func:`ntvep.provenance.fingerprint`.
        model: which model.
        settings: which windows, views, layer and pool; its scores are those of the shard.
    """

    fingerprint: str
    model: ModelIdentity
    settings: Settings

    def to_json(self) -> str:
        """For a shard's metadata."""
        return json.dumps(asdict(self) | {"settings": self.settings.to_dict()}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Identity":
        """Read what :meth:`to_json` wrote."""
        content = json.loads(text)
        settings = content["settings"]
        model = ModelIdentity.from_dict(content["model"], settings.get("max_tokens"))
        return cls(content["fingerprint"], model, Settings.from_dict(settings))


@dataclass(frozen=True)
class Shard:
    """One file of a cache.

    Attributes:
        path: the file.
        identity: of its scores.
        columns: its score columns.
        rows: alleles in it.
    """

    path: Path
    identity: Identity
    columns: tuple[str, ...]
    rows: int


def shards(folder: Path) -> Iterator[Shard]:
    """Every shard of a cache.

    Raises:
        InputError: the folder is not a cache, or a shard is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such cache; ntvep score --cache {folder} makes one")
    yield from _read_shards(folder, "*/*.parquet")


def _read_shards(folder: Path, pattern: str) -> list[Shard]:
    for _ in range(_LISTINGS):
        try:
            return [_read_shard(path) for path in sorted(folder.glob(pattern))]
        except FileNotFoundError:
            # Another run has merged the shards meanwhile: their rows are in a new one.
            continue
    raise InputError(f"{folder}: its shards keep changing; wait until ntvep cache merge has ended")


def the_identity(folder: Path, fingerprint: str | None) -> Identity:
    """What the scores of a cache, or of one fingerprint in it, were computed with.

    Its settings' scores are those of the shard that has the most.

    Raises:
        InputError: the cache does not exist, or lacks the fingerprint.
        ConfigError: there are several, and none was chosen.
    """
    found = {shard.identity.fingerprint: shard.identity for shard in widest_last(shards(folder))}
    if fingerprint is None and len(found) > 1:
        names = ", ".join(f"{name} ({i.model.model_id})" for name, i in sorted(found.items()))
        raise ConfigError(
            f"{folder}: holds scores of {len(found)} kinds; choose one with --fingerprint: {names}"
        )
    if not found or (fingerprint is not None and fingerprint not in found):
        raise InputError(
            f"{folder}: has no scores of fingerprint {fingerprint or '(any)'}; see what there is "
            f"with: ntvep cache info {folder}"
        )
    return found[fingerprint or next(iter(found))]


def widest_last(some: Iterable[Shard]) -> list[Shard]:
    """Shards by their number of columns."""
    return sorted(some, key=lambda shard: len(shard.columns))


def _read_shard(path: Path) -> Shard:
    try:
        with pq.ParquetFile(path) as file:
            names, metadata = file.schema_arrow.names, file.metadata
        identity = Identity.from_json(metadata.metadata[_IDENTITY].decode())
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError, TypeError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: not a whole shard of a score cache ({type(error).__name__}: {error}); "
            "delete this file, its scores will be computed again"
        ) from error
    if identity.fingerprint != path.parent.name:
        raise InputError(
            f"{path}: holds scores of fingerprint {identity.fingerprint}; move it to the folder "
            "of that name"
        )
    columns = tuple(name for name in names if name not in KNOWN_KEY)
    return Shard(path, identity, columns, metadata.num_rows)


def write_shard(folder: Path, identity: Identity, scores: pl.DataFrame) -> Path:
    """Add a shard: sorted, whole or not there at all.

    Args:
        folder: the cache.
        identity: of the scores.
        scores: KNOWN_KEY and score columns.

    Raises:
        OutputError: it cannot be written.
    """
    with _new_shard(folder, identity) as path:
        schema = _schema(identity.settings)
        table = scores.select(schema.names).sort(_ORDER).to_arrow().cast(schema)
        pq.write_table(
            table.replace_schema_metadata({_IDENTITY: identity.to_json()}),
            path,
            compression="zstd",
            row_group_size=_ROW_GROUP,
        )
    return path


@contextmanager
def _new_shard(folder: Path, identity: Identity) -> Iterator[Path]:
    """Yields a place to write to; the shard appears under its own name once it is whole."""
    inside = folder / identity.fingerprint
    # In the order of their making, and never the same name twice.
    name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}.parquet"
    aside = inside / f".{name}.tmp"
    try:
        inside.mkdir(parents=True, exist_ok=True)
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(inside / name)
    except FileNotFoundError as error:
        raise OutputError(
            f"{folder}: shards disappeared while being read: another ntvep cache merge is running "
            "there; wait until it has ended"
        ) from error
    except OSError as error:
        raise OutputError(
            f"{folder}: the score cache cannot be written ({error.strerror or error}); free space "
            "there, or give another folder with --cache"
        ) from error
    finally:
        aside.unlink(missing_ok=True)


def _schema(settings: Settings) -> pa.Schema:
    types = {"chrom": pa.string(), "start": pa.int64(), "ref": pa.string(), "alt": pa.string()}
    scores = dict.fromkeys(settings.score_columns, pa.float64())
    return pa.schema(types | {"windows": pa.uint64()} | scores)


@dataclass
class ScoreCache:
    """The scores of one fingerprint in a cache; see :class:`ntvep.pipeline.KnownScores`.

    Attributes:
        folder: the cache.
        identity: of the scores that are read and written.
    """

    folder: Path
    identity: Identity
    _paths: list[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Find what there is."""
        self._find_shards()

    def _find_shards(self) -> None:
        """Those that have every column asked for."""
        inside = self.folder / self.identity.fingerprint
        wanted = set(self.identity.settings.score_columns)
        found = _read_shards(inside, "*.parquet")
        self._paths = [str(shard.path) for shard in found if wanted <= set(shard.columns)]

    def find(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Scores of those alleles that are known, by ``row``."""
        wanted = ["row", *self.identity.settings.score_columns]
        try:
            known = self._read(keys)
        except FileNotFoundError:
            # Another run has merged the shards: their rows are in a new one.
            self._find_shards()
            known = self._read(keys)
        found = keys.join(known, on=list(KNOWN_KEY), how="inner", maintain_order="left")
        return found.unique("row", keep="first", maintain_order=True).select(wanted)

    def _read(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Rows that lie at the places of these keys."""
        schema = _schema(self.identity.settings)
        parts = [pl.DataFrame(schema.empty_table())]
        if not self._paths:
            return parts[0]
        # Here, because it imports pandas where that is installed: 0.3 s of every start.
        import pyarrow.dataset as ds

        shards = ds.dataset(self._paths, schema=schema, format="parquet")
        for (chrom,), some in keys.group_by("chrom"):
            # The bounds choose row groups by their statistics; the list chooses rows.
            start, places = ds.field("start"), some["start"].unique()
            near = (start >= places.min()) & (start <= places.max())
            there = (ds.field("chrom") == chrom) & near & start.isin(places.to_arrow())
            parts.append(pl.DataFrame(shards.to_table(filter=there)))
        return pl.concat(parts)

    def keep(self, scores: pl.DataFrame) -> None:
        """Remember scores of alleles that were not known."""
        write_shard(self.folder, self.identity, scores)


def merge(folder: Path, others: Sequence[Path]) -> None:
    """Make one shard of all that hold the same columns of one fingerprint, each allele once.

    Args:
        folder: the cache that is rewritten.
        others: caches whose scores are taken in; they stay as they are.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Shard]] = {}
    for shard in (*shards(folder), *(shard for other in others for shard in shards(other))):
        groups.setdefault((shard.identity.fingerprint, shard.columns), []).append(shard)
    for members in groups.values():
        own = [shard.path for shard in members if shard.path.is_relative_to(folder)]
        if len(own) == len(members) == 1:
            continue
        identity = members[0].identity
        with _new_shard(folder, identity) as path:
            _each_once(members).sink_parquet(
                path, row_group_size=_ROW_GROUP, metadata={_IDENTITY.decode(): identity.to_json()}
            )
        for path in own:
            path.unlink(missing_ok=True)


def export(folder: Path, identity: Identity, output: Path) -> None:
    """Write the widest table of one fingerprint, Parquet or tab-separated."""
    wanted = set(identity.settings.score_columns)
    members = [
        shard
        for shard in shards(folder)
        if shard.identity.fingerprint == identity.fingerprint and wanted <= set(shard.columns)
    ]
    table = _each_once(members)
    if output.suffix == ".tsv":
        table.sink_csv(output, separator="\t")
    else:
        table.sink_parquet(output, metadata={_IDENTITY.decode(): identity.to_json()})


def _each_once(members: Sequence[Shard]) -> pl.LazyFrame:
    """All rows, each allele once, in the order of the genome's places."""
    rows = pl.scan_parquet([shard.path for shard in members])
    return rows.unique(list(KNOWN_KEY), keep="any").sort(_ORDER)
