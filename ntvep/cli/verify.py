"""``ntvep verify``."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import Device, Quiet, Reference, Verbose, set_up_log

app = typer.Typer()


@app.command(epilog="Example: `ntvep verify out.vcf.gz -r GRCh38.fa --model demo --sample 100`")
def verify(
    source: Annotated[
        Path, typer.Argument(metavar="OUT", help="Annotated VCF, or Parquet of SCORES.")
    ],
    reference: Reference,
    model: Annotated[str, typer.Option("--model", "-m", help="The model that made it.")],
    sample: Annotated[
        int, typer.Option(help="Records (of a table: alleles) to score again.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 0,
    tolerance: Annotated[
        float, typer.Option(help="Largest difference allowed; relative where a score is above 1.")
    ] = 1e-4,
    device: Device = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, tf32, fp16, bf16 or mixed.", show_default="as in the output"),
    ] = None,
    tag: Annotated[str, typer.Option(help="The --tag of the scores to verify.")] = "",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score a random sample of an output again and compare every number."""
    from ntvep.commands.verify import verify as verify_output

    set_up_log(quiet, verbose)
    found = verify_output(
        source,
        reference,
        model,
        sample=sample,
        seed=seed,
        tolerance=tolerance,
        device=device,
        precision=precision,
        tag=tag,
    )
    print(
        f"{source.name}: {found.values} scores of {found.alleles} alleles reproduced, largest "
        f"difference {found.largest:.1e}"
    )
