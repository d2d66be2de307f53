"""Measure a small GPN on sequence it has not seen: nats per base, beside simpler predictions.

    python recipes/measure_demo.py genome.fa.gz --train chr22 --leave-out chr22:20000001-20230000 \
        --held-out chr20 chr22:20154344-20174316 --state run.safetensors --model ntvep/demo/gpn

Every prediction is of a single base from all that its model may see of both sides. Stretches are
drawn at random from each held-out part; all models are asked for the same bases, on both strands.

- GPN: the base is masked in a window of 512 around it.
- ntvep-demo, a model of 6-mers: the 6-mer is masked in a window of 128 6-mers, in each of the six
  phases, mean of their losses. ``marginal``: the other five bases are hidden too, as they are when
  a 6-mer is masked. ``given the other five``: only the four 6-mers that differ in this base
  compete, as in an llr.
- Markov chain of order k: P(base | k before it), and the conditional that this chain implies of a
  base given both sides, from the k + 1 factors in which the base stands.
- frequencies with m bases on both sides.

Frequencies are counted on both strands of the training stretches. Each order is smoothed with the
order below: (count + a P_below) / (total + a); a is the value, of a grid, that does best on the
bases that are reported, which favours the frequencies.
"""

import argparse
import gzip
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from sklearn.metrics import roc_auc_score
from torch import Tensor
from train_demo import Stretch, read_fasta, reverse_complement, stretch, training_sequence

from ntvep import dna
from ntvep.models.checkpoint import Checkpoint, read_checkpoint

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "ntvep" / "demo" / "model"
WINDOW, SIX_MERS, K = 512, 128, 6
# Bases on each side that must be known: a window of the 6-mer model on either strand.
REACH = SIX_MERS * K
SIZE = 60
ORDERS = (5, 10)
GRID = (1.0, 8.0, 64.0, 512.0, 4096.0)


def draw(sequence: np.ndarray, part: Stretch, count: int, seed: int) -> np.ndarray:
    """Starts of ``count`` stretches of SIZE bases with REACH known bases on both sides."""
    stop = len(sequence) if part.stop is None else part.stop
    unknown = np.concatenate(([0], np.cumsum(sequence > 3)))
    starts = np.arange(max(part.start, REACH), min(stop, len(sequence) - REACH) - SIZE)
    clear = unknown[starts + SIZE + REACH] == unknown[starts - REACH]
    # Stretches do not overlap: they lie on a grid.
    candidates = starts[clear & (starts % SIZE == 0)]
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(candidates, min(count, len(candidates)), replace=False))


def both_strands(
    sequence: np.ndarray, starts: np.ndarray, loss: Callable[[np.ndarray, int], np.ndarray]
) -> np.ndarray:
    """Losses [stretch, strand, base] of what ``loss(bases, first)`` says of a stretch in context.

    Context is REACH bases on both sides; ``first`` is where the stretch begins in it.
    """
    found = []
    for start in starts:
        bases = sequence[start - REACH : start + SIZE + REACH]
        found.append([loss(bases, REACH), loss(reverse_complement(bases), REACH)[::-1]])
    return np.array(found)


# --- models --------------------------------------------------------------------------------------


def logits_at(checkpoint: Checkpoint, ids: np.ndarray, at: int, batch: int = 30) -> Tensor:
    """Logits [pass, vocab] of token ``at`` of each pass, in float64."""
    found = []
    with torch.inference_mode():
        for part in torch.split(torch.from_numpy(ids.astype(np.int64)), batch):
            last = checkpoint.encoder.hidden(part)[1][:, at]
            found.append(checkpoint.encoder.logits(last).double())
    return torch.cat(found)


def gpn_log_probabilities(
    checkpoint: Checkpoint, bases: np.ndarray, places: Sequence[int]
) -> Tensor:
    """Log-probabilities [place, ACGT] of bases masked one in a pass, softmax over all tokens."""
    tokenizer = checkpoint.description.tokenizer
    assert tokenizer.nucleotides is not None
    half = WINDOW // 2
    ids = np.stack([tokenizer.encode(bases[p - half : p + half]).ids for p in places])
    ids[:, half] = tokenizer.mask
    return logits_at(checkpoint, ids, half).log_softmax(1)[:, list(tokenizer.nucleotides)]


def gpn_losses(checkpoint: Checkpoint, bases: np.ndarray, first: int) -> np.ndarray:
    """Loss of each base of a stretch."""
    log_p = gpn_log_probabilities(checkpoint, bases, range(first, first + SIZE))
    losses: np.ndarray = -log_p.numpy()[np.arange(SIZE), bases[first : first + SIZE]]
    return losses


def six_mer_losses(checkpoint: Checkpoint, bases: np.ndarray, first: int) -> np.ndarray:
    """Losses [phase, kind, base] of a model of 6-mers: marginal, and given the other five."""
    tokenizer, half = checkpoint.description.tokenizer, SIX_MERS // 2 * K
    six_mers = tokenizer.members
    assert six_mers is not None
    losses = np.zeros((K, 2, SIZE))
    front = len(tokenizer.front)
    for phase in range(K):
        starts = range(first - phase, first + SIZE, K)
        ids = np.stack([tokenizer.encode(bases[s - half : s + half]).ids for s in starts])
        masked = ids.copy()
        masked[:, front + SIX_MERS // 2] = tokenizer.mask
        logits = logits_at(checkpoint, masked, front + SIX_MERS // 2)
        for number, start in enumerate(starts):
            for offset in range(K):
                place = start + offset - first
                if not 0 <= place < SIZE:
                    continue
                base = int(bases[first + place])
                of_base = [logits[number, list(six_mers[offset, b])] for b in range(4)]
                marginal = torch.stack([one.logsumexp(0) for one in of_base])
                others = np.tile(bases[start : start + K], (4, 1))
                others[:, offset] = range(4)
                four = tokenizer.encode(others.ravel()).ids[front:]
                rest = logits[number, torch.from_numpy(four.astype(np.int64))]
                losses[phase, :, place] = [
                    -float(scores.log_softmax(0)[base]) for scores in (marginal, rest)
                ]
    return losses


# --- frequencies ---------------------------------------------------------------------------------


def codes(bases: np.ndarray, size: int) -> np.ndarray:
    """Base-4 code of the word of ``size`` bases that begins at each place."""
    windows = np.zeros(len(bases) - size + 1, np.int64)
    for offset in range(size):
        windows *= 4
        windows += bases[offset : len(bases) - size + 1 + offset]
    return windows


def counts(sequence: np.ndarray, size: int) -> np.ndarray:
    """How often each word stands in the sequence, on both strands."""
    known = np.concatenate(([0], np.cumsum(sequence > 3)))
    whole = known[size:] == known[:-size]
    words = codes(np.minimum(sequence, 3), size)[whole]
    found = np.bincount(words, minlength=4**size).astype(np.float32)
    # The other strand: digits reversed and complemented.
    axes = found.reshape([4] * size)
    turned: np.ndarray = axes[(slice(None, None, -1),) * size].transpose().ravel() + found
    return turned


def smoothed(words: Sequence[np.ndarray], a: float) -> np.ndarray:
    """P(last base | those before it), [context, base], from counts of words of growing size."""
    below = words[0] / words[0].sum()
    for found in words[1:]:
        table = found.reshape(-1, 4)
        tiled = np.tile(below.reshape(-1, 4), (len(table) * 4 // below.size, 1))
        below = ((table + a * tiled) / (table.sum(1, keepdims=True) + a)).ravel()
    probabilities: np.ndarray = np.log(below)
    return probabilities


def chain_losses(log_p: np.ndarray, order: int, bases: np.ndarray, first: int) -> np.ndarray:
    """Losses [kind, base] of a Markov chain: left to right, and of its conditional."""
    found = np.zeros((2, SIZE))
    for number in range(SIZE):
        place = first + number
        scores = np.zeros(4)
        for base in range(4):
            word = bases[place - order : place + order + 1].copy()
            word[order] = base
            factors = log_p[codes(word, order + 1)]
            scores[base] = factors.sum()
            if base == bases[place]:
                found[0, number] = -factors[0]
        found[1, number] = np.logaddexp.reduce(scores) - scores[bases[place]]
    return found


def two_sided(words: Sequence[np.ndarray], a: float, bases: np.ndarray, first: int) -> np.ndarray:
    """Losses [base] from counts of words of 1, 3, 5 ... bases around a base."""
    places = np.arange(first, first + SIZE)
    probability = np.tile(words[0] / words[0].sum(), (SIZE, 1))
    for m, found in enumerate(words[1:], start=1):
        table = np.empty((SIZE, 4))
        for base in range(4):
            around = bases[places[:, None] + np.arange(-m, m + 1)]
            around[:, m] = base
            table[:, base] = found[around.astype(np.int64) @ (4 ** np.arange(2 * m, -1, -1))]
        probability = (table + a * probability) / (table.sum(1, keepdims=True) + a)
    losses: np.ndarray = -np.log(probability[np.arange(SIZE), bases[places]])
    return losses


def frequency_losses(
    words: list[np.ndarray], sequence: np.ndarray, starts: np.ndarray
) -> dict[str, np.ndarray]:
    """Losses of every kind of frequency, each with its best smoothing."""
    tried: dict[str, list[np.ndarray]] = {}
    for a in GRID:
        for order in ORDERS:
            log_p = smoothed(words[: order + 1], a)

            def chain(bases: np.ndarray, first: int) -> np.ndarray:
                return chain_losses(log_p, order, bases, first).T  # noqa: B023

            found = both_strands(sequence, starts, chain)
            tried.setdefault(f"Markov chain of order {order}, left to right", []).append(
                found[..., 0]
            )
            tried.setdefault(f"Markov chain of order {order}, both sides", []).append(found[..., 1])
        for m in (order // 2 for order in ORDERS):
            around = words[: 2 * m + 1 : 2]

            def sides(bases: np.ndarray, first: int) -> np.ndarray:
                return two_sided(around, a, bases, first)  # noqa: B023

            found = both_strands(sequence, starts, sides)
            tried.setdefault(f"frequencies with {m} bases on both sides", []).append(found)
    return {name: min(losses, key=lambda one: float(one.mean())) for name, losses in tried.items()}


# --- the tables ----------------------------------------------------------------------------------


def losses_of_others(
    demo: Checkpoint, words: list[np.ndarray], sequence: np.ndarray, starts: np.ndarray
) -> dict[str, np.ndarray]:
    """Mean loss [stretch] of the models that this one is compared with, nats per base."""
    # [stretch, strand, base, phase, kind]: the reverse strand is turned base by base.
    of_demo = both_strands(
        sequence, starts, lambda b, f: six_mer_losses(demo, b, f).transpose(2, 0, 1)
    )
    losses = {
        "ntvep-demo (6-mers), marginal": of_demo[..., 0],
        "ntvep-demo (6-mers), given the other five": of_demo[..., 1],
    } | frequency_losses(words, sequence, starts)
    return {name: found.reshape(len(starts), -1).mean(1) for name, found in losses.items()}


def table(losses: dict[str, np.ndarray]) -> str:
    """Rows of the model card: mean and difference from this model, each with a standard error.

    Standard errors are over stretches: bases of one stretch are not independent.
    """
    rows = []
    for name, found in losses.items():
        beside = ""
        if name != "this model" and "this model" in losses:
            beside = with_error(found - losses["this model"], "+.4f")
        rows.append(f"| {name} | {with_error(found, '.4f')} | {beside} |")
    return "\n".join([*rows, f"| uniform | {math.log(4):.4f} | |"])


def with_error(values: np.ndarray, form: str) -> str:
    """Mean and standard error."""
    return f"{values.mean():{form}} ± {values.std(ddof=1) / math.sqrt(len(values)):.4f}"


def llrs(gpn: Checkpoint, bases: np.ndarray, snvs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Mean llr of both strands of SNVs (place, ALT); NaN where the window holds an N."""
    found = np.full(len(snvs), math.nan)
    for number, (place, alt) in enumerate(snvs):
        around = bases[place - WINDOW : place + WINDOW + 1]
        if place < WINDOW or len(around) < 2 * WINDOW + 1 or (around > 3).any():
            continue
        ref, scores = int(bases[place]), []
        turned = reverse_complement(around)
        for strand, of_ref, of_alt in ((around, ref, alt), (turned, 3 - ref, 3 - alt)):
            log_p = gpn_log_probabilities(gpn, strand, [WINDOW])[0]
            scores.append(float(log_p[of_alt] - log_p[of_ref]))
        found[number] = math.fsum(scores) / 2
    return found


def read_snvs(path: Path, contig: str, key: str) -> list[tuple[int, str, str, str, str]]:
    """(POS, REF, ALT, value of an INFO key, INFO) of the SNVs of a contig."""
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    found = []
    for line in text.decode().splitlines():
        fields = line.split("\t")
        if fields[0] != contig or {len(fields[3]), len(fields[4])} != {1}:
            continue
        info = dict(entry.partition("=")[::2] for entry in fields[7].split(";"))
        if fields[4] in "ACGT" and key in info:
            found.append((int(fields[1]), fields[3], fields[4], info[key], fields[7]))
    return found


def auroc(
    gpn: Checkpoint,
    bases: np.ndarray,
    offset: int,
    snvs: Sequence[tuple[int, str, str, str, str]],
    kinds: tuple[str, str],
) -> str:
    """How well -llr tells SNVs of the second kind from those of the first."""
    asked = [snv for snv in snvs if snv[3] in kinds]
    places = [(pos - 1 - offset, dna.codes(alt)[0]) for pos, _, alt, _, _ in asked]
    for (place, _), (pos, ref, *_) in zip(places, asked, strict=True):
        if dna.codes(ref)[0] != bases[place]:
            raise ValueError(f"REF of {pos} is {ref}, the sequence has another base")
    scores = llrs(gpn, bases, places)
    known = ~np.isnan(scores)
    second = np.array([snv[3] == kinds[1] for snv in asked])[known]
    area = roc_auc_score(second, -scores[known])
    # Hanley & McNeil, Radiology 143:29 (1982).
    q1, q2, n, m = area / (2 - area), 2 * area**2 / (1 + area), second.sum(), (~second).sum()
    spread = area * (1 - area) + (n - 1) * (q1 - area**2) + (m - 1) * (q2 - area**2)
    return f"{area:.3f} ± {math.sqrt(spread / (n * m)):.3f} ({m} {kinds[0]}, {n} {kinds[1]})"


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fasta", type=Path)
    parser.add_argument("--train", type=stretch, nargs="+", required=True, metavar="STRETCH")
    parser.add_argument("--leave-out", type=stretch, nargs="*", default=[], metavar="STRETCH")
    parser.add_argument("--held-out", type=stretch, nargs="*", default=[], metavar="STRETCH")
    parser.add_argument("--variants", action="store_true", help="AUROC on demo.vcf, and ClinVar")
    parser.add_argument("--model", type=Path, default=ROOT / "ntvep" / "demo" / "gpn")
    parser.add_argument("--state", type=Path, help="of the training: says how long it was")
    parser.add_argument("--others", type=Path, help="losses of the others are kept here (.npz)")
    parser.add_argument("--only-others", action="store_true", help="this model is not measured")
    parser.add_argument("--clinvar", type=Path, help="VCF with LABEL and MC in INFO")
    parser.add_argument("--clinvar-fasta", type=Path, help="one record, CONTIG:FIRST-LAST")
    parser.add_argument("--stretches", type=int, default=100, help="in each held-out part")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    contigs = read_fasta(options.fasta)
    training = training_sequence(contigs, options.train, options.leave_out)
    stored: dict[str, np.ndarray] = {}
    words: list[np.ndarray] = []
    if options.others and options.others.exists():
        with np.load(options.others) as arrays:
            stored = dict(arrays)
    gpn = None if options.only_others else read_checkpoint(options.model)
    if options.state:
        with safe_open(options.state, "pt") as handle:
            print(handle.metadata()["about"])
    for part in options.held_out:
        sequence = contigs[part.contig]
        starts = draw(sequence, part, options.stretches, seed=1)
        prefix = f"{part} {len(starts)} {int(starts.sum())} "
        if not any(key.startswith(prefix) for key in stored):
            words = words or [counts(training, size) for size in range(1, max(ORDERS) + 2)]
            others = losses_of_others(read_checkpoint(DEMO), words, sequence, starts)
            stored |= {prefix + name: losses for name, losses in others.items()}
            if options.others:
                np.savez(options.others, **stored)  # type: ignore[arg-type]
        print(f"\n{part}: {len(starts)} stretches, {len(starts) * SIZE:,} bases, both strands")
        losses = {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}
        if gpn is not None:
            mine = both_strands(sequence, starts, lambda b, f: gpn_losses(gpn, b, f))
            losses = {"this model": mine.reshape(len(starts), -1).mean(1)} | losses
        print(table(losses), flush=True)
    if gpn is not None and options.variants:
        snvs = read_snvs(ROOT / "ntvep" / "demo" / "demo.vcf", "chr22", "SOURCE")
        found = auroc(gpn, contigs["chr22"], 0, snvs, ("observed", "simulated"))
        print(f"\ndemo.vcf, AUROC of -llr: {found}", flush=True)
    if gpn is not None and options.variants and options.clinvar:
        ((name, bases),) = read_fasta(options.clinvar_fasta).items()
        place = stretch(name)
        snvs = read_snvs(options.clinvar, place.contig, "LABEL")
        for kind in ("missense_variant", "synonymous_variant|intron_variant"):
            of_kind = [s for s in snvs if s[3] == "P" or re.search(rf"MC=({kind})", s[4])]
            of_kind = [s for s in of_kind if s[3] == "B" or "MC=missense_variant" in s[4]]
            found = auroc(gpn, bases, place.start, of_kind, ("B", "P"))
            print(f"ClinVar {place}, missense P against B {kind}, AUROC of -llr: {found}")


if __name__ == "__main__":
    main()
