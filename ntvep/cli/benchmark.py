"""``ntvep benchmark``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ntvep.cli.options import Force, OwnScores, Quiet, Tags, Verbose, command_line, set_up_log

app = typer.Typer()


@app.command(
    epilog="Example: `ntvep benchmark traitgym test.parquet scores.parquet -o traitgym.tsv`"
)
def benchmark(
    name: Annotated[
        Literal["traitgym", "dart-caqtl", "dart-dsqtl", "vep-eval", "brca1", "mavedb"],
        typer.Argument(help="Which benchmark."),
    ],
    source: Annotated[Path, typer.Argument(metavar="IN", help="Its file, as it is published.")],
    scores: Annotated[
        list[Path],
        typer.Argument(help="Scores of one or several models, as for ntvep evaluate."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table, .tsv or .csv.")],
    reference: Annotated[
        Path | None,
        typer.Option("--reference", "-r", help="FASTA: left-aligns indels, tells which is REF."),
    ] = None,
    subset: Annotated[
        list[Path] | None, typer.Option(help="Keep only the alleles of this table; repeat.")
    ] = None,
    score: OwnScores = None,
    tag: Tags = None,
    absolute: Annotated[
        bool,
        typer.Option("--absolute", help="Judge |llr| first: REF and ALT are arbitrary (eQTL)."),
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a benchmark's table for any model: its authors' metrics, and ours beside them."""
    from ntvep.commands.benchmark_table import benchmark_table

    set_up_log(quiet, verbose)
    benchmark_table(
        name,
        source,
        scores,
        output,
        command=command_line(),
        reference=reference,
        subset=subset or (),
        own_scores=score or (),
        tags=tag or (),
        absolute=absolute,
        force=force,
    )
