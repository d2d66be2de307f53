"""``ntvep export``: scores in the formats of other programs."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import Background, Force, Quiet, Reference, Verbose, set_up_log

app = typer.Typer()


@app.command(
    epilog="Examples:\n\n`ntvep export scan.parquet -r GRCh38.fa -o tracks/`\n\n"
    "`ntvep export genome.store -r GRCh38.fa --background background.parquet --hub hg38 "
    "--email me@example.org -o tracks/`"
)
def export(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCORES", help="Output of ntvep scan (.parquet, .vcf.gz, .bcf), or a store."
        ),
    ],
    reference: Reference,
    output: Annotated[Path, typer.Option("--output", "-o", help="Output folder.")],
    formats: Annotated[
        str, typer.Option("--format", help="tsv, parquet, bigwig; separated by commas.")
    ] = "tsv,parquet,bigwig",
    background: Background = None,
    hub: Annotated[
        str | None,
        typer.Option(help="Also a UCSC track hub of this assembly: hg38, hs1.", show_default=False),
    ] = None,
    email: Annotated[
        str, typer.Option(help="Contact for the hub; UCSC requires one.", show_default=False)
    ] = "",
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write scores as tabix TSV, Parquet and BigWig, with checksums and a README beside them."""
    from ntvep.commands.export import Hub
    from ntvep.commands.export import export as export_files
    from ntvep.errors import ConfigError

    set_up_log(quiet, verbose)
    if bool(hub) != bool(email):
        raise ConfigError("--hub and --email go together: UCSC requires a contact for a hub")
    done = export_files(
        sources,
        reference,
        output,
        formats=formats.split(","),  # type: ignore[arg-type]
        background=background,
        hub=Hub(hub, email) if hub else None,
        force=force,
    )
    print(f"{output}: {sum(done.values())} alleles of {len(done)} contigs")
