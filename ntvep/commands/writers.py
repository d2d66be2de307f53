"""records and SCORES -> annotated VCF, Parquet and summary: what score and gather both write."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ntvep.commands.summary import Summary
from ntvep.errors import ConfigError
from ntvep.io import tables, vcf
from ntvep.io.staging import STANDARD_STREAM, Staging
from ntvep.io.text_tables import SUFFIXES, text_writer
from ntvep.io.vcf_header import ours
from ntvep.io.vcf_write import Said, annotate, output_header, vcf_writer
from ntvep.objectives import SCORE_NAMES, defined_scores
from ntvep.provenance import Provenance
from ntvep.schema import (
    ALLELES,
    FRAMESHIFTED,
    LENGTH_CHANGE,
    SCORE_COLUMNS,
    SOURCE,
    STATUS_VCF,
    TOKENS,
    Column,
)

_VCF_SUFFIXES = (".vcf", ".vcf.gz", ".bcf")


# A tag is at the place of the first word of a key: NTVEP_COS_TOKEN is not the TOKEN of the tag COS.
_FIRST_WORDS = {
    key.split("_")[1]
    for key in (
        STATUS_VCF,
        *(
            column.vcf
            for column in (*SCORE_COLUMNS.values(), FRAMESHIFTED, LENGTH_CHANGE, SOURCE, *TOKENS)
        ),
    )
}


@dataclass(frozen=True)
class Naming:
    """How a run calls what it adds to a VCF.

    Attributes:
        tag: part of every key, so that another run's scores stay; empty for none.
        show_ref: write what the reference has where REF disagrees with it.
    """

    tag: str = ""
    show_ref: bool = False

    def __post_init__(self) -> None:
        """Refuse a tag that could not be told from a score.

        Raises:
            ConfigError: it is not a word of letters and digits, or is the name of a score.
        """
        if not re.fullmatch("[A-Za-z0-9]*", self.tag) or self.tag.upper() in _FIRST_WORDS:
            raise ConfigError(
                f"--tag is {self.tag!r}; expected letters and digits, such as NT500, and not the "
                f"first word of a key ({', '.join(sorted(_FIRST_WORDS))})"
            )


PLAIN = Naming()


@dataclass(frozen=True)
class Targets:
    """Where a run writes.

    Attributes:
        vcf: annotated VCF; ``-`` for standard output; None for none.
        table: Parquet of SCORES, or None.
        summary: JSON, or None where the output is a stream.
        text: TSV or CSV of SCORES, or None.
    """

    vcf: Path | None
    table: Path | None
    summary: Path | None
    text: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file, so that all of them can be staged."""
        paths = (self.vcf, self.table, self.text, self.summary)
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
    if output.name.endswith(SUFFIXES):
        return Targets(None, table, summary, output)
    if output != STANDARD_STREAM and not output.name.endswith(_VCF_SUFFIXES):
        raise ConfigError(
            f"--output {output}: expected a name that ends in {', '.join(_VCF_SUFFIXES)}, "
            f".parquet, {', '.join(SUFFIXES)}, or - for standard output"
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
    naming: Naming = PLAIN,
) -> Iterator[Callable[[Sequence[bytes], pl.DataFrame, Mapping[int, str]], None]]:
    """Open what a run writes; yields the function that takes records and their SCORES.

    Its third argument is what the reference has where REF disagrees, by number of the record.

    Args:
        where: the targets.
        staging: holds their places until all is well.
        inspection: of the input.
        provenance: goes into every output.
        lengths: of contigs that the input's header lacks.
        summary: of the run, complete when the context ends.
        naming: of the keys in a VCF.
    """
    columns = provenance.columns
    annotated = [c for c in columns[len(ALLELES) :] if _has_definition(c, provenance)]
    own = ours(inspection.header, naming.tag)
    with ExitStack() as stack:
        write_lines, write_tables = None, []
        if where.vcf is not None:
            path = where.vcf if where.vcf == STANDARD_STREAM else staging.path(where.vcf)
            lines = provenance.vcf_lines(naming.tag)
            said = Said(provenance.how(), lines, naming.tag, naming.show_ref)
            header = output_header(inspection, annotated, said, lengths)
            write_lines = stack.enter_context(vcf_writer(path, inspection, header))
        if where.table is not None:
            opened = tables.table_writer(
                staging.path(where.table), columns, provenance.to_json(), summary.to_json
            )
            write_tables.append(stack.enter_context(opened))
        if where.text is not None:
            write_tables.append(stack.enter_context(text_writer(staging.path(where.text), columns)))

        def write(lines: Sequence[bytes], scores: pl.DataFrame, refs: Mapping[int, str]) -> None:
            if write_lines:
                shown = refs if naming.show_ref else None
                write_lines(annotate(lines, scores, annotated, own, shown))
            for write_table in write_tables:
                write_table(scores)

        yield write
    if where.summary is not None:
        staging.path(where.summary).write_text(summary.to_json(), encoding="utf-8")
