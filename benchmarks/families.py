"""Variants a second of other kinds of models, side by side with one variant at a time.

    python -m benchmarks.families [--sites 24] [--sparse 24] [--rounds 5] [--width 256] [--layers 6]
        [--kind rates]

Checkpoints of random weights of a medium size, in the published layouts, on a CPU:

base, masked   BERT with a token for each base, 512 bases (GPN against its authors' own loop:
               benchmarks/gpn_package.py)
base, causal   Qwen3 as MarinDNA has it, 255 bases, without and with ``--anchor 63``
rates          PhyloGPN of the published depth and field, a window of 481 bases for each variant

The other way runs transformers' own class (of PhyloGPN, which it has not, the network of ntvep) on
one variant at a time, as the authors do: a masked window and strand for the first kind, REF and ALT
in full for the second, a window and strand for the third. Both ways take turns in one process, so
that a slow moment of the machine meets both; the table has the median ratio of the rounds and its
range. The script stops if their ``llr`` differ.

Aims: three ALTs a site at least 2.5 times (base, masked), 1.8 (causal; 3 with ``--anchor``) and 50
(rates); a sparse list at least 1.0 times.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from benchmarks.passes import FIRST, GOLDEN, SLICE, narrow_phylogpn, snvs
from benchmarks.throughput import ranged
from ntvep import dna
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.models.checkpoint import Checkpoint, read_checkpoint
from ntvep.models.engine import Engine
from ntvep.models.native import Native
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.settings import Settings

LETTERS = ("<unk>", "<pad>", "<mask>", "<cls>", *"ATCGN", "<eos>", "<bos>")
NEAR = 1e-3


@dataclass(frozen=True)
class Kind:
    """A kind of model, and how both ways score an SNV.

    Attributes:
        name: in the table.
        make: writes its checkpoint.
        one: ``llr`` of one SNV on one strand: (model, checkpoint, window, place, REF, ALT).
        auto: transformers' class; None where it has none.
        anchors: what ``--anchor`` may be.
    """

    name: str
    make: Callable[[Path, int, int], Path]
    one: Callable[[Any, Checkpoint, np.ndarray, int, int, int], float]
    auto: str | None = None
    anchors: tuple[int | None, ...] = (None,)


def masked_bases(folder: Path, layers: int, width: int) -> Path:
    """BERT over single bases."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=len(LETTERS),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        intermediate_size=4 * width,
        max_position_embeddings=516,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    _save(folder, BertForMaskedLM(config))
    (folder / "vocab.txt").write_text("\n".join(LETTERS))
    names = {"unk_token": "<unk>", "mask_token": "<mask>", "cls_token": "<cls>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return folder


def causal_bases(folder: Path, layers: int, width: int) -> Path:
    """Qwen3 with the tokenizer and the positions of MarinDNA."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = json.loads((GOLDEN / "marin-dna" / "config.json").read_text())
    heads = width // 32
    config |= {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": 32,
        "intermediate_size": 4 * width,
    }
    torch.manual_seed(0)
    _save(folder, Qwen3ForCausalLM(Qwen3Config(**config)))
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(GOLDEN / "marin-dna" / name, folder / name)
    return folder


def _save(folder: Path, model: Any) -> None:
    """Weights that a training begins with, but for spread: the scores of small ones are all 0."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 3
    model.save_pretrained(folder)


def rates(folder: Path, layers: int, width: int) -> Path:
    """PhyloGPN: its depth follows from its field, so only the width is chosen."""
    return narrow_phylogpn(folder, outer=width, inner=width // 2)


@torch.inference_mode()
def one_masked(
    model: Any, checkpoint: Checkpoint, window: np.ndarray, place: int, ref: int, alt: int
) -> float:
    """A masked pass for each variant and strand."""
    tokenizer = checkpoint.description.tokenizer
    ids = tokenizer.encode(window).ids.astype(np.int64)
    at = len(tokenizer.front) + place
    ids[at] = tokenizer.mask
    logits = model(input_ids=torch.from_numpy(ids)[None]).logits[0, at].log_softmax(dim=-1)
    four = tokenizer.nucleotides
    return float(logits[four[alt]] - logits[four[ref]])


@torch.inference_mode()
def one_causal(
    model: Any, checkpoint: Checkpoint, window: np.ndarray, place: int, ref: int, alt: int
) -> float:
    """REF and ALT in full, for each variant and strand."""
    tokenizer = checkpoint.description.tokenizer
    sums = []
    for base in (ref, alt):
        spelled = window.copy()
        spelled[place] = base
        ids = torch.from_numpy(tokenizer.encode(spelled).ids.astype(np.int64))
        log_probs = model(input_ids=ids[None]).logits[0, :-1].log_softmax(dim=-1)
        sums.append(log_probs.gather(1, ids[1:, None]).double().sum())
    return float(sums[1] - sums[0])


@torch.inference_mode()
def one_rates(
    model: Any, checkpoint: Checkpoint, window: np.ndarray, place: int, ref: int, alt: int
) -> float:
    """A window of the field for each variant and strand."""
    ids = checkpoint.description.tokenizer.encode(window).ids.astype(np.int64)
    logits = model.logits(model.hidden(torch.from_numpy(ids)[None])[1][0])[0]
    return float(logits[alt] - logits[ref])


KINDS = (
    Kind("base, masked", masked_bases, one_masked, "AutoModelForMaskedLM"),
    Kind("base, causal", causal_bases, one_causal, "AutoModelForCausalLM", (None, 63)),
    Kind("rates", rates, one_rates),
)


def one_by_one(
    kind: Kind, model: Any, checkpoint: Checkpoint, table: pl.DataFrame, reference: FastaReference
) -> list[float]:
    """``llr`` of every SNV, mean of both strands, each window run for itself."""
    bases = checkpoint.description.field or checkpoint.description.default_bases
    found = []
    for pos, *alleles in table.select("pos", "ref", "alt").iter_rows():
        place = bases // 2
        start = pos - 1 - place
        window = reference.fetch("chr22", start, start + bases)
        ref, alt = (int(dna.encode(allele)[0]) for allele in alleles)
        forward = kind.one(model, checkpoint, window, place, ref, alt)
        other = dna.reverse_complement(window)
        reverse = kind.one(model, checkpoint, other, bases - 1 - place, 3 - ref, 3 - alt)
        found.append((forward + reverse) / 2)
    return found


def ours(
    checkpoint: Checkpoint, table: pl.DataFrame, reference: FastaReference, anchor: int | None
) -> list[float]:
    """The same by ntvep."""
    description = checkpoint.description
    settings = Settings(
        scores=("llr",), window_bases=description.default_bases, views=2, anchor=anchor
    )
    engine = Engine(checkpoint.encoder, description.tokenizer)
    context = ScoringContext(reference, engine, description, settings)
    return score_alleles(table, context).scores["llr"].to_list()


def other_model(kind: Kind, checkpoint: Checkpoint) -> Any:
    """Transformers' own class as its users load it, where it has one."""
    if kind.auto is None:
        return checkpoint.encoder
    import transformers

    auto = getattr(transformers, kind.auto)
    return auto.from_pretrained(str(checkpoint.folder), dtype=torch.float32).eval()


def ratios(
    kind: Kind, checkpoint: Checkpoint, reference: FastaReference, given: argparse.Namespace
) -> None:
    """Print the lines of one kind."""
    if isinstance(checkpoint.encoder, Native):
        checkpoint.encoder.probe()
    model = other_model(kind, checkpoint)
    lists: Mapping[str, pl.DataFrame] = {
        "three ALTs a site": snvs(reference, range(FIRST, FIRST + given.sites)),
        "one SNV per kb": snvs(
            reference, range(FIRST, FIRST + 1_000 * given.sparse, 1_000)
        ).gather_every(3),
    }
    for name, table in lists.items():
        for anchor in kind.anchors:
            ways: Mapping[str, Callable[[], list[float]]] = {
                "ours": lambda t=table, a=anchor: ours(checkpoint, t, reference, a),
                "other": lambda t=table: one_by_one(kind, model, checkpoint, t, reference),
            }
            scores = {way: run() for way, run in ways.items()}
            # With an anchor the windows lie elsewhere: other numbers, by definition.
            if anchor is None:
                worst = max(abs(a - b) for a, b in zip(*scores.values(), strict=True))
                assert worst < NEAR, f"llr differs by {worst}"
            times = [{way: seconds(run) for way, run in ways.items()} for _ in range(given.rounds)]
            speed = table.height / statistics.median(one["ours"] for one in times)
            print(
                f"| {kind.name} | {name} | {anchor or ''} | {table.height} | {speed:.1f} | "
                f"{ranged(times, 'other', 'ours')} |",
                flush=True,
            )


def seconds(work: Callable[[], object]) -> float:
    """How long it took."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=24)
    parser.add_argument("--sparse", type=int, default=24, help="SNVs of the sparse list")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    names = [kind.name for kind in KINDS]
    parser.add_argument("--kind", choices=names, action="append", help="all if none is named")
    given = parser.parse_args()
    reference = open_reference(SLICE)
    print(f"{given.layers} layers of {given.width}, {torch.get_num_threads()} threads")
    heads = ("kind", "list", "--anchor", "variants", "ours, variants/s", "one at a time / ours")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for kind in KINDS:
        if given.kind and kind.name not in given.kind:
            continue
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = read_checkpoint(kind.make(Path(folder), given.layers, given.width))
            ratios(kind, checkpoint, reference, given)


if __name__ == "__main__":
    main()
