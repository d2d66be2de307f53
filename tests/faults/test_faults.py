"""Whatever happens to a run, its outputs are whole or absent, and the next run makes them equal.

``benchmarks/faults.py`` does the same 20 times, and with the whole workflow.
"""

import json
import os
import random
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from ntvep.commands.chunks import gather, split
from ntvep.commands.options import Options
from ntvep.commands.score import score_file
from ntvep.errors import InputError, OutputError
from tests.faults.scoring import COUNTING, LITTLE_MEMORY, OUTPUTS, READ_ONLY, Scoring, from_tomorrow
from tests.workflow.demo import REFERENCE

# Processes that are killed.
pytestmark = pytest.mark.slow

SUMMARY = "out.vcf.gz.summary.json"
OPTIONS = Options(window_tokens=16, max_allele_bases=20)


def score(source, output, table=None):
    """What ``ntvep score`` does, in this process."""
    return score_file(
        source, REFERENCE, "demo-6mer", output, table=table, options=OPTIONS, command="", force=True
    )


@pytest.fixture
def scoring(tmp_path, monkeypatch):
    """An input in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    scoring = Scoring(tmp_path)
    scoring.prepare(30)
    return scoring


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_all_that_it_knows_in_the_cache(scoring, how):
    """By Ctrl-C, or by a scheduler: plans that were done are kept, and no output is there."""
    scoring.prepare(150)
    options = (*scoring.options, "--cache", "cache", "--batch-size", "8")
    counting = replace(scoring, options=options, program=COUNTING)
    # In the second plan: the first has 64 records.
    ended = counting.stopped_at(400, how)
    assert ended.status == 128 + how
    assert "ntvep: interrupted; no output was written" in ended.said
    assert "Traceback" not in ended.said
    assert scoring.left() == {"cache", "passes"}
    finished = (scoring.folder / "passes").read_text().count("\n")
    kept = [pl.read_parquet(shard) for shard in (scoring.folder / "cache").rglob("*.parquet")]
    assert len(kept) == finished >= 1
    assert not list((scoring.folder / "cache").rglob(".*"))
    # What is done again is the plan that was cut, and none that was finished.
    assert counting.run().status == 0
    summary = json.loads((scoring.folder / SUMMARY).read_text())
    assert summary["known"] == sum(shard.height for shard in kept) < summary["ok"]


def test_killed_at_any_moment(scoring):
    """At a random moment, while it writes and another run wants the same outputs, and then not."""
    assert scoring.killed_after(random.Random(3).uniform(0, 2)).status == -9
    assert not scoring.left() & {*OUTPUTS, SUMMARY}
    with scoring.start() as process:
        scoring.wait_until_writing(process)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(OutputError, match=r"out\.vcf\.gz: another run of ntvep is writing it"):
            score(Path("in.vcf"), Path("out.vcf.gz"))
        process.kill()
    assert not scoring.left() & {*OUTPUTS, SUMMARY}
    assert ".ntvep-out.vcf.gz" in scoring.left()
    assert scoring.run().status == 0
    assert scoring.left() == {*OUTPUTS, SUMMARY}
    disturbed = scoring.outputs()
    scoring.remove_outputs()
    assert scoring.run().status == 0
    assert scoring.same(disturbed)


def test_no_memory_is_left(scoring):
    big = ("--window-tokens", "512", "--batch-size", "512")
    ended = replace(scoring, program=LITTLE_MEMORY, options=big).run()
    assert ended.status == 1, ended.said
    assert "ntvep: error: no memory is left; no output was written" in ended.said
    assert "Traceback" not in ended.said
    assert scoring.left() == set()


@pytest.mark.skipif(
    os.geteuid() != 0
    or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0,
    reason="only root may mount the folder read-only",
)
def test_a_read_only_folder(scoring):
    ended = scoring.run(prefix=READ_ONLY)
    assert ended.status == 1
    assert "cannot be written (Read-only file system)" in ended.said
    assert scoring.left() == set()


def test_a_wrong_clock(scoring):
    """Inputs and an older output that seem to be of tomorrow."""
    score(Path("in.vcf"), Path("before.vcf"))
    Path("after.vcf").write_text("old")
    for name in ("in.vcf", "after.vcf"):
        from_tomorrow(Path(name))
    score(Path("in.vcf"), Path("after.vcf"))
    assert Path("after.vcf").read_bytes() == Path("before.vcf").read_bytes()


def test_a_truncated_chunk(scoring):
    """It is named, with what to do; that done, the result is what it would have been."""
    parts = split(Path("in.vcf"), Path("chunks"), 2)
    tables = [Path("0.parquet"), Path("1.parquet")]
    outputs = Path("out.vcf.gz"), Path("out.parquet")
    whole = parts[1].read_bytes()
    parts[1].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"chunks/00001\.vcf\.gz"):
        score(parts[1], tables[1])
    parts[1].write_bytes(whole)
    for part, table in zip(parts, tables, strict=True):
        score(part, table)
    scores = tables[1].read_bytes()
    tables[1].write_bytes(scores[: len(scores) // 2])
    with pytest.raises(
        InputError, match=r"1\.parquet: not a whole Parquet file.*score for it again"
    ):
        gather(Path("in.vcf"), tables, outputs[0], command="", table=outputs[1])
    assert not any(path.exists() for path in outputs)
    score(parts[1], tables[1])
    gather(Path("in.vcf"), tables, outputs[0], command="", table=outputs[1])
    joined = scoring.outputs()
    scoring.remove_outputs()
    score(Path("in.vcf"), *outputs)
    assert scoring.same(joined)
