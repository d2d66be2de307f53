"""joined labels -> what a trivial rule would say of each variant, and what kind of variant it is.

A score is worth what it adds to these. None of them looks at a label, and each has its sign fixed
here: a rule that is flipped until it fits is not a baseline.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int, UInt8

from ntvep import dna, windows
from ntvep.evaluate.consequences import SEVERITY
from ntvep.genome import Reference

_ALLELE = ("pos", "ref", "alt")
TYPES = ("SNV", "MNV", "insertion", "deletion")
# Bases of a contig that are looked at together.
_BLOCK = 1 << 20

MUTATION_CLASSES: Mapping[int, str] = {
    0: "CpG transition",
    1: "CpG transversion",
    2: "other transition",
    3: "other transversion",
}
"""SNVs by falling rate of de novo mutation in people (Kong et al. 2012, Nature 488:471)."""


def add_baselines(table: pl.DataFrame, reference: Reference | None = None) -> pl.DataFrame:
    """Add ``variant_type`` and the baselines to a joined table, whose alleles are of A, C, G, T.

    ``consequence_rank`` (0 is most severe; null without a known consequence), ``allele_length``
    (bases that go or come, whichever are more), and with a reference ``mutation_class`` (of SNVs,
    number in :data:`MUTATION_CLASSES`) and ``end_distance`` (bases to the nearer end of the contig,
    or of the slice of it that the reference has).
    """
    edits = _edits(table)
    gone, come = edits["gone"].str.len_bytes(), edits["come"].str.len_bytes()
    is_snv = (gone == 1) & (come == 1)
    kind = pl.DataFrame({"gone": gone, "come": come, "is_snv": is_snv}).select(
        pl.when("is_snv")
        .then(pl.lit("SNV"))
        .when(pl.col("gone") == pl.col("come"))
        .then(pl.lit("MNV"))
        .when(pl.col("come") > pl.col("gone"))
        .then(pl.lit("insertion"))
        .otherwise(pl.lit("deletion"))
        .cast(pl.Enum(TYPES))
        .alias("variant_type"),
        pl.max_horizontal("gone", "come").cast(pl.Float64).alias("allele_length"),
    )
    rank = table["consequence"].replace_strict(SEVERITY, default=None, return_dtype=pl.Float64)
    table = table.with_columns(rank.alias("consequence_rank"), *kind)
    if reference is None:
        return table
    classes, distance = _on_reference(table["chrom"], edits, is_snv.to_numpy(), reference)
    return table.with_columns(
        pl.Series("mutation_class", classes, nan_to_null=True),
        pl.Series("end_distance", distance, nan_to_null=True),
    )


def _edits(table: pl.DataFrame) -> pl.DataFrame:
    """Trimmed alleles: ``start`` (0-based), ``gone``, ``come``. Single bases stay as they are."""
    edits = table.select(
        start=windows.first_base(pl.col("pos")),
        gone=pl.col("ref").str.to_uppercase(),
        come=pl.col("alt").str.to_uppercase(),
    )
    is_longer = pl.any_horizontal(pl.col("ref", "alt").str.len_bytes() > 1)
    longer = table.select(*_ALLELE, row=pl.int_range(pl.len(), dtype=pl.UInt32)).filter(is_longer)
    trimmed = []
    for pos, ref, alt, row in longer.iter_rows():
        edit = windows.trim(pos, ref, alt)
        trimmed.append((row, edit.start, dna.decode(edit.ref), dna.decode(edit.alt)))
    schema = {"row": pl.UInt32, "start": pl.Int64, "gone": pl.String, "come": pl.String}
    found = pl.DataFrame(trimmed, schema=schema, orient="row")
    return edits.with_row_index("row").update(found, "row").drop("row")


def _on_reference(
    chrom: pl.Series,
    edits: pl.DataFrame,
    is_snv: Bool[np.ndarray, " variant"],
    reference: Reference,
) -> tuple[Float[np.ndarray, " variant"], Float[np.ndarray, " variant"]]:
    """Mutation class of each SNV and distance to the end; NaN where there is none."""
    classes, distance = np.full((2, len(chrom)), np.nan)
    start = edits["start"].to_numpy()
    ref, alt = (_codes(edits[side], is_snv) for side in ("gone", "come"))
    for (name,), rows in pl.DataFrame({"chrom": chrom}).with_row_index().group_by("chrom"):
        of_contig = rows["index"].to_numpy()
        for span in reference.spans(str(name)):
            inside = of_contig[(span.start <= start[of_contig]) & (start[of_contig] < span.stop)]
            distance[inside] = np.minimum(start[inside] - span.start, span.stop - 1 - start[inside])
            snvs = inside[is_snv[inside]]
            block = start[snvs] // _BLOCK
            for number in np.unique(block):
                here = snvs[block == number]
                first = max(span.start, int(start[here].min()) - 1)
                last = min(span.stop, int(start[here].max()) + 2)
                # N fills what is beyond an end.
                bases = np.pad(reference.fetch(str(name), first, last), 1, constant_values=dna.N)
                at = start[here] - first + 1
                classes[here] = _class(bases[at - 1], ref[here], alt[here], bases[at + 1])
    return classes, distance


def _codes(
    letters: pl.Series, single: Bool[np.ndarray, " variant"]
) -> UInt8[np.ndarray, " variant"]:
    """Code of each single base; N elsewhere."""
    codes = np.full(len(letters), dna.N, np.uint8)
    codes[single] = dna.encode(letters.filter(pl.Series(single)).str.join("").item())
    return codes


def _class(
    before: UInt8[np.ndarray, " variant"],
    ref: UInt8[np.ndarray, " variant"],
    alt: UInt8[np.ndarray, " variant"],
    after: UInt8[np.ndarray, " variant"],
) -> Int[np.ndarray, " variant"]:
    a, c, g, t = range(4)
    in_cpg = ((ref == c) & (after == g)) | ((before == c) & (ref == g))
    partner = np.array([g, t, a, c, dna.N], np.uint8)
    is_transition = partner[ref] == alt
    return np.where(in_cpg, np.where(is_transition, 0, 1), np.where(is_transition, 2, 3))
