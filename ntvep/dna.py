"""letters -> codes: DNA as uint8 arrays (A 0, C 1, G 2, T 3, N 4) and its reverse complement."""

import numpy as np
from jaxtyping import UInt8

# Two sequences of one call rarely have one length, so the axis has no name.
Dna = UInt8[np.ndarray, "_"]

LETTERS = "ACGTN"
N = 4

_CODE_OF_BYTE = np.full(256, N, np.uint8)
for _code, _letter in enumerate(LETTERS[:N]):
    _CODE_OF_BYTE[[ord(_letter), ord(_letter.lower())]] = _code
_COMPLEMENT = np.array([3, 2, 1, 0, N], np.uint8)
_LETTER_OF_CODE = np.frombuffer(LETTERS.encode(), np.uint8)


def encode(letters: str | bytes) -> Dna:
    """Codes of a sequence. Lower case (soft-masked) counts as upper; all but ACGT becomes N."""
    raw = letters.encode("ascii", "replace") if isinstance(letters, str) else letters
    codes: Dna = _CODE_OF_BYTE[np.frombuffer(raw, np.uint8)]
    return codes


def decode(codes: Dna) -> str:
    """Upper-case letters of a coded sequence."""
    return bytes(_LETTER_OF_CODE[codes]).decode("ascii")


def reverse_complement(codes: Dna) -> Dna:
    """The other strand, read in its own direction. N stays N."""
    other: Dna = _COMPLEMENT[codes[::-1]]
    return other
