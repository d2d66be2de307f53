"""tokens -> hidden states -> log-probabilities: the Nucleotide Transformer, v1 and v2, in torch.

A pre-LayerNorm encoder as in Dalla-Torre et al., Nature Methods 22:287 (2025), after ESM-2
(Lin et al., Science 379:1123, 2023). v1 has learned positions, ESM's token dropout and a GELU
feed-forward block; v2 has rotary positions (Su et al., arXiv:2104.09864) and SwiGLU (Shazeer,
arXiv:2002.05202). Which of these a checkpoint uses is read from its own config.json and weights.

Rows of one batch all have the same length: nothing is ever padded, so there is no attention mask.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

# ESM's training masked 15 % of the tokens and replaced 80 % of these by <mask>.
_MASK_RATIO_IN_TRAINING = 0.15 * 0.8
_ROTARY_BASE = 10_000.0

# Cosines and sines of the positions.
Rotary = tuple[Float32[Tensor, "token half"], Float32[Tensor, "token half"]]


@dataclass(frozen=True)
class Architecture:
    """What config.json and the shapes of the weights say about a checkpoint."""

    layers: int
    dim: int
    ffn_dim: int
    heads: int
    vocab_size: int
    max_tokens: int
    learned_positions: bool
    token_dropout: bool
    gated: bool
    ffn_bias: bool
    norm_before: bool
    layer_norm_eps: float
    pad_id: int
    mask_id: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, gated: bool) -> "Architecture":
        """Read a Hugging Face ``config.json``.

        Args:
            config: the parsed file.
            gated: whether the feed-forward block is SwiGLU. config.json has no flag for it: the
                published v2 configs point to remote code instead, so the weights' shape decides.

        Raises:
            KeyError: a key that every published checkpoint has is missing.
            ValueError: a value that no Nucleotide Transformer has.
        """
        positions = config["position_embedding_type"]
        if positions not in ("absolute", "rotary"):
            raise ValueError(
                f"position_embedding_type is {positions!r}, expected absolute or rotary"
            )
        if config["hidden_size"] % config["num_attention_heads"]:
            raise ValueError("hidden_size is not a multiple of num_attention_heads")
        if config.get("tie_word_embeddings") or config.get("is_folding_model"):
            raise ValueError("tied word embeddings and folding models are not supported")
        return cls(
            layers=config["num_hidden_layers"],
            dim=config["hidden_size"],
            ffn_dim=config["intermediate_size"],
            heads=config["num_attention_heads"],
            vocab_size=config["vocab_size"],
            # Learned positions begin behind the padding index; v2 keeps the same convention.
            max_tokens=config["max_position_embeddings"] - config["pad_token_id"] - 1,
            learned_positions=positions == "absolute",
            token_dropout=config["token_dropout"],
            gated=gated,
            ffn_bias=config.get("add_bias_fnn", True),
            norm_before=config.get("emb_layer_norm_before") or False,
            layer_norm_eps=config["layer_norm_eps"],
            pad_id=config["pad_token_id"],
            mask_id=config["mask_token_id"],
        )


def rotary_tables(length: int, head_dim: int, device: torch.device) -> Rotary:
    """Cosines and sines of rotary positions 0 .. length-1, for the half-rotation layout."""
    exponents = torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim
    angles = torch.outer(
        torch.arange(length, device=device, dtype=torch.float32), _ROTARY_BASE**-exponents
    )
    return angles.cos(), angles.sin()


def rotate(
    x: Float[Tensor, "pass head token head_dim"],
    cos: Float32[Tensor, "*token half"],
    sin: Float32[Tensor, "*token half"],
) -> Float[Tensor, "pass head token head_dim"]:
    """Rotate the pairs (x[i], x[i + head_dim/2]) by the angle of their position."""
    first, second = x.float().chunk(2, dim=-1)
    rotated = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return rotated.to(x.dtype)


class Product(nn.Linear):
    """A linear map that takes its input in the precision of its own weights."""

    def forward(self, x: Float[Tensor, "*rows from"]) -> Float[Tensor, "*rows to"]:
        """The product, in that precision."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


class Block(nn.Module):
    """One encoder layer: x + attention(norm(x)), then x + feed_forward(norm(x)).

    x keeps its own precision, whatever that of the products: a sum of half-precision numbers over
    all layers would lose the small changes that a variant makes.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.heads, self.gated = arch.heads, arch.gated
        self.attention_norm = nn.LayerNorm(arch.dim, eps=arch.layer_norm_eps)
        self.qkv = Product(arch.dim, 3 * arch.dim)
        self.attention_out = Product(arch.dim, arch.dim)
        self.ffn_norm = nn.LayerNorm(arch.dim, eps=arch.layer_norm_eps)
        self.ffn_in = Product(arch.dim, arch.ffn_dim * (1 + arch.gated), bias=arch.ffn_bias)
        self.ffn_out = Product(arch.ffn_dim, arch.dim, bias=arch.ffn_bias)

    def forward(
        self, x: Float[Tensor, "pass token dim"], rotary: Rotary | None
    ) -> Float[Tensor, "pass token dim"]:
        """Hidden states after this layer."""
        query, key, value = self._heads(self.qkv(self.attention_norm(x)), 3)
        if rotary is not None:
            query, key = rotate(query, *rotary), rotate(key, *rotary)
        return self._rest(x, F.scaled_dot_product_attention(query, key, value))

    def at(
        self,
        x: Float[Tensor, "pass token dim"],
        number: Int[Tensor, "row"],
        token: Int[Tensor, "row"],
        rotary: Rotary | None,
        rows_at_once: int | None = None,
    ) -> Float[Tensor, "row dim"]:
        """Hidden states after this layer of a few tokens, without computing those of the others.

        Args:
            x: hidden states before this layer.
            number: pass of each row wanted.
            token: its token.
            rotary: tables of rotary positions.
            rows_at_once: None takes all at once.
        """
        dim = x.shape[2]
        weight, bias = self.qkv.weight, self.qkv.bias
        normed = self.attention_norm(x).to(weight.dtype)
        key, value = self._heads(F.linear(normed, weight[dim:], bias[dim:]), 2)
        if rotary is not None:
            key = rotate(key, *rotary)
        parts = []
        size = rows_at_once or max(1, len(number))
        for n, t in zip(torch.split(number, size), torch.split(token, size), strict=True):
            # Each row is a batch of its own: one query, the keys of its pass.
            query = F.linear(normed[n, t], weight[:dim], bias[:dim])
            (query,) = self._heads(query[:, None], 1)
            if rotary is not None:
                query = rotate(query, *(table[t][:, None, None] for table in rotary))
            attended = F.scaled_dot_product_attention(query, key[n], value[n])
            parts.append(self._rest(x[n, t][:, None], attended)[:, 0])
        return torch.cat(parts)

    def _heads(
        self, projected: Float[Tensor, "pass token wide"], parts: int
    ) -> tuple[Float[Tensor, "pass head token head_dim"], ...]:
        """Cut a projection into its parts (query, key, value), and these into heads."""
        batch, length, _ = projected.shape
        cut = projected.view(batch, length, parts, self.heads, -1)
        return cut.permute(2, 0, 3, 1, 4).unbind(0)

    def _rest(
        self,
        x: Float[Tensor, "pass token dim"],
        attended: Float[Tensor, "pass head token head_dim"],
    ) -> Float[Tensor, "pass token dim"]:
        """What follows attention: its output projection and the feed-forward block."""
        x = x + self.attention_out(attended.transpose(1, 2).reshape(x.shape))
        inner = self.ffn_in(self.ffn_norm(x))
        if self.gated:
            gate, value = inner.chunk(2, dim=-1)
            inner = F.silu(gate) * value
        else:
            inner = F.gelu(inner)
        out: Tensor = x + self.ffn_out(inner)
        return out


class Head(nn.Module):
    """Hidden states after the final LayerNorm -> logits over the vocabulary."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.dense = nn.Linear(arch.dim, arch.dim)
        self.norm = nn.LayerNorm(arch.dim, eps=arch.layer_norm_eps)
        self.decoder = nn.Linear(arch.dim, arch.vocab_size)

    def forward(self, hidden: Float[Tensor, "row dim"]) -> Float32[Tensor, "row vocab"]:
        """Logits, in float32."""
        logits: Tensor = self.decoder(self.norm(F.gelu(self.dense(hidden))))
        return logits.float()


class NucleotideTransformer(nn.Module):
    """The encoder and its language-model head, kept apart: logits cost more than the rest is worth.

    Call it for hidden states; call :attr:`head` on the few rows whose logits are needed.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.words = nn.Embedding(arch.vocab_size, arch.dim)
        self.positions = (
            nn.Embedding(arch.max_tokens + arch.pad_id + 1, arch.dim)
            if arch.learned_positions
            else None
        )
        self.norm_before = (
            nn.LayerNorm(arch.dim, eps=arch.layer_norm_eps) if arch.norm_before else None
        )
        self.blocks = nn.ModuleList(Block(arch) for _ in range(arch.layers))
        self.final_norm = nn.LayerNorm(arch.dim, eps=arch.layer_norm_eps)
        self.head = Head(arch)

    def multiply_in(self, precision: torch.dtype) -> "NucleotideTransformer":
        """Hold the encoder's matrices, which take nearly all of the time, in a precision; itself.

        All else stays in float32: embeddings, the sums between blocks, norms, and the head.
        """
        for module in self.blocks.modules():
            if isinstance(module, Product):
                module.to(precision)
        return self

    def embed(self, tokens: Int[Tensor, "pass token"]) -> Float[Tensor, "pass token dim"]:
        """Input embeddings; token dropout and learned positions where the checkpoint has them."""
        x: Tensor = self.words(tokens)
        if self.arch.token_dropout:
            masked = tokens == self.arch.mask_id
            observed = masked.float().mean(dim=1)
            scale = (1 - _MASK_RATIO_IN_TRAINING) / (1 - observed)
            x = x.masked_fill(masked[..., None], 0.0) * scale[:, None, None].to(x.dtype)
        if self.positions is not None:
            first = self.arch.pad_id + 1
            x = x + self.positions.weight[first : first + tokens.shape[1]]
        return x if self.norm_before is None else self.norm_before(x)

    def forward(
        self, tokens: Int[Tensor, "pass token"], layer: int | None = None
    ) -> tuple[Float[Tensor, "pass token dim"], Float[Tensor, "pass token dim"]]:
        """Hidden states for token ids that begin with ``<cls>``, all rows of one length.

        Args:
            tokens: ids, without padding.
            layer: which layer to return beside the last: 0 is the input embeddings, k the output
                of block k. The last one is after the final LayerNorm, as ``hidden_states[-1]`` is.

        Returns:
            The hidden states of ``layer`` (of the last, for None) and those of the last layer.
        """
        rotary = self._rotary(tokens)
        x = self.embed(tokens)
        chosen = x
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, rotary)
            if number == layer:
                chosen = x
        last = self.final_norm(x)
        return (last if layer in (None, self.arch.layers) else chosen), last

    def last_at(
        self,
        tokens: Int[Tensor, "pass token"],
        number: Int[Tensor, "row"],
        token: Int[Tensor, "row"],
        rows_at_once: int | None = None,
    ) -> Float[Tensor, "row dim"]:
        """The last layer's hidden states of a few tokens; the last block computes no others.

        Args:
            tokens: as in :meth:`forward`.
            number: pass of each row wanted.
            token: its token.
            rows_at_once: in the last block; None takes all at once.
        """
        rotary = self._rotary(tokens)
        x = self.embed(tokens)
        for block in self.blocks[:-1]:
            x = block(x, rotary)
        last: Block = self.blocks[-1]  # type: ignore[assignment]
        rows: Tensor = self.final_norm(last.at(x, number, token, rotary, rows_at_once))
        return rows

    def _rotary(self, tokens: Int[Tensor, "pass token"]) -> Rotary | None:
        if self.arch.learned_positions:
            return None
        return rotary_tables(tokens.shape[1], self.arch.dim // self.arch.heads, tokens.device)
