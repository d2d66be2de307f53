"""Files are fetched whole or not at all, from a server that breaks off, lies, and changes."""

import base64
import errno
import fcntl
import gzip
import hashlib
import io
import json
import os
import socket
import tarfile
from pathlib import Path

import numpy as np
import pytest

from ntvep.commands import fetch as fetch_command
from ntvep.errors import ConfigError, OutputError, ResourceError
from ntvep.io import download
from ntvep.io.download import Resource
from ntvep.io.transfer import Checksum
from tests.evaluate.file_server import Site, serving

CONTENT = np.random.default_rng(0).bytes(5_000_000)
MD5 = Checksum("md5", hashlib.md5(CONTENT).hexdigest())
SHA256 = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def site():
    with serving(Site({"big.bin": CONTENT}, {"big.bin": '"1"'})) as running:
        yield running


@pytest.fixture
def waits(monkeypatch):
    """How long would have been waited; nothing is."""
    seconds = []
    monkeypatch.setattr(download.time, "sleep", seconds.append)
    return seconds


def fetch(site, output, checksum=None, release=None, **options):
    resource = Resource(site.url("big.bin"), checksum, release)
    return download.fetch(resource, output, wait=download.time.sleep, **options)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("checksum", [None, MD5, SHA256], ids=["none", "md5", "sha256"])
def test_fetch(site, tmp_path, checksum, caplog):
    assert fetch(site, tmp_path / "out", checksum=checksum, release="7")
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert left_in(tmp_path) == ["out", "out.fetched.json"]
    assert json.loads((tmp_path / "out.fetched.json").read_text()) == {
        "url": site.url("big.bin"),
        "release": "7",
        "size": len(CONTENT),
        "checksum": checksum and f"{checksum.algorithm}:{checksum.digest}",
    }
    assert ("publishes no checksum" in caplog.text) == (checksum is None)
    # What is there is not fetched again.
    assert not fetch(site, tmp_path / "out", checksum=checksum)
    assert len(site.requests) == 1


@pytest.mark.parametrize("checksum", [None, MD5], ids=["none", "md5"])
def test_what_was_cut_is_resumed(site, tmp_path, waits, checksum):
    site.cuts = [2_000_000, 1_000_000]
    assert fetch(site, tmp_path / "out", checksum=checksum)
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=2000000-", "bytes=3000000-"]
    assert site.sent == len(CONTENT)
    # Each attempt brought something, so that none waits longer.
    assert waits == [2.0, 2.0]


def test_a_later_command_goes_on_where_an_earlier_one_ended(site, tmp_path, waits):
    site.cuts = [1_000_000, 0, 0, 0, 0, 0, 0]
    with pytest.raises(ResourceError, match=r"5 times in a row\. What has arrived \(1,000,000 b"):
        fetch(site, tmp_path / "out")
    assert waits == [2.0, 2.0, 4.0, 8.0, 16.0]
    assert not (tmp_path / "out").exists()
    site.cuts = []
    assert fetch(site, tmp_path / "out")
    assert site.requests[-1] == ("big.bin", "bytes=1000000-", '"1"')
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert site.sent == len(CONTENT)


def test_a_server_that_cannot_resume_sends_all_again(site, tmp_path, waits):
    site.cuts, site.knows_ranges = [2_000_000], False
    assert fetch(site, tmp_path / "out", checksum=MD5)
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert site.sent == len(CONTENT) + 2_000_000


def test_without_validator_or_checksum_nothing_is_built_upon(site, tmp_path, waits):
    site.cuts, site.etags = [2_000_000], {}
    assert fetch(site, tmp_path / "out")
    assert site.ranges == [None, None]
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_a_release_that_changes_meanwhile_is_not_mixed(site, tmp_path, waits):
    other = CONTENT[::-1]
    site.cuts = [2_000_000, 0, 0, 0, 0, 0]
    with pytest.raises(ResourceError):
        fetch(site, tmp_path / "out")
    site.files["big.bin"], site.etags["big.bin"], site.cuts = other, '"2"', []
    assert fetch(site, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == other


def test_the_bytes_of_another_address_are_not_mixed(site, tmp_path, waits):
    site.files["other.bin"] = CONTENT[::-1]
    site.cuts = [2_000_000, 0, 0, 0, 0, 0]
    with pytest.raises(ResourceError):
        fetch(site, tmp_path / "out")
    site.cuts = []
    assert download.fetch(Resource(site.url("other.bin")), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT[::-1]


def test_all_bytes_are_here_but_the_command_was_stopped(site, tmp_path):
    """Killed between the last byte and the last rename: the server has no more to send."""
    (tmp_path / ".out.partial").write_bytes(CONTENT)
    (tmp_path / ".out.partial.of").write_text(f'{site.url("big.bin")}\n"1"')
    assert fetch(site, tmp_path / "out", checksum=MD5)
    assert site.sent == 0
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_more_than_all_bytes_are_here(site, tmp_path, waits):
    (tmp_path / ".out.partial").write_bytes(CONTENT + b"more")
    (tmp_path / ".out.partial.of").write_text(f'{site.url("big.bin")}\n"1"')
    assert fetch(site, tmp_path / "out", checksum=MD5)
    assert (tmp_path / "out").read_bytes() == CONTENT


def test_a_length_that_is_not_stated(site, tmp_path):
    site.states_length = False
    assert fetch(site, tmp_path / "out", checksum=MD5)
    assert (tmp_path / "out").read_bytes() == CONTENT


@pytest.mark.parametrize("checksum", [Checksum("md5", "0" * 32), Checksum("sha256", "0" * 64)])
def test_a_wrong_checksum_leaves_nothing(site, tmp_path, checksum):
    with pytest.raises(ResourceError, match=f"arrived with {checksum.algorithm} .*, expected 0000"):
        fetch(site, tmp_path / "out", checksum=checksum)
    assert left_in(tmp_path) == []


def test_the_checksum_that_the_server_states(site, tmp_path):
    site.headers["x-goog-hash"] = (
        f"crc32c=AAAAAA==,md5={base64.b64encode(bytes.fromhex(MD5.digest)).decode()}"
    )
    fetch(site, tmp_path / "out")
    record = json.loads((tmp_path / "out.fetched.json").read_text())
    assert record["checksum"] == f"md5:{MD5.digest}"
    site.headers = {"Content-MD5": base64.b64encode(bytes(16)).decode()}
    with pytest.raises(ResourceError, match=f"arrived with md5 {MD5.digest}, expected 0000"):
        fetch(site, tmp_path / "other")


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        (f"{MD5.digest}  big.bin\n", True),
        (f"{MD5.digest}\n", True),
        (f"{'0' * 32}  ./other.bin\n{MD5.digest.upper()} *./sub/big.bin\n", True),
        (f"{'0' * 32}  other.bin\n{'1' * 32}  third.bin\n", False),
        ("<html>not found</html>", False),
    ],
    ids=["md5sum", "bare", "list", "lacking", "html"],
)
def test_a_published_list_of_md5_sums(site, tmp_path, text, stated):
    site.files["big.bin.md5"] = text.encode()
    options = {"md5_url": site.url("big.bin.md5"), "quiet": True}
    if stated:
        said = fetch_command.fetch(site.url("big.bin"), tmp_path / "out", **options)
        assert said.endswith("out: fetched")
        assert fetch_command.fetch(site.url("big.bin"), tmp_path / "out", **options).endswith(
            "already there"
        )
    else:
        with pytest.raises(ResourceError, match=r"states no md5 of big\.bin"):
            fetch_command.fetch(site.url("big.bin"), tmp_path / "out", **options)
        assert left_in(tmp_path) == []


def test_a_busy_server_is_asked_again(site, tmp_path, waits):
    site.statuses = [503, 429, 500]
    assert fetch(site, tmp_path / "out", checksum=MD5)
    assert waits == [2.0, 4.0, 8.0]


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_refusal_is_final(site, tmp_path, waits, status):
    site.statuses = [status]
    with pytest.raises(ResourceError, match=f"the server says {status} .*; check the address"):
        fetch(site, tmp_path / "out")
    assert (waits, len(site.requests)) == ([], 1)
    assert not (tmp_path / "out").exists()


def test_a_server_that_is_not_there(tmp_path, waits):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/x"
    with pytest.raises(ResourceError, match=r"cannot be reached .*refused.*5 times in a row"):
        download.fetch(Resource(address), tmp_path / "out", wait=download.time.sleep)
    assert waits == [2.0, 4.0, 8.0, 16.0]


def test_unpacking(site, tmp_path):
    text = b"ACGT" * 100_000
    site.files["g.fa.gz"] = gzip.compress(text)
    packed = Checksum("md5", hashlib.md5(site.files["g.fa.gz"]).hexdigest())
    url = site.url("g.fa.gz")
    assert download.fetch(Resource(url, packed, unpack=True), tmp_path / "g.fa")
    assert (tmp_path / "g.fa").read_bytes() == text
    assert not download.fetch(Resource(url, packed, unpack=True), tmp_path / "g.fa")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("folder/a.txt", "folder/b.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))
    site.files["t.tar"] = stream.getvalue()
    for force in (False, True):
        download.fetch(Resource(site.url("t.tar"), unpack=True), tmp_path / "t", force=force)
        assert (tmp_path / "t" / "folder" / "b.txt").read_text() == "folder/b.txt"
    assert left_in(tmp_path) == ["g.fa", "g.fa.fetched.json", "t", "t.fetched.json"]
    site.files["g.fa.gz"] = gzip.compress(text)[:-100]
    with pytest.raises(ResourceError, match="cannot be unpacked"):
        download.fetch(Resource(url, unpack=True), tmp_path / "g.fa", force=True)
    assert (tmp_path / "g.fa").read_bytes() == text


def test_a_tar_that_leads_out_of_its_folder_is_refused(site, tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    site.files["t.tar"] = stream.getvalue()
    with pytest.raises(ResourceError, match="cannot be unpacked"):
        download.fetch(Resource(site.url("t.tar"), unpack=True), tmp_path / "t")
    assert left_in(tmp_path) == []


def test_a_python_that_cannot_unpack_safely(site, tmp_path, monkeypatch):
    """As 3.11.2 of Debian 12."""
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    site.files["t.tar"] = b""
    with pytest.raises(ResourceError, match=r"use 3\.11\.4 or later, or unpack .*partial"):
        download.fetch(Resource(site.url("t.tar"), unpack=True), tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_what_is_there_already(site, tmp_path):
    """A file that someone else put there is taken if its checksum is right, and never replaced."""
    (tmp_path / "out").write_bytes(CONTENT)
    assert not fetch(site, tmp_path / "out", checksum=MD5)
    with pytest.raises(OutputError, match=r"exists, from an unknown place .* add --force"):
        fetch(site, tmp_path / "out")
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(OutputError, match="add --force"):
        fetch(site, tmp_path / "out", checksum=MD5)
    assert (tmp_path / "out").read_bytes() == b"mine"
    assert fetch(site, tmp_path / "out", checksum=MD5, force=True)
    # A new release under the same address.
    with pytest.raises(OutputError, match=f"md5:{MD5.digest}"):
        fetch(site, tmp_path / "out", checksum=Checksum("md5", "0" * 32))


def test_two_at_once(site, tmp_path):
    with (
        download._alone(tmp_path / ".out.partial"),
        pytest.raises(OutputError, match="another ntvep fetch"),
    ):
        fetch(site, tmp_path / "out")


def test_another_fetch_that_ends_before_we_lock(site, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda handle, _: Path(handle.name).unlink())
    with pytest.raises(OutputError, match="another ntvep fetch"):
        fetch(site, tmp_path / "out")


def test_a_file_system_without_locks(site, tmp_path, monkeypatch):
    def flock(handle, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert fetch(site, tmp_path / "out", checksum=MD5)
    assert (tmp_path / "out").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("file:///etc/passwd", {}, "begins with https:// or http://"),
        ("ftp://host/x", {}, "begins with https:// or http://"),
        ("http://127.0.0.1:1/x", {"md5": "12"}, "expected 32 digits"),
        ("http://127.0.0.1:1/x", {"sha256": "g" * 64}, "expected 64 digits"),
        (
            "http://127.0.0.1:1/x",
            {"md5": "0" * 32, "sha256": "0" * 64},
            "expected only one of them",
        ),
        ("http://127.0.0.1:1/x.zip", {"unpack": True}, r"--unpack is for .gz and .tar"),
    ],
)
def test_bad_options(tmp_path, url, options, message):
    with pytest.raises(ConfigError, match=message):
        fetch_command.fetch(url, tmp_path / "out", **options)
    assert left_in(tmp_path) == []


def test_a_folder_that_is_not_there(site, tmp_path):
    with pytest.raises(OutputError, match="mkdir -p"):
        fetch(site, tmp_path / "no" / "out")
