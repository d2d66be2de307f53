"""URL -> file: resumed where it was cut, proven whole, seen under its name only then."""

import base64
import gzip
import json
import logging
import os
import re
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ntvep.errors import ConfigError, OutputError, ResourceError
from ntvep.files import digest, lacking_room, locked, place, write_json
from ntvep.io.staging import as_output_error
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

    def of(self, path: Path) -> str:
        """The digest that a file has."""
        return digest(path, self.algorithm)


@dataclass(frozen=True)
class Fetched:
    """What was fetched, as ``NAME.fetched.json`` beside it has it.

    Attributes:
        url, release: where from, and what its source calls it.
        size: bytes that were sent.
        checksum: ``md5:...`` or ``sha256:...`` that was verified; None where there was none.
    """

    url: str
    release: str | None
    size: int
    checksum: str | None


def published_md5(url: str, name: str, *, wait: Callable[[float], None] = time.sleep) -> Checksum:
    """The md5 of a file that a list beside it states (``digest  name``, as md5sum writes).

    Args:
        url: of the list; one that holds nothing but a digest will do.
        name: of the file.
        wait: called with the seconds to wait between attempts.

    Raises:
        ResourceError: the list cannot be had, or does not have the file.
    """

    def attempt() -> bytes:
        with _asked(url, {}) as response:
            return b"".join(_blocks(response))

    text = _persistently(url, attempt, wait).decode("utf-8", "replace")
    lines = [line.split() for line in text.splitlines() if line.strip()]
    stated = [w[0].lower() for w in lines if len(w) > 1 and Path(w[-1].lstrip("*")).name == name]
    stated = stated or ([lines[0][0].lower()] if len(lines) == 1 else [])
    if not stated or not re.fullmatch("[0-9a-f]{32}", stated[0]):
        raise ResourceError(f"{url}: states no md5 of {name}; expected a line 'digest  {name}'")
    return Checksum("md5", stated[0])


def fetch(
    url: str,
    output: Path,
    *,
    checksum: Checksum | None = None,
    release: str | None = None,
    unpack: bool = False,
    force: bool = False,
    wait: Callable[[float], None] = time.sleep,
    quiet: bool = False,
) -> bool:
    """Fetch a file; what an earlier attempt brought is kept and resumed.

    Args:
        url: http or https.
        output: the file; with ``unpack`` of a tar, the folder.
        checksum: what it must have; else what the server's headers state (``x-goog-hash``,
            ``Content-MD5``), if anything.
        release: for the record.
        unpack: a .gz becomes the file in it, a .tar the folder of what is in it.
        force: fetch what is there already again.
        wait: called with the seconds to wait between attempts.
        quiet: show no progress.

    Returns:
        Whether anything was fetched: not if it is there already, from the same place and with the
        same checksum.

    Raises:
        ResourceError: refused, unreachable, or not what the checksum says.
        OutputError: it cannot be written.
    """
    if not re.match("https?://", url):
        raise ConfigError(f"{url}: expected an address that begins with https:// or http://")
    if unpack and not url.endswith((".gz", ".tgz", ".tar")):
        raise ConfigError(f"{url}: --unpack is for .gz and .tar")
    if not output.parent.is_dir():
        raise OutputError(f"{output}: its folder does not exist; type: mkdir -p {output.parent}")
    record = output.with_name(f"{output.name}.fetched.json")
    partial = output.with_name(f".{output.name}.partial")
    if output.exists() and not force:
        _refuse_another(output, record, url, checksum)
        return False
    with as_output_error([output]), _alone(partial):
        stated = _persistently(url, lambda: _attempt(url, partial, checksum, quiet), wait, partial)
        proven = checksum or stated
        if proven is None:
            _log.warning("%s: its source publishes no checksum; only its size was verified", url)
        elif (found := proven.of(partial)) != proven.digest:
            _forget(partial)
            raise ResourceError(
                f"{url}: arrived with {proven.algorithm} {found}, expected {proven.digest}; it was "
                "removed. Type the command again; if that is of no use, the source has another "
                "release by now, or the checksum is that of another file"
            )
        name = f"{proven.algorithm}:{proven.digest}" if proven else None
        fetched = Fetched(url, release, partial.stat().st_size, name)
        if unpack:
            _unpack(partial, output, url)
        else:
            place(partial, output)
        write_json(record, vars(fetched))
        _forget(partial)
    return True


def _refuse_another(output: Path, record: Path, url: str, checksum: Checksum | None) -> None:
    """Raise OutputError if what is there is not what was asked for."""
    known = json.loads(record.read_text("utf-8")) if record.is_file() else {}
    expected = checksum and f"{checksum.algorithm}:{checksum.digest}"
    if known.get("url") == url and expected in (None, known.get("checksum")):
        return
    # Someone may have put it there without us.
    if not known and checksum and output.is_file() and checksum.of(output) == checksum.digest:
        return
    raise OutputError(
        f"{output}: exists, from {known.get('url', 'an unknown place')} "
        f"({known.get('checksum') or 'no checksum'}), and not from {url} "
        f"({expected or 'no checksum'}); add --force to replace it"
    )


# Downloading --------------------------------------------------------------------------------------


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
                    "bytes) is kept: type the command again to go on. On a cluster do it on a "
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
            # Nothing is behind the last byte: all is here already, or the file is another by now.
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
    """The response to a request; of refusals only 416 (nothing behind what is here) is one."""
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


# Files --------------------------------------------------------------------------------------------


@contextmanager
def _alone(partial: Path) -> Iterator[None]:
    """Two fetches of one file would write into each other's."""
    busy = OutputError(f"{partial}: another ntvep fetch is writing it; wait until it has ended")
    with ExitStack() as stack:
        try:
            held = stack.enter_context(locked(partial, busy))
        except FileNotFoundError as error:
            # The other one ended between our opening and our locking.
            raise busy from error
        if not held:
            _log.info("%s: this file system has no locks; run one fetch at a time", partial.parent)
        yield


def _mark(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.of")


def _forget(partial: Path) -> None:
    for path in (partial, _mark(partial)):
        path.unlink(missing_ok=True)


def _refuse_full_disk(partial: Path, needed: int) -> None:
    if lacking := lacking_room(partial.parent, needed):
        raise OutputError(f"{partial.parent}: {lacking}; free space, or fetch to another folder")


def _unpack(packed: Path, output: Path, url: str) -> None:
    """Put what is in a .gz or a .tar in place, whole."""
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".ntvep-") as folder:
        made = Path(folder) / output.name
        try:
            if url.endswith((".tar", ".tar.gz", ".tgz")):
                if not hasattr(tarfile, "data_filter"):
                    raise ResourceError(
                        f"{url}: this Python cannot unpack a tar safely; use 3.11.4 or later, or "
                        f"unpack {packed} yourself"
                    )
                with tarfile.open(packed) as archive:
                    archive.extractall(made, filter="data")
                if output.is_dir():
                    shutil.rmtree(output)
            else:
                with gzip.open(packed) as plain, made.open("wb") as file:
                    shutil.copyfileobj(plain, file, _BLOCK)
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            _forget(packed)
            raise ResourceError(
                f"{url}: what arrived cannot be unpacked ({error}); it was removed. Look at what "
                "is at that address"
            ) from error
        place(made, output)
