"""a reference genome as the core sees it -> its stretches, their bases, and names of contigs."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ntvep.dna import Dna
from ntvep.windows import Span


@runtime_checkable
class Reference(Protocol):
    """A reference genome."""

    def spans(self, chrom: str) -> Sequence[Span]:
        """The stretches of this contig that there are; none if the contig is not there."""
        ...

    def fetch(self, chrom: str, start: int, stop: int) -> Dna:
        """Bases of a stretch that lies inside one of the spans."""
        ...


# Versions of the RefSeq accessions of GRCh38's chromosomes 1 to 22, X, Y (NCBI, GCF_000001405.40).
_REFSEQ_VERSIONS = (
    11, 12, 12, 12, 10, 12, 14, 11, 12, 11, 10, 12,
    11, 9, 10, 10, 11, 10, 10, 11, 9, 11, 11, 10,
)  # fmt: skip
_CHROMOSOMES = (*(str(number) for number in range(1, 23)), "X", "Y")

_CANONICAL = {"chrM": "chrM", "chrMT": "chrM", "MT": "chrM", "M": "chrM", "NC_012920.1": "chrM"}
for _number, (_name, _version) in enumerate(zip(_CHROMOSOMES, _REFSEQ_VERSIONS, strict=True), 1):
    _CANONICAL |= dict.fromkeys(
        (_name, f"chr{_name}", f"NC_{_number:06d}.{_version}"), f"chr{_name}"
    )


def canonical(contig: str) -> str:
    """The UCSC spelling of a GRCh38 chromosome; any other name is returned as it is."""
    return _CANONICAL.get(contig, contig)
