"""``--known`` -> stores that fit a genome and settings, and what they have of ALLELES."""

from collections.abc import Iterable

from ntvep.errors import ReferenceMismatchError
from ntvep.genome import canonical
from ntvep.io.fasta import FastaReference
from ntvep.io.store import Store


def refuse_other_sequences(store: Store, genome: FastaReference, contigs: Iterable[str]) -> None:
    """Stop if a genome has other bases than those that a store's scores are of.

    Args:
        store: the store.
        genome: the reference that is given now.
        contigs: that matter; those that the store does not have are of no concern.

    Raises:
        ReferenceMismatchError: naming the contig.
    """
    scored = {canonical(record): digits for record, digits in store.about.md5.items()}
    shared = [chrom for chrom in contigs if store.name_of(genome.contig(chrom) or chrom)]
    for record, digits in genome.md5(shared).items():
        if scored.get(canonical(record)) != digits:
            raise ReferenceMismatchError(
                f"{store.folder}: its scores are of another sequence of {record} than "
                f"{genome.path.name} has (md5 {digits}): another assembly, or another slice of it? "
                f"Give --reference {store.about.reference}, or a store of this one"
            )
