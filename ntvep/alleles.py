"""alleles -> REF and ALT tokens in each view, or the status that says why there are none."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import groupby
from typing import Protocol, runtime_checkable

import numpy as np

from ntvep import dna, windows
from ntvep.dna import Dna
from ntvep.passes import TokenPair
from ntvep.schema import Status
from ntvep.settings import VIEWS, Settings
from ntvep.tokens import (
    Tokens,
    Vocabulary,
    join,
    reverse_complement,
    substitute,
    token_count,
    tokenize,
)
from ntvep.windows import Edit, K, Span


@runtime_checkable
class Reference(Protocol):
    """A reference genome, as the core sees it."""

    def spans(self, chrom: str) -> Sequence[Span]:
        """The stretches of this contig that there are; none if the contig is not there."""
        ...

    def fetch(self, chrom: str, start: int, stop: int) -> Dna:
        """Bases of a stretch that lies inside one of the spans."""
        ...


@dataclass(frozen=True, eq=False)
class WindowSequence:
    """A window's bases and tokens, each found when it is asked for.

    Attributes:
        fetch: gives the bases.
        vocabulary: of the model.
        six_mers: tokens of the forward strand, if they are known already; all are 6-mers.
    """

    fetch: Callable[[], Dna]
    vocabulary: Vocabulary
    six_mers: Tokens | None = None

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
        if self.six_mers:
            return 0.0
        return np.count_nonzero(self.bases == dna.N) / len(self.bases)

    @cached_property
    def token_count(self) -> int:
        """Number of tokens, the same on both strands."""
        return len(self.six_mers.ids) - 1 if self.six_mers else token_count(self.bases)

    def on_strand(self, reverse: bool) -> Tokens:
        """Its tokens, or those of its reverse complement."""
        return self._reverse if reverse else self._forward

    @cached_property
    def _forward(self) -> Tokens:
        return self.six_mers or tokenize(self.bases, self.vocabulary)

    @cached_property
    def _reverse(self) -> Tokens:
        return reverse_complement(self._forward, self.fetch, self.vocabulary)


@dataclass(frozen=True, slots=True)
class Prepared:
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
    def frameshifted(self) -> bool:
        """The length change is not a multiple of 6: every token behind the change differs."""
        return (len(self.edit.alt) - len(self.edit.ref)) % K != 0


@dataclass(frozen=True, slots=True)
class _Window:
    """The sequences of one window; a substitution's ALT is not spelled out."""

    place: Span
    ref: WindowSequence
    alt: WindowSequence | None


def preparer(
    reference: Reference, vocabulary: Vocabulary, settings: Settings
) -> Callable[[str, int, str, str], Status | Prepared]:
    """The function ``(chrom, pos, ref, alt) -> Prepared | Status`` for alleles of A, C, G, T.

    It remembers the reference windows that it has just tokenised, because neighbours share them.
    """
    phases = [
        (phase, [view.reverse for view in views])
        for phase, views in groupby(VIEWS[settings.views], key=lambda view: view.phase)
    ]

    @lru_cache(maxsize=64)
    def block(chrom: str, start: int, stop: int) -> Tokens | None:
        """6-mers of a stretch of the grid; None where it has an N."""
        tokens = tokenize(reference.fetch(chrom, start, stop), vocabulary)
        return tokens if tokens.starts is None else None

    @lru_cache(maxsize=64)
    def ref_sequence(chrom: str, place: Span, span: Span) -> WindowSequence:
        fetch = partial(reference.fetch, chrom, place.start, place.stop)
        parts = []
        for start, stop in windows.blocks(place, span):
            tokens = block(chrom, start, stop)
            if tokens is None:
                return WindowSequence(fetch, vocabulary)
            first, last = max(place.start, start), min(place.stop, stop)
            parts.append(tokens.between(first - start, last - start))
        return WindowSequence(fetch, vocabulary, join(parts, vocabulary))

    def fitting_window(chrom: str, edit: Edit, span: Span, phase: int) -> _Window | Status | None:
        """The window of a phase, shortened until its tokens fit the model; None: no change in it.

        Single-base tokens make a window of the usual length too long: those that Ns break off, and
        the up to five at the end of an ALT window for which the contig has no more bases.
        """
        place = windows.place(edit.start, phase, settings.window_tokens, span)
        if place is None or not windows.holds(place, edit):
            return None
        full = place
        while windows.holds(place, edit):
            ref, alt = ref_sequence(chrom, place, span), None
            if not edit.is_substitution:
                bases = windows.alt_window(edit, place, span, partial(reference.fetch, chrom))
                if bases is None:
                    return None
                alt = WindowSequence(partial(_same, bases), vocabulary)
            if place == full and ref.n_fraction > settings.max_n_fraction:
                return Status.TOO_MANY_N
            count = max(ref.token_count, alt.token_count) if alt else ref.token_count
            if count < settings.max_tokens:
                return _Window(place, ref, alt)
            place = windows.shorten(place, edit.start)
        return None

    def prepare(chrom: str, pos: int, ref: str, alt: str) -> Status | Prepared:
        located = locate(chrom, pos, ref, alt, reference, settings)
        if isinstance(located, Status):
            return located
        edit, span = located
        pairs: list[TokenPair | None] = []
        sequences: list[WindowSequence] = []
        for phase, strands in phases:
            window = fitting_window(chrom, edit, span, phase)
            if isinstance(window, Status):
                return window
            if window is None:
                pairs += [None] * len(strands)
                continue
            sequences += (window.ref, window.alt) if window.alt else (window.ref,)
            for reverse in strands:
                ref_tokens = window.ref.on_strand(reverse)
                alt_tokens = window.alt.on_strand(reverse) if window.alt else None
                offset = edit.start - window.place.start
                pair = token_pair(edit, offset, ref_tokens, alt_tokens, reverse, vocabulary)
                if isinstance(pair, Status):
                    return pair
                pairs.append(pair)
        if not any(pairs):
            return Status.AT_CONTIG_END
        return Prepared(edit, tuple(sequences), tuple(pairs))

    return prepare


def locate(
    chrom: str, pos: int, ref: str, alt: str, reference: Reference, settings: Settings
) -> Status | tuple[Edit, Span]:
    """The minimal form of an allele and the stretch of its contig, once REF has been checked."""
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
    if max(len(edit.ref), len(edit.alt)) > settings.max_allele_bases:
        return Status.ALLELE_TOO_LONG
    return edit, span


def token_pair(
    edit: Edit,
    offset: int,
    ref: Tokens,
    alt: Tokens | None,
    reverse: bool,
    vocabulary: Vocabulary,
) -> TokenPair | Status:
    """Tokens of both sequences on one strand, and which of them hold the change.

    Args:
        edit: the change.
        offset: place of the first changed base in both sequences, read forward.
        ref: tokens of the REF sequence on that strand.
        alt: tokens of the ALT sequence on that strand; not needed for a substitution.
        reverse: whether the strand is the reverse complement.
        vocabulary: of the model.
    """
    ref_bases = windows.changed_bases(offset, edit.ref, ref.bases, reverse)
    ref_changed = ref.overlapping(ref_bases)
    # A single base among the changed tokens of a REF window is an N's doing: without an N it
    # would be all 6-mers.
    if ref.has_single_base(ref_changed):
        return Status.N_IN_VARIANT_TOKEN
    ref_ids = tuple(ref.ids[ref_changed.start : ref_changed.stop].tolist())
    if alt is None:
        sides = edit.ref, edit.alt
        if reverse:
            sides = dna.other_strand(edit.ref), dna.other_strand(edit.alt)
        place = ref_bases.start - ref.start(ref_changed.start)
        alt_ids = substitute(ref_ids, place, sides, vocabulary)
        snv = (place, sides[0][0], sides[1][0]) if len(edit.ref) == 1 else None
        return TokenPair(ref, None, ref_changed, ref_changed, ref_ids, alt_ids, snv)
    alt_bases = windows.changed_bases(offset, edit.alt, alt.bases, reverse)
    alt_changed = alt.overlapping(alt_bases)
    # In an ALT window the contig's end leaves single bases too: these are scored as they are.
    if alt.has_single_base(alt_changed) and (alt.ids == vocabulary.bases[dna.N]).any():
        return Status.N_IN_VARIANT_TOKEN
    alt_ids = tuple(alt.ids[alt_changed.start : alt_changed.stop].tolist())
    return TokenPair(ref, alt, ref_changed, alt_changed, ref_ids, alt_ids, None)


def _same(bases: Dna) -> Dna:
    return bases
