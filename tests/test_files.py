"""What every writer of files relies on: digests, locks, and names that only whole files bear."""

import json
import os
import subprocess
import sys

import pytest

from ntvep import files
from ntvep.errors import OutputError
from ntvep.files import digest, lacking_room, locked, place, sync, write_json

HOLD = """
import sys
from pathlib import Path
from ntvep.files import locked
with locked(Path(sys.argv[1]), ValueError("busy")) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


def test_digests(tmp_path):
    """FIPS 180-2, B.1; RFC 1321, A.5."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert digest(tmp_path / "abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert digest(tmp_path / "abc", "md5") == "900150983cd24fb0d6963f7d28e17f72"


def test_room(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_500_000_000}))
    assert lacking_room(tmp_path, 1_500_000_000) is None
    assert lacking_room(tmp_path, 2_000_000_000) == "1.5 GB free, 2.0 GB needed"


def test_a_lock_is_held_by_one_and_ends_with_its_process(tmp_path):
    busy = OutputError("busy")
    with locked(tmp_path / "lock", busy) as held:
        assert held
        with pytest.raises(OutputError, match="busy"):
            locked(tmp_path / "lock", busy).__enter__()
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "True\n"
            with pytest.raises(OutputError, match="busy"):
                locked(tmp_path / "lock", busy).__enter__()
        finally:
            other.kill()
    with locked(tmp_path / "lock", busy) as held:
        assert held


def test_an_error_of_what_is_done_under_a_lock_is_its_own(tmp_path):
    with pytest.raises(BlockingIOError), locked(tmp_path / "lock", OutputError("busy")):
        raise BlockingIOError


def test_bytes_are_on_the_disk_before_their_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    made, final = tmp_path / "made", tmp_path / "final"
    (made / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        (made / name).write_text(name)
    inodes = {(made / name).stat().st_ino for name in ("a", "deep/b")}
    place(made, final)
    assert set(synced) == inodes
    assert (final / "deep" / "b").read_text() == "deep/b"
    synced.clear()
    sync(final / "a")
    place(final / "a", tmp_path / "c")
    assert synced == [(tmp_path / "c").stat().st_ino] * 2
    assert not (final / "a").exists()


def test_a_record_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    write_json(tmp_path / "r.json", {"a": 1})
    assert (tmp_path / "r.json").read_text() == '{\n "a": 1\n}\n'

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", fail)
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "r.json", {"a": 2})
    assert json.loads((tmp_path / "r.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
