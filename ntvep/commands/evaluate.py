"""SCORES and LABELS -> a report of how well they agree: ``ntvep evaluate``."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import polars as pl

from ntvep.commands.against import Against, other_scores
from ntvep.commands.against import parse as parse_against
from ntvep.commands.score_files import read_any, refuse_vcf_labels
from ntvep.errors import ConfigError, InputError
from ntvep.evaluate.analysis import (
    CANNOT_BE_TOLD_APART,
    SIGN,
    Analysis,
    Score,
    absolute_scores,
    analyse,
    baselines_of,
    model_column,
    scores_of,
)
from ntvep.evaluate.baselines import add_baselines
from ntvep.evaluate.directions import parse_directions
from ntvep.evaluate.joining import OUTCOME_MEANING, Joined, Outcome, join
from ntvep.evaluate.matching import MATCH_GROUP, edges_of, match_negatives
from ntvep.evaluate.metrics import in_words
from ntvep.evaluate.report import MARK, LabelSet, Report, render
from ntvep.io.fasta import open_reference
from ntvep.io.staging import staged_folder
from ntvep.io.tables import read_labels
from ntvep.objectives import SCORE_NAMES
from ntvep.provenance import Provenance
from ntvep.schema import COMPARED, LABELS, LLR_CALIBRATED, LLR_PERCENTILE

_log = logging.getLogger("ntvep")

# What computes the numbers, for the methods of a paper.
_SOFTWARE = ("ntvep", "numpy", "polars", "scipy")
_LABEL_KEY = ("source", "label_chrom", "label_pos", "label_ref", "label_alt")


@dataclass(frozen=True)
class Choices:
    """How scores are judged; every field is an option of the command line.

    Attributes:
        reference: FASTA of the assembly: indels are then left-aligned before they are joined, and
            two baselines need it.
        matched: number of negatives for each positive, drawn from its chromosome, consequence and
            bins of distances and allele frequencies that the labels have; None takes all.
        own_scores: ``NAME:lower`` or ``NAME:higher`` of columns to judge in tables that do not say
            what made them.
        directions: ``NAME:lower`` or ``NAME:higher`` of features whose direction is not known.
        against: files of other scores; see :func:`ntvep.commands.against.parse`.
        absolute: judge ``|llr|`` and the like first: of these labels, REF and ALT are arbitrary.
        tags: of ``ntvep score --tag``: which runs of annotated VCFs are read; empty for all.
        ref_mismatch_limit: share of labels with another REF that stops as a wrong assembly.
    """

    reference: Path | None = None
    matched: int | None = None
    own_scores: Sequence[str] = ()
    directions: Sequence[str] = ()
    against: Sequence[str] = ()
    absolute: bool = False
    tags: Sequence[str] = ()
    ref_mismatch_limit: float = 0.01


def evaluate(
    scores: Sequence[Path],
    labels: Sequence[Path],
    output: Path,
    choices: Choices = Choices(),
    *,
    command: str,
    force: bool = False,
) -> list[str]:
    """Judge scores on labels, as :func:`judge` does, and write the report to a folder.

    Returns:
        A line for each set of labels.
    """
    with staged_folder(output, MARK, force=force) as folder:
        report = judge(scores, labels, choices, command=command)
        for name, content in render(report):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
    return [_line(labels.analysis.name, labels) for labels in report.sets]


def judge(
    scores: Sequence[Path],
    labels: Sequence[Path],
    choices: Choices = Choices(),
    *,
    command: str,
) -> Report:
    """Join scores to labels and compute all that a report shows.

    Files of scores with one fingerprint are parts of one table; with several fingerprints they are
    several models, which are compared. A source of labels that has both classes, or effects, is a
    set of its own; sources of one class only are judged together.

    Args:
        scores: SCORES in Parquet, annotated VCFs, or tables of other people's scores.
        labels: LABELS in Parquet.
        choices: how.
        command: what was typed.

    Raises:
        InputError: a table cannot be used, or no label of a set is among the scores.
        ConfigError: an option has a value that cannot be used.
    """
    if choices.matched is not None and choices.matched < 1:
        raise ConfigError(f"--matched is {choices.matched}; expected 1 or more")
    against = parse_against(choices.against)
    own = _own_scores(choices.own_scores)
    refuse_vcf_labels(labels)
    models = _models(scores, own, choices.tags)
    given = pl.concat([read_labels(path) for path in _once(labels)], how="diagonal")
    table, outcomes, features = _joined(
        {name: parts for name, (parts, _) in models.items()}, _in_sets(given), choices, [*own]
    )
    directions = parse_directions(choices.directions)
    if unknown := set(directions) - set(features):
        raise ConfigError(
            f"--direction {', '.join(sorted(unknown))}: the labels have no such feature; "
            f"found {', '.join(features) or 'none'}"
        )
    ours = scores_of(table.columns, list(models)) + [
        Score(column, column, sign, "score", model)
        for name, sign in own.items()
        for model in models
        if name not in SIGN and (column := model_column(name, model, list(models))) in table.columns
    ]
    sizes = absolute_scores(ours) if choices.absolute else []
    table = table.with_columns(pl.col(s.column[1:-1]).abs().alias(s.column) for s in sizes)
    judged = sizes + ours + baselines_of(table.columns, features, directions)
    table, others = _with_others(table, against)
    sets = [
        _judge_set(
            str(name),
            table.filter(pl.col("source") == name),
            judged + others,
            features,
            rows,
            choices.matched,
        )
        for (name,), rows in outcomes.group_by("source", maintain_order=True)
    ]
    return Report(
        sets,
        {name: made for name, (_, made) in models.items()},
        [path.name for path in labels],
        _releases(given),
        {"Python": python_version(), **{name: version(name) for name in _SOFTWARE}},
        version("ntvep"),
        command,
    )


# Scores -------------------------------------------------------------------------------------------


def _own_scores(texts: Sequence[str]) -> Mapping[str, int]:
    """Directions of ``--score``, which must not be turned for a score of ntvep's own name."""
    found = parse_directions(texts, "--score")
    if wrong := [name for name, sign in found.items() if SIGN.get(name, sign) != sign]:
        raise ConfigError(
            f"--score {wrong[0]}: expected {'higher' if SIGN[wrong[0]] > 0 else 'lower'}, which is "
            "more deleterious of a score of ntvep"
        )
    return found


def _once(paths: Sequence[Path]) -> Sequence[Path]:
    """Refuse a file that is given twice: every count would be wrong."""
    repeated = [path for path, n in Counter(path.resolve() for path in paths).items() if n > 1]
    if repeated:
        raise ConfigError(f"{repeated[0].name} is given twice; give each file once")
    return paths


def _models(
    paths: Sequence[Path], named: Mapping[str, int], tags: Sequence[str]
) -> dict[str, tuple[list[pl.DataFrame], Provenance | None]]:
    """Tables by the model that they are of: its name in the report, and its provenance."""
    by_fingerprint: dict[str, tuple[list[pl.DataFrame], Provenance, str]] = {}
    unknown: dict[str, tuple[list[pl.DataFrame], Provenance | None]] = {}
    for path in _once(paths):
        for run in read_any(path, named, tags):
            if run.made is None:
                _log.warning("%s: provenance unknown: it does not say what made its scores", path)
                unknown[f"{path.name} (provenance unknown)"] = [run.table], None
            else:
                # Who gave a tag has named the model.
                name = run.tag or Path(run.made.model.model_id).name
                parts, *_ = by_fingerprint.setdefault(run.made.fingerprint, ([], run.made, name))
                parts.append(run.table)
    names = Counter(name for *_, name in by_fingerprint.values())
    known = {
        name if names[name] == 1 else f"{name} {made.fingerprint[:6]}": (parts, made)
        for parts, made, name in by_fingerprint.values()
    }
    return {**known, **unknown}


def _joined(
    models: Mapping[str, Sequence[pl.DataFrame]],
    labels: pl.DataFrame,
    choices: Choices,
    named: Sequence[str],
) -> tuple[pl.DataFrame, pl.DataFrame, Sequence[str]]:
    """Labelled alleles with the scores of all models; outcomes of the labels; features."""
    reference = None if choices.reference is None else open_reference(choices.reference)
    table, outcomes, features = pl.DataFrame(), [], []
    for name, parts in models.items():
        # Parts of one model may hold different scores.
        scores = pl.concat(parts, how="diagonal")
        joined = join(scores, labels, reference, ref_mismatch_limit=choices.ref_mismatch_limit)
        if joined.repeated_scores:
            _log.info("%s: %d alleles were scored twice", name, joined.repeated_scores)
        features = [name for name in joined.features if name != MATCH_GROUP]
        outcomes.append(_outcomes(name, joined))
        compared = (column.name for column in COMPARED)
        names = dict.fromkeys(("status", *SCORE_NAMES, *compared, *named))
        theirs = [name for name in names if name in scores.columns]
        renamed = joined.table.rename({c: model_column(c, name, list(models)) for c in theirs})
        table = _beside(table, renamed) if table.width else renamed
    return add_baselines(table, reference), pl.concat(outcomes), features


def _with_others(
    table: pl.DataFrame, against: Sequence[Against]
) -> tuple[pl.DataFrame, list[Score]]:
    """Scores of others as columns of the joined table; null where they have none."""
    found = other_scores(table, against)
    # A feature of the labels may have the name of a score.
    names = [one.name if one.name not in table.columns else f"{one.name} (file)" for one in found]
    scores = [
        Score(name, name, one.sign, "feature") for name, one in zip(names, found, strict=True)
    ]
    columns = [one.values.alias(name) for name, one in zip(names, found, strict=True)]
    return table.with_columns(columns), scores


def _beside(table: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Scores of another model for the same labels; an allele that one lacks has nulls there."""
    both = table.join(other, _LABEL_KEY, how="full", coalesce=True, suffix=" (right)")
    shared = [c for c in table.columns if c in other.columns and c not in _LABEL_KEY]
    filled = both.with_columns(pl.coalesce(c, f"{c} (right)").alias(c) for c in shared)
    return filled.drop(f"{c} (right)" for c in shared)


def _outcomes(model: str, joined: Joined) -> pl.DataFrame:
    order = [outcome.value for outcome in Outcome]
    return (
        joined.labels.group_by("source", pl.col("outcome").cast(pl.String))
        .len("labels")
        .sort("source", pl.col("outcome").cast(pl.Enum(order)))
        .select(
            "source",
            pl.lit(model).alias("model"),
            "outcome",
            "labels",
            pl.col("outcome").replace_strict(OUTCOME_MEANING).alias("meaning"),
        )
    )


# Labels -------------------------------------------------------------------------------------------


def _releases(labels: pl.DataFrame) -> pl.DataFrame:
    """What each source holds, as it was given."""
    label = pl.col("label")
    return labels.group_by("source", maintain_order=True).agg(
        positives=label.sum(), negatives=(~label).sum(), unlabelled=label.null_count()
    )


def _in_sets(labels: pl.DataFrame) -> pl.DataFrame:
    """Labels whose ``source`` is the set that they are judged in.

    A list of positives and a list of negatives come as two sources often: those with one class
    only, and no effects, make up one set.
    """
    if labels.is_empty():
        raise InputError("the labels are empty; expected a row for each labelled allele")
    features = labels.columns[len(LABELS) :]
    classes = labels.group_by("source", maintain_order=True).agg(
        classes=pl.col("label").drop_nulls().n_unique(), effects=pl.col("effect").count()
    )
    single = classes.filter(pl.col("classes") == 1, pl.col("effects") == 0)["source"].to_list()
    if len(single) > 1:
        together = pl.col("source").replace(single, [" + ".join(single)] * len(single))
        labels = labels.with_columns(together)
    return labels.select(*(column.name for column in LABELS), *features)


def _judge_set(
    name: str,
    table: pl.DataFrame,
    judged: Sequence[Score],
    features: Sequence[str],
    outcomes: pl.DataFrame,
    matched: int | None,
) -> LabelSet:
    positives, negatives = (table["label"] == True).sum(), (table["label"] == False).sum()  # noqa: E712
    effects = table["effect"].count()
    if not (positives or negatives or effects):
        counts = ", ".join(
            f"{n} {outcome}" for outcome, n in outcomes.select("outcome", "labels").rows()
        )
        raise InputError(
            f"{name}: 0 positives and 0 negatives are among the scores ({counts}); expected some. "
            "Score the variants of the labels, or give labels of what was scored"
        )
    notes = []
    if matched is not None and not (positives and negatives):
        notes.append("Not matched: one class is absent.")
    elif matched is not None:
        table, note = _matched(name, table, features, matched)
        notes.append(note)
    present = [score for score in judged if table[score.column].count()]
    if not any(score.kind == "score" for score in present):
        raise InputError(f"{name}: no labelled variant has a score; see its status in the scores")
    analysis = analyse(table, present, name=name)
    notes += _what_the_background_changes(analysis)
    return LabelSet(analysis, present, outcomes.drop("source"), notes)


def _matched(
    name: str, table: pl.DataFrame, features: Iterable[str], negatives: int
) -> tuple[pl.DataFrame, str]:
    found_edges = {f: edges_of(f, table[f]) for f in features}
    bins = {name: edges for name, edges in found_edges.items() if edges is not None}
    found = match_negatives(table, negatives, seed=0, bins=bins)
    on = ", ".join(("chromosome", "consequence", *bins))
    if not found.positives:
        raise InputError(
            f"{name}: no positive has {negatives} negatives of its {on}; ask for fewer with "
            "--matched, or give more negatives"
        )
    return found.table.with_columns(found.groups), (
        f"Matched: {negatives} negatives for each positive, of its {on}. {found.unmatched:,} "
        f"positives had too few and are left out, as are {found.unused:,} negatives."
    )


_COMPARED_MEANING = {
    LLR_PERCENTILE.name: "among variants at random places of the same context",
    LLR_CALIBRATED.name: "less the mean of SNVs at random places of the same pentanucleotide",
}


def _what_the_background_changes(analysis: Analysis) -> Iterator[str]:
    """A sentence on each number that comes of a background, where the scores have it.

    None on ``llr_phred``, which orders variants of a context as the percentile does.
    """
    primary = analysis.primary
    # With several models the name of the model follows.
    meanings = {
        primary.name.replace("llr", name, 1): meaning for name, meaning in _COMPARED_MEANING.items()
    }
    for row in analysis.tables.get("differences", pl.DataFrame()).iter_rows(named=True):
        theirs = row["b"]
        if theirs in meanings and row.get("auroc_difference") is not None:
            low, high = row["auroc_difference_low"], row["auroc_difference_high"]
            apart = row["auroc_verdict"] == CANNOT_BE_TOLD_APART
            yield (
                f"{theirs} is {primary.name} {meanings[theirs]}. On the {row['variants']:,} "
                f"variants that have both, the AUROC of {primary.name} less that of "
                f"{theirs} is {row['auroc_difference']:.3f} "
                f"({in_words(low, high, '95 % interval ')})"
                f"{'; the two cannot be told apart' if apart else ''}."
            )


def _line(name: str, labels: LabelSet) -> str:
    analysis = labels.analysis
    rows = {row["score"]: row for row in analysis.tables["headline"].to_dicts()}
    primary = rows[analysis.primary.name]
    counts = f"{primary['positives']:,} positives, {primary['negatives']:,} negatives"
    if primary["auroc"] is None:
        return f"{name}: {counts}: {primary['note']} for an AUROC of {analysis.primary.name}"
    interval = in_words(primary["auroc_low"], primary["auroc_high"], "95 % interval ")
    line = f"{name}: {analysis.primary.name}, AUROC {primary['auroc']:.3f} ({interval}; {counts})"
    if primary["indel_positives"] + primary["indel_negatives"]:
        for kind, words in (("snv", "SNVs"), ("indel", "indels")):
            value = primary[f"{kind}_auroc"]
            line += f"; {words} {'too few' if value is None else f'{value:.3f}'}"
    line += f"; {primary['note']}" if primary["note"] else ""
    rule = rows.get("consequence rule")
    return line + (f"; the consequence alone {rule['auroc']:.3f}" if rule and rule["auroc"] else "")
