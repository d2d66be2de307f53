"""model name, genome, Options -> all that turns ALLELES into SCORES, and what outputs say of it."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import repeat
from typing import Protocol, TypeVar

import polars as pl

from ntvep.commands.compared import Background, opened_background
from ntvep.commands.known import KnownStores, fitting_stores, identity_asked
from ntvep.commands.options import Options
from ntvep.commands.pace import Forecast, Pace
from ntvep.defaults import DEFAULT_VIEWS
from ntvep.description import Description
from ntvep.errors import ConfigError
from ntvep.io.cache import Identity, ScoreCache, the_identity
from ntvep.io.fasta import FastaReference
from ntvep.io.store import Store
from ntvep.models.loaded import LoadedModel, described, load_model
from ntvep.pipeline import PAIRS_PER_PLAN, Scored, ScoringContext, score_stream
from ntvep.progress import progress
from ntvep.provenance import Provenance, StoreUsed, fingerprint
from ntvep.schema import COMPARED, Column
from ntvep.settings import Settings, fitting, parse_layer, parse_scores, parse_views

_log = logging.getLogger("ntvep")

# The name that means no model: only known scores are written.
NO_MODEL = "none"
# Records of the first chunks, as long as the speed of the device is not known.
_FIRST_RECORDS = 64
# Records of a chunk that no model scores: large ones take the least time, and little memory.
_LOOKED_UP = 1 << 14


class HasAlleles(Protocol):
    """A chunk of an input."""

    @property
    def alleles(self) -> pl.DataFrame:
        """ALLELES."""
        ...


C = TypeVar("C", bound=HasAlleles)


@dataclass(frozen=True)
class Ready:
    """A genome and a model that fit together.

    Attributes:
        genome: the reference.
        context: what scores.
        identity: of the scores.
        background: that scores are compared with; None for none.
        stores: that scores are looked up in.
    """

    genome: FastaReference
    context: ScoringContext
    identity: Identity
    background: Background | None = None
    stores: Sequence[Store] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of SCORES as they are written."""
        return (*self.context.columns, *(COMPARED if self.background else ()))

    def compared(self, scored: Scored) -> Scored:
        """With the place of each llr in the background, if there is one."""
        if self.background is None:
            return scored
        return replace(scored, scores=self.background.compared(scored.scores, self.genome))

    def provenance(self, command: str, contigs: Collection[str]) -> Provenance:
        """What outputs say of their making.

        Args:
            command: what was typed, or called.
            contigs: that the alleles lie on.
        """
        return Provenance(
            version=version("ntvep"),
            command=command,
            model=self.identity.model,
            settings=self.context.settings,
            reference=self.genome.path.name,
            contigs=self.genome.md5(contigs),
            fingerprint=self.identity.fingerprint,
            background=self.background.sha256 if self.background else None,
            stores=tuple(
                StoreUsed(store.folder.name, store.sha256, store.about.errors)
                for store in self.stores
            ),
        )


def ready(genome: FastaReference, model: str, options: Options) -> Ready:
    """Load a model, or with the name ``none`` find known scores.

    Raises:
        ModelError: the model cannot be loaded.
        ConfigError: options that do not go together, or that the model cannot be asked.
    """
    parse_scores(options.scores)
    if model == NO_MODEL:
        return _known_only(genome, options)
    # Options that this model cannot be asked are refused before its weights are read.
    settings_for(described(model)[1], options)
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
    return ready_with(loaded, genome, options)


def ready_with(loaded: LoadedModel, genome: FastaReference, options: Options) -> Ready:
    """A model that has been loaded, with a genome and, if one is asked for, a cache.

    Raises:
        ConfigError: options that do not go together, or that the model cannot be asked.
    """
    if options.deterministic and options.cache:
        raise ConfigError(
            "--deterministic with --cache: cached scores may come from other batches; omit one "
            "of the two"
        )
    settings = settings_for(loaded.description, options)
    identity = Identity(fingerprint(loaded.identity, settings), loaded.identity, settings)
    known = ScoreCache(options.cache, identity) if options.cache else None
    stores = fitting_stores(options.known, identity)
    looked_up = KnownStores(stores, settings, genome) if stores else None
    context = ScoringContext(genome, loaded.model, loaded.description, settings, known, looked_up)
    return Ready(genome, context, identity, _background(options, identity), stores)


def settings_for(model: Description, options: Options) -> Settings:
    """The settings that options mean for a model.

    Raises:
        ConfigError: the model cannot be asked so.
    """
    settings = Settings(
        scores=parse_scores(options.scores, model),
        window_bases=_window_bases(model, options),
        views=parse_views(options.views or DEFAULT_VIEWS, model),
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
        return model.default_bases if options.window_bases is None else options.window_bases
    if options.window_bases is not None:
        raise ConfigError(
            "--window-bases and --window-tokens have the same meaning; give one of them"
        )
    if model.tokenizer.kind != "kmer":
        raise ConfigError("--window-tokens: this model has no k-mers; give --window-bases")
    longest = model.max_tokens - len(model.tokenizer.front)
    if not 1 <= options.window_tokens <= longest:
        raise ConfigError(
            f"--window-tokens is {options.window_tokens}; this model takes 1 to {longest} (its "
            f"maximum of {model.max_tokens} minus special tokens)"
        )
    return options.window_tokens * model.tokenizer.stride


def _known_only(genome: FastaReference, options: Options) -> Ready:
    """``--model none``: windows, views, layer and pool are those of the stores or the cache.

    Raises:
        ConfigError: there is neither, or a cache holds several fingerprints and none was chosen.
    """
    if options.known:
        found = identity_asked(options.known, options)
    elif options.cache:
        found = the_identity(options.cache, options.fingerprint)
    else:
        raise ConfigError(
            f"--model {NO_MODEL} reads known scores: add --cache DIR, or --known STORE"
        )
    settings = replace(
        found.settings,
        scores=found.settings.scores if options.scores == "all" else parse_scores(options.scores),
        max_allele_bases=options.max_allele_bases,
        # Stores have statuses, which depend on it.
        max_n_fraction=found.settings.max_n_fraction if options.known else options.max_n_fraction,
    )
    _log.info(
        "no model: scores of %s, fingerprint %s, from %s. Scores are for research, not for "
        "diagnosis",
        found.model.model_id,
        found.fingerprint,
        ", ".join(map(str, [*options.known, *([options.cache] if options.cache else ())])),
    )
    identity = replace(found, settings=settings)
    known = ScoreCache(options.cache, identity) if options.cache else None
    stores = fitting_stores(options.known, identity)
    looked_up = KnownStores(stores, settings, genome) if stores else None
    context = ScoringContext(genome, None, found.model.description(), settings, known, looked_up)
    return Ready(genome, context, identity, _background(options, identity), stores)


def _background(options: Options, identity: Identity) -> Background | None:
    """What scores are compared with.

    Raises:
        ConfigError: there will be no ``llr`` to compare.
        InputError: it is not a background, or has another fingerprint.
    """
    if options.background is None:
        return None
    if "llr" not in identity.settings.scores:
        raise ConfigError("--background compares llr: add llr to --scores")
    return opened_background(options.background, identity.fingerprint, identity.model.model_id)


def score_chunks(
    read: Callable[[Iterable[int]], Iterator[C]],
    records: int,
    ready: Ready,
    use: Callable[[C, Scored], None],
    quiet: bool,
) -> None:
    """Score an input chunk by chunk: memory does not grow with the number of records.

    Args:
        read: gives chunks of these numbers of records.
        records: how many there are.
        ready: what scores.
        use: takes each chunk and its SCORES, in order.
        quiet: no progress bar.
    """
    context = ready.context
    full = max(1, PAIRS_PER_PLAN // context.views) if context.model else _LOOKED_UP
    # What a cache has not been given is lost when a run is killed, so plans must not take long.
    # Without a cache all is lost, and the largest plans share the most passes.
    pace = Pace(full, _FIRST_RECORDS) if context.known and context.model else None
    sizes = pace.sizes() if pace else repeat(full)
    chunks = ((chunk, chunk.alleles) for chunk in read(sizes))

    def use_and_measure(chunk: C, scored: Scored) -> None:
        use(chunk, ready.compared(scored))
        if pace:
            pace.done(_records(chunk))

    forecast = Forecast(records)
    with progress("records", records, quiet=quiet) as advance:

        def count(chunk: C, share: float) -> None:
            advance(share * _records(chunk))
            forecast.done(share * _records(chunk))

        score_stream(chunks, context, use_and_measure, count)


def _records(chunk: HasAlleles) -> int:
    return int(chunk.alleles["record"].n_unique())
