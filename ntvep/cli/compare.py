"""``ntvep compare``."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command(
    epilog="Example: `ntvep compare out.vcf.gz --positive SOURCE=simulated "
    "--negative SOURCE=observed`"
)
def compare(
    source: Annotated[Path, typer.Argument(metavar="IN", help="VCF that ntvep annotated.")],
    positive: Annotated[str, typer.Option(help="INFO_KEY=value of one group of records.")],
    negative: Annotated[str, typer.Option(help="INFO_KEY=value of the other group.")],
    tag: Annotated[str, typer.Option(help="The --tag of the scores to verify.")] = "",
) -> None:
    """Print how well `llr` tells two groups of records apart: AUROC with a 95 % interval."""
    from ntvep.commands.compare import compare_groups

    print(compare_groups(source, positive, negative, tag))
