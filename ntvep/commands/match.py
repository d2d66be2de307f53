"""LABELS -> LABELS in which each positive has negatives like it: ``ntvep labels match``."""

from collections.abc import Sequence
from pathlib import Path

from ntvep.commands.label_files import LabelCounts, labels_file, write_whole
from ntvep.errors import ConfigError, InputError, some
from ntvep.evaluate.matching import (
    DISTANCE_EDGES,
    FREQUENCY_EDGES,
    distances,
    match_negatives,
)
from ntvep.io.intervals import read_intervals
from ntvep.io.tables import read_labels
from ntvep.schema import LABELS


def match(
    source: Path,
    output: Path,
    *,
    command: str,
    negatives: int = 1,
    seed: int = 0,
    annotation: Path | None = None,
    distance: str | None = None,
    frequency: str | None = None,
    force: bool = False,
) -> LabelCounts:
    """Write those labels in which each positive has negatives like it.

    Args:
        source: LABELS.
        output: Parquet; with an annotation it gains ``tss_distance`` and the like as features.
        command: what was typed.
        negatives: for each positive, from its chromosome and consequence.
        seed: of the draw.
        annotation: GTF or BED; negatives then come from the positive's bin of distance, too.
        distance: ``tss``, ``exon`` or ``interval`` (of a BED); what there is first if None.
        frequency: feature that is matched in bins of allele frequency.
        force: replace an output that exists.
    """
    if negatives < 1:
        raise ConfigError(f"--negatives is {negatives}; expected 1 or more")
    table = read_labels(source)
    bins: dict[str, Sequence[float]] = {}
    if annotation is not None:
        intervals = read_intervals(annotation)
        measured = distance or next(iter(intervals))
        if measured not in intervals:
            raise ConfigError(
                f"--distance {measured}: {annotation} has {', '.join(intervals)}; choose of these"
            )
        table = table.with_columns(
            distances(table, some).alias(f"{kind}_distance") for kind, some in intervals.items()
        )
        bins[f"{measured}_distance"] = DISTANCE_EDGES
    elif distance is not None:
        raise ConfigError(f"--distance {distance}: needs --annotation GTF or BED")
    if frequency is not None:
        if frequency not in table.columns[len(LABELS) :]:
            found = some(table.columns[len(LABELS) :]) or "none"
            raise InputError(f"{source}: has no feature {frequency}; found {found}")
        bins[frequency] = FREQUENCY_EDGES
    matched = match_negatives(table, negatives, seed=seed, bins=bins)
    if not matched.positives:
        raise InputError(
            f"{source}: no positive has {negatives} negatives of its chromosome, consequence"
            f"{''.join(f', {name}' for name in bins)}; match on less, or give more negatives"
        )
    left_out = {
        "positive_without_match": matched.unmatched,
        "negative_not_drawn": matched.unused,
        "without_label": table["label"].null_count(),
    }
    with labels_file([source], output, force) as path:
        name = ", ".join(table["source"].unique().sort())
        return write_whole(path, matched.table, name, command, left_out)
