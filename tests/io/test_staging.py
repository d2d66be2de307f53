"""Nothing half-written is ever seen under an output's name."""

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pysam.utils import SamtoolsError

from ntvep.errors import OutputError
from ntvep.io.staging import refuse_overwriting, staged
from tests.io.files import inspected_text, many, record, sites, write


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_all_outputs_appear_together(tmp_path: Path) -> None:
    first, second = tmp_path / "a.vcf.gz", tmp_path / "b.parquet"
    with staged([first, second]) as staging:
        staging.path(first).write_text("a")
        staging.path(first).with_name("a.vcf.gz.tbi").write_text("index")
        staging.path(second).write_text("b")
        assert staging.path(first).name == first.name
        assert not first.exists()
        assert not second.exists()
        assert all(name.startswith(".") for name in names(tmp_path))
    assert names(tmp_path) == {"a.vcf.gz", "a.vcf.gz.tbi", "b.parquet"}


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    output = tmp_path / "a.vcf"
    before = os.umask(0o027)
    try:
        with staged([output]) as staging:
            staging.path(output).write_text("a")
    finally:
        os.umask(before)
    assert stat.S_IMODE(output.stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_everything_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    old, new = tmp_path / "old.vcf.gz", tmp_path / "new.vcf.gz"
    old.write_text("old")
    index = tmp_path / "old.vcf.gz.tbi"
    index.write_text("old index")

    def fail() -> None:
        with staged([old, new], force=True) as staging:
            staging.path(old).write_text("half")
            staging.path(old).with_name(index.name).write_text("half")
            staging.path(new).write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == {old.name, index.name}
    assert (old.read_text(), index.read_text()) == ("old", "old index")


def begin(output: Path, force: bool = False) -> None:
    with staged([output], force=force):
        raise AssertionError("work began before the output was judged")


def test_outputs_are_judged_before_work_begins(tmp_path: Path) -> None:
    output = tmp_path / "a.vcf"
    output.write_text("mine")
    with pytest.raises(OutputError, match=r"a\.vcf: exists; add --force"):
        begin(output)
    with pytest.raises(OutputError, match=r"type: mkdir -p .*none"):
        begin(tmp_path / "none" / "a.vcf")
    with pytest.raises(OutputError, match="is a folder"):
        begin(tmp_path, force=True)
    assert names(tmp_path) == {"a.vcf"}
    assert output.read_text() == "mine"


def test_a_device_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "a.vcf"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match=r"is a device or pipe.*--output -"):
        begin(pipe, force=True)
    assert pipe.is_fifo()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        begin(tmp_path / "a.vcf")


def test_force_replaces(tmp_path: Path) -> None:
    output = tmp_path / "a.vcf"
    output.write_text("old")
    with staged([output], force=True) as staging:
        staging.path(output).write_text("new")
    assert output.read_text() == "new"


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    source, link = tmp_path / "in.vcf", tmp_path / "link.vcf"
    source.write_text("mine")
    link.symlink_to(source)
    for output in (source, link, tmp_path / "." / "in.vcf"):
        with pytest.raises(OutputError, match="is an input of this run"):
            refuse_overwriting(output, [tmp_path / "none.fa", source])
    refuse_overwriting(tmp_path / "out.vcf", [source])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said(tmp_path: Path, number: int) -> None:
    output = tmp_path / "a.vcf"

    def fail() -> None:
        with staged([output]) as staging:
            staging.path(output).write_text("half")
            raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError, match=r"a\.vcf: the disk is full .* nothing was left there"):
        fail()
    assert names(tmp_path) == set()


@contextmanager
def no_room_beyond(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", [".vcf", ".vcf.gz", ".bcf"])
def test_every_writer_says_that_the_disk_is_full(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    inspection = inspected_text(tmp_path, many(20_000))
    before = names(tmp_path)
    with no_room_beyond(50_000), pytest.raises(OutputError, match="the disk is full"):
        write(inspection, tmp_path / f"out{suffix}")
    assert names(tmp_path) == before
    assert capfd.readouterr() == ("", "")


def test_a_disk_that_is_full_when_bcf_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """htslib does not say why it could not write; an all but full disk is taken for the cause."""

    class Usage:
        free = 100

    def no_view(*arguments: object, **options: object) -> None:
        raise SamtoolsError("cannot write")

    monkeypatch.setattr("pysam.bcftools.view", no_view)
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    with pytest.raises(OutputError, match="the disk is full"):
        write(inspected_text(tmp_path, sites(record())), tmp_path / "out.bcf")
    Usage.free = 1 << 30
    with pytest.raises(OutputError, match=r"htslib cannot write these records as BCF"):
        write(inspected_text(tmp_path, sites(record())), tmp_path / "out.bcf")


def test_nothing_is_said_by_htslib(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = sites(record(0), record(5, chrom="<2>", info='X;"k=1'))
    for suffix in (".vcf", ".vcf.gz"):
        write(inspected_text(tmp_path, text), tmp_path / f"out{suffix}")
    write(inspected_text(tmp_path, text.replace(b'"k', b"k")), tmp_path / "out.bcf")
    assert capfd.readouterr() == ("", "")
