"""``ntvep model info --measure``, and folders that hold no model of ours."""

import json
import re

import pytest

from ntvep.commands import models
from ntvep.errors import ModelError
from ntvep.models import loaded
from tests.conftest import ROOT


def test_the_pace_is_that_of_the_passes(monkeypatch):
    """A clock that counts a tenth of a second for each pass the model runs: 200 s for 1,000 SNVs.

    llr of an SNV takes one masked pass a strand and an SNV; so far apart none is shared.
    """
    now, load = [0.0], models.load_model

    def counted(*arguments, **named):
        found = load(*arguments, **named)
        begin = found.model.begin

        def slowly(questions, on_passes=None):
            now[0] += 0.1 * len(questions.inputs)
            return begin(questions, on_passes)

        monkeypatch.setattr(found.model, "begin", slowly)
        return found

    monkeypatch.setattr(models, "load_model", counted)
    monkeypatch.setattr(models.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(models, "_SECONDS", 3.0)
    (said,) = models.model_pace(str(ROOT / "tests/golden/v2"), device="cpu").values()
    seconds = float(re.match(r"([\d.]+) s ", said)[1])
    assert seconds == pytest.approx(200, rel=1e-6)
    assert "8 SNVs of random sequence" in said
    assert "fp32 on cpu" in said


def test_another_architecture_says_what_it_is(tmp_path):
    config = {"architectures": ["LlamaTokenHead"], "model_type": "llama-protein"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as refused:
        loaded.described(str(tmp_path))
    text = str(refused.value)
    assert "config.json says ['LlamaTokenHead']" in text
    assert "ntvep scores checkpoints of these families: " in text
    assert "Nucleotide Transformer" in text
    assert "fetch the model again" not in text
