"""scored VCF, Parquet -> rows with everything that a table of variants shows of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from ntvep.commands.inputs import all_chunks, provenance_of
from ntvep.commands.score_files import VCF_SUFFIXES
from ntvep.errors import InputError
from ntvep.evaluate.analysis import model_column
from ntvep.evaluate.variant_table import worst_entries
from ntvep.io import vcf
from ntvep.io.tables import has_provenance, read_row_groups
from ntvep.io.vcf_annotations import annotation_in, entries_in
from ntvep.io.vcf_header import declared
from ntvep.io.vcf_info import values_in
from ntvep.io.vcf_samples import GENOTYPES, genotypes_in, samples_in
from ntvep.io.vcf_scores import more_columns, provenance_in, runs_of, scores_in
from ntvep.provenance import Provenance
from ntvep.schema import (
    ALLELES,
    COMPARED,
    FRAMESHIFTED,
    KEY,
    STATUS_DTYPE,
    Column,
)

_KEY = [column.name for column in KEY]
_SAID = ("consequence", "gene", "transcript", "change")
_CLINVAR = ("CLNSIG", "CLNREVSTAT")
BESIDE = ("id", "filter", *_SAID, *_CLINVAR)
"""Columns of text beside an allele; null where the file does not have them."""


@dataclass(frozen=True, eq=False)
class Run:
    """Scores of one run.

    Attributes:
        made: what made them.
        columns: of scores.
        table: status and scores, in the order of the rows.
    """

    made: Provenance
    columns: Sequence[Column]
    table: pl.DataFrame


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """What one file has.

    Attributes:
        path: of it.
        rows: KEY and :data:`BESIDE`.
        runs: those whose scores it holds.
        samples: names of those that are listed; empty for a file without genotypes.
        genotypes: of them; see :mod:`ntvep.io.vcf_samples`.
    """

    path: Path
    rows: pl.DataFrame
    runs: Sequence[Run]
    samples: Sequence[str]
    genotypes: pl.DataFrame


def read_rows(path: Path, samples: Sequence[str] = ()) -> ScoredRows:
    """Read a file of scores.

    Args:
        path: a VCF that ntvep annotated, with any number of tags; or Parquet of SCORES.
        samples: that are wanted; all of them if there are none.

    Raises:
        InputError: the file cannot be used, or has none of the samples.
    """
    if path.name.endswith(VCF_SUFFIXES):
        return _of_vcf(path, samples)
    if path.suffix == ".parquet" and has_provenance(path):
        return _of_parquet(path)
    raise InputError(
        f"{path}: does not say which model scored it; expected a VCF (.vcf, .vcf.gz, .bcf) or a "
        "Parquet table that ntvep score wrote"
    )


def _of_vcf(path: Path, samples: Sequence[str]) -> ScoredRows:
    with vcf.opened(path) as inspection:
        header = inspection.header
        made = {tag: provenance_in(inspection, tag) for tag in runs_of(inspection) or [""]}
        columns: Mapping[str, Sequence[Column]] = {
            tag: (*_scores_of(one), *more_columns(inspection, one, tag))
            for tag, one in made.items()
        }
        there = samples_in(header)
        wanted = [name for name in there if name in samples] if samples else there
        if samples and not wanted:
            raise InputError(
                f"{path}: none of its {len(there)} samples was asked for; to list them, type: "
                f"bcftools query -l {path}"
            )
        rows, genotypes = [_no_rows()], [pl.DataFrame(schema=GENOTYPES)]
        tables: Mapping[str, list[pl.DataFrame]] = {tag: [] for tag in made}
        for chunk in all_chunks(inspection):
            rows.append(_beside(chunk, header))
            genotypes.append(genotypes_in(chunk.alleles, chunk.lines, there, wanted))
            for tag, some in columns.items():
                found = scores_in(chunk.alleles, chunk.lines, some, inspection.name, tag)
                tables[tag].append(_typed(found, some))
    runs = [
        Run(one, columns[tag], pl.concat([_no_scores(columns[tag]), *tables[tag]]))
        for tag, one in made.items()
    ]
    return ScoredRows(path, pl.concat(rows), runs, wanted, pl.concat(genotypes))


def _scores_of(made: Provenance) -> list[Column]:
    """Columns of numbers; in a VCF, whether an indel shifts k-mers is a flag, if given at all."""
    return [column for column in made.columns[len(ALLELES) :] if column.name != FRAMESHIFTED.name]


def _typed(table: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    """Status and scores; counts as whole numbers."""
    return table.select("status", *(pl.col(c.name).cast(c.dtype) for c in columns))


def _no_rows() -> pl.DataFrame:
    schema = {column.name: column.dtype for column in KEY}
    return pl.DataFrame(schema=schema | dict.fromkeys(BESIDE, pl.String()))


def _no_scores(columns: Sequence[Column]) -> pl.DataFrame:
    schema = pl.Schema((column.name, column.dtype) for column in columns)
    return pl.DataFrame(schema=pl.Schema({"status": STATUS_DTYPE}) | schema)


def _beside(chunk: vcf.Chunk, header: Sequence[bytes]) -> pl.DataFrame:
    """What the other columns of some records say."""
    first = chunk.alleles["record"][0]
    fields = [line.split(b"\t", 7) for line in chunk.lines]
    of_records = pl.DataFrame(
        {
            name: [one[place].decode("utf-8", "replace") for one in fields]
            for name, place in (("id", 2), ("filter", 6))
        }
    )
    rows = chunk.alleles.select(_KEY).hstack(of_records[(chunk.alleles["record"] - first)])
    rows = rows.with_columns(pl.col("id", "filter").replace(".", None))
    said = annotation_in(header)
    if said is None:
        rows = rows.with_columns(pl.lit(None, pl.String()).alias(name) for name in _SAID)
    else:
        worst = worst_entries(entries_in(chunk.alleles, chunk.lines, said))
        rows = rows.join(worst, ["record", "allele"], how="left", maintain_order="left")
    has_clinvar = b"CLNSIG" in declared(header)[b"INFO"]
    clinvar = (
        values_in(chunk, header, _CLINVAR)
        if has_clinvar
        else pl.DataFrame(schema=dict.fromkeys(_CLINVAR, pl.String())).clear(rows.height)
    )
    return rows.hstack(clinvar).select(*_KEY, *BESIDE)


def _of_parquet(path: Path) -> ScoredRows:
    made = provenance_of(path)
    parts = [*read_row_groups(path)]
    if not parts:
        raise InputError(f"{path}: has no rows; there is nothing to list")
    table = pl.concat(parts)
    known = {column.name: column for column in (*made.columns, *COMPARED)}
    columns = [
        known.get(name, Column(name, dtype, "", f"{name} of {path.name}", nullable=True))
        for name, dtype in table.schema.items()
        if dtype.is_numeric() and name not in _KEY
    ]
    rows = table.select(_KEY).with_columns(pl.lit(None, pl.String()).alias(name) for name in BESIDE)
    scores = _typed(table, columns)
    return ScoredRows(path, rows, [Run(made, columns, scores)], [], pl.DataFrame(schema=GENOTYPES))


# Several files ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Together:
    """Rows of several files, with the scores of all models side by side.

    Attributes:
        rows: ``sample`` (empty where files have no genotypes), KEY without ``record``, ``genotype``
            BESIDE, ``status`` and the scores.
        columns: of scores, by name in the rows; those of a second model have its name.
        models: what made the scores, by the model's name.
    """

    rows: pl.DataFrame
    columns: Mapping[str, Column]
    models: Mapping[str, Provenance]


def together(files: Sequence[ScoredRows]) -> Together:
    """Put files side by side: of one sample and one allele there is one row.

    Several files of one model are parts of a genome, or samples; of several models they are the
    same variants scored twice.
    """
    made = {run.made.fingerprint: run.made for file in files for run in file.runs}
    names = model_names([*made.values()])
    models = {names[fingerprint]: one for fingerprint, one in made.items()}
    columns: dict[str, Column] = {}
    parts = []
    for file in files:
        scores = [pl.DataFrame()]
        for run in file.runs:
            name = names[run.made.fingerprint]
            renamed = {c.name: model_column(c.name, name, [*models]) for c in run.columns}
            columns |= {renamed[c.name]: replace(c, name=renamed[c.name]) for c in run.columns}
            is_first = name == next(iter(models))
            status = "status" if is_first else model_column("status", name, [*models])
            scores.append(run.table.rename({"status": status, **renamed}))
        rows = file.rows.hstack([column for table in scores for column in table.get_columns()])
        parts.append(_of_samples(rows, file))
    rows = pl.concat(parts, how="diagonal")
    if len(files) > 1:
        key = ["sample", *_KEY[2:]]
        others = [name for name in rows.columns if name not in key]
        rows = rows.group_by(key, maintain_order=True).agg(pl.col(others).drop_nulls().first())
    order = [name for name in columns if name in rows.columns]
    # An allele that only one model has takes its status from that model.
    statuses = [name for name in rows.columns if name.startswith("status · ")]
    every = [name for name in ("status", *statuses) if name in rows.columns]
    rows = rows.with_columns(pl.coalesce(every).cast(STATUS_DTYPE).alias("status"))
    return Together(
        rows.select("sample", *_KEY[1:], "genotype", *BESIDE, "status", *statuses, *order),
        columns,
        models,
    )


def model_names(made: Sequence[Provenance]) -> dict[str, str]:
    """Fingerprints -> names of models that tell them apart."""
    names = [Path(one.model.model_id).name for one in made]
    return {
        one.fingerprint: name if names.count(name) == 1 else f"{name} {one.fingerprint[:6]}"
        for name, one in zip(names, made, strict=True)
    }


def _of_samples(rows: pl.DataFrame, file: ScoredRows) -> pl.DataFrame:
    """A row for each sample and allele."""
    if not file.samples:
        return rows.select(
            pl.lit("").alias("sample"), pl.lit(None, pl.String()).alias("genotype"), pl.all()
        )
    return rows.join(file.genotypes, "record", how="left", maintain_order="left").sort(
        pl.col("sample").replace_strict(
            file.samples, range(len(file.samples)), return_dtype=pl.Int64
        ),
        maintain_order=True,
    )
