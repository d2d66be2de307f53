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
# Nothing else differs from what a user types; these belong to a cluster without accounting.
HERE = ["--slurm-no-account", "--slurm-status-command", "squeue",
        "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"]  # fmt: skip


@pytest.fixture(scope="module")
def slurm():
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install '.[slurm]'")
    if reason := why_not():
        pytest.skip(f"no Slurm here: {reason}")
    with cluster():
        yield


def scoring_process(chunk):
    """Process id of the ``ntvep score`` of a chunk, once it is there."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # no process, or one that has just ended
            if b"score" in words and f"out/chunks/{chunk:05d}.vcf.gz".encode() in words:
                return int(entry.name)
        time.sleep(0.05)
    raise AssertionError(f"no job scored chunk {chunk} within {SECONDS} s")


def slurm_job(pid):
    """The Slurm job that a process belongs to, as ``array_task`` or as a number."""
    words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    found = dict(word.decode().split("=", 1) for word in words if b"=" in word)
    return f"{found['SLURM_ARRAY_JOB_ID']}_{found['SLURM_ARRAY_TASK_ID']}"


def test_killed_and_preempted_jobs_change_nothing(slurm, tmp_path):
    few_records(tmp_path / "in.vcf", 60)
    settings = ["vcf=in.vcf", f"reference={REFERENCE}", "model=demo", "window_tokens=64"]
    workflow = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "--config", *settings]
    run(*workflow, "results=local", "device=cpu", "--cores", "2", folder=tmp_path)

    # device auto: each scoring job asks Slurm for a GPU, and finds none that torch can use.
    on_slurm = ["results=out", f"chunks={CHUNKS}", "--workflow-profile", ROOT / "profiles/slurm"]
    command = [*map(str, [*workflow, *on_slurm, *HERE])]
    log = tmp_path / "snakemake.log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=stderr) as snakemake,
    ):
        try:
            os.kill(scoring_process(0), signal.SIGKILL)
            preempted = slurm_job(scoring_process(2))
            subprocess.run(["scontrol", "requeue", preempted], check=True)
            assert snakemake.wait(timeout=SECONDS) == 0, log.read_text()[-3000:]
        finally:
            snakemake.kill()
    said = log.read_text()
    assert re.search(r"Submitted array job .* task IDs are 1-3", said)
    assert said.count("Trying to restart job") == 1, said[-3000:]
    # Killed, it asks for more; preempted, it does not.
    assert said.count("mem_mb=32000") == 1
    show = ["scontrol", "show", "job", preempted]
    shown = subprocess.run(show, check=True, capture_output=True, text=True).stdout
    assert "Restarts=1" in shown
    assert re.search("TresPerJob=gres.gpu:1", shown)
    assert annotated(tmp_path / "out/scores.vcf.gz") == annotated(tmp_path / "local/scores.vcf.gz")
