"""LABELS and annotations -> LABELS that all have a consequence: ``ntvep labels consequences``."""

import logging
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ntvep.commands.label_files import LabelCounts, labels_file, write_whole
from ntvep.errors import ConfigError
from ntvep.evaluate.gene_consequences import REGION_CLASSES, consequences
from ntvep.io.fasta import open_reference
from ntvep.io.intervals import read_regions, read_transcripts
from ntvep.io.tables import read_labels

_log = logging.getLogger("ntvep")


def add_consequences(
    source: Path,
    output: Path,
    *,
    command: str,
    annotation: Sequence[Path],
    reference: Path | None = None,
    force: bool = False,
) -> LabelCounts:
    """Give a consequence to those labels that have none; the others keep theirs.

    Args:
        source: LABELS.
        output: Parquet.
        command: what was typed.
        annotation: a GTF of genes, a BED of regulatory elements, or one of each; see
            :func:`ntvep.evaluate.gene_consequences.consequences`.
        reference: FASTA: needed to tell missense from synonymous.
        force: replace an output that exists.
    """
    beds = [path for path in annotation if ".bed" in path.suffixes]
    gtfs = [path for path in annotation if path not in beds]
    if not annotation or len(beds) > 1 or len(gtfs) > 1:
        raise ConfigError(
            f"--annotation was given {len(gtfs)} GTFs and {len(beds)} BEDs; expected one of either "
            "or one of each"
        )
    if reference is not None and not gtfs:
        raise ConfigError("--reference: only works with a GTF; give --annotation genes.gtf.gz")
    table = read_labels(source)
    lacking = table.filter(pl.col("consequence").is_null())
    found = consequences(
        lacking,
        read_transcripts(gtfs[0]) if gtfs else None,
        read_regions(beds[0], REGION_CLASSES) if beds else None,
        None if reference is None else open_reference(reference),
    )
    given = table["consequence"].to_list()
    answers = iter(found.to_list())
    terms = [next(answers) if term is None else term for term in given]
    filled = table.with_columns(pl.Series("consequence", terms, pl.String()))
    with labels_file([source, *annotation], output, force) as path:
        name = ", ".join(table["source"].unique().sort())
        counts = write_whole(path, filled, name, command, {})
    _log.info("%d labels had no consequence; %d of them now have one", found.len(), found.count())
    for term, number in found.drop_nulls().value_counts(sort=True).iter_rows():
        _log.info("  %d %s", number, term)
    return counts
