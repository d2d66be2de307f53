"""HyenaDNA and Evo 2 see only what stands before a token; what of HyenaDNA's folders is refused."""

import json
import shutil

import pytest
import torch

from ntvep.errors import ModelError
from ntvep.models.checkpoint import describe, read_checkpoint
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(GOLDEN / "hyenadna", tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", ["hyenadna", "evo2"])
def test_later_tokens_change_nothing_before_them(name):
    checkpoint = read_checkpoint(GOLDEN / name)
    nucleotides = torch.tensor(checkpoint.description.tokenizer.nucleotides)
    ids = nucleotides[torch.randint(4, (1, 200), generator=torch.Generator().manual_seed(3))]
    whole = checkpoint.encoder.hidden(ids)[1]
    for cut in (1, 7, 128, 199):
        prefix = checkpoint.encoder.hidden(ids[:, :cut])[1]
        torch.testing.assert_close(prefix, whole[:, :cut], rtol=0, atol=5e-5)
    changed = ids.clone()
    changed[0, 100] = nucleotides[(nucleotides == ids[0, 100]).nonzero()[0, 0] - 1]
    other = checkpoint.encoder.hidden(changed)[1]
    torch.testing.assert_close(other[:, :100], whole[:, :100], rtol=0, atol=5e-5)
    # The effect reaches to the end: there is no other way to carry it than the long filters.
    assert (other[:, 199] - whole[:, 199]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("longest", "default", "trained"),
    [(1026, 1024, 1024), (160_002, 8192, 160_000), (1_000_002, 8192, 1_000_000)],
)
def test_windows_of_published_models(folder, longest, default, trained):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_seq_len": longest}))
    found = describe(folder)[1]
    assert (found.default_bases, found.trained_bases) == (default, trained)
    assert found.max_tokens == longest
    assert found.tokenizer.mask is None
    assert found.tokenizer.front == found.tokenizer.back == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hyena_order": 3}, "hyena_order is 3, expected 2"),
        ({"train_freq": False}, "train_freq is False, expected True"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True, expected False"),
        ({"vocab_size": 8}, r"8 tokens, expected at least 12"),
        ({"max_seq_len": 1 << 40}, "expected a number from 3 to"),
        ({"layer_norm_epsilon": None}, "layer_norm_epsilon is None"),
    ],
)
def test_another_architecture_is_refused(folder, changes, message):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=message) as refused:
        describe(folder)
    assert "config.json" in str(refused.value)
    assert "fetch the model again" in str(refused.value).lower()


def test_special_tokens_of_another_tokenizer_are_refused(folder):
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["added_tokens_decoder"]["0"]["content"] = "[PAD]"
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"token 0 is '\[PAD\]', expected '\[CLS\]'"):
        describe(folder)
    path.write_text("[]")
    with pytest.raises(ModelError, match="expected a JSON object"):
        describe(folder)
    path.unlink()
    describe(folder)
