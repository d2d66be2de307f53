"""``ntvep score`` and ``ntvep variants``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ntvep.cli.options import (
    Force,
    Input,
    MaxAlleleBases,
    MaxNFraction,
    MismatchLimit,
    OnBadRecord,
    Quiet,
    Reference,
    Verbose,
    Views,
    WindowTokens,
    command_line,
    set_up_log,
)
from ntvep.settings import (
    DEFAULT_MAX_ALLELE_BASES,
    DEFAULT_MAX_N_FRACTION,
    DEFAULT_VIEWS,
    Settings,
)

app = typer.Typer()


@app.command(
    epilog="Examples:\n\n"
    "`ntvep score in.vcf.gz -r GRCh38.fa --model demo --window-tokens 128 -o out.vcf.gz`\n\n"
    "`ntvep score in.bcf -r GRCh38.fa --model InstaDeepAI/nucleotide-transformer-500m-human-ref "
    "--device cuda -o out.vcf.gz --table out.parquet`"
)
def score(
    source: Input,
    reference: Reference,
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Checkpoint folder, hub id that has been fetched, or `demo`."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help=".vcf, .vcf.gz, .bcf, .parquet, or - for stdout."),
    ],
    table: Annotated[Path | None, typer.Option(help="Also write SCORES as Parquet.")] = None,
    window_tokens: WindowTokens = None,
    views: Views = DEFAULT_VIEWS,
    scores: Annotated[str, typer.Option(help="all, or names joined by commas.")] = "all",
    layer: Annotated[
        str, typer.Option(help="Layer of the embeddings: last, or 0, 1, ...")
    ] = "last",
    pool: Annotated[
        Literal["mean", "mean_cls"], typer.Option(help="What an embedding averages.")
    ] = "mean",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
    batch_size: Annotated[str, typer.Option(help="Passes in a batch, or auto.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of the model.", show_default="torch's choice")
    ] = None,
    max_allele_bases: MaxAlleleBases = DEFAULT_MAX_ALLELE_BASES,
    max_n_fraction: MaxNFraction = DEFAULT_MAX_N_FRACTION,
    on_bad_record: OnBadRecord = "fail",
    ref_mismatch_limit: MismatchLimit = 0.1,
    refuse_annotated: Annotated[
        bool, typer.Option("--refuse-annotated", help="Stop if the input has NTVEP annotations.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 3 if any allele has no score.")
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score every ALT allele of a VCF and write it back, annotated."""
    from ntvep.commands.score import Options, parse_batch_size, score_file

    set_up_log(quiet, verbose)
    options = Options(
        scores=scores,
        window_tokens=window_tokens,
        views=views,
        layer=layer,
        pool=pool,
        device=device,
        precision=precision,
        batch_size=parse_batch_size(batch_size),
        threads=threads,
        max_allele_bases=max_allele_bases,
        max_n_fraction=max_n_fraction,
        on_bad_record=on_bad_record,
        ref_mismatch_limit=ref_mismatch_limit,
        refuse_annotated=refuse_annotated,
    )
    score_file(
        source,
        reference,
        model,
        output,
        table=table,
        options=options,
        command=command_line(),
        force=force,
        strict=strict,
        quiet=quiet,
    )


@app.command(epilog="Example: `ntvep variants in.vcf.gz -r GRCh38.fa -o alleles.tsv`")
def variants(
    source: Input,
    reference: Reference,
    output: Annotated[
        Path, typer.Option("--output", "-o", help=".tsv, .parquet, or - for TSV on stdout.")
    ] = Path("-"),
    window_tokens: Annotated[int, typer.Option(help="6-mers in a window.")] = 999,
    views: Views = DEFAULT_VIEWS,
    max_allele_bases: MaxAlleleBases = DEFAULT_MAX_ALLELE_BASES,
    max_n_fraction: MaxNFraction = DEFAULT_MAX_N_FRACTION,
    on_bad_record: OnBadRecord = "fail",
    ref_mismatch_limit: MismatchLimit = 0.1,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List every ALT allele with the status that it would get: a dry run without a model."""
    from ntvep.commands.variants import list_variants

    set_up_log(quiet, verbose)
    settings = Settings(
        window_tokens=window_tokens,
        max_tokens=window_tokens + 1,
        views=views,
        max_allele_bases=max_allele_bases,
        max_n_fraction=max_n_fraction,
    )
    list_variants(
        source,
        reference,
        output,
        settings=settings,
        on_bad_record=on_bad_record,
        ref_mismatch_limit=ref_mismatch_limit,
        force=force,
    )
