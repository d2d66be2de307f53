"""SNVs spread over a whole genome, as those of a person, annotated from a store.

    python -m benchmarks.spread FOLDER --contigs 31 --megabases 100 --snvs 500000

The genome is one random contig, repeated under other names, and so are its scores: normal numbers,
which pack no better than a model's. Every file of the store is one file with several names, so that
the disk needs room for one contig; each of its blocks is read, proven and unpacked for each name.
FOLDER keeps genome, store and VCF for another run.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from benchmarks.null import null_model
from ntvep import dna
from ntvep.commands.options import Options
from ntvep.commands.ready import ready_with
from ntvep.io import store as stores
from ntvep.io.fasta import open_reference
from ntvep.io.store import ALTS, About, Snvs, open_store, step_of, store_writer
from ntvep.schema import Status

_LINE = 100
_AT_ONCE = 1 << 20


def genome_of(folder: Path, contigs: int, bases: int) -> np.ndarray:
    """A FASTA of contigs that are all alike; the codes of one of them."""
    codes = np.random.default_rng(0).integers(0, 4, bases).astype(np.uint8)
    letters = np.frombuffer(dna.decode(codes).encode(), np.uint8).reshape(-1, _LINE)
    text = np.concatenate((letters, np.full((len(letters), 1), 10, np.uint8)), axis=1).tobytes()
    with (folder / "genome.fa").open("wb") as file:
        for number in range(contigs):
            file.write(f">c{number + 1}\n".encode())
            file.write(text)
    return codes


def store_of(folder: Path, contigs: int, codes: np.ndarray) -> None:
    """A store of every SNV: one contig is written, the others are names of it."""
    genome = open_reference(folder / "genome.fa")
    made = ready_with(null_model(), genome, Options(scores="llr", views=1))
    names = [f"c{number + 1}" for number in range(contigs)]
    md5 = genome.md5(["c1"])["c1"]
    step, error = step_of("llr") or (0.0, 0.0)
    about = About(made.identity, "genome.fa", dict.fromkeys(names, md5), {"llr": step},
                  {"llr": error}, [Status.OK], "0")  # fmt: skip
    rng, target = np.random.default_rng(1), folder / "store"
    target.mkdir()
    with store_writer(target, about) as write:
        for begin in range(0, len(codes), _AT_ONCE):
            refs = codes[begin : begin + _AT_ONCE]
            count = 3 * len(refs)
            scores = {"llr": rng.normal(-2, 2, count)}
            places = begin + np.repeat(np.arange(len(refs)), 3)
            statuses = np.zeros(count, np.uint8)
            write(Snvs("c1", places, np.repeat(refs, 3), ALTS[refs].ravel(), statuses, scores), "")
    _repeat(target, names)


def _repeat(target: Path, names: list[str]) -> None:
    """Give the file of the first contig, and what the index says of it, to all others."""
    contig, *_ = open_store(target).contigs
    rows = stores._read_index(target / stores._INDEX, json.loads(
        (target / stores.MARK).read_text())["index_sha256"])  # fmt: skip
    index = np.concatenate([rows + np.array([n, 0, 0, 0, 0]) for n in range(len(names))])
    for name in names[1:]:
        os.link(target / contig.file, target / f"{name}.arrow")
    content = json.loads((target / stores.MARK).read_text())
    content["index_sha256"] = stores._write_index(target / stores._INDEX, index)
    content["contigs"] = [asdict(replace(contig, name=n, file=f"{n}.arrow")) for n in names]
    del content["sha256"]
    (target / stores.MARK).write_text(json.dumps(content | {"sha256": stores._own_sum(content)}))


def vcf_of(folder: Path, contigs: int, codes: np.ndarray, snvs: int) -> None:
    """SNVs at random places, sorted, of one sample."""
    rng = np.random.default_rng(2)
    at = np.sort(rng.choice(contigs * len(codes), snvs, replace=False))
    with (folder / "in.vcf").open("w") as file:
        file.write("##fileformat=VCFv4.2\n")
        file.write('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n')
        file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n")
        for place in at.tolist():
            contig, begin = divmod(place, len(codes))
            ref = codes[begin]
            alt = "ACGT"[ALTS[ref, place % 3]]
            file.write(
                f"c{contig + 1}\t{begin + 1}\t.\t{'ACGT'[ref]}\t{alt}\t.\tPASS\tAC=1\tGT\t0/1\n"
            )


def main() -> None:
    """Print a row of the table in benchmarks/genome.md for each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--contigs", type=int, default=31)
    parser.add_argument("--megabases", type=int, default=100)
    parser.add_argument("--snvs", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    folder, bases = asked.folder.resolve(), asked.megabases * 1_000_000
    if not folder.exists():
        folder.mkdir()
        codes = genome_of(folder, asked.contigs, bases)
        store_of(folder, asked.contigs, codes)
        vcf_of(folder, asked.contigs, codes, asked.snvs)
    words = [
        "score",
        "in.vcf",
        "-r",
        "genome.fa",
        "-m",
        "none",
        "--known",
        "store",
        "-q",
        "--force",
    ]
    call = "import sys; from ntvep.cli import main; main()"
    for _ in range(asked.rounds):
        began = time.monotonic()
        arguments = [sys.executable, "-c", call, *words, "-o", "out.vcf"]
        os.chdir(folder)
        child = os.posix_spawn(sys.executable, arguments, os.environ)
        _, status, used = os.wait4(child, 0)
        if status:
            raise SystemExit("ntvep score failed")
        wall, busy = time.monotonic() - began, used.ru_utime + used.ru_stime
        print(
            f"| {asked.snvs:,} SNVs of {asked.contigs * asked.megabases:,} Mb | {wall:.0f} "
            f"| {busy:.0f} | {used.ru_maxrss / 1024:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
