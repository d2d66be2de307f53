"""files -> files: one function a command; composes io, model and the pipeline."""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import polars as pl

from ntvep.errors import (
    ConfigError,
    NumericalFailureError,
    ReferenceMismatchError,
    UnscoredError,
)
from ntvep.io import outputs, tables, vcf
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.pipeline import resolve, score_alleles, with_sd
from ntvep.progress import progress
from ntvep.provenance import Provenance, fingerprint, layer_name
from ntvep.schema import ALLELES, FRAMESHIFTED, Column, Status, score_schema
from ntvep.settings import (
    DEFAULT_MAX_ALLELE_BASES,
    DEFAULT_MAX_N_FRACTION,
    DEFAULT_VIEWS,
    Pool,
    Settings,
    parse_scores,
)

_log = logging.getLogger("ntvep")

# Records read at once: enough to share passes between neighbours, little memory.
_CHUNK_RECORDS = 2_000
# The assembly is judged on this many alleles whose contig the reference has, ...
_ASSEMBLY_SAMPLE = 1_000
# ... and not on fewer than these: a handful of wrong records is no wrong assembly.
_FEWEST_TO_JUDGE = 20
_FEWEST_UNMAPPED = 100


@dataclass(frozen=True)
class Options:
    """How ``score`` works. Every field is an option of the command line, of the same name.

    Attributes:
        scores: score names, or ``all``.
        window_tokens: 6-mers in a window; None takes the model's maximum.
        views: 1, 2 or 12.
        layer: of the embeddings: ``last``, or a number from 0.
        pool: what an embedding averages: ``mean`` or ``mean_cls``.
        device: auto, cpu, cuda or mps.
        precision: auto, fp32, fp16 or bf16.
        batch_size: passes in a batch; None finds one.
        max_allele_bases: the most bases that may go or come.
        max_n_fraction: the largest share of N in a scored window.
        on_bad_record: ``fail``, or ``skip`` to leave such lines out and list them.
        ref_mismatch_limit: the share of REF disagreements that stops the run; 1 never stops it.
        refuse_annotated: stop if the input already has NTVEP annotations.
    """

    scores: str | Sequence[str] = "all"
    window_tokens: int | None = None
    views: int = DEFAULT_VIEWS
    layer: str | int = "last"
    pool: Pool = "mean"
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    max_allele_bases: int = DEFAULT_MAX_ALLELE_BASES
    max_n_fraction: float = DEFAULT_MAX_N_FRACTION
    on_bad_record: Literal["fail", "skip"] = "fail"
    ref_mismatch_limit: float = 0.1
    refuse_annotated: bool = False


@dataclass
class Summary:
    """What a run did; ``OUT.summary.json`` holds these keys."""

    records: int = 0
    alleles: int = 0
    ok: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    passes: int = 0
    seconds: float = 0.0
    fingerprint: str = ""
    passes_per_allele: float = 0.0
    alleles_per_second: float = 0.0
    bad_records: list[dict[str, object]] = field(default_factory=list)
    contig_aliases: dict[str, str] = field(default_factory=dict)

    def add(self, statuses: pl.Series, passes: int = 0) -> None:
        """Count a chunk's alleles."""
        counts = Counter(self.statuses) + Counter(statuses.cast(pl.String).to_list())
        # In the order of the definitions, so that two summaries compare line by line.
        self.statuses = {s.value: counts[s.value] for s in Status if counts[s.value]}
        self.alleles += len(statuses)
        self.ok = self.statuses.get(Status.OK, 0)
        self.passes += passes

    def finish(self, seconds: float) -> None:
        """Note the time taken, and the rates that follow from it."""
        self.seconds = round(seconds, 3)
        self.passes_per_allele = round(self.passes / self.ok, 4) if self.ok else 0.0
        self.alleles_per_second = round(self.alleles / seconds, 2) if seconds else 0.0


@dataclass(frozen=True)
class _Run:
    """An input, a reference and a model that fit together, ready to score."""

    inspection: vcf.Inspection
    reference: FastaReference
    settings: Settings
    provenance: Provenance
    chunks: Callable[[Callable[[float], None]], Iterator[tuple[vcf.Chunk, pl.DataFrame, int]]]

    @property
    def columns(self) -> tuple[Column, ...]:
        return score_schema(self.settings.scores, with_sd(self.settings))
