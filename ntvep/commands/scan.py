"""a region -> every SNV of it, scored: ``ntvep scan``."""

import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ntvep import dna
from ntvep.commands.score import Options, score_file
from ntvep.commands.summary import Summary
from ntvep.errors import ConfigError, InputError
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.windows import Span, merged

_log = logging.getLogger("ntvep")
_REGION = re.compile(r"(?P<contig>[^\s]+):(?P<first>\d[\d,]{0,14})-(?P<last>\d[\d,]{0,14})")
# Bases of a region that are read at once.
_STEP = 1 << 16


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
    """Score every SNV of regions, in the order of their places.

    Args:
        regions: ``CONTIG:FIRST-LAST``, 1-based, both ends included.
        reference: FASTA.
        model: as in :func:`ntvep.commands.score.score_file`.
        output: likewise.
        deletions: also score each deletion of one base.
        table: as in ``score_file``.
        options: how to score.
        command: what the user typed.
        force: replace outputs that exist.
        quiet: no progress bar.

    Raises:
        ConfigError: a region has another form.
        InputError: the reference does not have all of a region.
    """
    genome = open_reference(reference)
    parsed = merged(parsed_region(region, genome) for region in regions)
    with tempfile.TemporaryDirectory(prefix="ntvep-scan-") as folder:
        made = Path(folder) / "region.vcf"
        with made.open("w", encoding="utf-8") as file:
            file.writelines(_vcf(genome, parsed, deletions))
        return score_file(
            made,
            reference,
            model,
            output,
            table=table,
            # One base changes: any window that holds it will do.
            options=replace(options, max_allele_bases=1),
            command=command,
            force=force,
            quiet=quiet,
        )


def parsed_region(region: str, genome: FastaReference) -> tuple[str, Span]:
    """Contig and place of ``--region``; see :func:`scan_regions`."""
    match = _REGION.fullmatch(region)
    if not match:
        raise ConfigError(f"--region is {region!r}; expected CONTIG:FIRST-LAST, 1-based")
    chrom = match["contig"]
    first, last = (int(match[end].replace(",", "")) for end in ("first", "last"))
    wanted = Span(first - 1, last)
    spans = genome.spans(chrom)
    if not any(span.start <= wanted.start < wanted.stop <= span.stop for span in spans):
        there = ", ".join(f"{chrom}:{span.start + 1}-{span.stop}" for span in spans)
        raise InputError(
            f"--region {region}: {genome.path.name} has {there or 'no such contig'}; expected a "
            "region inside it, its first base not behind its last"
        )
    return chrom, wanted


def _vcf(
    genome: FastaReference, regions: Sequence[tuple[str, Span]], deletions: bool
) -> Iterator[str]:
    """Lines of a VCF with every change of the regions, sorted within each; N has none."""
    yield "##fileformat=VCFv4.2\n"
    for chrom in dict.fromkeys(chrom for chrom, _ in regions):
        yield f"##contig=<ID={chrom}>\n"
    yield "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    for chrom, region in regions:
        unknown = 0
        for begin in range(region.start, region.stop, _STEP):
            part = Span(begin, min(begin + _STEP, region.stop))
            for pos, ref, alt in _changes(genome, chrom, part, deletions):
                unknown += ref == "N"
                if ref != "N":
                    yield f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n"
        if unknown:
            _log.warning("%s: %d bases are N: they have no SNV", chrom, unknown)


def _changes(
    genome: FastaReference, chrom: str, part: Span, deletions: bool
) -> Iterator[tuple[int, str, str]]:
    """POS, REF and ALT of each change; REF is N where the base is."""
    (span,) = (s for s in genome.spans(chrom) if s.start <= part.start and part.stop <= s.stop)
    around = Span(max(span.start, part.start - 1), min(span.stop, part.stop + 1))
    letters = "N" * (around.start == part.start) + dna.decode(genome.fetch(chrom, *around)) + "N"
    for place in range(part.start, part.stop):
        at = place - part.start
        before, base, after = letters[at], letters[at + 1], letters[at + 2]
        # VCF spells a deletion with the base before it, or behind it where there is none before.
        if deletions and "N" not in before + base:
            yield place, before + base, before
        elif deletions and "N" not in base + after:
            yield place + 1, base + after, after
        for alt in "ACGT":
            if base not in ("N", alt):
                yield place + 1, base, alt
        if base == "N":
            yield place + 1, "N", ""
