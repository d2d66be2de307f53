"""SCORES, a background -> SCORES with the place of each llr among variants of its own context."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ntvep.commands.inputs import provenance_of
from ntvep.errors import InputError, ReferenceMismatchError
from ntvep.evaluate.background import Among, by_context, calibrate, compare, contexts, means
from ntvep.files import digest
from ntvep.io.fasta import FastaReference
from ntvep.io.tables import read_background


@dataclass(frozen=True)
class Background:
    """Variants at random places whose scores others are compared with.

    Attributes:
        sha256: of the table.
        among: scores of each context.
        means: mean score of each pentanucleotide.
    """

    sha256: str
    among: Among
    means: Mapping[str, float]

    def compared(self, scores: pl.DataFrame, genome: FastaReference) -> pl.DataFrame:
        """SCORES with the columns of :data:`ntvep.schema.COMPARED`.

        Raises:
            ReferenceMismatchError: the genome has other bases than those that were scored.
        """
        found, llr = contexts(scores, genome), scores["llr"]
        if found.differs.any():
            chrom, pos, ref = scores.filter(found.differs).select("chrom", "pos", "ref").row(0)
            raise ReferenceMismatchError(
                f"{chrom}:{pos} {ref} was scored, but {genome.path.name} has another base there; "
                "expected the reference of the scores"
            )
        calibrated = calibrate(llr, found.pentanucleotide, self.means)
        return scores.with_columns(*compare(llr, found.context, self.among), calibrated)


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
    table = read_background(path)
    return Background(digest(path), by_context(table), means(table))
