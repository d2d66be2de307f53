"""tokens -> hidden states -> log-probabilities: the Nucleotide Transformer, v1 and v2, in torch.

A pre-LayerNorm encoder as in Dalla-Torre et al., Nature Methods 22:287 (2025), after ESM-2
(Lin et al., Science 379:1123, 2023). v1 has learned positions, ESM's token dropout and a GELU
feed-forward block; v2 has rotary positions (Su et al., arXiv:2104.09864) and SwiGLU (Shazeer,
arXiv:2002.05202). Which of these a checkpoint uses is read from its own config.json and weights.

Rows of one batch all have the same length: nothing is ever padded, so no attention mask is needed.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from ntvep.description import Description
from ntvep.errors import ModelError
from ntvep.models.family import WIDE, Config, Family, Shapes, TensorMap
from ntvep.models.folder import checked_flags, checked_numbers, read_text
from ntvep.models.layers import Product, hold
from ntvep.objectives import Objective
from ntvep.tokenizers.kmer import Kmers, kmer_tokenizer

# ESM's training masked 15 % of the tokens and replaced 80 % of these by <mask>.
_MASK_RATIO_IN_TRAINING = 0.15 * 0.8
_ROTARY_BASE = 10_000.0
# Of a batch of automatic size on a CPU, twice the usual: states take half as many bytes.
_HALF_BATCH_TOKENS = 4_096

# Published checkpoints hold these beside the model; they are known, and not used.
_UNUSED = (
    re.compile(r"esm\.contact_head\.regression\.(weight|bias)"),
    re.compile(r"esm\.embeddings\.position_ids"),
    re.compile(r"esm\.encoder\.layer\.\d+\.attention\.self\.rotary_embeddings\.inv_freq"),
)
_UNUSED_WITH_ROTARY = re.compile(r"esm\.embeddings\.position_embeddings\.weight")

# Our parameter names -> the published ones, "{i}" being the number of the layer.
_MODEL_KEYS = {
    "words.weight": "esm.embeddings.word_embeddings.weight",
    "positions.weight": "esm.embeddings.position_embeddings.weight",
    "norm_before": "esm.embeddings.layer_norm",
    "final_norm": "esm.encoder.emb_layer_norm_after",
    "head.dense": "lm_head.dense",
    "head.norm": "lm_head.layer_norm",
    "head.decoder.weight": "lm_head.decoder.weight",
    "head.decoder.bias": "lm_head.bias",
}
_LAYER_KEYS = {
    "attention_norm": "attention.LayerNorm",
    "attention_out": "attention.output.dense",
    "ffn_norm": "LayerNorm",
    "ffn_in": "intermediate.dense",
    "ffn_out": "output.dense",
}

# Bounds far beyond every published model: what is outside is a damaged or hostile config.json, and
# must not decide how much memory we ask for.
_NUMBERS = {
    "num_hidden_layers": (1, 1 << 10),
    "hidden_size": (1, 1 << 20),
    "intermediate_size": (1, 1 << 20),
    "num_attention_heads": (1, 1 << 10),
    "vocab_size": (1, (1 << 15) - 1),
    "max_position_embeddings": (3, 1 << 16),
    "pad_token_id": (0, (1 << 15) - 1),
    "mask_token_id": (0, (1 << 15) - 1),
}
_FLAGS = (
    "token_dropout", "add_bias_fnn", "emb_layer_norm_before", "tie_word_embeddings",
    "is_folding_model",
)  # fmt: skip

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
            # Learned positions begin after the padding index; v2 keeps the same convention.
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

    See :class:`ntvep.models.family.Encoder`.
    """

    objective: ClassVar[Objective] = "masked"
    margin = 0

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.dim, self.layers, self.max_tokens = arch.dim, arch.layers, arch.max_tokens
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

    def in_precision(self, precision: torch.dtype, spare: float = 0.0) -> "NucleotideTransformer":
        """Hold the encoder's matrices, which take nearly all of the time, in a precision; itself.

        All else stays in float32: embeddings, the sums between blocks, norms, and the head.
        """
        hold(self.blocks, precision, spare)
        if precision.itemsize < 4:
            self.cpu_batch_tokens = _HALF_BATCH_TOKENS
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

    def logits(self, rows: Float[Tensor, "row dim"]) -> Float32[Tensor, "row vocab"]:
        """Logits of rows of the last layer."""
        logits: Float32[Tensor, "row vocab"] = self.head(rows)
        return logits

    def hidden(
        self, ids: Int[Tensor, "pass token"], layer: int | None = None
    ) -> tuple[Float[Tensor, "pass token dim"], Float[Tensor, "pass token dim"]]:
        """Hidden states for token ids that begin with ``<cls>``, all rows of one length.

        Args:
            ids: token ids, without padding.
            layer: which layer to return beside the last: 0 is the input embeddings, k the output
                of block k. The last one is after the final LayerNorm, as ``hidden_states[-1]`` is.

        Returns:
            The hidden states of ``layer`` (of the last, for None) and those of the last layer.
        """
        rotary = self._rotary(ids)
        x = self.embed(ids)
        chosen = x
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, rotary)
            if number == layer:
                chosen = x
        last = self.final_norm(x)
        return (last if layer in (None, self.arch.layers) else chosen), last

    def last_at(
        self,
        ids: Int[Tensor, "pass token"],
        number: Int[Tensor, "row"],
        token: Int[Tensor, "row"],
        rows_at_once: int | None = None,
    ) -> Float[Tensor, "row dim"]:
        """The last layer's hidden states of a few tokens; the last block computes no others.

        Args:
            ids: as in :meth:`hidden`.
            number: pass of each row wanted.
            token: its token.
            rows_at_once: in the last block; None takes all at once.
        """
        rotary = self._rotary(ids)
        x = self.embed(ids)
        for block in self.blocks[:-1]:
            x = block(x, rotary)
        last: Block = self.blocks[-1]  # type: ignore[assignment]
        rows: Tensor = self.final_norm(last.at(x, number, token, rotary, rows_at_once))
        return rows

    def _rotary(self, tokens: Int[Tensor, "pass token"]) -> Rotary | None:
        if self.arch.learned_positions:
            return None
        return rotary_tables(tokens.shape[1], self.arch.dim // self.arch.heads, tokens.device)


def published_keys(name: str) -> tuple[str, ...]:
    """The published names of one of our parameters: three for the joined q, k, v, else one."""
    if match := re.fullmatch(r"blocks\.(\d+)\.(\w+)\.(weight|bias)", name):
        layer, part, kind = match.groups()
        prefix = f"esm.encoder.layer.{layer}."
        if part == "qkv":
            return tuple(f"{prefix}attention.self.{p}.{kind}" for p in ("query", "key", "value"))
        return (f"{prefix}{_LAYER_KEYS[part]}.{kind}",)
    if name in _MODEL_KEYS:
        return (_MODEL_KEYS[name],)
    module, _, kind = name.rpartition(".")
    return (f"{_MODEL_KEYS[module]}.{kind}",)


def architecture(config: Config, shapes: Shapes, path: Path = Path("config.json")) -> Architecture:
    """What config.json says, if a model of these numbers can be.

    Raises:
        ModelError: it cannot.
    """
    ffn_in = shapes.get("esm.encoder.layer.0.intermediate.dense.weight", ())
    try:
        checked_numbers(config, _NUMBERS)
        checked_flags(config, _FLAGS)
        eps = config["layer_norm_eps"]
        if not isinstance(eps, int | float) or not 0 < eps < 1:
            raise ValueError(f"layer_norm_eps is {eps!r:.40}, expected a number from 0 to 1")
        arch = Architecture.from_config(
            config, gated=ffn_in[:1] == (2 * config["intermediate_size"],)
        )
        if arch.max_tokens < 2:
            raise ValueError("max_position_embeddings leaves no place after pad_token_id")
        if not arch.learned_positions and arch.dim // arch.heads % 2:
            raise ValueError("rotary positions need an even hidden_size / num_attention_heads")
    except (KeyError, ValueError, TypeError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{path}: {problem}; expected the config.json of a Nucleotide Transformer (v1 or "
            "v2) as published on the Hugging Face hub"
        ) from error
    return arch


def _recognises(config: Config) -> bool:
    return config.get("model_type") == "esm" or "token_dropout" in config


def _describe(folder: Path, config: Config) -> Description:
    arch = architecture(config, {}, folder / "config.json")
    tokens = tuple(read_text(folder / "vocab.txt").splitlines())
    if arch.vocab_size > len(tokens):
        raise ModelError(
            f"{folder / 'vocab.txt'}: {len(tokens)} tokens, but the model has "
            f"{arch.vocab_size}; the folder mixes two checkpoints"
        )
    # Ids after the model's rows (v1's <eos>, <bos>) cannot be given to it.
    known = tokens[: arch.vocab_size]
    tokenizer = _tokenizer(folder, known, arch)
    bases = tokenizer.k * (arch.max_tokens - 1)
    return Description(
        family="nt",
        objective="masked",
        tokenizer=tokenizer,
        vocabulary_sha256=hashlib.sha256("\n".join(known).encode()).hexdigest(),
        layers=arch.layers,
        max_tokens=arch.max_tokens,
        default_bases=bases,
        trained_bases=bases,
        step=tokenizer.k,
        on_cpu="mixed" if arch.dim >= WIDE else "fp32",
    )


def _tokenizer(folder: Path, tokens: tuple[str, ...], arch: Architecture) -> Kmers:
    try:
        tokenizer = kmer_tokenizer(tokens)
    except ValueError as error:
        raise ModelError(
            f"{folder / 'vocab.txt'}: {error}; expected the 4,096 six-mers, A, C, G, T, N, "
            "<cls> and <mask>, each once"
        ) from error
    if tokenizer.mask != arch.mask_id:
        raise ModelError(
            f"{folder}: <mask> is token {tokenizer.mask} of vocab.txt, but config.json says "
            f"{arch.mask_id}; the folder mixes two checkpoints"
        )
    return tokenizer


def _build(config: Config, shapes: Shapes) -> NucleotideTransformer:
    return NucleotideTransformer(architecture(config, shapes))


def _tensors(config: Config, shapes: Shapes) -> TensorMap:
    learned = config["position_embedding_type"] == "absolute"
    return TensorMap(published_keys, (*_UNUSED, *(() if learned else (_UNUSED_WITH_ROTARY,))))


NT = Family(
    name="nt",
    title="Nucleotide Transformer",
    models=(
        "InstaDeepAI/nucleotide-transformer-500m-human-ref",
        "InstaDeepAI/nucleotide-transformer-500m-1000g",
        "InstaDeepAI/nucleotide-transformer-2.5b-1000g",
        "InstaDeepAI/nucleotide-transformer-2.5b-multi-species",
        "InstaDeepAI/nucleotide-transformer-v2-50m-multi-species",
        "InstaDeepAI/nucleotide-transformer-v2-100m-multi-species",
        "InstaDeepAI/nucleotide-transformer-v2-250m-multi-species",
        "InstaDeepAI/nucleotide-transformer-v2-500m-multi-species",
        "InstaDeepAI/agro-nucleotide-transformer-1b",
    ),
    objective="masked",
    tokens="6-mers",
    window="5,994 (v1), 12,282 (v2), 6,138 (AgroNT)",
    licence="CC BY-NC-SA 4.0",
    authors="cosine similarity of embeddings is 1 - cosine_distance; their paper prints no llr",
    recognises=_recognises,
    describe=_describe,
    build=_build,
    tensors=_tensors,
)
