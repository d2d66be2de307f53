"""Pickles become safetensors: every tensor as it was, nothing else, and in another process."""

import io
import os
import pickle
import resource
import signal
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ntvep.errors import ModelError
from ntvep.models import convert as convert_module
from ntvep.models.convert import ConversionStoppedError, convert, convert_apart


def a_state(seed: int = 0) -> dict[str, torch.Tensor]:
    make = torch.Generator().manual_seed(seed)
    return {
        "a.weight": torch.randn(7, 5, generator=make),
        "b.weight": torch.randn(3, generator=make).bfloat16(),
        "c.ids": torch.arange(6).reshape(2, 3),
        "d.scale": torch.tensor(2.5, dtype=torch.float64),
        "e.empty": torch.zeros(0, 4),
    }


def assert_same(made: Path, expected: dict[str, torch.Tensor]) -> None:
    found = load_file(made)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value), key


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("content", ["dict", "ordered", "parameters", "lightning"])
def test_every_tensor_is_as_it_was(tmp_path, zipped, content):
    state = a_state()
    holder = {
        "dict": state,
        "ordered": OrderedDict(state),
        "parameters": {k: torch.nn.Parameter(v, requires_grad=False) for k, v in state.items()},
        "lightning": {
            "state_dict": state,
            "epoch": 3,
            "global_step": 99,
            "pytorch-lightning_version": "2.0.0",
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "lr": 1e-3}],
            "hyper_parameters": {"d_model": 128},
        },
    }[content]
    torch.save(holder, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    convert([tmp_path / "w.ckpt"], tmp_path / "made")
    assert_same(tmp_path / "made", state)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_names_that_share_memory_all_survive(tmp_path, zipped):
    """A tied decoder, Caduceus' mamba_rev.in_proj, parts of one matrix, a transposed one."""
    words, joined = torch.randn(16, 6), torch.randn(12, 4)
    state = {
        "words": words,
        "decoder": words,
        "fwd.in_proj": joined,
        "rev.in_proj": joined,
        "query": joined[:4],
        "value": joined[8:],
        "column": joined[:, 1],
        "transposed": words.t(),
        "alone": torch.randn(3, 5).t(),
        "repeated": torch.randn(4, 1).expand(4, 3),
        "position_ids": torch.arange(9).expand((1, -1)),
    }
    expected = {key: value.clone() for key, value in state.items()}
    torch.save(state, tmp_path / "w.bin", _use_new_zipfile_serialization=zipped)
    convert([tmp_path / "w.bin"], tmp_path / "made")
    assert_same(tmp_path / "made", expected)


def test_in_a_process_of_its_own(tmp_path, monkeypatch):
    """As Evo 2's: FP8 metadata in BytesIO beside the weights, in parts that are joined."""
    state = a_state()
    extra = {"blocks.0.projections._extra_state": io.BytesIO(b"fp8"), "_extra_state": None}
    torch.save(state | extra, tmp_path / "evo2.pt")
    whole = (tmp_path / "evo2.pt").read_bytes()
    parts = [tmp_path / f"evo2.pt.part{i}" for i in range(3)]
    for part, content in zip(parts, (whole[:500], whole[500:2000], whole[2000:]), strict=True):
        part.write_bytes(content)
    (tmp_path / "evo2.pt").unlink()
    # A file in the working folder is not one of our modules.
    (tmp_path / "torch.py").write_text("raise SystemExit('a file of this folder was run')")
    monkeypatch.chdir(tmp_path)
    convert_apart([Path(part.name) for part in parts], Path("made"))
    assert_same(tmp_path / "made", state)
    assert {path.name for path in tmp_path.iterdir()} == {
        "made", "torch.py", *(part.name for part in parts)
    }  # fmt: skip


def test_that_process_is_told_no_login_and_sees_no_gpu(tmp_path, monkeypatch):
    asked = {}

    def run(command, **options):
        asked.update(options["env"])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "secret")
    monkeypatch.setattr(subprocess, "run", run)
    convert_apart([tmp_path / "w.bin"], tmp_path / "made")
    assert "secret" not in asked.values()
    assert (asked["CUDA_VISIBLE_DEVICES"], asked["PATH"]) == ("", os.environ["PATH"])


class Malicious:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return (os.mkdir, (self.mark,))


@pytest.mark.parametrize(
    "save", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))], ids=["torch", "pickle"]
)
@pytest.mark.parametrize("name", ["x", "x._extra_state"])
def test_a_pickle_that_runs_code_is_refused(tmp_path, save, name):
    save({"a": torch.zeros(2), name: Malicious(tmp_path / "ran")}, tmp_path / "w.bin")
    with pytest.raises(ModelError, match=r"w\.bin: holds more than weights, or is damaged"):
        convert([tmp_path / "w.bin"], tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["w.bin"]
    pickle.loads(pickle.dumps(Malicious(tmp_path / "ran")))
    assert (tmp_path / "ran").exists(), "it would have run"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([1, 2], "a list"),
        ({}, "nothing"),
        (torch.zeros(2), "a Tensor"),
        ({"model": {"a": torch.zeros(1)}}, "'model'"),
        ({"epoch": 3}, "'epoch'"),
        ({"a": torch.zeros(1), 5: torch.zeros(1)}, "5"),
        ({"a": torch.zeros(1), "b": io.BytesIO(b"x")}, "'b'"),
        ({"state_dict": {"a": torch.zeros(1)}, "mine": 3}, "'state_dict', 'mine'"),
        ({"state_dict": {"a": torch.zeros(1), "b": "text"}}, "'b'"),
        ({"a": torch.eye(3).to_sparse()}, "'a'"),
        ({"a": torch.zeros(3, device="meta")}, "'a'"),
        ({"x._extra_state": io.BytesIO(b"x")}, "nothing"),
    ],
)
def test_anything_else_is_refused(tmp_path, content, named):
    torch.save(content, tmp_path / "w.bin")
    with pytest.raises(ModelError) as raised:
        convert([tmp_path / "w.bin"], tmp_path / "made")
    assert f"w.bin: does not hold named weights ({named})" in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["w.bin"]


def test_a_few_bytes_that_unfold_to_many_are_refused(tmp_path):
    """A tensor of stride 0: 4 bytes in the file, 40 TB in memory."""
    torch.save({"a": torch.zeros(1).expand(10**13)}, tmp_path / "w.bin")
    with pytest.raises(ModelError, match=r"hold weights of 40,000,000,000,000; expected no more"):
        convert([tmp_path / "w.bin"], tmp_path / "made")


def test_two_shards_with_one_name_are_refused(tmp_path):
    for shard in "12":
        torch.save({f"{shard}.weight": torch.ones(1), "b": torch.ones(1)}, tmp_path / shard)
    with pytest.raises(ModelError, match="2: b is in another shard too"):
        convert([tmp_path / "1", tmp_path / "2"], tmp_path / "made")


@pytest.mark.parametrize("parts", [0, 1], ids=["truncated", "a part is missing"])
def test_a_pickle_that_is_cut(tmp_path, parts):
    torch.save(a_state(), tmp_path / "w.pt")
    name = "w.pt.part0" if parts else "w.pt"
    (tmp_path / name).write_bytes((tmp_path / "w.pt").read_bytes()[:-200])
    with pytest.raises(ModelError, match=rf"/{name}: holds more than weights, or is damaged"):
        convert([tmp_path / name], tmp_path / "made")
    assert not [path for path in tmp_path.iterdir() if "made" in path.name]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("unable to mmap 9 bytes: Cannot allocate memory (12)")]
)
def test_a_machine_without_memory_is_no_fault_of_the_pickle(tmp_path, monkeypatch, error):
    def load(*args, **options):
        raise error

    torch.save(a_state(), tmp_path / "w.bin")
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(type(error)):
        convert([tmp_path / "w.bin"], tmp_path / "made")


def test_a_disk_that_is_full_is_told_by_the_other_process(tmp_path):
    torch.save({"a": torch.zeros(1 << 19)}, tmp_path / "w.bin")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            convert_apart([tmp_path / "w.bin"], tmp_path / "made")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (f"import os; os.kill(os.getpid(), {signal.SIGKILL:d})", r"by SIGKILL \(no reason given\)"),
        ("raise MemoryError('17 GB')", r"by status 1 \(MemoryError: 17 GB\)"),
    ],
)
def test_the_other_process_is_killed(tmp_path, monkeypatch, code, told):
    (tmp_path / "w.bin").write_bytes(b"x" * 10)
    run = subprocess.run

    def other(command, **options):
        return run([sys.executable, "-c", code], **options)

    monkeypatch.setattr(convert_module.subprocess, "run", other)
    with pytest.raises(
        ConversionStoppedError, match=rf"w\.bin: converting it ended {told}; it needs up to"
    ):
        convert_apart([tmp_path / "w.bin"], tmp_path / "made")
