"""tokens -> hidden states -> logits: Evo 2 (7B), StripedHyena 2, causal, over bytes.

Brixi et al., Evo 2, bioRxiv 2025.02.18.638918; Ku et al., arXiv:2503.01868. Blocks mix tokens by a
short explicit filter of 7 taps (`hcs`), a medium one of 128 (`hcm`), a long one that is a sum of
exponentials (`hcl`), or by attention with rotary positions.

What is on the hub is a pickle, which ``ntvep model fetch`` converts, and a config.json that says
nothing; the numbers are in the authors' package. So the tensors' shapes say what a checkpoint is,
and a table of the published models what shapes do not show. The models of 1, 20 and 40 billion
parameters need 8-bit products (Transformer Engine) for the accuracy that they have: not here.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from ntvep.description import Description
from ntvep.errors import ModelError
from ntvep.models.expected import check_config, check_small, refused
from ntvep.models.family import Config, Family, Shapes, TensorMap
from ntvep.models.folder import read_shapes, weight_files
from ntvep.models.layers import Product, causal_depthwise, hold, long_convolution
from ntvep.tokenizers.base import base_tokenizer

# Of the long filter's [channel state token] array, held at once while it is summed over states.
_FILTER_NUMBERS = 1 << 24


@dataclass(frozen=True)
class Architecture:
    """What the shapes of the weights, and config.json or the table of published models, say.

    Attributes:
        kinds: of each block, "short", "medium", "long" or "attention".
        groups: filters of each block; a filter serves dim / groups channels that follow each other.
    """

    kinds: tuple[str, ...]
    groups: tuple[int, ...]
    dim: int
    vocab_size: int
    inner: int
    heads: int
    states: int
    rotary_base: float
    rotary_scale: float
    eps: float
    max_tokens: int
    trained: int


class RootMeanSquare(nn.Module):
    """scale * x / (rms(x) + eps): eps is added to the root, not under it."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.scale = nn.Parameter(torch.empty(dim))

    def forward(self, x: Float32[Tensor, "*rows dim"]) -> Float32[Tensor, "*rows dim"]:
        """The normed rows."""
        root = x.pow(2).mean(-1, keepdim=True).sqrt()
        return self.scale * (x / (root + self.eps))


class Attention(nn.Module):
    """Causal self-attention; a head's query, key and value rows are adjacent in the weights."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.heads, self.base, self.scale = arch.heads, arch.rotary_base, arch.rotary_scale
        self.qkv = Product(arch.dim, 3 * arch.dim, bias=False)
        self.project_out = Product(arch.dim, arch.dim)

    def forward(self, x: Float32[Tensor, "pass token dim"]) -> Float32[Tensor, "pass token dim"]:
        """What attention adds to the residual."""
        passes, tokens, dim = x.shape
        cut = self.qkv(x).view(passes, tokens, self.heads, 3, dim // self.heads)
        query, key, value = cut.permute(3, 0, 2, 1, 4).unbind(0)
        table = rotary_tables(tokens, dim // self.heads, self.base, self.scale, x.device)
        attended = F.scaled_dot_product_attention(
            rotate(query, *table), rotate(key, *table), value, is_causal=True
        )
        out: Tensor = self.project_out(attended.transpose(1, 2).reshape(x.shape))
        return out.float()


def rotary_tables(
    tokens: int, head_dim: int, base: float, scale: float, device: torch.device
) -> tuple[Float32[Tensor, "token half"], Float32[Tensor, "token half"]]:
    """Cosines and sines of positions 0, 1/scale, 2/scale ..., for the half-rotation layout."""
    exponents = torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim
    positions = torch.arange(tokens, device=device, dtype=torch.float32) / scale
    angles = torch.outer(positions, base**-exponents)
    return angles.cos(), angles.sin()


def rotate(
    x: Float[Tensor, "pass head token head_dim"],
    cos: Float32[Tensor, "token half"],
    sin: Float32[Tensor, "token half"],
) -> Float[Tensor, "pass head token head_dim"]:
    """Rotate the pairs (x[i], x[i + head_dim/2]) by the angle of their position."""
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class Hyena(nn.Module):
    """Three short-filtered projections; the product of two is filtered, and gated by the third."""

    def __init__(self, arch: Architecture, kind: str, groups: int) -> None:
        super().__init__()
        self.kind, self.repeats = kind, arch.dim // groups
        self.project_in = Product(arch.dim, 3 * arch.dim, bias=False)
        self.taps = nn.Parameter(torch.empty(3 * arch.dim, 1, 3))
        self.project_out = Product(arch.dim, arch.dim)
        if kind == "long":
            self.log_poles = nn.Parameter(torch.empty(arch.dim, arch.states, 1))
            self.residues = nn.Parameter(torch.empty(arch.dim, arch.states))
        else:
            self.filter = nn.Parameter(torch.empty(groups, 1, _LENGTHS[kind]))
        if kind != "short":
            self.skip = nn.Parameter(torch.empty(arch.dim))

    def forward(self, x: Float32[Tensor, "pass token dim"]) -> Float32[Tensor, "pass token dim"]:
        """What the mixer adds to the residual."""
        u = causal_depthwise(self.project_in(x).float(), self.taps)
        gate, second, value = u[..., 0::3], u[..., 1::3], u[..., 2::3]
        value = second * value
        if self.kind == "short":
            # Stored as a correlation, unlike the others: the last tap meets the token itself.
            value = causal_depthwise(value, self.filter.repeat_interleave(self.repeats, dim=0))
        else:
            value = long_convolution(value, self._long(x.shape[1])) + self.skip * value
        out: Tensor = self.project_out(gate * value)
        return out.float()

    def _long(self, tokens: int) -> Float32[Tensor, "tap dim"]:
        """Taps of the medium or the long filter for each channel."""
        if self.kind == "medium":
            return self.filter[:, 0].repeat_interleave(self.repeats, dim=0).T
        times = torch.arange(tokens, device=self.residues.device, dtype=torch.float32)
        taps = times.new_empty(tokens, len(self.residues))
        size = max(1, _FILTER_NUMBERS // (tokens * self.residues.shape[1]))
        for start in range(0, len(self.residues), size):
            part = slice(start, start + size)
            waves = torch.exp(self.log_poles[part] * times)
            taps[:, part] = torch.einsum("cs,cst->tc", self.residues[part], waves)
        return taps


_LENGTHS = {"short": 7, "medium": 128}


class Block(nn.Module):
    """x + mixer(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, arch: Architecture, number: int) -> None:
        super().__init__()
        kind = arch.kinds[number]
        self.mixer_norm = RootMeanSquare(arch.dim, arch.eps)
        self.mixer = (
            Attention(arch) if kind == "attention" else Hyena(arch, kind, arch.groups[number])
        )
        self.ffn_norm = RootMeanSquare(arch.dim, arch.eps)
        # In all blocks but the first the gate has no non-linearity of its own.
        self.first = number == 0
        self.gate = Product(arch.dim, arch.inner, bias=False)
        self.up = Product(arch.dim, arch.inner, bias=False)
        self.down = Product(arch.inner, arch.dim, bias=False)

    def forward(self, x: Float32[Tensor, "pass token dim"]) -> Float32[Tensor, "pass token dim"]:
        """Hidden states after this layer."""
        x = x + self.mixer(self.mixer_norm(x))
        normed = self.ffn_norm(x)
        gate = self.gate(normed)
        gate = F.gelu(gate) if self.first else gate
        out: Tensor = x + self.down(gate * self.up(normed)).float()
        return out


class Evo2(nn.Module):
    """Bytes, causal. Layer k is the residual after block k; the last is after the final norm."""

    objective = "causal"
    margin = 0

    def __init__(self, arch: Architecture, *, repeated: bool = False) -> None:
        """The network; ``repeated``: the file holds the embeddings twice, as the output matrix."""
        super().__init__()
        self.layers, self.dim, self.max_tokens = len(arch.kinds), arch.dim, arch.max_tokens
        self.words = nn.Embedding(arch.vocab_size, arch.dim)
        self.blocks = nn.ModuleList(Block(arch, number) for number in range(self.layers))
        self.final_norm = RootMeanSquare(arch.dim, arch.eps)
        self.copy = nn.Parameter(torch.empty_like(self.words.weight)) if repeated else None

    def loaded(self) -> None:
        """Compare what the file holds twice.

        Raises:
            ModelError: two tensors that the network shares are not equal.
        """
        if self.copy is not None and not torch.equal(self.copy, self.words.weight):
            raise ModelError(
                "*.safetensors: unembed.weight differs from embedding_layer.weight; expected equal "
                "tensors, as Evo 2 shares them. Fetch the model again with: ntvep model fetch ID"
            )
        self.copy = None

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
        """Logits of the byte after each row; the output matrix is that of the embeddings."""
        return (rows @ self.words.weight.T).float()

    def in_precision(self, dtype: torch.dtype, spare: float = 0.0) -> "Evo2":
        """Hold the matrices of the blocks in ``dtype``; filters, sums and norms stay float32."""
        hold(self.blocks, dtype, spare)
        return self


_TITLE = "Evo 2"
_LENGTHS_OF_TRAINING = 8192


def _settings(name: str, dim: int, inner: int, longest: int, scale: int) -> dict[str, object]:
    """The settings of a published model, under the names of the authors' own files."""
    attention = [3, 10, 17, 24, 31]
    order = ("hcs", "hcm", "hcl")
    others = [layer for layer in range(32) if layer not in attention]
    kinds = {f"{kind}_layer_idxs": others[place::3] for place, kind in enumerate(order)}
    return {
        "model_name": name,
        "vocab_size": 512,
        "hidden_size": dim,
        "num_layers": 32,
        "num_attention_heads": dim // 128,
        "inner_mlp_size": inner,
        "hcs_filter_groups": 256,
        "hcm_filter_groups": 256,
        "state_size": 16,
        "rotary_emb_base": 10_000,
        "rotary_emb_scaling_factor": scale,
        "use_interpolated_rotary_pos_emb": scale > 1,
        "max_seqlen": longest,
        "eps": 1e-6,
        "attn_layer_idxs": attention,
        **kinds,
    }


# Two of them have the same shapes, and differ in the scale of positions.
_MODELS = {
    "evo2_7b_base": _settings("evo2_7b_base", 4096, 11008, 32_768, 1),
    "evo2_7b_262k": _settings("evo2_7b_262k", 4096, 11008, 262_144, 32),
    "evo2_7b": _settings("evo2_7b", 4096, 11264, 1_048_576, 128),
}
_MODELS["evo-2-7b-8k-microviridae"] = _MODELS["evo2_7b_base"]
_NUMBERS = {
    "vocab_size": (1, 1 << 16),
    "hidden_size": (2, 1 << 16),
    "num_layers": (1, 1 << 10),
    "num_attention_heads": (1, 1 << 10),
    "inner_mlp_size": (1, 1 << 18),
    "hcs_filter_groups": (1, 1 << 16),
    "hcm_filter_groups": (1, 1 << 16),
    "state_size": (1, 1 << 10),
    "rotary_emb_base": (1, 1 << 30),
    "max_seqlen": (2, 1 << 24),
}
_FLAGS: dict[str, tuple[object, ...]] = {
    "short_filter_length": (3,),
    "hcs_filter_length": (_LENGTHS["short"],),
    "hcm_filter_length": (_LENGTHS["medium"],),
    "short_filter_bias": (False,),
    "proj_groups": (1,),
    "hyena_filter_groups": (1,),
    "column_split_hyena": (False,),
    "column_split": (True,),
    "interleave": (True,),
    "evo2_style_activations": (True,),
    "mlp_activation": ("gelu",),
    "tie_embeddings": (True,),
    "mha_out_proj_bias": (True,),
    "hyena_out_proj_bias": (True,),
    "hyena_flip_x1x2": (False,),
    "qkv_proj_bias": (False,),
    "final_norm": (True,),
    "use_interpolated_rotary_pos_emb": (False, True),
    "tokenizer_type": ("CharLevelTokenizer",),
}


def settings(config: Config, shapes: Shapes, path: Path) -> Config:
    """The settings in config.json, or those of the published model that it or the shapes name.

    Raises:
        ModelError: it is none of them, or one of two.
    """
    if "hcl_layer_idxs" in config:
        return config
    name = str(config.get("model_name") or config.get("_name_or_path") or "").rpartition("/")[2]
    if name in _MODELS:
        return _MODELS[name]
    found = {
        "hidden_size": shapes.get("embedding_layer.weight", (0, 0))[-1],
        "inner_mlp_size": shapes.get("blocks.0.mlp.l1.weight", (0,))[0],
    }
    fitting = [
        known
        for known, numbers in _MODELS.items()
        if all(numbers[key] == value for key, value in found.items())
    ]
    if len(fitting) == 1:
        return _MODELS[fitting[0]]
    if fitting:
        raise ModelError(
            f"{path}: it does not say which model this is, and {', '.join(fitting)} have tensors "
            "of these shapes; they differ in how positions are scaled. Add the right one of: "
            + ", ".join(f'"model_name": "{known}"' for known in fitting)
        )
    raise ModelError(
        f"{path}: no settings of an Evo 2 model, and the tensors (width {found['hidden_size']}, "
        f"feed-forward {found['inner_mlp_size']}) are of none of {', '.join(_MODELS)}. The models "
        "of 1, 20 and 40 billion parameters need 8-bit products and cannot be run; fetch one of "
        "7 billion with: ntvep model fetch arcinstitute/evo2_7b_base"
    )


def architecture(config: Config, shapes: Shapes, path: Path = Path("config.json")) -> Architecture:
    """What config.json, or the table of published models, says.

    Raises:
        ModelError: no Evo 2 that can be run here says this.
    """
    numbers = settings(config, shapes, path)
    check_config(path, _TITLE, numbers, _NUMBERS, _FLAGS)
    dim, heads = numbers["hidden_size"], numbers["num_attention_heads"]
    try:
        if numbers.get("use_fp8_input_projections") and dim != _MODELS["evo2_7b"]["hidden_size"]:
            raise ValueError(
                "use_fp8_input_projections is true; only the 7B models work without 8-bit products"
            )
        for key in ("num_filters", "hcl_filter_groups"):
            if numbers.get(key, dim) != dim:
                raise ValueError(f"{key} is {numbers[key]!r:.40}, expected hidden_size, {dim}")
        if dim % (2 * heads):
            raise ValueError(f"hidden_size {dim} is not {heads} heads of an even width")
        groups = {
            "short": numbers["hcs_filter_groups"],
            "medium": numbers["hcm_filter_groups"],
            "long": dim,
            "attention": 1,
        }
        if any(dim % count for count in groups.values()):
            raise ValueError(f"hidden_size {dim} is not a multiple of the number of filter groups")
        kinds = _kinds(numbers)
        scale = 1.0
        if numbers.get("use_interpolated_rotary_pos_emb"):
            scale = float(numbers["rotary_emb_scaling_factor"])
        if not 1 <= scale < 1 << 20:
            raise ValueError(f"rotary_emb_scaling_factor is {scale}, expected 1 or more")
    except (KeyError, ValueError, TypeError) as error:
        raise refused(path, _TITLE, error) from error
    longest = numbers["max_seqlen"]
    return Architecture(
        kinds=kinds,
        groups=tuple(groups[kind] for kind in kinds),
        dim=dim,
        vocab_size=numbers["vocab_size"],
        inner=numbers["inner_mlp_size"],
        heads=heads,
        states=numbers["state_size"],
        rotary_base=float(numbers["rotary_emb_base"]),
        rotary_scale=scale,
        eps=check_small(path, _TITLE, numbers, "eps"),
        max_tokens=longest,
        # Longer inputs came with the scaling of positions, in a second training.
        trained=longest if scale > 1 else min(longest, _LENGTHS_OF_TRAINING),
    )


def _kinds(numbers: Config) -> tuple[str, ...]:
    """How each block mixes tokens; every block is in one of four lists."""
    lists = {"hcs": "short", "hcm": "medium", "hcl": "long", "attn": "attention"}
    places = [(i, kind) for key, kind in lists.items() for i in numbers[f"{key}_layer_idxs"]]
    if sorted(i for i, _ in places) != list(range(numbers["num_layers"])):
        raise ValueError("hcs, hcm, hcl and attn_layer_idxs do not hold each layer once")
    return tuple(kind for _, kind in sorted(places))


def _describe(folder: Path, config: Config) -> Description:
    # Only names and shapes, from the header of the file, and only if config.json says too little.
    shapes: Mapping[str, tuple[int, ...]] = {}
    if "hcl_layer_idxs" not in config:
        shapes = read_shapes(weight_files(folder))
    path = folder / "config.json"
    arch = architecture(config, shapes, path)
    try:
        tokenizer = base_tokenizer({letter: ord(letter) for letter in "ACGTN"}, arch.vocab_size)
    except ValueError as error:
        raise refused(path, _TITLE, error) from error
    return Description(
        family="evo2",
        objective="causal",
        tokenizer=tokenizer,
        # A token is a byte: there is no file.
        vocabulary_sha256=hashlib.sha256(bytes(range(256))).hexdigest(),
        layers=len(arch.kinds),
        max_tokens=arch.max_tokens,
        default_bases=min(arch.trained, 8192),
        trained_bases=arch.trained,
        # It was trained so; its residual stream is wide for float16.
        half="bf16",
    )


_MODEL_KEYS = {"words.weight": "embedding_layer.weight", "final_norm.scale": "norm.scale"}
_BLOCK_KEYS = {
    "mixer_norm.scale": "pre_norm.scale",
    "ffn_norm.scale": "post_norm.scale",
    "gate.weight": "mlp.l1.weight",
    "up.weight": "mlp.l2.weight",
    "down.weight": "mlp.l3.weight",
    "mixer.qkv.weight": "inner_mha_cls.Wqkv.weight",
    "mixer.project_in.weight": "projections.weight",
    "mixer.taps": "filter.short_filter_weight",
    "mixer.filter": "filter.h",
    "mixer.skip": "filter.D",
    "mixer.log_poles": "filter.log_poles",
    "mixer.residues": "filter.residues",
}
# Computed again, for any length.
_ROTARY = re.compile(r"blocks\.\d+\.inner_mha_cls\.rotary_emb\.inv_freq")


def _tensors(config: Config, shapes: Shapes) -> TensorMap:
    kinds = architecture(config, shapes).kinds

    def published(name: str) -> tuple[str, ...]:
        if name in _MODEL_KEYS:
            return (_MODEL_KEYS[name],)
        if name == "copy":
            return ("unembed.weight",)
        _, block, part = name.split(".", 2)
        prefix = f"blocks.{block}."
        if part.startswith("mixer.project_out."):
            attention = kinds[int(block)] == "attention"
            out = "inner_mha_cls.out_proj" if attention else "out_filter_dense"
            return (f"{prefix}{out}.{part.rpartition('.')[2]}",)
        return (prefix + _BLOCK_KEYS[part],)

    return TensorMap(published, (_ROTARY,))


def _recognises(config: Config) -> bool:
    names = [config.get("model_name"), config.get("_name_or_path"), config.get("model_type")]
    names += config.get("architectures") or []
    known = any(re.search(r"evo-?_?2|stripedhyena_?2", str(name).lower()) for name in names)
    return known or {"hcs_layer_idxs", "hcm_layer_idxs", "hcl_layer_idxs"} <= config.keys()


EVO2 = Family(
    name="evo2",
    title=_TITLE + " (7B)",
    models=(
        "arcinstitute/evo2_7b_base",
        "arcinstitute/evo2_7b_262k",
        "arcinstitute/evo2_7b",
        "evo-design/evo-2-7b-8k-microviridae",
    ),
    objective="causal",
    tokens="bases",
    window="8,192",
    licence="Apache-2.0",
    authors=(
        "mean log p of the predicted bases, ALT - REF, 8,192 bases: llr / 8,191 on each strand "
        "(only the forward strand in their BRCA1 notebook, both in score_sequences_rc), in "
        "bfloat16, with 8-bit products where Transformer Engine is installed"
    ),
    recognises=_recognises,
    describe=_describe,
    build=lambda config, shapes: Evo2(
        architecture(config, shapes), repeated="unembed.weight" in shapes
    ),
    tensors=_tensors,
)
