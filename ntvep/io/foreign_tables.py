"""TSV, CSV, Parquet of any source -> columns: read lazily, numbers named where they are none."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from ntvep.errors import InputError

# What tables write where they have nothing to say.
_NOTHING = ["", ".", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]


def scan(path: Path) -> pl.LazyFrame:
    """A table's columns: those of text files as text, with null for what says nothing.

    Args:
        path: .parquet; else text with a header line, separated by commas if it is called .csv and
            by tabs if not, plain or compressed. Lines before the header that begin with ## are
            left out.

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
            null_values=_NOTHING,
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
            f"{', '.join(map(str, paths))}: not a whole table ({first_line}); expected a header "
            "and lines of as many columns, separated by tabs (.csv: commas), or Parquet"
        ) from error


def numbers(
    table: pl.DataFrame, names: Sequence[str], dtype: pl.DataType, path: Path
) -> pl.DataFrame:
    """Cast columns to numbers; null stays null.

    Raises:
        InputError: a value is no number; names the first.
    """
    for name in names:
        cast = table[name].cast(dtype, strict=False)
        if dtype.is_float():
            # NaN says nothing, and would count as the largest number.
            cast = cast.fill_nan(None)
        said = table[name].is_not_null()
        if table[name].dtype.is_float():
            said &= ~table[name].is_nan()
        bad = table.with_row_index("_row").filter(cast.is_null() & said)
        if bad.height:
            row, value = bad.select("_row", name).row(0)
            raise InputError(
                f"{path}, row {row + 1}: {name} is {value!r}, and so in {bad.height} rows; "
                "expected a number"
            )
        table = table.with_columns(cast.alias(name))
    return table
