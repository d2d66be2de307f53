"""SCORES -> Parquet and back: one row group a chunk, the provenance in the file's metadata."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ntvep.errors import InputError
from ntvep.schema import Column

_METADATA_KEY = b"ntvep"


class TableWriter(Protocol):
    """Takes a table chunk by chunk."""

    def write(self, table: pl.DataFrame) -> None:
        """Append rows."""
        ...


@contextmanager
def table_writer(path: Path, columns: Sequence[Column], provenance: str) -> Iterator[TableWriter]:
    """Write a Parquet file chunk by chunk; memory does not grow with its length.

    Args:
        path: where to write.
        columns: the table's schema.
        provenance: JSON that goes into the file's metadata.
    """
    empty = pl.DataFrame(schema={column.name: column.dtype for column in columns})
    schema = empty.to_arrow().schema.with_metadata({_METADATA_KEY: provenance.encode()})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield _ParquetTable(writer, schema)


class _ParquetTable:
    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema

    def write(self, table: pl.DataFrame) -> None:
        if table.height:
            self._writer.write_table(table.to_arrow().cast(self._schema))


def read_provenance(path: Path) -> str:
    """The provenance (JSON) of a table that ntvep wrote.

    Raises:
        InputError: the file is missing, damaged, or not ours.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such table; expected one that ntvep score wrote") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a whole Parquet file ({error}); write it again") from error
    if _METADATA_KEY not in metadata:
        raise InputError(f"{path}: not a table that ntvep wrote: it has no provenance")
    return str(metadata[_METADATA_KEY].decode())
