"""Evo 2: which published model a folder holds, what its filters see, and what is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from ntvep.errors import ModelError
from ntvep.models import evo2
from ntvep.models.checkpoint import describe, read_checkpoint
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden" / "evo2"
CONFIG = json.loads((GOLDEN / "config.json").read_text())
# Blocks of the published models, as the authors' files list them.
SHORT = [0, 4, 7, 11, 14, 18, 21, 25, 28]
MEDIUM = [1, 5, 8, 12, 15, 19, 22, 26, 29]
LONG = [2, 6, 9, 13, 16, 20, 23, 27, 30]
ATTENTION = [3, 10, 17, 24, 31]


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "model")
    return tmp_path / "model"


def published_shapes(config):
    """Names and shapes of the tensors of a model that is not here."""
    with torch.device("meta"):
        model = evo2.EVO2.build(config, {})
    names = evo2.EVO2.tensors(config, {}).published
    return {names(ours)[0]: tuple(t.shape) for ours, t in model.state_dict().items()}


def write(folder, config, shapes):
    """A folder as it is fetched: a config.json without numbers, and tensors (here of no weight)."""
    (folder / "config.json").write_text(json.dumps(config))
    wanted = {"embedding_layer.weight", "blocks.0.mlp.l1.weight"}
    tensors = {n: torch.zeros(shapes[n], dtype=torch.float16) for n in wanted}
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("name", "scale", "inner", "longest", "trained"),
    [
        ("evo2_7b_base", 1, 11008, 32_768, 8192),
        ("evo2_7b_262k", 32, 11008, 262_144, 262_144),
        ("evo2_7b", 128, 11264, 1_048_576, 1_048_576),
        ("evo-2-7b-8k-microviridae", 1, 11008, 32_768, 8192),
    ],
)
def test_published_models_by_name(name, scale, inner, longest, trained):
    config = {"_name_or_path": f"arcinstitute/{name}"}
    found = evo2.architecture(config, {})
    places = {kind: [i for i, k in enumerate(found.kinds) if k == kind] for kind in found.kinds}
    assert places == {"short": SHORT, "medium": MEDIUM, "long": LONG, "attention": ATTENTION}
    assert (found.rotary_scale, found.inner, found.max_tokens) == (scale, inner, longest)
    assert (found.dim, found.heads, found.rotary_base, found.trained) == (4096, 32, 1e4, trained)
    shapes = published_shapes(config)
    assert shapes["blocks.3.inner_mha_cls.Wqkv.weight"] == (12288, 4096)
    assert shapes["blocks.0.filter.h"] == (256, 1, 7)
    assert shapes["blocks.1.filter.h"] == (256, 1, 128)
    assert shapes["blocks.30.filter.log_poles"] == (4096, 16, 1)


def test_shapes_tell_which_model_it_is(tmp_path):
    shapes = published_shapes({"model_name": "evo2_7b"})
    found = describe(write(tmp_path, {"model_type": "evo2"}, shapes))[1]
    assert (found.family, found.layers, found.default_bases) == ("evo2", 32, 8192)
    assert (found.trained_bases, found.max_tokens) == (1_048_576, 1_048_576)


def test_two_models_of_the_same_shapes_have_to_be_named(tmp_path):
    shapes = published_shapes({"model_name": "evo2_7b_base"})
    write(tmp_path, {"architectures": ["StripedHyena2"]}, shapes)
    with pytest.raises(ModelError, match=r'Add the right one of: "model_name": "evo2_7b_base", '):
        describe(tmp_path)
    write(tmp_path, {"model_name": "evo2_7b_262k"}, shapes)
    assert describe(tmp_path)[1].trained_bases == 262_144


def test_models_that_need_products_of_8_bits_are_refused(tmp_path):
    shapes = {"embedding_layer.weight": (512, 1920), "blocks.0.mlp.l1.weight": (5120, 1920)}
    write(tmp_path, {"model_type": "evo2"}, shapes)
    with pytest.raises(ModelError, match=r"width 1920, feed-forward 5120.*8-bit products"):
        describe(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_fp8_input_projections": True}, "only the 7B models work without"),
        ({"hcl_layer_idxs": [1]}, "do not hold each layer once"),
        ({"num_attention_heads": 5}, "not 5 heads of an even width"),
        ({"hyena_flip_x1x2": True}, "hyena_flip_x1x2 is True, expected False"),
        ({"hcs_filter_groups": 7}, "not a multiple of the number of filter groups"),
        ({"hcl_filter_groups": 8}, "hcl_filter_groups is 8, expected hidden_size, 48"),
        ({"hidden_size": None}, "hidden_size is None"),
        ({"rotary_emb_scaling_factor": 0.5}, "expected 1 or more"),
        ({"eps": True}, "eps is True"),
        ({"vocab_size": 60}, "of 60"),
    ],
)
def test_another_architecture_is_refused(folder, changes, message):
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    with pytest.raises(ModelError, match=message) as refused:
        describe(folder)
    assert "config.json" in str(refused.value)


def test_the_longest_input_follows_from_the_scale_of_positions(folder):
    assert describe(folder)[1].trained_bases == 8192
    long = {"max_seqlen": 20_000}
    (folder / "config.json").write_text(json.dumps(CONFIG | long))
    assert (describe(folder)[1].max_tokens, describe(folder)[1].trained_bases) == (20_000, 20_000)
    long["use_interpolated_rotary_pos_emb"] = False
    (folder / "config.json").write_text(json.dumps(CONFIG | long))
    assert (describe(folder)[1].max_tokens, describe(folder)[1].trained_bases) == (20_000, 8192)


def test_the_output_matrix_may_be_there_twice_if_it_is_equal(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    ids = torch.tensor([[65, 67, 71, 84, 65, 65]])
    expected = read_checkpoint(folder).encoder.hidden(ids)[1]
    save_file(tensors | {"unembed.weight": tensors["embedding_layer.weight"].clone()}, path)
    again = read_checkpoint(folder).encoder
    assert torch.equal(again.hidden(ids)[1], expected)
    assert "copy" not in dict(again.named_parameters())
    save_file(tensors | {"unembed.weight": tensors["embedding_layer.weight"] * 2}, path)
    with pytest.raises(ModelError, match=r"unembed\.weight differs from embedding_layer\.weight"):
        read_checkpoint(folder)


def test_the_long_filter_is_the_same_in_pieces(monkeypatch):
    model = read_checkpoint(GOLDEN).encoder
    ids = torch.randint(65, 85, (1, 90), generator=torch.Generator().manual_seed(1))
    expected = model.hidden(ids)[1]
    monkeypatch.setattr(evo2, "_FILTER_NUMBERS", 90 * 16 * 5)
    torch.testing.assert_close(model.hidden(ids)[1], expected, rtol=0, atol=1e-5)
