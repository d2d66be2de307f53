"""LABELS -> positives and negatives alike in all but the label: k negatives for each positive.

A score that tells chromosomes, consequences or distances apart then gains nothing by it. What is
matched only in bins may still leak within a bin: its AUROC alone shows how much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from ntvep.evaluate.joining import canonical_contigs

# Edges of bins, [a, b): of distances in bases, and of allele frequencies.
DISTANCE_EDGES = (1, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000)
FREQUENCY_EDGES = (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4)


@dataclass(frozen=True)
class Matched:
    """What a matching kept.

    Attributes:
        table: rows that were kept, in order.
        positives: how many there were with a match; each has exactly k negatives in its stratum.
        unmatched: positives left out, because their stratum has too few negatives.
        unused: negatives left out.
    """

    table: pl.DataFrame
    positives: int
    unmatched: int
    unused: int


def match_negatives(
    table: pl.DataFrame, negatives: int, *, seed: int, bins: Mapping[str, Sequence[float]]
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
    drawn = strata.with_columns(lot=pl.lit(pl.Series(lot))).select(
        "label",
        place=pl.col("lot").rank("ordinal").over(*stratum, "label"),
        positives=(pl.col("label").sum()).over(stratum),
        negatives=((~pl.col("label")).sum()).over(stratum),
    )
    kept = pl.min_horizontal("positives", pl.col("negatives") // negatives)
    stays = pl.col("place") <= kept * pl.when("label").then(1).otherwise(negatives)
    is_kept = drawn.select(stays & pl.col("label").is_not_null()).to_series()
    positives = int((table["label"] & is_kept).sum())
    return Matched(
        table.filter(is_kept),
        positives,
        int(table["label"].sum()) - positives,
        int((~table["label"]).sum()) - positives * negatives,
    )


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
    place = variants["pos"].to_numpy() - 1
    for (chrom,), some in by_chrom.items():
        here = np.flatnonzero(chroms == chrom)
        some = some.sort("start")
        nearest[here] = _nearest(place[here], some["start"].to_numpy(), some["stop"].to_numpy())
    return pl.Series(nearest, nan_to_null=True)


def _nearest(
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
