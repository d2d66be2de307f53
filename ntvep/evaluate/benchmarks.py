"""tables of published benchmarks, as their authors lay them out -> LABELS.

Written from what the authors publish of their columns; see ``docs/labels.md`` for what was run on
real files and what was not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from ntvep.evaluate.joining import ref_agrees
from ntvep.evaluate.labels import most_severe_of
from ntvep.evaluate.matching import MATCH_GROUP
from ntvep.genome import Reference
from ntvep.schema import LABELS, check_labels

# VEP-eval's groups and Findlay's consequences -> Sequence Ontology terms; "splice" is both sites.
_TERMS: Mapping[str, str] = {
    "missense": "missense_variant",
    "synonymous": "synonymous_variant",
    "stop gain": "stop_gained",
    "nonsense": "stop_gained",
    "stop loss": "stop_lost",
    "start loss": "start_lost",
    "intron (non-splice)": "intron_variant",
    "intronic": "intron_variant",
    "splice region": "splice_region_variant",
    "5'utr": "5_prime_UTR_variant",
    "5' utr": "5_prime_UTR_variant",
    "3'utr": "3_prime_UTR_variant",
    "3' utr": "3_prime_UTR_variant",
}
_TRUE = ("1", "1.0", "true", "t", "yes")
_SUBSTITUTION = r"^(NC_0000\d\d\.\d+):g\.(\d+)([ACGT])>([ACGT])$"


@dataclass(frozen=True)
class Layout:
    """How a benchmark's file is laid out.

    Attributes:
        title: of the benchmark, in reports.
        columns: what the file must have.
        read: rows of text -> ``chrom``, ``pos``, ``ref``, ``alt`` and what it says of LABELS; what
            is not part of the benchmark is gone.
        assembly: of its coordinates.
        is_arbitrary: which of an allele's two bases is called REF is arbitrary; the reference
            decides.
        skip: lines before the header.
    """

    title: str
    columns: tuple[str, ...]
    read: Callable[[pl.DataFrame], pl.DataFrame]
    assembly: str = "GRCh38"
    is_arbitrary: bool = False
    skip: int = 0
    optional: tuple[str, ...] = field(default=())


def _traitgym(rows: pl.DataFrame) -> pl.DataFrame:
    table = rows.select(
        "chrom",
        "pos",
        "ref",
        "alt",
        label=_is_true("label"),
        consequence=_given(rows, "consequence"),
    )
    table = table.with_columns(most_severe_of(table["consequence"]))
    if MATCH_GROUP not in rows.columns:
        return table
    # Their names of groups are text.
    groups = (rows[MATCH_GROUP].rank("dense") - 1).cast(pl.Float64)
    return table.with_columns(groups.alias(MATCH_GROUP))


def _caqtl(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(_is_true("IsUsed"), _is_true("in_peaks")).select(
        chrom="chr_hg38", pos="pos_hg38", ref="allele1", alt="allele2", label=_is_true("label"),
        effect=_given(rows, "beta"),
    )  # fmt: skip


def _dsqtl(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(_is_true("var.isused")).select(
        chrom="var.chrom", pos="var.pos", ref="var.allele1", alt="var.allele2",
        # 1 and -1.
        label=_is_true("var.label"),
        effect=_given(rows, "obs.estimate"),
    )  # fmt: skip


def _vep_eval(rows: pl.DataFrame) -> pl.DataFrame:
    groups = [name for name in rows.columns if name.startswith("group: ")]
    # Several groups of one variant: the first of the file.
    term = pl.coalesce(
        pl.lit(None, pl.String()),
        *(
            pl.when(_is_true(name)).then(pl.lit(_term(name.removeprefix("group: "))))
            for name in groups
        ),
    )
    return rows.select(
        chrom="CHROM", pos="POS", ref="REF", alt="ALT", label=_is_true("ClinVar_label"),
        consequence=term,
    )  # fmt: skip


def _brca1(rows: pl.DataFrame) -> pl.DataFrame:
    said = pl.col("func.class")
    return rows.select(
        chrom="chromosome", pos="position (hg19)", ref="reference", alt="alt",
        # Loss of function against functional; intermediate ones have no label.
        label=pl.when(said == "LOF").then(True).when(said == "FUNC").then(False),
        effect="function.score.mean",
        group=pl.lit("BRCA1"),
        consequence=_given(rows, "consequence"),
    ).with_columns(pl.col("consequence").map_elements(_term, pl.String()))  # fmt: skip


def _mavedb(rows: pl.DataFrame) -> pl.DataFrame:
    parts = pl.col("hgvs_nt").str.extract_groups(_SUBSTITUTION).struct
    # NC_ accessions are contigs of the genome; transcripts and constructs have no place on it.
    named = rows.filter(pl.col("hgvs_nt").str.contains(_SUBSTITUTION))
    return named.select(
        chrom=parts[0], pos=parts[1], ref=parts[2], alt=parts[3], effect="score",
        # urn:mavedb:00000097-s-1#12 is a variant of the assay before the #.
        group=pl.col("accession").str.split("#").list.first(),
    )  # fmt: skip


LAYOUTS: Mapping[str, Layout] = {
    "traitgym": Layout(
        "TraitGym",
        ("chrom", "pos", "ref", "alt", "label"),
        _traitgym,
        optional=("consequence", MATCH_GROUP),
    ),
    "dart-caqtl": Layout(
        "DART-Eval African caQTLs",
        ("chr_hg38", "pos_hg38", "allele1", "allele2", "IsUsed", "in_peaks", "label"),
        _caqtl,
        is_arbitrary=True,
        optional=("beta",),
    ),
    "dart-dsqtl": Layout(
        "DART-Eval Yoruban dsQTLs",
        ("var.chrom", "var.pos", "var.allele1", "var.allele2", "var.isused", "var.label"),
        _dsqtl,
        assembly="GRCh37",
        is_arbitrary=True,
        optional=("obs.estimate",),
    ),
    "vep-eval": Layout("VEP-eval", ("CHROM", "POS", "REF", "ALT", "ClinVar_label"), _vep_eval),
    "brca1": Layout(
        "BRCA1 saturation editing",
        ("chromosome", "position (hg19)", "reference", "alt", "function.score.mean", "func.class"),
        _brca1,
        assembly="GRCh37",
        skip=2,
        optional=("consequence",),
    ),
    "mavedb": Layout("MaveDB", ("accession", "hgvs_nt", "score"), _mavedb),
}


def benchmark_labels(
    rows: pl.DataFrame, layout: Layout, source: str
) -> tuple[pl.DataFrame, dict[str, int]]:
    """LABELS of a benchmark's rows, whose numbers are text still; see :func:`finished`.

    Returns:
        ``chrom`` to ``source`` and features; and how many rows are not part of it.
    """
    table = layout.read(rows)
    nothing = [pl.lit(None, c.dtype).alias(c.name) for c in LABELS if c.name not in table.columns]
    features = [name for name in table.columns if name not in {c.name for c in LABELS}]
    # Each assay of MaveDB is a set of its own.
    is_assay = layout is LAYOUTS["mavedb"]
    title = pl.format("{} {}", pl.lit(source), "group") if is_assay else pl.lit(source)
    named = table.with_columns(nothing).with_columns(title.alias("source"))
    ordered = named.select(*(c.name for c in LABELS), *features)
    return ordered, {"not_of_the_benchmark": rows.height - table.height}


def oriented(table: pl.DataFrame, reference: Reference) -> tuple[pl.DataFrame, dict[str, int]]:
    """Single-base alleles with the genome's base as REF, where the source's order is arbitrary.

    The effect, of the second allele against the first, changes its sign where they change places.

    Returns:
        LABELS; how many rows were turned (and stay), and were left out because the genome has
        neither base, or no such place.
    """
    singles = table.filter(pl.all_horizontal(pl.col("ref", "alt").str.len_bytes() == 1))
    as_it_is = ref_agrees(singles, reference)
    turned = ref_agrees(singles.with_columns(ref="alt"), reference)
    kept = singles.with_columns(_as=as_it_is, _turned=turned & ~as_it_is.fill_null(False))
    kept = kept.filter(pl.col("_as").fill_null(False) | pl.col("_turned").fill_null(False))
    by_genome = kept.with_columns(
        ref=pl.when("_turned").then("alt").otherwise("ref"),
        alt=pl.when("_turned").then("ref").otherwise("alt"),
        effect=pl.when("_turned").then(-pl.col("effect")).otherwise("effect"),
    )
    counts = {
        "no_single_base": table.height - singles.height,
        "neither_is_ref": singles.height - kept.height,
    }
    return check_labels(by_genome.drop("_as", "_turned")), counts


def _given(rows: pl.DataFrame, name: str) -> pl.Expr:
    """A column that not every release of a benchmark has."""
    return pl.col(name) if name in rows.columns else pl.lit(None, pl.String())


def _is_true(name: str) -> pl.Expr:
    """A flag, in any spelling; null where nothing is said."""
    return pl.col(name).str.to_lowercase().is_in(_TRUE)


def _term(words: str) -> str:
    """The Sequence Ontology term of a benchmark's words; the words where there is none."""
    return _TERMS.get(words.lower(), words)
