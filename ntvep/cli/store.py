"""``ntvep store``: prescored genomes."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import Device, Force, Quiet, Verbose, set_up_log

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Store scores of every SNV of a genome, for `ntvep score --known`.",
)
Folder = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of a store.")]


@app.command("build", epilog="Example: `ntvep store build shards/*.parquet -o GRCh38.store`")
def store_build(
    scans: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCAN...", help="Output of ntvep scan, VCF or Parquet, in genomic order."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The store, a folder.")],
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make a store of scans: scores in nats, to within 0.001, in about 1.6 bytes per SNV."""
    from ntvep.commands.store import build

    set_up_log(quiet, verbose)
    build(scans, output, force=force)


@app.command("info", epilog="Example: `ntvep store info GRCh38.store`")
def store_info(folder: Folder) -> None:
    """Show what a store holds: model, settings, scores with their error, contigs."""
    from ntvep.commands.store import info

    print(info(folder))


@app.command(
    "get",
    epilog="Example: `ntvep store get GRCh38.store chr22:20050000:A:G chr22:20050001-20050009`",
)
def store_get(
    folder: Folder,
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="PLACE...", help="CHROM:POS:REF:ALT, CHROM:POS or CHROM:FIRST-LAST."
        ),
    ],
) -> None:
    """Print the scores of places, tab-separated, an SNV a line."""
    from ntvep.commands.store import get

    print(get(folder, places).write_csv(separator="\t", null_value="."), end="")


@app.command(
    "verify",
    epilog="Examples:\n\n`ntvep store verify GRCh38.store`\n\n"
    "`ntvep store verify GRCh38.store -r GRCh38.fa --model demo --sample 1000`",
)
def store_verify(
    folder: Folder,
    reference: Annotated[
        Path | None, typer.Option("--reference", "-r", help="FASTA, to compare REF with.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Also score a sample again; needs the reference."),
    ] = None,
    sample: Annotated[int, typer.Option(help="SNVs to score again.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 0,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Read a store whole: every checksum, REF, and a random sample of its scores."""
    from ntvep.commands.store_check import verify

    set_up_log(quiet, verbose)
    found = verify(folder, reference, model, sample=sample, seed=seed, device=device)
    print(f"{folder.name}: {found.snvs} SNVs in {found.blocks} blocks, every checksum is right")
    if found.again:
        print(
            f"{found.again.values} scores of {found.again.alleles} SNVs reproduced, largest "
            f"difference {found.again.largest:.1e}"
        )
