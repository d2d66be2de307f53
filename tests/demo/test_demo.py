"""The embedded demo is what its README, its model card and its recipes say."""

import importlib.util
import math
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from ntvep.models.checkpoint import read_checkpoint
from ntvep.schema import Status

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "ntvep" / "demo"
MODEL = DEMO / "model"


def _recipe(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "recipes" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


demo_vcf = _recipe("demo_vcf")
demo_model = _recipe("demo_model")


def _records(source: str) -> list[list[str]]:
    lines = (DEMO / "demo.vcf").read_text("ascii").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return [row for row in rows if f"SOURCE={source}" in row[7].split(";")]


def _class(row: list[str]) -> tuple[str, int]:
    size = len(row[4]) - len(row[3])
    return ("SNV" if size == 0 else "DEL" if size < 0 else "INS"), size


def test_folder_is_small() -> None:
    size = sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file())
    # Two checkpoints of up to 7 and 4 MB.
    assert size < 12e6


def test_index_is_that_of_the_slice() -> None:
    name, length = (DEMO / "chr22_20012478_20215143.grch38.fa.gz.fai").read_text().split("\t")[:2]
    chr22 = demo_vcf.read_slice()
    assert name == f"chr22:{chr22.start}-{chr22.stop}"
    assert int(length) == len(chr22.bases) == 202_666


@pytest.mark.parametrize("source", ["observed", "simulated"])
def test_ref_agrees_with_the_slice(source: str) -> None:
    chr22 = demo_vcf.read_slice()
    for row in _records(source):
        assert row[0] == "chr22"
        assert chr22.at(int(row[1]), len(row[3])) == row[3]
        assert row[4] != row[3]


def test_simulated_variants_are_as_many_and_of_the_same_classes() -> None:
    chr22 = demo_vcf.read_slice()
    observed, simulated = _records("observed"), _records("simulated")
    assert len(observed) == len(simulated) == 972
    classes = Counter(map(_class, observed))
    assert classes == Counter(map(_class, simulated))
    kinds = Counter(_class(row)[0] for row in observed)
    assert kinds == {"SNV": 892, "DEL": 46, "INS": 34}

    def spectrum(rows: list[list[str]]) -> Counter[tuple[str, str]]:
        return Counter(
            (chr22.at(int(row[1]) - 1, 3), row[4]) for row in rows if _class(row)[0] == "SNV"
        )

    assert spectrum(observed) == spectrum(simulated)
    sites = {pos for row in observed for pos in range(int(row[1]), int(row[1]) + len(row[3]))}
    for row in simulated:
        assert sites.isdisjoint(range(int(row[1]), int(row[1]) + len(row[3])))


def test_observed_variants_keep_their_rsids() -> None:
    expected = [(r.pos, r.id, r.ref, r.alt) for r in demo_vcf.read_observed()]
    assert [(int(row[1]), *row[2:5]) for row in _records("observed")] == expected
    assert all(row[2].startswith("rs") for row in _records("observed"))


def test_odd_records_name_every_status_that_a_vcf_can_cause() -> None:
    rows = _records("odd")
    assert len(rows) == 30
    named = set()
    for row in rows:
        statuses = row[7].split("EXPECTED=")[1].split(";")[0].split(",")
        assert len(statuses) == len(row[4].split(","))
        named |= set(statuses)
    # The slice has no N and is longer than any window; the numbers, and what is known of them, are
    # the model's business.
    out_of_reach = {
        Status.N_IN_VARIANT_TOKEN,
        Status.TOO_MANY_N,
        Status.CONTIG_TOO_SHORT,
        Status.NUMERICAL_FAILURE,
        Status.NOT_IN_CACHE,
    }
    assert named == set(Status) - out_of_reach


def test_recipe_gives_the_committed_vcf() -> None:
    text = demo_vcf.demo_vcf(demo_vcf.read_slice(), demo_vcf.read_observed(), seed=1)
    assert text.encode("ascii") == (DEMO / "demo.vcf").read_bytes()


def test_vcf_is_sorted_and_has_no_samples() -> None:
    lines = (DEMO / "demo.vcf").read_text("ascii").splitlines()
    assert lines[0] == "##fileformat=VCFv4.3"
    rows = [line.split("\t") for line in lines if not line.startswith("##")]
    assert {len(row) for row in rows} == {8}
    places = [(row[0], int(row[1])) for row in rows[1:]]
    assert places == sorted(places)
    # Several ALTs of one observed site share its rsID, as in dbSNP's own list.
    identifiers = [row[2] for row in _records("odd")]
    assert len(identifiers) == len(set(identifiers))


def test_checkpoint_has_the_published_layout() -> None:
    checkpoint = read_checkpoint(MODEL)
    model = checkpoint.encoder
    assert 1e6 < checkpoint.parameters < 2e6
    assert model.arch.max_tokens == 513
    assert model.arch.gated
    assert not model.arch.learned_positions
    assert not model.arch.ffn_bias
    assert not model.arch.token_dropout
    tokens = tuple((MODEL / "vocab.txt").read_text("ascii").split("\n"))
    assert tokens == demo_model.VOCABULARY
    assert len(tokens) == len(checkpoint.description.tokenizer.terms) == 4107
    # As in the published file, no line end after the last token.
    assert (MODEL / "vocab.txt").read_bytes().endswith(b"\nN")
    with torch.inference_mode():
        hidden = model.hidden(torch.tensor([[3, *range(6, 518)]]))[1]
        assert torch.isfinite(model.logits(hidden[0])).all()


def test_no_training_window_overlaps_the_held_out_stretch() -> None:
    split = demo_model.read_split()
    kept = {place for start, stop in split.training for place in range(start, stop)}
    for start, stop in (split.validation, split.held_out):
        assert kept.isdisjoint(range(start, stop))
        assert (stop - start) / len(split.sequence) == pytest.approx(0.1, abs=0.005)
    bases = {size: split.sequence[start:stop] for size, (start, stop) in enumerate(split.training)}
    rng = np.random.default_rng(0)
    segments = ["".join(map(str, part)) for part in bases.values()]
    for _ in range(50):
        window = demo_model.draw_window(split, rng, 128 * 6)
        strands = ("".join(map(str, w)) for w in (window, demo_model.reverse_complement(window)))
        assert any(strand in segment for strand in strands for segment in segments)


def test_held_out_loss_beats_both_baselines_and_is_the_model_cards() -> None:
    split = demo_model.read_split()
    log_frequencies, _ = demo_model.six_mer_baseline(split)
    model = read_checkpoint(MODEL).encoder
    # One of the seven parts: every tile, phase and strand, 18 or 19 of each window's 128 tokens.
    losses = demo_model.masked_losses(model, split, split.held_out, log_frequencies, parts=(3,))
    assert losses.uniform == pytest.approx(math.log(4096))
    gain, error = demo_model.mean_and_error(losses.six_mers - losses.model)
    assert gain > 2 * error > 0
    gain, error = demo_model.mean_and_error(losses.uniform - losses.model)
    assert gain > 2 * error > 0
    card = (MODEL / "README.md").read_text("utf-8")
    row = re.search(r"^\| ntvep-demo \| ([\d.]+) \| ([\d.]+) \|$", card, re.MULTILINE)
    assert row is not None
    stated, stated_error = map(float, row.groups())
    assert abs(losses.model.mean() - stated) < stated_error
