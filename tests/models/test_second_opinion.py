"""The second opinion: it agrees where we are right, and sees it where we are wrong."""

import dataclasses
import json
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from ntvep.errors import ModelError
from ntvep.models import second_opinion
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.second_opinion import (
    Comparison,
    compare,
    load_reference,
    refuse_wrong_transformers,
)
from ntvep.tokenizers.kmer import Kmers
from recipes.golden import CONFIGS, write_checkpoint
from tests.conftest import ROOT

# Processes of their own.
pytestmark = pytest.mark.slow

KINDS = ["v1", "v2"]
GOLDEN = ROOT / "tests" / "golden"


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_random_checkpoints_agree(tmp_path, kind, seed):
    write_checkpoint(kind, tmp_path, seed)
    found = compare(tmp_path)
    assert found.ids_equal
    assert found.logits < 1e-4


def test_a_short_checkpoint_agrees(tmp_path, monkeypatch):
    """As few positions as this: the windows must fit."""
    monkeypatch.setitem(CONFIGS["v1"], "max_position_embeddings", 22)
    write_checkpoint("v1", tmp_path, 3)
    assert read_checkpoint(tmp_path).description.max_tokens == 20
    assert compare(tmp_path).agrees


def test_reference_checkpoints_agree(shared):
    for kind in KINDS:
        assert compare(shared / "golden" / kind / "model").agrees


def test_the_demo_agrees():
    assert compare(ROOT / "ntvep" / "demo" / "model").agrees


@pytest.fixture
def spoil(monkeypatch):
    """Make our side read a checkpoint with a change that the file does not have."""

    def plant(change):
        def changed(folder):
            checkpoint = read_checkpoint(folder)
            change(checkpoint.encoder)
            return checkpoint

        monkeypatch.setattr(second_opinion, "read_checkpoint", changed)

    return plant


def flip_token_dropout(model):
    model.arch = dataclasses.replace(model.arch, token_dropout=not model.arch.token_dropout)


def swap_gate_and_value(model):
    for block in model.blocks:
        gate, value = block.ffn_in.weight.chunk(2)
        block.ffn_in.weight = torch.nn.Parameter(torch.cat((value, gate)), requires_grad=False)


def shift_positions(model):
    model.positions.weight = torch.nn.Parameter(
        model.positions.weight.roll(1, 0), requires_grad=False
    )


def negate_the_feed_forward(model):
    for block in model.blocks:
        block.ffn_out.weight = torch.nn.Parameter(-block.ffn_out.weight, requires_grad=False)


def lose_a_number(model):
    model.head.decoder.bias = torch.nn.Parameter(
        torch.full_like(model.head.decoder.bias, torch.nan), requires_grad=False
    )


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("v1", flip_token_dropout),
        ("v2", flip_token_dropout),
        ("v1", shift_positions),
        ("v2", swap_gate_and_value),
        ("v1", negate_the_feed_forward),
        ("v1", lose_a_number),
    ],
)
def test_a_planted_fault_is_seen(spoil, kind, change):
    spoil(change)
    found = compare(GOLDEN / kind)
    assert not found.agrees
    assert not found.logits < 0.05


def test_other_token_ids_are_seen(monkeypatch):
    encode = Kmers.encode

    def one_off(tokenizer, bases):
        made = encode(tokenizer, bases)
        ids = made.ids.copy()
        ids[[1, 2]] = ids[[2, 1]]
        return dataclasses.replace(made, ids=ids)

    monkeypatch.setattr(Kmers, "encode", one_off)
    found = compare(GOLDEN / "v1")
    assert not found.ids_equal
    assert not found.agrees


def test_what_agrees():
    assert Comparison(1e-5, True).agrees
    assert not Comparison(1e-5, False).agrees
    assert not Comparison(1e-2, True).agrees
    assert not Comparison(float("nan"), True).agrees


def test_code_beside_a_checkpoint_is_not_run(tmp_path):
    """A published v2 folder asks for its own code: config.json says where it lies."""
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "v2", folder)
    assert "auto_map" in json.loads((folder / "config.json").read_text())
    (folder / "modeling_esm.py").write_text("raise SystemExit('remote code was run')")
    assert compare(folder).agrees


def test_it_is_silent_and_asks_no_network(monkeypatch, capfd):
    def refuse(*args):
        raise AssertionError("a network call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for kind in KINDS:
        compare(GOLDEN / kind)
    assert capfd.readouterr() == ("", "")


def test_a_fresh_process_is_silent_too():
    code = (
        "from pathlib import Path; from ntvep.models.second_opinion import compare; "
        f"assert compare(Path({str(GOLDEN / 'v1')!r})).agrees"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_command_that_needs_no_model_does_not_wait_for_transformers():
    code = "import sys; import ntvep.cli; sys.exit('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("found", ["4.56.0", "4.57.6", "5.0.0", "5.1.0.dev0", "5.2.0"])
def test_wrong_releases_are_refused_before_they_are_used(monkeypatch, found):
    monkeypatch.setattr(second_opinion, "version", lambda _: found)
    monkeypatch.setitem(sys.modules, "transformers", None)  # Importing it would fail.
    with pytest.raises(ModelError, match=rf"transformers {found} gives.*pip install -c constraint"):
        compare(GOLDEN / "v1")


@pytest.mark.parametrize("found", ["4.55.4", "5.3.0", "5.23.0"])
def test_right_releases_pass(found):
    refuse_wrong_transformers(found)


@pytest.mark.parametrize("kind", KINDS)
def test_their_padding_does_not_matter_to_them(kind):
    """What the refused releases get wrong: a masked row beside a longer one."""
    model = load_reference(GOLDEN / kind)
    rng = np.random.default_rng(5)
    row = [3, *rng.integers(10, 4000, 20).tolist()]
    row[7] = 2
    alone = torch.tensor([row])
    padded = torch.nn.functional.pad(alone, (0, 30), value=1)
    with torch.inference_mode():
        expected = model(input_ids=alone, attention_mask=torch.ones_like(alone)).logits[0, 7]
        found = model(input_ids=padded, attention_mask=(padded != 1).long()).logits[0, 7]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
