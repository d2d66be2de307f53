"""What is wrong with a configuration is said in a sentence, and no job starts."""

import pytest
import yaml

from ntvep.commands import workflow_config
from ntvep.errors import ConfigError, ModelError, NtvepError
from tests.conftest import ROOT

SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
BASE = {"vcf": "x.vcf", "reference": "x.fa", "model": "demo-6mer", "views": 2, "scores": "all"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"window_token": 3}, "window_token: no such key; did you mean window_tokens"),
        ({"modle": "x"}, "modle: no such key; did you mean model"),
        ({"zzz": 1}, "zzz: no such key; expected one of samples, vcf, reference, model"),
        ({"evaluate": {"match": 9}}, "evaluate: match: no such key; did you mean matched"),
        (
            {"labels": {"a": {"source": "clinvar", "files": "x", "min_star": 1}}},
            "labels: a: min_star: no such key; did you mean min_stars",
        ),
        (
            {"labels": {"a": {"source": "table", "files": "x", "match": {"negative": 1}}}},
            "labels: a: match: negative: no such key; did you mean negatives",
        ),
        ({"resources": {"x": {"ulr": "http://x"}}}, "resources: x: ulr: no such key; did you mean"),
    ],
)
def test_an_unknown_key_and_its_neighbour(more, message):
    with pytest.raises(ConfigError) as refused:
        workflow_config.refuse_unknown_keys(BASE | more, SCHEMA)
    assert message in str(refused.value)


@pytest.mark.parametrize("name", ["config.yaml", "grch38-nt500m.yaml"])
def test_our_own_configurations_are_known(name):
    config = yaml.safe_load((ROOT / "config" / name).read_text())
    workflow_config.refuse_unknown_keys(config, SCHEMA)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"views": 3}, "--views is 3; expected 1, 2 or all (12)"),
        ({"window_bases": 60_000}, "a window of 60000 bases does not fit this model"),
        ({"scores": "llr,nonsense"}, "unknown score 'nonsense'"),
        ({"layer": 50}, "--layer is 50"),
    ],
)
def test_what_the_model_cannot_be_asked(more, message):
    with pytest.raises(NtvepError) as refused:
        workflow_config.models_of(BASE | more)
    assert message in str(refused.value)


def test_a_model_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="type: ntvep model fetch some/model"):
        workflow_config.models_of(BASE | {"model": "some/model"})
    workflow_config.models_of(BASE)
