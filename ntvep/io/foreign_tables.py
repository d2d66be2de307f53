"""TSV, CSV, Parquet of any source -> columns: read lazily, numbers named where they are none."""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import polars as pl

from ntvep.errors import InputError, some

LINE = "_line"
"""Column that says which line of its file a row is."""

# What tables write where they have nothing to say.
NOTHING = ["", ".", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]
# Our names of the columns that identify an allele -> the spellings of others, in lower case.
_ALLELE: Mapping[str, Sequence[str]] = {
    "chrom": ("chrom", "chr", "chromosome", "contig"),
    "pos": ("pos", "position"),
    "ref": ("ref", "reference", "ref_allele"),
    "alt": ("alt", "alternate", "alt_allele"),
}


def scan(path: Path, skip: int = 0) -> pl.LazyFrame:
    """A table's columns: those of text files as text, with null for what says nothing.

    Args:
        path: .parquet; else text with a header line, separated by commas if it is called .csv and
            by tabs if not, plain or compressed. Lines before the header that begin with ## are
            left out.
        skip: further lines before the header.

    Raises:
        InputError: the file is missing, empty, or has no header.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such table; expected TSV, CSV or Parquet")
    with reading(path):
        if path.suffix == ".parquet":
            return pl.scan_parquet(path)
        table = pl.scan_csv(
            path,
            separator="," if ".csv" in path.suffixes else "\t",
            infer_schema=False,
            skip_rows=skip,
            null_values=NOTHING,
            comment_prefix="##",
            quote_char=None if ".csv" not in path.suffixes else '"',
        )
        first = table.collect_schema().names()[0]
        table = table.rename({first: first.removeprefix("#")})
        # "#chrom" beside "chrom" is two columns of one name, which shows here.
        table.collect_schema()
        return table


@contextmanager
def reading(*paths: Path) -> Iterator[None]:
    """Say in our words that tables cannot be read; around whatever collects them."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(
            f"{', '.join(map(str, paths))}: not a complete table ({first_line}); expected a header "
            "and lines of as many columns, separated by tabs (.csv: commas), or Parquet"
        ) from error


def numbers(
    table: pl.DataFrame, names: Sequence[str], dtype: pl.DataType, path: Path
) -> pl.DataFrame:
    """Cast columns to finite numbers; null stays null, and NaN, which says nothing, becomes null.

    Args:
        table: rows of the file, all of them or those that have their line in :data:`LINE`.
        names: of the columns.
        dtype: of numbers.
        path: of the file, for messages.

    Raises:
        InputError: a value is not a number, or infinite; names the first and its line.
    """
    for name in names:
        cast = table[name].cast(dtype, strict=False)
        is_bad = cast.is_null()
        if dtype.is_float():
            # NaN would count as the largest number, and an infinite one as beyond all others.
            cast = cast.fill_nan(None)
            is_bad = cast.is_null() | cast.is_infinite()
        is_bad &= table[name].is_not_null()
        if table[name].dtype.is_float():
            is_bad &= ~table[name].is_nan()
        if is_bad.any():
            row = int(is_bad.arg_true()[0])
            place = f"line {table[LINE][row]}" if LINE in table.columns else _place(path, row)
            raise InputError(
                f"{path}, {place}: {name} is {table[name][row]!r}, and {is_bad.sum()} of its "
                "values are not finite numbers; expected numbers, or nothing where a value is "
                "missing"
            )
        table = table.with_columns(cast.alias(name))
    return table


def _place(path: Path, row: int) -> str:
    """Where a row of data is: the line of a text file, counted from 1."""
    with path.open("rb") as raw:
        is_packed = raw.read(2) == b"\x1f\x8b"
    if path.suffix in (".parquet", ".zst"):
        return f"row {row + 1}"
    with gzip.open(path) if is_packed else path.open("rb") as lines:
        kept = (number for number, line in enumerate(lines, 1) if not line.startswith(b"##"))
        # The first line that is kept is the header.
        return f"line {next(islice(kept, row + 1, None))}"


def allele_columns(names: Sequence[str]) -> dict[str, str]:
    """``chrom``, ``pos``, ``ref``, ``alt`` -> how a table spells them; those that it has."""
    lower = {name.lower().lstrip("#"): name for name in reversed(names)}
    spelled = {
        ours: next((lower[s] for s in spellings if s in lower), None)
        for ours, spellings in _ALLELE.items()
    }
    return {ours: theirs for ours, theirs in spelled.items() if theirs is not None}


def read_alleles(path: Path) -> pl.DataFrame:
    """``chrom``, ``pos``, ``ref``, ``alt`` of a table of alleles, without rows that lack one.

    Raises:
        InputError: the file cannot be read, lacks a column, or a POS is not a number.
    """
    table = scan(path)
    names = table.collect_schema().names()
    columns = allele_columns(names)
    if lacking := [name for name in _ALLELE if name not in columns]:
        raise InputError(
            f"{path}: has no column {', '.join(lacking)}; found {some(names)}. Expected chrom, "
            "pos, ref and alt"
        )
    with reading(path):
        alleles = table.select(
            pl.col(theirs).cast(pl.String).alias(ours) for ours, theirs in columns.items()
        ).collect()
    return numbers(alleles, ["pos"], pl.Int64(), path).drop_nulls()
