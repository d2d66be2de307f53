"""How many forward passes an allele takes: exact counts, no model needed.

    python -m benchmarks.passes [--vcf clinvar.vcf.gz --reference GRCh38.fa]

Counted with a model that answers nothing, on the embedded slice of chr22: every SNV of 1,000 bases,
and one SNV in a thousand bases; with ``--vcf`` that list too. "Unshared" is what a careful program
without sharing runs: REF, ALT and the masked input of each variant in each view (for an indel, two
masked inputs).
"""

import argparse
from itertools import repeat
from pathlib import Path

import polars as pl

from benchmarks.null import DESCRIPTION, Null
from ntvep import dna
from ntvep.io import vcf
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.objectives import defined_scores
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.schema import ALLELES, Status
from ntvep.settings import Settings

SLICE = Path(__file__).parents[1] / "ntvep" / "demo" / "chr22_20012478_20215143.grch38.fa.gz"
FIRST = 20_100_000


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


if __name__ == "__main__":
    main()
