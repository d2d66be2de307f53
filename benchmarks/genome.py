"""A stretch of a genome through scan, store, look-ups and export, with a model that costs nothing.

    python -m benchmarks.genome GENOME.fa chr22:20000001-21000000 FOLDER

Each command is a process of its own; processor time, because other work changes it least, wall
time, peak memory, and what it leaves on the disk. SNVs of the look-up are drawn at random from the
stretch. The scan has 20 shards.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).parents[1]
# SNVs that are looked up.
LOOKED_UP = 500_000


def measured(name: str, megabases: float, left: Path, *words: str) -> None:
    """Run ``ntvep`` with the null model, and print a line of the table."""
    program = (
        f"from benchmarks import null; from benchmarks.genome import *; "
        f"null.run(*{[*map(str, words)]!r})"
    )
    began = time.monotonic()
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", program], os.environ)
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{name}: exit status {status}")
    wall, busy = time.monotonic() - began, used.ru_utime + used.ru_stime
    files = [left] if left.is_file() else [p for p in left.rglob("*") if p.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(
        f"| {name} | {wall / megabases:.1f} | {busy / megabases:.1f} | {used.ru_maxrss / 1024:.0f} "
        f"| {size / 1e6 / megabases:.2f} |",
        flush=True,
    )


def sites(folder: Path, region: str) -> Path:
    """SNVs of the stretch, drawn at random, in order."""
    shards = sorted((folder / "shards").glob("*.parquet"))
    key = ["chrom", "pos", "ref", "alt"]
    table = pl.concat([pl.read_parquet(path, columns=key) for path in shards])
    rng = np.random.default_rng(1)
    some = np.sort(rng.choice(table.height, min(LOOKED_UP, table.height), replace=False))
    path = folder / "sites.vcf"
    with path.open("w") as file:
        file.write("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for chrom, pos, ref, alt in table[some].iter_rows():
            file.write(f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\tPASS\tAC=1\n")
    return path


def main() -> None:
    genome, region, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    folder.mkdir()
    first, last = (int(word) for word in region.split(":")[1].split("-"))
    mb = (last - first + 1) / 1e6
    print("| | wall s a Mb | processor s a Mb | peak MB | MB left a Mb |\n|---|---|---|---|---|")
    shards, store = folder / "shards", folder / "store"
    asked = ("-r", genome, "-m", "null", "--scores", "llr", "--views", "1", "-q")
    scan = ("scan", "--region", region, *asked, "--shards", "20", "-o", str(shards))
    measured("scan, 20 shards, Parquet", mb, shards, *scan)
    measured("the same again: all are whole", mb, shards, *scan)
    measured("store build", mb, store, "store", "build", str(shards), "-o", str(store))
    measured("store verify", mb, store, "store", "verify", str(store), "-r", genome)
    source, output = sites(folder, region), folder / "scored.vcf.gz"
    known = ("score", str(source), "-r", genome, "-m", "none", "--known", str(store), "-q")
    measured(f"score --known, {LOOKED_UP} SNVs", 1, output, *known, "-o", str(output))
    for format in ("tsv", "parquet", "bigwig"):
        out = folder / format
        words = ("export", str(store), "-r", genome, "--format", format, "-o", str(out))
        measured(f"export, {format}", mb, out, *words)


if __name__ == "__main__":
    main()
