"""``ntvep model``: fetch and inspect models."""

from typing import Annotated

import typer

from ntvep.cli.options import (
    Device,
    Precision,
    Quiet,
    Verbose,
    set_up_log,
)

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Fetch and inspect models."
)


@app.command("list", epilog="Example: `ntvep model list`")
def model_list() -> None:
    """Show the families that ntvep scores: objective, tokens, window, licence and hub ids."""
    from ntvep.commands import models

    print("\n".join(models.model_list()))


@app.command("info", epilog="Example: `ntvep model info demo`")
def model_info(
    model: Annotated[str, typer.Argument(help="Folder, fetched hub id, or `demo`.")],
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Also measure the seconds for 1,000 variants on this machine."
        ),
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Show a model's architecture, window, vocabulary, checksum and licence."""
    from ntvep.commands import models

    said = models.model_info(model)
    if measure:
        said |= models.model_pace(model, device, precision)
    for name, value in said.items():
        print(f"{name:<18} {value}")


@app.command("check", epilog="Example: `ntvep model check demo`")
def model_check(
    model: Annotated[str, typer.Argument(help="Folder, fetched hub id, or `demo`.")],
) -> None:
    """Compare our numbers for a model with its authors' or transformers' own.

    Its authors' where outputs of the published weights are recorded, otherwise those of
    transformers' own class. Says so where there is neither.
    """
    from ntvep.commands import models

    print(models.model_check(model))


@app.command(
    "fetch",
    epilog="Example: `ntvep model fetch InstaDeepAI/nucleotide-transformer-500m-human-ref`",
)
def model_fetch(
    model: Annotated[str, typer.Argument(metavar="ID", help="Hub id, or a folder to convert.")],
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Download a model once, verify it, and convert a pickle to safetensors.

    This and `ntvep fetch` are the only commands that use a network.
    """
    from ntvep.commands import models

    set_up_log(quiet, verbose)
    print(models.model_fetch(model, revision))
