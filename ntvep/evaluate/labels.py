"""what a source of labels says of an allele -> LABELS: one meaning for each spelling."""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import polars as pl

from ntvep.errors import InputError
from ntvep.evaluate.consequences import SEVERITY
from ntvep.schema import check_labels

# ClinVar ------------------------------------------------------------------------------------------


class Significance(StrEnum):
    """What ClinVar says of a variant, in the classes that an evaluation needs.

    ``ONCOGENICITY`` and ``SOMATIC`` are records that ClinVar classifies only for cancer: they are
    no answer to the question of germline disease.
    """

    PATHOGENIC = "pathogenic"
    ONCOGENIC = "oncogenic"
    BENIGN = "benign"
    CONFLICTING = "conflicting"
    UNCERTAIN = "uncertain"
    ONCOGENICITY = "oncogenicity only"
    SOMATIC = "somatic only"
    OTHER = "other"


class Classification(StrEnum):
    """Which of ClinVar's classifications is read; they answer different questions."""

    GERMLINE = "germline"
    ONCOGENICITY = "oncogenicity"


CLINVAR_KEYS: Mapping[Classification, tuple[str, str]] = {
    Classification.GERMLINE: ("CLNSIG", "CLNREVSTAT"),
    Classification.ONCOGENICITY: ("ONC", "ONCREVSTAT"),
}
"""INFO keys of the class and of its review status."""
_POSITIVE = (Significance.PATHOGENIC, Significance.ONCOGENIC)
# Bits of ORIGIN: seen in a tumour; not tested, tested without a result, other.
_SEEN_SOMATIC = 2
_SAYS_NOTHING = 256 | 512 | 1 << 30

# Terms of the classification of Mendelian variants, in today's spelling, in that of VCFs before
# 2017 (the numbers) and of dbSNP's first; and those of oncogenicity.
_TERMS: Mapping[str, Significance] = {
    spelling: significance
    for significance, spellings in {
        Significance.PATHOGENIC: (
            "pathogenic", "likely_pathogenic", "pathologic", "probable_pathogenic", "4", "5",
        ),
        Significance.ONCOGENIC: ("oncogenic", "likely_oncogenic"),
        Significance.BENIGN: (
            "benign", "likely_benign", "non_pathogenic", "probable_non_pathogenic", "2", "3",
        ),
        Significance.CONFLICTING: (
            "conflicting_classifications_of_pathogenicity",
            "conflicting_interpretations_of_pathogenicity",
            "conflicting_classifications_of_oncogenicity",
            "conflicting_data_from_submitters",
        ),
        Significance.UNCERTAIN: ("uncertain_significance", "unknown_significance", "unknown", "0"),
    }.items()
    for spelling in spellings
}  # fmt: skip

# https://www.ncbi.nlm.nih.gov/clinvar/docs/review_status/; the one-word spellings are those of
# VCFs before 2017.
_STARS: Mapping[str, int] = {
    "practice_guideline": 4,
    "guideline": 4,
    "reviewed_by_expert_panel": 3,
    "exp": 3,
    "criteria_provided,_multiple_submitters,_no_conflicts": 2,
    "criteria_provided,_multiple_submitters": 2,
    "mult": 2,
    "criteria_provided,_conflicting_classifications": 1,
    "criteria_provided,_conflicting_interpretations": 1,
    "criteria_provided,_single_submitter": 1,
    "conf": 1,
    "single": 1,
    "no_assertion_criteria_provided": 0,
    "no_assertion_provided": 0,
    "no_classification_provided": 0,
    "no_classification_for_the_single_variant": 0,
    "no_classification_for_the_individual_variant": 0,
    "no_classifications_from_unflagged_records": 0,
    "no_interpretation_for_the_single_variant": 0,
    "no_assertion_for_the_individual_variant": 0,
    "no_criteria": 0,
    "no_assertion": 0,
}

# ClinVar's names of consequences -> Ensembl's, where they differ.
_SYNONYMS: Mapping[str, str] = {
    "nonsense": "stop_gained",
    "initiator_codon_variant": "start_lost",
    "initiatior_codon_variant": "start_lost",
    "inframe_indel": "protein_altering_variant",
    "cds-indel": "protein_altering_variant",
    "frameshift": "frameshift_variant",
    "missense": "missense_variant",
    "synonymous_codon": "synonymous_variant",
    "stop-lost": "stop_lost",
    "utr-5": "5_prime_utr_variant",
    "utr-3": "3_prime_utr_variant",
    "splice-3": "splice_acceptor_variant",
    "splice-5": "splice_donor_variant",
    "non-coding_transcript_variant": "non_coding_transcript_variant",
    "2kb_upstream_variant": "upstream_gene_variant",
    "upstream-variant-2kb": "upstream_gene_variant",
    "genic_upstream_transcript_variant": "upstream_gene_variant",
    "500b_downstream_variant": "downstream_gene_variant",
    "downstream-variant-500b": "downstream_gene_variant",
    "genic_downstream_transcript_variant": "downstream_gene_variant",
    "no_sequence_alteration": "sequence_variant",
}
_BY_LOWER = {term.lower(): term for term in SEVERITY}


def significance(clnsig: str) -> Significance:
    """What a CLNSIG value says, whatever else it contains.

    Parts are joined by ``/``, ``|`` and ``,``; terms of other questions (drug_response, other,
    risk_factor, Affects, ...) say nothing about it. Low penetrance is a property of a pathogenic
    variant, not another class. Parts that contradict each other are a conflict.
    """
    spelled = re.sub(r"[\s-]+", "_", clnsig.strip().lower()).replace(",_low_penetrance", "")
    said = {
        _TERMS[term] for part in re.split(r"[/|,]", spelled) if (term := part.strip("_")) in _TERMS
    }
    if not said:
        return Significance.OTHER
    return said.pop() if len(said) == 1 else Significance.CONFLICTING


def stars(clnrevstat: str) -> int | None:
    """Stars, 0 to 4, of a CLNREVSTAT value; None for one that ClinVar has not used so far."""
    return _STARS.get(re.sub(r"\s+", "_", clnrevstat.strip().lower()))


def most_severe(consequences: str) -> str | None:
    """The most severe term among those of an MC or VEP entry, in Ensembl's spelling and order.

    Args:
        consequences: terms joined by ``,`` or ``&``, each with or without ``SO:number|``. A term
            that Ensembl does not have counts only if it is the only one.
    """
    terms = [part.rpartition("|")[2].strip() for part in re.split("[,&]", consequences)]
    known = (_SYNONYMS.get(term.lower(), term.lower()) for term in terms)
    ensembl = [_BY_LOWER[term.lower()] for term in known if term.lower() in _BY_LOWER]
    if ensembl:
        return min(ensembl, key=SEVERITY.__getitem__)
    return next(filter(None, terms), None)


def most_severe_of(consequences: pl.Series) -> pl.Series:
    """:func:`most_severe` of each value; null stays null."""
    return _each(consequences, most_severe, pl.String())


def clinvar(
    records: pl.DataFrame, source: str, classification: Classification = Classification.GERMLINE
) -> tuple[pl.DataFrame, pl.Series]:
    """Labels of ClinVar's records.

    Args:
        records: ``chrom``, ``pos``, ``ref``, ``alt``; CLNSIG, CLNREVSTAT, ONC, ONCREVSTAT, SCI,
            ORIGIN, MC, GENEINFO as text or null; then features as Float64.
        source: name and release.
        classification: the question that labels answer.

    Returns:
        LABELS, and for each row its :class:`Significance`. Only pathogenic or oncogenic, and
        benign, are labels.
    """
    class_key, review_key = CLINVAR_KEYS[classification]
    said = _each(records[class_key].fill_null(""), significance, pl.String())
    if classification is Classification.GERMLINE:
        said = _of_cancer_apart(said, records)
    features = records.columns[12:]
    table = records.select(
        "chrom", "pos", "ref", "alt",
        label=pl.when(said.is_in([*_POSITIVE]))
        .then(True)
        .when(said == Significance.BENIGN)
        .then(False),
        effect=pl.lit(None, pl.Float64()),
        # All genes of a variant: what shares one is not independent.
        group=pl.col("GENEINFO").str.replace_all(":[^|]*", ""),
        consequence=most_severe_of(records["MC"]),
        stars=_each(records[review_key], stars, pl.UInt8()),
        source=pl.lit(source),
        **{name: pl.col(name) for name in features},
    )  # fmt: skip
    return check_labels(table), said


def _of_cancer_apart(said: pl.Series, records: pl.DataFrame) -> pl.Series:
    """What germline classifications say, without what is said of tumours.

    Since 2024 ClinVar keeps oncogenicity (ONC) and somatic clinical impact (SCI) beside the
    germline classification, and many records have nothing else. Earlier submissions put them all
    into CLNSIG; their ORIGIN, a sum of bits, then says that the allele was seen only in tumours.
    """
    origin = pl.col("ORIGIN").cast(pl.Int64, strict=False).fill_null(0)
    is_somatic = (origin - (origin & _SAYS_NOTHING)) == _SEEN_SOMATIC
    has_class = said != Significance.OTHER
    return records.select(
        pl.when(has_class & is_somatic)
        .then(pl.lit(Significance.SOMATIC.value))
        .when(has_class)
        .then(said)
        .when(pl.col("ONC").is_not_null())
        .then(pl.lit(Significance.ONCOGENICITY.value))
        .when(pl.col("SCI").is_not_null())
        .then(pl.lit(Significance.SOMATIC.value))
        .otherwise(said)
    ).to_series()


def _each(values: pl.Series, meaning: Callable[[str], object], dtype: pl.DataType) -> pl.Series:
    """The meaning of each value; asked once for each spelling, and null stays null."""
    spelled = values.drop_nulls().unique().to_list()
    return values.replace_strict(
        [*spelled, None], [*map(meaning, spelled), None], return_dtype=dtype
    )


# Any table ----------------------------------------------------------------------------------------

_YES = ("1", "true", "t", "yes", "y", "positive", "pos", "pathogenic", "likely_pathogenic",
        "causal", "case", "p", "lp", "dm")  # fmt: skip
_NO = ("0", "false", "f", "no", "n", "negative", "neg", "benign", "likely_benign", "neutral",
       "control", "b", "lb")  # fmt: skip


def truth(
    values: pl.Series, name: str, positive: Sequence[str] = (), negative: Sequence[str] = ()
) -> pl.Series:
    """Labels of a column of text.

    Args:
        values: of the column, null where nothing is said.
        name: of the file, for messages.
        positive: values of positives; the usual words (1, true, pathogenic, ...) if there are none.
        negative: values of negatives. With only positives given, every other value is negative;
            with both, every other value is unlabelled.

    Raises:
        InputError: a value is none of the usual words.
    """
    if negative and not positive:
        raise InputError(f"{name}: --negative was given without --positive; give both")
    if positive:
        is_positive = values.is_in([*positive])
        is_negative = values.is_in([*negative]) if negative else ~is_positive
        chosen = pl.when(is_positive).then(True).when(is_negative & values.is_not_null())
        return pl.select(chosen.then(False)).to_series()
    words = values.str.to_lowercase().str.strip_chars().str.replace_all(" ", "_")
    known = dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False)
    strange = values.filter(words.is_not_null() & ~words.is_in([*known]))
    if strange.len():
        raise InputError(
            f"{name}: {strange.len()} labels are not recognised, for instance {strange[0]!r}; "
            "declare them with --positive VALUE and --negative VALUE"
        )
    return words.replace_strict(known, return_dtype=pl.Boolean)
