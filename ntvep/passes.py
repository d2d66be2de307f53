"""tokens -> passes: which distinct forward passes must be run, and who asked for what of each.

A pass is its input: equal token ids are one pass, whoever asks. So all alleles of one 6-mer share
their masked pass, REF and ALT of a substitution share it too, all alleles of a window share its
reference pass, and records that spell the same change share everything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16, Int64

from ntvep.tokens import Tokens, Vocabulary


@dataclass(frozen=True)
class TokenPair:
    """REF and ALT of one allele in one view, tokenised.

    Attributes:
        ref, alt: the two sequences' tokens.
        ref_changed, alt_changed: indices of the tokens that hold the change.
        is_substitution: SNV or MNV: both sides change the same tokens.
        snv: for an SNV whose token is a 6-mer: offset in it, REF base, ALT base, on this view's
            strand; else None.
    """

    ref: Tokens
    alt: Tokens
    ref_changed: range
    alt_changed: range
    is_substitution: bool
    snv: tuple[int, int, int] | None


@dataclass(frozen=True)
class Questions:
    """What a language model is asked: distinct inputs, and which of its outputs are needed.

    Attributes:
        inputs: token ids of each pass, ``<cls>`` first; lengths may differ, nothing is padded.
        log_probs: (pass, token) of each row of log-probabilities needed, all distinct.
        hidden: (pass, token) of each hidden state needed, all distinct.
        likelihood: passes whose own tokens' summed log-probability is needed.
        pooled: passes whose mean hidden state is needed.
    """

    inputs: tuple[Int16[np.ndarray, "_"], ...]
    log_probs: Int64[np.ndarray, "query 2"]
    hidden: Int64[np.ndarray, "hidden_query 2"]
    likelihood: Bool[np.ndarray, "pass"]
    pooled: Bool[np.ndarray, "pass"]


@dataclass(frozen=True)
class Answers:
    """What a language model answers, in the order of the questions. Rows not asked for are NaN.

    Attributes:
        log_probs: natural-log probabilities over the vocabulary.
        hidden: hidden states of the chosen layer.
        likelihood: sum over nucleotide tokens of log P(token | the whole input), nats.
        pooled: mean hidden state of the chosen layer.
    """

    log_probs: Float32[np.ndarray, "query vocab"]
    hidden: Float64[np.ndarray, "hidden_query dim"]
    likelihood: Float64[np.ndarray, "pass"]
    pooled: Float64[np.ndarray, "pass dim"]


@runtime_checkable
class LanguageModel(Protocol):
    """A masked language model, as the core sees it."""

    def answer(
        self, questions: Questions, on_passes: Callable[[int], None] | None = None
    ) -> Answers:
        """Run every pass once.

        Args:
            questions: what to run.
            on_passes: told how many passes have just been run, now and then.
        """
        ...


@dataclass(frozen=True)
class Asked:
    """Answer rows that pairs asked for: one line for each changed token of each pair.

    Attributes:
        pair: who asked.
        row: which row of the answers.
        token: whose probability in that row.
    """

    pair: Int64[np.ndarray, "query"]
    row: Int64[np.ndarray, "query"]
    token: Int64[np.ndarray, "query"]


@dataclass(frozen=True)
class Plan:
    """The questions for a list of pairs, and where each pair finds its answers.

    Attributes:
        questions: for the model.
        masked_ref, masked_alt: changed tokens under the mask, REF's and ALT's.
        unmasked_ref, unmasked_alt: substitutions' changed tokens in the unmasked REF window.
        hidden_ref, hidden_alt: hidden states of the changed tokens, unmasked.
        first_masked: row of the first masked REF token of each pair; -1 if not asked.
        ref_pass, alt_pass: unmasked pass of each pair; -1 if not asked.
    """

    questions: Questions
    masked_ref: Asked
    masked_alt: Asked
    unmasked_ref: Asked
    unmasked_alt: Asked
    hidden_ref: Asked
    hidden_alt: Asked
    first_masked: Int64[np.ndarray, "pair"]
    ref_pass: Int64[np.ndarray, "pair"]
    alt_pass: Int64[np.ndarray, "pair"]


@dataclass(frozen=True)
class _Rows:
    """Numbers distinct (pass, token) rows in order of first use."""

    numbers: dict[tuple[int, int], int] = field(default_factory=dict)

    def ask(self, number: int, tokens: range) -> list[int]:
        """Row numbers of these tokens of a pass."""
        return [self.numbers.setdefault((number, t), len(self.numbers)) for t in tokens]

    def array(self) -> Int64[np.ndarray, "query 2"]:
        return np.array(list(self.numbers), np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class _Lines:
    """Collects the lines of one :class:`Asked`."""

    lines: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, pair: int, rows: Sequence[int], tokens: Sequence[int]) -> None:
        self.lines.extend((pair, row, token) for row, token in zip(rows, tokens, strict=True))

    def asked(self) -> Asked:
        pair, row, token = np.array(self.lines, np.int64).reshape(-1, 3).T
        return Asked(pair, row, token)


def plan(pairs: Sequence[TokenPair], scores: Sequence[str], vocabulary: Vocabulary) -> Plan:
    """Which distinct passes the asked scores of these pairs need, and only these.

    Args:
        pairs: alleles in views.
        scores: names of score columns.
        vocabulary: for the id of ``<mask>``.
    """
    wants = set(scores)
    needs_token = any(name.endswith("_token") for name in wants)
    needs_pool = bool(wants & {"cosine_distance", "l1", "l2", "dot"})
    needs_likelihood = "pll_delta" in wants
    needs_whole = needs_token or needs_pool or needs_likelihood

    numbers: dict[bytes, int] = {}
    inputs: list[Int16[np.ndarray, "_"]] = []
    log_probs, hidden = _Rows(), _Rows()
    masked_ref, masked_alt, unmasked_ref, unmasked_alt = _Lines(), _Lines(), _Lines(), _Lines()
    hidden_ref, hidden_alt = _Lines(), _Lines()
    first_masked, ref_pass, alt_pass = (np.full(len(pairs), -1, np.int64) for _ in range(3))

    def number_of(ids: Int16[np.ndarray, "_"]) -> int:
        number = numbers.setdefault(ids.tobytes(), len(inputs))
        if number == len(inputs):
            inputs.append(ids)
        return number

    def masked(tokens: Tokens, changed: range) -> int:
        ids = tokens.ids.copy()
        ids[changed.start : changed.stop] = vocabulary.mask
        return number_of(ids)

    for i, pair in enumerate(pairs):
        ref_ids = pair.ref.ids[pair.ref_changed.start : pair.ref_changed.stop].tolist()
        alt_ids = pair.alt.ids[pair.alt_changed.start : pair.alt_changed.stop].tolist()
        if wants & {"llr", "entropy"} or ("llr_marginal" in wants and pair.snv):
            rows = log_probs.ask(masked(pair.ref, pair.ref_changed), pair.ref_changed)
            first_masked[i] = rows[0]
            if "llr" in wants:
                masked_ref.add(i, rows, ref_ids)
                if not pair.is_substitution:
                    rows = log_probs.ask(masked(pair.alt, pair.alt_changed), pair.alt_changed)
                masked_alt.add(i, rows, alt_ids)
        if needs_whole or ("llr_unmasked" in wants and pair.is_substitution):
            ref_pass[i] = number_of(pair.ref.ids)
        if "llr_unmasked" in wants and pair.is_substitution:
            rows = log_probs.ask(int(ref_pass[i]), pair.ref_changed)
            unmasked_ref.add(i, rows, ref_ids)
            unmasked_alt.add(i, rows, alt_ids)
        if needs_whole:
            alt_pass[i] = number_of(pair.alt.ids)
        if needs_token:
            hidden_ref.add(i, hidden.ask(int(ref_pass[i]), pair.ref_changed), ref_ids)
            hidden_alt.add(i, hidden.ask(int(alt_pass[i]), pair.alt_changed), alt_ids)

    whole = np.zeros(len(inputs), bool)
    if needs_whole:
        whole[ref_pass] = whole[alt_pass] = True
    questions = Questions(
        tuple(inputs),
        log_probs.array(),
        hidden.array(),
        likelihood=whole & needs_likelihood,
        pooled=whole & needs_pool,
    )
    return Plan(
        questions,
        masked_ref.asked(),
        masked_alt.asked(),
        unmasked_ref.asked(),
        unmasked_alt.asked(),
        hidden_ref.asked(),
        hidden_alt.asked(),
        first_masked,
        ref_pass,
        alt_pass,
    )
