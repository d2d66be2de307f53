"""Outputs that authors recorded of real weights, and the comparison of a fetched checkpoint."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.recorded import RECORDED, Recorded, deviation, outputs, recorded
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"


def of_golden(name: str) -> Recorded:
    """What the original implementation made of a small checkpoint, in the form of a record."""
    about = json.loads((GOLDEN / name / "golden.json").read_text())
    bases = about["sequences"]["A_upper96"].upper()
    with np.load(GOLDEN / name / "golden.npz") as arrays:
        if name == "phylogpn":
            # Base 0 is the first of the stored rows.
            assert arrays["A_upper96/rows"][0] == 0
            rates = tuple(arrays["A_upper96/logits"][0].tolist())
            return Recorded(name, "-", bases, (rates,), before=36, behind=36)
        (at,) = arrays["A_upper96/masked_1/at"].tolist()
        logits = tuple(arrays["A_upper96/masked_1/logits"][0, 3:].tolist())
        return Recorded(name, "-", bases, (logits,), masked=at, first=at)


def test_records_are_those_of_the_authors(shared):
    """The stored copy of the authors' file, number by number."""
    stored = json.loads((shared / "golden/families/published_real_weights.json").read_text())
    brassicales, phylogpn = RECORDED
    theirs = stored["songlab/gpn-brassicales"]
    assert (brassicales.revision, brassicales.bases) == (theirs["revision"], theirs["sequence"])
    assert brassicales.masked == brassicales.first == theirs["masked_position_zero_based"]
    assert brassicales.bases[brassicales.masked] == theirs["reference"]
    assert brassicales.logits == (tuple(theirs["logits_ACGT"]),)
    theirs = stored["songlab/PhyloGPN"]
    assert (phylogpn.revision, phylogpn.bases) == (theirs["revision"], theirs["sequence"])
    assert phylogpn.logits == tuple(map(tuple, theirs["logits_per_base_ACGT"]))
    assert 2 * phylogpn.before + 1 == 2 * phylogpn.behind + 1 == theirs["receptive_field"]


def test_records_by_revision():
    first = RECORDED[0]
    assert recorded(first.model, first.revision) is first
    assert recorded(first.model, None) is None
    assert recorded(first.model, RECORDED[1].revision) is None
    assert first.bases[first.first] == "A"
    assert len(first.bases) == 700
    assert set(first.bases) == set("ACGT")
    assert np.array(RECORDED[1].logits).shape == (6, 4)


@pytest.mark.parametrize("name", ["gpn_convnet", "phylogpn"])
def test_a_checkpoint_agrees_with_its_record_and_a_changed_one_does_not(name, tmp_path):
    wanted, good = of_golden(name), read_checkpoint(GOLDEN / name)
    assert deviation(wanted, good.description, good.encoder) < 0.1
    for path in (GOLDEN / name).glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(GOLDEN / name / "model.safetensors")
    missed = []
    for name_of_tensor in sorted(tensors)[::7]:
        doubled = {name_of_tensor: 2 * tensors[name_of_tensor]}
        save_file(tensors | doubled, tmp_path / "model.safetensors")
        bad = read_checkpoint(tmp_path)
        if deviation(wanted, bad.description, bad.encoder) < 5:
            missed.append(name_of_tensor)
    assert not missed
    # Another base is another number.
    moved = replace(wanted, first=wanted.first + 1)
    assert deviation(moved, good.description, good.encoder) > 100


def test_the_full_size_networks_answer_in_the_shape_of_the_records():
    """Networks of the published sizes are too large for a test; their shapes are not."""
    for name, wanted in (("gpn_convnet", RECORDED[0]), ("phylogpn", RECORDED[1])):
        small = read_checkpoint(GOLDEN / name)
        found = outputs(wanted, small.description, small.encoder)
        assert found.shape == np.array(wanted.logits).shape
        assert deviation(wanted, small.description, small.encoder) > 100
