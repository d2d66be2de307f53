"""a card -> passes a second from VCF to VCF, beside what users do today; random weights."""

import copy
import importlib.metadata
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from benchmarks import checkpoints
from benchmarks.checkpoints import PUBLISHED, drawn, small
from benchmarks.gpu_ceilings import ceiling, seconds, wait
from benchmarks.passes import SLICE
from benchmarks.throughput import prepared_pairs, unshared
from ntvep import dna
from ntvep.commands import score as command
from ntvep.commands.options import Options
from ntvep.commands.ready import ready_with
from ntvep.commands.summary import Summary
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.engine import Engine
from ntvep.models.folder import read_config
from ntvep.models.hub import locate
from ntvep.models.loaded import LoadedModel, engine_of
from ntvep.models.nt import NucleotideTransformer, published_keys
from ntvep.objectives import defined_scores
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.schema import ALLELES, Status
from ntvep.settings import Settings

Row = Sequence[object]
ALL = "all scores"
_FIRST, _LAST = 20_022_000, 20_205_000
# Seconds that a list should take on the card; those of its profile.
_LONG, _SHORT = 40.0, 5.0
# Inputs of a batch of transformers; alleles whose outputs are on the card at once.
_THEIR_BATCH, _AT_ONCE = 64, 20
_CARD_LOOP, _BATCH_LOOP = 12, 120
_HEADS = (
    "list", "scores", "alleles", "passes", "seconds", "alleles/s", "passes/s", "of the ceiling",
    "idle", "GiB", "batched transformers / ours", "model card's loop / ours",
    "llr: largest difference, Spearman",
)  # fmt: skip


def tables(part: str, device: str) -> list[tuple[Row, list[Row]]]:
    """Heads and rows of a part."""
    _say_the_version()
    with tempfile.TemporaryDirectory() as folder:
        if part == "precision":
            return _precision(Path(folder), device)
        if part == "families":
            return _families(Path(folder), device)
        return _nucleotide_transformer(part, Path(folder), device)


def _say_the_version() -> None:
    """A checkout that nobody has installed has no version for the provenance: say one."""
    try:
        importlib.metadata.version("ntvep")
    except importlib.metadata.PackageNotFoundError:
        folder = Path(tempfile.mkdtemp())
        (folder / "ntvep-0.dist-info").mkdir()
        (folder / "ntvep-0.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: ntvep\nVersion: 0\n"
        )
        sys.path.append(str(folder))


# Lists of variants.


def saturation(chr22: FastaReference, count: int) -> pl.DataFrame:
    """Every SNV of neighbouring bases."""
    bases = _bases(chr22, _FIRST, _FIRST + -(-count // 3))
    rows = ((_FIRST + i, ref, alt) for i, ref in enumerate(bases) for alt in "ACGT" if alt != ref)
    return _alleles(list(rows)[:count])


def dense(chr22: FastaReference, count: int) -> pl.DataFrame:
    """A variant in ten bases, a tenth of them indels: how ClinVar lies in the genes it knows."""
    rng = np.random.default_rng(7)
    places = _FIRST + np.sort(rng.choice(10 * count, count, replace=False))
    bases = _bases(chr22, _FIRST, _FIRST + 10 * count + 10)
    rows = []
    for place in places.tolist():
        at, kind, size = place - _FIRST, rng.random(), int(rng.integers(1, 7))
        ref = bases[at]
        if kind < 0.05:
            rows.append((place, bases[at : at + 1 + size], ref))
        elif kind < 0.1:
            rows.append((place, ref, ref + "".join(rng.choice(list("ACGT"), size))))
        else:
            rows.append((place, ref, str(rng.choice([b for b in "ACGT" if b != ref]))))
    return _alleles(rows)


def sparse(chr22: FastaReference, count: int) -> pl.DataFrame:
    """SNVs of which no two share a window's start."""
    places = np.linspace(_FIRST, _LAST - 1, count).astype(int).tolist()
    refs = [_bases(chr22, place, place + 1) for place in places]
    return _alleles(
        [(p, ref, "ACGT"["ACGT".index(ref) - 1]) for p, ref in zip(places, refs, strict=True)]
    )


def _bases(chr22: FastaReference, start: int, stop: int) -> str:
    return dna.decode(chr22.fetch("chr22", start, stop))


def _alleles(rows: Sequence[tuple[int, str, str]]) -> pl.DataFrame:
    """ALLELES of 0-based places."""
    full = [(i, 1, "chr22", p + 1, ref, alt, Status.OK) for i, (p, ref, alt) in enumerate(rows)]
    return pl.DataFrame(full, {c.name: c.dtype for c in ALLELES}, orient="row")


def write_vcf(alleles: pl.DataFrame, path: Path) -> None:
    """A record for each allele."""
    with path.open("w") as vcf:
        vcf.write("##fileformat=VCFv4.2\n##contig=<ID=chr22>\n")
        vcf.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for pos, ref, alt in alleles.select("pos", "ref", "alt").iter_rows():
            vcf.write(f"chr22\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")


# From VCF to VCF.


@dataclass(frozen=True)
class Measured:
    """A run from VCF to VCF.

    Attributes:
        seconds: of the whole command, the model's loading left out.
        summary: what it counted.
        idle: share of the time between the first and the last thing that the device did in which it
            did nothing; None without a card.
        memory: GiB at most; None without a card.
    """

    seconds: float
    summary: Summary
    idle: float | None
    memory: float | None


def vcf_to_vcf(loaded: LoadedModel, vcf: Path, scores: str) -> tuple[float, Summary]:
    """Seconds and counts of ``ntvep score`` with a model that is loaded."""
    options = Options(scores="all" if scores == ALL else scores, views=1)
    command.ready = lambda genome, _, options: ready_with(loaded, genome, options)
    started = time.perf_counter()
    summary = command.score_file(
        vcf,
        SLICE,
        "drawn",
        vcf.with_suffix(".scored.vcf"),
        options=options,
        command="benchmarks.gpu",
        force=True,
        quiet=True,
    )
    return time.perf_counter() - started, summary


def measured(loaded: LoadedModel, alleles: pl.DataFrame, scores: str, folder: Path) -> Measured:
    """A run, and a shorter one under torch's profiler."""
    vcf, part = folder / "in.vcf", folder / "part.vcf"
    device = _device_of(loaded)
    write_vcf(alleles, vcf)
    if device != "cuda":
        return Measured(*vcf_to_vcf(loaded, vcf, scores), None, None)
    # The first run waits for kernels to be chosen and memory to be had.
    write_vcf(alleles.head(max(1, alleles.height // 20)), part)
    vcf_to_vcf(loaded, part, scores)
    torch.cuda.reset_peak_memory_stats()
    took, summary = vcf_to_vcf(loaded, vcf, scores)
    memory = torch.cuda.max_memory_allocated() / 2**30
    write_vcf(alleles.head(max(1, round(alleles.height * min(1.0, _SHORT / took)))), part)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        vcf_to_vcf(loaded, part, scores)
        torch.cuda.synchronize()
    return Measured(took, summary, idle_share(profile), memory)


def idle_share(profile: Any) -> float:
    """Share of the time from the first to the last kernel or copy in which there was none."""
    cuda = torch.autograd.DeviceType.CUDA
    events = [e.time_range for e in profile.events() if e.device_type == cuda]
    return idle(np.array([(e.start, e.end) for e in events], np.float64))


def idle(spans: np.ndarray) -> float:
    """Share of the time from the first begin to the last end that no span covers."""
    spans = spans[np.argsort(spans[:, 0])]
    reached = np.maximum.accumulate(spans[:, 1])
    gaps = np.maximum(0.0, spans[1:, 0] - reached[:-1]).sum()
    return float(gaps / (reached[-1] - spans[0, 0]))


def _device_of(loaded: LoadedModel) -> str:
    assert isinstance(loaded.model, Engine)
    return loaded.model.device.type


def rate(loaded: LoadedModel) -> float:
    """Passes a second of the encoder alone, in its own batches, of default windows."""
    engine, model = loaded.model, loaded.description
    assert isinstance(engine, Engine)
    window = np.random.default_rng(1).integers(0, 4, model.field or model.default_bases)
    ids = torch.from_numpy(model.tokenizer.encode(window.astype(np.uint8)).ids.astype(np.int64))
    passes = engine.batch_size or engine.auto_size(len(ids))
    batch = ids.repeat(passes, 1).to(engine.device)

    @torch.inference_mode()
    def run() -> None:
        engine.encoder.hidden(batch)

    return passes / seconds(run, engine.device.type, rounds=3, warm=1)


# The Nucleotide Transformer, beside transformers.


def _nucleotide_transformer(part: str, folder: Path, device: str) -> list[tuple[Row, list[Row]]]:
    shape = PUBLISHED["nt-500m"] if device == "cuda" else small(PUBLISHED["nt-500m"])
    precision = "fp16" if device == "cuda" else "fp32"
    loaded = drawn(folder / "nt", shape, device, precision)
    theirs = transformers_model(folder / "nt", loaded)
    chr22 = open_reference(SLICE)
    per_second = rate(loaded)
    top = ceiling(torch.float16, device) if device == "cuda" else None
    rows: list[Row] = []
    for name, make, scores, passes_each, most in _LISTS[part]:
        count = min(most, int(_LONG * per_second / passes_each)) if device == "cuda" else 24
        alleles = make(chr22, count)
        ours = measured(loaded, alleles, scores, folder)
        other = compared(loaded, theirs, chr22, alleles, scores)
        each = ours.seconds / ours.summary.ok
        rows.append((
            name, scores, f"{ours.summary.ok:,}", f"{ours.summary.passes:,}",
            f"{ours.seconds:.1f}", f"{ours.summary.ok / ours.seconds:,.1f}",
            f"{ours.summary.passes / ours.seconds:,.1f}",
            _share(loaded, ours, top), *_shown(ours),
            f"{other.batched / each:.1f}", f"{other.loop / each:.1f}",
            f"{other.worst:.0e}, {other.spearman:.5f}",
        ))  # fmt: skip
    alone: Row = ("encoder alone, passes/s", "the ceiling, TFLOP/s")
    return [
        (_HEADS, rows),
        (alone, [(f"{per_second:,.1f}", "" if top is None else f"{top / 1e12:.0f}")]),
    ]


_LISTS: dict[str, list[tuple[str, Callable[[FastaReference, int], pl.DataFrame], str, float, int]]]
_LISTS = {
    "saturation": [("every SNV of a region", saturation, "llr", 1 / 18, 360_000)],
    "dense": [
        ("a variant in ten bases", dense, "llr", 1.1, 18_000),
        ("a variant in ten bases", dense, ALL, 3.0, 18_000),
    ],
    "sparse": [
        ("one SNV in a hundred bases or more", sparse, "llr", 1.0, 1_830),
        ("one SNV in a hundred bases or more", sparse, ALL, 3.0, 1_830),
    ],
}


def _share(loaded: LoadedModel, ours: Measured, top: float | None) -> str:
    """The encoder's operations a second, of the fastest product's; the head's do not count."""
    if top is None:
        return ""
    arch = loaded.model.encoder.arch
    shape = checkpoints.Shape(arch.layers, arch.dim, arch.ffn_dim, arch.heads)
    operations = ours.summary.passes * shape.flops(arch.max_tokens)
    return f"{operations / ours.seconds / top:.2f}"


def _shown(ours: Measured) -> tuple[str, str]:
    if ours.idle is None or ours.memory is None:
        return "", ""
    return f"{ours.idle:.1%}", f"{ours.memory:.1f}"


def transformers_model(folder: Path, loaded: LoadedModel) -> torch.nn.Module:
    """Transformers' own class with the weights of ours, float32, where ours lies."""
    from transformers import EsmConfig, EsmForMaskedLM

    encoder = loaded.model.encoder
    assert isinstance(encoder, NucleotideTransformer)
    config = EsmConfig(**read_config(folder), attn_implementation="sdpa")
    with torch.device(loaded.model.device):
        model = EsmForMaskedLM(config)
    state = {}
    for name, value in encoder.state_dict().items():
        keys = published_keys(name)
        state |= dict(zip(keys, value.float().chunk(len(keys)), strict=True))
    missing = model.load_state_dict(state, strict=False).missing_keys
    random = [n for n in missing if "contact_head" not in n and not n.endswith("position_ids")]
    if random:
        raise RuntimeError(f"transformers' model has random {random[:3]}")
    return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Compared:
    """Seconds of an allele by the other ways, and how far their ``llr`` is from ours."""

    batched: float
    loop: float
    worst: float
    spearman: float


def compared(
    loaded: LoadedModel,
    theirs: torch.nn.Module,
    chr22: FastaReference,
    alleles: pl.DataFrame,
    scores: str,
) -> Compared:
    """The model card's loop (float32, padded, one at a time), and batches (half, SDPA).

    Raises:
        RuntimeError: their ``llr`` are other numbers than ours.
    """
    device, model = _device_of(loaded), loaded.description
    cuda = device == "cuda"
    names = ("llr",) if scores == "llr" else defined_scores(model.objective, model.tokenizer.kind)
    settings = Settings(scores=names, window_bases=model.default_bases, views=1)

    def by(network: torch.nn.Module, table: pl.DataFrame, batch: int) -> list[float]:
        pairs = prepared_pairs(table, chr22, model, settings)
        found = []
        for first in range(0, len(pairs), _AT_ONCE):
            found += unshared(
                pairs[first : first + _AT_ONCE],
                names,
                network,
                model.tokenizer,
                batch,
                model.max_tokens if batch == 1 else None,
                on_device=batch > 1,
            )
        return [one["llr"] for one in found]

    few, more = alleles.head(_CARD_LOOP if cuda else 2), alleles.head(_BATCH_LOOP if cuda else 8)
    half = copy.deepcopy(theirs).half() if cuda else theirs
    # The first calls wait for kernels to be chosen and memory to be had.
    by(theirs, few.head(1), 1)
    llr = np.array(by(half, more, _THEIR_BATCH))
    loop = timed(lambda: by(theirs, few, 1), device) / few.height
    batched = timed(lambda: by(half, more, _THEIR_BATCH), device) / more.height
    found = score_alleles(more, ScoringContext(chr22, loaded.model, model, settings)).scores
    mine = found["llr"].to_numpy()
    worst = float(np.abs(llr - mine).max())
    if not worst < (0.5 if cuda else 1e-3):
        raise RuntimeError(f"llr differs by {worst}: not the same numbers")
    return Compared(batched, loop, worst, spearman(llr, mine))


def timed(work: Callable[[], object], device: str, rounds: int = 3) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation; there are no ties."""
    first, second = (np.argsort(np.argsort(x)) for x in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


# Precision, and other families.


def _precision(folder: Path, device: str) -> list[tuple[Row, list[Row]]]:
    """Every score in each precision against float64: of random weights, and of the demo model."""
    shape = PUBLISHED["nt-500m"] if device == "cuda" else small(PUBLISHED["nt-500m"])
    made = drawn(folder / "nt", shape, device)
    demo = read_checkpoint(locate("demo-6mer").folder)
    found = []
    for name, encoder, description, count in (
        ("NT-500m, random weights", made.model.encoder, made.description, 60),
        ("demo model", demo.encoder, demo.description, 200),
    ):
        assert isinstance(encoder, NucleotideTransformer)
        names = defined_scores(description.objective, description.tokenizer.kind)
        bases = min(description.default_bases, 6 * 999)
        settings = Settings(names, window_bases=bases, views=1)
        chr22 = open_reference(SLICE)
        alleles = sparse(chr22, count if device == "cuda" else 12)

        made_of = partial(ScoringContext, chr22, description=description, settings=settings)
        where = torch.device(device)
        exact = copy.deepcopy(encoder).to(where).double()
        narrow = Engine(exact, description.tokenizer, batch_size=4)
        truth = score_alleles(alleles, made_of(model=narrow)).scores
        del exact, narrow
        ways = ("fp32", "tf32", "fp16", "bf16") if device == "cuda" else ("fp32", "bf16")
        tables_of = {}
        for way in ways:
            engine = engine_of(copy.deepcopy(encoder), description, where, way)
            tables_of[way] = score_alleles(alleles, made_of(model=engine)).scores
        rows: list[Row] = []
        for score in names:
            right = truth[score].to_numpy()
            cells = []
            for table in tables_of.values():
                error = np.abs(table[score].to_numpy() - right)
                rank = spearman(table[score].to_numpy(), right)
                cells.append(f"{error.max():.0e}, {np.median(error):.0e}, {rank:.5f}")
            rows.append((score, f"{right.std():.1e}", *cells))
        found.append(((f"{name}, {alleles.height} SNVs", "spread", *ways), rows))
    return found


def _families(folder: Path, device: str) -> list[tuple[Row, list[Row]]]:
    """Passes a second of each family from VCF to VCF; two strands where it reads two."""
    chr22 = open_reference(SLICE)
    rows: list[Row] = []
    for name, shape in PUBLISHED.items():
        if name == "nt-500m":
            continue
        model = read_config(checkpoints.GOLDEN / shape.golden).get("model_type", "")
        half = "bf16" if model in ("qwen3", "llama") else "fp16"
        loaded = drawn(
            folder / name,
            shape if device == "cuda" else small(shape),
            device,
            half if device == "cuda" else "fp32",
        )
        per_second = rate(loaded)
        count = min(1_800, max(24, int(8 * per_second / 3))) if device == "cuda" else 3
        for kind, alleles in (
            ("every SNV of a region", saturation(chr22, 4 * count)),
            ("one SNV in a hundred bases or more", sparse(chr22, count)),
        ):
            ours = measured(loaded, alleles, "llr", folder)
            bases = loaded.description.field or loaded.description.default_bases
            rows.append((
                name, half if device == "cuda" else "fp32", bases, kind, f"{ours.summary.ok:,}",
                f"{ours.summary.passes:,}", f"{ours.summary.ok / ours.seconds:,.1f}",
                f"{ours.summary.passes / ours.seconds:,.1f}", f"{per_second:,.1f}", *_shown(ours),
            ))  # fmt: skip
        del loaded
        if device == "cuda":
            torch.cuda.empty_cache()
    heads = (
        "model", "products", "window, bases", "list, llr", "alleles", "passes", "alleles/s",
        "passes/s", "encoder alone, passes/s", "idle", "GiB",
    )  # fmt: skip
    return [(heads, rows)]
