"""a store -> whether it is whole, of a genome, and what its model says: ``ntvep store verify``."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ntvep import dna
from ntvep.commands.known import refuse_other_sequences
from ntvep.commands.verify import (
    Verification,
    Which,
    choice,
    compared,
    refuse_differing,
    scored_again,
)
from ntvep.errors import ConfigError, InputError, ReferenceMismatchError
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.store import (
    ABSENT,
    Block,
    Store,
    open_store,
    refuse_changed_file,
    table_of,
)
from ntvep.schema import SOURCE, Source
from ntvep.windows import one_based_places


@dataclass(frozen=True)
class Checked:
    """What :func:`verify` found in order.

    Attributes:
        blocks: read, and of the checksum that the index has.
        snvs: in them.
        again: a sample that was scored again; None if no model was given.
    """

    blocks: int
    snvs: int
    again: Verification | None


def verify(
    folder: Path,
    reference: Path | None,
    model: str | None,
    *,
    sample: int = 100,
    seed: int = 0,
    device: str = "auto",
) -> Checked:
    """Read a store whole, compare its REF with a genome, and score a sample of it again.

    Args:
        folder: the store.
        reference: FASTA; None leaves REF unproven.
        model: the one that made it; None scores nothing.
        sample: how many SNVs to score again.
        seed: of the choice.
        device: where to compute.

    Raises:
        InputError: a file or a block is cut or changed; names it.
        ReferenceMismatchError: it is of another genome.
        VerificationError: a status differs, or a score by more than the store's stated error.
    """
    if model and not reference:
        raise ConfigError("--model scores a sample again, for which it needs --reference FASTA")
    if sample < 1:
        raise ConfigError(f"--sample is {sample}; expected 1 or more")
    store = open_store(folder)
    genome = open_reference(reference) if reference else None
    if genome:
        refuse_other_sequences(store, genome, [contig.name for contig in store.contigs])
    total = sum(contig.snvs for contig in store.contigs)
    chosen = choice(total, sample, seed) if model else np.zeros(0, np.int64)
    parts, blocks, snvs = [], 0, 0
    for contig in store.contigs:
        refuse_changed_file(store, contig)
        before = snvs
        for block in store.blocks(contig.name):
            if genome:
                _compare_bases(store, block, genome)
            behind = snvs + int(np.count_nonzero(block.statuses != ABSENT))
            here = chosen[(chosen >= snvs) & (chosen < behind)] - snvs
            if len(here):
                parts.append(table_of(block, store.about)[here.tolist()])
            blocks, snvs = blocks + 1, behind
        if snvs - before != contig.snvs:
            raise InputError(
                f"{folder / contig.file}: holds {snvs - before} SNVs, expected {contig.snvs}; "
                "build the store again"
            )
    if not (model and genome and parts):
        return Checked(blocks, snvs, None)
    return Checked(blocks, snvs, _again(store, pl.concat(parts), genome, Which(model, device)))


def _compare_bases(store: Store, block: Block, genome: FastaReference) -> None:
    """Stop if a genome has another base than a REF of the store."""
    known = np.flatnonzero(block.ref != dna.N)
    for span in genome.spans(block.contig):
        first, stop = max(span.start, block.start), min(span.stop, block.start + len(block.ref))
        if first >= stop:
            continue
        bases = genome.fetch(block.contig, first, stop)
        here = known[(known >= first - block.start) & (known < stop - block.start)]
        wrong = here[bases[here + block.start - first] != block.ref[here]]
        known = np.setdiff1d(known, here)
        if len(wrong):
            known = wrong
            break
    if len(known):
        pos = int(one_based_places(known[:1] + block.start)[0])
        raise ReferenceMismatchError(
            f"{store.folder}: {block.contig}:{pos} is {dna.decode(block.ref[known[:1]])} there, "
            f"{genome.path.name} has another base or none; give --reference the FASTA of the store "
            f"({store.about.reference})"
        )


def _again(
    store: Store, stored: pl.DataFrame, genome: FastaReference, which: Which
) -> Verification:
    """Score SNVs of a store again, and compare."""
    identity, errors = store.about.identity, store.about.errors
    rows = stored.with_columns(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("record"),
        pl.lit(1, pl.UInt16).alias("allele"),
        pl.lit(Source.STORE, SOURCE.dtype).alias(SOURCE.name),
    )
    fresh = scored_again(rows, store.folder, identity.model, identity.settings, genome, which)
    found = compared(rows, fresh, identity.settings.score_columns, 0.0, errors)
    refuse_differing(found, store.folder, f"the error that the store declares ({errors})")
    return found
