"""alleles -> windows: POS to 0-based, where a window lies on the genome-wide grid, and cutting it.

The only place for coordinate arithmetic. ``pos`` is 1-based (VCF); ``start`` and ``stop`` are
0-based and half-open. k = 6: a window is a run of whole 6-mers of a grid that begins at ``phase``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ntvep import dna
from ntvep.dna import Dna

K = 6
# Bases looked at first when an indel is moved to the left: most repeats are shorter.
_REACH = 64


@dataclass(frozen=True)
class Span:
    """A stretch of a contig for which the reference has sequence: 0-based, half-open."""

    start: int
    stop: int


@dataclass(frozen=True)
class Edit:
    """An allele in its minimal form.

    Attributes:
        start: 0-based place of the first changed base; for an insertion, the base it precedes.
        ref: reference bases that go; empty for an insertion.
        alt: bases that come; empty for a deletion.
    """

    start: int
    ref: Dna
    alt: Dna

    @property
    def stop(self) -> int:
        """0-based place behind the last changed reference base."""
        return self.start + len(self.ref)

    @property
    def is_substitution(self) -> bool:
        """SNV or MNV: as many bases come as go."""
        return len(self.ref) == len(self.alt)


@dataclass(frozen=True)
class WindowPair:
    """REF and ALT sequence of one window on the forward strand.

    Attributes:
        start, stop: where the REF window lies on the contig; whole 6-mers of the grid.
        offset: place of the first changed base in both sequences.
        ref, alt: the sequences. They are of one length, unless the contig ends.
    """

    start: int
    stop: int
    offset: int
    ref: Dna
    alt: Dna


def zero_based(pos: int, ref: str) -> Span:
    """The bases that a record's POS and REF name."""
    return Span(pos - 1, pos - 1 + len(ref))


def trim(pos: int, ref: str, alt: str) -> Edit:
    """The minimal form of an allele: the shared suffix goes first, then the shared prefix.

    Args:
        pos: 1-based POS of the record.
        ref: REF, of A, C, G, T in either case.
        alt: one ALT, likewise.
    """
    if len(ref) == 1 == len(alt):
        return Edit(pos - 1, dna.encode(ref), dna.encode(alt))
    r, a = ref.upper(), alt.upper()
    end = 0
    while end < min(len(r), len(a)) and r[-1 - end] == a[-1 - end]:
        end += 1
    r, a = r[: len(r) - end], a[: len(a) - end]
    begin = 0
    while begin < min(len(r), len(a)) and r[begin] == a[begin]:
        begin += 1
    return Edit(pos - 1 + begin, dna.encode(r[begin:]), dna.encode(a[begin:]))


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
    moved = edit.alt if len(edit.alt) else edit.ref
    if (len(edit.ref) and len(edit.alt)) or not len(moved):
        return edit
    length, reach = len(moved), max(_REACH, len(moved))
    while True:
        begin = max(first, edit.start - reach)
        run = np.concatenate((fetch(begin, edit.start), moved))
        # One step to the left is possible where a base equals the one that stands a whole
        # insertion or deletion behind it.
        differs = np.flatnonzero(run[:-length] != run[length:])
        if len(differs) or begin == first:
            break
        reach *= 8
    steps = len(run) - length - (int(differs[-1]) + 1 if len(differs) else 0)
    rolled = run[len(run) - length - steps : len(run) - steps]
    is_insertion = len(edit.alt) > 0
    return Edit(
        edit.start - steps,
        edit.ref if is_insertion else rolled,
        rolled if is_insertion else edit.alt,
    )


def place(p: int, phase: int, n_tokens: int, span: Span) -> Span | None:
    """Where the window of a change at ``p`` lies: on the grid, inside ``span``, never padded.

    The grid token of p has index floor(n_tokens / 2), unless an end of the contig moves the window
    inwards. A span with fewer whole 6-mers than ``n_tokens`` gives one window of all of them.

    Args:
        p: 0-based place of the first changed base.
        phase: 0 to 5; window starts are congruent to it modulo 6.
        n_tokens: number of 6-mers in a full window.
        span: the stretch of the contig that there is.

    Returns:
        The window, or None where not one whole 6-mer fits.
    """
    # The grid is that of the genome also where only a slice of the contig is there.
    first = max(phase, span.start + (phase - span.start) % K)
    n = min(n_tokens, (span.stop - first) // K)
    if n <= 0:
        return None
    last = first + (span.stop - first - K * n) // K * K
    wanted = phase + K * ((p - phase) // K - n_tokens // 2)
    start = min(max(wanted, first), last)
    return Span(start, start + K * n)


def cut(
    edit: Edit, window: Span, span: Span, fetch: Callable[[int, int], Dna]
) -> WindowPair | None:
    """Cut the REF and the ALT sequence of a window.

    The ALT window begins where the REF window begins and has as many bases: a deletion pulls in
    reference bases on the right, an insertion pushes some out. Where the contig has none left to
    pull in, it is shorter.

    Args:
        edit: the change.
        window: where the REF window lies.
        span: the stretch of the contig that there is.
        fetch: ``fetch(start, stop)`` gives the reference bases.

    Returns:
        The pair, or None where a changed base lies outside either sequence.
    """
    length = window.stop - window.start
    offset = edit.start - window.start
    if offset < 0 or edit.start >= window.stop or edit.stop > window.stop:
        return None
    if offset + len(edit.alt) > length:
        return None
    behind = min(length - offset - len(edit.alt), span.stop - edit.stop)
    bases = fetch(window.start, max(window.stop, edit.stop + behind))
    alt = np.concatenate((bases[:offset], edit.alt, bases[edit.stop - window.start :][:behind]))
    # An empty ALT side is the token that holds p: there must be a base at p.
    if offset >= len(alt):
        return None
    return WindowPair(window.start, window.stop, offset, bases[:length], alt)


def changed_bases(pair: WindowPair, edit: Edit, reverse: bool) -> tuple[Span, Span]:
    """Where the change lies in the REF and in the ALT sequence, on either strand.

    An empty side takes the one base at the place of the change.
    """
    sides = []
    for sequence, changed in ((pair.ref, edit.ref), (pair.alt, edit.alt)):
        start, stop = pair.offset, pair.offset + max(1, len(changed))
        if reverse:
            start, stop = len(sequence) - stop, len(sequence) - start
        sides.append(Span(start, stop))
    return sides[0], sides[1]


def shorten(window: Span, p: int) -> Span:
    """Drop one 6-mer from the end that is farther from ``p``; from the right end in a tie."""
    if p - window.start > window.stop - 1 - p:
        return Span(window.start + K, window.stop)
    return Span(window.start, window.stop - K)
