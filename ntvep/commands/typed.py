"""variants typed on the command line -> a table on the terminal, or files."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from ntvep.commands.given import ONE_VARIANT, alleles_given, by_records
from ntvep.commands.inputs import judge_alleles
from ntvep.commands.mismatches import Mismatches
from ntvep.commands.options import Options
from ntvep.commands.ready import Ready, ready, score_chunks
from ntvep.commands.score import Input, Output, write_scores
from ntvep.commands.writers import Naming, targets
from ntvep.errors import ConfigError
from ntvep.io import vcf_made
from ntvep.io.fasta import open_reference
from ntvep.io.staging import refuse_overwriting, staged
from ntvep.pipeline import Scored
from ntvep.schema import ALLELES, STATUS_MEANING, Column, Status
from ntvep.settings import parse_scores


def are_variants(words: Sequence[str]) -> bool:
    """Whether what was typed is variants, and not one file.

    Raises:
        ConfigError: it is neither: several words, one of which is not a variant.
    """
    if len(words) == 1:
        return bool(ONE_VARIANT.fullmatch(words[0])) and not Path(words[0]).exists()
    wrong = [word for word in words if not ONE_VARIANT.fullmatch(word)]
    if wrong:
        raise ConfigError(
            f"{wrong[0]}: expected CHROM:POS:REF:ALT like the others, or a single VCF (join "
            "several with: bcftools concat)"
        )
    return True


def score_typed(
    variants: Sequence[str],
    reference: Path,
    model: str,
    output: Path | None,
    *,
    table: Path | None = None,
    options: Options,
    command: str,
    force: bool = False,
    quiet: bool = False,
) -> str:
    """Score variants of the form CHROM:POS:REF:ALT.

    Args:
        variants: as typed.
        reference: FASTA of their assembly.
        model: as in :func:`ntvep.commands.score.score_file`.
        output: likewise; None writes no file.
        table: as in ``score_file``.
        options: how to score.
        command: what the user typed.
        force: replace outputs that exist.
        quiet: no progress bar.

    Returns:
        A table for the terminal; empty where an output was given.

    Raises:
        InputError: a variant has another form.
    """
    started = time.monotonic()
    parse_scores(options.scores)
    genome = open_reference(reference)
    alleles = alleles_given(list(variants))
    contigs = Counter(alleles.unique("record", maintain_order=True)["chrom"].to_list())
    judge_alleles("variants", contigs, len(variants), [alleles], genome, options.ref_mismatch_limit)
    if output is None:
        return _on_terminal(ready(genome, model, options), alleles, quiet)
    where = targets(output, table)
    for path in where.files:
        refuse_overwriting(path, (reference,))
    with staged(where.files, force=force) as staging:
        made = ready(genome, model, options)
        places = alleles.select("chrom", "pos")
        is_sorted = all(rows["pos"].is_sorted() for _, rows in places.group_by("chrom")) and places[
            "chrom"
        ].rle_id().n_unique() == len(contigs)
        inspection = vcf_made.inspection("variants", contigs, max(alleles["pos"].to_list()))
        given = Input(
            replace(inspection, is_sorted=is_sorted),
            lambda sizes: (vcf_made.chunk(part.alleles) for part in by_records(alleles, sizes)),
        )
        target = Output(where, staging, command, Naming(options.tag, options.show_ref))
        write_scores(made, given, target, started, quiet).log()
    return ""


def _on_terminal(made: Ready, alleles: pl.DataFrame, quiet: bool) -> str:
    parts: list[pl.DataFrame] = []

    def use(_: object, scored: Scored) -> None:
        parts.append(scored.scores)

    records = alleles["record"].n_unique()
    score_chunks(partial(by_records, alleles), records, made, use, quiet)
    scores = pl.concat(parts)
    Mismatches(made.genome).found_in(scores)
    return as_text(scores, made.columns)


def as_text(scores: pl.DataFrame, columns: Sequence[Column]) -> str:
    """SCORES as paragraphs: an allele and its status, then one line per score, with its unit."""
    shown = columns[len(ALLELES) :]
    width = max((len(column.name) for column in shown), default=0)
    paragraphs = []
    for row in scores.iter_rows(named=True):
        status = row["status"]
        lines = [f"{row['chrom']}:{row['pos']}:{row['ref']}:{row['alt']}  {status}"]
        if status != Status.OK:
            lines[0] += f": {STATUS_MEANING[Status(status)]}"
        for column in shown:
            value = row[column.name]
            if value is not None:
                text = f"{value:.6g}" if isinstance(value, float) else str(value).lower()
                lines.append(f"  {column.name:<{width}}  {text:>12}  {column.unit}".rstrip())
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)
