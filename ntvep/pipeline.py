"""ALLELES -> SCORES: composes the core with a Reference and a LanguageModel that are handed in."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64

from ntvep import dna, scoring
from ntvep.alleles import Prepared, locator
from ntvep.defaults import DEFAULT_MAX_ALLELE_BASES
from ntvep.description import Description
from ntvep.genome import Reference, canonical
from ntvep.passes import Answers, Asking, LanguageModel, Plan, Questions, TokenPair, plan
from ntvep.prefetch import ahead, behind
from ntvep.schema import (
    ALLELES,
    FRAMESHIFTED,
    KNOWN_KEY,
    LENGTH_CHANGE,
    MINIMAL,
    SOURCE,
    STATUS_DTYPE,
    TOKENS,
    Column,
    Source,
    Status,
    check,
    score_schema,
    sd_column,
)
from ntvep.settings import Settings
from ntvep.snvs import PrepareMany, preparer_of_many

# Alleles times views that are planned together: more share more passes and need more memory.
PAIRS_PER_PLAN = 4_096

T = TypeVar("T")


@runtime_checkable
class KnownScores(Protocol):
    """Scores that have been computed before, as the pipeline sees them."""

    def find(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Scores of those alleles that are known.

        Args:
            keys: a row number ``row``, and :data:`ntvep.schema.KNOWN_KEY`.

        Returns:
            ``row`` and the score columns of the settings, a line for each known allele.
        """
        ...

    def keep(self, scores: pl.DataFrame) -> None:
        """Remember scores: :data:`ntvep.schema.KNOWN_KEY` and the score columns of the settings."""
        ...


@runtime_checkable
class Prescored(Protocol):
    """Scores of places, whose statuses are known with them, as the pipeline sees them."""

    def find(self, alleles: pl.DataFrame) -> pl.DataFrame:
        """What is known of alleles.

        Args:
            alleles: ALLELES with a row number ``row``, all of them ``ok`` so far.

        Returns:
            ``row``, ``status``, the score columns of the settings and those that stand beside
            them, a line for each allele whose place has been scored.
        """
        ...


@runtime_checkable
class AnswersLater(Protocol):
    """A model that is asked and answers when it can, so that nothing waits between two plans."""

    def begin(
        self, questions: Questions, on_passes: Callable[[int], None] | None = None
    ) -> Callable[[], Answers]:
        """Begin to run every pass; what comes back waits for the answers."""
        ...


@runtime_checkable
class HasFloat32(Protocol):
    """A model that may compute in a narrower format than float32."""

    def in_float32(self) -> LanguageModel | None:
        """The same model in float32; None where it is this one."""
        ...


@dataclass(frozen=True)
class Scored:
    """SCORES of a chunk of alleles, and what they took.

    Attributes:
        scores: the table.
        passes: forward passes run.
        known: alleles whose scores had been computed before.
        again: how many of these passes were in float32, because others had overflowed.
    """

    scores: pl.DataFrame
    passes: int
    known: int = 0
    again: int = 0


@dataclass(frozen=True)
class ScoringContext:
    """All that turns ALLELES into SCORES.

    Attributes:
        reference: the genome.
        model: what runs the forward passes; None scores only what is known.
        description: of the model.
        settings: what to score, and how.
        known: scores that need not be computed again.
        prescored: scores of whole stretches of the genome, which are looked up first.
    """

    reference: Reference
    model: LanguageModel | None
    description: Description
    settings: Settings
    known: KnownScores | None = None
    prescored: Prescored | None = None

    @property
    def asking(self) -> Asking:
        """How the model is asked."""
        some = self.settings
        return Asking(self.description, some.scores, some.layer, some.pool, some.softmax)

    @property
    def views(self) -> int:
        """Number of views of an allele."""
        return len(self.settings.views_of(self.description.tokenizer.stride))

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of SCORES."""
        model = self.description
        with_length = model.family != "nt"
        scores = score_schema(
            self.settings.scores,
            self.settings.with_sd,
            model.objective,
            model.tokenizer.kind,
            with_length,
        )
        return (*scores, *((SOURCE,) if self.prescored else ()))


@dataclass(frozen=True)
class PreparedChunk:
    """A chunk of alleles, ready for the model.

    Attributes:
        alleles: ALLELES.
        statuses: of each allele.
        stored: what was looked up of them, by ``row``: all of their columns.
        prepared: by row, the alleles that can be scored.
        keys: KNOWN_KEY of these, by ``row``; empty where no scores are kept.
        found: scores of these that are known, by ``row``.
        novel: rows that the model has to score.
        pairs: their tokens, view by view.
        planned: the passes that they need; None if there is nothing to score.
    """

    alleles: pl.DataFrame
    statuses: Sequence[Status]
    stored: pl.DataFrame
    prepared: Mapping[int, Prepared]
    keys: pl.DataFrame
    found: pl.DataFrame
    novel: Sequence[int]
    pairs: Sequence[TokenPair]
    planned: Plan | None


def placed(
    alleles: pl.DataFrame,
    reference: Reference,
    max_allele_bases: int = DEFAULT_MAX_ALLELE_BASES,
) -> pl.DataFrame:
    """Give each allele the status that does not depend on a model: no window is cut for it.

    Args:
        alleles: ALLELES; a status other than ``ok`` stays as it is.
        reference: the genome.
        max_allele_bases: the most bases that may go or come.

    Returns:
        ALLELES, with ``ok`` replaced where REF, its place or the allele's length forbid a score.
    """
    return minimal(alleles, reference, max_allele_bases)[0]


def minimal(
    alleles: pl.DataFrame, reference: Reference, max_allele_bases: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What :func:`placed` returns, and the minimal form of each allele whose status is ``ok``.

    Returns:
        ALLELES; and ``row``, ``chrom`` in its canonical spelling, and MINIMAL.
    """
    locate = locator(reference, max_allele_bases)
    statuses, rows = [], []
    for row, (chrom, pos, ref, alt, status) in enumerate(_key_rows(alleles)):
        found = locate(chrom, pos, ref, alt) if status == Status.OK else Status(status)
        if not isinstance(found, Status):
            edit, _ = found
            bases = dna.decode(edit.ref), dna.decode(edit.alt)
            rows.append((row, canonical(chrom), edit.start, *bases))
            found = Status.OK
        statuses.append(found)
    schema = {"row": pl.UInt32(), "chrom": pl.String(), **{c.name: c.dtype for c in MINIMAL}}
    return _with_statuses(alleles, statuses), pl.DataFrame(rows, schema, orient="row")


def resolve(alleles: pl.DataFrame, context: ScoringContext) -> tuple[pl.DataFrame, int]:
    """Give each allele the status that it will have, short of running a model.

    Args:
        alleles: ALLELES; a status other than ``ok`` stays as it is.
        context: for the genome, windows, views and limits; its model is not run.

    Returns:
        ALLELES, with ``ok`` replaced where the reference or the limits forbid a score; and the
        number of forward passes that the others need.
    """
    prepare = preparer_of_many(context.reference, context.description, context.settings)
    statuses, prepared = _resolved(alleles, prepare)
    pairs = [pair for some in prepared.values() for pair in some.pairs if pair is not None]
    passes = len(plan(pairs, context.asking).questions.inputs) if pairs else 0
    return _with_statuses(alleles, statuses), passes


def score_alleles(alleles: pl.DataFrame, context: ScoringContext) -> Scored:
    """Score alleles: each comes back once, in its row, with scores or a status that says why not.

    Args:
        alleles: ALLELES; only those with status ``ok`` are scored.
        context: what scores them.

    Returns:
        SCORES in the order of the rows.
    """
    per_plan = max(1, PAIRS_PER_PLAN // context.views)
    parts: list[Scored] = []
    score_stream(
        ((None, part) for part in alleles.iter_slices(per_plan)),
        context,
        lambda _, scored: parts.append(scored),
    )
    schema = {column.name: column.dtype for column in context.columns}
    table = pl.concat([pl.DataFrame(schema=schema), *(part.scores for part in parts)])
    passes, known, again = (
        sum(getattr(part, name) for part in parts) for name in ("passes", "known", "again")
    )
    return Scored(table, passes, known, again)


def score_stream(
    chunks: Iterable[tuple[T, pl.DataFrame]],
    context: ScoringContext,
    use: Callable[[T, Scored], None],
    on_progress: Callable[[T, float], None] = lambda *_: None,
) -> None:
    """Score chunk after chunk: the next is prepared and the last is used while the model computes.

    Args:
        chunks: anything that ``use`` needs of a chunk, and its ALLELES.
        context: what scores them.
        use: takes each chunk and its SCORES, in order, in another thread.
        on_progress: told of which chunk another share (0 to 1) is done.
    """
    prepare = preparer_of_many(context.reference, context.description, context.settings)

    def finish(done: tuple[T, PreparedChunk, Callable[[], Answers] | None]) -> None:
        name, work, answers = done
        use(name, _finished(work, answers and answers(), context))

    prepared = ((name, _work(alleles, prepare, context)) for name, alleles in chunks)
    with ahead(prepared) as works, behind(finish) as hand_over:
        for name, work in works:
            answers: Callable[[], Answers] | None = None
            if work.planned and context.model:
                questions = work.planned.questions
                total = len(questions.inputs)
                answers = _begun(
                    context.model, questions, partial(_in_shares, on_progress, name, total)
                )
            else:
                on_progress(name, 1.0)
            hand_over((name, work, answers))


def _begun(
    model: LanguageModel, questions: Questions, on_passes: Callable[[int], None]
) -> Callable[[], Answers]:
    if isinstance(model, AnswersLater):
        return model.begin(questions, on_passes)
    answers = model.answer(questions, on_passes)
    return lambda: answers


def _in_shares(on_progress: Callable[[T, float], None], name: T, total: int, passes: int) -> None:
    on_progress(name, passes / total)


def _resolved(
    alleles: pl.DataFrame, prepare: PrepareMany
) -> tuple[list[Status], dict[int, Prepared]]:
    """The status of each allele, and by row those that can be scored."""
    keys = list(_key_rows(alleles))
    outcomes = iter(prepare([key[:4] for key in keys if key[4] == Status.OK]))
    statuses, prepared = [], {}
    for row, (*_, status) in enumerate(keys):
        outcome = next(outcomes) if status == Status.OK else Status(status)
        if isinstance(outcome, Prepared):
            prepared[row] = outcome
            outcome = Status.OK
        statuses.append(outcome)
    return statuses, prepared


def _key_rows(alleles: pl.DataFrame) -> Iterator[tuple[str, int, str, str, str]]:
    return check(alleles, ALLELES).select("chrom", "pos", "ref", "alt", "status").iter_rows()


def _with_statuses(alleles: pl.DataFrame, statuses: Sequence[Status]) -> pl.DataFrame:
    return alleles.with_columns(pl.Series("status", statuses, STATUS_DTYPE))


def _work(alleles: pl.DataFrame, prepare: PrepareMany, context: ScoringContext) -> PreparedChunk:
    """All of a chunk that needs no model: statuses, known scores, tokens and the plan of passes."""
    keys = found = stored = pl.DataFrame(schema={"row": pl.UInt32()})
    left = alleles
    if context.prescored:
        asked = alleles.with_row_index("row").filter(pl.col("status") == Status.OK)
        stored = context.prescored.find(asked)
        left = _taken(alleles, stored)
    statuses, prepared = _resolved(left, prepare)
    if context.known:
        keys = _keys(alleles["chrom"], prepared)
        found = context.known.find(keys)
    known = set(found["row"])
    novel = [row for row in prepared if row not in known]
    if not context.model:
        for row in novel:
            statuses[row] = Status.NOT_IN_CACHE
        novel = []
    pairs = [pair for row in novel for pair in prepared[row].pairs if pair is not None]
    planned = plan(pairs, context.asking) if pairs else None
    statuses = _looked_up(statuses, stored)
    return PreparedChunk(alleles, statuses, stored, prepared, keys, found, novel, pairs, planned)


def _taken(alleles: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """ALLELES of which those that were looked up are not to be prepared: a status says so."""
    rows = np.zeros(alleles.height, bool)
    rows[stored["row"].to_numpy()] = True
    not_asked = pl.lit(Status.NOT_SELECTED, STATUS_DTYPE)
    status = pl.when(pl.Series(rows)).then(not_asked).otherwise("status")
    return alleles.with_columns(status.alias("status"))


def _looked_up(statuses: list[Status], stored: pl.DataFrame) -> list[Status]:
    """Statuses, those that were looked up in their places."""
    for row, status in stored.select("row", "status").iter_rows() if stored.width > 1 else ():
        statuses[row] = Status(status)
    return statuses


def _keys(chrom: pl.Series, prepared: Mapping[int, Prepared]) -> pl.DataFrame:
    edits = [outcome.edit for outcome in prepared.values()]
    return pl.DataFrame(
        {
            "row": list(prepared),
            "chrom": [canonical(name) for name in chrom.gather(list(prepared))],
            "start": [edit.start for edit in edits],
            "ref": [dna.decode(edit.ref) for edit in edits],
            "alt": [dna.decode(edit.alt) for edit in edits],
            "windows": [outcome.windows for outcome in prepared.values()],
        },
        schema={"row": pl.UInt32(), **KNOWN_KEY},
    )


def _finished(work: PreparedChunk, answers: Answers | None, context: ScoringContext) -> Scored:
    """SCORES of a chunk, once the model has answered."""
    settings, statuses, passes, again = context.settings, list(work.statuses), 0, 0
    parts = [(_no_scores(settings), Source.CACHE), (work.found, Source.CACHE)]
    if work.planned and answers:
        passes = len(work.planned.questions.inputs)
        values, again = _without_overflow(
            work.pairs, scoring.score(work.pairs, context.asking, work.planned, answers), context
        )
        passes += again
        computed, failed = _over_views(work, values, context)
        for row in failed:
            statuses[row] = Status.NUMERICAL_FAILURE
        if context.known and computed.height:
            context.known.keep(
                computed.join(work.keys, on="row", maintain_order="left").drop("row")
            )
        parts.append((computed, Source.MODEL))
    scores = pl.concat([_from(part, why, context) for part, why in parts if part.width > 1])
    scores = scores.with_columns(_beside(work, scores["row"], context))
    if work.stored.height:
        stored = work.stored.filter(pl.col("status") == Status.OK)
        scores = pl.concat([scores, _from(stored, Source.STORE, context).select(scores.columns)])
    table = (
        _with_statuses(work.alleles, statuses)
        .with_row_index("row")
        .join(scores, on="row", how="left", maintain_order="left")
        .select([column.name for column in context.columns])
    )
    known = work.found.height + work.stored.height
    return Scored(check(table, context.columns), passes, known, again)


def _from(scores: pl.DataFrame, source: Source, context: ScoringContext) -> pl.DataFrame:
    """Scores, and where they come from if that is recorded."""
    if not context.prescored:
        return scores
    return scores.with_columns(pl.lit(source, SOURCE.dtype).alias(SOURCE.name))


def _without_overflow(
    pairs: Sequence[TokenPair],
    values: Mapping[str, Float64[np.ndarray, "pair"]],
    context: ScoringContext,
) -> tuple[Mapping[str, Float64[np.ndarray, "pair"]], int]:
    """Scores, those of pairs that a narrow format could not hold from float32; and the passes.

    All passes of such a pair are run again, both REF and ALT, and only for such pairs: so their
    scores compare like with like, and nobody else's depend on them.
    """
    wrong = _not_finite(pairs, values, context.asking)
    if not wrong.any() or not isinstance(context.model, HasFloat32):
        return values, 0
    model = context.model.in_float32()
    if model is None:
        return values, 0
    some = [pairs[number] for number in np.flatnonzero(wrong)]
    planned = plan(some, context.asking)
    found = scoring.score(some, context.asking, planned, model.answer(planned.questions))
    merged = {name: value.copy() for name, value in values.items()}
    for name, value in merged.items():
        value[wrong] = found[name]
    return merged, len(planned.questions.inputs)


def _not_finite(
    pairs: Sequence[TokenPair], values: Mapping[str, Float64[np.ndarray, "pair"]], asking: Asking
) -> Bool[np.ndarray, "pair"]:
    """Pairs of which a score that has a definition is NaN or infinite."""
    wrong = np.zeros(len(pairs), bool)
    for name, value in values.items():
        if not (finite := np.isfinite(value)).all():
            wrong |= scoring.defined(name, pairs, asking) & ~finite
    return wrong


def _beside(work: PreparedChunk, rows: pl.Series, context: ScoringContext) -> list[pl.Series]:
    """Columns that need no model: how REF and ALT differ in length, of these rows."""
    wanted = {column.name for column in context.columns}
    prepared = [work.prepared[row] for row in rows]
    made = []
    if TOKENS[0].name in wanted:
        counts = [some.token_counts for some in prepared]
        for side, column in enumerate(TOKENS):
            made.append(pl.Series(column.name, [count[side] for count in counts], column.dtype))
    changes = [some.length_change for some in prepared]
    if LENGTH_CHANGE.name in wanted:
        made.append(pl.Series(LENGTH_CHANGE.name, changes, LENGTH_CHANGE.dtype))
    if FRAMESHIFTED.name in wanted:
        # Every token behind the change differs, unless whole tokens come or go.
        k = context.description.tokenizer.stride
        shifted = [change % k != 0 for change in changes]
        made.append(pl.Series(FRAMESHIFTED.name, shifted, pl.Boolean))
    return made


def _no_scores(settings: Settings) -> pl.DataFrame:
    """Score columns beside the row of their allele."""
    scores = dict.fromkeys(settings.score_columns, pl.Float64())
    return pl.DataFrame(schema={"row": pl.UInt32(), **scores})


def _over_views(
    work: PreparedChunk, by_pair: Mapping[str, Float64[np.ndarray, "pair"]], context: ScoringContext
) -> tuple[pl.DataFrame, list[int]]:
    """Scores of the novel alleles by row, averaged over views, and the rows where NaN came out."""
    settings, rows = context.settings, np.array(work.novel, np.uint32)
    used = np.array([[p is not None for p in work.prepared[row].pairs] for row in work.novel])
    shape = (len(settings.scores), *used.shape)
    values, failed = np.zeros(shape), np.zeros(len(rows), bool)
    for number, name in enumerate(settings.scores):
        values[number][used] = by_pair[name]
        finite = np.isfinite(by_pair[name])
        if not finite.all():
            wrong = np.zeros(used.shape, bool)
            wrong[used] = scoring.defined(name, work.pairs, context.asking) & ~finite
            failed |= wrong.any(axis=1)
    means, spreads = scoring.over_views(
        values.reshape(-1, used.shape[1]), np.tile(used, (len(values), 1))
    )
    columns = dict(zip(settings.scores, means.reshape(shape[:2]), strict=True))
    if settings.with_sd:
        names = [sd_column(name).name for name in settings.scores]
        columns |= dict(zip(names, spreads.reshape(shape[:2]), strict=True))
    table = pl.DataFrame({"row": rows, **columns}, schema=_no_scores(settings).schema)
    return table.filter(~failed).fill_nan(None), rows[failed].tolist()
