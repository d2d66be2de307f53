"""what a caller asks for -> Options: how to score, in any command."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ntvep.defaults import (
    DEFAULT_MAX_ALLELE_BASES,
    DEFAULT_MAX_N_FRACTION,
    DEFAULT_MISMATCH_LIMIT,
)
from ntvep.objectives import Pool, Softmax

OnBadRecord = Literal["fail", "skip"]


@dataclass(frozen=True)
class Options:
    """How to score. Every field is an option of the command line, of the same name.

    Attributes:
        scores: score names, or ``all``.
        window_bases: length of a window; None takes the model's default.
        window_tokens: the same, counted in the k-mers of a model that has them.
        beyond_training: accept windows longer than those the model was trained with.
        views: 1, 2 or all; None is 2, or those of the known scores with the model ``none``.
        anchor: window starts lie on a lattice of that many bases, so that neighbours share passes.
        softmax: all, or acgt: normalise predictions over A, C, G, T only.
        layer: of the embeddings: ``last``, or a number from 0.
        pool: what an embedding averages: ``mean`` or ``mean_cls``.
        device: auto, cpu, cuda, mps; a GPU as cuda:1; or several as cuda:0,cuda:1.
        precision: auto, fp32, tf32, fp16, bf16 or mixed.
        batch_size: passes in a batch; None finds one.
        deterministic: on a GPU too, no bit of a score depends on what else is scored.
        threads: CPU threads of the model; None leaves torch's choice.
        max_allele_bases: the most bases that may go or come.
        max_n_fraction: the largest share of N in a scored window.
        on_bad_record: ``fail``, or ``skip`` to leave such lines out and list them.
        ref_mismatch_limit: the share of REF disagreements that stops the run; 1 never stops it.
        refuse_annotated: stop if the input already has NTVEP annotations.
        cache: folder of known scores: read, and given those that are new.
        known: stores whose scores are taken before the cache is asked, and the model.
        fingerprint: which of the cache's scores to read with the model ``none``.
        regions: ``CONTIG:FIRST-LAST`` or BED files: score only records that overlap one of them.
        pass_only: score only records whose FILTER is PASS or missing.
        tag: of the INFO keys, so that scores of several models live in one VCF.
        show_ref: write what the reference has where REF disagrees with it.
        background: table of scores at random places that each ``llr`` is compared with.
    """

    scores: str | Sequence[str] = "all"
    window_bases: int | None = None
    window_tokens: int | None = None
    beyond_training: bool = False
    views: str | int | None = None
    anchor: int | None = None
    softmax: Softmax = "all"
    layer: str | int = "last"
    pool: Pool = "mean"
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    deterministic: bool = False
    threads: int | None = None
    max_allele_bases: int = DEFAULT_MAX_ALLELE_BASES
    max_n_fraction: float = DEFAULT_MAX_N_FRACTION
    on_bad_record: OnBadRecord = "fail"
    ref_mismatch_limit: float = DEFAULT_MISMATCH_LIMIT
    refuse_annotated: bool = False
    cache: Path | None = None
    known: Sequence[Path] = ()
    fingerprint: str | None = None
    regions: Sequence[str] = ()
    pass_only: bool = False
    tag: str = ""
    show_ref: bool = False
    background: Path | None = None
