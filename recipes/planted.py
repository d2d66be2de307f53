"""Plant a truth: motifs in a random genome, a small model that learns them, labelled variants.

    python recipes/planted.py            # writes tests/planted, two minutes on a free CPU core

The genome is one contig of 72,000 random bases, each of A, C, G, T as likely as any other. It holds
300 copies of motifs: two motifs of 30 random bases, on either strand, one copy at a random place of
each stretch of 240 bases, so that copies begin in every phase of the grid of 6-mers. Nothing else
in it can be predicted. A Nucleotide Transformer of the v2 architecture learns masked 6-mers of it,
both strands and all phases. Then a variant inside a copy should surprise the model, and a variant
outside should not: ``labels.tsv`` says which of the SNVs in ``variants.vcf`` are which.

One thread and a fixed seed: the same torch on the same kind of CPU gives the same files.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from demo_model import (
    BASES,
    CLS,
    CONFIG,
    FIRST,
    MASK,
    SIX_MERS,
    K,
    Split,
    draw_window,
    new_model,
    reverse_complement,
    save,
    six_mer_codes,
)
from torch import nn
from torch.nn.utils import parametrize

from ntvep.models.nt import NucleotideTransformer

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "planted"

CONTIG = "planted"
STRETCH = 240
COPIES = 300
MOTIFS = 2
MOTIF = 30
VARIANTS = 150
"""Of each label."""
GROUP = 1_000
"""Bases of the genome whose variants are one cluster of the bootstrap."""

WINDOW = 64
MASKED = 0.15
ARCHITECTURE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "max_position_embeddings": WINDOW + 3,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
}


def plant(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The genome in codes of the recipe's ``BASES``, and where each copy begins (0-based)."""
    genome = rng.integers(0, 4, COPIES * STRETCH).astype(np.uint8)
    motifs = rng.integers(0, 4, (MOTIFS, MOTIF)).astype(np.uint8)
    starts = np.arange(COPIES) * STRETCH + rng.integers(0, STRETCH - MOTIF + 1, COPIES)
    for start, motif, other_strand in zip(
        starts, rng.integers(0, MOTIFS, COPIES), rng.random(COPIES) < 0.5, strict=True
    ):
        copy = motifs[motif]
        genome[start : start + MOTIF] = reverse_complement(copy) if other_strand else copy
    return genome, starts


def train(genome: np.ndarray, options: argparse.Namespace) -> NucleotideTransformer:
    """Masked 6-mers of windows of the genome: any start, either strand."""
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    split = Split(genome, ((0, len(genome)),), (0, 0), (0, 0))
    model = new_model(np.full(len(SIX_MERS), -np.log(len(SIX_MERS))), CONFIG | ARCHITECTURE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    began = time.monotonic()
    model.train()
    for step in range(1, options.steps + 1):
        rate = min(1.0, step / 100) * (1.0 - step / options.steps)
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * rate
        windows = np.stack([draw_window(split, rng, WINDOW * K) for _ in range(options.batch)])
        target = six_mer_codes(windows) + FIRST
        asked = rng.random(target.shape) < MASKED
        given = np.full((options.batch, WINDOW + 1), CLS)
        given[:, 1:] = np.where(asked, MASK, target)
        with parametrize.cached():
            hidden = model.hidden(torch.from_numpy(given))[1][:, 1:][torch.from_numpy(asked)]
            loss = F.cross_entropy(model.logits(hidden), torch.from_numpy(target[asked]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            minutes = (time.monotonic() - began) / 60
            print(f"step {step}  {minutes:.1f} min  loss {loss.item():.3f}", flush=True)
    for module in (model.words, model.head.decoder):
        parametrize.remove_parametrizations(module, "weight")
    return model.eval()


def write_data(
    folder: Path, genome: np.ndarray, starts: np.ndarray, rng: np.random.Generator
) -> None:
    """FASTA, and equally many SNVs inside copies and outside, as VCF and with their labels."""
    letters = "".join(BASES[code] for code in genome)
    lines = [letters[i : i + 60] for i in range(0, len(letters), 60)]
    (folder / "genome.fa").write_text("\n".join([f">{CONTIG}", *lines, ""]), encoding="ascii")
    inside = (starts[:, None] + np.arange(MOTIF)).ravel()
    outside = np.setdiff1d(np.arange(len(genome)), inside)
    places = [(int(p), 1) for p in rng.choice(inside, VARIANTS, replace=False)]
    places += [(int(p), 0) for p in rng.choice(outside, VARIANTS, replace=False)]
    records, labels = [], []
    for place, label in sorted(places):
        ref = letters[place]
        alt = rng.choice([base for base in BASES if base != ref])
        records.append(f"{CONTIG}\t{place + 1}\t.\t{ref}\t{alt}\t.\t.\t.")
        labels.append(f"{CONTIG}\t{place + 1}\t{ref}\t{alt}\t{label}\tkb{place // GROUP}")
    header = (
        "##fileformat=VCFv4.2",
        f"##contig=<ID={CONTIG},length={len(genome)}>",
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO",
    )
    (folder / "variants.vcf").write_text("\n".join([*header, *records, ""]), encoding="ascii")
    columns = "chrom\tpos\tref\talt\tlabel\tgroup"
    (folder / "labels.tsv").write_text("\n".join([columns, *labels, ""]), encoding="ascii")


def main() -> None:
    """Write genome, variants, labels and model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64, help="windows in a step")
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    genome, starts = plant(rng)
    write_data(options.output, genome, starts, rng)
    # Half the size; read back as float32.
    save(train(genome, options), options.output / "model", CONFIG | ARCHITECTURE, torch.float16)


if __name__ == "__main__":
    main()
