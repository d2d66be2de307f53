"""Our forward pass against numbers of other implementations, stored: see recipes/golden.py."""

import json
from dataclasses import fields

import numpy as np
import pytest
import torch

from ntvep import dna
from ntvep.errors import ConfigError
from ntvep.models import engine as engine_module
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.engine import Engine
from ntvep.models.nt import Head
from ntvep.passes import Answers, Inputs, Questions
from ntvep.tokens import Tokens
from tests.conftest import ROOT

KINDS = ["v1", "v2"]


def run(model, ids):
    """Hidden states of every layer, and logits of every row."""
    batch = torch.tensor(np.asarray(ids, np.int64))[None]
    layers = [model.hidden(batch, layer)[0][0].numpy() for layer in range(model.layers + 1)]
    return layers, model.logits(model.hidden(batch)[1][0]).numpy()


def logits_at(model, ids, rows):
    """Logits of some rows, from the last layer alone."""
    batch = torch.tensor(np.asarray(ids, np.int64))[None]
    return model.logits(model.hidden(batch)[1][0][torch.tensor(np.asarray(rows, np.int64))]).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_own_golden(kind):
    model = read_checkpoint(ROOT / "tests" / "golden" / kind).encoder
    with np.load(ROOT / "tests" / "golden" / kind / "golden.npz") as golden:
        names = sorted({key.split("/")[0] for key in golden})
        assert len(names) == 6
        for name in names:
            layers, logits = run(model, golden[f"{name}/ids"])
            rows = golden[f"{name}/rows"]
            # Above 1 in places: outputs of a model whose weights are not small.
            np.testing.assert_allclose(logits[rows], golden[f"{name}/logits"], atol=1e-4)
            for found, expected in zip(layers, golden[f"{name}/hidden"], strict=True):
                np.testing.assert_allclose(found[rows], expected, atol=1e-4)


def questions(inputs, edits=(), **asked):
    """Questions that ask only for what is named."""
    widths = {"rows": 2, "tokens": 2, "bases": 3, "entropy": 0, "hidden": 2, "likelihood": 2}
    arrays = {
        name: np.array(asked.get(name, []), np.int64).reshape((-1, width) if width else -1)
        for name, width in (widths | {"pooled": 0}).items()
    }
    sequence = np.arange(len(inputs))
    none = np.full(len(inputs), -1)
    edits = np.array(edits, np.int64).reshape(-1, 3)
    more = {name: asked[name] for name in ("layer", "pool", "softmax") if name in asked}
    return Questions(Inputs(inputs, sequence, edits, none, none * 0), **arrays, **more)


@pytest.fixture(scope="module", params=KINDS)
def reference(request, shared):
    """The reference implementation's checkpoint, its numbers and its inputs."""
    folder = shared / "golden" / request.param
    model = read_checkpoint(folder / "model").encoder
    meta = json.loads((folder / "meta.json").read_text())
    with np.load(folder / "golden.npz") as arrays:
        yield request.param, model, dict(arrays), meta | {"folder": folder / "model"}


def test_reference_sequences(reference):
    """Every layer's hidden states and the logits of all sequences, within 1e-4."""
    _, model, golden, meta = reference
    for sequence in meta["sequences"]:
        name = f"seq/{sequence['name']}"
        ids = golden[f"{name}/ids"]
        layers, logits = run(model, ids)
        np.testing.assert_allclose(layers[1:], golden[f"{name}/emb"], atol=1e-4)
        if f"{name}/logits" in golden:
            np.testing.assert_allclose(logits, golden[f"{name}/logits"], atol=1e-4)
        else:
            own = logits[np.arange(len(ids)), ids]
            np.testing.assert_allclose(own, golden[f"{name}/logits_tok"], atol=1e-4)
            total = torch.tensor(logits).logsumexp(1)
            np.testing.assert_allclose(total, golden[f"{name}/logsumexp"], atol=1e-4)


def test_reference_token_ids(reference):
    """Our tokens of every sequence, REF and ALT window and the longest input."""
    _, _, golden, meta = reference
    tokenizer = read_checkpoint(meta["folder"]).description.tokenizer
    asked = {f"seq/{s['name']}/ids": s["seq"] for s in meta["sequences"]}
    asked["long/ids"] = meta["long_seq"]
    for variant in meta["variants"]:
        for side in ("ref", "alt"):
            asked[f"var/{variant['name']}/{side}_ids"] = variant[f"{side}_seq"]
    assert len(asked) > 40
    for name, letters in asked.items():
        ids = tokenizer.encode(dna.encode(letters)).ids
        np.testing.assert_array_equal(ids, golden[name], err_msg=name)


def test_reference_maximum_length(reference):
    kind, model, golden, _ = reference
    tolerance = 1e-4 if kind == "v1" else 5e-4
    layers, logits = run(model, golden["long/ids"])
    assert len(golden["long/ids"]) == model.max_tokens == {"v1": 1000, "v2": 2048}[kind]
    rows = golden["long/pos"]
    np.testing.assert_allclose(layers[-1][rows], golden["long/emb_final"], atol=tolerance)
    np.testing.assert_allclose(logits[rows], golden["long/logits"], atol=tolerance)


def test_reference_padded_batch(reference):
    """The reference ran these padded to one length; we never pad, and must agree all the same."""
    _, model, golden, _ = reference
    for i, padded in enumerate(golden["padbatch/ids"]):
        ids = padded[padded != model.arch.pad_id]
        layers, logits = run(model, ids)
        np.testing.assert_allclose(
            layers[-1], golden["padbatch/emb_final"][i, : len(ids)], atol=1e-4
        )
        masked = golden["padbatch/mask_pos"][i]
        np.testing.assert_allclose(logits[masked], golden["padbatch/logits_at_mask"][i], atol=1e-4)


def test_reference_masks_of_several_tokens(reference):
    _, model, golden, meta = reference
    rows = golden["multimask/pos"]
    logits = logits_at(model, golden["multimask/ids"], rows)
    np.testing.assert_allclose(logits, golden["multimask/logits"], atol=1e-4)
    names = [f"var/{variant['name']}" for variant in meta["variants"]]
    assert sum(f"{name}/joint_pos" in golden for name in names) == 8
    for name in names:
        if f"{name}/joint_pos" in golden:
            ids, rows = golden[f"{name}/ref_ids"].copy(), golden[f"{name}/joint_pos"]
            ids[rows] = model.arch.mask_id
            logits = logits_at(model, ids, rows)
            np.testing.assert_allclose(logits, golden[f"{name}/joint_logits"], atol=1e-4)


def test_reference_masked_variants(reference):
    """REF and ALT windows of 20 variants, each masked at its first differing token."""
    _, model, golden, meta = reference
    for i, variant in enumerate(meta["variants"]):
        first = golden["variants/first_diff_index"][i]
        for side in ("ref", "alt"):
            ids = golden[f"var/{variant['name']}/{side}_ids"].copy()
            ids[first] = model.arch.mask_id
            expected = golden[f"variants/{side}_masked_logits"][i]
            np.testing.assert_allclose(logits_at(model, ids, [first])[0], expected, atol=1e-4)


def test_reference_embeddings(reference):
    """Mean over nucleotide tokens, from the engine, for every layer."""
    _, model, golden, meta = reference
    tokenizer = read_checkpoint(meta["folder"]).description.tokenizer
    assert meta["pools"][0] == "mean_tokens_without_cls"
    for layer in range(1, model.layers + 1):
        for i, variant in enumerate(meta["variants"]):
            ids = golden[f"var/{variant['name']}/ref_ids"].astype(np.int32)
            places = tokenizer.encode(dna.encode(variant["ref_seq"])).places
            asked = questions(
                (Tokens(ids, places, len(variant["ref_seq"])),), pooled=[0], layer=layer
            )
            pooled = Engine(model, tokenizer).answer(asked).pooled[0]
            expected = golden["variants/ref_vectors"][i, layer - 1, 0]
            np.testing.assert_allclose(pooled, expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_any_size_answer_the_same(kind):
    checkpoint = read_checkpoint(ROOT / "tests" / "golden" / kind)
    model, vocabulary = checkpoint.encoder, checkpoint.description.tokenizer
    rng = np.random.default_rng(1)
    lengths = [60, 66, 60, 72, 66, 60, 30]
    inputs = tuple(vocabulary.encode(rng.integers(0, 4, n).astype(np.uint8)) for n in lengths)
    rows = [(6, 2), (0, 3), (3, 1), (3, 12), (1, 5), (0, 4)]
    asked = questions(
        inputs,
        # The last input, and the second, whose row alone is asked for, are masked.
        edits=[(1, 5, model.arch.mask_id), (6, 2, model.arch.mask_id)],
        rows=rows,
        tokens=[(0, 77), (5, 78), (2, 79), (2, 80), (4, 3), (3, 99), (1, 100)],
        bases=[(4, 0, 0), (1, 0, 0), (0, 0, 0)],
        entropy=[2, 4, 0, 5],
        hidden=rows[:0:-2],
        likelihood=[(0, 1), (2, 1), (3, 1)],
        pooled=[5, 3],
    )
    alone = Engine(model, vocabulary, batch_size=1).answer(asked)
    for size in (2, 3, 7, None):
        seen = []
        together = Engine(model, vocabulary, batch_size=size).answer(asked, seen.append)
        assert sum(seen) == len(inputs)
        for field in fields(Answers):
            found, expected = getattr(together, field.name), getattr(alone, field.name)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=field.name)
    # Each answer stands in its own place: the same questions, one at a time, by hand.
    whole = [asked.inputs.rows(np.array([i]))[0] for i in range(len(inputs))]
    assert [int((ids == model.arch.mask_id).sum()) for ids in whole] == [0, 1, 0, 0, 0, 0, 1]
    expected = [
        torch.tensor(logits_at(model, whole[number], [token])[0]).double().log_softmax(0).numpy()
        for number, token in rows
    ]
    for found, (row, token) in zip(alone.tokens, asked.tokens, strict=True):
        assert found == pytest.approx(expected[row][token], abs=1e-5)
    for found, row in zip(alone.entropy, asked.entropy, strict=True):
        assert found == pytest.approx(-np.sum(np.exp(expected[row]) * expected[row]), abs=1e-5)
    for found, (row, _, _) in zip(alone.bases, asked.bases, strict=True):
        slow = [
            [np.log(np.exp(expected[row][vocabulary.members[o, b]]).sum()) for b in range(4)]
            for o in range(6)
        ]
        np.testing.assert_allclose(found, slow, atol=1e-5)
    for found, (number, token) in zip(alone.hidden, asked.hidden, strict=True):
        np.testing.assert_allclose(found, run(model, whole[number])[0][-1][token], atol=1e-5)
    for found, (number, _) in zip(alone.likelihood, asked.likelihood, strict=True):
        log_probs = torch.tensor(run(model, whole[number])[1]).double().log_softmax(1)
        own = log_probs[np.arange(1, len(whole[number])), whole[number][1:]].sum()
        assert found == pytest.approx(float(own), abs=1e-4)
    for found, number in zip(alone.pooled, asked.pooled, strict=True):
        np.testing.assert_allclose(
            found, run(model, whole[number])[0][-1][1:].mean(axis=0), atol=1e-5
        )


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError(), RuntimeError("MPS backend out of memory (MPS allocated: 18 GB)")],
    ids=["cuda", "mps"],
)
def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(monkeypatch, error):
    checkpoint = read_checkpoint(ROOT / "tests" / "golden" / "v2")
    model, vocabulary = checkpoint.encoder, checkpoint.description.tokenizer
    rng = np.random.default_rng(2)
    inputs = tuple(vocabulary.encode(rng.integers(0, 4, 60).astype(np.uint8)) for _ in range(9))
    asked = questions(inputs, rows=[(i, 3) for i in range(9)], tokens=[(i, 50) for i in range(9)])
    expected = Engine(model, vocabulary).answer(asked).tokens
    tried, forward = [], type(model).hidden

    def small_memory(self, batch, layer=None):
        tried.append(len(batch))
        if len(batch) > 2:
            raise error
        return forward(self, batch, layer)

    monkeypatch.setattr(type(model), "hidden", small_memory)
    monkeypatch.setattr(engine_module, "_FEWEST_ROWS", 1)
    engine, seen = Engine(model, vocabulary, batch_size=8), []
    np.testing.assert_allclose(engine.answer(asked, seen.append).tokens, expected, atol=1e-6)
    assert tried == [8, 4, 2, 2, 2, 2, 1]
    assert (sum(seen), engine.passes_run, engine.batch_size) == (9, 9, 2)
    fixed = Engine(model, vocabulary, batch_size=8, deterministic=True)
    with pytest.raises(ConfigError, match="never makes batches smaller; try --batch-size 4"):
        fixed.answer(asked)

    def no_memory(*_):
        raise error

    monkeypatch.setattr(type(model), "hidden", no_memory)
    with pytest.raises(ConfigError, match="a batch of 1 x 11 tokens: take a shorter window"):
        engine.answer(asked)


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_deterministic_answers_do_not_depend_on_the_company(kind, monkeypatch):
    """On a device of which every result depends on how many are computed together."""
    checkpoint = read_checkpoint(ROOT / "tests" / "golden" / kind)
    model, vocabulary = checkpoint.encoder, checkpoint.description.tokenizer
    rng = np.random.default_rng(8)
    inputs = tuple(vocabulary.encode(rng.integers(0, 4, 60).astype(np.uint8)) for _ in range(11))

    def asked(count):
        rows = [(i, t) for i in range(count) for t in (3, 5)]
        return questions(
            inputs[:count],
            edits=[(i, 3, model.arch.mask_id) for i in range(count) if i % 2],
            rows=rows,
            tokens=[(row, 50) for row in range(len(rows))],
            bases=[(row, 0, 0) for row in range(len(rows))],
            entropy=list(range(len(rows))),
            hidden=[(i, 4) for i in range(0, count, 2)],
            likelihood=[(i, 1) for i in range(0, count, 2)],
            pooled=list(range(0, count, 2)),
        )

    def depends(function):
        # Powers of two are exact; the batch is the first argument, or the second of a method.
        def shifted(*given, **options):
            batch = next(x for x in given if isinstance(x, torch.Tensor))
            found = function(*given, **options)
            factor = 1 + len(batch) / 1024
            return tuple(f * factor for f in found) if isinstance(found, tuple) else found * factor

        return shifted

    monkeypatch.setattr(engine_module, "_FEWEST_ROWS", 1)
    for owner, name in ((type(model), "hidden"), (type(model), "last_at"), (Head, "forward")):
        monkeypatch.setattr(owner, name, depends(getattr(owner, name)))

    def differing(**options):
        few, many = (Engine(model, vocabulary, **options).answer(asked(n)) for n in (3, 11))
        pairs = ((f.name, getattr(few, f.name), getattr(many, f.name)) for f in fields(Answers))
        return {name for name, one, other in pairs if not np.array_equal(one, other[: len(one)])}

    assert differing(batch_size=4, deterministic=True) == set()
    # What a CPU does in half precision: full batches, and rows one by one as always there.
    assert differing(batch_size=4, fills=True) == set()
    assert differing(batch_size=4) == {field.name for field in fields(Answers)}
