"""GTF, BED -> intervals on contigs, 0-based and half-open."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ntvep.errors import InputError
from ntvep.io.foreign_tables import reading

_GTF = (".gtf", ".gff", ".gff3")


def read_intervals(path: Path) -> Mapping[str, pl.DataFrame]:
    """Intervals that distances are measured to: ``chrom``, ``start``, ``stop``.

    Args:
        path: a GTF or GFF (``tss``: first bases of transcripts, or of genes where it has no
            transcripts; ``exon``), or a BED (``interval``), plain or compressed.

    Raises:
        InputError: missing, of another form, or without such features.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such annotation; expected a GTF or a BED")
    suffixes = {suffix.lower() for suffix in path.suffixes}
    if suffixes & {*_GTF}:
        return _genes(path)
    if ".bed" in suffixes:
        return {"interval": _read(path, {0: "chrom", 1: "start", 2: "stop"})}
    raise InputError(f"{path}: expected a name with .gtf, .gff or .bed")


def _genes(path: Path) -> Mapping[str, pl.DataFrame]:
    table = _read(path, {0: "chrom", 2: "kind", 3: "first", 4: "stop", 6: "strand"})
    # A GTF counts from 1, its ends included.
    table = table.with_columns(start=pl.col("first") - 1)
    transcripts = table.filter(pl.col("kind").is_in(["transcript", "mRNA"]))
    if transcripts.is_empty():
        transcripts = table.filter(pl.col("kind") == "gene")
    exons = table.filter(pl.col("kind") == "exon")
    if transcripts.is_empty() and exons.is_empty():
        raise InputError(f"{path}: has neither transcripts nor genes nor exons; expected a GTF")
    first = pl.when(pl.col("strand") == "-").then(pl.col("stop") - 1).otherwise("start")
    tss = transcripts.select("chrom", start=first, stop=first + 1)
    found = {"tss": tss.unique(), "exon": exons.select("chrom", "start", "stop").unique()}
    return {kind: intervals for kind, intervals in found.items() if intervals.height}


def _read(path: Path, wanted: Mapping[int, str]) -> pl.DataFrame:
    numbers = [name for name in wanted.values() if name in ("start", "first", "stop")]
    with reading(path):
        # Lines as they are: the tables that people have differ in how many columns they end with.
        lines = pl.scan_csv(
            path,
            separator="\1",
            has_header=False,
            infer_schema=False,
            comment_prefix="#",
            quote_char=None,
        )
        fields = pl.nth(0).str.split("\t").list
        table = (
            # A BED may begin with lines for a genome browser.
            lines.filter(~pl.nth(0).str.contains("^(?:browser|track)\\b"))
            .select(
                fields.get(number, null_on_oob=True).alias(name) for number, name in wanted.items()
            )
            .with_columns(pl.col(numbers).cast(pl.Int64))
            .collect()
        )
    if table.is_empty() or sum(table.null_count().row(0)):
        raise InputError(
            f"{path}: expected lines of {max(wanted) + 1} columns or more, separated by tabs"
        )
    return table
