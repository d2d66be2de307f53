"""insertions and deletions -> their contexts; reference -> indels of every context.

The more bases come or go, the lower a model's score, whatever they are; and a copy more or less in
a repeat is likelier than bases that nothing beside them calls for. So an indel is compared with
those of its own length, class and number of copies, ``3:Del:R:1``: three bases go, beside which
another copy of them stays. Those of one base say which, on the strand where it is a pyrimidine:
``1:Ins:T:5``. The notation is that of the signatures of indels (Alexandrov et al. 2020, Nature
578:94), which knows one class of 5 bases and more; here each length is one of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from ntvep import dna
from ntvep.dna import Dna
from ntvep.genome import Reference
from ntvep.windows import Edit, Span

_MOST_COPIES = (5, 2)
"""Copies beside an indel count up to these numbers: of one base, and of longer units."""
_CLASSES = ("Del", "Ins")
_UNITS = ("C", "T", "R")
# Places of a contig that are looked at together, and of a whole genome for each length and class:
# rare contexts are then found in a large genome without a look at each of its places.
_BLOCK = 1 << 20
_LOOKED_AT = 20_000_000


def indel_contexts(longest: int) -> tuple[str, ...]:
    """Every context of indels of up to this many bases."""
    return tuple(
        _name(length, kind, unit, copies)
        for length in range(1, longest + 1)
        for kind in range(2)
        for unit in ((0, 1) if length == 1 else (2,))
        for copies in range(_most(length) + 1)
    )


def context(edit: Edit, chrom: str, reference: Reference) -> tuple[str | None, bool]:
    """The context of an insertion or deletion, however it is spelled, and whether REF differs.

    No context beside an N, at an end of a contig, or with an N among its bases.
    """
    unit = np.frombuffer(edit.ref or edit.alt, np.uint8)
    length = len(unit)
    reach = length * _most(length)
    for span in reference.spans(chrom):
        if not (span.start < edit.start and edit.stop < span.stop):
            continue
        begin, end = max(span.start, edit.start - reach), min(span.stop, edit.stop + reach)
        bases = reference.fetch(chrom, begin, end)
        left, right = bases[: edit.start - begin], bases[edit.stop - begin :]
        if edit.ref and not np.array_equal(bases[edit.start - begin : edit.stop - begin], unit):
            return None, True
        if dna.N in (*unit, left[-1], right[0]):
            return None, False
        # The unit may be spelled anywhere in its repeat: what counts is how far that reaches.
        beside = _repeats(unit, right) + _repeats(unit[::-1], left[::-1])
        copies = min(beside // length, _most(length))
        base = 2 if length > 1 else int(unit[0] in (0, 3))
        return _name(length, int(not edit.ref), base, copies), False
    return None, False


def _repeats(unit: Dna, behind: Dna) -> int:
    """Bases behind a unit that go on as it would if it were repeated."""
    run = np.concatenate((unit, behind))
    differs = np.flatnonzero((run[len(unit) :] != run[: -len(unit)]) | (behind == dna.N))
    return int(differs[0]) if len(differs) else len(behind)


def _most(length: int) -> int:
    return _MOST_COPIES[length > 1]


def _name(length: int, kind: int, unit: int, copies: int) -> str:
    return f"{length}:{_CLASSES[kind]}:{_UNITS[unit]}:{copies}"


# Drawing ------------------------------------------------------------------------------------------


def draw_indels(
    reference: Reference,
    regions: Sequence[tuple[str, Span]],
    longest: int,
    per_context: int,
    seed: int,
) -> pl.DataFrame:
    """Draw indels of every context at random places, each allele at most once.

    Of an indel that a repeat lets one spell in several ways the leftmost is drawn, as in a
    normalised VCF. What is inserted is, each as often, a copy of the bases behind the place, or as
    many bases from another random place.

    Args:
        reference: the genome.
        regions: where; no two may overlap.
        longest: of the indels, in bases.
        per_context: of each context; fewer where the regions lack that many.
        seed: of the random numbers.

    Returns:
        As :func:`ntvep.evaluate.background.draw`.
    """
    rng = np.random.default_rng((seed, longest))
    total = max(1, sum(span.stop - span.start for _, span in regions))
    # The largest random number that is still wanted, of each context.
    limit = np.full(len(indel_contexts(longest)), min(1.0, _LOOKED_AT / total))
    kept = pl.DataFrame(schema=_MET)
    for block in _blocks(reference, regions, longest):
        met = [
            _met(block, length, kind, limit, rng)
            for length in range(1, longest + 1)
            for kind in range(2)
        ]
        # Slices of a contig may overlap.
        found = pl.concat([kept, *met]).unique(("chrom", "place", "ref", "alt"), keep="first")
        kept = found.sort("context", "number", "place", "alt").filter(
            pl.int_range(pl.len()).over("context") < per_context
        )
        full = kept.group_by("context").agg(pl.len(), pl.max("number"))
        full = full.filter(pl.col("len") == per_context)
        limit[full["context"].to_numpy()] = full["number"].to_numpy()
    names = np.array(indel_contexts(longest))
    kept = kept.sort("order", "place", "context", "alt")
    named = pl.Series("context", names[kept["context"]], pl.String)
    return kept.select("chrom", "place", "ref", "alt", named).rename({"place": "pos"})


_MET = {
    "order": pl.Int64(), "chrom": pl.String(), "place": pl.Int64(), "ref": pl.String(),
    "alt": pl.String(), "context": pl.Int64(), "number": pl.Float64(),
}  # fmt: skip


@dataclass(frozen=True)
class _Block:
    """A stretch of a region.

    Attributes:
        order: number of the region.
        chrom: its contig.
        first: 0-based place of the first base whose indels count.
        width: bases whose indels count.
        bases: these, with one base before and some behind; N where there is none.
    """

    order: int
    chrom: str
    first: int
    width: int
    bases: Dna


def _blocks(
    reference: Reference, regions: Sequence[tuple[str, Span]], longest: int
) -> Iterator[_Block]:
    behind = max(length * (1 + _most(length)) for length in range(1, longest + 1))
    for order, (chrom, region) in enumerate(regions):
        for span in reference.spans(chrom):
            begin, end = max(region.start, span.start + 1), min(region.stop, span.stop)
            for first in range(begin, end, _BLOCK):
                last = min(first + _BLOCK, end)
                there = reference.fetch(chrom, first - 1, min(last + behind, span.stop))
                padding = np.full(last + behind - first + 1 - len(there), dna.N, np.uint8)
                bases = np.concatenate((there, padding))
                yield _Block(order, chrom, first, last - first, bases)


def _met(
    block: _Block, length: int, kind: int, limit: Float[np.ndarray, " context"],
    rng: np.random.Generator,
) -> pl.DataFrame:  # fmt: skip
    """Indels of one length and class at random places of a block that are still wanted."""
    own = _contexts_of(length, kind)
    highest = float(limit[own.start : own.stop].max())
    at = rng.choice(block.width, rng.binomial(block.width, highest), replace=False)
    number = rng.random(len(at)) * highest
    # Of the place's own base in bases, which has one more before it.
    at, most = at + 1, _most(length)
    unit = block.bases[at[:, None] + np.arange(length)]
    if kind == 1:
        elsewhere = rng.integers(1, block.width + 1, len(at))
        copied = block.bases[elsewhere[:, None] + np.arange(length)]
        unit = np.where((rng.random(len(at)) < 0.5)[:, None], unit, copied)
    right = block.bases[at[:, None] + (0 if kind else length) + np.arange(length * most)]
    before = block.bases[at - 1]
    run = np.concatenate((unit, right), axis=1)
    goes_on = (run[:, :-length] == right) & (right != dna.N)
    copies = np.logical_and.accumulate(goes_on, axis=1).sum(axis=1) // length
    context = own.start + copies
    if length == 1:
        context += np.isin(unit[:, 0], (0, 3)) * (most + 1)
    is_known = (unit != dna.N).all(axis=1) & (before != dna.N) & (right[:, 0] != dna.N)
    is_leftmost = before != unit[:, -1]
    kept = np.flatnonzero(is_known & is_leftmost & (number < limit[context]))
    shorter, letters = dna.decode(before[kept]), dna.decode(unit[kept].ravel())
    longer = [base + letters[row * length : (row + 1) * length] for row, base in enumerate(shorter)]
    ref, alt = (list(shorter), longer) if kind else (longer, list(shorter))
    return pl.DataFrame(
        {
            "order": block.order,
            "chrom": block.chrom,
            # Of the base before, 1-based: VCF spells an indel with it.
            "place": block.first + at[kept] - 1,
            "ref": ref,
            "alt": alt,
            "context": context[kept],
            "number": number[kept],
        },
        schema=_MET,
    )


def _contexts_of(length: int, kind: int) -> range:
    """Numbers of the contexts of a length and class in :func:`indel_contexts`."""
    each = 2 * (_MOST_COPIES[0] + 1), _MOST_COPIES[1] + 1
    first = kind * each[0] if length == 1 else 2 * each[0] + ((length - 2) * 2 + kind) * each[1]
    return range(first, first + each[length > 1])
