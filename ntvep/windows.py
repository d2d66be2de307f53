"""alleles -> windows: POS to 0-based, where a window lies on the genome-wide grid, and cutting it.

The only place for coordinate arithmetic. ``pos`` is 1-based (VCF); ``start`` and ``stop`` are
0-based and half-open. k = 6: a window is a run of whole 6-mers of a grid that begins at ``phase``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ntvep import dna
from ntvep.dna import Dna

K = 6
# Bases looked at first when an indel is moved to the left: most repeats are shorter.
_REACH = 64
# Bases that are tokenised at once: about a window.
_BLOCK = K * 1024


class Span(NamedTuple):
    """A stretch of a contig for which the reference has sequence: 0-based, half-open."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Edit:
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
        """0-based place behind the last changed reference base."""
        return self.start + len(self.ref)

    @property
    def is_substitution(self) -> bool:
        """SNV or MNV: as many bases come as go."""
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
        return Edit(pos - 1, dna.codes(ref), dna.codes(alt))
    r, a = ref.upper(), alt.upper()
    end = 0
    while end < min(len(r), len(a)) and r[-1 - end] == a[-1 - end]:
        end += 1
    r, a = r[: len(r) - end], a[: len(a) - end]
    begin = 0
    while begin < min(len(r), len(a)) and r[begin] == a[begin]:
        begin += 1
    return Edit(pos - 1 + begin, dna.codes(r[begin:]), dna.codes(a[begin:]))


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
        # One step to the left is possible where a base equals the one that stands a whole
        # insertion or deletion behind it.
        differs = np.flatnonzero(run[:-length] != run[length:])
        if len(differs) or begin == first:
            break
        reach *= 8
    steps = len(run) - length - (int(differs[-1]) + 1 if len(differs) else 0)
    rolled = run[len(run) - length - steps : len(run) - steps].tobytes()
    start = edit.start - steps
    return Edit(start, rolled, b"") if edit.ref else Edit(start, b"", rolled)


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
    grid = _grid(phase, span)
    n = min(n_tokens, (grid.stop - grid.start) // K)
    if n <= 0:
        return None
    last = grid.stop - K * n
    wanted = phase + K * ((p - phase) // K - n_tokens // 2)
    start = min(max(wanted, grid.start), last)
    return Span(start, start + K * n)


def _grid(phase: int, span: Span) -> Span:
    """The whole 6-mers of a phase that a span holds; the grid is the genome's also in a slice."""
    first = max(phase, span.start + (phase - span.start) % K)
    return Span(first, first + max(0, span.stop - first) // K * K)


def blocks(window: Span, span: Span) -> list[Span]:
    """Stretches of a window's grid that hold it together; neighbouring windows share them."""
    phase = window.start % K
    grid = _grid(phase, span)
    first, last = (window.start - phase) // _BLOCK, (window.stop - 1 - phase) // _BLOCK
    starts = range(phase + first * _BLOCK, phase + (last + 1) * _BLOCK, _BLOCK)
    return [Span(max(start, grid.start), min(start + _BLOCK, grid.stop)) for start in starts]


def holds(window: Span, edit: Edit) -> bool:
    """Whether every changed base lies inside the window, in REF and in ALT."""
    if not window.start <= edit.start < window.stop:
        return False
    return edit.start + max(len(edit.ref), len(edit.alt)) <= window.stop


def alt_window(
    edit: Edit, window: Span, span: Span, fetch: Callable[[int, int], Dna]
) -> Dna | None:
    """The ALT sequence of a window that holds the change, on the forward strand.

    It begins where the REF window begins and has as many bases: a deletion pulls in reference
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


def changed_bases(start: int, changed: bytes, length: int, reverse: bool) -> Span:
    """Where one side of a change lies in its sequence, on either strand.

    Args:
        start: place of the first changed base on the forward strand.
        changed: the bases of that side; an empty side takes the one base at ``start``.
        length: of the sequence.
        reverse: whether the sequence is read as its reverse complement.
    """
    stop = start + (len(changed) or 1)
    return Span(length - stop, length - start) if reverse else Span(start, stop)


def shorten(window: Span, p: int) -> Span:
    """Drop one 6-mer from the end that is farther from ``p``; from the right end in a tie."""
    if p - window.start > window.stop - 1 - p:
        return Span(window.start + K, window.stop)
    return Span(window.start, window.stop - K)
