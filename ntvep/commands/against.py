"""alleles and files of others' scores -> these scores, one for each allele: ``--against``."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from ntvep import windows
from ntvep.errors import ConfigError, InputError
from ntvep.evaluate.directions import SIGNS, direction, known_direction
from ntvep.evaluate.joining import canonical_contigs, trimmed_keys
from ntvep.io.against import BIGWIG_SUFFIXES, rows_at
from ntvep.io.bigwig import values_at

_log = logging.getLogger("ntvep")

# Scores of several transcripts in one field (dbNSFP), and VEP's "deleterious(0.02)".
_PARTS, _IN_BRACKETS = "[;,|&]", r"\(([^()]+)\)$"
_BASES = "^[ACGTacgt]+$"


@dataclass(frozen=True)
class Against:
    """A score to compare ours with.

    Attributes:
        path: of the file.
        column: of it, or the key of INFO; empty for a BigWig.
        name: in reports.
        sign: +1 if higher counts as more deleterious, -1 if lower does.
    """

    path: Path
    column: str
    name: str
    sign: int


@dataclass(frozen=True, eq=False)
class OtherScore:
    """A score of others for alleles of ours.

    Attributes:
        name: in reports.
        sign: +1 if higher counts as more deleterious, -1 if lower does.
        values: Float64, one for each allele in order; null where the file has none.
    """

    name: str
    sign: int
    values: pl.Series


def parse(texts: Sequence[str]) -> list[Against]:
    """What was typed after ``--against``: ``FILE[:COLUMN][:higher|lower]``.

    Raises:
        ConfigError: no such file, no column, or a direction that is needed and not given.
    """
    parsed = [_parse(text) for text in texts]
    names = [one.name for one in parsed]
    told_apart = [
        one if names.count(one.name) == 1 else replace(one, name=f"{one.name} of {one.path.name}")
        for one in parsed
    ]
    names = [one.name for one in told_apart]
    if len({*names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"--against: {twice} was given twice; give each score once")
    return told_apart


def _parse(text: str) -> Against:
    words = text.split(":")
    said = SIGNS.get(words[-1]) if len(words) > 1 else None
    if said is not None:
        words.pop()
    # A path may hold colons itself.
    lengths = (n for n in range(len(words), 0, -1) if Path(":".join(words[:n])).is_file())
    length = next(lengths, None)
    if length is None:
        raise ConfigError(
            f"--against {text}: no such file; expected FILE:COLUMN, FILE:COLUMN:lower or a BigWig"
        )
    path, column = Path(":".join(words[:length])), ":".join(words[length:])
    is_bigwig = path.suffix.lower() in BIGWIG_SUFFIXES
    if is_bigwig == bool(column):
        expected = "a BigWig has no columns" if column else "name the score's column: FILE:COLUMN"
        raise ConfigError(f"--against {text}: {expected}")
    name = column or path.stem
    # A file's name tells where a column's does not: cadd.tsv.gz:score.
    of_file = known_direction(path.name.split(".")[0])
    sign = said or known_direction(name) or of_file or direction(name, {}, f"--against {text}")
    return Against(path, column, name, sign)


def other_scores(alleles: pl.DataFrame, against: Sequence[Against]) -> list[OtherScore]:
    """The scores of others for alleles; how many have none is said.

    By allele, trimmed and on canonical contig names; from a BigWig by place: the mean over the
    bases that change, or over the two that an insertion parts. Of several scores of one allele
    (one a transcript) the most deleterious counts.

    Args:
        alleles: ``chrom``, ``pos``, ``ref``, ``alt``.
        against: files.

    Raises:
        InputError: a file cannot be read, or has a score that is not a finite number.
    """
    found = []
    for one in against:
        is_bigwig = one.path.suffix.lower() in BIGWIG_SUFFIXES
        values = (_by_place if is_bigwig else _by_allele)(alleles, one)
        _log.info("%s: %d of %d alleles have none", one.name, values.null_count(), alleles.height)
        if alleles.height and values.null_count() == alleles.height:
            _log.warning(
                "%s: has no score of any allele; is it for another assembly, or for other kinds "
                "of variants?",
                one.path,
            )
        found.append(OtherScore(one.name, one.sign, values))
    return found


def _by_allele(alleles: pl.DataFrame, one: Against) -> pl.Series:
    keys = trimmed_keys(alleles).alias("key")
    wanted = keys.drop_nulls().unique().to_frame()
    best = pl.DataFrame(schema={"key": pl.String(), "value": pl.Float64()})
    worst = pl.col("value").max() if one.sign > 0 else pl.col("value").min()
    for rows in rows_at(one.path, one.column, _places(alleles, keys)):
        keyed = rows.with_columns(key=trimmed_keys(rows)).join(wanted, "key", how="semi")
        new = _numbers(keyed, one).select("key", "value")
        best = pl.concat([best, new]).drop_nulls().group_by("key").agg(worst)
    joined = keys.to_frame().join(best, "key", how="left", maintain_order="left")
    return joined["value"].alias(one.name)


def _places(alleles: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    """POS under which a file may have an allele: as here, trimmed, or with the base before it."""
    start = keys.str.extract(r":(\d+):[ACGT]*>").cast(pl.Int64)
    named = alleles.select(chrom=canonical_contigs(alleles["chrom"]), pos=pl.col("pos"))
    trimmed = windows.pos_of(start)
    spelled = [named["pos"], trimmed - 1, trimmed]
    return (
        pl.concat([named.with_columns(pos=pos.cast(pl.Int64)) for pos in spelled])
        .drop_nulls()
        .filter(pl.col("pos") > 0)
        .unique()
    )


def _numbers(rows: pl.DataFrame, one: Against) -> pl.DataFrame:
    """Scores as numbers: of several in one field the most deleterious."""
    part = pl.element()
    number = pl.coalesce(
        part.cast(pl.Float64, strict=False),
        part.str.extract(_IN_BRACKETS).cast(pl.Float64, strict=False),
    ).fill_nan(None)
    parts = pl.col("value").str.replace_all(_PARTS, ";").str.split(";").list.eval(number)
    worst = parts.list.max() if one.sign > 0 else parts.list.min()
    numbers = rows.with_columns(number=worst)
    is_empty = pl.col("value").str.contains(r"^(?:[.;,|&\-]*|(?i)nan)$")
    is_bad = pl.col("number").is_infinite() | (pl.col("number").is_null() & ~is_empty)
    bad = numbers.filter(is_bad)
    if bad.height:
        chrom, pos, value = bad.select("chrom", "pos", "value").row(0)
        raise InputError(
            f"{one.path}: {one.column} is {value!r} at {chrom}:{pos}, and {bad.height} scores are "
            "not finite numbers; expected another column"
        )
    return numbers.select("key", value="number")


def _by_place(alleles: pl.DataFrame, one: Against) -> pl.Series:
    known = alleles.with_row_index("row").filter(
        pl.all_horizontal(pl.col("ref", "alt").str.contains(_BASES))
    )
    rows: list[int] = []
    places: list[int] = []
    for row, pos, ref, alt in known.select("row", "pos", "ref", "alt").iter_rows():
        edit = windows.trim(pos, ref, alt)
        inserted = edit.stop == edit.start
        first, stop = (edit.start - 1, edit.start + 1) if inserted else (edit.start, edit.stop)
        rows += [row] * (stop - first)
        places += range(first, stop)
    names = alleles["chrom"].unique(maintain_order=True).to_list()
    number = {name: index for index, name in enumerate(names)}
    contig = alleles["chrom"].replace_strict(number, return_dtype=pl.Int64).to_numpy()
    at = np.array(rows, np.int64)
    values = values_at(one.path, contig[at], names, np.array(places, np.int64))
    means = (
        pl.DataFrame({"row": at, "value": values})
        .fill_nan(None)
        .group_by("row")
        .agg(pl.col("value").mean())
    )
    order = pl.DataFrame({"row": np.arange(alleles.height)})
    return order.join(means, "row", how="left", maintain_order="left")["value"].alias(one.name)
