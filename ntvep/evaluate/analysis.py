"""joined labels -> every table of the report: one set of labels, any number of scores."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import polars as pl
from scipy import stats

from ntvep.evaluate import genes, metrics, uncertainty
from ntvep.evaluate.baselines import TYPES
from ntvep.evaluate.calibration import calibrate
from ntvep.evaluate.consequences import SEVERITY
from ntvep.evaluate.directions import direction
from ntvep.evaluate.match_groups import Matched, as_row, in_groups, match_groups
from ntvep.evaluate.metrics import Clusters, Discrimination, Interval, Ranked, Support
from ntvep.objectives import SCORE_NAMES
from ntvep.schema import COMPARED, LLR_CALIBRATED, LLR_PERCENTILE, LLR_PHRED, Status

Kind = Literal["score", "baseline", "feature"]

SIGN: Mapping[str, int] = {
    # The model finds ALT less likely than REF.
    **dict.fromkeys(("llr", "llr_site", "llr_marginal", "llr_unmasked", "pll_delta"), -1),
    # As llr, among background variants of the same context.
    LLR_PERCENTILE.name: -1,
    LLR_PHRED.name: 1,
    LLR_CALIBRATED.name: -1,
    # The model is sure of the base here: a constrained place.
    "entropy": -1,
    # REF and ALT embeddings are farther apart ...
    **dict.fromkeys(("cosine_distance", "l1", "l2"), 1),
    **dict.fromkeys(("cosine_distance_token", "l1_token", "l2_token"), 1),
    # ... or less alike: a dot product is not a distance.
    **dict.fromkeys(("dot", "dot_token"), -1),
    # Rank 0 is the most severe consequence.
    "consequence_rank": -1,
    # The rarer a kind of mutation, the longer an allele, the more is it suspected.
    "mutation_class": 1,
    "allele_length": 1,
    # Should tell nothing: a place should not predict a label.
    "end_distance": 1,
}
"""+1: higher counts as more deleterious; -1: lower does. Fixed here, never chosen on labels."""

BASELINES: Mapping[str, str] = {
    "consequence_rank": "consequence rule",
    "mutation_class": "mutation class",
    "allele_length": "allele length",
    "end_distance": "distance to contig end",
}
FAMILIES: Mapping[str, str] = {
    "consequence": "consequence",
    "stars": "review stars",
    "variant_type": "variant type",
    "chrom": "chromosome",
}
GENE_PREVALENCE = "share of positives in the gene"
TOO_FEW = "too few"
CANNOT_BE_TOLD_APART = "cannot be told apart"
_COMPARED = tuple(column.name for column in COMPARED)
_INDELS = ("insertion", "deletion")
_HISTOGRAM_BINS = 60
_SURPRISING = 10
_POINTS = 3_000
SPECIFICITIES = (0.9, 0.95, 0.99)
_QUANTILES = {"low": 0.05, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75,
              "high": 0.95}  # fmt: skip


@dataclass(frozen=True)
class Score:
    """One column that is judged.

    Attributes:
        column: in the joined table.
        name: for people.
        sign: see :data:`SIGN`.
        kind: a model's score, a trivial rule, or a column of the labels.
        model: whose score it is; empty for the other kinds.
    """

    column: str
    name: str
    sign: int
    kind: Kind
    model: str = ""

    @property
    def direction(self) -> str:
        """Which way is more deleterious."""
        return "higher" if self.sign > 0 else "lower"


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that the report shows of one set of labels.

    Attributes:
        name: of the set: its sources.
        primary: the score that single-score figures show, chosen by its place, not by its value.
        clusters: what the clusters are.
        within: the gene or element that an assay is of, where it is of one; else empty.
        lacking: how many resamples of the primary score's curves lack a class.
        positives, negatives: labelled variants among the scores, with or without a score.
        tables: by name; a table that has no rows is left out.
    """

    name: str
    primary: Score
    clusters: str
    within: str
    lacking: int
    positives: int
    negatives: int
    tables: Mapping[str, pl.DataFrame]


def scores_of(columns: Sequence[str], models: Sequence[str]) -> list[Score]:
    """The models' scores among the columns of a joined table; see :func:`model_column`."""
    return [
        Score(column, column, SIGN[name], "score", model)
        for name, model in product((*SCORE_NAMES, *_COMPARED), models)
        if (column := model_column(name, model, models)) in columns
    ]


def absolute_scores(scores: Sequence[Score]) -> list[Score]:
    """The size of those scores that compare ALT with REF, regardless of which is likelier.

    For alleles of which REF and ALT are arbitrary (eQTL, complex traits): declared before labels
    are seen, never chosen on them. Columns are ``|llr|`` of ``llr``.
    """
    compared = ("llr", "llr_site", "llr_marginal", "llr_unmasked", "pll_delta")
    return [
        Score(f"|{score.column}|", f"|{score.name}|", 1, score.kind, score.model)
        for score in scores
        if score.column.split(" · ")[0] in compared
    ]


def model_column(column: str, model: str, models: Sequence[str]) -> str:
    """Name of a column of SCORES in the joined table: with its model if there are several."""
    return column if len(models) == 1 else f"{column} · {model}"


def baselines_of(
    columns: Sequence[str], features: Sequence[str], directions: Mapping[str, int] | None = None
) -> list[Score]:
    """Baselines and features among the columns; ``directions`` has signs that the user gave.

    Raises:
        ConfigError: a feature's direction is neither known nor given.
    """
    said = directions or {}
    return [
        *(Score(c, name, SIGN[c], "baseline") for c, name in BASELINES.items() if c in columns),
        *(Score(c, c, direction(c, said, f"--direction {c}"), "feature") for c in features),
    ]


def analyse(table: pl.DataFrame, scores: Sequence[Score], *, name: str) -> Analysis:
    """Judge every score on one set of labels.

    Args:
        table: joined labels (see :func:`ntvep.evaluate.joining.join`) with baselines.
        scores: what to judge; the first is the primary one.
        name: of the set of labels.
    """
    clusters = metrics.clusters(table)
    labelled = table["label"].is_not_null().to_numpy()
    known = table.filter(labelled)
    rows = _Rows(
        table,
        clusters,
        known,
        clusters.rows(labelled),
        match_groups(known),
        {column: _levels(known[column]) for column in FAMILIES if column in known.columns},
        _blocks(known),
    )
    with ThreadPoolExecutor(_workers()) as pool:
        judged = dict(zip(scores, pool.map(lambda score: _judge(rows, score), scores), strict=True))
        differences = list(pool.map(lambda pair: _difference(rows, judged, *pair), _pairs(scores)))
    places = _places(rows, scores[0])
    parts = {
        "headline": [
            *({**_about(score), **j.headline} for score, j in judged.items()),
            # In an assay of one gene there is no other gene to be told from.
            *([] if clusters.within else _gene_prevalence(rows)),
        ],
        "common": _common(rows, judged),
        "differences": differences,
        **{
            part: [
                {"score": score.name, **row} for score, j in judged.items() for row in rows_of(j)
            ]
            for part, rows_of in _PARTS.items()
        },
        "severity_levels": _severity_levels(table, scores),
        "hits": _hits(places),
        "surprising": _surprising(places),
        "scatter": _scatter(rows, scores[0]),
        "statuses": _statuses(table, scores),
    }
    tables = {part: _table(rows) for part, rows in parts.items()}
    tables["genes"] = pl.concat(
        [_genes(rows, score, j.by_gene) for score, j in judged.items() if j.by_gene]
        or [pl.DataFrame()]
    )
    positives = int(rows.labelled["label"].sum())
    return Analysis(
        name,
        scores[0],
        clusters.choice,
        clusters.within,
        next((j.found.lacking for j in judged.values() if j.found), 0),
        positives,
        rows.labelled.height - positives,
        {part: table for part, table in tables.items() if table.height},
    )


_Row = dict[str, object]
_Parts = Mapping[str, Sequence[tuple[str, Ranked]]]
"""By column, the scored variants of each level of it."""


def _table(rows: Sequence[_Row]) -> pl.DataFrame:
    """Rows as a table in which numbers are numbers, though all of them be null."""
    table = pl.DataFrame(rows, infer_schema_length=None)
    return table.with_columns(
        pl.col(name).cast(pl.Float64)
        for name, dtype in table.schema.items()
        if dtype == pl.Null and name not in ("consequence", "stars", "group")
    ).fill_nan(None)


@dataclass(frozen=True, eq=False)
class _Rows:
    """All variants, and those of them that are positive or negative.

    Attributes:
        levels: of the columns of :data:`FAMILIES` that the labels have.
        of_block: number of the block of the genome of each labelled variant.
    """

    table: pl.DataFrame
    clusters: Clusters
    labelled: pl.DataFrame
    labelled_clusters: Clusters
    matched: Matched | None
    levels: Mapping[str, "_Levels"]
    of_block: np.ndarray


@dataclass(frozen=True, eq=False)
class _Judged:
    data: Ranked
    found: Discrimination | None
    headline: _Row
    curves: list[_Row]
    sensitivity: list[_Row]
    strata: list[_Row]
    averages: list[_Row]
    matched: list[_Row]
    by_gene: genes.Genes | None
    effects: list[_Row]
    severity: list[_Row]
    distributions: list[_Row]
    calibration: list[_Row]
    reliability: list[_Row]


_PARTS: Mapping[str, Callable[[_Judged], list[_Row]]] = {
    "curves": lambda judged: judged.curves,
    "sensitivity": lambda judged: judged.sensitivity,
    "strata": lambda judged: judged.strata,
    "averages": lambda judged: judged.averages,
    "match_groups": lambda judged: judged.matched,
    "effects": lambda judged: judged.effects,
    "severity": lambda judged: judged.severity,
    "distributions": lambda judged: judged.distributions,
    "calibration": lambda judged: judged.calibration,
    "reliability": lambda judged: judged.reliability,
}


def _workers() -> int:
    # macOS does not say which cores a process may use.
    may_use = getattr(os, "sched_getaffinity", None)
    return min(4, len(may_use(0)) if may_use else os.cpu_count() or 1)


def _about(score: Score) -> _Row:
    return {
        "score": score.name,
        "kind": score.kind,
        "model": score.model,
        "deleterious": score.direction,
    }


def _oriented(table: pl.DataFrame, score: Score) -> np.ndarray:
    """Values of a score, higher = more deleterious; NaN where there is none."""
    return score.sign * table[score.column].cast(pl.Float64).to_numpy()


def _judge(rows: _Rows, score: Score) -> _Judged:
    label = rows.labelled["label"].to_numpy()
    data = metrics.ranked(label, _oriented(rows.labelled, score), rows.labelled_clusters)
    found = metrics.discrimination(data, curves=True) if data.is_enough else None
    is_score, has_genes = score.kind == "score", not rows.clusters.within
    calibrated = calibrate(data) if is_score else None
    parts = {column: list(_parts(rows, data, column)) for column in rows.levels}
    strata = list(_strata(rows, parts))
    by_gene = genes.by_gene(data) if has_genes and (found or is_score) else None
    return _Judged(
        data,
        found,
        _figures(data, len(label), found) | _by_kind(rows, data, strata),
        _curves(found) if found else [],
        list(_sensitivity(data, found)) if found else [],
        strata,
        [_averages(rows, data, found, by_gene, parts)] if found and by_gene else [],
        list(_in_match_groups(rows, data, score, parts)),
        by_gene if is_score else None,
        _effects(rows, score),
        _severity(rows, score) if score.column != "consequence_rank" else [],
        list(_distributions(data, score)) if is_score else [],
        _calibration(calibrated.curve, score) if calibrated else [],
        calibrated.reliability.to_dicts() if calibrated else [],
    )


def _figures(data: Ranked, labelled: int, found: Discrimination | None) -> _Row:
    """Numbers of one score on some variants: no AUROC without its counts, nor without coverage."""
    n = len(data.label)
    row: _Row = {
        "positives": data.positives,
        "negatives": data.negatives,
        "without_score": labelled - n,
        "prevalence": data.positives / n if n else None,
    }
    row |= _interval("auroc", found.auroc if found else None) | _interval(
        "auprc", found.auprc if found else None
    )
    return row | {
        **_clusters(data.support),
        "note": _note(data.support) if found else TOO_FEW,
    }


def _clusters(support: Support) -> _Row:
    return {
        "positive_clusters": round(support.positives, 1),
        "negative_clusters": round(support.negatives, 1),
    }


def _note(support: Support) -> str:
    """Why there is no interval, and where most of a class lies; empty if neither applies."""
    few = support.scarcer < uncertainty.FEWEST_CLUSTERS
    said = (f"{support.scarcer:.1f} effective clusters: no interval" if few else "",)
    return "; ".join(filter(None, (*said, support.concentration)))


def _interval(name: str, found: Interval | None) -> _Row:
    """Null where there is no number, or no interval."""
    values = (found.value, found.low, found.high) if found else (np.nan,) * 3
    return dict(zip((name, f"{name}_low", f"{name}_high"), map(_known, values), strict=True))


def _by_kind(rows: _Rows, data: Ranked, strata: Sequence[_Row]) -> _Row:
    """AUROC of SNVs and of indels apart, where there are both: scores of the two do not compare."""
    kinds = rows.levels["variant_type"]
    by_type = {row["stratum"]: row for row in strata if row["family"] == FAMILIES["variant_type"]}
    row: _Row = {}
    for name, types in (("snv", ("SNV",)), ("indel", _INDELS)):
        present = [by_type[of_type] for of_type in types if of_type in by_type]
        if len(present) == 1:
            (figures,) = present
        else:
            part = data.some(np.isin(kinds.names, types)[kinds.of_row[data.row]])
            found = metrics.discrimination(part) if part.is_enough else None
            figures = _figures(part, len(part.label), found)
        row |= {f"{name}_{of_class}": figures[of_class] for of_class in ("positives", "negatives")}
        row |= {f"{name}_auroc{end}": figures[f"auroc{end}"] for end in ("", "_low", "_high")}
    return row


def _averages(
    rows: _Rows, data: Ranked, found: Discrimination, by_gene: genes.Genes, parts: _Parts
) -> _Row:
    """The pooled AUROC beside those in which no gene, place or consequence counts for its size."""
    within = genes.within_genes(by_gene)
    between = genes.between_genes(data, by_gene)
    row: _Row = {
        "positives": data.positives,
        "negatives": data.negatives,
        **_interval("auroc", found.auroc),
        **_interval("within_genes", within.found),
        "genes": within.parts,
        "effective_genes": round(within.effective, 1),
        "pairs_within_genes": float(by_gene.pairs.sum() / (data.positives * data.negatives)),
        "between_genes": between if np.isfinite(between) else None,
    }
    consequences = [
        part
        for _, part in parts["consequence"]
        if part.is_enough and len(part.label) >= genes.FEWEST_OF_CONSEQUENCE
    ]
    chromosomes = [part for _, part in parts["chrom"] if part.positives]
    for name, average in (
        ("blocks", genes.balanced(data, rows.of_block[data.row])),
        ("consequences", genes.macro(consequences)),
        ("chromosomes", genes.by_chromosome(chromosomes)),
    ):
        column = "auprc_by_chromosome" if name == "chromosomes" else f"auroc_by_{name[:-1]}"
        row |= _interval(column, average.found) | {name: average.parts}
    return row


def _in_match_groups(rows: _Rows, data: Ranked, score: Score, parts: _Parts) -> Iterable[_Row]:
    """Each score within match groups: of all variants, and of each consequence.

    Features and baselines are there too: what they reach is what matching left.
    """
    if rows.matched is None:
        return
    subsets = [("all", data), *parts["consequence"]]
    # With one consequence it would be said twice.
    for subset, part in subsets if len(subsets) > 2 else subsets[:1]:
        scored, chrom = rows.matched.scored(part)
        found = in_groups(scored, chrom)
        yield {
            "kind": score.kind,
            "subset": subset,
            "positives": scored.positives,
            "negatives": scored.negatives,
            **as_row(found),
            "note": "" if found else TOO_FEW,
        }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _parts(rows: _Rows, data: Ranked, column: str) -> Iterable[tuple[str, Ranked]]:
    """Scored variants of each level of a column, in the order of their score."""
    levels = rows.levels[column]
    code = levels.of_row[data.row]
    # Stable: within a level variants keep the order of their score.
    places = np.argsort(code, kind="stable")
    ends = np.cumsum(np.bincount(code, minlength=len(levels.names) + 1))
    for name, begin, end in zip(levels.names, np.append(0, ends), ends, strict=False):
        yield name, data.some(places[begin:end])


def _genes(rows: _Rows, score: Score, found: genes.Genes) -> pl.DataFrame:
    """AUROC within each gene that has variants, those with most pairs first."""
    pairs, sizes = found.pairs, found.positives + found.negatives
    order = np.lexsort((-sizes, -pairs))
    order = order[sizes[order] > 0]
    names = rows.clusters.names or [str(number) for number in range(len(sizes))]
    few = np.minimum(found.positives, found.negatives) < metrics.TOO_FEW
    table = pl.DataFrame(
        {
            "gene": [names[number] for number in order],
            "positives": found.positives[order].astype(np.int64),
            "negatives": found.negatives[order].astype(np.int64),
            "share_of_pairs": pairs[order] / max(pairs.sum(), 1),
            "auroc": np.where(few, np.nan, found.auroc)[order],
            "few": few[order],
        }
    ).with_columns(pl.col("auroc").fill_nan(None))
    note = pl.when("few").then(pl.lit(TOO_FEW)).otherwise(pl.lit("")).alias("note")
    return table.select(pl.lit(score.name).alias("score"), pl.exclude("few"), note)


def _gene_prevalence(rows: _Rows) -> Iterable[_Row]:
    """What knowing only the gene would achieve: the share of positives among its other variants.

    Pairs of one gene count half. The positive of such a pair has one positive fewer among its
    others than the negative, so that they would be told apart by being left out.
    """
    label = rows.labelled["label"].to_numpy()
    of_row = rows.labelled_clusters.of_row
    if len(label) < 2:
        return
    others = genes.prevalence_of_others(label, of_row)
    data = metrics.ranked(label, others, rows.labelled_clusters)
    row: _Row = {
        "score": GENE_PREVALENCE,
        "kind": "gene",
        "model": "",
        "deleterious": "higher",
    } | _figures(data, len(label), None)
    by_gene = genes.by_gene(data)
    if data.is_enough:
        share = by_gene.pairs.sum() / (data.positives * data.negatives)
        between = genes.between_genes(data, by_gene) if share < 1 else 0.0
        row |= {
            "auroc": float((1 - share) * between + share / 2),
            "note": "leave-one-out; pairs of one gene count half; no interval",
        }
    yield row


def _common(rows: _Rows, judged: Mapping[Score, _Judged]) -> list[_Row]:
    """Every score on the variants that all scores and features have.

    A baseline is there if it has all of these too: the mutation class, which only SNVs have, would
    else decide what the scores are compared on.
    """
    if sum(score.kind != "baseline" for score in judged) < 2:
        return []
    all_have = np.logical_and.reduce(
        [_has(rows, of) for score, of in judged.items() if score.kind != "baseline"]
    )
    variants = int(all_have.sum())
    found = []
    for score, of in judged.items():
        data, judgement = _on(of, all_have)
        if len(data.label) == variants:
            found.append(_about(score) | _figures(data, variants, judgement))
    return found


def _on(judged: _Judged, chosen: np.ndarray) -> tuple[Ranked, Discrimination | None]:
    """A score on some of the labelled variants; of all of them it was judged before."""
    kept = chosen[judged.data.row]
    if kept.all():
        return judged.data, judged.found
    data = judged.data.some(kept)
    return data, metrics.discrimination(data) if data.is_enough else None


def _hits(known: pl.DataFrame) -> list[_Row]:
    """The variants of a class too small for a number, and the percentiles of their scores.

    Args:
        known: see :func:`_places`.
    """
    label = known["label"]
    small = [of for of in (True, False) if 0 < (label == of).sum() < metrics.TOO_FEW]
    found = known.filter(pl.col("label").is_in(small)).sort("oriented", descending=True)
    return found.drop("oriented").to_dicts()


def _curves(found: Discrimination) -> list[_Row]:
    rows: list[_Row] = []
    for name, band in (("ROC", found.roc), ("precision-recall", found.precision_recall)):
        assert band is not None
        values = zip(metrics.CURVE_POINTS, band.value, band.low, band.high, strict=True)
        rows += [
            {"curve": name, "x": float(x), "y": float(y), "low": _known(low), "high": _known(high)}
            for x, y, low, high in values
        ]
    return rows


def _sensitivity(data: Ranked, found: Discrimination) -> Iterable[_Row]:
    """Sensitivity at fixed specificities, read off the ROC curve.

    No number where fewer than 10 negatives lie above the threshold: few variants would decide it.
    """
    assert found.roc is not None
    for specificity in SPECIFICITIES:
        at = int(np.abs(metrics.CURVE_POINTS - (1 - specificity)).argmin())
        is_enough = (1 - specificity) * data.negatives >= metrics.TOO_FEW - 1e-9
        values = (found.roc.value[at], found.roc.low[at], found.roc.high[at])
        names = ("sensitivity", "sensitivity_low", "sensitivity_high")
        yield {
            "specificity": specificity,
            **{n: _known(v) if is_enough else None for n, v in zip(names, values, strict=True)},
            "positives": data.positives,
            "negatives": data.negatives,
            "note": "" if is_enough else TOO_FEW,
        }


def _strata(rows: _Rows, parts: _Parts) -> Iterable[_Row]:
    for column, family in FAMILIES.items():
        levels = rows.levels.get(column)
        if levels is None or len(levels.names) < 2:
            continue
        for (value, part), count in zip(parts[column], levels.counts, strict=True):
            found = metrics.discrimination(part) if part.is_enough else None
            yield {"family": family, "stratum": value, **_figures(part, count, found)}


@dataclass(frozen=True, eq=False)
class _Levels:
    """A column of the labelled variants, as numbers.

    Attributes:
        names: distinct values as text, in the order in which people expect them.
        counts: labelled variants of each of them.
        of_row: number of the value of each variant; that after the last where there is none.
    """

    names: Sequence[str]
    counts: Sequence[int]
    of_row: np.ndarray


def _levels(values: pl.Series) -> _Levels:
    text = values.cast(pl.String)
    names = sorted(text.drop_nulls().unique().to_list(), key=_place_of)
    number = text.replace_strict(
        names, range(len(names)), default=len(names), return_dtype=pl.UInt32
    ).to_numpy()
    counts = np.bincount(number, minlength=len(names) + 1)[: len(names)]
    # Numpy sorts 16 bits by radix.
    few = len(names) < 1 << 16
    return _Levels(names, counts.tolist(), number.astype(np.uint16) if few else number)


def _blocks(labelled: pl.DataFrame) -> np.ndarray:
    """Number of the block of 500 kb of each variant."""
    block = pl.struct("chrom", pl.col("pos") // genes.BLOCK_BASES)
    return labelled.select(block.rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()


def _place_of(value: str) -> tuple[int, int, str]:
    """Consequences by severity, types as listed, numbers and chromosomes by number, then names."""
    if value in SEVERITY:
        return 0, SEVERITY[value], value
    if value in TYPES:
        return 0, TYPES.index(value), value
    number = value.removeprefix("chr")
    return (1, int(number), value) if number.isdecimal() else (2, 0, value)


def _effects(rows: _Rows, score: Score) -> list[_Row]:
    """Rank correlation with the effect as it is signed, and with its size."""
    effect = rows.table["effect"].cast(pl.Float64).to_numpy()
    value = _oriented(rows.table, score)
    known = np.isfinite(effect) & np.isfinite(value)
    if known.sum() < metrics.TOO_FEW:
        return []
    clusters = rows.clusters.rows(known)
    value, effect = value[known], effect[known]
    return [
        {
            "effect": name,
            "variants": int(known.sum()),
            "clusters": round(clusters.effective, 1),
            "without_score": int(np.isfinite(rows.table["effect"].to_numpy()).sum() - known.sum()),
            **_interval("spearman", metrics.spearman(x, y, clusters)),
        }
        for name, x, y in (
            ("as signed, with the score as it is", score.sign * value, effect),
            ("size, with the score turned to deleterious", value, np.abs(effect)),
        )
    ]


def _severity(rows: _Rows, score: Score) -> list[_Row]:
    """Correlation with Ensembl's rank of the consequence: positive if severe ones score high."""
    rank = rows.table["consequence_rank"].to_numpy()
    value = _oriented(rows.table, score)
    known = np.isfinite(rank) & np.isfinite(value)
    if known.sum() < metrics.TOO_FEW or not np.ptp(rank[known]) or not np.ptp(value[known]):
        return []
    severity, value = -rank[known], value[known]
    return [
        {
            "variants": int(known.sum()),
            "clusters": round(rows.clusters.rows(known).effective, 1),
            **_interval("spearman", metrics.spearman(value, severity, rows.clusters.rows(known))),
            "pearson": float(stats.pearsonr(value, severity).statistic),
        }
    ]


def _distributions(data: Ranked, score: Score) -> Iterable[_Row]:
    """Histogram of each class over one set of bins; what lies outside counts in the outer bins."""
    if not len(data.score):
        return
    values = score.sign * data.score
    low, middle, high = np.quantile(values, [0.002, 0.5, 0.998])
    # Distances have a long tail: on a straight axis all would be in the first bin.
    is_log = low > 0 and high > 20 * middle
    axis = np.log if is_log else np.positive
    edges = np.linspace(axis(low), axis(max(high, low + 1e-9)), _HISTOGRAM_BINS + 1)
    for label in (True, False):
        of_class = np.clip(axis(values[data.label == label]), edges[0], edges[-1])
        if len(of_class):
            counts = np.histogram(of_class, edges)[0]
            ends = np.exp(edges) if is_log else edges
            for begin, end, count in zip(ends[:-1], ends[1:], counts, strict=True):
                yield {
                    "axis": "log" if is_log else "linear",
                    "label": "positive" if label else "negative",
                    "from": float(begin),
                    "to": float(end),
                    "variants": int(count),
                    "share": float(count / len(of_class)),
                }


def _calibration(curve: pl.DataFrame, score: Score) -> list[_Row]:
    """With values of the score as it is: higher is more deleterious only inside the computation."""
    return curve.with_columns(value=score.sign * pl.col("value")).sort("value").to_dicts()


def _severity_levels(table: pl.DataFrame, scores: Sequence[Score]) -> list[_Row]:
    """Quantiles of each score at each consequence and label, those with enough variants."""
    rows: list[_Row] = []
    label = pl.when("label").then(pl.lit("positive")).when(~pl.col("label")).then(
        pl.lit("negative")).otherwise(pl.lit("unlabelled"))  # fmt: skip
    for score in scores:
        if score.kind != "score":
            continue
        value = pl.col(score.column)
        levels = (
            table.filter(value.is_not_null(), pl.col("consequence_rank").is_not_null())
            .group_by("consequence", "consequence_rank", label.alias("label"))
            .agg(
                pl.len().alias("variants"), **{q: value.quantile(f) for q, f in _QUANTILES.items()}
            )
            .filter(pl.col("variants") >= metrics.TOO_FEW)
            .sort("consequence_rank", "label")
        )
        rows += [{"score": score.name, **row} for row in levels.to_dicts()]
    return rows


def _places(rows: _Rows, score: Score) -> pl.DataFrame:
    """Labelled variants that have a score, with its percentile from the least deleterious.

    Among those of their own kind: scores of SNVs and of indels do not compare.
    """
    value = pl.Series(_oriented(rows.labelled, score), nan_to_null=True)
    is_indel = pl.col("variant_type").cast(pl.String).is_in(_INDELS)
    rank = pl.col("oriented").rank() / pl.col("oriented").count()
    return (
        rows.labelled.select(
            pl.when(is_indel).then(pl.lit("indel")).otherwise(pl.lit("substitution")).alias("kind"),
            *("chrom", "pos", "ref", "alt", "label"),
            pl.col(score.column).alias("value"),
            *("consequence", "stars", "group"),
        )
        .with_columns(oriented=value)
        .filter(pl.col("oriented").is_not_null())
        .with_columns(percentile=100 * rank.over("kind"))
    )


def _surprising(known: pl.DataFrame) -> list[_Row]:
    """Negatives that the score finds most deleterious, positives that it finds least so.

    SNVs and indels apart: each kind has a rank of its own.
    """
    parts = [
        known.filter(pl.col("kind") == kind, pl.col("label") == label)
        .sort("oriented", descending=not label, maintain_order=True)
        .head(_SURPRISING)
        .with_row_index("rank", offset=1)
        for kind in ("substitution", "indel")
        for label in (False, True)
    ]
    return pl.concat(parts).drop("oriented").to_dicts()


def _scatter(rows: _Rows, score: Score) -> list[_Row]:
    """Score and measured effect of the variants of a one-gene assay: at most 3,000 of them."""
    if not rows.clusters.within:
        return []
    shown = ["chrom", "pos", "ref", "alt", "effect", "label", "consequence"]
    known = rows.table.select(*shown, score=pl.col(score.column)).drop_nulls(["effect", "score"])
    some = known.sample(min(_POINTS, known.height), seed=metrics.SEED)
    return some.sort("pos", "ref", "alt").to_dicts()


def _statuses(table: pl.DataFrame, scores: Sequence[Score]) -> list[_Row]:
    """Labelled variants by status and label: what has no score, and why."""
    models = list(dict.fromkeys(score.model for score in scores if score.kind == "score"))
    rows: list[_Row] = []
    for model in models:
        status = pl.col(model_column("status", model, models)).cast(pl.String)
        counts = (
            table.group_by(status.fill_null("not in these scores").alias("status"), "label")
            .len("variants")
            .sort(pl.col("status") != Status.OK, "status", "label", descending=[False, False, True])
        )
        rows += [{"model": model, **row} for row in counts.to_dicts()]
    return rows


def _pairs(scores: Sequence[Score]) -> list[tuple[Score, Score]]:
    """The primary score against each other; and each score of one model against another's."""
    primary, *others = scores
    pairs = [(primary, other) for other in others]
    for index, score in enumerate(scores):
        for other in scores[index + 1 :]:
            same = score.column.split(" · ")[0] == other.column.split(" · ")[0]
            if same and score.model != other.model and score is not primary:
                pairs.append((score, other))
    return pairs


def _difference(rows: _Rows, judged: Mapping[Score, _Judged], a: Score, b: Score) -> _Row:
    """A - b on the variants that have both."""
    row: _Row = {"a": a.name, "b": b.name}
    of_a, of_b = judged[a], judged[b]
    both = _has(rows, of_a) & _has(rows, of_b)
    found = []
    for one in (of_a, of_b):
        _, judgement = _on(one, both)
        if judgement is None:
            return row | {"variants": int(both.sum()), "note": TOO_FEW}
        found.append(judgement)
    row["variants"] = int(both.sum())
    differences = metrics.differences(*found)
    for name, difference in zip(("auroc", "auprc"), differences, strict=True):
        row |= _interval(f"{name}_difference", difference)
        row |= {f"{name}_verdict": _verdict(a, b, difference)}
    return row | _clusters(found[0].support) | {"note": _note(found[0].support)}


def _verdict(a: Score, b: Score, difference: Interval) -> str:
    if np.isnan(difference.low):
        return "no interval"
    if difference.low <= 0 <= difference.high:
        return CANNOT_BE_TOLD_APART
    return f"{a.name if difference.low > 0 else b.name} is higher"


def _has(rows: _Rows, judged: _Judged) -> np.ndarray:
    has = np.zeros(rows.labelled.height, bool)
    has[judged.data.row] = True
    return has
