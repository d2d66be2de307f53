"""VCF, FASTA, SCORES -> an input that is whole and fits the others, or an error at once."""

import json
import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import polars as pl

from ntvep.commands.options import OnBadRecord
from ntvep.errors import ConfigError, InputError, ReferenceMismatchError, some
from ntvep.io import vcf
from ntvep.io.fasta import FastaReference
from ntvep.io.tables import read_metadata
from ntvep.pipeline import placed
from ntvep.provenance import Provenance, fingerprint
from ntvep.schema import Status

_log = logging.getLogger("ntvep")

# Records in memory at once: enough to share passes between neighbours.
CHUNK_RECORDS = 2_000
# The assembly is judged on this many alleles whose contig the reference has, ...
_SAMPLE = 1_000
# ... but a handful of wrong records, or of records elsewhere, does not make it the wrong assembly.
FEWEST_CHECKED = 20
_FEWEST_UNMAPPED = 100


def all_chunks(inspection: vcf.Inspection) -> Iterator[vcf.Chunk]:
    """Every record of an input, a bounded number at a time."""
    return vcf.read_chunks(inspection, repeat(CHUNK_RECORDS))


@contextmanager
def opened_vcf(
    source: Path, on_bad_record: OnBadRecord, refuse_annotated: bool = False, tag: str = ""
) -> Iterator[vcf.Inspection]:
    """Inspect an input and say once what is odd about it."""
    with vcf.opened(source, on_bad_record, refuse_annotated, tag) as inspection:
        for note in inspection.notes:
            _log.warning("%s: %s", inspection.name, note)
        for bad in inspection.bad:
            _log.warning("%s, line %d left out: %s", inspection.name, bad.line, bad.reason)
        yield inspection


def judge_assembly(inspection: vcf.Inspection, reference: FastaReference, limit: float) -> None:
    """Stop before any work if the variants are not of the reference's assembly.

    Args:
        inspection: of the input.
        reference: the genome.
        limit: the share of REF disagreements, among the first 1,000 alleles that can be checked,
            that is still taken for single wrong records; 1 never stops.

    Raises:
        ReferenceMismatchError: more disagree, or the reference has none of the contigs.
    """
    parts = (chunk.alleles for chunk in all_chunks(inspection))
    judge_alleles(inspection.name, inspection.contigs, inspection.records, parts, reference, limit)


def judge_alleles(
    name: str,
    contigs: Collection[str],
    records: int,
    parts: Iterable[pl.DataFrame],
    reference: FastaReference,
    limit: float,
) -> int:
    """Stop if alleles are not of the reference's assembly; see :func:`judge_assembly`.

    Args:
        name: of the file they come from.
        contigs: that they lie on.
        records: how many there are.
        parts: the alleles, ALLELES; no more are taken than are judged.
        reference: the genome.
        limit: see there.

    Returns:
        Number of alleles whose REF was compared: of few of them nothing follows.
    """
    if not 0 <= limit <= 1:
        raise ConfigError(f"--ref-mismatch-limit is {limit}; expected a share from 0 to 1")
    if limit == 1:
        return 0
    if not any(map(reference.spans, contigs)):
        if records >= _FEWEST_UNMAPPED:
            raise ReferenceMismatchError(
                f"{name}: {reference.path.name} has none of its contigs: expected one "
                f"of {some(contigs, 3)}, found {some(reference.records, 3)}. Give "
                "--reference the FASTA that the variants were called against"
            )
        return 0
    statuses: list[str] = []
    for part in parts:
        comparable = part.filter(pl.col("status") == Status.OK)
        found = placed(comparable, reference)["status"]
        unplaced = [Status.CONTIG_NOT_IN_REFERENCE, Status.POSITION_OUT_OF_RANGE]
        statuses += found.filter(~found.is_in(unplaced)).to_list()
        if len(statuses) >= _SAMPLE:
            break
    checked = statuses[:_SAMPLE]
    wrong = checked.count(Status.REF_MISMATCH)
    if len(checked) >= FEWEST_CHECKED and wrong > limit * len(checked):
        raise ReferenceMismatchError(
            f"{name}: wrong build? {wrong} of the first {len(checked)} REF alleles "
            f"disagree with {reference.path.name} (limit {limit:.0%}). Give --reference the FASTA "
            "that the variants were called against, or --ref-mismatch-limit 1 to score the others"
        )
    return len(checked)


def provenance_of(scores: Path) -> Provenance:
    """What made a table of SCORES, all of which must have one fingerprint.

    Raises:
        InputError: the file is missing, damaged, not ours, or says several fingerprints.
    """
    provenance, summary = read_metadata(scores)
    made = Provenance.from_json(provenance, str(scores))
    said = {made.fingerprint, fingerprint(made.model, made.settings)}
    said.add(json.loads(summary).get("fingerprint", made.fingerprint))
    if len(said) > 1:
        raise InputError(
            f"{scores}: scores of {len(said)} fingerprints in one table "
            f"({', '.join(sorted(said))}); expected those of one model and one set of "
            "settings. Run ntvep score for it again, and give one table for each"
        )
    return made
