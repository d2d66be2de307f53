"""variants at random places -> a background of scores; SCORES -> their place in it."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl

from ntvep.commands.compared import opened_background
from ntvep.commands.inputs import provenance_of
from ntvep.commands.options import Options
from ntvep.commands.places import places_of
from ntvep.commands.ready import ready, score_chunks
from ntvep.commands.summary import Summary
from ntvep.errors import ConfigError, InputError
from ntvep.evaluate.background import CONTEXTS, FEWEST, contexts, draw
from ntvep.evaluate.indels import draw_indels, indel_contexts
from ntvep.io.fasta import open_reference
from ntvep.io.staging import refuse_overwriting, staged
from ntvep.io.tables import read_metadata, read_row_groups, table_writer
from ntvep.pipeline import Scored
from ntvep.schema import ALLELES, CONTEXT, LLR_PERCENTILE, PENTANUCLEOTIDE, Status

_log = logging.getLogger("ntvep")


def draw_background(
    reference: Path,
    model: str,
    output: Path,
    *,
    regions: Sequence[str] = (),
    bed: Path | None = None,
    per_context: int,
    seed: int,
    indel_bases: int = 0,
    options: Options,
    command: str,
    force: bool = False,
    quiet: bool = False,
) -> Summary:
    """Score ``llr`` of variants at random places, equally many of each context.

    Args:
        reference: FASTA.
        model: as in :func:`ntvep.commands.score.score_file`.
        output: Parquet: SCORES, ``context`` and ``pentanucleotide``.
        regions: where to draw, as in ``ntvep scan``.
        bed: where to draw, too; with neither, everywhere.
        per_context: SNVs of each of the 96 contexts, and indels of each of theirs.
        seed: another one draws others.
        indel_bases: also indels of up to this many bases; 0 for none.
        options: how to score: as the variants are scored that are to be compared.
        command: what was typed.
        force: replace an output that exists.
        quiet: no progress bar.

    Raises:
        ConfigError: an option has a value that cannot be used.
        InputError: nothing can be drawn.
    """
    started = time.monotonic()
    if per_context < FEWEST:
        raise ConfigError(f"--per-context is {per_context}; expected {FEWEST} or more")
    if indel_bases < 0:
        raise ConfigError(f"--indel-bases is {indel_bases}; expected 0 (no indels) or more")
    if output.suffix != ".parquet":
        raise ConfigError(f"--output {output}: expected a name that ends in .parquet")
    refuse_overwriting(output, [reference])
    genome = open_reference(reference)
    places = places_of(genome, regions, bed)
    with staged([output], force=force) as staging:
        drawn = draw(genome, places, per_context, seed)
        wanted = CONTEXTS
        if indel_bases:
            some = draw_indels(genome, places, indel_bases, per_context, seed)
            drawn, wanted = pl.concat([drawn, some]), CONTEXTS + indel_contexts(indel_bases)
        _say_what_is_few(drawn, wanted, per_context)
        # Any window that holds the changed bases will do.
        asked = replace(options, scores="llr", max_allele_bases=max(1, indel_bases))
        made = ready(genome, model, asked)
        provenance = made.provenance(command, drawn["chrom"].unique(maintain_order=True).to_list())
        summary = Summary(
            records=drawn.height,
            fingerprint=provenance.fingerprint,
            contig_aliases=genome.aliases,
        )
        columns = (*provenance.columns, CONTEXT, PENTANUCLEOTIDE)
        wider: Counter[str] = Counter()
        with table_writer(
            staging.path(output), columns, provenance.to_json(), summary.to_json
        ) as write:

            def use(chunk: _Drawn, scored: Scored) -> None:
                summary.count(scored.scores["status"], scored.passes, scored.known, scored.again)
                found = contexts(scored.scores, genome).pentanucleotide
                wider.update(found.drop_nulls())
                write(scored.scores.hstack([chunk.context, found]))

            score_chunks(partial(_chunks, drawn), drawn.height, made, use, quiet)
            summary.seconds = round(time.monotonic() - started, 3)
    summary.log()
    _log.info(
        "%d of %d pentanucleotide contexts have the %d SNVs that llr_calibrated needs; a larger "
        "--per-context gives more",
        sum(count >= FEWEST for count in wider.values()), 16 * len(CONTEXTS), FEWEST,
    )  # fmt: skip
    return summary


@dataclass(frozen=True)
class _Drawn:
    """Variants that have been drawn.

    Attributes:
        alleles: ALLELES.
        context: of each.
    """

    alleles: pl.DataFrame
    context: pl.Series


def _chunks(drawn: pl.DataFrame, sizes: Iterable[int]) -> Iterator[_Drawn]:
    """ALLELES of the variants in chunks of these numbers."""
    numbered = drawn.with_row_index("record").with_columns(allele=1, status=pl.lit(Status.OK.value))
    alleles = numbered.select(pl.col(column.name).cast(column.dtype) for column in ALLELES)
    first = 0
    for size in sizes:
        if first >= drawn.height:
            return
        yield _Drawn(alleles[first : first + size], drawn[CONTEXT.name][first : first + size])
        first += size


def apply_background(
    scores: Path, background: Path, reference: Path, output: Path, *, force: bool = False
) -> int:
    """Add what a background says to SCORES; see :mod:`ntvep.commands.compared`.

    Args:
        scores: SCORES in Parquet, with ``llr``.
        background: what :func:`draw_background` wrote, with the same model and settings.
        reference: FASTA that the scores were made with.
        output: Parquet: SCORES and these columns.
        force: replace an output that exists.

    Returns:
        How many variants have a percentile.

    Raises:
        InputError: the tables are not of one fingerprint, or hold no ``llr``.
        ReferenceMismatchError: the reference has other bases.
    """
    if output.suffix != ".parquet":
        raise ConfigError(f"--output {output}: expected a name that ends in .parquet")
    refuse_overwriting(output, [scores, background, reference])
    made = provenance_of(scores)
    if "llr" not in made.settings.scores:
        raise InputError(f"{scores}: has no llr; run ntvep score with --scores llr, or all")
    among = opened_background(background, made.fingerprint, made.how())
    genome, said = open_reference(reference), read_metadata(scores)[1]
    made = replace(made, background=among.sha256)
    placed = 0
    with (
        staged([output], force=force) as staging,
        table_writer(staging.path(output), made.columns, made.to_json(), lambda: said) as write,
    ):
        for rows in read_row_groups(scores):
            compared = among.compared(rows, genome)
            placed += compared[LLR_PERCENTILE.name].count()
            write(compared.select(column.name for column in made.columns))
    return placed


def _say_what_is_few(drawn: pl.DataFrame, contexts: Sequence[str], per_context: int) -> None:
    counts = dict(drawn["context"].value_counts().iter_rows())
    few = [name for name in contexts if counts.get(name, 0) < per_context]
    if drawn.is_empty():
        raise InputError(
            "no place to draw from: the regions hold no base between two others that is not N; "
            "expected regions of the reference, with sequence"
        )
    _log.info("%d variants drawn, of %d of %d contexts", drawn.height, len(counts), len(contexts))
    if few:
        least = min(few, key=lambda name: counts.get(name, 0))
        _log.warning(
            "%d contexts have fewer than %d places (%s: %d); with fewer than %d they give no "
            "percentile. Give larger regions",
            len(few), per_context, least, counts.get(least, 0), FEWEST,
        )  # fmt: skip
