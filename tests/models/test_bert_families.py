"""BERT's kin: whose weights and tokenizer a folder holds, old names of tensors, masked k-mers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ntvep import dna
from ntvep.errors import ModelError
from ntvep.models.checkpoint import describe, read_checkpoint
from ntvep.models.dnabert import DNABERT, vocabulary
from ntvep.models.dnabert2 import DNABERT2
from ntvep.models.folder import read_config, read_shapes, weight_files
from ntvep.models.gena import GENA
from ntvep.models.moderngena import MODERNGENA
from ntvep.models.mutbert import MUTBERT
from ntvep.models.registry import FAMILIES
from ntvep.windows import Span

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDERS = {
    "dnabert_3mer": DNABERT,
    "dnabert_6mer": DNABERT,
    "gena_preln": GENA,
    "gena_lastln": GENA,
    "mutbert": MUTBERT,
    "dnabert2": DNABERT2,
    "modernbert": MODERNGENA,
}
BERTS = [name for name in FOLDERS if name != "modernbert"]


@pytest.fixture
def folder(tmp_path, request) -> Path:
    """A copy of a checkpoint that may be changed."""
    return Path(shutil.copytree(GOLDEN / request.param, tmp_path / request.param))


def of(name: str):
    return pytest.mark.parametrize("folder", [name], indirect=True)


def edit(path: Path, **changes) -> None:
    """Change keys of a JSON file; None removes one."""
    file = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in file.items() if value is not None}))


def logits(folder: Path) -> torch.Tensor:
    with np.load(folder / "golden.npz") as stored:
        ids = torch.tensor(stored["A_upper96/ids"].astype(np.int64))
    encoder = read_checkpoint(folder).encoder
    return encoder.logits(encoder.hidden(ids[None])[1][0])


def test_a_config_belongs_to_one_family():
    for name, family in FOLDERS.items():
        config = read_config(GOLDEN / name)
        assert next(one.name for one in FAMILIES if one.recognises(config)) == family.name
        mine = {id(one): one for one in FOLDERS.values()}.values()
        assert [one.name for one in mine if one.recognises(config)] == [family.name]


@pytest.mark.parametrize("weights", BERTS)
@pytest.mark.parametrize("said", BERTS)
def test_weights_of_another_kind_of_bert_are_refused(said, weights):
    """model_type is "bert" in four architectures; stock classes would ignore most tensors."""
    family, config = FOLDERS[said], read_config(GOLDEN / said)
    shapes = read_shapes(weight_files(GOLDEN / weights))
    mark = {GENA: "pre_attention_ln", DNABERT2: r"attention\.self\.Wqkv"}.get(FOLDERS[weights])
    if mark is None or family is FOLDERS[weights]:
        # Told apart by names that are missing, in ntvep.models.folder, or the same kind.
        family.build(config, shapes)
        return
    with pytest.raises(ModelError, match=rf"{mark}.* of its weights would be ignored"):
        family.build(config, shapes)


@of("dnabert_3mer")
def test_dnabert_ignores_the_wish_for_lower_case(folder):
    before = describe(folder)[1].tokenizer.encode(dna.encode("ACGTacgtN")).ids
    edit(folder / "tokenizer_config.json", do_lower_case=True)
    assert describe(folder)[1].tokenizer.encode(dna.encode("ACGTacgtN")).ids.tolist() == (
        before.tolist()
    )
    assert before.tolist().count(1) == 1


@of("dnabert_3mer")
@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (sorted(vocabulary(3)), r"line 1 is 'AAA', expected '\[PAD\]'"),
        (vocabulary(3)[:-1], r"line 69 is '', expected 'GGG'"),
        ((*vocabulary(3)[:6], "AAC", "AAT"), r"line 7 is 'AAC', expected 'AAT'.* all 3-mers"),
        (vocabulary(4), r"id 260, but config\.json says vocab_size 69"),
        (map(str.lower, vocabulary(3)), r"line 1 is '\[pad\]'"),
    ],
)
def test_dnabert_with_another_vocabulary_is_refused(folder, tokens, said):
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    with pytest.raises(ModelError, match=said):
        describe(folder)


@of("mutbert")
def test_mutbert_reads_tokenizer_json_and_no_other_order(folder):
    # The file of its repository, which has an order of its own.
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nA\nT\nC\nG\n")
    tokenizer = describe(folder)[1].tokenizer
    assert tokenizer.encode(dna.encode("ACGTN")).ids.tolist() == [1, 5, 6, 7, 8, 0, 2]
    file = json.loads((folder / "tokenizer.json").read_text())
    file["model"]["vocab"] |= {"T": 6, "C": 7, "G": 8}
    edit(folder / "tokenizer.json", model=file["model"])
    with pytest.raises(ModelError, match="id 6 is 'T', but the model was trained with 'C'"):
        describe(folder)


@of("dnabert2")
def test_dnabert2_with_the_tokenizer_of_another_model_is_refused(folder):
    shutil.copy(GOLDEN / "gena_preln" / "tokenizer.json", folder / "tokenizer.json")
    with pytest.raises(ModelError, match="id 5 is '-', but the model was trained with 'A'"):
        describe(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        describe(folder)


@of("dnabert2")
def test_dnabert2_without_model_type_is_recognised(folder):
    edit(folder / "config.json", model_type=None)
    assert describe(folder)[0] is DNABERT2


@of("gena_preln")
def test_gena_with_more_tokens_than_logits_is_refused(folder):
    edit(folder / "config.json", vocab_size=500)
    with pytest.raises(ModelError, match=r"id 511, but config\.json says vocab_size 500"):
        describe(folder)


@of("modernbert")
def test_modernbert_whose_specials_are_not_those_of_its_config_is_refused(folder):
    edit(folder / "config.json", sep_token_id=7)
    with pytest.raises(ModelError, match=r"sep_token_id .* is 7, but tokenizer\.json puts \[2\]"):
        describe(folder)


@of("dnabert_3mer")
def test_names_of_tensors_of_berts_first_years(folder):
    """gamma and beta, a decoder written out twice, and the heads of its other objective."""
    before = logits(folder)
    tensors = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        module, _, kind = name.rpartition(".")
        if module.endswith("LayerNorm"):
            name = f"{module}.{'gamma' if kind == 'weight' else 'beta'}"
        tensors[name] = tensor
    tensors["cls.predictions.decoder.weight"] = tensors[
        "bert.embeddings.word_embeddings.weight"
    ].clone()
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].clone()
    tensors["bert.pooler.dense.weight"] = torch.ones(32, 32)
    tensors["bert.pooler.dense.bias"] = torch.ones(32)
    tensors["cls.seq_relationship.weight"] = torch.ones(2, 32)
    tensors["cls.seq_relationship.bias"] = torch.ones(2)
    save_file(tensors, folder / "model.safetensors")
    assert torch.equal(logits(folder), before)


@pytest.mark.parametrize("name", ["dnabert_3mer", "dnabert_6mer"])
def test_the_k_tokens_that_hold_a_base_are_those_that_the_original_masks(name):
    tokenizer = describe(GOLDEN / name)[1].tokenizer
    about = json.loads((GOLDEN / name / "golden.json").read_text())
    compared = 0
    with np.load(GOLDEN / name / "golden.npz") as stored:
        for key in stored:
            if not key.endswith("/base"):
                continue
            place = key.removesuffix("/base")
            tokens = tokenizer.encode(dna.encode(about["sequences"][place.partition("/")[0]]))
            base = int(stored[key])
            held = tokens.places.holding(Span(base, base + 1))
            assert list(held) == stored[f"{place}/at"].tolist()
            compared = max(compared, len(held))
    assert compared == tokenizer.k


def test_alibi_beyond_the_length_of_training(shared):
    source = shared / "golden/families/dnabert2"
    with np.load(source / "golden.npz") as stored:
        ids, rows = stored["long600/ids"], stored["long600/rows"]
        expected = stored["long600/logits_rows"]
    encoder = read_checkpoint(source / "model").encoder
    last = encoder.hidden(torch.tensor(ids)[None])[1][0]
    np.testing.assert_allclose(encoder.logits(last[rows]).numpy(), expected, rtol=0, atol=2e-5)
