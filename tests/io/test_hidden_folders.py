"""Two runs with one output, and what a run that was killed has left."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ntvep.errors import OutputError
from ntvep.io.staging import staged

HOLD = """
import sys, time
from pathlib import Path
from ntvep.io.staging import staged
with staged([Path(sys.argv[1])]) as staging:
    staging.path(Path(sys.argv[1])).write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_second_run_is_refused_and_a_dead_one_is_cleared(tmp_path: Path) -> None:
    output = tmp_path / "a.vcf"
    command = [sys.executable, "-c", HOLD, str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "writing\n"
            with pytest.raises(OutputError, match=r"a\.vcf: another run of ntvep is writing it"):
                staged([output]).__enter__()
            # Nor is another output of the same folder refused, nor anything left of the refusal.
            with staged([tmp_path / "b.vcf"]) as staging:
                staging.path(tmp_path / "b.vcf").write_text("b")
            assert names(tmp_path) == {"b.vcf", ".ntvep-a.vcf"}
        finally:
            other.send_signal(signal.SIGKILL)
    assert names(tmp_path / ".ntvep-a.vcf") == {"lock", "a.vcf"}
    # As the writer of BCF leaves it.
    (tmp_path / ".ntvep-a.vcf" / "tmp").mkdir()
    (tmp_path / ".ntvep-a.vcf" / "tmp" / "annotated.vcf").write_text("half")
    with staged([output]) as staging:
        assert names(staging.path(output).parent) == {"lock"}
        staging.path(output).write_text("whole")
    assert names(tmp_path) == {"a.vcf", "b.vcf"}
    assert output.read_text() == "whole"


def test_a_lock_that_its_owner_removed_is_not_taken(tmp_path, monkeypatch) -> None:
    """The other run ends between our opening of its lock and our locking of it."""
    output, taken = tmp_path / "a.vcf", []

    def flock(lock, operation):
        taken.append(lock.name)
        if len(taken) == 1:
            Path(lock.name).unlink()
            Path(lock.name).parent.rmdir()

    monkeypatch.setattr(fcntl, "flock", flock)
    with staged([output]) as staging:
        staging.path(output).write_text("whole")
    assert len(taken) == 2
    assert names(tmp_path) == {"a.vcf"}


def test_a_file_system_without_locks(tmp_path, monkeypatch) -> None:
    def flock(lock, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    output = tmp_path / "a.vcf"
    with staged([output], force=True) as first, staged([output], force=True) as second:
        assert first.path(output) != second.path(output)
        first.path(output).write_text("first")
        second.path(output).write_text("second")
    assert output.read_text() == "first"
    assert names(tmp_path) == {"a.vcf"}
