"""SCORES, a background -> SCORES with the place of each llr among variants of its own context."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ntvep.commands.inputs import provenance_of
from ntvep.errors import InputError, ReferenceMismatchError
from ntvep.evaluate.background import Among, by_context, compare, contexts
from ntvep.files import digest
from ntvep.io.fasta import FastaReference
from ntvep.io.tables import read_background


@dataclass(frozen=True)
class Background:
    """Variants at random places whose scores others are compared with.

    Attributes:
        sha256: of the table.
        among: scores of each context.
    """

    sha256: str
    among: Among

    def compared(self, scores: pl.DataFrame, genome: FastaReference) -> pl.DataFrame:
        """SCORES with ``llr_percentile`` and ``llr_phred``; see :func:`compare`.

        Raises:
            ReferenceMismatchError: the genome has other bases than those that were scored.
        """
        context, differs = contexts(scores, genome)
        if differs.any():
            chrom, pos, ref = scores.filter(differs).select("chrom", "pos", "ref").row(0)
            raise ReferenceMismatchError(
                f"{chrom}:{pos} {ref} was scored, but {genome.path.name} has another base there; "
                "expected the reference of the scores"
            )
        return scores.with_columns(compare(scores["llr"], context, self.among))


def opened_background(path: Path, fingerprint: str, how: str) -> Background:
    """A background for scores of one fingerprint.

    Args:
        path: what :func:`ntvep.commands.background.draw_background` wrote.
        fingerprint: of the scores that are to be compared.
        how: they were made, for the error.

    Raises:
        InputError: it is not a background, or has another fingerprint.
    """
    made = provenance_of(path)
    if made.fingerprint != fingerprint:
        raise InputError(
            f"{path}: its fingerprint is {made.fingerprint}, that of the scores is {fingerprint}; "
            f"expected one model and one set of settings ({how}). Run ntvep background draw with "
            "them"
        )
    return Background(digest(path), by_context(read_background(path)))
