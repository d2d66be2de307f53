"""arrays <-> tensors of a device, of which the host waits for none but the answers of a plan."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int64, Num
from torch import Tensor

# Batches that a GPU has before it: one that it computes, one that waits.
_IN_FLIGHT = 2


class Pace:
    """Holds the host back, so that what it has asked of a GPU does not fill its memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._behind: list[torch.cuda.Event] = []

    def asked(self) -> None:
        """A batch has been handed over: wait until few are left to compute, not for this one."""
        if self._device.type != "cuda":
            return
        self._behind.append(torch.cuda.current_stream(self._device).record_event())
        if len(self._behind) > _IN_FLIGHT:
            self._behind.pop(0).synchronize()


def send(
    arrays: Mapping[str, Int64[np.ndarray, "..."]], device: torch.device
) -> dict[str, Int64[Tensor, "..."]]:
    """Arrays on a device, in one copy that a GPU fetches by itself while the host goes on.

    Torch keeps the pinned memory of earlier copies and gives it out again once they are done: two
    buffers take turns.
    """
    if device.type == "cpu":
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    sizes = [array.size for array in arrays.values()]
    pinned = torch.empty(sum(sizes), dtype=torch.int64, pin_memory=device.type == "cuda")
    whole = pinned.numpy()
    for array, part in zip(arrays.values(), np.split(whole, np.cumsum(sizes)[:-1]), strict=True):
        part[:] = array.ravel()
    there = pinned.to(device, non_blocking=True)
    return {
        name: part.view(array.shape)
        for (name, array), part in zip(arrays.items(), torch.split(there, sizes), strict=True)
    }


class Fetched:
    """Tensors on their way to the host."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        # To pageable memory no copy is asynchronous: torch pins what these arrive in.
        self._arrived = [x.to("cpu", non_blocking=x.device.type == "cuda") for x in tensors]
        cuda = any(x.device.type == "cuda" for x in tensors)
        self._done = torch.cuda.current_stream().record_event() if cuda else None

    def arrays(self) -> list[Num[np.ndarray, "..."]]:
        """They; waits until all are there."""
        if self._done is not None:
            self._done.synchronize()
        return [x.numpy() for x in self._arrived]
