"""a scored file -> a random sample of its alleles, scored again and compared: ``ntvep verify``."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int64

from ntvep.commands.inputs import CHUNK_RECORDS
from ntvep.errors import ConfigError, InputError, ModelError, VerificationError, some
from ntvep.io import tables, vcf
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.vcf import text_status
from ntvep.io.vcf_scores import provenance_in, scores_in
from ntvep.models.loaded import load_model
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.provenance import ModelIdentity, Provenance
from ntvep.schema import ALLELES, SOURCE, STATUS_DTYPE, Source, Status
from ntvep.settings import Settings

_log = logging.getLogger("ntvep")
# As many disagreements are shown.
_SHOWN = 5


@dataclass(frozen=True)
class Verification:
    """What came out.

    Attributes:
        alleles: how many were scored again.
        values: how many scores were compared.
        largest: the largest difference, relative where the score is above 1.
        differing: a line for each status or score that differs by more than the tolerance.
    """

    alleles: int
    values: int
    largest: float
    differing: Sequence[str]


@dataclass(frozen=True)
class Which:
    """Which model computes anew.

    Attributes:
        model: as in :func:`verify`.
        device: likewise.
        precision: likewise.
    """

    model: str
    device: str = "auto"
    precision: str | None = None


def verify(
    source: Path,
    reference: Path,
    model: str,
    *,
    sample: int = 100,
    seed: int = 0,
    tolerance: float = 1e-4,
    device: str = "auto",
    precision: str | None = None,
    tag: str = "",
) -> Verification:
    """Score randomly chosen alleles of an output again, with its own settings.

    Args:
        source: an annotated VCF, or a Parquet of SCORES.
        reference: the FASTA that it was made with.
        model: the model that it was made with.
        sample: how many alleles.
        seed: of the choice.
        tolerance: largest difference, relative where the score is above 1. Another device, or
            another release of torch, moves the last digits.
        device: where to compute.
        precision: of matrix products; None takes the output's own.
        tag: of an annotated VCF: which scores, if they were made with ``--tag``.

    Raises:
        InputError: the file has no provenance of ours.
        ModelError: it was made with other weights.
        VerificationError: a status or a score differs.
    """
    if sample < 1:
        raise ConfigError(f"--sample is {sample}; expected 1 or more")
    stored, provenance = (
        _of_table(source, sample, seed)
        if source.suffix == ".parquet"
        else _of_vcf(source, sample, seed, tag)
    )
    genome = open_reference(reference)
    _compare_contigs(genome, provenance, source)
    which = Which(model, device, precision)
    fresh = scored_again(stored, source, provenance.model, provenance.settings, genome, which)
    found = compared(stored, fresh, provenance.settings.score_columns, tolerance, provenance.errors)
    refuse_differing(
        found,
        source,
        f"{tolerance:g}. Is the reference the one of the output ({provenance.reference})?",
    )
    return found


def refuse_differing(found: Verification, source: Path, expected: str) -> None:
    """Raise VerificationError if anything came out differently; ``expected`` ends its text."""
    if found.differing:
        shown = "\n  ".join(found.differing[:_SHOWN])
        raise VerificationError(
            f"{source}: {len(found.differing)} of {found.values + found.alleles} values of "
            f"{found.alleles} alleles are different:\n  {shown}\nExpected differences below "
            f"{expected}"
        )


def scored_again(
    stored: pl.DataFrame,
    source: Path,
    made: ModelIdentity,
    settings: Settings,
    genome: FastaReference,
    which: Which,
) -> pl.DataFrame:
    """SCORES of the alleles of an output, computed anew.

    Args:
        stored: rows of the output, with the columns of ALLELES.
        source: their file.
        made: the model that made it.
        settings: likewise.
        genome: the reference.
        which: the model to ask now.

    Raises:
        ModelError: it has other weights than the one that made the output.
    """
    scorer = load_model(
        which.model, device=which.device, precision=which.precision or made.precision
    )
    if scorer.identity.weights_sha256 != made.weights_sha256:
        raise ModelError(
            f"{source}: was made with {made.model_id}, weights {made.weights_sha256[:12]}; "
            f"{which.model} has weights {scorer.identity.weights_sha256[:12]}. Give --model the "
            "model of the output"
        )
    if scorer.identity.device != made.device:
        _log.warning(
            "%s was computed on %s, this is %s: the last digits may differ",
            source,
            made.device,
            scorer.identity.device,
        )
    setup = ScoringContext(genome, scorer.model, scorer.description, settings)
    alleles = stored.select([column.name for column in ALLELES])
    readable = pl.Series("status", map(text_status, stored["ref"], stored["alt"]), STATUS_DTYPE)
    # What was not asked for is not asked for again.
    left_out = pl.col("status") == Status.NOT_SELECTED
    asked = alleles.with_columns(
        pl.when(left_out).then("status").otherwise(readable).alias("status")
    )
    return score_alleles(asked, setup).scores


def _compare_contigs(genome: FastaReference, provenance: Provenance, source: Path) -> None:
    """Warn of contigs that are not those which were scored: a sample need not meet the change."""
    scored = provenance.contigs
    used = [
        contig
        for contig, records in genome.records.items()
        if any(record.name in scored for record in records)
    ]
    found = genome.md5(used)
    if others := [name for name, md5 in scored.items() if found.get(name) != md5]:
        _log.warning(
            "%s: was scored with other sequences of %s than %s has; alleles outside this sample "
            "may differ",
            source,
            some(others, 3),
            genome.path.name,
        )


def compared(
    stored: pl.DataFrame,
    fresh: pl.DataFrame,
    names: Sequence[str],
    tolerance: float,
    errors: Mapping[str, float] | None = None,
) -> Verification:
    """Statuses and scores of the same alleles, row by row.

    Args:
        stored: those of the output.
        fresh: those computed anew.
        names: of the scores.
        tolerance: largest difference, relative where the score is above 1.
        errors: largest difference of a score that came from a store, by name: what that store
            promises, and never more.
    """
    differing, largest, values = [], 0.0, 0
    for old, new in zip(stored.iter_rows(named=True), fresh.iter_rows(named=True), strict=True):
        where = f"{old['chrom']}:{old['pos']} {old['ref']}>{old['alt']}"
        if old["status"] != new["status"]:
            differing.append(f"{where} status {old['status']}, now {new['status']}")
            continue
        limits = (errors or {}) if old.get(SOURCE.name) == Source.STORE else {}
        for name in names:
            before, after = old[name], new[name]
            if before is None or after is None:
                if before is not after:
                    differing.append(f"{where} {name} {before}, now {after}")
                continue
            values += 1
            scale = 1.0 if name in limits else max(1.0, abs(before))
            difference = abs(after - before) / scale
            largest = max(largest, difference)
            if difference > limits.get(name, tolerance):
                differing.append(f"{where} {name} {before:.6g}, now {after:.6g}")
    return Verification(stored.height, values, largest, differing)


def _of_table(source: Path, sample: int, seed: int) -> tuple[pl.DataFrame, Provenance]:
    """A sample of a table's rows, in their order."""
    metadata, _ = tables.read_metadata(source)
    provenance = Provenance.from_json(metadata, str(source))
    total = sum(rows.height for rows in tables.read_row_groups(source))
    chosen, first, parts = choice(total, sample, seed), 0, []
    for rows in tables.read_row_groups(source):
        here = chosen[(chosen >= first) & (chosen < first + rows.height)] - first
        parts.append(rows[here.tolist()])
        first += rows.height
    if not parts:
        raise InputError(f"{source}: has no allele; there is nothing to verify")
    return pl.concat(parts), provenance


def _of_vcf(source: Path, sample: int, seed: int, tag: str) -> tuple[pl.DataFrame, Provenance]:
    """The alleles of a sample of the records of an annotated VCF, in their order."""
    with vcf.opened(source) as inspection:
        provenance = provenance_in(inspection, tag)
        columns = provenance.columns
        chosen, first, parts = choice(inspection.records, sample, seed), 0, []
        for chunk in vcf.read_chunks(inspection, repeat(CHUNK_RECORDS)):
            behind = first + len(chunk.lines)
            here = chosen[(chosen >= first) & (chosen < behind)]
            rows = chunk.alleles.filter(pl.col("record").is_in(here.tolist()))
            lines = [chunk.lines[number - first] for number in here]
            parts.append(scores_in(rows, lines, columns, inspection.name, tag))
            first = behind
    if not parts:
        raise InputError(f"{source}: has no record; there is nothing to verify")
    return pl.concat(parts), provenance


def choice(total: int, sample: int, seed: int) -> Int64[np.ndarray, "chosen"]:
    """Numbers below ``total``, each at most once, ascending."""
    chosen = np.random.default_rng(seed).choice(total, min(sample, total), replace=False)
    return np.sort(chosen)
