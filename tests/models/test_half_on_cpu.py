"""Half precision on a CPU: packed matrices are the same, and no bit depends on the company."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.device import multiplies_in_bf16
from ntvep.models.engine import Engine
from ntvep.models.layers import Product
from ntvep.models.nt import NucleotideTransformer
from ntvep.passes import Answers
from tests.conftest import ROOT
from tests.models.test_golden import questions

needs_amx = pytest.mark.skipif(
    not multiplies_in_bf16(torch.device("cpu")), reason="a CPU without AMX"
)


@needs_amx
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_matrix_is_the_same_matrix(bias):
    torch.manual_seed(3)
    product = Product(48, 80, bias=bias).requires_grad_(False).bfloat16()
    x = torch.randn(5, 7, 48)
    exact = F.linear(
        x.bfloat16().double(), product.weight.double(), product.bias.double() if bias else None
    )
    plain = product(x)
    product.pack()
    packed = product(x)
    assert product._packed is not None
    assert packed.dtype == torch.bfloat16
    # A sum in float32 is rounded once: half a unit in the last of 8 bits.
    for found in (plain, packed):
        assert ((found.double() - exact).abs() <= exact.abs() * 2**-8 + 1e-5).all()
    transposed = x.transpose(0, 1)
    assert torch.equal(product(transposed), product(transposed.contiguous()))
    product.float().pack()
    assert product._packed is None


def published_width() -> NucleotideTransformer:
    """Two blocks as wide as the smallest published model: a kernel may cut long sums in parts."""
    small = read_checkpoint(ROOT / "tests" / "golden" / "v1").encoder
    torch.manual_seed(5)
    arch = replace(small.arch, layers=2, dim=512, ffn_dim=2048, heads=16, max_tokens=200)
    wide = NucleotideTransformer(arch)
    return wide.requires_grad_(False).eval()


@pytest.mark.parametrize("spare", [0.0, 0.5], ids=["bf16", "mixed"])
def test_no_bit_depends_on_the_company(spare):
    vocabulary = read_checkpoint(ROOT / "tests" / "golden" / "v1").description.tokenizer
    model = published_width().in_precision(torch.bfloat16, spare)
    rng = np.random.default_rng(8)
    inputs = tuple(vocabulary.encode(rng.integers(0, 4, 720).astype(np.uint8)) for _ in range(11))

    def asked(count):
        masked, whole = range(1, count, 2), range(0, count, 2)
        return questions(
            inputs[:count],
            edits=[(i, 3, model.arch.mask_id) for i in masked],
            rows=[(i, 3) for i in range(count)],
            tokens=[(row, 50) for row in range(count)],
            hidden=[(i, 4) for i in whole],
            likelihood=[(i, 1) for i in whole],
            pooled=list(whole),
        )

    alone, together = (
        Engine(model, vocabulary, batch_size=4, fills=True).answer(asked(n)) for n in (1, 11)
    )
    few = Engine(model, vocabulary, batch_size=4, fills=True).answer(asked(2))
    for field in fields(Answers):
        many = getattr(together, field.name)
        for some in (getattr(alone, field.name), getattr(few, field.name)):
            np.testing.assert_array_equal(some, many[: len(some)], err_msg=field.name)
    assert len(few.tokens) == 2
