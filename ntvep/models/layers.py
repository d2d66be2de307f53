"""hidden states -> hidden states: filters over tokens that several families are made of."""

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor


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
