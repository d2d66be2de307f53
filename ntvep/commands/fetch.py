"""URL -> a verified file: ``ntvep fetch``."""

from pathlib import Path

from ntvep.errors import ConfigError
from ntvep.io import download
from ntvep.io.transfer import Checksum


def fetch(
    url: str,
    output: Path,
    *,
    release: str | None = None,
    md5: str | None = None,
    sha256: str | None = None,
    md5_url: str | None = None,
    unpack: bool = False,
    force: bool = False,
    quiet: bool = False,
) -> str:
    """Fetch a reference, labels or an annotation once; see :func:`ntvep.io.download.fetch`.

    Args:
        url: of the file.
        output: where it goes.
        release: what its source calls it, for the record beside it.
        md5: in hexadecimal digits; of the file as it is sent.
        sha256: likewise.
        md5_url: of a list of md5 sums that the source publishes.
        unpack: a .gz or .tar.
        force: replace what is there.
        quiet: show no progress.

    Returns:
        What was done, to be printed.
    """
    if sum(given is not None for given in (md5, sha256, md5_url)) > 1:
        raise ConfigError("--md5, --sha256, --md5-url: expected only one of them")
    checksum = None
    if md5_url is not None:
        checksum = download.published_md5(md5_url, Path(url).name)
    elif md5 is not None:
        checksum = Checksum("md5", md5.lower())
    elif sha256 is not None:
        checksum = Checksum("sha256", sha256.lower())
    resource = download.Resource(url, checksum, release, unpack)
    is_new = download.fetch(resource, output, force=force, quiet=quiet)
    return f"{output}: {'fetched' if is_new else 'already there'}"
