"""A long run of one process: does its memory, or the number of its open files, grow?

    python -m benchmarks.long_run [--records 500000]

Scores as many SNVs of a random genome (llr, one view, windows of 9 tokens, with a cache) with the
small random checkpoint of tests/golden/v2, and looks at the process twice a second. Prints resident
memory and open files once a fifth of the time has passed, and the most of each from there on.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.overhead import ROOT, make


def main() -> None:
    """Print the line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=500_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), given.records, 1)
        command = "score in.vcf -r ref.fa -o out.vcf.gz --scores llr --views 1 --window-tokens 9 "
        command += f"--max-allele-bases 20 --threads 1 --cache known -q -m {ROOT}/tests/golden/v2"
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", "from ntvep.cli import main; main()", *command.split()],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        seen: list[tuple[float, float, int]] = []
        while process.poll() is None:
            try:
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
            except (FileNotFoundError, ProcessLookupError):
                break
            seen.append((time.monotonic() - started, pages * 4096 / 1e6, files))
            time.sleep(0.5)
        assert process.wait() == 0
    seconds = seen[-1][0]
    later = [one for one in seen if one[0] > seconds / 5]
    print("| records | seconds | MB after a fifth | peak MB later | growth | files, most later |")
    print("|---|---|---|---|---|---|")
    most = max(memory for _, memory, _ in later)
    print(
        f"| {given.records:,} | {seconds:.0f} | {later[0][1]:.0f} | {most:.0f} "
        f"| {most / later[0][1] - 1:+.1%} | {later[0][2]}, {max(files for *_, files in later)} |"
    )


if __name__ == "__main__":
    main()
