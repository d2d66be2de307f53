"""A checkpoint that is not whole is refused by name, before any score."""

import json
import shutil

import pytest
import torch
from packaging.specifiers import SpecifierSet
from safetensors.torch import load_file, save_file

from ntvep.errors import ConfigError, ModelError
from ntvep.models import device as device_module
from ntvep.models import nt
from ntvep.models.checkpoint import describe, read_checkpoint
from ntvep.models.device import PRECISIONS, be_deterministic, resolve_precision
from ntvep.models.layers import Product
from ntvep.models.loaded import load_model
from ntvep.models.second_opinion import compare, refuse_wrong_transformers
from tests.conftest import ROOT


@pytest.fixture(params=["v1", "v2"])
def folder(request, tmp_path):
    """A copy of a small checkpoint, to break."""
    copy = tmp_path / "model"
    shutil.copytree(ROOT / "tests" / "golden" / request.param, copy)
    return copy


def change_config(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def change_weights(folder, change):
    path = folder / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path, metadata={"format": "pt"})


DENSE = "esm.encoder.layer.1.output.dense.weight"


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json; expected a checkpoint folder"),
        (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "expected a JSON object"),
        (lambda f: (f / "vocab.txt").unlink(), "no vocab.txt; fetch the model again with"),
        (lambda f: (f / "vocab.txt").write_text("A\nC"), "2 tokens, but the model has 41"),
        (lambda f: (f / "model.safetensors").unlink(), r"no \*.safetensors file"),
        (
            lambda f: (f / "model.safetensors").write_bytes(
                (f / "model.safetensors").read_bytes()[:-100]
            ),
            "not a whole safetensors file",
        ),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            r"only pytorch_model.bin, a pickle.*Convert it once with: ntvep model fetch /",
        ),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "not a whole safetensors file"),
        (
            lambda f: shutil.copy(f / "model.safetensors", f / "other.safetensors"),
            r"other.safetensors: esm.* is in another \*.safetensors file of the folder too",
        ),
        (lambda f: replace_by_folder(f / "config.json"), "config.json: cannot be read"),
        (lambda f: replace_by_folder(f / "vocab.txt"), "vocab.txt: cannot be read"),
        (lambda f: (f / "vocab.txt").write_bytes(b"\xff\xfe"), "vocab.txt: not a text file"),
        (lambda f: change_config(f, mask_token_id=4), "<mask> is token 2 of vocab.txt, but"),
        (lambda f: change_config(f, hidden_size=None), "config.json: no 'hidden_size'; expected"),
        (lambda f: change_config(f, hidden_size=17), "not a multiple of num_attention_heads"),
        (
            lambda f: change_config(f, position_embedding_type="alibi"),
            "expected absolute or rotary",
        ),
        (lambda f: change_config(f, tie_word_embeddings=True), "tied word embeddings"),
        (lambda f: change_config(f, num_hidden_layers=3), r"missing weights \(first: esm.*layer.2"),
        (lambda f: change_config(f, num_hidden_layers=1), "unexpected weights"),
        (lambda f: change_config(f, vocab_size=4000), "vocab.txt: 10[57] tokens are missing"),
        (lambda f: change_config(f, hidden_size=32), "has shape"),
        (
            lambda f: change_weights(f, lambda s: s.pop(DENSE)),
            f"1 missing weights .first: {DENSE}.",
        ),
        (
            lambda f: change_weights(f, lambda s: s.update(extra=torch.zeros(1))),
            r"1 unexpected weights \(first: extra\)",
        ),
        (
            lambda f: change_weights(f, lambda s: s[DENSE].fill_(torch.nan)),
            "holds NaN or infinity",
        ),
    ],
)
def test_a_broken_checkpoint_is_named(folder, spoil, message):
    spoil(folder)
    with pytest.raises(ModelError, match=message):
        read_checkpoint(folder)


def test_a_wrong_vocabulary_is_named(folder):
    path = folder / "vocab.txt"
    path.write_text(path.read_text().replace("ACGTAC", "ACGTAX"))
    with pytest.raises(ModelError, match=r"1 tokens are missing \(first: 'ACGTAC'\)"):
        load_model(str(folder))
    with pytest.raises(ModelError, match="expected the 4,096 six-mers"):
        read_checkpoint(folder)


def test_known_unused_weights_do_not_matter(folder):
    before = read_checkpoint(folder).encoder
    unused = "esm.encoder.layer.0.attention.self.rotary_embeddings.inv_freq"
    change_weights(folder, lambda s: s.update({unused: torch.full((4,), 9.0)}))
    after = read_checkpoint(folder).encoder
    ids = torch.tensor([[3, 9, 2, 700]])
    torch.testing.assert_close(before.hidden(ids)[1], after.hidden(ids)[1])


def test_numbers_are_those_of_transformers(folder):
    found = compare(folder)
    assert found.agrees
    assert found.logits < 1e-4


def test_token_dropout_is_read_from_the_configuration(folder):
    """The flag, not the family, decides: both families take either value, as transformers does."""
    flag = json.loads((folder / "config.json").read_text())["token_dropout"]
    ids = torch.tensor([[3, 9, 2, 700]])
    before = read_checkpoint(folder).encoder
    change_config(folder, token_dropout=not flag)
    after = read_checkpoint(folder).encoder
    assert (before.hidden(ids)[1] - after.hidden(ids)[1]).abs().max() > 0.1
    assert compare(folder).agrees


@pytest.mark.parametrize("version", ["4.56.0", "4.57.6", "5.0.0", "5.2.0"])
def test_wrong_releases_of_transformers_are_refused(version):
    with pytest.raises(ModelError, match=f"transformers {version} gives wrong masked logits"):
        refuse_wrong_transformers(version)
    pyproject = (ROOT / "pyproject.toml").read_text()
    line = next(line for line in pyproject.splitlines() if line.strip().startswith('"transformers'))
    assert not SpecifierSet(line.strip(' ",').removeprefix("transformers")).contains(version)


def test_right_releases_of_transformers_pass():
    refuse_wrong_transformers("5.23.0")
    refuse_wrong_transformers("4.55.4")


def test_a_device_that_is_not_there(folder):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ConfigError, match="--device cuda: no such device here"):
        load_model(str(folder), device="cuda")


def test_deterministic_comes_before_the_first_use_of_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    with pytest.raises(ConfigError, match="CUBLAS_WORKSPACE_CONFIG=:4096:8 in its environment"):
        be_deterministic()
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 0.1), ("fp16", 0.0125)])
def test_half_precision_is_near_single(folder, precision, bound):
    ids = torch.tensor([[3, 9, 2, 700, 800]])
    full, half = (
        load_model(str(folder), precision=p, device="cpu").model.encoder
        for p in ("fp32", precision)
    )
    assert half.blocks[0].qkv.weight.dtype == PRECISIONS[precision]
    # Sums, norms and the head stay as they are.
    assert half.words.weight.dtype == half.head.dense.weight.dtype == torch.float32
    hidden = half.hidden(ids)[1]
    assert hidden.dtype == torch.float32
    difference = (full.hidden(ids)[1] - hidden).abs().max()
    assert 0 < difference < bound


@pytest.fixture
def cpu(monkeypatch, tmp_path):
    """Give this machine a processor with these flags."""

    def give(flags):
        described = tmp_path / "cpuinfo"
        if flags is not None:
            described.write_text(f"processor : 0\nflags\t\t: fpu {flags} sse\nbogomips : 1\n")
        monkeypatch.setattr(device_module, "_CPU_FLAGS", described)
        device_module._has_amx.cache_clear()

    yield give
    device_module._has_amx.cache_clear()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [(None, "fp32"), ("avx512f amx_int8", "fp32"), ("amx_bf16_not", "fp32"), ("amx_bf16", "mixed")],
)
def test_auto_precision(cpu, flags, expected):
    cpu(flags)
    assert resolve_precision("auto", torch.device("cpu"), on_cpu="mixed") == expected
    assert resolve_precision("auto", torch.device("cpu")) == "fp32"
    assert resolve_precision("auto", torch.device("mps"), on_cpu="mixed") == "fp32"
    assert resolve_precision("auto", torch.device("cuda"), on_cpu="mixed") == "fp16"


def test_a_precision_of_another_device_is_refused():
    with pytest.raises(ConfigError, match="--precision tf32: a format of NVIDIA GPUs"):
        resolve_precision("tf32", torch.device("cpu"))
    for device in ("cuda", "mps"):
        with pytest.raises(ConfigError, match="--precision mixed: made for CPUs; use fp16 or bf16"):
            resolve_precision("mixed", torch.device(device))


@pytest.mark.parametrize(("width", "expected"), [(508, "fp32"), (512, "mixed")])
def test_a_model_as_wide_as_the_published_ones_is_mixed_where_that_is_faster(
    folder, cpu, width, expected
):
    change_config(folder, hidden_size=width, num_attention_heads=2)
    assert describe(folder)[1].on_cpu == expected


def test_a_model_loads_in_what_its_description_says(folder, cpu, monkeypatch):
    cpu("amx_bf16")
    monkeypatch.setattr(nt, "WIDE", 1)
    # A processor that only says so could not.
    monkeypatch.setattr(Product, "pack", lambda _: None)
    chosen, asked = (load_model(str(folder), device="cpu", precision=p) for p in ("auto", "fp32"))
    assert chosen.identity.precision == "mixed"
    assert asked.identity.precision == "fp32"
    assert chosen.model.fills
    assert not asked.model.fills
    held = [block.qkv.weight.dtype for block in chosen.model.encoder.blocks]
    assert held == [torch.float32, torch.bfloat16]
    assert chosen.model.in_float32().encoder.blocks[1].qkv.weight.dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("tf32", 1e-2), ("fp16", 1e-2)])
def test_cuda_agrees_with_the_cpu(folder, precision, bound):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    ids = torch.tensor([[3, 9, 2, 700, 800]])
    cpu = load_model(str(folder), device="cpu").model.encoder
    gpu = load_model(str(folder), device="cuda", precision=precision).model.encoder
    torch.testing.assert_close(
        gpu.hidden(ids.cuda())[1].cpu(), cpu.hidden(ids)[1], atol=bound, rtol=bound
    )
