"""Variants a second of GPN, side by side with the loop of its authors' own package.

    pip install 'gpn[inference]==0.9.0a1'      # beside ntvep, in an environment of its own
    python -m benchmarks.gpn_package [--sites 24] [--sparse 24] [--rounds 5] [--width 256]
        [--layers 12]

Random weights in the published layout (ConvNet), 512 bases, both strands, on a CPU. The other way
is ``gpn.ss.run_vep``: a dataset of variants, their windows masked one by one, transformers' Trainer
with its batches of eight. It is left as it is but for half precision and ``torch.compile``, which
it asks for by default and which are meant for a GPU. Both ways take turns in one process; the
script stops if their ``llr`` differ.

Aims: three ALTs a site at least 2.5 times, a sparse list at least 1.0 times.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl
import torch

from benchmarks.families import NEAR, ours, seconds
from benchmarks.passes import FIRST, GOLDEN, SLICE, snvs
from benchmarks.throughput import ranged
from ntvep import dna
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.models.checkpoint import read_checkpoint

_GOLDEN = GOLDEN / "gpn_convnet"


def convnet(folder: Path, layers: int, width: int) -> Path:
    """GPN's ConvNet of another size: weights that a training begins with, but for spread."""
    from gpn.legacy import ConvNetConfig, ConvNetForMaskedLM

    config = json.loads((_GOLDEN / "config.json").read_text())
    config |= {"n_layers": layers, "hidden_size": width}
    torch.manual_seed(0)
    model = ConvNetForMaskedLM(ConvNetConfig(**config))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 3
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(_GOLDEN / name, folder / name)
    return folder


def package(model: Path, fasta: Path, offset: int) -> Callable[[pl.DataFrame], list[float]]:
    """``llr`` of variants as the package computes it, positions counted from ``offset``."""
    from datasets import Dataset
    from gpn.data import Genome
    from gpn.ss import run_vep
    from transformers import AutoTokenizer, TrainingArguments

    def on_cpu(**given: object) -> TrainingArguments:
        return TrainingArguments(
            **given | {"torch_compile": False, "fp16": False, "use_cpu": True, "report_to": "none"},
            disable_tqdm=True,
        )

    run_vep.TrainingArguments = on_cpu
    genome, tokenizer = Genome(str(fasta)), AutoTokenizer.from_pretrained(str(model))
    network = run_vep.MLMforVEPModel(str(model)).eval()

    def run(table: pl.DataFrame) -> list[float]:
        shifted = table.select("chrom", pl.col("pos") - offset, "ref", "alt")
        variants = Dataset.from_dict(shifted.to_dict(as_series=False))
        return run_vep.run_vep(variants, genome, 512, tokenizer, network).tolist()

    return run


def write_slice(path: Path, reference: FastaReference) -> int:
    """The slice as a contig that begins at its own first base; returns how many are before it."""
    (span,) = reference.spans("chr22")
    path.write_text(f">chr22\n{dna.decode(reference.fetch('chr22', *span))}\n")
    return span.start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=24)
    parser.add_argument("--sparse", type=int, default=24, help="SNVs of the sparse list")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=12)
    given = parser.parse_args()
    reference = open_reference(SLICE)
    sparse = range(FIRST, FIRST + 1_000 * given.sparse, 1_000)
    lists = {
        "three ALTs a site": snvs(reference, range(FIRST, FIRST + given.sites)),
        "one SNV per kb": snvs(reference, sparse).gather_every(3),
    }
    print(f"ConvNet, {given.layers} layers of {given.width}, {torch.get_num_threads()} threads")
    print("| list | variants | ours, variants/s | package / ours |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = convnet(folder / "model", given.layers, given.width)
        offset = write_slice(folder / "slice.fa", reference)
        theirs, checkpoint = package(model, folder / "slice.fa", offset), read_checkpoint(model)
        for title, table in lists.items():
            ways = {
                "ours": partial(ours, checkpoint, table, reference, None),
                "other": partial(theirs, table),
            }
            a, b = (run() for run in ways.values())
            worst = max(abs(x - y) for x, y in zip(a, b, strict=True))
            assert worst < NEAR, f"llr differs by {worst}"
            times = [{way: seconds(run) for way, run in ways.items()} for _ in range(given.rounds)]
            speed = table.height / statistics.median(one["ours"] for one in times)
            print(
                f"| {title} | {table.height} | {speed:.1f} | {ranged(times, 'other', 'ours')} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
