"""Baselines, worked out by hand."""

import polars as pl

from ntvep.evaluate.baselines import MUTATION_CLASSES, add_baselines
from tests.toy import Genome

#         0123456789012
GENOME = "ACGTTCATCGGNA"


def table(*alleles):
    return pl.DataFrame(
        [("chr1", pos, ref, alt, consequence) for pos, ref, alt, consequence in alleles],
        schema={"chrom": str, "pos": int, "ref": str, "alt": str, "consequence": str},
        orient="row",
    )


def test_types_lengths_and_consequences():
    found = add_baselines(
        table(
            (2, "C", "T", "transcript_ablation"),
            (2, "CG", "CA", "intergenic_variant"),
            (2, "CG", "TA", None),
            (2, "C", "CAAA", "no such term"),
            (1, "ACG", "A", "splice_acceptor_variant"),
            (1, "ACGT", "TT", None),
        )
    )
    types = ["SNV", "SNV", "MNV", "insertion", "deletion", "deletion"]
    assert found["variant_type"].to_list() == types
    # ACGT>TT is ACG>T once the shared T is gone.
    assert found["allele_length"].to_list() == [1, 1, 2, 3, 2, 3]
    rank = found["consequence_rank"].to_list()
    assert rank[0] == 0
    assert rank[4] == 1
    assert rank[1] > 30
    assert rank[2:4] == [None, None]


def test_mutation_class_is_that_of_the_trinucleotide_on_either_strand():
    found = add_baselines(
        table(
            (2, "C", "T", None),  # aCg: CpG transition
            (3, "G", "A", None),  # cGt: the same on the other strand
            (3, "g", "c", None),  # CpG transversion, soft-masked
            (6, "C", "T", None),  # tCa: other transition
            (4, "T", "A", None),  # other transversion
            (1, "AC", "AT", None),  # the first one, spelled with a base before it
            (2, "C", "CA", None),  # no SNV
            (1, "A", "G", None),  # at the contig's end
            (99, "A", "G", None),  # behind it
        ),
        Genome({"chr1": GENOME}),
    )
    names = [None if c is None else MUTATION_CLASSES[c] for c in found["mutation_class"]]
    assert names == [
        "CpG transition",
        "CpG transition",
        "CpG transversion",
        "other transition",
        "other transversion",
        "CpG transition",
        None,
        "other transition",
        None,
    ]
    assert found["end_distance"].to_list() == [1, 2, 2, 5, 3, 1, 2, 0, None]
