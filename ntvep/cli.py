"""command line -> one function call: parse, call, print; nothing is decided here."""

import logging
import os
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler

from ntvep.errors import NtvepError
from ntvep.settings import (
    DEFAULT_MAX_ALLELE_BASES,
    DEFAULT_MAX_N_FRACTION,
    DEFAULT_VIEWS,
    Settings,
)

app = typer.Typer(
    name="ntvep",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Score the effect of genetic variants with Nucleotide Transformer models, zero-shot.\n\n"
    "Scores are for research, not for diagnosis. The published Nucleotide Transformer weights are "
    "CC BY-NC-SA 4.0: non-commercial use only.",
)
model_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Fetch and inspect models."
)
app.add_typer(model_app, name="model")

# Options that several commands share are spelled once.
Input = Annotated[
    Path, typer.Argument(metavar="IN", help="VCF (plain, gzip, bgzip) or BCF; - for stdin.")
]
Reference = Annotated[
    Path, typer.Option("--reference", "-r", help="FASTA, plain or bgzip, of the VCF's assembly.")
]
WindowTokens = Annotated[
    int | None,
    typer.Option(help="6-mers in a window.", show_default="the model's maximum"),
]
Views = Annotated[
    int, typer.Option(help="1: forward; 2: both strands; 12: six phases on both strands.")
]
MaxAlleleBases = Annotated[int, typer.Option(help="Most bases that an allele may change.")]
MaxNFraction = Annotated[float, typer.Option(help="Largest share of N in a scored window.")]
OnBadRecord = Annotated[
    Literal["fail", "skip"],
    typer.Option(
        help="What to do with lines that are no VCF records: stop, or leave out and list."
    ),
]
MismatchLimit = Annotated[
    float,
    typer.Option(help="Share of REF disagreements that stops the run as a wrong build; 1: never."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Warnings and errors only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]


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

    _set_up_log(quiet, verbose)
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
        command=_command_line(),
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

    _set_up_log(quiet, verbose)
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


@app.command(epilog="Example: `ntvep split in.vcf.gz -o chunks/ --chunks 8`")
def split(
    source: Input,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the chunks.")],
    chunks: Annotated[int, typer.Option(help="Number of chunks.")],
    on_bad_record: OnBadRecord = "fail",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Cut a VCF into contiguous chunks of sites, for jobs that run side by side."""
    from ntvep.commands.chunks import split as split_file

    _set_up_log(quiet, verbose)
    split_file(source, output, chunks, on_bad_record)


@app.command(
    epilog="Example: `ntvep gather in.vcf.gz -o out.vcf.gz --table out.parquet 1.parquet 2.parquet`"
)
def gather(
    source: Input,
    tables: Annotated[list[Path], typer.Argument(help="The chunks' SCORES, in order.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".vcf, .vcf.gz or .bcf.")],
    table: Annotated[Path | None, typer.Option(help="Also write all SCORES as Parquet.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="FASTA, for contig lengths that the header lacks.")
    ] = None,
    on_bad_record: OnBadRecord = "fail",
    force: Force = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Join the chunks' scores, in order, and annotate the VCF that was split."""
    from ntvep.commands.chunks import gather as gather_files

    _set_up_log(quiet, verbose)
    gather_files(
        source,
        tables,
        output,
        command=_command_line(),
        table=table,
        reference=reference,
        on_bad_record=on_bad_record,
        force=force,
    )


@app.command(
    epilog="Example: `ntvep compare out.vcf.gz --positive SOURCE=simulated "
    "--negative SOURCE=observed`"
)
def compare(
    source: Annotated[Path, typer.Argument(metavar="IN", help="VCF that ntvep annotated.")],
    positive: Annotated[str, typer.Option(help="INFO_KEY=value of one group of records.")],
    negative: Annotated[str, typer.Option(help="INFO_KEY=value of the other group.")],
    block_bases: Annotated[
        int, typer.Option(help="Neighbours within a block are resampled together.")
    ] = 10_000,
) -> None:
    """Print how well `llr` tells two groups of records apart: AUROC with a 95 % interval."""
    from ntvep.commands.compare import compare_groups

    print(compare_groups(source, positive, negative, block_bases=block_bases))


@model_app.command("info", epilog="Example: `ntvep model info demo`")
def model_info(
    model: Annotated[str, typer.Argument(help="Folder, fetched hub id, or `demo`.")],
) -> None:
    """Show a model's architecture, window, vocabulary, checksum and licence."""
    from ntvep.commands import models

    for name, value in models.model_info(model).items():
        print(f"{name:<18} {value}")


@model_app.command("check", epilog="Example: `ntvep model check demo`")
def model_check(
    model: Annotated[str, typer.Argument(help="Folder, fetched hub id, or `demo`.")],
) -> None:
    """Compare our numbers for a model with those of transformers' own implementation."""
    from ntvep.commands import models

    print(models.model_check(model))


@model_app.command(
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

    This is the only command that uses a network.
    """
    from ntvep.commands import models

    _set_up_log(quiet, verbose)
    print(models.model_fetch(model, revision))


class _Interrupted(BaseException):
    """Ctrl-C, or a job that is told to stop: cleans up on its way, and no library swallows it."""


def main() -> NoReturn:
    """Run the command line: exit 0 only if all is well."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except NtvepError as error:
        _say(f"ntvep: error: {error}")
        sys.exit(error.exit_status)
    except _Interrupted as signalled:
        _say("ntvep: interrupted; no output was written")
        sys.exit(128 + signalled.args[0])
    except BrokenPipeError:
        # The reader of our standard output has seen enough; Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise _Interrupted(number)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _set_up_log(quiet: bool, verbose: bool) -> None:
    """Notes go to standard error: short ones on a terminal, dated lines in a job's log."""
    log = logging.getLogger("ntvep")
    log.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    if sys.stderr.isatty():
        handler: logging.Handler = RichHandler(
            console=Console(stderr=True), show_time=False, show_path=False, markup=False
        )
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.handlers = [handler]


def _command_line() -> str:
    """What was typed, with every path reduced to its file name: outputs travel, folders do not."""
    return shlex.join(["ntvep", *map(_without_folders, sys.argv[1:])])


def _without_folders(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{Path(value).name or value}"
