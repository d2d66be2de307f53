"""How many forward passes an allele takes: exact counts.

    python -m benchmarks.passes [--vcf clinvar.vcf.gz --reference GRCh38.fa]

Counted with a model that answers nothing, on the embedded slice of chr22: every SNV of 1,000 bases,
and one SNV in a thousand bases; with ``--vcf`` that list too. "Unshared" is what a careful program
without sharing runs: REF, ALT and the masked input of each variant in each view (for an indel, two
masked inputs).

A second table counts what an engine computes for ``llr`` of every SNV of these 1,000 bases, with
small networks of the published depth or window: GPN (a base's three SNVs are one masked pass),
PhyloGPN (512 outputs a pass) and MarinDNA (ALT goes on from the states of REF), and by how much a
score moves if no pass goes on from another.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import polars as pl
import torch
from safetensors.torch import save_file

from benchmarks.null import DESCRIPTION, Null
from ntvep import dna
from ntvep.io import vcf
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.engine import Engine
from ntvep.models.native import Native
from ntvep.models.phylogpn import PHYLOGPN
from ntvep.objectives import defined_scores
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.schema import ALLELES, Status
from ntvep.settings import Settings

SLICE = Path(__file__).parents[1] / "ntvep" / "demo" / "chr22_20012478_20215143.grch38.fa.gz"
FIRST = 20_100_000
GOLDEN = Path(__file__).parents[1] / "tests" / "golden"


def snvs(reference: FastaReference, places: range) -> pl.DataFrame:
    """Every SNV at these places (0-based) of chr22."""
    rows = []
    for place in places:
        ref = dna.decode(reference.fetch("chr22", place, place + 1))
        for alt in "ACGT":
            if alt != ref:
                rows.append((len(rows), 1, "chr22", place + 1, ref, alt, Status.OK))
    return pl.DataFrame(rows, {c.name: c.dtype for c in ALLELES}, orient="row")


def clinvar(path: Path) -> pl.DataFrame:
    """Every allele of a VCF."""
    chunks = vcf.read_chunks(vcf.inspect(path, path.name, "fail"), repeat(10_000))
    return pl.concat(chunk.alleles for chunk in chunks)


def count(
    alleles: pl.DataFrame, reference: FastaReference, names: tuple[str, ...], views: int
) -> tuple[float, float]:
    """Passes per scored allele, and how many the same would take unshared."""
    settings = Settings(scores=names, views=views)
    scored = score_alleles(alleles, ScoringContext(reference, Null(), DESCRIPTION, settings))
    ok = scored.scores.filter(pl.col("status") == Status.OK)
    substitutions = (ok["ref"].str.len_bytes() == ok["alt"].str.len_bytes()).sum()
    masked = substitutions + 2 * (ok.height - substitutions)
    unshared = views * (masked + (2 * ok.height if names != ("llr",) else 0))
    return scored.passes / ok.height, unshared / ok.height


@dataclass(frozen=True)
class Computed:
    """What an engine computed for a list of alleles.

    Attributes:
        passes: forward passes.
        tokens: tokens of them.
        window: tokens of one window.
        scores: SCORES of the list.
    """

    passes: int
    tokens: int
    window: int
    scores: pl.DataFrame


def computed(
    folder: Path, alleles: pl.DataFrame, reference: FastaReference, *, goes_on: bool, **options: int
) -> Computed:
    """``llr`` of alleles by a checkpoint on a CPU, in its default window."""
    checkpoint = read_checkpoint(folder)
    description, encoder = checkpoint.description, checkpoint.encoder
    if isinstance(encoder, Native):
        encoder.probe()
    settings = Settings(scores=("llr",), window_bases=description.default_bases, **options)
    engine = Engine(encoder, description.tokenizer, goes_on=goes_on)
    context = ScoringContext(reference, engine, description, settings)
    scored = score_alleles(alleles, context).scores
    special = len(description.tokenizer.front) + len(description.tokenizer.back)
    return Computed(
        engine.passes_run, engine.tokens_run, description.default_bases + special, scored
    )


def narrow_phylogpn(folder: Path, outer: int = 48, inner: int = 32) -> Path:
    """A PhyloGPN of the published depth, and so of its field of 481 bases, with few channels."""
    config = json.loads((GOLDEN / "phylogpn" / "config.json").read_text())
    config |= {"num_stacks": 20, "stack_size": 2, "kernel_size": 5}
    config |= {"outer_dim": outer, "inner_dim": inner}
    torch.manual_seed(5)
    network = PHYLOGPN.build(config, {})
    published = PHYLOGPN.tensors(config, {}).published
    state = {published(name)[0]: value for name, value in network.state_dict().items()}
    for value in state.values():
        torch.nn.init.normal_(value, std=0.2)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def largest_move(a: pl.DataFrame, b: pl.DataFrame) -> float:
    """Largest difference of ``llr``."""
    found = (a["llr"] - b["llr"]).abs().max()
    assert isinstance(found, float)
    return found


def print_sharing(reference: FastaReference, bases: int = 1_000) -> None:
    """The table of what engines compute."""
    table = snvs(reference, range(FIRST, FIRST + bases))
    heads = (
        "model", "objective", "views", "passes", "tokens per allele and strand, of a window",
        "without going on", "largest move of a score",
    )  # fmt: skip
    print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    with tempfile.TemporaryDirectory() as folder:
        runs = (
            ("GPN", "masked", GOLDEN / "gpn_convnet", {"views": 1}),
            ("GPN", "masked", GOLDEN / "gpn_convnet", {"views": 2}),
            ("PhyloGPN", "rates", narrow_phylogpn(Path(folder)), {"views": 2}),
            ("MarinDNA", "causal", GOLDEN / "marin-dna", {"views": 2}),
            ("MarinDNA, --anchor 63", "causal", GOLDEN / "marin-dna", {"views": 2, "anchor": 63}),
        )
        for name, objective, model, options in runs:
            found = computed(model, table, reference, goes_on=True, **options)
            share = found.tokens / table.height / options["views"] / found.window
            line = f"| {name} | {objective} | {options['views']} | {found.passes} | {share:.4f} | "
            if objective == "causal":
                whole = computed(model, table, reference, goes_on=False, **options)
                moved = largest_move(found.scores, whole.scores)
                line += f"{share * whole.tokens / found.tokens:.4f} | {moved:.1e} |"
            else:
                line += "| |"
            print(line, flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vcf", type=Path)
    parser.add_argument("--reference", type=Path)
    options = parser.parse_args()
    chr22 = open_reference(SLICE)
    lists = [
        ("every SNV of 1,000 bp", snvs(chr22, range(FIRST, FIRST + 1000)), chr22),
        (
            "one SNV per 1,000 bp",
            snvs(chr22, range(FIRST - 80_000, FIRST + 80_000, 1000)).gather_every(3),
            chr22,
        ),
    ]
    if options.vcf:
        lists.append((options.vcf.name, clinvar(options.vcf), open_reference(options.reference)))
    print("| list | alleles | scores | views | passes per allele | unshared | ratio |")
    print("|---|---|---|---|---|---|---|")
    for name, alleles, reference in lists:
        for scores, label in ((("llr",), "llr"), (defined_scores("masked", "kmer"), "all")):
            for views in (1, 2):
                ours, unshared = count(alleles, reference, scores, views)
                print(
                    f"| {name} | {alleles.height:,} | {label} | {views} | {ours:.4f} | "
                    f"{unshared:.2f} | {unshared / ours:.2f} |"
                )
    print_sharing(chr22)


if __name__ == "__main__":
    main()
