"""Seconds of CPU time, memory and bytes of ``ntvep export`` for each megabase of SNVs.

    python -m benchmarks.exports --megabases 1 2

The scores are random numbers, which pack no better than a model's: what is measured is all but the
model. Each format is written by a process of its own; memory that does not grow from one number of
megabases to the next is that of a genome.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.null import null_model
from ntvep.commands.background import draw_background
from ntvep.commands.options import Options
from ntvep.commands.ready import ready_with
from ntvep.io.fasta import open_reference
from ntvep.io.tables import table_writer

_AT_ONCE = 100_000
_COMMAND = "import sys; from ntvep.cli import main; main()"


def scan_of(reference: Path, bases: str, output: Path) -> None:
    """SCORES of every SNV, as ``ntvep scan`` writes them, with random numbers."""
    genome = open_reference(reference)
    made = ready_with(null_model(), genome, Options(scores="llr,entropy"))
    provenance = made.provenance("benchmarks.exports", ["chr1"])
    rng = np.random.default_rng(0)
    with table_writer(output, made.columns, provenance.to_json(), lambda: "{}") as write:
        for rows in _snvs(bases):
            numbers = {
                column.name: (
                    rng.normal(-2, 3, rows.height)
                    if column.dtype == pl.Float64
                    else np.zeros(rows.height)
                )
                for column in made.columns
                if column.name not in rows.columns
            }
            made_of = rows.with_columns(**{n: pl.Series(v) for n, v in numbers.items()})
            write(made_of.select(pl.col(c.name).cast(c.dtype) for c in made.columns))


def _snvs(bases: str) -> Iterator[pl.DataFrame]:
    for begin in range(0, len(bases), _AT_ONCE):
        rows = [
            (begin + at, allele, "chr1", begin + at + 1, ref, alt, "ok")
            for at, ref in enumerate(bases[begin : begin + _AT_ONCE])
            for allele, alt in enumerate("ACGT".replace(ref, ""), start=1)
        ]
        yield pl.DataFrame(
            rows, ["record", "allele", "chrom", "pos", "ref", "alt", "status"], orient="row"
        )


def measured(words: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of CPU time and largest resident MB of a command in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, *words], cwd=folder, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{words} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabases", type=float, nargs="+", default=[1.0])
    asked = parser.parse_args()
    print("| Mb | what | CPU seconds | MB of memory | bytes per SNV |\n|---|---|---|---|---|")
    for megabases in asked.megabases:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rng = np.random.default_rng(1)
            bases = "".join(rng.choice(list("ACGT"), int(megabases * 1e6)))
            (folder / "ref.fa").write_text(f">chr1\n{bases}\n")
            scan_of(folder / "ref.fa", bases, folder / "scan.parquet")
            _compare(folder)
            for what, words in {
                "parquet": ["--format", "parquet"],
                "parquet, with --background": [
                    "--format", "parquet", "--background", "background.parquet",
                ],
                "tsv": ["--format", "tsv"],
                "bigwig": ["--format", "bigwig"],
            }.items():  # fmt: skip
                export = ["export", "scan.parquet", "-r", "ref.fa", "-o", "out", "-q", "--force"]
                seconds, memory = measured([*export, *words], folder)
                size = sum(
                    path.stat().st_size
                    for path in (folder / "out").rglob("*")
                    if path.is_file() and path.name not in ("README.md", "SHA256SUMS")
                )
                print(
                    f"| {megabases:g} | {what} | {seconds:.1f} | "
                    f"{memory:.0f} | {size / (3 * len(bases)):.2f} |",
                    flush=True,
                )


def _compare(folder: Path) -> None:
    """A background of the scan's fingerprint."""
    from ntvep.commands import ready

    ready.described = lambda _: (None, null_model().description)  # type: ignore[attr-defined]
    ready.load_model = lambda *_, **__: null_model()  # type: ignore[attr-defined]
    draw_background(
        folder / "ref.fa", "null", folder / "background.parquet",
        regions=["chr1:1-100000"], per_context=100, seed=0, options=Options(), command="",
        quiet=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
