"""NTv3: the outputs of its authors' code, which are not in the repository, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch

from ntvep import dna
from ntvep.errors import ModelError
from ntvep.models import ntv3
from ntvep.models.checkpoint import describe, read_checkpoint
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden" / "ntv3"


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "model")
    return tmp_path / "model"


def test_outputs_are_those_of_the_authors_code(shared):
    source = shared / "golden" / "families" / "ntv3_pre"
    checkpoint = read_checkpoint(source / "model")
    encoder, tokenizer = checkpoint.encoder, checkpoint.description.tokenizer
    assert checkpoint.description.step == 16
    stored = dict(np.load(source / "golden.npz"))
    sequences = json.loads((source / "meta.json").read_text())["sequences"]
    assert len(sequences) == 4
    for name, text in sequences.items():
        ids = stored[f"{name}/ids"]
        assert tokenizer.encode(dna.encode(text)).ids.tolist() == ids.tolist()
        last = encoder.hidden(torch.tensor(ids[None]))[1][0]
        assert np.abs(last.numpy() - stored[f"{name}/last"]).max() < 5e-5
        assert np.abs(encoder.logits(last).numpy() - stored[f"{name}/logits"]).max() < 5e-5
        for i in range(4):
            masked, at = stored[f"{name}/masked_{i}/ids"], stored[f"{name}/masked_{i}/at"]
            assert set(masked[at]) == {tokenizer.mask}
            rows = encoder.hidden(torch.tensor(masked[None]))[1][0, at]
            expected = stored[f"{name}/masked_{i}/logits"]
            assert np.abs(encoder.logits(rows).numpy() - expected).max() < 5e-5


def test_the_published_model_of_8_million():
    config = json.loads((GOLDEN / "config.json").read_text())
    sizes = {
        "num_downsamples": 7,
        "attention_heads": 8,
        "key_size": 32,
        "token_embed_dim": 16,
        "conv_init_embed_dim": 256,
        "embed_dim": 256,
        "ffn_embed_dim": 1024,
        "num_layers": 2,
    }
    with torch.device("meta"):
        model = ntv3.NTV3.build(config | sizes, {})
    assert sum(p.numel() for p in model.parameters()) == 7_692_475


def test_windows_are_multiples_of_the_halvings(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"num_downsamples": 7}))
    found = describe(folder)[1]
    assert (found.step, found.default_bases) == (128, 8192)
    assert not found.strands_agree


def test_widths_grow_evenly():
    # 24 + 16 i / 4 and 16 + 12 i / 5, rounded down.
    assert ntv3.widths(24, 40, 4) == (24, 28, 32, 36, 40)
    assert ntv3.widths(16, 28, 5) == (16, 18, 20, 23, 25, 28)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deconv_upsample_type": "conv_transpose"}, r"expected 'repeat\+conv'"),
        ({"use_skip_connection": False}, "use_skip_connection is False, expected True"),
        ({"mask_token_id": 3}, "<mask> is 2, config.json says 3"),
        ({"num_downsamples": 40}, "expected a number from 1 to 16"),
        ({"alphabet_size": 9}, "of 9"),
    ],
)
def test_another_architecture_is_refused(folder, changes, message):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=message) as refused:
        describe(folder)
    assert "ntvep model fetch" in str(refused.value)


def test_another_order_of_letters_is_looked_up(folder):
    path = folder / "vocab.json"
    tokens = json.loads(path.read_text())
    tokens["T"], tokens["C"] = tokens["C"], tokens["T"]
    path.write_text(json.dumps(tokens))
    assert describe(folder)[1].tokenizer.encode(dna.encode("ACGTN")).ids.tolist() == [
        6,
        7,
        9,
        8,
        10,
    ]
    del tokens["G"]
    path.write_text(json.dumps(tokens))
    with pytest.raises(ModelError, match=r"vocab\.json: no 'G'; expected the vocabulary of NTv3"):
        describe(folder)
