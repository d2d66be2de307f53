"""What is special to GPN and PhyloGPN: their tokenizers, kinds that are refused, ends of inputs."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from ntvep import dna
from ntvep.errors import ModelError
from ntvep.models.checkpoint import describe, read_checkpoint
from ntvep.models.gpn import dilations
from ntvep.models.registry import family_of
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"


def a_copy(name, folder):
    shutil.copytree(GOLDEN / name, folder, ignore=shutil.ignore_patterns("golden.*"))
    return folder


def edit(path, **changes):
    """Change keys of a JSON file; None takes a key away."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def random_bases(size, seed):
    return np.random.default_rng(seed).integers(0, 4, size).astype(np.uint8)


def test_dilations_of_the_published_models():
    brassicales = dilations(25, base=2, double_every=1, cycle=6, most=32)
    assert brassicales == [1, 2, 4, 8, 16, 32] * 4 + [1]
    promoter = dilations(64, base=2, double_every=1, cycle=8, most=9999)
    assert promoter == [1, 2, 4, 8, 16, 32, 64, 128] * 8
    assert dilations(5, base=3, double_every=2, cycle=9, most=8) == [1, 1, 3, 3, 8]


@pytest.mark.parametrize(
    ("name", "changes", "parameters"),
    [
        # songlab/gpn-brassicales: 263.6 MB in float32.
        ("gpn_convnet", {"hidden_size": 512, "n_layers": 25}, 65_880_071),
        # songlab/gpn-animal-promoter: 608.8 MB.
        ("gpn_bytenet", {"hidden_size": 1024, "num_hidden_layers": 64}, 152_189_952),
        # songlab/PhyloGPN: 332.7 MB.
        ("phylogpn", {"outer_dim": 960, "inner_dim": 480, "num_stacks": 20}, 83_185_924),
    ],
)
def test_number_of_parameters_of_the_published_models(name, changes, parameters):
    config = json.loads((GOLDEN / name / "config.json").read_text()) | changes
    with torch.device("meta"):
        encoder = family_of(GOLDEN / name, config).build(config, {})
    assert sum(p.numel() for p in encoder.parameters()) == parameters
    if name == "phylogpn":
        assert encoder.margin == 240


def test_convnet_in_plain_loops(tmp_path):
    """Two layers, written out: zeros beyond the ends, the norm behind gelu, inside the branch."""
    folder = a_copy("gpn_convnet", tmp_path / "model")
    edit(folder / "config.json", n_layers=2)
    tensors = load_file(folder / "model.safetensors")
    later = re.compile(r"model\.encoder\.[2-7]\.")
    small = {key: value for key, value in tensors.items() if not later.match(key)}
    save_file(small, folder / "model.safetensors")
    ids = np.array([3, 6, 1, 2, 4, 5, 5, 3], np.int64)
    x = np.eye(32)[ids]
    for layer, dilation in ((0, 1), (1, 2)):
        part = {k: small[f"model.encoder.{layer}.{k}"].double().numpy() for k in (
            "conv.1.weight", "conv.1.bias", "conv.4.weight", "conv.4.bias",
            "ffn.0.weight", "ffn.0.bias", "ffn.2.weight", "ffn.2.bias",
        )}  # fmt: skip
        conv = np.tile(part["conv.1.bias"], (len(ids), 1))
        for t in range(len(ids)):
            for tap in range(9):
                source = t + (tap - 4) * dilation
                if 0 <= source < len(ids):
                    conv[t] += part["conv.1.weight"][:, :, tap] @ x[source]
        x = x + normed(gelu(conv)) * part["conv.4.weight"] + part["conv.4.bias"]
        mixed = x @ part["ffn.0.weight"].T + part["ffn.0.bias"]
        x = x + normed(gelu(mixed)) * part["ffn.2.weight"] + part["ffn.2.bias"]
    found = read_checkpoint(folder).encoder.hidden(torch.from_numpy(ids)[None])[1][0]
    np.testing.assert_allclose(found.numpy(), x, rtol=0, atol=1e-5)


def gelu(x):
    return F.gelu(torch.from_numpy(x)).numpy()


def normed(x):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("name", ["gpn_convnet", "gpn_bytenet"])
def test_the_length_of_the_window_matters(name):
    """Zeros beyond the ends reach far into a window, so 512 is what is scored by default."""
    checkpoint = read_checkpoint(GOLDEN / name)
    ids = checkpoint.description.tokenizer.encode(random_bases(512, 3)).ids.astype(np.int64)
    whole = checkpoint.encoder.hidden(torch.from_numpy(ids)[None])[1][0, 206:306]
    part = checkpoint.encoder.hidden(torch.from_numpy(ids[200:312])[None])[1][0, 6:106]
    assert (whole - part).abs().max() > 0.01
    assert checkpoint.description.default_bases == 512


def test_phylogpn_answers_for_many_windows_in_one_pass():
    """An output depends on its window alone: one long input gives what each window gives."""
    checkpoint = read_checkpoint(GOLDEN / "phylogpn")
    encoder, field = checkpoint.encoder, checkpoint.description.field
    assert field == 2 * encoder.margin + 1 == 73
    bases = random_bases(200, 4)
    bases[:20] = dna.BEYOND
    bases[90:93] = dna.N
    ids = torch.from_numpy(checkpoint.description.tokenizer.encode(bases).ids.astype(np.int64))
    together = encoder.hidden(ids[None])[1][0]
    assert together.shape == (200 - 72, 48)
    embedded = encoder.hidden(ids[None], 0)[0][0]
    assert torch.equal(embedded, encoder.words.weight[ids[36:-36]])
    inner = encoder.hidden(ids[None], 3)[0][0]
    for first in range(0, 128, 9):
        one = encoder.hidden(ids[None, first : first + field], 3)[0][0]
        torch.testing.assert_close(inner[first], one[0], rtol=0, atol=1e-6)
        alone = encoder.hidden(ids[None, first : first + field])[1][0]
        assert alone.shape == (1, 48)
        torch.testing.assert_close(together[first], alone[0], rtol=0, atol=1e-6)
        rates = encoder.logits(alone), encoder.logits(together[first : first + 1])
        torch.testing.assert_close(*rates, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="72 bases, expected 73 or more"):
        encoder.hidden(ids[None, :72])


def test_phylogpn_is_the_same_on_both_strands_where_its_norms_are_symmetric(tmp_path):
    folder = a_copy("phylogpn", tmp_path / "model")

    def difference():
        checkpoint = read_checkpoint(folder)
        bases, rates = random_bases(150, 5), []
        for strand in (bases, dna.reverse_complement(bases)):
            ids = checkpoint.description.tokenizer.encode(strand).ids.astype(np.int64)
            last = checkpoint.encoder.hidden(torch.from_numpy(ids)[None])[1][0]
            rates.append(checkpoint.encoder.logits(last))
        return (rates[0] - rates[1].flip(0, 1)).abs().max()

    assert difference() > 0.1
    tensors = load_file(folder / "model.safetensors")
    norms = {k: (v + v.flip(0)) / 2 for k, v in tensors.items() if "layer_norm" in k}
    save_file(tensors | norms, folder / "model.safetensors")
    assert difference() < 1e-5


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gpn_convnet", {"vocab_size": 8}, "vocab_size is 8, expected a number from 7 to 7"),
        ("gpn_convnet", {"kernel_size": 8}, "kernel_size is 8, expected an odd number"),
        ("gpn_convnet", {"n_aux_features": 445}, "n_aux_features is 445"),
        ("gpn_convnet", {"n_layers": None}, "no 'n_layers'"),
        ("gpn_convnet", {"hidden_size": True}, "hidden_size is True"),
        ("gpn_bytenet", {"encoder": "convnet"}, "encoder is 'convnet', expected 'bytenet'"),
        ("gpn_bytenet", {"slim": None}, "slim is None, expected True"),
        ("gpn_bytenet", {"bias": 0}, "bias is 0, expected False"),
        ("gpn_bytenet", {"tie_word_embeddings": True}, "tie_word_embeddings is True"),
        ("gpn_bytenet", {"hidden_size": 33}, "hidden_size is 33, expected an even number"),
        ("phylogpn", {"kernel_size": 4}, "kernel_size is 4, expected an odd number"),
        ("phylogpn", {"num_stacks": 10_000}, "num_stacks is 10000"),
        ("phylogpn", {"stack_size": 40}, "expected at most 65536"),
        ("phylogpn", {"outer_dim": "48"}, "outer_dim is '48'"),
    ],
)
def test_a_config_that_no_published_model_has_is_refused(name, changes, message, tmp_path):
    folder = a_copy(name, tmp_path / "model")
    edit(folder / "config.json", **changes)
    for read in (describe, read_checkpoint):
        with pytest.raises(ModelError, match=message) as caught:
            read(folder)
        assert str(folder / "config.json") in str(caught.value) or read is read_checkpoint
        assert "ntvep model fetch songlab/" in str(caught.value)


@pytest.mark.parametrize("name", ["gpn_convnet", "gpn_bytenet"])
def test_keys_with_the_default_of_the_authors_class_may_be_absent(name, tmp_path):
    folder = a_copy(name, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    absent = {"dilation_base", "n_aux_features", "depthwise", "tie_word_embeddings"}
    if name == "gpn_bytenet":
        absent |= {"dilation_cycle", "dilation_max", "first_kernel_size", "rest_kernel_size"}
    (folder / "config.json").write_text(
        json.dumps({key: value for key, value in config.items() if key not in absent})
    )
    ids = torch.tensor([[3, 4, 5, 6, 1, 2, 6, 5, 4, 3]])
    expected = read_checkpoint(GOLDEN / name).encoder.hidden(ids)[1]
    assert torch.equal(read_checkpoint(folder).encoder.hidden(ids)[1], expected)


def test_weights_of_the_other_kind_of_gpn_are_refused(tmp_path):
    folder = a_copy("gpn_convnet", tmp_path / "model")
    shutil.copy(GOLDEN / "gpn_bytenet" / "model.safetensors", folder)
    with pytest.raises(ModelError, match=r"missing weights .*cls\.decoder\.0\.bias"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"a": 3', '"a": 4', "ACGTN becomes"),
        ('"c": 4,\n      "g": 5', '"g": 4,\n      "c": 5', r"becomes \[3, 5, 4, 6, 2\]"),
        ('"Lowercase"', '"Strip", "strip_left": true, "strip_right": true', r"\[2, 2, 2, 2, 2\]"),
        ('"t": 6', '"t": 6, "n": 7', "ACGTN becomes"),
        ('"version": "1.0"', '"version": "9.9"', "not a whole tokenizer.json"),
        ("{", "", "not a whole tokenizer.json"),
    ],
)
def test_a_tokenizer_that_does_not_match_is_refused(old, new, message, tmp_path):
    folder = a_copy("gpn_convnet", tmp_path / "model")
    text = (folder / "tokenizer.json").read_text()
    assert old in text
    (folder / "tokenizer.json").write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError, match=message) as caught:
        describe(folder)
    assert "ntvep model fetch" in str(caught.value)


def test_without_a_tokenizer_file_the_published_vocabulary_stands(tmp_path):
    """There is one for all of these models, and it is not always in the same repository."""
    folder = a_copy("gpn_convnet", tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    found, expected = (describe(f)[1] for f in (folder, GOLDEN / "gpn_convnet"))
    assert found.vocabulary_sha256 == expected.vocabulary_sha256
    assert found.tokenizer.encode(dna.encode("ACGTN")).ids.tolist() == [3, 4, 5, 6, 2]
