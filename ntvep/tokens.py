"""windows -> tokens: 6-mers to a checkpoint's ids, and which tokens hold the change.

The only place for token arithmetic. The rule of the Nucleotide Transformer's tokenizer: six-mers
from the left; fewer than six bases left over become single bases; each N is a token of its own and
restarts the frame. Token indices here count from the first base; ``<cls>`` stands before them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from jaxtyping import Int16, Int64, UInt16

from ntvep import dna
from ntvep.dna import Dna
from ntvep.windows import K, Span

_PLACE_VALUES = tuple(4**i for i in reversed(range(K)))
SIX_MERS = tuple("".join(letters) for letters in product(dna.LETTERS[:4], repeat=K))


@dataclass(frozen=True)
class Vocabulary:
    """Ids of one checkpoint, looked up by token string.

    Attributes:
        six_mers: id of each 6-mer, in the order of its base-4 code (A 0, C 1, G 2, T 3).
        bases: ids of A, C, G, T, N.
        cls, mask: ids of these special tokens.
        with_base: ids of the 1,024 6-mers that have a base at an offset.
        code_of: base-4 code of each id; -1 for what is no 6-mer.
        id_of: ``six_mers`` again, as plain numbers.
        complement: of each 6-mer's id, the id of its reverse complement; -1 for what is no 6-mer.
    """

    six_mers: Int16[np.ndarray, "4096"]
    bases: Int16[np.ndarray, "5"]
    cls: int
    mask: int
    with_base: Int64[np.ndarray, "6 4 1024"]
    code_of: tuple[int, ...]
    id_of: tuple[int, ...]
    complement: Int16[np.ndarray, "vocab"]


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
    digits = np.arange(4**K)[:, None] // np.array(_PLACE_VALUES) % 4
    with_base = np.array(
        [[six_mers[digits[:, o] == base] for base in range(4)] for o in range(K)], np.int64
    )
    bases = np.array([ids[letter] for letter in dna.LETTERS], np.int16)
    codes = {token: code for code, token in enumerate(SIX_MERS)}
    code_of = tuple(codes.get(token, -1) for token in tokens)
    id_of = tuple(six_mers.tolist())
    complement = np.full(len(tokens), -1, np.int16)
    complement[six_mers] = six_mers[((3 - digits) * np.array(_PLACE_VALUES[::-1])).sum(axis=1)]
    return Vocabulary(
        six_mers, bases, ids["<cls>"], ids["<mask>"], with_base, code_of, id_of, complement
    )


@dataclass(frozen=True, eq=False)
class Tokens:
    """One tokenised sequence.

    Attributes:
        ids: token ids, ``<cls>`` first.
        starts: in the sequence, the place of each token's first base; one fewer than ``ids``. None
            where all tokens are 6-mers.
        bases: length of the sequence.
    """

    ids: Int16[np.ndarray, "token"]
    starts: Int64[np.ndarray, "token-1"] | None
    bases: int

    @cached_property
    def content(self) -> bytes:
        """The ids as a dictionary's key: equal for equal inputs."""
        return self.ids.tobytes()

    def overlapping(self, bases: Span) -> range:
        """Indices into ``ids`` of the tokens that overlap a stretch of the sequence."""
        if self.starts is None:
            return range(1 + bases.start // K, 2 + (bases.stop - 1) // K)
        first, last = np.searchsorted(self.starts, (bases.start, bases.stop - 1), side="right")
        return range(int(first), int(last) + 1)

    def start(self, index: int) -> int:
        """Place in the sequence of the first base of the token with this index into ``ids``."""
        return K * (index - 1) if self.starts is None else int(self.starts[index - 1])

    def between(self, start: int, stop: int) -> Int16[np.ndarray, "_"]:
        """Ids of the 6-mers of a stretch; all tokens must be 6-mers."""
        return self.ids[1 + start // K : 1 + stop // K]

    def has_single_base(self, changed: range) -> bool:
        """Whether one of the tokens with these indices into ``ids`` is one base, not a 6-mer."""
        if self.starts is None:
            return False
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
    if len(sequence) % K == 0 and not (sequence == dna.N).any():
        ids = np.empty(1 + len(sequence) // K, np.int16)
        ids[0] = vocabulary.cls
        ids[1:] = vocabulary.six_mers[_codes(sequence)]
        return Tokens(ids, None, len(sequence))
    starts = token_starts(sequence)
    lengths = np.diff(np.append(starts, len(sequence)))
    ids = vocabulary.bases[sequence[starts]]
    whole = lengths == K
    ids[whole] = vocabulary.six_mers[_codes(sequence[starts[whole, None] + np.arange(K)].ravel())]
    cls = np.array([vocabulary.cls], np.int16)
    return Tokens(np.concatenate((cls, ids)), starts, len(sequence))


def _codes(bases: Dna) -> UInt16[np.ndarray, "token"]:
    """Base-4 codes of 6-mers that follow each other."""
    # Two bases at a time: reading every sixth byte is what takes the time.
    twos = bases[:-1] * np.uint8(4) + bases[1:]
    codes: UInt16[np.ndarray, "token"] = twos[0::K].astype(np.uint16)
    for offset in (2, 4):
        codes *= 16
        codes += twos[offset::K]
    return codes


def join(six_mers: Sequence[Int16[np.ndarray, "_"]], vocabulary: Vocabulary) -> Tokens:
    """Tokens of a sequence whose 6-mers' ids come in pieces."""
    ids = np.concatenate((np.array([vocabulary.cls], np.int16), *six_mers))
    return Tokens(ids, None, K * (len(ids) - 1))


def reverse_complement(forward: Tokens, fetch: Callable[[], Dna], vocabulary: Vocabulary) -> Tokens:
    """Tokens of the other strand of a sequence.

    Args:
        forward: tokens of the sequence; where all are 6-mers, so are they on the other strand.
        fetch: gives its bases, where they are needed.
        vocabulary: of the model.
    """
    if forward.starts is not None:
        return tokenize(dna.reverse_complement(fetch()), vocabulary)
    ids = np.empty_like(forward.ids)
    ids[0] = vocabulary.cls
    ids[1:] = vocabulary.complement[forward.ids[:0:-1]]
    return Tokens(ids, None, forward.bases)


def substitute(
    ids: Sequence[int], place: int, bases: tuple[bytes, bytes], vocabulary: Vocabulary
) -> tuple[int, ...]:
    """Ids of consecutive 6-mers once some of their bases have been replaced by as many others.

    The same as tokenising again, without reading the other thousand tokens.

    Args:
        ids: of the 6-mers.
        place: of the first replaced base, counted from the first 6-mer's first.
        bases: codes before and after.
        vocabulary: of the model.
    """
    if len(ids) == len(bases[0]) == 1:
        # Nearly every allele is an SNV.
        step = (bases[1][0] - bases[0][0]) * _PLACE_VALUES[place]
        return (vocabulary.id_of[vocabulary.code_of[ids[0]] + step],)
    codes = [vocabulary.code_of[i] for i in ids]
    for before, after in zip(*bases, strict=True):
        codes[place // K] += (after - before) * _PLACE_VALUES[place % K]
        place += 1
    return tuple([vocabulary.id_of[code] for code in codes])
