"""tokens -> passes: which distinct forward passes must be run, and who asked for what of each.

A pass is its input: a tokenised sequence and what stands in place of some of its tokens. Whoever
asks for the same input shares it: all alleles of one 6-mer their masked pass, REF and ALT of a
substitution too, all alleles of a window its reference pass, and records that spell the same change
everything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int16, Int64

from ntvep.tokens import Tokens, Vocabulary


@dataclass(frozen=True, slots=True)
class TokenPair:
    """REF and ALT of one allele in one view, tokenised.

    Attributes:
        ref: tokens of the REF sequence.
        alt: those of the ALT sequence; None for a substitution (SNV, MNV), whose ALT sequence is
            REF's with ``alt_ids`` in place of ``ref_ids``.
        ref_changed, alt_changed: indices of the tokens that hold the change.
        ref_ids, alt_ids: ids of these tokens.
        snv: for an SNV: offset in its 6-mer, REF base, ALT base, on this view's strand; else None.
    """

    ref: Tokens
    alt: Tokens | None
    ref_changed: range
    alt_changed: range
    ref_ids: tuple[int, ...]
    alt_ids: tuple[int, ...]
    snv: tuple[int, int, int] | None

    @property
    def is_substitution(self) -> bool:
        """SNV or MNV: both sides change the same tokens."""
        return self.alt is None


@dataclass(frozen=True)
class Inputs:
    """Distinct inputs: each is a sequence, with other ids in place of some of its tokens.

    Attributes:
        sequences: token ids, ``<cls>`` first; lengths may differ, nothing is padded.
        sequence: which sequence each pass reads.
        edits: (pass, token, id) of each id that stands in place of the sequence's own; in the order
            of the passes.
    """

    sequences: tuple[Int16[np.ndarray, "_"], ...]
    sequence: Int64[np.ndarray, "pass"]
    edits: Int64[np.ndarray, "edit 3"]

    def __len__(self) -> int:
        """Number of passes."""
        return len(self.sequence)

    @property
    def lengths(self) -> Int64[np.ndarray, "pass"]:
        """Tokens of each pass."""
        of_sequence = np.array([len(ids) for ids in self.sequences], np.int64)
        lengths: Int64[np.ndarray, "pass"] = of_sequence[self.sequence]
        return lengths

    def rows(self, passes: Int64[np.ndarray, "chosen"]) -> Int16[np.ndarray, "chosen token"]:
        """Token ids of passes of one length."""
        ids = np.stack([self.sequences[i] for i in self.sequence[passes]])
        edited = self.edits[:, 0]
        first, last = np.searchsorted(edited, passes), np.searchsorted(edited, passes + 1)
        row, within = _expanded(last - first)
        edits = self.edits[first[row] + within]
        ids[row, edits[:, 1]] = edits[:, 2]
        return ids


@dataclass(frozen=True)
class Questions:
    """What a language model is asked: distinct inputs, and which of its outputs are needed.

    Attributes:
        inputs: of the passes.
        rows: (pass, token) of each prediction needed, all distinct.
        tokens: (row, id) of each log-probability needed.
        bases: rows whose probabilities of single bases are needed.
        entropy: rows whose entropy is needed.
        hidden: (pass, token) of each hidden state needed, all distinct.
        likelihood: passes whose own tokens' summed log-probability is needed.
        pooled: passes whose mean hidden state is needed.
    """

    inputs: Inputs
    rows: Int64[np.ndarray, "row 2"]
    tokens: Int64[np.ndarray, "query 2"]
    bases: Int64[np.ndarray, "base_row"]
    entropy: Int64[np.ndarray, "entropy_row"]
    hidden: Int64[np.ndarray, "hidden_query 2"]
    likelihood: Int64[np.ndarray, "likelihood_pass"]
    pooled: Int64[np.ndarray, "pooled_pass"]


@dataclass(frozen=True)
class Answers:
    """What a language model answers, in the order of the questions; nothing that was not asked for.

    Attributes:
        tokens: natural-log probability of each token asked for.
        bases: natural log of P(base at offset), the sum over the 1,024 6-mers that have it there.
        entropy: of the prediction over the whole vocabulary, nats.
        hidden: hidden states of the chosen layer.
        likelihood: sum over nucleotide tokens of log P(token | the whole input), nats.
        pooled: mean hidden state of the chosen layer.
    """

    tokens: Float32[np.ndarray, "query"]
    bases: Float64[np.ndarray, "base_row 6 4"]
    entropy: Float64[np.ndarray, "entropy_row"]
    hidden: Float64[np.ndarray, "hidden_query dim"]
    likelihood: Float64[np.ndarray, "likelihood_pass"]
    pooled: Float64[np.ndarray, "pooled_pass dim"]


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
class AnswerIndex:
    """Answers that pairs asked for: one line for each changed token of each pair.

    Attributes:
        pair: who asked.
        place: where in the list of answers.
    """

    pair: Int64[np.ndarray, "query"]
    place: Int64[np.ndarray, "query"]


@dataclass(frozen=True)
class Plan:
    """The questions for a list of pairs, and where each pair finds its answers.

    Attributes:
        questions: for the model.
        masked_ref, masked_alt: of ``tokens``: changed tokens under the mask.
        unmasked_ref, unmasked_alt: of ``tokens``: substitutions' changed tokens in the unmasked REF
            window.
        hidden_ref, hidden_alt: of ``hidden``: changed tokens, unmasked.
        bases, entropy: of ``bases`` and ``entropy``: each pair's first masked REF token.
        ref_whole, alt_whole: of ``likelihood`` and ``pooled``: each pair's unmasked pass.

    Each pair has one place in the last four; -1 where it asked for nothing.
    """

    questions: Questions
    masked_ref: AnswerIndex
    masked_alt: AnswerIndex
    unmasked_ref: AnswerIndex
    unmasked_alt: AnswerIndex
    hidden_ref: AnswerIndex
    hidden_alt: AnswerIndex
    bases: Int64[np.ndarray, "pair"]
    entropy: Int64[np.ndarray, "pair"]
    ref_whole: Int64[np.ndarray, "pair"]
    alt_whole: Int64[np.ndarray, "pair"]


@dataclass(frozen=True)
class _Side:
    """REF or ALT of all pairs: which sequence, and its changed tokens.

    Attributes:
        sequence: number of each pair's sequence.
        start, length: its changed tokens.
        offset: where in ``ids`` each pair's begin.
        ids: of the changed tokens, pair after pair.
    """

    sequence: Int64[np.ndarray, "pair"]
    start: Int64[np.ndarray, "pair"]
    length: Int64[np.ndarray, "pair"]
    offset: Int64[np.ndarray, "pair"]
    ids: Int64[np.ndarray, "changed"]

    @classmethod
    def of(
        cls, sequence: Sequence[int], changed: Sequence[range], ids: Sequence[tuple[int, ...]]
    ) -> "_Side":
        """From what the pairs hold."""
        length, offset, flat = _flat(ids)
        start = np.array([tokens.start for tokens in changed], np.int64)
        return cls(np.array(sequence, np.int64), start, length, offset, flat)

    def lines(
        self, pairs: Int64[np.ndarray, "chosen"], passes: Int64[np.ndarray, "pair"]
    ) -> "_Lines":
        """A line for each changed token of these pairs, asked of each pair's pass."""
        owner, within = _expanded(self.length[pairs])
        pair = pairs[owner]
        ids = self.ids[self.offset[pair] + within]
        return _Lines(pair, _row(passes[pair], self.start[pair] + within), ids)


@dataclass(frozen=True)
class _Lines:
    """Changed tokens that are asked about: who asks, of which row, and for which id."""

    pair: Int64[np.ndarray, "line"]
    row: Int64[np.ndarray, "line"]
    ids: Int64[np.ndarray, "line"]


_TOKEN_BITS, _TEXT_BITS = 16, 24


def _row(
    passes: Int64[np.ndarray, "row"], token: Int64[np.ndarray, "row"]
) -> Int64[np.ndarray, "row"]:
    """One number for a token of a pass."""
    rows: Int64[np.ndarray, "row"] = (passes << _TOKEN_BITS) | token
    return rows


def _pass_and_token(rows: Int64[np.ndarray, "row"]) -> Int64[np.ndarray, "row 2"]:
    return np.stack((rows >> _TOKEN_BITS, rows & ((1 << _TOKEN_BITS) - 1)), axis=1)


def _flat(
    lists: Sequence[Sequence[int]],
) -> tuple[Int64[np.ndarray, "list"], Int64[np.ndarray, "list"], Int64[np.ndarray, "_"]]:
    """Lengths of lists, where each begins once they follow each other, and their items."""
    length = np.array([len(items) for items in lists], np.int64)
    items = np.fromiter(chain.from_iterable(lists), np.int64)
    return length, np.cumsum(length) - length, items


def _expanded(
    lengths: Int64[np.ndarray, "list"],
) -> tuple[Int64[np.ndarray, "line"], Int64[np.ndarray, "line"]]:
    """Lists of these lengths, one after the other: the list of each line, and its place in it."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    return owner, np.arange(len(owner)) - (np.cumsum(lengths) - lengths)[owner]


def _numbered(
    *keys: Int64[np.ndarray, "_"],
) -> tuple[Int64[np.ndarray, "distinct"], list[Int64[np.ndarray, "_"]]]:
    """The distinct keys, in order of first use, and the number of each key among them."""
    flat = np.concatenate(keys)
    distinct, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    borders = np.cumsum([len(some) for some in keys])[:-1]
    return distinct[order], np.split(number[inverse], borders)


def plan(pairs: Sequence[TokenPair], scores: Sequence[str], vocabulary: Vocabulary) -> Plan:
    """Which distinct passes the asked scores of these pairs need, and only these.

    Args:
        pairs: alleles in views.
        scores: names of score columns.
        vocabulary: for the id of ``<mask>``.
    """
    # Who asks for what: numbers of pairs.
    every, nobody = np.arange(len(pairs)), np.arange(0)
    indel = np.array([pair.alt is not None for pair in pairs], bool)
    snv = np.array([pair.snv is not None for pair in pairs], bool)
    wants = set(scores)
    wants_pool = bool(wants & {"cosine_distance", "l1", "l2", "dot"})
    wants_likelihood = "pll_delta" in wants
    ask_llr = every if "llr" in wants else nobody
    ask_entropy = every if "entropy" in wants else nobody
    ask_bases = every[snv] if "llr_marginal" in wants else nobody
    ask_unmasked = every[~indel] if "llr_unmasked" in wants else nobody
    ask_hidden = every if any(name.endswith("_token") for name in wants) else nobody
    ask_whole = every if wants_pool or wants_likelihood else nobody

    sequences: dict[bytes, int] = {}
    ids: list[Int16[np.ndarray, "_"]] = []

    def number_of(tokens: Tokens) -> int:
        number = sequences.setdefault(tokens.content, len(ids))
        if number == len(ids):
            ids.append(tokens.ids)
        return number

    ref = _Side.of(
        [number_of(pair.ref) for pair in pairs],
        [pair.ref_changed for pair in pairs],
        [pair.ref_ids for pair in pairs],
    )
    alt = _Side.of(
        [number_of(pair.alt or pair.ref) for pair in pairs],
        [pair.alt_changed for pair in pairs],
        [pair.alt_ids for pair in pairs],
    )

    # A pass reads a sequence, with a text in place of its ids from some token on: nothing, masks,
    # or a substitution's ALT.
    texts: dict[tuple[int, ...], int] = {(): 0}
    alt_text = [0 if p.alt else texts.setdefault(p.alt_ids, len(texts)) for p in pairs]
    masks = np.zeros(1 + max(ref.length.max(initial=0), alt.length.max(initial=0)), np.int64)
    for length in np.union1d(ref.length, alt.length).tolist():
        masks[length] = texts.setdefault((vocabulary.mask,) * length, len(texts))

    def reading(
        side: _Side, asking: Int64[np.ndarray, "chosen"], text: Int64[np.ndarray, "pair"]
    ) -> Int64[np.ndarray, "chosen"]:
        start = np.where(text[asking] == 0, 0, side.start[asking])
        key: Int64[np.ndarray, "chosen"] = _row(side.sequence[asking], start) << _TEXT_BITS
        key |= text[asking]
        return key

    asking = (
        np.union1d(np.union1d(ask_llr, ask_entropy), ask_bases),
        ask_llr[indel[ask_llr]],
        np.union1d(np.union1d(ask_unmasked, ask_hidden), ask_whole),
        np.union1d(ask_hidden, ask_whole),
    )
    distinct, numbers = _numbered(
        reading(ref, asking[0], masks[ref.length]),
        reading(alt, asking[1], masks[alt.length]),
        reading(ref, asking[2], np.zeros_like(every)),
        reading(alt, asking[3], np.array(alt_text, np.int64)),
    )

    def by_pair(
        who: Int64[np.ndarray, "chosen"], places: Int64[np.ndarray, "chosen"]
    ) -> Int64[np.ndarray, "pair"]:
        of_pair = np.full(len(pairs), -1)
        of_pair[who] = places
        return of_pair

    masked_ref, masked_alt, ref_pass, alt_pass = map(by_pair, asking, numbers)
    masked_alt = np.where(indel, masked_alt, masked_ref)

    sequence, start = _pass_and_token(distinct >> _TEXT_BITS).T
    text = distinct & ((1 << _TEXT_BITS) - 1)
    length, offset, flat = _flat(list(texts))
    owner, within = _expanded(length[text])
    edits = np.stack((owner, start[owner] + within, flat[offset[text][owner] + within]), axis=1)

    lines = (
        ref.lines(ask_llr, masked_ref),
        alt.lines(ask_llr, masked_alt),
        ref.lines(ask_unmasked, ref_pass),
        alt.lines(ask_unmasked, ref_pass),
    )
    first_row = _row(masked_ref, ref.start)
    rows, (entropy_row, base_row, *line_rows) = _numbered(
        first_row[ask_entropy], first_row[ask_bases], *(some.row for some in lines)
    )
    borders = np.cumsum([0, *(len(some.pair) for some in lines)]).tolist()
    asked = [
        AnswerIndex(some.pair, np.arange(begin, end))
        for some, (begin, end) in zip(lines, pairwise(borders), strict=True)
    ]
    entropy, (of_entropy,) = _numbered(entropy_row)
    bases, (of_bases,) = _numbered(base_row)
    hidden_lines = ref.lines(ask_hidden, ref_pass), alt.lines(ask_hidden, alt_pass)
    hidden, of_hidden = _numbered(*(some.row for some in hidden_lines))
    whole, of_whole = _numbered(ref_pass[ask_whole], alt_pass[ask_whole])
    tokens = np.concatenate(line_rows), np.concatenate([some.ids for some in lines])

    questions = Questions(
        Inputs(tuple(ids), sequence, edits),
        _pass_and_token(rows),
        np.stack(tokens, axis=1),
        bases=bases,
        entropy=entropy,
        hidden=_pass_and_token(hidden),
        likelihood=whole if wants_likelihood else nobody,
        pooled=whole if wants_pool else nobody,
    )
    return Plan(
        questions,
        masked_ref=asked[0],
        masked_alt=asked[1],
        unmasked_ref=asked[2],
        unmasked_alt=asked[3],
        hidden_ref=AnswerIndex(hidden_lines[0].pair, of_hidden[0]),
        hidden_alt=AnswerIndex(hidden_lines[1].pair, of_hidden[1]),
        bases=by_pair(ask_bases, of_bases),
        entropy=by_pair(ask_entropy, of_entropy),
        ref_whole=by_pair(ask_whole, of_whole[0]),
        alt_whole=by_pair(ask_whole, of_whole[1]),
    )
