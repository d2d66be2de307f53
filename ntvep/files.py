"""file made -> file in place: checks disk space, holds a lock, verifies checksums."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def digest(path: Path, algorithm: Literal["md5", "sha256"] = "sha256") -> str:
    """The checksum of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def lacking_room(folder: Path, needed: int) -> str | None:
    """What to say if a folder's disk has less than ``needed`` bytes free; None if it has them."""
    free = shutil.disk_usage(folder).free
    return None if free >= needed else f"{free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed"


def is_full(error: OSError) -> bool:
    """Whether a disk, a quota or the largest size of a file is reached."""
    return error.errno in _FULL


def is_refused(error: OSError) -> bool:
    """Whether one may not write there."""
    return error.errno in _REFUSED


@contextmanager
def locked(path: Path, busy: Exception) -> Iterator[bool]:
    """Hold the lock of a file, which is made if need be; it ends with the process at the latest.

    Args:
        path: the file; it stays.
        busy: raised if another process, or another part of this one, holds the lock.

    Yields:
        Whether the lock is held: not where the file system has no locks.

    Raises:
        FileNotFoundError: the one who held it before has removed the file meanwhile.
    """
    with path.open("ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except BlockingIOError as error:
            raise busy from error
        except OSError:
            held = False
        if held and not os.path.samestat(os.fstat(handle.fileno()), path.stat()):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        yield held


def sync(path: Path) -> None:
    """Wait until a file, or every file in a folder, is on its disk."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def place(made: Path, final: Path) -> None:
    """Give a finished file or folder its final name: no crash leaves half of it under that."""
    sync(made)
    made.replace(final)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a small record, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        place(partial, path)
    finally:
        partial.unlink(missing_ok=True)
