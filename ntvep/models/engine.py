"""questions -> answers: runs distinct passes in batches of one length on a device."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int, Int32, Int64
from torch import Tensor, nn

from ntvep.errors import ConfigError
from ntvep.models.asked import KINDS, Asked, Places, by_kind, places
from ntvep.models.family import AnswersRows, Encoder, GoesOn, SizesBatches
from ntvep.models.transfer import Fetched, Pace, send
from ntvep.passes import Answers, Inputs, Questions
from ntvep.tokens import Tokenizer

# Tokens in a batch of automatic size: what a CPU's caches hold, and enough to fill a GPU.
_AUTO_TOKENS = {"cpu": 2_048, "cuda": 65_536, "mps": 16_384}
# Bytes that a token needs for each of a network's channels while it is computed (several float32
# states, and a feed-forward block four times as wide in half precision), and which share of what a
# GPU has free they may take. What needs more halves its batches.
_BYTES_PER_CHANNEL = 64
_FREE_SHARE = 0.5
# With fewer rows than that a CPU's kernels of products depend on how many there are.
_FEWEST_ROWS = 64
# Passes whose float64 hidden states, or full logits of a large vocabulary, are in memory at once:
# 16 MB each at 1,000 tokens.
_WIDE_PASSES = 4


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
        places: what is asked of them.
        at: the same, on the device.
        counted: whether every token of which a sum is asked is a term.
    """

    passes: Int64[np.ndarray, "pass"]
    ids: Int[Tensor, "filled token"]
    rows_only: bool
    places: Places
    at: Mapping[str, Int[Tensor, "asked"]]
    counted: bool


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
        fills: whether batches are filled up so even if not deterministic. In half precision a CPU's
            kernels depend on the number of rows even if there are many, and a sum in another order
            may then be rounded to another number: scores would move in the third digit.
        goes_on: whether a pass may go on from the states of another.
        make_full: makes the same model in float32, for passes that overflow in a narrower format.
        passes_run: how many passes have been run so far.
        tokens_run: how many tokens of them have been computed.
    """

    encoder: Encoder
    tokenizer: Tokenizer = field(repr=False)
    batch_size: int | None = None
    deterministic: bool = False
    fills: bool = False
    goes_on: bool = True
    make_full: "Callable[[], Engine] | None" = field(default=None, repr=False)
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
        four = tokenizer.nucleotides
        self._four = None if four is None else torch.tensor(four, device=self.device)
        self._pace = Pace(self.device)
        self._full: Engine | None = None
        self._making_full = threading.Lock()
        self._most_tokens: int | None = None
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
        return self.begin(questions, on_passes)()

    def begin(
        self, questions: Questions, on_passes: Callable[[int], None] | None = None
    ) -> Callable[[], Answers]:
        """Ask a GPU to run every pass once, and go on; what comes back waits for the answers.

        Raises:
            ConfigError: the device's memory does not hold one pass, or not the batch asked for.
        """
        asked = Asked.of(questions)
        parts = self._run_all(asked, _Queue(self._groups(questions)), on_passes)
        return self._answers(asked, [self._fetched(parts)])

    @torch.inference_mode()
    def _run_all(
        self, asked: Asked, queue: "_Queue", on_passes: Callable[[int], None] | None
    ) -> list["_Part"]:
        """Run batches of a queue until it is empty: other engines may take from it too."""
        parts: list[_Part] = []
        lengths = asked.questions.inputs.lengths

        def size_of(first: int) -> int:
            return self.batch_size or self.auto_size(int(lengths[first]))

        with self._here():
            while (taken := queue.take(size_of)) is not None:
                some, rows_only = taken
                size = size_of(int(some[0]))
                try:
                    made = self._run(asked, some, rows_only, size)
                except RuntimeError as error:
                    self._make_smaller(error, size, len(some), int(lengths[some[0]]))
                    queue.give_back(some, rows_only)
                    continue
                parts += made
                self._pace.asked()
                done = sum(part.passes for part in made)
                self.passes_run += done
                if on_passes:
                    on_passes(done)
        return parts

    def _here(self) -> AbstractContextManager[object]:
        """What has no device of its own is of this one: streams and events of a GPU."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def in_float32(self) -> "Engine | None":
        """The same model in float32, loaded when first asked for; None where it is this one."""
        if self.make_full is None:
            return None
        with self._making_full:
            if self._full is None:
                self._full = self.make_full()
        return self._full

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

    def auto_size(self, length: int) -> int:
        """Passes of this many tokens in a batch whose size nobody has set."""
        if self._most_tokens is None:
            self._most_tokens = _AUTO_TOKENS[self.device.type]
            if self.device.type == "cpu" and isinstance(self.encoder, SizesBatches):
                self._most_tokens = self.encoder.cpu_batch_tokens
            # What else lies on a card must not move a bit of a deterministic answer.
            if self.device.type == "cuda" and not self.deterministic:
                free, _ = torch.cuda.mem_get_info(self.device)
                room = int(free * _FREE_SHARE) // (_BYTES_PER_CHANNEL * self.encoder.dim)
                self._most_tokens = min(self._most_tokens, room)
        return max(1, self._most_tokens // length)

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
        self, asked: Asked, passes: Int64[np.ndarray, "pass"], rows_only: bool, size: int
    ) -> list["_Part"]:
        """Answer one batch and what goes on from it; what is computed stays on the device."""
        questions = asked.questions
        inputs = questions.inputs
        ids = inputs.rows(passes)
        fill = size
        if not (self.deterministic or self.fills):
            fill = -(-_FEWEST_ROWS // ids.shape[1]) if self.device.type == "cpu" else 0
        batch = self._batch(asked, passes, ids, rows_only, fill)
        children = np.flatnonzero(np.isin(inputs.parent, passes)) if self._shares else passes[:0]
        if len(children):
            assert isinstance(self.encoder, GoesOn)
            *states, state = self.encoder.prefix(batch.ids, questions.layer)
            hidden = Hidden(*states)
        else:
            state, hidden = None, self._hidden(batch, questions.layer)
        self.tokens_run += batch.ids.numel()
        parts = [self._answer(questions, batch, hidden)]
        for some in by_kind(children, inputs.shared, inputs.lengths):
            parts += [
                self._go_on(asked, few, passes, hidden, state)
                for few in np.array_split(some, -(-len(some) // size))
            ]
        return parts

    def _batch(
        self,
        asked: Asked,
        passes: Int64[np.ndarray, "pass"],
        ids: Int32[np.ndarray, "pass token"],
        rows_only: bool,
        size: int = 0,
        **more: Int64[np.ndarray, "pass"],
    ) -> Batch:
        """Send a batch to the device, with all that will be looked up in what it computes."""
        found = places(asked, passes)
        end = ids.shape[1] - len(self.tokenizer.back)
        own = ids[found.sum_passes, found.since : end]
        # The same passes again, until the batch has its size.
        filled = np.resize(ids, (max(size, len(ids)), ids.shape[1])).astype(np.int64)
        columns = self._columns(found.sent["token_id"])
        at = send({"ids": filled, **found.sent, "token_id": columns, **more}, self.device)
        counted = bool(self.tokenizer.terms[own].all())
        return Batch(passes, at["ids"], rows_only, found, at, counted)

    def _hidden(self, batch: Batch, layer: int | None) -> Hidden:
        """Hidden states of a batch; only of single rows where nothing else is asked."""
        if not batch.rows_only:
            return Hidden(*self.encoder.hidden(batch.ids, layer))
        assert isinstance(self.encoder, AnswersRows)
        number, token = batch.at["row_pass"], batch.at["row_token"]
        at_rows = self.encoder.last_at(batch.ids, number, token, self._at_once)
        # No hidden state is asked for: there is none.
        none = at_rows.new_empty(0, batch.ids.shape[1], at_rows.shape[1])
        return Hidden(none, at_rows[:, None])

    def _go_on(
        self,
        asked: Asked,
        passes: Int64[np.ndarray, "pass"],
        parents: Int64[np.ndarray, "parent"],
        before: Hidden,
        state: Any,
    ) -> "_Part":
        """Answer passes that share their first tokens with passes that have just been run."""
        questions = asked.questions
        inputs = questions.inputs
        # One shared token is computed again: it predicts the first that differs.
        shared = int(inputs.shared[passes[0]]) - 1
        order = np.argsort(parents)
        parent = order[np.searchsorted(parents, inputs.parent[passes], sorter=order)]
        batch = self._batch(asked, passes, inputs.rows(passes), False, parent=parent)
        rows = batch.at["parent"]
        if shared > 0:
            assert isinstance(self.encoder, GoesOn)
            ids = batch.ids[:, shared:]
            rest = self.encoder.go_on(state, rows, shared, ids, questions.layer)
            hidden = Hidden(
                *(
                    torch.cat((first[rows, :shared], more), dim=1)
                    for first, more in zip(before, rest, strict=True)
                )
            )
        else:
            hidden = Hidden(*self.encoder.hidden(batch.ids, questions.layer))
        self.tokens_run += batch.ids[:, shared:].numel()
        return self._answer(questions, batch, hidden)

    def _answer(self, questions: Questions, batch: Batch, hidden: Hidden) -> "_Part":
        """What is asked of a batch."""
        at = batch.at
        log_probs = self._predictions(batch, hidden, questions.softmax)
        values = {
            "tokens": log_probs[at["token_row"], at["token_id"]],
            "bases": self._bases(batch.places.given, log_probs, at["base_row"]),
            "entropy": self._by_rows(
                lambda some: torch.special.entr(_wide(some).exp()).sum(dim=1),
                log_probs[at["entropy_row"]],
            ),
            "hidden": _wide(
                hidden.chosen[at["hidden_pass"], at["hidden_token"] - self.encoder.margin]
            ),
            "likelihood": self._likelihood(batch, hidden.last, questions.softmax),
            "pooled": self._pooled(questions, batch, hidden.chosen),
        }
        return _Part(len(batch.passes), batch.places.numbers, values)

    def _predictions(
        self, batch: Batch, hidden: Hidden, softmax: str
    ) -> Float32[Tensor, "row vocab"]:
        """Log-probabilities of the rows asked of a batch (of a rate model, its log rates)."""
        of_pass, token = batch.at["row_pass"], batch.at["row_token"]
        if not len(of_pass):
            width = 4 if self.encoder.objective == "rates" else len(self.tokenizer.terms)
            return torch.zeros(0, width, device=self.device)
        if batch.rows_only:
            at_rows = hidden.last[:, 0]
        else:
            at_rows = hidden.last[of_pass, token - self._shift]
        return self._by_rows(
            lambda some: self._normalised(self.encoder.logits(some), softmax), at_rows
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
        assert self._four is not None
        only = torch.full_like(logits, -torch.inf)
        only[:, self._four] = logits[:, self._four].log_softmax(dim=-1)
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
        given: Int64[np.ndarray, "base_row 2"],
        log_probs: Float32[Tensor, "row vocab"],
        row: Int64[Tensor, "base_row"],
    ) -> Float64[Tensor, "base_row offset 4"]:
        """Log-probability of each base at each offset of a k-mer, given its first bases."""
        if self._members is None:
            return log_probs.new_zeros((0, 1, 4), dtype=torch.float64)
        members = self._members
        chosen = log_probs[row]
        if not given[:, 0].any():
            logs = self._by_rows(lambda some: (_wide(some).exp() @ members).log(), chosen)
            return logs.view(-1, members.shape[1] // 4, 4)
        parts = []
        for number, (offset, code) in enumerate(given.tolist()):
            kept = _wide(chosen[number]).exp() * self._begins(offset, code)
            parts.append((kept @ members).log())
        return torch.stack(parts).view(-1, members.shape[1] // 4, 4)

    def _begins(self, offset: int, code: int) -> Float64[Tensor, "vocab"]:
        """1 for each k-mer whose first bases have this code."""
        assert self._members is not None
        begins = torch.ones_like(self._members[:, 0])
        for place in range(offset):
            base = code // 4 ** (offset - 1 - place) % 4
            begins = begins * self._members[:, 4 * place + base]
        return begins

    def _likelihood(
        self, batch: Batch, last: Float[Tensor, "pass token dim"], softmax: str
    ) -> Float64[Tensor, "asked"]:
        """Sums of log P(token), nats, from some token of a pass to its last nucleotide token."""
        passes, wide_device = batch.at["sum_pass"], self._wide_device
        if not len(passes):
            return torch.zeros(0, dtype=torch.float64, device=wide_device)
        first, end = batch.places.since, batch.ids.shape[1] - len(self.tokenizer.back)
        own = batch.ids[passes][:, first:end]
        some = last[passes][:, first - self._shift : end - self._shift]
        wide = self._at_once or self._full_logits(own.shape[1])
        terms = torch.cat(
            [
                self._terms_of(rows, ids, softmax, batch.counted)
                for rows, ids in zip(torch.split(some, wide), torch.split(own, wide), strict=True)
            ]
        )
        place = torch.arange(first, end, device=terms.device)
        back, since = batch.at["sum_of"].to(wide_device), batch.at["sum_since"].to(wide_device)
        sums = []
        size = self._at_once or max(1, len(back))
        for one, start in zip(torch.split(back, size), torch.split(since, size), strict=True):
            sums.append((terms[one] * (place >= start[:, None])).sum(dim=1))
        return torch.cat(sums)

    def _terms_of(
        self,
        last: Float[Tensor, "pass token dim"],
        ids: Int[Tensor, "pass token"],
        softmax: str,
        counted: bool,
    ) -> Float64[Tensor, "pass token"]:
        """Log P of each token where it is a term, else 0; ``counted`` says that all are."""
        logits = self.encoder.logits(last.flatten(0, 1))
        own = logits.gather(1, ids.flatten()[:, None])[:, 0]
        if softmax == "acgt":
            assert self._four is not None
            logits = logits[:, self._four]
        log_probs = _wide((own - logits.logsumexp(dim=1)).view(ids.shape))
        if counted:
            return log_probs
        return log_probs.masked_fill(~self._terms[ids.to(self._terms.device)], 0.0)

    def _pooled(
        self, questions: Questions, batch: Batch, chosen: Float[Tensor, "pass token dim"]
    ) -> Float64[Tensor, "asked dim"]:
        """Mean hidden states over nucleotide tokens."""
        with_special = questions.pool == "mean_cls"
        first = 0 if with_special else len(self.tokenizer.front)
        end = batch.ids.shape[1] - len(self.tokenizer.back)
        pooled = [torch.empty(0, self.encoder.dim, dtype=torch.float64, device=self._wide_device)]
        wide, of_pass, places = (
            self._at_once or _WIDE_PASSES,
            batch.places.pooled,
            batch.at["pooled_pass"],
        )
        for begin in range(0, len(of_pass), wide):
            passes = batch.passes[of_pass[begin : begin + wide]]
            states = _wide(chosen[places[begin : begin + wide], first:end])
            if self._even(questions.inputs, passes):
                pooled.append(states.mean(dim=1))
                continue
            weights = questions.inputs.weights(passes)[:, first:end].astype(np.float64)
            if with_special:
                weights[:, : len(self.tokenizer.front)] = 1.0
            share = weights / weights.sum(axis=1, keepdims=True)
            # Bits of float64 travel as what they are.
            there = send({"share": share.view(np.int64)}, states.device)["share"]
            pooled.append((states * there.view(torch.float64)[..., None]).sum(dim=1))
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

    @torch.inference_mode()
    def _fetched(self, parts: Sequence["_Part"]) -> "_OnTheirWay":
        """Everything from this device, on its way to the host."""
        kinds = KINDS if parts else ()
        with self._here():
            whole = [torch.cat([part.values[name] for part in parts]) for name in kinds]
            fetched = Fetched(whole)
        numbers = {name: np.concatenate([part.numbers[name] for part in parts]) for name in kinds}
        return _OnTheirWay(numbers, fetched)

    def _answers(self, asked: Asked, of_devices: Sequence["_OnTheirWay"]) -> Callable[[], Answers]:
        """Everything from each device, in the order of the questions, once it is there."""

        def answers() -> Answers:
            dim = self.encoder.dim
            offsets = 1 if self._members is None else self._members.shape[1] // 4
            shapes = {"bases": (offsets, 4), "hidden": (dim,), "pooled": (dim,)}
            arrays = {}
            for name in KINDS:
                dtype = np.float32 if name == "tokens" else np.float64
                count = len(getattr(asked, name).index)
                arrays[name] = np.empty((count, *shapes.get(name, ())), dtype)
            for numbers, fetched in of_devices:
                for name, values in zip(numbers, fetched.arrays(), strict=True):
                    arrays[name][numbers[name]] = values
            return Answers(**arrays)

        return answers


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
        """Run every pass once, on the next free device; see :meth:`Engine.answer`.

        Raises:
            ConfigError: a device's memory does not hold one pass, or not the batch asked for.
        """
        first, *others = self.engines
        asked, queue = Asked.of(questions), _Queue(first._groups(questions))
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
                made[number] = engine._run_all(asked, queue, count)
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
            made[0] = first._run_all(asked, queue, count)
        finally:
            queue.clear()
            for worker in workers:
                worker.join()
        if errors:
            raise errors[0]
        return first._answers(
            asked, [self.engines[number]._fetched(made[number]) for number in sorted(made)]
        )()

    def in_float32(self) -> Engine | None:
        """The same model in float32, on the first device; None where it is this one."""
        return self.engines[0].in_float32()


class _Queue:
    """Batches that wait, in the order of a single engine; taken by any number of threads."""

    def __init__(self, groups: Iterable[tuple[Int64[np.ndarray, "pass"], bool]]) -> None:
        self._left = deque(groups)
        self._lock = threading.Lock()

    def take(self, size_of: Callable[[int], int]) -> tuple[Int64[np.ndarray, "pass"], bool] | None:
        """The next passes that may share a batch, up to a batch; None if there are none."""
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
    numbers: Mapping[str, Int64[np.ndarray, "asked"]]
    values: dict[str, Tensor]


class _OnTheirWay(NamedTuple):
    """Answers of a device: by kind, which questions were asked, and the values."""

    numbers: Mapping[str, Int64[np.ndarray, "asked"]]
    values: Fetched


def _is_out_of_memory(error: RuntimeError) -> bool:
    # Apple's GPUs have no error of their own for it.
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)


def _wide(x: Float[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """To float64 before any reduction; the CPU does it for Apple's GPUs, which have none."""
    return (x.cpu() if x.device.type == "mps" else x).double()
