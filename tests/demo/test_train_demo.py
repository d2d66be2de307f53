"""The recipes of the small GPN: training that may be interrupted, and what is measured of it."""

import json
import math
import sys
from itertools import product

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ntvep.models.checkpoint import read_checkpoint
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "recipes"))
import measure_demo
import train_demo


@pytest.fixture
def fasta(tmp_path):
    """A genome of two contigs, the first with an N in it."""
    rng = np.random.default_rng(7)
    one, two = ("".join(rng.choice(list("ACGTacgt"), 3000)) for _ in range(2))
    path = tmp_path / "genome.fa"
    path.write_text(f">one of two\n{one[:1500]}\nN{one[1501:]}\n>two\n{two}\n")
    return path


def run(monkeypatch, fasta, folder, *options):
    arguments = [
        str(fasta), "--train", "one", "two:1-2000", "--leave-out", "one:101-200", "--windows", "2",
        "--state", str(folder / "state.safetensors"), "--output", str(folder / "model"),
        "--no-bfloat16", *options,
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["train_demo.py", *arguments])
    train_demo.main()


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(monkeypatch, fasta, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    # So long that the learning rate does not feel the clock.
    run(monkeypatch, fasta, whole, "--minutes", "1e9", "--steps", "4")
    for steps in ("1", "3", "4"):
        run(monkeypatch, fasta, parts, "--minutes", "1e9", "--steps", steps)
    expected = load_file(whole / "model" / "model.safetensors")
    found = load_file(parts / "model" / "model.safetensors")
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, msg=name)
    untrained = train_demo.new_model().state_dict()["decoder.weight"]
    assert not torch.equal(expected["cls.decoder.3.weight"], untrained)
    checkpoint = read_checkpoint(parts / "model")
    assert checkpoint.parameters <= 1_000_000
    assert (parts / "model" / "model.safetensors").stat().st_size <= 4_000_000
    with pytest.raises(ValueError, match="made with other options"):
        run(monkeypatch, fasta, parts, "--seed", "2", "--steps", "5")


def test_files_of_the_folder_are_in_the_published_layout(monkeypatch, fasta, tmp_path):
    run(monkeypatch, fasta, tmp_path, "--steps", "1")
    published = ROOT / "tests" / "golden" / "gpn_convnet"
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        found = json.loads((tmp_path / "model" / name).read_text())
        assert found == json.loads((published / name).read_text())


def test_what_is_left_out_is_in_no_window(fasta):
    contigs = train_demo.read_fasta(fasta)
    assert {name: len(bases) for name, bases in contigs.items()} == {"one": 3000, "two": 3000}
    sequence = train_demo.training_sequence(
        contigs,
        [train_demo.stretch("one"), train_demo.stretch("two:1-2000")],
        [train_demo.stretch("one:101-200"), train_demo.stretch("two:2500-2600")],
    )
    assert np.flatnonzero(sequence == 4).tolist() == [*range(100, 200), 1500, 3000, 5001]
    first, number = train_demo.window_starts(sequence)
    assert list(zip(first, number, strict=True)) == [(200, 789), (1501, 988), (3001, 1489)]
    rng = np.random.default_rng(0)
    for _ in range(20):
        given, target = train_demo.batch(sequence, (first, number), rng, 8)
        asked = target != -100
        assert 0.1 < asked.float().mean() < 0.2
        assert set(given.unique().tolist()) <= {1, 2, 3, 4, 5, 6}
        masked = given == train_demo.MASK
        assert (masked & asked).sum() == masked.sum()
        assert ((target >= 3) == asked).all()


def test_both_strands_are_drawn(fasta):
    """Every window, where it is not masked, is a stretch of the sequence or of its complement."""
    contigs = train_demo.read_fasta(fasta)
    sequence = contigs["two"]
    starts = train_demo.window_starts(sequence)
    given, target = train_demo.batch(sequence, starts, np.random.default_rng(1), 40)
    strands = (sequence, train_demo.reverse_complement(sequence))
    found = [0, 0]
    for ids, wanted in zip(given.numpy(), target.numpy(), strict=True):
        bases = np.where(wanted >= 0, wanted, ids) - 3
        known = bases >= 0
        for number, strand in enumerate(strands):
            windows = np.lib.stride_tricks.sliding_window_view(strand, 512)
            found[number] += bool((windows == bases)[:, known].all(axis=1).any())
    assert sum(found) == 40
    assert min(found) > 10


def test_learning_rate():
    rate = train_demo.learning_rate
    assert rate(2.0, 150, 0.1) == pytest.approx(1.0)
    assert rate(2.0, 10_000, 0.6) == pytest.approx(2.0)
    assert rate(2.0, 10_000, 0.8) == pytest.approx(1.0)
    assert rate(2.0, 10_000, 1.0) == rate(2.0, 10_000, 1.1) == 0


# --- what it is compared with --------------------------------------------------------------------


def words(sequence, size):
    """Counts of words on both strands, in plain loops."""
    found = dict.fromkeys(product(range(4), repeat=size), 0)
    for start in range(len(sequence) - size + 1):
        word = tuple(int(b) for b in sequence[start : start + size])
        if max(word) < 4:
            found[word] += 1
            found[tuple(3 - b for b in reversed(word))] += 1
    return found


@pytest.mark.parametrize("size", [1, 2, 3])
def test_counts_of_words(size):
    sequence = np.random.default_rng(2).integers(0, 5, 200).astype(np.uint8)
    assert measure_demo.counts(sequence, size).tolist() == list(words(sequence, size).values())


def test_losses_of_frequencies_in_plain_loops(monkeypatch):
    rng = np.random.default_rng(3)
    sequence = np.minimum(rng.integers(0, 6, 400), 3).astype(np.uint8)
    bases, first, a = sequence[:40], 12, 5.0
    monkeypatch.setattr(measure_demo, "SIZE", 9)
    counted = [words(sequence, size) for size in (1, 2, 3)]
    total = sum(counted[0].values())

    def probability(word):
        """P(last base | those before it), smoothed with the shorter context."""
        if len(word) == 1:
            return counted[0][word] / total
        context = sum(counted[len(word) - 1][(*word[:-1], b)] for b in range(4))
        below = probability(word[1:])
        return (counted[len(word) - 1][word] + a * below) / (context + a)

    tables = [measure_demo.counts(sequence, size) for size in (1, 2, 3)]
    log_p = measure_demo.smoothed(tables, a)
    found = measure_demo.chain_losses(log_p, 2, bases, first)
    around = [tables[0], tables[2]]
    sides = measure_demo.two_sided(around, a, bases, first)
    for number in range(9):
        place = first + number
        left, joint, middle = {}, {}, {}
        for base in range(4):
            word = [int(b) for b in bases[place - 2 : place + 3]]
            word[2] = base
            factors = [probability(tuple(word[i : i + 3])) for i in range(3)]
            left[base], joint[base] = factors[0], math.prod(factors)
            three = {b: counted[2][(word[1], b, word[3])] for b in range(4)}
            smooth = a * counted[0][(base,)] / total
            middle[base] = (three[base] + smooth) / (sum(three.values()) + a)
        true = int(bases[place])
        assert found[0, number] == pytest.approx(-math.log(left[true]), abs=1e-5)
        expected = -math.log(joint[true] / sum(joint.values()))
        assert found[1, number] == pytest.approx(expected, abs=1e-5)
        assert sides[number] == pytest.approx(-math.log(middle[true]), abs=1e-5)


def test_losses_of_the_six_mer_model_in_plain_loops(monkeypatch):
    """One phase, one base: the marginal over 6-mers, and the four that differ in the base."""
    monkeypatch.setattr(measure_demo, "SIZE", 2)
    demo = read_checkpoint(measure_demo.DEMO)
    tokens = (measure_demo.DEMO / "vocab.txt").read_text().split("\n")
    ids = {token: number for number, token in enumerate(tokens)}
    bases = np.random.default_rng(4).integers(0, 4, 2 * measure_demo.REACH + 2).astype(np.uint8)
    letters = "".join("ACGT"[b] for b in bases)
    first = measure_demo.REACH
    found = measure_demo.six_mer_losses(demo, bases, first)
    assert found.shape == (6, 2, 2)
    phase, place = 4, 1
    start = first - phase
    row = [ids[letters[i : i + 6]] for i in range(start - 384, start + 384, 6)]
    row[64] = ids["<mask>"]
    given = torch.tensor([[ids["<cls>"], *row]])
    logits = demo.encoder.logits(demo.encoder.hidden(given)[1][0, 65:66])[0].double().softmax(0)
    true = letters[first + place]
    offset = phase + place
    marginal, rest = {}, {}
    for base in "ACGT":
        others = letters[start : start + offset] + base + letters[start + offset + 1 : start + 6]
        rest[base] = float(logits[ids[others]])
        marginal[base] = math.fsum(
            float(logits[number])
            for token, number in ids.items()
            if len(token) == 6 and set(token) <= set("ACGT") and token[offset] == base
        )
    for kind, of in enumerate((marginal, rest)):
        expected = -math.log(of[true] / sum(of.values()))
        assert found[phase, kind, place] == pytest.approx(expected, abs=1e-5)
