"""reference -> SNVs at random places; scores of these -> where a variant's score lies among them.

A model finds some changes unlikely wherever they stand, a CpG lost for instance. Compared with SNVs
of its own trinucleotide context a score says how unusual the place is. A context is one of the 96
of mutational signatures: the base that changes and its two neighbours, read from the strand on
which it is a pyrimidine, ``A[C>T]G`` (Alexandrov et al. 2013, Nature 500:415). ``llr_calibrated``
takes one more base on either side: ``AA[C>T]GT``, one of 1,536.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int64, Shaped, UInt8

from ntvep import dna, windows
from ntvep.dna import Dna
from ntvep.evaluate import indels
from ntvep.genome import Reference
from ntvep.schema import (
    CONTEXT,
    LLR_CALIBRATED,
    LLR_PERCENTILE,
    LLR_PHRED,
    PENTANUCLEOTIDE,
    Status,
)
from ntvep.windows import Span

FEWEST = 20
"""With fewer scored background variants of a context its variants are not compared."""
_DRAWN = {"chrom": pl.String(), "pos": pl.Int64(), "ref": pl.String(), "alt": pl.String(),
          "context": pl.String()}  # fmt: skip
# Bases of a contig that are looked at together.
_BLOCK = 1 << 20
# Places that are so near are read together.
_TOGETHER = 1 << 16
_PURINES = (0, 2)

Codes = UInt8[np.ndarray, " snv"]


def context_names(left: Codes, ref: Codes, alt: Codes, right: Codes) -> Shaped[np.ndarray, " snv"]:
    """The context of each SNV, from the codes of its bases and its neighbours; none may be N."""
    names: Shaped[np.ndarray, " snv"] = _NAMES[_numbers(left, ref, alt, right)]
    return names


def _numbers(left: Codes, ref: Codes, alt: Codes, right: Codes) -> UInt8[np.ndarray, " snv"]:
    """One number for both strands; not all 256 occur."""
    other = _on_other_strand(ref)
    # A and T, C and G make up 3.
    strands = ((left, 3 - right), (ref, 3 - ref), (alt, 3 - alt), (right, 3 - left))
    number = np.zeros(len(ref), np.uint8)
    for given, complement in strands:
        number = number * np.uint8(4) + np.where(other, complement, given).astype(np.uint8)
    return number


def _on_other_strand(ref: Codes) -> Bool[np.ndarray, " snv"]:
    """Which changes are named by the other strand: that on which the base is a pyrimidine."""
    return np.isin(ref, _PURINES)


_NAMES = np.array(
    [f"{left}[{ref}>{alt}]{right}" for left in "ACGT" for ref in "ACGT" for alt in "ACGT"
     for right in "ACGT"]
)  # fmt: skip
CONTEXTS = tuple(
    f"{left}[{ref}>{alt}]{right}"
    for ref in "CT"
    for alt in "ACGT"
    if alt != ref
    for left in "ACGT"
    for right in "ACGT"
)
"""All 96, in the order of mutational signatures."""


# Drawing ------------------------------------------------------------------------------------------


def draw(
    reference: Reference, regions: Sequence[tuple[str, Span]], per_context: int, seed: int
) -> pl.DataFrame:
    """Draw SNVs of every context at random places, each place at most once.

    Each place of the regions gets a random number; of each trinucleotide those with the smallest
    are taken, and its three changes are dealt to them in turn. So every place of a trinucleotide
    is as likely as any other, and a genome is read once.

    Args:
        reference: the genome.
        regions: where; no two may overlap. Positions next to an N, or at an end of a contig, have
            no context and are not drawn.
        per_context: SNVs of each context; fewer where the regions lack that many places.
        seed: of the numbers.

    Returns:
        ``chrom``, ``pos`` (1-based), ``ref``, ``alt``, ``context``, in the order of the regions.
    """
    rng = np.random.default_rng(seed)
    wanted = 3 * per_context
    limit = np.ones(256)
    parts: list[pl.DataFrame] = []
    for order, chrom, begin, bases in _blocks(reference, regions):
        left, ref, right = bases[:-2], bases[1:-1], bases[2:]
        number = rng.random(len(ref))
        known = (left != dna.N) & (ref != dna.N) & (right != dna.N)
        # ALT plays no part yet: REF stands for it.
        trinucleotide = _numbers(*(codes % 4 for codes in (left, ref, ref, right)))
        place = np.flatnonzero(known & (number < limit[trinucleotide]))
        found = pl.DataFrame(
            {
                "trinucleotide": trinucleotide[place],
                "number": number[place],
                "order": np.full(len(place), order),
                "place": begin + place,
                "left": left[place],
                "base": ref[place],
                "right": right[place],
            }
        ).with_columns(chrom=pl.lit(chrom))
        drawn = pl.concat([*parts, found]).sort("trinucleotide", "number")
        # Slices of a contig may overlap.
        drawn = drawn.unique(("chrom", "place"), keep="first", maintain_order=True).with_columns(
            rank=pl.int_range(pl.len()).over("trinucleotide")
        )
        drawn = drawn.filter(pl.col("rank") < wanted)
        for full, last in drawn.filter(pl.col("rank") == wanted - 1).select(
            "trinucleotide", "number"
        ).iter_rows():  # fmt: skip
            limit[full] = last
        parts = [drawn.drop("rank")]
    return _dealt(parts[0]) if parts else pl.DataFrame(schema=_DRAWN)


def _blocks(
    reference: Reference, regions: Sequence[tuple[str, Span]]
) -> Iterator[tuple[int, str, int, Dna]]:
    """Stretches of the regions with a base more on either side, and where their own bases begin."""
    for order, (chrom, region) in enumerate(regions):
        for span in reference.spans(chrom):
            first, last = max(region.start, span.start + 1), min(region.stop, span.stop - 1)
            for begin in range(first, last, _BLOCK):
                end = min(begin + _BLOCK, last)
                yield order, chrom, begin, reference.fetch(chrom, begin - 1, end + 1)


def _dealt(drawn: pl.DataFrame) -> pl.DataFrame:
    """Give each place one of its base's three changes, each as often as the others."""
    turn = drawn.select(pl.int_range(pl.len()).over("trinucleotide") % 3).to_series().to_numpy()
    left, base, right = (drawn[name].to_numpy() for name in ("left", "base", "right"))
    # On the strand of the pyrimidine, so that the turns of both strands are the same changes.
    other = _on_other_strand(base)
    pyrimidine = np.where(other, 3 - base, base)
    change = np.where(turn >= pyrimidine, turn + 1, turn)
    alt = np.where(other, 3 - change, change).astype(np.uint8)
    return (
        drawn.with_columns(
            pos=windows.pos_of(pl.col("place")),
            ref=pl.Series(list(dna.decode(base))),
            alt=pl.Series(list(dna.decode(alt))),
            context=pl.Series(context_names(left, base, alt, right)),
        )
        .sort("order", "place")
        .select(*_DRAWN)
    )


# Comparing ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contexts:
    """The bases around alleles.

    Attributes:
        context: of each SNV and indel with status ``ok``; null for what is neither, and beside an N
            or at an end of a contig.
        pentanucleotide: of each SNV, likewise.
        differs: which have another base than the reference.
    """

    context: pl.Series
    pentanucleotide: pl.Series
    differs: Bool[np.ndarray, " allele"]


def contexts(alleles: pl.DataFrame, reference: Reference) -> Contexts:
    """The contexts of alleles."""
    names, wider = (np.full(alleles.height, None, object) for _ in range(2))
    differs = np.zeros(alleles.height, bool)
    is_ok = (alleles["status"] == Status.OK).to_numpy()
    chrom, pos, ref, alt = (alleles[name] for name in ("chrom", "pos", "ref", "alt"))
    plain = is_ok & ((ref.str.len_bytes() == 1) & (alt.str.len_bytes() == 1)).to_numpy()
    rows, starts = np.flatnonzero(plain), windows.zero_based_places(pos.to_numpy()[plain])
    refs = np.frombuffer(dna.codes("".join(ref.filter(plain))), np.uint8)
    alts = np.frombuffer(dna.codes("".join(alt.filter(plain))), np.uint8)
    others = np.flatnonzero(is_ok & ~plain)
    edits = [(row, windows.trim(pos[row], ref[row], alt[row])) for row in map(int, others)]
    longer = [(row, edit) for row, edit in edits if len(edit.ref) == len(edit.alt) == 1]
    rows = np.append(rows, [row for row, _ in longer]).astype(np.int64)
    starts = np.append(starts, [edit.start for _, edit in longer]).astype(np.int64)
    refs = np.append(refs, [edit.ref[0] for _, edit in longer]).astype(np.uint8)
    alts = np.append(alts, [edit.alt[0] for _, edit in longer]).astype(np.uint8)
    around = _around(chrom.gather(rows), starts, reference)
    known = (around[:, 1:4] != dna.N).all(axis=1)
    differs[rows] = known & (around[:, 2] != refs)
    rows, around, alts = rows[known], around[known], alts[known]
    names[rows] = context_names(around[:, 1], around[:, 2], alts, around[:, 3])
    known = (around != dna.N).all(axis=1)
    wider[rows[known]] = _wider_names(around[known], names[rows[known]])
    for row, edit in edits:
        if bool(edit.ref) != bool(edit.alt):
            names[row], differs[row] = indels.context(edit, chrom[row], reference)
    return Contexts(
        pl.Series(CONTEXT.name, names.tolist(), pl.String),
        pl.Series(PENTANUCLEOTIDE.name, wider.tolist(), pl.String),
        differs,
    )


def _wider_names(
    around: UInt8[np.ndarray, "snv 5"], names: Shaped[np.ndarray, " snv"]
) -> Shaped[np.ndarray, " snv"]:
    """Names of contexts between the bases further out, on the strand of the name."""
    other = _on_other_strand(around[:, 2])
    letters = np.array(list("ACGT"), object)
    left = letters[np.where(other, 3 - around[:, 4], around[:, 0])]
    wider: Shaped[np.ndarray, " snv"] = (
        left + names + letters[np.where(other, 3 - around[:, 0], around[:, 4])]
    )
    return wider


def _around(
    chrom: pl.Series, start: Int64[np.ndarray, " snv"], reference: Reference
) -> UInt8[np.ndarray, "snv 5"]:
    """A base and two on either side; N where one is outside. Near places are read together."""
    bases = np.full((len(start), 5), dna.N, np.uint8)
    for name in chrom.unique(maintain_order=True):
        of_name = np.flatnonzero((chrom == name).to_numpy())
        for span in reference.spans(name):
            inside = (span.start < start[of_name]) & (start[of_name] + 1 < span.stop)
            rows = of_name[inside]
            rows = rows[np.argsort(start[rows], kind="stable")]
            for some in np.split(rows, np.flatnonzero(np.diff(start[rows] // _TOGETHER)) + 1):
                if len(some):
                    first = int(start[some[0]]) - 2
                    begin, end = max(first, span.start), min(int(start[some[-1]]) + 3, span.stop)
                    letters = np.full(int(start[some[-1]]) + 3 - first, dna.N, np.uint8)
                    letters[begin - first : end - first] = reference.fetch(name, begin, end)
                    there = letters[start[some, None] - 2 - first + np.arange(5)]
                    # Slices may overlap: what one lacks the next may have.
                    bases[some] = np.where(there == dna.N, bases[some], there)
    return bases


Among = Mapping[str, Float[np.ndarray, " background"]]


def by_context(background: pl.DataFrame) -> Among:
    """The ``llr`` of the background of each context, sorted; contexts with too few are left out."""
    scored = background.filter(pl.col("llr").is_not_null())
    return {
        str(name): rows["llr"].sort().to_numpy()
        for (name,), rows in scored.group_by("context")
        if rows.height >= FEWEST
    }


def means(background: pl.DataFrame) -> Mapping[str, float]:
    """Mean ``llr`` of the background of each pentanucleotide that has enough."""
    scored = background.filter(pl.all_horizontal(pl.col("llr", PENTANUCLEOTIDE.name).is_not_null()))
    counted = scored.group_by(PENTANUCLEOTIDE.name).agg(pl.col("llr").mean(), pl.len())
    return dict(counted.filter(pl.col("len") >= FEWEST).drop("len").iter_rows())


def calibrate(llr: pl.Series, pentanucleotide: pl.Series, means: Mapping[str, float]) -> pl.Series:
    """``llr_calibrated``: each ``llr`` minus the mean of the background of its pentanucleotide."""
    expected = pentanucleotide.replace_strict(means, default=None, return_dtype=pl.Float64)
    return (llr.cast(pl.Float64) - expected).alias(LLR_CALIBRATED.name)


def compare(llr: pl.Series, context: pl.Series, among: Among) -> tuple[pl.Series, pl.Series]:
    """Where each ``llr`` lies among the background of its own context.

    Args:
        llr: of variants; null where there is none.
        context: of these variants; null where there is none.
        among: the background.

    Returns:
        ``llr_percentile``: percent of the background that has a lower ``llr``, ties counting half.
        ``llr_phred``: -10 log10 of (1 + those as low or lower) / (1 + all), the P value of so low
        an ``llr`` by chance (North et al. 2002, Am J Hum Genet 71:439). Null without a context, or
        where it has fewer than :data:`FEWEST`.
    """
    values = llr.to_numpy()
    percentile: Float[np.ndarray, " variant"] = np.full(len(values), np.nan)
    phred = percentile.copy()
    rows = pl.DataFrame({"context": context, "row": np.arange(len(values))}).filter(
        pl.Series(np.isfinite(values)), pl.col("context").is_not_null()
    )
    for (name,), group in rows.group_by("context"):
        if (known := among.get(str(name))) is None:
            continue
        here = group["row"].to_numpy()
        below = np.searchsorted(known, values[here], side="left")
        as_low = np.searchsorted(known, values[here], side="right")
        percentile[here] = 50 * (below + as_low) / len(known)
        phred[here] = -10 * np.log10((1 + as_low) / (1 + len(known)))
    return (
        pl.Series(LLR_PERCENTILE.name, percentile, nan_to_null=True),
        pl.Series(LLR_PHRED.name, phred, nan_to_null=True),
    )
