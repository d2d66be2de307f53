"""config.json -> tokenizer, limits and network: what each family of models has to say of itself."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from ntvep.description import Description
from ntvep.objectives import Objective

Config = Mapping[str, Any]
# Published name of a tensor -> its shape.
Shapes = Mapping[str, tuple[int, ...]]
# From this width on, products in bfloat16 are worth it on a CPU: that of the smallest Nucleotide
# Transformer.
WIDE = 512


@runtime_checkable
class Encoder(Protocol):
    """A network in evaluation mode, as the engine sees it; an ``nn.Module``."""

    @property
    def objective(self) -> Objective:
        """What its outputs are."""
        ...

    @property
    def dim(self) -> int:
        """Width of its hidden states."""
        ...

    @property
    def layers(self) -> int:
        """Hidden layers: 0 is the input, k the output of block k, the last after a final norm."""
        ...

    @property
    def max_tokens(self) -> int:
        """The longest input, special tokens included."""
        ...

    @property
    def margin(self) -> int:
        """Tokens at each end of an input that have no output."""
        ...

    def hidden(
        self, ids: Int[Tensor, "pass token"], layer: int | None = None
    ) -> tuple[Float[Tensor, "pass out dim"], Float[Tensor, "pass out dim"]]:
        """Hidden states of a layer (None: the last), and of the last; inputs of one length."""
        ...

    def logits(self, rows: Float[Tensor, "row dim"]) -> Float32[Tensor, "row vocab"]:
        """Logits of rows of the last layer; of a rate model the log rates of A, C, G, T."""
        ...

    def in_precision(self, precision: torch.dtype, spare: float = 0.0) -> "Encoder":
        """Hold the matrices of the blocks in a precision; all else stays in float32.

        Args:
            precision: of the matrices.
            spare: share of the first blocks that stay in float32, too.
        """
        ...


@runtime_checkable
class Finishes(Protocol):
    """A network that computes something of its weights once they are there."""

    def loaded(self) -> None:
        """Called once, when every weight has been read."""
        ...


@runtime_checkable
class SizesBatches(Protocol):
    """A network for which a CPU's usual batches are too large or too small."""

    @property
    def cpu_batch_tokens(self) -> int:
        """Tokens in a batch of automatic size on a CPU."""
        ...


@runtime_checkable
class AnswersRows(Protocol):
    """An encoder that can compute its last block for a few tokens only."""

    def last_at(
        self,
        ids: Int[Tensor, "pass token"],
        number: Int[Tensor, "row"],
        token: Int[Tensor, "row"],
        rows_at_once: int | None = None,
    ) -> Float[Tensor, "row dim"]:
        """The last layer's hidden states of a few tokens."""
        ...


@runtime_checkable
class GoesOn(Protocol):
    """A causal encoder whose states of a prefix serve several continuations."""

    def prefix(
        self, ids: Int[Tensor, "pass token"], layer: int | None = None
    ) -> tuple[Float[Tensor, "pass token dim"], Float[Tensor, "pass token dim"], Any]:
        """What ``hidden`` returns, and the states after every token."""
        ...

    def go_on(
        self,
        state: Any,
        rows: Int[Tensor, "go"],
        shared: int,
        ids: Int[Tensor, "go rest"],
        layer: int | None = None,
    ) -> tuple[Float[Tensor, "go rest dim"], Float[Tensor, "go rest dim"]]:
        """What ``hidden`` returns for the tokens after the first ``shared`` ones.

        Args:
            state: of :meth:`prefix`.
            rows: the pass of the state whose first tokens each input shares.
            shared: how many.
            ids: the other tokens of each input.
            layer: as in ``hidden``.
        """
        ...


@dataclass(frozen=True)
class TensorMap:
    """Which published tensors a network is made of.

    Attributes:
        published: the published names of one of our parameters; several are joined along the first
            axis.
        ignored: published tensors that are known and not used.
        tied: a published name that may be absent -> the one whose values it shares.
    """

    published: Callable[[str], tuple[str, ...]]
    ignored: tuple[re.Pattern[str], ...] = ()
    tied: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        name: in provenance and fingerprints.
        title: for people.
        models: hub ids of published checkpoints.
        objective, tokens, window: for people, what its published checkpoints say of themselves; the
            window in bases. What holds for a checkpoint is in its description.
        licence: of their weights, as far as it is known.
        authors: how the authors' own score follows from ours.
        recognises: whether a config.json is of this family.
        describe: what a folder says of itself; raises ModelError.
        build: the network, without weights; raises ModelError where the names or shapes of the
            tensors are those of another architecture.
        tensors: which published tensors it is made of.
    """

    name: str
    title: str
    models: tuple[str, ...]
    objective: str
    tokens: str
    window: str
    licence: str
    authors: str
    recognises: Callable[[Config], bool]
    describe: Callable[[Path, Config], Description]
    build: Callable[[Config, Shapes], nn.Module]
    tensors: Callable[[Config, Shapes], TensorMap]
