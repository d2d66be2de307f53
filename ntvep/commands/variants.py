"""VCF -> ALLELES with statuses: ``ntvep variants``, the dry run without a model."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from ntvep.commands.inputs import OnBadRecord, all_chunks, judge_assembly, opened_vcf
from ntvep.commands.summary import Summary
from ntvep.errors import ConfigError
from ntvep.io.fasta import open_reference
from ntvep.io.staging import STANDARD_STREAM, refuse_overwriting, staged
from ntvep.io.tables import table_writer
from ntvep.pipeline import resolve
from ntvep.schema import ALLELES
from ntvep.settings import Settings


def list_variants(
    source: Path,
    reference: Path,
    output: Path,
    *,
    settings: Settings,
    on_bad_record: OnBadRecord = "fail",
    ref_mismatch_limit: float = 0.1,
    force: bool = False,
) -> Summary:
    """Write every ALT allele of a VCF with the status that ``score`` would give it.

    Args:
        source: VCF or BCF; ``-`` for standard input.
        reference: FASTA of the same assembly.
        output: .tsv or .parquet; ``-`` for TSV on standard output.
        settings: windows, views and limits.
        on_bad_record: stop at a line that is no record, or leave such lines out.
        ref_mismatch_limit: the share of REF disagreements that stops.
        force: replace an output that exists.
    """
    refuse_overwriting(output, (source, reference))
    files = [] if output == STANDARD_STREAM else [output]
    genome = open_reference(reference)
    with (
        staged(files, force=force) as staging,
        opened_vcf(source, on_bad_record) as inspection,
    ):
        judge_assembly(inspection, genome, ref_mismatch_limit)
        summary = Summary(records=inspection.records, contig_aliases=genome.aliases)
        path = output if output == STANDARD_STREAM else staging.path(output)
        with _writer(path, summary) as write:
            for chunk in all_chunks(inspection):
                resolved = resolve(chunk.alleles, genome, settings)
                summary.count(resolved["status"])
                write(resolved)
    summary.log(ok="scorable")
    return summary


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
