"""``ntvep picture``."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import Force

app = typer.Typer()


@app.command(epilog="Example: `ntvep picture scan.parquet -o scan.svg`")
def picture(
    scores: Annotated[Path, typer.Argument(help="SCORES that ntvep scan wrote with --table.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".svg, for any browser.")],
    score: Annotated[str, typer.Option(help="Log-likelihood ratio to show.")] = "llr",
    force: Force = False,
) -> None:
    """Draw a scanned region: a heat map of every SNV, and a logo of what the model expects."""
    from ntvep.commands.picture import draw_scan

    draw_scan(scores, output, score=score, force=force)
