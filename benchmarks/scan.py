"""The selective scan of Caduceus and PlantCaduceus beside the plain one, which goes base by base.

    python -m benchmarks.scan [--bases 512] [--passes 2] [--rounds 7]

Both in one process, in turn, on the same random inputs; the median of the rounds, in seconds of the
process' CPU, which other work on the machine changes least. The plain scan is the recurrence one
token after the other, on arrays with an axis order as in the reference implementation of mamba_ssm
(pass, channel, token, state), all decays and inputs computed beforehand. "model" is a whole
Caduceus-PS of four blocks, with either scan.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ntvep.models import caduceus
from ntvep.models.scan import selective_scan

# The width of the inner channels of the published models, by their names on the hub.
WIDTHS = {
    "caduceus ...1k_d_model-118": 236,
    "caduceus ...131k_d_model-256": 512,
    "PlantCaduceus_l20": 768,
    "PlantCaduceus_l32": 2048,
}
STATES = 16
DESIGN = caduceus.Architecture(
    layers=4,
    dim=256,
    vocab_size=16,
    inner=512,
    states=STATES,
    taps=4,
    step_rank=16,
    eps=1e-5,
    two_streams=True,
    complement=tuple(range(16)),
)
Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def sequential_scan(x: Tensor, dt: Tensor, rates: Tensor, into: Tensor, out_of: Tensor) -> Tensor:
    """What :func:`ntvep.models.scan.selective_scan` computes, base by base."""
    x, dt, into, out_of = (t.transpose(1, 2).contiguous() for t in (x, dt, into, out_of))
    decay = torch.exp(torch.einsum("pct,cn->pctn", dt, rates))
    given = torch.einsum("pct,pnt,pct->pctn", dt, into, x)
    state = torch.zeros_like(given[:, :, 0])
    outputs = []
    for token in range(x.shape[2]):
        state = decay[:, :, token] * state + given[:, :, token]
        outputs.append(torch.einsum("pcn,pn->pc", state, out_of[:, :, token]))
    return torch.stack(outputs, dim=1)


def inputs(passes: int, bases: int, channels: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Random inputs of a scan, with rates and step sizes as they are at the start of training."""
    draw = torch.Generator().manual_seed(1)
    x, dt = (torch.randn(passes, bases, channels, generator=draw) for _ in range(2))
    into, out_of = (torch.randn(passes, bases, STATES, generator=draw) for _ in range(2))
    rates = -torch.arange(1.0, STATES + 1).repeat(channels, 1)
    return x, torch.nn.functional.softplus(dt - 3), rates, into, out_of


def in_turn(ways: list[Callable[[], Tensor]], rounds: int) -> tuple[list[float], float]:
    """Median CPU seconds of each way, and the largest difference of what the first two return."""
    times: list[list[float]] = [[] for _ in ways]
    results: list[Tensor] = [way() for way in ways]
    for _ in range(rounds):
        for way, spent in zip(ways, times, strict=True):
            start = time.process_time()
            way()
            spent.append(time.process_time() - start)
    difference = (results[0] - results[1]).abs().max().item()
    return [statistics.median(spent) for spent in times], difference


def model_with(scan: Scan, model: caduceus.Caduceus, ids: Tensor) -> Callable[[], Tensor]:
    """A forward pass of a model, with a scan of our choice."""

    def run() -> Tensor:
        caduceus.selective_scan = scan
        try:
            return model.hidden(ids)[1]
        finally:
            caduceus.selective_scan = selective_scan

    return run


def random_model(channels: int) -> caduceus.Caduceus:
    """A model with random weights."""
    torch.manual_seed(1)
    arch = replace(DESIGN, dim=channels // 2, inner=channels, step_rank=-(-channels // 32))
    model = caduceus.Caduceus(arch)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            wide = name.endswith(("norm.weight", "log_rates", "skip"))
            parameter.copy_(torch.ones(()) if wide else torch.randn_like(parameter) * 0.1)
    model.loaded()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bases", type=int, default=512)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    print(f"{torch.get_num_threads()} thread(s), {args.passes} x {args.bases} bases, float32\n")
    print("| | channels | plain, ms | ours, ms | ratio | largest difference |")
    print("|---|---|---|---|---|---|")
    with torch.inference_mode():
        for name, channels in WIDTHS.items():
            given = inputs(args.passes, args.bases, channels)
            ways = [lambda g=given, s=s: s(*g) for s in (sequential_scan, selective_scan)]
            report(f"scan, {name}", channels, in_turn(ways, args.rounds))
        model = random_model(DESIGN.inner)
        ids = torch.randint(7, 11, (args.passes, args.bases))
        ways = [model_with(scan, model, ids) for scan in (sequential_scan, selective_scan)]
        report("model, 4 blocks", DESIGN.inner, in_turn(ways, args.rounds))


def report(name: str, channels: int, found: tuple[list[float], float]) -> None:
    """Print one row."""
    (plain, ours), difference = found
    times = f"{plain * 1e3:.1f} | {ours * 1e3:.1f} | {plain / ours:.1f}"
    print(f"| {name} | {channels} | {times} | {difference:.1e} |", flush=True)


if __name__ == "__main__":
    main()
