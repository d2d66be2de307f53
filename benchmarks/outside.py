"""How much of ``ntvep score``, from its start to its end, is not forward passes.

    python -m benchmarks.outside [--shape 50m] [--records 100] [--every 1000]

Scores SNVs of a random genome with random weights, all scores and llr alone, in one view of 1,000
tokens, on a CPU. Forward passes are the encoder and the head; imports, the reading of the weights,
VCF, tokens, reductions and output are all else.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import checkpoints
from benchmarks.overhead import ROOT, make

# The command, which leaves the seconds of its forward passes in the file "passes".
TIMED = """
import atexit, time
from pathlib import Path
from ntvep.cli import main
from ntvep.models.nt import Head, NucleotideTransformer
spent = []
def timed(function):
    def run(*given):
        started = time.monotonic()
        found = function(*given)
        spent.append(time.monotonic() - started)
        return found
    return run
for owner, name in ((NucleotideTransformer, "hidden"), (NucleotideTransformer, "last_at"),
                    (Head, "forward")):
    setattr(owner, name, timed(getattr(owner, name)))
atexit.register(lambda: Path("passes").write_text(str(sum(spent))))
main()
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=checkpoints.SHAPES, default="50m")
    parser.add_argument("--records", type=int, default=100)
    parser.add_argument("--every", type=int, default=1000)
    given = parser.parse_args()
    print("| shape | records | one SNV per | scores | seconds | in forward passes | outside |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, given.records, given.every)
        model = checkpoints.make(folder, checkpoints.SHAPES[given.shape])
        for scores in ("all", "llr"):
            command = "score in.vcf -r ref.fa -o out.vcf --views 1 --device cpu --force -q --scores"
            started = time.monotonic()
            subprocess.run(
                [sys.executable, "-c", TIMED, *command.split(), scores, "-m", str(model)],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                check=True,
            )
            seconds = time.monotonic() - started
            passes = float((folder / "passes").read_text())
            print(
                f"| {given.shape} | {given.records} | {given.every} bp | {scores} "
                f"| {seconds:.0f} | {passes:.0f} | {1 - passes / seconds:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
