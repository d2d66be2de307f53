"""variants in memory, or typed -> ALLELES: what is not in a file."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import polars as pl

from ntvep.errors import InputError
from ntvep.io import vcf
from ntvep.schema import ALLELES

ONE_VARIANT = re.compile(r"(?P<chrom>[^\s:]+):(?P<pos>\d+):(?P<ref>[^\s:]+):(?P<alt>[^\s:]+)")
_KEY = ("chrom", "pos", "ref", "alt")


@runtime_checkable
class _Table(Protocol):
    """A data frame of polars or pandas."""

    @property
    def columns(self) -> Any:
        """Names of its columns."""
        ...

    def __getitem__(self, name: str, /) -> Any:
        """A column."""
        ...


# A path of a VCF or BCF, one variant as "chr22:20050000:A:G", a data frame of polars or pandas with
# the columns chrom, pos, ref, alt, or a list of such tuples or texts.
Variants: TypeAlias = str | Path | _Table | Sequence[tuple[str, int, str, str]] | Sequence[str]


@dataclass(frozen=True)
class Given:
    """A chunk of alleles."""

    alleles: pl.DataFrame


def by_records(alleles: pl.DataFrame, sizes: Iterable[int]) -> Iterator[Given]:
    """Alleles in chunks of these numbers of records."""
    first, last = 0, int(alleles["record"][-1]) if alleles.height else -1
    for size in sizes:
        if first > last:
            return
        yield Given(alleles.filter(pl.col("record").is_between(first, first + size - 1)))
        first += size


def as_path(variants: Variants) -> Path | None:
    """The path of a file, if that is what was given."""
    if isinstance(variants, Path):
        return variants
    if isinstance(variants, str) and not ONE_VARIANT.fullmatch(variants):
        return Path(variants)
    return None


def alleles_given(variants: Variants) -> pl.DataFrame:
    """ALLELES of a data frame, a list or one variant.

    Raises:
        InputError: a column is missing, or a row is not a variant.
    """
    if isinstance(variants, _Table):
        missing = [name for name in _KEY if name not in list(variants.columns)]
        if missing:
            raise InputError(
                f"variants: no column {', '.join(missing)}; expected chrom, pos, ref and alt, "
                f"found {', '.join(map(str, list(variants.columns)[:12]))}"
            )
        rows = list(zip(*(list(variants[name]) for name in _KEY), strict=True))
    elif isinstance(variants, str):
        rows = [_parsed(variants, 0)]
    elif isinstance(variants, Path):
        raise TypeError("a path is read as a file")
    else:
        rows = [_parsed(row, number) for number, row in enumerate(variants)]
    made = []
    for record, (chrom, pos, ref, alt) in enumerate(rows):
        place = _pos(pos, record)
        for allele, one in enumerate(str(alt).split(","), start=1):
            status = vcf.text_status(str(ref), one)
            made.append((record, allele, str(chrom), place, str(ref), one, status))
    schema = {column.name: column.dtype for column in ALLELES}
    return pl.DataFrame(made, schema=schema, orient="row")


def _parsed(row: object, number: int) -> tuple[str, int, str, str]:
    """A variant of a list."""
    if isinstance(row, str):
        match = ONE_VARIANT.fullmatch(row)
        if match is None:
            raise InputError(f"variant {number}: {row!r}; expected CHROM:POS:REF:ALT")
        return match["chrom"], int(match["pos"]), match["ref"], match["alt"]
    if not isinstance(row, Sequence) or len(row) != len(_KEY):
        raise InputError(f"variant {number}: {row!r:.80}; expected (chrom, pos, ref, alt)")
    chrom, pos, ref, alt = row
    return chrom, pos, ref, alt


def _pos(pos: object, record: int) -> int:
    try:
        place = int(pos)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        place = None
    if place is None or place != pos:
        raise InputError(f"variant {record}: pos is {pos!r}; expected a whole number, 1-based")
    return int(place)
