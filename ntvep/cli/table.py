"""``ntvep table``."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import (
    Against,
    Cache,
    Device,
    Force,
    Genes,
    LabelMismatchLimit,
    Labels,
    Quiet,
    Verbose,
    command_line,
    set_up_log,
)

app = typer.Typer()


@app.command(
    epilog="Examples: `ntvep table scored.vcf.gz -o variants.tsv`; a page to open: `ntvep table "
    "scored.vcf.gz --labels clinvar.vcf.gz -r GRCh38.fa -o sample.html`; a page for each sample: "
    "`ntvep table cohort.vcf.gz -o pages/`"
)
def table(
    scores: Annotated[
        list[Path],
        typer.Argument(
            help="Output of ntvep score: VCF or Parquet. Several files are "
            "samples, parts of a genome, or models."
        ),
    ],
    output: Annotated[
        list[Path],
        typer.Option(
            "--output",
            "-o",
            help=".tsv, .tsv.gz, .csv; .html, a page of one sample; else a folder of pages. "
            "Repeat for a page of each file.",
        ),
    ],
    labels: Labels = None,
    regions: Annotated[
        list[str] | None,
        typer.Option(help="CONTIG:FIRST-LAST (1-based) or a BED: list only these; repeat."),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(help="Number of variants of each kind.", show_default="all; 10,000 on a page"),
    ] = None,
    sample: Annotated[
        list[str] | None, typer.Option(help="Sample of a VCF; repeat.", show_default="all")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="SCORE[:lower|:higher] to rank by.",
            show_default="SNVs by llr, indels by pll_delta",
        ),
    ] = None,
    against: Against = None,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", "-r", help="FASTA: left-aligns indels of labels."),
    ] = None,
    ref_mismatch_limit: LabelMismatchLimit = 0.01,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="The model that scored: draws the surroundings of the first variants on a page; "
            "needs --reference.",
        ),
    ] = None,
    pictures: Annotated[
        int, typer.Option(help="Pictures on a page: of this many SNVs and this many indels.")
    ] = 3,
    genes: Genes = None,
    device: Device = "auto",
    cache: Cache = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List scored variants, ranked within their kind: as text, or as a page to open.

    For research, not for diagnosis.
    """
    from ntvep.commands.table import Request, write_pages, write_table

    set_up_log(quiet, verbose)
    request = Request(
        labels=labels or (),
        regions=regions or (),
        top=top,
        samples=sample or (),
        by=by,
        against=against or (),
        reference=reference,
        ref_mismatch_limit=ref_mismatch_limit,
        model=model,
        pictures=pictures,
        genes=genes,
        device=device,
        cache=cache,
    )
    said = (
        write_table(scores, output[0], request, command=command_line(), force=force)
        if len(output) == 1
        else write_pages(scores, output, request, command=command_line(), force=force)
    )
    for line in said:
        print(line)
