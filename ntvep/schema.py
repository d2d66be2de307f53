"""ALLELES, SCORES, LABELS, keys of caches: columns with dtype, unit, meaning; and each status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import polars as pl

from ntvep.objectives import Kind, Objective


class Status(StrEnum):
    """Why an allele has scores (``ok``) or has none. One per allele, never a silent blank."""

    OK = "ok"
    REF_MISMATCH = "ref_mismatch"
    CONTIG_NOT_IN_REFERENCE = "contig_not_in_reference"
    POSITION_OUT_OF_RANGE = "position_out_of_range"
    AT_CONTIG_END = "at_contig_end"
    CONTIG_TOO_SHORT = "contig_too_short"
    SYMBOLIC_ALLELE = "symbolic_allele"
    BREAKEND = "breakend"
    SPANNING_DELETION = "spanning_deletion"
    NO_ALT = "no_alt"
    AMBIGUOUS_BASE = "ambiguous_base"
    N_IN_VARIANT_TOKEN = "n_in_variant_token"
    TOO_MANY_N = "too_many_n"
    ALLELE_TOO_LONG = "allele_too_long"
    SAME_AS_REF = "same_as_ref"
    NUMERICAL_FAILURE = "numerical_failure"
    NOT_IN_CACHE = "not_in_cache"
    NOT_SELECTED = "not_selected"


STATUS_MEANING: Mapping[Status, str] = {
    Status.OK: "scored",
    Status.REF_MISMATCH: "REF is not what the reference has at this place",
    Status.CONTIG_NOT_IN_REFERENCE: "the reference has no contig of this name, nor an alias of it",
    Status.POSITION_OUT_OF_RANGE: "the place is outside the contig, or the slice given of it",
    Status.AT_CONTIG_END: "no window of whole tokens holds the change",
    Status.CONTIG_TOO_SHORT: "the contig is shorter than the model's shortest window",
    Status.SYMBOLIC_ALLELE: "a symbolic ALT such as <DEL> has no sequence",
    Status.BREAKEND: "a breakend has no single ALT sequence",
    Status.SPANNING_DELETION: "ALT is *: the place is deleted by another record",
    Status.NO_ALT: "ALT is missing (., <*> or <NON_REF>)",
    Status.AMBIGUOUS_BASE: "REF or ALT holds a letter other than A, C, G, T",
    Status.N_IN_VARIANT_TOKEN: "an N in or beside the change leaves no token that can be scored",
    Status.TOO_MANY_N: "too much of the window is N",
    Status.ALLELE_TOO_LONG: "more bases change than --max-allele-bases allows",
    Status.SAME_AS_REF: "ALT equals REF",
    Status.NUMERICAL_FAILURE: "the model gave NaN or infinity",
    Status.NOT_IN_CACHE: "with --model none, and neither a store nor the cache has this allele",
    Status.NOT_SELECTED: "outside --regions, or FILTER is not PASS with --pass-only",
}


@dataclass(frozen=True)
class Column:
    """One column of a table: its name, dtype, unit and meaning.

    ``vcf`` is the INFO key that carries a score in an annotated VCF.
    """

    name: str
    dtype: pl.DataType
    unit: str
    meaning: str
    nullable: bool = False
    vcf: str = ""


STATUS_DTYPE = pl.Enum([status.value for status in Status])

KEY = (
    Column("record", pl.UInt32(), "count", "number of the record in the input, from 0"),
    # 16 bits, not 8: records with more than 255 ALT alleles exist (short tandem repeats).
    Column("allele", pl.UInt16(), "count", "number of the ALT allele in its record, from 1"),
    Column("chrom", pl.String(), "", "contig, as the input spells it"),
    Column("pos", pl.Int64(), "bases, 1-based", "POS of the record"),
    Column("ref", pl.String(), "", "REF of the record, as the input spells it"),
    Column("alt", pl.String(), "", "this ALT allele, as the input spells it"),
)
ALLELES = (*KEY, Column("status", STATUS_DTYPE, "", "ok, or why this allele cannot be scored"))

_POOLED = {
    "cosine_distance": ("COS", "1 - cos(e_ref, e_alt) of the pooled embeddings, from 0 to 2"),
    "l1": ("L1", "sum of absolute differences of the pooled embeddings e_ref, e_alt"),
    "l2": ("L2", "Euclidean distance of the pooled embeddings e_ref, e_alt"),
    "dot": ("DOT", "dot product of the pooled embeddings e_ref, e_alt (not a distance)"),
}
# Of rate models: nothing is averaged.
_AT_BASE = "embeddings at the first changed base"


def _score(name: str, key: str, unit: str, meaning: str) -> Column:
    return Column(name, pl.Float64(), unit, meaning, nullable=True, vcf=f"NTVEP_{key}")


SCORE_COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        _score(
            "llr",
            "LLR",
            "nats",
            "masked log-likelihood ratio: log P(ALT tokens) - log P(REF tokens), each with the "
            "changed tokens masked; negative = ALT less likely than REF",
        ),
        _score(
            "llr_site",
            "LLR_SITE",
            "nats",
            "log P(ALT tokens) - log P(REF tokens) of only the changed tokens, given the bases "
            "before them; negative = ALT less likely",
        ),
        _score(
            "llr_marginal",
            "LLR_MARGINAL",
            "nats",
            "SNV: log P(ALT base) - log P(REF base) at the changed place, summed over the 6-mers "
            "with that base there, token masked; negative = ALT less likely",
        ),
        _score(
            "llr_unmasked",
            "LLR_UNMASKED",
            "nats",
            "SNV, MNV: log P(ALT tokens) - log P(REF tokens) given the unmasked reference window "
            "(wild-type marginal); negative = ALT less likely",
        ),
        _score(
            "pll_delta",
            "PLL_DELTA",
            "nats",
            "sum of log P(token) over the unmasked ALT window minus the same over the REF window; "
            "negative = ALT less likely",
        ),
        _score(
            "entropy",
            "ENTROPY",
            "nats",
            "entropy of the model's prediction at the first changed token, masked, reference "
            "window; high = the model knows little here",
        ),
        *(
            _score(f"{name}{suffix}", f"{key}{suffix.upper()}", "", meaning)
            for suffix in ("", "_token")
            for name, (key, meaning) in _POOLED.items()
        ),
    )
}
FRAMESHIFTED = Column(
    "frameshifted",
    pl.Boolean(),
    "",
    "the length change is not a multiple of 6: every token behind the change differs",
    nullable=True,
    vcf="NTVEP_FRAMESHIFTED",
)
LENGTH_CHANGE = Column(
    "length_change",
    pl.Int32(),
    "bases",
    "length of ALT minus that of REF: do not rank indels beside SNVs by llr",
    nullable=True,
    vcf="NTVEP_LENGTH_CHANGE",
)
TOKENS = tuple(
    Column(
        f"tokens_{side}",
        pl.Float64(),
        "count, mean over views",
        f"changed tokens of {side.upper()}: where the two counts differ, they dominate llr",
        nullable=True,
        vcf=f"NTVEP_TOKENS_{side.upper()}",
    )
    for side in ("ref", "alt")
)


class Source(StrEnum):
    """Where a score comes from."""

    STORE = "store"
    CACHE = "cache"
    MODEL = "model"


# Beside scores of a run with --known.
SOURCE = Column(
    "source",
    pl.Enum([source.value for source in Source]),
    "",
    "where the scores come from: a store (to within the error that it states), a cache, or the "
    "model",
    nullable=True,
    vcf="NTVEP_SOURCE",
)
STATUS_VCF = "NTVEP_STATUS"
# What the reference has where a record's REF disagrees with it.
REF_VCF = "NTVEP_REF"


def tagged_key(key: str, tag: str) -> str:
    """An INFO key as a run with ``--tag`` writes it: ``NTVEP_LLR`` is ``NTVEP_X_LLR`` with X."""
    return f"NTVEP_{tag}_{key.removeprefix('NTVEP_')}" if tag else key


# Where a column means something else than for masked k-mers.
_MEANING: Mapping[tuple[str, str], str] = {
    ("causal", "llr"): "log-likelihood ratio: the sum of log P(token | those before it) from the "
    "first token that differs to the window's end, ALT - REF; negative = ALT less likely than REF",
    ("causal", "llr_marginal"): "SNV: log P(ALT base) - log P(REF base) given the bases before it, "
    "summed over the k-mers that begin so; negative = ALT less likely",
    ("causal", "entropy"): "entropy of the model's prediction of the first token that differs, "
    "given those before it; high = the model knows little here",
    ("rates", "llr"): "SNV: log rate of ALT - log rate of REF at the changed base, unmasked; "
    "negative = ALT less likely than REF",
    **{
        ("rates", name): meaning.replace("pooled embeddings", _AT_BASE)
        for name, (_, meaning) in _POOLED.items()
    },
    ("overlapping", "llr"): "masked log-likelihood ratio: log P(ALT tokens) - log P(REF tokens), "
    "each with every token that holds a changed base masked, divided by the tokens that hold a "
    "base; negative = ALT less likely than REF",
    ("overlapping", "llr_unmasked"): "SNV, MNV: log P(ALT tokens) - log P(REF tokens) given the "
    "unmasked reference window, divided by the tokens that hold a base; negative = ALT less likely",
}


def score_column(name: str, objective: Objective, kind: Kind) -> Column:
    """A score's column, with what it means for a model of this kind."""
    column = SCORE_COLUMNS[name]
    meaning = _MEANING.get((objective, name)) or _MEANING.get((kind, name))
    return replace(column, meaning=meaning) if meaning else column


def sd_column(name: str) -> Column:
    """The column that holds the spread of a score between its views."""
    column = SCORE_COLUMNS[name]
    return Column(
        f"{name}_sd",
        pl.Float64(),
        column.unit,
        f"sample standard deviation of {name} between views",
        nullable=True,
        vcf=f"{column.vcf}_SD",
    )


def score_schema(
    names: Sequence[str],
    with_sd: bool,
    objective: Objective = "masked",
    kind: Kind = "kmer",
    with_length: bool = False,
) -> tuple[Column, ...]:
    """The columns of a SCORES table that holds the scores ``names``, in the order of the table.

    Args:
        names: of scores.
        with_sd: whether their spreads between views are there too.
        objective: of the model.
        kind: of its tokenizer.
        with_length: whether an allele's change of length is a column.
    """
    scores = [score_column(name, objective, kind) for name in names]
    spread = [sd_column(name) for name in names] if with_sd else []
    beside = [*(TOKENS if kind == "bpe" else ()), *((LENGTH_CHANGE,) if with_length else ())]
    shifted = [FRAMESHIFTED] if kind == "kmer" else []
    return (*ALLELES, *scores, *spread, *beside, *shifted)


# What `ntvep background` says of variants at random places, and of those compared with them.
CONTEXT = Column(
    "context",
    pl.String(),
    "",
    "SNV: trinucleotide context, as in A[C>T]G; indel: length, class and copies beside it, as in "
    "3:Del:R:1",
)
PENTANUCLEOTIDE = Column(
    "pentanucleotide",
    pl.String(),
    "",
    "SNV: as context, with a base more on either side, as in AA[C>T]GT",
    nullable=True,
)
LLR_PERCENTILE = Column(
    "llr_percentile",
    pl.Float64(),
    "percent",
    "share of background variants of its own context (SNV: trinucleotide; indel: length, class, "
    "repeat) that have a lower llr, ties counting half; low = unusually unlikely for its context",
    nullable=True,
    vcf="NTVEP_LLR_PERCENTILE",
)
LLR_PHRED = Column(
    "llr_phred",
    pl.Float64(),
    "PHRED",
    "-10 log10 of the P value of an llr so low among background variants of its own context: 10 = "
    "lowest tenth, 20 = lowest hundredth; high = unusually unlikely for its context",
    nullable=True,
    vcf="NTVEP_LLR_PHRED",
)
LLR_CALIBRATED = Column(
    "llr_calibrated",
    pl.Float64(),
    "nats",
    "SNV: llr minus the mean llr of background SNVs of its own pentanucleotide and change; "
    "negative = less likely than its context alone explains",
    nullable=True,
    vcf="NTVEP_LLR_CALIBRATED",
)
COMPARED = (LLR_PERCENTILE, LLR_PHRED, LLR_CALIBRATED)
"""What scores that were compared with a background have more."""

# What identifies a score beside its fingerprint: the minimal allele and the bases of its windows.
KNOWN_KEY = pl.Schema(
    {
        # The spelling of GRCh38's chromosomes by UCSC; other contigs as the input spells them.
        "chrom": pl.String(),
        # 0-based place of the first changed base.
        "start": pl.Int64(),
        "ref": pl.String(),
        "alt": pl.String(),
        "windows": pl.UInt64(),
    }
)

# The minimal form of an allele, by which those of many VCFs are one: the shared suffix goes first,
# then the shared prefix; nothing is left-aligned.
MINIMAL = (
    Column("start", pl.Int64(), "bases, 0-based", "place of the first changed base"),
    Column("removed", pl.String(), "", "bases of REF that change"),
    Column("inserted", pl.String(), "", "bases of ALT in their place"),
)
SAMPLES = Column("samples", pl.UInt32(), "count", "VCFs of the sample sheet that list this allele")
# Distinct alleles of many VCFs, each as the shortest of its records spells it.
DISTINCT = (
    *(column for column in KEY if column.name not in ("record", "allele")),
    *MINIMAL,
    SAMPLES,
)

# What a label source says of one allele. Beside these, a LABELS table may have Float64 columns of
# any other name: features of the source (AF, phyloP, CADD) that serve as baselines.
LABELS = (
    Column("chrom", pl.String(), "", "contig, as the source spells it"),
    Column("pos", pl.Int64(), "bases, 1-based", "POS, as the source gives it"),
    Column("ref", pl.String(), "", "REF, as the source gives it"),
    Column("alt", pl.String(), "", "one ALT allele, as the source gives it"),
    Column("label", pl.Boolean(), "", "positive (pathogenic, causal) or not", nullable=True),
    Column("effect", pl.Float64(), "of the source", "effect of ALT against REF", nullable=True),
    Column("group", pl.String(), "", "gene or tissue: what is not independent", nullable=True),
    Column("consequence", pl.String(), "", "most severe Sequence Ontology term", nullable=True),
    Column("stars", pl.UInt8(), "0 to 4", "review stars of ClinVar", nullable=True),
    Column("source", pl.String(), "", "name and release of the source"),
)


def check(table: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    """Return ``table`` if it has exactly ``columns``, with their dtypes and without stray nulls.

    Where there is a status, nullable columns must be null in every row whose status is not ``ok``.

    Raises:
        ValueError: names, dtypes or nulls differ. This is a fault of ours, not of the input.
    """
    expected = {column.name: column.dtype for column in columns}
    if dict(table.schema) != expected or table.columns != list(expected):
        raise ValueError(f"table has columns {dict(table.schema)}, expected {expected}")
    for column in columns:
        if not column.nullable and table[column.name].null_count():
            raise ValueError(f"column {column.name} has {table[column.name].null_count()} nulls")
    scored = [column.name for column in columns if column.nullable]
    if scored and "status" in expected:
        unscored = table.filter(pl.col("status") != Status.OK)
        if sum(unscored.select(scored).null_count().row(0)) != unscored.height * len(scored):
            raise ValueError("an allele without status ok has a score")
    return table


def check_labels(table: pl.DataFrame) -> pl.DataFrame:
    """Return ``table`` if it is LABELS: its columns first, then features, all of Float64.

    Raises:
        ValueError: as :func:`check`.
    """
    features = [
        Column(name, pl.Float64(), "of the source", "a feature of the source", nullable=True)
        for name in table.columns[len(LABELS) :]
    ]
    return check(table, (*LABELS, *features))
