"""tokens -> hidden states -> logits: ModernBERT, as ModernGENA and other DNA models use it.

Warner et al., arXiv:2412.13663: pre-LN with rotary positions and gated feed-forward blocks; every
third layer attends to the whole input, the others to a stretch around each token.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ntvep.description import Description
from ntvep.errors import ModelError
from ntvep.models import bert
from ntvep.models.bert import Block, Head, MaskedTransformer, Places, rotary_tables
from ntvep.models.family import Config, Family, Shapes, TensorMap
from ntvep.models.folder import checked_numbers
from ntvep.models.layers import Product
from ntvep.models.tokenizer_files import TokenizerFile, read_byte_pairs

TITLE = "ModernGENA (ModernBERT over byte pairs)"


@dataclass(frozen=True)
class Design:
    """What config.json says about a ModernBERT.

    Attributes:
        everywhere: for each layer, whether it attends to the whole input.
        reach: tokens to either side that the other layers attend to.
        global_base, local_base: of the rotary positions of the two kinds of layers.
        *_bias: which products and norms have one.
    """

    layers: int
    dim: int
    ffn_dim: int
    heads: int
    vocab_size: int
    max_tokens: int
    eps: float
    everywhere: tuple[bool, ...]
    reach: int
    global_base: float
    local_base: float
    norm_bias: bool
    attention_bias: bool
    ffn_bias: bool
    head_bias: bool
    decoder_bias: bool


class ModernBertBlock(Block):
    """A layer: x + attention(norm(x)), then x + out(gelu(gate) * value) of norm(x)."""

    def __init__(self, design: Design, *, first: bool) -> None:
        super().__init__()
        self.heads = design.heads
        # The embeddings are normed already.
        self.attention_norm = None if first else _norm(design)
        self.qkv = Product(design.dim, 3 * design.dim, bias=design.attention_bias)
        self.attention_out = Product(design.dim, design.dim, bias=design.attention_bias)
        self.ffn_norm = _norm(design)
        self.ffn_in = Product(design.dim, 2 * design.ffn_dim, bias=design.ffn_bias)
        self.ffn_out = Product(design.ffn_dim, design.dim, bias=design.ffn_bias)

    def enter(self, x: Float[Tensor, "pass token dim"]) -> Float[Tensor, "pass token dim"]:
        """Normed, but in the first layer."""
        entered: Tensor = x if self.attention_norm is None else self.attention_norm(x)
        return entered

    def leave(
        self, x: Float[Tensor, "pass token dim"], attended: Float[Tensor, "pass token dim"]
    ) -> Float[Tensor, "pass token dim"]:
        """Both sums; the first half of the feed-forward block's input is the gate."""
        x = x + self.attention_out(attended)
        gate, value = self.ffn_in(self.ffn_norm(x)).chunk(2, dim=-1)
        out: Tensor = x + self.ffn_out(F.gelu(gate) * value)
        return out


def _norm(design: Design) -> nn.LayerNorm:
    return nn.LayerNorm(design.dim, eps=design.eps, bias=design.norm_bias)


class ModernBert(MaskedTransformer):
    """ModernBERT with its masked-language-model head."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        self.dim, self.layers = design.dim, design.layers
        self.max_tokens = design.max_tokens
        self.words = nn.Embedding(design.vocab_size, design.dim)
        self.embedding_norm = _norm(design)
        self.blocks = nn.ModuleList(
            ModernBertBlock(design, first=number == 0) for number in range(design.layers)
        )
        self.final_norm = _norm(design)
        self.head = Head(
            design.dim,
            design.vocab_size,
            design.eps,
            dense_bias=design.head_bias,
            norm_bias=design.norm_bias,
            decoder_bias=design.decoder_bias,
        )

    def embed(self, ids: Int[Tensor, "pass token"]) -> Float[Tensor, "pass token dim"]:
        """Words, normed."""
        normed: Tensor = self.embedding_norm(self.words(ids))
        return normed

    def places(self, length: int, device: torch.device) -> list[Places]:
        """Rotary tables, and for a local layer which tokens are near enough."""
        design, head_dim = self.design, self.dim // self.design.heads
        near = None
        if length > design.reach + 1:
            where = torch.arange(length, device=device)
            near = ((where[:, None] - where[None]).abs() <= design.reach)[None]
        everywhere = Places(rotary_tables(length, head_dim, design.global_base, device))
        here = Places(rotary_tables(length, head_dim, design.local_base, device), near)
        return [everywhere if wide else here for wide in design.everywhere]

    def finish(self, x: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows dim"]:
        """Normed."""
        normed: Tensor = self.final_norm(x)
        return normed


# Our modules -> the published ones, "{i}" being the number of the block.
_PUBLISHED = {
    "words": "model.embeddings.tok_embeddings",
    "embedding_norm": "model.embeddings.norm",
    "final_norm": "model.final_norm",
    "head.dense": "head.dense",
    "head.norm": "head.norm",
    "head.decoder": "decoder",
}
_PUBLISHED_BLOCK = {
    "attention_norm": "attn_norm",
    "qkv": "attn.Wqkv",
    "attention_out": "attn.Wo",
    "ffn_norm": "mlp_norm",
    "ffn_in": "mlp.Wi",
    "ffn_out": "mlp.Wo",
}


def published(name: str) -> tuple[str, ...]:
    """The published name of a parameter of :class:`ModernBert`."""
    module, _, kind = name.rpartition(".")
    if match := re.fullmatch(r"blocks\.(\d+)\.(\w+)", module):
        number, part = match.groups()
        return (f"model.layers.{number}.{_PUBLISHED_BLOCK[part]}.{kind}",)
    return (f"{_PUBLISHED[module]}.{kind}",)


def _recognises(config: Config) -> bool:
    return config.get("model_type") == "modernbert"


def _design(config: Config, path: Path = Path("config.json")) -> Design:
    with bert.reading(path, "ModernBERT"):
        checked_numbers(config, bert.SIZES)
        bert.check_heads(config, rotary=True)
        bert.expect(
            config,
            {
                "hidden_activation": "gelu",
                "classifier_activation": "gelu",
                "tie_word_embeddings": True,
                "rope_scaling": None,
            },
        )
        local = {"local_attention": 128} | dict(config)
        checked_numbers(local, {"local_attention": (1, 1 << 20)})
        global_base, local_base = (
            _rotary_base(config, kind, old, default)
            for kind, old, default in (
                ("full_attention", "global_rope_theta", 160_000.0),
                ("sliding_attention", "local_rope_theta", 10_000.0),
            )
        )
        return Design(
            layers=config["num_hidden_layers"],
            dim=config["hidden_size"],
            ffn_dim=config["intermediate_size"],
            heads=config["num_attention_heads"],
            vocab_size=config["vocab_size"],
            max_tokens=config["max_position_embeddings"],
            eps=bert.real(config, "norm_eps", 0.0, 1.0, 1e-5),
            everywhere=_everywhere(config),
            reach=local["local_attention"] // 2,
            global_base=global_base,
            local_base=local_base,
            norm_bias=_flag(config, "norm_bias", False),
            attention_bias=_flag(config, "attention_bias", False),
            ffn_bias=_flag(config, "mlp_bias", False),
            head_bias=_flag(config, "classifier_bias", False),
            decoder_bias=_flag(config, "decoder_bias", True),
        )


def _flag(config: Config, key: str, default: bool) -> bool:
    flag = config.get(key, default)
    if not isinstance(flag, bool):
        raise ValueError(f"{key} is {flag!r:.40}, expected true or false")
    return flag


def _everywhere(config: Config) -> tuple[bool, ...]:
    """Which layers attend to the whole input: a list since transformers 5, before it a step."""
    layers = config["num_hidden_layers"]
    kinds = config.get("layer_types")
    if kinds is None:
        steps = {"global_attn_every_n_layers": 3} | dict(config)
        checked_numbers(steps, {"global_attn_every_n_layers": (1, 1 << 10)})
        return tuple(i % steps["global_attn_every_n_layers"] == 0 for i in range(layers))
    known = {"full_attention": True, "sliding_attention": False}
    if not isinstance(kinds, list) or len(kinds) != layers or not set(kinds) <= known.keys():
        raise ValueError(f"layer_types is {kinds!r:.60}, expected {layers} of {', '.join(known)}")
    return tuple(known[kind] for kind in kinds)


def _rotary_base(config: Config, kind: str, old: str, default: float) -> float:
    """The base of a kind of layers; since transformers 5 it is in ``rope_parameters``."""
    parameters = (config.get("rope_parameters") or {}).get(kind) or {}
    bert.expect(parameters, {"rope_type": "default"})
    key = "rope_theta" if "rope_theta" in parameters else old
    return bert.real(parameters if key in parameters else config, key, 1.0, 1e9, default)


def _describe(folder: Path, config: Config) -> Description:
    design = _design(config, folder / "config.json")
    file, tokenizer = read_byte_pairs(folder / "tokenizer.json", design.vocab_size)
    _check_specials(folder, config, file)
    # As for GENA-LM, whose tokenizer this is: 3,000 bases for 512 tokens, and 4,500 at most.
    return Description(
        family="moderngena",
        objective="masked",
        tokenizer=tokenizer,
        vocabulary_sha256=file.sha256,
        layers=design.layers,
        max_tokens=design.max_tokens,
        default_bases=min(8_192, 3_000 * design.max_tokens // 512),
        trained_bases=4_500 * design.max_tokens // 512,
    )


def _check_specials(folder: Path, config: Config, file: TokenizerFile) -> None:
    """Refuse a tokenizer whose special tokens are not those that config.json names."""
    stand = {"cls_token_id": file.front, "sep_token_id": file.back}
    for key, ids in stand.items():
        if isinstance(config.get(key), int) and ids and ids != (config[key],):
            raise ModelError(
                f"{folder}: {key} of config.json is {config[key]}, but tokenizer.json puts "
                f"{list(ids)} there; the folder mixes two checkpoints. Fetch the model again with: "
                "ntvep model fetch ID"
            )


def _build(config: Config, shapes: Shapes) -> ModernBert:
    return ModernBert(_design(config))


def _tensors(config: Config, shapes: Shapes) -> TensorMap:
    return TensorMap(published, (), {"decoder.weight": "model.embeddings.tok_embeddings.weight"})


MODERNGENA = Family(
    name="moderngena",
    title=TITLE,
    models=("AIRI-Institute/moderngena-base", "AIRI-Institute/moderngena-large"),
    objective="masked",
    tokens="byte pairs",
    window="6,000 of 1,024 tokens",
    licence="unverified (code: MIT)",
    authors="no zero-shot score was found that llr could be compared with",
    recognises=_recognises,
    describe=_describe,
    build=_build,
    tensors=_tensors,
)
