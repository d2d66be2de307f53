"""VCF -> ALLELES with statuses: ``ntvep variants``, the dry run, which reads no weights."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from ntvep.commands.inputs import all_chunks, judge_assembly, opened_vcf
from ntvep.commands.options import Options
from ntvep.commands.ready import NO_MODEL, settings_for
from ntvep.commands.summary import Summary
from ntvep.errors import ConfigError
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.staging import STANDARD_STREAM, refuse_overwriting, staged
from ntvep.io.tables import table_writer
from ntvep.models.loaded import described
from ntvep.pipeline import ScoringContext, placed, resolve
from ntvep.schema import ALLELES

# Statuses of some alleles, and how many forward passes those that are ok need.
Judge = Callable[[pl.DataFrame], tuple[pl.DataFrame, int]]


def list_variants(
    source: Path,
    reference: Path,
    output: Path,
    *,
    model: str | None = None,
    options: Options,
    force: bool = False,
) -> Summary:
    """Write every ALT allele of a VCF with the status that ``score`` would give it.

    Args:
        source: VCF or BCF; ``-`` for standard input.
        reference: FASTA of the same assembly.
        output: .tsv or .parquet; ``-`` for TSV on standard output.
        model: whose config.json and tokenizer say where windows lie. Without one, only what does
            not depend on a model is judged.
        options: as for scoring.
        force: replace an output that exists.

    Returns:
        Counts; ``passes`` are those that scoring would run, if no score is known.
    """
    refuse_overwriting(output, (source, reference))
    files = [] if output == STANDARD_STREAM else [output]
    genome = open_reference(reference)
    judge = _judge(genome, model, options)
    with (
        staged(files, force=force) as staging,
        opened_vcf(source, options.on_bad_record) as inspection,
    ):
        judge_assembly(inspection, genome, options.ref_mismatch_limit)
        summary = Summary(records=inspection.records, contig_aliases=genome.aliases)
        path = output if output == STANDARD_STREAM else staging.path(output)
        with _writer(path, summary) as write:
            for chunk in all_chunks(inspection):
                resolved, passes = judge(chunk.alleles)
                summary.count(resolved["status"], passes)
                write(resolved)
    summary.log(ok="scorable")
    return summary


def _judge(genome: FastaReference, model: str | None, options: Options) -> Judge:
    if model in (None, NO_MODEL):
        return lambda alleles: (placed(alleles, genome, options.max_allele_bases), 0)
    _, description = described(model)
    context = ScoringContext(genome, None, description, settings_for(description, options))
    return lambda alleles: resolve(alleles, context)


@contextmanager
def _writer(path: Path, summary: Summary) -> Iterator[Callable[[pl.DataFrame], None]]:
    header = "\t".join(column.name for column in ALLELES) + "\n"
    if path == STANDARD_STREAM:
        sys.stdout.write(header)
        yield lambda rows: _print(rows)
    elif path.suffix == ".tsv":
        with path.open("w", encoding="utf-8") as text:
            text.write(header)
            yield lambda rows: rows.write_csv(text, separator="\t", include_header=False)
    elif path.suffix == ".parquet":
        with table_writer(path, ALLELES, "{}", summary.to_json) as write:
            yield write
    else:
        raise ConfigError(f"--output {path.name}: expected .tsv, .parquet, or - for stdout")


def _print(rows: pl.DataFrame) -> None:
    sys.stdout.write(rows.write_csv(separator="\t", include_header=False))
