"""``ntvep fetch``."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import Force, Quiet, Verbose, set_up_log

app = typer.Typer()


@app.command(
    epilog="Example: `ntvep fetch "
    "https://ftp.ncbi.nlm.nih.gov/pub/clinvar/vcf_GRCh38/clinvar.vcf.gz -o clinvar.vcf.gz "
    "--md5-url https://ftp.ncbi.nlm.nih.gov/pub/clinvar/vcf_GRCh38/clinvar.vcf.gz.md5`"
)
def fetch(
    url: Annotated[
        str, typer.Argument(help="URL of a reference genome, labels, or an annotation.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Output file, or the folder if a .tar is unpacked."),
    ],
    release: Annotated[str | None, typer.Option(help="Release, for the record.")] = None,
    md5: Annotated[str | None, typer.Option(help="Of the file as it is sent.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Of the file as it is sent.")] = None,
    md5_url: Annotated[
        str | None, typer.Option(help="URL of a list of md5 sums that the source publishes.")
    ] = None,
    unpack: Annotated[bool, typer.Option("--unpack", help="Unpack a .gz or .tar.")] = False,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Download a file once: resumed where it was cut, and verified.

    This and `ntvep model fetch` are the only commands that use a network.
    """
    from ntvep.commands.fetch import fetch as fetch_file

    set_up_log(quiet, verbose)
    print(
        fetch_file(
            url,
            output,
            release=release,
            md5=md5,
            sha256=sha256,
            md5_url=md5_url,
            unpack=unpack,
            force=force,
            quiet=quiet,
        )
    )
