"""tokens -> passes: which distinct forward passes must be run, and who asked for what of each.

A pass is its input: a tokenised sequence and what replaces some of its tokens. Whoever
asks for the same input shares it: all alleles of one token their masked pass, REF and ALT of a
substitution too, all alleles of a window its reference pass, and records that spell the same change
everything. A causal model's ALT pass goes on from the states of its REF pass; a rate model answers
neighbouring windows in one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from math import prod
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from ntvep import dna
from ntvep.description import Description
from ntvep.objectives import DISTANCES, Pool, Softmax
from ntvep.tokens import Tokens

# Outputs of a rate model that one pass answers at most.
_OUTPUTS_PER_PASS = 512
_POOLED = frozenset(DISTANCES)
# Tokens of a sequence that nearly always tell it from all others of a plan.
_MIDDLE = 8


@dataclass(frozen=True, slots=True)
class Locus:
    """Where the REF sequence of a pair lies, on the strand that it is read on.

    Attributes:
        chrom: the contig.
        reverse: whether it is read as the reverse complement.
        start: place of its first base, counted along that strand; only differences mean something.
    """

    chrom: str
    reverse: bool
    start: int


class TokenPair(NamedTuple):
    """REF and ALT of one allele in one view, tokenised.

    Attributes:
        ref: tokens of the REF sequence.
        alt: those of the ALT sequence; None where it is REF's with ``alt_ids`` in place of
            ``ref_ids``.
        ref_changed, alt_changed: indices of the tokens that hold the change.
        ref_ids, alt_ids: ids of these tokens.
        snv: for an SNV: offset in its token, REF base, ALT base, on this view's strand; else None.
        one_mask: whether REF and ALT are the same input once these tokens are masked.
        same_places: whether these tokens cover the same bases on both sides.
        locus: of the REF sequence, for models whose neighbouring windows share passes.
    """

    ref: Tokens
    alt: Tokens | None
    ref_changed: range
    alt_changed: range
    ref_ids: tuple[int, ...]
    alt_ids: tuple[int, ...]
    snv: tuple[int, int, int] | None
    one_mask: bool
    same_places: bool
    locus: Locus | None = None


@dataclass(frozen=True)
class Inputs:
    """Distinct inputs: each is a sequence, with other ids in place of some of its tokens.

    Attributes:
        sequences: tokens; lengths may differ, nothing is padded.
        sequence: which sequence each pass reads.
        edits: (pass, token, id) of each id that replaces the sequence's own; in the order
            of the passes.
        parent: the pass whose first tokens each pass shares; -1 for none.
        shared: how many tokens it shares.
    """

    sequences: tuple[Tokens, ...]
    sequence: Int64[np.ndarray, "pass"]
    edits: Int64[np.ndarray, "edit 3"]
    parent: Int64[np.ndarray, "pass"]
    shared: Int64[np.ndarray, "pass"]

    def __len__(self) -> int:
        """Number of passes."""
        return len(self.sequence)

    @cached_property
    def lengths(self) -> Int64[np.ndarray, "pass"]:
        """Tokens of each pass."""
        of_sequence = np.array([len(tokens.ids) for tokens in self.sequences], np.int64)
        lengths: Int64[np.ndarray, "pass"] = of_sequence[self.sequence]
        return lengths

    def rows(self, passes: Int64[np.ndarray, "chosen"]) -> Int32[np.ndarray, "chosen token"]:
        """Token ids of passes of one length."""
        ids = np.stack([self.sequences[i].ids for i in self.sequence[passes]])
        edited = self.edits[:, 0]
        first, last = np.searchsorted(edited, passes), np.searchsorted(edited, passes + 1)
        row, within = _expanded(last - first)
        edits = self.edits[first[row] + within]
        ids[row, edits[:, 1]] = edits[:, 2]
        return ids

    def weights(self, passes: Int64[np.ndarray, "chosen"]) -> Int32[np.ndarray, "chosen token"]:
        """What each token of passes of one length weighs in a mean; 0 for special tokens."""
        return np.stack([self.sequences[i].weights for i in self.sequence[passes]])


@dataclass(frozen=True)
class Questions:
    """What a language model is asked: distinct inputs, and which of its outputs are needed.

    Attributes:
        inputs: of the passes.
        rows: (pass, token) of each prediction needed, all distinct; of a causal model it is made by
            the token before.
        tokens: (row, id) of each log-probability needed; of a rate model, log rate of a base's id.
        bases: (row, offset, code) of rows whose probabilities of single bases are needed, given the
            first ``offset`` bases of the k-mer, which have that base-4 code.
        entropy: rows whose entropy is needed.
        hidden: (pass, token) of each hidden state needed, all distinct.
        likelihood: (pass, token) of sums of log-probabilities needed, from that token to the end.
        pooled: passes whose mean hidden state is needed.
        layer: of the hidden states; None for the last.
        pool: what the mean is of.
        softmax: over what a prediction is normalised.
    """

    inputs: Inputs
    rows: Int64[np.ndarray, "row 2"]
    tokens: Int64[np.ndarray, "query 2"]
    bases: Int64[np.ndarray, "base_row 3"]
    entropy: Int64[np.ndarray, "entropy_row"]
    hidden: Int64[np.ndarray, "hidden_query 2"]
    likelihood: Int64[np.ndarray, "likelihood_query 2"]
    pooled: Int64[np.ndarray, "pooled_pass"]
    layer: int | None = None
    pool: Pool = "mean"
    softmax: Softmax = "all"


@dataclass(frozen=True)
class Answers:
    """What a language model answers, in the order of the questions; nothing that was not asked for.

    Attributes:
        tokens: natural-log probability of each token asked for, or log rate.
        bases: natural log of P(base at offset), the sum over the k-mers that have it there and
            begin as was given.
        entropy: of the prediction over the vocabulary, nats.
        hidden: hidden states of the layer.
        likelihood: sum of log P(token), nats, over the tokenizer's ``terms``.
        pooled: mean hidden state of the layer, each token weighed by its bases.
    """

    tokens: Float32[np.ndarray, "query"]
    bases: Float64[np.ndarray, "base_row offset 4"]
    entropy: Float64[np.ndarray, "entropy_row"]
    hidden: Float64[np.ndarray, "hidden_query dim"]
    likelihood: Float64[np.ndarray, "likelihood_query"]
    pooled: Float64[np.ndarray, "pooled_pass dim"]


@runtime_checkable
class LanguageModel(Protocol):
    """A language model, as the core sees it."""

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
class Asking:
    """How a plan asks: layer, pool and softmax travel with every question.

    Attributes:
        model: that is asked.
        scores: names of the scores wanted.
        layer, pool, softmax: see :class:`Questions`.
    """

    model: Description
    scores: tuple[str, ...]
    layer: int | None = None
    pool: Pool = "mean"
    softmax: Softmax = "all"


@dataclass(frozen=True)
class AnswerIndex:
    """Answers that pairs asked for: one line for each changed token of each pair.

    Attributes:
        pair: who asked.
        place: where in the list of answers.
        weight: bases of the token.
    """

    pair: Int64[np.ndarray, "query"]
    place: Int64[np.ndarray, "query"]
    weight: Int64[np.ndarray, "query"]


@dataclass(frozen=True)
class Plan:
    """The questions for a list of pairs, and where each pair finds its answers.

    Attributes:
        questions: for the model.
        alone_ref, alone_alt: of ``tokens``: changed tokens, under the mask or given what is before.
        unmasked_ref, unmasked_alt: of ``tokens``: substitutions' changed tokens in the unmasked REF
            window.
        hidden_ref, hidden_alt: of ``hidden``: changed tokens, unmasked.
        bases, entropy: of ``bases`` and ``entropy``: each pair's first changed token.
        ref_sum, alt_sum: of ``likelihood``: each pair's sums.
        ref_pool, alt_pool: of ``pooled``: each pair's windows.

    Each pair has one place in the last six; -1 where it asked for nothing.
    """

    questions: Questions
    alone_ref: AnswerIndex
    alone_alt: AnswerIndex
    unmasked_ref: AnswerIndex
    unmasked_alt: AnswerIndex
    hidden_ref: AnswerIndex
    hidden_alt: AnswerIndex
    bases: Int64[np.ndarray, "pair"]
    entropy: Int64[np.ndarray, "pair"]
    ref_sum: Int64[np.ndarray, "pair"]
    alt_sum: Int64[np.ndarray, "pair"]
    ref_pool: Int64[np.ndarray, "pair"]
    alt_pool: Int64[np.ndarray, "pair"]


class Wants(NamedTuple):
    """Numbers of the pairs that ask for each kind of answer."""

    alone: Int64[np.ndarray, "_"]
    entropy: Int64[np.ndarray, "_"]
    bases: Int64[np.ndarray, "_"]
    unmasked: Int64[np.ndarray, "_"]
    hidden: Int64[np.ndarray, "_"]
    sums: Int64[np.ndarray, "_"]
    pools: Int64[np.ndarray, "_"]


class Readings(NamedTuple):
    """The pass of each pair in which its tokens are predicted alone, and of each whole window."""

    passes: Inputs
    alone_ref: Int64[np.ndarray, "pair"]
    alone_alt: Int64[np.ndarray, "pair"]
    whole_ref: Int64[np.ndarray, "pair"]
    whole_alt: Int64[np.ndarray, "pair"]


def plan(pairs: Sequence[TokenPair], asking: Asking) -> Plan:
    """Which distinct passes the asked scores of these pairs need, and only these."""
    if asking.model.objective == "rates":
        pairs = merged_fields(pairs, asking.model)
    wants = wanted(pairs, asking)
    both = sides(pairs)
    readings = distinct_passes(pairs, both, wants, asking)
    return asked(pairs, both, wants, readings, asking)


def wanted(pairs: Sequence[TokenPair], asking: Asking) -> Wants:
    """Who asks for what."""
    every, nobody = np.arange(len(pairs)), np.arange(0)
    scores, objective = set(asking.scores), asking.model.objective
    snv = np.array([pair.snv is not None for pair in pairs], bool)
    plain = np.array([pair.same_places for pair in pairs], bool)
    alone = {
        "masked": every if "llr" in scores else nobody,
        "causal": every if "llr_site" in scores else nobody,
        "rates": every[snv] if "llr" in scores else nobody,
    }[objective]
    by_token = any(name.endswith("_token") for name in scores) and objective != "rates"
    # The output of a rate model at a base is its own: there is no window to average over.
    at_base = objective == "rates" and scores & _POOLED
    kmers = asking.model.tokenizer.members is not None
    summed = {"masked": "pll_delta", "causal": "llr", "rates": None}
    return Wants(
        alone=alone,
        entropy=every if "entropy" in scores and objective != "rates" else nobody,
        bases=every[snv] if "llr_marginal" in scores and kmers else nobody,
        unmasked=every[plain] if "llr_unmasked" in scores and objective == "masked" else nobody,
        hidden=every if by_token or at_base else nobody,
        sums=every if summed[objective] in scores else nobody,
        pools=every if scores & _POOLED and objective != "rates" else nobody,
    )


@dataclass(frozen=True)
class Side:
    """REF or ALT of all pairs: which sequence, and its changed tokens.

    Attributes:
        sequence: number of each pair's sequence.
        start, length: its changed tokens.
        offset: where in ``ids`` each pair's begin.
        ids: of the changed tokens, pair after pair.
        weights: what they weigh in a mean.
    """

    sequence: Int64[np.ndarray, "pair"]
    start: Int64[np.ndarray, "pair"]
    length: Int64[np.ndarray, "pair"]
    offset: Int64[np.ndarray, "pair"]
    ids: Int64[np.ndarray, "changed"]
    weights: Int64[np.ndarray, "changed"]

    def lines(
        self, pairs: Int64[np.ndarray, "chosen"], passes: Int64[np.ndarray, "pair"]
    ) -> "Lines":
        """A line for each changed token of these pairs, asked of each pair's pass."""
        owner, within = _expanded(self.length[pairs])
        pair = pairs[owner]
        some = self.offset[pair] + within
        token = self.start[pair] + within
        return Lines(pair, passes[pair], token, self.ids[some], self.weights[some])


class Lines(NamedTuple):
    """Changed tokens that are asked about: who asks, of which token of which pass."""

    pair: Int64[np.ndarray, "line"]
    passes: Int64[np.ndarray, "line"]
    token: Int64[np.ndarray, "line"]
    ids: Int64[np.ndarray, "line"]
    weights: Int64[np.ndarray, "line"]


class _Numbers(dict[Tokens, int]):
    """Sequences by number: equal ones have the same. Those that one object holds are found at once.

    Attributes:
        sequences: the distinct ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sequences: list[Tokens] = []
        self._by_middle: dict[bytes, int] = {}
        self._by_content: dict[bytes, int] = {}

    def __missing__(self, tokens: Tokens) -> int:
        """Number an object: what nobody has in the middle is new, and need not be read whole."""
        new, half = len(self.sequences), len(tokens.ids) // 2
        number = self._by_middle.setdefault(tokens.ids[half : half + _MIDDLE].tobytes(), new)
        if number != new:
            self._by_content.setdefault(self.sequences[number].content, number)
            number = self._by_content.setdefault(tokens.content, new)
        if number == new:
            self.sequences.append(tokens)
        self[tokens] = number
        return number


def sides(pairs: Sequence[TokenPair]) -> tuple[Side, Side, tuple[Tokens, ...]]:
    """REF and ALT of all pairs, and the distinct sequences that they read."""
    number = _Numbers()

    def side(
        tokens: list[Tokens],
        numbers: list[int],
        changed: list[range],
        ids: list[tuple[int, ...]],
    ) -> Side:
        length, offset, flat = _flat(ids)
        start = np.array([some.start for some in changed], np.int64)
        weights = np.ones(len(flat), np.int64)
        if not all(some.even for some in tokens):
            parts = [s.weights[c.start : c.stop] for s, c in zip(tokens, changed, strict=True)]
            weights = np.concatenate(parts).astype(np.int64)
        return Side(np.array(numbers, np.int64), start, length, offset, flat, weights)

    refs, alts = [p.ref for p in pairs], [p.alt or p.ref for p in pairs]
    of_refs = [number[some] for some in refs]
    # The REF pass answers for nearly every ALT.
    of_alts = [
        same if alt is ref else number[alt]
        for ref, alt, same in zip(refs, alts, of_refs, strict=True)
    ]
    ref = side(refs, of_refs, [p.ref_changed for p in pairs], [p.ref_ids for p in pairs])
    alt = side(alts, of_alts, [p.alt_changed for p in pairs], [p.alt_ids for p in pairs])
    return ref, alt, tuple(number.sequences)


class _Readers(NamedTuple):
    """Pairs that read passes: a sequence, with a text in place of its ids from some token on."""

    pairs: Int64[np.ndarray, "chosen"]
    side: Side
    text: Int64[np.ndarray, "pair"]


def distinct_passes(
    pairs: Sequence[TokenPair],
    sides: tuple[Side, Side, tuple[Tokens, ...]],
    wants: Wants,
    asking: Asking,
) -> Readings:
    """The distinct inputs, and which of them each pair reads for what."""
    ref, alt, sequences = sides
    texts: dict[tuple[int, ...], int] = {(): 0}
    none = np.zeros(len(pairs), np.int64)
    alt_text = np.array(
        [0 if p.alt else texts.setdefault(p.alt_ids, len(texts)) for p in pairs], np.int64
    )
    alone = _union(wants.alone, wants.entropy, wants.bases)
    whole = _union(wants.hidden, wants.sums, wants.pools)
    if asking.model.objective == "masked":
        ref_mask, alt_mask = _mask_texts((ref, alt), texts, asking.model.tokenizer.mask)
        apart = np.array([not pair.one_mask for pair in pairs], bool)
        readers = [
            _Readers(alone, ref, ref_mask),
            _Readers(wants.alone[apart[wants.alone]], alt, alt_mask),
            _Readers(_union(wants.unmasked, whole), ref, none),
            _Readers(whole, alt, alt_text),
        ]
        places, inputs = _numbered_passes(readers, sequences, texts)
        masked_ref, masked_alt, whole_ref, whole_alt = places
        masked_alt = np.where(apart, masked_alt, masked_ref)
        return Readings(inputs, masked_ref, masked_alt, whole_ref, whole_alt)
    # Other models predict a token in the windows themselves.
    causal, told = asking.model.objective == "causal", _told_by_ref(ref, alt)
    reads_alt = _union(whole, wants.alone[~told[wants.alone]]) if causal else whole
    readers = [_Readers(_union(alone, whole), ref, none), _Readers(reads_alt, alt, alt_text)]
    (whole_ref, whole_alt), inputs = _numbered_passes(readers, sequences, texts)
    if not causal:
        return Readings(inputs, whole_ref, whole_ref, whole_ref, whole_alt)
    first = first_difference(pairs)
    inputs = _with_parents(inputs, whole_ref[reads_alt], whole_alt[reads_alt], first[reads_alt])
    return Readings(inputs, whole_ref, np.where(told, whole_ref, whole_alt), whole_ref, whole_alt)


def _told_by_ref(ref: Side, alt: Side) -> Bool[np.ndarray, "pair"]:
    """Whether the tokens before ALT's changed token are those before REF's, one for one."""
    told: Bool[np.ndarray, "pair"] = (alt.length == 1) & (alt.start == ref.start)
    return told


def _mask_texts(
    sides: tuple[Side, Side], texts: dict[tuple[int, ...], int], mask: int | None
) -> tuple[Int64[np.ndarray, "pair"], Int64[np.ndarray, "pair"]]:
    """The text that masks each pair's changed tokens."""
    if mask is None:
        raise ValueError("a masked model needs a tokenizer with a mask")
    longest = max(side.length.max(initial=0) for side in sides)
    masks = np.zeros(1 + longest, np.int64)
    for length in np.union1d(*(side.length for side in sides)).tolist():
        masks[length] = texts.setdefault((mask,) * length, len(texts))
    return masks[sides[0].length], masks[sides[1].length]


def _numbered_passes(
    readers: Sequence[_Readers],
    sequences: tuple[Tokens, ...],
    texts: dict[tuple[int, ...], int],
) -> tuple[list[Int64[np.ndarray, "pair"]], Inputs]:
    """Distinct passes in order of first use, and for each kind of reader its pair's pass or -1."""
    longest = 1 + max((len(tokens.ids) for tokens in sequences), default=0)
    sizes = len(sequences), longest, len(texts)
    keys = []
    for pairs, side, text in readers:
        start = np.where(text[pairs] == 0, 0, side.start[pairs])
        keys.append(_packed(sizes, side.sequence[pairs], start, text[pairs]))
    distinct, numbers = _numbered(*keys)
    sequence, start, text = _unpacked(sizes, distinct)
    length, offset, flat = _flat(list(texts))
    owner, within = _expanded(length[text])
    edits = np.stack((owner, start[owner] + within, flat[offset[text][owner] + within]), axis=1)
    none = np.full(len(distinct), -1)
    inputs = Inputs(sequences, sequence, edits, none, np.zeros_like(none))
    count = len(readers[0].side.sequence)
    return [
        _by_pair(count, some.pairs, number) for some, number in zip(readers, numbers, strict=True)
    ], inputs


def _with_parents(
    inputs: Inputs,
    ref: Int64[np.ndarray, "some"],
    alt: Int64[np.ndarray, "some"],
    first: Int64[np.ndarray, "some"],
) -> Inputs:
    """Let each ALT pass share the tokens before the change with a REF pass.

    A pass that others share is whole itself, so that states are computed once and passed on once.
    """
    parent, shared = inputs.parent.copy(), inputs.shared.copy()
    is_parent = np.zeros(len(inputs), bool)
    is_parent[ref] = True
    child = ~is_parent[alt] & (first > 0)
    parent[alt[child]] = ref[child]
    shared[alt[child]] = first[child]
    return replace(inputs, parent=parent, shared=shared)


def first_difference(pairs: Sequence[TokenPair]) -> Int64[np.ndarray, "pair"]:
    """Index of the first token in which REF and ALT differ."""
    return np.array([_first_difference(pair) for pair in pairs], np.int64)


def _first_difference(pair: TokenPair) -> int:
    if pair.alt is None:
        return pair.ref_changed.start
    shortest = min(len(pair.ref.ids), len(pair.alt.ids))
    unequal = np.flatnonzero(pair.ref.ids[:shortest] != pair.alt.ids[:shortest])
    return int(unequal[0]) if len(unequal) else shortest


def asked(
    pairs: Sequence[TokenPair],
    sides: tuple[Side, Side, tuple[Tokens, ...]],
    wants: Wants,
    readings: Readings,
    asking: Asking,
) -> Plan:
    """The questions, each distinct one once, and where each pair finds its answers."""
    ref, alt, _ = sides
    count, inputs = len(pairs), readings.passes
    sizes = len(inputs), 1 + int(inputs.lengths.max(initial=0))
    lines = _token_lines(ref, alt, wants, readings, asking)
    first = _first_predicted(pairs, ref, asking)[wants.entropy]
    rows, (entropy_row, base_row, *line_rows) = _numbered(
        _packed(sizes, readings.alone_ref[wants.entropy], first),
        _packed(sizes, readings.alone_ref[wants.bases], ref.start[wants.bases]),
        *(_packed(sizes, some.passes, some.token) for some in lines),
    )
    entropy, (of_entropy,) = _numbered(entropy_row)
    bases, of_bases = _base_rows(pairs, wants.bases, base_row, asking)
    hidden, hidden_ref, hidden_alt = _hidden(ref, alt, wants, readings, sizes)
    since = _sums_from(pairs, asking)[wants.sums]
    sums, of_sums = _numbered(
        _packed(sizes, readings.whole_ref[wants.sums], since),
        _packed(sizes, readings.whole_alt[wants.sums], since),
    )
    pooled, of_pooled = _numbered(readings.whole_ref[wants.pools], readings.whole_alt[wants.pools])
    ids = np.concatenate([some.ids for some in lines])
    questions = Questions(
        inputs,
        rows=_stacked(sizes, rows),
        tokens=np.stack((np.concatenate(line_rows), ids), axis=1),
        bases=bases,
        entropy=entropy,
        hidden=_stacked(sizes, hidden),
        likelihood=_stacked(sizes, sums),
        pooled=pooled,
        layer=asking.layer,
        pool=asking.pool,
        softmax=asking.softmax,
    )
    found = _found(lines)
    return Plan(
        questions,
        alone_ref=found[0],
        alone_alt=found[1],
        unmasked_ref=found[2],
        unmasked_alt=found[3],
        hidden_ref=hidden_ref,
        hidden_alt=hidden_alt,
        bases=_by_pair(count, wants.bases, of_bases),
        entropy=_by_pair(count, wants.entropy, of_entropy),
        ref_sum=_by_pair(count, wants.sums, of_sums[0]),
        alt_sum=_by_pair(count, wants.sums, of_sums[1]),
        ref_pool=_by_pair(count, wants.pools, of_pooled[0]),
        alt_pool=_by_pair(count, wants.pools, of_pooled[1]),
    )


def _token_lines(
    ref: Side, alt: Side, wants: Wants, readings: Readings, asking: Asking
) -> tuple[Lines, Lines, Lines, Lines]:
    """Log-probabilities of changed tokens: alone, of REF and ALT; unmasked, of REF and ALT."""
    # A rate model has the rates of both bases at one place of the REF input.
    beside = replace(alt, start=ref.start) if asking.model.objective == "rates" else alt
    return (
        ref.lines(wants.alone, readings.alone_ref),
        beside.lines(wants.alone, readings.alone_alt),
        ref.lines(wants.unmasked, readings.whole_ref),
        alt.lines(wants.unmasked, readings.whole_ref),
    )


def _found(lines: Sequence[Lines]) -> list[AnswerIndex]:
    """Where each line's log-probability is: one after the other."""
    borders = np.cumsum([0, *(len(some.pair) for some in lines)]).tolist()
    return [
        AnswerIndex(some.pair, np.arange(begin, end), some.weights)
        for some, (begin, end) in zip(lines, pairwise(borders), strict=True)
    ]


def _hidden(
    ref: Side, alt: Side, wants: Wants, readings: Readings, sizes: tuple[int, int]
) -> tuple[Int64[np.ndarray, "hidden_query"], AnswerIndex, AnswerIndex]:
    """Hidden states of changed tokens in whole windows, and where each pair finds its own."""
    lines = (
        ref.lines(wants.hidden, readings.whole_ref),
        alt.lines(wants.hidden, readings.whole_alt),
    )
    hidden, places = _numbered(*(_packed(sizes, some.passes, some.token) for some in lines))
    found = [
        AnswerIndex(some.pair, place, some.weights)
        for some, place in zip(lines, places, strict=True)
    ]
    return hidden, found[0], found[1]


def _first_predicted(
    pairs: Sequence[TokenPair], ref: Side, asking: Asking
) -> Int64[np.ndarray, "pair"]:
    """The token of REF whose prediction has the entropy that is asked for."""
    if asking.model.objective != "causal":
        return ref.start
    last = np.array([len(pair.ref.ids) - 1 for pair in pairs], np.int64)
    first: Int64[np.ndarray, "pair"] = np.minimum(first_difference(pairs), last)
    return first


def _sums_from(pairs: Sequence[TokenPair], asking: Asking) -> Int64[np.ndarray, "pair"]:
    """The token from which each pair's log-probabilities are summed."""
    if asking.model.objective == "causal":
        return first_difference(pairs)
    return np.full(len(pairs), len(asking.model.tokenizer.front))


def _base_rows(
    pairs: Sequence[TokenPair],
    asking_pairs: Int64[np.ndarray, "some"],
    rows: Int64[np.ndarray, "some"],
    asking: Asking,
) -> tuple[Int64[np.ndarray, "base_row 3"], Int64[np.ndarray, "some"]]:
    """Rows whose probabilities of single bases are needed, and what is given of each token.

    A causal model has read the earlier bases of the window, those of the same token among them.
    """
    tokenizer = asking.model.tokenizer
    given = np.zeros((len(rows), 2), np.int64)
    if asking.model.objective == "causal":
        for line, number in enumerate(asking_pairs.tolist()):
            pair = pairs[number]
            offset = pair.snv[0] if pair.snv else 0
            given[line] = offset, tokenizer.prefix(pair.ref_ids[0], offset)
    codes = len(tokenizer.terms)
    sizes = 1 + int(rows.max(initial=0)), tokenizer.stride, codes
    distinct, (of_bases,) = _numbered(_packed(sizes, rows, given[:, 0], given[:, 1]))
    return np.stack(_unpacked(sizes, distinct), axis=1), of_bases


def merged_fields(pairs: Sequence[TokenPair], model: Description) -> list[TokenPair]:
    """REF windows of a rate model that overlap, made one longer input each.

    An output depends on the ``field`` tokens around it, wherever they are. Inputs are filled up
    on the right, where no output that is asked for sees it, so that few lengths are left.
    """
    order = sorted(range(len(pairs)), key=lambda i: _locus(pairs[i]))
    merged = list(pairs)
    group: list[int] = []
    for i in [*order, None]:
        if i is not None and (not group or _goes_with(pairs[group[0]], pairs[group[-1]], pairs[i])):
            group.append(i)
            continue
        for number, pair in zip(group, _merged([pairs[j] for j in group], model), strict=True):
            merged[number] = pair
        group = [] if i is None else [i]
    return merged


def _locus(pair: TokenPair) -> tuple[str, bool, int]:
    if pair.locus is None:
        raise ValueError("a rate model's window needs a place")
    return pair.locus.chrom, pair.locus.reverse, pair.locus.start


def _goes_with(first: TokenPair, last: TokenPair, pair: TokenPair) -> bool:
    """Whether a window joins those from ``first`` to ``last``."""
    *strand, start = _locus(pair)
    return (
        strand == [*_locus(first)[:2]]
        and start - _locus(first)[2] < _OUTPUTS_PER_PASS
        and start - _locus(last)[2] < len(pair.ref.ids)
    )


def _merged(pairs: Sequence[TokenPair], model: Description) -> list[TokenPair]:
    """Windows of one strand, in order, as parts of one input."""
    begin = _locus(pairs[0])[2]
    shifts = [_locus(pair)[2] - begin for pair in pairs]
    parts, reached = [pairs[0].ref.ids], 0
    for pair, shift in zip(pairs, shifts, strict=True):
        if shift > reached:
            parts.append(pair.ref.ids[len(pair.ref.ids) - (shift - reached) :])
            reached = shift
    outputs = 1 << reached.bit_length()
    beyond = np.full(outputs - 1 - reached, dna.BEYOND, np.uint8)
    ids = np.concatenate((*parts, model.tokenizer.encode(beyond).ids))
    tokens = model.tokenizer.join([ids])
    middle = model.field // 2
    return [
        pair._replace(ref=tokens, ref_changed=range(middle + shift, middle + shift + 1))
        for pair, shift in zip(pairs, shifts, strict=True)
    ]


def _union(*numbers: Int64[np.ndarray, "_"]) -> Int64[np.ndarray, "_"]:
    return np.unique(np.concatenate(numbers))


def _by_pair(
    count: int, who: Int64[np.ndarray, "chosen"], places: Int64[np.ndarray, "chosen"]
) -> Int64[np.ndarray, "pair"]:
    of_pair = np.full(count, -1)
    of_pair[who] = places
    return of_pair


def _packed(sizes: tuple[int, ...], *parts: Int64[np.ndarray, "key"]) -> Int64[np.ndarray, "key"]:
    """One number for several, each below its size.

    Raises:
        OverflowError: 64 bits do not hold them; take fewer alleles at once.
    """
    if prod(sizes) > np.iinfo(np.int64).max:
        raise OverflowError(f"keys of {sizes} do not fit 64 bits")
    keys = np.zeros_like(parts[0])
    for size, part in zip(sizes, parts, strict=True):
        if len(part) and not 0 <= part.min() <= part.max() < size:
            raise OverflowError(f"{part.max()} is not below {size}")
        keys = keys * size + part
    return keys


def _unpacked(
    sizes: tuple[int, ...], keys: Int64[np.ndarray, "key"]
) -> list[Int64[np.ndarray, "key"]]:
    """The parts of :func:`_packed`."""
    parts = []
    for size in reversed(sizes):
        parts.append(keys % size)
        keys = keys // size
    return parts[::-1]


def _stacked(sizes: tuple[int, int], keys: Int64[np.ndarray, "key"]) -> Int64[np.ndarray, "key 2"]:
    return np.stack(_unpacked(sizes, keys), axis=1)


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
