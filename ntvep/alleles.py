"""alleles -> REF and ALT tokens in each view, or the status that says why there are none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from typing import Protocol, runtime_checkable

import numpy as np

from ntvep import dna, windows
from ntvep.dna import Dna
from ntvep.passes import TokenPair
from ntvep.schema import Status
from ntvep.settings import VIEWS, Settings
from ntvep.tokens import Tokens, Vocabulary, substitute, token_count, tokenize
from ntvep.windows import Edit, K, Span, WindowPair


@runtime_checkable
class Reference(Protocol):
    """A reference genome, as the core sees it."""

    def spans(self, chrom: str) -> Sequence[Span]:
        """The stretches of this contig that there are; none if the contig is not there."""
        ...

    def fetch(self, chrom: str, start: int, stop: int) -> Dna:
        """Bases of a stretch that lies inside one of the spans."""
        ...


@dataclass(frozen=True)
class Prepared:
    """An allele that can be scored.

    Attributes:
        frameshifted: the length change is not a multiple of 6: every token behind it differs.
        pairs: tokens in each view of the settings; None where the view's window does not hold the
            change.
    """

    frameshifted: bool
    pairs: tuple[TokenPair | None, ...]


def preparer(
    reference: Reference, vocabulary: Vocabulary, settings: Settings
) -> Callable[[str, int, str, str], Status | Prepared]:
    """The function ``(chrom, pos, ref, alt) -> Prepared | Status`` for alleles of A, C, G, T.

    It remembers the reference windows that it has just tokenised, because neighbours share them.
    """

    @lru_cache(maxsize=64)
    def reference_tokens(chrom: str, start: int, stop: int, reverse: bool) -> Tokens:
        return tokenize(_on_strand(reference.fetch(chrom, start, stop), reverse), vocabulary)

    def prepare(chrom: str, pos: int, ref: str, alt: str) -> Status | Prepared:
        located = locate(chrom, pos, ref, alt, reference, settings)
        if isinstance(located, Status):
            return located
        edit, span = located
        pairs: list[TokenPair | None] = []
        for phase, views in groupby(VIEWS[settings.views], key=lambda view: view.phase):
            pair = fitting_window(edit, span, phase, partial(reference.fetch, chrom), settings)
            if isinstance(pair, Status):
                return pair
            for view in views:
                if pair is None:
                    pairs.append(None)
                    continue
                ref_tokens = reference_tokens(chrom, pair.start, pair.stop, view.reverse)
                tokens = token_pair(edit, pair, view.reverse, ref_tokens, vocabulary)
                if isinstance(tokens, Status):
                    return tokens
                pairs.append(tokens)
        if not any(pairs):
            return Status.AT_CONTIG_END
        return Prepared((len(edit.alt) - len(edit.ref)) % K != 0, tuple(pairs))

    return prepare


def locate(
    chrom: str, pos: int, ref: str, alt: str, reference: Reference, settings: Settings
) -> Status | tuple[Edit, Span]:
    """The minimal form of an allele and the stretch of its contig, once REF has been checked."""
    spans = reference.spans(chrom)
    if not spans:
        return Status.CONTIG_NOT_IN_REFERENCE
    named = windows.zero_based(pos, ref)
    span = next((s for s in spans if s.start <= named.start and named.stop <= s.stop), None)
    if span is None:
        return Status.POSITION_OUT_OF_RANGE
    if dna.decode(reference.fetch(chrom, named.start, named.stop)) != ref.upper():
        return Status.REF_MISMATCH
    edit = windows.trim(pos, ref, alt)
    if max(len(edit.ref), len(edit.alt)) > settings.max_allele_bases:
        return Status.ALLELE_TOO_LONG
    return edit, span


def fitting_window(
    edit: Edit,
    span: Span,
    phase: int,
    fetch: Callable[[int, int], Dna],
    settings: Settings,
) -> WindowPair | Status | None:
    """The window of a phase, shortened until its tokens fit the model; None if it lacks the change.

    Single-base tokens make a window of the usual length too long: those that Ns break off, and the
    up to five at the end of an ALT window for which the contig has no more bases.
    """
    window = windows.place(edit.start, phase, settings.window_tokens, span)
    pair = window and windows.cut(edit, window, span, fetch)
    if not pair:
        return None
    if np.count_nonzero(pair.ref == dna.N) > settings.max_n_fraction * len(pair.ref):
        return Status.TOO_MANY_N
    while pair and max(map(token_count, (pair.ref, pair.alt))) >= settings.max_tokens:
        window = windows.shorten(Span(pair.start, pair.stop), edit.start)
        pair = windows.cut(edit, window, span, fetch)
    return pair


def token_pair(
    edit: Edit, pair: WindowPair, reverse: bool, ref: Tokens, vocabulary: Vocabulary
) -> TokenPair | Status:
    """Tokens of both sequences on one strand, and which of them hold the change.

    Args:
        edit: the change.
        pair: its window.
        reverse: whether to read the reverse complement.
        ref: tokens of the REF sequence on that strand.
        vocabulary: of the model.
    """
    ref_bases, alt_bases = windows.changed_bases(pair, edit, reverse)
    ref_changed = ref.overlapping(ref_bases)
    # A single base among the changed tokens of a REF window is an N's doing: without an N it
    # would be all 6-mers.
    if ref.has_single_base(ref_changed):
        return Status.N_IN_VARIANT_TOKEN
    alt_sequence = _on_strand(pair.alt, reverse)
    if edit.is_substitution:
        alt = substitute(ref, ref_changed, alt_sequence, vocabulary)
    else:
        alt = tokenize(alt_sequence, vocabulary)
    alt_changed = alt.overlapping(alt_bases)
    if alt.has_single_base(alt_changed) and (alt_sequence == dna.N).any():
        return Status.N_IN_VARIANT_TOKEN
    snv = None
    if len(edit.ref) == len(edit.alt) == 1:
        offset = ref_bases.start - int(ref.starts[ref_changed.start - 1])
        bases = (int(_on_strand(base, reverse)[0]) for base in (edit.ref, edit.alt))
        snv = (offset, next(bases), next(bases))
    return TokenPair(ref, alt, ref_changed, alt_changed, edit.is_substitution, snv)


def _on_strand(sequence: Dna, reverse: bool) -> Dna:
    return dna.reverse_complement(sequence) if reverse else sequence
