"""tokens -> hidden states -> logits: BERT's encoder, as DNABERT, GENA-LM and MutBERT use it.

Devlin et al., arXiv:1810.04805. What the three differ in is a field of :class:`Design`: whether a
layer is normed after its sums (post-LN: DNABERT, MutBERT) or before its products (pre-LN: GENA-LM,
after Xiong et al., arXiv:2002.04745), whether a norm follows the last layer, and whether positions
are learned or rotary (Su et al., arXiv:2104.09864).

:class:`MaskedTransformer` is what any masked encoder made of attention blocks shares; DNABERT-2 and
ModernBERT are built on it too. Rows of one batch have one length: nothing is padded.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int, Shaped
from torch import Tensor, nn

from ntvep.errors import ModelError
from ntvep.models.family import Config, Shapes, TensorMap
from ntvep.models.folder import checked_numbers
from ntvep.models.layers import Product, hold
from ntvep.models.nt import Rotary, rotate
from ntvep.objectives import Objective

# Bounds far beyond every published model: what is outside is a damaged or hostile config.json, and
# must not decide how much memory is asked for.
SIZES = {
    "hidden_size": (1, 1 << 20),
    "num_hidden_layers": (1, 1 << 10),
    "num_attention_heads": (1, 1 << 10),
    "intermediate_size": (1, 1 << 20),
    "vocab_size": (1, 1 << 20),
    "max_position_embeddings": (3, 1 << 20),
}


@dataclass(frozen=True)
class Places:
    """What a layer gets about positions, beside its input.

    Attributes:
        rotary: cosines and sines by which queries and keys are turned; None turns nothing.
        bias: added to the attention scores (float32), or which pairs may attend (bool); one for
            all heads where ``head`` is 1. None: every token attends to every token.
    """

    rotary: Rotary | None = None
    bias: Float32[Tensor, "head token token"] | Bool[Tensor, "head token token"] | None = None

    def turned(
        self, query: Float[Tensor, "row head 1 head_dim"], token: Int[Tensor, " row"]
    ) -> Float[Tensor, "row head 1 head_dim"]:
        """Queries of a few tokens, each of which is a batch of its own, turned."""
        if self.rotary is None:
            return query
        cos, sin = (table[token][:, None, None] for table in self.rotary)
        return rotate(query, cos, sin)

    def bias_at(self, token: Int[Tensor, " row"]) -> Shaped[Tensor, "row head 1 token"] | None:
        """The bias of these queries."""
        return None if self.bias is None else self.bias[:, token].transpose(0, 1)[:, :, None]


def rotary_tables(length: int, head_dim: int, base: float, device: torch.device) -> Rotary:
    """Cosines and sines of rotary positions 0 .. length-1, for the half-rotation layout."""
    exponents = torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim
    places = torch.arange(length, device=device, dtype=torch.float32)
    angles = torch.outer(places, base**-exponents)
    return angles.cos(), angles.sin()


def attend(
    query: Float[Tensor, "pass head to head_dim"],
    key: Float[Tensor, "pass head token head_dim"],
    value: Float[Tensor, "pass head token head_dim"],
    bias: Shaped[Tensor, "#pass #head to token"] | None,
) -> Float[Tensor, "pass head to head_dim"]:
    """softmax(query key^T / sqrt(head_dim) + bias) value.

    Scores with a numeric bias are summed in float32: in half precision the distance of two far
    tokens would be rounded away. They are also written out, which torch's fused attention on a CPU
    is not: it moved logits of 600 tokens by 2e-5.
    """
    if bias is not None and bias.is_floating_point():
        query, key, value = query.float(), key.float(), value.float()
        scores = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
        attended: Tensor = (scores + bias).softmax(-1) @ value
        return attended
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


class Block(nn.Module):
    """One layer: attention over ``qkv``, with what comes before and after it left to the kinds.

    Hidden states keep their own precision, whatever that of the products.
    """

    heads: int
    qkv: Product

    def enter(self, x: Float[Tensor, "pass token dim"]) -> Float[Tensor, "pass token dim"]:
        """What queries, keys and values are made of."""
        return x

    def leave(
        self, x: Float[Tensor, "pass token dim"], attended: Float[Tensor, "pass token dim"]
    ) -> Float[Tensor, "pass token dim"]:
        """The layer's output from its input and the joined heads."""
        raise NotImplementedError

    def forward(
        self, x: Float[Tensor, "pass token dim"], places: Places
    ) -> Float[Tensor, "pass token dim"]:
        """Hidden states after this layer."""
        query, key, value = self._heads(self.qkv(self.enter(x)), 3)
        if places.rotary is not None:
            query, key = rotate(query, *places.rotary), rotate(key, *places.rotary)
        bias = None if places.bias is None else places.bias[None]
        return self.leave(x, _joined(attend(query, key, value, bias)))

    def at(
        self,
        x: Float[Tensor, "pass token dim"],
        number: Int[Tensor, " row"],
        token: Int[Tensor, " row"],
        places: Places,
        rows_at_once: int | None = None,
    ) -> Float[Tensor, "row dim"]:
        """Hidden states after this layer of a few tokens, without computing those of the others.

        Args:
            x: hidden states before this layer.
            number: pass of each row wanted.
            token: its token.
            places: as in :meth:`forward`.
            rows_at_once: None takes all at once.
        """
        dim = x.shape[2]
        weight, bias = self.qkv.weight, self.qkv.bias
        normed = self.enter(x).to(weight.dtype)
        projected = F.linear(normed, weight[dim:], None if bias is None else bias[dim:])
        key, value = self._heads(projected, 2)
        if places.rotary is not None:
            key = rotate(key, *places.rotary)
        parts = []
        size = rows_at_once or max(1, len(number))
        for n, t in zip(torch.split(number, size), torch.split(token, size), strict=True):
            # Each row is a batch of its own: one query, the keys of its pass.
            asked = F.linear(normed[n, t], weight[:dim], None if bias is None else bias[:dim])
            (query,) = self._heads(asked[:, None], 1)
            attended = attend(places.turned(query, t), key[n], value[n], places.bias_at(t))
            parts.append(self.leave(x[n, t][:, None], _joined(attended))[:, 0])
        return torch.cat(parts)

    def _heads(
        self, projected: Float[Tensor, "pass token wide"], parts: int
    ) -> tuple[Float[Tensor, "pass head token head_dim"], ...]:
        """Cut a projection into its parts (query, key, value), and these into heads."""
        batch, length, _ = projected.shape
        cut = projected.view(batch, length, parts, self.heads, -1)
        return cut.permute(2, 0, 3, 1, 4).unbind(0)


def _joined(
    attended: Float[Tensor, "pass head token head_dim"],
) -> Float[Tensor, "pass token dim"]:
    """The heads of each token side by side."""
    return attended.transpose(1, 2).flatten(2)


class Head(nn.Module):
    """Hidden states of the last layer -> logits over the vocabulary.

    The decoder's matrix is the word embeddings: one tensor under two names.
    """

    def __init__(
        self,
        dim: int,
        vocab_size: int,
        eps: float,
        *,
        dense_bias: bool = True,
        norm_bias: bool = True,
        decoder_bias: bool = True,
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim, bias=dense_bias)
        self.norm = nn.LayerNorm(dim, eps=eps, bias=norm_bias)
        self.decoder = nn.Linear(dim, vocab_size, bias=decoder_bias)

    def forward(self, rows: Float[Tensor, "row dim"]) -> Float32[Tensor, "row vocab"]:
        """Logits, in float32."""
        logits: Tensor = self.decoder(self.norm(F.gelu(self.dense(rows))))
        return logits.float()


class MaskedTransformer(nn.Module):
    """Embeddings, blocks and a head.

    A kind of model says how ids are embedded, what each block gets about positions, and what
    follows the last block.
    """

    objective: ClassVar[Objective] = "masked"
    margin: ClassVar[int] = 0
    dim: int
    layers: int
    max_tokens: int
    blocks: nn.ModuleList
    head: Head

    def embed(self, ids: Int[Tensor, "pass token"]) -> Float[Tensor, "pass token dim"]:
        """Input of the first block."""
        raise NotImplementedError

    def places(self, length: int, device: torch.device) -> list[Places]:
        """What each block gets about positions, in inputs of a given length."""
        raise NotImplementedError

    def finish(self, x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
        """What follows the last block: nothing, or a norm."""
        return x

    def hidden(
        self, ids: Int[Tensor, "pass token"], layer: int | None = None
    ) -> tuple[Float[Tensor, "pass token dim"], Float[Tensor, "pass token dim"]]:
        """Hidden states of all tokens, specials included; all rows of one length.

        Args:
            ids: tokens, without padding.
            layer: which layer to return beside the last: 0 is the input of the first block, k the
                output of block k. The last one is what the head is given.

        Returns:
            The hidden states of ``layer`` (of the last, for None) and those of the last layer.
        """
        x = self.embed(ids)
        chosen = x
        places = self.places(ids.shape[1], ids.device)
        for number, (block, where) in enumerate(zip(self.blocks, places, strict=True), start=1):
            x = block(x, where)
            if number == layer:
                chosen = x
        last = self.finish(x)
        return (last if layer in (None, self.layers) else chosen), last

    def last_at(
        self,
        ids: Int[Tensor, "pass token"],
        number: Int[Tensor, " row"],
        token: Int[Tensor, " row"],
        rows_at_once: int | None = None,
    ) -> Float[Tensor, "row dim"]:
        """The last layer's hidden states of a few tokens; the last block computes no others.

        Args:
            ids: as in :meth:`hidden`.
            number: pass of each row wanted.
            token: its token.
            rows_at_once: in the last block; None takes all at once.
        """
        x = self.embed(ids)
        places = self.places(ids.shape[1], ids.device)
        for block, where in zip(self.blocks[:-1], places[:-1], strict=True):
            x = block(x, where)
        last: Block = self.blocks[-1]  # type: ignore[assignment]
        return self.finish(last.at(x, number, token, places[-1], rows_at_once))

    def logits(self, rows: Float[Tensor, "row dim"]) -> Float32[Tensor, "row vocab"]:
        """Logits of rows of the last layer's hidden states."""
        logits: Float32[Tensor, "row vocab"] = self.head(rows)
        return logits

    def in_precision(self, precision: torch.dtype, spare: float = 0.0) -> "MaskedTransformer":
        """Hold the matrices of the blocks in a precision; embeddings, norms, sums and head keep."""
        hold(self.blocks, precision, spare)
        return self


@dataclass(frozen=True)
class Design:
    """What config.json says about a BERT.

    Attributes:
        norm_first: pre-LN.
        final_norm: a norm follows the last block (pre-LN only).
        rotary_base: of rotary positions; None for learned ones.
    """

    layers: int
    dim: int
    ffn_dim: int
    heads: int
    vocab_size: int
    types: int
    max_tokens: int
    eps: float
    norm_first: bool = False
    final_norm: bool = False
    rotary_base: float | None = None


class BertBlock(Block):
    """A layer of BERT: x + attention, then x + feed_forward, each normed before or after."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.heads, self.norm_first = design.heads, design.norm_first
        self.qkv = Product(design.dim, 3 * design.dim)
        self.attention_out = Product(design.dim, design.dim)
        self.attention_norm = nn.LayerNorm(design.dim, eps=design.eps)
        self.ffn_in = Product(design.dim, design.ffn_dim)
        self.ffn_out = Product(design.ffn_dim, design.dim)
        self.ffn_norm = nn.LayerNorm(design.dim, eps=design.eps)

    def enter(self, x: Float[Tensor, "pass token dim"]) -> Float[Tensor, "pass token dim"]:
        """Normed first, for pre-LN."""
        entered: Tensor = self.attention_norm(x) if self.norm_first else x
        return entered

    def leave(
        self, x: Float[Tensor, "pass token dim"], attended: Float[Tensor, "pass token dim"]
    ) -> Float[Tensor, "pass token dim"]:
        """Both sums, and the feed-forward block between them."""
        x = x + self.attention_out(attended)
        if self.norm_first:
            return x + self._feed_forward(self.ffn_norm(x))
        x = self.attention_norm(x)
        out: Tensor = self.ffn_norm(x + self._feed_forward(x))
        return out

    def _feed_forward(self, x: Float[Tensor, "pass token dim"]) -> Float[Tensor, "pass token dim"]:
        out: Tensor = self.ffn_out(F.gelu(self.ffn_in(x)))
        return out


class Bert(MaskedTransformer):
    """BERT with a masked-language-model head; all tokens are of type 0."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        self.dim, self.layers = design.dim, design.layers
        self.max_tokens = design.max_tokens
        self.words = nn.Embedding(design.vocab_size, design.dim)
        self.types = nn.Embedding(design.types, design.dim)
        self.positions = (
            nn.Embedding(design.max_tokens, design.dim) if design.rotary_base is None else None
        )
        self.embedding_norm = nn.LayerNorm(design.dim, eps=design.eps)
        self.blocks = nn.ModuleList(BertBlock(design) for _ in range(design.layers))
        self.final_norm = nn.LayerNorm(design.dim, eps=design.eps) if design.final_norm else None
        self.head = Head(design.dim, design.vocab_size, design.eps)

    def embed(self, ids: Int[Tensor, "pass token"]) -> Float[Tensor, "pass token dim"]:
        """Words, types and learned positions, normed."""
        x = self.words(ids) + self.types.weight[0]
        if self.positions is not None:
            x = x + self.positions.weight[: ids.shape[1]]
        normed: Tensor = self.embedding_norm(x)
        return normed

    def places(self, length: int, device: torch.device) -> list[Places]:
        """Rotary tables, where positions are not learned."""
        base = self.design.rotary_base
        rotary = base and rotary_tables(length, self.dim // self.design.heads, base, device)
        return [Places(rotary or None)] * self.layers

    def finish(self, x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
        """Normed, where the checkpoint has a final norm."""
        finished: Tensor = x if self.final_norm is None else self.final_norm(x)
        return finished


# Our modules -> the published ones, "{i}" being the number of the block.
_PUBLISHED = {
    "words": "bert.embeddings.word_embeddings",
    "types": "bert.embeddings.token_type_embeddings",
    "positions": "bert.embeddings.position_embeddings",
    "embedding_norm": "bert.embeddings.LayerNorm",
    "final_norm": "bert.encoder.last_layer_ln",
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "head.decoder": "cls.predictions.decoder",
}
_PUBLISHED_BLOCK = {
    "attention_out": "attention.output.dense",
    "ffn_in": "intermediate.dense",
    "ffn_out": "output.dense",
}
_POST_NORMS = {"attention_norm": "attention.output.LayerNorm", "ffn_norm": "output.LayerNorm"}
_PRE_NORMS = {"attention_norm": "pre_attention_ln", "ffn_norm": "post_attention_ln"}

# Published tensors that take no part in a masked language model: a buffer of the position numbers,
# and the two heads of BERT's other objective.
UNUSED = (
    re.compile(r"bert\.embeddings\.position_ids"),
    re.compile(r"bert\.pooler\.dense\.(weight|bias)"),
    re.compile(r"cls\.seq_relationship\.(weight|bias)"),
)
# The decoder is the word embeddings, and need not be written out a second time.
TIED = {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"}


def tensors(config: Config, shapes: Shapes, *, norm_first: bool = False) -> TensorMap:
    """Which published tensors :class:`Bert` is made of."""
    # Files of BERT's first years call a norm's weight and bias gamma and beta.
    gamma = "bert.embeddings.LayerNorm.gamma" in shapes
    # Some releases of transformers wrote the decoder's bias a second time.
    again = (re.compile(r"cls\.predictions\.decoder\.bias"),)
    return TensorMap(
        lambda name: published(name, norm_first=norm_first, gamma=gamma), UNUSED + again, TIED
    )


def published(name: str, *, norm_first: bool, gamma: bool = False) -> tuple[str, ...]:
    """The published names of a parameter of :class:`Bert`: three for the joined q, k, v, else one.

    Args:
        name: of ours.
        norm_first: pre-LN, whose norms have other names.
        gamma: norms have gamma and beta in place of weight and bias.
    """
    if name == "head.decoder.bias":
        return ("cls.predictions.bias",)
    module, _, kind = name.rpartition(".")
    if gamma and module.endswith("norm"):
        kind = {"weight": "gamma", "bias": "beta"}[kind]
    if match := re.fullmatch(r"blocks\.(\d+)\.(\w+)", module):
        number, part = match.groups()
        prefix = f"bert.encoder.layer.{number}."
        if part == "qkv":
            return tuple(f"{prefix}attention.self.{p}.{kind}" for p in ("query", "key", "value"))
        parts = _PUBLISHED_BLOCK | (_PRE_NORMS if norm_first else _POST_NORMS)
        return (f"{prefix}{parts[part]}.{kind}",)
    return (f"{_PUBLISHED[module]}.{kind}",)


@contextmanager
def reading(path: Path, family: str) -> Iterator[None]:
    """Whatever is wrong with a config.json while it is read is said of that file.

    Raises:
        ModelError: in place of KeyError and ValueError.
    """
    try:
        yield
    except (KeyError, ValueError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{path}: {problem}; expected the config.json of a {family} model as its authors "
            "published it: ntvep model fetch ID"
        ) from error


def real(config: Config, key: str, above: float, below: float, default: float) -> float:
    """A number of config.json that need not be whole.

    Raises:
        ValueError: it is none, or not between ``above`` and ``below``.
    """
    number = config.get(key, default)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError(f"{key} is {number!r:.40}, expected a number")
    if not above < number < below:
        raise ValueError(f"{key} is {number!r:.40}, expected between {above:g} and {below:g}")
    return float(number)


def expect(config: Config, only: Mapping[str, Any]) -> None:
    """Refuse settings that this implementation does not compute; an absent key is as expected.

    Raises:
        ValueError: a setting has another value.
    """
    for key, value in only.items():
        if (found := config.get(key, value)) != value or type(found) is not type(value):
            raise ValueError(f"{key} is {found!r:.60}, but only {value!r} is computed here")


def check_heads(config: Config, *, rotary: bool) -> None:
    """Refuse a width that cannot be cut into the heads.

    Raises:
        ValueError: it cannot.
    """
    dim, heads = config["hidden_size"], config["num_attention_heads"]
    if dim % heads or (rotary and dim // heads % 2):
        raise ValueError(
            f"hidden_size is {dim} and num_attention_heads {heads}, expected "
            f"{'an even multiple' if rotary else 'a multiple'}"
        )


def read_design(
    config: Config,
    family: str,
    path: Path = Path("config.json"),
    *,
    norm_first: bool = False,
    final_norm: bool = False,
    rotary: bool = False,
) -> Design:
    """What config.json says about a BERT of a known kind.

    Raises:
        ModelError: a value that this implementation does not compute.
    """
    with reading(path, family):
        config = {"type_vocab_size": 2} | dict(config)
        checked_numbers(config, SIZES | {"type_vocab_size": (1, 1 << 10)})
        expect(
            config,
            {
                "hidden_act": "gelu",
                "is_decoder": False,
                "add_cross_attention": False,
                "tie_word_embeddings": True,
                "rope_scaling": None,
                # GENA-LM's sparse checkpoints: their layout comes from DeepSpeed's own generator.
                "sparse_attention": None,
                "sparse_config_cls": None,
                "position_embedding_type": "absolute",
            },
        )
        check_heads(config, rotary=rotary)
        return Design(
            layers=config["num_hidden_layers"],
            dim=config["hidden_size"],
            ffn_dim=config["intermediate_size"],
            heads=config["num_attention_heads"],
            vocab_size=config["vocab_size"],
            types=config["type_vocab_size"],
            max_tokens=config["max_position_embeddings"],
            eps=real(config, "layer_norm_eps", 0.0, 1.0, 1e-12),
            norm_first=norm_first,
            final_norm=final_norm,
            rotary_base=real(config, "rope_theta", 1.0, 1e9, 10_000.0) if rotary else None,
        )


def refuse_other_kinds(shapes: Shapes, family: str, own: str = "") -> None:
    """Refuse weights of another descendant of BERT under a config.json that hides it.

    The config.json of several architectures says ``model_type: bert``. Loaded as plain BERT,
    most of their tensors would be ignored and started at random: the commonest silent error with
    DNABERT-2 and GENA-LM.

    Args:
        shapes: published tensors.
        family: what config.json says the model is.
        own: the mark below that this family's tensors do have.

    Raises:
        ModelError: the tensors are another family's.
    """
    marks = {
        "attention.self.Wqkv": "DNABERT-2 (whose config.json has alibi_starting_size)",
        "pre_attention_ln": "GENA-LM (whose config.json has pre_layer_norm: true)",
    }
    for mark, other in marks.items():
        found = next((name for name in shapes if f".{mark}." in name), None)
        if found and mark != own:
            raise ModelError(
                f"config.json describes {family}, but the weights hold {found}, which only {other} "
                f"has: as {family} most of its weights would be ignored. Take config.json and the "
                "weights from one release: ntvep model fetch ID"
            )
