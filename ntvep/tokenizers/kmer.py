"""windows -> tokens: k-mers that do not overlap, as the Nucleotide Transformer cuts them.

k-mers from the left; fewer than k bases left over become single bases; each N is a token of its own
and restarts the frame (Dalla-Torre et al., Nature Methods 22:287, 2025, and its code).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt16

from ntvep import dna
from ntvep.dna import Dna
from ntvep.objectives import Kind
from ntvep.tokens import Places, Tokens


def kmers(k: int) -> tuple[str, ...]:
    """All k-mers, in the order of their base-4 code (A 0, C 1, G 2, T 3)."""
    return tuple("".join(letters) for letters in product(dna.LETTERS[:4], repeat=k))


@lru_cache
def place_values(k: int) -> tuple[int, ...]:
    """What a base at each offset adds to a k-mer's base-4 code."""
    return tuple(4**i for i in reversed(range(k)))


@dataclass(frozen=True, eq=False)
class Kmers:
    """Ids of one checkpoint's k-mers.

    Attributes:
        k: bases of a token.
        ids: id of each k-mer, in the order of its base-4 code.
        bases: ids of A, C, G, T, N.
        front: special tokens before the bases.
        mask: id of the mask.
        terms: every id: single bases and N are counted too.
        members: ids of the k-mers that have a base at an offset.
        code_of: base-4 code of each id; -1 for ids that are not k-mers.
        id_of: ``ids`` again, as plain numbers.
        complement: of each k-mer's id, the id of its reverse complement; -1 for other ids.
    """

    k: int
    ids: Int32[np.ndarray, "kmer"]
    bases: Int32[np.ndarray, "5"]
    front: tuple[int, ...]
    mask: int | None
    terms: Bool[np.ndarray, "vocab"]
    members: Int64[np.ndarray, "offset 4 ids"]
    code_of: tuple[int, ...]
    id_of: tuple[int, ...]
    complement: Int32[np.ndarray, "vocab"]

    kind: ClassVar[Kind] = "kmer"
    coverage = 1
    back = ()
    joins = True
    nucleotides = None

    @property
    def stride(self) -> int:
        """Bases from one token to the next."""
        return self.k

    def identity(self) -> Mapping[str, object]:
        """The k of its tokens."""
        return {"k": self.k}

    def encode(self, bases: Dna) -> Tokens:
        """Tokenise one sequence, as the checkpoint's own tokenizer does."""
        if len(bases) % self.k == 0 and not (bases == dna.N).any():
            return self.join([self.ids[self._codes(bases)]])
        starts = self._starts(bases)
        lengths = np.diff(np.append(starts, len(bases)))
        ids = self.bases[bases[starts]]
        whole = lengths == self.k
        several = bases[starts[whole, None] + np.arange(self.k)].ravel()
        ids[whole] = self.ids[self._codes(several)]
        first = np.zeros(len(self.front), np.int64)
        places = Places(
            np.concatenate((first, starts)).astype(np.int32),
            np.concatenate((first, starts + lengths)).astype(np.int32),
        )
        return Tokens(np.concatenate((np.array(self.front, np.int32), ids)), places, len(bases))

    def count(self, bases: Dna) -> int:
        """Number of tokens, special ones included; the same on both strands."""
        if (bases == dna.N).any():
            return len(self.front) + len(self._starts(bases))
        return len(self.front) + len(bases) // self.k + len(bases) % self.k

    def reverse_complement(self, forward: Tokens, fetch: Callable[[], Dna]) -> Tokens:
        """Tokens of the other strand; where all are k-mers, so are they there."""
        if not self.is_regular(forward):
            return self.encode(dna.reverse_complement(fetch()))
        return self.join([self.complement[forward.ids[len(self.front) :][::-1]]])

    def join(self, ids: Sequence[Int32[np.ndarray, "_"]]) -> Tokens:
        """Tokens of a sequence whose k-mers' ids come in pieces."""
        joined = np.concatenate((self._front, *ids))
        count = len(joined) - len(self.front)
        return Tokens(joined, regular_places(self.k, len(self.front), count, 0), self.k * count)

    def is_regular(self, tokens: Tokens) -> bool:
        """Whether all tokens are k-mers."""
        return (len(tokens.ids) - len(self.front)) * self.k == tokens.bases

    def substitute(
        self, ids: Sequence[int], place: int, before: bytes, after: bytes
    ) -> tuple[int, ...]:
        """Ids of consecutive k-mers after a substitution of some of their bases."""
        values = place_values(self.k)
        if len(ids) == len(before) == 1:
            # Nearly every allele is an SNV.
            step = (after[0] - before[0]) * values[place]
            return (self.id_of[self.code_of[ids[0]] + step],)
        codes = [self.code_of[i] for i in ids]
        for old, new in zip(before, after, strict=True):
            codes[place // self.k] += (new - old) * values[place % self.k]
            place += 1
        return tuple([self.id_of[code] for code in codes])

    def prefix(self, token: int, offset: int) -> int:
        """Base-4 code of the first ``offset`` bases of a k-mer."""
        return int(self.code_of[token] // 4 ** (self.k - offset))

    def spoiled(self, tokens: Tokens, changed: range) -> bool:
        """Whether an N breaks one of these tokens into single bases.

        Without an N, single bases only occur at the end of a contig; these are scored as they are.
        """
        if self.is_regular(tokens):
            return False
        some = slice(changed.start, changed.stop)
        single = tokens.places.stops[some] - tokens.places.starts[some] == 1
        return bool(single.any() and (tokens.ids == self.bases[dna.N]).any())

    @cached_property
    def _front(self) -> Int32[np.ndarray, "front"]:
        return np.array(self.front, np.int32)

    def _starts(self, bases: Dna) -> Int64[np.ndarray, "token"]:
        """Where the tokens of a sequence begin."""
        length, k = len(bases), self.k
        is_n = bases == dna.N
        if not is_n.any():
            return np.concatenate(
                (np.arange(0, length - k + 1, k), np.arange(length // k * k, length))
            )
        # A run is a stretch between Ns; an N is a run of its own.
        begins = np.flatnonzero(is_n | np.concatenate(([True], is_n[:-1])))
        lengths = np.diff(np.append(begins, length))
        place_in_run = np.arange(length) - np.repeat(begins, lengths)
        whole = np.repeat(lengths // k * k, lengths)
        return np.flatnonzero((place_in_run >= whole) | (place_in_run % k == 0))

    def _codes(self, bases: Dna) -> UInt16[np.ndarray, "token"]:
        """Base-4 codes of k-mers that follow each other."""
        codes: UInt16[np.ndarray, "token"] = bases[0 :: self.k].astype(np.uint16)
        if self.k % 2:
            for offset in range(1, self.k):
                codes = codes * 4 + bases[offset :: self.k]
            return codes
        # Two bases at a time: reading every k-th byte is what takes the time.
        twos = bases[:-1] * np.uint8(4) + bases[1:]
        codes = twos[0 :: self.k].astype(np.uint16)
        for offset in range(2, self.k, 2):
            codes *= 16
            codes += twos[offset :: self.k]
        return codes


@lru_cache(maxsize=256)
def regular_places(stride: int, front: int, count: int, back: int) -> Places:
    """Places of tokens of one length, between special tokens."""
    starts = np.arange(count, dtype=np.int32) * stride
    first, last = np.zeros(front, np.int32), np.full(back, stride * count, np.int32)
    return Places(
        np.concatenate((first, starts, last)),
        np.concatenate((first, starts + stride, last)),
        regular=(stride, front),
    )


def lookup(tokens: Sequence[str], wanted: Sequence[str]) -> Mapping[str, int]:
    """Id of each token of a vocabulary; a token's place is its id.

    Raises:
        ValueError: a wanted token is missing, or any occurs twice.
    """
    ids = {token: number for number, token in enumerate(tokens)}
    missing = [token for token in wanted if token not in ids]
    if missing:
        raise ValueError(f"{len(missing)} tokens are missing (first: {missing[0]!r})")
    if len(ids) != len(tokens):
        twice = next(token for number, token in enumerate(tokens) if ids[token] != number)
        raise ValueError(f"token {twice!r} occurs twice")
    return ids


def kmer_tokenizer(
    tokens: Sequence[str],
    k: int = 6,
    front: Sequence[str] = ("<cls>",),
    mask: str | None = "<mask>",
) -> Kmers:
    """Look up every token that is needed in a checkpoint's vocabulary.

    Args:
        tokens: token strings; a token's place is its id.
        k: bases of a token.
        front: special tokens before the bases.
        mask: the mask; None if the model has none.

    Raises:
        ValueError: a token is missing or occurs twice.
    """
    spelled = kmers(k)
    masks = () if mask is None else (mask,)
    ids = lookup(tokens, (*spelled, *dna.LETTERS, *front, *masks))
    by_code = np.array([ids[kmer] for kmer in spelled], np.int32)
    values = np.array(place_values(k))
    digits = np.arange(4**k)[:, None] // values % 4
    complement = np.full(len(tokens), -1, np.int32)
    complement[by_code] = by_code[((3 - digits) * values[::-1]).sum(axis=1)]
    code_of = np.full(len(tokens), -1)
    code_of[by_code] = np.arange(4**k)
    return Kmers(
        k=k,
        ids=by_code,
        bases=np.array([ids[letter] for letter in dna.LETTERS], np.int32),
        front=tuple(ids[token] for token in front),
        mask=None if mask is None else ids[mask],
        terms=np.ones(len(tokens), bool),
        members=np.array(
            [[by_code[digits[:, o] == base] for base in range(4)] for o in range(k)], np.int64
        ),
        code_of=tuple(code_of.tolist()),
        id_of=tuple(by_code.tolist()),
        complement=complement,
    )


@dataclass(frozen=True, eq=False)
class WholeKmers(Kmers):
    """Ids of k-mers; one with an N is one unknown token, and so is a rest of fewer than k bases.

    An N does not move the tokens after it. Only k-mers of A, C, G, T are scored.

    Attributes:
        unknown: id of that token.
    """

    unknown: int

    def identity(self) -> Mapping[str, object]:
        """The k of its tokens, and which special tokens precede them."""
        return {"kind": self.kind, "k": self.k, "rest": "unknown", "front": list(self.front)}

    def encode(self, bases: Dna) -> Tokens:
        """Tokenise one sequence; see the class."""
        whole = len(bases) // self.k * self.k
        kept = bases[:whole]
        has_n = (kept.reshape(-1, self.k) >= dna.N).any(axis=1)
        ids = np.where(has_n, self.unknown, self.ids[self._codes(np.where(kept < dna.N, kept, 0))])
        if whole == len(bases):
            return self.join([ids.astype(np.int32)])
        inner = regular_places(self.k, len(self.front), len(ids), 0)
        places = Places(
            np.append(inner.starts, np.int32(whole)), np.append(inner.stops, np.int32(len(bases)))
        )
        ids = np.concatenate((self.front, ids, [self.unknown])).astype(np.int32)
        return Tokens(ids, places, len(bases))

    def count(self, bases: Dna) -> int:
        """Number of tokens, special ones included; the same on both strands."""
        return len(self.front) + -(-len(bases) // self.k)

    def spoiled(self, tokens: Tokens, changed: range) -> bool:
        """Whether one of these tokens is not a k-mer of A, C, G, T."""
        return not self.terms[tokens.ids[changed.start : changed.stop]].all()


def whole_kmer_tokenizer(
    ids: Sequence[int],
    unknown: int,
    vocab_size: int,
    *,
    k: int = 6,
    front: Sequence[int] = (),
    mask: int | None = None,
) -> WholeKmers:
    """A tokenizer from the ids of all k-mers.

    Args:
        ids: of the k-mers, in the order of their base-4 code (A 0, C 1, G 2, T 3).
        unknown: id of a k-mer with an N, and of a rest.
        vocab_size: number of ids.
        k: bases of a token.
        front: ids of the special tokens before the bases.
        mask: id of the mask; None if the model has none.

    Raises:
        ValueError: there are not 4^k different ids, or one is none of the vocabulary.
    """
    special = [unknown, *front, *(() if mask is None else (mask,))]
    if len(ids) != 4**k or len(set(ids) - set(special)) != 4**k:
        raise ValueError(f"{len(set(ids) - set(special))} ids of their own for {4**k} {k}-mers")
    if min(*ids, *special) < 0 or max(*ids, *special) >= vocab_size:
        raise ValueError(f"ids from {min(*ids, *special)} to {max(*ids, *special)} of {vocab_size}")
    by_code = np.array(ids, np.int32)
    values = np.array(place_values(k))
    digits = np.arange(4**k)[:, None] // values % 4
    complement = np.full(vocab_size, -1, np.int32)
    complement[by_code] = by_code[((3 - digits) * values[::-1]).sum(axis=1)]
    complement[unknown] = unknown
    code_of = np.full(vocab_size, -1)
    code_of[by_code] = np.arange(4**k)
    terms = np.zeros(vocab_size, bool)
    terms[by_code] = True
    members = [[by_code[digits[:, o] == base] for base in range(4)] for o in range(k)]
    return WholeKmers(
        k=k,
        ids=by_code,
        bases=np.full(5, unknown, np.int32),
        front=tuple(front),
        mask=mask,
        terms=terms,
        members=np.array(members, np.int64),
        code_of=tuple(code_of.tolist()),
        id_of=tuple(by_code.tolist()),
        complement=complement,
        unknown=unknown,
    )
