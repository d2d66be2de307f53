"""records -> genotypes of their samples."""

from collections.abc import Sequence

import polars as pl

_FIRST_SAMPLE = 9
GENOTYPES = pl.Schema({"record": pl.UInt32(), "sample": pl.String(), "genotype": pl.String()})
"""Columns of :func:`genotypes_in`; the genotype is null where FORMAT has no GT."""


def samples_in(header: Sequence[bytes]) -> list[str]:
    """Names of the samples, in order."""
    columns = header[-1].rstrip(b"\r\n").split(b"\t")[_FIRST_SAMPLE:]
    return [name.decode("utf-8", "replace") for name in columns]


def genotypes_in(
    alleles: pl.DataFrame, lines: Sequence[bytes], samples: Sequence[str], wanted: Sequence[str]
) -> pl.DataFrame:
    """The genotype of each wanted sample in each record: :data:`GENOTYPES`.

    Args:
        alleles: ALLELES of these records, in order.
        lines: the records.
        samples: all of the file's.
        wanted: some of them.
    """
    places = [(_FIRST_SAMPLE + samples.index(name), name) for name in wanted]
    records = alleles["record"].unique(maintain_order=True).to_list()
    rows = []
    for record, line in zip(records, lines, strict=True):
        fields = line.rstrip(b"\r\n").split(b"\t")
        # GT is the first key where it is there (VCF 4.3, section 1.6.2).
        has_genotype = len(fields) > _FIRST_SAMPLE and fields[8].split(b":")[0] == b"GT"
        for place, name in places:
            genotype = fields[place].split(b":")[0].decode("ascii", "replace")
            rows.append((record, name, genotype if has_genotype else None))
    return pl.DataFrame(rows, schema=GENOTYPES, orient="row")
