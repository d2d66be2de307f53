"""windows -> tokens: ids, and the bases that each token covers; what a tokenizer must provide.

Token indices count from the first id of the model's input, special tokens included.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int32, Int64

from ntvep.dna import Dna
from ntvep.objectives import Kind
from ntvep.windows import Span


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Places:
    """Which bases each token of an input covers; shared by inputs that are cut alike.

    Attributes:
        starts, stops: in the sequence, 0-based and half-open. Special tokens cover no base.
        regular: bases of each token, and how many special ones precede them; None if tokens
            have several lengths, or overlap.
    """

    starts: Int32[np.ndarray, "token"]
    stops: Int32[np.ndarray, "token"]
    regular: tuple[int, int] | None = None

    def holding(self, bases: Span) -> range:
        """Indices of the tokens that hold one of these bases."""
        if self.regular and bases.stop <= self.stops[-1]:
            stride, front = self.regular
            return range(front + bases.start // stride, front - (-bases.stop // stride))
        first = self.stops.searchsorted(bases.start, "right")
        last = self.starts.searchsorted(bases.stop, "left")
        return range(int(first), max(int(first), int(last)))


@dataclass(frozen=True, eq=False)
class Tokens:
    """One tokenised sequence.

    Attributes:
        ids: token ids, special tokens included.
        places: which bases they cover.
        bases: length of the sequence.
        even: whether every nucleotide token weighs the same in a mean; else it weighs its bases.
    """

    ids: Int32[np.ndarray, "token"]
    places: Places
    bases: int
    even: bool = True

    @cached_property
    def content(self) -> bytes:
        """A dictionary's key: equal for equal inputs, whose tokens weigh the same."""
        return self.ids.tobytes() + (b"" if self.even else self.places.stops.tobytes())

    @property
    def weights(self) -> Int32[np.ndarray, "token"]:
        """What each token weighs in a mean; 0 for special tokens."""
        lengths: Int32[np.ndarray, "token"] = self.places.stops - self.places.starts
        return (lengths > 0).astype(np.int32) if self.even else lengths

    def at(self, changed: range) -> tuple[int, ...]:
        """Ids of consecutive tokens."""
        return tuple(self.ids[changed.start : changed.stop].tolist())


class Changed(NamedTuple):
    """Which tokens of REF and of ALT hold a change."""

    ref: range
    alt: range


@runtime_checkable
class Tokenizer(Protocol):
    """How a model's input is made of bases."""

    @property
    def kind(self) -> Kind:
        """``kmer``, ``base``, ``overlapping`` or ``bpe``."""
        ...

    @property
    def stride(self) -> int:
        """Bases from one token to the next, the step of the genome-wide grid; 1 for ``bpe``."""
        ...

    @property
    def coverage(self) -> int:
        """Tokens that hold one base: k for overlapping k-mers, else 1."""
        ...

    @property
    def front(self) -> tuple[int, ...]:
        """Ids of the special tokens before the bases."""
        ...

    @property
    def back(self) -> tuple[int, ...]:
        """Ids of the special tokens after the bases."""
        ...

    @property
    def mask(self) -> int | None:
        """Id of the mask; None if the model has none."""
        ...

    @property
    def joins(self) -> bool:
        """Whether a window's tokens are those of the stretches of the grid it is made of."""
        ...

    @property
    def terms(self) -> Bool[np.ndarray, "vocab"]:
        """Ids whose log-probabilities are summed."""
        ...

    @property
    def nucleotides(self) -> tuple[int, int, int, int] | None:
        """Ids of A, C, G, T where a token is a base, else None."""
        ...

    @property
    def members(self) -> Int64[np.ndarray, "offset 4 ids"] | None:
        """Ids of the k-mers that have a base at an offset, where a token is a k-mer."""
        ...

    def identity(self) -> Mapping[str, object]:
        """What of it changes a score, for the fingerprint."""
        ...

    def encode(self, bases: Dna) -> Tokens:
        """Tokenise one sequence, as the model's own tokenizer does."""
        ...

    def count(self, bases: Dna) -> int:
        """Number of tokens of a sequence, special ones included; the same on both strands."""
        ...

    def reverse_complement(self, forward: Tokens, fetch: Callable[[], Dna]) -> Tokens:
        """Tokens of the other strand of a sequence; ``fetch`` gives its bases if needed."""
        ...

    def join(self, ids: Sequence[Int32[np.ndarray, "_"]]) -> Tokens:
        """Tokens of a sequence whose regular tokens' ids come in pieces; if ``joins``."""
        ...

    def is_regular(self, tokens: Tokens) -> bool:
        """Whether there is one token for each stride of bases, so that pieces can be joined."""
        ...

    def substitute(
        self, ids: Sequence[int], place: int, before: bytes, after: bytes
    ) -> tuple[int, ...] | None:
        """Ids of consecutive tokens after a substitution of some of their bases.

        Args:
            ids: of the tokens that hold the bases; all of A, C, G, T.
            place: of the first replaced base, counted from the first token's first.
            before: codes of the bases that go.
            after: codes of those that come.

        Returns:
            None if the sequence has to be tokenised again.
        """
        ...

    def prefix(self, token: int, offset: int) -> int:
        """Base-4 code of the first bases of a k-mer; 0 for offset 0."""
        ...

    def spoiled(self, tokens: Tokens, changed: range) -> bool:
        """Whether an N keeps one of these tokens from being scored."""
        ...


def differing(ref: Tokens, alt: Tokens, ref_bases: Span, alt_bases: Span) -> Changed:
    """Which tokens differ where each allele's sequence is re-segmented (byte-pair encoding).

    The longest common prefix of ids goes, then the longest common suffix of what is left. Common
    tokens go back to both sides until the changed bases are covered; if a side is empty then, the
    first token of the common suffix goes back to both.

    Args:
        ref: tokens of the REF sequence.
        alt: tokens of the ALT sequence, in the same direction.
        ref_bases: the changed bases of REF, as that strand reads; may be empty.
        alt_bases: those of ALT.
    """
    shortest = min(len(ref.ids), len(alt.ids))
    unequal = np.flatnonzero(ref.ids[:shortest] != alt.ids[:shortest])
    prefix = int(unequal[0]) if len(unequal) else shortest
    rest = shortest - prefix
    unequal = np.flatnonzero(ref.ids[::-1][:rest] != alt.ids[::-1][:rest])
    suffix = int(unequal[0]) if len(unequal) else rest
    for tokens, bases in ((ref, ref_bases), (alt, alt_bases)):
        if bases.start < bases.stop:
            held = tokens.places.holding(bases)
            prefix = min(prefix, held.start)
            suffix = min(suffix, len(tokens.ids) - held.stop)
    if prefix + suffix >= shortest:
        suffix = max(0, shortest - prefix - 1)
    return Changed(range(prefix, len(ref.ids) - suffix), range(prefix, len(alt.ids) - suffix))
