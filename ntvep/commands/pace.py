"""time -> how many records are scored together, and how long a run will take."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

_log = logging.getLogger("ntvep")
# After so long the pace is known well enough to say how long a run takes, ...
_KNOWN_AFTER = 30.0
# ... which is said where it is longer than this.
_LONG = 2 * 3600.0
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


@dataclass
class Forecast:
    """Warns once, soon after the start, of a run that will take hours.

    Attributes:
        records: how many there are.
    """

    records: int
    _done: float = field(default=0.0, init=False)
    _since: float = field(default_factory=lambda: time.monotonic(), init=False)
    _is_open: bool = field(default=True, init=False)

    def done(self, records: float) -> None:
        """Count records, or parts of them, that have been scored."""
        self._done += records
        elapsed = time.monotonic() - self._since
        if not self._is_open or elapsed < _KNOWN_AFTER or not self._done:
            return
        self._is_open = False
        left = (self.records - self._done) * elapsed / self._done
        if left > _LONG:
            _log.warning(
                "at the pace of its first %.0f s this run takes about %.0f more hours (%d "
                "records, %.2f/s). To make it faster: a GPU, --scores llr, --views 1, a shorter "
                "--window-bases, or parallel jobs (ntvep split)",
                elapsed,
                left / 3600,
                self.records,
                self._done / elapsed,
            )
