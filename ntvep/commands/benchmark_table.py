"""a published benchmark's file and SCORES -> a table of its metrics: ``ntvep benchmark``."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from ntvep.commands.benchmark import label_benchmark
from ntvep.commands.evaluate import Choices, judge
from ntvep.errors import ConfigError
from ntvep.evaluate.analysis import Analysis
from ntvep.io.staging import refuse_overwriting, staged

# Metrics that the authors publish, under their names; all others are ours.
_THEIRS: Mapping[str, Sequence[str]] = {
    "traitgym": ("AUPRC_by_chrom_weighted_average", "AUPRC"),
    "dart-caqtl": ("AUROC", "AUPRC", "Spearman"),
    "dart-dsqtl": ("AUROC", "AUPRC", "Spearman"),
    "vep-eval": ("AUROC",),
    "brca1": ("AUROC", "Spearman"),
    "mavedb": ("Spearman",),
}
# Column of an analysis -> name of the metric.
_METRICS = {
    "auprc_by_chromosome": "AUPRC_by_chrom_weighted_average",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "pairwise": "pairwise_accuracy",
    "within_genes": "AUROC_within_genes",
    "auroc_by_block": "AUROC_of_500-kb_blocks",
    "auroc_by_consequence": "AUROC_mean_of_consequences",
    "spearman": "Spearman",
}
_SCHEMA = {
    "benchmark": pl.String, "subset": pl.String, "model": pl.String, "metric": pl.String,
    "score": pl.Float64, "se": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    "variants": pl.Int64, "published": pl.Boolean,
}  # fmt: skip


def benchmark_table(
    name: str,
    source: Path,
    scores: Sequence[Path],
    output: Path,
    *,
    command: str,
    reference: Path | None = None,
    subset: Sequence[Path] = (),
    own_scores: Sequence[str] = (),
    tags: Sequence[str] = (),
    absolute: bool = False,
    force: bool = False,
) -> pl.DataFrame:
    """Write what each score reaches on a benchmark, in the layout of TraitGym's tables.

    Args:
        name: of the benchmark.
        source: its file, as it is published.
        scores: SCORES, annotated VCFs, or tables of other people's scores.
        output: .tsv or .csv, a row for each subset, model and metric: ``score`` is the metric's
            value, ``se`` its standard error over match groups, ``published`` whether it is a
            metric of the benchmark's authors.
        command: what was typed.
        reference: FASTA of the benchmark's assembly.
        subset: see :func:`ntvep.commands.benchmark.label_benchmark`.
        own_scores: ``NAME:lower`` or ``NAME:higher`` of columns of other people's tables.
        tags: which scores of annotated VCFs; all that they hold if none are named.
        absolute: judge |llr| first: REF and ALT are arbitrary.
        force: replace an output that exists.

    Returns:
        The table.
    """
    if output.suffix not in (".tsv", ".csv"):
        raise ConfigError(f"--output {output.name}: expected a name that ends in .tsv or .csv")
    refuse_overwriting(output, [source, *scores, *subset])
    with staged([output], force=force) as staging, tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.parquet"
        label_benchmark(
            name, source, labels, command=command, reference=reference, subset=subset
        )  # fmt: skip
        choices = Choices(reference, own_scores=own_scores, tags=tags, absolute=absolute)
        report = judge(scores, [labels], choices, command=command)
        analyses = [one.analysis for one in report.sets]
        rows = [row for analysis in analyses for row in _rows(analysis)]
        table = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
        if len(analyses) > 1:
            table = pl.concat([_mean_of_assays(table), table])
        published = pl.col("metric").is_in([*_THEIRS[name]])
        table = table.with_columns(published=published).sort(~published, maintain_order=True)
        separator = "\t" if output.suffix == ".tsv" else ","
        table.write_csv(staging.path(output), separator=separator, null_value="")
    return table


def _rows(analysis: Analysis) -> Iterator[tuple[object, ...]]:
    tables = analysis.tables
    matched = tables.get("match_groups")
    effects = tables.get("effects", pl.DataFrame(schema={"effect": pl.String}))
    strata = tables.get("strata", pl.DataFrame(schema={"family": pl.String}))
    parts = [
        # Match groups, where there are any, are what their authors' numbers are of.
        tables["headline"] if matched is None else matched,
        strata.filter((pl.col("family") == "consequence") & (matched is None)),
        tables.get("averages", pl.DataFrame()).drop("auroc", strict=False),
        effects.filter(pl.col("effect").str.starts_with("as signed")),
    ]
    for part in parts:
        for row in part.iter_rows(named=True):
            subset = str(row.get("subset") or row.get("stratum") or "all")
            size = row.get("variants", (row.get("positives") or 0) + (row.get("negatives") or 0))
            for column, metric in _METRICS.items():
                if row.get(column) is None or (
                    # Over match groups it has a standard error.
                    column == "auprc_by_chromosome" and matched is not None and part is not matched
                ):
                    continue
                ends = (row.get(f"{column}_{end}") for end in ("se", "low", "high"))
                yield analysis.name, subset, row["score"], metric, row[column], *ends, size, None


def _mean_of_assays(table: pl.DataFrame) -> pl.DataFrame:
    """Each assay counts alike; there is no interval, because assays are not a sample of genes."""
    means = table.filter(pl.col("subset") == "all").group_by("model", "metric", maintain_order=True)
    mean = means.agg(pl.col("score").mean(), pl.col("variants").sum(), assays=pl.len())
    named = mean.with_columns(
        benchmark=pl.lit("all assays"), subset=pl.format("mean of {} assays", "assays")
    )
    nothing = [pl.lit(None, t).alias(n) for n, t in _SCHEMA.items() if n not in named.columns]
    return named.with_columns(nothing).select(*_SCHEMA)
