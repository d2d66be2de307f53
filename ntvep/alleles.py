"""alleles -> REF and ALT tokens in each view, or the status that says why there are none."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ntvep import dna, windows
from ntvep.description import Description
from ntvep.dna import Dna
from ntvep.genome import Reference
from ntvep.passes import Locus, TokenPair
from ntvep.schema import Status
from ntvep.settings import Settings, View
from ntvep.tokens import Changed, Tokenizer, Tokens, differing
from ntvep.windows import Edit, Grid, Span

# The ALT sequence of a window and where the change begins in it, both read forward.
AltSequence = tuple["WindowSequence", int]


@dataclass(frozen=True, eq=False)
class WindowSequence:
    """A window's bases and tokens, each found when it is asked for.

    Attributes:
        fetch: gives the bases.
        tokenizer: of the model.
        joined: tokens of the forward strand, if they are known already; none holds an N.
        mirrored: those of the other strand, if they are known too.
    """

    fetch: Callable[[], Dna]
    tokenizer: Tokenizer
    joined: Tokens | None = None
    mirrored: Tokens | None = None

    @cached_property
    def bases(self) -> Dna:
        """The forward strand."""
        return self.fetch()

    @cached_property
    def digest(self) -> bytes:
        """A 64-bit checksum of the bases."""
        return hashlib.blake2b(self.bases.tobytes(), digest_size=8).digest()

    @property
    def n_fraction(self) -> float:
        """Share of N."""
        if self.joined:
            return 0.0
        return np.count_nonzero(self.bases == dna.N) / len(self.bases)

    @cached_property
    def token_count(self) -> int:
        """Number of tokens, special ones included, on the strand that has more."""
        if self.joined:
            return len(self.joined.ids)
        if self.tokenizer.kind == "bpe":
            return max(len(self._forward.ids), len(self._reverse.ids))
        return self.tokenizer.count(self.bases)

    def on_strand(self, reverse: bool) -> Tokens:
        """Its tokens, or those of its reverse complement."""
        return self._reverse if reverse else self._forward

    @cached_property
    def _forward(self) -> Tokens:
        return self.joined or self.tokenizer.encode(self.bases)

    @cached_property
    def _reverse(self) -> Tokens:
        return self.mirrored or self.tokenizer.reverse_complement(self._forward, lambda: self.bases)


class Prepared(NamedTuple):
    """An allele that can be scored.

    Attributes:
        edit: its minimal form.
        sequences: REF and, if it is spelled out, ALT of each window that holds the change.
        pairs: tokens in each view of the settings; None where the view's window does not hold the
            change.
    """

    edit: Edit
    sequences: tuple[WindowSequence, ...]
    pairs: tuple[TokenPair | None, ...]

    @property
    def windows(self) -> int:
        """A 64-bit checksum of the bases that the scores depend on."""
        digests = b"".join(sequence.digest for sequence in self.sequences)
        return int.from_bytes(hashlib.blake2b(digests, digest_size=8).digest())

    @property
    def length_change(self) -> int:
        """Length of ALT minus that of REF."""
        return len(self.edit.alt) - len(self.edit.ref)

    @property
    def token_counts(self) -> tuple[float, float]:
        """Changed tokens of REF and of ALT, mean over the views."""
        used = [pair for pair in self.pairs if pair]
        ref = sum(len(pair.ref_changed) for pair in used)
        return ref / len(used), sum(len(pair.alt_changed) for pair in used) / len(used)


Prepare = Callable[[str, int, str, str], Status | Prepared]


@dataclass(frozen=True, slots=True)
class _Window:
    """The sequences of one window.

    Attributes:
        place: where it lies.
        ref: its REF sequence.
        alt: its ALT sequence as each strand reads it; none for a substitution whose ALT tokens
            follow from REF's.
    """

    place: Span
    ref: WindowSequence
    alt: tuple[AltSequence | None, AltSequence | None] | None


def preparer(reference: Reference, model: Description, settings: Settings) -> Prepare:
    """The function ``(chrom, pos, ref, alt) -> Prepared | Status`` for alleles of A, C, G, T.

    It remembers the reference windows that it has just tokenised, because neighbours share them.
    """
    locate = locator(reference, settings.max_allele_bases)
    read = _field_reader if model.field else _window_reader
    views = read(reference, model, settings)

    def prepare(chrom: str, pos: int, ref: str, alt: str) -> Status | Prepared:
        located = locate(chrom, pos, ref, alt)
        if isinstance(located, Status):
            return located
        return views(chrom, *located)

    return prepare


def locator(
    reference: Reference, max_allele_bases: int
) -> Callable[[str, int, str, str], Status | tuple[Edit, Span]]:
    """The function that checks REF and trims an allele, without looking at a window."""

    def locate(chrom: str, pos: int, ref: str, alt: str) -> Status | tuple[Edit, Span]:
        spans = reference.spans(chrom)
        if not spans:
            return Status.CONTIG_NOT_IN_REFERENCE
        named = windows.zero_based(pos, ref)
        for span in spans:
            if span.start <= named.start and named.stop <= span.stop:
                break
        else:
            return Status.POSITION_OUT_OF_RANGE
        if reference.fetch(chrom, named.start, named.stop).tobytes() != dna.codes(ref):
            return Status.REF_MISMATCH
        edit = windows.trim(pos, ref, alt)
        if max(len(edit.ref), len(edit.alt)) > max_allele_bases:
            return Status.ALLELE_TOO_LONG
        return edit, span

    return locate


def _window_reader(
    reference: Reference, model: Description, settings: Settings
) -> Callable[[str, Edit, Span], Status | Prepared]:
    """Views of masked and causal models: windows on a grid."""
    phases = [
        (settings.grid(model, phase), list(views))
        for phase, views in groupby(
            settings.views_of(model.tokenizer.stride), key=lambda view: view.phase
        )
    ]
    fitting_window = _window_finder(reference, model, settings)
    # NT's windows are of single tokens: where none fits, the contig's end is what is in the way.
    too_short = Status.AT_CONTIG_END if model.family == "nt" else Status.CONTIG_TOO_SHORT

    def read(chrom: str, edit: Edit, span: Span) -> Status | Prepared:
        pairs: list[TokenPair | None] = []
        sequences: list[WindowSequence] = []
        for grid, views in phases:
            window = fitting_window(chrom, edit, span, grid)
            if isinstance(window, Status):
                return window
            if window is None:
                pairs += [None] * len(views)
                continue
            sequences += _distinct(window)
            for view in views:
                pair = _pair(edit, window, view, model)
                if isinstance(pair, Status):
                    return pair
                pairs.append(pair)
        if not any(pairs):
            placed = any(grid.place(edit.start, span) for grid, _ in phases)
            return Status.AT_CONTIG_END if placed else too_short
        return Prepared(edit, tuple(sequences), tuple(pairs))

    return read


def _distinct(window: _Window) -> list[WindowSequence]:
    """REF, and ALT where it is spelled out, once where both strands read the same."""
    found = [window.ref]
    for alt in window.alt or ():
        if alt and alt[0] is not found[-1]:
            found.append(alt[0])
    return found


def _window_finder(
    reference: Reference, model: Description, settings: Settings
) -> Callable[[str, Edit, Span, Grid], _Window | Status | None]:
    """The function that finds an allele's window on a grid, its sequences and whether it fits."""
    ref_sequence = _ref_reader(reference, model.tokenizer)

    def find(chrom: str, edit: Edit, span: Span, grid: Grid) -> _Window | Status | None:
        """The window, shortened until its tokens fit the model; None: no change in it.

        Single-base tokens make a window of the usual length too long: those that Ns break off, and
        those at the end of an ALT window for which the contig has no more bases.
        """
        place = grid.place(edit.start, span)
        if place is None or not windows.holds(place, edit):
            return None
        full = place
        fetch = partial(reference.fetch, chrom)
        while place.start < place.stop and windows.holds(place, edit):
            ref = ref_sequence(chrom, place, span, grid)
            alt = _alt_sequences(edit, place, span, fetch, model)
            if alt == (None, None):
                return None
            if place == full and ref.n_fraction > settings.max_n_fraction:
                return Status.TOO_MANY_N
            counts = [some[0].token_count for some in alt or () if some]
            if max(ref.token_count, *counts, 0) <= model.max_tokens:
                return _Window(place, ref, alt)
            place = grid.shorten(place, edit.start)
        return None

    return find


def _ref_reader(
    reference: Reference, tokenizer: Tokenizer
) -> Callable[[str, Span, Span, Grid], WindowSequence]:
    """The function that reads a REF window, from tokens of stretches of the grid if it can."""

    @lru_cache(maxsize=64)
    def block(chrom: str, start: int, stop: int) -> Tokens | None:
        """Tokens of a stretch of the grid; None where an N lies in it."""
        bases = reference.fetch(chrom, start, stop)
        if (bases == dna.N).any():
            return None
        tokens = tokenizer.encode(bases)
        return tokens if tokenizer.is_regular(tokens) else None

    @lru_cache(maxsize=64)
    def read(chrom: str, place: Span, span: Span, grid: Grid) -> WindowSequence:
        fetch = partial(reference.fetch, chrom, place.start, place.stop)
        if not tokenizer.joins:
            return WindowSequence(fetch, tokenizer)
        parts = []
        for start, stop in grid.blocks(place, span):
            tokens = block(chrom, start, stop)
            if tokens is None:
                return WindowSequence(fetch, tokenizer)
            first, last = max(place.start, start) - start, min(place.stop, stop) - start
            front = len(tokenizer.front)
            parts.append(tokens.ids[front + first // grid.stride : front + last // grid.stride])
        return WindowSequence(fetch, tokenizer, tokenizer.join(parts))

    return read


def _alt_sequences(
    edit: Edit,
    place: Span,
    span: Span,
    fetch: Callable[[int, int], Dna],
    model: Description,
) -> tuple[AltSequence | None, AltSequence | None] | None:
    """The ALT sequence of a window as each strand reads it; None where REF's tokens tell it."""
    tokenizer, offset = model.tokenizer, edit.start - place.start

    def made(bases: Dna) -> WindowSequence:
        return WindowSequence(lambda: bases, tokenizer)

    if tokenizer.kind == "bpe":
        alt = made(windows.replaced(edit, place, fetch)), offset
        return alt, alt
    if edit.is_substitution:
        return None
    bases = windows.alt_window(edit, place, span, fetch)
    if bases is not None and model.step != tokenizer.stride and len(bases) % model.step:
        # A contig's end has made it shorter; the network only takes whole steps.
        bases = None
    forward = None if bases is None else (made(bases), offset)
    if model.objective != "causal":
        return forward, forward
    pinned = windows.alt_window_to_left(edit, place, span, fetch)
    return forward, None if pinned is None else (made(pinned[0]), pinned[1])


def _pair(edit: Edit, window: _Window, view: View, model: Description) -> TokenPair | Status | None:
    """The pair of one view; None where this strand cannot read the change."""
    offset = edit.start - window.place.start
    ref = window.ref.on_strand(view.reverse)
    if window.alt is None:
        return token_pair(edit, (offset, offset), ref, None, view.reverse, model)
    side = window.alt[view.reverse]
    if side is None:
        return None
    alt = side[0].on_strand(view.reverse)
    return token_pair(edit, (offset, side[1]), ref, alt, view.reverse, model)


def token_pair(
    edit: Edit,
    offsets: tuple[int, int],
    ref: Tokens,
    alt: Tokens | None,
    reverse: bool,
    model: Description,
) -> TokenPair | Status | None:
    """Tokens of both sequences on one strand, and which of them hold the change.

    Args:
        edit: the change.
        offsets: place of the first changed base in the REF and ALT sequences, read forward.
        ref: tokens of the REF sequence on that strand.
        alt: tokens of the ALT sequence on that strand; not needed where REF's tell it.
        reverse: whether the strand is the reverse complement.
        model: whose tokens they are.

    Returns:
        None where no token on this strand holds the change, or none before it predicts it.
    """
    tokenizer, causal = model.tokenizer, model.objective == "causal"
    if tokenizer.kind == "bpe" and alt is not None:
        sides = (
            windows.on_strand(Span(offset, offset + len(bases)), tokens.bases, reverse)
            for offset, bases, tokens in zip(offsets, (edit.ref, edit.alt), (ref, alt), strict=True)
        )
        changed = differing(ref, alt, *sides)
    else:
        held = _holding(ref, offsets[0], edit.ref, reverse, tokenizer, causal)
        # A substitution is at the same bases on both sides.
        changed = Changed(
            held,
            _holding(alt, offsets[1], edit.alt, reverse, tokenizer, causal) if alt else held,
        )
    if not changed.ref or not changed.alt:
        return None
    if causal and min(changed.ref.start, changed.alt.start) == 0:
        return None
    if tokenizer.spoiled(ref, changed.ref) or (alt and tokenizer.spoiled(alt, changed.alt)):
        return Status.N_IN_VARIANT_TOKEN
    ref_ids = ref.at(changed.ref)
    if alt is None:
        bases = _on_strand(edit.ref, reverse), _on_strand(edit.alt, reverse)
        first = windows.changed_bases(offsets[0], edit.ref, ref.bases, reverse).start
        place = first - int(ref.places.starts[changed.ref.start])
        alt_ids = tokenizer.substitute(ref_ids, place, *bases)
        if alt_ids is None:
            return Status.N_IN_VARIANT_TOKEN
        snv = (place, bases[0][0], bases[1][0]) if len(edit.ref) == 1 else None
        return TokenPair(ref, None, changed.ref, changed.alt, ref_ids, alt_ids, snv, True, True)
    snv = None
    if len(edit.ref) == len(edit.alt) == 1:
        snv = (0, _on_strand(edit.ref, reverse)[0], _on_strand(edit.alt, reverse)[0])
    one_mask = tokenizer.kind == "bpe" and len(changed.ref) == len(changed.alt)
    same = one_mask and edit.is_substitution and _same_places(ref, alt, changed)
    alt_ids = alt.at(changed.alt)
    return TokenPair(ref, alt, changed.ref, changed.alt, ref_ids, alt_ids, snv, one_mask, same)


def _on_strand(bases: bytes, reverse: bool) -> bytes:
    return dna.other_strand(bases) if reverse else bases


def _same_places(ref: Tokens, alt: Tokens, changed: Changed) -> bool:
    some = slice(changed.ref.start, changed.ref.stop)
    return np.array_equal(ref.places.stops[some], alt.places.stops[some])


def _holding(
    tokens: Tokens, offset: int, side: bytes, reverse: bool, tokenizer: Tokenizer, causal: bool
) -> range:
    """The tokens that hold one side of a change.

    An empty side is a junction between two bases: it takes the token of the base after it, as the
    forward strand reads; of a causal model, as this strand reads; of overlapping k-mers, the tokens
    that hold the bases on both sides of it.
    """
    bases = windows.changed_bases(offset, side, tokens.bases, reverse)
    if side or not (causal or tokenizer.coverage > 1):
        return tokens.places.holding(bases)
    # The bases before and after the junction, as this strand reads.
    before = Span(bases.start, bases.stop) if reverse else Span(bases.start - 1, bases.start)
    behind = Span(before.stop, before.stop + 1)
    if behind.stop > tokens.bases:
        return range(0)
    if tokenizer.coverage == 1:
        return tokens.places.holding(behind)
    if before.start < 0:
        return range(0)
    left, right = tokens.places.holding(before), tokens.places.holding(behind)
    return range(max(left.start, right.start), min(left.stop, right.stop))


def _field_reader(
    reference: Reference, model: Description, settings: Settings
) -> Callable[[str, Edit, Span], Status | Prepared]:
    """Views of rate models: the bases that the output at the first changed base depends on."""
    tokenizer, field = model.tokenizer, model.field
    middle = field // 2

    def read(chrom: str, edit: Edit, span: Span) -> Status | Prepared:
        p, fetch = edit.start, partial(reference.fetch, chrom)
        if p >= span.stop:
            return Status.AT_CONTIG_END
        ref_bases = windows.around(p, field, span, fetch)
        if np.count_nonzero(ref_bases == dna.N) > settings.max_n_fraction * field:
            return Status.TOO_MANY_N
        alt_bases = windows.around_changed(edit, field, span, fetch)
        if alt_bases[middle] == dna.BEYOND:
            return Status.AT_CONTIG_END
        if dna.N in (ref_bases[middle], alt_bases[middle]):
            return Status.N_IN_VARIANT_TOKEN
        sequences = tuple(
            WindowSequence(partial(_same, bases), tokenizer) for bases in (ref_bases, alt_bases)
        )
        one, snv = range(middle, middle + 1), None
        pairs = []
        for view in settings.views_of(tokenizer.stride):
            ref, alt = (sequence.on_strand(view.reverse) for sequence in sequences)
            if len(edit.ref) == len(edit.alt) == 1:
                sides = _on_strand(edit.ref, view.reverse), _on_strand(edit.alt, view.reverse)
                snv = (0, sides[0][0], sides[1][0])
            along = -p if view.reverse else p
            locus = Locus(chrom, view.reverse, along)
            ids = ref.at(one), alt.at(one)
            pairs.append(TokenPair(ref, alt, one, one, *ids, snv, False, False, locus))
        used = sequences[:1] if edit.is_substitution else sequences
        return Prepared(edit, used, tuple(pairs))

    return read


def _same(bases: Dna) -> Dna:
    return bases
