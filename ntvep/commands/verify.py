"""a scored file -> a random sample of its alleles, scored again and compared: ``ntvep verify``."""

import logging
from collections.abc import Sequence
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
from ntvep.provenance import Provenance
from ntvep.schema import ALLELES, STATUS_DTYPE, Status

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
    made = provenance.model
    settings = provenance.settings
    scorer = load_model(model, device=device, precision=precision or made.precision)
    if scorer.identity.weights_sha256 != made.weights_sha256:
        raise ModelError(
            f"{source}: was made with {made.model_id}, weights {made.weights_sha256[:12]}; "
            f"{model} has weights {scorer.identity.weights_sha256[:12]}. Give --model the model of "
            "the output"
        )
    if scorer.identity.device != made.device:
        _log.warning(
            "%s was computed on %s, this is %s: the last digits may differ",
            source,
            made.device,
            scorer.identity.device,
        )
    genome = open_reference(reference)
    _compare_contigs(genome, provenance, source)
    setup = ScoringContext(genome, scorer.model, scorer.description, settings)
    alleles = stored.select([column.name for column in ALLELES])
    readable = pl.Series("status", map(text_status, stored["ref"], stored["alt"]), STATUS_DTYPE)
    # What was not asked for is not asked for again.
    left_out = pl.col("status") == Status.NOT_SELECTED
    asked = alleles.with_columns(
        pl.when(left_out).then("status").otherwise(readable).alias("status")
    )
    fresh = score_alleles(asked, setup).scores
    found = _compared(stored, fresh, settings.score_columns, tolerance)
    if found.differing:
        shown = "\n  ".join(found.differing[:_SHOWN])
        raise VerificationError(
            f"{source}: {len(found.differing)} of {found.values + found.alleles} values of "
            f"{found.alleles} alleles come out differently:\n  {shown}\nExpected differences below "
            f"{tolerance:g}. Is the reference the one of the output ({provenance.reference})?"
        )
    return found


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
            "%s: was scored with other sequences of %s than %s has; what is not in this sample may "
            "come out differently",
            source,
            some(others, 3),
            genome.path.name,
        )


def _compared(
    stored: pl.DataFrame, fresh: pl.DataFrame, names: Sequence[str], tolerance: float
) -> Verification:
    """Statuses and scores of the same alleles, row by row."""
    differing, largest, values = [], 0.0, 0
    for old, new in zip(stored.iter_rows(named=True), fresh.iter_rows(named=True), strict=True):
        where = f"{old['chrom']}:{old['pos']} {old['ref']}>{old['alt']}"
        if old["status"] != new["status"]:
            differing.append(f"{where} status {old['status']}, now {new['status']}")
            continue
        for name in names:
            before, after = old[name], new[name]
            if before is None or after is None:
                if before is not after:
                    differing.append(f"{where} {name} {before}, now {after}")
                continue
            values += 1
            difference = abs(after - before) / max(1.0, abs(before))
            largest = max(largest, difference)
            if difference > tolerance:
                differing.append(f"{where} {name} {before:.6g}, now {after:.6g}")
    return Verification(stored.height, values, largest, differing)


def _of_table(source: Path, sample: int, seed: int) -> tuple[pl.DataFrame, Provenance]:
    """A sample of a table's rows, in their order."""
    metadata, _ = tables.read_metadata(source)
    provenance = Provenance.from_json(metadata, str(source))
    total = sum(rows.height for rows in tables.read_row_groups(source))
    chosen, first, parts = _choice(total, sample, seed), 0, []
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
        chosen, first, parts = _choice(inspection.records, sample, seed), 0, []
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


def _choice(total: int, sample: int, seed: int) -> Int64[np.ndarray, "chosen"]:
    """Numbers below ``total``, each at most once, ascending."""
    chosen = np.random.default_rng(seed).choice(total, min(sample, total), replace=False)
    return np.sort(chosen)
