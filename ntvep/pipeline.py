"""ALLELES -> SCORES: composes the core with a Reference and a LanguageModel that are handed in."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import polars as pl
from jaxtyping import Float64

from ntvep import dna, scoring
from ntvep.alleles import Prepared, Reference, preparer
from ntvep.contigs import canonical
from ntvep.passes import Answers, LanguageModel, Plan, TokenPair, plan
from ntvep.prefetch import ahead, behind
from ntvep.schema import (
    ALLELES,
    FRAMESHIFTED,
    KNOWN_KEY,
    STATUS_DTYPE,
    Status,
    check,
    sd_column,
)
from ntvep.settings import VIEWS, Settings
from ntvep.tokens import ANY_VOCABULARY, Vocabulary

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


@dataclass(frozen=True)
class Scored:
    """SCORES of a chunk of alleles, and what they took.

    Attributes:
        scores: the table.
        passes: forward passes run.
        known: alleles whose scores had been computed before.
    """

    scores: pl.DataFrame
    passes: int
    known: int = 0


@dataclass(frozen=True)
class ScoringContext:
    """All that turns ALLELES into SCORES.

    Attributes:
        reference: the genome.
        model: what runs the forward passes; None scores only what is known.
        vocabulary: of the model.
        settings: what to score, and how.
        known: scores that need not be computed again.
    """

    reference: Reference
    model: LanguageModel | None
    vocabulary: Vocabulary
    settings: Settings
    known: KnownScores | None = None


@dataclass(frozen=True)
class PreparedChunk:
    """A chunk of alleles, ready for the model.

    Attributes:
        alleles: ALLELES.
        statuses: of each allele.
        prepared: by row, the alleles that can be scored.
        keys: KNOWN_KEY of these, by ``row``; empty where no scores are kept.
        found: scores of these that are known, by ``row``.
        novel: rows that the model has to score.
        pairs: their tokens, view by view.
        planned: the passes that they need; None if there is nothing to score.
    """

    alleles: pl.DataFrame
    statuses: Sequence[Status]
    prepared: Mapping[int, Prepared]
    keys: pl.DataFrame
    found: pl.DataFrame
    novel: Sequence[int]
    pairs: Sequence[TokenPair]
    planned: Plan | None


def resolve(alleles: pl.DataFrame, reference: Reference, settings: Settings) -> pl.DataFrame:
    """Give each allele the status that it will have, short of running a model.

    Args:
        alleles: ALLELES; a status other than ``ok`` stays as it is.
        reference: the genome.
        settings: for windows, views and limits.

    Returns:
        ALLELES, with ``ok`` replaced where the reference or the limits forbid a score.
    """
    statuses, _ = _resolved(alleles, preparer(reference, ANY_VOCABULARY, settings))
    return _with_statuses(alleles, statuses)


def score_alleles(alleles: pl.DataFrame, setup: ScoringContext) -> Scored:
    """Score alleles: each comes back once, in its row, with scores or a status that says why not.

    Args:
        alleles: ALLELES; only those with status ``ok`` are scored.
        setup: what scores them.

    Returns:
        SCORES in the order of the rows.
    """
    per_plan = max(1, PAIRS_PER_PLAN // len(VIEWS[setup.settings.views]))
    parts: list[Scored] = []
    score_stream(
        ((None, part) for part in alleles.iter_slices(per_plan)),
        setup,
        lambda _, scored: parts.append(scored),
    )
    schema = {column.name: column.dtype for column in setup.settings.columns}
    table = pl.concat([pl.DataFrame(schema=schema), *(part.scores for part in parts)])
    return Scored(table, sum(part.passes for part in parts), sum(part.known for part in parts))


def score_stream(
    chunks: Iterable[tuple[T, pl.DataFrame]],
    setup: ScoringContext,
    use: Callable[[T, Scored], None],
    on_progress: Callable[[T, float], None] = lambda *_: None,
) -> None:
    """Score chunk after chunk: the next is prepared and the last is used while the model computes.

    Args:
        chunks: anything that ``use`` needs of a chunk, and its ALLELES.
        setup: what scores them.
        use: takes each chunk and its SCORES, in order, in another thread.
        on_progress: told of which chunk another share (0 to 1) is done.
    """
    prepare = preparer(setup.reference, setup.vocabulary, setup.settings)

    def finish(done: tuple[T, PreparedChunk, Answers | None]) -> None:
        name, work, answers = done
        use(name, _finished(work, answers, setup))

    prepared = ((name, _work(alleles, prepare, setup)) for name, alleles in chunks)
    with ahead(prepared) as works, behind(finish) as hand_over:
        for name, work in works:
            answers = None
            if work.planned and setup.model:
                questions = work.planned.questions
                total = len(questions.inputs)
                answers = setup.model.answer(
                    questions, partial(_in_shares, on_progress, name, total)
                )
            else:
                on_progress(name, 1.0)
            hand_over((name, work, answers))


def _in_shares(on_progress: Callable[[T, float], None], name: T, total: int, passes: int) -> None:
    on_progress(name, passes / total)


def _resolved(
    alleles: pl.DataFrame, prepare: Callable[[str, int, str, str], Status | Prepared]
) -> tuple[list[Status], dict[int, Prepared]]:
    """The status of each allele, and by row those that can be scored."""
    check(alleles, ALLELES)
    columns = alleles.select("chrom", "pos", "ref", "alt", "status")
    statuses, prepared = [], {}
    for row, (chrom, pos, ref, alt, status) in enumerate(columns.iter_rows()):
        outcome = prepare(chrom, pos, ref, alt) if status == Status.OK else Status(status)
        if isinstance(outcome, Prepared):
            prepared[row] = outcome
            outcome = Status.OK
        statuses.append(outcome)
    return statuses, prepared


def _with_statuses(alleles: pl.DataFrame, statuses: Sequence[Status]) -> pl.DataFrame:
    return alleles.with_columns(pl.Series("status", statuses, STATUS_DTYPE))


def _work(
    alleles: pl.DataFrame,
    prepare: Callable[[str, int, str, str], Status | Prepared],
    setup: ScoringContext,
) -> PreparedChunk:
    """All of a chunk that needs no model: statuses, known scores, tokens and the plan of passes."""
    statuses, prepared = _resolved(alleles, prepare)
    keys = found = pl.DataFrame(schema={"row": pl.UInt32()})
    if setup.known:
        keys = _keys(alleles["chrom"], prepared)
        found = setup.known.find(keys)
    known = set(found["row"])
    novel = [row for row in prepared if row not in known]
    if not setup.model:
        for row in novel:
            statuses[row] = Status.NOT_IN_CACHE
        novel = []
    pairs = [pair for row in novel for pair in prepared[row].pairs if pair is not None]
    planned = plan(pairs, setup.settings.scores, setup.vocabulary) if pairs else None
    return PreparedChunk(alleles, statuses, prepared, keys, found, novel, pairs, planned)


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


def _finished(work: PreparedChunk, answers: Answers | None, setup: ScoringContext) -> Scored:
    """SCORES of a chunk, once the model has answered."""
    settings, statuses, passes = setup.settings, list(work.statuses), 0
    parts = [_no_scores(settings), work.found]
    if work.planned and answers:
        passes = len(work.planned.questions.inputs)
        values = scoring.score(work.pairs, settings.scores, work.planned, answers)
        computed, failed = _over_views(work, values, settings)
        for row in failed:
            statuses[row] = Status.NUMERICAL_FAILURE
        if setup.known and computed.height:
            setup.known.keep(computed.join(work.keys, on="row", maintain_order="left").drop("row"))
        parts.append(computed)
    scores = pl.concat([part for part in parts if part.width > 1])
    shifted = [work.prepared[row].frameshifted for row in scores["row"]]
    table = (
        _with_statuses(work.alleles, statuses)
        .with_row_index("row")
        .join(
            scores.with_columns(pl.Series(FRAMESHIFTED.name, shifted, pl.Boolean)),
            on="row",
            how="left",
            maintain_order="left",
        )
        .drop("row")
    )
    return Scored(check(table, settings.columns), passes, work.found.height)


def _no_scores(settings: Settings) -> pl.DataFrame:
    """Score columns beside the row of their allele."""
    scores = dict.fromkeys(settings.score_columns, pl.Float64())
    return pl.DataFrame(schema={"row": pl.UInt32(), **scores})


def _over_views(
    work: PreparedChunk, by_pair: Mapping[str, Float64[np.ndarray, "pair"]], settings: Settings
) -> tuple[pl.DataFrame, list[int]]:
    """Scores of the novel alleles by row, averaged over views, and the rows where NaN came out."""
    rows = np.array(work.novel, np.uint32)
    used = np.array([[p is not None for p in work.prepared[row].pairs] for row in work.novel])
    failed = np.zeros(len(rows), bool)
    columns: dict[str, Float64[np.ndarray, "variant"]] = {}
    spreads: dict[str, Float64[np.ndarray, "variant"]] = {}
    for name in settings.scores:
        values, wrong = np.zeros(used.shape), np.zeros(used.shape, bool)
        values[used] = by_pair[name]
        wrong[used] = scoring.defined(name, work.pairs) & ~np.isfinite(by_pair[name])
        failed |= wrong.any(axis=1)
        columns[name], spread = scoring.over_views(values, used)
        if settings.with_sd:
            spreads[sd_column(name).name] = spread
    table = pl.DataFrame({"row": rows, **columns, **spreads}, schema=_no_scores(settings).schema)
    return table.filter(~failed).fill_nan(None), rows[failed].tolist()
