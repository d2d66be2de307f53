"""One score of real sequence in the formats that a store could have: bytes, and time of a look-up.

    python -m benchmarks.store_formats FOLDER SCAN.parquet...

The scans are ``ntvep scan --scores llr`` tables of neighbouring regions. ntvep does not
need Zarr: ``pip install zarr`` first. Every format holds the same numbers, steps of 0.0018 nats,
three of each base; REF and statuses, which only the store keeps, are left out. Times are medians of
2,000 random places, the file open and in the page cache, one thread.
"""

import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int16

STEP = 0.0018
Steps = Int16[np.ndarray, "base alt"]
Look = Callable[[int], object]
# Bases of a block, a chunk, a row group.
SIZES = (2_048, 4_096, 8_192, 16_384)


def steps_of(tables: list[Path]) -> Steps:
    """What a store keeps of some scans, in order."""
    scans = [pl.read_parquet(path, columns=["pos", "llr"]) for path in tables]
    llr = pl.concat(scans).sort("pos", maintain_order=True)["llr"].fill_null(0).to_numpy()
    return np.rint(llr / STEP).astype(np.int16).reshape(-1, 3)


def arrow(folder: Path, steps: Steps, bases: int, split: bool) -> Look:
    """Arrow IPC, a batch a block; ``split``: low and high bytes are columns of their own."""
    path, codec = folder / "a.arrow", pa.Codec("zstd", compression_level=3)
    options = pa.ipc.IpcWriteOptions(compression=codec)
    parts = {"low": np.uint8, "high": np.int8} if split else {"llr": np.int16}
    kinds = {name: pa.list_(pa.from_numpy_dtype(kind), 3) for name, kind in parts.items()}
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, pa.schema(kinds), options=options) as writer,
    ):
        for begin in range(0, len(steps), bases):
            some = steps[begin : begin + bases]
            planes = [(some & 255).astype(np.uint8), (some >> 8).astype(np.int8)]
            columns = [
                pa.FixedSizeListArray.from_arrays(pa.array(plane.ravel()), 3)
                for plane in (planes if split else [some])
            ]
            writer.write_batch(pa.record_batch(columns, names=list(kinds)))
    file = pa.ipc.open_file(pa.memory_map(str(path)))

    def look(place: int) -> object:
        batch = file.get_batch(place // bases)
        at = place % bases
        values = [column.values.to_numpy().reshape(-1, 3)[at] for column in batch.columns]
        return values[0] + 256.0 * values[-1]

    return look


def blocks(folder: Path, steps: Steps, bases: int) -> Look:
    """A format of our own: zstd of low bytes, then of high ones, a block each; offsets; CRC-32."""
    path, codec = folder / "b.blocks", pa.Codec("zstd", compression_level=3)
    offsets, sums = [0], []
    with path.open("wb") as file:
        for begin in range(0, len(steps), bases):
            some = steps[begin : begin + bases]
            for plane in (some & 255).astype(np.uint8), (some >> 8).astype(np.int8):
                packed = codec.compress(plane.tobytes(), asbytes=True)
                sums.append(zlib.crc32(packed))
                offsets.append(offsets[-1] + len(packed))
                file.write(packed)
    data = np.memmap(path, np.uint8)

    def look(place: int) -> object:
        number, at = place // bases * 2, place % bases
        planes = []
        size = 3 * min(bases, len(steps) - place // bases * bases)
        for part in (number, number + 1):
            packed = data[offsets[part] : offsets[part + 1]].tobytes()
            if zlib.crc32(packed) != sums[part]:
                raise ValueError("a block has changed")
            planes.append(codec.decompress(packed, size, asbytes=True))
        low, high = (np.frombuffer(p, k) for p, k in zip(planes, (np.uint8, np.int8), strict=True))
        return low[3 * at : 3 * at + 3] + 256.0 * high[3 * at : 3 * at + 3]

    return look


def zarr(folder: Path, steps: Steps, bases: int) -> Look:
    """Zarr version 3: shards of a million bases, chunks of a block, Blosc (zstd, shuffled)."""
    import zarr

    array = zarr.create_array(
        folder / "z.zarr",
        shape=steps.shape,
        dtype="int16",
        chunks=(bases, 3),
        shards=(1 << 20, 3),
        compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"),
    )
    array[:] = steps
    opened = zarr.open_array(folder / "z.zarr", mode="r")
    return lambda place: opened[place]


def parquet(folder: Path, steps: Steps, bases: int) -> Look:
    """Parquet: a row group a block, byte streams split, zstd; the page index is written."""
    path = folder / "p.parquet"
    columns = {f"alt{n}": pa.array(steps[:, n].astype(np.int32) + 32768) for n in range(3)}
    encoding = dict.fromkeys(columns, "BYTE_STREAM_SPLIT")
    pq.write_table(
        pa.table(columns),
        path,
        row_group_size=bases,
        compression="zstd",
        use_dictionary=False,
        column_encoding=encoding,
        write_page_index=True,
    )
    file = pq.ParquetFile(path, memory_map=True)

    def look(place: int) -> object:
        group = file.read_row_group(place // bases)
        return [column[place % bases].as_py() for column in group.columns]

    return look


def bigwig(folder: Path, steps: Steps, bases: int) -> Look:
    """BigWig: one file per ALT; runs of one value are one interval."""
    import pybigtools

    files = []
    for alt in range(3):
        path = folder / f"{alt}.bw"
        values = (steps[:, alt] * STEP).tolist()
        intervals: Iterator[tuple[str, int, int, float]] = (
            ("chr22", place, place + 1, value) for place, value in enumerate(values)
        )
        pybigtools.open(str(path), "w").write({"chr22": len(values)}, intervals)
        files.append(pybigtools.open(str(path)))
    return lambda place: [file.values("chr22", place, place + 1)[0] for file in files]


def measure(name: str, make: Callable[..., Look], folder: Path, steps: Steps, *how: object) -> None:
    """A line of the table."""
    folder.mkdir()
    look = make(folder, steps, *how)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    places = np.random.default_rng(1).integers(0, len(steps), 2_000).tolist()
    taken = []
    for place in places:
        began = time.perf_counter()
        look(place)
        taken.append(time.perf_counter() - began)
    median, late = statistics.median(taken) * 1e3, sorted(taken)[int(0.99 * len(taken))] * 1e3
    per_snv = size / steps.size
    print(f"| {name} | {per_snv:.3f} | {per_snv * 8.8:.1f} | {median:.3f} | {late:.3f} |")


def main() -> None:
    folder, *tables = map(Path, sys.argv[1:])
    steps = steps_of(tables)
    _, counts = np.unique(steps, return_counts=True)
    share = counts / counts.sum()
    print(f"{steps.size} SNVs; entropy {-(share * np.log2(share)).sum() / 8:.3f} bytes a SNV\n")
    print(
        "| format | bytes a SNV | GB of a genome | random place, ms | 99 % |\n|---|---|---|---|---|"
    )
    for bases in SIZES:
        measure(f"Arrow, bytes split, {bases}", arrow, folder / f"as{bases}", steps, bases, True)
    for bases in SIZES:
        measure(f"Arrow, 16 bits, {bases}", arrow, folder / f"a{bases}", steps, bases, False)
    for bases in SIZES:
        measure(f"own blocks, {bases}", blocks, folder / f"b{bases}", steps, bases)
    for bases in SIZES:
        measure(f"Zarr, sharded, {bases}", zarr, folder / f"z{bases}", steps, bases)
    for bases in SIZES:
        measure(f"Parquet, {bases}", parquet, folder / f"p{bases}", steps, bases)
    measure("BigWig", bigwig, folder / "w", steps, 0)


if __name__ == "__main__":
    main()
