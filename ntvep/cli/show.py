"""``ntvep show``."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import (
    Against,
    Anchor,
    Background,
    BeyondTraining,
    Cache,
    Device,
    Force,
    Genes,
    Labels,
    Layer,
    MaxAlleleBases,
    MaxNFraction,
    Model,
    PoolName,
    Precision,
    Quiet,
    Reference,
    Scores,
    SoftmaxOver,
    Threads,
    Verbose,
    Views,
    WindowBases,
    WindowTokens,
    command_line,
    set_up_log,
)
from ntvep.defaults import DEFAULT_MAX_ALLELE_BASES, DEFAULT_MAX_N_FRACTION

app = typer.Typer()


@app.command(
    epilog="Example: `ntvep show chr22:20050000:A:G -r GRCh38.fa --model demo --labels "
    "clinvar.vcf.gz -o page.html`"
)
def show(
    variants: Annotated[list[str], typer.Argument(help="CHROM:POS:REF:ALT.")],
    reference: Reference,
    model: Model,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write a page (.html).")
    ] = None,
    labels: Labels = None,
    against: Against = None,
    genes: Genes = None,
    background: Background = None,
    window_bases: WindowBases = None,
    window_tokens: WindowTokens = None,
    beyond_training: BeyondTraining = False,
    views: Views = None,
    anchor: Anchor = None,
    softmax: SoftmaxOver = "all",
    scores: Scores = "all",
    layer: Layer = "last",
    pool: PoolName = "mean",
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    cache: Cache = None,
    max_allele_bases: MaxAlleleBases = DEFAULT_MAX_ALLELE_BASES,
    max_n_fraction: MaxNFraction = DEFAULT_MAX_N_FRACTION,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show everything about a few variants: scores, strands, REF, labels, the surrounding sequence.

    For research, not for diagnosis.
    """
    from ntvep.commands.options import Options
    from ntvep.commands.show import Beside, show_variants

    set_up_log(quiet, verbose)
    options = Options(
        background=background,
        window_bases=window_bases,
        window_tokens=window_tokens,
        beyond_training=beyond_training,
        views=views,
        anchor=anchor,
        softmax=softmax,
        scores=scores,
        layer=layer,
        pool=pool,
        device=device,
        precision=precision,
        threads=threads,
        cache=cache,
        max_allele_bases=max_allele_bases,
        max_n_fraction=max_n_fraction,
    )
    beside = Beside(labels or (), against or (), genes)
    print(
        show_variants(
            variants,
            reference,
            model,
            output,
            beside=beside,
            options=options,
            command=command_line(),
            force=force,
        )
    )
