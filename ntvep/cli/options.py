"""What commands share: options spelled once, the log, and the command line as provenance."""

import logging
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ntvep.defaults import DEFAULT_VIEWS
from ntvep.errors import ConfigError

Regions = Annotated[
    list[str] | None,
    typer.Option(
        help="Score only records that overlap CONTIG:FIRST-LAST (1-based) "
        "or a region of a .bed; repeat. Other records stay, with the "
        "status not_selected.",
    ),
]
PassOnly = Annotated[
    bool,
    typer.Option("--pass-only", help="Score only records whose FILTER is PASS or missing."),
]
Tag = Annotated[
    str,
    typer.Option(
        help="Write NTVEP_TAG_LLR and so on, so that one VCF can hold scores of several models.",
        show_default=False,
    ),
]
ShowRef = Annotated[
    bool,
    typer.Option("--show-ref", help="Write NTVEP_REF, the reference's bases, where REF disagrees."),
]
Input = Annotated[
    Path, typer.Argument(metavar="IN", help="VCF (plain, gzip, bgzip) or BCF; - for stdin.")
]
Reference = Annotated[
    Path, typer.Option("--reference", "-r", help="FASTA, plain or bgzip, of the VCF's assembly.")
]
WindowBases = Annotated[
    int | None,
    typer.Option(help="Length of a window in bases.", show_default="the model's own"),
]
WindowTokens = Annotated[
    int | None,
    typer.Option(help="The same in k-mers, for models with k-mer tokens.", show_default=""),
]
BeyondTraining = Annotated[
    bool,
    typer.Option(
        "--beyond-training", help="Accept windows longer than the model was trained with."
    ),
]
Views = Annotated[
    str | None,
    typer.Option(
        help="1: forward; 2: both strands; all: every phase of k-mers on both strands.",
        show_default=DEFAULT_VIEWS,
    ),
]
Anchor = Annotated[
    int | None,
    typer.Option(
        help="Start windows on a lattice of this many bases, so that "
        "neighbouring variants share more passes.",
        show_default="one token",
    ),
]
SoftmaxOver = Annotated[
    Literal["all", "acgt"],
    typer.Option(help="Normalise predictions over all tokens, or only over A, C, G, T."),
]
MaxAlleleBases = Annotated[
    int, typer.Option(help="Largest number of bases that an allele may change.")
]
MaxNFraction = Annotated[float, typer.Option(help="Largest share of N in a scored window.")]
OnBadRecord = Annotated[
    Literal["fail", "skip"],
    typer.Option(
        help="What to do with lines that are not VCF records: stop, or leave out and list."
    ),
]
MismatchLimit = Annotated[
    float,
    typer.Option(
        help="Share of REF mismatches above which the run stops, as the "
        "build is probably wrong; 1: never."
    ),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Checkpoint folder, fetched hub id, `demo`, or `none` to use only known scores.",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help=".vcf, .vcf.gz, .bcf, .parquet, .tsv, .tsv.gz, .csv, or - for stdout.",
    ),
]
Table = Annotated[Path | None, typer.Option(help="Also write SCORES as Parquet.")]
Scores = Annotated[str, typer.Option(help="all, or names separated by commas.")]
Layer = Annotated[str, typer.Option(help="Layer of the embeddings: last, or 0, 1, ...")]
PoolName = Annotated[Literal["mean", "mean_cls"], typer.Option(help="What an embedding averages.")]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, mps; cuda:1; or several: cuda:0,cuda:1.")
]
Precision = Annotated[
    str,
    typer.Option(
        help="auto, fp32, tf32, fp16, bf16 or mixed (CPUs: bf16, but fp32 in the first half of "
        "the blocks). Auto takes fp16 or bf16 on CUDA, mixed for Nucleotide Transformers and "
        "PhyloGPN on CPUs with AMX, else fp32 (docs/models.md)."
    ),
]
BatchSize = Annotated[str, typer.Option(help="Passes in a batch, or auto.")]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic",
        help="On a GPU: no bit of a score depends on what else is scored. Slower.",
    ),
]
Threads = Annotated[
    int | None, typer.Option(help="CPU threads of the model.", show_default="torch's choice")
]
Cache = Annotated[
    Path | None, typer.Option(help="Folder of known scores: looked up first, and new ones added.")
]
Known = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STORE[,STORE]",
        help="Stores (ntvep store) to look scores up in first, before the cache and the model.",
    ),
]
Fingerprint = Annotated[
    str | None, typer.Option(help="Which scores of the cache to use with --model none.")
]
Background = Annotated[
    Path | None,
    typer.Option(
        help="Output of `ntvep background draw` for this model and these "
        "settings: adds llr_percentile, llr_phred and llr_calibrated.",
        show_default=False,
    ),
]
Labels = Annotated[
    list[Path] | None,
    typer.Option(
        "--labels", "-l", help="ClinVar's VCF, or LABELS that ntvep labels wrote; repeat."
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(
        help="Another score to compare with: FILE:COLUMN[:lower|:higher] "
        "of tabix, TSV, Parquet or VCF (INFO), or a BigWig; repeat."
    ),
]
OwnScores = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME:lower or NAME:higher: a score column of a table "
        "without ntvep's provenance; repeat."
    ),
]
Tags = Annotated[
    list[str] | None,
    typer.Option(
        help="Which scores of annotated VCFs: as given to ntvep score --tag; repeat.",
        show_default="all that they hold",
    ),
]
LabelMismatchLimit = Annotated[
    float,
    typer.Option(
        help="Share of labels whose REF disagrees above which the run "
        "stops, as the assembly is probably wrong."
    ),
]
Genes = Annotated[Path | None, typer.Option(help="GTF or BED, drawn in pictures.")]
Force = Annotated[bool, typer.Option("--force", help="Replace outputs that exist.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Warnings and errors only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]


def stores_of(texts: list[str] | None) -> tuple[Path, ...]:
    """Stores of ``--known``, which may be given several times."""
    return tuple(Path(name) for text in texts or () for name in text.split(",") if name)


def batch_size_of(text: str) -> int | None:
    """``auto`` (None) or a number.

    Raises:
        ConfigError: it is neither.
    """
    if text == "auto":
        return None
    if not text.isdecimal():
        raise ConfigError(f"--batch-size is {text!r}; expected auto, or 1 or more")
    return int(text)


def set_up_log(quiet: bool, verbose: bool) -> None:
    """Notes go to standard error: short ones on a terminal, dated lines in a job's log."""
    log = logging.getLogger("ntvep")
    log.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    if sys.stderr.isatty():
        # Here and not above: --help does without them.
        from rich.console import Console
        from rich.logging import RichHandler

        handler: logging.Handler = RichHandler(
            console=Console(stderr=True), show_time=False, show_path=False, markup=False
        )
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.handlers = [handler]


def command_line() -> str:
    """What was typed, with every path reduced to its file name: outputs travel, folders do not."""
    return shlex.join(["ntvep", *map(_without_folders, sys.argv[1:])])


def _without_folders(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{Path(value).name or value}"
