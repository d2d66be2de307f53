"""hidden states -> hidden states: maps and filters that several families are made of."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from ntvep.models.device import multiplies_in_bf16


class Product(nn.Linear):
    """A linear map that takes its input in the precision of its own weights."""

    _packed: Tensor | None = None

    def forward(self, x: Float[Tensor, "*rows from"]) -> Float[Tensor, "*rows to"]:
        """The product, in that precision."""
        x = x.to(self.weight.dtype)
        if self._packed is None:
            return F.linear(x, self.weight, self.bias)
        packed: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.contiguous(), self._packed, self.bias, "none", [], ""
        )
        return packed

    def pack(self) -> None:
        """Lay a bfloat16 matrix out as a CPU's matrix unit reads it: once, not in each product."""
        fits = self.weight.dtype == torch.bfloat16 and multiplies_in_bf16(self.weight.device)
        reorder = torch.ops.mkldnn._reorder_linear_weight
        self._packed = reorder(self.weight.detach()) if fits else None


def hold(
    blocks: Sequence[nn.Module] | nn.ModuleList,
    precision: torch.dtype,
    spare: float = 0.0,
    kinds: tuple[type[nn.Module], ...] = (Product,),
) -> None:
    """Hold the matrices of blocks in a precision.

    Args:
        blocks: in the order in which they are computed.
        precision: of the matrices.
        spare: share of the first blocks that are left as they are: rounding costs distances most
            there (benchmarks/README.md, "bfloat16 on a CPU").
        kinds: which modules are matrices.
    """
    for block in blocks[math.ceil(spare * len(blocks)) :]:
        for module in block.modules():
            if isinstance(module, kinds):
                module.to(precision)
            if isinstance(module, Product):
                module.pack()


def causal_depthwise(
    x: Float32[Tensor, "pass token channel"],
    weight: Float32[Tensor, "channel 1 tap"],
    bias: Float32[Tensor, "channel"] | None = None,
) -> Float32[Tensor, "pass token channel"]:
    """A short filter a channel: y[t] = bias + sum over j of weight[j] x[t - taps + 1 + j]."""
    tokens, taps = x.shape[1], weight.shape[2]
    padded = F.pad(x, (0, 0, taps - 1, 0))
    y = padded[:, taps - 1 :] * weight[:, 0, -1]
    if bias is not None:
        y += bias
    for tap in range(taps - 1):
        y.addcmul_(padded[:, tap : tap + tokens], weight[:, 0, tap])
    return y


def long_convolution(
    x: Float32[Tensor, "pass token channel"], taps: Float32[Tensor, "tap channel"]
) -> Float32[Tensor, "pass token channel"]:
    """Causal convolution, y[t] = sum over s of taps[s] x[t - s], by Fourier transforms in float32.

    Transforms are long enough that nothing of the end wraps around to the beginning.
    """
    tokens = x.shape[1]
    # A power of two, which transforms are fast at.
    size = 1 << (tokens + min(len(taps), tokens) - 2).bit_length()
    spectrum = torch.fft.rfft(x, n=size, dim=1) * torch.fft.rfft(taps[:tokens], n=size, dim=0)
    whole: Tensor = torch.fft.irfft(spectrum, n=size, dim=1)
    return whole[:, :tokens]
