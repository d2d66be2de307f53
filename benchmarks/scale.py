"""How time, memory and files grow with the number of records; and how long GPUs take for a genome.

    python -m benchmarks.scale --records 1000000 2000000 5000000
    python -m benchmarks.scale --passes-per-second 100

The first runs split, score and gather on synthetic SNVs, one in a hundred bases, with a model that
answers every question with zeros: everything of a run but its forward passes. Needs 150 bytes of
disk a record for the input, and twice that for the outputs. The second computes, and measures
nothing: passes per second are its input. Take yours from an ``OUT.summary.json``: passes / seconds.
"""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.null import run

BASES_PER_RECORD = 100
RECORDS_PER_CONTIG = 1_000_000
RECORDS_PER_CHUNK = 50_000

# Records of a list, and passes that one allele takes on average (benchmarks/README.md): sparse
# lists share nothing, ClinVar's neighbours share a little.
LISTS = {
    "a genome": (5_000_000, {"llr, 1 view": 1.0, "all scores, 2 views": 6.0}),
    "an exome": (50_000, {"llr, 1 view": 1.0, "all scores, 2 views": 6.0}),
    "all of ClinVar": (4_000_000, {"llr, 1 view": 1.18, "all scores, 2 views": 6.07}),
}
GPUS = (1, 8, 64)
CHUNK_SECONDS = 900.0
START_SECONDS = 10.0


def write_inputs(folder: Path, records: int) -> None:
    """Random contigs of a hundred bases a record, and an SNV in the middle of each hundred.

    As in a genome, contigs become more, and not longer.
    """
    rng = np.random.default_rng(1)
    starts = range(0, records, RECORDS_PER_CONTIG)
    sizes = {f"chr{n}": min(RECORDS_PER_CONTIG, records - s) for n, s in enumerate(starts, start=1)}
    with (folder / "ref.fa").open("wb") as fasta, (folder / "in.vcf").open("w") as vcf:
        vcf.write("##fileformat=VCFv4.2\n")
        for name, size in sizes.items():
            vcf.write(f"##contig=<ID={name},length={size * BASES_PER_RECORD}>\n")
        vcf.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for name, size in sizes.items():
            codes = rng.integers(0, 4, (size, BASES_PER_RECORD), np.uint8)
            bases = np.full((size, BASES_PER_RECORD + 1), ord("\n"), np.uint8)
            bases[:, :-1] = np.frombuffer(b"ACGT", np.uint8)[codes]
            fasta.write(f">{name}\n".encode() + bases.tobytes())
            middle = BASES_PER_RECORD // 2
            for number, code in enumerate(codes[:, middle].tolist()):
                place = number * BASES_PER_RECORD + middle
                vcf.write(f"{name}\t{place + 1}\t.\t{'ACGT'[code]}\t{'CGTA'[code]}\t.\t.\t.\n")


def split(folder: Path, chunks: int) -> None:
    """``ntvep split``."""
    run(
        "split", str(folder / "in.vcf"), "--chunks", str(chunks), "--output", str(folder / "chunks")
    )


def score(folder: Path, number: int) -> None:
    """``ntvep score`` of one chunk, its model replaced."""
    chunk = folder / "chunks" / f"{number:05d}.vcf.gz"
    run(
        *("score", str(chunk), "--reference", str(folder / "ref.fa"), "--model", "null"),
        *("--output", str(chunk.with_name(f"{number:05d}.parquet")), "--quiet"),
    )


def gather(folder: Path) -> None:
    """``ntvep gather``."""
    run(
        *("gather", str(folder / "in.vcf")),
        *map(str, sorted((folder / "chunks").glob("*.parquet"))),
        *("--output", str(folder / "out.vcf.gz"), "--table", str(folder / "out.parquet")),
    )


def measured(step: Callable[..., None], *arguments: object) -> tuple[float, float]:
    """Processor seconds and peak memory, in MB, of a step in a process of its own.

    The clock on the wall would measure the neighbours too.
    """
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        step(*arguments)
        os._exit(0)
    _, status, used = os.wait4(process, 0)
    assert status == 0, f"{step.__name__} failed"
    # Kilobytes, but bytes on macOS.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return used.ru_utime + used.ru_stime, used.ru_maxrss / unit


def growth(counts: list[int]) -> None:
    """Print what runs of so many records took.

    They go side by side, a chunk of one after a chunk of another: a slow moment meets all of them.
    """
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in counts]
        chunks = [math.ceil(records / RECORDS_PER_CHUNK) for records in counts]
        for folder, records in zip(folders, counts, strict=True):
            write_inputs(folder, records)
        inputs = [set(folder.iterdir()) for folder in folders]
        splits = [measured(split, *asked) for asked in zip(folders, chunks, strict=True)]
        scored: list[list[tuple[float, float]]] = [[] for _ in counts]
        turns = [(n / many, of, n) for of, many in enumerate(chunks) for n in range(many)]
        for _, of, number in sorted(turns):
            scored[of].append(measured(score, folders[of], number))
        gathers = [measured(gather, folder) for folder in folders]
        heads = ("records", "chunks", "split", "score", "gather", "processor microseconds a record",
                 "peak memory of split, score, gather", "files", "bytes a record")  # fmt: skip
        print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
        first = 0.0
        for of, records in enumerate(counts):
            made = {path for path in folders[of].rglob("*") if path.is_file()} - inputs[of]
            size = sum(path.stat().st_size for path in made) / records
            seconds = [splits[of][0], sum(s for s, _ in scored[of]), gathers[of][0]]
            memory = [splits[of][1], max(mb for _, mb in scored[of]), gathers[of][1]]
            each = sum(seconds) / records
            first = first or each
            print(
                f"| {records:,} | {chunks[of]} | "
                + " | ".join(f"{s:.0f} s" for s in seconds)
                + f" | {each * 1e6:.0f} ({each / first - 1:+.0%}) | "
                + ", ".join(f"{mb:.0f} MB" for mb in memory)
                + f" | {len(made)} | {size:.0f} |"
            )


def wall_hours(alleles: int, passes_per_allele: float, rate: float, gpus: int) -> float:
    """Hours from the first job to the last, each job with its start-up.

    Chunks take a quarter of an hour, or less where GPUs would stand idle, but a minute at least.
    """
    work = alleles * passes_per_allele / rate
    chunks = max(1, math.ceil(work / CHUNK_SECONDS), min(gpus, int(work / 60)))
    return math.ceil(chunks / gpus) * (work / chunks + START_SECONDS) / 3600


def forecast(rate: float) -> None:
    """Print how long lists take at a rate that the caller measured."""
    print(
        f"At {rate:g} forward passes per second and GPU (an input of this sum, not measured here):"
    )
    print()
    names = [f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS]
    print(f"| list | scores | passes | {' | '.join(names)} |")
    print("|---|---|---|" + "---|" * len(GPUS))
    for name, (alleles, scores) in LISTS.items():
        for label, passes in scores.items():
            hours = [wall_hours(alleles, passes, rate, gpus) for gpus in GPUS]
            cells = " | ".join(f"{h:,.1f} h" if h >= 1 else f"{h * 60:.0f} min" for h in hours)
            print(f"| {name}, {alleles:,} alleles | {label} | {alleles * passes:,.0f} | {cells} |")


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--records", type=int, nargs="+")
    asked.add_argument("--passes-per-second", type=float)
    options = parser.parse_args()
    if options.records:
        growth(options.records)
    else:
        forecast(options.passes_per_second)


if __name__ == "__main__":
    main()
