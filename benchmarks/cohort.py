"""The workflow over a sample sheet, with a model that costs nothing: what all the rest takes.

    python -m benchmarks.cohort [--samples 200] [--records 5000] [--shared 0.8] [--cores 2]

Makes a genome of random bases and VCFs of SNVs and small indels with one sample each, of which a
share is in every VCF; runs Snakemake over them; prints the seconds, the jobs and the counts.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).parents[1]
CONTIGS, LENGTH = ("chr1", "chr2", "chr3", "chr4"), 5_000_000
# Python reads it at its start, in every process that the workflow starts.
AT_START = """
import sys

if "score" in sys.orig_argv[2:4] or "snakemake" in " ".join(sys.orig_argv):
    from benchmarks.null import DESCRIPTION, null_model
    from ntvep.commands import ready, workflow_config

    ready.load_model = lambda _, **options: null_model()
    ready.described = workflow_config.described = lambda _: (None, DESCRIPTION)
"""


def genome(path: Path, draw: np.random.Generator) -> dict[str, str]:
    """Write a FASTA of random bases."""
    bases = {}
    with path.open("w") as out:
        for name in CONTIGS:
            letters = draw.choice(np.frombuffer(b"ACGT", np.uint8), LENGTH).tobytes().decode()
            bases[name] = letters
            lines = (letters[i : i + 60] for i in range(0, LENGTH, 60))
            out.write(f">{name}\n" + "\n".join(lines) + "\n")
    return bases


def variant(bases: dict[str, str], draw: random.Random) -> tuple[str, int, str, str]:
    """An SNV, or one time in ten an indel of up to four bases."""
    chrom, place = draw.choice(CONTIGS), draw.randrange(10_000, LENGTH - 10_000)
    ref = bases[chrom][place]
    if draw.random() < 0.9:
        return chrom, place + 1, ref, draw.choice("ACGT".replace(ref, ""))
    size = draw.randint(1, 4)
    if draw.random() < 0.5:
        return chrom, place + 1, bases[chrom][place : place + size + 1], ref
    return chrom, place + 1, ref, ref + "".join(draw.choices("ACGT", k=size))


def inputs(folder: Path, samples: int, records: int, shared: float) -> None:
    """Write the genome, the VCFs and the sheet."""
    bases = genome(folder / "genome.fa", np.random.default_rng(1))
    draw = random.Random(1)
    common = [variant(bases, draw) for _ in range(int(shared * records))]
    sheet = ["sample\tvcf\n"]
    for number in range(samples):
        name = f"sample_{number:03d}"
        own = [variant(bases, draw) for _ in range(records - len(common))]
        declared = "".join(f"##contig=<ID={c},length={LENGTH}>\n" for c in CONTIGS)
        lines = [
            f'##fileformat=VCFv4.3\n{declared}##FORMAT=<ID=GT,Number=1,Type=String,Description="">\n'
            f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{name}\n"
        ]
        lines += [
            f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t50\tPASS\t.\tGT\t0/1\n"
            for chrom, pos, ref, alt in sorted({*common, *own})
        ]
        (folder / f"{name}.vcf").write_text("".join(lines))
        sheet.append(f"{name}\t{name}.vcf\n")
    (folder / "samples.tsv").write_text("".join(sheet))


def main() -> None:
    """Make, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--records", type=int, default=5_000)
    parser.add_argument("--shared", type=float, default=0.8)
    parser.add_argument("--cores", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ntvep-cohort-") as made:
        folder = Path(made)
        inputs(folder, asked.samples, asked.records, asked.shared)
        config = {
            "samples": "samples.tsv",
            "reference": "genome.fa",
            "models": {"null": {"model": "null"}},
            "chunks": asked.cores,
            "device": "cpu",
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / "start").mkdir()
        (folder / "start" / "sitecustomize.py").write_text(AT_START)
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(folder / "start"), str(ROOT)]),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile")]
        words = ["--cores", str(asked.cores), "--configfile", "config.yaml"]
        before, started = os.times(), time.monotonic()
        subprocess.run([*command, *words], cwd=folder, env=environment, check=True)
        took, after = time.monotonic() - started, os.times()
        cpu = sum(after[2:4]) - sum(before[2:4])
        results = folder / "results"
        counted = json.loads((results / "null" / "summary.json").read_text())
        jobs = len(list((results / "benchmarks").rglob("*.tsv")))
        print(f"{took:.0f} s, {cpu:.0f} s of CPU, {jobs} jobs, {json.dumps(counted)}")


if __name__ == "__main__":
    main()
