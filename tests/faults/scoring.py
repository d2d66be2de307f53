"""A scoring run as a process of its own, to be disturbed: what tests and the benchmark share."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tests.workflow.demo import ENVIRONMENT, REFERENCE, few_records

PLAIN = "from ntvep.cli import main; main()"
# Little more address space than the libraries and their threads take: the passes do not fit.
LITTLE_MEMORY = """
import resource
import polars
import ntvep.commands.score
polars.DataFrame({"a": range(1000)}).lazy().sort("a").collect()
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 500_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from ntvep.cli import main
main()
"""
# Plans of half a second; and one line per plan in the file "passes", a dot for each pass run.
COUNTING = """
import os
from ntvep.commands import pace
from ntvep.models.engine import Engine
pace._SECONDS = 0.5
log = os.open("passes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
run, begin = Engine._run, Engine.begin
def counted(*given):
    parts = run(*given)
    os.write(log, b"." * sum(part.passes for part in parts))
    return parts
def one_plan(*given):
    answers = begin(*given)
    # On a CPU nothing is left to compute.
    os.write(log, b"\\n")
    return answers
Engine._run, Engine.begin = counted, one_plan
from ntvep.cli import main
main()
"""
# The folder is read-only for this process alone: a mount of its own, which ends with it.
READ_ONLY = (
    "unshare", "--mount", "sh", "-c",
    'mount --bind . . && mount -o remount,ro,bind . && cd "$PWD" && exec "$@"', "sh",
)  # fmt: skip
OUTPUTS = ("out.vcf.gz", "out.vcf.gz.tbi", "out.parquet")


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit status (negative: the signal), and what it said."""

    status: int
    said: str


@dataclass(frozen=True)
class Scoring:
    """``ntvep score`` of a few of the demo's records in a folder."""

    folder: Path
    options: tuple[str, ...] = ("--window-tokens", "16", "--max-allele-bases", "20")
    program: str = PLAIN

    def prepare(self, records: int) -> None:
        """Write the input."""
        few_records(self.folder / "in.vcf", records)

    def command(self) -> list[str]:
        """The same for every run: the command line is part of the output."""
        program = [sys.executable, "-c", self.program, "score", "in.vcf"]
        where = ["-o", "out.vcf.gz", "--table", "out.parquet", "--force"]
        return [*program, "-r", str(REFERENCE), "-m", "demo-6mer", *where, *self.options]

    def start(
        self, limit: Callable[[], None] | None = None, prefix: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        """Start a run, under a resource limit or behind another command."""
        return subprocess.Popen(
            [*prefix, *self.command()],
            cwd=self.folder,
            env=ENVIRONMENT,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit,
        )

    def run(self, limit: Callable[[], None] | None = None, prefix: Sequence[str] = ()) -> Ended:
        """Let a run end by itself."""
        with self.start(limit, prefix) as process:
            _, said = process.communicate(timeout=600)
        return Ended(process.returncode, said)

    def killed_after(self, seconds: float) -> Ended:
        """Kill a run after so many seconds, unless it has ended."""
        with self.start() as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=seconds)
            process.kill()
            _, said = process.communicate()
        return Ended(process.returncode, said)

    def stopped_at(self, passes: int, how: signal.Signals = signal.SIGKILL) -> Ended:
        """Send a signal to a run of :data:`COUNTING` once it has run so many passes."""
        log = self.folder / "passes"
        with self.start() as process:
            while process.poll() is None and not (log.exists() and log.stat().st_size >= passes):
                time.sleep(0.001)
            process.send_signal(how)
            _, said = process.communicate()
        return Ended(process.returncode, said)

    def lost_passes(self) -> list[int]:
        """Passes that a stopped run of :data:`COUNTING` ran for nothing, plan by plan.

        Those behind the plans whose scores are in ``cache``.
        """
        plans = (self.folder / "passes").read_text().split("\n")
        kept = len(list(self.folder.glob("cache/*/*.parquet")))
        return [len(plan) for plan in plans[kept:] if plan]

    def wait_until_writing(self, process: subprocess.Popen[str]) -> None:
        """Wait until a run has written something, under a name that is not final."""
        while not list(self.folder.glob(".ntvep-*/out.*")):
            assert process.poll() is None, "the run ended before it wrote anything"
            time.sleep(0.01)

    def outputs(self) -> tuple[bytes, bytes, pl.DataFrame]:
        """The bytes of the annotated VCF and its index, and SCORES.

        The table's own bytes hold how long the run took.
        """
        vcf, index, table = (self.folder / name for name in OUTPUTS)
        return vcf.read_bytes(), index.read_bytes(), pl.read_parquet(table)

    def same(self, outputs: tuple[bytes, bytes, pl.DataFrame]) -> bool:
        """Whether the outputs are what another run made."""
        *ours, table = self.outputs()
        *theirs, expected = outputs
        return ours == theirs and table.equals(expected)

    def remove_outputs(self) -> None:
        """Start afresh."""
        for name in OUTPUTS:
            (self.folder / name).unlink(missing_ok=True)

    def left(self) -> set[str]:
        """Names of whatever lies beside the input."""
        return {path.name for path in self.folder.iterdir()} - {"in.vcf"}


def little_disk() -> None:
    """Files may not grow beyond a few blocks; a write behind that fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))


def from_tomorrow(path: Path) -> None:
    """A file whose time is in the future, as another machine's wrong clock writes it."""
    later = time.time() + 86_400
    os.utime(path, (later, later))
