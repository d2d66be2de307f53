"""work done -> a bar on a terminal or in a notebook, a plain line a minute in a job's log."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

_LOG_EVERY_SECONDS = 60.0
_log = logging.getLogger("ntvep")


@contextmanager
def progress(what: str, total: int, *, quiet: bool) -> Iterator[Callable[[float], None]]:
    """Show how far the work is. Yields the function that takes how much more has been done.

    Args:
        what: the unit, in the plural ("alleles").
        total: how many there are.
        quiet: show no bar; lines still go to the log, where its level lets them.
    """
    # The kernel of a notebook has no terminal; rich draws where its cells print.
    notebook = "ipykernel" in sys.modules
    if quiet or not (notebook or sys.stderr.isatty()):
        yield _LogLines(what, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    console = Console(force_jupyter=True) if notebook else Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, rate="", left="")
        done, started = 0.0, time.monotonic()

        def advance(more: float) -> None:
            nonlocal done
            done += more
            rate = done / max(time.monotonic() - started, 1e-9)
            # Nothing is known before something is done.
            left = timedelta(seconds=max(0, round((total - done) / rate))) if rate else None
            # Whole alleles for the eye; fractions stay in the sum.
            bar.update(
                task,
                completed=int(done + 1e-6),
                rate=_per_time(rate) if rate else "",
                left=f"{left} left" if rate else "",
            )

        yield advance


def _per_time(rate: float) -> str:
    """A rate per second, in the unit of time that makes it 1 or more."""
    for seconds, unit in ((1, "s"), (60, "min")):
        if rate * seconds >= 1:
            return f"{rate * seconds:,.0f}/{unit}"
    return f"{rate * 3600:,.1f}/h"


class _LogLines:
    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0.0
        self._started = self._last = time.monotonic()

    def __call__(self, more: float) -> None:
        self._done += more
        now = time.monotonic()
        if now - self._last < _LOG_EVERY_SECONDS:
            return
        self._last = now
        rate = self._done / (now - self._started)
        left = (self._total - self._done) / rate if rate else float("inf")
        _log.info(
            "%d of %d %s, %.1f/s, %.0f s left", self._done, self._total, self._what, rate, left
        )
