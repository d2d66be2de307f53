"""VCF -> annotated VCF and Parquet: ``ntvep score``."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from ntvep.commands.inputs import judge_assembly, opened_vcf
from ntvep.commands.mismatches import Mismatches
from ntvep.commands.options import Options
from ntvep.commands.ready import Ready, ready, score_chunks
from ntvep.commands.selection import Selection, selection
from ntvep.commands.summary import Summary
from ntvep.commands.writers import PLAIN, Naming, Targets, targets, writers
from ntvep.errors import NumericalFailureError, UnscoredError
from ntvep.io import vcf
from ntvep.io.fasta import open_reference
from ntvep.io.staging import Staging, refuse_overwriting, staged
from ntvep.pipeline import Scored
from ntvep.schema import Status
from ntvep.settings import parse_scores


@dataclass(frozen=True)
class Input:
    """Records to score.

    Attributes:
        inspection: what is known of all of them.
        read: gives chunks of these numbers of records.
    """

    inspection: vcf.Inspection
    read: Callable[[Iterable[int]], Iterator[vcf.Chunk]]


@dataclass(frozen=True)
class Output:
    """Where SCORES go.

    Attributes:
        where: the files.
        staging: holds their places until all is well.
        command: what the user typed, for the provenance.
        naming: of the keys in a VCF.
    """

    where: Targets
    staging: Staging
    command: str
    naming: Naming = PLAIN


def score_file(
    source: Path,
    reference: Path,
    model: str,
    output: Path,
    *,
    table: Path | None = None,
    options: Options,
    command: str,
    force: bool = False,
    strict: bool = False,
    quiet: bool = False,
) -> Summary:
    """Score the variants of a VCF into an annotated VCF, a Parquet table, or both.

    Args:
        source: VCF or BCF; ``-`` for standard input.
        reference: FASTA of the same assembly.
        model: a checkpoint folder, a hub id that has been fetched, ``demo``, or ``none``.
        output: .vcf, .vcf.gz, .bcf or .parquet; ``-`` for VCF text on standard output.
        table: Parquet of SCORES beside a VCF.
        options: how to score.
        command: what the user typed, for the provenance.
        force: replace outputs that exist.
        strict: fail, after writing, if an allele has no score.
        quiet: no progress bar.

    Raises:
        NtvepError: nothing is left under any output's name; except for
            :class:`UnscoredError` and :class:`NumericalFailureError`, whose outputs are whole.
    """
    started = time.monotonic()
    where = targets(output, table)
    for path in where.files:
        refuse_overwriting(path, (source, reference))
    parse_scores(options.scores)
    naming, chosen = Naming(options.tag, options.show_ref), selection(options)
    genome = open_reference(reference)
    with (
        staged(where.files, force=force) as staging,
        opened_vcf(
            source, options.on_bad_record, options.refuse_annotated, options.tag
        ) as inspection,
    ):
        judge_assembly(inspection, genome, options.ref_mismatch_limit)
        made = ready(genome, model, options)
        given = Input(inspection, partial(_selected_chunks, inspection, chosen))
        target = Output(where, staging, command, naming)
        summary = write_scores(made, given, target, started, quiet)
    summary.log()
    _judge(summary, output, strict)
    return summary


def _selected_chunks(
    inspection: vcf.Inspection, chosen: Selection | None, sizes: Iterable[int]
) -> Iterator[vcf.Chunk]:
    chunks = vcf.read_chunks(inspection, sizes)
    return chunks if chosen is None else map(chosen.applied, chunks)


def _judge(summary: Summary, output: Path, strict: bool) -> None:
    """Say by the exit status what a whole output still lacks."""
    if failures := summary.statuses.get(Status.NUMERICAL_FAILURE, 0):
        raise NumericalFailureError(
            f"{output}: NaN or infinity for {failures} of {summary.alleles} alleles, "
            "whose status says so; all other scores were written. Try --precision fp32"
        )
    fine = (Status.OK, Status.NOT_SELECTED)
    unscored = {s: n for s, n in summary.statuses.items() if s not in fine}
    if strict and unscored:
        counts = ", ".join(f"{n} {s}" for s, n in unscored.items())
        raise UnscoredError(
            f"{output}: {sum(unscored.values())} of {summary.alleles} alleles have no score "
            f"({counts}). The output is complete; omit --strict to accept it"
        )


def write_scores(made: Ready, given: Input, output: Output, started: float, quiet: bool) -> Summary:
    """Score records and write them: what every command does that scores into a file.

    Args:
        made: what scores.
        given: the records.
        output: where they go.
        started: when the run began, for its seconds.
        quiet: no progress bar.
    """
    inspection, genome = given.inspection, made.genome
    provenance = made.provenance(output.command, inspection.contigs)
    summary = Summary(
        records=inspection.records,
        fingerprint=provenance.fingerprint,
        bad_records=[asdict(bad) for bad in inspection.bad],
        contig_aliases=genome.aliases,
    )
    lengths, mismatches = genome.lengths(inspection.contigs), Mismatches(genome)
    with writers(
        output.where, output.staging, inspection, provenance, lengths, summary, output.naming
    ) as write:

        def use(chunk: vcf.Chunk, scored: Scored) -> None:
            summary.count(scored.scores["status"], scored.passes, scored.known, scored.again)
            write(chunk.lines, scored.scores, mismatches.found_in(scored.scores))

        score_chunks(given.read, inspection.records, made, use, quiet)
        summary.seconds = round(time.monotonic() - started, 3)
    return summary
