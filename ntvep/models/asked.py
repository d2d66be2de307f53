"""questions -> what is asked of a batch: numbers of questions, and places in what is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from ntvep.passes import Questions

# What is answered of a batch, in the order in which it is computed.
KINDS = ("tokens", "bases", "entropy", "hidden", "likelihood", "pooled")


@dataclass(frozen=True)
class Sorted:
    """Things asked for, sorted by what each is asked of.

    Attributes:
        owner: number of what each is asked of, ascending.
        index: number of each in the questions.
    """

    owner: Int64[np.ndarray, "asked"]
    index: Int64[np.ndarray, "asked"]

    @classmethod
    def by(cls, owner: Int64[np.ndarray, "asked"]) -> "Sorted":
        """Sort by the number of what each is asked of."""
        index = np.argsort(owner, kind="stable")
        return cls(owner[index], index)

    def of(
        self, owners: Int64[np.ndarray, "some"]
    ) -> tuple[Int64[np.ndarray, "asked"], Int64[np.ndarray, "asked"]]:
        """What is asked of some: its numbers, and of which of them each is asked, from 0."""
        first = np.searchsorted(self.owner, owners)
        counts = np.searchsorted(self.owner, owners, side="right") - first
        which = np.repeat(np.arange(len(owners)), counts)
        within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.index[first[which] + within], which


@dataclass(frozen=True)
class Asked:
    """The questions, by the pass that they are asked of; or by the row, where they are of a row."""

    questions: Questions
    rows: Sorted
    hidden: Sorted
    likelihood: Sorted
    pooled: Sorted
    tokens: Sorted
    bases: Sorted
    entropy: Sorted

    @classmethod
    def of(cls, questions: Questions) -> "Asked":
        """Sort what is asked."""
        return cls(
            questions,
            rows=Sorted.by(questions.rows[:, 0]),
            hidden=Sorted.by(questions.hidden[:, 0]),
            likelihood=Sorted.by(questions.likelihood[:, 0]),
            pooled=Sorted.by(questions.pooled),
            tokens=Sorted.by(questions.tokens[:, 0]),
            bases=Sorted.by(questions.bases[:, 0]),
            entropy=Sorted.by(questions.entropy),
        )


class Places(NamedTuple):
    """What is asked of a batch.

    Attributes:
        numbers: by kind, the numbers of the questions, in the order of their answers.
        sent: places in what the device computes, which it has to be told: ``row_pass`` and
            ``row_token`` of each prediction; ``token_row`` and ``token_id``; ``base_row``,
            ``entropy_row``; ``hidden_pass`` and ``hidden_token``; ``pooled_pass``; ``sum_pass``
            (each pass of which sums are asked), ``sum_of`` (which of these) and ``sum_since`` of
            each sum.
        given: of each row whose bases are asked: what :class:`Questions` says, row left out.
        pooled: ``pooled_pass``, here.
        sum_passes: ``sum_pass``, here.
        since: the first token that any sum begins at.
    """

    numbers: Mapping[str, Int64[np.ndarray, "asked"]]
    sent: Mapping[str, Int64[np.ndarray, "asked"]]
    given: Int64[np.ndarray, "base_row 2"]
    pooled: Int64[np.ndarray, "pooled"]
    sum_passes: Int64[np.ndarray, "summed"]
    since: int


def places(asked: Asked, passes: Int64[np.ndarray, "pass"]) -> Places:
    """What is asked of these passes, which are computed together, in this order."""
    questions = asked.questions
    rows, row_pass = asked.rows.of(passes)
    tokens, token_row = asked.tokens.of(rows)
    bases, base_row = asked.bases.of(rows)
    entropy, entropy_row = asked.entropy.of(rows)
    hidden, hidden_pass = asked.hidden.of(passes)
    sums, of_pass = asked.likelihood.of(passes)
    pooled, pooled_pass = asked.pooled.of(passes)
    since = questions.likelihood[sums, 1]
    sum_passes, sum_of = np.unique(of_pass, return_inverse=True)
    return Places(
        numbers={
            "tokens": tokens,
            "bases": bases,
            "entropy": entropy,
            "hidden": hidden,
            "likelihood": sums,
            "pooled": pooled,
        },
        sent={
            "row_pass": row_pass,
            "row_token": questions.rows[rows, 1],
            "token_row": token_row,
            "token_id": questions.tokens[tokens, 1],
            "base_row": base_row,
            "entropy_row": entropy_row,
            "hidden_pass": hidden_pass,
            "hidden_token": questions.hidden[hidden, 1],
            "pooled_pass": pooled_pass,
            "sum_pass": sum_passes,
            "sum_of": sum_of,
            "sum_since": since,
        },
        given=questions.bases[bases, 1:],
        pooled=pooled_pass,
        sum_passes=sum_passes,
        since=int(since.min(initial=np.iinfo(np.int64).max)),
    )


def by_kind(
    passes: Int64[np.ndarray, "pass"],
    shared: Int64[np.ndarray, "every"],
    lengths: Int64[np.ndarray, "every"],
) -> Sequence[Int64[np.ndarray, "some"]]:
    """Passes that share as many tokens and are as long, together."""
    if not len(passes):
        return []
    keys = np.stack((shared[passes], lengths[passes]))
    _, kind = np.unique(keys, axis=1, return_inverse=True)
    return [passes[kind == number] for number in range(int(kind.max()) + 1)]
