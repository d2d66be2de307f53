"""Nothing waits: what the engine sends to a GPU and gets back, counted on a device without data.

Torch's device ``meta`` computes shapes alone. Whatever asks it for a number fails there, as it
would keep the host waiting on a GPU; copies that would wait are counted.
"""

from dataclasses import fields
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.checkpoints import PUBLISHED, drawn, small
from ntvep import passes
from ntvep.models import engine as engine_module
from ntvep.models import phylogpn, transfer
from ntvep.models.engine import Engine
from ntvep.objectives import defined_scores
from ntvep.passes import Answers, Asking
from ntvep.settings import Settings
from ntvep.snvs import preparer_of_many
from tests.toy import Genome

aten = torch.ops.aten
# What has as many results as there are of something in the data, so that the host has to be told.
WAITS = (aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim)
COPIES = (aten._to_copy, aten.copy_)


class Counted(TorchDispatchMode):
    """Counts what a GPU would be asked, and what would keep the host waiting."""

    def __init__(self):
        super().__init__()
        self.launches, self.sent, self.waits = 0, 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # In inference mode, operations that consist of others arrive whole.
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        found = func(*args, **kwargs)
        given = [x for x in args if isinstance(x, torch.Tensor)]
        results = found if isinstance(found, tuple | list) else [found]
        there = any(isinstance(x, torch.Tensor) and x.is_meta for x in results)
        if func.overloadpacket in WAITS:
            self.waits.append(str(func))
        elif func.overloadpacket in COPIES and there and not given[-1].is_meta:
            self.sent += 1
            if not kwargs.get("non_blocking", len(args) > 2 and args[2]):
                self.waits.append(f"{func} of {list(given[-1].shape)}")
        elif there and not func.is_view:
            self.launches += 1
            # Indices that lie on the host are copied in the middle of the operation.
            if func.overloadpacket in (aten.index, aten.index_put_) and any(
                i is not None and not i.is_meta for i in args[1]
            ):
                self.waits.append(f"{func} by what lies on the host")
        return found


class NothingCame:
    """In the place of what is fetched: as many zeros."""

    fetched = 0

    def __init__(self, tensors):
        type(self).fetched += 1
        assert all(x.is_meta for x in tensors)
        self.shapes = [tuple(x.shape) for x in tensors]

    def arrays(self):
        return [np.zeros(shape) for shape in self.shapes]


def asked(description, sites, softmax):
    """All scores of the three SNVs of some bases that lie far apart, on both strands."""
    bases = description.field or 60
    rng = np.random.default_rng(3)
    genome = Genome({"c": "".join(rng.choice([*"ACGT"], 4 * bases * sites))})
    places = [2 * bases + 3 * bases * number for number in range(sites)]
    alleles = [
        ("c", place + 1, genome.contigs["c"][place], alt)
        for place in places
        for alt in "ACGT".replace(genome.contigs["c"][place], "")
    ]
    scores = defined_scores(description.objective, description.tokenizer.kind)
    settings = Settings(scores=scores, window_bases=bases, views=2, softmax=softmax)
    prepared = preparer_of_many(genome, description, settings)(alleles)
    pairs = [pair for some in prepared for pair in some.pairs]
    assert len(pairs) == 6 * sites
    return passes.plan(pairs, Asking(description, scores, softmax=softmax)).questions


@pytest.fixture(scope="module")
def network_of(tmp_path_factory):
    """A small network of a family on the device without data, and its description."""

    @cache
    def network(name):
        model = drawn(tmp_path_factory.mktemp("model") / name, small(PUBLISHED[name]))
        return model.model.encoder.to("meta"), model.description

    return network


@pytest.fixture
def without_data(network_of, monkeypatch):
    monkeypatch.setattr(engine_module, "Fetched", NothingCame)
    batches, make = [], Engine._batch

    def counted_batch(self, asked, passes, *others, **more):
        batches.append(len(passes))
        return make(self, asked, passes, *others, **more)

    monkeypatch.setattr(Engine, "_batch", counted_batch)

    def run(name, sites, size, softmax="all"):
        network, description = network_of(name)
        questions = asked(description, sites, softmax)
        engine = Engine(network, description.tokenizer, batch_size=size)
        batches.clear()
        NothingCame.fetched = 0
        with Counted() as counted:
            answers = engine.answer(questions)
        assert engine.passes_run == sum(batches) == len(questions.inputs)
        assert all(np.isfinite(getattr(answers, f.name)).all() for f in fields(Answers))
        counted.batches, counted.fetched = len(batches), NothingCame.fetched
        return counted

    return run


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_batch_is_sent_once_and_a_plan_comes_back_once(name, without_data):
    found = without_data(name, 4, 8)
    assert found.waits == []
    assert found.batches > 1
    assert found.fetched == 1
    # Byte pairs have weights of their own, which follow in parts.
    parts = 4 * found.batches if name == "dnabert2" else 0
    assert found.batches <= found.sent <= found.batches + parts


@pytest.mark.parametrize("name", ["gpn", "marin-dna"])
def test_a_softmax_over_four_letters_waits_no_more(name, without_data):
    found = without_data(name, 3, 4, softmax="acgt")
    assert found.waits == []
    assert found.sent == found.batches


@pytest.mark.parametrize("name", ["nt-500m", "gpn", "phylogpn", "marin-dna"])
def test_launches_are_of_a_batch_not_of_a_pass(name, without_data):
    few, many = without_data(name, 2, 1_000), without_data(name, 16, 1_000)
    assert few.batches == many.batches
    # Means and sums of wide tensors take a few passes at a time.
    assert many.launches < 1.5 * few.launches + 64


LAYERS = {
    "nt-500m": torch.nn.Linear,
    "phylogpn": phylogpn.Convolution,
    "marin-dna": torch.nn.Linear,
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("where", ["the encoder", "the engine"])
@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        lambda x: x[torch.tensor([0])],
        lambda x: x + torch.ones(1).to(x.device),
    ],
    ids=["a number", "a copy back", "a selection", "an index of the host", "a copy"],
)
def test_what_waits_is_found(name, where, wait, without_data, monkeypatch):
    in_encoder = where == "the encoder"
    owner, method = (LAYERS[name], "forward") if in_encoder else (Engine, "_answer")
    call = getattr(owner, method)

    def waits(self, *given):
        wait(given[0] if in_encoder else given[2].last)
        return call(self, *given)

    monkeypatch.setattr(owner, method, waits)
    try:
        found = without_data(name, 3, 4).waits
    except (RuntimeError, NotImplementedError) as error:
        found = [str(error)]
    assert any("aten" in line or "meta" in line.lower() for line in found)


def test_arrays_arrive_as_they_were_sent_in_one_copy_of_pinned_memory(monkeypatch):
    """The way of a GPU, one buffer that is cut again, with the host in its place."""
    rng = np.random.default_rng(4)
    arrays = {
        "ids": rng.integers(0, 99, (3, 5)),
        "none": np.zeros(0, np.int64),
        "row": rng.integers(-9, 9, 4),
        "share": rng.random((2, 3)).view(np.int64),
    }
    copied, pinned, empty = [], [], torch.empty

    def to(self, device, non_blocking):
        copied.append((device.type, non_blocking))
        return self.clone()

    def made(*shape, pin_memory=False, **more):
        pinned.append(pin_memory)
        return empty(*shape, **more)

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch, "empty", made)
    found = transfer.send(arrays, torch.device("cuda"))
    assert pinned == [True]
    assert copied == [("cuda", True)]
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].numpy(), array)


@pytest.fixture
def stream(monkeypatch):
    """A stream of a GPU: its log of what was handed over and what was waited for."""
    log = []

    def record_event():
        number = sum(line.startswith("event") for line in log)
        log.append(f"event {number}")
        return SimpleNamespace(synchronize=lambda: log.append(f"wait for {number}"))

    of_device = SimpleNamespace(record_event=record_event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: of_device)
    return log


def test_the_host_is_at_most_two_batches_ahead_and_never_waits_for_the_last(stream):
    pace = transfer.Pace(torch.device("cuda"))
    for _ in range(4):
        pace.asked()
    assert stream == ["event 0", "event 1", "event 2", "wait for 0", "event 3", "wait for 1"]


def test_a_cpu_has_no_stream(stream):
    transfer.Pace(torch.device("cpu")).asked()
    assert transfer.Fetched([torch.ones(2)]).arrays()[0].tolist() == [1, 1]
    assert stream == []


def test_answers_are_waited_for_once_and_only_when_they_are_read(stream):
    class There(torch.Tensor):
        device = torch.device("cuda")

        def to(self, device, non_blocking):
            stream.append(f"copy to {device}, {'at once' if non_blocking else 'waiting'}")
            return torch.arange(3)

    fetched = transfer.Fetched([There(), There()])
    assert stream == ["copy to cpu, at once"] * 2 + ["event 0"]
    assert [array.tolist() for array in fetched.arrays()] == [[0, 1, 2]] * 2
    assert stream[3:] == ["wait for 0"]
