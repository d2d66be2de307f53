"""Several devices: a worker for each over one queue, and runs side by side on GPUs of their own."""

import subprocess
import sys
import threading
from itertools import chain
from pathlib import Path

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from benchmarks.passes import FIRST, GOLDEN, SLICE, snvs
from ntvep.errors import ConfigError
from ntvep.io.fasta import open_reference
from ntvep.models import device
from ntvep.models.engine import Engine, Fleet
from ntvep.models.loaded import load_model
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.settings import Settings
from tests.conftest import ROOT

# Processes side by side.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chr22():
    return open_reference(SLICE)


def scored(loaded, genome):
    settings = Settings(("llr", "entropy", "l2"), loaded.description.default_bases, 2,
                        max_allele_bases=8)  # fmt: skip
    context = ScoringContext(genome, loaded.model, loaded.description, settings)
    return score_alleles(snvs(genome, range(FIRST, FIRST + 30)), context)


# One of each way to share: masked rows alone, states of a prefix.
@pytest.mark.parametrize("name", ["gpn_convnet", "marin-dna"])
def test_workers_over_one_queue_give_the_same_numbers(name, chr22, monkeypatch):
    seen = {}
    run = Engine._run

    def noted(self, asked, passes, *more):
        seen.setdefault(threading.get_ident(), []).append(len(passes))
        return run(self, asked, passes, *more)

    monkeypatch.setattr(Engine, "_run", noted)
    folder = str(GOLDEN / name)
    one = scored(load_model(folder, device="cpu", batch_size=3, threads=1), chr22)
    (alone,) = seen.values()
    seen.clear()
    loaded = load_model(folder, device="cpu:0,cpu:1,cpu:2", batch_size=3, threads=1)
    assert isinstance(loaded.model, Fleet)
    assert len({id(engine.encoder) for engine in loaded.model.engines}) == 3
    many = scored(loaded, chr22)
    assert_frame_equal(many.scores, one.scores, check_exact=True)
    assert many.passes == one.passes
    assert len(seen) > 1
    assert sorted(chain(*seen.values())) == sorted(alone)
    # The same kind of device is the same fingerprint.
    assert loaded.identity == load_model(folder, device="cpu").identity


def test_a_worker_that_fails_stops_all(chr22, monkeypatch):
    loaded = load_model(str(GOLDEN / "gpn_convnet"), device="cpu:0,cpu:1", batch_size=1)
    broken = loaded.model.engines[1]

    def fails(*_):
        raise ValueError("of worker 1")

    monkeypatch.setattr(broken, "_run", fails)
    before = threading.active_count()
    with pytest.raises(ValueError, match="of worker 1"):
        scored(loaded, chr22)
    assert threading.active_count() == before


def test_memory_that_runs_out_on_one_device_halves_its_batches_alone(chr22, monkeypatch):
    folder = str(GOLDEN / "gpn_convnet")
    expected = scored(load_model(folder, device="cpu"), chr22)
    loaded = load_model(folder, device="cpu:0,cpu:1", batch_size=16)
    small, other = loaded.model.engines
    run = small._run

    def few(asked, passes, *more):
        if len(passes) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(asked, passes, *more)

    monkeypatch.setattr(small, "_run", few)
    found = scored(loaded, chr22)
    assert_frame_equal(found.scores, expected.scores, abs_tol=1e-6)
    assert small.batch_size <= 4
    assert other.batch_size == 16


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("cuda:x", "expected one of auto, cpu, cuda, mps, a GPU such as cuda:1"),
        ("cpu,cuda:0", "expected one of auto"),
        ("cpu:0,cuda:0", "devices of one kind"),
        ("cpu:0,cpu:0", "each once"),
        ("auto:1", "expected one of auto"),
        ("gpu", "expected one of auto, cpu, cuda, mps"),
    ],
)
def test_names_that_are_no_devices(names, message):
    with pytest.raises(ConfigError, match=message):
        device.resolve_devices(names)


def test_numbers_of_gpus(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(device, "_gpus", lambda: ("a", "b"))
    monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))
    assert device.resolve_devices("cuda:1") == (torch.device("cuda:1"),)
    assert [one.index for one in device.resolve_devices("cuda:0,cuda:1")] == [0, 1]
    with pytest.raises(ConfigError, match="this machine has 2 GPUs, cuda:0 to cuda:1"):
        device.resolve_devices("cuda:2")


CLAIMS = """
import sys
from pathlib import Path
from ntvep.models.device import claim
print(claim(["a", "b", "c"], Path(sys.argv[1]), range(3)), flush=True)
sys.stdin.read()
"""


def test_runs_side_by_side_take_gpus_of_their_own(tmp_path):
    """Five processes, three GPUs; one that is killed gives its GPU back."""

    def run():
        started = subprocess.Popen([sys.executable, "-c", CLAIMS, tmp_path], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True, cwd=ROOT)  # fmt: skip
        return started, int(started.stdout.readline())

    runs = [run() for _ in range(5)]
    assert [number for _, number in runs] == [0, 1, 2, 0, 1]
    for killed, number in (runs[1], runs[2]):
        killed.kill()
        killed.wait()
        again, found = run()
        assert found == number
        runs.append((again, found))
    for one, _ in runs:
        one.stdin.close()
        one.wait()
        one.stdout.close()
    assert {path.name for path in Path(tmp_path).iterdir()} == {"a.0", "a.1", "b.0", "b.1", "c.0"}


def test_the_table_is_not_empty(chr22):
    """What the comparisons above compare."""
    found = scored(load_model(str(GOLDEN / "gpn_convnet"), device="cpu"), chr22)
    assert found.scores.filter(pl.col("llr").is_not_null()).height == 90
