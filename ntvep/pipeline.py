"""ALLELES -> SCORES: composes the core with a Reference and a LanguageModel that are handed in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from jaxtyping import Float64, Shaped

from ntvep import scoring
from ntvep.alleles import Prepared, Reference, preparer
from ntvep.passes import LanguageModel, TokenPair, plan
from ntvep.schema import ALLELES, STATUS_DTYPE, Status, check, sd_column
from ntvep.settings import VIEWS, Settings
from ntvep.tokens import ANY_VOCABULARY, Vocabulary

# Alleles times views that are planned together: more share more passes and need more memory.
PAIRS_PER_PLAN = 4_096

Outcomes = Sequence[Status | Prepared]


@dataclass(frozen=True)
class Scored:
    """SCORES of a chunk of alleles, and how many forward passes they took."""

    scores: pl.DataFrame
    passes: int


def resolve(alleles: pl.DataFrame, reference: Reference, settings: Settings) -> pl.DataFrame:
    """Give each allele the status that it will have, short of running a model.

    Args:
        alleles: ALLELES; a status other than ``ok`` stays as it is.
        reference: the genome.
        settings: for windows, views and limits.

    Returns:
        ALLELES, with ``ok`` replaced where the reference or the limits forbid a score.
    """
    return _with_statuses(alleles, _prepare(alleles, reference, ANY_VOCABULARY, settings))


def score_alleles(
    alleles: pl.DataFrame,
    reference: Reference,
    model: LanguageModel,
    vocabulary: Vocabulary,
    settings: Settings,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Scored:
    """Score alleles: each comes back once, in its row, with scores or a status that says why not.

    Args:
        alleles: ALLELES; only those with status ``ok`` are scored.
        reference: the genome.
        model: what runs the forward passes.
        vocabulary: of the model.
        settings: what to score, and how.
        on_progress: told how many more alleles are done, fractions included.

    Returns:
        SCORES in the order of the rows, and the number of passes run.
    """
    schema = settings.columns
    parts = [pl.DataFrame(schema={column.name: column.dtype for column in schema})]
    passes = 0
    for part in alleles.iter_slices(max(1, PAIRS_PER_PLAN // len(VIEWS[settings.views]))):
        outcomes = _prepare(part, reference, vocabulary, settings)
        pairs = [p for o in outcomes if isinstance(o, Prepared) for p in o.pairs if p is not None]
        by_pair = {}
        if pairs:
            planned = plan(pairs, settings.scores, vocabulary)
            total = len(planned.questions.inputs)
            answers = model.answer(
                planned.questions, partial(_in_alleles, on_progress, part.height / total)
            )
            by_pair = scoring.score(pairs, settings.scores, planned, answers, vocabulary)
            passes += total
        else:
            on_progress(part.height)
        parts.append(_table(part, outcomes, pairs, by_pair, settings))
    return Scored(check(pl.concat(parts), schema), passes)


def _in_alleles(on_progress: Callable[[float], None], alleles_per_pass: float, passes: int) -> None:
    on_progress(passes * alleles_per_pass)


def _prepare(
    alleles: pl.DataFrame, reference: Reference, vocabulary: Vocabulary, settings: Settings
) -> Outcomes:
    check(alleles, ALLELES)
    prepare = preparer(reference, vocabulary, settings)
    columns = alleles.select("chrom", "pos", "ref", "alt", "status")
    return [
        prepare(chrom, pos, ref, alt) if status == Status.OK else Status(status)
        for chrom, pos, ref, alt, status in columns.iter_rows()
    ]


def _with_statuses(alleles: pl.DataFrame, outcomes: Outcomes) -> pl.DataFrame:
    statuses = [Status.OK if isinstance(o, Prepared) else o for o in outcomes]
    return alleles.with_columns(pl.Series("status", statuses, STATUS_DTYPE))


def _table(
    alleles: pl.DataFrame,
    outcomes: Outcomes,
    pairs: Sequence[TokenPair],
    by_pair: dict[str, Float64[np.ndarray, "pair"]],
    settings: Settings,
) -> pl.DataFrame:
    """SCORES of one part: the scores of pairs, averaged over views, beside their alleles."""
    prepared = [(row, o) for row, o in enumerate(outcomes) if isinstance(o, Prepared)]
    used = np.array([[p is not None for p in o.pairs] for _, o in prepared], bool)
    used = used.reshape(len(prepared), len(VIEWS[settings.views]))
    failed = np.zeros(len(prepared), bool)
    columns: dict[str, Shaped[np.ndarray, "variant"]] = {}
    spreads: dict[str, Shaped[np.ndarray, "variant"]] = {}
    for name in settings.scores:
        values, wrong = np.zeros(used.shape), np.zeros(used.shape, bool)
        values[used] = by_pair.get(name, np.empty(0))
        wrong[used] = scoring.defined(name, pairs) & ~np.isfinite(values[used])
        failed |= wrong.any(axis=1)
        columns[name], spread = scoring.over_views(values, used)
        if settings.with_sd:
            spreads[sd_column(name).name] = spread
    columns |= spreads
    columns["frameshifted"] = np.array([o.frameshifted for _, o in prepared], bool)

    outcomes = list(outcomes)
    for (row, _), did_fail in zip(prepared, failed, strict=True):
        if did_fail:
            outcomes[row] = Status.NUMERICAL_FAILURE
    rows = np.array([row for row, _ in prepared], np.uint32)
    scores = pl.DataFrame({"row": rows, **columns}).filter(~failed)
    return (
        _with_statuses(alleles, outcomes)
        .with_row_index("row")
        .join(scores.fill_nan(None), on="row", how="left", maintain_order="left")
        .drop("row")
    )
