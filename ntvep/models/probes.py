"""a loaded network -> what it can be trusted with: measured, because no file says it reliably.

Each probe is a handful of short passes. A network that is not what its config.json says, or whose
outputs are not numbers, is refused; one whose states cannot be reused is run without reusing them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ntvep.errors import ModelError

if TYPE_CHECKING:
    from ntvep.models.native import Native

_TOKENS = 64
# Where an input is cut, for the probe of prefixes: it takes several tokens up again each time.
_CUTS = (1, 40, 57)
# A longer input would take longer than what is scored after it.
_LONGEST = 1_024
# Of the largest logit. What the probes are for differs by more than a tenth; rounding of float32 by
# 1e-6 of it, of products in fewer bits by up to a hundredth.
_EXACT = 1e-4
_ROUNDED = 5e-2


@dataclass(frozen=True)
class Found:
    """What probes have shown.

    Attributes:
        pads: whether tokens after the end of an input change nothing before it.
        not_shared: why the states of a prefix cannot be reused; None if they can.
    """

    pads: bool
    not_shared: str | None


def probe(native: "Native") -> Found:
    """Run all probes, on the device and in the precision of the network.

    Raises:
        ModelError: the head is not what ntvep takes it for, the network looks the wrong way, or its
            logits are not finite.
    """
    length = min(_TOKENS, native.max_tokens)
    ids = _random(native, length)
    near = _tolerance(native)
    _, last = native.run(ids, None)
    logits = native.logits(last[0])
    scale = max(1.0, float(logits.abs().max()))
    _refuse_nonfinite(native)
    again = _difference(native.logits(native.run(ids, None)[1][0]), logits)
    if again > near * scale:
        raise ModelError(
            f"{_name(native)}: after a longer input the same input has logits that differ by "
            f"{again:.3g}, as with frequencies that follow the longest input (rope_type dynamic); "
            "a score must not depend on what was scored before it"
        )
    _refuse_head(native, ids, logits, near * scale)
    if length < 4:
        raise ModelError(
            f"{_name(native)}: inputs of {length} tokens at most are too short to score a change"
        )
    changed = ids.clone()
    changed[0, -1] = (changed[0, -1] + 1) % native.vocab_size
    before = _difference(native.logits(native.run(changed, None)[1][0, :-1]), logits[:-1])
    if native.objective == "masked":
        if before <= near * scale * 1e-2:
            raise ModelError(
                f"{_name(native)}: its config.json is that of a masked language model, but a "
                "token does not change the predictions to its left; ntvep cannot score it"
            )
        return Found(pads=False, not_shared="it looks at both sides")
    if before > near * scale:
        raise ModelError(
            f"{_name(native)}: its config.json is that of a causal language model, but the last "
            f"token changes predictions to its left by {before:.3g}; ntvep cannot score it"
        )
    short = native.logits(native.run(ids[:, : length - length // 3], None)[1][0])
    pads = _difference(short, logits[: len(short)]) <= near * scale
    return Found(pads, _not_shared(native, ids, logits, near * scale))


def _not_shared(
    native: "Native",
    ids: Int[Tensor, "1 token"],
    logits: Float[Tensor, "token vocab"],
    near: float,
) -> str | None:
    """Why tokens cannot go on after the kept states of others; None if they can."""
    try:
        _, _, state = native.run_prefix(torch.cat((ids.flip(1), ids)))
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        return f"it keeps no keys and values ({str(error).splitlines()[0]:.80})"
    whole = (2, ids.shape[1])
    for kept in state.layers:
        # State-space models keep only the state after the last token.
        if any(part.ndim != 4 or (part.shape[0], part.shape[2]) != whole for part in kept):
            return "its states cannot be cut back to an earlier token"
    if len(state.layers) != native.layers:
        return f"{len(state.layers)} of its {native.layers} blocks keep keys and values"
    # Of the second of two passes, and twice: rows are what has to be told apart.
    rows = torch.tensor([1, 1], device=ids.device)
    for cut in _CUTS:
        if cut >= ids.shape[1]:
            continue
        _, last = native.run_on(state, rows, cut, ids[:, cut:].expand(2, -1))
        off = max(_difference(native.logits(row), logits[cut:]) for row in last)
        if off > near:
            return f"continuing after {cut} of {ids.shape[1]} tokens changes logits by {off:.3g}"
    return None


def _refuse_head(
    native: "Native", ids: Int[Tensor, "1 token"], logits: Float[Tensor, "token vocab"], near: float
) -> None:
    """The logits have to be those of transformers' whole model."""
    whole = native.model(input_ids=ids).logits[0].float()
    if (off := _difference(whole, logits)) > near:
        raise ModelError(
            f"{_name(native)}: its logits differ by {off:.3g} from its last layer times its output "
            "embeddings: the class does more after its last layer than ntvep knows"
        )


def _refuse_nonfinite(native: "Native") -> None:
    """Inputs as long as they may be have to give numbers."""
    longest = min(native.max_tokens, _LONGEST)
    try:
        _, last = native.run(_random(native, longest), None)
    except (IndexError, ValueError) as error:
        raise ModelError(
            f"{_name(native)}: an input of {longest} tokens cannot be run ({error}); config.json "
            "promises more positions than the weights have"
        ) from error
    for some in torch.split(last[0], 64):
        if not torch.isfinite(native.logits(some)).all():
            raise ModelError(
                f"{_name(native)}: logits of an input of {longest} tokens are not all finite; try "
                "--precision fp32, or fetch the model again"
            )


def _random(native: "Native", length: int) -> Int[Tensor, "1 token"]:
    """Random ids, the same every time."""
    generator = torch.Generator().manual_seed(20261121)
    ids = torch.randint(native.vocab_size, (1, length), generator=generator)
    return ids.to(native.model.device)


def _tolerance(native: "Native") -> float:
    products = torch.backends.cuda.matmul
    coarse = native.model.device.type == "cuda" and products.allow_tf32
    coarse |= any(p.dtype is not torch.float32 for p in native.parameters())
    return _ROUNDED if coarse else _EXACT


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _name(native: "Native") -> str:
    return f"{type(native.model).__name__} of transformers with these weights"
