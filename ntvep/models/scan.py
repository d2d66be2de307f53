"""inputs of a selective state space -> its outputs: a scan over tokens in few wide steps.

The recurrence of Mamba (Gu and Dao, arXiv:2312.00752), for each channel and each of its states n:

    s[t] = exp(dt[t] A[n]) s[t-1] + dt[t] B[t, n] x[t],      y[t] = sum over n of C[t, n] s[t, n]

A pair (decay, given) is the map s -> decay s + given. Maps compose associatively, so the
sequence may be cut anywhere (Blelloch, CMU-CS-90-190, 1990). A token's number is written with mixed
digits, the fastest first, and arrays have an axis for each digit: all runs of tokens that differ in
the first digit take a step together; the maps of whole runs are composed in the same way along the
second digit, and so on; then each run takes in what reaches it. That is about 8 log8(tokens) steps
in place of one a token, each a single operation on a contiguous array.

Decays are multiplied, never divided by: a product that underflows to zero is the right limit, while
a ratio of two of them, or the exponential of a difference of long sums, would be infinite or NaN.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor

# Digits of a token's number within a block of tokens; blocks follow each other. As many channels
# are taken at once as make a working array of this many numbers: on a CPU it stays in the caches;
# on a GPU, where wide operations count, it has to fit in memory.
_CPU_DIGITS, _CPU_NUMBERS = (8, 8), 1 << 17
_GPU_DIGITS, _GPU_NUMBERS = (8, 8, 8), 1 << 26


def selective_scan(
    x: Float32[Tensor, "pass token channel"],
    dt: Float32[Tensor, "pass token channel"],
    rates: Float32[Tensor, "channel state"],
    into: Float32[Tensor, "pass token state"],
    out_of: Float32[Tensor, "pass token state"],
) -> Float32[Tensor, "pass token channel"]:
    """The outputs y of the recurrence above, from a state of zeros, without the skip D x.

    Args:
        x: inputs.
        dt: step sizes, positive.
        rates: A, negative.
        into: B.
        out_of: C.
    """
    digits, numbers = (_GPU_DIGITS, _GPU_NUMBERS) if x.is_cuda else (_CPU_DIGITS, _CPU_NUMBERS)
    width = max(1, numbers // (math.prod(digits) * x.shape[0] * rates.shape[1]))
    # [block *digits pass state 1] and [block *digits pass 1 state]
    into = _cut(into, digits).unsqueeze(-1)
    out_of = _cut(out_of, digits).unsqueeze(-2)
    parts = (slice(start, start + width) for start in range(0, x.shape[2], width))
    return torch.cat(
        [_scan(x[..., p], dt[..., p], rates[p].T, (into, out_of), digits) for p in parts], dim=-1
    )


def _scan(
    x: Float32[Tensor, "pass token channel"],
    dt: Float32[Tensor, "pass token channel"],
    rates: Float32[Tensor, "state channel"],
    into_and_out_of: tuple[Tensor, Tensor],
    digits: tuple[int, ...],
) -> Float32[Tensor, "pass token channel"]:
    """The scan of a few channels, block after block."""
    axes = len(digits)
    into, out_of = into_and_out_of
    dtx, steps = (_cut(t, digits).unsqueeze(-2) for t in (dt * x, dt))
    y = torch.empty_like(dtx)
    shape = (*dtx.shape[1:-2], *rates.shape)
    decay, given = rates.new_empty(shape), rates.new_empty(shape)
    before = rates.new_zeros(shape[axes:])
    for block in range(len(dtx)):
        torch.mul(steps[block], rates, out=decay).exp_()
        torch.mul(dtx[block], into[block], out=given)
        given[(0,) * axes].addcmul_(decay[(0,) * axes], before)
        _compose(decay, given, axes)
        before.copy_(given[(-1,) * axes])
        torch.matmul(out_of[block], given, out=y[block])
    whole = y.squeeze(-2).permute(axes + 1, 0, *range(axes, 0, -1), axes + 2)
    return whole.flatten(1, axes + 1)[:, : x.shape[1]]


def _cut(
    t: Float32[Tensor, "pass token wide"], digits: tuple[int, ...]
) -> Float32[Tensor, "block *digits pass wide"]:
    """Tokens as blocks and digits; zeros fill the last block, and leave states unchanged."""
    size = math.prod(digits)
    blocks = -(-t.shape[1] // size)
    t = F.pad(t, (0, 0, 0, blocks * size - t.shape[1]))
    axes = len(digits)
    t = t.reshape(len(t), blocks, *reversed(digits), t.shape[2])
    return t.permute(1, *range(axes + 1, 1, -1), 0, axes + 2).contiguous()


def _compose(decay: Tensor, given: Tensor, axes: int) -> None:
    """Turn each map into its composition with all before it, in place, along the first ``axes``.

    Only ``given`` comes out whole: states, from a state of zeros. Decays are left half done.
    """
    for step in range(1, given.shape[0]):
        given[step].addcmul_(decay[step], given[step - 1])
        if axes > 1:
            decay[step].mul_(decay[step - 1])
    if axes == 1:
        return
    _compose(decay[-1], given[-1], axes - 1)
    # The run before this one has the next digit less one, or, at a zero, the digit after that.
    for zeros in range(axes - 1):
        here: tuple[slice | int, ...] = (slice(None, -1), *(0,) * zeros, slice(1, None))
        before: tuple[slice | int, ...] = (slice(-1, None), *(-1,) * zeros, slice(None, -1))
        given[here].addcmul_(decay[here], given[before])
