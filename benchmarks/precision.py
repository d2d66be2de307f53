"""What the precision of the matrix products does to every score, against float64.

    python -m benchmarks.precision [--shape 500m] [--window-tokens 128] [--variants 40]

Without ``--shape`` the demo model, on variants of its own chr22; with it, random weights of a
published shape on the same variants. Products in float16 and bfloat16 are what ``--precision``
computes; "tf32" is the format of NVIDIA's tensor cores for float32 (10 bits of mantissa), here by
rounding what goes into each product; in all of them sums between layers, norms and the head are
float32. "half throughout" holds the whole model in float16, as many programs do.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks import checkpoints
from benchmarks.passes import SLICE, snvs
from ntvep.io.fasta import open_reference
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.engine import Engine
from ntvep.models.hub import locate
from ntvep.models.layers import Product
from ntvep.models.nt import NucleotideTransformer
from ntvep.objectives import defined_scores
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.settings import Settings


def to_tf32(model: NucleotideTransformer) -> NucleotideTransformer:
    """Round the inputs and the weights of every product to 10 bits of mantissa."""

    def round_input(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(map(_rounded, inputs))

    for module in model.blocks.modules():
        if isinstance(module, Product):
            module.weight.data = _rounded(module.weight.data)
            module.register_forward_pre_hook(round_input)
    return model


def _rounded(x: Tensor) -> Tensor:
    """To the nearest number with 10 bits behind the binary point; 13 of float32's 23 go."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + (1 << 12)) & ~((1 << 13) - 1)).view(torch.float32)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=checkpoints.SHAPES)
    parser.add_argument("--window-tokens", type=int, default=128)
    parser.add_argument("--variants", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = (
            checkpoints.make(Path(folder), checkpoints.SHAPES[given.shape])
            if given.shape
            else locate("demo-6mer").folder
        )
        checkpoint = read_checkpoint(path)
    model, description = checkpoint.encoder, checkpoint.description
    assert isinstance(model, NucleotideTransformer)
    names = defined_scores(description.objective, description.tokenizer.kind)
    chr22 = open_reference(SLICE)
    # A place in a few hundred bases, one of its three SNVs: no two share a 6-mer.
    step = 180_000 // given.variants
    alleles = snvs(chr22, range(20_020_000, 20_200_000, step)).gather_every(3)
    settings = Settings(names, window_bases=6 * given.window_tokens, views=1)

    def scores(made: NucleotideTransformer) -> pl.DataFrame:
        engine = Engine(made, description.tokenizer)
        return score_alleles(alleles, ScoringContext(chr22, engine, description, settings)).scores

    ways: dict[str, Callable[[NucleotideTransformer], NucleotideTransformer]] = {
        "fp32": lambda m: m,
        "tf32": to_tf32,
        "fp16": lambda m: m.in_precision(torch.float16),
        "bf16": lambda m: m.in_precision(torch.bfloat16),
        "half throughout": half_throughout,
    }
    truth = scores(copy.deepcopy(model).double())
    print(
        f"{given.shape or 'demo-6mer'}, {alleles.height} SNVs, windows of "
        f"{given.window_tokens} tokens"
    )
    print("| score | spread | " + " | ".join(ways) + " |")
    print("|---|---|" + "---|" * len(ways))
    found = {way: scores(change(copy.deepcopy(model))) for way, change in ways.items()}
    for name in names:
        exact = truth[name].to_numpy()
        cells = []
        for table in found.values():
            error = np.abs(table[name].to_numpy() - exact)
            rank = spearmanr(table[name].to_numpy(), exact).statistic
            cells.append(f"{error.max():.0e}, {np.median(error):.0e}, {rank:.5f}")
        print(f"| {name} | {exact.std():.1e} | " + " | ".join(cells) + " |", flush=True)


def half_throughout(model: NucleotideTransformer) -> NucleotideTransformer:
    """Everything in float16 but the logits."""
    return model.half()


if __name__ == "__main__":
    main()
