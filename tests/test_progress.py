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


def test_nothing_is_said_before_anything_is_done(monkeypatch):
    """Then 5 of 20 records in 100 s: three a minute, 300 s left."""
    clock = iter([1_000, 1_050, 1_100])
    monkeypatch.setattr(room, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress("records", 20, quiet=False) as advance:
        advance(0)
        advance(5)
    shown = terminal.getvalue()
    assert "3/min" in shown
    assert "0:05:00 left" in shown


def test_no_rate_of_zero_at_first(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress("records", 40, quiet=False) as advance:
        advance(0)
    shown = sys.stderr.getvalue()
    assert "0/40" in shown
    assert "/s" not in shown
    assert "-:--" not in shown
    assert "left" not in shown


def test_quiet_shows_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress("records", 40, quiet=True) as advance:
        advance(40)
    assert sys.stderr.getvalue() == ""


def test_a_bar_in_a_notebook(monkeypatch):
    """Its kernel has no terminal; the bar goes to the cell as rich shows things there."""
    shown = []
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr("rich.jupyter.display", lambda _, text: shown.append(text))
    monkeypatch.setattr("rich.live.Live.refresh", lambda live: shown.append("refreshed"))
    with progress("records", 40, quiet=False) as advance:
        advance(20)
    assert "refreshed" in shown
    shown.clear()
    with progress("records", 40, quiet=True) as advance:
        advance(20)
    assert not shown
    assert sys.stderr.getvalue() == ""
