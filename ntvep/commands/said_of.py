"""alleles, files of labels -> what each allele is called: ``--labels`` of tables and pages."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from ntvep.commands.score_files import VCF_SUFFIXES
from ntvep.errors import InputError
from ntvep.evaluate import labels as sources
from ntvep.evaluate.joining import canonical_contigs, join
from ntvep.genome import Reference
from ntvep.io.tables import read_labels
from ntvep.io.vcf_info import STATUS, alleles_with_info
from ntvep.schema import Status

_ALLELE = ("chrom", "pos", "ref", "alt")
_CLINVAR_KEYS = ("CLNSIG", "CLNREVSTAT", "ONC", "ONCREVSTAT", "SCI", "ORIGIN", "MC", "GENEINFO")
SAID = pl.Schema(
    {
        "significance": pl.String(),
        "stars": pl.UInt8(),
        "label_source": pl.String(),
        "label_gene": pl.String(),
        "label_consequence": pl.String(),
    }
)
"""Columns of :func:`said_of`."""
# Alleles of a source as near as this to one of ours may be the same, spelled otherwise.
_NEAR = 1000
# Number of a record, which is carried through the join as if it were a feature.
_NUMBER = "_number"


def said_of(
    alleles: pl.DataFrame,
    files: Sequence[Path],
    reference: Reference | None,
    ref_mismatch_limit: float = 0.01,
) -> pl.DataFrame:
    """What the first of these files that has an allele says of it: :data:`SAID`, null elsewhere.

    Args:
        alleles: ``chrom``, ``pos``, ``ref``, ``alt``, ``status``.
        files: LABELS that ``ntvep labels`` wrote, or ClinVar's VCF.
        reference: left-aligns indels, so that other spellings of them are found.
        ref_mismatch_limit: as in :func:`ntvep.evaluate.joining.join`.

    Raises:
        InputError: a file is neither.
        ReferenceMismatchError: it is of another assembly.
    """
    numbered = alleles.select(*_ALLELE, "status").with_row_index("row")
    said = numbered.select("row", *(pl.lit(None, d).alias(name) for name, d in SAID.items()))
    for path in files:
        is_vcf = path.name.endswith(VCF_SUFFIXES)
        table, words = _of_clinvar(path, alleles) if is_vcf else _of_labels(path)
        joined = join(numbered, table, reference, ref_mismatch_limit=ref_mismatch_limit).table
        number = pl.col(_NUMBER).cast(pl.Int64)
        found = joined.select(
            "row",
            significance=number.replace_strict(
                range(len(words)), words, default=None, return_dtype=pl.String
            ),
            stars="stars",
            label_source="source",
            label_gene=pl.col("group").str.replace_all("|", ", ", literal=True),
            label_consequence="consequence",
        ).unique("row", keep="first", maintain_order=True)
        said = said.join(found, "row", how="left", maintain_order="left", suffix=" (file)")
        none_yet = pl.col("label_source").is_null()
        said = said.select(
            "row",
            *(
                pl.when(none_yet).then(f"{name} (file)").otherwise(name).alias(name)
                for name in SAID
            ),
        )
    return said.drop("row")


def in_words(clnsig: pl.Expr) -> pl.Expr:
    """``Likely_pathogenic|risk_factor`` as people write it."""
    return clnsig.str.replace_all("_", " ").str.replace_all(r"\|", "; ")


def _of_labels(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """LABELS with numbers of what they are called."""
    table = read_labels(path)
    is_clinvar = table["source"].str.starts_with("ClinVar")
    words = ["positive", "negative", "pathogenic", "benign", "uncertain, conflicting or other"]
    number = (
        pl.when(pl.col("label")).then(0).when(~pl.col("label")).then(1).otherwise(2)
        + pl.when(is_clinvar).then(2).otherwise(0)
    )  # fmt: skip
    has_class = pl.col("label").is_not_null() | is_clinvar
    return table.with_columns(
        pl.when(has_class).then(number).cast(pl.Float64).alias(_NUMBER)
    ), words


def _of_clinvar(path: Path, alleles: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """ClinVar's records near the alleles as LABELS, with numbers of what they are called."""
    block = pl.col("pos") // _NEAR
    near = pl.concat(
        _on_contigs(alleles).select("contig", block=block + shift) for shift in (-1, 0, 1)
    ).unique()
    with alleles_with_info(path, _CLINVAR_KEYS, whole=["MC"]) as (release, chunks):
        parts = _near(chunks, near)
        if not parts or not sum(part["CLNSIG"].count() for part in parts):
            raise InputError(
                f"{path}: none of its records near a scored one has CLNSIG; expected ClinVar's "
                "VCF of the same assembly, or LABELS. Make labels from another VCF with: ntvep "
                f"labels table {path} -o labels.parquet"
            )
    records = pl.concat(parts)
    words = records["CLNSIG"].drop_nulls().unique(maintain_order=True).to_list()
    numbers = pl.Series(words, dtype=pl.String).to_frame("CLNSIG").with_row_index(_NUMBER)
    named = records.join(numbers, "CLNSIG", how="left", maintain_order="left").select(
        *_ALLELE, *_CLINVAR_KEYS, pl.col(_NUMBER).cast(pl.Float64)
    )
    source = f"ClinVar {release}" if release else path.name
    labels, _ = sources.clinvar(named, source)
    return labels, pl.DataFrame({"w": words}).select(in_words(pl.col("w"))).to_series().to_list()


def _near(chunks: Iterable[pl.DataFrame], near: pl.DataFrame) -> list[pl.DataFrame]:
    parts = []
    for chunk in chunks:
        placed = _on_contigs(chunk).with_columns(block=pl.col("pos") // _NEAR)
        kept = placed.join(near, ["contig", "block"], how="semi")
        parts.append(kept.filter(pl.col(STATUS) != Status.NO_ALT))
    return parts


def _on_contigs(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(contig=canonical_contigs(table["chrom"]))
