"""ALLELES -> VCF records of our own making: nothing but place and alleles."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ntvep.io.vcf import Chunk, Inspection
from ntvep.io.vcf_header import TBI_END
from ntvep.io.vcf_lines import COLUMNS, FILEFORMAT


def inspection(name: str, contigs: Mapping[str, int], longest: int = 0) -> Inspection:
    """What is known of records that are made contig by contig, each in the order of its places.

    Args:
        name: of their source, for messages.
        contigs: number of records of each contig, in order.
        longest: the last place that a record can have.
    """
    declared = [b"##contig=<ID=%s>" % contig.encode() for contig in contigs]
    return Inspection(
        path=Path(name),
        name=name,
        header=(FILEFORMAT + b"\n", COLUMNS + b"\n"),
        records=sum(contigs.values()),
        contigs=contigs,
        is_sorted=True,
        needs_csi=longest > TBI_END,
        bad=(),
        added=tuple(declared),
        notes=(),
    )


def chunk(alleles: pl.DataFrame) -> Chunk:
    """Consecutive alleles as records: those of one record are adjacent and share a REF."""
    records = alleles.group_by("record", maintain_order=True).agg(
        pl.col("chrom", "pos", "ref").first(), pl.col("alt").str.join(",")
    )
    rows = records.select("chrom", "pos", "ref", "alt").iter_rows()
    lines = (f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for chrom, pos, ref, alt in rows)
    return Chunk(tuple(line.encode() for line in lines), alleles)
