"""URL -> bytes in a partial file: what an earlier attempt brought is kept, the rest asked for."""

import base64
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ntvep.errors import ConfigError, OutputError, ResourceError
from ntvep.files import digest, lacking_room
from ntvep.progress import progress

_log = logging.getLogger("ntvep")
_T = TypeVar("_T")

_BLOCK = 1 << 20
_TIMEOUT_SECONDS = 60
# Attempts in a row that bring nothing; each waits twice as long as the one before.
_ATTEMPTS = 5
_FIRST_WAIT_SECONDS = 2.0
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_HEX = {"md5": 32, "sha256": 64}


@dataclass(frozen=True)
class Checksum:
    """What a source publishes of a file: ``md5`` or ``sha256``, in hexadecimal digits."""

    algorithm: Literal["md5", "sha256"]
    digest: str

    def __post_init__(self) -> None:
        if not re.fullmatch(rf"[0-9a-f]{{{_HEX[self.algorithm]}}}", self.digest):
            raise ConfigError(
                f"{self.algorithm} {self.digest!r}: expected {_HEX[self.algorithm]} digits 0-9a-f"
            )

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.digest}"

    def of(self, path: Path) -> str:
        """The digest that a file has."""
        return digest(path, self.algorithm)


def read_all(url: str, wait: Callable[[float], None] = time.sleep) -> bytes:
    """A small file, whole.

    Raises:
        ResourceError: it cannot be had.
    """

    def attempt() -> bytes:
        with _asked(url, {}) as response:
            return b"".join(_blocks(response))

    return _persistently(url, attempt, wait)


def download(
    url: str,
    partial: Path,
    checksum: Checksum | None,
    *,
    wait: Callable[[float], None] = time.sleep,
    quiet: bool = False,
) -> Checksum | None:
    """Bring a file that is partly here to its full size; a note beside it says what it is of.

    Args:
        url: http or https.
        partial: the file; it exists, and nobody else writes it.
        checksum: what it must have in the end; it is not verified here.
        wait: called with the seconds to wait between attempts.
        quiet: show no progress.

    Returns:
        The checksum that the server's headers state, if any.

    Raises:
        ResourceError: refused or unreachable; what has arrived is kept.
        OutputError: the disk has no room for it.
    """
    return _persistently(url, lambda: _attempt(url, partial, checksum, quiet), wait, partial)


def forget(partial: Path) -> None:
    """Remove a partial file, and the note beside it."""
    for path in (partial, _mark(partial)):
        path.unlink(missing_ok=True)


class _Interrupted(Exception):
    """An attempt that may go better the next time."""


def _persistently(
    url: str, attempt: Callable[[], _T], wait: Callable[[float], None], partial: Path | None = None
) -> _T:
    """Repeat an attempt until it is done, or until too many in a row have brought nothing."""
    fruitless = 0
    while True:
        before = partial.stat().st_size if partial else 0
        try:
            return attempt()
        except _Interrupted as error:
            after = partial.stat().st_size if partial else 0
            fruitless = 0 if after > before else fruitless + 1
            if fruitless >= _ATTEMPTS:
                raise ResourceError(
                    f"{url}: {error}, {_ATTEMPTS} times in a row. What has arrived ({after:,} "
                    "bytes) is kept: type the command again to continue. On a cluster do it on a "
                    "login node"
                ) from error
            seconds = _FIRST_WAIT_SECONDS * 2 ** max(0, fruitless - 1)
            _log.warning("%s: %s; trying again in %g s", url, error, seconds)
            wait(seconds)


def _attempt(url: str, partial: Path, checksum: Checksum | None, quiet: bool) -> Checksum | None:
    """Ask for what is lacking and write it; the checksum that the server states, if any.

    Raises:
        _Interrupted: not all of it came.
    """
    have, mark = partial.stat().st_size, _mark(partial)
    known = mark.read_text("utf-8") if mark.is_file() else ""
    known_url, _, validator = known.partition("\n")
    # What is here is not built upon unless something says, or will say, that it is of one file.
    if known_url != url or not (validator or checksum):
        have = 0
    asked = {"Range": f"bytes={have}-"} | ({"If-Range": validator} if validator else {})
    with _asked(url, asked if have else {}) as response:
        if response.status == 416:
            # Nothing is after the last byte: all is here already, or the file is another by now.
            if response.headers.get("Content-Range") == f"bytes */{have}":
                return _stated(response.headers)
            mark.unlink()
            raise _Interrupted("the file has changed at its source")
        start, total = _place(response, have)
        mark.write_text(f"{url}\n{_validator(response.headers)}", encoding="utf-8")
        _refuse_full_disk(partial, (total or 0) - start)
        with partial.open("r+b") as file, progress("bytes", total or 0, quiet=quiet) as advance:
            file.truncate(start)
            file.seek(start)
            advance(start)
            for block in _blocks(response):
                file.write(block)
                advance(len(block))
            arrived = file.tell()
            file.flush()
            os.fsync(file.fileno())
    if total is not None and arrived != total:
        raise _Interrupted(f"broke off after {arrived:,} of {total:,} bytes")
    return _stated(response.headers)


@contextmanager
def _asked(url: str, headers: dict[str, str]) -> Iterator[Any]:
    """The response to a request; of refusals only 416 (nothing after what is here) is one."""
    # The bytes as they are stored: a checksum is of these.
    own = {"User-Agent": f"ntvep/{version('ntvep')}", "Accept-Encoding": "identity"}
    try:
        response: Any = urlopen(Request(url, headers=own | headers), timeout=_TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code in _BUSY:
            raise _Interrupted(f"the server says {error.code} {error.reason}") from error
        if error.code != 416 or "Range" not in headers:
            raise ResourceError(
                f"{url}: the server says {error.code} {error.reason}; check the address. Releases "
                "move: look at the source's own page, and give the new one"
            ) from error
        response = error
    except (HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        raise _Interrupted(f"cannot be reached ({reason})") from error
    with response:
        yield response


def _blocks(response: Any) -> Iterator[bytes]:
    try:
        while block := response.read(_BLOCK):
            yield block
    except (HTTPException, OSError) as error:
        raise _Interrupted(f"broke off ({error})") from error


def _place(response: Any, have: int) -> tuple[int, int | None]:
    """Where the bytes of a response begin in the file, and how many the whole file has."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            raise ResourceError(
                f"{response.url}: asked for bytes from {have}, the server sent "
                f"{response.headers.get('Content-Range')}; it cannot be resumed. Remove the hidden "
                ".partial file and type the command again"
            )
        return have, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _validator(headers: Message) -> str:
    """What tells a file from its next release (RFC 9110, 13.1.5: no weak entity tag)."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _stated(headers: Message) -> Checksum | None:
    """The md5 in the headers of Google's storage, or the standard one."""
    hashes = dict(
        part.strip().partition("=")[::2]
        for line in headers.get_all("x-goog-hash", [])
        for part in line.split(",")
    )
    stated = hashes.get("md5") or headers.get("Content-MD5")
    return Checksum("md5", base64.b64decode(stated).hex()) if stated else None


def _mark(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.of")


def _refuse_full_disk(partial: Path, needed: int) -> None:
    if lacking := lacking_room(partial.parent, needed):
        raise OutputError(f"{partial.parent}: {lacking}; free space, or fetch to another folder")
