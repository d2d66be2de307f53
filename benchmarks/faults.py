"""What is left after a run was disturbed, and what the next run makes of it.

    python -m benchmarks.faults [--kills 20] [--workflow-kills 5] [--seed 1]

Prints the tables of ``benchmarks/faults.md``. Runs are of the embedded demo, by ``ntvep score``
alone and by the workflow on this machine. The faults that need root (a full file system, a
read-only one) are left out without it.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.scoring import (
    COUNTING,
    LITTLE_MEMORY,
    OUTPUTS,
    READ_ONLY,
    Ended,
    Scoring,
    from_tomorrow,
    little_disk,
)
from tests.workflow.demo import ENVIRONMENT, REFERENCE, annotated, few_records

RECORDS = 200
SETTINGS = ["vcf=in.vcf", f"reference={REFERENCE}", "model=demo-6mer", "results=out", "chunks=4",
            "window_tokens=16", "max_allele_bases=20", "device=cpu"]  # fmt: skip
# A file system of 36 kB for this process alone, with the input in it.
FULL = (
    "unshare", "--mount", "sh", "-c",
    'exec 3< in.vcf; mount -t tmpfs -o size=36k tmpfs "$PWD" && cd "$PWD" && cat <&3 > in.vcf;'
    ' "$@"; status=$?; test "$(ls -A)" = in.vcf || exit 99; exit $status', "sh",
)  # fmt: skip


def scoring_faults(folder: Path, kills: int, rng: random.Random) -> Iterator[tuple[str, ...]]:
    """Faults of ``ntvep score``, each with what was seen of it."""
    scoring = Scoring(folder)
    scoring.prepare(RECORDS)
    started = time.monotonic()
    assert scoring.run().status == 0
    seconds = time.monotonic() - started
    whole = scoring.outputs()

    killed = partial = equal = 0
    for _ in range(kills):
        scoring.remove_outputs()
        killed += scoring.killed_after(rng.uniform(0, seconds)).status == -signal.SIGKILL
        partial += 0 < len(scoring.left() & {*OUTPUTS}) < len(OUTPUTS)
        assert scoring.run().status == 0
        equal += scoring.same(whole)
    yield (
        f"kill -9 at {kills} random moments, {killed} of them before the end",
        f"some but not all outputs: {partial} times",
        f"equal {equal} of {kills} times; hidden folders left: {len(hidden(folder))}",
    )

    killed = equal = 0
    lost: list[list[int]] = []
    counting = (*scoring.options, "--cache", "cache", "--batch-size", "8")
    with_cache = replace(scoring, options=counting, program=COUNTING)
    assert with_cache.run().status == 0
    plans = [len(plan) for plan in (folder / "passes").read_text().split()]
    cached = scoring.outputs()
    for _ in range(kills):
        scoring.remove_outputs()
        shutil.rmtree(folder / "cache")
        (folder / "passes").unlink()
        killed += with_cache.stopped_at(rng.randrange(sum(plans))).status < 0
        lost.append(with_cache.lost_passes())
        assert with_cache.run().status == 0
        equal += scoring.same(cached)
    yield (
        f"the same with `--cache`, after a random number of passes, {killed} before the end; a run "
        f"is {sum(plans)} passes in {len(plans)} plans",
        f"passes lost, to be run again: {statistics.median(map(sum, lost)):.0f} (median), at most "
        f"{' + '.join(map(str, max(lost, key=sum)))}; of two plans {sum(len(p) > 1 for p in lost)} "
        "times",
        f"equal {equal} of {kills} times",
    )
    scoring.run()

    def seen(ended: Ended) -> tuple[str, str]:
        assert ended.status == 1, ended.said
        before = "outputs as they were" if scoring.same(whole) else "OUTPUTS CHANGED"
        assert scoring.run().status == 0
        return f"`{last_line(ended.said)}`; {before}", verdict(scoring.same(whole))

    big = ("--window-tokens", "512", "--batch-size", "512")
    yield "no memory left", *seen(replace(scoring, program=LITTLE_MEMORY, options=big).run())
    yield "files may not grow", *seen(scoring.run(limit=little_disk))
    if os.geteuid() == 0:
        yield "file system full", *seen(scoring.run(prefix=FULL))
        yield "output folder read-only", *seen(scoring.run(prefix=READ_ONLY))
    with scoring.start() as process:
        scoring.wait_until_writing(process)
        process.send_signal(signal.SIGSTOP)
        second = scoring.run()
        process.kill()
    yield "two runs of one output", *seen(second)
    from_tomorrow(folder / "in.vcf")
    assert scoring.run().status == 0
    yield "input of tomorrow (clock skew)", "nothing", verdict(scoring.same(whole))


def workflow_faults(folder: Path, kills: int, rng: random.Random) -> Iterator[tuple[str, ...]]:
    """Faults of the workflow, in the same form."""
    few_records(folder / "in.vcf", RECORDS)
    out = folder / "out"
    started = time.monotonic()
    assert snakemake(folder).status == 0
    seconds = time.monotonic() - started
    whole = annotated(out / "scores.vcf.gz")

    def equal_again() -> bool:
        ended = snakemake(folder)
        assert ended.status == 0, ended.said
        return annotated(out / "scores.vcf.gz") == whole

    killed = equal = scored = kept = 0
    for _ in range(kills):
        shutil.rmtree(out)
        with start(folder) as process:
            time.sleep(rng.uniform(0.3, 0.9) * seconds)
            killed += process.poll() is None
            # Snakemake and every job of it.
            os.killpg(process.pid, signal.SIGKILL)
        before = {path: path.stat().st_mtime_ns for path in out.glob("chunks/[0-9]*.parquet")}
        assert snakemake(folder, "--unlock").status == 0
        equal += equal_again()
        scored += len(before)
        kept += sum(path.stat().st_mtime_ns == at for path, at in before.items())
    yield (
        f"kill -9 of Snakemake and its jobs at {kills} random moments, {killed} before the end",
        f"{scored} of {kills * 4} chunks had been scored, and {scored - kept} of these were "
        "scored again, after `snakemake --unlock`",
        f"equal {equal} of {kills} times; hidden folders left: {len(hidden(folder))}",
    )
    shutil.rmtree(out)
    with start(folder) as process:
        while not list(out.glob("chunks/*.vcf.gz")):
            time.sleep(0.1)
        second = snakemake(folder)
        first = process.wait()
    assert (first, second.status) == (0, 1)
    _, _, said = second.said.partition("LockException:")
    yield "two workflows in one folder", f"`{said.split('. ')[0].strip()}`", verdict(equal_again())
    table = out / "chunks" / "00002.parquet"
    table.write_bytes(table.read_bytes()[:1000])
    (out / "scores.vcf.gz").unlink()
    ended = snakemake(folder)
    assert ended.status == 1
    said = last_line((out / "logs" / "gather.log").read_text())
    table.unlink()
    yield "a chunk's table cut", f"`{said}`; after `rm` of that table", verdict(equal_again())
    from_tomorrow(folder / "in.vcf")
    first_again, second_again = equal_again(), snakemake(folder)
    idle = "is idle" if "Nothing to be done" in second_again.said else "scores again"
    yield "input of tomorrow (clock skew)", f"a further run {idle}", verdict(first_again)


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Start the workflow, in a process group of its own."""
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "2"]
    return subprocess.Popen(
        [*command, *more, "--config", *SETTINGS],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def snakemake(folder: Path, *more: str) -> Ended:
    """Let the workflow end by itself."""
    with start(folder, *more) as process:
        said, _ = process.communicate()
    return Ended(process.returncode, said)


def hidden(folder: Path) -> list[Path]:
    """Folders in which an unfinished run had its outputs."""
    return list(folder.rglob(".ntvep-*"))


def last_line(text: str) -> str:
    """What a run said last."""
    return text.strip().splitlines()[-1]


def verdict(equal: bool) -> str:
    """Whether the outputs after the next run are those of an undisturbed one."""
    return "equal" if equal else "DIFFERENT"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workflow-kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    for faults, kills in (
        (scoring_faults, options.kills),
        (workflow_faults, options.workflow_kills),
    ):
        print("| fault | what was seen | outputs after the next run |")
        print("|---|---|---|")
        with tempfile.TemporaryDirectory() as folder:
            for row in faults(Path(folder), kills, rng):
                print(f"| {' | '.join(row)} |", flush=True)
        print()


if __name__ == "__main__":
    main()
