"""What only a card can show: precisions, bits that do not move, memory that runs out, neighbours.

``make gpu PARTS=tests`` runs these; without a CUDA device each skips.
"""

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch

from benchmarks.checkpoints import PUBLISHED, drawn, small
from ntvep.errors import ConfigError
from ntvep.models.engine import Engine
from ntvep.passes import Answers
from tests.conftest import ROOT
from tests.models.test_golden import questions

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
FAMILIES = [name for name in PUBLISHED if name != "nt-500m"]
# Of answers of the order of 1, and of sums over a window; products in fewer bits move more.
NEAR = {"fp32": 2e-3, "tf32": 5e-2, "fp16": 5e-2, "bf16": 0.15}


def asked(tokenizer, margin, count, length):
    """Everything that a plan may ask, of some windows; every second one is masked."""
    rng = np.random.default_rng(5)
    inputs = tuple(
        tokenizer.encode(rng.integers(0, 4, length).astype(np.uint8)) for _ in range(count)
    )
    # Byte pairs spell windows of one length in several numbers of tokens.
    middle = [len(tokens.ids) // 2 for tokens in inputs]
    mask, first = tokenizer.mask, len(tokenizer.front) + 1
    rows = [(i, middle[i]) for i in range(count)]
    own = [int(inputs[i].ids[middle[i]]) for i in range(count)]
    whole = [i for i in range(count) if mask is None or not i % 2]
    masked = [(i, middle[i], mask) for i in range(count) if mask is not None and i % 2]
    rates = margin > 0
    return questions(
        inputs,
        edits=masked,
        rows=rows,
        tokens=[(i, own[i]) for i in range(count)],
        entropy=[] if rates else list(range(count)),
        hidden=[(i, middle[i]) for i in whole],
        likelihood=[] if rates else [(i, first) for i in whole],
        pooled=[] if rates else whole,
    )


def loaded(name, folder, device="cpu", precision="fp32"):
    return drawn(folder / f"{name}-{device}-{precision}", small(PUBLISHED[name]), device, precision)


def plan(model, count=9):
    description = model.description
    length = description.field or min(90, description.default_bases)
    return asked(description.tokenizer, model.model.encoder.margin, count, length)


@pytest.mark.parametrize("precision", NEAR)
@pytest.mark.parametrize("name", ["nt-500m", *FAMILIES])
def test_every_precision_is_near_the_cpu(name, precision, tmp_path):
    cpu, gpu = loaded(name, tmp_path), loaded(name, tmp_path, "cuda", precision)
    expected, found = cpu.model.answer(plan(cpu)), gpu.model.answer(plan(gpu))
    for field in fields(Answers):
        right, there = getattr(expected, field.name), getattr(found, field.name)
        scale = max(1.0, float(np.abs(right).max(initial=0.0)))
        np.testing.assert_allclose(there / scale, right / scale, atol=NEAR[precision])


@pytest.mark.parametrize("name", ["nt-500m", "nt-v2-50m", "gpn", "phylogpn", "marin-dna"])
def test_deterministic_bits_do_not_depend_on_the_company(name, tmp_path):
    """In a process of its own: cuBLAS reads its setting before its first product."""
    code = f"""
import sys
from pathlib import Path
import numpy as np
from dataclasses import fields, replace
from ntvep.models.device import be_deterministic
be_deterministic()
from ntvep.passes import Answers
from tests.gpu.test_gpu import loaded, plan
model = loaded({name!r}, Path(sys.argv[1]), "cuda", "fp16")
engine = replace(model.model, batch_size=8, deterministic=True)
few, many = (engine.answer(plan(model, count)) for count in (3, 21))
for field in fields(Answers):
    one, other = getattr(few, field.name), getattr(many, field.name)
    assert np.array_equal(one, other[: len(one)]), field.name
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_memory_that_runs_out_halves_the_batches_and_loses_nothing(tmp_path):
    model = loaded("nt-500m", tmp_path, "cuda")
    wanted = plan(model, 400)
    expected = model.model.answer(wanted).tokens
    free, _ = torch.cuda.mem_get_info()
    # All but 40 MB, in blocks that nobody gives back.
    taken = torch.empty(free - (40 << 20), dtype=torch.uint8, device="cuda")
    try:
        torch.cuda.empty_cache()
        engine = Engine(model.model.encoder, model.description.tokenizer, batch_size=1 << 16)
        found = engine.answer(plan(model, 4_000)).tokens[: len(expected)]
        assert engine.batch_size < 4_000
    finally:
        del taken
    np.testing.assert_allclose(found, expected, atol=1e-4)
    fixed = Engine(model.model.encoder, model.description.tokenizer, 1 << 30, deterministic=True)
    with pytest.raises(ConfigError, match="never makes batches smaller"):
        fixed.answer(plan(model, 2))


def test_two_processes_share_a_card(tmp_path):
    code = """
import sys
from pathlib import Path
import numpy as np
from tests.gpu.test_gpu import loaded, plan
model = loaded("nt-500m", Path(sys.argv[1]), "cuda", "fp16")
for _ in range(20):
    answers = model.model.answer(plan(model, 200))
np.save(Path(sys.argv[1]) / "tokens.npy", answers.tokens)
"""
    folders = [tmp_path / "one", tmp_path / "two"]
    running = []
    for folder in folders:
        folder.mkdir()
        running.append(subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT))
    assert [process.wait(timeout=240) for process in running] == [0, 0]
    one, two = (np.load(folder / "tokens.npy") for folder in folders)
    np.testing.assert_allclose(one, two, atol=1e-2)
