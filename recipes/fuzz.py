"""Fuzz one target of tests/fuzz/targets.py with atheris, for a number of seconds.

    pip install atheris
    python recipes/fuzz.py vcf 600 /tmp/fuzz

The folder holds the corpus between runs; what crashes is left in it as ``vcf-crash-...``.
"""

import os
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"

# Before any module of ntvep is imported: only what is imported in here is watched.
with atheris.instrument_imports(include=["ntvep"]):
    from tests.fuzz.targets import TARGETS, seeds


def main() -> None:
    """Run libFuzzer on a target; it exits the process."""
    name, seconds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    scratch = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-", dir="/dev/shm"))
    os.environ["NTVEP_HOME"] = str(scratch / "home")
    work = scratch / "work"
    work.mkdir()
    options = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={folder}/{name}-",
        "-timeout=20",
        "-rss_limit_mb=4096",
        "-max_len=16384",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: TARGETS[name](data, work))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
