"""tokens -> hidden states -> logits: Nucleotide Transformer v3, pre-trained, over single bases.

A U-Net: a tower of convolutions halves the sequence several times, a transformer reads the short
sequence, a second tower doubles it again and adds what the first one had at each length. Published
weights and their authors' code are non-commercial; this module is written from its formulas.

Only two layers have a hidden state for every base: 0, the stem's output, and 1, the last.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from ntvep.description import Description
from ntvep.errors import ModelError
from ntvep.models.expected import check_config, check_small
from ntvep.models.family import Config, Family, TensorMap
from ntvep.models.layers import Product, hold
from ntvep.models.nt import rotary_tables, rotate
from ntvep.models.tokenizer_files import file_sha256, read_vocabulary_json
from ntvep.tokenizers.base import base_tokenizer

_STEM_TAPS, _TAPS = 15, 5


@dataclass(frozen=True)
class Architecture:
    """What config.json says about a checkpoint.

    Attributes:
        widths: channels of the sequence after 0, 1, ... halvings; the last is the transformer's.
        head_dim: width of a head; heads * head_dim need not be the transformer's width.
    """

    widths: tuple[int, ...]
    letters: int
    token_dim: int
    blocks: int
    heads: int
    head_dim: int
    ffn_dim: int
    eps: float


def widths(first: int, last: int, halvings: int) -> tuple[int, ...]:
    """Channels grow evenly from the stem's to the transformer's, rounded down."""
    return tuple(int(w) for w in np.linspace(first, last, halvings + 1))


class Convolution(nn.Conv1d):
    """A convolution of equal length over tokens, for [pass token channel], in its own precision."""

    def __init__(self, before: int, after: int, taps: int) -> None:
        super().__init__(before, after, taps, padding=taps // 2)

    def forward(self, x: Float[Tensor, "pass token before"]) -> Float32[Tensor, "pass token after"]:
        """The convolved sequence."""
        out: Tensor = super().forward(x.to(self.weight.dtype).transpose(1, 2))
        return out.transpose(1, 2).float()


class Pointwise(nn.Module):
    """A convolution with one tap, its weight stored as a transposed convolution: [in out 1]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim, dim, 1))
        self.bias = nn.Parameter(torch.empty(dim))

    def forward(self, x: Float[Tensor, "pass token dim"]) -> Float32[Tensor, "pass token dim"]:
        """The map of each token."""
        return F.linear(x.to(self.weight.dtype), self.weight[..., 0].T, self.bias).float()


class Scale(nn.Module):
    """One step of a tower: y = gelu(conv(norm(x))), then y + gelu(pointwise(norm(y)))."""

    def __init__(self, before: int, after: int, eps: float, *, down: bool) -> None:
        super().__init__()
        self.down = down
        self.norm = nn.LayerNorm(before, eps=eps)
        self.convolution = Convolution(before, after, _TAPS)
        self.residual_norm = nn.LayerNorm(after, eps=eps)
        self.residual = Convolution(after, after, 1) if down else Pointwise(after)

    def forward(
        self, x: Float32[Tensor, "pass token before"]
    ) -> Float32[Tensor, "pass changed after"]:
        """Half as many tokens (mean of two) or twice as many (each repeated, before the filter)."""
        x = self.norm(x)
        if not self.down:
            x = x.repeat_interleave(2, dim=1)
        y = _gelu(self.convolution(x))
        y = y + _gelu(self.residual(self.residual_norm(y)))
        return y.reshape(len(y), -1, 2, y.shape[2]).mean(2) if self.down else y


class Block(nn.Module):
    """x + attention(norm(x)), then x + SwiGLU(norm(x))."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        dim, inner = arch.widths[-1], arch.heads * arch.head_dim
        self.heads = arch.heads
        self.attention_norm = nn.LayerNorm(dim, eps=arch.eps)
        self.qkv = Product(dim, 3 * inner)
        self.attention_out = Product(inner, dim)
        self.ffn_norm = nn.LayerNorm(dim, eps=arch.eps)
        self.ffn_in = Product(dim, 2 * arch.ffn_dim, bias=False)
        self.ffn_out = Product(arch.ffn_dim, dim, bias=False)

    def forward(self, x: Float32[Tensor, "pass token dim"]) -> Float32[Tensor, "pass token dim"]:
        """Hidden states after this layer."""
        passes, tokens, _ = x.shape
        cut = self.qkv(self.attention_norm(x)).view(passes, tokens, 3, self.heads, -1)
        query, key, value = cut.permute(2, 0, 3, 1, 4).unbind(0)
        table = rotary_tables(tokens, query.shape[-1], x.device)
        attended = F.scaled_dot_product_attention(rotate(query, *table), rotate(key, *table), value)
        x = x + self.attention_out(attended.transpose(1, 2).flatten(2)).float()
        gate, value = self.ffn_in(self.ffn_norm(x)).chunk(2, dim=-1)
        out: Tensor = x + self.ffn_out(F.silu(gate) * value).float()
        return out


class NTv3(nn.Module):
    """Single bases, masked; a length is a multiple of 2 to the power of the number of halvings."""

    objective = "masked"
    margin = 0
    layers = 1
    # No limit is built in; this is the longest input that published figures were computed with.
    max_tokens = 131_072

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.dim = arch.widths[0]
        self.words = nn.Embedding(arch.letters, arch.token_dim)
        self.stem = Convolution(arch.token_dim, self.dim, _STEM_TAPS)
        steps = list(pairwise(arch.widths))
        self.down = nn.ModuleList(Scale(a, b, arch.eps, down=True) for a, b in steps)
        self.blocks = nn.ModuleList(Block(arch) for _ in range(arch.blocks))
        self.up = nn.ModuleList(Scale(b, a, arch.eps, down=False) for a, b in reversed(steps))
        self.head = nn.Linear(self.dim, arch.letters)

    def hidden(
        self, ids: Int[Tensor, "pass token"], layer: int | None = None
    ) -> tuple[Float32[Tensor, "pass token dim"], Float32[Tensor, "pass token dim"]]:
        """Hidden states of ``layer`` (0: the stem's output; None or 1: the last) and the last."""
        stem = x = _gelu(self.stem(self.words(ids)))
        saved = []
        for scale in self.down:
            saved.append(x)
            x = scale(x)
        for block in self.blocks:
            x = block(x)
        for scale in self.up:
            x = scale(x) + saved.pop()
        return (stem if layer == 0 else x), x

    def logits(self, rows: Float[Tensor, "row dim"]) -> Float32[Tensor, "row letter"]:
        """Logits of rows of the last layer."""
        logits: Tensor = self.head(_gelu(rows))
        return logits.float()

    def in_precision(self, dtype: torch.dtype, spare: float = 0.0) -> "NTv3":
        """Hold the towers' and the transformer's matrices in ``dtype``; the rest stays float32."""
        several = (*self.down, *self.blocks, *self.up)
        hold(several, dtype, spare, (Product, Convolution, Pointwise))
        return self


def _gelu(x: Float32[Tensor, "*rows dim"]) -> Float32[Tensor, "*rows dim"]:
    return F.gelu(x, approximate="tanh")


_TITLE = "NTv3 (pre-trained)"
_NUMBERS = {
    "alphabet_size": (5, 1 << 10),
    "num_downsamples": (1, 16),
    "attention_heads": (1, 1 << 10),
    "key_size": (2, 1 << 12),
    "token_embed_dim": (1, 1 << 14),
    "conv_init_embed_dim": (1, 1 << 14),
    "embed_dim": (1, 1 << 14),
    "ffn_embed_dim": (1, 1 << 16),
    "num_layers": (1, 256),
    "mask_token_id": (0, 1 << 10),
    "pad_token_id": (0, 1 << 10),
}
_FLAGS: dict[str, tuple[object, ...]] = {
    "num_hidden_layers_head": (0,),
    "use_skip_connection": (True,),
    # The other kind, transposed convolutions, is of no checkpoint whose outputs are known here.
    "deconv_upsample_type": ("repeat+conv",),
    "deconv_phase": ("odd",),
    "tie_word_embeddings": (False,),
}


def architecture(config: Config, path: Path = Path("config.json")) -> Architecture:
    """What config.json says.

    Raises:
        ModelError: no pre-trained NTv3 says this.
    """
    check_config(path, _TITLE, config, _NUMBERS, _FLAGS)
    return Architecture(
        widths=widths(
            config["conv_init_embed_dim"], config["embed_dim"], config["num_downsamples"]
        ),
        letters=config["alphabet_size"],
        token_dim=config["token_embed_dim"],
        blocks=config["num_layers"],
        heads=config["attention_heads"],
        head_dim=config["key_size"],
        ffn_dim=config["ffn_embed_dim"],
        eps=check_small(path, _TITLE, config, "layer_norm_eps"),
    )


def _describe(folder: Path, config: Config) -> Description:
    arch = architecture(config, folder / "config.json")
    path = folder / "vocab.json"
    vocabulary = {token: number for number, token in enumerate(read_vocabulary_json(path))}
    try:
        # In the order A, T, C, G: never computed, always looked up.
        ids = {letter: vocabulary[letter] for letter in "ACGTN"}
        tokenizer = base_tokenizer(ids, arch.letters, mask=vocabulary["<mask>"])
        for key, token in (("mask_token_id", "<mask>"), ("pad_token_id", "<pad>")):
            if vocabulary[token] != config[key]:
                raise ValueError(f"{token} is {vocabulary[token]}, config.json says {config[key]}")
    except (KeyError, ValueError, TypeError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{path}: {problem}; expected the vocabulary of NTv3 (<unk>, <pad>, <mask>, <cls>, "
            "<eos>, <bos>, A, T, C, G, N). Fetch the model again with: ntvep model fetch ID"
        ) from error
    return Description(
        family="ntv3",
        objective="masked",
        tokenizer=tokenizer,
        vocabulary_sha256=file_sha256(path),
        layers=NTv3.layers,
        max_tokens=NTv3.max_tokens,
        default_bases=8192,
        trained_bases=NTv3.max_tokens,
        step=1 << config["num_downsamples"],
    )


_MODEL_KEYS = {
    "words": "core.embed_layer",
    "stem": "core.stem.conv",
    "head": "core.lm_head.head",
}
_TOWERS = {"down": "core.conv_tower_blocks", "up": "core.deconv_tower_blocks"}
_SCALE_KEYS = {
    "norm": "conv.layer_norm",
    "convolution": "conv.conv",
    "residual_norm": "res_conv.conv_block.layer_norm",
    "residual": "res_conv.conv_block.conv",
}
_BLOCK_KEYS = {
    "attention_norm": ("self_attention_layer_norm",),
    "qkv": tuple(f"sa_layer.{part}_head.linear" for part in ("query", "key", "value")),
    "attention_out": ("sa_layer.mha_output",),
    "ffn_norm": ("final_layer_norm",),
    "ffn_in": ("fc1",),
    "ffn_out": ("fc2",),
}
# Computed again, for any length.
_ROTARY = re.compile(r"core\.(.+\.)?rotary_embedding\.inv_freq")


def _published(name: str) -> tuple[str, ...]:
    module, _, kind = name.rpartition(".")
    if module in _MODEL_KEYS:
        return (f"{_MODEL_KEYS[module]}.{kind}",)
    place, number, part = module.split(".")
    if place == "blocks":
        prefix = f"core.transformer_blocks.{number}."
        return tuple(f"{prefix}{key}.{kind}" for key in _BLOCK_KEYS[part])
    return (f"{_TOWERS[place]}.{number}.{_SCALE_KEYS[part]}.{kind}",)


NTV3 = Family(
    name="ntv3",
    title=_TITLE,
    models=tuple(f"InstaDeepAI/NTv3_{size}_pre" for size in ("8M", "100M", "650M")),
    objective="masked",
    tokens="bases",
    window="8,192",
    licence='"other" on the hub, terms unverified (code: CC BY-NC-SA 4.0)',
    authors=(
        "none: no scorer was published. VEP-eval's position_llr, logit of ALT minus logit of REF "
        "in the unmasked reference window of 131,072 bases, is llr_unmasked with that window"
    ),
    recognises=lambda config: config.get("model_type") == "ntv3",
    describe=_describe,
    build=lambda config, shapes: NTv3(architecture(config)),
    tensors=lambda config, shapes: TensorMap(_published, (_ROTARY,)),
)
