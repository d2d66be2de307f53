"""SCORES of one sample, and what others say of its variants -> rows that a person reads, ranked."""

from collections.abc import Mapping, Sequence

import polars as pl

from ntvep import windows
from ntvep.evaluate.analysis import SIGN
from ntvep.evaluate.consequences import SEVERITY
from ntvep.evaluate.labels import most_severe

KINDS = ("SNV", "indel", "MNV", "other")
"""Variants are ranked within their kind; ``other`` are alleles without a sequence."""
_BASES = "^[ACGTacgtNn]+$"
# What ranks a kind: the first of these that a model has. The sums of llr run over more tokens on
# the longer side of an indel (docs/scores.md), so that its llr compares with no other.
_RANKED_BY: Mapping[str, Sequence[str]] = {
    "SNV": ("llr", "pll_delta", "cosine_distance", "l2"),
    "indel": ("pll_delta", "cosine_distance", "l2", "llr"),
}
_ALLELE_IN_GENOTYPE = str.maketrans("|", "/")

NOT_CARRIED, NOT_CALLED = "not carried", "not called"


def kinds(alleles: pl.DataFrame) -> pl.Series:
    """One of :data:`KINDS` for each allele: of what is left of it when it is trimmed."""
    ref, alt = pl.col("ref"), pl.col("alt")
    spelled = pl.all_horizontal(pl.col("ref", "alt").str.contains(_BASES))
    is_single = (ref.str.len_bytes() == 1) & (alt.str.len_bytes() == 1)
    quick = (
        pl.when(~spelled | (ref.str.to_lowercase() == alt.str.to_lowercase()))
        .then(pl.lit("other"))
        .when(ref.str.len_bytes() != alt.str.len_bytes())
        .then(pl.lit("indel"))
        .when(is_single)
        .then(pl.lit("SNV"))
    )
    kind = alleles.select(quick.alias("kind"))["kind"].to_list()
    for row, known in enumerate(kind):
        if known is None:
            edit = windows.trim(*alleles.select("pos", "ref", "alt").row(row))
            kind[row] = "SNV" if len(edit.ref) == 1 else "MNV"
    return pl.Series("kind", kind, pl.Enum(KINDS))


def zygosity(genotypes: pl.Series, alleles: pl.Series) -> pl.Series:
    """What a sample's genotype says of an ALT; null where there is no genotype.

    Args:
        genotypes: as VCF spells them, ``0/1`` or ``1|.``.
        alleles: numbers of the ALTs, from 1.

    Returns:
        ``heterozygous``, ``homozygous``, ``hemizygous`` (one copy in all), ``partly called`` (one
        copy at least, another not called), :data:`NOT_CARRIED` or :data:`NOT_CALLED`.
    """
    pairs = pl.DataFrame({"genotype": genotypes, "allele": alleles})
    said = [(g, a, _zygosity(g, a)) for g, a in pairs.unique().iter_rows()]
    schema = pairs.schema | {"zygosity": pl.String()}
    table = pl.DataFrame(said, schema=schema, orient="row")
    joined = pairs.join(
        table, ["genotype", "allele"], how="left", nulls_equal=True, maintain_order="left"
    )
    return joined["zygosity"]


def _zygosity(genotype: str | None, allele: int) -> str | None:
    if genotype is None:
        return None
    called = genotype.translate(_ALLELE_IN_GENOTYPE).split("/")
    if all(one == "." for one in called):
        return NOT_CALLED
    copies = called.count(str(allele))
    if not copies:
        return NOT_CARRIED
    if copies == len(called):
        return "homozygous" if copies > 1 else "hemizygous"
    return "partly called" if "." in called else "heterozygous"


def worst_entries(entries: pl.DataFrame) -> pl.DataFrame:
    """Of the entries of each allele the most severe; of equals that of the preferred transcript.

    Args:
        entries: ``record``, ``allele``, ``consequence``, ``gene``, ``transcript``, ``change``,
            ``preferred`` (lower is preferred).

    Returns:
        The same columns without the last, one row per allele; terms in Ensembl's spelling.
    """
    spelled = entries["consequence"].drop_nulls().unique().to_list()
    worst = [_worst(text) for text in spelled]
    term = pl.col("consequence").replace_strict(
        [*spelled, None], [*worst, None], return_dtype=pl.String
    )
    return (
        entries.with_columns(term)
        .with_columns(
            rank=pl.col("consequence").replace_strict(
                SEVERITY, default=len(SEVERITY), return_dtype=pl.Int64
            )
        )
        .sort("record", "allele", "rank", "preferred", maintain_order=True)
        .unique(["record", "allele"], keep="first", maintain_order=True)
        .drop("rank", "preferred")
    )


def _worst(consequence: str) -> str:
    """The most severe term; bcftools csq leaves ``_variant`` out."""
    terms = [term if term in SEVERITY else _in_full(term) for term in consequence.split("&")]
    return most_severe("&".join(terms)) or consequence


def _in_full(term: str) -> str:
    full = {"non_coding": "non_coding_transcript_variant"}
    by_lower = {known.lower(): known for known in SEVERITY}
    return full.get(term) or by_lower.get(f"{term.lower()}_variant", term)


# Ranks --------------------------------------------------------------------------------------------


def rankings(table: pl.DataFrame, scores: Mapping[str, str]) -> Mapping[str, tuple[str, int]]:
    """By which column each kind is ranked, and +1 if higher counts as more deleterious.

    Args:
        table: with ``kind`` and the scores.
        scores: names of scores -> columns of the model that ranks.
    """
    found = {}
    for kind in KINDS:
        rows = table.filter(pl.col("kind") == kind)
        for name in _RANKED_BY.get(kind, _RANKED_BY["SNV"]):
            if name in scores and rows[scores[name]].count():
                found[kind] = (scores[name], SIGN[name])
                break
    return found


def ranked(
    table: pl.DataFrame, by: Mapping[str, tuple[str, int]], top: int | None = None
) -> pl.DataFrame:
    """Rows by kind, the most deleterious first, with their ``rank``; equals share the better one.

    Args:
        table: with ``kind``, ``chrom``, ``pos`` and the scores.
        by: see :func:`rankings`; a kind that is not named has no rank.
        top: number of variants of each kind.
    """
    value = pl.lit(None, pl.Float64())
    for kind, (column, sign) in by.items():
        value = pl.when(pl.col("kind") == kind).then(sign * pl.col(column)).otherwise(value)
    rank = pl.col("worst").rank("min", descending=True).over("kind")
    placed = (
        table.with_row_index("order")
        .with_columns(worst=value.fill_nan(None))
        .with_columns(rank=rank.cast(pl.UInt32))
        .sort("kind", "rank", "order", nulls_last=True)
    )
    if top is not None:
        placed = placed.filter(pl.int_range(pl.len()).over("kind") < top)
    return placed.drop("worst", "order")
