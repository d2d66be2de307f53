"""tokens -> hidden states -> log-probabilities: GPN of one sequence, the ConvNet and the ByteNet.

Masked models of single bases (Benegas, Batra & Song, PNAS 120:e2311219120, 2023; code and weights
of songlab, MIT). Each layer adds dilated convolutions to the sum that it is given:

- ``ConvNet`` (gpn-brassicales), x = one-hot(ids):
  ``x += norm(gelu(conv(x)))``, then ``x += norm(gelu(mix(x)))``. The norm is the last step of the
  branch, and there is none after the last layer.
- ``ByteNet``, slim (gpn-animal-promoter), x = embedding(ids), inner width dim / 2:
  ``x += out(gelu(norm(conv(gelu(norm(in(gelu(norm(x)))))))))``, and a norm after the last layer.

gelu is the exact one (erf). Convolutions are padded with zeros to the length of the input, and
these zeros reach far: outputs depend on the length of the window, which is 512 as in training.
"""

import hashlib
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from tokenizers import Tokenizer as Library
from torch import Tensor, nn

from ntvep.description import Description
from ntvep.errors import ModelError
from ntvep.models.family import Config, Family, Shapes, TensorMap
from ntvep.models.folder import checked_numbers, read_text
from ntvep.models.layers import Product, hold
from ntvep.objectives import Objective
from ntvep.tokenizers.base import base_tokenizer

Hidden = Float[Tensor, "pass token dim"]

# The one vocabulary that these models were trained with (songlab/tokenizer-dna-mlm, MIT).
VOCABULARY = ("[PAD]", "[MASK]", "[UNK]", "a", "c", "g", "t")
TRAINED_BASES = 512
# No length is built in; of more than this, one pass would take gigabytes.
_MAX_TOKENS = 1 << 16


class Convolution(nn.Conv1d):
    """A dilated convolution over tokens, zeros beyond the ends, in the precision of its weights."""

    def __init__(self, dim: int, kernel: int, dilation: int, bias: bool) -> None:
        super().__init__(dim, dim, kernel, dilation=dilation, bias=bias)

    def forward(self, x: Hidden) -> Hidden:
        """Same length as x, float32.

        In two dimensions, one of them of size 1, and channels last: this is how x lies in memory
        already, and up to twice as fast on a CPU as a convolution of one dimension.
        """
        image = x.to(self.weight.dtype)[:, None].permute(0, 3, 1, 2)
        reach = (self.kernel_size[0] - 1) // 2 * self.dilation[0]
        out = F.conv2d(
            image,
            self.weight[:, :, None],
            self.bias,
            padding=(0, reach),
            dilation=(1, self.dilation[0]),
        )
        return out.permute(0, 2, 3, 1)[:, 0].float()


def dilations(layers: int, *, base: int, double_every: int, cycle: int, most: int) -> list[int]:
    """Dilation of each layer: ``min(most, base ** ((i mod cycle) // double_every))``."""
    return [min(most, base ** (i % cycle // double_every)) for i in range(layers)]


class _Gpn(nn.Module):
    """What both kinds share: layers that add to x."""

    objective: Objective = "masked"
    margin = 0
    max_tokens = _MAX_TOKENS

    def __init__(self, dim: int, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.dim, self.layers = dim, len(blocks)
        self.blocks = nn.ModuleList(blocks)

    def embed(self, ids: Int[Tensor, "pass token"]) -> Hidden:
        """What the first layer is given."""
        raise NotImplementedError

    def last_norm(self, x: Hidden) -> Hidden:
        """What follows the last layer."""
        return x

    def hidden(
        self, ids: Int[Tensor, "pass token"], layer: int | None = None
    ) -> tuple[Hidden, Hidden]:
        """Hidden states of ``layer`` (0: input, k: after layer k; None: last) and of the last."""
        x = self.embed(ids)
        chosen = x
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number == layer:
                chosen = x
        last = self.last_norm(x)
        return (last if layer in (None, self.layers) else chosen), last

    def in_precision(self, precision: torch.dtype, spare: float = 0.0) -> "_Gpn":
        """Hold the matrices of the layers in a precision; sums, norms and the head stay float32."""
        hold(self.blocks, precision, spare, (Product, Convolution))
        return self


class ConvNetBlock(nn.Module):
    """x + norm(gelu(conv(x))), then x + norm(gelu(mix(x)))."""

    def __init__(self, dim: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.conv = Convolution(dim, kernel, dilation, bias=True)
        self.conv_norm = nn.LayerNorm(dim)
        self.mix = Product(dim, dim)
        self.mix_norm = nn.LayerNorm(dim)

    def forward(self, x: Hidden) -> Hidden:
        """Hidden states after this layer."""
        x = x + self.conv_norm(F.gelu(self.conv(x)))
        out: Tensor = x + self.mix_norm(F.gelu(self.mix(x).float()))
        return out


class ConvNet(_Gpn):
    """GPN as in gpn-brassicales: no embedding matrix, a head of two layers."""

    def __init__(self, dim: int, kernel: int, dilations: list[int], vocab: int) -> None:
        super().__init__(dim, [ConvNetBlock(dim, kernel, dilation) for dilation in dilations])
        self.dense = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.decoder = nn.Linear(dim, vocab)

    def embed(self, ids: Int[Tensor, "pass token"]) -> Hidden:
        """One-hot vectors: token id = column, of ``dim`` columns."""
        return F.one_hot(ids.long(), self.dim).float()

    def logits(self, rows: Float[Tensor, "row dim"]) -> Float32[Tensor, "row vocab"]:
        """Logits of rows of the last hidden states."""
        logits: Tensor = self.decoder(self.norm(F.gelu(self.dense(rows))))
        return logits.float()


class ByteNetBlock(nn.Module):
    """x + out(gelu(norm(conv(gelu(norm(in(gelu(norm(x))))))))), without any bias."""

    def __init__(self, dim: int, inner: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, bias=False)
        self.into = Product(dim, inner, bias=False)
        self.inner_norm = nn.LayerNorm(inner, bias=False)
        self.conv = Convolution(inner, kernel, dilation, bias=False)
        self.conv_norm = nn.LayerNorm(inner, bias=False)
        self.out = Product(inner, dim, bias=False)

    def forward(self, x: Hidden) -> Hidden:
        """Hidden states after this layer."""
        inner = self.into(F.gelu(self.norm(x))).float()
        inner = self.conv(F.gelu(self.inner_norm(inner)))
        out: Tensor = x + self.out(F.gelu(self.conv_norm(inner))).float()
        return out


class ByteNet(_Gpn):
    """GPN as in gpn-animal-promoter: slim, an embedding, a last norm, a head of one matrix."""

    def __init__(self, dim: int, kernels: list[int], dilations: list[int], vocab: int) -> None:
        layers = zip(kernels, dilations, strict=True)
        super().__init__(dim, [ByteNetBlock(dim, dim // 2, *layer) for layer in layers])
        self.words = nn.Embedding(vocab, dim)
        self.final_norm = nn.LayerNorm(dim, bias=False)
        self.decoder = nn.Linear(dim, vocab, bias=False)

    def embed(self, ids: Int[Tensor, "pass token"]) -> Hidden:
        """Rows of the embedding."""
        x: Tensor = self.words(ids)
        return x

    def last_norm(self, x: Hidden) -> Hidden:
        """The norm after the last layer."""
        out: Tensor = self.final_norm(x)
        return out

    def logits(self, rows: Float[Tensor, "row dim"]) -> Float32[Tensor, "row vocab"]:
        """Logits of rows of the last hidden states."""
        logits: Tensor = self.decoder(rows)
        return logits.float()


_SIZES = {
    "hidden_size": (len(VOCABULARY), 1 << 16),
    "vocab_size": (len(VOCABULARY), len(VOCABULARY)),
    "dilation_base": (1, 1 << 10),
    "dilation_cycle": (1, 1 << 10),
    "dilation_double_every": (1, 1 << 10),
    "dilation_max": (1, 1 << 16),
    "n_aux_features": (0, 0),
}
_CONVNET_SIZES = _SIZES | {"n_layers": (1, 1 << 10), "kernel_size": (1, 1 << 10)}
_BYTENET_SIZES = _SIZES | {
    "num_hidden_layers": (1, 1 << 10),
    "first_kernel_size": (1, 1 << 10),
    "rest_kernel_size": (1, 1 << 10),
}
# What a config.json leaves out where it has the default of the authors' class.
_CONVNET_DEFAULTS = {"dilation_base": 2, "n_aux_features": 0}
_BYTENET_DEFAULTS = {
    "dilation_base": 2,
    "dilation_cycle": 8,
    "dilation_double_every": 1,
    "dilation_max": 9999,
    "first_kernel_size": 9,
    "n_aux_features": 0,
    "rest_kernel_size": 5,
}
# The one kind of GPNForMaskedLM that is published; other kinds are other formulas.
_SLIM_BYTENET = {
    "encoder": "bytenet",
    "embedding": "embedding",
    "slim": True,
    "bias": False,
    "depthwise": False,
    "mlm_head_transform": False,
    "tie_word_embeddings": False,
}
_ABSENT_MEANS = {"depthwise": False, "tie_word_embeddings": False}

_CONVNET_PARTS = {"conv": "conv.1", "conv_norm": "conv.4", "mix": "ffn.0", "mix_norm": "ffn.2"}
_CONVNET_HEAD = {"dense": "cls.decoder.0", "norm": "cls.decoder.2", "decoder": "cls.decoder.3"}
_BYTENET_PARTS = {"norm": 0, "into": 2, "inner_norm": 3, "conv": 6, "conv_norm": 8, "out": 10}
_BYTENET_OTHERS = {
    "words": "model.embeddings.word_embeddings",
    "final_norm": "model.ln_f",
    "decoder": "cls.decoder",
}


def published_convnet(name: str) -> tuple[str, ...]:
    """The published name of one of a ConvNet's parameters."""
    module, _, kind = name.rpartition(".")
    if not module.startswith("blocks."):
        return (f"{_CONVNET_HEAD[module]}.{kind}",)
    _, layer, part = module.split(".")
    return (f"model.encoder.{layer}.{_CONVNET_PARTS[part]}.{kind}",)


def published_bytenet(name: str) -> tuple[str, ...]:
    """The published name of one of a ByteNet's parameters."""
    module, _, kind = name.rpartition(".")
    if not module.startswith("blocks."):
        return (f"{_BYTENET_OTHERS[module]}.{kind}",)
    _, layer, part = module.split(".")
    return (f"model.encoder.layer.{layer}.layer.{_BYTENET_PARTS[part]}.{kind}",)


def network(config: Config, path: Path = Path("config.json")) -> ConvNet | ByteNet:
    """The network that a config.json describes, with torch's own random weights.

    Args:
        config: the parsed file.
        path: where it lies, for messages.

    Raises:
        ModelError: it describes none, or a kind of GPN that is not published.
    """
    try:
        if config["model_type"] == "ConvNet":
            return _convnet(_CONVNET_DEFAULTS | dict(config))
        return _bytenet(_BYTENET_DEFAULTS | dict(config))
    except (KeyError, ValueError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{path}: {problem}; expected the config.json of songlab/gpn-brassicales (ConvNet) or "
            "songlab/gpn-animal-promoter (GPN, a slim ByteNet). Fetch one with: "
            "ntvep model fetch songlab/gpn-animal-promoter"
        ) from error


def _convnet(config: Config) -> ConvNet:
    checked_numbers(config, _CONVNET_SIZES)
    kernel = _odd(config, "kernel_size")
    return ConvNet(
        config["hidden_size"], kernel, _dilations(config["n_layers"], config), config["vocab_size"]
    )


def _bytenet(config: Config) -> ByteNet:
    checked_numbers(config, _BYTENET_SIZES)
    for key, expected in _SLIM_BYTENET.items():
        found = config.get(key, _ABSENT_MEANS.get(key))
        if type(found) is not type(expected) or found != expected:
            raise ValueError(f"{key} is {found!r:.40}, expected {expected!r}")
    if config["hidden_size"] % 2:
        raise ValueError(f"hidden_size is {config['hidden_size']}, expected an even number")
    layers = config["num_hidden_layers"]
    first, rest = _odd(config, "first_kernel_size"), _odd(config, "rest_kernel_size")
    return ByteNet(
        config["hidden_size"],
        [first, *[rest] * (layers - 1)],
        _dilations(layers, config),
        config["vocab_size"],
    )


def _dilations(layers: int, config: Config) -> list[int]:
    return dilations(
        layers,
        base=config["dilation_base"],
        double_every=config["dilation_double_every"],
        cycle=config["dilation_cycle"],
        most=config["dilation_max"],
    )


def _odd(config: Config, key: str) -> int:
    """A kernel's size: with an even one, outputs would not line up with bases."""
    size: int = config[key]
    if size % 2 == 0:
        raise ValueError(f"{key} is {size}, expected an odd number")
    return size


def _check_tokenizer(path: Path) -> None:
    """tokenizer.json, where there is one, is the published one: lower case, one token per letter.

    Raises:
        ModelError: it gives other ids.
    """
    if not path.exists():
        return
    text = read_text(path)
    try:
        library = Library.from_str(text)
        found = library.get_vocab(with_added_tokens=True)
        ids = library.encode("ACGTNacgtnTTGCA").ids
    # The library knows of no class of error of its own.
    except Exception as error:
        raise ModelError(
            f"{path}: not a whole tokenizer.json ({error}); fetch the model again with: "
            "ntvep model fetch ID"
        ) from error
    expected = {token: number for number, token in enumerate(VOCABULARY)}
    if found != expected or ids != [3, 4, 5, 6, 2, 3, 4, 5, 6, 2, 6, 6, 5, 4, 3]:
        raise ModelError(
            f"{path}: ACGTN becomes {ids[:5]} with the vocabulary {json.dumps(found):.200}; "
            f"expected [3, 4, 5, 6, 2] and {json.dumps(expected)}, with which GPN was trained. "
            "Fetch the model again with: ntvep model fetch ID"
        )


def _recognises(config: Config) -> bool:
    return config.get("model_type") in ("ConvNet", "GPN")


def _describe(folder: Path, config: Config) -> Description:
    with torch.device("meta"):
        found = network(config, folder / "config.json")
    _check_tokenizer(folder / "tokenizer.json")
    ids = {letter: VOCABULARY.index(letter.lower()) for letter in "ACGT"}
    return Description(
        family="gpn",
        objective="masked",
        tokenizer=base_tokenizer(
            ids | {"N": VOCABULARY.index("[UNK]")},
            len(VOCABULARY),
            mask=VOCABULARY.index("[MASK]"),
        ),
        vocabulary_sha256=hashlib.sha256("\n".join(VOCABULARY).encode()).hexdigest(),
        layers=found.layers,
        max_tokens=found.max_tokens,
        default_bases=TRAINED_BASES,
        trained_bases=TRAINED_BASES,
    )


def _build(config: Config, shapes: Shapes) -> ConvNet | ByteNet:
    return network(config)


def _tensors(config: Config, shapes: Shapes) -> TensorMap:
    is_convnet = config["model_type"] == "ConvNet"
    return TensorMap(published_convnet if is_convnet else published_bytenet)


GPN = Family(
    name="gpn",
    title="GPN of one sequence (ConvNet, ByteNet)",
    models=("songlab/gpn-brassicales", "songlab/gpn-animal-promoter"),
    objective="masked",
    tokens="bases",
    window="512",
    licence="MIT",
    authors=(
        "logit of ALT minus logit of REF at the masked base, window 512, mean of both strands: "
        "llr as it is (negative = ALT less likely); TraitGym ranks by -llr"
    ),
    recognises=_recognises,
    describe=_describe,
    build=_build,
    tensors=_tensors,
)
