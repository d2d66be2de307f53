"""files of scores, of whatever form -> SCORES, and what made them if they say so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ntvep.commands.inputs import all_chunks, provenance_of
from ntvep.errors import ConfigError, InputError, some
from ntvep.io import foreign_tables, vcf
from ntvep.io.tables import has_provenance, read_scores
from ntvep.io.vcf_scores import provenance_in, runs_of, scores_in
from ntvep.provenance import Provenance
from ntvep.schema import COMPARED, SCORE_COLUMNS, STATUS_DTYPE, Status

VCF_SUFFIXES = (".vcf", ".vcf.gz", ".bcf")
_KEY = ("chrom", "pos", "ref", "alt", "status")


@dataclass(frozen=True, eq=False)
class Run:
    """Scores of one model with one set of options.

    Attributes:
        table: ``chrom``, ``pos``, ``ref``, ``alt``, ``status`` and the scores.
        made: their provenance; None for a table that ntvep did not write, or that was changed.
        tag: of ``ntvep score --tag``; empty without one.
    """

    table: pl.DataFrame
    made: Provenance | None
    tag: str = ""


def read_any(path: Path, directions: Mapping[str, int], tags: Sequence[str] = ()) -> list[Run]:
    """Scores of a Parquet table or an annotated VCF of ours, or of anybody's table.

    Args:
        path: .parquet; .vcf, .vcf.gz, .bcf; else a table of text.
        directions: score columns of a table that does not say what made it, with their signs.
        tags: of the runs to read of a VCF; empty for all that it holds.

    Returns:
        One; of a VCF that several runs annotated, one for each.

    Raises:
        InputError: the file cannot be used.
        ConfigError: a table of unknown provenance, and nothing said of its scores.
    """
    if path.name.endswith(VCF_SUFFIXES):
        return _of_vcf(path, tags)
    if path.suffix == ".parquet" and has_provenance(path):
        made = provenance_of(path)
        return [Run(read_scores(path), made)]
    return [Run(_of_table(path, directions), None)]


def _of_vcf(path: Path, tags: Sequence[str]) -> list[Run]:
    with vcf.opened(path) as inspection:
        wanted = [tag for tag in runs_of(inspection) if tag in tags or not tags]
        # Where there is none, what is asked for is refused by name.
        made = {tag: provenance_in(inspection, tag) for tag in wanted or tags or [""]}
        parts = [
            {
                tag: scores_in(chunk.alleles, chunk.lines, run.columns, inspection.name, tag)
                for tag, run in made.items()
            }
            for chunk in all_chunks(inspection)
        ]
    if not parts:
        raise InputError(f"{path}: has no record; there is nothing to evaluate")
    tables = {tag: pl.concat([part[tag] for part in parts]) for tag in made}
    names = (*SCORE_COLUMNS, *(column.name for column in COMPARED))
    ours = {tag: [n for n in names if n in tables[tag].columns] for tag in made}
    return [Run(tables[tag].select(*_KEY, *ours[tag]), run, tag) for tag, run in made.items()]


def _of_table(path: Path, directions: Mapping[str, int]) -> pl.DataFrame:
    lazy = foreign_tables.scan(path)
    names = lazy.collect_schema().names()
    spelled = foreign_tables.allele_columns(names)
    if lacking := [name for name in _KEY[:4] if name not in spelled]:
        raise InputError(
            f"{path}: has no column {', '.join(lacking)}; found {some(names)}. Expected SCORES or "
            "an annotated VCF of ntvep score, or a table with chrom, pos, ref, alt and numbers"
        )
    wanted = [name for name in directions if name in names]
    if not wanted:
        others = [name for name in names if name not in spelled.values()]
        raise ConfigError(
            f"{path}: does not say what made it. To judge a column of it add --score NAME:lower or "
            f"NAME:higher, whichever is more deleterious; its columns are {some(others)}"
        )
    columns = [pl.col(theirs).cast(pl.String).alias(ours) for ours, theirs in spelled.items()]
    status = [pl.col("status").cast(pl.String)] if "status" in names else []
    with foreign_tables.reading(path):
        table = lazy.select(*columns, *status, *(pl.col(name) for name in wanted)).collect()
    table = foreign_tables.numbers(table, ["pos"], pl.Int64(), path)
    table = foreign_tables.numbers(table, wanted, pl.Float64(), path)
    if not status:
        table = table.with_columns(status=pl.lit(Status.OK.value))
    known = pl.col("status").is_in([one.value for one in Status])
    table = table.with_columns(pl.when(known).then("status").otherwise(pl.lit(Status.OK.value)))
    return (
        table.drop_nulls(_KEY[:4])
        .select(*_KEY, *wanted)
        .with_columns(pl.col("status").cast(STATUS_DTYPE))
    )


def refuse_vcf_labels(paths: Sequence[Path]) -> None:
    """Say what to type where a VCF was given as labels.

    Raises:
        InputError: one is a VCF.
    """
    for path in paths:
        if not path.name.endswith(VCF_SUFFIXES):
            continue
        with vcf.streamed(path, 1) as (header, _):
            is_clinvar = any(line.startswith(b"##INFO=<ID=CLNSIG,") for line in header)
        then = (
            f"a VCF of ClinVar. Type: ntvep labels clinvar {path} -o labels.parquet"
            if is_clinvar
            else "a VCF. Make a table of chrom, pos, ref, alt and a label of it, then type: "
            "ntvep labels table TABLE.tsv -o labels.parquet"
        )
        raise InputError(f"{path}: labels are expected as a table, this is {then}")
