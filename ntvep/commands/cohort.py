"""many VCFs -> their distinct alleles -> VCFs to score, and SCORES of these -> one table."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import polars as pl

from ntvep.commands.chunks import joined
from ntvep.commands.inputs import all_chunks, judge_assembly, opened_vcf
from ntvep.commands.options import OnBadRecord
from ntvep.commands.sheet import read_sheet
from ntvep.commands.summary import Summary
from ntvep.errors import InputError
from ntvep.io import vcf_made
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.staging import refuse_overwriting, staged
from ntvep.io.tables import read_distinct, read_row_groups, table_writer
from ntvep.io.vcf_sites import sites_header
from ntvep.io.vcf_write import bgzip_writer
from ntvep.pipeline import minimal
from ntvep.schema import DISTINCT, KEY, MINIMAL, SAMPLES, Status

_SPELLED = [column.name for column in KEY if column.name not in ("record", "allele")]
_SAME = ["chrom", *(column.name for column in MINIMAL)]
# Rows that wait before they are joined with those that are known: few joins, and little memory.
_WAITING = 2_000_000
# Rows that are made into lines at once.
_ROWS = 50_000


def collect(
    sources: Sequence[Path],
    reference: Path,
    output: Path,
    *,
    max_allele_bases: int,
    on_bad_record: OnBadRecord = "fail",
    ref_mismatch_limit: float,
    force: bool = False,
) -> Summary:
    """List the distinct alleles of many VCFs, and in how many of them each is.

    An allele that no model could score (another REF, no sequence, too long) is in no list: it gets
    its status when its VCF is annotated.

    Args:
        sources: VCFs or BCFs.
        reference: FASTA of their assembly.
        output: .parquet of DISTINCT.
        max_allele_bases: the most bases that an allele may change.
        on_bad_record: stop at a line that is not a record, or leave such lines out.
        ref_mismatch_limit: the share of REF disagreements that stops the run as a wrong build.
        force: replace an output that exists.

    Returns:
        Counts over all VCFs.
    """
    started = time.monotonic()
    refuse_overwriting(output, (*sources, reference))
    genome, summary = open_reference(reference), Summary()
    known, waiting = _none(), list[pl.DataFrame]()
    with staged([output], force=force) as staging:
        for source in sources:
            with opened_vcf(source, on_bad_record) as inspection:
                judge_assembly(inspection, genome, ref_mismatch_limit)
                summary.records += inspection.records
                summary.bad_records = [
                    *summary.bad_records,
                    *(asdict(bad) for bad in inspection.bad),
                ]
                parts = [
                    _spelled(chunk.alleles, genome, max_allele_bases, summary)
                    for chunk in all_chunks(inspection)
                ]
            # Two records of one VCF that spell one allele are one sample that has it.
            waiting.append(_each_once([_none(), *parts], pl.lit(1, SAMPLES.dtype)))
            if sum(part.height for part in waiting) > max(_WAITING, known.height):
                known, waiting = _each_once([known, *waiting]), []
        summary.contig_aliases = genome.aliases
        summary.seconds = round(time.monotonic() - started, 3)
        with _writer(staging.path(output), summary) as write:
            write(_each_once([known, *waiting]))
    summary.log(ok="scorable")
    return summary


def _none() -> pl.DataFrame:
    return pl.DataFrame(schema={column.name: column.dtype for column in DISTINCT})


def _writer(path: Path, summary: Summary) -> AbstractContextManager[Callable[[pl.DataFrame], None]]:
    return table_writer(path, DISTINCT, "{}", summary.to_json)


def _spelled(
    alleles: pl.DataFrame, genome: FastaReference, max_allele_bases: int, summary: Summary
) -> pl.DataFrame:
    """Those that have a minimal form: it, and how the record spells them."""
    judged, keys = minimal(alleles, genome, max_allele_bases)
    summary.count(judged["status"])
    spelled = judged.select("pos", pl.col("ref", "alt").str.to_uppercase())[keys["row"]]
    found = pl.concat([keys.drop("row"), spelled], how="horizontal")
    once = pl.lit(1, SAMPLES.dtype).alias(SAMPLES.name)
    return found.with_columns(once).select(column.name for column in DISTINCT)


def _each_once(parts: Sequence[pl.DataFrame], samples: pl.Expr | None = None) -> pl.DataFrame:
    """Each allele once, in the order of places, in the shortest of its spellings."""
    size = pl.col("ref").str.len_bytes() + pl.col("alt").str.len_bytes()
    counted = pl.col(SAMPLES.name).sum().cast(SAMPLES.dtype) if samples is None else samples
    return (
        pl.concat(parts)
        .sort(*_SAME, size, "pos", "ref", "alt")
        .group_by(_SAME, maintain_order=True)
        .agg(pl.col("pos", "ref", "alt").first(), counted.alias(SAMPLES.name))
        .select(column.name for column in DISTINCT)
        .sort(*_SPELLED)
    )


def split(
    parts: Sequence[Path], output: Path, chunks: Sequence[Path], *, force: bool = False
) -> None:
    """Join lists of distinct alleles, and cut them into contiguous VCFs of nearly equal size.

    Args:
        parts: what :func:`collect` wrote.
        output: .parquet of DISTINCT.
        chunks: .vcf.gz, in order; there may be more of them than alleles.
        force: replace outputs that exist.
    """
    for path in (output, *chunks):
        refuse_overwriting(path, parts)
    read = [read_distinct(part) for part in parts]
    distinct = _each_once([_none(), *(table for table, _ in read)])
    summary = Summary()
    for _, text in read:
        part = json.loads(text)
        summary.records += part["records"]
        summary.add(part["statuses"], 0)
        summary.seconds = round(summary.seconds + part["seconds"], 3)
        summary.contig_aliases = {**summary.contig_aliases, **part["contig_aliases"]}
        summary.bad_records = [*summary.bad_records, *part["bad_records"]]
    borders = [distinct.height * number // len(chunks) for number in range(len(chunks) + 1)]
    with staged([output, *chunks], force=force) as staging:
        with _writer(staging.path(output), summary) as write:
            write(distinct)
        for path, (begin, end) in zip(chunks, pairwise(borders), strict=True):
            _write_sites(staging.path(path), distinct[begin:end])


def _write_sites(path: Path, distinct: pl.DataFrame) -> None:
    with bgzip_writer(path) as write:
        write(sites_header(distinct["chrom"].unique(maintain_order=True)))
        rows = distinct.select("chrom", "pos", "ref", "alt").with_row_index("record")
        for some in rows.iter_slices(_ROWS):
            write(vcf_made.chunk(some).lines)


def gather(
    distinct: Path,
    scored: Sequence[Path],
    output: Path,
    summary: Path,
    *,
    command: str,
    force: bool = False,
) -> None:
    """Join the SCORES of all distinct alleles into one table, which says who has them.

    Args:
        distinct: what :func:`split` joined.
        scored: the parts' tables, in order.
        output: .parquet of SCORES, MINIMAL and SAMPLES.
        summary: .json: ``passes``, ``alleles`` of all VCFs, ``distinct`` ones, ``seconds``.
        command: what the user typed, for the provenance.
        force: replace outputs that exist.

    Raises:
        InputError: a part is missing, out of order, of other alleles, or made with other settings.
    """
    for path in (output, summary):
        refuse_overwriting(path, (distinct, *scored))
    provenance, done = joined(scored, command)
    alleles, text = read_distinct(distinct)
    done.records = alleles.height
    collected = json.loads(text)
    with staged([output, summary], force=force) as staging:
        columns = (*provenance.columns, *MINIMAL, SAMPLES)
        with table_writer(
            staging.path(output), columns, provenance.to_json(), done.to_json
        ) as write:
            first = 0
            for path, rows in _numbered(scored):
                there = alleles[first : first + rows.height]
                if not rows.select(_SPELLED).equals(there.select(_SPELLED)):
                    raise InputError(
                        f"{path}: its scores do not match the next alleles of {distinct}: a part "
                        "is missing, out of order, or from other VCFs. Split and score again"
                    )
                beside = there.select(column.name for column in (*MINIMAL, SAMPLES))
                write(pl.concat([rows, beside], how="horizontal"))
                first += rows.height
            if first < alleles.height:
                raise InputError(
                    f"{distinct}: has {alleles.height} alleles, but the tables hold scores of "
                    f"{first}: the last part is missing or truncated. Score it again"
                )
        took = {
            "passes": done.passes,
            "alleles": collected["alleles"],
            "distinct": alleles.height,
            "seconds": round(done.seconds + collected["seconds"], 3),
            "known": done.known,
            "records": collected["records"],
            "statuses": done.statuses,
            "fingerprint": done.fingerprint,
            "contig_aliases": collected["contig_aliases"],
            "bad_records": collected["bad_records"],
        }
        staging.path(summary).write_text(json.dumps(took, indent=2) + "\n", encoding="utf-8")
    done.log()


def _numbered(scored: Sequence[Path]) -> Iterator[tuple[Path, pl.DataFrame]]:
    """Rows of all tables, each allele a record of its own."""
    first = 0
    for path in scored:
        for rows in read_row_groups(path):
            record = pl.int_range(first, first + rows.height, dtype=pl.UInt32)
            yield path, rows.with_columns(record.alias("record"))
            first += rows.height


def counts(
    summaries: Sequence[Path], output: Path, sheet: Path | None = None, *, force: bool = False
) -> None:
    """A line for each sample: what the sheet says of it, and the counts of its summary.

    Args:
        summaries: ``NAME.vcf.gz.summary.json`` of each.
        output: .tsv.
        sheet: the samples, if there is one.
        force: replace an output that exists.
    """
    said = {sample.name: sample.more for sample in read_sheet(sheet)[0]} if sheet else {}
    rows, statuses = [], set[str]()
    for path in summaries:
        name = path.name.removesuffix(".summary.json").removesuffix(".vcf.gz")
        counted = json.loads(path.read_text("utf-8"))
        statuses |= set(counted["statuses"])
        numbers = {key: counted[key] for key in ("records", "alleles")} | counted["statuses"]
        more = {column: cell or None for column, cell in said.get(name, {}).items()}
        rows.append({"sample": name, **more, **numbers})
    # Every status that occurs, in the order of the definitions.
    own = list(next(iter(said.values()), {}))
    columns = ["sample", *own, "records", "alleles", *(s.value for s in Status if s in statuses)]
    table = pl.DataFrame(
        {column: [row.get(column, 0) for row in rows] for column in dict.fromkeys(columns)}
    )
    with staged([output], force=force) as staging:
        table.write_csv(staging.path(output), separator="\t")
