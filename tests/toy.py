"""Toy models and genomes whose answers can be worked out on paper."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ntvep import dna, tokens
from ntvep.passes import Answers, Questions
from ntvep.schema import ALLELES, Status
from ntvep.windows import Span

VOCABULARY = tokens.ANY_VOCABULARY
SIZE = 2 + 4096 + 5


@dataclass
class Unigram:
    """Gives every token one probability, whatever stands around it, and a hidden state of its own.

    Attributes:
        log_probs: of each id.
        embeddings: hidden state of each id (the mask's stands where the mask does).
        passes: inputs seen, in order.
    """

    log_probs: np.ndarray
    embeddings: np.ndarray
    passes: list[bytes] = field(default_factory=list)

    def answer(self, questions: Questions, on_passes=None) -> Answers:
        """One pass after the other."""
        self.passes += [ids.tobytes() for ids in questions.inputs]
        likelihood = [self.log_probs[ids[1:]].sum() for ids in questions.inputs]
        pooled = [self.embeddings[ids[1:]].mean(axis=0) for ids in questions.inputs]
        hidden = [self.embeddings[questions.inputs[p][t]] for p, t in questions.hidden]
        if on_passes:
            on_passes(len(questions.inputs))
        return Answers(
            np.tile(self.log_probs.astype(np.float32), (len(questions.log_probs), 1)),
            np.array(hidden, np.float64).reshape(-1, self.embeddings.shape[1]),
            np.array(likelihood, np.float64),
            np.array(pooled, np.float64),
        )


def unigram(probabilities: dict[str, float], dim: int = 4, seed: int = 0) -> Unigram:
    """A toy model: the named 6-mers' probabilities, the rest shared equally by all other ids."""
    rest = (1 - sum(probabilities.values())) / (SIZE - len(probabilities))
    p = np.full(SIZE, rest)
    for six_mer, probability in probabilities.items():
        p[VOCABULARY.six_mers[tokens.SIX_MERS.index(six_mer)]] = probability
    return Unigram(np.log(p), np.random.default_rng(seed).normal(size=(SIZE, dim)))


@dataclass(frozen=True)
class Genome:
    """A reference of strings; soft-masked letters and IUPAC codes are read as in a FASTA."""

    contigs: dict[str, str]

    def spans(self, chrom: str) -> Sequence[Span]:
        """The whole contig."""
        return (Span(0, len(self.contigs[chrom])),) if chrom in self.contigs else ()

    def fetch(self, chrom: str, start: int, stop: int) -> np.ndarray:
        """Codes of a stretch."""
        assert 0 <= start <= stop <= len(self.contigs[chrom]), "fetched outside the contig"
        return dna.encode(self.contigs[chrom])[start:stop]


def alleles(*rows: tuple[str, int, str, str] | tuple[str, int, str, str, str]) -> pl.DataFrame:
    """ALLELES of biallelic records (chrom, pos, ref, alt[, status])."""
    full = [
        (number, 1, *row[:4], row[4] if len(row) > 4 else Status.OK)
        for number, row in enumerate(rows)
    ]
    schema = {column.name: column.dtype for column in ALLELES}
    return pl.DataFrame(full, schema=schema, orient="row")
