"""windows -> tokens: one token per base."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int32

from ntvep import dna
from ntvep.dna import Dna
from ntvep.objectives import Kind
from ntvep.tokenizers.kmer import regular_places
from ntvep.tokens import Tokens


@dataclass(frozen=True, eq=False)
class Base:
    """Ids of a model that reads single bases.

    Attributes:
        ids: of A, C, G, T, N and of what lies beyond a contig's end (only rate models use it).
        mask: id of the mask.
        front, back: special tokens.
        terms: A, C, G, T.
        complement: of each id, the id of the complementary base; other ids stay as they are.
        nucleotides: ids of A, C, G, T.
    """

    ids: Int32[np.ndarray, "6"]
    mask: int | None
    front: tuple[int, ...]
    back: tuple[int, ...]
    terms: Bool[np.ndarray, "vocab"]
    complement: Int32[np.ndarray, "vocab"]
    nucleotides: tuple[int, int, int, int]

    kind: ClassVar[Kind] = "base"
    stride = 1
    coverage = 1
    joins = True
    members = None

    def identity(self) -> Mapping[str, object]:
        """That a token is a base, and which special tokens surround them."""
        return {"kind": self.kind, "front": list(self.front), "back": list(self.back)}

    def encode(self, bases: Dna) -> Tokens:
        """Tokenise one sequence."""
        return self.join([self.ids[bases]])

    def count(self, bases: Dna) -> int:
        """Number of tokens, special ones included."""
        return len(self.front) + len(bases) + len(self.back)

    def reverse_complement(self, forward: Tokens, fetch: Callable[[], Dna]) -> Tokens:
        """Tokens of the other strand."""
        first, last = len(self.front), len(forward.ids) - len(self.back)
        return self.join([self.complement[forward.ids[first:last][::-1]]])

    def join(self, ids: Sequence[Int32[np.ndarray, "_"]]) -> Tokens:
        """Tokens of a sequence whose bases' ids come in pieces."""
        front, back = np.array(self.front, np.int32), np.array(self.back, np.int32)
        joined = np.concatenate((front, *ids, back))
        count = len(joined) - len(front) - len(back)
        return Tokens(joined, regular_places(1, len(front), count, len(back)), count)

    def is_regular(self, tokens: Tokens) -> bool:
        """Always: an N is a token like any other."""
        return True

    def substitute(
        self, ids: Sequence[int], place: int, before: bytes, after: bytes
    ) -> tuple[int, ...]:
        """Ids of the new bases."""
        return tuple(self.nucleotides[base] for base in after)

    def prefix(self, token: int, offset: int) -> int:
        """A base has nothing before it."""
        return 0

    def spoiled(self, tokens: Tokens, changed: range) -> bool:
        """Whether one of these tokens is not A, C, G or T."""
        return not self.terms[tokens.ids[changed.start : changed.stop]].all()


def base_tokenizer(
    ids: Mapping[str, int],
    vocab_size: int,
    *,
    mask: int | None = None,
    front: Sequence[int] = (),
    back: Sequence[int] = (),
) -> Base:
    """A tokenizer from the ids of A, C, G, T, N and, for rate models, ``-``.

    Args:
        ids: of each letter; N is whatever the model spells N as, often its unknown token.
        vocab_size: number of ids.
        mask: id of the mask; None if the model has none.
        front: ids of special tokens before the bases.
        back: those after them.

    Raises:
        ValueError: two nucleotides share an id, or one is none of the vocabulary.
    """
    letters = [ids[letter] for letter in dna.LETTERS]
    if len(set(letters[:4])) < 4 or not all(0 <= i < vocab_size for i in letters):
        raise ValueError(f"A, C, G, T, N have the ids {letters} of {vocab_size}")
    a, c, g, t = letters[:4]
    terms = np.zeros(vocab_size, bool)
    terms[letters[:4]] = True
    complement = np.arange(vocab_size, dtype=np.int32)
    complement[[a, c, g, t]] = [t, g, c, a]
    return Base(
        np.array([*letters, ids.get("-", letters[4])], np.int32),
        mask,
        tuple(front),
        tuple(back),
        terms,
        complement,
        (a, c, g, t),
    )
