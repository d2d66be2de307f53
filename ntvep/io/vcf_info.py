"""VCF -> ALLELES with values of INFO as columns of text: what a source says of each ALT."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from ntvep.io import vcf
from ntvep.io.foreign_tables import LINE

# Records in memory at once.
_CHUNK = 50_000
_FILE_DATE = re.compile(rb"##fileDate=(\S+)")
_QUOTED = re.compile(rb'"[^"]*"')
_ID, _NUMBER = re.compile(rb"[<,]ID=([^,>]+)"), re.compile(rb"[<,]Number=([^,>]+)")

STATUS = "_status"
"""Column of the status that REF and ALT decide by themselves."""


@contextmanager
def alleles_with_info(
    path: Path, keys: Sequence[str], *, whole: Sequence[str] = ()
) -> Iterator[tuple[str | None, Iterator[pl.DataFrame]]]:
    """Read a VCF or BCF once: its ``##fileDate``, and its alleles with their values of INFO.

    A value for each ALT is taken apart: where the header says ``Number=A`` or ``Number=R``, or says
    nothing (``Number=.``) and there are as many parts as ALTs. A comma before a space or underscore
    belongs to the words of one value: ``criteria_provided,_single_submitter``.

    Args:
        path: VCF, plain or packed, or BCF.
        keys: of INFO.
        whole: those of them that are lists of what holds for the whole record.

    Yields:
        The date, None where there is none; and tables of ``chrom``, ``pos``, ``ref``, ``alt``, the
        keys (text; ``1`` for a flag, null where a record has none), the line (LINE of
        ``foreign_tables``) and :data:`STATUS`.

    Raises:
        InputError: (while reading, too) damaged, cut, not a VCF, or a bad record.
    """
    with vcf.streamed(path, _CHUNK) as (header, chunks):
        dates = (match[1] for line in header if (match := _FILE_DATE.match(line)))
        date = next(dates, None)
        numbers = _numbers(header) | dict.fromkeys(whole, "1")
        yield (
            None if date is None else date.decode("utf-8", "replace"),
            (_with_info(chunk, keys, numbers, len(header) + 1) for chunk in chunks),
        )


def values_in(chunk: vcf.Chunk, header: Sequence[bytes], keys: Sequence[str]) -> pl.DataFrame:
    """The values of keys of INFO for each ALT of some records, as :func:`alleles_with_info`."""
    return _with_info(chunk, keys, _numbers(header), 0).select(keys)


def _numbers(header: Sequence[bytes]) -> dict[str, str]:
    """What the header says of how many values a key has."""
    found = {}
    for line in header:
        if line.startswith(b"##INFO="):
            bare = _QUOTED.sub(b"", line)
            name, number = _ID.search(bare), _NUMBER.search(bare)
            if name and number:
                found[name[1].decode("utf-8", "replace")] = number[1].decode("utf-8", "replace")
    return found


def _with_info(
    chunk: vcf.Chunk, keys: Sequence[str], numbers: Mapping[str, str], first_line: int
) -> pl.DataFrame:
    # Between semicolons, so that a key has one at both ends: plain text is found fastest.
    infos = pl.Series("info", [f";{vcf.info_of(line)};" for line in chunk.lines])
    alleles = chunk.alleles.with_columns(
        info=infos.gather(chunk.alleles["record"] - chunk.alleles["record"][0]),
        alts=pl.len().over("record"),
    )
    return alleles.select(
        "chrom",
        "pos",
        "ref",
        "alt",
        *(_value(key, numbers.get(key, ".")).alias(key) for key in keys),
        (pl.col("record").cast(pl.Int64) + first_line).alias(LINE),
        pl.col("status").alias(STATUS),
    )


def _value(key: str, number: str) -> pl.Expr:
    """The value of a key for each ALT; null where there is none."""
    value = pl.col("info").str.extract(rf";{re.escape(key)}=([^;]*)")
    is_flag = pl.col("info").str.contains(f";{key};", literal=True)
    if number in (".", "A", "R"):
        # \1 stands for a comma inside a value's words.
        parts = value.str.replace_all(",([ _])", "\1$1").str.split(",")
        before = 1 if number == "R" else 0
        is_of_alts = (pl.col("alts") + before > 1) & (parts.list.len() == pl.col("alts") + before)
        own = parts.list.get(pl.col("allele") - 1 + before, null_on_oob=True)
        own = own.str.replace_all("\1", ",", literal=True)
        value = pl.when(is_of_alts).then(own).otherwise(value)
    chosen = pl.when(is_flag).then(pl.lit("1")).otherwise(value)
    return pl.when(~chosen.is_in([".", ""])).then(chosen)
