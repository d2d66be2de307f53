"""--region, --bed, a whole genome -> stretches of contigs, and contiguous parts of them."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ntvep.commands.selection import REGION, bounds
from ntvep.errors import ConfigError, InputError, some
from ntvep.io.fasta import FastaReference
from ntvep.io.intervals import read_bed
from ntvep.windows import Span, merged

Places = Sequence[tuple[str, Span]]


def places_of(
    genome: FastaReference, regions: Sequence[str] = (), bed: Path | None = None
) -> Places:
    """Stretches that are asked for, in order; those that overlap or touch are one.

    Args:
        genome: the reference; without regions and BED all of it.
        regions: ``CONTIG:FIRST-LAST``, 1-based, both ends included; ``CONTIG:POS`` is one base and
            ``CONTIG`` all of it.
        bed: more regions.

    Raises:
        ConfigError: a region has another form.
        InputError: the reference does not have all of a region, or of a line of the BED.
    """
    if not regions and bed is None:
        return sorted((one.contig, one.span) for some in genome.records.values() for one in some)
    asked = [parsed_region(region, genome) for region in regions]
    if bed is not None:
        asked += _of_bed(bed, genome)
    return merged(asked)


def parsed_region(region: str, genome: FastaReference) -> tuple[str, Span]:
    """Contig and place of ``--region``; see :func:`places_of`."""
    match = REGION.fullmatch(region)
    if not match:
        raise ConfigError(f"--region is {region!r}; expected CONTIG:FIRST-LAST, 1-based")
    chrom = match["contig"]
    spans = genome.spans(chrom)
    if match["first"] is None and len(spans) == 1:
        return chrom, spans[0]
    first, last = bounds(match)
    wanted = Span(first - 1, last)
    if not _holds(spans, wanted):
        raise InputError(
            f"--region {region}: {genome.path.name} has {_there(chrom, spans)}; expected a region "
            "inside it whose first base is not after its last"
        )
    return chrom, wanted


def _of_bed(path: Path, genome: FastaReference) -> Iterator[tuple[str, Span]]:
    for chrom, start, stop, line in read_bed(path).iter_rows():
        name = genome.contig(chrom) or chrom
        spans, wanted = genome.spans(name), Span(start, stop)
        if not _holds(spans, wanted):
            there = _there(name, spans) if spans else f"only {some(genome.records, 3)}"
            raise InputError(
                f"{path}, line {line}: {chrom}, bases {start} to {stop} (0-based); "
                f"{genome.path.name} has {there}; expected a stretch inside it. Is the BED of this "
                "assembly?"
            )
        yield name, wanted


def _holds(spans: Iterable[Span], wanted: Span) -> bool:
    return any(span.start <= wanted.start < wanted.stop <= span.stop for span in spans)


def _there(chrom: str, spans: Sequence[Span]) -> str:
    return ", ".join(f"{chrom}:{s.start + 1}-{s.stop}" for s in spans) or "no such contig"


def part_of(places: Places, number: int, parts: int) -> Places:
    """One of several contiguous parts of places, all of equal size.

    Args:
        places: in order.
        number: of the part, from 0.
        parts: how many there are.
    """
    total = sum(span.stop - span.start for _, span in places)
    first, last = total * number // parts, total * (number + 1) // parts
    found, before = [], 0
    for chrom, span in places:
        # Counted from the first base of all places.
        begin, end = max(first, before), min(last, before + span.stop - span.start)
        if begin < end:
            offset = span.start - before
            found.append((chrom, Span(begin + offset, end + offset)))
        before += span.stop - span.start
    return found
