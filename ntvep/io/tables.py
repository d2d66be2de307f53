"""SCORES and LABELS -> Parquet and back: provenance and summary in its metadata."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ntvep.errors import InputError
from ntvep.schema import (
    ALLELES,
    COMPARED,
    CONTEXT,
    DISTINCT,
    LABELS,
    MINIMAL,
    PENTANUCLEOTIDE,
    SCORE_COLUMNS,
    STATUS_DTYPE,
    Column,
    check_labels,
)

_ROW_GROUP = 1 << 14
# A table of at most this many rows is held in memory: some hundred MB.
_FEW_ROWS = 1 << 20
_PROVENANCE, _SUMMARY = b"ntvep_provenance", b"ntvep_summary"


@contextmanager
def table_writer(
    path: Path, columns: Sequence[Column], provenance: str, summary: Callable[[], str]
) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Write a Parquet file chunk by chunk; yields the function that takes rows.

    Row groups end with a record, and do not depend on how the rows come.

    Args:
        path: where to write.
        columns: the table's schema.
        provenance: JSON for the file's metadata.
        summary: asked at the end for JSON of what the run did.
    """
    empty = pl.DataFrame(schema={column.name: column.dtype for column in columns})
    schema = empty.to_arrow().schema.with_metadata({_PROVENANCE: provenance.encode()})
    held = empty
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def put(rows: pl.DataFrame) -> None:
            writer.write_table(rows.to_arrow().cast(schema), row_group_size=rows.height)

        def write(rows: pl.DataFrame) -> None:
            nonlocal held
            held = pl.concat([held, rows])
            while (border := _group_end(held)) < held.height:
                put(held[:border])
                held = held[border:]

        yield write
        if held.height:
            put(held)
        writer.add_key_value_metadata({_SUMMARY: summary().encode()})


def _group_end(rows: pl.DataFrame) -> int:
    """Where a row group may end; behind the last row as long as that is not known."""
    if rows.height <= _ROW_GROUP or "record" not in rows.columns:
        return min(rows.height, _ROW_GROUP)
    return int(rows["record"].search_sorted(rows["record"][_ROW_GROUP - 1], side="right"))


def has_provenance(path: Path) -> bool:
    """Whether a table says what made it.

    Raises:
        InputError: the file is missing or damaged.
    """
    with _parquet(path) as file:
        return {_PROVENANCE, _SUMMARY} <= set(file.metadata.metadata or {})


def read_metadata(path: Path) -> tuple[str, str]:
    """Provenance and summary (JSON) of a table that ntvep wrote.

    Raises:
        InputError: the file is missing, damaged, or not ours.
    """
    with _parquet(path) as file:
        metadata = file.metadata.metadata or {}
    if _PROVENANCE not in metadata or _SUMMARY not in metadata:
        raise InputError(f"{path}: not a table that ntvep score wrote: it has no provenance")
    return metadata[_PROVENANCE].decode(), metadata[_SUMMARY].decode()


def read_scores(path: Path) -> pl.DataFrame:
    """What an evaluation needs of SCORES: allele, status, scores (not their spread), percentiles.

    Raises:
        InputError: the file is missing, damaged, or holds no SCORES.
    """
    with _parquet(path) as file:
        names = file.schema_arrow.names
        needed = [column.name for column in ALLELES if column.name not in ("record", "allele")]
        scores = [name for name in SCORE_COLUMNS if name in names]
        lacking = [name for name in needed if name not in names]
        if lacking or not scores:
            raise InputError(
                f"{path}: no scores: it lacks {', '.join(lacking) or 'every score column'}; "
                "expected a table that ntvep score wrote"
            )
        optional = [column.name for column in COMPARED if column.name in names]
        table = pl.from_arrow(file.read(columns=[*needed, *scores, *optional]))
    assert isinstance(table, pl.DataFrame)
    return table.with_columns(pl.col("status").cast(STATUS_DTYPE))


def read_background(path: Path) -> pl.DataFrame:
    """``context``, ``pentanucleotide`` and ``llr`` of background variants.

    Raises:
        InputError: the file is missing, damaged, or holds no background.
    """
    with _parquet(path) as file:
        needed = [CONTEXT.name, PENTANUCLEOTIDE.name, "llr"]
        if lacking := [name for name in needed if name not in file.schema_arrow.names]:
            raise InputError(
                f"{path}: not a background: it lacks {', '.join(lacking)}; expected a table that "
                "this version of ntvep background draw wrote"
            )
        table = pl.from_arrow(file.read(columns=needed))
    assert isinstance(table, pl.DataFrame)
    return table


def read_distinct(path: Path) -> tuple[pl.DataFrame, str]:
    """Distinct alleles that ``ntvep cohort`` listed, and JSON of what was counted with them.

    Raises:
        InputError: the file is missing, damaged, or holds something else.
    """
    expected = [column.name for column in DISTINCT]
    with _parquet(path) as file:
        metadata = file.metadata.metadata or {}
        if file.schema_arrow.names != expected or _SUMMARY not in metadata:
            raise InputError(
                f"{path}: no list of distinct alleles; expected a table that ntvep cohort collect "
                "or split wrote"
            )
        table = pl.from_arrow(file.read())
    assert isinstance(table, pl.DataFrame)
    return table, metadata[_SUMMARY].decode()


class ScoredAlleles:
    """Scored alleles of many VCFs, in a table that ``ntvep cohort gather`` wrote: by their places.

    Attributes:
        path: the table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _parquet(path) as file:
            names = file.schema_arrow.names
            needed = ["chrom", "status", *(column.name for column in MINIMAL)]
            if lacking := [name for name in needed if name not in names]:
                raise InputError(
                    f"{path}: lacks {', '.join(lacking)}; expected a table that ntvep cohort "
                    "gather wrote"
                )
            kept = [name for name in names if name not in ("record", "allele", "pos", "ref", "alt")]
            rows = file.metadata.num_rows
        self._lazy = pl.scan_parquet(path).select(kept)
        # A small table is read once: to look into a file for each chunk takes longer than that.
        self._all = self._lazy.collect() if rows <= _FEW_ROWS else None

    def near(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Rows of the contigs and between the places of some alleles, and maybe more.

        Args:
            keys: ``chrom`` and MINIMAL.
        """
        if self._all is not None:
            return self._all
        parts = [self._lazy.head(0)]
        for (chrom,), some in keys.group_by("chrom"):
            there = pl.col("start").is_between(some["start"].min(), some["start"].max())
            parts.append(self._lazy.filter(pl.col("chrom") == chrom, there))
        return pl.concat(pl.collect_all(parts))


def read_labels(path: Path) -> pl.DataFrame:
    """LABELS that ``ntvep labels`` wrote.

    Raises:
        InputError: the file is missing, damaged, or holds no LABELS.
    """
    with _parquet(path) as file:
        names = file.schema_arrow.names
        lacking = [column.name for column in LABELS if column.name not in names]
        if lacking:
            raise InputError(
                f"{path}: no labels: it lacks the columns {', '.join(lacking)}; expected a table "
                f"that ntvep labels wrote. Type: ntvep labels table {path} --output labels.parquet"
            )
        table = pl.from_arrow(file.read())
    assert isinstance(table, pl.DataFrame)
    try:
        return check_labels(table)
    except ValueError as error:
        raise InputError(
            f"{path}: not in the form that ntvep labels writes ({error}); run ntvep labels again"
        ) from error


def read_row_groups(path: Path) -> Iterator[pl.DataFrame]:
    """Rows of a table, some thousands at a time; records are never cut.

    Raises:
        InputError: the file is missing or damaged.
    """
    with _parquet(path) as file:
        for number in range(file.num_row_groups):
            rows = pl.from_arrow(file.read_row_group(number))
            assert isinstance(rows, pl.DataFrame)
            if "status" in rows.columns:
                # Of an older ntvep, which knew fewer of them.
                rows = rows.with_columns(pl.col("status").cast(pl.String).cast(STATUS_DTYPE))
            yield rows


@contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such table; expected one that ntvep score wrote") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{path}: not a whole Parquet file ({error}); run ntvep score for it again"
        ) from error
