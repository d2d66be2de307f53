"""What a background makes of ``llr``, judged on labels: percentile, PHRED-like rank, calibrated.

    python -m benchmarks.percentiles FOLDER -r GRCh38.fa --region chr20 --labels clinvar.parquet

Labels are those given, and two sets made here: common SNVs of dbSNP in the demo's slice of chr22
against SNVs at random places of it, and against SNVs of the same trinucleotide and change.

Draws a background for each embedded model, scores the labelled alleles with it, and prints AUROC
with its interval, and what ``llr`` has more on the same variants, with the interval of the paired
difference; all by the code of ``ntvep evaluate``. FOLDER keeps backgrounds and scores for another
run.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from ntvep import dna
from ntvep.commands.background import draw_background
from ntvep.commands.evaluate import Choices, judge
from ntvep.commands.labels import TableColumns, label_table
from ntvep.commands.options import Options
from ntvep.commands.score import score_file
from ntvep.io.fasta import open_reference
from ntvep.io.tables import read_labels
from ntvep.schema import COMPARED

ROOT = Path(__file__).parents[1]
_SLICE = ROOT / "ntvep" / "demo" / "chr22_20012478_20215143.grch38.fa.gz"
_COMMON = ROOT / "recipes" / "dbsnp_common.grch38.vcf"
_MATCHED = ROOT / ".test" / "labels.tsv"
_KEY = ["chrom", "pos", "ref", "alt"]
# Windows of about one length: what is compared is not the models.
_MODELS = {"demo": 128, "demo-6mer": 126}


def snvs_of(labels: Sequence[Path], reference: Path, path: Path) -> None:
    """Labelled SNVs as a VCF, in the order of the reference."""
    both = pl.concat(
        [read_labels(one).filter(pl.col("label").is_not_null()).select(_KEY) for one in labels]
    )
    is_snv = pl.all_horizontal(pl.col("ref", "alt").str.len_bytes() == 1)
    snvs = both.filter(is_snv).unique().sort("chrom", "pos", "alt")
    genome = open_reference(reference)
    with path.open("w") as file:
        file.write("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for chrom, pos, ref, alt in snvs.iter_rows():
            if genome.spans(chrom):
                file.write(f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")


def common(folder: Path) -> list[Path]:
    """Labels of dbSNP's common SNVs against random ones, and against matched ones."""
    genome, rng = open_reference(_SLICE), np.random.default_rng(0)
    span = genome.spans("chr22")[0]
    bases = dna.decode(genome.fetch("chr22", *span))
    lines = [line.split("\t")[:5] for line in _COMMON.read_text().splitlines() if line[0] != "#"]
    rows = [(c, int(pos), ref, alt, 0) for c, pos, _, ref, alt in lines if len(ref + alt) == 2]
    taken = {pos for _, pos, *_ in rows}
    free = np.array([at for at in range(len(bases)) if span.start + at + 1 not in taken])
    for at in rng.choice(free, len(rows), replace=False).tolist():
        alt = rng.choice([base for base in "ACGT" if base != bases[at]])
        rows.append(("chr22", span.start + at + 1, bases[at], str(alt), 1))
    matched = pl.read_csv(_MATCHED, separator="\t")
    label = (pl.col("source") == "simulated").cast(pl.Int64).alias("label")
    # Windows have 128 bases: what lies 5,000 apart shares none, and bins are the clusters.
    tables = {
        "common against random": pl.DataFrame(rows, [*_KEY, "label"], orient="row"),
        "common against matched": matched.select(*_KEY, label),
    }
    made = []
    for name, table in tables.items():
        made.append(folder / f"{name.replace(' ', '_')}.parquet")
        table = table.with_columns(group=pl.format("bin {}", pl.col("pos") // 5_000))
        table.write_csv(source := made[-1].with_suffix(".tsv"), separator="\t")
        label_table(source, made[-1], TableColumns(), command="", name=name, force=True)
    return made


def scored(model: str, asked: argparse.Namespace, source: Path) -> Path:
    """The SNVs with ``llr`` and what a background says of it."""
    options = Options(scores="llr", views=1, window_bases=_MODELS[model], device="cpu")
    background = asked.folder / f"{model}.background.parquet"
    if not background.exists():
        draw_background(
            asked.reference, model, background, regions=asked.region, seed=0,
            per_context=asked.per_context, options=options, command="benchmarks.percentiles",
        )  # fmt: skip
    output: Path = asked.folder / f"{model}.scores.parquet"
    with_background = replace(options, background=background)
    score_file(
        source, asked.reference, model, output, options=with_background,
        command="benchmarks.percentiles", force=True,
    )  # fmt: skip
    return output


def rows_of(model: str, scores: Path, asked: argparse.Namespace) -> None:
    """Print a row for each set of labels and each number."""
    report = judge([scores], asked.labels, Choices(reference=asked.reference), command="")
    for found in report.sets:
        tables = found.analysis.tables
        differences = {
            row["b"]: row for row in tables["differences"].to_dicts() if row["a"] == "llr"
        }
        for row in tables["headline"].to_dicts():
            name = row["score"]
            if name not in ("llr", *(column.name for column in COMPARED)):
                continue
            counts = f"{row['positives']:,} / {row['negatives']:,}"
            area = _with_interval(row, "auroc", "{:.3f}")
            paired = differences.get(name)
            apart = (
                ""
                if paired is None
                else (
                    _with_interval(paired, "auroc_difference", "{:+.3f}")
                    + f" | {paired['variants']:,}"
                )
            )
            print(
                f"| {found.analysis.name} | {model} | {name} | {counts} | {area} | {apart or '|'} |"
            )


def _with_interval(row: dict[str, float | None], name: str, form: str) -> str:
    value, low, high = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
    if value is None:
        return "too few"
    return form.format(value) + (
        "" if low is None else f" ({form.format(low)} to {form.format(high)})"
    )


def main() -> None:
    """Print the table in docs/evaluation.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-r", "--reference", type=Path, required=True)
    parser.add_argument("--labels", type=Path, nargs="*", default=[])
    parser.add_argument("--region", action="append", default=[])
    parser.add_argument("--per-context", type=int, default=1000)
    parser.add_argument("--models", nargs="+", default=list(_MODELS))
    asked = parser.parse_args()
    asked.folder.mkdir(exist_ok=True)
    asked.labels += common(asked.folder)
    source = asked.folder / "labelled.vcf"
    snvs_of(asked.labels, asked.reference, source)
    print("| labels | model | score | positives / negatives | AUROC (95 %) | AUROC of llr less "
          "that, same variants (95 %) | variants |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for model in asked.models:
        rows_of(model, scored(model, asked, source), asked)


if __name__ == "__main__":
    main()
