"""Attention blocks of the BERT kin: against plain loops, a few rows alone, and half precision."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ntvep.errors import ModelError
from ntvep.models import bert, dnabert2, moderngena

CONFIG = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "intermediate_size": 40,
    "vocab_size": 30,
    "max_position_embeddings": 64,
    "layer_norm_eps": 1e-12,
}
MODERN = CONFIG | {
    "local_attention": 8,
    "global_attn_every_n_layers": 2,
    "model_type": "modernbert",
}
KINDS = {
    "post-LN": lambda: bert.Bert(bert.read_design(CONFIG, "BERT")),
    "pre-LN": lambda: bert.Bert(bert.read_design(CONFIG, "BERT", norm_first=True)),
    "rotary": lambda: bert.Bert(
        bert.read_design(CONFIG, "BERT", norm_first=True, final_norm=True, rotary=True)
    ),
    "ALiBi": lambda: dnabert2.DnaBert2(bert.read_design(CONFIG, "DNABERT-2")),
    "local": lambda: moderngena.ModernBert(moderngena._design(MODERN)),
}


def weighted(module: nn.Module) -> nn.Module:
    torch.manual_seed(11)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module.eval().requires_grad_(False)


def some_ids(passes: int = 4, tokens: int = 21) -> Tensor:
    return torch.randint(0, 30, (passes, tokens), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows_at_once", [None, 1, 3])
def test_a_few_rows_alone_are_those_of_the_whole_layer(kind, rows_at_once):
    model = weighted(KINDS[kind]())
    ids = some_ids()
    number, token = torch.tensor([0, 3, 3, 1, 0]), torch.tensor([0, 20, 7, 11, 12])
    rows = model.last_at(ids, number, token, rows_at_once)
    _, last = model.hidden(ids)
    torch.testing.assert_close(rows, last[number, token], rtol=1e-5, atol=1e-5)
    assert model.logits(rows).shape == (5, 30)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_numbered_from_the_input_to_what_the_head_is_given(kind):
    model = weighted(KINDS[kind]())
    ids = some_ids(2)
    first, last = model.hidden(ids, 0)
    assert torch.equal(first, model.embed(ids))
    places = model.places(ids.shape[1], ids.device)
    assert torch.equal(model.hidden(ids, 1)[0], model.blocks[0](first, places[0]))
    assert torch.equal(model.hidden(ids, 3)[0], last)
    assert torch.equal(model.hidden(ids)[0], last)
    assert not torch.equal(model.hidden(ids, 2)[0], last)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_near_and_only_in_the_blocks(kind):
    model = weighted(KINDS[kind]())
    for parameter in model.blocks.parameters():
        parameter /= 4
    exact = model.hidden(some_ids())[1]
    assert model.in_precision(torch.bfloat16) is model
    near = model.hidden(some_ids())[1]
    assert near.dtype == torch.float32
    error = (near - exact).abs().max()
    assert 0 < error < 0.05 * exact.abs().max()
    assert {p.dtype for p in model.head.parameters()} == {torch.float32}
    assert model.blocks[0].ffn_norm.weight.dtype == torch.float32
    rows = model.last_at(some_ids(), torch.tensor([1]), torch.tensor([4]))
    torch.testing.assert_close(rows[0], near[1, 4], rtol=0.05, atol=0.05)


# From the ALiBi paper's rule for 2^n heads, and what its authors' code gives for 12 and for 6.
@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        (1, [2**-8]),
        (2, [2**-4, 2**-8]),
        (8, [2**-i for i in range(1, 9)]),
        (6, [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]),
        (12, [2**-i for i in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]),
    ],
)
def test_slopes(heads, expected):
    np.testing.assert_allclose(dnabert2.slopes(heads), expected, rtol=1e-7)


def attention(q: Tensor, k: Tensor, v: Tensor, bias) -> np.ndarray:
    """One head in loops: [token head_dim] each."""
    out = np.zeros_like(v.numpy())
    for i in range(len(q)):
        scores = [float(q[i] @ k[j]) / math.sqrt(q.shape[1]) + bias(i, j) for j in range(len(k))]
        weights = np.exp(np.array(scores) - max(scores))
        out[i] = (weights / weights.sum()) @ v.numpy()
    return out


def heads_of(block: bert.Block, x: Tensor) -> Tensor:
    """q, k, v by head, cut by hand: [part head token head_dim]."""
    projected = block.qkv(block.enter(x))[0]
    cut = [part.split(4, dim=1) for part in projected.split(24, dim=1)]
    return torch.stack([torch.stack(part) for part in cut])


def test_alibi_in_loops():
    model = weighted(KINDS["ALiBi"]())
    x = model.embed(some_ids(1))
    block = model.blocks[0]
    slopes = [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]
    q, k, v = heads_of(block, x)
    by_head = [
        attention(q[h], k[h], v[h], lambda i, j, h=h: -slopes[h] * abs(i - j)) for h in range(6)
    ]
    expected = block.leave(x, torch.tensor(np.concatenate(by_head, axis=1))[None])
    out = block(x, model.places(21, x.device)[0])
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokens", [4, 5, 6, 7, 21])
def test_local_layers_reach_half_of_local_attention_to_either_side(tokens):
    model = weighted(KINDS["local"]())
    x = model.embed(some_ids(1, tokens))
    assert model.design.everywhere == (True, False, True)
    block = model.blocks[1]
    q, k, v = heads_of(block, x)

    def turned(part: Tensor) -> Tensor:
        out = part.clone()
        for t in range(tokens):
            for d in range(2):
                angle = t * 10_000.0 ** (-2 * d / 4)
                a, b = part[:, t, d], part[:, t, d + 2]
                out[:, t, d] = a * math.cos(angle) - b * math.sin(angle)
                out[:, t, d + 2] = b * math.cos(angle) + a * math.sin(angle)
        return out

    q, k = turned(q), turned(k)
    by_head = [
        attention(q[h], k[h], v[h], lambda i, j: 0.0 if abs(i - j) <= 4 else -math.inf)
        for h in range(6)
    ]
    expected = block.leave(x, torch.tensor(np.concatenate(by_head, axis=1))[None])
    out = block(x, model.places(tokens, x.device)[1])
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


def test_modernbert_of_transformers_4_and_5_say_the_same_in_other_words():
    old = MODERN | {"global_rope_theta": 50_000.0, "local_rope_theta": 500.0}
    new = {key: value for key, value in MODERN.items() if key != "global_attn_every_n_layers"} | {
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "rope_parameters": {
            "full_attention": {"rope_theta": 50_000.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 500.0, "rope_type": "default"},
        },
    }
    assert moderngena._design(old) == moderngena._design(new)
    assert moderngena._design(MODERN).global_base == 160_000.0
    for wrong, said in (
        ({"layer_types": ["full_attention"] * 2}, "layer_types"),
        ({"layer_types": ["full_attention", "linear_attention"]}, "layer_types"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "rope_type is 'yarn'"),
        ({"hidden_activation": "silu"}, "hidden_activation is 'silu'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is False"),
        ({"attention_bias": None}, "attention_bias is None"),
        ({"local_attention": 0}, "local_attention is 0"),
        ({"norm_eps": 2}, "norm_eps is 2"),
        ({"num_attention_heads": 5}, "num_attention_heads 5"),
    ):
        with pytest.raises(ModelError, match=said):
            moderngena._design(MODERN | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_act": "gelu_new"},
        {"position_embedding_type": "rotary"},
        {"is_decoder": True},
        {"tie_word_embeddings": False},
        {"sparse_config_cls": "BigBirdSparsityConfig"},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"layer_norm_eps": 0},
        {"layer_norm_eps": True},
        {"num_hidden_layers": 1 << 20},
        {"num_hidden_layers": True},
        {"vocab_size": "30"},
    ],
)
def test_settings_that_are_not_computed_are_refused(wrong):
    with pytest.raises(ModelError, match=rf"config\.json: {next(iter(wrong))} is .*published"):
        bert.read_design(CONFIG | wrong, "BERT")


def test_a_missing_number_and_an_odd_width_are_refused():
    with pytest.raises(ModelError, match="no 'vocab_size'"):
        bert.read_design({k: v for k, v in CONFIG.items() if k != "vocab_size"}, "BERT")
    with pytest.raises(ModelError, match="expected a multiple"):
        bert.read_design(CONFIG | {"num_attention_heads": 7}, "BERT")
    odd = CONFIG | {"num_attention_heads": 8}
    assert bert.read_design(odd, "BERT").heads == 8
    with pytest.raises(ModelError, match="expected an even multiple"):
        bert.read_design(odd, "BERT", rotary=True)
