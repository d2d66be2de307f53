"""The workflow on a real Slurm, with jobs killed and preempted, gives what one local run gives."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.slurm.cluster import cluster, why_not
from tests.workflow.demo import ENVIRONMENT, REFERENCE, annotated, few_records, run

pytestmark = pytest.mark.slurm
CHUNKS = 3
SECONDS = 240
WORKFLOW = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "--config",
            "vcf=in.vcf", f"reference={REFERENCE}", "model=demo-6mer",
            "window_tokens=64"]  # fmt: skip
# After the profile, what a cluster without accounting needs, and what saves time.
PROFILE = ["--workflow-profile", ROOT / "profiles" / "slurm", "--slurm-no-account",
           "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2",
           "--latency-wait", "10"]  # fmt: skip


@pytest.fixture(scope="module")
def slurm():
    """A cluster around the tests."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install '.[slurm]'")
    if reason := why_not():
        pytest.skip(f"no Slurm here: {reason}")
    with cluster():
        yield


@pytest.fixture(scope="module")
def local(slurm, tmp_path_factory):
    """A folder with an input, and the annotated VCF that a local run makes of it."""
    folder = tmp_path_factory.mktemp("slurm")
    few_records(folder / "in.vcf", 60)
    run(*WORKFLOW, "results=local", "device=cpu", "--cores", "2", folder=folder)
    return folder, annotated(folder / "local/scores.vcf.gz")


def start(folder, results):
    """Start the workflow on Slurm; device auto: scoring jobs ask for a GPU, and use the CPU."""
    more = [f"results={results}", f"chunks={CHUNKS}", *PROFILE]
    command = [*map(str, [*WORKFLOW, *more])]
    with (folder / f"{results}.log").open("w") as stderr:
        return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=stderr)


def scoring_process(folder, results, but=None):
    """Process id and chunk of an ``ntvep score``, once there is one; not of a certain chunk."""
    wanted = re.compile(rf"{results}/chunks/(\d+)\.vcf\.gz")
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for entry in Path("/proc").iterdir():
            try:
                # The Snakemake inside a job names the chunk too.
                words = (entry / "cmdline").read_text().split("\0")[1:4]
                if [word.rpartition("/")[2] for word in words[:2]] != ["ntvep", "score"]:
                    continue
                chunk = wanted.fullmatch(words[2])
                if chunk and chunk[1] != but and (entry / "cwd").readlink() == folder:
                    return int(entry.name), chunk[1]
            except (OSError, UnicodeDecodeError):
                continue  # no process, or one that has just ended, or not ours
        time.sleep(0.05)
    raise AssertionError(f"no job scored a chunk other than {but} within {SECONDS} s")


def slurm_job(pid):
    """The Slurm job that a process belongs to."""
    words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(word.decode().split("=", 1) for word in words if b"=" in word)["SLURM_JOB_ID"]


def test_killed_and_preempted_jobs_change_nothing(local):
    folder, expected = local
    with start(folder, "out") as snakemake:
        try:
            killed, chunk = scoring_process(folder, "out")
            os.kill(killed, signal.SIGKILL)
            other, _ = scoring_process(folder, "out", but=chunk)
            preempted = slurm_job(other)
            subprocess.run(["scontrol", "requeue", preempted], check=True)
            status = snakemake.wait(timeout=SECONDS)
        finally:
            snakemake.kill()
    said = (folder / "out.log").read_text()
    assert status == 0, said[-3000:]
    # An array's failed task removes the results of another one.
    assert "array" not in said
    # The killed job; and perhaps the preempted one, which without a database may look like one that
    # ended while Slurm puts it back into the queue. None is restarted twice.
    restarted = re.findall(r"Trying to restart job (\d+)", said)
    assert 1 <= len(restarted) == len(set(restarted)) <= CHUNKS, said[-3000:]
    # Who is restarted asks for more.
    assert said.count("mem_mb=32000") == len(restarted)
    show = ["scontrol", "show", "job", preempted]
    shown = subprocess.run(show, check=True, capture_output=True, text=True).stdout
    assert "Restarts=1" in shown
    assert re.search("TresPerJob=gres.gpu:1", shown)
    assert annotated(folder / "out/scores.vcf.gz") == expected


def test_jobs_outlive_snakemake(local):
    """It is killed while jobs run and wait: they go on, and nothing of theirs is done again."""
    folder, expected = local
    with start(folder, "alone") as snakemake:
        try:
            scoring_process(folder, "alone")
        finally:
            snakemake.kill()
    deadline = time.monotonic() + SECONDS
    queued = ["squeue", "--noheader", "--states=PENDING,RUNNING,COMPLETING"]
    while subprocess.run(queued, check=True, capture_output=True, text=True).stdout.strip():
        assert time.monotonic() < deadline
        time.sleep(1)
    assert len(list((folder / "alone" / "chunks").glob("[0-9]*.parquet"))) == CHUNKS
    run(*WORKFLOW, "results=alone", "--unlock", folder=folder)
    with start(folder, "alone") as snakemake:
        assert snakemake.wait(timeout=SECONDS) == 0
    said = (folder / "alone.log").read_text()
    assert "rule gather" in said
    assert "rule score" not in said
    assert annotated(folder / "alone/scores.vcf.gz") == expected
