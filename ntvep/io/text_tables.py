"""SCORES -> TSV or CSV, row by row as they come: the columns of the Parquet table."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from ntvep.io.vcf_write import bgzip_writer
from ntvep.schema import Column

SUFFIXES = (".tsv", ".tsv.gz", ".csv")


@contextmanager
def text_writer(path: Path, columns: Sequence[Column]) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Write a table as text, a header line first; yields the function that takes rows.

    Numbers have all digits that they need to be read again as the same float64; null is empty.

    Args:
        path: .tsv, .tsv.gz (bgzip) or .csv.
        columns: of the table.
    """
    separator = "," if path.suffix == ".csv" else "\t"
    header = separator.join(column.name for column in columns) + "\n"

    def text(rows: pl.DataFrame) -> bytes:
        return rows.write_csv(separator=separator, include_header=False).encode()

    if path.suffix == ".gz":
        with bgzip_writer(path) as write_packed:
            write_packed([header.encode()])
            yield lambda rows: write_packed([text(rows)])
    else:
        with path.open("wb") as plain:
            plain.write(header.encode())
            yield lambda rows: plain.writelines([text(rows)])
