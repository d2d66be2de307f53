"""windows -> tokens: byte-pair encoding, whose tokens depend on their neighbours."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int32

from ntvep import dna
from ntvep.dna import Dna
from ntvep.objectives import Kind
from ntvep.tokens import Places, Tokens

# Upper-case letters -> ids, and where in the text each token begins and ends.
Segment = Callable[[str], tuple[Sequence[int], Sequence[tuple[int, int]]]]


@dataclass(frozen=True, eq=False)
class Bpe:
    """A byte-pair encoding that is handed in.

    Attributes:
        segment: cuts a sequence, without special tokens.
        mask: id of the mask.
        front, back: special tokens.
        terms: tokens of only A, C, G, T.
    """

    segment: Segment
    mask: int | None
    front: tuple[int, ...]
    back: tuple[int, ...]
    terms: Bool[np.ndarray, "vocab"]

    kind: ClassVar[Kind] = "bpe"
    stride = 1
    coverage = 1
    joins = False
    nucleotides = None
    members = None

    def identity(self) -> Mapping[str, object]:
        """That it is one, and which special tokens surround it; its file is hashed separately."""
        return {"kind": self.kind, "front": list(self.front), "back": list(self.back)}

    def encode(self, bases: Dna) -> Tokens:
        """Tokenise one sequence."""
        ids, offsets = self.segment(dna.decode(bases))
        places = np.array(offsets, np.int32).reshape(-1, 2)
        none, end = np.zeros(len(self.front), np.int32), np.full(len(self.back), len(bases))
        return Tokens(
            np.concatenate((self.front, ids, self.back)).astype(np.int32),
            Places(
                np.concatenate((none, places[:, 0], end)).astype(np.int32),
                np.concatenate((none, places[:, 1], end)).astype(np.int32),
            ),
            len(bases),
            even=False,
        )

    def count(self, bases: Dna) -> int:
        """Number of tokens of this strand, special ones included."""
        ids, _ = self.segment(dna.decode(bases))
        return len(self.front) + len(ids) + len(self.back)

    def reverse_complement(self, forward: Tokens, fetch: Callable[[], Dna]) -> Tokens:
        """Tokens of the other strand, which are not a mirror image."""
        return self.encode(dna.reverse_complement(fetch()))

    def join(self, ids: Sequence[Int32[np.ndarray, "_"]]) -> Tokens:
        """Never: tokens depend on their neighbours."""
        raise NotImplementedError("byte-pair encodings cannot be joined")

    def is_regular(self, tokens: Tokens) -> bool:
        """Never: see ``join``."""
        return False

    def substitute(
        self, ids: Sequence[int], place: int, before: bytes, after: bytes
    ) -> tuple[int, ...] | None:
        """The sequence has to be segmented again."""
        return None

    def prefix(self, token: int, offset: int) -> int:
        """Not defined: tokens have many lengths."""
        return 0

    def spoiled(self, tokens: Tokens, changed: range) -> bool:
        """Whether one of these tokens holds anything but A, C, G, T."""
        return not self.terms[tokens.ids[changed.start : changed.stop]].all()


def bpe_tokenizer(
    segment: Segment,
    tokens: Sequence[str],
    vocab_size: int,
    *,
    mask: int | None,
    front: Sequence[int],
    back: Sequence[int],
) -> Bpe:
    """A tokenizer from a vocabulary's spellings.

    Args:
        segment: cuts a sequence, without special tokens.
        tokens: spelling of each id; "" for an id that has none.
        vocab_size: number of logits, which may be larger.
        mask: id of the mask; None if the model has none.
        front: ids of special tokens before the bases.
        back: after them.
    """
    terms = np.zeros(vocab_size, bool)
    terms[: len(tokens)] = [bool(token) and not token.strip("ACGT") for token in tokens]
    return Bpe(segment, mask, tuple(front), tuple(back), terms)
