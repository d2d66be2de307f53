"""VCF -> chunks, and chunks' SCORES -> one annotated VCF: ``ntvep split`` and ``ntvep gather``."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain, pairwise, tee
from pathlib import Path

import polars as pl

from ntvep.commands.inputs import all_chunks, opened_vcf
from ntvep.commands.options import OnBadRecord
from ntvep.commands.summary import Summary
from ntvep.commands.writers import targets, writers
from ntvep.errors import ConfigError, InputError
from ntvep.io import tables, vcf
from ntvep.io.fasta import open_reference
from ntvep.io.staging import refuse_overwriting, staged
from ntvep.io.vcf_sites import sites, sites_header
from ntvep.io.vcf_write import bgzip_writer
from ntvep.provenance import Provenance, difference
from ntvep.schema import KEY

_KEY = [column.name for column in KEY]


def split(
    source: Path, folder: Path, chunks: int, on_bad_record: OnBadRecord = "fail"
) -> list[Path]:
    """Cut a VCF into contiguous chunks of nearly equal numbers of records.

    A chunk holds only CHROM, POS, REF and ALT: nothing else is needed to score, and no genotype
    leaves the input. Records of one site stay together, so there may be empty chunks.

    Args:
        source: VCF or BCF; not standard input, because :func:`gather` reads it again.
        folder: where ``00000.vcf.gz``, ``00001.vcf.gz``, ... go; made if missing.
        chunks: how many.
        on_bad_record: stop at a line that is not a record, or leave such lines out.

    Returns:
        The chunks, in order.
    """
    if chunks < 1:
        raise ConfigError(f"--chunks is {chunks}; expected 1 or more")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.vcf.gz" for number in range(chunks)]
    with opened_vcf(source, on_bad_record) as inspection, staged(paths, force=True) as staging:
        lines = chain.from_iterable(chunk.lines for chunk in all_chunks(inspection))
        rest = sites(lines)
        held: list[bytes] = next(rest, [])
        written = 0
        for number, path in enumerate(paths, start=1):
            wanted = inspection.records * number // chunks
            with bgzip_writer(staging.path(path)) as write:
                write(sites_header(inspection.contigs))
                while held and (written < wanted or number == chunks):
                    write(held)
                    written += len(held)
                    held = next(rest, [])
    return paths


def gather(
    source: Path,
    scored: Sequence[Path],
    output: Path,
    *,
    command: str,
    table: Path | None = None,
    reference: Path | None = None,
    on_bad_record: OnBadRecord = "fail",
    force: bool = False,
) -> Summary:
    """Join the SCORES of all chunks and annotate the VCF that was split.

    Args:
        source: the VCF that was split.
        scored: the chunks' tables, in order.
        output: .vcf, .vcf.gz or .bcf; or .parquet.
        command: what the user typed, for the provenance.
        table: Parquet of all SCORES beside a VCF.
        reference: FASTA, for the lengths of contigs that the header lacks.
        on_bad_record: as it was for :func:`split`.
        force: replace outputs that exist.

    Raises:
        InputError: a chunk is missing, out of order, of another VCF, or made with other settings.
    """
    started = time.monotonic()
    where = targets(output, table)
    for path in where.files:
        refuse_overwriting(path, (source, *scored))
    provenance, summary = joined(scored, command)
    with (
        staged(where.files, force=force) as staging,
        opened_vcf(source, on_bad_record) as inspection,
    ):
        summary.records = inspection.records
        summary.bad_records = [asdict(bad) for bad in inspection.bad]
        lengths = open_reference(reference).lengths(inspection.contigs) if reference else {}
        with writers(where, staging, inspection, provenance, lengths, summary) as write:
            done = 0
            for lines, scores in _joined_chunks(inspection, scored):
                write(lines, scores, {})
                done += len(lines)
            if done < inspection.records:
                raise InputError(
                    f"{inspection.name}: has {inspection.records} records, but the tables hold "
                    f"scores of {done}: the last chunk is missing or truncated. Score it again"
                )
            summary.seconds = round(summary.seconds + time.monotonic() - started, 3)
    summary.log()
    return summary


def joined(scored: Sequence[Path], command: str) -> tuple[Provenance, Summary]:
    """One provenance and one summary for the SCORES of all chunks.

    Args:
        scored: the chunks' tables.
        command: what the user typed, for the provenance.

    Raises:
        InputError: they are not of one fingerprint and one set of settings.
    """
    read = [tables.read_metadata(path) for path in scored]
    provenances = [
        Provenance.from_json(provenance, str(path))
        for path, (provenance, _) in zip(scored, read, strict=True)
    ]
    for (path, first), (other, second) in pairwise(zip(scored, provenances, strict=True)):
        if first.background != second.background:
            raise InputError(
                f"{other}: compared with another background than {path}, or with none; score all "
                "chunks with the same --background"
            )
        if first.stores != second.stores:
            raise InputError(
                f"{other}: scored with other stores than {path}, or with none; score all chunks "
                "with the same --known"
            )
        if (first.fingerprint, first.settings) != (second.fingerprint, second.settings):
            raise InputError(
                f"{other}: fingerprint {second.fingerprint}, {path}: {first.fingerprint} "
                f"({difference(second, first) or 'made by another version of ntvep'}). Score all "
                "chunks with the same model and options"
            )
    summary = Summary(fingerprint=provenances[0].fingerprint)
    aliases: dict[str, str] = {}
    contigs: dict[str, str] = {}
    for provenance, (_, text) in zip(provenances, read, strict=True):
        part = json.loads(text)
        summary.add(part["statuses"], part["passes"], part["known"], part.get("again", 0))
        summary.seconds += part["seconds"]
        aliases |= part["contig_aliases"]
        contigs |= provenance.contigs
    summary.contig_aliases = aliases
    return replace(provenances[0], command=command, contigs=contigs), summary


def _joined_chunks(
    inspection: vcf.Inspection, scored: Sequence[Path]
) -> Iterator[tuple[Sequence[bytes], pl.DataFrame]]:
    """Records with their scores, matched by their keys."""
    parts, ahead = tee(_renumbered(scored))
    chunks = vcf.read_chunks(inspection, (rows["record"].n_unique() for _, rows in ahead))
    for path, scores in parts:
        chunk = next(chunks, None)
        if chunk is None or not scores.select(_KEY).equals(chunk.alleles.select(_KEY)):
            raise InputError(
                f"{path}: its scores do not match the next records of {inspection.name}: a chunk "
                "is missing, out of order, or of another VCF. Split and score again"
            )
        yield chunk.lines, scores


def _renumbered(scored: Sequence[Path]) -> Iterator[tuple[Path, pl.DataFrame]]:
    """Rows of all tables, with the numbers that their records have in the whole input."""
    first = 0
    for path in scored:
        behind = first
        for rows in tables.read_row_groups(path):
            numbered = rows.with_columns((pl.col("record") + first).cast(pl.UInt32))
            behind = int(numbered["record"][-1]) + 1
            yield path, numbered
        first = behind
