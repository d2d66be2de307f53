"""LABELS -> Parquet with counts of what was written, what was not and why; for all of labels."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import polars as pl

from ntvep.errors import ConfigError, InputError
from ntvep.evaluate.joining import trimmed_keys
from ntvep.io import foreign_tables
from ntvep.io.staging import refuse_overwriting, staged
from ntvep.io.tables import table_writer
from ntvep.io.vcf_info import alleles_with_info
from ntvep.schema import LABELS, Column, check_labels

_log = logging.getLogger("ntvep")

VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")


@dataclass
class LabelCounts:
    """What became of the alleles of a source; the file's metadata has these keys.

    Attributes:
        read: alleles (of a VCF), pairs (of GTEx) or rows that were read.
        written: rows of LABELS; ``positive``, ``negative`` and ``unlabelled`` make them up.
        said: what ClinVar calls those written, and how many of them.
        left_out: how many were not written, and why; with ``written`` they make up ``read``.
    """

    read: int = 0
    written: int = 0
    positive: int = 0
    negative: int = 0
    unlabelled: int = 0
    said: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> str:
        """For the file's metadata."""
        return json.dumps(vars(self))


# Alleles that are left out -----------------------------------------------------------------------


def excluded_alleles(files: Sequence[Path]) -> pl.DataFrame:
    """Keys of alleles that ``--exclude`` names: of VCFs, LABELS, or tables of alleles.

    Returns:
        ``key``, each once; see :func:`~ntvep.evaluate.joining.trimmed_keys`.

    Raises:
        InputError: a file cannot be read, or holds no allele.
    """
    keys = [pl.Series("key", [], pl.String())]
    for path in files:
        if path.name.endswith(VCF_SUFFIXES):
            with alleles_with_info(path, ()) as (_, tables):
                found = [trimmed_keys(table) for table in tables]
        else:
            found = [trimmed_keys(foreign_tables.read_alleles(path))]
        some = pl.concat([pl.Series("key", [], pl.String()), *(k.alias("key") for k in found)])
        if not some.drop_nulls().len():
            raise InputError(
                f"{path}: holds no allele of A, C, G, T; expected a VCF, or a table "
                "with chrom, pos, ref, alt"
            )
        keys.append(some)
    return pl.concat(keys).drop_nulls().unique().to_frame()


def without(table: pl.DataFrame, excluded: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Rows of other alleles than those, and how many rows were of those."""
    if excluded.is_empty() or table.is_empty():
        return table, 0
    keyed = table.with_columns(trimmed_keys(table).alias("_key"))
    kept = keyed.join(
        excluded, left_on="_key", right_on="key", how="anti", maintain_order="left"
    ).drop("_key")
    return kept, table.height - kept.height


# Writing ------------------------------------------------------------------------------------------


@contextmanager
def labels_file(files: Sequence[Path], output: Path, force: bool) -> Iterator[Path]:
    """Where to write LABELS meanwhile; they get their name when they are whole."""
    if output.suffix != ".parquet":
        raise ConfigError(f"--output {output.name}: expected a name that ends in .parquet")
    refuse_overwriting(output, files)
    with staged([output], force=force) as staging:
        yield staging.path(output)


@contextmanager
def writer(
    path: Path, features: Sequence[str], name: str, command: str
) -> Iterator[tuple[Callable[[pl.DataFrame], None], LabelCounts]]:
    """Yields the function that takes LABELS, and what it and the caller count."""
    extra = [
        Column(feature, pl.Float64(), "of the source", "a feature of the source", nullable=True)
        for feature in features
    ]
    provenance = {"version": version("ntvep"), "command": command, "source": name}
    counts = LabelCounts()

    def add(table: pl.DataFrame) -> None:
        positive, unlabelled = int(table["label"].sum()), table["label"].null_count()
        counts.written += table.height
        counts.positive += positive
        counts.unlabelled += unlabelled
        counts.negative += table.height - positive - unlabelled
        write(check_labels(table))

    with table_writer(path, (*LABELS, *extra), json.dumps(provenance), counts.to_json) as write:
        yield add, counts


def write_whole(
    path: Path,
    table: pl.DataFrame,
    name: str,
    command: str,
    left_out: Mapping[str, int],
    excluded: pl.DataFrame | None = None,
) -> LabelCounts:
    """Write a table of LABELS and say what is in it; ``excluded`` has the keys to leave out."""
    kept, others = (table, 0) if excluded is None else without(table, excluded)
    with writer(path, table.columns[len(LABELS) :], name, command) as (write, counts):
        # Without those that are none.
        counts.left_out = +Counter({**left_out, "excluded": others})
        counts.read = kept.height + counts.left_out.total()
        write(kept)
    report(name, counts)
    return counts


def report(name: str, counts: LabelCounts) -> None:
    """Log what was read, written and left out."""
    _log.info(
        "%s: %d read, %d written: %d positive, %d negative, %d without a label",
        name, counts.read, counts.written, counts.positive, counts.negative, counts.unlabelled,
    )  # fmt: skip
    for what in (counts.said, counts.left_out):
        for reason, count in what.most_common():
            _log.info("  %d %s%s", count, "" if what is counts.said else "left out: ", reason)
    if (counts.positive == 0) != (counts.negative == 0):
        only = "positive" if counts.positive else "negative"
        _log.warning(
            "%s: labels are %s only: with one class there is nothing to evaluate", name, only
        )
