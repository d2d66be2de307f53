"""``ntvep evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import (
    Against,
    Force,
    LabelMismatchLimit,
    OwnScores,
    Quiet,
    Tags,
    Verbose,
    command_line,
    set_up_log,
)

app = typer.Typer()


@app.command(
    epilog="Examples: `ntvep evaluate scores.parquet --labels clinvar.parquet -r GRCh38.fa -o "
    "report/`; two models on the same variants: `ntvep evaluate a.parquet b.parquet --labels "
    "clinvar.parquet -o report/`"
)
def evaluate(
    scores: Annotated[
        list[Path],
        typer.Argument(
            help="Scores of one or several models: .parquet or VCF that ntvep "
            "score wrote; or, with --score, any table with chrom, pos, "
            "ref, alt."
        ),
    ],
    labels: Annotated[
        list[Path], typer.Option("--labels", "-l", help="LABELS that ntvep labels wrote; repeat.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")],
    reference: Annotated[
        Path | None,
        typer.Option("--reference", "-r", help="FASTA: left-aligns indels, adds baselines."),
    ] = None,
    matched: Annotated[
        int | None,
        typer.Option(help="Negatives per positive, of the same chromosome and consequence."),
    ] = None,
    against: Against = None,
    score: OwnScores = None,
    absolute: Annotated[
        bool,
        typer.Option(
            "--absolute", help="Evaluate |llr| first, where REF and ALT are arbitrary (eQTLs)."
        ),
    ] = False,
    direction: Annotated[
        list[str] | None,
        typer.Option(help="NAME:lower or NAME:higher, for a feature of unknown direction; repeat."),
    ] = None,
    tag: Tags = None,
    ref_mismatch_limit: LabelMismatchLimit = 0.01,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Judge scores on labels: AUROC, AUPRC, baselines, calibration, as one page to look at.

    For research, not for diagnosis.
    """
    from ntvep.commands.evaluate import Choices
    from ntvep.commands.evaluate import evaluate as evaluate_files

    set_up_log(quiet, verbose)
    choices = Choices(
        reference=reference,
        matched=matched,
        own_scores=score or (),
        directions=direction or (),
        against=against or (),
        absolute=absolute,
        tags=tag or (),
        ref_mismatch_limit=ref_mismatch_limit,
    )
    for line in evaluate_files(
        scores, labels, output, choices, command=command_line(), force=force
    ):
        print(line)
