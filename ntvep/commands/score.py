"""VCF -> annotated VCF and Parquet: ``ntvep score`` and ``ntvep.score``."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import Any

import polars as pl

from ntvep.commands.inputs import OnBadRecord, judge_assembly, opened_vcf
from ntvep.commands.pace import Pace
from ntvep.commands.summary import Summary
from ntvep.commands.writers import targets, writers
from ntvep.description import Description
from ntvep.errors import ConfigError, NumericalFailureError, UnscoredError
from ntvep.io import vcf
from ntvep.io.cache import Identity, ScoreCache, the_identity
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.staging import refuse_overwriting, staged
from ntvep.models.loaded import load_model
from ntvep.objectives import Pool, Softmax
from ntvep.pipeline import PAIRS_PER_PLAN, Scored, ScoringContext, score_stream
from ntvep.progress import progress
from ntvep.provenance import Provenance, fingerprint
from ntvep.schema import Status
from ntvep.settings import (
    DEFAULT_MAX_ALLELE_BASES,
    DEFAULT_MAX_N_FRACTION,
    DEFAULT_VIEWS,
    Settings,
    fitting,
    parse_layer,
    parse_scores,
    parse_views,
)

_log = logging.getLogger("ntvep")

# The name that stands for no model: only known scores are written.
NO_MODEL = "none"
# Records of the first chunks, as long as the speed of the device is not known.
_FIRST_RECORDS = 64


@dataclass(frozen=True)
class Options:
    """How to score. Every field is an option of the command line, of the same name.

    Attributes:
        scores: score names, or ``all``.
        window_bases: length of a window; None takes the model's default.
        window_tokens: the same, counted in the k-mers of a model that has them.
        beyond_training: accept windows longer than those the model was trained with.
        views: 1, 2 or all.
        anchor: window starts lie on a lattice of that many bases, so that neighbours share passes.
        softmax: all, or acgt: a prediction is normalised over A, C, G, T alone.
        layer: of the embeddings: ``last``, or a number from 0.
        pool: what an embedding averages: ``mean`` or ``mean_cls``.
        device: auto, cpu, cuda or mps.
        precision: auto, fp32, tf32, fp16 or bf16.
        batch_size: passes in a batch; None finds one.
        deterministic: on a GPU too, no bit of a score depends on what else is scored.
        threads: CPU threads of the model; None leaves torch's choice.
        max_allele_bases: the most bases that may go or come.
        max_n_fraction: the largest share of N in a scored window.
        on_bad_record: ``fail``, or ``skip`` to leave such lines out and list them.
        ref_mismatch_limit: the share of REF disagreements that stops the run; 1 never stops it.
        refuse_annotated: stop if the input already has NTVEP annotations.
        cache: folder of known scores: read, and given those that are new.
        fingerprint: which of the cache's scores to read with the model ``none``.
    """

    scores: str | Sequence[str] = "all"
    window_bases: int | None = None
    window_tokens: int | None = None
    beyond_training: bool = False
    views: str | int = DEFAULT_VIEWS
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
    ref_mismatch_limit: float = 0.1
    refuse_annotated: bool = False
    cache: Path | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class _Run:
    """An input, a reference and a model that fit together, and what outputs say of them."""

    inspection: vcf.Inspection
    reference: FastaReference
    setup: ScoringContext
    provenance: Provenance

    @property
    def settings(self) -> Settings:
        return self.provenance.settings


def score(
    vcf: str | Path, reference: str | Path, model: str, *, quiet: bool = True, **options: Any
) -> pl.DataFrame:
    """Score the variants of a VCF: the way in for Python.

    Args:
        vcf: a VCF (plain, gzip, bgzip) or BCF.
        reference: a FASTA of the same assembly.
        model: a checkpoint folder, a hub id that has been fetched, ``demo``, or ``none``.
        quiet: show no progress.
        **options: fields of :class:`Options`.

    Returns:
        SCORES: a row for each ALT allele, in the order of the records, with its scores or the
        status that says why it has none. :mod:`ntvep.schema` gives columns and units.

    Raises:
        NtvepError: its text says what was found, where, what was expected and what to do.
    """
    asked = Options(**options)
    if asked.cache is not None:
        asked = replace(asked, cache=Path(asked.cache))
    with _prepared(Path(vcf), Path(reference), model, asked, "ntvep.score") as run:
        empty = {column.name: column.dtype for column in run.setup.columns}
        parts = [pl.DataFrame(schema=empty)]
        _score_chunks(run, lambda _, scored: parts.append(scored.scores), quiet)
        return pl.concat(parts)


def score_file(
    source: Path,
    reference: Path,
    model: str,
    output: Path,
    *,
    table: Path | None = None,
    options: Options,
    command: str,
    force: bool = False,
    strict: bool = False,
    quiet: bool = False,
) -> Summary:
    """Score the variants of a VCF into an annotated VCF, a Parquet table, or both.

    Args:
        source: VCF or BCF; ``-`` for standard input.
        reference: FASTA of the same assembly.
        model: a checkpoint folder, a hub id that has been fetched, ``demo``, or ``none``.
        output: .vcf, .vcf.gz, .bcf or .parquet; ``-`` for VCF text on standard output.
        table: Parquet of SCORES beside a VCF.
        options: how to score.
        command: what the user typed, for the provenance.
        force: replace outputs that exist.
        strict: fail, after writing, if an allele has no score.
        quiet: no progress bar.

    Raises:
        NtvepError: nothing is left under any output's name; except for
            :class:`UnscoredError` and :class:`NumericalFailureError`, whose outputs are whole.
    """
    started = time.monotonic()
    where = targets(output, table)
    for path in where.files:
        refuse_overwriting(path, (source, reference))
    with (
        staged(where.files, force=force) as staging,
        _prepared(source, reference, model, options, command) as run,
    ):
        summary = Summary(
            records=run.inspection.records,
            fingerprint=run.provenance.fingerprint,
            bad_records=[asdict(bad) for bad in run.inspection.bad],
            contig_aliases=run.reference.aliases,
        )
        lengths = run.reference.lengths(run.inspection.contigs)
        opened = writers(where, staging, run.inspection, run.provenance, lengths, summary)
        with opened as write:

            def use(chunk: vcf.Chunk, scored: Scored) -> None:
                summary.count(scored.scores["status"], scored.passes, scored.known)
                write(chunk.lines, scored.scores)

            _score_chunks(run, use, quiet)
            summary.seconds = round(time.monotonic() - started, 3)
    summary.log()
    _judge(summary, output, strict)
    return summary


def _judge(summary: Summary, output: Path, strict: bool) -> None:
    """Say by the exit status what a whole output still lacks."""
    if failures := summary.statuses.get(Status.NUMERICAL_FAILURE, 0):
        raise NumericalFailureError(
            f"{output}: NaN or infinity for {failures} of {summary.alleles} alleles, "
            "whose status says so; all other scores are there. Try --precision fp32"
        )
    if strict and summary.ok < summary.alleles:
        counts = ", ".join(f"{n} {s}" for s, n in summary.statuses.items() if s != Status.OK)
        raise UnscoredError(
            f"{output}: {summary.alleles - summary.ok} of {summary.alleles} alleles have no score "
            f"({counts}). The output is whole; leave --strict out to accept it"
        )


@contextmanager
def _prepared(
    source: Path, reference: Path, model: str, options: Options, command: str
) -> Iterator[_Run]:
    """Judge all that can be judged before a model is loaded; then load it."""
    parse_scores(options.scores)
    genome = open_reference(reference)
    with opened_vcf(source, options.on_bad_record, options.refuse_annotated) as inspection:
        judge_assembly(inspection, genome, options.ref_mismatch_limit)
        setup, identity = (
            _known_only(genome, options)
            if model == NO_MODEL
            else _with_model(genome, model, options)
        )
        provenance = Provenance(
            version=version("ntvep"),
            command=command,
            model=identity.model,
            settings=setup.settings,
            reference=reference.name,
            contigs=genome.md5(inspection.contigs),
            fingerprint=identity.fingerprint,
        )
        yield _Run(inspection, genome, setup, provenance)


def _with_model(
    genome: FastaReference, model: str, options: Options
) -> tuple[ScoringContext, Identity]:
    """A model, and the cache if one is asked for.

    Raises:
        ConfigError: options that do not go together.
    """
    if options.deterministic and options.cache:
        raise ConfigError(
            "--deterministic with --cache: what a cache holds may have been scored in any company; "
            "leave one of them out"
        )
    loaded = load_model(
        model,
        device=options.device,
        precision=options.precision,
        batch_size=options.batch_size,
        deterministic=options.deterministic,
        threads=options.threads,
    )
    _log.info(
        "model %s on %s, %s; licence: %s. Scores are for research, not for diagnosis",
        loaded.identity.model_id,
        loaded.identity.device,
        loaded.identity.precision,
        loaded.licence,
    )
    settings = settings_for(loaded.description, options)
    identity = Identity(fingerprint(loaded.identity, settings), loaded.identity, settings)
    known = ScoreCache(options.cache, identity) if options.cache else None
    return ScoringContext(genome, loaded.model, loaded.description, settings, known), identity


def settings_for(model: Description, options: Options) -> Settings:
    """The settings that options mean for a model.

    Raises:
        ConfigError: the model cannot be asked so.
    """
    settings = Settings(
        scores=parse_scores(options.scores, model),
        window_bases=_window_bases(model, options),
        views=parse_views(options.views, model),
        layer=parse_layer(options.layer, model.layers),
        pool=options.pool,
        softmax=options.softmax,
        # The step of the model's own grid moves no window.
        anchor=None if options.anchor == model.tokenizer.stride else options.anchor,
        max_allele_bases=options.max_allele_bases,
        max_n_fraction=options.max_n_fraction,
    )
    return fitting(settings, model, options.beyond_training)


def _window_bases(model: Description, options: Options) -> int:
    """Length of a window, as asked in bases or in k-mers."""
    if options.window_tokens is None:
        return options.window_bases or model.default_bases
    if options.window_bases is not None:
        raise ConfigError("--window-bases and --window-tokens say the same; give one of them")
    if model.tokenizer.kind != "kmer":
        raise ConfigError("--window-tokens: this model has no k-mers; give --window-bases")
    longest = model.max_tokens - len(model.tokenizer.front)
    if not 1 <= options.window_tokens <= longest:
        raise ConfigError(
            f"--window-tokens is {options.window_tokens}; this model takes 1 to {longest} (its "
            f"maximum of {model.max_tokens} less special tokens)"
        )
    return options.window_tokens * model.tokenizer.stride


def _known_only(genome: FastaReference, options: Options) -> tuple[ScoringContext, Identity]:
    """``--model none``: windows, views, layer and pool are those of the cache.

    Raises:
        ConfigError: there is no cache, or it holds several fingerprints and none was chosen.
    """
    if options.cache is None:
        raise ConfigError(f"--model {NO_MODEL} reads known scores: add --cache DIR")
    found = the_identity(options.cache, options.fingerprint)
    settings = replace(
        found.settings,
        scores=found.settings.scores if options.scores == "all" else parse_scores(options.scores),
        max_allele_bases=options.max_allele_bases,
        max_n_fraction=options.max_n_fraction,
    )
    _log.info(
        "no model: scores of %s, fingerprint %s, from %s. Scores are for research, not for "
        "diagnosis",
        found.model.model_id,
        found.fingerprint,
        options.cache,
    )
    identity = replace(found, settings=settings)
    known = ScoreCache(options.cache, identity)
    return ScoringContext(genome, None, found.model.description(), settings, known), identity


def _score_chunks(run: _Run, use: Callable[[vcf.Chunk, Scored], None], quiet: bool) -> None:
    """Score chunk by chunk: memory does not grow with the number of records."""
    full = max(1, PAIRS_PER_PLAN // run.setup.views)
    # What a cache has not been given is lost when a run is killed, so plans must not take long.
    # Without a cache all is lost, and the largest plans share the most passes.
    pace = Pace(full, _FIRST_RECORDS) if run.setup.known and run.setup.model else None
    sizes = pace.sizes() if pace else repeat(full)
    chunks = ((chunk, chunk.alleles) for chunk in vcf.read_chunks(run.inspection, sizes))

    def use_and_measure(chunk: vcf.Chunk, scored: Scored) -> None:
        use(chunk, scored)
        if pace:
            pace.done(len(chunk.lines))

    with progress("records", run.inspection.records, quiet=quiet) as advance:
        score_stream(
            chunks,
            run.setup,
            use_and_measure,
            lambda chunk, share: advance(share * len(chunk.lines)),
        )
