"""``ntvep split`` and ``ntvep gather``: jobs that run side by side."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import (
    Force,
    Input,
    OnBadRecord,
    Quiet,
    Verbose,
    command_line,
    set_up_log,
)

app = typer.Typer()


@app.command(epilog="Example: `ntvep split in.vcf.gz -o chunks/ --chunks 8`")
def split(
    source: Input,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the chunks.")],
    chunks: Annotated[int, typer.Option(help="Number of chunks.")],
    on_bad_record: OnBadRecord = "fail",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Cut a VCF into contiguous chunks of sites, for jobs that run side by side."""
    from ntvep.commands.chunks import split as split_file

    set_up_log(quiet, verbose)
    split_file(source, output, chunks, on_bad_record)


@app.command(
    epilog="Example: `ntvep gather in.vcf.gz -o out.vcf.gz --table out.parquet 1.parquet 2.parquet`"
)
def gather(
    source: Input,
    tables: Annotated[list[Path], typer.Argument(help="The chunks' SCORES, in order.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".vcf, .vcf.gz or .bcf.")],
    table: Annotated[Path | None, typer.Option(help="Also write all SCORES as Parquet.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="FASTA, to add missing contig lengths to the header.")
    ] = None,
    on_bad_record: OnBadRecord = "fail",
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Join the chunks' scores, in order, and annotate the VCF that was split."""
    from ntvep.commands.chunks import gather as gather_files

    set_up_log(quiet, verbose)
    gather_files(
        source,
        tables,
        output,
        command=command_line(),
        table=table,
        reference=reference,
        on_bad_record=on_bad_record,
        force=force,
    )
