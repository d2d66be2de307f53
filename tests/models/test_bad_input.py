"""What users bring by mistake, for every family: one clear paragraph each, before any score.

What is special to a family (its tokenizer, flags, other kinds of BERT) is in that family's tests.
"""

import json
import re
import shutil

import pytest
from safetensors.torch import load_file, save_file

from ntvep.errors import ConfigError, ModelError
from ntvep.models.checkpoint import describe, read_checkpoint
from ntvep.objectives import defined_scores
from ntvep.settings import Settings, fitting
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"
NAMES = sorted(path.parent.name for path in GOLDEN.glob("*/config.json"))
# One golden of each network, to put its weights beside another's config.json.
NETWORKS = (
    "v1", "gpn_convnet", "gpn_bytenet", "phylogpn", "dnabert_3mer", "dnabert2", "gena_preln",
    "modernbert", "hyenadna", "caduceus_ps", "ntv3", "evo2", "marin-dna", "generator", "mamba",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Copy a golden, to break."""

    def copy(name):
        made = tmp_path / "model"
        shutil.copytree(GOLDEN / name, made, ignore=shutil.ignore_patterns("golden.*"))
        return made

    return copy


def refused(folder, message: str) -> str:
    with pytest.raises(ModelError, match=message) as caught:
        read_checkpoint(folder)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 1_000
    assert str(folder) in said
    return said


@pytest.mark.parametrize("name", NAMES)
def test_pickles_alone_are_never_opened(name, folder):
    made = folder(name)
    (made / "model.safetensors").unlink()
    # To read this would fail in another way.
    (made / "pytorch_model.bin").write_bytes(b"no pickle")
    said = refused(made, r"only pytorch_model\.bin, a pickle; ntvep reads weights from safetensors")
    assert f"ntvep model fetch {made}" in said


@pytest.mark.parametrize("name", NAMES)
def test_a_shard_that_was_not_copied_is_named_by_its_tensors(name, folder):
    made = folder(name)
    tensors = load_file(made / "model.safetensors")
    names = sorted(tensors)
    shards = [names[::2], names[1::2]]
    files = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for file, some in zip(files, shards, strict=True):
        save_file({key: tensors[key].contiguous() for key in some}, made / file)
    index = {key: file for file, some in zip(files, shards, strict=True) for key in some}
    (made / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (made / "model.safetensors").unlink()
    assert read_checkpoint(made).parameters == read_checkpoint(GOLDEN / name).parameters
    (made / files[1]).unlink()
    said = refused(made, "missing|model-00002-of-00002")
    assert any(key in said for key in shards[1]) or files[1] in said


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_was_half_copied(name, folder):
    made = folder(name)
    whole = (made / "model.safetensors").read_bytes()
    (made / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    refused(made, "not a whole safetensors file")


@pytest.mark.parametrize("number", range(len(NETWORKS)))
def test_weights_of_another_architecture(number, folder):
    """Those of the next in the list, and of the one seven places further on."""
    for step in (1, 7):
        other = NETWORKS[(number + step) % len(NETWORKS)]
        made = folder(NETWORKS[number])
        shutil.copy(GOLDEN / other / "model.safetensors", made / "model.safetensors")
        with pytest.raises(ModelError) as caught:
            read_checkpoint(made)
        assert "\n" not in str(caught.value)
        assert re.search(r"weights|tensors?\b", str(caught.value))
        shutil.rmtree(made)


@pytest.mark.parametrize("name", NAMES)
def test_code_beside_a_checkpoint_is_not_run_in_any_family(name, folder, tmp_path):
    made = folder(name)
    config = json.loads((made / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    (made / "config.json").write_text(json.dumps(config))
    for file in ("evil.py", "__init__.py", "tokenization_evil.py"):
        (made / file).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    read_checkpoint(made)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", NAMES)
def test_windows_beyond_the_trained_length_are_asked_for_in_so_many_words(name):
    model = describe(GOLDEN / name)[1]
    scores = defined_scores(model.objective, model.tokenizer.kind)

    def asked(bases):
        return Settings(scores=scores, window_bases=bases, views=1, max_allele_bases=1)

    assert fitting(asked(model.default_bases), model)
    longer = asked(model.trained_bases // model.step * model.step + model.step)
    if model.field:
        # Its window is its field, whatever is asked.
        assert fitting(longer, model)
        return
    with pytest.raises(ConfigError, match=r"beyond-training|does not fit this model") as caught:
        fitting(longer, model)
    assert f"{longer.window_bases} bases" in str(caught.value)
    if "beyond-training" in str(caught.value):
        assert fitting(longer, model, beyond_training=True) is longer
    else:
        # There are no positions for more: asking does not help.
        with pytest.raises(ConfigError, match="does not fit this model"):
            fitting(longer, model, beyond_training=True)
