"""questions -> answers: runs distinct passes in batches of one length on a device."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64
from torch import Tensor, nn

from ntvep.errors import ConfigError
from ntvep.models.family import AnswersRows, Encoder, GoesOn
from ntvep.passes import Answers, Inputs, Questions
from ntvep.tokens import Tokenizer

# Tokens in a batch of automatic size: what a CPU's caches hold, and enough to fill a GPU.
_AUTO_TOKENS = {"cpu": 2_048, "cuda": 65_536, "mps": 16_384}
# With fewer rows than that a CPU's kernels of products depend on how many there are.
_FEWEST_ROWS = 64
# Passes whose float64 hidden states, or full logits of a large vocabulary, are in memory at once:
# 16 MB each at 1,000 tokens.
_WIDE_PASSES = 4
# Batches that a GPU has before it: one that it computes, one that waits.
_IN_FLIGHT = 2
# What is answered of a batch, in the order in which it is computed.
_KINDS = ("tokens", "bases", "entropy", "hidden", "likelihood", "pooled")


class Hidden(NamedTuple):
    """Hidden states of a batch: of the layer asked for, and of the last."""

    chosen: Float[Tensor, "pass token dim"]
    last: Float[Tensor, "pass token dim"]


class Batch(NamedTuple):
    """Passes that are run together.

    Attributes:
        passes: their numbers.
        ids: their tokens; behind them the same again, until the batch has its size.
        rows_only: whether a few masked rows are all that is asked.
    """

    passes: Int64[np.ndarray, "pass"]
    ids: Int[Tensor, "filled token"]
    rows_only: bool


@dataclass
class Engine:
    """A model on its device, ready to answer.

    Attributes:
        encoder: in evaluation mode, already on the device and in the precision wanted.
        tokenizer: of the model.
        batch_size: passes in a batch; None finds one. It is halved when memory runs out.
        deterministic: whether no bit of an answer may depend on what else is asked. The kernel of a
            product, and with it the order of its sums, depends on the number of its rows: on a GPU
            always, on a CPU if they are few. So every batch is filled up to one size, never halved,
            what is asked of single rows is computed one by one, and no states are shared.
        goes_on: whether a pass may go on from the states of another.
        passes_run: how many passes have been run so far.
        tokens_run: how many tokens of them have been computed.
    """

    encoder: Encoder
    tokenizer: Tokenizer = field(repr=False)
    batch_size: int | None = None
    deterministic: bool = False
    goes_on: bool = True
    passes_run: int = field(default=0, init=False, repr=False)
    tokens_run: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Put the tokenizer's tables where they are used; Apple's GPUs have no float64."""
        tokenizer = self.tokenizer
        self._wide_device = "cpu" if self.device.type == "mps" else self.device
        self._terms = torch.from_numpy(tokenizer.terms).to(self._wide_device)
        self._members: Float64[Tensor, "vocab member"] | None = None
        if tokenizer.members is not None:
            # Column 4 o + b holds 1 for each k-mer with base b at offset o.
            offsets, bases, _ = tokenizer.members.shape
            members = torch.zeros(len(tokenizer.terms), offsets * bases, dtype=torch.float64)
            for column, ids in enumerate(tokenizer.members.reshape(offsets * bases, -1)):
                members[torch.from_numpy(ids), column] = 1.0
            self._members = members.to(self._wide_device)
        self._shares = self.goes_on and not self.deterministic and isinstance(self.encoder, GoesOn)

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        if not isinstance(self.encoder, nn.Module):
            return torch.device("cpu")
        return next(self.encoder.parameters()).device

    def answer(
        self, questions: Questions, on_passes: Callable[[int], None] | None = None
    ) -> Answers:
        """Run every pass once; see :class:`ntvep.passes.LanguageModel`.

        Raises:
            ConfigError: the device's memory does not hold one pass, or not the batch asked for.
        """
        asked = _Asked.of(questions)
        queue = _Queue(self._groups(questions))
        return self._answers(asked, [self._run_all(questions, asked, queue, on_passes)])

    @torch.inference_mode()
    def _run_all(
        self,
        questions: Questions,
        asked: "_Asked",
        queue: "_Queue",
        on_passes: Callable[[int], None] | None,
    ) -> list["_Part"]:
        """Run batches of a queue until it is empty: other engines may take from it too."""
        parts: list[_Part] = []
        in_flight: deque[torch.cuda.Event] = deque()
        is_cuda = self.device.type == "cuda"

        def size_of(first: int) -> int:
            return self.batch_size or self._auto_size(int(questions.inputs.lengths[first]))

        with torch.cuda.device(self.device) if is_cuda else nullcontext():
            while (taken := queue.take(size_of)) is not None:
                some, rows_only = taken
                size = size_of(int(some[0]))
                try:
                    made = self._run(questions, asked, some, rows_only, size)
                except RuntimeError as error:
                    length = int(questions.inputs.lengths[some[0]])
                    self._make_smaller(error, size, len(some), length)
                    queue.give_back(some, rows_only)
                    continue
                parts += made
                if is_cuda:
                    in_flight.append(torch.cuda.current_stream().record_event())
                    if len(in_flight) > _IN_FLIGHT:
                        in_flight.popleft().synchronize()
                done = sum(part.passes for part in made)
                self.passes_run += done
                if on_passes:
                    on_passes(done)
        return parts

    def _groups(self, questions: Questions) -> Iterator[tuple[Int64[np.ndarray, "pass"], bool]]:
        """Passes that may share a batch: of one length and kind; without those that go on."""
        inputs = questions.inputs
        roots = inputs.parent < 0 if self._shares else np.ones(len(inputs), bool)
        rows_only = self._rows_only(questions)
        kinds = inputs.lengths * 2 + rows_only
        order = np.argsort(kinds, kind="stable")
        order = order[roots[order]]
        for passes in np.split(order, np.flatnonzero(np.diff(kinds[order])) + 1):
            if len(passes):
                yield passes, bool(rows_only[passes[0]])

    def _rows_only(self, questions: Questions) -> Bool[np.ndarray, "pass"]:
        """Whether a few masked rows are all that is asked of each pass."""
        rows_only = np.zeros(len(questions.inputs), bool)
        if isinstance(self.encoder, AnswersRows):
            edits = questions.inputs.edits
            rows_only[edits[edits[:, 2] == self.tokenizer.mask, 0]] = True
            for needs_all in (
                questions.hidden[:, 0],
                questions.likelihood[:, 0],
                questions.pooled,
            ):
                rows_only[needs_all] = False
        return rows_only

    def _auto_size(self, length: int) -> int:
        return max(1, _AUTO_TOKENS[self.device.type] // length)

    def _make_smaller(self, error: RuntimeError, size: int, passes: int, tokens: int) -> None:
        """Halve the batches, if it was memory that ran out and there is something to halve."""
        if not _is_out_of_memory(error):
            raise error
        if size == 1 or self.deterministic:
            advice = "take a shorter window (--window-bases), or --device cpu"
            if size > 1:
                advice = (
                    f"--deterministic never makes batches smaller; try --batch-size {size // 2}"
                )
            raise ConfigError(
                f"{self.device} does not have enough memory for a batch of {size} x {tokens} "
                f"tokens: {advice}"
            ) from error
        self.batch_size = max(1, passes // 2)
        torch.cuda.empty_cache()

    def _run(
        self,
        questions: Questions,
        asked: "_Asked",
        passes: Int64[np.ndarray, "pass"],
        rows_only: bool,
        size: int,
    ) -> list["_Part"]:
        """Answer one batch and what goes on from it; what is computed stays on the device."""
        inputs = questions.inputs
        batch = self._batch(inputs, passes, rows_only, size)
        children = np.flatnonzero(np.isin(inputs.parent, passes)) if self._shares else passes[:0]
        if len(children):
            assert isinstance(self.encoder, GoesOn)
            *states, state = self.encoder.prefix(batch.ids, questions.layer)
            hidden = Hidden(*states)
        else:
            state, hidden = None, self._hidden(batch, questions, asked)
        self.tokens_run += batch.ids.numel()
        parts = [self._answer(questions, asked, batch, hidden)]
        for some in _by_kind(children, inputs.shared, inputs.lengths):
            for few in np.array_split(some, -(-len(some) // size)):
                part = self._go_on(questions, asked, few, passes, hidden, state)
                parts.append(part)
        return parts

    def _batch(
        self, inputs: Inputs, passes: Int64[np.ndarray, "pass"], rows_only: bool, size: int
    ) -> Batch:
        ids = inputs.rows(passes)
        if not self.deterministic:
            size = -(-_FEWEST_ROWS // ids.shape[1]) if self.device.type == "cpu" else 0
        # The same passes again, until the batch has its size.
        ids = np.resize(ids, (max(size, len(ids)), ids.shape[1]))
        return Batch(passes, self._to_device(ids.astype(np.int64)), rows_only)

    def _hidden(self, batch: Batch, questions: Questions, asked: "_Asked") -> Hidden:
        """Hidden states of a batch; only of single rows where nothing else is asked."""
        if not batch.rows_only:
            return Hidden(*self.encoder.hidden(batch.ids, questions.layer))
        assert isinstance(self.encoder, AnswersRows)
        rows, of_pass = asked.rows.of(batch.passes)
        number, token = self._to_device(of_pass), self._to_device(questions.rows[rows, 1])
        at_rows = self.encoder.last_at(batch.ids, number, token, self._at_once)
        # No hidden state is asked for: there is none.
        none = at_rows.new_empty(0, batch.ids.shape[1], at_rows.shape[1])
        return Hidden(none, at_rows[:, None])

    def _go_on(
        self,
        questions: Questions,
        asked: "_Asked",
        passes: Int64[np.ndarray, "pass"],
        parents: Int64[np.ndarray, "parent"],
        before: Hidden,
        state: Any,
    ) -> "_Part":
        """Answer passes that share their first tokens with passes that have just been run."""
        inputs = questions.inputs
        # One shared token is computed again: it predicts the first that differs.
        shared = int(inputs.shared[passes[0]]) - 1
        order = np.argsort(parents)
        rows = self._to_device(order[np.searchsorted(parents, inputs.parent[passes], sorter=order)])
        ids = self._to_device(inputs.rows(passes).astype(np.int64))
        if shared > 0:
            assert isinstance(self.encoder, GoesOn)
            rest = self.encoder.go_on(state, rows, shared, ids[:, shared:], questions.layer)
            hidden = Hidden(
                *(
                    torch.cat((first[rows, :shared], more), dim=1)
                    for first, more in zip(before, rest, strict=True)
                )
            )
        else:
            hidden = Hidden(*self.encoder.hidden(ids, questions.layer))
        self.tokens_run += ids[:, shared:].numel()
        return self._answer(questions, asked, Batch(passes, ids, False), hidden)

    def _answer(
        self, questions: Questions, asked: "_Asked", batch: Batch, hidden: Hidden
    ) -> "_Part":
        """What is asked of a batch."""
        rows, log_probs = self._predictions(questions, asked, batch, hidden)
        numbers: dict[str, Int64[np.ndarray, "asked"]] = {}
        values: dict[str, Tensor] = {}
        numbers["tokens"], row = asked.tokens.of(rows)
        columns = self._columns(questions.tokens[numbers["tokens"], 1])
        values["tokens"] = log_probs[self._to_device(row), self._to_device(columns)]
        numbers["bases"], row = asked.bases.of(rows)
        values["bases"] = self._bases(questions.bases[numbers["bases"]], log_probs, row)
        numbers["entropy"], row = asked.entropy.of(rows)
        values["entropy"] = self._by_rows(
            lambda some: torch.special.entr(_wide(some).exp()).sum(dim=1),
            log_probs[self._to_device(row)],
        )
        numbers["hidden"], of_pass = asked.hidden.of(batch.passes)
        token = questions.hidden[numbers["hidden"], 1] - self.encoder.margin
        values["hidden"] = _wide(hidden.chosen[self._to_device(of_pass), self._to_device(token)])
        numbers["likelihood"], of_pass = asked.likelihood.of(batch.passes)
        since = questions.likelihood[numbers["likelihood"], 1]
        values["likelihood"] = self._likelihood(questions, batch, hidden.last, of_pass, since)
        numbers["pooled"], of_pass = asked.pooled.of(batch.passes)
        values["pooled"] = self._pooled(questions, batch, hidden.chosen, of_pass)
        return _Part(len(batch.passes), numbers, values)

    def _predictions(
        self, questions: Questions, asked: "_Asked", batch: Batch, hidden: Hidden
    ) -> tuple[Int64[np.ndarray, "row"], Float32[Tensor, "row vocab"]]:
        """Rows asked of a batch, and their log-probabilities (of a rate model, its log rates)."""
        rows, of_pass = asked.rows.of(batch.passes)
        if not len(rows):
            width = 4 if self.encoder.objective == "rates" else len(self.tokenizer.terms)
            return rows, torch.zeros(0, width, device=self.device)
        if batch.rows_only:
            at_rows = hidden.last[:, 0]
        else:
            token = questions.rows[rows, 1] - self._shift
            at_rows = hidden.last[self._to_device(of_pass), self._to_device(token)]
        return rows, self._by_rows(
            lambda some: self._normalised(self.encoder.logits(some), questions.softmax), at_rows
        )

    @property
    def _shift(self) -> int:
        """From a token to the output that predicts it: a causal model reads it one token later."""
        return 1 if self.encoder.objective == "causal" else self.encoder.margin

    def _normalised(
        self, logits: Float32[Tensor, "row vocab"], softmax: str
    ) -> Float32[Tensor, "row vocab"]:
        if self.encoder.objective == "rates":
            return logits
        if softmax == "all":
            return logits.log_softmax(dim=-1)
        four = list(self.tokenizer.nucleotides or ())
        only = torch.full_like(logits, -torch.inf)
        only[:, four] = logits[:, four].log_softmax(dim=-1)
        return only

    def _columns(self, ids: Int64[np.ndarray, "query"]) -> Int64[np.ndarray, "query"]:
        """Columns of the logits: ids, or for a rate model A, C, G, T in this order."""
        if self.encoder.objective != "rates":
            return ids
        column = np.zeros(len(self.tokenizer.terms), np.int64)
        column[list(self.tokenizer.nucleotides or ())] = np.arange(4)
        columns: Int64[np.ndarray, "query"] = column[ids]
        return columns

    def _bases(
        self,
        given: Int64[np.ndarray, "base_row 3"],
        log_probs: Float32[Tensor, "row vocab"],
        row: Int64[np.ndarray, "base_row"],
    ) -> Float64[Tensor, "base_row offset 4"]:
        """Log-probability of each base at each offset of a k-mer, given its first bases."""
        if self._members is None:
            return log_probs.new_zeros((0, 1, 4), dtype=torch.float64)
        members = self._members
        chosen = log_probs[self._to_device(row)]
        if not given[:, 1].any():
            logs = self._by_rows(lambda some: (_wide(some).exp() @ members).log(), chosen)
            return logs.view(-1, members.shape[1] // 4, 4)
        parts = []
        for number, (_, offset, code) in enumerate(given.tolist()):
            kept = _wide(chosen[number]).exp() * self._begins(offset, code)
            parts.append((kept @ members).log())
        return torch.stack(parts).view(-1, members.shape[1] // 4, 4)

    def _begins(self, offset: int, code: int) -> Float64[Tensor, "vocab"]:
        """1 for each k-mer whose first bases have this code."""
        assert self.tokenizer.members is not None
        begins = np.ones(len(self.tokenizer.terms))
        for place in range(offset):
            base = code // 4 ** (offset - 1 - place) % 4
            there = np.zeros_like(begins)
            there[self.tokenizer.members[place, base]] = 1.0
            begins *= there
        return torch.from_numpy(begins).to(self._wide_device)

    def _likelihood(
        self,
        questions: Questions,
        batch: Batch,
        last: Float[Tensor, "pass token dim"],
        of_pass: Int64[np.ndarray, "asked"],
        since: Int64[np.ndarray, "asked"],
    ) -> Float64[Tensor, "asked"]:
        """Sums of log P(token), nats, from some token of a pass to its last nucleotide token."""
        if not len(of_pass):
            return torch.zeros(0, dtype=torch.float64, device=self._wide_device)
        first, end = int(since.min()), batch.ids.shape[1] - len(self.tokenizer.back)
        passes, back = np.unique(of_pass, return_inverse=True)
        own = batch.ids[self._to_device(passes)][:, first:end]
        some = last[self._to_device(passes)][:, first - self._shift : end - self._shift]
        wide = self._at_once or self._full_logits(own.shape[1])
        terms = torch.cat(
            [
                self._terms_of(rows, ids, questions.softmax)
                for rows, ids in zip(torch.split(some, wide), torch.split(own, wide), strict=True)
            ]
        )
        place = torch.arange(first, end, device=terms.device)
        sums = []
        size = self._at_once or max(1, len(back))
        for one, start in zip(
            torch.split(torch.from_numpy(back).to(terms.device), size),
            torch.split(torch.from_numpy(since).to(terms.device), size),
            strict=True,
        ):
            sums.append((terms[one] * (place >= start[:, None])).sum(dim=1))
        return torch.cat(sums)

    def _terms_of(
        self, last: Float[Tensor, "pass token dim"], ids: Int[Tensor, "pass token"], softmax: str
    ) -> Float64[Tensor, "pass token"]:
        """Log P of each token where it is a term, else 0."""
        logits = self.encoder.logits(last.flatten(0, 1))
        own = logits.gather(1, ids.flatten()[:, None])[:, 0]
        if softmax == "acgt":
            logits = logits[:, list(self.tokenizer.nucleotides or ())]
        log_probs = _wide((own - logits.logsumexp(dim=1)).view(ids.shape))
        counted = self._terms[ids.to(self._terms.device)]
        return log_probs if counted.all() else log_probs.masked_fill(~counted, 0.0)

    def _pooled(
        self,
        questions: Questions,
        batch: Batch,
        chosen: Float[Tensor, "pass token dim"],
        of_pass: Int64[np.ndarray, "asked"],
    ) -> Float64[Tensor, "asked dim"]:
        """Mean hidden states over nucleotide tokens."""
        with_special = questions.pool == "mean_cls"
        first = 0 if with_special else len(self.tokenizer.front)
        end = batch.ids.shape[1] - len(self.tokenizer.back)
        pooled = [torch.empty(0, self.encoder.dim, dtype=torch.float64, device=self._wide_device)]
        wide = self._at_once or _WIDE_PASSES
        for begin in range(0, len(of_pass), wide):
            some = of_pass[begin : begin + wide]
            states = _wide(chosen[self._to_device(some), first:end])
            if self._even(questions.inputs, batch.passes[some]):
                pooled.append(states.mean(dim=1))
                continue
            weights = questions.inputs.weights(batch.passes[some])[:, first:end].astype(np.float64)
            if with_special:
                weights[:, : len(self.tokenizer.front)] = 1.0
            share = torch.from_numpy(weights / weights.sum(axis=1, keepdims=True))
            pooled.append((states * share.to(states.device)[..., None]).sum(dim=1))
        return torch.cat(pooled)

    def _even(self, inputs: Inputs, passes: Int64[np.ndarray, "some"]) -> bool:
        return all(inputs.sequences[i].even for i in inputs.sequence[passes])

    def _full_logits(self, length: int) -> int:
        """Passes whose full logits are in memory at once."""
        return max(1, _WIDE_PASSES * 1_000 * 4_107 // (length * len(self.tokenizer.terms)))

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

    def _to_device(self, array: Int64[np.ndarray, "..."]) -> Int[Tensor, "..."]:
        """A copy that a GPU fetches by itself, while the host goes on."""
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def _answers(self, asked: "_Asked", of_engines: Sequence[Sequence["_Part"]]) -> Answers:
        """Everything from each device at once, in the order of the questions."""
        dim = self.encoder.dim
        offsets = 1 if self._members is None else self._members.shape[1] // 4
        shapes = {"bases": (offsets, 4), "hidden": (dim,), "pooled": (dim,)}
        arrays = {}
        for name in _KINDS:
            dtype = np.float32 if name == "tokens" else np.float64
            count = len(getattr(asked, name).index)
            arrays[name] = np.empty((count, *shapes.get(name, ())), dtype)
            for parts in filter(None, of_engines):
                numbers = np.concatenate([part.numbers[name] for part in parts])
                values = torch.cat([part.values[name] for part in parts])
                arrays[name][numbers] = values.cpu().numpy()
        return Answers(**arrays)


@dataclass
class Fleet:
    """The same model on several devices: a worker for each, over one queue of batches.

    The batches are those of a single device, so that the numbers are the same.

    Attributes:
        engines: one a device, all in the same precision.
    """

    engines: Sequence[Engine]

    def answer(
        self, questions: Questions, on_passes: Callable[[int], None] | None = None
    ) -> Answers:
        """Run every pass once, on whichever device is free; see :meth:`Engine.answer`.

        Raises:
            ConfigError: a device's memory does not hold one pass, or not the batch asked for.
        """
        first, *others = self.engines
        asked, queue = _Asked.of(questions), _Queue(first._groups(questions))
        lock, threads = threading.Lock(), torch.get_num_threads()
        made: dict[int, list[_Part]] = {}
        errors: list[BaseException] = []

        def count(passes: int) -> None:
            with lock:
                if on_passes:
                    on_passes(passes)

        def work(number: int, engine: Engine) -> None:
            try:
                # A new thread has a number of its own; with another the order of sums may change.
                torch.set_num_threads(threads)
                made[number] = engine._run_all(questions, asked, queue, count)
            except BaseException as error:
                errors.append(error)
                queue.clear()

        workers = [
            threading.Thread(target=work, args=each, name="ntvep-device", daemon=True)
            for each in enumerate(others, start=1)
        ]
        for worker in workers:
            worker.start()
        try:
            # This thread works too: signals arrive here.
            made[0] = first._run_all(questions, asked, queue, count)
        finally:
            queue.clear()
            for worker in workers:
                worker.join()
        if errors:
            raise errors[0]
        return first._answers(asked, [made[number] for number in sorted(made)])


class _Queue:
    """Batches that wait, in the order of a single engine; taken by any number of threads."""

    def __init__(self, groups: Iterable[tuple[Int64[np.ndarray, "pass"], bool]]) -> None:
        self._left = deque(groups)
        self._lock = threading.Lock()

    def take(self, size_of: Callable[[int], int]) -> tuple[Int64[np.ndarray, "pass"], bool] | None:
        """The next passes that may share a batch, as many as one takes; None if there are none."""
        with self._lock:
            if not self._left:
                return None
            passes, rows_only = self._left.popleft()
            size = size_of(int(passes[0]))
            if len(passes) > size:
                self._left.appendleft((passes[size:], rows_only))
            return passes[:size], rows_only

    def give_back(self, passes: Int64[np.ndarray, "pass"], rows_only: bool) -> None:
        """Put what could not be run before all others."""
        with self._lock:
            self._left.appendleft((passes, rows_only))

    def clear(self) -> None:
        """Nothing is left to take: a worker has failed, or the run was stopped."""
        with self._lock:
            self._left.clear()


class _Part(NamedTuple):
    """Answers of one batch: how many passes it had, which questions were asked, and the values."""

    passes: int
    numbers: dict[str, Int64[np.ndarray, "asked"]]
    values: dict[str, Tensor]


@dataclass(frozen=True)
class _Sorted:
    """Things asked for, sorted by what each is asked of.

    Attributes:
        owner: number of what each is asked of, ascending.
        index: number of each in the questions.
    """

    owner: Int64[np.ndarray, "asked"]
    index: Int64[np.ndarray, "asked"]

    @classmethod
    def by(cls, owner: Int64[np.ndarray, "asked"]) -> "_Sorted":
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
class _Asked:
    """The questions, by the pass that they are asked of; or by the row, where they are of a row."""

    rows: _Sorted
    hidden: _Sorted
    likelihood: _Sorted
    pooled: _Sorted
    tokens: _Sorted
    bases: _Sorted
    entropy: _Sorted

    @classmethod
    def of(cls, questions: Questions) -> "_Asked":
        """Sort what is asked."""
        return cls(
            rows=_Sorted.by(questions.rows[:, 0]),
            hidden=_Sorted.by(questions.hidden[:, 0]),
            likelihood=_Sorted.by(questions.likelihood[:, 0]),
            pooled=_Sorted.by(questions.pooled),
            tokens=_Sorted.by(questions.tokens[:, 0]),
            bases=_Sorted.by(questions.bases[:, 0]),
            entropy=_Sorted.by(questions.entropy),
        )


def _by_kind(
    passes: Int64[np.ndarray, "pass"],
    shared: Int64[np.ndarray, "every"],
    lengths: Int64[np.ndarray, "every"],
) -> list[Int64[np.ndarray, "some"]]:
    """Passes that share as many tokens and are as long, together."""
    if not len(passes):
        return []
    keys = np.stack((shared[passes], lengths[passes]))
    _, kind = np.unique(keys, axis=1, return_inverse=True)
    return [passes[kind == number] for number in range(int(kind.max()) + 1)]


def _is_out_of_memory(error: RuntimeError) -> bool:
    # Apple's GPUs have no error of their own for it.
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)


def _wide(x: Float[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """To float64 before any reduction; the CPU does it for Apple's GPUs, which have none."""
    return (x.cpu() if x.device.type == "mps" else x).double()
