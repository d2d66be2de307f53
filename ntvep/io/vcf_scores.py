"""annotated VCF -> SCORES, and what made them: what vcf_write wrote is read again."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import polars as pl

from ntvep.errors import InputError
from ntvep.io.vcf import Inspection, place_and_info
from ntvep.io.vcf_header import ours, tags_in
from ntvep.provenance import Provenance
from ntvep.schema import (
    COMPARED,
    FRAMESHIFTED,
    LENGTH_CHANGE,
    SOURCE,
    STATUS_DTYPE,
    STATUS_VCF,
    TOKENS,
    Column,
    Status,
    tagged_key,
)

_NUMBER_OF_ALT = re.compile(
    rb'##INFO=<ID=(NTVEP_\w+),Number=A,Type=(?:Float|Integer),Description="([^"]*)"'
)


def provenance_in(inspection: Inspection, tag: str = "") -> Provenance:
    """What the header says of how the scores were made.

    Raises:
        InputError: it is not a VCF that ntvep annotated.
    """
    refuse_other_tags(inspection, tag)
    header = [line.decode("utf-8", "replace") for line in inspection.header]
    return Provenance.from_vcf_header(header, inspection.name, tag)


def runs_of(inspection: Inspection) -> list[str]:
    """Tags of the runs that annotated a VCF; empty text means the run without one."""
    untagged = any(line.startswith(b"##ntvep_scores=") for line in inspection.header)
    return [""] * untagged + tags_in(inspection.header)


def refuse_other_tags(inspection: Inspection, tag: str) -> None:
    """Raise InputError if a VCF has scores of other tags than this, and not of this."""
    runs = runs_of(inspection)
    tags = [run for run in runs if run]
    if tag not in ("", *tags) or (tags and not tag and "" not in runs):
        known = f"the tags {', '.join(tags)}: give one of them" if tags else "none: leave it out"
        raise InputError(f"{inspection.name}: --tag is {tag!r}; expected {known}")


def more_columns(inspection: Inspection, made: Provenance, tag: str = "") -> tuple[Column, ...]:
    """Numbers of ours, one for each ALT, that a later step added: percentiles for instance."""
    own = {column.vcf for column in (*made.columns, FRAMESHIFTED, LENGTH_CHANGE, *TOKENS)}
    known = {column.vcf: column for column in COMPARED}
    keys, found = ours(inspection.header, tag).keys, []
    for line in inspection.header:
        match = _NUMBER_OF_ALT.match(line)
        if match and keys.match(match[1]):
            key = "NTVEP_" + match[1].decode().removeprefix(tagged_key("NTVEP_", tag))
            name = key.removeprefix("NTVEP_").lower()
            said = match[2].decode("utf-8", "replace")
            column = known.get(key) or Column(name, pl.Float64(), "", said, nullable=True)
            found += [replace(column, vcf=key)] if key not in own else []
    return tuple(found)


def scores_in(
    alleles: pl.DataFrame,
    lines: Sequence[bytes],
    columns: Sequence[Column],
    name: str,
    tag: str = "",
) -> pl.DataFrame:
    """Alleles with the status and the scores that INFO of their records has.

    Args:
        alleles: ALLELES of these records, in order.
        lines: the records.
        columns: of SCORES; those that VCF has are read.
        name: of the file, for errors.
        tag: of the run whose scores are read.

    Returns:
        ALLELES and the columns of scores, without ``frameshifted``.

    Raises:
        InputError: a record does not have one status for each ALT.
    """
    counts = alleles.group_by("record", maintain_order=True).len()["len"].to_list()
    values: dict[str, list[str | None]] = {c.name: [] for c in columns if c.vcf}
    status_key, statuses = tagged_key(STATUS_VCF, tag), list[str]()
    for line, count in zip(lines, counts, strict=True):
        chrom, pos, entries = place_and_info(line)
        info = dict(entry.partition("=")[::2] for entry in entries)
        given = info.get(status_key, "").split(",")
        if len(given) != count or not {*given} <= {*Status}:
            raise InputError(
                f"{name}: a sampled record at {chrom}:{pos} has no {status_key} for each ALT; it "
                "was added, or changed, after scoring. Score the file again"
            )
        statuses += given
        for column in columns:
            if column.vcf:
                given = info.get(tagged_key(column.vcf, tag), ",".join("." * count)).split(",")
                values[column.name] += [None if value == "." else value for value in given]
    read = pl.DataFrame(values, schema=dict.fromkeys(values, pl.String()))
    kinds = {SOURCE.name: SOURCE.dtype}
    scores = read.select(
        pl.col(name).cast(kinds.get(name, pl.Float64()))
        for name in values
        if name != FRAMESHIFTED.name
    )
    status = pl.Series("status", statuses, STATUS_DTYPE)
    return pl.concat((alleles.with_columns(status), scores), how="horizontal")


def values_of_groups(
    lines: Iterable[bytes], column: Column, first: str, second: str, keys: Sequence[str] = ()
) -> pl.DataFrame:
    """Scores of the alleles of two groups of records.

    Args:
        lines: records.
        column: which score.
        first: the entry of INFO, ``KEY=value``, that a record of the first group has.
        second: likewise; a record that has both is of the first.
        keys: of INFO, whose values are wanted, too.

    Returns:
        ``chrom``, ``pos``, ``is_first`` and ``value``, a row for each allele that has a score; and
        the keys, as text, null where a record lacks one.
    """
    rows: list[tuple[str | int | float | None, ...]] = []
    for line in lines:
        chrom, pos, entries = place_and_info(line)
        if first in entries or second in entries:
            info = dict(entry.partition("=")[::2] for entry in entries)
            record = chrom, pos, first in entries, *map(info.get, keys)
            values = info.get(column.vcf, ".").split(",")
            rows.extend((*record, float(value)) for value in values if value != ".")
    schema = {"chrom": pl.String(), "pos": pl.Int64(), "is_first": pl.Boolean()}
    schema |= dict.fromkeys(keys, pl.String()) | {"value": pl.Float64()}
    return pl.DataFrame(rows, schema=schema, orient="row")
