"""tables of scores that others made -> rows at the places that are asked for; memory is bounded."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import pysam

from ntvep import windows
from ntvep.errors import InputError, some
from ntvep.genome import canonical
from ntvep.io import foreign_tables
from ntvep.io.open_vcf import quiet_htslib
from ntvep.io.vcf_info import alleles_with_info

VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
BIGWIG_SUFFIXES = (".bw", ".bigwig")
_ALLELE = ("chrom", "pos", "ref", "alt")
# Bases between places that one look into an index answers, and lines in memory at once.
_GAP = 500
_CHUNK = 100_000


def rows_at(path: Path, column: str, places: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Rows of a file whose POS is among the places; some more may come with them.

    A table with a tabix index is only read at these places, any other from end to end.

    Args:
        path: VCF or BCF, whose ``column`` is a key of INFO; Parquet; or text with a header and
            columns of the allele, plain or packed.
        column: of the score.
        places: ``chrom`` (canonical) and ``pos``.

    Yields:
        ``chrom``, ``pos``, ``ref``, ``alt``, ``value`` (text, null where a row has none).

    Raises:
        InputError: missing, damaged, or without such columns.
    """
    if path.name.endswith(VCF_SUFFIXES):
        with alleles_with_info(path, [column]) as (_, tables):
            for table in tables:
                near = table.join(places.select("pos").unique(), "pos", how="semi")
                yield near.select(*_ALLELE, pl.col(column).alias("value"))
        return
    if not path.is_file():
        raise InputError(f"{path}: no such file of scores; expected VCF, BigWig, Parquet or text")
    if any(path.with_name(path.name + suffix).is_file() for suffix in (".tbi", ".csi")):
        yield from _indexed(path, column, places)
        return
    scanned = foreign_tables.scan(path)
    columns = _columns(path, scanned.collect_schema().names(), column)
    wanted = places.lazy().select(pl.col("pos").cast(pl.Int64)).unique()
    with foreign_tables.reading(path):
        near = (
            scanned.select(pl.col(theirs).alias(ours) for ours, theirs in columns.items())
            .with_columns(pl.col("pos").cast(pl.Int64))
            .join(wanted, "pos", how="semi")
            .select(pl.col("chrom", "ref", "alt", "value").cast(pl.String), "pos")
            .collect(engine="streaming")
        )
    yield near.select(*_ALLELE, "value")


def _columns(path: Path, names: Sequence[str], column: str) -> dict[str, str]:
    """Our names of a table's columns -> its own."""
    found = foreign_tables.allele_columns(names)
    lacking = [name for name in _ALLELE if name not in found]
    if column not in names:
        lacking.append(column)
    if lacking:
        raise InputError(
            f"{path}: has no column {', '.join(lacking)}; found {some(names)}. Expected chrom, "
            "pos, ref, alt and the score's: type FILE:COLUMN"
        )
    return found | {"value": column}


# tabix --------------------------------------------------------------------------------------------


def _indexed(path: Path, column: str, places: pl.DataFrame) -> Iterator[pl.DataFrame]:
    try:
        with quiet_htslib(), pysam.TabixFile(str(path)) as file:
            header = _header(path, [*file.header])
            columns = _columns(path, header, column)
            spelled = {canonical(name): name for name in file.contigs}
            lines = _lines(file, spelled, places)
            while held := [*islice(lines, _CHUNK)]:
                fields = pl.Series("line", held).str.split("\t").list
                yield pl.select(
                    fields.get(header.index(theirs), null_on_oob=True).alias(ours)
                    for ours, theirs in columns.items()
                ).pipe(_typed, path)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: cannot be read by its index ({error}); it may be damaged or of another "
            f"file. Type: tabix --force -s 1 -b 2 -e 2 {path}"
        ) from error


def _typed(table: pl.DataFrame, path: Path) -> pl.DataFrame:
    said = pl.col("value").is_in(foreign_tables.NOTHING)
    table = table.with_columns(pl.when(~said).then("value").alias("value"))
    try:
        return table.with_columns(pl.col("pos").cast(pl.Int64))
    except pl.exceptions.InvalidOperationError as error:
        raise InputError(
            f"{path}: a POS is not a number; expected a column of positions"
        ) from error


def _header(path: Path, comments: Sequence[str]) -> list[str]:
    """Names of the columns: of the last comment that has any, or of the first line."""
    named = [line for line in comments if "\t" in line]
    if not named:
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
            named = [next(lines, "").rstrip("\r\n")]
    return named[-1].lstrip("#").lstrip(" ").rstrip("\r\n").split("\t")


def _lines(file: pysam.TabixFile, spelled: dict[str, str], places: pl.DataFrame) -> Iterator[str]:
    for (contig,), some_places in places.sort("pos").group_by("chrom", maintain_order=True):
        theirs = spelled.get(str(contig))
        if theirs is None:
            continue
        pos = some_places["pos"].unique().sort().to_numpy()
        cut = np.flatnonzero(np.diff(pos) > _GAP) + 1
        for stretch in np.split(pos, cut):
            first = windows.first_base(int(stretch[0]))
            yield from file.fetch(theirs, max(first, 0), int(stretch[-1]))
