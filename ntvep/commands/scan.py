"""regions, a genome -> every SNV of it, scored, in one file or in shards: ``ntvep scan``."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice, repeat
from pathlib import Path

import polars as pl

from ntvep import dna
from ntvep.commands.options import Options
from ntvep.commands.places import Places, part_of, places_of
from ntvep.commands.ready import Ready, ready
from ntvep.commands.score import Input, Output, write_scores
from ntvep.commands.shards import Shards, is_whole, name_of, write_manifest
from ntvep.commands.summary import Summary
from ntvep.commands.writers import targets
from ntvep.errors import ConfigError
from ntvep.genome import Reference
from ntvep.io import vcf, vcf_made
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.staging import refuse_overwriting, staged
from ntvep.schema import ALLELES, Status
from ntvep.windows import Span

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
    bed: Path | None = None,
    deletions: bool,
    table: Path | None = None,
    shards: Shards | None = None,
    options: Options,
    command: str,
    force: bool = False,
    quiet: bool = False,
) -> Summary:
    """Score every SNV of regions, in the order of their places: one record per base, with all ALTs.

    Args:
        regions: see :func:`ntvep.commands.places.places_of`.
        reference: FASTA.
        model: as in :func:`ntvep.commands.score.score_file`.
        output: likewise; with shards a folder.
        bed: more regions; with neither, the whole genome.
        deletions: also score each deletion of one base, in a record of its own.
        table: as in ``score_file``.
        shards: parts of the scan, a file each: those that are whole stay as they are.
        options: how to score.
        command: what the user typed.
        force: replace outputs that exist.
        quiet: no progress bar.

    Raises:
        ConfigError: a region has another form.
        InputError: the reference does not have all of a region, or a shard is of another run.
    """
    started = time.monotonic()
    # One base changes: any window that holds it will do.
    options = replace(options, max_allele_bases=1)
    genome = open_reference(reference)
    places = places_of(genome, regions, bed)
    if shards is not None:
        if table is not None:
            raise ConfigError("--table: shards are tables; leave it out")
        made = ready(genome, model, options)
        return _scan_shards(made, places, deletions, output, shards, command, force, quiet)
    where = targets(output, table)
    for path in where.files:
        refuse_overwriting(path, (reference, *([bed] if bed else [])))
    with staged(where.files, force=force) as staging:
        made = ready(genome, model, options)
        target = Output(where, staging, command)
        summary = _scan(made, places, deletions, target, started, quiet)
    summary.log()
    return summary


def _scan_shards(
    made: Ready,
    places: Places,
    deletions: bool,
    folder: Path,
    shards: Shards,
    command: str,
    force: bool,
    quiet: bool,
) -> Summary:
    """Scan part by part; what was done before is not done again."""
    genome = made.genome
    folder.mkdir(parents=True, exist_ok=True)
    parts = [part_of(places, number, shards.parts) for number in range(shards.parts)]
    total, started = Summary(fingerprint=made.identity.fingerprint), time.monotonic()
    for number in shards.numbers:
        path = folder / name_of(number)
        some, begun = parts[number], time.monotonic()
        if not force and is_whole(
            path, made.identity, genome, some, *_expected(genome, some, deletions)
        ):
            _log.info("%s: is whole", path)
            continue
        where = targets(path, None)
        with staged(where.files, force=True) as staging:
            target = Output(where, staging, command)
            done = _scan(made, some, deletions, target, begun, quiet)
        _log.info("%s: %d records, shard %d of %d", path, done.records, number, shards.parts)
        total.records += done.records
        total.add(done.statuses, done.passes, done.known)
    if shards.only is None:
        write_manifest(folder, parts, made.identity.fingerprint)
    total.seconds = round(time.monotonic() - started, 3)
    total.log()
    return total


def _expected(
    genome: FastaReference, places: Places, deletions: bool
) -> tuple[tuple[str, int] | None, int]:
    """CHROM and POS of the first record of places, and how many they have."""
    records = sum(_count(genome, chrom, place, deletions) for chrom, place in places)
    each = ((c, pos) for c, place in places for pos, *_ in _records(genome, c, place, deletions))
    return next(each, None), records


def _scan(
    made: Ready, places: Places, deletions: bool, target: Output, started: float, quiet: bool
) -> Summary:
    """Score every SNV of places into a file."""
    genome = made.genome
    counts = {
        chrom: sum(_count(genome, chrom, place, deletions) for _, place in some)
        for chrom, some in groupby(places, key=lambda place: place[0])
    }
    last = max((span.stop for _, span in places), default=0)
    inspection = vcf_made.inspection("--region", counts, last)
    given = Input(inspection, lambda sizes: _chunks(genome, places, deletions, sizes))
    return write_scores(made, given, target, started, quiet)


def alleles_of(genome: Reference, places: Places, deletions: bool) -> pl.DataFrame:
    """ALLELES of every SNV of some places, and of every deletion of one base if asked for."""
    parts = [chunk.alleles for chunk in _chunks(genome, places, deletions, repeat(_STEP))]
    schema = {column.name: column.dtype for column in ALLELES}
    return pl.concat([pl.DataFrame(schema=schema), *parts])


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
    genome: Reference, places: Places, deletions: bool, sizes: Iterable[int]
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
