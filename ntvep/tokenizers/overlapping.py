"""windows -> tokens: k-mers that begin at every base (Ji et al., Bioinformatics 37:2112, 2021)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int32, Int64

from ntvep import dna
from ntvep.dna import Dna
from ntvep.objectives import Kind
from ntvep.tokenizers.kmer import kmers, lookup, place_values
from ntvep.tokens import Places, Tokens


@dataclass(frozen=True, eq=False)
class Overlapping:
    """Ids of a model whose token t stands for the bases t to t + k - 1.

    Attributes:
        k: bases of a token.
        ids: id of each k-mer in the order of its base-4 code, then that of a k-mer with an N.
        mask: id of the mask.
        front, back: special tokens.
        terms: the k-mers of A, C, G, T.
        code_of: base-4 code of each id; -1 for ids that are not k-mers.
        complement: of each id, the id of its reverse complement; other ids stay as they are.
    """

    k: int
    ids: Int32[np.ndarray, "_"]
    mask: int | None
    front: tuple[int, ...]
    back: tuple[int, ...]
    terms: Bool[np.ndarray, "vocab"]
    code_of: Int64[np.ndarray, "vocab"]
    complement: Int32[np.ndarray, "vocab"]

    kind: ClassVar[Kind] = "overlapping"
    stride = 1
    joins = False
    nucleotides = None
    members = None

    @property
    def coverage(self) -> int:
        """Tokens that hold one base."""
        return self.k

    def identity(self) -> Mapping[str, object]:
        """The k of its tokens, and which special tokens surround them."""
        return {
            "kind": self.kind, "k": self.k, "front": list(self.front), "back": list(self.back)
        }  # fmt: skip

    def encode(self, bases: Dna) -> Tokens:
        """Tokenise one sequence; a k-mer with an N is the unknown token."""
        return self._tokens(self.ids[self._codes(bases)], len(bases))

    def count(self, bases: Dna) -> int:
        """Number of tokens, special ones included."""
        return len(self.front) + max(0, len(bases) - self.k + 1) + len(self.back)

    def reverse_complement(self, forward: Tokens, fetch: Callable[[], Dna]) -> Tokens:
        """Tokens of the other strand."""
        first, last = len(self.front), len(forward.ids) - len(self.back)
        return self._tokens(self.complement[forward.ids[first:last][::-1]], forward.bases)

    def join(self, ids: Sequence[Int32[np.ndarray, "_"]]) -> Tokens:
        """Never: k-mers lie across the borders of pieces."""
        raise NotImplementedError("overlapping k-mers cannot be joined")

    def is_regular(self, tokens: Tokens) -> bool:
        """Never: see ``join``."""
        return False

    def substitute(
        self, ids: Sequence[int], place: int, before: bytes, after: bytes
    ) -> tuple[int, ...] | None:
        """Ids of consecutive k-mers after a substitution of some of their bases."""
        codes = self.code_of[list(ids)]
        if (codes < 0).any():
            return None
        first = codes[0] // np.array(place_values(self.k)) % 4
        bases = np.concatenate((first, codes[1:] % 4)).astype(np.uint8)
        bases[place : place + len(after)] = np.frombuffer(after, np.uint8)
        return tuple(self.ids[self._codes(bases)].tolist())

    def prefix(self, token: int, offset: int) -> int:
        """Not defined: no single token predicts a base."""
        return 0

    def spoiled(self, tokens: Tokens, changed: range) -> bool:
        """Whether one of these tokens holds an N."""
        return not self.terms[tokens.ids[changed.start : changed.stop]].all()

    def _codes(self, bases: Dna) -> Int64[np.ndarray, "token"]:
        """Base-4 code of the k-mer at each base; 4^k where it holds an N."""
        count = max(0, len(bases) - self.k + 1)
        codes = np.zeros(count, np.int64)
        unknown = np.zeros(count, bool)
        for offset in range(self.k):
            some = bases[offset : offset + count]
            codes = codes * 4 + some
            unknown |= some >= dna.N
        return np.where(unknown, 4**self.k, codes)

    def _tokens(self, ids: Int32[np.ndarray, "kmer"], bases: int) -> Tokens:
        front, back = np.array(self.front, np.int32), np.array(self.back, np.int32)
        starts = np.arange(len(ids), dtype=np.int32)
        none, end = np.zeros(len(front), np.int32), np.full(len(back), bases, np.int32)
        places = Places(
            np.concatenate((none, starts, end)), np.concatenate((none, starts + self.k, end))
        )
        return Tokens(np.concatenate((front, ids, back)), places, bases)


def overlapping_tokenizer(
    tokens: Sequence[str],
    k: int,
    *,
    unknown: str = "[UNK]",
    mask: str = "[MASK]",
    front: Sequence[str] = ("[CLS]",),
    back: Sequence[str] = ("[SEP]",),
) -> Overlapping:
    """Look up every token that is needed in a checkpoint's vocabulary.

    Raises:
        ValueError: a token is missing or occurs twice.
    """
    spelled = kmers(k)
    ids = lookup(tokens, (*spelled, unknown, mask, *front, *back))
    by_code = np.array([ids[kmer] for kmer in spelled], np.int32)
    values = np.array(place_values(k))
    digits = np.arange(4**k)[:, None] // values % 4
    complement = np.arange(len(tokens), dtype=np.int32)
    complement[by_code] = by_code[((3 - digits) * values[::-1]).sum(axis=1)]
    terms = np.zeros(len(tokens), bool)
    terms[by_code] = True
    code_of = np.full(len(tokens), -1)
    code_of[by_code] = np.arange(4**k)
    return Overlapping(
        k,
        np.append(by_code, np.int32(ids[unknown])),
        ids[mask],
        tuple(ids[token] for token in front),
        tuple(ids[token] for token in back),
        terms,
        code_of,
        complement,
    )
