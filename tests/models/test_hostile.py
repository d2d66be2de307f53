"""A checkpoint as a hostile file: one clear error, before memory is spent or code is run."""

import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ntvep.errors import ModelError
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.loaded import load_model
from tests.conftest import ROOT

DENSE = "esm.encoder.layer.1.output.dense.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "model"
    shutil.copytree(ROOT / "tests" / "golden" / "v2", copy)
    return copy


def set_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def header_of(path: Path) -> tuple[dict[str, dict[str, object]], bytes]:
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    return json.loads(whole[8 : 8 + length]), whole[8 + length :]


def set_header(folder: Path, text: bytes, length: int | None = None) -> None:
    path = folder / "model.safetensors"
    _, tensors = header_of(path)
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + tensors)


def set_tensor(folder: Path, **changes: object) -> None:
    header, _ = header_of(folder / "model.safetensors")
    header[DENSE] |= changes
    set_header(folder, json.dumps(header).encode())


def fill(value: float) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "model.safetensors"
        state = load_file(path)
        state[DENSE][3, 5] = value
        save_file(state, path, metadata={"format": "pt"})

    return spoil


def as_type(dtype: torch.dtype, value: float | None = None) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "model.safetensors"
        state = load_file(path)
        state[DENSE] = state[DENSE].to(dtype)
        if value is not None:
            state[DENSE][0, 0] = value
        save_file(state, path, metadata={"format": "pt"})

    return spoil


def set_vocabulary(folder: Path, change: Callable[[list[str]], list[str]]) -> None:
    path = folder / "vocab.txt"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


NUMBERS: dict[str, list[object]] = {
    "num_hidden_layers": [10**9, 0, -1, "2", 2.0, True, None, [2], 1e400],
    "hidden_size": [0, -16, 10**12, "16", 16.5],
    "intermediate_size": [0, 10**18, "24"],
    "num_attention_heads": [0, -2, 10**9, "2", 16],
    "vocab_size": [0, -1, 10**12, 1 << 15, "4107"],
    "max_position_embeddings": [0, -5, 10**12, "66", 2.5],
    "pad_token_id": [-1, 10**9, "1", 1.5, 65],
    "mask_token_id": [-1, 10**9, "2"],
    "layer_norm_eps": [0, -1, float("nan"), float("inf"), "1e-12", None],
    "token_dropout": ["false", 0.5, [], {}],
    "position_embedding_type": ["alibi", 1, [], {"a": 1}],
}
HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    **{
        f"{key} {value!r}": (
            lambda f, key=key, value=value: set_config(f, **{key: value}),
            r"config\.json: .*expected the config\.json of a Nucleotide Transformer",
        )
        for key, values in NUMBERS.items()
        for value in values
    },
    "config of another model": (
        lambda f: (f / "config.json").write_text(
            '{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096}'
        ),
        "it holds tokens of several bases",
    ),
    "config of depth": (
        lambda f: (f / "config.json").write_text('{"a":' * 150_000),
        "config.json: not valid JSON",
    ),
    "config with a number of many digits": (
        lambda f: (f / "config.json").write_text('{"hidden_size": ' + "9" * 9000 + "}"),
        "config.json: not valid JSON",
    ),
    "config of 8 GiB": (
        lambda f: os.truncate(f / "config.json", 8 << 30),
        "config.json: 8589934592 bytes, expected no more than",
    ),
    "vocabulary of 8 GiB": (
        lambda f: os.truncate(f / "vocab.txt", 8 << 30),
        "vocab.txt: 8589934592 bytes, expected no more than",
    ),
    "config is a pipe": (lambda f: pipe(f / "config.json"), "config.json: cannot be read"),
    "vocabulary is a pipe": (lambda f: pipe(f / "vocab.txt"), "vocab.txt: cannot be read"),
    "weights are a pipe": (
        lambda f: pipe(f / "model.safetensors"),
        "safetensors: it is not a file",
    ),
    "weights are a folder": (
        lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors").mkdir()),
        "safetensors: it is not a file",
    ),
    "a six-mer twice": (
        lambda f: set_vocabulary(f, lambda t: [*t[:10], t[9], *t[11:]]),
        r"vocab\.txt: 1 tokens are missing",
    ),
    "a six-mer once more, in a place that is not used": (
        lambda f: set_vocabulary(f, lambda t: [w if w != "<unk>" else "ACGTAC" for w in t]),
        r"vocab\.txt: token 'ACGTAC' occurs twice",
    ),
    "six-mers missing": (
        lambda f: set_vocabulary(
            f, lambda t: [f"x{i}" if 6 < i < 107 else w for i, w in enumerate(t)]
        ),
        r"vocab\.txt: 100 tokens are missing",
    ),
    "an empty vocabulary": (
        lambda f: (f / "vocab.txt").write_text(""),
        r"vocab\.txt: 0 tokens, but the model has 4107",
    ),
    "a header of 2^60 bytes": (lambda f: set_header(f, b"{}", 1 << 60), "not a whole safetensors"),
    "a header that is not JSON": (lambda f: set_header(f, b"{" * 100), "not a whole safetensors"),
    "a tensor of 2^80 numbers": (
        lambda f: set_tensor(f, shape=[1 << 40, 1 << 40]),
        "not a whole safetensors",
    ),
    "a tensor of 2^40 numbers": (
        lambda f: set_tensor(f, shape=[1 << 40, 1]),
        "not a whole safetensors",
    ),
    "a tensor of a negative size": (
        lambda f: set_tensor(f, shape=[-16, 24]),
        "not a whole safetensors",
    ),
    "a tensor of nothing": (
        lambda f: set_tensor(f, shape=[0, 1 << 62], data_offsets=[0, 0]),
        "not a whole safetensors",
    ),
    "a tensor behind the end": (
        lambda f: set_tensor(f, data_offsets=[1 << 50, (1 << 50) + 1536]),
        "not a whole safetensors",
    ),
    "a tensor of a type that is not there": (
        lambda f: set_tensor(f, dtype="F1"),
        "not a whole safetensors",
    ),
    "a tensor of whole numbers": (as_type(torch.int32), f"{DENSE} has type I32, expected one of"),
    "a tensor of complex numbers": (
        as_type(torch.complex64),
        f"{DENSE} has type C64, expected one of",
    ),
    "NaN": (fill(float("nan")), f"{DENSE} holds NaN or infinity"),
    "infinity": (fill(float("inf")), f"{DENSE} holds NaN or infinity"),
    "a number beyond float32": (as_type(torch.float64, 1e300), f"{DENSE} holds NaN or infinity"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_one_error(folder: Path, case: str) -> None:
    spoil, message = HOSTILE[case]
    spoil(folder)
    with pytest.raises(ModelError, match=message) as raised:
        read_checkpoint(folder)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_memory_is_not_spent_on_them(folder: Path) -> None:
    """A process that may have 1 GiB beyond torch refuses each of the big ones, and grows little."""
    big = [
        "num_hidden_layers 1000000000", "hidden_size 1000000000000",
        "intermediate_size 1000000000000000000", "vocab_size 1000000000000",
        "max_position_embeddings 1000000000000", "config of 8 GiB", "vocabulary of 8 GiB",
        "a header of 2^60 bytes", "a tensor of 2^80 numbers", "a tensor of 2^40 numbers",
        "a tensor behind the end",
    ]  # fmt: skip
    assert set(big) <= set(HOSTILE)
    copies = []
    for number, case in enumerate(big):
        copy = folder.with_name(f"copy-{number}")
        shutil.copytree(folder, copy)
        HOSTILE[case][0](copy)
        copies.append(str(copy))
    code = """
import resource, sys
from pathlib import Path
from ntvep.errors import ModelError
from ntvep.models.checkpoint import read_checkpoint
read_checkpoint(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for folder in sys.argv[2:]:
    try:
        read_checkpoint(Path(folder))
    except ModelError:
        continue
    sys.exit("was read: " + folder)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), *copies],
        capture_output=True, text=True, timeout=60, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (30, 30)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    # KiB; the sound checkpoint itself has half a MiB.
    assert int(done.stdout) < 32 * 1024


def test_a_pickle_beside_or_instead_is_not_opened(folder: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    bomb = pickle.dumps(Bomb())
    (folder / "pytorch_model.bin").write_bytes(bomb)
    read_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"only pytorch_model\.bin, a pickle"):
        read_checkpoint(folder)
    # A pickle with the other's name is not safetensors.
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    with pytest.raises(ModelError, match="not a whole safetensors"):
        read_checkpoint(folder)
    assert not (tmp_path / "exploded").exists()


def test_code_of_a_checkpoint_is_not_run(folder: Path, tmp_path: Path) -> None:
    set_config(
        folder,
        auto_map={"AutoModelForMaskedLM": "modeling_esm.EsmForMaskedLM"},
        custom_pipelines={"a": {"impl": "modeling_esm.Run"}},
        trust_remote_code=True,
    )
    for name in ("modeling_esm.py", "esm_config.py", "__init__.py", "setup.py"):
        (folder / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    load_model(str(folder), device="cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors", "more"])
def test_a_link_that_leaves_the_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("private")
    if (folder / name).exists():
        shutil.move(folder / name, outside)
    (folder / name).symlink_to("../outside")
    with pytest.raises(ModelError, match=f"{name}: links out of the model's folder") as raised:
        load_model(str(folder), device="cpu")
    assert "private" not in str(raised.value)
    # A link within it is a file like any other.
    (folder / name).unlink()
    shutil.copy(outside, folder / "kept.dat")
    (folder / name).symlink_to("kept.dat")
    load_model(str(folder), device="cpu")
