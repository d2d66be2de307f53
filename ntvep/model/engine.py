"""questions -> answers: runs distinct passes in batches of one length on a device."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor

from ntvep.model.nt import NucleotideTransformer
from ntvep.passes import Answers, Questions

# Tokens in a batch of automatic size: a few seconds of work on a CPU, enough to fill a GPU.
_AUTO_TOKENS = {"cpu": 8_192, "cuda": 65_536, "mps": 16_384}
# Passes whose full logits are in memory at once: 16 MB each at 1,000 tokens.
_FULL_LOGITS = 4


@dataclass
class Engine:
    """A model on its device, ready to answer.

    Attributes:
        model: in evaluation mode, already on the device and in the precision wanted.
        layer: hidden layer of the embeddings; None for the last.
        pool_cls: whether ``<cls>`` counts in the mean.
        batch_size: passes in a batch; None finds one. It is halved when memory runs out.
        passes_run: how many passes have been run so far.
    """

    model: NucleotideTransformer
    layer: int | None = None
    pool_cls: bool = False
    batch_size: int | None = None
    passes_run: int = field(default=0, init=False)

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.model.words.weight.device

    @torch.inference_mode()
    def answer(
        self, questions: Questions, on_passes: Callable[[int], None] | None = None
    ) -> Answers:
        """Run every pass once; see :class:`ntvep.passes.LanguageModel`."""
        passes, arch = len(questions.inputs), self.model.arch
        answers = Answers(
            np.full((len(questions.log_probs), arch.vocab_size), np.nan, np.float32),
            np.full((len(questions.hidden), arch.dim), np.nan),
            np.full(passes, np.nan),
            np.full((passes, arch.dim), np.nan),
        )
        lengths = np.array([len(ids) for ids in questions.inputs])
        for length in np.unique(lengths):
            members = np.flatnonzero(lengths == length)
            size = self.batch_size or max(1, _AUTO_TOKENS[self.device.type] // int(length))
            while len(members):
                batch = members[:size]
                try:
                    self._run(batch, questions, answers)
                except torch.OutOfMemoryError:
                    if size == 1:
                        raise
                    size = self.batch_size = max(1, size // 2)
                    torch.cuda.empty_cache()
                    continue
                members = members[size:]
                self.passes_run += len(batch)
                if on_passes:
                    on_passes(len(batch))
        return answers

    def _run(self, batch: Int[np.ndarray, "pass"], questions: Questions, answers: Answers) -> None:
        """Run one batch and write its rows into ``answers``."""
        ids = np.stack([questions.inputs[i] for i in batch]).astype(np.int64)
        tokens = torch.from_numpy(ids).to(self.device)
        chosen, last = self.model(tokens, self.layer)

        rows, places = _rows_of(batch, questions.log_probs)
        if len(rows):
            logits = self._logits(last[places[:, 0], places[:, 1]])
            answers.log_probs[rows] = logits.log_softmax(dim=-1).cpu().numpy()
        rows, places = _rows_of(batch, questions.hidden)
        if len(rows):
            answers.hidden[rows] = _double(chosen[places[:, 0], places[:, 1]])
        pooled = np.flatnonzero(questions.pooled[batch])
        if len(pooled):
            first = 0 if self.pool_cls else 1
            answers.pooled[batch[pooled]] = [
                _double(chosen[i, first:], mean=True) for i in pooled.tolist()
            ]
        wanted = np.flatnonzero(questions.likelihood[batch])
        for begin in range(0, len(wanted), _FULL_LOGITS):
            some = wanted[begin : begin + _FULL_LOGITS]
            answers.likelihood[batch[some]] = self._likelihood(tokens[some], last[some])

    def _logits(self, hidden: Float[Tensor, "row dim"]) -> Float32[Tensor, "row vocab"]:
        """Logits of a few rows.

        On a CPU one by one: the kernel of a product of few rows depends on their number, which
        depends on who else is scored, and would move the last digits.
        """
        rows = list(torch.split(hidden, 1)) if self.device.type == "cpu" else [hidden]
        return torch.cat([self.model.head(row) for row in rows])

    def _likelihood(
        self, tokens: Int[Tensor, "pass token"], last: Float[Tensor, "pass token dim"]
    ) -> Float64[np.ndarray, "pass"]:
        """Sum over nucleotide tokens of log P(token), nats."""
        logits: Float32[Tensor, "row vocab"] = self.model.head(last[:, 1:].flatten(0, 1))
        own = logits.gather(1, tokens[:, 1:].flatten()[:, None])[:, 0]
        log_probs = (own - logits.logsumexp(dim=1)).view(len(tokens), -1)
        sums: Float64[np.ndarray, "pass"] = _double(log_probs).sum(axis=1)
        return sums


def _rows_of(
    batch: Int[np.ndarray, "pass"], asked: Int[np.ndarray, "query 2"]
) -> tuple[Int[np.ndarray, "row"], Int[np.ndarray, "row 2"]]:
    """Which asked rows belong to a batch, and their (pass, token) inside it."""
    order = np.argsort(batch)
    place = np.searchsorted(batch, asked[:, 0], sorter=order).clip(max=len(batch) - 1)
    within = order[place]
    rows = np.flatnonzero(batch[within] == asked[:, 0])
    return rows, np.stack((within[rows], asked[rows, 1]), axis=1)


def _double(x: Float[Tensor, "*shape"], mean: bool = False) -> Float64[np.ndarray, "..."]:
    """To float64 before any reduction; the CPU does it for Apple's GPUs, which have none."""
    x = (x.cpu() if x.device.type == "mps" else x).double()
    array: Float64[np.ndarray, "..."] = (x.mean(dim=0) if mean else x).cpu().numpy()
    return array
