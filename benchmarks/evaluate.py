"""Time and memory of ``ntvep evaluate`` on two million labelled variants, bootstrap included.

    python -m benchmarks.evaluate [VARIANTS] [SCORES]

Files are made first and do not count. Prints one row of the table in benchmarks/README.md.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.null import DESCRIPTION
from ntvep.io.tables import table_writer
from ntvep.provenance import ModelIdentity, Provenance, fingerprint
from ntvep.schema import LABELS, score_schema
from ntvep.settings import Settings

TERMS = {
    "stop_gained": (0.05, 0.95),
    "frameshift_variant": (0.06, 0.93),
    "splice_donor_variant": (0.03, 0.9),
    "missense_variant": (0.4, 0.3),
    "synonymous_variant": (0.2, 0.02),
    "intron_variant": (0.2, 0.02),
    "splice_region_variant": (0.03, 0.15),
    "5_prime_UTR_variant": (0.03, 0.05),
}
GENES = 20_000


def main() -> None:
    n = int(float(sys.argv[1])) if len(sys.argv) > 1 else 2_000_000
    names = tuple(sys.argv[2].split(",")) if len(sys.argv) > 2 else ("llr", "cosine_distance")
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), n, names)
        call = "from ntvep.cli import main; main()"
        arguments = ["evaluate", "s.parquet", "--labels", "l.parquet", "--output", "report", "-q"]
        begin = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", call, *arguments], cwd=folder)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
    if status:
        sys.exit(1)
    cores = len(os.sched_getaffinity(0))
    print(
        f"| {n:,} | {len(names)} | {cores} | {seconds:.0f} | {used.ru_utime + used.ru_stime:.0f} "
        f"| {used.ru_maxrss / 2**20:.2f} |"
    )


def write_files(folder: Path, n: int, names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    gene = np.sort(rng.integers(0, GENES, n))
    shares, chances = np.array(list(TERMS.values())).T
    term = rng.choice(len(TERMS), n, p=shares)
    label = rng.random(n) < chances[term]
    evidence = label + 0.3 * rng.normal(size=GENES)[gene] + rng.normal(size=n)
    kind = rng.choice(3, n, p=[0.9, 0.06, 0.04])
    alleles = pl.DataFrame(
        {
            "chrom": np.array([f"chr{c}" for c in range(1, 23)])[gene * 22 // GENES],
            "pos": 10_000 + 7 * np.arange(n),
            "ref": np.array(["C", "CAG", "C"])[kind],
            "alt": np.array(["T", "C", "CTT"])[kind],
        }
    )
    scores = alleles.with_columns(
        record=pl.int_range(n), allele=pl.lit(1), status=pl.lit("ok"), frameshifted=pl.lit(False)
    ).with_columns(
        pl.Series(name, -(evidence + rng.normal(size=n) * (0.5 + 0.2 * i)))
        for i, name in enumerate(names)
    )
    labels = alleles.with_columns(
        label=pl.Series(label),
        effect=pl.lit(None),
        group=pl.Series(np.array([f"GENE{g}" for g in range(GENES)])[gene]),
        consequence=pl.Series(np.array(list(TERMS))[term]),
        stars=pl.Series(rng.integers(0, 5, n)),
        source=pl.lit("synthetic"),
    )
    identity = ModelIdentity.of(
        DESCRIPTION,
        model_id="synthetic",
        revision=None,
        weights_sha256="0" * 64,
        precision="fp32",
        device="cpu",
    )
    settings = Settings(scores=names)
    made = Provenance("0", "", identity, settings, "", {}, fingerprint(identity, settings))
    for name, table, columns, provenance in (
        ("s", scores, score_schema(names, False), made.to_json()),
        ("l", labels, LABELS, "{}"),
    ):
        typed = table.select(pl.col(c.name).cast(c.dtype) for c in columns)
        path = folder / f"{name}.parquet"
        with table_writer(path, columns, provenance, lambda: "{}") as write:
            write(typed)


if __name__ == "__main__":
    main()
