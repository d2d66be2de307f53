"""a region -> every SNV of it, scored: ``ntvep scan``."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice, repeat
from pathlib import Path

import polars as pl

from ntvep import dna
from ntvep.commands.options import Options
from ntvep.commands.ready import ready
from ntvep.commands.score import Input, Output, write_scores
from ntvep.commands.selection import REGION, bounds
from ntvep.commands.summary import Summary
from ntvep.commands.writers import targets
from ntvep.errors import ConfigError, InputError
from ntvep.genome import Reference
from ntvep.io import vcf, vcf_made
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.staging import refuse_overwriting, staged
from ntvep.schema import ALLELES, Status
from ntvep.windows import Span, merged

_log = logging.getLogger("ntvep")
# Bases of a region that are read at once.
_STEP = 1 << 16

# POS, REF and the ALTs of a record.
Record = tuple[int, str, tuple[str, ...]]


def scan_regions(
    regions: Sequence[str],
    reference: Path,
    model: str,
    output: Path,
    *,
    deletions: bool,
    table: Path | None = None,
    options: Options,
    command: str,
    force: bool = False,
    quiet: bool = False,
) -> Summary:
    """Score every SNV of regions, in the order of their places: one record a base, with all ALTs.

    Args:
        regions: ``CONTIG:FIRST-LAST``, 1-based, both ends included; ``CONTIG:POS`` is one base and
            ``CONTIG`` all of it.
        reference: FASTA.
        model: as in :func:`ntvep.commands.score.score_file`.
        output: likewise.
        deletions: also score each deletion of one base, in a record of its own.
        table: as in ``score_file``.
        options: how to score.
        command: what the user typed.
        force: replace outputs that exist.
        quiet: no progress bar.

    Raises:
        ConfigError: a region has another form.
        InputError: the reference does not have all of a region.
    """
    started = time.monotonic()
    where = targets(output, table)
    for path in where.files:
        refuse_overwriting(path, (reference,))
    genome = open_reference(reference)
    places = merged(parsed_region(region, genome) for region in regions)
    with staged(where.files, force=force) as staging:
        # One base changes: any window that holds it will do.
        made = ready(genome, model, replace(options, max_allele_bases=1))
        counts = {
            chrom: sum(_count(genome, chrom, place, deletions) for _, place in some)
            for chrom, some in groupby(places, key=lambda place: place[0])
        }
        inspection = vcf_made.inspection("--region", counts, max(p.stop for _, p in places))
        given = Input(inspection, lambda sizes: _chunks(genome, places, deletions, sizes))
        target = Output(where, staging, command)
        summary = write_scores(made, given, target, started, quiet)
    summary.log()
    return summary


def alleles_of(
    genome: Reference, places: Sequence[tuple[str, Span]], deletions: bool
) -> pl.DataFrame:
    """ALLELES of every SNV of some places, and of every deletion of one base if asked for."""
    parts = [chunk.alleles for chunk in _chunks(genome, places, deletions, repeat(_STEP))]
    schema = {column.name: column.dtype for column in ALLELES}
    return pl.concat([pl.DataFrame(schema=schema), *parts])


def parsed_region(region: str, genome: FastaReference) -> tuple[str, Span]:
    """Contig and place of ``--region``; see :func:`scan_regions`."""
    match = REGION.fullmatch(region)
    if not match:
        raise ConfigError(f"--region is {region!r}; expected CONTIG:FIRST-LAST, 1-based")
    chrom = match["contig"]
    spans = genome.spans(chrom)
    if match["first"] is None and len(spans) == 1:
        return chrom, spans[0]
    first, last = bounds(match)
    wanted = Span(first - 1, last)
    if not any(span.start <= wanted.start < wanted.stop <= span.stop for span in spans):
        there = ", ".join(f"{chrom}:{span.start + 1}-{span.stop}" for span in spans)
        raise InputError(
            f"--region {region}: {genome.path.name} has {there or 'no such contig'}; expected a "
            "region inside it whose first base is not after its last"
        )
    return chrom, wanted


def _count(genome: Reference, chrom: str, place: Span, deletions: bool) -> int:
    """Number of records of a region; says how many of its bases are N."""
    letters = "".join(
        dna.decode(genome.fetch(chrom, begin, min(begin + _STEP, place.stop)))
        for begin in range(place.start, place.stop, _STEP)
    )
    if unknown := letters.count("N"):
        _log.warning("%s: %d bases are N and have no SNVs", chrom, unknown)
    snvs = len(letters) - unknown
    if not deletions:
        return snvs
    return snvs + sum(len(alts) == 1 for _, _, alts in _records(genome, chrom, place, True))


def _chunks(
    genome: Reference, places: Sequence[tuple[str, Span]], deletions: bool, sizes: Iterable[int]
) -> Iterator[vcf.Chunk]:
    """ALLELES of the regions in chunks of these numbers of records."""
    records = (
        (chrom, *record)
        for chrom, place in places
        for record in _records(genome, chrom, place, deletions)
    )
    number = 0
    for size in sizes:
        rows = []
        for chrom, pos, ref, alts in islice(records, size):
            for allele, alt in enumerate(alts, start=1):
                rows.append((number, allele, chrom, pos, ref, alt, Status.OK))
            number += 1
        if not rows:
            return
        schema = {column.name: column.dtype for column in ALLELES}
        yield vcf_made.chunk(pl.DataFrame(rows, schema=schema, orient="row"))


def _records(genome: Reference, chrom: str, place: Span, deletions: bool) -> Iterator[Record]:
    """Every change of a region, in the order of POS; a base that is N has none."""
    (span,) = (s for s in genome.spans(chrom) if s.start <= place.start and place.stop <= s.stop)
    for begin in range(place.start, place.stop, _STEP):
        part = Span(begin, min(begin + _STEP, place.stop))
        around = Span(max(span.start, part.start - 1), min(span.stop, part.stop + 1))
        letters = dna.decode(genome.fetch(chrom, *around))
        letters = "N" * (around.start == part.start) + letters + "N"
        for p in range(part.start, part.stop):
            at = p - part.start
            before, base, behind = letters[at], letters[at + 1], letters[at + 2]
            # VCF spells a deletion with the base before it, or after it where there is none.
            if deletions and "N" not in before + base:
                yield p, before + base, (before,)
            elif deletions and "N" not in base + behind:
                yield p + 1, base + behind, (behind,)
            if base != "N":
                yield p + 1, base, tuple(alt for alt in "ACGT" if alt != base)
