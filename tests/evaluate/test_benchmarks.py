"""Benchmarks in synthetic files of their published layouts; the real files were not at hand."""

import polars as pl
import pytest

from ntvep.commands.benchmark import label_benchmark
from ntvep.errors import ConfigError, InputError
from ntvep.evaluate.benchmarks import LAYOUTS
from ntvep.io.tables import read_labels
from ntvep.schema import LABELS


def read(tmp_path, name, source, **options):
    counts = label_benchmark(
        name, source, tmp_path / "out.parquet", command="", force=True, **options
    )
    table = read_labels(tmp_path / "out.parquet")
    assert counts.read == counts.written + counts.left_out.total()
    return table, counts


def fasta(tmp_path, contig="ACGTACGTAC"):
    (tmp_path / "g.fa").write_text(f">chr1\n{contig}\n")
    return tmp_path / "g.fa"


def test_traitgym_and_its_subsets(tmp_path):
    frame = pl.DataFrame(
        {
            "chrom": ["1", "1", "X", "1"], "pos": [5, 6, 7, 8], "ref": ["A"] * 4, "alt": ["C"] * 4,
            "label": [True, False, False, True],
            "consequence": ["dELS", "5_prime_UTR_variant", "PLS", "dELS"],
            "match_group": ["dELS_10", "dELS_10", "PLS_2", "dELS_9"], "tss_dist": [1, 2, 3, 4],
        }
    )  # fmt: skip
    frame.write_parquet(tmp_path / "test.parquet")
    table, _ = read(tmp_path, "traitgym", tmp_path / "test.parquet")
    assert table.columns == [*(c.name for c in LABELS), "match_group"]
    assert table.select("chrom", "pos", "label", "consequence").rows() == [
        ("1", 5, True, "dELS"),
        ("1", 6, False, "5_prime_UTR_variant"),
        ("X", 7, False, "PLS"),
        ("1", 8, True, "dELS"),
    ]
    group = table["match_group"].to_list()
    assert group[0] == group[1]
    assert len({*group}) == 3
    assert table["source"].unique().to_list() == ["TraitGym test"]
    frame.select("chrom", "pos", "ref", "alt")[1:].write_parquet(tmp_path / "disease.parquet")
    table, counts = read(
        tmp_path, "traitgym", tmp_path / "test.parquet", subset=[tmp_path / "disease.parquet"]
    )
    assert table["pos"].to_list() == [6, 7, 8]
    assert counts.left_out == {"not_in_disease.parquet": 1}
    frame.drop("match_group", "consequence").write_parquet(tmp_path / "test.parquet")
    table, _ = read(tmp_path, "traitgym", tmp_path / "test.parquet")
    assert table.columns == [c.name for c in LABELS]


CAQTL = """\
chr_hg38	pos_hg38	allele1	allele2	pval	beta	IsUsed	in_peaks	label
chr1	1	A	G	1e-9	0.5	True	True	True
chr1	2	T	C	1e-9	0.25	True	True	True
chr1	3	A	T	0.5	0.1	True	True	False
chr1	4	T	G	0.5	0.1	True	False	False
chr1	4	T	G	0.5	0.1	False	True	False
chr1	90	T	G	0.5	0.1	True	True	False
chr1	4	TA	T	0.5	0.1	True	True	False
chr1	5	A	G	0.5	NA	True	True	False
"""


def test_dart_eval_caqtls_are_turned_to_the_genome(tmp_path):
    """The genome is ACGTACGTAC: of the second row C is REF, and the effect changes its sign."""
    (tmp_path / "Afr.CaQTLS.tsv").write_text(CAQTL)
    source = tmp_path / "Afr.CaQTLS.tsv"
    table, counts = read(tmp_path, "dart-caqtl", source, reference=fasta(tmp_path))
    assert table.select("pos", "ref", "alt", "label", "effect").rows() == [
        (1, "A", "G", True, 0.5),
        (2, "C", "T", True, -0.25),
        (5, "A", "G", False, None),
    ]
    assert counts.left_out == {
        "not_of_the_benchmark": 2, "neither_is_ref": 2, "no_single_base": 1,
    }  # fmt: skip
    assert table["source"][0] == "DART-Eval African caQTLs Afr"
    with pytest.raises(ConfigError, match=r"arbitrary in this file; give --reference FASTA of GRC"):
        read(tmp_path, "dart-caqtl", source)


def test_dart_eval_dsqtls(tmp_path):
    (tmp_path / "yoruban.tsv").write_text(
        "var.chrom\tvar.pos\tvar.allele1\tvar.allele2\tvar.isused\tvar.label\tobs.estimate\n"
        "chr1\t1\tG\tA\t1\t1\t0.5\nchr1\t2\tC\tG\t1\t-1\tNA\nchr1\t3\tG\tA\t0\t1\t1\n"
    )
    table, _ = read(tmp_path, "dart-dsqtl", tmp_path / "yoruban.tsv", reference=fasta(tmp_path))
    assert table.select("pos", "ref", "alt", "label", "effect").rows() == [
        (1, "A", "G", True, -0.5),
        (2, "C", "G", False, None),
    ]


def test_vep_eval(tmp_path):
    (tmp_path / "clinvar.csv").write_text(
        "#CHROM,POS,REF,ALT,ClinVar_label,PhyloP,group: missense,group: splice,group: 5'UTR\n"
        "17,5,A,C,1,2.5,1,0,0\n17,6,A,C,0,1.5,0,1,0\n17,7,A,C,0,,0,0,1\n17,8,A,C,0,,0,0,0\n"
    )
    table, _ = read(tmp_path, "vep-eval", tmp_path / "clinvar.csv")
    assert table.select("chrom", "pos", "label", "consequence").rows() == [
        ("17", 5, True, "missense_variant"),
        ("17", 6, False, "splice"),
        ("17", 7, False, "5_prime_UTR_variant"),
        ("17", 8, False, None),
    ]


BRCA1 = """\
"Supplementary Table 1, saturation genome editing",,,,,,,
,,,,,,,
gene,chromosome,position (hg19),reference,alt,consequence,function.score.mean,func.class
BRCA1,17,41276135,T,G,Missense,-2.5,LOF
BRCA1,17,41276135,T,C,Nonsense,0.125,FUNC
BRCA1,17,41276134,T,C,Canonical splice,-1.0,INT
"""


def test_brca1(tmp_path):
    """The sheet as CSV: two lines stand before its header."""
    (tmp_path / "sge.csv").write_text(BRCA1)
    table, counts = read(tmp_path, "brca1", tmp_path / "sge.csv")
    assert table.select("pos", "alt", "label", "effect", "group", "consequence").rows() == [
        (41276135, "G", True, -2.5, "BRCA1", "missense_variant"),
        (41276135, "C", False, 0.125, "BRCA1", "stop_gained"),
        (41276134, "C", None, -1.0, "BRCA1", "Canonical splice"),
    ]
    assert (counts.positive, counts.negative, counts.unlabelled) == (1, 1, 1)


def test_mavedb(tmp_path):
    """Substitutions on the genome; each assay is a set of its own."""
    (tmp_path / "scores.csv").write_text(
        "accession,hgvs_nt,hgvs_splice,hgvs_pro,score\n"
        "urn:mavedb:00000001-a-1#1,NC_000017.11:g.43045682T>A,NA,p.Gly1Phe,0.5\n"
        "urn:mavedb:00000001-a-1#2,c.5G>A,NA,p.Gly1Trp,-0.25\n"
        "urn:mavedb:00000001-a-1#3,NC_000017.11:g.43045682del,NA,NA,1\n"
        "urn:mavedb:00000002-a-1#1,NC_000023.11:g.9A>C,NA,NA,NA\n"
    )
    table, counts = read(tmp_path, "mavedb", tmp_path / "scores.csv")
    assert table.select("chrom", "pos", "ref", "alt", "effect", "group", "source").rows() == [
        ("NC_000017.11", 43045682, "T", "A", 0.5, "urn:mavedb:00000001-a-1",
         "MaveDB scores urn:mavedb:00000001-a-1"),
        ("NC_000023.11", 9, "A", "C", None, "urn:mavedb:00000002-a-1",
         "MaveDB scores urn:mavedb:00000002-a-1"),
    ]  # fmt: skip
    assert counts.left_out == {"not_of_the_benchmark": 2}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_other_files_are_refused(tmp_path, name):
    (tmp_path / "x.tsv").write_text("a\tb\n1\t2\n" * 3)
    given = {"reference": fasta(tmp_path)} if LAYOUTS[name].is_arbitrary else {}
    with pytest.raises(InputError, match=r"x.tsv: has no column .*; found .* its header in line"):
        read(tmp_path, name, tmp_path / "x.tsv", **given)
    assert not (tmp_path / "out.parquet").exists()
    with pytest.raises(ConfigError, match="bend: unknown benchmark; expected traitgym"):
        read(tmp_path, "bend", tmp_path / "x.tsv")
