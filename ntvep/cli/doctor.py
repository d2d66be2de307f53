"""``ntvep doctor``."""

import logging
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command(
    epilog="Examples:\n\n"
    "`ntvep doctor`\n\n"
    "`ntvep doctor in.vcf.gz -r GRCh38.fa -m InstaDeepAI/nucleotide-transformer-500m-human-ref "
    "--device cuda`"
)
def doctor(
    source: Annotated[
        Path | None, typer.Argument(metavar="[IN]", help="VCF or BCF to be scored.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", "-r", help="FASTA of the VCF's assembly.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Checkpoint folder, hub id, or `demo`."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels to evaluate against: VCF, BCF or Parquet.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether a run can start here, and what to type if it cannot: exit 0 only if ready."""
    from ntvep.commands.doctor import Files, examine, is_ready, to_json, to_text

    # Its findings are lines of its own; it does not log.
    logging.getLogger("ntvep").setLevel(logging.CRITICAL)
    files = Files(source, reference, model, labels)
    checks = examine(files, device)
    print(to_json(checks) if as_json else to_text(checks, files))
    if not is_ready(checks):
        raise typer.Exit(1)
