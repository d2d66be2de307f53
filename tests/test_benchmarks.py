"""What the benchmarks compare us with computes the same scores, by transformers and unshared."""

import numpy as np
import pytest

from benchmarks.families import KINDS, one_by_one, other_model, ours
from benchmarks.null import Null
from benchmarks.passes import FIRST, SLICE, snvs
from benchmarks.throughput import prepared_pairs, unshared
from ntvep.io.fasta import open_reference
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.engine import Engine
from ntvep.models.second_opinion import load_reference
from ntvep.objectives import defined_scores
from ntvep.pipeline import ScoringContext, score_alleles
from tests.conftest import ROOT
from tests.toy import Genome, alleles, context, settings

NAMES = defined_scores("masked", "kmer")
SETTINGS = settings(NAMES, 13, views=1, max_allele_bases=9)
SEQUENCE = "".join(np.random.default_rng(3).choice(list("ACGT"), 240))
ROWS = [
    *(("c", p + 1, SEQUENCE[p], "A" if SEQUENCE[p] != "A" else "G") for p in range(100, 130, 4)),
    ("c", 120, SEQUENCE[119:121], "AC" if SEQUENCE[119:121] != "AC" else "GT"),
    ("c", 110, SEQUENCE[109:112], SEQUENCE[109]),
    ("c", 131, SEQUENCE[130], SEQUENCE[130] + "ACG"),
]


@pytest.mark.parametrize("length", [None, 40], ids=["batch", "padded"])
@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_other_ways_give_our_scores(kind, length):
    folder = ROOT / "tests" / "golden" / kind
    checkpoint = read_checkpoint(folder)
    model = checkpoint.description
    engine = Engine(checkpoint.encoder, model.tokenizer)
    setup = ScoringContext(Genome({"c": SEQUENCE}), engine, model, SETTINGS)
    ours = score_alleles(alleles(*ROWS), setup).scores
    pairs = prepared_pairs(alleles(*ROWS), setup.reference, model, SETTINGS)
    theirs = unshared(pairs, NAMES, load_reference(folder), model.tokenizer, 4, length)
    assert len(theirs) == len(ROWS)
    for found, expected in zip(ours.iter_rows(named=True), theirs, strict=True):
        for name in NAMES:
            if name not in expected:
                assert found[name] is None
            else:
                # Sums over a window add up its float32 errors.
                assert found[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-3), name


def test_the_null_model_counts_passes():
    model = Null()
    setup = context(Genome({"c": SEQUENCE}), model, SETTINGS, max_tokens=40)
    found = score_alleles(alleles(*ROWS), setup)
    assert found.passes == model.passes_run > 0
    assert set(found.scores["status"]) == {"ok"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_one_variant_at_a_time_gives_the_scores_of_other_families(kind, tmp_path):
    checkpoint = read_checkpoint(kind.make(tmp_path, 1, 64))
    model = other_model(kind, checkpoint)
    assert (model is checkpoint.encoder) == (kind.name == "rates")
    chr22 = open_reference(SLICE)
    table = snvs(chr22, range(FIRST, FIRST + 2))
    found = ours(checkpoint, table, chr22, None)
    assert found == pytest.approx(one_by_one(kind, model, checkpoint, table, chr22), abs=1e-4)
    assert len({round(llr, 3) for llr in found}) > 1
