"""a published benchmark's file -> LABELS in Parquet: ``ntvep labels benchmark``."""

import logging
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ntvep.commands.label_files import LabelCounts, excluded_alleles, labels_file, write_whole
from ntvep.errors import ConfigError, InputError, some
from ntvep.evaluate.benchmarks import LAYOUTS, Layout, benchmark_labels, oriented
from ntvep.evaluate.joining import trimmed_keys
from ntvep.io import foreign_tables
from ntvep.io.fasta import open_reference

_log = logging.getLogger("ntvep")


def label_benchmark(
    name: str,
    source: Path,
    output: Path,
    *,
    command: str,
    reference: Path | None = None,
    subset: Sequence[Path] = (),
    force: bool = False,
) -> LabelCounts:
    """Write the labels of a benchmark as it is published.

    Args:
        name: one of :data:`~ntvep.evaluate.benchmarks.LAYOUTS`.
        source: its file.
        output: Parquet.
        command: what was typed.
        reference: FASTA of the benchmark's assembly; needed where REF and ALT are arbitrary.
        subset: tables of alleles, such as TraitGym's ``subset/NAME.parquet``: keep those in all.
        force: replace an output that exists.
    """
    if name not in LAYOUTS:
        raise ConfigError(f"{name}: unknown benchmark; expected {', '.join(LAYOUTS)}")
    layout = LAYOUTS[name]
    if layout.is_arbitrary and reference is None:
        raise ConfigError(
            f"{layout.title}: REF is arbitrary in this file; give --reference FASTA of "
            f"{layout.assembly}, which determines it"
        )
    title = f"{layout.title} {source.name.split('.')[0]}"
    with labels_file([source, *subset], output, force) as path:
        labels, left_out = benchmark_labels(_rows(source, layout), layout, title)
        labels = foreign_tables.numbers(labels, ["pos"], pl.Int64(), source)
        labels = foreign_tables.numbers(labels, ["effect"], pl.Float64(), source)
        if layout.is_arbitrary and reference is not None:
            labels, others = oriented(labels, open_reference(reference))
            left_out |= others
        for file in subset:
            wanted = excluded_alleles([file])
            keyed = labels.with_columns(trimmed_keys(labels).alias("_key"))
            kept = keyed.join(
                wanted, left_on="_key", right_on="key", how="semi", maintain_order="left"
            ).drop("_key")
            left_out[f"not_in_{file.name}"] = labels.height - kept.height
            labels = kept
        _log.info("%s: coordinates of %s", title, layout.assembly)
        return write_whole(path, labels, title, command, left_out)


def _rows(source: Path, layout: Layout) -> pl.DataFrame:
    """Rows of the benchmark's file, all columns that are read as text."""
    table = foreign_tables.scan(source, 0 if source.suffix == ".parquet" else layout.skip)
    names = table.collect_schema().names()
    lacking = [column for column in layout.columns if column not in names]
    if lacking:
        raise InputError(
            f"{source}: has no column {', '.join(lacking)}; found {some(names)}. Expected the "
            f"published file of {layout.title}, with its header in line {layout.skip + 1}"
        )
    wanted = [
        n for n in names if n in (*layout.columns, *layout.optional) or n.startswith("group: ")
    ]
    with foreign_tables.reading(source):
        return table.select(pl.col(wanted).cast(pl.String)).collect()
