"""LABELS -> LABELS in which each positive has negatives like it: ``ntvep labels match``."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ntvep.commands.label_files import LabelCounts, labels_file, write_whole
from ntvep.errors import ConfigError, InputError, some
from ntvep.evaluate.matching import (
    DISTANCE_EDGES,
    FREQUENCY_EDGES,
    MATCH_GROUP,
    distances,
    edges_of,
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
    near: Sequence[str] = (),
    within: float = 0.05,
    force: bool = False,
) -> LabelCounts:
    """Write those labels in which each positive has negatives like it.

    Args:
        source: LABELS.
        output: Parquet; it gains ``match_group``, and with an annotation ``tss_distance`` and the
            like, as features.
        command: what was typed.
        negatives: for each positive, from its chromosome and consequence.
        seed: of the draw.
        annotation: GTF or BED; negatives then come from the positive's bin of distance, too.
        distance: ``tss``, ``exon`` or ``interval`` (of a BED); what there is first if None.
        frequency: feature that is matched in bins of allele frequency, or of allele count.
        near: features of which each positive gets the nearest negatives.
        within: how far these may be in rank, as a share of all; see
            :func:`~ntvep.evaluate.matching.match_negatives`.
        force: replace an output that exists.
    """
    if negatives < 1:
        raise ConfigError(f"--negatives is {negatives}; expected 1 or more")
    if not 0 < within <= 1:
        raise ConfigError(f"--within is {within}; expected a share of ranks, up to 1")
    table = read_labels(source)
    bins: dict[str, Sequence[float]] = {}
    if annotation is not None:
        intervals = read_intervals(annotation)
        measured = distance or next(iter(intervals))
        if measured not in intervals:
            raise ConfigError(
                f"--distance {measured}: {annotation} has {', '.join(intervals)}; choose one of "
                "these"
            )
        table = table.with_columns(
            distances(table, some).alias(f"{kind}_distance") for kind, some in intervals.items()
        )
        bins[f"{measured}_distance"] = DISTANCE_EDGES
    elif distance is not None:
        raise ConfigError(f"--distance {distance}: requires --annotation GTF or BED")
    features = table.columns[len(LABELS) :]
    for name in (*near, *([frequency] if frequency else [])):
        if name not in features:
            raise InputError(f"{source}: has no feature {name}; found {some(features) or 'none'}")
    if frequency is not None:
        bins[frequency] = _frequency_edges(frequency, table[frequency])
    matched = match_negatives(table, negatives, seed=seed, bins=bins, near=near, within=within)
    if not matched.positives:
        raise InputError(
            f"{source}: no positive has {negatives} negatives of its chromosome, consequence"
            f"{''.join(f', {name}' for name in (*bins, *near))}; match on less, or give more "
            "negatives"
        )
    left_out = {
        "positive_without_match": matched.unmatched,
        "negative_not_drawn": matched.unused,
        "without_label": table["label"].null_count(),
    }
    with labels_file([source], output, force) as path:
        name = ", ".join(table["source"].unique().sort())
        kept = matched.table.drop(MATCH_GROUP, strict=False).with_columns(matched.groups)
        return write_whole(path, kept, name, command, left_out)


def _frequency_edges(name: str, values: pl.Series) -> Sequence[float]:
    edges = edges_of(name, values)
    if edges is not None:
        return edges
    if not values.drop_nulls().is_between(0, 1).all():
        raise ConfigError(
            f"--frequency {name}: has values outside 0 to 1, so it is not a frequency; match any "
            f"numeric feature with --near {name}"
        )
    return FREQUENCY_EDGES
