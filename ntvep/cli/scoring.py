"""``ntvep score`` and ``ntvep variants``."""

from pathlib import Path
from typing import Annotated

import typer

from ntvep.cli.options import (
    Anchor,
    Background,
    BatchSize,
    BeyondTraining,
    Cache,
    Deterministic,
    Device,
    Fingerprint,
    Force,
    Input,
    Known,
    Layer,
    MaxAlleleBases,
    MaxNFraction,
    MismatchLimit,
    Model,
    OnBadRecord,
    Output,
    PassOnly,
    PoolName,
    Precision,
    Quiet,
    Reference,
    Regions,
    Scores,
    ShowRef,
    SoftmaxOver,
    Table,
    Tag,
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
from ntvep.defaults import (
    DEFAULT_MAX_ALLELE_BASES,
    DEFAULT_MAX_N_FRACTION,
    DEFAULT_MISMATCH_LIMIT,
)

app = typer.Typer()


@app.command(
    epilog="Examples:\n\n"
    "`ntvep score in.vcf.gz -r GRCh38.fa --model demo -o out.vcf.gz`\n\n"
    "`ntvep score in.bcf -r GRCh38.fa --model InstaDeepAI/nucleotide-transformer-500m-human-ref "
    "--device cuda -o out.vcf.gz --table out.parquet`\n\n"
    "`ntvep score chr22:20050000:A:G -r GRCh38.fa --model demo --window-tokens 128`"
)
def score(
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="IN", help="VCF (plain, gzip, bgzip) or BCF, - for stdin; or CHROM:POS:REF:ALT."
        ),
    ],
    reference: Reference,
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help=".vcf, .vcf.gz, .bcf, .parquet, .tsv, .tsv.gz, .csv, or - for stdout.",
            show_default="for typed variants: a table on the terminal",
        ),
    ] = None,
    table: Table = None,
    regions: Regions = None,
    pass_only: PassOnly = False,
    tag: Tag = "",
    show_ref: ShowRef = False,
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
    batch_size: BatchSize = "auto",
    deterministic: Deterministic = False,
    threads: Threads = None,
    cache: Cache = None,
    known: Known = None,
    fingerprint: Fingerprint = None,
    background: Background = None,
    max_allele_bases: MaxAlleleBases = DEFAULT_MAX_ALLELE_BASES,
    max_n_fraction: MaxNFraction = DEFAULT_MAX_N_FRACTION,
    on_bad_record: OnBadRecord = "fail",
    ref_mismatch_limit: MismatchLimit = DEFAULT_MISMATCH_LIMIT,
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
    """Score every ALT allele of a VCF and write it back, annotated; or score typed variants."""
    from ntvep.commands.options import Options
    from ntvep.commands.score import score_file
    from ntvep.commands.typed import are_variants, score_typed
    from ntvep.errors import ConfigError

    set_up_log(quiet, verbose)
    options = Options(
        scores=scores,
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
        max_allele_bases=max_allele_bases,
        max_n_fraction=max_n_fraction,
        on_bad_record=on_bad_record,
        ref_mismatch_limit=ref_mismatch_limit,
        refuse_annotated=refuse_annotated,
        cache=cache,
        known=stores_of(known),
        fingerprint=fingerprint,
        regions=regions or (),
        pass_only=pass_only,
        tag=tag,
        show_ref=show_ref,
        background=background,
    )
    if are_variants(source):
        text = score_typed(
            source,
            reference,
            model,
            output,
            table=table,
            options=options,
            command=command_line(),
            force=force,
            quiet=quiet,
        )
        if text:
            print(text)
        return
    if output is None:
        raise ConfigError(f"{source[0]}: no output given. Add -o scored.vcf.gz, or -o - for stdout")
    score_file(
        Path(source[0]),
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


@app.command(
    epilog="Examples:\n\n`ntvep scan --region chr22:20100000-20100200 -r GRCh38.fa --model demo "
    "-o scan.vcf.gz`\n\n`ntvep scan --genome --shards 3000 -r GRCh38.fa --model demo --scores llr "
    "-o shards/`"
)
def scan(
    reference: Reference,
    model: Model,
    output: Output,
    region: Annotated[
        list[str] | None,
        typer.Option(help="CONTIG:FIRST-LAST, 1-based; may be given several times."),
    ] = None,
    bed: Annotated[Path | None, typer.Option(help="BED of regions, such as exons.")] = None,
    genome: Annotated[
        bool, typer.Option("--genome", help="Scan the whole reference instead of regions.")
    ] = False,
    shards: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Cut the scan into this many files, 00000.parquet and so on, "
            "in the folder OUT, with a manifest. Complete files are not "
            "scanned again.",
        ),
    ] = None,
    shard: Annotated[
        int | None,
        typer.Option(min=0, help="Scan only this shard, counted from 0, as a separate job."),
    ] = None,
    deletions: Annotated[
        bool, typer.Option("--deletions", help="Also score every single-base deletion.")
    ] = False,
    table: Table = None,
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
    batch_size: BatchSize = "auto",
    deterministic: Deterministic = False,
    threads: Threads = None,
    cache: Cache = None,
    fingerprint: Fingerprint = None,
    background: Background = None,
    max_n_fraction: MaxNFraction = DEFAULT_MAX_N_FRACTION,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score every SNV of regions, or of a genome."""
    from ntvep.commands.options import Options
    from ntvep.commands.scan import scan_regions
    from ntvep.commands.shards import Shards
    from ntvep.errors import ConfigError

    set_up_log(quiet, verbose)
    if genome == bool(region or bed):
        raise ConfigError(
            "nothing to scan; give --region or --bed, or --genome for the whole reference"
        )
    if shard is not None and shards is None:
        raise ConfigError("--shard needs --shards, the number of shards")
    options = Options(
        scores=scores,
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
        fingerprint=fingerprint,
        background=background,
    )
    scan_regions(
        region or (),
        reference,
        model,
        output,
        bed=bed,
        shards=None if shards is None else Shards(shards, shard),
        deletions=deletions,
        table=table,
        options=options,
        command=command_line(),
        force=force,
        quiet=quiet,
    )


@app.command(
    epilog="Examples:\n\n`ntvep variants in.vcf.gz -r GRCh38.fa -o alleles.tsv`\n\n"
    "`ntvep variants in.vcf.gz -r GRCh38.fa -m demo --views all`"
)
def variants(
    source: Input,
    reference: Reference,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Model whose windows to use; its weights are not read.",
            show_default="check only REF, positions and alleles",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help=".tsv, .parquet, or - for TSV on stdout.")
    ] = Path("-"),
    window_bases: WindowBases = None,
    window_tokens: WindowTokens = None,
    beyond_training: BeyondTraining = False,
    views: Views = None,
    anchor: Anchor = None,
    scores: Scores = "all",
    max_allele_bases: MaxAlleleBases = DEFAULT_MAX_ALLELE_BASES,
    max_n_fraction: MaxNFraction = DEFAULT_MAX_N_FRACTION,
    on_bad_record: OnBadRecord = "fail",
    ref_mismatch_limit: MismatchLimit = DEFAULT_MISMATCH_LIMIT,
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """List every ALT allele with the status that it would get: a dry run without weights."""
    from ntvep.commands.options import Options
    from ntvep.commands.variants import list_variants

    set_up_log(quiet, verbose)
    options = Options(
        scores=scores,
        window_bases=window_bases,
        window_tokens=window_tokens,
        beyond_training=beyond_training,
        views=views,
        anchor=anchor,
        max_allele_bases=max_allele_bases,
        max_n_fraction=max_n_fraction,
        on_bad_record=on_bad_record,
        ref_mismatch_limit=ref_mismatch_limit,
    )
    list_variants(source, reference, output, model=model, options=options, force=force)
