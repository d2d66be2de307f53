"""VCFs, a table of scored alleles -> the VCFs as ``ntvep score`` annotates them: no model."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from ntvep.commands.inputs import all_chunks, opened_vcf, provenance_of
from ntvep.commands.mismatches import Mismatches
from ntvep.commands.options import OnBadRecord
from ntvep.commands.summary import Summary
from ntvep.commands.writers import targets, writers
from ntvep.errors import ConfigError, InputError
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.staging import refuse_overwriting, staged
from ntvep.io.tables import ScoredAlleles
from ntvep.pipeline import minimal
from ntvep.provenance import Provenance
from ntvep.schema import ALLELES, MINIMAL, check

_SAME = ["chrom", *(column.name for column in MINIMAL)]


@dataclass(frozen=True)
class _Scored:
    """A table of scored alleles, and what made it.

    Attributes:
        path: of the table.
        table: finds its rows.
        made: its provenance.
    """

    path: Path
    table: ScoredAlleles
    made: Provenance

    def of(self, alleles: pl.DataFrame, genome: FastaReference, name: str) -> pl.DataFrame:
        """SCORES of some alleles.

        Raises:
            InputError: the table lacks one that can be scored.
        """
        judged, keys = minimal(alleles, genome, self.made.settings.max_allele_bases)
        wanted = [column.name for column in self.made.columns[len(ALLELES) :]]
        found = keys.join(self.table.near(keys), on=_SAME, how="inner", maintain_order="left")
        if found.height < keys.height:
            row = keys.join(found, on="row", how="anti")["row"][0]
            chrom, pos, ref, alt = judged.row(row, named=False)[2:6]
            raise InputError(
                f"{name}: {self.path} has no {chrom}:{pos}:{ref:.40}:{alt:.40}: it was made from "
                "other VCFs, or from an earlier version of this one. Run ntvep cohort collect, "
                "split, score and gather again"
            )
        joined = judged.with_row_index("row").join(
            found.select("row", *wanted, pl.col("status").alias("scored")),
            on="row",
            how="left",
            maintain_order="left",
        )
        joined = joined.with_columns(pl.coalesce("scored", "status").alias("status"))
        return check(joined.drop("row", "scored"), self.made.columns)


def annotate(
    sources: Sequence[Path],
    outputs: Sequence[Path],
    alleles: Path,
    reference: Path,
    *,
    command: str,
    on_bad_record: OnBadRecord = "fail",
    force: bool = False,
) -> None:
    """Annotate VCFs with the scores of their alleles.

    Each is byte for byte what ``ntvep score`` makes of it, but for the line that says the command.

    Args:
        sources: VCFs or BCFs.
        outputs: .vcf, .vcf.gz or .bcf, one for each.
        alleles: what ``ntvep cohort gather`` wrote.
        reference: the FASTA of the scoring.
        command: what the user typed, where there is one VCF. An output of several names its own
            alone: it may go to another person than the next.
        on_bad_record: as it was when the alleles were collected.
        force: replace outputs that exist.

    Raises:
        InputError: an allele has no score, or the reference is another one.
    """
    if len(sources) != len(outputs):
        raise ConfigError(
            f"--output was given {len(outputs)} times for {len(sources)} inputs; expected one each"
        )
    made = provenance_of(alleles)
    genome = open_reference(reference)
    for output in outputs:
        for path in targets(output, None).files:
            refuse_overwriting(path, (*sources, alleles, reference))
    scored = _Scored(alleles, ScoredAlleles(alleles), made)
    for source, output in zip(sources, outputs, strict=True):
        given = ["--alleles", alleles.name, "--reference", reference.name, "--output", output.name]
        own = shlex.join(["ntvep", "cohort", "annotate", source.name, *given])
        typed = command if len(sources) == 1 else own
        _annotate(source, output, scored, genome, typed, (on_bad_record, force))


def _annotate(
    source: Path,
    output: Path,
    scored: _Scored,
    genome: FastaReference,
    command: str,
    how: tuple[OnBadRecord, bool],
) -> None:
    started, where = time.monotonic(), targets(output, None)
    on_bad_record, force = how
    with (
        staged(where.files, force=force) as staging,
        opened_vcf(source, on_bad_record) as inspection,
    ):
        contigs = genome.md5(inspection.contigs)
        for contig, md5 in contigs.items():
            if scored.made.contigs.get(contig, md5) != md5:
                raise InputError(
                    f"{genome.path}: its {contig} has the md5 {md5}; {scored.path} was scored "
                    f"with {scored.made.contigs[contig]}. Give --reference the FASTA of scoring"
                )
        provenance = replace(
            scored.made, command=command, contigs=contigs, reference=genome.path.name
        )
        summary = Summary(
            records=inspection.records,
            fingerprint=provenance.fingerprint,
            bad_records=[asdict(bad) for bad in inspection.bad],
            contig_aliases={
                name: genome.aliases[name] for name in inspection.contigs if name in genome.aliases
            },
        )
        lengths, mismatches = genome.lengths(inspection.contigs), Mismatches(genome)
        with writers(where, staging, inspection, provenance, lengths, summary) as write:
            for chunk in all_chunks(inspection):
                scores = scored.of(chunk.alleles, genome, inspection.name)
                summary.count(scores["status"])
                write(chunk.lines, scores, mismatches.found_in(scores))
            summary.seconds = round(time.monotonic() - started, 3)
    summary.log()
