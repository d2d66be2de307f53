"""URL -> file: resumed where it was cut, proven whole, seen under its name only then."""

import gzip
import json
import logging
import re
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ntvep.errors import ConfigError, OutputError, ResourceError
from ntvep.files import locked, place, write_json
from ntvep.io.staging import as_output_error
from ntvep.io.transfer import Checksum, download, forget, read_all

_log = logging.getLogger("ntvep")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Resource:
    """A file to fetch.

    Attributes:
        url: http or https.
        checksum: what it must have; else what the server's headers state (``x-goog-hash``,
            ``Content-MD5``), if anything.
        release: what its source calls it, for the record.
        unpack: a .gz becomes the file in it, a .tar the folder of what is in it.
    """

    url: str
    checksum: Checksum | None = None
    release: str | None = None
    unpack: bool = False

    def __post_init__(self) -> None:
        if not re.match("https?://", self.url):
            raise ConfigError(
                f"{self.url}: expected an address that begins with https:// or http://"
            )
        if self.unpack and not self.url.endswith((".gz", ".tgz", ".tar")):
            raise ConfigError(f"{self.url}: --unpack is for .gz and .tar")


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
    text = read_all(url, wait).decode("utf-8", "replace")
    lines = [line.split() for line in text.splitlines() if line.strip()]
    stated = [w[0].lower() for w in lines if len(w) > 1 and Path(w[-1].lstrip("*")).name == name]
    stated = stated or ([lines[0][0].lower()] if len(lines) == 1 else [])
    if not stated or not re.fullmatch("[0-9a-f]{32}", stated[0]):
        raise ResourceError(f"{url}: states no md5 of {name}; expected a line 'digest  {name}'")
    return Checksum("md5", stated[0])


def fetch(
    resource: Resource,
    output: Path,
    *,
    force: bool = False,
    wait: Callable[[float], None] = time.sleep,
    quiet: bool = False,
) -> bool:
    """Fetch a file; what an earlier attempt brought is kept and resumed.

    Args:
        resource: what to fetch.
        output: the file; with ``unpack`` of a tar, the folder.
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
    if not output.parent.is_dir():
        raise OutputError(f"{output}: its folder does not exist; type: mkdir -p {output.parent}")
    url, record = resource.url, output.with_name(f"{output.name}.fetched.json")
    partial = output.with_name(f".{output.name}.partial")
    if output.exists() and not force:
        _refuse_another(output, record, resource)
        return False
    with as_output_error([output]), _alone(partial):
        stated = download(url, partial, resource.checksum, wait=wait, quiet=quiet)
        proven = resource.checksum or stated
        if proven is None:
            _log.warning("%s: its source publishes no checksum; only its size was verified", url)
        elif (found := proven.of(partial)) != proven.digest:
            forget(partial)
            raise ResourceError(
                f"{url}: arrived with {proven.algorithm} {found}, expected {proven.digest}; it "
                "was removed. Type the command again; if that does not help, the source may have "
                "a newer release, or the checksum belongs to another file"
            )
        size = partial.stat().st_size
        if resource.unpack:
            _unpack(partial, output, url)
        else:
            place(partial, output)
        write_json(
            record, vars(Fetched(url, resource.release, size, str(proven) if proven else None))
        )
        forget(partial)
    return True


def _refuse_another(output: Path, record: Path, resource: Resource) -> None:
    """Raise OutputError if what is there is not what was asked for."""
    url, checksum = resource.url, resource.checksum
    known = json.loads(record.read_text("utf-8")) if record.is_file() else {}
    expected = str(checksum) if checksum else None
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
            forget(packed)
            raise ResourceError(
                f"{url}: what was downloaded cannot be unpacked ({error}); it was removed. Check "
                "what that address serves"
            ) from error
        place(made, output)
