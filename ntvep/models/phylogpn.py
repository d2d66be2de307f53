"""bases -> log rates of A, C, G, T at every base: PhyloGPN, which reads an unmasked window.

Albors, Li, Benegas, Ye & Song, arXiv:2503.03773 (2025). Trained to predict the rates of a model of
molecular evolution from one sequence: ``y[alt] - y[ref]`` is the score of an SNV, and one pass
answers for every base of its input that has its full context on both sides.

``x += conv3(gelu(norm(conv2(gelu(norm(conv1(gelu(norm(x)))))))))`` in each block; conv2 is dilated
and not padded, so that a block shortens its input, and the sum takes the middle of x. After the
last block: norm (the embedding), gelu, a product with four columns.

Weights are symmetrised when they are loaded, as they are in the authors' class whenever they are
used: reversing the channels and the kernel of each convolution leaves it as it is, so that the
reverse complement of an input gives the reversed, complemented output (up to the weights of the
norms, which are free).
"""

import hashlib
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from ntvep.description import Description
from ntvep.errors import ModelError
from ntvep.models.family import WIDE, Config, Family, Shapes, TensorMap
from ntvep.models.folder import checked_numbers
from ntvep.models.layers import hold
from ntvep.objectives import Objective
from ntvep.tokenizers.base import base_tokenizer

# A place in it is the id. ``-`` is what comes beyond the end of a contig.
VOCABULARY = ("A", "C", "G", "T", "N", "-")
_COMPLEMENT = (3, 2, 1, 0, 4, 5)
_RATES = 4
# No length is built in; of more than this, one pass would take gigabytes.
_MAX_TOKENS = 1 << 16

_SIZES = {
    "outer_dim": (1, 1 << 16),
    "inner_dim": (1, 1 << 16),
    "kernel_size": (1, 1 << 10),
    "stack_size": (1, 1 << 6),
    "num_stacks": (1, 1 << 10),
}


class Convolution(nn.Conv1d):
    """A convolution without padding, channels last, in the precision of its weights."""

    def forward(self, x: Float[Tensor, "pass token from"]) -> Float[Tensor, "pass out to"]:
        """Shorter than x by (kernel - 1) * dilation; float32.

        In two dimensions, one of them of size 1: this is how x lies in memory, and a CPU is up to
        twice as fast with it.
        """
        image = x.to(self.weight.dtype)[:, None].permute(0, 3, 1, 2)
        out = F.conv2d(image, self.weight[:, :, None], self.bias, dilation=(1, self.dilation[0]))
        return out.permute(0, 2, 3, 1)[:, 0].float()

    def symmetrise(self) -> None:
        """Make it the mean of itself and of what it is on the other strand."""
        assert self.bias is not None
        self.weight.copy_((self.weight + self.weight.flip(0, 1, 2)) / 2)
        self.bias.copy_((self.bias + self.bias.flip(0)) / 2)


class Block(nn.Module):
    """Adds to the middle of x what a bottleneck with one dilated convolution makes of x."""

    def __init__(self, outer: int, inner: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.cut = (kernel - 1) * dilation // 2
        self.norm1, self.conv1 = nn.LayerNorm(outer), Convolution(outer, inner, 1)
        self.norm2 = nn.LayerNorm(inner)
        self.conv2 = Convolution(inner, inner, kernel, dilation=dilation)
        self.norm3, self.conv3 = nn.LayerNorm(inner), Convolution(inner, outer, 1)

    def forward(self, x: Float[Tensor, "pass token dim"]) -> Float[Tensor, "pass out dim"]:
        """Hidden states after this block."""
        inner = self.conv1(F.gelu(self.norm1(x)))
        inner = self.conv2(F.gelu(self.norm2(inner)))
        out: Tensor = _middle(x, self.cut) + self.conv3(F.gelu(self.norm3(inner)))
        return out


class PhyloGpn(nn.Module):
    """The network. ``margin`` bases at each end of an input have no output."""

    objective: Objective = "rates"
    max_tokens = _MAX_TOKENS

    def __init__(self, outer: int, inner: int, kernel: int, dilations: list[int]) -> None:
        super().__init__()
        self.dim, self.layers = outer, len(dilations)
        self.words = nn.Embedding(len(VOCABULARY), outer)
        self.blocks = nn.ModuleList(Block(outer, inner, kernel, dilation) for dilation in dilations)
        self.final_norm = nn.LayerNorm(outer)
        self.rates = Convolution(outer, _RATES, 1)
        self.margin = (kernel - 1) * sum(dilations) // 2

    def loaded(self) -> None:
        """Symmetrise the weights, once."""
        with torch.no_grad():
            words = self.words.weight
            words.copy_((words + words[list(_COMPLEMENT)].flip(1)) / 2)
            for module in self.modules():
                if isinstance(module, Convolution):
                    module.symmetrise()

    def hidden(
        self, ids: Int[Tensor, "pass token"], layer: int | None = None
    ) -> tuple[Float[Tensor, "pass out dim"], Float[Tensor, "pass out dim"]]:
        """Hidden states of ``layer`` (0: embedding, k: after block k) and of the last.

        Both without the ``margin`` first and last bases: out = token - 2 margin.

        Raises:
            ValueError: the input is shorter than one receptive field.
        """
        out = ids.shape[1] - 2 * self.margin
        if out < 1:
            raise ValueError(f"{ids.shape[1]} bases, expected {2 * self.margin + 1} or more")
        x = self.words(ids)
        chosen = x
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number == layer:
                chosen = x
        last = self.final_norm(x)
        if layer in (None, self.layers):
            return last, last
        return _middle(chosen, (chosen.shape[1] - out) // 2), last

    def logits(self, rows: Float[Tensor, "row dim"]) -> Float32[Tensor, "row 4"]:
        """Log rates of A, C, G, T of rows of the last hidden states."""
        rates: Tensor = self.rates(F.gelu(rows)[None])[0]
        return rates

    def in_precision(self, precision: torch.dtype, spare: float = 0.0) -> "PhyloGpn":
        """Hold the matrices of the blocks in a precision; sums, norms and the head stay float32."""
        hold(self.blocks, precision, spare, (Convolution,))
        return self


def _middle(x: Float[Tensor, "pass token dim"], cut: int) -> Float[Tensor, "pass out dim"]:
    """Drop the first and last ``cut`` tokens."""
    return x[:, cut : x.shape[1] - cut]


def network(config: Config, path: Path = Path("config.json")) -> PhyloGpn:
    """The network that a config.json describes, with torch's own random weights.

    Raises:
        ModelError: it describes none.
    """
    try:
        checked_numbers(config, _SIZES)
        if config["kernel_size"] % 2 == 0:
            raise ValueError(f"kernel_size is {config['kernel_size']}, expected an odd number")
        kernel = config["kernel_size"]
        dilations = [kernel**i for i in range(config["stack_size"])] * config["num_stacks"]
        if (field := (kernel - 1) * sum(dilations) + 1) > _MAX_TOKENS:
            raise ValueError(f"outputs depend on {field} bases, expected at most {_MAX_TOKENS}")
        return PhyloGpn(config["outer_dim"], config["inner_dim"], kernel, dilations)
    except (KeyError, ValueError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{path}: {problem}; expected the config.json of songlab/PhyloGPN. Fetch it with: "
            "ntvep model fetch songlab/PhyloGPN"
        ) from error


_OTHERS = {
    "words": "_model.embedding.parametrizations.{}.original",
    "final_norm": "_model.output_layer_norm.{}",
    "rates": "_model.output_conv.parametrizations.{}.original",
}


def published(name: str) -> tuple[str, ...]:
    """The published name of one of our parameters."""
    module, _, kind = name.rpartition(".")
    if not module.startswith("blocks."):
        return (_OTHERS[module].format(kind),)
    _, number, part = module.split(".")
    if part.startswith("norm"):
        return (f"_model.blocks.{number}.layer_{part}.{kind}",)
    return (f"_model.blocks.{number}.{part}.parametrizations.{kind}.original",)


def _recognises(config: Config) -> bool:
    return config.get("model_type") == "phylogpn"


def _describe(folder: Path, config: Config) -> Description:
    with torch.device("meta"):
        found = network(config, folder / "config.json")
    field = 2 * found.margin + 1
    return Description(
        family="phylogpn",
        objective="rates",
        tokenizer=base_tokenizer(
            {letter: number for number, letter in enumerate(VOCABULARY)}, len(VOCABULARY)
        ),
        vocabulary_sha256=hashlib.sha256("\n".join(VOCABULARY).encode()).hexdigest(),
        layers=found.layers,
        max_tokens=found.max_tokens,
        default_bases=field,
        trained_bases=field,
        field=field,
        on_cpu="mixed" if found.dim >= WIDE else "fp32",
    )


def _build(config: Config, shapes: Shapes) -> PhyloGpn:
    return network(config)


def _tensors(config: Config, shapes: Shapes) -> TensorMap:
    return TensorMap(published)


PHYLOGPN = Family(
    name="phylogpn",
    title="PhyloGPN",
    models=("songlab/PhyloGPN",),
    objective="rates",
    tokens="bases",
    window="481",
    licence="cc (no variant named on the hub; ask the authors)",
    authors=(
        "log rate of ALT minus log rate of REF at the centre of 481 bases, forward strand only: "
        "llr with --views 1 (negative = ALT less likely); ours is the mean of both strands"
    ),
    recognises=_recognises,
    describe=_describe,
    build=_build,
    tensors=_tensors,
)
