"""``ntvep model check``, ``info`` and ``list`` for every family: which opinion, what it sees."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from ntvep.commands.models import model_check, model_info, model_list
from ntvep.errors import ModelError
from ntvep.models import recorded, second_opinion
from ntvep.models.checkpoint import describe, read_checkpoint
from ntvep.models.folder import weight_files, weights_sha256
from ntvep.models.registry import FAMILIES
from ntvep.models.second_opinion import compare
from tests.conftest import ROOT
from tests.models.test_recorded import of_golden

GOLDEN = ROOT / "tests" / "golden"
# What transformers has a class of its own for; the first list has a tokenizer of its own too.
WITH_IDS = ("agront", "dnabert_3mer", "dnabert_6mer", "modernbert", "marin-dna")
WITHOUT_IDS = ("generator", "mamba")
ALONE = (
    "caduceus_ph", "caduceus_ps", "dnabert2", "evo2", "gena_preln", "gena_lastln", "gpn_bytenet",
    "gpn_convnet", "hyenadna", "mutbert", "ntv3", "phylogpn", "plantcaduceus",
)  # fmt: skip
# What the words of the table say of the kinds of tokenizers.
WORDS = {"base": "bases", "kmer": "mers", "overlapping": "overlapping", "bpe": "byte pairs"}


def test_every_golden_is_in_one_of_the_lists():
    named = {*WITH_IDS, *WITHOUT_IDS, *ALONE, "v1", "v2"}
    assert named == {path.parent.name for path in GOLDEN.glob("*/config.json")}


@pytest.fixture
def copied(tmp_path):
    """Copy a golden as if it had been fetched."""

    def copy(name, model_id="some/model"):
        folder = tmp_path / name
        shutil.copytree(GOLDEN / name, folder, ignore=shutil.ignore_patterns("golden.*"))
        about = {"model_id": model_id, "revision": "a" * 40}
        (folder / "ntvep.json").write_text(json.dumps(about))
        return folder

    return copy


def scale(folder, which=0, factor=1.5):
    """Make one tensor larger."""
    (path,) = weight_files(folder)
    tensors = load_file(path)
    name = sorted(n for n, t in tensors.items() if t.ndim > 1)[which]
    tensors[name] = tensors[name] * factor
    save_file(tensors, path)


@pytest.mark.parametrize("name", [*WITH_IDS, *WITHOUT_IDS])
def test_what_transformers_computes_too_agrees_with_it(name):
    found = compare(GOLDEN / name)
    assert found.logits < 5e-5
    assert found.ids_equal is (True if name in WITH_IDS else None)
    assert "agrees with transformers" in model_check(str(GOLDEN / name))


@pytest.mark.parametrize("name", ["dnabert_3mer", "modernbert", "marin-dna", "mamba"])
def test_one_scaled_tensor_of_ours_is_seen(name, monkeypatch):
    """The file is as it was: only our side has it larger."""

    def changed(folder):
        checkpoint = read_checkpoint(folder)
        # Of a block: a norm behind the first and the last matrix undoes what is done to these.
        matrices = [p for p in checkpoint.encoder.parameters() if p.ndim > 1]
        matrices[len(matrices) // 2].data *= 1.5
        return checkpoint

    monkeypatch.setattr(second_opinion, "read_checkpoint", changed)
    with pytest.raises(ModelError, match="expected the numbers of transformers"):
        model_check(str(GOLDEN / name))


@pytest.mark.parametrize("name", ["gpn_convnet", "phylogpn"])
def test_recorded_outputs_come_first_and_see_one_scaled_tensor(name, copied, monkeypatch):
    folder, wanted = copied(name), of_golden(name)
    monkeypatch.setattr(
        recorded,
        "RECORDED",
        (recorded.Recorded(**{**vars(wanted), "model": "some/model", "revision": "a" * 40}),),
    )
    assert "agrees with the published model" in model_check(str(folder))
    scale(folder)
    with pytest.raises(ModelError, match="not the published weights: fetch the model again"):
        model_check(str(folder))
    # Another commit may have other weights, and nothing is recorded of it.
    (folder / "ntvep.json").write_text('{"model_id": "some/model", "revision": "b"}')
    assert "recorded only for revision aaaaaaaa" in model_check(str(folder))


@pytest.mark.parametrize("name", ALONE)
def test_where_there_is_no_second_opinion_it_says_so(name):
    title = read_checkpoint(GOLDEN / name).family.title
    assert compare(GOLDEN / name) is None
    said = model_check(str(GOLDEN / name))
    assert f"no second opinion on it here: transformers has no class of its own for {title}" in said
    assert "agrees" not in said


@pytest.mark.parametrize("name", ["hyenadna", "phylogpn", "marin-dna"])
def test_one_scaled_tensor_of_a_fetched_model_is_seen_in_any_family(name, copied):
    folder = copied(name)
    about = json.loads((folder / "ntvep.json").read_text())
    digest = weights_sha256(weight_files(folder))
    (folder / "ntvep.json").write_text(json.dumps(about | {"weights_sha256": digest}))
    assert model_check(str(folder))
    scale(folder, which=-1, factor=1.001)
    with pytest.raises(ModelError, match=r"the fetched ones had .*; remove"):
        model_check(str(folder))


def test_logits_that_are_no_numbers_are_seen(copied):
    folder = copied("hyenadna")
    (path,) = weight_files(folder)
    tensors = load_file(path)
    name = "hyena.backbone.ln_f.weight"
    save_file(tensors | {name: torch.full_like(tensors[name], 3e38)}, path)
    with pytest.raises(ModelError, match="not all finite"):
        model_check(str(folder))


@pytest.mark.parametrize(
    ("name", "objective", "tokens", "window"),
    [
        ("gpn_convnet", "masked", "bases, 7 ids", "512 bases"),
        ("marin-dna", "causal", "bases, 7 ids", "255 bases"),
        ("phylogpn", "rates", "bases, 6 ids", "73 bases"),
        ("generator", "causal", "6-mers, 4128 ids", "8,190 bases (1365 tokens)"),
        ("dnabert_3mer", "masked", "overlapping 3-mers, 69 ids", "512 bases"),
        ("dnabert2", "masked", "byte pairs, 512 ids", "700 bases"),
    ],
)
def test_info_is_right_for_each_objective_and_tokenizer(name, objective, tokens, window):
    said = model_info(str(GOLDEN / name))
    assert (said["objective"], said["tokenizer"]) == (objective, tokens)
    assert said["default window"] == window
    family = read_checkpoint(GOLDEN / name).family
    assert (said["family"], said["authors' score"]) == (family.title, family.authors)
    assert "llr" in said["authors' score"]


def test_the_list_names_every_family_and_every_hub_id():
    lines = model_list()
    names = [line.strip() for line in lines if line.startswith("    ")]
    assert names == [model for family in FAMILIES for model in family.models]
    rows = [line for line in lines[1:] if not line.startswith("    ")]
    for family, row in zip(FAMILIES, rows, strict=True):
        for part in (family.title, family.objective, family.tokens, family.window, family.licence):
            assert part in row


@pytest.mark.parametrize("name", [*WITH_IDS, *WITHOUT_IDS, *ALONE])
def test_the_list_says_what_checkpoints_say_of_themselves(name):
    family, description = describe(GOLDEN / name)
    assert description.objective in family.objective
    assert WORDS[description.tokenizer.kind] in family.tokens
    # Goldens of these have shorter windows than the published ones.
    if name not in ("phylogpn", "hyenadna", "mamba", "dnabert_3mer", "dnabert_6mer"):
        assert f"{description.default_bases:,}" in family.window
