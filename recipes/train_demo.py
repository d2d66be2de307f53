r"""Train a small GPN ConvNet by masked language modelling on any FASTA: FASTA -> checkpoint folder.

    python recipes/train_demo.py genome.fa.gz --train chr22 --leave-out chr22:20000001-20230000 \
        --minutes 60 --state run.safetensors --output ntvep/demo/gpn

It may be interrupted at any time, and goes on from STATE when it is started again. Minutes count
the training alone, over all starts. The learning rate falls to zero over the last part of them, so
that the weights are good when the time is over, however fast the machine is. Products are in
bfloat16 where the CPU has instructions for it. ``recipes/measure_demo.py`` measures the outcome.
"""

import argparse
import gzip
import json
import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ntvep.models.gpn import VOCABULARY, ConvNet, network, published_convnet

MASK, UNKNOWN, FIRST = 1, 2, 3
SPECIAL = VOCABULARY[:FIRST]

WINDOW = 512
CONFIG = {
    "architectures": ["ConvNetForMaskedLM"],
    "dilation_base": 2,
    "dilation_cycle": 6,
    "dilation_double_every": 1,
    "dilation_max": 32,
    "hidden_size": 96,
    "initializer_range": 0.02,
    "kernel_size": 9,
    "model_type": "ConvNet",
    "n_aux_features": 0,
    "n_layers": 10,
    "torch_dtype": "float32",
    "transformers_version": "4.26.0.dev0",
    "vocab_size": len(VOCABULARY),
}
# Share of the time after which the learning rate begins to fall, and steps until it is reached.
CONSTANT, WARM_UP = 0.6, 300


@dataclass(frozen=True)
class Stretch:
    """Part of a contig, 0-based and half-open; stop None is the contig's end."""

    contig: str
    start: int = 0
    stop: int | None = None

    def __str__(self) -> str:
        return self.contig if self.stop is None else f"{self.contig}:{self.start + 1}-{self.stop}"


def stretch(text: str) -> Stretch:
    """``chr22`` or ``chr22:20000001-20230000`` (1-based, both ends included)."""
    contig, colon, places = text.partition(":")
    if not colon:
        return Stretch(contig)
    first, last = (int(place.replace(",", "")) for place in places.split("-"))
    if not 1 <= first <= last:
        raise ValueError(f"{text}: expected CONTIG or CONTIG:FIRST-LAST, 1-based")
    return Stretch(contig, first - 1, last)


def read_fasta(path: Path) -> dict[str, np.ndarray]:
    """Each contig as codes: A 0, C 1, G 2, T 3, all else 4; soft-masking is ignored."""
    code = np.full(256, 4, np.uint8)
    for number, base in enumerate("ACGT"):
        code[[ord(base), ord(base.lower())]] = number
    raw = path.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    contigs = {}
    for record in text.split(b">")[1:]:
        header, _, bases = record.partition(b"\n")
        letters = np.frombuffer(bases, np.uint8)
        contigs[header.split()[0].decode()] = code[letters[(letters != 10) & (letters != 13)]]
    return contigs


def training_sequence(
    contigs: Mapping[str, np.ndarray], train: Sequence[Stretch], leave_out: Sequence[Stretch]
) -> np.ndarray:
    """All training stretches in a row, an N between them; what is left out is N too."""
    masked = {name: contigs[name].copy() for name in {part.contig for part in train}}
    for part in leave_out:
        if part.contig in masked:
            masked[part.contig][part.start : part.stop] = 4
    wall = np.full(1, 4, np.uint8)
    parts = [
        piece for part in train for piece in (masked[part.contig][part.start : part.stop], wall)
    ]
    return np.concatenate(parts)


def window_starts(sequence: np.ndarray, size: int = WINDOW) -> tuple[np.ndarray, np.ndarray]:
    """Where windows of A, C, G and T alone may begin: first starts of runs, and number of them."""
    known = np.concatenate(([False], sequence < 4, [False]))
    edges = np.flatnonzero(known[1:] != known[:-1])
    begin, end = edges[::2], edges[1::2]
    long = end - begin >= size
    if not long.any():
        raise ValueError(f"no stretch of {size} bases without N to train on")
    return begin[long], (end - begin)[long] - size + 1


def reverse_complement(bases: np.ndarray) -> np.ndarray:
    """The other strand; N stays N."""
    turned = bases[..., ::-1]
    return np.where(turned < 4, 3 - turned, turned)


def batch(
    sequence: np.ndarray, starts: tuple[np.ndarray, np.ndarray], rng: np.random.Generator, size: int
) -> tuple[Tensor, Tensor]:
    """Input ids and target ids [window, base] of random windows; target -100 is not asked for.

    Half of the windows are reverse complements. 15 % of the bases are asked for: of these 80 % are
    masked, 10 % replaced by any base, 10 % left. One window in 20 has a stretch of [UNK].
    """
    first, number = starts
    last = np.cumsum(number)
    drawn = rng.integers(last[-1], size=size)
    run = np.searchsorted(last, drawn, side="right")
    begin = first[run] + drawn - (last[run] - number[run])
    bases = sequence[begin[:, None] + np.arange(WINDOW)]
    turned = rng.random(size) < 0.5
    bases[turned] = reverse_complement(bases[turned])
    target = bases.astype(np.int64) + FIRST
    asked, fate = rng.random(bases.shape) < 0.15, rng.random(bases.shape)
    given = np.where(asked & (fate < 0.8), MASK, target)
    anything = rng.integers(FIRST, FIRST + 4, bases.shape)
    given = np.where(asked & (fate >= 0.9), anything, given)
    for row in np.flatnonzero(rng.random(size) < 0.05):
        length = int(rng.integers(1, 50))
        place = int(rng.integers(WINDOW - length))
        given[row, place : place + length] = UNKNOWN
        asked[row, place : place + length] = False
    return torch.from_numpy(given), torch.from_numpy(np.where(asked, target, -100))


def new_model() -> ConvNet:
    """A ConvNet with random weights."""
    model = network(CONFIG)
    assert isinstance(model, ConvNet)
    return model


def learning_rate(peak: float, step: int, spent: float) -> float:
    """Linear warm-up, constant, then linear to zero; ``spent`` is the share of the time."""
    return peak * min(1.0, step / WARM_UP) * min(1.0, max(0.0, (1 - spent) / (1 - CONSTANT)))


def masked_loss(model: ConvNet, given: Tensor, target: Tensor, half: bool) -> Tensor:
    """Mean cross-entropy over the bases asked for, nats."""
    asked = target != -100
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        hidden = model.hidden(given)[1]
    return F.cross_entropy(model.logits(hidden[asked]), target[asked])


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 faster than float32."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported() and (
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


# --- the state, so that training may be interrupted ----------------------------------------------


def save_state(
    path: Path, model: ConvNet, optimizer: torch.optim.Optimizer, about: Mapping[str, object]
) -> None:
    """Weights and the optimizer's moments, as safetensors; complete or not at all."""
    tensors = {f"model/{name}": value.detach() for name, value in model.named_parameters()}
    for name, value in model.named_parameters():
        for key, moment in optimizer.state[value].items():
            tensors[f"{key}/{name}"] = moment
    beside = path.with_name(path.name + ".part")
    save_file(tensors, beside, metadata={"about": json.dumps(about)})
    beside.replace(path)


def load_state(
    path: Path, model: ConvNet, optimizer: torch.optim.Optimizer
) -> dict[str, float | dict[str, object]]:
    """Put a saved state into a model and its optimizer; what was said about it."""
    with safe_open(path, "pt") as handle:
        stored = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
        about: dict[str, float | dict[str, object]] = json.loads(handle.metadata()["about"])
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(stored[f"model/{name}"])
            keys = [key for key in stored if key.endswith(f"/{name}")]
            optimizer.state[value] = {
                key.removesuffix(f"/{name}"): stored[key]
                for key in keys
                if key != f"model/{name}" and key.count("/") == 1
            }
    return about


# --- the folder ----------------------------------------------------------------------------------


def tokenizer() -> dict[str, object]:
    """tokenizer.json, in the published layout."""
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": token, **special, "special": True}
            for number, token in enumerate(SPECIAL)
        ],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "[UNK]",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "vocab": {token: number for number, token in enumerate(VOCABULARY)},
            "merges": [],
        },
    }


def save(model: ConvNet, folder: Path) -> None:
    """Write the checkpoint in GPN's published layout."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        published_convnet(n)[0]: p.detach().float().contiguous()
        for n, p in model.named_parameters()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    special = {"mask_token": "[MASK]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    for name, content in (
        ("config.json", CONFIG),
        ("tokenizer.json", tokenizer()),
        ("tokenizer_config.json", special | {"tokenizer_class": "PreTrainedTokenizerFast"}),
        ("special_tokens_map.json", special),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="ascii")


# --- training ------------------------------------------------------------------------------------


def train(sequence: np.ndarray, options: argparse.Namespace) -> tuple[ConvNet, bool]:
    """Train until the time is over, or a signal comes: the model, and whether it is finished."""
    torch.manual_seed(options.seed)
    model, starts = new_model(), window_starts(sequence)
    groups = [[p for p in model.parameters() if (p.ndim > 1) == matrix] for matrix in (True, False)]
    optimizer = torch.optim.AdamW(
        [
            {"params": params, "weight_decay": decay}
            for params, decay in zip(groups, (options.weight_decay, 0.0), strict=True)
        ],
        betas=(0.9, 0.98),
        fused=True,
    )
    names = ("train", "leave_out", "seed", "windows", "learning_rate", "weight_decay")
    settings = {name: str(getattr(options, name)) for name in names}
    # As they are typed.
    for name in ("train", "leave_out"):
        settings[name] = " ".join(map(str, getattr(options, name)))
    step, seconds, bases = 0, 0.0, 0
    if options.state.exists():
        about = load_state(options.state, model, optimizer)
        if about["settings"] != settings:
            raise ValueError(f"{options.state}: made with other options: {about['settings']}")
        step, seconds, bases = int(about["step"]), float(about["seconds"]), int(about["bases"])  # type: ignore[arg-type]
        print(f"goes on from step {step:,}, {seconds / 60:.1f} min", flush=True)
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: stop.append(received))

    def keep() -> None:
        about = {"settings": settings, "step": step, "seconds": seconds, "bases": bases}
        save_state(options.state, model, optimizer, about)

    recent: list[float] = []
    model.train()
    began = time.monotonic() - seconds
    while (
        not stop
        and step < options.steps
        and (seconds := time.monotonic() - began) < 60 * options.minutes
    ):
        step += 1
        # Of the seed and the step alone: an interruption changes no batch.
        rng = np.random.default_rng((options.seed, step))
        given, target = batch(sequence, starts, rng, options.windows)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(options.learning_rate, step, seconds / 60 / options.minutes)
        loss = masked_loss(model, given, target, options.bfloat16)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent.append(loss.item())
        bases += given.numel()
        if step % options.every == 0:
            print(
                f"step {step:,}  {seconds / 60:.1f} min  {bases:,} bases  "
                f"loss {math.fsum(recent) / len(recent):.4f}",
                flush=True,
            )
            recent = []
            keep()
    keep()
    print(f"step {step:,}, {seconds / 60:.1f} min, {bases:,} bases", flush=True)
    return model.eval(), not stop


def main() -> None:
    """Train, and write the checkpoint when the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fasta", type=Path, help="plain or gzip")
    parser.add_argument("--train", type=stretch, nargs="+", required=True, metavar="STRETCH")
    parser.add_argument("--leave-out", type=stretch, nargs="*", default=[], metavar="STRETCH")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument(
        "--steps", type=float, default=math.inf, help="stop before the time is over"
    )
    parser.add_argument("--state", type=Path, required=True, help="goes on from it if it is there")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--windows", type=int, default=32, help="windows in a batch")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--every", type=int, default=200, help="steps between saved states")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=has_bfloat16())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    contigs = read_fasta(options.fasta)
    sequence = training_sequence(contigs, options.train, options.leave_out)
    del contigs
    print(
        f"{int((sequence < 4).sum()):,} bases, "
        f"{sum(p.numel() for p in new_model().parameters()):,} parameters, "
        f"products in {'bfloat16' if options.bfloat16 else 'float32'}",
        flush=True,
    )
    model, finished = train(sequence, options)
    if not finished:
        raise SystemExit(f"interrupted; the same command goes on from {options.state}")
    save(model, options.output)
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
