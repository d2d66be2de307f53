"""The selective scan and the filters equal their formulas in plain loops, in float64."""

import math

import numpy as np
import pytest
import torch

from benchmarks.scan import in_turn, inputs, model_with, random_model, sequential_scan
from ntvep.models import scan
from ntvep.models.layers import causal_depthwise, long_convolution


def drawn(passes, tokens, channels, states, seed=5):
    """Inputs with steps from almost none to many times the memory of a state."""
    draw = np.random.default_rng(seed)
    x, into, out_of = (
        draw.normal(size=(passes, tokens, n)).astype(np.float32) for n in (channels, states, states)
    )
    dt = np.exp(draw.uniform(-9, 3, (passes, tokens, channels))).astype(np.float32)
    rates = -np.exp(draw.uniform(-2, 3, (channels, states))).astype(np.float32)
    return x, dt, rates, into, out_of


def twin(x, dt, rates, into, out_of):
    """The recurrence, number by number."""
    y = np.zeros(x.shape)
    for p, c, n in np.ndindex(x.shape[0], x.shape[2], rates.shape[1]):
        state = 0.0
        for t in range(x.shape[1]):
            step = float(dt[p, t, c])
            state = math.exp(step * float(rates[c, n])) * state
            state += step * float(into[p, t, n]) * float(x[p, t, c])
            y[p, t, c] += float(out_of[p, t, n]) * state
    return y


@pytest.mark.parametrize("digits", [(8, 8), (8, 8, 8), (3, 2), (2, 3, 2, 2), (5,)])
@pytest.mark.parametrize("tokens", [1, 7, 64, 65, 150])
def test_the_scan_is_its_recurrence(digits, tokens, monkeypatch):
    # Channels in three parts, the last one smaller.
    monkeypatch.setattr(scan, "_CPU_DIGITS", digits)
    monkeypatch.setattr(scan, "_CPU_NUMBERS", math.prod(digits) * 2 * 4 * 2)
    given = drawn(2, tokens, 5, 4)
    expected = twin(*given)
    found = scan.selective_scan(*map(torch.from_numpy, given)).numpy()
    assert np.abs(found - expected).max() < 2e-6 * max(1.0, np.abs(expected).max())


def test_products_of_decays_that_underflow_are_harmless():
    """Over 64 tokens the decays multiply to far below the smallest float32."""
    x, dt, rates, into, out_of = drawn(1, 200, 3, 2)
    dt[:] = 40.0
    dt[0, 100:] = 1e-3
    found = scan.selective_scan(*map(torch.from_numpy, (x, dt, rates, into, out_of))).numpy()
    expected = twin(x, dt, rates, into, out_of)
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()


def test_the_last_token_sees_the_first_one_of_a_long_input():
    """States that hardly decay: an error in what blocks hand on would add up."""
    x, dt, rates, into, out_of = drawn(1, 1500, 1, 1)
    dt[:], rates[:] = 0.01, -1e-3
    into[:], out_of[:] = 1.0, 1.0
    found = scan.selective_scan(*map(torch.from_numpy, (x, dt, rates, into, out_of))).numpy()
    expected = twin(x, dt, rates, into, out_of)
    # A decay of 1 - 1e-5 is rounded to one part in 2^24, 1,500 times over.
    assert np.abs(found - expected).max() < 5e-6
    x[0, 0, 0] += 1.0
    moved = scan.selective_scan(*map(torch.from_numpy, (x, dt, rates, into, out_of))).numpy()
    assert moved[0, -1, 0] - found[0, -1, 0] == pytest.approx(
        0.01 * math.exp(-1e-5 * 1499), rel=1e-3
    )


def test_the_benchmark_compares_equals():
    given = drawn(2, 70, 5, 4)
    plain = sequential_scan(*map(torch.from_numpy, given)).numpy()
    expected = twin(*given)
    assert np.abs(plain - expected).max() < 2e-6 * np.abs(expected).max()
    model, ids = random_model(64), torch.randint(7, 11, (2, 70))
    scans = (sequential_scan, scan.selective_scan, lambda x, *_: 0 * x)
    plain, ours, without = (model_with(s, model, ids) for s in scans)
    with torch.inference_mode():
        assert in_turn([plain, ours], 1)[1] < 1e-4
        # The model does run with the scan that it is given.
        assert in_turn([ours, without], 1)[1] > 1e-3
    assert inputs(2, 70, 5)[1].min() > 0


@pytest.mark.gpu
def test_the_scan_of_a_gpu_is_that_of_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    given = [torch.from_numpy(t) for t in drawn(2, 1300, 40, 16)]
    found = scan.selective_scan(*(t.cuda() for t in given)).cpu()
    expected = scan.selective_scan(*given)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("tokens", [1, 2, 3, 40])
def test_a_short_filter_is_its_formula(tokens):
    draw = np.random.default_rng(2)
    x, weight, bias = draw.normal(size=(2, tokens, 3)), draw.normal(size=(3, 1, 4)), [1.0, 2.0, 3.0]
    expected = np.zeros(x.shape)
    for p, t, c in np.ndindex(x.shape):
        taken = [weight[c, 0, j] * x[p, t - 3 + j, c] for j in range(4) if t - 3 + j >= 0]
        expected[p, t, c] = bias[c] + sum(taken)
    given = (torch.tensor(a, dtype=torch.float32) for a in (x, weight, bias))
    assert np.allclose(causal_depthwise(*given).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("tokens", "taps"), [(1, 1), (1, 5), (2, 2), (37, 5), (37, 37), (64, 128)])
def test_a_long_filter_is_its_formula(tokens, taps):
    draw = np.random.default_rng(2)
    x, k = draw.normal(size=(2, tokens, 3)), draw.normal(size=(taps, 3))
    expected = np.zeros(x.shape)
    for p, t, c in np.ndindex(x.shape):
        expected[p, t, c] = sum(k[s, c] * x[p, t - s, c] for s in range(min(t + 1, taps)))
    given = (torch.tensor(a, dtype=torch.float32) for a in (x, k))
    assert np.allclose(long_convolution(*given).numpy(), expected, atol=1e-5)
