"""What is special to Caduceus and PlantCaduceus: two streams, what files hold twice, tokenizers."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ntvep.errors import ModelError
from ntvep.models import caduceus
from ntvep.models.checkpoint import describe, read_checkpoint
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"
NAMES = ["caduceus_ph", "caduceus_ps", "plantcaduceus"]


@pytest.fixture
def folder(tmp_path, request):
    """A copy of a golden that may be changed; parametrised by its name."""
    shutil.copytree(GOLDEN / request.param, tmp_path / "model")
    return tmp_path / "model"


def with_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def with_tensors(folder, change):
    path = folder / "model.safetensors"
    tensors = change(load_file(path))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return folder


def logits(folder):
    checkpoint = read_checkpoint(folder)
    a, c, g, t = checkpoint.description.tokenizer.nucleotides
    ids = torch.tensor([[a, a, c, t, g, checkpoint.description.tokenizer.mask, t, c, a, g, g]])
    return checkpoint.encoder.logits(checkpoint.encoder.hidden(ids)[1][0])


@pytest.mark.parametrize(
    ("name", "agree"), [("caduceus_ph", False), ("caduceus_ps", True), ("plantcaduceus", True)]
)
def test_two_streams_agree_between_strands(name, agree):
    checkpoint = read_checkpoint(GOLDEN / name)
    assert checkpoint.description.strands_agree == agree
    encoder, tokenizer = checkpoint.encoder, checkpoint.description.tokenizer
    draw = np.random.default_rng(4)
    ids = draw.choice([*tokenizer.nucleotides, tokenizer.mask, tokenizer.ids[4]], (1, 150))
    other = tokenizer.complement[ids[:, ::-1]]
    forward, last = (encoder.hidden(torch.tensor(i))[1][0] for i in (ids.copy(), other.copy()))
    columns = tokenizer.complement
    back = encoder.logits(last).flip(0)[:, columns]
    difference = (encoder.logits(forward) - back).abs().max()
    assert difference < 1e-5 if agree else difference > 1
    if agree:
        # The halves of a hidden state change places, each in reverse order.
        torch.testing.assert_close(forward, last.flip(0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("folder", ["caduceus_ps", "plantcaduceus"], indirect=True)
def test_streams_that_were_not_trained_fused_are_refused(folder):
    with pytest.raises(ModelError, match=r"exchanged in each block.*Put back fused_add_norm: true"):
        read_checkpoint(with_config(folder, fused_add_norm=False))


@pytest.mark.parametrize("folder", ["caduceus_ph"], indirect=True)
def test_one_stream_is_the_same_fused_or_not(folder):
    before = logits(folder)
    assert torch.equal(logits(with_config(folder, fused_add_norm=False)), before)


def _twice(tensors, changed=1.0):
    """A file as torch's own pickles are: shared tensors under every name."""
    others = {
        re.sub("_fwd", "_rev", name): tensor.clone() * changed
        for name, tensor in tensors.items()
        if re.search(r"mamba_fwd\.(in|out)_proj", name)
    }
    head = "lm_head.lm_head.weight" if any("submodule" in n for n in tensors) else "lm_head.weight"
    words = next(t for n, t in tensors.items() if n.endswith("weight") and "word_emb" in n)
    return tensors | others | {head: words.clone()}


@pytest.mark.parametrize("folder", NAMES, indirect=True)
def test_shared_tensors_may_be_there_twice_if_they_are_equal(folder):
    before, parameters = logits(folder), read_checkpoint(folder).parameters
    assert torch.equal(logits(with_tensors(folder, _twice)), before)
    again = read_checkpoint(folder)
    assert sum(p.numel() for p in again.encoder.parameters()) == parameters
    with_tensors(folder, lambda tensors: _twice(tensors, changed=1.5))
    with pytest.raises(ModelError, match=r"second copy of blocks\.0\.project_in\.weight"):
        read_checkpoint(folder)


@pytest.mark.parametrize("folder", ["caduceus_ps", "plantcaduceus"], indirect=True)
def test_a_model_without_head_has_no_prefix(folder):
    before = logits(folder)

    def bare(tensors):
        kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("lm_head")}
        return {name.removeprefix("caduceus."): tensor for name, tensor in kept.items()}

    assert torch.equal(logits(with_tensors(folder, bare)), before)


@pytest.mark.parametrize("folder", ["caduceus_ps"], indirect=True)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"complement_map": {str(i): i for i in range(16)}}, "expected T, G, C, A"),
        ({"complement_map": {str(i): 0 for i in range(16)}}, "whose complement it is"),
        ({"complement_map": None}, "complement_map is None"),
        ({"ssm_cfg": {"layer": "Mamba2", "d_state": 64}}, "layer is 'Mamba2', expected 'Mamba1'"),
        ({"ssm_cfg": {"headdim": 64}}, "'headdim', which is not a known key"),
        ({"bidirectional_strategy": "ew_multiply"}, "expected 'add'"),
        ({"d_model": 1 << 20}, "expected a number from 1 to 16384"),
        ({"norm_epsilon": 0}, "expected a number between 0 and 1"),
        ({"vocab_size": 8}, "complement_map"),
    ],
)
def test_another_architecture_is_refused(folder, changes, message):
    with pytest.raises(ModelError, match=message) as refused:
        describe(with_config(folder, **changes))
    assert "config.json" in str(refused.value)
    assert "ntvep model fetch" in str(refused.value)


@pytest.mark.parametrize("folder", ["caduceus_ps"], indirect=True)
def test_special_tokens_of_another_tokenizer_are_refused(folder):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({"added_tokens_decoder": {"3": {"content": "[MASK]"}}}))
    describe(folder)
    path.write_text(json.dumps({"added_tokens_decoder": {"4": {"content": "[MASK]"}}}))
    with pytest.raises(ModelError, match=r"token 4 is '\[MASK\]', expected '\[PAD\]'"):
        describe(folder)


@pytest.mark.parametrize("folder", ["plantcaduceus"], indirect=True)
@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("post_processor", {"type": "TemplateProcessing"}, "adds or merges tokens"),
        ("normalizer", None, "normalizer is None"),
        ("model", {"merges": [], "vocab": {"a": 3}}, "no 'c'"),
        ("model", {"merges": [], "vocab": dict(zip("acgt", range(9), strict=False))}, "UNK"),
    ],
)
def test_another_tokenizer_is_refused(folder, part, value, message):
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {part: value}))
    with pytest.raises(ModelError, match=message):
        describe(folder)


@pytest.mark.parametrize(
    ("folder", "layers", "default", "trained"),
    [
        ("caduceus_ph", 4, 1024, 1024),
        ("caduceus_ps", 16, 8192, 131_072),
        ("plantcaduceus", 20, 512, 512),
    ],
    indirect=["folder"],
)
def test_windows_of_published_models(folder, layers, default, trained):
    found = describe(with_config(folder, n_layer=layers))[1]
    assert (found.default_bases, found.trained_bases) == (default, trained)


@pytest.mark.parametrize(
    ("name", "dim", "layers", "count"),
    # As counted with the authors' code, and, for l20, as they round it.
    [("caduceus_ps", 256, 16, 7_725_312), ("plantcaduceus", 384, 20, 20.9e6)],
)
def test_parameters_of_published_models(name, dim, layers, count):
    config = json.loads((GOLDEN / name / "config.json").read_text())
    with torch.device("meta"):
        model = caduceus.CADUCEUS.build(config | {"d_model": dim, "n_layer": layers}, {})
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters == count if isinstance(count, int) else abs(parameters / count - 1) < 0.003


def test_the_narrow_model_rounds_up():
    config = json.loads((GOLDEN / "caduceus_ph" / "config.json").read_text())
    assert caduceus.architecture(config | {"d_model": 118}).step_rank == 8
