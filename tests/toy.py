"""Toy models and genomes whose answers can be worked out on paper."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ntvep import dna
from ntvep.description import Description
from ntvep.passes import Answers, Questions
from ntvep.pipeline import ScoringContext
from ntvep.provenance import ModelIdentity
from ntvep.schema import ALLELES, Status
from ntvep.settings import Settings
from ntvep.tokenizers.kmer import kmer_tokenizer, kmers
from ntvep.windows import Span

VOCABULARY = ("<cls>", "<mask>", *kmers(6), *dna.LETTERS)
TOKENIZER = kmer_tokenizer(VOCABULARY)
SIZE = len(VOCABULARY)


def like_nt(max_tokens: int = 20, tokenizer=TOKENIZER) -> Description:
    """A masked model of 6-mers."""
    longest = tokenizer.k * (max_tokens - 1)
    return Description(
        "nt", "masked", tokenizer, "", 1, max_tokens, longest, longest, step=tokenizer.k
    )


def context(genome, model, settings: Settings, known=None, max_tokens: int = 20) -> ScoringContext:
    """All that scoring with such a model needs."""
    return ScoringContext(genome, model, like_nt(max_tokens), settings, known)


def identity(name: str = "toy", model: Description | None = None, **which) -> ModelIdentity:
    """Which model computed scores; of 6-mers if no description is given."""
    given = {
        "revision": None,
        "weights_sha256": "0" * 64,
        "precision": "fp32",
        "device": "cpu",
    }
    return ModelIdentity.of(model or like_nt(), model_id=name, **given | which)


def settings(scores: Sequence[str] = (), window_tokens: int = 3, **options) -> Settings:
    """Settings of a masked model of 6-mers, all of its scores if none are named."""
    from ntvep.objectives import defined_scores

    scores = tuple(scores) or defined_scores("masked", "kmer")
    return Settings(scores=scores, window_bases=6 * window_tokens, **options)


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
        asked = questions
        inputs = [asked.inputs.rows(np.array([i]))[0] for i in range(len(asked.inputs))]
        self.passes += [ids.tobytes() for ids in inputs]
        p = np.exp(self.log_probs)
        of_bases = np.log([[p[TOKENIZER.members[o, b]].sum() for b in range(4)] for o in range(6)])
        hidden = [self.embeddings[inputs[i][t]] for i, t in asked.hidden]
        likelihood = [self.log_probs[inputs[i][since:]].sum() for i, since in asked.likelihood]
        pooled = [self.embeddings[inputs[i][1:]].mean(axis=0) for i in asked.pooled]
        if on_passes:
            on_passes(len(inputs))
        dim = self.embeddings.shape[1]
        return Answers(
            self.log_probs[asked.tokens[:, 1]].astype(np.float32),
            np.tile(of_bases, (len(asked.bases), 1, 1)),
            np.full(len(asked.entropy), -np.sum(p * self.log_probs)),
            np.array(hidden, np.float64).reshape(-1, dim),
            np.array(likelihood, np.float64),
            np.array(pooled, np.float64).reshape(-1, dim),
        )


def unigram(probabilities: dict[str, float], dim: int = 4, seed: int = 0) -> Unigram:
    """A toy model: the named 6-mers' probabilities, the rest shared equally by all other ids."""
    rest = (1 - sum(probabilities.values())) / (SIZE - len(probabilities))
    p = np.full(SIZE, rest)
    for six_mer, probability in probabilities.items():
        p[VOCABULARY.index(six_mer)] = probability
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
