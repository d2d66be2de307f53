"""``ntvep picture``."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import Force, Genes, Labels

app = typer.Typer()


@app.command(
    epilog="Examples: `ntvep picture scan.parquet -o scan.svg`; `ntvep picture scan.parquet "
    "--mark chr22:20050000:A:G --labels clinvar.vcf.gz --genes genes.gtf -o scan.pdf`"
)
def picture(
    scores: Annotated[Path, typer.Argument(help="Output of ntvep scan: Parquet or VCF.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".svg, .png or .pdf.")],
    score: Annotated[str, typer.Option(help="Which score to show.")] = "llr",
    region: Annotated[
        str | None,
        typer.Option(help="Part to draw: CONTIG:FIRST-LAST, 1-based.", show_default="all of it"),
    ] = None,
    mark: Annotated[
        list[str] | None,
        typer.Option(help="Frame CONTIG:POS or CONTIG:POS:REF:ALT; repeat."),
    ] = None,
    labels: Labels = None,
    genes: Genes = None,
    force: Force = False,
) -> None:
    """Draw a scanned region: a heat map of every SNV, and a logo of what the model expects."""
    from ntvep.commands.picture import draw_scan

    draw_scan(
        scores,
        output,
        score=score,
        region=region,
        marks=mark or (),
        labels=labels or (),
        genes=genes,
        force=force,
    )
