"""LABELS -> k negatives for each positive, matched in all but the label.

A score that tells chromosomes, consequences or distances apart then gains nothing by it. What is
matched only in bins may still leak within a bin: the AUROC of that feature shows how much.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64
from scipy.spatial import cKDTree

from ntvep import windows
from ntvep.evaluate.joining import canonical_contigs

MATCH_GROUP = "match_group"
"""Feature of LABELS: a positive and the negatives that were drawn for it share its number."""

# Edges of bins, [a, b): of distances in bases, of allele frequencies, and of allele counts.
DISTANCE_EDGES = (1, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000)
FREQUENCY_EDGES = (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
COUNT_EDGES = (1, 2, 3, 5, 10, 20, 50, 100, 300, 1_000, 3_000, 10_000, 100_000, 1_000_000)
_COUNT = re.compile(r"(?:^|[^a-z])ac(?:$|[^a-z])|allele[^a-z]*count", re.IGNORECASE)
_FREQUENCY = re.compile(
    r"(?:^|[^a-z])(?:m|f)?af\d*(?:$|[^a-z])|allele[^a-z]*freq|popmax", re.IGNORECASE
)


@dataclass(frozen=True)
class Matched:
    """What a matching kept.

    Attributes:
        table: rows that were kept, in order.
        groups: of each of them the number of the positive that it was kept for.
        positives: how many there were with a match; each has exactly k negatives in its stratum.
        unmatched: positives left out, because their stratum has too few negatives.
        unused: negatives left out.
    """

    table: pl.DataFrame
    groups: pl.Series
    positives: int
    unmatched: int
    unused: int


def edges_of(name: str, values: pl.Series) -> Sequence[float] | None:
    """Edges of the bins in which a feature is matched; None if its name is of no such kind.

    Counts are not binned like frequencies: all of them would fall into the last bin.

    Args:
        name: of the feature.
        values: of it; a so-called frequency above 1 has no edges.
    """
    if name.lower().endswith("_distance"):
        return DISTANCE_EDGES
    if _COUNT.search(name):
        return COUNT_EDGES
    # A name may have several parts, as gnomAD_AC_AF; the values decide.
    is_share = bool(values.drop_nulls().is_between(0, 1).all())
    return FREQUENCY_EDGES if _FREQUENCY.search(name) and is_share else None


def match_negatives(
    table: pl.DataFrame,
    negatives: int,
    *,
    seed: int,
    bins: Mapping[str, Sequence[float]],
    near: Sequence[str] = (),
    within: float = 0.05,
) -> Matched:
    """Draw negatives for each positive from its chromosome, consequence and bins.

    A stratum with too few negatives loses positives, by the same lot, until each that stays has
    all of its negatives: in every stratum the share of positives is then the same.

    Args:
        table: with ``chrom``, ``label`` and ``consequence``; what has no label is left out. A
            consequence or number that is null makes a stratum with others that are.
        negatives: number of negatives for each positive.
        seed: of the draw.
        bins: column -> edges of its bins.
        near: numeric columns: of the stratum, each positive in the order of its lot then gets the
            negatives that are nearest to it in their ranks; what lacks such a number has no match.
        within: the largest difference of ranks, as a share of the table, in any of these columns; a
            positive that has too few negatives within it is left out. Without such a limit the
            last positives get what is left over, and the number tells the label again.
    """
    lot = np.random.default_rng(seed).permutation(table.height)
    binned = {
        f"bin_{name}": pl.when(pl.col(name).is_not_null()).then(
            pl.sum_horizontal(pl.col(name) >= edge for edge in edges)
        )
        for name, edges in bins.items()
    }
    strata = table.select(
        canonical_contigs(table["chrom"]).alias("chrom"), "consequence", "label", **binned
    )
    stratum = [name for name in strata.columns if name != "label"]
    usable = pl.all_horizontal(pl.col("label", *near).is_not_null())
    drawn = (strata.with_columns(table.select(near)) if near else strata).with_columns(
        lot=pl.lit(pl.Series(lot)), row=pl.int_range(pl.len())
    )
    numbers = _ranked(drawn, near)
    group = np.full(table.height, -1)
    for rows in drawn.filter(usable).partition_by(stratum):
        ordered = rows.sort("lot")
        positives = ordered.filter("label")["row"].to_numpy()
        others = ordered.filter(~pl.col("label"))["row"].to_numpy()
        if near and len(others) >= negatives:
            for number, chosen in _nearest(numbers[positives], numbers[others], negatives, within):
                group[[positives[number], *others[chosen]]] = positives[number]
        elif not near:
            kept = positives[: len(others) // negatives]
            group[kept] = kept
            group[others[: len(kept) * negatives]] = np.repeat(kept, negatives)
    is_kept = pl.Series(group >= 0)
    # Numbered by the places of the positives in the table.
    groups = pl.Series(MATCH_GROUP, group).filter(is_kept).rank("dense").cast(pl.Float64) - 1
    matched = int((table["label"] & is_kept).sum())
    return Matched(
        table.filter(is_kept),
        groups.alias(MATCH_GROUP),
        matched,
        int(table["label"].sum()) - matched,
        int((~table["label"]).sum()) - matched * negatives,
    )


def _ranked(table: pl.DataFrame, names: Sequence[str]) -> Float64[np.ndarray, "variant number"]:
    """Columns as shares of the values below, ties counting half; NaN where there is no number.

    Frequencies and distances span decades: no unit of theirs fits both ends.
    """
    shares = (pl.col(name).rank("average") / pl.col(name).count() for name in names)
    ranked: Float64[np.ndarray, "variant number"] = (
        table.select(shares).to_numpy() if names else np.zeros((table.height, 0))
    )
    return ranked


def _nearest(
    positives: Float64[np.ndarray, "positive number"],
    others: Float64[np.ndarray, "other number"],
    count: int,
    within: float,
) -> Iterator[tuple[int, Int64[np.ndarray, " count"]]]:
    """For each positive in turn the nearest others that nobody has taken.

    Two are as far apart as they are in the number in which they differ most.

    Yields:
        Place of a positive, and those of its others; a positive with too few of them within reach
        is left out.
    """
    tree = cKDTree(others)
    taken = np.zeros(len(others), bool)
    for number, place in enumerate(positives):
        looked_at = min(count, len(others))
        while True:
            # More until enough of them are free, for neighbours are taken in clumps.
            looked_at = min(4 * looked_at, len(others))
            far, near = tree.query(place, looked_at, p=np.inf)
            far, near = np.atleast_1d(far), np.atleast_1d(near)
            free = near[~taken[near] & (far <= within)]
            if len(free) >= count:
                taken[free[:count]] = True
                yield number, free[:count]
            elif looked_at < len(others) and far[-1] <= within:
                continue
            break


def distances(variants: pl.DataFrame, intervals: pl.DataFrame) -> pl.Series:
    """Bases from each variant to the nearest interval of its contig: 0 inside, 1 beside it.

    Args:
        variants: ``chrom``, ``pos`` (1-based).
        intervals: ``chrom``, ``start``, ``stop`` (0-based, half-open); they may overlap.

    Returns:
        Float64; null on a contig that has no interval.
    """
    by_chrom = intervals.with_columns(canonical_contigs(intervals["chrom"])).partition_by(
        "chrom", as_dict=True
    )
    nearest = np.full(variants.height, np.nan)
    chroms = canonical_contigs(variants["chrom"]).to_numpy()
    place = windows.first_base(variants["pos"].to_numpy())
    for (chrom,), some in by_chrom.items():
        here = np.flatnonzero(chroms == chrom)
        some = some.sort("start")
        nearest[here] = _bases_to_nearest(
            place[here], some["start"].to_numpy(), some["stop"].to_numpy()
        )
    return pl.Series(nearest, nan_to_null=True)


def _bases_to_nearest(
    place: Int64[np.ndarray, "variant"],
    start: Int64[np.ndarray, "interval"],
    stop: Int64[np.ndarray, "interval"],
) -> Float64[np.ndarray, "variant"]:
    """Distance to the nearest of intervals that are sorted by their start."""
    # Of all that begin at or before a place, the one that reaches farthest is the nearest.
    reach = np.maximum.accumulate(stop)
    following = np.searchsorted(start, place, side="right")
    before = np.where(following > 0, place - (reach[following - 1] - 1), np.inf)
    after = np.where(
        following < len(start), start[np.minimum(following, len(start) - 1)] - place, np.inf
    )
    return np.minimum(np.maximum(before, 0), after)
