"""Scores of 14 variants against those that the reference implementation's authors' code gives.

The reference stored several ways to score a variant; ours are those of docs/scores.md.
"""

import json

import numpy as np
import pytest

from ntvep import dna, scoring, windows
from ntvep.alleles import token_pair
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.engine import Engine
from ntvep.objectives import defined_scores
from ntvep.passes import Asking, plan


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_scores_equal_the_reference(shared, kind):
    folder = shared / "golden" / kind
    checkpoint = read_checkpoint(folder / "model")
    description, tokenizer = checkpoint.description, checkpoint.description.tokenizer
    asking = Asking(description, defined_scores("masked", "kmer"))
    meta = json.loads((folder / "meta.json").read_text())
    with np.load(folder / "golden.npz") as arrays:
        golden, distances = arrays["variants/scores"], arrays["variants/distances"]
    pools = {"mean_tokens_without_cls": "", "variant_token": "_token"}
    checked = 0
    for i, variant in enumerate(meta["variants"]):
        if variant["fill"] != "filled":
            continue
        theirs = dict(zip(meta["score_columns"], golden[i], strict=True))
        edit = windows.trim(variant["pos0"] + 1, variant["ref"], variant["alt"])
        sequences = (dna.encode(variant[side]) for side in ("ref_seq", "alt_seq"))
        ref, alt = (tokenizer.encode(sequence) for sequence in sequences)
        alt = None if edit.is_substitution else alt
        pair = token_pair(edit, (edit.start, edit.start), ref, alt, False, description)
        planned = plan([pair], asking)
        answers = Engine(checkpoint.encoder, tokenizer).answer(planned.questions)
        ours = scoring.score([pair], asking, planned, answers)
        found = {name: float(values[0]) for name, values in ours.items()}

        joint = "mllr_joint" if edit.is_substitution else "mllr_two_ctx"
        assert found["llr"] == pytest.approx(theirs[joint], abs=1e-4), variant["name"]
        if len(pair.ref_changed) == 1 and edit.is_substitution:
            assert found["llr_unmasked"] == pytest.approx(theirs["wt_marginal"], abs=1e-4)
        if not np.isnan(theirs["mllr_marginal"]):
            assert found["llr_marginal"] == pytest.approx(theirs["mllr_marginal"], abs=1e-4)
        # A sum over a hundred tokens adds up a hundred float32 errors.
        whole = theirs["ll_unmasked_alt"] - theirs["ll_unmasked_ref"]
        assert found["pll_delta"] == pytest.approx(whole, abs=2e-3)
        last = dict(zip(meta["pools"], distances[i, -1], strict=True))
        for pool, suffix in pools.items():
            if suffix and len(pair.ref_changed) + len(pair.alt_changed) > 2:
                continue  # Theirs takes the first differing token, ours the mean of all.
            named = dict(zip(meta["metrics"], last[pool], strict=True))
            cosine = 1 - named["cosine_similarity"]
            assert found[f"cosine_distance{suffix}"] == pytest.approx(cosine, abs=1e-4)
            for name in ("l1", "l2", "dot"):
                expected = pytest.approx(named[name], rel=1e-4, abs=1e-4)
                assert found[f"{name}{suffix}"] == expected, (variant["name"], name)
        checked += 1
    assert checked == 14
