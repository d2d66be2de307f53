"""All that is not the model: alleles a second and memory from VCF to VCF, with a model of no cost.

    python -m benchmarks.overhead [--records 100000] [--every 10]

Makes a random genome and a VCF of one SNV in every so many bases, scores it with a model that
answers constants, and prints alleles per second of one core (user and system time of the whole
process, all threads) and the peak of resident memory, for one view and llr, and for two views and
all scores.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.null import run

ROOT = Path(__file__).parents[1]


def make(folder: Path, records: int, every: int) -> None:
    """A genome and a VCF, the same each time."""
    rng = random.Random(1)
    length = 10_000 + records * every
    sequence = "".join(rng.choices("ACGT", k=length))
    with (folder / "ref.fa").open("w") as fasta:
        fasta.write(">chr1\n")
        fasta.writelines(sequence[i : i + 60] + "\n" for i in range(0, length, 60))
    with (folder / "in.vcf").open("w") as vcf:
        vcf.write(f"##fileformat=VCFv4.2\n##contig=<ID=chr1,length={length}>\n")
        vcf.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for number in range(records):
            place = 5_000 + number * every
            ref = sequence[place]
            alt = rng.choice("ACGT".replace(ref, ""))
            vcf.write(f"chr1\t{place + 1}\t.\t{ref}\t{alt}\t.\t.\t.\n")


def measure(folder: Path, scores: str, views: int, output: str) -> tuple[float, float]:
    """Seconds of the processor, start-up included, and MB of peak memory, of this process."""
    run(
        *("score", str(folder / "in.vcf"), "--reference", str(folder / "ref.fa")),
        *("--model", "null", "--scores", scores, "--views", str(views)),
        *("--output", str(folder / output), "--force", "--quiet"),
    )
    return time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the table; each line is measured in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        folder, scores, views, output = given.one
        print(*measure(Path(folder), scores, int(views), output))
        return
    print("| records | one SNV per | scores | views | output | alleles/s of a core | peak MB |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), given.records, given.every)
        for scores, views, output in (
            ("llr", 1, "out.vcf"),
            ("llr", 2, "out.vcf"),
            ("all", 2, "out.vcf"),
            ("all", 2, "out.vcf.gz"),
        ):
            one = [sys.executable, "-m", "benchmarks.overhead", "--one", folder, scores, str(views)]
            done = subprocess.run(
                [*one, output],
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                check=True,
            )
            processor, memory = map(float, done.stdout.split())
            print(
                f"| {given.records:,} | {given.every} bp | {scores} | {views} | {output} "
                f"| {given.records / processor:,.0f} | {memory:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
