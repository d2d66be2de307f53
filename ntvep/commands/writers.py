"""records and SCORES -> annotated VCF, Parquet and summary: what score and gather both write."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ntvep.commands.summary import Summary
from ntvep.errors import ConfigError
from ntvep.io import tables, vcf
from ntvep.io.staging import STANDARD_STREAM, Staging
from ntvep.io.vcf_write import annotate, output_header, vcf_writer
from ntvep.objectives import SCORE_NAMES, defined_scores
from ntvep.provenance import Provenance
from ntvep.schema import ALLELES, Column

_VCF_SUFFIXES = (".vcf", ".vcf.gz", ".bcf")


@dataclass(frozen=True)
class Targets:
    """Where a run writes.

    Attributes:
        vcf: annotated VCF; ``-`` for standard output; None for none.
        table: Parquet of SCORES, or None.
        summary: JSON, or None where the output is a stream.
    """

    vcf: Path | None
    table: Path | None
    summary: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file, so that all of them can be staged."""
        paths = (self.vcf, self.table, self.summary)
        return tuple(path for path in paths if path not in (None, STANDARD_STREAM) and path)


def targets(output: Path, table: Path | None) -> Targets:
    """What to write for ``--output`` and ``--table``.

    Raises:
        ConfigError: a suffix says nothing that we can write, or one file is asked for twice.
    """
    if table is not None and table.suffix != ".parquet":
        raise ConfigError(f"--table {table}: expected a name that ends in .parquet")
    summary = None if output == STANDARD_STREAM else Path(f"{output}.summary.json")
    if output.suffix == ".parquet":
        if table is not None:
            raise ConfigError(f"--table {table}: --output {output} is that table already")
        return Targets(None, output, summary)
    if output != STANDARD_STREAM and not output.name.endswith(_VCF_SUFFIXES):
        raise ConfigError(
            f"--output {output}: expected a name that ends in {', '.join(_VCF_SUFFIXES)} or "
            ".parquet, or - for standard output"
        )
    return Targets(output, table, summary)


def _has_definition(column: Column, provenance: Provenance) -> bool:
    """Whether a column means anything for the model: a score that was asked for may not."""
    model = provenance.model
    undefined = set(SCORE_NAMES) - set(defined_scores(model.objective, model.kind))
    return column.name.removesuffix("_sd") not in undefined


@contextmanager
def writers(
    where: Targets,
    staging: Staging,
    inspection: vcf.Inspection,
    provenance: Provenance,
    lengths: Mapping[str, int],
    summary: Summary,
) -> Iterator[Callable[[Sequence[bytes], pl.DataFrame], None]]:
    """Open what a run writes; yields the function that takes records and their SCORES.

    Args:
        where: the targets.
        staging: holds their places until all is well.
        inspection: of the input.
        provenance: goes into every output.
        lengths: of contigs that the input's header lacks.
        summary: of the run, complete when the context ends.
    """
    columns = provenance.columns
    annotated = [c for c in columns[len(ALLELES) :] if _has_definition(c, provenance)]
    with ExitStack() as stack:
        write_lines, write_table = None, None
        if where.vcf is not None:
            path = where.vcf if where.vcf == STANDARD_STREAM else staging.path(where.vcf)
            header = output_header(
                inspection, annotated, provenance.how(), provenance.vcf_lines(), lengths
            )
            write_lines = stack.enter_context(vcf_writer(path, inspection, header))
        if where.table is not None:
            write_table = stack.enter_context(
                tables.table_writer(
                    staging.path(where.table), columns, provenance.to_json(), summary.to_json
                )
            )

        def write(lines: Sequence[bytes], scores: pl.DataFrame) -> None:
            if write_lines:
                write_lines(annotate(lines, scores, annotated))
            if write_table:
                write_table(scores)

        yield write
    if where.summary is not None:
        staging.path(where.summary).write_text(summary.to_json(), encoding="utf-8")
