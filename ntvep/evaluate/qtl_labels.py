"""rows of GTEx's and the eQTL Catalogue's tables -> LABELS: fine-mapped variants, effects."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ntvep.errors import InputError, some
from ntvep.schema import check_labels

# The columns of tables of fine-mapping (GTEx v8: CAVIAR, DAP-G, and the 49 tissues by SuSiE and
# FINEMAP; v10, v11 and eQTL Catalogue: SuSiE) and of significant pairs, in lower case: the first
# that a table has is taken. Of the 49 tissues "variant" is named on build 37.
_SPELLINGS: Mapping[str, Sequence[str]] = {
    "variant": ("variant_hg38", "variant_id", "variant", "eqtl", "snp", "snp_id"),
    "pip": ("pip", "variant_pip", "snp_pip", "probability", "cpp", "posterior_prob"),
    "gene": ("gene_id", "gene", "phenotype_id", "molecular_trait_id"),
    "tissue": ("tissue", "tissue_id", "tissue_name"),
    "slope": ("slope", "beta"),
    "p_value": ("pval_nominal", "pvalue", "p_value"),
    "threshold": ("pval_nominal_threshold",),
    "q_value": ("qval", "q_value"),
    "AF": ("af",),
    "MAF": ("maf", "minor_allele_frequency"),
}
FREQUENCIES = ("AF", "MAF")
_VARIANT = r"^(?P<chrom>[^_]+)_(?P<pos>\d+)_(?P<ref>[^_]+)_(?P<alt>[^_]+)(?:_b(?P<build>\d+))?$"
_RELEASE = re.compile(r"[._](v\d+)[._]", re.IGNORECASE)
_DATASET = re.compile(r"QTD\d{6}")
# leafcutter's name of a cluster of introns, then the gene: chr1:15947:16607:clu_40980_-:ENSG...
_CLUSTER = r":clu_[^:]*:([^:]+)$"
# What only tables of one row per gene have, significant or not.
_EGENES = frozenset({"beta_shape1", "pval_perm", "num_var"})


@dataclass(frozen=True)
class Study:
    """Where a table comes from, as reports say it.

    Attributes:
        name: ``GTEx`` or ``eQTL Catalogue``.
        release: ``v10``, or the data set of the Catalogue; empty where the name does not tell.
        phenotype: ``eQTLs``, ``sQTLs`` or ``QTLs``.
    """

    name: str
    release: str
    phenotype: str

    def title(self, what: str) -> str:
        """Name of the source: ``GTEx v10 fine-mapped eQTLs``."""
        return " ".join(filter(None, (self.name, self.release, what, self.phenotype)))


def study_of(first_rows: pl.DataFrame, file_name: str) -> Study:
    """What a table is of, told by its columns, its names of phenotypes and its file's name.

    Args:
        first_rows: some rows, with the file's own columns.
        file_name: of the file.
    """
    lower = {column.lower().lstrip("#"): column for column in first_rows.columns}
    release = _RELEASE.search(file_name)
    if "molecular_trait_id" in lower:
        dataset = _DATASET.search(file_name)
        traits = first_rows[lower["molecular_trait_id"]]
        genes = first_rows[lower["gene_id"]] if "gene_id" in lower else None
        of_genes = genes is not None and (traits == genes).all()
        phenotype = "eQTLs" if of_genes else "QTLs"
        return Study("eQTL Catalogue", dataset[0] if dataset else "", phenotype)
    named = (
        "phenotype_id" in lower
        and first_rows[lower["phenotype_id"]].cast(pl.String).str.contains(":clu_").any()
    )
    is_splicing = bool(named) or "sqtl" in file_name.lower()
    # GTEx_49tissues_release1 is a release of the fine-mapping, made from GTEx v8.
    from_v8 = "variant_hg38" in lower and "cohort" in lower
    version = release[1].lower() if release else "v8" if from_v8 else ""
    return Study("GTEx", version, "sQTLs" if is_splicing else "eQTLs")


def columns(
    names: Collection[str], needed: Sequence[str], name: str, optional: Sequence[str] = ()
) -> dict[str, str]:
    """Our names of what a table holds -> its own.

    Args:
        names: its columns.
        needed: our names of what must be there.
        name: of the file, for messages.
        optional: our names of what is taken where it is there.

    Raises:
        InputError: a needed column is missing (lists what there is), or there is no header.
    """
    if any(re.match(_VARIANT, column) for column in names):
        raise InputError(
            f"{name}: has no header: its first line is data ({some(names)}). DAP-G's files "
            "CS95.txt.gz and .vcf.gz keep all PIPs of a variant in one field; give the table "
            "beside them in the archive, GTEx_v8_finemapping_DAPG.txt.gz, whose header has "
            "variant_pip"
        )
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


def says_significance(names: Collection[str], name: str) -> bool:
    """Whether a table of pairs says which are significant: by a limit, a q-value, or a rank.

    Raises:
        InputError: it has a row for each gene that was tested (``egenes``), of which many have no
            QTL, and no q-value.
    """
    lower = {column.lower().lstrip("#") for column in names}
    has_q = bool(lower & {*_SPELLINGS["q_value"]})
    # Conditionally independent eQTLs have a rank, and are significant all of them.
    if lower & _EGENES and "rank" not in lower and not has_q:
        raise InputError(
            f"{name}: has a row for each tested gene, significant or not, but no q-value "
            f"(looked for {', '.join(_SPELLINGS['q_value'])}); give egenes with qval, or "
            "signif_pairs"
        )
    return has_q or "rank" in lower or bool(lower & {*_SPELLINGS["threshold"]})


def finemapped(
    pairs: pl.LazyFrame, source: str, *, positive_pip: float, negative_pip: float
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Labels of fine-mapped variants: causal for a gene in some tissue, or in none that was tested.

    A low PIP is not a clean negative: fine-mapping may give little to each of several variants in
    linkage disequilibrium. What is between the two limits has no label.

    Args:
        pairs: ``variant``, ``pip``, ``gene``: a row for each variant, gene, tissue and method;
            ``AF`` and ``MAF`` where there are any.
        source: name and release.
        positive_pip: a variant is positive if its largest PIP is this or more.
        negative_pip: it is negative if its largest PIP is this or less.

    Returns:
        LABELS, the group being the gene of the largest PIP, the frequency that of its row; and how
        many pairs were not written, and why.

    Raises:
        InputError: a PIP is not in 0 to 1.
    """
    label = (
        pl.when(pl.col("pip") >= positive_pip)
        .then(True)
        .when(pl.col("pip") <= negative_pip)
        .then(False)
    )
    names = pairs.collect_schema().names()
    said = {"group": "gene"} | {name: name for name in FREQUENCIES if name in names}
    best = (
        pairs.group_by("variant")
        .agg(
            pl.col("pip").fill_nan(None).max(),
            *(
                pl.col(theirs).sort_by(-pl.col("pip"), "gene", nulls_last=True).first().alias(ours)
                for ours, theirs in said.items()
            ),
            lowest=pl.col("pip").fill_nan(None).min(),
            pairs=pl.len(),
        )
        .with_columns(label=label, effect=pl.lit(None, pl.Float64()))
        .collect(engine="streaming")
    )
    impossible = best.filter((pl.col("pip") > 1) | (pl.col("lowest") < 0))
    if impossible.height:
        variant, highest, lowest = impossible.select("variant", "pip", "lowest").row(0)
        raise InputError(
            f"{source}: {variant} has a PIP of {highest if highest > 1 else lowest}; expected "
            "probabilities, 0 to 1"
        )
    return _labels(best, source, [name for name in FREQUENCIES if name in names])


def pairs(
    table: pl.LazyFrame, source: str, *, max_q: float = 0.05
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Effects of QTLs: ``slope``, of ALT against REF, as the source has it.

    Args:
        table: ``variant``, ``slope``, ``gene``; where there are any: ``p_value``, its
            ``threshold`` and ``q_value`` (a pair above either is left out), ``AF``, ``MAF``.
        source: name and release.
        max_q: the largest q-value of a significant row.

    Returns:
        LABELS without labels: of each variant the pair with the smallest p-value (else the
        steepest slope). And how many pairs were not written, and why.
    """
    names = table.collect_schema().names()
    limits = []
    if "q_value" in names:
        limits.append(pl.col("q_value").is_not_null() & ~(pl.col("q_value") <= max_q))
    if {"p_value", "threshold"} <= {*names}:
        limits.append(pl.col("p_value") > pl.col("threshold"))
    is_weak = pl.any_horizontal(limits).fill_null(False) if limits else pl.lit(False)
    weak = int(table.select(is_weak.sum()).collect(engine="streaming").item())
    strong = table.filter(~is_weak)
    steepness = -pl.col("slope").abs()
    strength = pl.col("p_value") if "p_value" in names else steepness
    said = {"effect": "slope", "group": "gene"} | {f: f for f in FREQUENCIES if f in names}
    best = strong.group_by("variant").agg(
        *(
            pl.col(theirs).sort_by(strength, steepness, "gene", nulls_last=True).first().alias(ours)
            for ours, theirs in said.items()
        ),
        label=pl.lit(None, pl.Boolean()),
        pairs=pl.len(),
    )
    features = [name for name in FREQUENCIES if name in names]
    labels, left_out = _labels(best.collect(engine="streaming"), source, features)
    return labels, {"not_significant": weak} | left_out


def _labels(
    variants: pl.DataFrame, source: str, features: Sequence[str]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """LABELS with one row per variant, which represents that many ``pairs``."""
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
            f"{source}: variants of build {' and '.join(builds)}; expected only _b38. GTEx v7 is "
            "on build 37: take v8 or later"
        )
    table = split.select(
        "chrom",
        pl.col("pos").cast(pl.Int64),
        "ref",
        "alt",
        "label",
        pl.col("effect").cast(pl.Float64).fill_nan(None),
        pl.coalesce(pl.col("group").str.extract(_CLUSTER), "group").alias("group"),
        consequence=pl.lit(None, pl.String()),
        stars=pl.lit(None, pl.UInt8()),
        source=pl.lit(source),
        **{name: pl.col(name).cast(pl.Float64).fill_nan(None) for name in features},
    )
    for name in ("effect", *features):
        infinite = split.filter(table[name].is_infinite().fill_null(False))
        if infinite.height:
            raise InputError(
                f"{source}: {infinite['variant'][0]} has an infinite {name}, as have "
                f"{infinite.height} variants; expected finite numbers"
            )
    counted, of_named = int(variants["pairs"].sum()), int(named["pairs"].sum())
    left_out = {"weaker_pair": of_named - named.height, "no_variant": counted - of_named}
    return check_labels(table.sort("chrom", "pos", "ref", "alt")), left_out
