"""What tests share: where the project's reference data lie, and small checkpoints."""

import logging
import os
from pathlib import Path

import pytest

# Before torch is imported: tests run side by side, and threads that wait for a core they share
# with another test spin for minutes.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference outputs beside a checkout; skips where it is absent."""
    folder = ROOT.parent / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip("no reference data beside this checkout")
    return folder


@pytest.fixture(autouse=True)
def _the_log_as_it_was():
    """A command sets up the log of its process, which is that of the next test too."""
    yield
    log = logging.getLogger("ntvep")
    log.handlers = []
    log.setLevel(logging.NOTSET)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Output of a test may hold bytes that are not UTF-8, and workers send it as text."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report
