"""``ntvep cohort``: many VCFs, each distinct allele scored once."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import (
    Force,
    MaxAlleleBases,
    MismatchLimit,
    OnBadRecord,
    Quiet,
    Reference,
    Verbose,
    command_line,
    set_up_log,
)
from ntvep.defaults import DEFAULT_MAX_ALLELE_BASES, DEFAULT_MISMATCH_LIMIT

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Score many VCFs, each distinct allele once: collect, split, "
    "`ntvep score`, gather, annotate. The workflow runs all of "
    "these steps (config/README.md).",
)


@app.command(epilog="Example: `ntvep cohort check samples.tsv -r GRCh38.fa`")
def check(
    sheet: Annotated[
        Path, typer.Argument(metavar="SHEET", help="Table with the columns sample and vcf.")
    ],
    reference: Reference,
    on_bad_record: OnBadRecord = "fail",
    ref_mismatch_limit: MismatchLimit = DEFAULT_MISMATCH_LIMIT,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say all that is wrong with a sample sheet and the start of its VCFs."""
    from ntvep.commands.sheet import check_sheet

    set_up_log(quiet, verbose)
    samples = check_sheet(sheet, reference, on_bad_record, ref_mismatch_limit)
    print(f"{sheet}: {len(samples)} samples, no problem found")


@app.command(epilog="Example: `ntvep cohort collect a.vcf.gz b.vcf.gz -r GRCh38.fa -o ab.parquet`")
def collect(
    sources: Annotated[list[Path], typer.Argument(metavar="IN...", help="VCFs or BCFs.")],
    reference: Reference,
    output: Annotated[Path, typer.Option("--output", "-o", help=".parquet of distinct alleles.")],
    max_allele_bases: MaxAlleleBases = DEFAULT_MAX_ALLELE_BASES,
    on_bad_record: OnBadRecord = "fail",
    ref_mismatch_limit: MismatchLimit = DEFAULT_MISMATCH_LIMIT,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List the distinct alleles of many VCFs, and in how many of them each is."""
    from ntvep.commands.cohort import collect as collect_files

    set_up_log(quiet, verbose)
    collect_files(
        sources,
        reference,
        output,
        max_allele_bases=max_allele_bases,
        on_bad_record=on_bad_record,
        ref_mismatch_limit=ref_mismatch_limit,
        force=force,
    )


@app.command(
    epilog="Example: `ntvep cohort split ab.parquet cd.parquet -o distinct.parquet "
    "--to 0.vcf.gz --to 1.vcf.gz`"
)
def split(
    parts: Annotated[list[Path], typer.Argument(help="Output of ntvep cohort collect.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help=".parquet of all of them, merged.")
    ],
    to: Annotated[list[Path], typer.Option(help=".vcf.gz of one contiguous part; repeat.")],
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Join lists of distinct alleles, and cut them into VCFs for ntvep score."""
    from ntvep.commands.cohort import split as split_files

    set_up_log(quiet, verbose)
    split_files(parts, output, to, force=force)


@app.command(
    epilog="Example: `ntvep cohort gather distinct.parquet 0.parquet 1.parquet -o alleles.parquet`"
)
def gather(
    distinct: Annotated[Path, typer.Argument(help="The merged alleles from ntvep cohort split.")],
    tables: Annotated[list[Path], typer.Argument(help="The parts' SCORES, in order.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help=".parquet of alleles, scores and samples.")
    ],
    summary: Annotated[
        Path, typer.Option(help=".json with passes, alleles and seconds of the scoring.")
    ],
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Join the scores of distinct alleles into one table."""
    from ntvep.commands.cohort import gather as gather_files

    set_up_log(quiet, verbose)
    gather_files(distinct, tables, output, summary, command=command_line(), force=force)


@app.command(
    epilog="Example: `ntvep cohort annotate a.vcf.gz b.vcf.gz --alleles alleles.parquet "
    "-r GRCh38.fa -o scored/a.vcf.gz -o scored/b.vcf.gz`"
)
def annotate(
    sources: Annotated[list[Path], typer.Argument(metavar="IN...", help="VCFs or BCFs.")],
    alleles: Annotated[Path, typer.Option(help="Output of ntvep cohort gather.")],
    reference: Reference,
    output: Annotated[
        list[Path],
        typer.Option("--output", "-o", help=".vcf, .vcf.gz or .bcf, one for each input; repeat."),
    ],
    on_bad_record: OnBadRecord = "fail",
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Annotate VCFs from a table of scored alleles: no model is loaded."""
    from ntvep.commands.annotate import annotate as annotate_files

    set_up_log(quiet, verbose)
    annotate_files(
        sources,
        output,
        alleles,
        reference,
        command=command_line(),
        on_bad_record=on_bad_record,
        force=force,
    )


@app.command(epilog="Example: `ntvep cohort counts scored/*.summary.json -o samples.tsv`")
def counts(
    summaries: Annotated[
        list[Path], typer.Argument(help="NAME.vcf.gz.summary.json of annotated VCFs.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help=".tsv with a line per sample.")],
    sheet: Annotated[
        Path | None, typer.Option(help="The sample sheet, whose other columns are added.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Count records, alleles and statuses of each sample."""
    from ntvep.commands.cohort import counts as count_files

    set_up_log(quiet, verbose)
    count_files(summaries, output, sheet, force=force)
