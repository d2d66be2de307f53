"""time -> how many records are scored together, where a run that is killed must lose little."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

# A plan takes about so long: what a killed run has to repeat.
_SECONDS = 30.0


@dataclass
class Pace:
    """Sizes of chunks, so that each takes seconds, not hours, on a slow device.

    Attributes:
        full: the size that shares the most passes.
        size: of the next chunk; begins small where the device's speed is still unknown.
    """

    full: int
    size: int
    _since: float = field(default_factory=time.monotonic, init=False)

    def sizes(self) -> Iterator[int]:
        """The size of each next chunk."""
        while True:
            yield self.size

    def done(self, records: int) -> None:
        """Adapt to a chunk that has just been scored."""
        now = time.monotonic()
        if self.size < self.full or now - self._since > _SECONDS:
            rate = records / max(now - self._since, 1e-9)
            self.size = max(1, min(self.full, int(rate * _SECONDS)))
        self._since = now
