"""what a source of labels says of an allele -> LABELS: one meaning for each spelling."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum

import polars as pl

from ntvep.errors import InputError, some
from ntvep.evaluate.consequences import SEVERITY
from ntvep.schema import check_labels

# ClinVar ------------------------------------------------------------------------------------------


class Significance(StrEnum):
    """What ClinVar says of a variant, in the classes that an evaluation needs."""

    PATHOGENIC = "pathogenic"
    BENIGN = "benign"
    CONFLICTING = "conflicting"
    UNCERTAIN = "uncertain"
    OTHER = "other"


# Terms of the classification of Mendelian variants, in today's spelling, in that of VCFs before
# 2017 (the numbers) and of dbSNP's first.
_TERMS: Mapping[str, Significance] = {
    spelling: significance
    for significance, spellings in {
        Significance.PATHOGENIC: (
            "pathogenic", "likely_pathogenic", "pathologic", "probable_pathogenic", "4", "5",
        ),
        Significance.BENIGN: (
            "benign", "likely_benign", "non_pathogenic", "probable_non_pathogenic", "2", "3",
        ),
        Significance.CONFLICTING: (
            "conflicting_classifications_of_pathogenicity",
            "conflicting_interpretations_of_pathogenicity",
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
    """What a CLNSIG value says, whatever else stands beside it.

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
    """Stars, 0 to 4, of a CLNREVSTAT value; None for one that ClinVar has not had so far."""
    return _STARS.get(re.sub(r"\s+", "_", clnrevstat.strip().lower()))


def most_severe(consequences: str) -> str | None:
    """The most severe term among those of an MC or VEP entry, in Ensembl's spelling and order.

    Args:
        consequences: terms joined by ``,`` or ``&``, each with or without ``SO:number|``. A term
            that Ensembl does not have counts only where no other stands beside it.
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


def clinvar(records: pl.DataFrame, source: str) -> tuple[pl.DataFrame, pl.Series]:
    """Labels of ClinVar's records.

    Args:
        records: ``chrom``, ``pos``, ``ref``, ``alt``; CLNSIG, CLNREVSTAT, MC, GENEINFO as text or
            null; then features as Float64.
        source: name and release.

    Returns:
        LABELS, and for each row its :class:`Significance`. Only pathogenic and benign are labels.
    """
    said = _each(records["CLNSIG"].fill_null(""), significance, pl.String())
    features = records.columns[8:]
    table = records.select(
        "chrom", "pos", "ref", "alt",
        label=pl.when(said == Significance.PATHOGENIC)
        .then(True)
        .when(said == Significance.BENIGN)
        .then(False),
        effect=pl.lit(None, pl.Float64()),
        group=pl.col("GENEINFO").str.extract("^([^:|]+)"),
        consequence=most_severe_of(records["MC"]),
        stars=_each(records["CLNREVSTAT"], stars, pl.UInt8()),
        source=pl.lit(source),
        **{name: pl.col(name) for name in features},
    )  # fmt: skip
    return check_labels(table), said


def _each(values: pl.Series, meaning: Callable[[str], object], dtype: pl.DataType) -> pl.Series:
    """The meaning of each value; asked once for each spelling, and null stays null."""
    spelled = values.drop_nulls().unique().to_list()
    return values.replace_strict(
        [*spelled, None], [*map(meaning, spelled), None], return_dtype=dtype
    )


# GTEx ---------------------------------------------------------------------------------------------


# The columns of tables of fine-mapping (GTEx v8: CAVIAR, DAP-G; v10: SuSiE; eQTL Catalogue) and of
# significant pairs, in lower case: the first that a table has is taken.
_SPELLINGS: Mapping[str, Sequence[str]] = {
    "variant": ("variant_id", "variant", "eqtl", "snp", "snp_id"),
    "pip": ("pip", "variant_pip", "snp_pip", "probability", "cpp", "posterior_prob"),
    "gene": ("gene_id", "gene", "phenotype_id", "molecular_trait_id"),
    "tissue": ("tissue", "tissue_id", "tissue_name"),
    "slope": ("slope", "beta"),
    "p_value": ("pval_nominal", "pvalue", "p_value"),
    "frequency": ("af", "maf"),
}
_VARIANT = r"^(?P<chrom>[^_]+)_(?P<pos>\d+)_(?P<ref>[^_]+)_(?P<alt>[^_]+)(?:_b(?P<build>\d+))?$"


def gtex_columns(
    names: Collection[str], needed: Sequence[str], name: str, optional: Sequence[str] = ()
) -> dict[str, str]:
    """Our names of what a GTEx table holds -> its own.

    Args:
        names: its columns.
        needed: our names of what must be there.
        name: of the file, for messages.
        optional: our names of what is taken where it is there.

    Raises:
        InputError: a needed column is missing; lists what there is.
    """
    lower = {column.lower().lstrip("#"): column for column in names}
    found = {}
    for wanted in (*needed, *optional):
        spelled = next((lower[s] for s in _SPELLINGS[wanted] if s in lower), None)
        if spelled is not None:
            found[wanted] = spelled
        elif wanted in needed:
            raise InputError(
                f"{name}: has no column of the {wanted} (looked for "
                f"{', '.join(_SPELLINGS[wanted])}); found {some(names)}"
            )
    return found


def gtex_finemapped(
    pairs: pl.LazyFrame, source: str, *, positive_pip: float, negative_pip: float
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Labels of fine-mapped variants: causal for a gene in some tissue, or in none that was tested.

    A low PIP is no clean negative: of variants that stand together (LD), fine-mapping may give all
    of them little. What is between the two limits has no label.

    Args:
        pairs: ``variant``, ``pip``, ``gene``: a row for each variant, gene and tissue.
        source: name and release.
        positive_pip: a variant is positive if its largest PIP is this or more.
        negative_pip: it is negative if its largest PIP is this or less.

    Returns:
        LABELS, the group being the gene of the largest PIP; and how many pairs were not written,
        and why.
    """
    label = (
        pl.when(pl.col("pip") >= positive_pip)
        .then(True)
        .when(pl.col("pip") <= negative_pip)
        .then(False)
    )
    best = (
        pairs.group_by("variant")
        .agg(
            pl.col("pip").max(),
            group=pl.col("gene").sort_by(-pl.col("pip"), "gene", nulls_last=True).first(),
            pairs=pl.len(),
        )
        .with_columns(label=label, effect=pl.lit(None, pl.Float64()))
    )
    return _gtex(best.collect(engine="streaming"), source)


def gtex_pairs(pairs: pl.LazyFrame, source: str) -> tuple[pl.DataFrame, dict[str, int]]:
    """Effects of eQTLs: ``slope``, of ALT against REF, as GTEx has it.

    Args:
        pairs: ``variant``, ``slope``, ``gene``; ``p_value`` and ``frequency`` where there are any.
        source: name and release.

    Returns:
        LABELS without labels: of each variant the pair with the smallest p-value (else the
        steepest slope); ``frequency`` becomes the feature ``AF``. And how many pairs were not
        written, and why.
    """
    names = pairs.collect_schema().names()
    steepness = -pl.col("slope").abs()
    strength = pl.col("p_value") if "p_value" in names else steepness
    said = {"slope": "effect", "gene": "group", "frequency": "AF"}
    ours = {theirs: name for theirs, name in said.items() if theirs in names}
    best = pairs.group_by("variant").agg(
        *(
            pl.col(theirs).sort_by(strength, steepness, "gene", nulls_last=True).first().alias(name)
            for theirs, name in ours.items()
        ),
        label=pl.lit(None, pl.Boolean()),
        pairs=pl.len(),
    )
    features = [name for name in ours.values() if name == "AF"]
    return _gtex(best.collect(engine="streaming"), source, features)


def _gtex(
    variants: pl.DataFrame, source: str, features: Sequence[str] = ()
) -> tuple[pl.DataFrame, dict[str, int]]:
    """LABELS of one row a variant, which stands for so many ``pairs``."""
    named = variants.drop_nulls("variant")
    split = named.with_columns(allele=pl.col("variant").str.extract_groups(_VARIANT)).unnest(
        "allele"
    )
    bad = split.filter(pl.col("chrom").is_null())
    if bad.height:
        raise InputError(
            f"{source}: {bad.height} variants are not named like chr1_13550_G_A_b38, "
            f"{bad['variant'][0]!r} for instance; expected names that hold the alleles (CAVIAR: "
            "the file ..._with_Allele.txt.gz)"
        )
    builds = split["build"].drop_nulls().unique().sort().to_list()
    if builds not in ([], ["38"]):
        raise InputError(
            f"{source}: variants of build {' and '.join(builds)}; expected _b38 alone. GTEx v7 is "
            "on build 37: take v8 or v10"
        )
    table = split.select(
        "chrom",
        pl.col("pos").cast(pl.Int64),
        "ref",
        "alt",
        "label",
        pl.col("effect").cast(pl.Float64),
        "group",
        consequence=pl.lit(None, pl.String()),
        stars=pl.lit(None, pl.UInt8()),
        source=pl.lit(source),
        **{name: pl.col(name).cast(pl.Float64) for name in features},
    )
    pairs, of_named = int(variants["pairs"].sum()), int(named["pairs"].sum())
    left_out = {"weaker_pair": of_named - named.height, "no_variant": pairs - of_named}
    return check_labels(table.sort("chrom", "pos", "ref", "alt")), left_out


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
        negative: values of negatives. With positives alone, every other value is negative; with
            both, every other value is no label.

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
            f"{name}: {strange.len()} labels are none of the usual words, {strange[0]!r} for "
            "instance; say what they mean with --positive VALUE and --negative VALUE"
        )
    return words.replace_strict(known, return_dtype=pl.Boolean)
