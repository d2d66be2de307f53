"""letters -> codes: DNA as uint8 arrays (A 0, C 1, G 2, T 3, N 4) and its reverse complement.

Code 5 means a place beyond the end of a contig; only models that pad their input know it.
"""

import numpy as np
from jaxtyping import UInt8

# Two sequences of one call rarely have one length, so the axis has no name.
Dna = UInt8[np.ndarray, "_"]

LETTERS = "ACGTN"
N = 4
BEYOND = 5

_CODES = bytearray([N] * 256)
for _code, _letter in enumerate(LETTERS[:N]):
    _CODES[ord(_letter)] = _CODES[ord(_letter.lower())] = _code
_CODE_OF_BYTE = bytes(_CODES)
_COMPLEMENT = bytes((3, 2, 1, 0, N, BEYOND)) + bytes([N] * 250)
_BYTE_OF_CODE = LETTERS.encode() + b"-" + bytes(250)


def codes(letters: str | bytes) -> bytes:
    """Codes, one a byte. Lower case (soft-masked) counts as upper; all but ACGT becomes N.

    For an allele, which is a handful of bases: bytes are compared and joined faster than arrays.
    """
    raw = letters.encode("ascii", "replace") if isinstance(letters, str) else letters
    return raw.translate(_CODE_OF_BYTE)


def encode(letters: str | bytes) -> Dna:
    """Codes of a sequence, as an array; see :func:`codes`."""
    return np.frombuffer(codes(letters), np.uint8)


def decode(codes: Dna | bytes) -> str:
    """Upper-case letters of a coded sequence."""
    return bytes(codes).translate(_BYTE_OF_CODE).decode("ascii")


def other_strand(codes: bytes) -> bytes:
    """The reverse complement of a few bases. N stays N."""
    return codes[::-1].translate(_COMPLEMENT)


def reverse_complement(codes: Dna) -> Dna:
    """The other strand of a sequence, read in its own direction."""
    return np.frombuffer(other_strand(codes.tobytes()), np.uint8)
