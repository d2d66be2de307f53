"""tokens -> hidden states -> logits: HyenaDNA, a causal model of long convolutions.

Nguyen et al., HyenaDNA, arXiv:2306.15794; the operator is Hyena's (Poli et al., arXiv:2302.10866).
A filter as long as the input is written by a small network from features of the position, which are
stored with the weights (they were trained). Nothing of a prefix can be reused: every pass is whole.
"""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from ntvep.description import Description
from ntvep.models.characters import CHARACTERS_SHA256, character_tokenizer
from ntvep.models.expected import check_config, check_small
from ntvep.models.family import Config, Family, Shapes, TensorMap
from ntvep.models.layers import Product, causal_depthwise, hold, long_convolution

# Added to the window of exponential decay, so that no tap is out of reach of the training.
_FLOOR = 0.05


@dataclass(frozen=True)
class Architecture:
    """What config.json says about a checkpoint."""

    layers: int
    dim: int
    inner: int
    vocab_size: int
    max_tokens: int
    features: int
    filter_dim: int
    filter_layers: int
    taps: int
    eps: float


class Filter(nn.Module):
    """The long filter: a network with sines of positions' features, under an exponential window."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.features = nn.Parameter(torch.empty(1, arch.max_tokens, arch.features))
        self.times = nn.Parameter(torch.empty(1, arch.max_tokens, 1))
        self.frequency = nn.Parameter(torch.empty(1, arch.filter_dim))
        self.decay = nn.Parameter(torch.empty(1, 1, arch.dim))
        self.bias = nn.Parameter(torch.empty(arch.dim))
        widths = (arch.features, *[arch.filter_dim] * (arch.filter_layers + 1))
        self.inner = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.out = nn.Linear(arch.filter_dim, arch.dim, bias=False)

    def forward(self, tokens: int) -> Float32[Tensor, "token dim"]:
        """Its first taps; they do not depend on how many are asked for."""
        k = self.features[0, :tokens]
        for linear in self.inner:
            k = torch.sin(self.frequency * linear(k))
        window = torch.exp(-self.times[0, :tokens] * self.decay[0].abs())
        taps: Tensor = self.out(k) * (window + _FLOOR)
        return taps


class Block(nn.Module):
    """x + mixer(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.mixer_norm = nn.LayerNorm(arch.dim, eps=arch.eps)
        self.project_in = Product(arch.dim, 3 * arch.dim)
        self.taps = nn.Parameter(torch.empty(3 * arch.dim, 1, arch.taps))
        self.taps_bias = nn.Parameter(torch.empty(3 * arch.dim))
        self.filter = Filter(arch)
        self.project_out = Product(arch.dim, arch.dim)
        self.ffn_norm = nn.LayerNorm(arch.dim, eps=arch.eps)
        self.ffn_in = Product(arch.dim, arch.inner)
        self.ffn_out = Product(arch.inner, arch.dim)

    def forward(self, x: Float32[Tensor, "pass token dim"]) -> Float32[Tensor, "pass token dim"]:
        """Hidden states after this layer."""
        u = self.project_in(self.mixer_norm(x)).float()
        first, second, value = causal_depthwise(u, self.taps, self.taps_bias).chunk(3, dim=-1)
        value = value * second
        value = long_convolution(value, self.filter(x.shape[1])) + self.filter.bias * value
        x = x + self.project_out(value * first).float()
        inner = F.gelu(self.ffn_in(self.ffn_norm(x)), approximate="tanh")
        out: Tensor = x + self.ffn_out(inner).float()
        return out


class HyenaDNA(nn.Module):
    """Single bases, causal. Layer k is the residual after block k; the last is after a norm."""

    objective = "causal"
    margin = 0

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.layers, self.dim, self.max_tokens = arch.layers, arch.dim, arch.max_tokens
        self.words = nn.Embedding(arch.vocab_size, arch.dim)
        self.blocks = nn.ModuleList(Block(arch) for _ in range(arch.layers))
        self.final_norm = nn.LayerNorm(arch.dim, eps=arch.eps)
        self.head = nn.Linear(arch.dim, arch.vocab_size, bias=False)

    def hidden(
        self, ids: Int[Tensor, "pass token"], layer: int | None = None
    ) -> tuple[Float32[Tensor, "pass token dim"], Float32[Tensor, "pass token dim"]]:
        """Hidden states of ``layer`` (None: the last) and of the last layer."""
        x = chosen = self.words(ids)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number == layer:
                chosen = x
        last = self.final_norm(x)
        return (last if layer in (None, self.layers) else chosen), last

    def logits(self, rows: Float[Tensor, "row dim"]) -> Float32[Tensor, "row vocab"]:
        """Logits of the token after each row."""
        logits: Tensor = self.head(rows)
        return logits.float()

    def in_precision(self, dtype: torch.dtype, spare: float = 0.0) -> "HyenaDNA":
        """Hold the matrices of the blocks in ``dtype``; filters and convolutions stay float32."""
        hold(self.blocks, dtype, spare)
        return self


# Fewest and most of the numbers in config.json; each decides how much memory is asked for.
_NUMBERS = {
    "n_layer": (1, 256),
    "d_model": (1, 1 << 14),
    "d_inner": (1, 1 << 16),
    "vocab_size": (1, 1 << 10),
    "pad_vocab_size_multiple": (1, 1 << 10),
    "max_seq_len": (3, 1 << 24),
    "emb_dim": (3, 1 << 10),
    "filter_order": (1, 1 << 12),
    "num_inner_mlps": (1, 16),
    "short_filter_order": (1, 64),
}
_FLAGS: dict[str, tuple[object, ...]] = {
    "hyena_order": (2,),
    "train_freq": (True,),
    "use_bias": (True,),
    # They were trained tied, but the file holds both.
    "tie_word_embeddings": (False,),
}
_TITLE = "HyenaDNA"
_LONGEST_DEFAULT = 8192


def architecture(config: Config, path: Path = Path("config.json")) -> Architecture:
    """What config.json says.

    Raises:
        ModelError: no HyenaDNA says this.
    """
    check_config(path, _TITLE, config, _NUMBERS, _FLAGS)
    multiple = config["pad_vocab_size_multiple"]
    return Architecture(
        layers=config["n_layer"],
        dim=config["d_model"],
        inner=config["d_inner"],
        vocab_size=-(-config["vocab_size"] // multiple) * multiple,
        max_tokens=config["max_seq_len"],
        features=config["emb_dim"],
        filter_dim=config["filter_order"],
        filter_layers=config["num_inner_mlps"],
        taps=config["short_filter_order"],
        eps=check_small(path, _TITLE, config, "layer_norm_epsilon"),
    )


def _describe(folder: Path, config: Config) -> Description:
    arch = architecture(config, folder / "config.json")
    # Two places are for special tokens that no window of ours has.
    trained = arch.max_tokens - 2
    return Description(
        family="hyenadna",
        objective="causal",
        tokenizer=character_tokenizer(folder, arch.vocab_size, masks=False),
        vocabulary_sha256=CHARACTERS_SHA256,
        layers=arch.layers,
        max_tokens=arch.max_tokens,
        default_bases=min(trained, _LONGEST_DEFAULT),
        trained_bases=trained,
    )


_PREFIX = "hyena.backbone."
_MODEL_KEYS = {
    "words": f"{_PREFIX}embeddings.word_embeddings",
    "final_norm": f"{_PREFIX}ln_f",
    "head": "lm_head",
}
_BLOCK_KEYS = {
    "mixer_norm.weight": "norm1.weight",
    "mixer_norm.bias": "norm1.bias",
    "project_in.weight": "mixer.in_proj.weight",
    "project_in.bias": "mixer.in_proj.bias",
    "taps": "mixer.short_filter.weight",
    "taps_bias": "mixer.short_filter.bias",
    "filter.features": "mixer.filter_fn.pos_emb.z",
    "filter.times": "mixer.filter_fn.pos_emb.t",
    "filter.frequency": "mixer.filter_fn.implicit_filter.1.freq",
    "filter.decay": "mixer.filter_fn.modulation.deltas",
    "filter.bias": "mixer.filter_fn.bias",
    "project_out.weight": "mixer.out_proj.weight",
    "project_out.bias": "mixer.out_proj.bias",
    "ffn_norm.weight": "norm2.weight",
    "ffn_norm.bias": "norm2.bias",
    "ffn_in.weight": "mlp.fc1.weight",
    "ffn_in.bias": "mlp.fc1.bias",
    "ffn_out.weight": "mlp.fc2.weight",
    "ffn_out.bias": "mlp.fc2.bias",
}


def _tensors(config: Config, shapes: Shapes) -> TensorMap:
    layers = config["num_inner_mlps"] + 1

    def published(name: str) -> tuple[str, ...]:
        if not (match := re.fullmatch(r"blocks\.(\d+)\.(.+)", name)):
            module, _, kind = name.rpartition(".")
            return (f"{_MODEL_KEYS[module]}.{kind}",)
        block, part = match.groups()
        prefix = f"{_PREFIX}layers.{block}."
        if part in _BLOCK_KEYS:
            return (prefix + _BLOCK_KEYS[part],)
        # The network of the filter: linear layers at even places, a sine after each but the last.
        number, kind = re.fullmatch(r"filter\.(?:inner\.(\d+)|out)\.(\w+)", part).groups()  # type: ignore[union-attr]
        place = 2 * (layers if number is None else int(number))
        return (f"{prefix}mixer.filter_fn.implicit_filter.{place}.{kind}",)

    return TensorMap(published)


HYENADNA = Family(
    name="hyenadna",
    title=_TITLE,
    models=tuple(
        f"LongSafari/hyenadna-{name}-hf"
        for name in (
            "tiny-1k-seqlen",
            "tiny-1k-seqlen-d256",
            "tiny-16k-seqlen-d128",
            "small-32k-seqlen",
            "medium-160k-seqlen",
            "medium-450k-seqlen",
            "large-1m-seqlen",
        )
    ),
    objective="causal",
    tokens="bases",
    window="8,192 (tiny-1k: 1,024)",
    licence="BSD-3-Clause (code: Apache-2.0)",
    authors=(
        "none: the authors publish no score of variants. TraitGym sums log p over the window and "
        "a [SEP] after it, ALT - REF, mean of both strands, in bfloat16: llr, but for the [SEP]"
    ),
    recognises=lambda config: config.get("model_type") == "hyenadna",
    describe=_describe,
    build=lambda config, shapes: HyenaDNA(architecture(config)),
    tensors=_tensors,
)
