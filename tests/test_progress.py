"""A bar on a terminal; in a job's log a line a minute."""

import io
import logging
import sys
from types import SimpleNamespace

from ntvep import progress as room
from ntvep.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_a_minute_in_a_log(monkeypatch, caplog):
    """Ten records every 25 seconds: lines at 75, 150 and 225 seconds."""
    clock = iter(range(1_000, 2_000, 25))
    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    # Another test's command line may have left a handler that writes to its own standard error.
    monkeypatch.setattr(logging.getLogger("ntvep"), "handlers", [])
    caplog.set_level(logging.INFO, "ntvep")
    with progress("records", 100, quiet=False) as advance:
        for _ in range(10):
            advance(10)
    assert [record.getMessage() for record in caplog.records] == [
        "30 of 100 records, 0.4/s, 175 s left",
        "60 of 100 records, 0.4/s, 100 s left",
        "90 of 100 records, 0.4/s, 25 s left",
    ]
    assert sys.stderr.getvalue() == ""


def test_one_bar_on_a_terminal(monkeypatch, caplog):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress("records", 40, quiet=False) as advance:
        # Fractions: an allele is done pass by pass.
        for _ in range(16):
            advance(2.5)
    shown = sys.stderr.getvalue()
    assert "records" in shown
    assert "40/40" in shown
    assert not caplog.records


def test_quiet_shows_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress("records", 40, quiet=True) as advance:
        advance(40)
    assert sys.stderr.getvalue() == ""
