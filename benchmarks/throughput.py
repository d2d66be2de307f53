"""Variants a second, side by side with what users do today, on one checkpoint of random weights.

    python -m benchmarks.throughput [--shape 6x512] [--device cuda --precision fp16]
        [--vcf clinvar.vcf.gz --reference GRCh38.fa] [--rounds 3]

(a) the model card's way: transformers' model, one variant at a time, each input padded to the
    model's maximum, full logits and every layer's hidden states, float32;
(b) the better habit: the same model, batches, nothing padded further than its batch; REF, ALT and
    masked inputs of each variant, nothing shared.

Both give the score columns that we give, from the same windows; the script stops if their llr and
ours differ. Ours, ours with --deterministic, (b) and (a) take turns, so that a slow moment of the
machine meets all; the table has the median ratio of the rounds and its range. On a CUDA device it
adds the share of the device's own dense matmul peak that the whole command reaches, its idle share,
and its memory.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks import checkpoints
from benchmarks.passes import FIRST, SLICE, clinvar, snvs
from ntvep.alleles import Prepared, preparer
from ntvep.description import Description
from ntvep.genome import Reference
from ntvep.io.fasta import open_reference
from ntvep.models.device import be_deterministic
from ntvep.models.engine import Engine
from ntvep.models.loaded import load_model
from ntvep.models.second_opinion import load_reference
from ntvep.objectives import defined_scores
from ntvep.passes import TokenPair
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.schema import Status
from ntvep.settings import Settings
from ntvep.tokenizers.kmer import Kmers

ALL = defined_scores("masked", "kmer")
# Inputs in a batch of (b): what fits the memory of a common GPU with full logits.
BATCH = 16
PAD = 1


def unshared(
    pairs: Sequence[TokenPair],
    names: Sequence[str],
    model: torch.nn.Module,
    tokenizer: Kmers,
    batch: int,
    length: int | None,
    on_device: bool = False,
) -> list[dict[str, float]]:
    """Scores of every pair by (a) or (b): every input is run for every variant that needs it.

    Args:
        pairs: SNVs and indels, tokenised.
        names: score columns.
        model: transformers' own.
        tokenizer: of it.
        batch: inputs run together.
        length: pad to this; None pads to the longest of the batch.
        on_device: whether logits and hidden states stay there until they are scores.
    """
    inputs: list[np.ndarray] = []
    of_pair: list[tuple[int, int, int, int]] = []
    whole = names != ("llr",)
    for pair in pairs:
        alt = pair.ref.ids.copy() if pair.alt is None else pair.alt.ids
        alt = np.array(alt)
        if pair.alt is None:
            alt[pair.alt_changed.start : pair.alt_changed.stop] = pair.alt_ids
        masked = pair.ref.ids.copy()
        masked[pair.ref_changed.start : pair.ref_changed.stop] = tokenizer.mask
        first = len(inputs)
        inputs.append(masked)
        masked_alt = first
        if pair.alt is not None:
            other = alt.copy()
            other[pair.alt_changed.start : pair.alt_changed.stop] = tokenizer.mask
            masked_alt = len(inputs)
            inputs.append(other)
        ref_at = len(inputs)
        if whole:
            inputs += [pair.ref.ids, alt]
        of_pair.append((first, masked_alt, ref_at, ref_at + 1))
    outputs = _run(inputs, model, batch, length, whole, on_device)
    return [
        _scores(pair, places, inputs, outputs, tokenizer, whole)
        for pair, places in zip(pairs, of_pair, strict=True)
    ]


@torch.inference_mode()
def _run(
    inputs: Sequence[np.ndarray],
    model: torch.nn.Module,
    batch: int,
    length: int | None,
    whole: bool,
    on_device: bool = False,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Log-probabilities and last hidden states of every input, on the host or where they are."""
    device = next(model.parameters()).device
    home = device if on_device else torch.device("cpu")
    outputs = []
    for begin in range(0, len(inputs), batch):
        some = inputs[begin : begin + batch]
        width = length or max(map(len, some))
        ids = torch.full((len(some), width), PAD)
        for row, one in enumerate(some):
            ids[row, : len(one)] = torch.from_numpy(one.astype(np.int64))
        ids = ids.to(device)
        found = model(input_ids=ids, attention_mask=(ids != PAD).long(), output_hidden_states=whole)
        logits = found.logits.float().log_softmax(dim=-1).to(home)
        hidden = found.hidden_states[-1].double().to(home) if whole else logits
        outputs += [
            (logits[row, : len(one)], hidden[row, : len(one)]) for row, one in enumerate(some)
        ]
    return outputs


def _scores(
    pair: TokenPair,
    places: tuple[int, int, int, int],
    inputs: Sequence[np.ndarray],
    outputs: Sequence[tuple[torch.Tensor, torch.Tensor]],
    tokenizer: Kmers,
    whole: bool,
) -> dict[str, float]:
    """Every column of one pair, as docs/scores.md defines it."""
    masked, masked_alt, ref, alt = places
    changed, alt_changed = list(pair.ref_changed), list(pair.alt_changed)
    rows = outputs[masked][0]
    scores = {
        "llr": float(
            outputs[masked_alt][0][alt_changed, list(pair.alt_ids)].double().sum()
            - rows[changed, list(pair.ref_ids)].double().sum()
        )
    }
    if not whole:
        return scores
    first = rows[changed[0]].double()
    scores["entropy"] = float(-(first.exp() * first).sum())
    if pair.snv:
        offset, before, after = pair.snv
        of_base = [
            first[torch.from_numpy(tokenizer.members[offset, base])].logsumexp(0)
            for base in (before, after)
        ]
        scores["llr_marginal"] = float(of_base[1] - of_base[0])
    if pair.same_places:
        unmasked = outputs[ref][0]
        scores["llr_unmasked"] = float(
            unmasked[changed, list(pair.alt_ids)].double().sum()
            - unmasked[changed, list(pair.ref_ids)].double().sum()
        )
    likelihood = [
        outputs[n][0][torch.arange(1, len(inputs[n])), torch.from_numpy(inputs[n][1:].astype(int))]
        for n in (ref, alt)
    ]
    scores["pll_delta"] = float(likelihood[1].double().sum() - likelihood[0].double().sum())
    for suffix, (r, a) in {
        "": (outputs[ref][1][1:].mean(0), outputs[alt][1][1:].mean(0)),
        "_token": (outputs[ref][1][changed].mean(0), outputs[alt][1][alt_changed].mean(0)),
    }.items():
        unit = r / r.norm() - a / a.norm()
        scores |= {
            f"cosine_distance{suffix}": float(unit.square().sum() / 2),
            f"l1{suffix}": float((r - a).abs().sum()),
            f"l2{suffix}": float((r - a).norm()),
            f"dot{suffix}": float(r @ a),
        }
    return scores


def prepared_pairs(
    alleles: pl.DataFrame, reference: Reference, model: Description, settings: Settings
) -> list[TokenPair]:
    """Tokens of every allele that can be scored."""
    prepare = preparer(reference, model, settings)
    outcomes = (prepare(*row) for row in alleles.select("chrom", "pos", "ref", "alt").iter_rows())
    prepared = (outcome for outcome in outcomes if isinstance(outcome, Prepared))
    return [pair for outcome in prepared for pair in outcome.pairs if pair is not None]


def seconds(work: Callable[[], object]) -> float:
    """Time of one run, until the device is done."""
    started = time.monotonic()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic() - started


def ranged(times: Sequence[Mapping[str, float]], above: str, below: str) -> str:
    """Median of a ratio over rounds, and its lowest and highest."""
    found = sorted(one[above] / one[below] for one in times)
    return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=checkpoints.SHAPES, default="6x512")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--vcf", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", type=int, default=8, help="of a list at 1,000 tokens")
    parser.add_argument("--without-a", action="store_true", help="leave (a) out")
    given = parser.parse_args()
    shape = checkpoints.SHAPES[given.shape]
    # cuBLAS reads its part of this before its first product.
    be_deterministic()
    torch.use_deterministic_algorithms(False)
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoints.make(Path(folder), shape)
        loaded = load_model(str(path), device=given.device, precision=given.precision)
        theirs = load_reference(path).to(given.device)
    assert isinstance(loaded.model, Engine)
    n = given.variants
    chr22 = open_reference(SLICE)
    sparse = snvs(chr22, range(FIRST - 80_000, FIRST + 80_000, 1000)).gather_every(3)
    lists = [
        ("one SNV per kb", sparse, chr22, ALL, 999, n),
        ("one SNV per kb", sparse, chr22, ALL, 199, 5 * n),
        (
            "every SNV of a region",
            snvs(chr22, range(FIRST, FIRST + 6 * n)),
            chr22,
            ("llr",),
            999,
            18 * n,
        ),
    ]
    if given.vcf:
        dense = clinvar(given.vcf)
        lists.append(("ClinVar", dense, open_reference(given.reference), ALL, 199, 5 * n))
    print(f"{given.shape} on {given.device}, {given.precision}, {torch.get_num_threads()} threads")
    heads = ("list", "scores", "tokens", "variants", "passes each", "ours, variants/s",
             "/ deterministic", "/ (b)", "/ (a)")  # fmt: skip
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name, alleles, reference, names, window, count in lists:
        settings = Settings(scores=names, window_bases=6 * window, views=1)
        setup = ScoringContext(reference, loaded.model, loaded.description, settings)
        table = alleles.head(count)
        found = score_alleles(table, setup)
        scored = found.scores.filter(pl.col("status") == Status.OK)
        run = _runs(table, setup, theirs, 1000)
        check = run["b"]()
        worst = max(
            abs(ours - other["llr"]) for ours, other in zip(scored["llr"], check, strict=True)
        )
        assert worst < (1e-3 if given.precision == "fp32" else 0.5), f"llr differs by {worst}"
        if given.without_a:
            del run["a"]
        times = [{way: seconds(work) for way, work in run.items()} for _ in range(given.rounds)]
        ratios = {way: ranged(times, way, "ours") for way in times[0]}
        speed = scored.height / statistics.median(one["ours"] for one in times)
        print(
            f"| {name} | {'llr' if names == ('llr',) else 'all'} | {window + 1} | {scored.height} "
            f"| {found.passes / scored.height:.3f} | {speed:.2f} | {ratios['deterministic']} "
            f"| {ratios['b']} | {ratios.get('a', '')} |",
            flush=True,
        )
        if given.device == "cuda":
            _on_cuda(shape, setup, table, found.passes, window + 1)


def _runs(
    table: pl.DataFrame, setup: ScoringContext, theirs: torch.nn.Module, longest: int
) -> dict[str, Callable[[], object]]:
    """Ours, the same with --deterministic, (b) and (a), each from alleles to scores."""
    fixed = replace(setup, model=replace(setup.model, deterministic=True))

    def deterministic() -> None:
        be_deterministic()
        try:
            score_alleles(table, fixed)
        finally:
            torch.use_deterministic_algorithms(False)

    def other(batch: int, length: int | None) -> list[dict[str, float]]:
        pairs = prepared_pairs(table, setup.reference, setup.description, setup.settings)
        return unshared(
            pairs, setup.settings.scores, theirs, setup.description.tokenizer, batch, length
        )

    return {
        "ours": lambda: score_alleles(table, setup),
        "deterministic": deterministic,
        "b": lambda: other(BATCH, None),
        "a": lambda: other(1, longest),
    }


def _on_cuda(
    shape: checkpoints.Shape, setup: ScoringContext, table: pl.DataFrame, passes: int, tokens: int
) -> None:
    """Print the share of the matmul peak that our run reaches, its idle share and its memory."""
    dtype = setup.model.encoder.blocks[0].qkv.weight.dtype
    square = torch.randn(8192, 8192, device="cuda", dtype=dtype)
    for _ in range(3):
        square @ square
    matmul = min(seconds(lambda: square @ square) for _ in range(10))
    peak = 2 * 8192**3 / matmul
    torch.cuda.reset_peak_memory_stats()
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        took = seconds(lambda: score_alleles(table, setup))
    busy = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
    print(
        f"  {passes * shape.flops(tokens) / took / peak:.2f} of the matmul peak "
        f"({peak / 1e12:.0f} TFLOP/s), idle {max(0.0, 1 - busy / took):.0%}, "
        f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
