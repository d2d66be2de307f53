"""GTF, BED -> intervals on contigs, 0-based and half-open."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from ntvep import windows
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


def read_bed(path: Path) -> pl.DataFrame:
    """Lines of a BED: ``chrom``, ``start``, ``stop``, and ``line``, its number from 1.

    Raises:
        InputError: missing, or a line is none of a BED; names it.
    """
    if not path.is_file() or ".bed" not in [suffix.lower() for suffix in path.suffixes]:
        raise InputError(f"{path}: no such BED; expected a file that ends in .bed or .bed.gz")
    with reading(path):
        lines = pl.scan_csv(
            path, separator="\1", has_header=False, infer_schema=False, quote_char=None
        ).collect()
    text = lines.to_series().fill_null("")
    fields = text.str.strip_chars_end("\r").str.split("\t").list
    numbers = [fields.get(n, null_on_oob=True).cast(pl.Int64, strict=False) for n in (1, 2)]
    table = pl.DataFrame(
        {
            "chrom": fields.get(0),
            "start": numbers[0],
            "stop": numbers[1],
            "line": pl.int_range(1, len(text) + 1, eager=True),
        }
    ).filter(~text.str.contains(r"^(?:#|browser\b|track\b|\s*$)"))
    wrong = table.filter(
        pl.any_horizontal(pl.all().is_null()) | (pl.col("start") < 0) | (pl.col("stop") <= 0)
    )
    if wrong.height or table.is_empty():
        where = f", line {wrong['line'][0]}" if wrong.height else ""
        raise InputError(
            f"{path}{where}: expected CHROM, START and END (0-based), separated by tabs"
        )
    return table


def _genes(path: Path) -> Mapping[str, pl.DataFrame]:
    table = _read(path, {0: "chrom", 2: "kind", 3: "first", 4: "stop", 6: "strand"})
    # A GTF counts from 1, its ends included.
    table = table.with_columns(start=windows.first_base(pl.col("first")))
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


def read_transcripts(path: Path) -> pl.DataFrame:
    """Parts of the transcripts of a GTF, as Ensembl and GENCODE have it.

    Returns:
        ``transcript`` (with its contig, since some are on X and Y), ``chrom``, ``strand``, ``kind``
        (``exon``, ``CDS``, ``start_codon``, ``stop_codon``), ``start``, ``stop`` (0-based,
        half-open), ``frame`` (bases of a CDS before its first whole codon; null elsewhere).

    Raises:
        InputError: missing, of another form, or without exons of transcripts.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such annotation; expected a GTF")
    wanted = {0: "chrom", 2: "kind", 3: "first", 4: "stop", 6: "strand", 7: "frame", 8: "said"}
    kinds = ("exon", "CDS", "start_codon", "stop_codon")
    table = _read(path, wanted, kinds)
    parts = table.select(
        pl.col("said").str.extract('transcript_id "([^"]+)"').alias("transcript"),
        "chrom",
        "strand",
        "kind",
        # A GTF counts from 1, its ends included.
        start=pl.col("first") - 1,
        stop="stop",
        frame=pl.col("frame").cast(pl.Int64, strict=False),
    )
    if parts["transcript"].null_count() or "exon" not in parts["kind"]:
        raise InputError(
            f'{path}: has exons without transcript_id "..."; expected a GTF of Ensembl or GENCODE '
            "(a GFF3 names transcripts otherwise)"
        )
    return parts.with_columns(pl.format("{} {}", "transcript", "chrom").alias("transcript"))


def read_regions(path: Path, classes: Sequence[str]) -> pl.DataFrame:
    """Elements of a BED with their class: ``chrom``, ``start``, ``stop``, ``name``.

    Args:
        path: a BED, such as ENCODE's candidate cis-regulatory elements.
        classes: words that say what an element is; the first of a line that is one of them counts,
            on its own or before a comma (``dELS,CTCF-bound``). Else ``name`` is null.

    Raises:
        InputError: missing, or of another form.
    """
    table = _read(path, {0: "chrom", 1: "start", 2: "stop", -1: "line"})
    words = "|".join(map(re.escape, sorted(classes, key=len, reverse=True)))
    name = pl.col("line").str.extract(rf"\t({words})(?:[,\t\r]|$)")
    return table.select("chrom", "start", "stop", name=name)


def read_parts(path: Path) -> pl.DataFrame:
    """Genes and exons of a GTF, or intervals of a BED, by name.

    Returns:
        ``chrom``, ``first``, ``last`` (1-based, both included), ``name``, ``is_box`` (no gene).

    Raises:
        InputError: missing, of another form, or without genes and exons.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such annotation; expected a GTF or a BED")
    suffixes = {suffix.lower() for suffix in path.suffixes}
    if ".bed" in suffixes:
        table = _read(path, {0: "chrom", 1: "start", 2: "last", -1: "line"})
        name = pl.col("line").str.split("\t").list.get(3, null_on_oob=True)
        first, is_box = pl.col("start") + 1, pl.lit(True)
        table = table.with_columns(pl.col("last").cast(pl.Int64))
    elif suffixes & {*_GTF}:
        wanted = {0: "chrom", 2: "kind", 3: "first", 4: "last", 8: "said"}
        table = _read(path, wanted, ("gene", "exon"))
        table = table.with_columns(pl.col("last").cast(pl.Int64))
        # GTF writes gene_name "X", GFF3 Name=X.
        named = [pl.col("said").str.extract(rf'{key}[ =]"?([^";]+)')
                 for key in ("gene_name", "gene_id", "gene", "Name")]  # fmt: skip
        name, first, is_box = pl.coalesce(named), pl.col("first"), pl.col("kind") == "exon"
    else:
        raise InputError(f"{path}: expected a name with .gtf, .gff or .bed")
    return table.select(
        "chrom", first=first, last="last", name=name.fill_null("interval"), is_box=is_box
    ).unique(maintain_order=True)


def _read(
    path: Path, wanted: Mapping[int, str], kinds: Sequence[str] | None = None
) -> pl.DataFrame:
    """Columns by their number from 0, -1 being the whole line; of a GTF only the ``kinds``."""
    numbers = [name for name in wanted.values() if name in ("start", "first", "stop")]
    line = pl.nth(0)
    fields = line.str.split("\t").list
    # A BED may begin with lines for a genome browser.
    kept = ~line.str.contains("^(?:browser|track)\\b")
    if kinds is not None:
        kept &= line.str.contains(rf"^[^\t]*\t[^\t]*\t(?:{'|'.join(kinds)})\t")
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
        table = (
            lines.filter(kept)
            .select(
                (line if number < 0 else fields.get(number, null_on_oob=True)).alias(name)
                for number, name in wanted.items()
            )
            .with_columns(pl.col(numbers).cast(pl.Int64))
            .collect()
        )
    if table.is_empty() or sum(table.null_count().row(0)):
        what = f" of {', '.join(kinds)}" if kinds else ""
        raise InputError(
            f"{path}: expected lines{what} of {max(wanted) + 1} columns or more, separated by tabs"
        )
    return table
