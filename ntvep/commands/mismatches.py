"""SCORES, genome -> what the reference has where REF disagrees with it."""

import logging

import polars as pl

from ntvep import dna
from ntvep.genome import Reference
from ntvep.schema import Status
from ntvep.windows import Span, zero_based

_log = logging.getLogger("ntvep")
# So many are said in the log.
_SHOWN = 3
# Longer ones are cut in the log.
_LONGEST = 20


class Mismatches:
    """Records whose REF is not what the reference has.

    Attributes:
        genome: the reference.
        said: how many the log has been told of.
    """

    def __init__(self, genome: Reference) -> None:
        self.genome = genome
        self.said = 0

    def found_in(self, scores: pl.DataFrame) -> dict[int, str]:
        """By number of the record, the bases of the reference at REF; tells the log the first."""
        wrong = scores.filter(pl.col("status") == Status.REF_MISMATCH).unique(
            "record", maintain_order=True
        )
        found = {}
        for record, chrom, pos, ref in wrong.select("record", "chrom", "pos", "ref").iter_rows():
            bases = self.bases(chrom, zero_based(pos, ref))
            found[record] = bases
            if self.said < _SHOWN:
                self.said += 1
                _log.info(
                    "%s:%d: REF is %s, the reference has %s", chrom, pos, _cut(ref), _cut(bases)
                )
        return found

    def bases(self, chrom: str, bases: Span) -> str:
        """What the reference has there; a point where it has nothing."""
        for span in self.genome.spans(chrom):
            if span.start <= bases.start < span.stop:
                return dna.decode(self.genome.fetch(chrom, bases.start, min(bases.stop, span.stop)))
        return "."


def _cut(bases: str) -> str:
    return bases if len(bases) <= _LONGEST else f"{bases[:_LONGEST]}..."
