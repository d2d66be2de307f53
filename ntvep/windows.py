"""alleles -> windows: POS to 0-based, where a window lies on the genome-wide grid, and cutting it.

The only place for coordinate arithmetic. ``pos`` is 1-based (VCF); ``start`` and ``stop`` are
0-based and half-open. A window is a run of whole strides of a grid that begins at ``phase``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int64

from ntvep import dna
from ntvep.dna import Dna

# Bases looked at first when an indel is moved to the left: most repeats are shorter.
_REACH = 64
# Strides that are tokenised at once: about a window.
_BLOCK = 1024


IntOrArray = TypeVar("IntOrArray", int, Int64[np.ndarray, "change"])
# A number, an array, or a column of a table.
P = TypeVar("P")


class Span(NamedTuple):
    """A stretch of a contig for which the reference has sequence: 0-based, half-open."""

    start: int
    stop: int


class Edit(NamedTuple):
    """An allele in its minimal form.

    Attributes:
        start: 0-based place of the first changed base; for an insertion, the base it precedes.
        ref: codes of the reference bases that go; empty for an insertion.
        alt: codes of the bases that come; empty for a deletion.
    """

    start: int
    ref: bytes
    alt: bytes

    @property
    def stop(self) -> int:
        """0-based place after the last changed reference base."""
        return self.start + len(self.ref)

    @property
    def is_substitution(self) -> bool:
        """SNV or MNV: REF and ALT have equally many bases."""
        return len(self.ref) == len(self.alt)


def merged(places: Iterable[tuple[str, Span]]) -> list[tuple[str, Span]]:
    """Stretches of contigs, sorted, with those that overlap or touch made one."""
    found: list[tuple[str, Span]] = []
    for chrom, span in sorted(places):
        if found and found[-1][0] == chrom and span.start <= found[-1][1].stop:
            _, last = found.pop()
            span = Span(last.start, max(last.stop, span.stop))
        found.append((chrom, span))
    return found


def first_base(pos: P) -> P:
    """The 0-based place that a POS names; of a number, an array or a column."""
    return pos - 1  # type: ignore[operator, return-value]


def pos_of(place: P) -> P:
    """The POS that names a 0-based place."""
    return place + 1  # type: ignore[operator, return-value]


def zero_based(pos: int, ref: str) -> Span:
    """The bases that a record's POS and REF name."""
    return Span(first_base(pos), first_base(pos) + len(ref))


def zero_based_places(pos: Int64[np.ndarray, "row"]) -> Int64[np.ndarray, "row"]:
    """The first bases that many records' POS name."""
    return pos - 1


def one_based_places(places: Int64[np.ndarray, "row"]) -> Int64[np.ndarray, "row"]:
    """POS of many places."""
    return places + 1


def trim(pos: int, ref: str, alt: str) -> Edit:
    """The minimal form of an allele: the shared suffix goes first, then the shared prefix.

    Args:
        pos: 1-based POS of the record.
        ref: REF, of A, C, G, T in either case.
        alt: one ALT, likewise.
    """
    if len(ref) == 1 == len(alt):
        return Edit(first_base(pos), dna.codes(ref), dna.codes(alt))
    r, a = ref.upper(), alt.upper()
    end = 0
    while end < min(len(r), len(a)) and r[-1 - end] == a[-1 - end]:
        end += 1
    r, a = r[: len(r) - end], a[: len(a) - end]
    begin = 0
    while begin < min(len(r), len(a)) and r[begin] == a[begin]:
        begin += 1
    return Edit(first_base(pos) + begin, dna.codes(r[begin:]), dna.codes(a[begin:]))


def left_align(edit: Edit, first: int, fetch: Callable[[int, int], Dna]) -> Edit:
    """The same insertion or deletion, as far to the left as the bases before it allow.

    A deletion or insertion in a repeat has many places that give one sequence; the leftmost is its
    normal form (Tan et al. 2015, Bioinformatics 31:2202). What changes bases on both sides, once
    trimmed, has one place only.

    Args:
        edit: trimmed.
        first: 0-based place of the first base that there is.
        fetch: ``fetch(start, stop)`` gives the reference bases.
    """
    if bool(edit.ref) == bool(edit.alt):
        return edit
    moved = np.frombuffer(edit.ref or edit.alt, np.uint8)
    length, reach = len(moved), max(_REACH, len(moved))
    while True:
        begin = max(first, edit.start - reach)
        run = np.concatenate((fetch(begin, edit.start), moved))
        # One step to the left is possible where a base equals the one that is a whole
        # insertion or deletion after it.
        differs = np.flatnonzero(run[:-length] != run[length:])
        if len(differs) or begin == first:
            break
        reach *= 8
    steps = len(run) - length - (int(differs[-1]) + 1 if len(differs) else 0)
    rolled = run[len(run) - length - steps : len(run) - steps].tobytes()
    start = edit.start - steps
    return Edit(start, rolled, b"") if edit.ref else Edit(start, b"", rolled)


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the windows of a view may lie.

    Attributes:
        stride: bases of a token; token borders are congruent to ``phase`` modulo it.
        phase: 0 to stride - 1.
        bases: of a full window, a multiple of ``step``.
        step: what a window's length is a multiple of, itself a multiple of ``stride``.
        anchor: window starts are congruent to ``phase`` modulo it; a multiple of ``stride``.
    """

    stride: int
    phase: int
    bases: int
    step: int
    anchor: int

    def place(self, p: int, span: Span) -> Span | None:
        """Where the window of a change at ``p`` lies: on the grid, inside ``span``, never padded.

        The grid's token of p has index floor(n / 2) of n tokens, moved right by less than the
        anchor, unless an end of the contig moves the window inwards. A span that is shorter than a
        window gives windows of all its whole steps.

        Args:
            p: 0-based place of the first changed base.
            span: the stretch of the contig that there is.

        Returns:
            The window, or None where not one whole step fits.
        """
        whole, length = self.within(span), self.length(span)
        if length <= 0:
            return None
        wanted = p - self._before(p, length)
        start = min(max(wanted, whole.start), whole.stop - length)
        return Span(start, start + length)

    def starts(self, p: Int64[np.ndarray, "change"], span: Span) -> Int64[np.ndarray, "change"]:
        """Where the windows of many changes begin: what :meth:`place` gives, where one fits."""
        whole, length = self.within(span), self.length(span)
        wanted = p - self._before(p, length)
        starts: Int64[np.ndarray, "change"]
        starts = np.clip(wanted, whole.start, whole.stop - length)
        return starts

    def length(self, span: Span) -> int:
        """Bases of the windows of a span; not above 0 where not one whole step fits."""
        whole = self.within(span)
        return min(self.bases, (whole.stop - whole.start) // self.step * self.step)

    def _before(self, p: IntOrArray, length: int) -> IntOrArray:
        """How far before a change its window begins, away from the contig's ends."""
        s = self.stride
        wanted = self.phase + s * ((p - self.phase) // s - length // s // 2)
        before: IntOrArray = p - wanted + (wanted - self.phase) % self.anchor
        return before

    def within(self, span: Span) -> Span:
        """The whole tokens that a span holds; the grid is the genome's also in a slice of it."""
        first = max(self.phase, span.start + (self.phase - span.start) % self.stride)
        return Span(first, first + max(0, span.stop - first) // self.stride * self.stride)

    def blocks(self, window: Span, span: Span) -> list[Span]:
        """Stretches of the grid that hold a window together; neighbouring windows share them."""
        whole, size = self.within(span), self.stride * _BLOCK
        first = (window.start - self.phase) // size
        last = (window.stop - 1 - self.phase) // size
        starts = range(self.phase + first * size, self.phase + (last + 1) * size, size)
        return [Span(max(start, whole.start), min(start + size, whole.stop)) for start in starts]

    def shorten(self, window: Span, p: int) -> Span:
        """Drop one step from the end that is farther from ``p``; from the right end in a tie."""
        if p - window.start > window.stop - 1 - p:
            return Span(window.start + self.step, window.stop)
        return Span(window.start, window.stop - self.step)


def holds(window: Span, edit: Edit) -> bool:
    """Whether every changed base lies inside the window, in REF and in ALT."""
    if not window.start <= edit.start < window.stop:
        return False
    return edit.start + max(len(edit.ref), len(edit.alt)) <= window.stop


def alt_window(
    edit: Edit, window: Span, span: Span, fetch: Callable[[int, int], Dna]
) -> Dna | None:
    """The ALT sequence of a window that holds the change, on the forward strand.

    It begins where the REF window begins and has the same length: a deletion pulls in reference
    bases on the right, an insertion pushes some out. Where the contig has none left to pull in, it
    is shorter.

    Args:
        edit: the change.
        window: where the REF window lies.
        span: the stretch of the contig that there is.
        fetch: ``fetch(start, stop)`` gives the reference bases.

    Returns:
        The sequence, or None where it has no base at the place of the change.
    """
    length, offset = window.stop - window.start, edit.start - window.start
    behind = min(length - offset - len(edit.alt), span.stop - edit.stop)
    if len(edit.alt) + behind == 0:
        return None
    # An insertion near the end can push out so much that the fetched stretch ends before it.
    bases = fetch(window.start, max(window.stop, edit.stop + behind))
    kept = bases[edit.stop - window.start :][:behind]
    return np.concatenate((bases[:offset], np.frombuffer(edit.alt, np.uint8), kept))


def alt_window_to_left(
    edit: Edit, window: Span, span: Span, fetch: Callable[[int, int], Dna]
) -> tuple[Dna, int] | None:
    """The ALT sequence that ends where the window ends and has its length, read forward.

    A causal model reads the reverse complement from this end: only what lies after the change, as
    it reads, may differ. A deletion pulls in reference bases on the genome's left; where the contig
    has none, the sequence is shorter.

    Args:
        edit: the change, inside the window.
        window: where the REF window lies.
        span: the stretch of the contig that there is.
        fetch: ``fetch(start, stop)`` gives the reference bases.

    Returns:
        The sequence and where the change begins in it; None where the bases after the change
        leave no room for it.
    """
    behind = window.stop - edit.stop
    before = window.stop - window.start - len(edit.alt) - behind
    if behind < 0 or before < 0:
        return None
    before = min(before, edit.start - span.start)
    alt = np.frombuffer(edit.alt, np.uint8)
    left, right = fetch(edit.start - before, edit.start), fetch(edit.stop, window.stop)
    return np.concatenate((left, alt, right)), before


def replaced(edit: Edit, window: Span, fetch: Callable[[int, int], Dna]) -> Dna:
    """The REF window with the allele in place: its length changes as the allele's does."""
    alt = np.frombuffer(edit.alt, np.uint8)
    return np.concatenate((fetch(window.start, edit.start), alt, fetch(edit.stop, window.stop)))


def around(p: int, field: int, span: Span, fetch: Callable[[int, int], Dna]) -> Dna:
    """The ``field`` bases with p in their middle; what lies beyond the span is :data:`dna.BEYOND`.

    For models whose output at a base depends on a fixed field around it.
    """
    start, stop = p - field // 2, p - field // 2 + field
    inside = fetch(max(start, span.start), min(stop, span.stop))
    left, right = max(0, span.start - start), max(0, stop - span.stop)
    return np.pad(inside, (left, right), constant_values=dna.BEYOND)


def around_changed(edit: Edit, field: int, span: Span, fetch: Callable[[int, int], Dna]) -> Dna:
    """What :func:`around` gives for the first changed base, with the allele in place.

    It begins where the REF window begins: a deletion pulls in bases on the right, an insertion
    pushes some out.
    """
    ref = around(edit.start, field, span, fetch)
    offset = field // 2
    behind = max(0, field - offset - len(edit.alt))
    inside = fetch(edit.stop, min(edit.stop + behind, span.stop))
    alt = np.frombuffer(edit.alt, np.uint8)
    made = np.concatenate((ref[:offset], alt, inside))[:field]
    return np.pad(made, (0, field - len(made)), constant_values=dna.BEYOND)


def changed_bases(start: int, changed: bytes, length: int, reverse: bool) -> Span:
    """Where one side of a change lies in its sequence, on either strand.

    Args:
        start: place of the first changed base on the forward strand.
        changed: the bases of that side; an empty side takes the one base at ``start``.
        length: of the sequence.
        reverse: whether the sequence is read as its reverse complement.
    """
    return on_strand(Span(start, start + (len(changed) or 1)), length, reverse)


def on_strand(bases: Span, length: int, reverse: bool) -> Span:
    """A stretch of a sequence of this length, as one of the strands counts."""
    return Span(length - bases.stop, length - bases.start) if reverse else bases
