"""The embedded small GPN is what its card says."""

import json
import re
import sys

import pytest

from ntvep.models.checkpoint import describe, read_checkpoint
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "recipes"))
import measure_demo
import train_demo

DEMO = ROOT / "ntvep" / "demo"
MODEL = DEMO / "gpn"
CARD = (MODEL / "README.md").read_text()
# Of stretches of the card's second table (0-based in chr22), the first 20 bases, both strands.
STARTS = (20_154_720, 20_154_840, 20_154_960)
LOSSES = (1.04330, 1.11455, 1.13974)


def test_the_checkpoint_is_that_of_the_recipe():
    assert json.loads((MODEL / "config.json").read_text()) == train_demo.CONFIG
    assert json.loads((MODEL / "tokenizer.json").read_text()) == train_demo.tokenizer()
    checkpoint = read_checkpoint(MODEL)
    assert checkpoint.family.name == "gpn"
    assert checkpoint.parameters == 937_543 <= 1_000_000
    assert f"{checkpoint.parameters:,} parameters" in CARD
    assert (MODEL / "model.safetensors").stat().st_size <= 4_000_000
    assert checkpoint.weights_sha256[:16] in CARD
    assert describe(MODEL)[1].default_bases == train_demo.WINDOW == 512


def test_losses_on_the_slice_that_it_has_not_seen(monkeypatch):
    """A few of the bases of the card's second table, of this model and of the 6-mer model."""
    monkeypatch.setattr(measure_demo, "SIZE", 20)
    fasta = DEMO / "chr22_20012478_20215143.grch38.fa.gz"
    ((name, bases),) = train_demo.read_fasta(fasta).items()
    offset = train_demo.stretch(name).start
    starts = [start - offset for start in STARTS]
    gpn, six_mers = read_checkpoint(MODEL), read_checkpoint(measure_demo.DEMO)
    found = measure_demo.both_strands(
        bases, starts, lambda b, f: measure_demo.gpn_losses(gpn, b, f)
    )
    assert found.mean(axis=(1, 2)) == pytest.approx(LOSSES, abs=1e-4)
    of_six_mers = measure_demo.both_strands(
        bases, starts, lambda b, f: measure_demo.six_mer_losses(six_mers, b, f)[:, 0].T
    )
    assert found.mean() < of_six_mers.mean() < 1.3863


def test_the_card_holds_its_tables():
    """One row for each prediction in each table, and this model below the 6-mer model."""
    tables = re.findall(
        r"\| this model \| ([\d.]+) .*\n\| ntvep-demo[^|]*marginal \| ([\d.]+)", CARD
    )
    assert len(tables) == 2
    for mine, marginal in tables:
        assert float(mine) < float(marginal)
