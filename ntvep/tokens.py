"""windows -> tokens: 6-mers to a checkpoint's ids, and which tokens hold the change.

The only place for token arithmetic. The rule of the Nucleotide Transformer's tokenizer: six-mers
from the left; fewer than six bases left over become single bases; each N is a token of its own and
restarts the frame. Token indices here count from the first base; ``<cls>`` stands before them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Int16, Int64

from ntvep import dna
from ntvep.dna import Dna
from ntvep.windows import K, Span

_PLACE_VALUES = 4 ** np.arange(K - 1, -1, -1)
SIX_MERS = tuple("".join(letters) for letters in product(dna.LETTERS[:4], repeat=K))


@dataclass(frozen=True)
class Vocabulary:
    """Ids of one checkpoint, looked up by token string.

    Attributes:
        six_mers: id of each 6-mer, in the order of its base-4 code (A 0, C 1, G 2, T 3).
        bases: ids of A, C, G, T, N.
        cls, mask: ids of these special tokens.
        with_base: ids of the 1,024 6-mers that have a base at an offset.
    """

    six_mers: Int16[np.ndarray, "4096"]
    bases: Int16[np.ndarray, "5"]
    cls: int
    mask: int
    with_base: Int64[np.ndarray, "6 4 1024"]


def vocabulary(tokens: Sequence[str]) -> Vocabulary:
    """Look up every token that is needed in a checkpoint's vocabulary.

    Args:
        tokens: token strings; a token's place is its id.

    Raises:
        ValueError: a token is missing or stands twice.
    """
    ids = {token: number for number, token in enumerate(tokens)}
    wanted = (*SIX_MERS, *dna.LETTERS, "<cls>", "<mask>")
    missing = [token for token in wanted if token not in ids]
    if missing:
        raise ValueError(f"{len(missing)} tokens are missing (first: {missing[0]!r})")
    if len(ids) != len(tokens):
        twice = next(token for number, token in enumerate(tokens) if ids[token] != number)
        raise ValueError(f"token {twice!r} stands twice")
    six_mers = np.array([ids[token] for token in SIX_MERS], np.int16)
    digits = np.arange(4**K)[:, None] // _PLACE_VALUES % 4
    with_base = np.array(
        [[six_mers[digits[:, o] == base] for base in range(4)] for o in range(K)], np.int64
    )
    bases = np.array([ids[letter] for letter in dna.LETTERS], np.int16)
    return Vocabulary(six_mers, bases, ids["<cls>"], ids["<mask>"], with_base)


@dataclass(frozen=True)
class Tokens:
    """One tokenised sequence.

    Attributes:
        ids: token ids, ``<cls>`` first.
        starts: in the sequence, the place of each token's first base; one fewer than ``ids``.
        bases: length of the sequence.
    """

    ids: Int16[np.ndarray, "token"]
    starts: Int64[np.ndarray, "token-1"]
    bases: int

    def overlapping(self, bases: Span) -> range:
        """Indices into ``ids`` of the tokens that overlap a stretch of the sequence."""
        first, last = np.searchsorted(self.starts, (bases.start, bases.stop - 1), side="right")
        return range(int(first), int(last) + 1)

    def has_single_base(self, changed: range) -> bool:
        """Whether one of the tokens with these indices into ``ids`` is one base, not a 6-mer."""
        edges = self.starts[changed.start - 1 : changed.stop]
        if len(edges) == len(changed):
            edges = np.append(edges, self.bases)
        return bool((edges[1:] - edges[:-1] == 1).any())


# For questions that ids do not matter to: where tokens lie, and how many there are.
ANY_VOCABULARY = vocabulary(("<cls>", "<mask>", *SIX_MERS, *dna.LETTERS))


def token_starts(sequence: Dna) -> Int64[np.ndarray, "token"]:
    """Where the tokens of a sequence begin. Equal numbers on both strands."""
    length = len(sequence)
    is_n = sequence == dna.N
    if not is_n.any():
        return np.concatenate((np.arange(0, length - K + 1, K), np.arange(length // K * K, length)))
    # A run is a stretch between Ns; an N is a run of its own.
    begins = np.flatnonzero(is_n | np.concatenate(([True], is_n[:-1])))
    lengths = np.diff(np.append(begins, length))
    place_in_run = np.arange(length) - np.repeat(begins, lengths)
    whole = np.repeat(lengths // K * K, lengths)
    return np.flatnonzero((place_in_run >= whole) | (place_in_run % K == 0))


def token_count(sequence: Dna) -> int:
    """Number of tokens of a sequence, ``<cls>`` not counted; the same on both strands."""
    if (sequence == dna.N).any():
        return len(token_starts(sequence))
    return len(sequence) // K + len(sequence) % K


def tokenize(sequence: Dna, vocabulary: Vocabulary) -> Tokens:
    """Tokenise one sequence, as the checkpoint's own tokenizer does."""
    starts = token_starts(sequence)
    lengths = np.diff(np.append(starts, len(sequence)))
    ids = vocabulary.bases[sequence[starts]]
    whole = lengths == K
    first = starts[whole]
    codes = sum(sequence[first + i].astype(np.int64) * _PLACE_VALUES[i] for i in range(K))
    ids[whole] = vocabulary.six_mers[codes]
    cls = np.array([vocabulary.cls], np.int16)
    return Tokens(np.concatenate((cls, ids)), starts, len(sequence))


def substitute(ref: Tokens, changed: range, sequence: Dna, vocabulary: Vocabulary) -> Tokens:
    """Tokenise a sequence that differs from ``ref``'s in the bases of ``changed`` 6-mers alone.

    The same as ``tokenize(sequence)``, without reading the other thousand tokens again.
    """
    begin = ref.starts[changed.start - 1]
    ids = ref.ids.copy()
    piece = sequence[begin : begin + K * len(changed)]
    ids[changed.start : changed.stop] = tokenize(piece, vocabulary).ids[1:]
    return Tokens(ids, ref.starts, ref.bases)
