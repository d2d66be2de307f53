"""SCORES and LABELS -> one table: both in normal form, joined on exactly the same allele.

The normal form is the trimmed allele, moved as far to the left as the reference allows, on the
contig's canonical name. No REF and ALT are ever swapped or complemented to make them fit.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np
import polars as pl

from ntvep import dna, windows
from ntvep.errors import ReferenceMismatchError
from ntvep.genome import Reference, canonical
from ntvep.schema import LABELS, Status
from ntvep.windows import Edit

_log = logging.getLogger("ntvep")

_ALLELE = ("chrom", "pos", "ref", "alt")
# The normal form in two integers: contig and place, and what changes there.
_KEY = ("site", "change")
_BASES = "^[ACGTacgt]+$"
# REF of an allele against the genome; null where nothing is known of it.
_AGREES, _DIFFERS, _ABSENT = "agrees", "differs", "absent"
_REF_IS = pl.Enum([_AGREES, _DIFFERS, _ABSENT])
# A handful of labels that disagree does not make it the wrong assembly.
_FEWEST_CHECKED = 20
# Bases of a contig looked at together where many single bases are compared.
_BLOCK = 1 << 20


class Outcome(StrEnum):
    """What became of a row of LABELS. Each row ends as exactly one of these."""

    MATCHED = "matched"
    NOT_IN_SCORES = "not_in_scores"
    NOT_IN_REFERENCE = "not_in_reference"
    REF_MISMATCH = "ref_mismatch"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    NO_BASES = "no_bases"


OUTCOME_MEANING: Mapping[Outcome, str] = {
    Outcome.MATCHED: "its allele is among the scores, with a score or a status "
    "that says why there is none",
    Outcome.NOT_IN_SCORES: "its allele was not scored",
    Outcome.NOT_IN_REFERENCE: "its allele was not scored, and its position is not in the reference",
    Outcome.REF_MISMATCH: "REF disagrees with the reference",
    Outcome.DUPLICATE: "repeats an allele, and agrees with the row that was kept",
    Outcome.CONFLICT: "repeats an allele with another label or effect; none of these is used",
    Outcome.NO_BASES: "REF or ALT is not a sequence of A, C, G, T",
}
_OUTCOME = pl.Enum([outcome.value for outcome in Outcome])


@dataclass(frozen=True)
class Joined:
    """Scores with the labels of the same alleles.

    Attributes:
        table: a row for each allele of SCORES that has a label: all columns of SCORES, then those
            of LABELS (``chrom``, ``pos``, ``ref``, ``alt`` as ``label_chrom`` and so on), then the
            features. Alleles whose status is not ``ok`` are there too, so that coverage can be
            counted. A feature named like another column is called ``label_NAME``.
        labels: every row of LABELS, in order, with its ``outcome``.
        repeated_scores: rows of SCORES left out of the table because an earlier row is the same
            allele (the first that has scores is kept).
    """

    table: pl.DataFrame
    labels: pl.DataFrame
    repeated_scores: int

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features in the table."""
        return tuple(self.table.columns[self.table.columns.index("label_alt") + 1 :])


def join(
    scores: pl.DataFrame,
    labels: pl.DataFrame,
    reference: Reference | None = None,
    *,
    ref_mismatch_limit: float = 0.01,
) -> Joined:
    """Join labels to scores on the normal form of the allele.

    REF of a label is compared with the single bases that were scored, for their REF has been
    checked, and elsewhere with the reference. Duplicates are sought within a source.

    Args:
        scores: SCORES.
        labels: LABELS, of one or more sources.
        reference: the genome. Without it alleles are trimmed only, and an insertion or deletion in
            a repeat may not be found.
        ref_mismatch_limit: share of labels with another REF, of those that can be compared, above
            which they are of another assembly; 1 never stops.

    Raises:
        ReferenceMismatchError: more disagree.
    """
    if reference is None:
        _log.warning(
            "no reference: alleles are trimmed but not left-aligned, so insertions and deletions "
            "in repeats may not match; give --reference"
        )
    alleles = pl.concat([table.select(_ALLELE) for table in (scores, labels)])
    keys = _normal_forms(alleles, reference)
    scored = keys.head(scores.height).with_columns(ok=scores["status"] == Status.OK)
    scored = scored.with_row_index("score_row").filter(pl.col("site").is_not_null())
    rows = pl.concat(
        [keys.tail(labels.height), labels.select("source", "label", "effect")], how="horizontal"
    ).with_row_index("row")
    compared = _compare_ref(rows, labels, scored, reference)
    _judge(compared, labels, ref_mismatch_limit)
    rows = rows.with_columns(
        pl.when(pl.col("site").is_null())
        .then(pl.lit(Outcome.NO_BASES.value))
        .when(compared == _DIFFERS)
        .then(pl.lit(Outcome.REF_MISMATCH.value))
        .cast(_OUTCOME)
        .alias("outcome")
    )
    rows, kept_of_repeated = _settle_repeats(rows)
    candidates = rows.filter(pl.col("outcome").is_null()).select("row", *_KEY)
    # Of the same allele twice among the scores the first that has scores is taken.
    pairs = candidates.join(scored, on=_KEY).sort(~pl.col("ok"), "score_row")
    matches = pairs.unique("row", keep="first").sort("score_row", "row")
    rows = rows.join(matches.select("row", "score_row"), "row", how="left", maintain_order="left")
    unmatched = (
        pl.when(pl.col("score_row").is_not_null())
        .then(pl.lit(Outcome.MATCHED.value))
        .when(compared == _ABSENT)
        .then(pl.lit(Outcome.NOT_IN_REFERENCE.value))
        .otherwise(pl.lit(Outcome.NOT_IN_SCORES.value))
        .cast(_OUTCOME)
    )
    outcome = rows.select(pl.coalesce("outcome", unmatched)).to_series().alias("outcome")
    table = _side_by_side(scores, _completed(labels, kept_of_repeated), matches)
    repeated = pairs["score_row"].n_unique() - matches["score_row"].n_unique()
    return Joined(table, labels.with_columns(outcome), repeated)


# Normal form --------------------------------------------------------------------------------------


def _normal_forms(alleles: pl.DataFrame, reference: Reference | None) -> pl.DataFrame:
    """Keys of alleles: equal exactly where two make the same change; null where they are not bases.

    Single bases are already in normal form; only the others are processed one by one.

    Returns:
        ``site``, ``change``; ``base``, REF of a single base; ``ref_is``, what the reference said of
        REF where it was asked.
    """
    named = alleles.with_columns(
        contig=canonical_contigs(alleles["chrom"]).cast(pl.Categorical),
        has_bases=pl.all_horizontal(pl.col("ref", "alt").str.contains(_BASES)),
        is_single=pl.all_horizontal(pl.col("ref", "alt").str.len_bytes() == 1),
    )
    longer = named.filter("has_bases", ~pl.col("is_single")).select(_ALLELE).unique()
    formed = _normal_forms_of_longer(longer.sort("chrom", "pos"), reference)
    placed = named.join(formed, _ALLELE, how="left", maintain_order="left")
    base = pl.col("ref").str.to_uppercase()
    gone, come = pl.coalesce("gone", base), pl.coalesce("come", pl.col("alt").str.to_uppercase())
    site = pl.col("contig").to_physical().cast(pl.Int64) * 2**32
    single = windows.first_base(pl.col("pos"))
    return placed.select(
        pl.when("has_bases").then(site + pl.coalesce("start", single)).alias("site"),
        pl.concat_str(gone, pl.lit(">"), come).cast(pl.Categorical).to_physical().alias("change"),
        pl.when("is_single").then(base).alias("base"),
        "ref_is",
    )


def trimmed_keys(alleles: pl.DataFrame) -> pl.Series:
    """A key of each allele: equal where two are trimmed to the same change of the same contig.

    Without a reference: alleles are not left-aligned, so that an indel in a repeat has several.

    Args:
        alleles: ``chrom``, ``pos``, ``ref``, ``alt``.

    Returns:
        Text; null where REF or ALT is not a sequence of A, C, G, T.
    """
    single = pl.all_horizontal(pl.col("ref", "alt").str.len_bytes() == 1)
    named = alleles.select(
        _ALLELE,
        contig=canonical_contigs(alleles["chrom"]),
        has_bases=pl.all_horizontal(pl.col("ref", "alt").str.contains(_BASES)),
    )
    longer = named.filter("has_bases", ~single).select("pos", "ref", "alt").unique()
    changes = []
    for pos, ref, alt in longer.iter_rows():
        edit = windows.trim(pos, ref, alt)
        changes.append(f"{edit.start}:{dna.decode(edit.ref)}>{dna.decode(edit.alt)}")
    trimmed = longer.with_columns(trimmed=pl.Series(changes, dtype=pl.String))
    start = windows.first_base(pl.col("pos"))
    as_it_is = pl.format("{}:{}>{}", start, *(_upper(side) for side in ("ref", "alt")))
    return (
        named.join(trimmed, ["pos", "ref", "alt"], how="left", maintain_order="left")
        .select(
            pl.when("has_bases").then(
                pl.format("{}:{}", "contig", pl.coalesce("trimmed", as_it_is))
            )
        )
        .to_series()
    )


def _upper(side: str) -> pl.Expr:
    return pl.col(side).str.to_uppercase()


def canonical_contigs(chrom: pl.Series) -> pl.Series:
    """Contig names in one spelling; see :func:`ntvep.genome.canonical`."""
    spelled = chrom.unique().to_list()
    names = [canonical(name) for name in spelled]
    return chrom.replace_strict(spelled, names, return_dtype=pl.String)


def _normal_forms_of_longer(alleles: pl.DataFrame, reference: Reference | None) -> pl.DataFrame:
    rows = []
    for chrom, pos, ref, alt in alleles.iter_rows():
        edit, ref_is = windows.trim(pos, ref, alt), None
        if reference is not None:
            edit, ref_is = _on_reference(edit, chrom, pos, ref, reference)
        rows.append((edit.start, dna.decode(edit.ref), dna.decode(edit.alt), ref_is))
    schema = {
        "start": pl.Int64(),
        "gone": pl.String(),
        "come": pl.String(),
        "ref_is": _REF_IS,
    }
    return alleles.hstack(pl.DataFrame(rows, schema=schema, orient="row"))


def _on_reference(
    edit: Edit, chrom: str, pos: int, ref: str, reference: Reference
) -> tuple[Edit, str]:
    """The leftmost form of an allele, and whether its REF is there."""
    named = windows.zero_based(pos, ref)
    for span in reference.spans(chrom):
        if span.start <= named.start and named.stop <= span.stop:
            if dna.decode(reference.fetch(chrom, named.start, named.stop)) != ref.upper():
                return edit, _DIFFERS
            return windows.left_align(edit, span.start, partial(reference.fetch, chrom)), _AGREES
    return edit, _ABSENT


# REF ----------------------------------------------------------------------------------------------


def _compare_ref(
    rows: pl.DataFrame, labels: pl.DataFrame, scored: pl.DataFrame, reference: Reference | None
) -> pl.Series:
    """For each label, whether REF is that of the genome; null where that is not known."""
    known = scored.filter("ok", pl.col("base").is_not_null()).select("site", known="base")
    compared = rows.join(known.unique("site"), "site", how="left", maintain_order="left")
    agrees = pl.col("base") == pl.col("known")
    by_scores = pl.when(agrees).then(pl.lit(_AGREES)).when(~agrees).then(pl.lit(_DIFFERS))
    compared = compared.with_columns(pl.coalesce("ref_is", by_scores.cast(_REF_IS)))
    if reference is not None:
        unknown = compared.filter(pl.col("ref_is").is_null(), pl.col("site").is_not_null()).select(
            "row"
        )
        places = labels.select("chrom", "pos", "ref").with_row_index("row").join(unknown, "row")
        looked_up = [
            group.select("row", looked_up=_look_up(str(chrom), group, reference))
            for (chrom,), group in places.group_by("chrom")
        ]
        if looked_up:
            compared = compared.join(
                pl.concat(looked_up), "row", how="left", maintain_order="left"
            ).with_columns(pl.coalesce("ref_is", "looked_up"))
    return compared["ref_is"]


def ref_agrees(alleles: pl.DataFrame, reference: Reference) -> pl.Series:
    """Whether the REF of each single-base allele is the reference's; null where it has no place.

    Args:
        alleles: ``chrom``, ``pos``, ``ref``; each REF of one base.
        reference: the genome.
    """
    rows = alleles.select("chrom", "pos", "ref").with_row_index("row")
    found = [
        group.select("row", ref_is=_look_up(str(chrom), group, reference))
        for (chrom,), group in rows.group_by("chrom")
    ]
    empty = pl.DataFrame(schema={"row": pl.UInt32(), "ref_is": _REF_IS})
    compared = rows.join(pl.concat([empty, *found]), "row", how="left", maintain_order="left")
    known = pl.when(pl.col("ref_is") != _ABSENT).then(pl.col("ref_is") == _AGREES)
    return compared.select(known.alias("agrees")).to_series()


def _look_up(chrom: str, singles: pl.DataFrame, reference: Reference) -> pl.Series:
    """Whether single bases of one contig are those of the reference."""
    place = windows.first_base(singles["pos"].to_numpy())
    expected = dna.encode(singles["ref"].str.join("").item())
    answers = np.full(len(place), _ABSENT, object)
    for span in reference.spans(chrom):
        inside = np.flatnonzero((span.start <= place) & (place < span.stop))
        block = place[inside] // _BLOCK
        for number in np.unique(block):
            here = inside[block == number]
            start = int(place[here].min())
            bases = reference.fetch(chrom, start, int(place[here].max()) + 1)
            agrees = bases[place[here] - start] == expected[here]
            answers[here] = np.where(agrees, _AGREES, _DIFFERS)
    return pl.Series(answers, dtype=_REF_IS)


def _judge(ref_is: pl.Series, labels: pl.DataFrame, limit: float) -> None:
    compared = labels.select("source", "chrom", "pos", "ref", differs=ref_is == _DIFFERS)
    compared = compared.filter(ref_is != _ABSENT)
    for (source,), rows in compared.group_by("source", maintain_order=True):
        wrong = rows.filter("differs")
        if rows.height >= _FEWEST_CHECKED and wrong.height > limit * rows.height:
            some = wrong.head(3).select(pl.format("{}:{} {}", "chrom", "pos", "ref")).to_series()
            raise ReferenceMismatchError(
                f"{source}: wrong assembly? REF of {wrong.height} of {rows.height} labels "
                f"disagrees with the genome (limit {limit:.0%}), {', '.join(some)} for instance. "
                "Give labels of the assembly that was scored; REF and ALT are never swapped to "
                "fit"
            )


# Duplicates ---------------------------------------------------------------------------------------


def _settle_repeats(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give repeats of an allele within a source their outcome, all but the row that is kept.

    Returns:
        The rows; and for each repeat that agrees, ``row`` and the row ``kept`` in its place.
    """
    allele = ("source", *_KEY)
    repeats = rows.filter(pl.col("outcome").is_null(), pl.len().over(allele) > 1)
    # What is null says nothing, so it contradicts nothing.
    disagree = [pl.col(c).drop_nulls().n_unique().over(allele) > 1 for c in ("label", "effect")]
    kept = pl.col("row").min().over(allele)
    repeats = repeats.select("row", kept=kept, disagree=pl.any_horizontal(disagree)).with_columns(
        repeat=pl.when("disagree")
        .then(pl.lit(Outcome.CONFLICT.value))
        .when(pl.col("row") != pl.col("kept"))
        .then(pl.lit(Outcome.DUPLICATE.value))
        .cast(_OUTCOME)
    )
    settled = rows.join(repeats, "row", how="left", maintain_order="left")
    agreeing = repeats.filter(~pl.col("disagree")).select("row", "kept")
    return settled.with_columns(pl.coalesce("outcome", "repeat")), agreeing


def _completed(labels: pl.DataFrame, repeats: pl.DataFrame) -> pl.DataFrame:
    """Labels in which a kept row also says what only its repeats say."""
    said = labels.columns[len(_ALLELE) :]
    together = (
        labels.with_row_index("row")
        .join(repeats, "row")
        .sort("row")
        .group_by("kept")
        .agg(pl.col(said).drop_nulls().first())
        .rename({"kept": "row"})
    )
    return labels.with_row_index("row").update(together, "row").drop("row")


def _side_by_side(
    scores: pl.DataFrame, labels: pl.DataFrame, matches: pl.DataFrame
) -> pl.DataFrame:
    """Columns of scores and of labels for pairs of rows; no two columns of one name."""
    own = [column.name for column in LABELS[len(_ALLELE) :]]
    features = labels.columns[len(LABELS) :]
    taken = {*scores.columns, *own}
    names = {name: f"label_{name}" for name in (*_ALLELE, *(set(features) & taken))}
    right = labels[matches["row"]].select(*own, *_ALLELE, *features).rename(names)
    return scores[matches["score_row"]].hstack(right)
