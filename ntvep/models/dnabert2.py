"""tokens -> hidden states -> logits: DNABERT-2, a BERT with ALiBi and gated feed-forward blocks.

Zhou et al., arXiv:2306.15006, on MosaicBERT's layers (Portes et al., arXiv:2312.17482): post-LN, no
position embeddings; attention scores fall linearly with the distance (ALiBi, Press et al.,
arXiv:2108.12409, here in both directions). ``model_type`` is "bert", but it is not BERT.
"""

import re
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ntvep.description import Description
from ntvep.models import bert
from ntvep.models.bert import Block, Head, MaskedTransformer, Places
from ntvep.models.family import Config, Family, Shapes, TensorMap
from ntvep.models.layers import Product
from ntvep.models.tokenizer_files import check_spelling, read_byte_pairs

TITLE = "DNABERT-2"
_TOKENS = dict(enumerate(("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "A", "C", "G", "T")))
# ALiBi sets no limit, and max_position_embeddings is not used; distances of this many tokens take
# a gigabyte for 12 heads.
_MAX_TOKENS = 4_096
# About 128 tokens, the length in training.
_TRAINED = 700


def slopes(heads: int) -> list[float]:
    """How steeply each head's attention falls with the distance, as ALiBi's authors compute it.

    For 2^n heads, the powers of 2^(-8/2^n). For another number the ones of the largest power of
    two below, then every second one of the next power of two's, from its first on.
    """
    below = 1 << (heads.bit_length() - 1)
    first = [2 ** (-8 * i / below) for i in range(1, below + 1)]
    between = [2 ** (-4 * i / below) for i in range(1, 2 * below + 1, 2)]
    return (first + between)[:heads]


class DnaBert2Block(Block):
    """A layer: norm(x + attention), then norm(x + out(gelu(gate) * value))."""

    def __init__(self, design: bert.Design) -> None:
        super().__init__()
        self.heads = design.heads
        self.qkv = Product(design.dim, 3 * design.dim)
        self.attention_out = Product(design.dim, design.dim)
        self.attention_norm = nn.LayerNorm(design.dim, eps=design.eps)
        self.ffn_in = Product(design.dim, 2 * design.ffn_dim, bias=False)
        self.ffn_out = Product(design.ffn_dim, design.dim)
        self.ffn_norm = nn.LayerNorm(design.dim, eps=design.eps)

    def leave(
        self, x: Float[Tensor, "pass token dim"], attended: Float[Tensor, "pass token dim"]
    ) -> Float[Tensor, "pass token dim"]:
        """Both sums, each normed; the first half of the feed-forward block's input is the gate."""
        x = self.attention_norm(x + self.attention_out(attended))
        gate, value = self.ffn_in(x).chunk(2, dim=-1)
        out: Tensor = self.ffn_norm(x + self.ffn_out(F.gelu(gate) * value))
        return out


class DnaBert2(MaskedTransformer):
    """DNABERT-2; all tokens are of type 0."""

    def __init__(self, design: bert.Design) -> None:
        super().__init__()
        self.dim, self.layers = design.dim, design.layers
        self.max_tokens = design.max_tokens
        self.heads = design.heads
        self.words = nn.Embedding(design.vocab_size, design.dim)
        self.types = nn.Embedding(design.types, design.dim)
        self.embedding_norm = nn.LayerNorm(design.dim, eps=design.eps)
        self.blocks = nn.ModuleList(DnaBert2Block(design) for _ in range(design.layers))
        self.head = Head(design.dim, design.vocab_size, design.eps)

    def embed(self, ids: Int[Tensor, "pass token"]) -> Float[Tensor, "pass token dim"]:
        """Words and type, normed; no positions."""
        normed: Tensor = self.embedding_norm(self.words(ids) + self.types.weight[0])
        return normed

    def places(self, length: int, device: torch.device) -> list[Places]:
        """Minus slope times distance, for each head."""
        where = torch.arange(length, dtype=torch.float32, device=device)
        distance = (where[:, None] - where[None]).abs()
        # Numbers of the host that go with a launch: a GPU would wait for a tensor of them.
        bias = torch.stack([-slope * distance for slope in slopes(self.heads)])
        return [Places(bias=bias)] * self.layers


# Our modules -> the published ones, "{i}" being the number of the block.
_PUBLISHED = {
    "words": "bert.embeddings.word_embeddings",
    "types": "bert.embeddings.token_type_embeddings",
    "embedding_norm": "bert.embeddings.LayerNorm",
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "head.decoder": "cls.predictions.decoder",
}
_PUBLISHED_BLOCK = {
    "qkv": "attention.self.Wqkv",
    "attention_out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "ffn_in": "mlp.gated_layers",
    "ffn_out": "mlp.wo",
    "ffn_norm": "mlp.layernorm",
}


def published(name: str) -> tuple[str, ...]:
    """The published name of a parameter of :class:`DnaBert2`."""
    module, _, kind = name.rpartition(".")
    if match := re.fullmatch(r"blocks\.(\d+)\.(\w+)", module):
        number, part = match.groups()
        return (f"bert.encoder.layer.{number}.{_PUBLISHED_BLOCK[part]}.{kind}",)
    return (f"{_PUBLISHED[module]}.{kind}",)


def _recognises(config: Config) -> bool:
    # Some copies of its config.json lack model_type.
    return config.get("model_type", "bert") == "bert" and "alibi_starting_size" in config


def _design(config: Config, path: Path = Path("config.json")) -> bert.Design:
    return replace(bert.read_design(config, TITLE, path), max_tokens=_MAX_TOKENS)


def _describe(folder: Path, config: Config) -> Description:
    design = _design(config, folder / "config.json")
    file, tokenizer = read_byte_pairs(folder / "tokenizer.json", design.vocab_size)
    check_spelling(file.path, file.tokens, _TOKENS)
    return Description(
        family="dnabert2",
        objective="masked",
        tokenizer=tokenizer,
        vocabulary_sha256=file.sha256,
        layers=design.layers,
        max_tokens=design.max_tokens,
        default_bases=_TRAINED,
        trained_bases=_TRAINED,
    )


def _build(config: Config, shapes: Shapes) -> DnaBert2:
    bert.refuse_other_kinds(shapes, TITLE, own="attention.self.Wqkv")
    return DnaBert2(_design(config))


def _tensors(config: Config, shapes: Shapes) -> TensorMap:
    return TensorMap(published, bert.UNUSED, bert.TIED)


DNABERT2 = Family(
    name="dnabert2",
    title=TITLE,
    models=("zhihan1996/DNABERT-2-117M", "magicslabnu/DNABERT-2"),
    objective="masked",
    tokens="byte pairs",
    window="700",
    licence="Apache-2.0",
    authors=(
        "no zero-shot score. DART-Eval's likelihood masks every token in turn, which is neither "
        "llr (only changed tokens masked) nor pll_delta (none masked). Published scores of "
        "transformers' own BERT class under this name are those of mostly random weights"
    ),
    recognises=_recognises,
    describe=_describe,
    build=_build,
    tensors=_tensors,
)
