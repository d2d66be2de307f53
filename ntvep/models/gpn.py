"""tokens -> hidden states -> log-probabilities: GPN of one sequence, the ConvNet and the ByteNet.

Masked models of single bases (Benegas, Batra & Song, PNAS 120:e2311219120, 2023; code and weights
of songlab, MIT). Each layer adds dilated convolutions to the sum that it is given:

- ``ConvNet`` (gpn-brassicales), x = one-hot(ids):
  ``x += norm(gelu(conv(x)))``, then ``x += norm(gelu(mix(x)))``. The norm is the last step of the
  branch, and there is none behind the last layer.
- ``ByteNet``, slim (gpn-animal-promoter), x = embedding(ids), inner width dim / 2:
  ``x += out(gelu(norm(conv(gelu(norm(in(gelu(norm(x)))))))))``, and a norm behind the last layer.

gelu is the exact one (erf). Convolutions are padded with zeros to the length of the input, and
these zeros reach far: outputs depend on the length of the window, which is 512 as in training.
"""

from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

Hidden = Float[Tensor, "pass token dim"]


class Product(nn.Linear):
    """A linear map that takes its input in the precision of its own weights; answers in float32."""

    def forward(self, x: Float[Tensor, "*rows from"]) -> Float[Tensor, "*rows to"]:
        """The product."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias).float()


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

    objective = "masked"
    margin = 0
    # No limit is built in; beyond this, one pass would take gigabytes.
    max_tokens = 1 << 16

    blocks: nn.ModuleList

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.blocks)

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

    def in_precision(self, dtype: torch.dtype) -> Self:
        """Hold the matrices of the layers in dtype; sums, norms and the head stay float32."""
        for module in self.blocks.modules():
            if isinstance(module, Product | Convolution):
                module.to(dtype)
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
        out: Tensor = x + self.mix_norm(F.gelu(self.mix(x)))
        return out


class ConvNet(_Gpn):
    """GPN as in gpn-brassicales: no embedding matrix, a head of two layers."""

    def __init__(self, dim: int, kernel: int, dilations: list[int], vocab: int) -> None:
        super().__init__()
        self.dim = dim
        self.blocks = nn.ModuleList(ConvNetBlock(dim, kernel, dilation) for dilation in dilations)
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
        inner = self.into(F.gelu(self.norm(x)))
        inner = self.conv(F.gelu(self.inner_norm(inner)))
        out: Tensor = x + self.out(F.gelu(self.conv_norm(inner)))
        return out


class ByteNet(_Gpn):
    """GPN as in gpn-animal-promoter: slim, an embedding, a last norm, a head of one matrix."""

    def __init__(self, dim: int, kernels: list[int], dilations: list[int], vocab: int) -> None:
        super().__init__()
        self.dim = dim
        self.words = nn.Embedding(vocab, dim)
        self.blocks = nn.ModuleList(
            ByteNetBlock(dim, dim // 2, kernel, dilation)
            for kernel, dilation in zip(kernels, dilations, strict=True)
        )
        self.final_norm = nn.LayerNorm(dim, bias=False)
        self.decoder = nn.Linear(dim, vocab, bias=False)

    def embed(self, ids: Int[Tensor, "pass token"]) -> Hidden:
        """Rows of the embedding."""
        x: Tensor = self.words(ids)
        return x

    def last_norm(self, x: Hidden) -> Hidden:
        """The norm behind the last layer."""
        out: Tensor = self.final_norm(x)
        return out

    def logits(self, rows: Float[Tensor, "row dim"]) -> Float32[Tensor, "row vocab"]:
        """Logits of rows of the last hidden states."""
        logits: Tensor = self.decoder(rows)
        return logits.float()
