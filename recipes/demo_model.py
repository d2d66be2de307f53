"""Train ntvep-demo, the embedded demonstration checkpoint: a slice of chr22 -> ntvep/demo/model.

    python recipes/demo_model.py --steps 4500            # trains, writes the folder, reports
    python recipes/demo_model.py --evaluate              # measures the committed checkpoint again

A Nucleotide Transformer of the v2 architecture with under 2 M parameters learns masked 6-mers of
202,666 bp. Two contiguous stretches are left out: one stops the training early, one is held out for
the loss that the model card reports. No training window overlaps either. One thread and a fixed
seed: the same torch build on the same kind of CPU gives the same weights for the same ``--steps``.
"""

import argparse
import gzip
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.nt import Architecture, Block, NucleotideTransformer, published_keys

ROOT = Path(__file__).resolve().parents[1]
SLICE = ROOT / "ntvep" / "demo" / "chr22_20012478_20215143.grch38.fa.gz"
FOLDER = ROOT / "ntvep" / "demo" / "model"

K = 6
# The published v2 layout. In it a 6-mer's id is 6 + its base-4 code in the order A, T, C, G.
BASES = "ATCG"
SPECIAL = ("<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>")
SIX_MERS = tuple("".join(letters) for letters in product(BASES, repeat=K))
VOCABULARY = (*SPECIAL, *SIX_MERS, *BASES, "N")
MASK, CLS, FIRST = 2, 3, len(SPECIAL)
SINGLE = FIRST + len(SIX_MERS)
N = SINGLE + len(BASES)
PLACE_VALUES = 4 ** np.arange(K - 1, -1, -1)

WINDOW = 128
LONG_WINDOWS = (256, 512)
TILE = WINDOW * K
# 26 tiles of 768 bp in each of the six phases: 9.9 % of the slice. Chosen by place, before any
# training: validation begins at 40 %, the held-out stretch at 70 %.
STRETCH = 26 * TILE + K - 1
PARTS = 7

CONFIG = {
    "add_bias_fnn": False,
    "architectures": ["EsmForMaskedLM"],
    "attention_probs_dropout_prob": 0.0,
    "emb_layer_norm_before": False,
    "esmfold_config": None,
    "hidden_dropout_prob": 0.0,
    "hidden_size": 128,
    "initializer_range": 0.02,
    "intermediate_size": 256,
    "is_folding_model": False,
    "layer_norm_eps": 1e-12,
    "mask_token_id": MASK,
    "max_position_embeddings": 515,
    "model_type": "esm",
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "pad_token_id": 1,
    "position_embedding_type": "rotary",
    "tie_word_embeddings": False,
    "token_dropout": False,
    "torch_dtype": "float32",
    "transformers_version": "4.32.0.dev0",
    "use_cache": False,
    "vocab_list": None,
    "vocab_size": len(VOCABULARY),
}
TOKENIZER_CONFIG = {
    "clean_up_tokenization_spaces": True,
    "eos_token": None,
    "model_max_length": 513,
    "tokenizer_class": "EsmTokenizer",
}
SPECIAL_TOKENS = {
    "cls_token": "<cls>",
    "mask_token": "<mask>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
}


@dataclass(frozen=True)
class Split:
    """The slice as base codes (A 0, T 1, C 2, G 3), cut into stretches (0-based, half-open)."""

    sequence: np.ndarray
    training: tuple[tuple[int, int], ...]
    validation: tuple[int, int]
    held_out: tuple[int, int]


@dataclass(frozen=True)
class Losses:
    """Masked losses (nats) of every token of a stretch: one row per tile, all views in it."""

    model: np.ndarray
    six_mers: np.ndarray

    @property
    def uniform(self) -> float:
        """The loss of a guess among all 6-mers."""
        return math.log(len(SIX_MERS))


def read_split(path: Path = SLICE) -> Split:
    """Read the slice and cut it into training, validation and held-out stretches."""
    with gzip.open(path, "rt", encoding="ascii") as handle:
        letters = "".join(line.strip() for line in handle if not line.startswith(">")).upper()
    code = np.full(256, 255, np.uint8)
    code[[ord(base) for base in BASES]] = range(len(BASES))
    sequence = code[np.frombuffer(letters.encode("ascii"), np.uint8)]
    if (sequence == 255).any():
        raise ValueError(f"{path}: expected A, C, G and T alone")
    size = len(sequence)
    first, second = int(0.4 * size), int(0.7 * size)
    training = ((0, first), (first + STRETCH, second), (second + STRETCH, size))
    return Split(sequence, training, (first, first + STRETCH), (second, second + STRETCH))


def reverse_complement(bases: np.ndarray) -> np.ndarray:
    """The other strand: A and T, C and G are neighbours in code."""
    return bases[..., ::-1] ^ 1


def six_mer_codes(bases: np.ndarray) -> np.ndarray:
    """Codes of the 6-mers that begin at 0, 6, 12 ... along the last axis."""
    return bases.reshape(*bases.shape[:-1], -1, K).astype(np.int64) @ PLACE_VALUES


def six_mer_counts(split: Split) -> np.ndarray:
    """How often each 6-mer stands in the training stretches: every phase, both strands."""
    counts = np.zeros(len(SIX_MERS))
    for start, stop in split.training:
        for bases in (split.sequence[start:stop], reverse_complement(split.sequence[start:stop])):
            every = np.lib.stride_tricks.sliding_window_view(bases, K) @ PLACE_VALUES
            counts += np.bincount(every, minlength=len(SIX_MERS))
    return counts


def six_mer_baseline(split: Split) -> tuple[np.ndarray, float]:
    """Log frequencies of 6-mers, with the pseudocount that does best on the validation stretch."""
    counts = six_mer_counts(split)
    codes = six_mer_codes(views(split.sequence, split.validation))

    def log_frequencies(pseudocount: float) -> np.ndarray:
        frequencies: np.ndarray = np.log((counts + pseudocount) / (counts + pseudocount).sum())
        return frequencies

    grid = [float(f"{m}e{e}") for e in range(-1, 4) for m in (1, 2, 5)]
    pseudocount = max(grid, key=lambda value: float(log_frequencies(value)[codes].mean()))
    return log_frequencies(pseudocount), pseudocount


def views(sequence: np.ndarray, stretch: tuple[int, int]) -> np.ndarray:
    """Tiles of a stretch as [tile, view, base]: six phases, forward and reverse complement."""
    start, stop = stretch
    length = (stop - start - (K - 1)) // TILE * TILE
    forward = np.stack(
        [sequence[start + p : start + p + length].reshape(-1, TILE) for p in range(K)], axis=1
    )
    return np.concatenate((forward, reverse_complement(forward)), axis=1)


def masked_losses(
    model: NucleotideTransformer,
    split: Split,
    stretch: tuple[int, int],
    log_frequencies: np.ndarray,
    parts: tuple[int, ...] = tuple(range(PARTS)),
) -> Losses:
    """Loss of masked 6-mers of a stretch, in windows of 128 tokens.

    The tokens of each window are dealt at random (seeded) into seven parts; a pass masks one part,
    so that about 14 % of a window is masked at a time and each token is asked for exactly once.

    Args:
        model: the model, as it is to be measured.
        split: the slice.
        stretch: the stretch to measure on.
        log_frequencies: of 6-mers, the baseline.
        parts: which of the seven parts to measure.
    """
    codes = torch.from_numpy(six_mer_codes(views(split.sequence, stretch)))
    tiles, per_tile, length = codes.shape
    generator = torch.Generator().manual_seed(2025)
    part = torch.rand(codes.shape, generator=generator).argsort(-1) % PARTS
    frequencies = torch.from_numpy(log_frequencies)
    ours, theirs = [], []
    training = model.training
    model.eval()
    with torch.no_grad():
        for tile in range(tiles):
            for number in parts:
                masked = part[tile] == number
                tokens = torch.full((per_tile, length + 1), CLS)
                tokens[:, 1:] = torch.where(masked, MASK, codes[tile] + FIRST)
                hidden = model.hidden(tokens)[1][:, 1:][masked]
                target = codes[tile][masked]
                loss = F.cross_entropy(model.logits(hidden), target + FIRST, reduction="none")
                ours.append(loss.double())
                theirs.append(-frequencies[target])
    model.train(training)
    return Losses(
        torch.cat(ours).reshape(tiles, -1).numpy(), torch.cat(theirs).reshape(tiles, -1).numpy()
    )


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of [tile, token], tiles being the independent units.

    Phases and strands see the same bases, and repeats span several tokens: tokens of one tile are
    far from independent, so their number says nothing about the error.
    """
    tiles = values.mean(axis=1)
    return float(tiles.mean()), float(tiles.std(ddof=1) / math.sqrt(len(tiles)))


def repeated_share(split: Split, stretch: tuple[int, int], size: int = 16) -> np.ndarray:
    """Share of each tile's bases that lie in a 16-mer of the training stretches, either strand."""

    def words(bases: np.ndarray) -> list[bytes]:
        text = np.ascontiguousarray(bases).tobytes()
        return [text[i : i + size] for i in range(len(text) - size + 1)]

    known: set[bytes] = set()
    for start, stop in split.training:
        bases = split.sequence[start:stop]
        known.update(words(bases), words(reverse_complement(bases)))
    covered = np.zeros(stretch[1] - stretch[0], bool)
    for place, word in enumerate(words(split.sequence[slice(*stretch)])):
        if word in known:
            covered[place : place + size] = True
    share: np.ndarray = covered[: len(covered) // TILE * TILE].reshape(-1, TILE).mean(axis=1)
    return share


# --- training ------------------------------------------------------------------------------------


def features() -> Tensor:
    """[token, feature]: which base stands at each of the six places, which pair at each two."""
    digits = np.array(list(product(range(4), repeat=K)))
    singles = np.eye(4, dtype=np.float32)[digits].reshape(len(digits), -1)
    pairs = np.eye(16, dtype=np.float32)[digits[:, :-1] * 4 + digits[:, 1:]]
    rows = np.concatenate((singles, pairs.reshape(len(digits), -1)), axis=1)
    table = torch.zeros(len(VOCABULARY), rows.shape[1])
    table[FIRST:SINGLE] = torch.from_numpy(rows)
    return table


class Composed(nn.Module):
    """A row per token = what its bases and neighbouring pairs add up to + a row of its own.

    4,096 6-mers are too many to learn one by one from 160 kb. Folded into plain rows when the
    model is saved, so the checkpoint has the published layout.
    """

    table: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("table", features(), persistent=False)
        self.parts = nn.Parameter(torch.randn(self.table.shape[1], dim) * 0.02)

    def forward(self, own: Tensor) -> Tensor:
        """The rows that the model uses."""
        return own + self.table @ self.parts


def new_model(
    log_frequencies: np.ndarray, config: Mapping[str, object] = CONFIG
) -> NucleotideTransformer:
    """A fresh model whose first guess is the frequency of each 6-mer."""
    arch = Architecture.from_config(config, gated=True)
    model = NucleotideTransformer(arch)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    with torch.no_grad():
        model.head.decoder.bias.fill_(-15.0)
        model.head.decoder.bias[FIRST:SINGLE] = torch.from_numpy(log_frequencies).float()
        for block in _blocks(model):
            for layer in (block.attention_out, block.ffn_out):
                layer.weight /= math.sqrt(2 * arch.layers)
    for module in (model.words, model.head.decoder):
        parametrize.register_parametrization(module, "weight", Composed(arch.dim))
    return model


def _blocks(model: NucleotideTransformer) -> list[Block]:
    return [block for block in model.blocks if isinstance(block, Block)]


def add_dropout(model: NucleotideTransformer, rate: float) -> None:
    """Dropout on the embeddings and on what each half of a block adds, in training mode only."""

    def hook(module: nn.Module, _: object, output: Tensor) -> Tensor:
        return F.dropout(output, rate, module.training)

    model.words.register_forward_hook(hook)
    for block in _blocks(model):
        block.attention_out.register_forward_hook(hook)
        block.ffn_out.register_forward_hook(hook)


def batches(split: Split, rng: np.random.Generator, bases: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (input ids, target ids), about ``bases`` bases each; target -100 = not asked for."""
    while True:
        draw = rng.random()
        length = int(rng.choice(LONG_WINDOWS)) if draw < 0.1 else WINDOW
        count = max(1, bases // (length * K))
        windows = np.stack([draw_window(split, rng, length * K) for _ in range(count)])
        if 0.1 <= draw < 0.15:
            target, given = _broken(windows, rng)
        else:
            target = six_mer_codes(windows) + FIRST
            given = six_mer_codes(_mutate(windows, rng)) + FIRST
        asked = rng.random(target.shape) < 0.15
        fate = rng.random(target.shape)
        anything = rng.integers(FIRST, SINGLE, target.shape)
        given = np.where(asked, target, given)
        given = np.where(asked & (fate < 0.8), MASK, given)
        given = np.where(asked & (fate >= 0.9), anything, given)
        given = np.concatenate((np.full((count, 1), CLS), given), axis=1)
        wanted = np.where(asked & (target != N), target, -100)
        yield torch.from_numpy(given), torch.from_numpy(wanted)


def draw_window(split: Split, rng: np.random.Generator, size: int) -> np.ndarray:
    """A window of a training stretch: any start (so any phase), either strand."""
    places = np.array([max(0, stop - start - size + 1) for start, stop in split.training])
    number = rng.choice(len(places), p=places / places.sum())
    start = split.training[number][0] + rng.integers(places[number])
    bases = split.sequence[start : start + size]
    return reverse_complement(bases) if rng.random() < 0.5 else bases


def _mutate(windows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Substitute up to 8 % of the bases in half of the windows, as old repeats are."""
    rate = np.maximum(0.0, rng.uniform(-0.08, 0.08, (len(windows), 1)))
    hit = rng.random(windows.shape) < rate
    return np.where(hit, rng.integers(0, 4, windows.shape), windows)


def _broken(windows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Windows with an N somewhere: single bases before it, the frame restarts behind it."""
    place = int(rng.integers(windows.shape[1] // 2))
    whole = place // K * K
    behind = windows[:, place + 1 :]
    rest = behind.shape[1] // K * K
    target = np.concatenate(
        (
            six_mer_codes(windows[:, :whole]) + FIRST,
            windows[:, whole:place].astype(np.int64) + SINGLE,
            np.full((len(windows), 1), N),
            six_mer_codes(behind[:, :rest]) + FIRST,
            behind[:, rest:].astype(np.int64) + SINGLE,
        ),
        axis=1,
    )
    return target, target


def train(
    split: Split, log_frequencies: np.ndarray, options: argparse.Namespace
) -> tuple[NucleotideTransformer, int]:
    """Train with early stopping on the validation stretch; the best state and its step."""
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    model = new_model(log_frequencies)
    add_dropout(model, options.dropout)
    decayed = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": options.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=options.learning_rate,
        betas=(0.9, 0.98),
    )
    source = batches(split, rng, options.batch_windows * TILE)
    began = time.monotonic()
    best, best_step, state = math.inf, 0, {}
    model.train()
    for step in range(1, options.steps + 1):
        share = step / options.steps
        rate = min(1.0, step / 200) * min(1.0, (1.0 - share) / 0.7 + 0.02)
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * rate
        given, wanted = next(source)
        asked = wanted != -100
        with parametrize.cached():
            hidden = model.hidden(given)[1][:, 1:][asked]
            loss = F.cross_entropy(model.logits(hidden), wanted[asked])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        minutes = (time.monotonic() - began) / 60
        stop = minutes > options.minutes
        if step % options.every == 0 or stop or step == options.steps:
            with parametrize.cached():
                found = masked_losses(model, split, split.validation, log_frequencies, parts=(0,))
            validation, baseline = found.model.mean(), found.six_mers.mean()
            print(
                f"step {step}  {minutes:.1f} min  training {loss.item():.3f}  "
                f"validation {validation:.4f} (6-mer frequencies {baseline:.4f})",
                flush=True,
            )
            if validation < best:
                best, best_step = validation, step
                state = {name: value.clone() for name, value in model.state_dict().items()}
            if stop or step - best_step >= options.patience:
                break
    model.load_state_dict(state)
    for module in (model.words, model.head.decoder):
        parametrize.remove_parametrizations(module, "weight")
    return model.eval(), best_step


# --- the folder ----------------------------------------------------------------------------------


def save(
    model: NucleotideTransformer,
    folder: Path,
    config: Mapping[str, Any] = CONFIG,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write the checkpoint in the published Hugging Face layout."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        keys = published_keys(name)
        for key, part in zip(keys, parameter.detach().chunk(len(keys)), strict=True):
            tensors[key] = part.to(dtype).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="ascii")
    for name, content in (
        ("config.json", config),
        ("tokenizer_config.json", TOKENIZER_CONFIG | {"model_max_length": _most_tokens(config)}),
        ("special_tokens_map.json", SPECIAL_TOKENS),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="ascii")
    (folder / "model.safetensors").chmod(0o644)


def _most_tokens(config: Mapping[str, Any]) -> int:
    # As published: positions are counted from behind the padding token's id, 1.
    return int(config["max_position_embeddings"]) - 2


def loss_table(losses: Losses, pseudocount: float) -> str:
    """The rows of the model card's table."""
    uniform = losses.uniform
    rows = [
        ("ntvep-demo", mean_and_error(losses.model)),
        (f"6-mer frequencies (pseudocount {pseudocount:g})", mean_and_error(losses.six_mers)),
        ("uniform over 4,096 6-mers", (uniform, 0.0)),
        ("6-mer frequencies - ntvep-demo", mean_and_error(losses.six_mers - losses.model)),
        ("uniform - ntvep-demo", mean_and_error(uniform - losses.model)),
    ]
    return "\n".join(f"| {name} | {mean:.4f} | {error:.4f} |" for name, (mean, error) in rows)


CARD = """\
---
license: apache-2.0
tags: [dna, demonstration]
---

# ntvep-demo

A tiny Nucleotide Transformer that lets `ntvep` run, and be tested, without a download. **A
demonstration, no science**: it has seen 162,720 bp of one chromosome and knows nothing of biology
but the repeats and the composition of that stretch. Never use its scores for a variant that you
care about.

- Architecture: v2 (rotary positions, SwiGLU, no biases in the feed-forward block, no token
  dropout), {layers} layers, dimension {dim}, feed-forward {ffn}, {heads} heads, {parameters:,}
  parameters, float32. At most 513 tokens with `<cls>`: 512 6-mers, 3,072 bp. Trained, and meant to
  be used, with windows of 128.
- Vocabulary and files: the published layout of Nucleotide Transformer v2. No weight of a published
  model is in it.
- Licence: Apache-2.0, as the rest of the project. The sequence is in the public domain.

## Data

The slice beside this folder, chr22:20012478-20215143 of GRCh38. Stretches were fixed by place
before any training; no training window overlaps another stretch.

| stretch | chr22, 1-based | bases | used for |
|---|---|---|---|
| training | {training} | {training_bases:,} | weights, 6-mer frequencies |
| validation | {validation} | {validation_bases:,} | early stopping, the baseline's pseudocount |
| held out | {held_out} | {held_out_bases:,} | the table below, nothing else |

## Recipe

    {command}

Masked 6-mers (15 % of a window's; of these 80 % masked, 10 % random, 10 % kept), windows of 128
6-mers drawn at any base (so every phase) of either strand, a tenth of the batches 256 or 512 long,
one in twenty with an N in it. Half of the windows have up to 8 % of the bases that are not asked
for substituted. Dropout {dropout}, weight decay {weight_decay}, AdamW, {steps} steps of {batch}
windows on one CPU thread; the state of step {best_step} had the least validation loss. While it
trains, the row of a 6-mer is a sum over its bases and neighbouring pairs plus a row of its own; the
sums are folded into plain rows in this file. Seed {seed}: the same torch (here {torch}) on the same
kind of CPU gives the same weights, another build very nearly so.

## Held-out masked loss

Nats per masked 6-mer, over all {tokens:,} of the held-out stretch: both strands, all six phases,
windows of 128, each token masked once, with a seventh of its window (all replaced by `<mask>`).
The standard error is over {tiles} tiles of 768 bp, because tokens of one tile are not independent.

| | loss | standard error |
|---|---|---|
{table}

Smaller is better; the last two rows are paired differences, in which positive means that
ntvep-demo is better. The 6-mer frequencies are those of the training stretches, both strands and
all phases. {verdict}

## Limits

What it has over the frequencies is mostly repeats (Alu and the like) and local composition, as far
as this shows: a 768-bp tile gains the more, the more of it lies in 16-mers that the training
stretches also have (correlation {correlation:.2f} over the {tiles} tiles).
The {unique} tiles without such a 16-mer gain {unique_gain:.2f} nats per 6-mer on average, the
others {repeated_gain:.2f}. Nothing here shows that it knows function: expect `llr` to say whether a
variant departs from a repeat's consensus or from the slice's composition. Measured on one stretch
of one chromosome. For real scores take a published Nucleotide Transformer.
"""


def card(
    parameters: int,
    losses: Losses,
    pseudocount: float,
    split: Split,
    best_step: int,
    options: argparse.Namespace,
) -> str:
    """The model card."""
    first = int(SLICE.name.split("_")[1])

    def places(*stretches: tuple[int, int]) -> str:
        return ", ".join(f"{first + start}-{first + stop - 1}" for start, stop in stretches)

    per_tile = (losses.six_mers - losses.model).mean(axis=1)
    share = repeated_share(split, split.held_out)
    gains = (losses.six_mers - losses.model, losses.uniform - losses.model)
    better = all(mean > 2 * error for mean, error in map(mean_and_error, gains))
    return CARD.format(
        layers=CONFIG["num_hidden_layers"],
        dim=CONFIG["hidden_size"],
        ffn=CONFIG["intermediate_size"],
        heads=CONFIG["num_attention_heads"],
        parameters=parameters,
        training=places(*split.training),
        training_bases=sum(stop - start for start, stop in split.training),
        validation=places(split.validation),
        validation_bases=STRETCH,
        held_out=places(split.held_out),
        held_out_bases=STRETCH,
        command=f"python recipes/demo_model.py --steps {options.steps} --seed {options.seed}",
        dropout=options.dropout,
        weight_decay=options.weight_decay,
        steps=options.steps,
        batch=options.batch_windows,
        best_step=best_step,
        seed=options.seed,
        torch=torch.__version__.partition("+")[0],
        tokens=losses.model.size,
        tiles=len(losses.model),
        table=loss_table(losses, pseudocount),
        correlation=np.corrcoef(share, per_tile)[0, 1],
        unique=int((share == 0).sum()),
        unique_gain=per_tile[share == 0].mean(),
        repeated_gain=per_tile[share > 0].mean(),
        verdict=(
            "It beats both baselines by more than two standard errors."
            if better
            else "It does NOT beat both baselines by two standard errors."
        ),
    )


def main() -> None:
    """Train and write the checkpoint, or measure the one that is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--evaluate", action="store_true", help="measure OUTPUT, train nothing")
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch-windows", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--every", type=int, default=250, help="steps between validations")
    parser.add_argument("--patience", type=int, default=2000, help="steps without a better one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    split = read_split()
    log_frequencies, pseudocount = six_mer_baseline(split)
    best_step = None
    if not options.evaluate:
        model, best_step = train(split, log_frequencies, options)
        save(model, options.output)
        print(f"written: {options.output}, the state of step {best_step}")
    checkpoint = read_checkpoint(options.output)
    losses = masked_losses(checkpoint.encoder, split, split.held_out, log_frequencies)
    print(f"{checkpoint.parameters:,} parameters, {losses.model.size:,} held-out masked 6-mers")
    print(loss_table(losses, pseudocount))
    if best_step is not None:
        text = card(checkpoint.parameters, losses, pseudocount, split, best_step, options)
        (options.output / "README.md").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
