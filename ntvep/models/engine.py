"""questions -> answers: runs distinct passes in batches of one length on a device."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64
from torch import Tensor

from ntvep.errors import ConfigError
from ntvep.models.nt import NucleotideTransformer
from ntvep.passes import Answers, Questions
from ntvep.tokens import Vocabulary
from ntvep.windows import K

# Tokens in a batch of automatic size: what a CPU's caches hold, and enough to fill a GPU.
_AUTO_TOKENS = {"cpu": 2_048, "cuda": 65_536, "mps": 16_384}
# With fewer rows than that a CPU's kernels of products depend on how many there are.
_FEWEST_ROWS = 64
# Passes whose full logits, or float64 hidden states, are in memory at once: 16 MB each at 1,000
# tokens.
_WIDE_PASSES = 4
# Batches that a GPU has before it: one that it computes, one that waits.
_IN_FLIGHT = 2


@dataclass
class Engine:
    """A model on its device, ready to answer.

    Attributes:
        model: in evaluation mode, already on the device and in the precision wanted.
        vocabulary: of the model.
        layer: hidden layer of the embeddings; None for the last.
        pool_cls: whether ``<cls>`` counts in the mean.
        batch_size: passes in a batch; None finds one. It is halved when memory runs out.
        deterministic: whether no bit of an answer may depend on what else is asked. The kernel of a
            product, and with it the order of its sums, depends on the number of its rows: on a GPU
            always, on a CPU if they are few. So every batch is filled up to one size, never halved,
            and what is asked of single rows is computed one by one.
        passes_run: how many passes have been run so far.
    """

    model: NucleotideTransformer
    vocabulary: Vocabulary = field(repr=False)
    layer: int | None = None
    pool_cls: bool = False
    batch_size: int | None = None
    deterministic: bool = False
    passes_run: int = field(default=0, init=False, repr=False)
    # Column 4 o + b holds 1 for each 6-mer with base b at offset o.
    _members: Float64[Tensor, "vocab 24"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Put the 6-mers of each base where float64 is computed: Apple's GPUs have none."""
        members = torch.zeros(self.model.arch.vocab_size, 4 * K, dtype=torch.float64)
        for column, ids in enumerate(self.vocabulary.with_base.reshape(4 * K, -1)):
            members[torch.from_numpy(ids), column] = 1.0
        self._members = members.to("cpu" if self.device.type == "mps" else self.device)

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.model.words.weight.device

    @torch.inference_mode()
    def answer(
        self, questions: Questions, on_passes: Callable[[int], None] | None = None
    ) -> Answers:
        """Run every pass once; see :class:`ntvep.passes.LanguageModel`.

        Raises:
            ConfigError: the device's memory does not hold one pass, or not the batch asked for.
        """
        order = _Order.of(questions, self.model.arch.mask_id)
        parts: list[_Part] = []
        in_flight: deque[torch.cuda.Event] = deque()
        for begin, end in order.groups():
            while begin < end:
                size = self.batch_size or self._auto_size(order, begin)
                stop = min(begin + size, end)
                try:
                    parts.append(self._run(questions, order, begin, stop, size))
                except RuntimeError as error:
                    if not _is_out_of_memory(error):
                        raise
                    if size == 1 or self.deterministic:
                        raise self._too_large(size, int(order.lengths[begin])) from error
                    self.batch_size = max(1, (stop - begin) // 2)
                    torch.cuda.empty_cache()
                    continue
                if self.device.type == "cuda":
                    in_flight.append(torch.cuda.current_stream().record_event())
                    if len(in_flight) > _IN_FLIGHT:
                        in_flight.popleft().synchronize()
                self.passes_run += stop - begin
                if on_passes:
                    on_passes(stop - begin)
                begin = stop
        return self._answers(order, parts)

    def _auto_size(self, order: "_Order", begin: int) -> int:
        return max(1, _AUTO_TOKENS[self.device.type] // int(order.lengths[begin]))

    def _too_large(self, size: int, tokens: int) -> ConfigError:
        advice = "take fewer --window-tokens, or --device cpu"
        if size > 1:
            advice = f"--deterministic never makes batches smaller; try --batch-size {size // 2}"
        return ConfigError(
            f"{self.device} has not the memory for a batch of {size} x {tokens} tokens: {advice}"
        )

    def _run(
        self, questions: Questions, order: "_Order", begin: int, end: int, size: int
    ) -> "_Part":
        """Answer the passes of one batch; what is computed stays on the device."""
        ids = questions.inputs.rows(order.passes[begin:end])
        if not self.deterministic:
            size = -(-_FEWEST_ROWS // ids.shape[1]) if self.device.type == "cpu" else 0
        # The same passes again, until the batch has its size.
        ids = np.resize(ids, (max(size, len(ids)), ids.shape[1]))
        tokens = self._to_device(ids.astype(np.int64))
        asked, of_pass = order.rows.between(begin, end)
        number, token = self._to_device(of_pass), self._to_device(questions.rows[asked, 1])
        if order.rows_only[begin]:
            at_rows = self.model.last_at(tokens, number, token, self._at_once)
            # No hidden state is asked for: there is none.
            chosen = last = at_rows.new_empty(0, tokens.shape[1], at_rows.shape[1])
        else:
            chosen, last = self.model(tokens, self.layer)
            at_rows = last[number, token]

        log_probs = self._by_rows(lambda some: self.model.head(some).log_softmax(dim=-1), at_rows)
        bounds = order.rows.bounds(begin, end)
        asked, row = order.tokens.between(*bounds)
        of_tokens = log_probs[self._to_device(row), self._to_device(questions.tokens[asked, 1])]
        _, row = order.bases.between(*bounds)
        of_bases = self._by_rows(
            lambda some: (_wide(some).exp() @ self._members).log(), log_probs[self._to_device(row)]
        )
        _, row = order.entropy.between(*bounds)
        entropy = self._by_rows(
            lambda some: torch.special.entr(_wide(some).exp()).sum(dim=1),
            log_probs[self._to_device(row)],
        )

        asked, of_pass = order.hidden.between(begin, end)
        of_hidden = chosen[self._to_device(of_pass), self._to_device(questions.hidden[asked, 1])]
        _, of_pass = order.pooled.between(begin, end)
        first, wide = (0 if self.pool_cls else 1), self._at_once or _WIDE_PASSES
        pooled = [
            _wide(chosen[some, first:]).mean(dim=1)
            for some in torch.split(self._to_device(of_pass), wide)
        ]
        _, of_pass = order.likelihood.between(begin, end)
        likelihood = [
            self._likelihood(tokens[some], last[some])
            for some in torch.split(self._to_device(of_pass), wide)
        ]
        return _Part(
            of_tokens,
            of_bases.view(-1, K, 4),
            entropy,
            _wide(of_hidden),
            torch.cat(likelihood),
            torch.cat(pooled),
        )

    @property
    def _at_once(self) -> int | None:
        """How many of the rows or passes that are asked for are looked at together; None: many.

        On a CPU always one by one: it costs nothing there, and the kernel of a product of few rows
        depends on their number, which depends on who else is scored.
        """
        return 1 if self.deterministic or self.device.type == "cpu" else None

    def _by_rows(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """A function of rows of which each result is of one row."""
        some = torch.split(rows, self._at_once or max(1, len(rows)))
        return torch.cat([function(row) for row in some])

    def _likelihood(
        self, tokens: Int[Tensor, "pass token"], last: Float[Tensor, "pass token dim"]
    ) -> Float64[Tensor, "pass"]:
        """Sum over nucleotide tokens of log P(token), nats."""
        logits: Float32[Tensor, "row vocab"] = self.model.head(last[:, 1:].flatten(0, 1))
        own = logits.gather(1, tokens[:, 1:].flatten()[:, None])[:, 0]
        log_probs = (own - logits.logsumexp(dim=1)).view(tokens[:, 1:].shape)
        return _wide(log_probs).sum(dim=1)

    def _to_device(self, array: Int64[np.ndarray, "..."]) -> Int[Tensor, "..."]:
        """A copy that a GPU fetches by itself, while the host goes on."""
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def _answers(self, order: "_Order", parts: Sequence["_Part"]) -> Answers:
        """Everything from the device at once, in the order of the questions."""
        arch = self.model.arch
        shapes = {"bases": (K, 4), "hidden": (arch.dim,), "pooled": (arch.dim,)}
        arrays = {}
        for number, name in enumerate(_Part._fields):
            asked: _Sorted = getattr(order, name)
            dtype = np.float32 if name == "tokens" else np.float64
            arrays[name] = np.empty((len(asked.index), *shapes.get(name, ())), dtype)
            if parts:
                computed = torch.cat([part[number] for part in parts]).cpu().numpy()
                arrays[name][asked.index] = computed
        return Answers(**arrays)


class _Part(NamedTuple):
    """Answers of one batch, in its order; named as in :class:`ntvep.passes.Answers`."""

    tokens: Float32[Tensor, "query"]
    bases: Float64[Tensor, "base_row 6 4"]
    entropy: Float64[Tensor, "entropy_row"]
    hidden: Float64[Tensor, "hidden_query dim"]
    likelihood: Float64[Tensor, "likelihood_pass"]
    pooled: Float64[Tensor, "pooled_pass dim"]


@dataclass(frozen=True)
class _Sorted:
    """Things asked for, in the order in which what they are asked of is run.

    Attributes:
        of: place of what each is asked of, ascending.
        index: number of each in the questions.
    """

    of: Int64[np.ndarray, "asked"]
    index: Int64[np.ndarray, "asked"]

    @classmethod
    def by(cls, of: Int64[np.ndarray, "asked"]) -> "_Sorted":
        """Sort by the place of what each is asked of."""
        index = np.argsort(of, kind="stable")
        return cls(of[index], index)

    @property
    def place(self) -> Int64[np.ndarray, "asked"]:
        """Where each question stands in this order."""
        place = np.empty_like(self.index)
        place[self.index] = np.arange(len(place))
        return place

    def bounds(self, begin: int, end: int) -> tuple[int, int]:
        """Where those lie that are asked of ``begin`` to ``end``."""
        first, last = np.searchsorted(self.of, (begin, end))
        return int(first), int(last)

    def between(
        self, begin: int, end: int
    ) -> tuple[Int64[np.ndarray, "some"], Int64[np.ndarray, "some"]]:
        """Those asked of ``begin`` to ``end``: their numbers, and of which they are, from 0."""
        first, last = self.bounds(begin, end)
        return self.index[first:last], self.of[first:last] - begin


@dataclass(frozen=True)
class _Order:
    """The order in which passes are run: those of one length and kind together.

    Attributes:
        passes: number of each pass.
        lengths: its tokens.
        rows_only: whether a few masked rows are all that is asked of it.
        rows, hidden, likelihood, pooled: questions, by the pass that they are asked of.
        tokens, bases, entropy: questions, by the row that they are asked of.
    """

    passes: Int64[np.ndarray, "pass"]
    lengths: Int64[np.ndarray, "pass"]
    rows_only: Bool[np.ndarray, "pass"]
    rows: _Sorted
    hidden: _Sorted
    likelihood: _Sorted
    pooled: _Sorted
    tokens: _Sorted
    bases: _Sorted
    entropy: _Sorted

    @classmethod
    def of(cls, questions: Questions, mask_id: int) -> "_Order":
        """Sort what is asked."""
        edits = questions.inputs.edits
        rows_only = np.zeros(len(questions.inputs), bool)
        rows_only[edits[edits[:, 2] == mask_id, 0]] = True
        for needs_all in (questions.hidden[:, 0], questions.likelihood, questions.pooled):
            rows_only[needs_all] = False
        lengths = questions.inputs.lengths
        order = _Sorted.by(lengths * 2 + rows_only)
        place = order.place
        rows = _Sorted.by(place[questions.rows[:, 0]])
        return cls(
            order.index,
            lengths[order.index],
            rows_only[order.index],
            rows,
            hidden=_Sorted.by(place[questions.hidden[:, 0]]),
            likelihood=_Sorted.by(place[questions.likelihood]),
            pooled=_Sorted.by(place[questions.pooled]),
            tokens=_Sorted.by(rows.place[questions.tokens[:, 0]]),
            bases=_Sorted.by(rows.place[questions.bases]),
            entropy=_Sorted.by(rows.place[questions.entropy]),
        )

    def groups(self) -> Iterator[tuple[int, int]]:
        """Stretches of passes that may share a batch."""
        kinds = self.lengths * 2 + self.rows_only
        ends = np.flatnonzero(np.diff(kinds, append=-1)) + 1
        yield from pairwise((0, *ends.tolist()))


def _is_out_of_memory(error: RuntimeError) -> bool:
    # Apple's GPUs have no error of their own for it.
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)


def _wide(x: Float[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """To float64 before any reduction; the CPU does it for Apple's GPUs, which have none."""
    return (x.cpu() if x.device.type == "mps" else x).double()
