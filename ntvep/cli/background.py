"""``ntvep background``: how unusual a score is for its context."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import (
    Anchor,
    BatchSize,
    BeyondTraining,
    Cache,
    Deterministic,
    Device,
    Fingerprint,
    Force,
    Known,
    Layer,
    MaxNFraction,
    Model,
    PoolName,
    Precision,
    Quiet,
    Reference,
    SoftmaxOver,
    Threads,
    Verbose,
    Views,
    WindowBases,
    WindowTokens,
    batch_size_of,
    command_line,
    set_up_log,
    stores_of,
)
from ntvep.defaults import DEFAULT_MAX_N_FRACTION

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Compare llr with variants of the same context at random positions.",
)


@app.command(
    epilog="Example: `ntvep background draw -r GRCh38.fa --model demo --bed intergenic.bed "
    "-o background.parquet`"
)
def draw(
    reference: Reference,
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Background, .parquet.")],
    region: Annotated[
        list[str] | None,
        typer.Option(help="CONTIG:FIRST-LAST, 1-based; repeat.", show_default="everywhere"),
    ] = None,
    bed: Annotated[Path | None, typer.Option(help="BED of regions to draw from.")] = None,
    per_context: Annotated[
        int,
        typer.Option(
            help="Number of SNVs for each of the 96 contexts, and of indels for each indel context."
        ),
    ] = 100,
    indel_bases: Annotated[
        int, typer.Option(help="Also draw indels of up to this many bases.", show_default="none")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    window_bases: WindowBases = None,
    window_tokens: WindowTokens = None,
    beyond_training: BeyondTraining = False,
    views: Views = None,
    anchor: Anchor = None,
    softmax: SoftmaxOver = "all",
    layer: Layer = "last",
    pool: PoolName = "mean",
    device: Device = "auto",
    precision: Precision = "auto",
    batch_size: BatchSize = "auto",
    deterministic: Deterministic = False,
    threads: Threads = None,
    cache: Cache = None,
    known: Known = None,
    fingerprint: Fingerprint = None,
    max_n_fraction: MaxNFraction = DEFAULT_MAX_N_FRACTION,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score variants at random places, equally many of each context.

    Give the model and the settings that your variants were scored with.
    """
    from ntvep.commands.background import draw_background
    from ntvep.commands.options import Options

    set_up_log(quiet, verbose)
    options = Options(
        window_bases=window_bases,
        window_tokens=window_tokens,
        beyond_training=beyond_training,
        views=views,
        anchor=anchor,
        softmax=softmax,
        layer=layer,
        pool=pool,
        device=device,
        precision=precision,
        batch_size=batch_size_of(batch_size),
        deterministic=deterministic,
        threads=threads,
        max_n_fraction=max_n_fraction,
        cache=cache,
        known=stores_of(known),
        fingerprint=fingerprint,
    )
    draw_background(
        reference,
        model,
        output,
        regions=region or (),
        bed=bed,
        per_context=per_context,
        indel_bases=indel_bases,
        seed=seed,
        options=options,
        command=command_line(),
        force=force,
        quiet=quiet,
    )


@app.command(
    epilog="Example: `ntvep background apply scores.parquet --background background.parquet "
    "-r GRCh38.fa -o compared.parquet`"
)
def apply(
    scores: Annotated[Path, typer.Argument(help="SCORES (.parquet) that ntvep score wrote.")],
    background: Annotated[
        Path, typer.Option("--background", "-b", help="Output of `ntvep background draw`.")
    ],
    reference: Reference,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="SCORES with the percentiles, .parquet.")
    ],
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Add llr_percentile, llr_phred and llr_calibrated to a table of scores."""
    from ntvep.commands.background import apply_background

    set_up_log(quiet, verbose)
    placed = apply_background(scores, background, reference, output, force=force)
    print(f"{output}: {placed} variants with llr_percentile")
