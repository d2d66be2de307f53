"""a tokenizer's identity -> one that cuts alike, of no model: for windows without their model."""

from collections.abc import Mapping
from typing import Any

from ntvep import dna
from ntvep.errors import ConfigError
from ntvep.tokenizers.base import base_tokenizer
from ntvep.tokenizers.kmer import kmer_tokenizer, kmers, whole_kmer_tokenizer
from ntvep.tokenizers.overlapping import overlapping_tokenizer
from ntvep.tokens import Tokenizer


def blank(identity: Mapping[str, Any]) -> Tokenizer:
    """A tokenizer that cuts sequences as the identified one does; its ids mean nothing.

    Raises:
        ConfigError: it is a byte-pair encoding, which cannot be had without its file.
    """
    kind = identity.get("kind", "kmer")
    front, back = identity.get("front", []), identity.get("back", [])
    if kind == "kmer":
        k = identity["k"]
        if identity.get("rest") == "unknown":
            first = range(2, 2 + 4**k)
            return whole_kmer_tokenizer(first, 0, 2 + 4**k, k=k, front=[1] * len(front))
        return kmer_tokenizer(("<cls>", "<mask>", *kmers(k), *dna.LETTERS), k)
    if kind == "base":
        ids = {letter: number for number, letter in enumerate((*dna.LETTERS, "-"))}
        return base_tokenizer(ids, 8, mask=6, front=[7] * len(front), back=[7] * len(back))
    if kind == "overlapping":
        k = identity["k"]
        names = ("[UNK]", "[MASK]", "[CLS]", *kmers(k))
        return overlapping_tokenizer(
            names, k, front=["[CLS]"] * len(front), back=["[CLS]"] * len(back)
        )
    raise ConfigError(
        "--model none: the token borders of this model depend on its tokenizer file; give --model"
    )
