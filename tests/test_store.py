"""``ntvep store``: what scans say comes back, and what does not belong together is refused."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from ntvep.commands.options import Options
from ntvep.commands.scan import scan_regions
from ntvep.commands.store import build
from ntvep.errors import OutputError
from ntvep.io.staging import staged_folder
from ntvep.models.loaded import LoadedModel
from tests.io.test_staging import no_room_beyond
from tests.test_cache import CHR1, MODEL, like_nt, run, toy  # noqa: F401 - fixtures

SCAN = ("-r", "ref.fa", "-m", "toy", "--window-tokens", 9, "--scores", "llr")
REGIONS = {"b.parquet": "chr1:301-600", "a.vcf.gz": "chr1:1-300", "c.parquet": "chr2:5-40"}


def load_toy(_, **options):
    return LoadedModel(toy(), like_nt(), MODEL, "none")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with two scans of chr1, one of chr2, and their store."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "ref.fa").write_text(f">chr1\n{CHR1}\n>chr2\n{CHR1[::-1]}\n")
    options = Options(window_tokens=9, scores="llr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ntvep.commands.ready.described", lambda _: (None, like_nt()))
        patch.setattr("ntvep.commands.ready.load_model", load_toy)
        for name, region in REGIONS.items():
            scan_regions(
                [region],
                folder / "ref.fa",
                "toy",
                folder / name,
                deletions=False,
                options=options,
                command="",
                quiet=True,
            )
    build([folder / name for name in REGIONS], folder / "s")
    return folder


@pytest.fixture
def store(made, run, monkeypatch, tmp_path):  # noqa: F811
    """A copy of that folder, and the function that runs a command in it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr("ntvep.commands.verify.load_model", load_toy)
    return run


def rows_of(out):
    lines = [line.split("\t") for line in out.splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def test_what_scans_say_comes_back(store):
    table = pl.concat([pl.read_parquet("b.parquet"), pl.read_parquet("c.parquet")])
    found = rows_of(store("store", "get", "s", "chr1:301-600", "chr2:5-40").out)
    key = ("chrom", "pos", "ref", "alt", "status")
    assert [tuple(row[k] for k in key) for row in found] == [
        tuple(map(str, row)) for row in table.select(key).iter_rows()
    ]
    for row, llr in zip(found, table["llr"], strict=True):
        assert abs(float(row["llr"]) - llr) <= 0.0009 + 1e-9


def test_a_place_and_a_variant(store):
    alt = "A" if CHR1[99] != "A" else "C"
    (row,) = rows_of(store("store", "get", "s", f"1:100:{CHR1[99].lower()}:{alt}").out)
    assert (row["chrom"], row["pos"], row["ref"], row["alt"]) == ("chr1", "100", CHR1[99], alt)
    assert len(rows_of(store("store", "get", "s", "chr1:100").out)) == 3
    for place, status, message in (
        ("chr1:100:NN:A", 1, "has no SNV chr1:100:NN:A"),
        ("chr2:41", 1, "has no SNV chr2:41"),
        ("chr3:41", 1, "has no contig chr3, only chr1, chr2"),
        ("chr1:100:A", 2, "expected CHROM:POS:REF:ALT"),
    ):
        refused = store("store", "get", "s", place)
        assert (refused.status, message in refused.err) == (status, True), refused.err


def test_a_store_says_what_it_is(store):
    told = store("store", "info", "s").out
    assert "llr (steps of 0.0018, error up to 0.001)" in told
    assert f"{3 * 636:,} on 2 contigs: chr1, chr2" in told
    content = json.loads(Path("s/store.json").read_text())
    assert content["identity"]["settings"]["scores"] == ["llr"]


def test_verify_reads_all_and_scores_again(store):
    assert "1908 SNVs in 2 blocks, every checksum is right" in store("store", "verify", "s").out
    again = store("store", "verify", "s", "-r", "ref.fa", "-m", "toy", "--sample", 50)
    assert again.status == 0, again.err
    assert "50 scores of 50 SNVs reproduced" in again.out
    refused = store("store", "verify", "s", "-m", "toy")
    assert refused.status == 2
    assert "needs --reference" in refused.err


def test_verify_accepts_no_more_than_the_stated_error(store, monkeypatch):
    """A store whose scores are 0.0003 further off than it says is found out."""
    from ntvep.io import store as stores

    packed = stores._packed
    with monkeypatch.context() as patch:
        patch.setattr(stores, "_packed", lambda values, step: packed(values + 0.0003, step))
        assert store("store", "build", "b.parquet", "-o", "off").status == 0
    asked = ("-r", "ref.fa", "-m", "toy", "--sample", 200)
    assert store("store", "verify", "s", *asked).status == 0
    refused = store("store", "verify", "off", *asked)
    assert refused.status == 1
    assert "are different" in refused.err
    assert "the error that the store declares" in refused.err


def test_a_changed_reference_is_refused(store):
    text = Path("ref.fa").read_text()
    Path("other.fa").write_text(text[:200] + ("A" if text[200] != "A" else "C") + text[201:])
    refused = store("store", "verify", "s", "-r", "other.fa")
    assert refused.status == 1
    assert "chr1 is another sequence than in other.fa" in refused.err


def test_scans_of_other_settings_are_refused(store):
    for name, more, what in (
        ("views.parquet", ("--views", 1), "fingerprint"),
        ("n.parquet", ("--max-n-fraction", 0.5), "--max-n-fraction 0.5"),
        ("scores.parquet", ("--scores", "llr,entropy"), "scores llr,entropy"),
    ):
        done = store("scan", "--region", "chr2:50-60", *SCAN, *more, "-o", name)
        assert done.status == 0, done.err
        refused = store("store", "build", "b.parquet", name, "-o", "t")
        assert refused.status == 1
        assert f"{name}: {what}" in refused.err
        assert not Path("t").exists()


def test_distances_have_no_place_in_a_store(store):
    asked = ("scan", "--region", "chr2:50-60", *SCAN[:-1])
    assert store(*asked, "l1,llr", "-o", "both.parquet").status == 0
    built = store("store", "build", "both.parquet", "-o", "t")
    assert "l1 cannot be stored" in built.err
    assert "llr (steps" in store("store", "info", "t").out
    assert store(*asked, "l1", "-o", "l1.parquet").status == 0
    refused = store("store", "build", "l1.parquet", "-o", "u")
    assert refused.status == 1
    assert "expected a score in nats. Scan with --scores llr" in refused.err


def test_a_scan_given_twice_is_refused_and_the_store_stays(store):
    before = Path("s/store.json").read_bytes()
    refused = store("store", "build", "b.parquet", "b.parquet", "-o", "s", "--force")
    assert refused.status == 1
    assert "b.parquet: chr1:301 was already in an earlier scan" in refused.err
    assert Path("s/store.json").read_bytes() == before
    assert not list(Path().glob(".ntvep*"))
    again = store("store", "build", "b.parquet", "-o", "s")
    assert "s: exists; add --force to replace it" in again.err


def test_two_builds_of_one_store(store):
    with staged_folder(Path("new"), "store.json", what="store") as folder:
        (folder / "store.json").write_text("{}")
        refused = store("store", "build", "b.parquet", "-o", "new")
        assert refused.status == 1
        assert "another run of ntvep is writing it" in refused.err
    assert Path("new/store.json").read_text() == "{}"


def test_a_folder_of_others_is_not_replaced(store):
    Path("mine").mkdir()
    Path("mine/data").write_text("mine")
    refused = store("store", "build", "b.parquet", "-o", "mine", "--force")
    assert "mine: exists and is not a store" in refused.err
    with (
        pytest.raises(OutputError, match="is not a store"),
        staged_folder(Path("mine"), "store.json", what="store", force=True),
    ):
        pass


def test_deletions_are_left_out(store):
    done = store("scan", "--region", "chr2:50-60", "--deletions", *SCAN, "-o", "d.parquet")
    assert done.status == 0
    built = store("store", "build", "d.parquet", "-o", "t")
    assert "t: 11 alleles that are not scored SNVs were left out" in built.err
    shutil.rmtree("t")


@pytest.mark.parametrize("size", [100, 2_000])
def test_a_full_disk_leaves_the_store_as_it_was(store, made, size):
    before = {path.name: path.read_bytes() for path in Path("s").iterdir()}
    with no_room_beyond(size), pytest.raises(OutputError, match="s: the disk is full"):
        build([made / "b.parquet"], Path("s"), force=True)
    assert {path.name: path.read_bytes() for path in Path("s").iterdir()} == before
    assert not list(Path().glob(".ntvep*"))
    with no_room_beyond(size), pytest.raises(OutputError, match="new: the disk is full"):
        build([made / "b.parquet"], Path("new"))
    assert not Path("new").exists()
