"""``ntvep cache``: what is in a folder of known scores, and what is done with it."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import Fingerprint, Force, Quiet, Verbose, set_up_log

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Inspect, merge and export the known scores that `ntvep score --cache` keeps.",
)
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder given to --cache.")]


@app.command("info", epilog="Example: `ntvep cache info known/`")
def cache_info(folder: Folder) -> None:
    """Show which scores a cache holds, and of how many alleles."""
    from ntvep.commands.cache import info

    print(info(folder))


@app.command("merge", epilog="Example: `ntvep cache merge known/ colleague/known/`")
def cache_merge(
    folder: Folder,
    others: Annotated[list[Path] | None, typer.Argument(help="Caches to merge into it.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Make few large files of many small ones, each allele once."""
    from ntvep.commands.cache import merge_caches

    set_up_log(quiet, verbose)
    merge_caches(folder, others or [])


@app.command("export", epilog="Example: `ntvep cache export known/ -o known.parquet`")
def cache_export(
    folder: Folder,
    output: Annotated[Path, typer.Option("--output", "-o", help=".parquet or .tsv.")],
    fingerprint: Fingerprint = None,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write known scores as one table, for other programs."""
    from ntvep.commands.cache import export

    set_up_log(quiet, verbose)
    export(folder, output, fingerprint, force=force)
