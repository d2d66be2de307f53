"""records -> a VCF with only CHROM, POS, REF and ALT: all that scoring needs, no sample data."""

from collections.abc import Iterable, Iterator

from ntvep.io.vcf_lines import COLUMNS, FILEFORMAT


def sites_header(contigs: Iterable[str]) -> list[bytes]:
    """Header lines of a VCF of sites."""
    declared = [f"##contig=<ID={name}>\n".encode() for name in contigs]
    return [FILEFORMAT + b"\n", *declared, COLUMNS + b"\n"]


def sites(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Consecutive records of one CHROM and POS, reduced to those columns.

    Args:
        lines: good records.
    """
    site: list[bytes] = []
    place: list[bytes] = []
    for line in lines:
        chrom, pos, _, ref, alt, _ = line.split(b"\t", 5)
        if site and [chrom, pos] != place:
            yield site
            site = []
        place = [chrom, pos]
        site.append(b"\t".join((chrom, pos, b".", ref, alt, b".", b".", b".\n")))
    if site:
        yield site
