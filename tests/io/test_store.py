"""A store gives back what was put in, to within its error, and says where it is damaged."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from ntvep import dna
from ntvep.errors import InputError
from ntvep.io import store as stores
from ntvep.io.cache import Identity
from ntvep.io.store import ABSENT, BASES, About, Snvs, open_store, store_writer, table_of
from ntvep.schema import Status
from ntvep.windows import Span
from tests.toy import identity, settings

OK, MANY_N = (list(Status).index(status) for status in (Status.OK, Status.TOO_MANY_N))
STEPS = {"llr": 0.0018, "tokens_ref": 0.5}


def about(**which):
    made = {
        "identity": Identity("f" * 16, identity(), settings(["llr"])),
        "reference": "ref.fa",
        "md5": {"chr1": "0" * 32},
        "steps": STEPS,
        "errors": {"llr": 0.001, "tokens_ref": 0.0},
        "statuses": list(Status),
        "version": "0",
    }
    return About(**made | which)


def snvs_of(chrom, first, bases, seed=1):
    """Every SNV of some bases, in the order of a scan, with scores of every size and of none."""
    rng = np.random.default_rng(seed)
    refs = np.repeat(rng.integers(0, 4, bases).astype(np.uint8), 3)
    alts = np.array([a for ref in refs[::3] for a in range(4) if a != ref], np.uint8)
    llr = rng.normal(size=len(refs)) * rng.choice([0.01, 1, 50, 2000], len(refs))
    llr[::7] = np.nan
    statuses = np.full(len(refs), OK, np.uint8)
    statuses[::21] = MANY_N
    tokens = rng.integers(2, 9, len(refs)) / 2
    places = np.repeat(np.arange(first, first + bases), 3)
    return Snvs(chrom, places, refs, alts, statuses, {"llr": llr, "tokens_ref": tokens})


def parts_of(snvs, *borders):
    """The same SNVs in several pieces."""
    for begin, stop in zip((0, *borders), (*borders, len(snvs.places)), strict=True):
        some = slice(begin, stop)
        scores = {name: values[some] for name, values in snvs.scores.items()}
        arrays = (snvs.places, snvs.refs, snvs.alts, snvs.statuses)
        yield Snvs(snvs.chrom, *(array[some] for array in arrays), scores)


FIRST = snvs_of("chr1", BASES - 900, 2 * BASES, seed=1)
SECOND = snvs_of("HLA-A*01:01", 3, 40, seed=2)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "s"
    made.mkdir()
    with store_writer(made, about()) as write:
        # A border inside a base, one inside a block, one at a block's end.
        for part in parts_of(FIRST, 1000, 2700, 2700 + 3 * BASES):
            write(part, "a.parquet")
        write(SECOND, "b.parquet")
    return made


def test_every_score_comes_back_to_within_the_error(folder):
    store = open_store(folder)
    assert [(c.name, c.snvs) for c in store.contigs] == [
        ("chr1", 6 * BASES),
        ("HLA-A*01:01", 120),
    ]
    assert store.about == about()
    for snvs in (FIRST, SECOND):
        found = store.find(snvs.chrom, snvs.places, snvs.refs, snvs.alts)
        assert (found.statuses == snvs.statuses).all()
        llr, wanted = found.scores["llr"], snvs.scores["llr"]
        assert (np.isnan(llr) == np.isnan(wanted)).all()
        assert 0.00085 < np.nanmax(np.abs(llr - wanted)) <= 0.0009 + 1e-9
        assert (found.scores["tokens_ref"] == snvs.scores["tokens_ref"]).all()


def test_files_are_as_they_are_described(folder):
    """Another reader, by the description at the head of ``ntvep/io/store.py`` alone."""
    table = pl.read_ipc(folder / "chr1.arrow")
    low, middle, high = (table[f"llr.{n}"].to_numpy().astype(np.int64) for n in range(3))
    number = low + 256 * middle + 65536 * np.where(high > 127, high - 256, high)
    llr = np.where(number == -(2**23), np.nan, (number - 32768) * 0.0018)
    scored = table["status"].to_numpy() != 255
    assert np.array_equal(scored, np.repeat(table["ref"].to_numpy() != 4, 3).reshape(-1, 3))
    assert np.nanmax(np.abs(llr[scored] - FIRST.scores["llr"])) <= 0.0009 + 1e-9
    first = np.flatnonzero(scored.any(axis=1))[0]
    # Three blocks from place 0 on.
    assert (first, table.height) == (BASES - 900, 3 * BASES)
    content = json.loads((folder / "store.json").read_text())
    assert content["steps"] == STEPS
    assert content["statuses"][table["status"].to_numpy()[scored][1]] == "ok"


def test_what_is_not_there_is_not_found(folder):
    store = open_store(folder)
    begin, end = FIRST.places[0], FIRST.places[-1]
    places = np.array([begin - 1, end + 1, begin, begin, -1, 10**9])
    ref = FIRST.refs[0]
    refs = np.array([0, 0, (ref + 1) % 4, ref, 0, 0], np.uint8)
    alts = np.array([1, 1, (ref + 2) % 4, ref, 1, 1], np.uint8)
    found = store.find("chr1", places, refs, alts)
    assert (found.statuses == ABSENT).all()
    assert np.isnan(found.scores["llr"]).all()
    nowhere = store.find("chr2", places, refs, alts)
    assert (nowhere.statuses == ABSENT).all()
    none = store.find("chr1", places[:0], refs[:0], alts[:0])
    assert len(none.statuses) == 0


def test_unsorted_places_and_aliases(folder):
    store, order = open_store(folder), np.random.default_rng(5).permutation(len(FIRST.places))
    some = FIRST.places[order], FIRST.refs[order], FIRST.alts[order]
    assert (store.find("1", *some).statuses == FIRST.statuses[order]).all()
    assert store.name_of("1") == store.name_of("chr1") == "chr1"
    assert store.name_of("chr3") is None


def test_blocks_of_a_stretch(folder):
    store = open_store(folder)
    assert [block.start for block in store.blocks("chr1")] == [0, BASES, 2 * BASES]
    inside = store.blocks("chr1", Span(BASES, BASES + 1))
    assert [block.start for block in inside] == [BASES]
    rows = pl.concat([table_of(block, store.about) for block in store.blocks("chr1")])
    assert rows["pos"].to_list() == (FIRST.places + 1).tolist()
    assert "".join(rows["ref"]) == dna.decode(FIRST.refs.tobytes())
    assert "".join(rows["alt"]) == dna.decode(FIRST.alts.tobytes())
    statuses = {OK: "ok", MANY_N: "too_many_n"}
    assert rows["status"].to_list() == [statuses[n] for n in FIRST.statuses.tolist()]
    # A null, not NaN, which polars takes for a number.
    assert rows["llr"].null_count() == np.isnan(FIRST.scores["llr"]).sum()
    assert not rows["llr"].is_nan().any()


def changed(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_changed_bit_of_a_block_is_named(folder):
    places = open_store(folder)._index["chr1"]
    for number in range(3):
        for at in (0, 40, int(places.sizes[number]) // 2, int(places.sizes[number]) - 1):
            copy = folder.with_name("copy")
            shutil.copytree(folder, copy)
            changed(copy / "chr1.arrow", int(places.offsets[number]) + at)
            wanted = rf"block {number} \(chr1, 8192 bases from {number * BASES + 1}\) is changed"
            with pytest.raises(InputError, match=wanted):
                list(open_store(copy).blocks("chr1"))
            shutil.rmtree(copy)


def test_every_other_bit_is_proven_too(folder):
    store = open_store(folder)
    changed(folder / "chr1.arrow", -1)
    with pytest.raises(InputError, match=r"chr1\.arrow: its checksum differs"):
        stores.refuse_changed_file(store, store.contigs[0])


@pytest.mark.parametrize("name", ["chr1.arrow", "HLA-A%2A01%3A01.arrow", "index.arrow"])
def test_a_cut_or_missing_file_is_named(folder, name):
    os.truncate(folder / name, 1000)
    with pytest.raises(InputError, match=rf"{name}: .*the store is truncated or changed"):
        open_store(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: No such file"):
        open_store(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("0.0018", "0.018"), "its checksum differs"),
        (lambda text: text.replace("ntvep store 1", "ntvep store 2"), "this ntvep reads"),
        (lambda text: text[: len(text) // 2], "not in the form that ntvep store build writes"),
        (lambda text: "[]", "not in the form that ntvep store build writes"),
    ],
)
def test_a_changed_description_is_refused(folder, change, message):
    path = folder / "store.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message):
        open_store(folder)


def test_no_store(tmp_path):
    with pytest.raises(
        InputError, match=r"not a store .*; make one from scans with: ntvep store build"
    ):
        open_store(tmp_path)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (snvs_of("chr1", BASES - 900, 5), "b: chr1:7293 was already in an earlier scan"),
        (snvs_of("chr1", 5, 5), "b: chr1:6 comes after chr1:8193; give scans in genomic order"),
    ],
)
def test_an_snv_comes_once_and_in_order(tmp_path, second, message):
    first = next(parts_of(FIRST, 2400)) if "earlier" in message else FIRST

    def write_both():
        with store_writer(tmp_path, about()) as write:
            write(first, "a")
            if "after" in message:
                write(snvs_of("chr1", 3 * BASES, 1), "a")
            write(second, "b")

    with pytest.raises(InputError, match=message.replace("8193", r"\d+")):
        write_both()
    assert not (tmp_path / "store.json").exists()


def test_one_place_has_one_ref(tmp_path):
    one = next(parts_of(SECOND, 1, 120))
    other = Snvs(
        one.chrom,
        one.places,
        one.alts,
        one.refs,
        one.statuses,
        one.scores,
    )
    with (
        pytest.raises(InputError, match=r"b: HLA-A\*01:01:4 has another REF"),
        store_writer(tmp_path, about()) as write,
    ):
        write(one, "a")
        write(other, "b")


def test_a_contig_comes_once(tmp_path):
    with (
        pytest.raises(InputError, match="c: returns to chr1"),
        store_writer(tmp_path, about()) as write,
    ):
        write(FIRST, "a")
        write(SECOND, "b")
        write(snvs_of("chr1", 10 * BASES, 1), "c")


def test_a_file_of_another_store_is_no_part_of_this_one(folder, tmp_path):
    """As long, but other bytes: the index of this store has other checksums."""
    other = tmp_path / "other"
    other.mkdir()
    with store_writer(other, about()) as write:
        write(snvs_of("HLA-A*01:01", 3, 40, seed=3), "c")
    name = "HLA-A%2A01%3A01.arrow"
    data = (other / name).read_bytes()
    size = (folder / name).stat().st_size
    (folder / name).write_bytes((data + bytes(size))[:size])
    store = open_store(folder)
    with pytest.raises(InputError, match=r"HLA-A%2A01%3A01\.arrow: block 0"):
        list(store.blocks("HLA-A*01:01"))


def test_a_batch_is_a_block(folder):
    """The index of the Arrow file itself says the same as ours."""
    file = pa.ipc.open_file(folder / "chr1.arrow")
    blocks = list(open_store(folder).blocks("chr1"))
    assert file.num_record_batches == len(blocks) == 3
    for number, block in enumerate(blocks):
        assert (file.get_batch(number).column("ref").to_numpy() == block.ref).all()


@pytest.mark.parametrize("at_once", [1, 2])
def test_many_blocks_are_read_by_threads(folder, monkeypatch, at_once):
    """As SNVs of a whole genome are; in any order, with some that the store does not have."""
    rng = np.random.default_rng(4)
    order = rng.permutation(len(FIRST.places))
    places, refs, alts = (array[order] for array in (FIRST.places, FIRST.refs, FIRST.alts))
    places[::50] += 5 * BASES
    refs[1::50] = (refs[1::50] + 1) % 4
    expected = open_store(folder).find("chr1", places, refs, alts)
    monkeypatch.setattr(stores, "_KEPT", at_once)
    found = open_store(folder).find("chr1", places, refs, alts)
    assert (found.statuses == expected.statuses).all()
    assert (found.statuses[::50] == ABSENT).all()
    known = found.statuses != ABSENT
    assert (found.statuses == FIRST.statuses[order])[known].all()
    assert known.sum() > 0.9 * len(order)
    for name in STEPS:
        np.testing.assert_array_equal(found.scores[name], expected.scores[name])
    path = folder / "chr1.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"chr1\.arrow: block \d \(chr1, "):
        open_store(folder).find("chr1", places, refs, alts)
