"""What ClinVar, GTEx and tables say of an allele is read as they mean it, and all of it counted."""

import gzip
import json
import logging

import polars as pl
import pytest

from ntvep.commands.labels import (
    TableColumns,
    label_clinvar,
    label_finemapped,
    label_pairs,
    label_table,
)
from ntvep.commands.match import match
from ntvep.errors import ConfigError, InputError
from ntvep.evaluate.consequences import SEVERITY
from ntvep.evaluate.labels import Significance, most_severe, significance, stars
from ntvep.io.tables import read_labels, read_metadata
from ntvep.io.vcf_write import bgzip_writer
from ntvep.schema import LABELS

P, B = Significance.PATHOGENIC, Significance.BENIGN
C, U, O = Significance.CONFLICTING, Significance.UNCERTAIN, Significance.OTHER  # noqa: E741


@pytest.mark.parametrize(
    ("clnsig", "expected"),
    [
        ("Pathogenic", P),
        ("Likely_pathogenic", P),
        ("Pathogenic/Likely_pathogenic", P),
        ("Pathogenic/Likely pathogenic", P),
        ("Pathogenic|other", P),
        ("Pathogenic/Likely_pathogenic|drug_response", P),
        ("Pathogenic,_low_penetrance", P),
        ("Likely pathogenic, low penetrance", P),
        ("Pathogenic/Likely_pathogenic/Pathogenic,_low_penetrance|other", P),
        ("Likely_pathogenic/Likely_risk_allele", P),
        ("PATHOGENIC", P),
        ("probable-pathogenic", P),
        ("5|5", P),
        ("5|255", P),
        ("Benign", B),
        ("Likely_benign", B),
        ("Benign/Likely_benign|association", B),
        ("non-pathogenic", B),
        ("2|3", B),
        ("Conflicting_classifications_of_pathogenicity", C),
        ("Conflicting_interpretations_of_pathogenicity|other", C),
        ("conflicting_data_from_submitters", C),
        ("5|2", C),
        ("Pathogenic|Uncertain_significance", C),
        ("Uncertain_significance", U),
        ("Uncertain_significance/Uncertain_risk_allele", U),
        ("0", U),
        ("drug_response", O),
        ("risk_factor", O),
        ("Likely_risk_allele", O),
        ("association_not_found", O),
        ("not_provided", O),
        ("255", O),
        ("", O),
    ],
)
def test_significance(clnsig, expected):
    assert significance(clnsig) is expected


@pytest.mark.parametrize(
    ("clnrevstat", "expected"),
    [
        ("practice_guideline", 4),
        ("reviewed_by_expert_panel", 3),
        ("criteria_provided,_multiple_submitters,_no_conflicts", 2),
        ("criteria provided, multiple submitters, no conflicts", 2),
        ("criteria_provided,_conflicting_classifications", 1),
        ("criteria_provided,_conflicting_interpretations", 1),
        ("criteria_provided,_single_submitter", 1),
        ("no_assertion_criteria_provided", 0),
        ("no_classification_provided", 0),
        ("single", 1),
        ("reviewed_by_a_friend", None),
    ],
)
def test_stars(clnrevstat, expected):
    assert stars(clnrevstat) == expected


@pytest.mark.parametrize(
    ("consequences", "expected"),
    [
        ("SO:0001583|missense_variant", "missense_variant"),
        ("SO:0001627|intron_variant,SO:0001587|nonsense", "stop_gained"),
        ("SO:0001582|initiator_codon_variant", "start_lost"),
        ("SO:0001820|inframe_indel,SO:0001627|intron_variant", "protein_altering_variant"),
        ("SO:0001619|non-coding_transcript_variant", "non_coding_transcript_variant"),
        ("SO:0002153|genic_upstream_transcript_variant", "upstream_gene_variant"),
        ("SO:0001623|5_prime_UTR_variant", "5_prime_UTR_variant"),
        ("splice_region_variant&intron_variant", "splice_region_variant"),
        ("loss_of_heterozygosity,intron_variant", "intron_variant"),
        ("loss_of_heterozygosity", "loss_of_heterozygosity"),
        ("", None),
    ],
)
def test_most_severe(consequences, expected):
    assert most_severe(consequences) == expected


def test_severity_is_ensembls_order():
    """Impact classes never interleave, apart from those that Ensembl itself has so."""
    assert SEVERITY["transcript_ablation"] == 0
    assert len(SEVERITY) == 41
    pairs = [
        ("splice_acceptor_variant", "splice_donor_variant"),
        ("stop_gained", "frameshift_variant"),
        ("start_lost", "inframe_insertion"),
        ("missense_variant", "splice_region_variant"),
        ("splice_region_variant", "synonymous_variant"),
        ("synonymous_variant", "5_prime_UTR_variant"),
        ("3_prime_UTR_variant", "intron_variant"),
        ("intron_variant", "intergenic_variant"),
    ]
    assert all(SEVERITY[worse] < SEVERITY[better] for worse, better in pairs)


HEADER = "##fileformat=VCFv4.1\n##fileDate={date}\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
CLINVAR = """\
1	100	1	A	C	.	.	AF_EXAC=0.25;CLNSIG=Pathogenic/Likely_pathogenic|other;\
CLNREVSTAT=criteria_provided,_multiple_submitters,_no_conflicts;GENEINFO=BRCA2:675|XYZ:1;\
MC=SO:0001583|missense_variant,SO:0001627|intron_variant
1	101	2	A	AC	.	.	CLNSIG=Benign;CLNREVSTAT=no_assertion_criteria_provided;\
GENEINFO=XYZ:1;MC=SO:0001627|intron_variant
1	102	3	A	G	.	.	CLNSIG=Uncertain_significance;CLNREVSTAT=practice_guideline
1	103	4	A	G	.	.	CLNSIG=Conflicting_classifications_of_pathogenicity;\
CLNREVSTAT=criteria_provided,_conflicting_classifications;GENEINFO=BRCA1:672
1	104	5	A	.	.	.	CLNVC=Variation
"""


@pytest.fixture
def clinvar(tmp_path):
    path = tmp_path / "clinvar.vcf.gz"
    path.write_bytes(gzip.compress((HEADER.format(date="2026-01-04") + CLINVAR).encode()))
    return path


def test_clinvar(tmp_path, clinvar):
    counts = label_clinvar(
        clinvar, tmp_path / "out.parquet", command="ntvep labels", min_stars=0, features=["AF_EXAC"]
    )
    table = read_labels(tmp_path / "out.parquet")
    assert table.select(pl.exclude("chrom", "source")).rows() == [
        (100, "A", "C", True, None, "BRCA2|XYZ", "missense_variant", 2, 0.25),
        (101, "A", "AC", False, None, "XYZ", "intron_variant", 0, None),
        (102, "A", "G", None, None, None, None, 4, None),
        (103, "A", "G", None, None, "BRCA1", None, 1, None),
    ]
    assert table["source"].unique().to_list() == ["ClinVar 2026-01-04"]
    assert (counts.read, counts.written, counts.left_out) == (5, 4, {"no_alt": 1})
    assert counts.said == {"pathogenic": 1, "benign": 1, "uncertain": 1, "conflicting": 1}
    provenance, summary = map(json.loads, read_metadata(tmp_path / "out.parquet"))
    assert provenance["source"] == "ClinVar 2026-01-04"
    assert provenance["command"] == "ntvep labels"
    assert summary == vars(counts)
    assert (counts.positive, counts.negative, counts.unlabelled) == (1, 1, 2)


@pytest.mark.parametrize(
    ("options", "places", "left_out"),
    [
        ({}, [100, 102, 103], {"fewer_stars": 1}),
        ({"min_stars": 0}, [100, 101, 102, 103], {}),
        ({"min_stars": 0, "consequences": ["intron_variant"]}, [101], {"other_consequence": 3}),
        ({"min_stars": 0, "genes": "XYZ,ABC"}, [100, 101], {"other_gene": 2}),
        ({"min_stars": 0, "genes": "BRCA"}, [], {"other_gene": 4}),
        (
            {"min_stars": 1, "genes": "BRCA1", "consequences": ["missense_variant"]},
            [],
            {"fewer_stars": 1, "other_consequence": 2, "other_gene": 1},
        ),
    ],
    ids=["default", "stars", "consequence", "genes", "no-gene", "all"],
)  # fmt: skip
def test_clinvar_selected(tmp_path, clinvar, options, places, left_out):
    counts = label_clinvar(clinvar, tmp_path / "out.parquet", command="", **options)
    assert read_labels(tmp_path / "out.parquet")["pos"].to_list() == places
    assert counts.left_out == left_out | {"no_alt": 1}
    assert counts.written + counts.left_out.total() == counts.read == 5


def test_genes_from_a_file(tmp_path, clinvar):
    (tmp_path / "genes.txt").write_text("# panel\nXYZ\tsome note\n\nBRCA1\n")
    label_clinvar(
        clinvar,
        tmp_path / "out.parquet",
        command="",
        min_stars=0,
        genes=str(tmp_path / "genes.txt"),
    )
    assert read_labels(tmp_path / "out.parquet")["pos"].to_list() == [100, 101, 103]
    with pytest.raises(ConfigError, match=r"--genes panel.txt: neither a file"):
        label_clinvar(clinvar, tmp_path / "no.parquet", command="", genes="panel.txt")


def test_the_real_slice_is_counted_as_its_own_label_says(tmp_path, shared):
    """The slice carries LABEL and STARS that somebody else derived."""
    source = tmp_path / "slice.vcf.gz"
    source.write_bytes((shared / "data/real/clinvar_slice.grch38.vcf.gz").read_bytes())
    counts = label_clinvar(source, tmp_path / "out.parquet", command="", min_stars=0)
    text = gzip.decompress(source.read_bytes()).decode()
    infos = [
        dict(entry.split("=", 1) for entry in line.split("\t")[7].split(";"))
        for line in text.splitlines()
        if not line.startswith("#")
    ]
    table = read_labels(tmp_path / "out.parquet")
    expected = [{"P": True, "B": False}.get(info["LABEL"]) for info in infos]
    assert table["label"].to_list() == expected
    assert table["group"].to_list() == [info["GENE"] for info in infos]
    theirs = [int(i["STARS"]) if i["CLNREVSTAT"] != "." else None for i in infos]
    assert table["stars"].to_list() == theirs
    assert counts.said["conflicting"] == sum(i["LABEL"] == "CONFLICTING" for i in infos) == 68
    # By default, without those that have no assertion criteria.
    criteria = label_clinvar(source, tmp_path / "criteria.parquet", command="")
    without = [i for i in infos if int(i["STARS"]) < 1]
    positives = [i["CLNREVSTAT"] for i in without if i["LABEL"] == "P"]
    assert counts.positive == sum(info["LABEL"] == "P" for info in infos) == 2185
    assert counts.positive - criteria.positive == len(positives) == 712
    assert {*positives} == {"no_assertion_criteria_provided"}
    assert criteria.left_out == {"fewer_stars": len(without)}
    # The same by way of the table command.
    where = TableColumns(positive=["P"], negative=["B"], group="GENE", consequence="MC")
    label_table(source, tmp_path / "table.parquet", where, command="")
    again = read_labels(tmp_path / "table.parquet")
    same = ["chrom", "pos", "ref", "alt", "label", "group", "consequence"]
    assert again.select(same).equals(table.select(same))


SEVERAL_ALTS = """\
##INFO=<ID=CLNREVSTAT,Number=.,Type=String,Description="ID=AF,Number=A">
##INFO=<ID=MC,Number=.,Type=String,Description="">
##INFO=<ID=AF,Number=R,Type=Float,Description="">
##INFO=<Type=Float,Number=1,ID=DP,Description="">
#CHROM	POS	ID	REF	ALT	QUAL	FILTER	INFO
1	100	.	A	C,G	.	.	CLNSIG=Pathogenic,_low_penetrance;AF=0.5,0.25,0.125;DP=3;\
CLNREVSTAT=criteria_provided,_single_submitter;MC=SO:1|intron_variant,SO:2|nonsense
1	101	.	A	C,G	.	.	CLNSIG=Benign,Likely_pathogenic;AF=0.5,0.25,0.125;\
CLNREVSTAT=no_assertion_provided,criteria_provided,_multiple_submitters,_no_conflicts
1	102	.	A	C,<*>	.	.	CLNSIG=Benign;CLNREVSTAT=reviewed_by_expert_panel
"""


def test_values_with_commas_and_several_alts(tmp_path):
    """A comma before an underscore is within a value; what is of all ALTs stays whole."""
    (tmp_path / "in.vcf").write_text("##fileformat=VCFv4.1\n" + SEVERAL_ALTS)
    counts = label_clinvar(
        tmp_path / "in.vcf", tmp_path / "o.parquet", command="", min_stars=0, features=["AF", "DP"]
    )
    table = read_labels(tmp_path / "o.parquet")
    assert table.select("pos", "alt", "label", "stars", "consequence", "AF", "DP").rows() == [
        (100, "C", True, 1, "stop_gained", 0.25, 3.0),
        (100, "G", True, 1, "stop_gained", 0.125, 3.0),
        (101, "C", False, 0, None, 0.25, None),
        (101, "G", True, 2, None, 0.125, None),
        (102, "C", False, 3, None, None, None),
    ]
    assert (counts.read, counts.written, counts.left_out) == (6, 5, {"no_alt": 1})


OF_CANCER = """\
1	1	.	A	C	.	.	CLNSIG=Pathogenic;CLNREVSTAT=single;ORIGIN=2
1	2	.	A	C	.	.	CLNSIG=Pathogenic;CLNREVSTAT=single;ORIGIN=3
1	3	.	A	C	.	.	CLNSIG=Benign;CLNREVSTAT=single;ORIGIN=258
1	4	.	A	C	.	.	CLNSIG=Benign;CLNREVSTAT=single;ORIGIN=1
1	5	.	A	C	.	.	CLNREVSTAT=no_classification_for_the_single_variant;ONC=Oncogenic;\
ONCREVSTAT=criteria_provided,_single_submitter;SCI=Tier_I_-_Strong
1	6	.	A	C	.	.	SCI=Tier_I_-_Strong;SCIREVSTAT=criteria_provided,_single_submitter
1	7	.	A	C	.	.	CLNSIG=Likely_pathogenic;CLNREVSTAT=exp;ONC=Likely_benign;\
ONCREVSTAT=reviewed_by_expert_panel
1	8	.	A	C	.	.	ONC=Conflicting_classifications_of_oncogenicity;\
ONCREVSTAT=criteria_provided,_conflicting_classifications
"""


def test_what_is_said_of_tumours_is_apart(tmp_path):
    (tmp_path / "in.vcf").write_text(HEADER.format(date="2026-01-04") + OF_CANCER)
    counts = label_clinvar(tmp_path / "in.vcf", tmp_path / "o.parquet", command="", min_stars=0)
    germline = read_labels(tmp_path / "o.parquet")
    assert germline["label"].to_list() == [None, True, None, False, None, None, True, None]
    assert counts.said == {
        "somatic only": 3, "pathogenic": 2, "benign": 1, "oncogenicity only": 2,
    }  # fmt: skip
    counts = label_clinvar(
        tmp_path / "in.vcf", tmp_path / "onc.parquet", command="", classification="oncogenicity"
    )
    table = read_labels(tmp_path / "onc.parquet")
    assert table.select("pos", "label", "stars").rows() == [
        (5, True, 1),
        (7, False, 3),
        (8, None, 1),
    ]
    assert counts.left_out == {"no_oncogenicity": 5}
    assert counts.said == {"oncogenic": 1, "benign": 1, "conflicting": 1}
    assert table["source"][0] == "ClinVar 2026-01-04, oncogenicity"


def test_a_clinvar_file_that_is_cut_leaves_nothing(tmp_path, clinvar):
    clinvar.write_bytes(clinvar.read_bytes()[:-20])
    with pytest.raises(InputError, match="truncated or damaged"):
        label_clinvar(clinvar, tmp_path / "out.parquet", command="")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clinvar.vcf.gz"]


# GTEx ---------------------------------------------------------------------------------------------

CAVIAR = """TISSUE	GENE	eQTL	CHROM	POS	Probability
Lung	ENSG1.1	chr1_100_A_C_b38	1	100	0.95
Liver	ENSG2.2	chr1_100_A_C_b38	1	100	0.001
Lung	ENSG1.1	chr1_200_AT_A_b38	1	200	0.01
Liver	ENSG1.1	chr1_200_AT_A_b38	1	200	0.0099
Lung	ENSG1.1	chr1_300_A_C_b38	1	300	0.001
Liver	ENSG1.1	chr1_300_A_C_b38	1	300	0.0101
Lung	ENSG3.1	chrX_400_A_C_b38	X	400	0.9
"""


def finemapped_rows(path):
    return read_labels(path).select("chrom", "pos", "ref", "alt", "label", "group").rows()


EXPECTED = [
    ("chr1", 100, "A", "C", True, "ENSG1.1"),
    ("chr1", 200, "AT", "A", False, "ENSG1.1"),
    ("chr1", 300, "A", "C", None, "ENSG1.1"),
    ("chrX", 400, "A", "C", True, "ENSG3.1"),
]


def test_finemapped_v8_caviar(tmp_path):
    """Positive in any tissue, negative in all of them, and between the limits no label."""
    path = tmp_path / "CAVIAR_Results_v8_GTEx_with_Allele.txt.gz"
    path.write_bytes(gzip.compress(CAVIAR.encode()))
    counts = label_finemapped([path], tmp_path / "out.parquet", command="")
    assert finemapped_rows(tmp_path / "out.parquet") == EXPECTED
    assert (counts.read, counts.written, counts.left_out) == (7, 4, {"weaker_pair": 3})
    assert (counts.positive, counts.negative, counts.unlabelled) == (2, 1, 1)
    source = read_labels(tmp_path / "out.parquet")["source"][0]
    assert source == "GTEx v8 fine-mapped eQTLs"


@pytest.mark.parametrize(
    ("names", "suffix"),
    [
        ({"eQTL": "variant_id", "Probability": "pip", "GENE": "phenotype_id"}, "v10.parquet"),
        ({"eQTL": "variant_id", "Probability": "variant_pip", "GENE": "gene_id"}, "v8.txt"),
        ({"eQTL": "variant", "Probability": "PIP", "GENE": "molecular_trait_id"}, "x.tsv"),
    ],
    ids=["SuSiE", "DAP-G", "eQTL-Catalogue"],
)
def test_finemapped_spellings_and_a_file_a_tissue(tmp_path, names, suffix):
    whole = pl.read_csv(CAVIAR.encode(), separator="\t").drop("CHROM", "POS").rename(names)
    files = []
    for (tissue,), part in whole.group_by("TISSUE"):
        files.append(tmp_path / f"{tissue}.{suffix}")
        if suffix.endswith("parquet"):
            part.drop("TISSUE").write_parquet(files[-1])
        else:
            part.drop("TISSUE").write_csv(files[-1], separator="\t")
    label_finemapped(sorted(files), tmp_path / "out.parquet", command="")
    assert finemapped_rows(tmp_path / "out.parquet") == EXPECTED


PAIRS = """variant_id	gene_id	tss_distance	maf	pval_nominal	slope	slope_se
chr1_100_A_C_b38	ENSG1.1	-10	0.25	1e-9	-0.5	0.1
chr1_100_A_C_b38	ENSG2.1	700	0.25	1e-12	0.25	0.1
chr1_200_A_AT_b38	ENSG1.1	90	0.125	1e-7	1.5	0.1
"""


@pytest.mark.parametrize("parquet", [False, True], ids=["v8", "v10"])
def test_pairs_keep_the_strongest_and_its_sign(tmp_path, parquet):
    path = tmp_path / ("Lung.v10.eQTLs.signif_pairs.parquet" if parquet else "Lung.v8.signif.txt")
    path.write_text(PAIRS)
    if parquet:
        table = pl.read_csv(path, separator="\t").rename({"maf": "af", "gene_id": "phenotype_id"})
        table.write_parquet(path)
    counts = label_pairs([path], tmp_path / "out.parquet", command="")
    table = read_labels(tmp_path / "out.parquet")
    # The frequency of the rarer allele is not that of ALT.
    name = "AF" if parquet else "MAF"
    assert table.columns[len(LABELS) :] == [name]
    assert table.select("pos", "ref", "alt", "label", "effect", "group", name).rows() == [
        (100, "A", "C", None, 0.25, "ENSG2.1", 0.25),
        (200, "A", "AT", None, 1.5, "ENSG1.1", 0.125),
    ]
    assert (counts.read, counts.left_out) == (3, {"weaker_pair": 1})


FORTY_NINE = """\
chromosome	start	end	variant	variant_hg38	allele1	allele2	minor_allele	cohort	method	tissue	gene	maf	pip
chr1	13549	13550	chr1_13550_G_A	chr1_14550_G_A_b38	G	A	A	GTEx	FINEMAP	Lung	ENSG1.2	0.015	0.0003
chr1	13549	13550	chr1_13550_G_A	chr1_14550_G_A_b38	G	A	A	GTEx	SUSIE	Liver	ENSG2.2	0.025	0.95
chr1	23549	23550	chr1_23550_T_C	NA	T	C	C	GTEx	SUSIE	Liver	ENSG2.2	0.5	0.95
"""  # noqa: E501


def test_the_49_tissues_are_read_on_build_38(tmp_path):
    """``variant`` has the coordinates of build 37."""
    path = tmp_path / "GTEx_49tissues_release1.tsv.bgz"
    with bgzip_writer(path) as write:
        write([FORTY_NINE.encode()])
    counts = label_finemapped([path], tmp_path / "out.parquet", command="")
    table = read_labels(tmp_path / "out.parquet")
    assert table.select("chrom", "pos", "ref", "alt", "label", "group", "MAF").rows() == [
        ("chr1", 14550, "G", "A", True, "ENSG2.2", 0.025)
    ]
    assert counts.left_out == {"weaker_pair": 1, "no_variant": 1}
    assert table["source"][0] == "GTEx v8 fine-mapped eQTLs"


def test_splicing_and_the_catalogue_are_called_what_they_are(tmp_path):
    susie = pl.DataFrame(
        {
            "phenotype_id": ["chr1:15947:16607:clu_40980_-:ENSG00000227232.5"],
            "variant_id": ["chr1_100_A_C_b38"], "pip": [0.95], "af": [0.75], "cs_id": [1],
        }
    )  # fmt: skip
    path = tmp_path / "Liver_v11_SuSiE_summary.parquet"
    susie.write_parquet(path)
    label_finemapped([path], tmp_path / "s.parquet", command="")
    splicing = read_labels(tmp_path / "s.parquet").select("source", "group", "AF").row(0)
    assert splicing == ("GTEx v11 fine-mapped sQTLs", "ENSG00000227232.5", 0.75)
    expression = tmp_path / "Lung.v11.eQTLs.SuSiE_summary.parquet"
    susie.with_columns(phenotype_id=pl.lit("ENSG00000227232.5")).write_parquet(expression)
    with pytest.raises(InputError, match=r"Liver_v11.* of GTEx v11 sQTLs, Lung.* GTEx v11 eQ"):
        label_finemapped([path, expression], tmp_path / "no.parquet", command="")
    for trait, source in (
        ("ENSG1", "eQTL Catalogue QTD000266 fine-mapped eQTLs"),
        ("ENSG1.grp_1.upstream.ENST1", "eQTL Catalogue QTD000266 fine-mapped QTLs"),
    ):
        path = tmp_path / "QTD000266.credible_sets.tsv.gz"
        text = (
            "molecular_trait_id\tgene_id\tcs_id\tvariant\trsid\tcs_size\tpip\tpvalue\tbeta\n"
            f"{trait}\tENSG1\tENSG1_L1\tchr1_100_A_C\trs1\t1\t0.99\t1e-9\t0.5\n"
        )
        path.write_bytes(gzip.compress(text.encode()))
        label_finemapped([path], tmp_path / "c.parquet", command="", force=True)
        found = read_labels(tmp_path / "c.parquet").select("source", "group", "pos", "label")
        assert found.row(0) == (source, "ENSG1", 100, True)


def test_frequency_of_fine_mapping_can_be_matched(tmp_path):
    """``af`` is kept, of the pair with the largest PIP."""
    rows = [
        (f"chr1_{pos}_A_C_b38", pip, frequency, f"ENSG{gene}")
        for pos, pip, frequency, gene in (
            (1, 0.95, 0.02, 1), (1, 0.2, 0.5, 2), (2, 0.001, 0.03, 1), (3, 0.001, 0.3, 1),
        )
    ]  # fmt: skip
    path = tmp_path / "Lung.v10.eQTLs.SuSiE_summary.parquet"
    names = ["variant_id", "pip", "af", "phenotype_id"]
    pl.DataFrame(rows, names, orient="row").write_parquet(path)
    label_finemapped([path], tmp_path / "out.parquet", command="")
    match(tmp_path / "out.parquet", tmp_path / "matched.parquet", command="", frequency="AF")
    kept = read_labels(tmp_path / "matched.parquet")
    assert kept.select("pos", "label", "AF").rows() == [(1, True, 0.02), (2, False, 0.03)]


EGENES = """\
gene_id	num_var	beta_shape1	variant_id	maf	pval_nominal	slope	pval_perm	qval	pval_nominal_threshold
ENSG1.1	9	1.0	chr1_100_A_C_b38	0.25	1e-9	-0.5	1e-4	0.0001	1e-4
ENSG2.1	9	1.0	chr1_200_A_C_b38	0.25	1e-3	0.5	0.9	0.87	1e-4
ENSG3.1	9	1.0	chr1_300_A_C_b38	0.25	1e-9	0.5	0.9	NA	1e-4
ENSG4.1	9	1.0	chr1_400_A_C_b38	0.25	1e-5	0.25	0.03	0.06	1e-4
"""  # noqa: E501


def test_a_gene_that_was_only_tested_has_no_effect(tmp_path):
    path = tmp_path / "Lung.v8.egenes.txt"
    path.write_text(EGENES)
    counts = label_pairs([path], tmp_path / "out.parquet", command="")
    assert read_labels(tmp_path / "out.parquet")["pos"].to_list() == [100]
    assert (counts.read, counts.left_out) == (4, {"not_significant": 3})
    label_pairs([path], tmp_path / "more.parquet", command="", max_q=0.1)
    assert read_labels(tmp_path / "more.parquet")["pos"].to_list() == [100, 400]
    pl.read_csv(path, separator="\t").drop("qval").write_csv(path, separator="\t")
    with pytest.raises(InputError, match=r"significant or not, but no q-value \(looked for qval"):
        label_pairs([path], tmp_path / "no.parquet", command="")
    with pytest.raises(ConfigError, match="--max-q is 0"):
        label_pairs([path], tmp_path / "no.parquet", command="", max_q=0)


def test_pairs_above_their_threshold_are_not_significant(tmp_path, caplog):
    text = PAIRS.replace("slope_se", "pval_nominal_threshold").replace("\t0.1\n", "\t1e-8\n")
    path = tmp_path / "Lung.v8.signif_variant_gene_pairs.txt"
    path.write_text(text)
    with caplog.at_level(logging.WARNING):
        counts = label_pairs([path], tmp_path / "out.parquet", command="")
    assert read_labels(tmp_path / "out.parquet")["pos"].to_list() == [100]
    assert counts.left_out == {"not_significant": 1, "weaker_pair": 1}
    assert not caplog.records
    path.write_text(PAIRS)
    with caplog.at_level(logging.WARNING):
        label_pairs([path], tmp_path / "all.parquet", command="")
    assert "has no threshold, q-value or rank" in caplog.text


def test_pairs_without_p_values_keep_the_steepest(tmp_path):
    table = pl.read_csv(PAIRS.encode(), separator="\t").drop("pval_nominal", "maf")
    table.write_csv(tmp_path / "pairs.tsv", separator="\t")
    label_pairs([tmp_path / "pairs.tsv"], tmp_path / "out.parquet", command="")
    table = read_labels(tmp_path / "out.parquet")
    assert table.select("pos", "effect", "group").rows() == [
        (100, -0.5, "ENSG1.1"),
        (200, 1.5, "ENSG1.1"),
    ]


def test_pairs_of_the_real_table_are_its_rows(tmp_path, shared):
    source = shared / "data/real/gtex_v8_whole_blood_independent_eqtls.tsv"
    label_pairs([source], tmp_path / "out.parquet", command="")
    table = read_labels(tmp_path / "out.parquet")
    rows = [line.split("\t") for line in source.read_text().splitlines()[1:]]
    theirs = {tuple(row[:4]): set() for row in rows}
    for row in rows:
        theirs[tuple(row[:4])].add((float(row[10]), float(row[11])))
    assert table.height == len(theirs)
    for chrom, pos, ref, alt, effect in table.select(
        "chrom", "pos", "ref", "alt", "effect"
    ).iter_rows():
        assert effect == min(theirs[chrom, str(pos), ref, alt])[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\n1\t2\n", r"has no column of the variant \(looked for variant_hg38, .*found a, b"),
        (CAVIAR.replace("_b38", "_b37"), "variants of build 37"),
        (CAVIAR.replace("400_A_C_b38", "400_A_C_b37"), "variants of build 37 and 38"),
        (CAVIAR.replace("_A_C_b38", ""), "not named like chr1_13550_G_A_b38"),
        (CAVIAR.replace("0.95", "high"), "not a complete table"),
        (CAVIAR.replace("0.95", "inf"), "chr1_100_A_C_b38 has a PIP of inf; expected prob"),
        (CAVIAR.replace("0.001", "-1"), "has a PIP of -1.0"),
        (
            "1\t13550\tchr1_13550_G_A_b38\tG\tA\tENSG1.1:1@Lung=3.8e-02|ENSG1.1:1@Liver=6e-03\n",
            "has no header: its first line is data .*GTEx_v8_finemapping_DAPG.txt.gz",
        ),
    ],
    ids=["columns", "build", "builds", "names", "number", "infinite", "negative", "CS95"],
)
def test_bad_gtex_tables(tmp_path, text, message):
    path = tmp_path / "t.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        label_finemapped([path], tmp_path / "out.parquet", command="")


def test_gtex_files_of_two_releases(tmp_path):
    files = [tmp_path / "Lung.v8.txt", tmp_path / "Lung.v10.txt"]
    for path in files:
        path.write_text(CAVIAR)
    with pytest.raises(InputError, match=r"Lung.v8.txt of GTEx v8 eQTLs, Lung.v10.txt of GTEx v10"):
        label_finemapped(files, tmp_path / "out.parquet", command="")
    label_finemapped(files, tmp_path / "out.parquet", command="", release="v8 and v10")
    with pytest.raises(ConfigError, match="expected 0 <= negative < positive <= 1"):
        label_finemapped(files, tmp_path / "no.parquet", command="", negative_pip=0.95)


def test_an_infinite_slope_is_refused(tmp_path):
    (tmp_path / "pairs.tsv").write_text(PAIRS.replace("1.5", "-inf"))
    with pytest.raises(InputError, match="chr1_200_A_AT_b38 has an infinite effect"):
        label_pairs([tmp_path / "pairs.tsv"], tmp_path / "out.parquet", command="")


# Any table ----------------------------------------------------------------------------------------

TABLE = """##note
#chrom	pos	ref	alt	label	score	gene
chr1	5	A	C	Pathogenic	1.5	X
chr1	6	A	C	benign	NA	Y
chr1	7	A	C	.	2	.
chr1	NA	A	C	benign	2	X
"""


def table_of(tmp_path, text, where=TableColumns(), name="t.tsv"):  # noqa: B008
    path = tmp_path / name
    path.write_text(text)
    counts = label_table(path, tmp_path / "out.parquet", where, command="", force=True)
    return read_labels(tmp_path / "out.parquet"), counts


def test_table(tmp_path):
    where = TableColumns(group="gene", effect="score", features=["score"])
    table, counts = table_of(tmp_path, TABLE, where)
    assert table.drop("source", "consequence", "stars").rows() == [
        ("chr1", 5, "A", "C", True, 1.5, "X", 1.5),
        ("chr1", 6, "A", "C", False, None, "Y", None),
        ("chr1", 7, "A", "C", None, 2.0, None, 2.0),
    ]
    assert counts.left_out == {"incomplete_allele": 1}
    assert counts.read == 4
    csv = TABLE.replace("\t", ",")
    assert table_of(tmp_path, csv, where, "t.csv")[0].drop("source").equals(table.drop("source"))


def test_a_table_of_parquet_with_other_names(tmp_path):
    frame = pl.DataFrame(
        {
            "Chromosome": ["1", "X"],
            "POSITION": [5, 6],
            "Ref": ["A", "G"],
            "Alt": ["C", "T"],
            "is_causal": [True, False],
            "Consequence": ["intron_variant&missense_variant", "intron_variant"],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    where = TableColumns(label="is_causal")
    label_table(tmp_path / "t.parquet", tmp_path / "out.parquet", where, command="", name="mine")
    table = read_labels(tmp_path / "out.parquet")
    assert table.columns == [column.name for column in LABELS]
    assert table.select("chrom", "pos", "label", "consequence", "source").rows() == [
        ("1", 5, True, "missense_variant", "mine"),
        ("X", 6, False, "intron_variant", "mine"),
    ]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (TableColumns(positive=["DM"]), [True, False, False, None]),
        (TableColumns(positive=["DM"], negative=["R"]), [True, None, False, None]),
        (TableColumns(positive=["DM", "DM?"], negative=["R"]), [True, True, False, None]),
    ],
)
def test_labels_in_the_sources_own_words(tmp_path, where, expected):
    rows = "".join(f"1\t{n}\tA\tC\t{word}\n" for n, word in enumerate(["DM", "DM?", "R", "."], 1))
    table, _ = table_of(tmp_path, "chrom\tpos\tref\talt\tlabel\n" + rows, where)
    assert table["label"].to_list() == expected


def test_a_vcf_with_a_value_for_each_alt(tmp_path):
    text = HEADER.format(date="2026") + (
        "1\t5\t.\tA\tC,G\t.\t.\tLABEL=1,0;AF=0.5,0.25;GENE=X\n1\t6\t.\tA\tC\t.\t.\tCAUSAL;AF=.\n"
    )
    where = TableColumns(group="GENE", features=["AF"])
    table, _ = table_of(tmp_path, text, where, "t.vcf")
    assert table.select("pos", "alt", "label", "group", "AF").rows() == [
        (5, "C", True, "X", 0.5),
        (5, "G", False, "X", 0.25),
        (6, "C", None, None, None),
    ]
    flagged, _ = table_of(tmp_path, text, TableColumns(label="CAUSAL"), "t.vcf")
    assert flagged["label"].to_list() == [None, None, True]


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("chrom\tpos\tref\n1\t2\tA\n", TableColumns(), "has no column alt; found chrom, pos, ref"),
        (TABLE, TableColumns(label="truth"), "has no column truth; found chrom, pos"),
        (TABLE, TableColumns(features=["AF"]), "has no column AF; found"),
        (TABLE.replace("label", "other"), TableColumns(), "has neither labels nor effects"),
        (TABLE.replace("benign", "maybe"), TableColumns(), "2 labels .* for instance 'maybe'"),
        (TABLE, TableColumns(negative=["x"]), "--negative was given without --positive"),
        (TABLE.replace("\t6\t", "\tsix\t"), TableColumns(), "line 4: pos is 'six'"),
        (TABLE, TableColumns(effect="gene"), "line 3: effect is 'X', and 3 of its values"),
        ("", TableColumns(), "not a complete table"),
    ],
    ids=["alt", "label", "feature", "nothing", "word", "negative", "pos", "effect", "empty"],
)  # fmt: skip
def test_bad_tables(tmp_path, text, where, message):
    with pytest.raises(InputError, match=message):
        table_of(tmp_path, text, where)
    assert not (tmp_path / "out.parquet").exists()


def test_bad_vcf_keys_and_outputs(tmp_path, clinvar):
    with pytest.raises(InputError, match="no record has TRUTH in INFO"):
        label_table(clinvar, tmp_path / "o.parquet", TableColumns(label="TRUTH"), command="")
    with pytest.raises(ConfigError, match=r"expected a name that ends in .parquet"):
        label_clinvar(clinvar, tmp_path / "o.tsv", command="")
    with pytest.raises(
        ConfigError, match="--consequence nonsense: not one of Ensembl's Sequence Ontology terms"
    ):
        label_clinvar(clinvar, tmp_path / "o.parquet", command="", consequences=["nonsense"])
    for feature in ("MC", "effect"):
        with pytest.raises(ConfigError, match=f"--feature {feature}: already a column"):
            label_clinvar(clinvar, tmp_path / "o.parquet", command="", features=[feature])
    with pytest.raises(ConfigError, match="--feature X: already a column"):
        label_table(clinvar, tmp_path / "o.parquet", TableColumns(features=["X", "X"]), command="")
    text = gzip.decompress(clinvar.read_bytes()).decode().replace("AF_EXAC=0.25", "AF_TGP=x")
    clinvar.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(InputError, match="line 4: AF_TGP is 'x', and 1 of its values"):
        label_clinvar(clinvar, tmp_path / "o.parquet", command="", features=["AF_TGP"])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e999"])
def test_infinite_features_are_refused_with_their_line(tmp_path, packed, value):
    """It would be the largest of all numbers, in every rank."""
    text = TABLE.replace("\tNA\tY", f"\t{value}\tY")
    path = tmp_path / ("t.tsv.gz" if packed else "t.tsv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    where = TableColumns(features=["score"])
    match = rf"t.tsv\S*, line 4: score is '{value}', and 1 of its values"
    with pytest.raises(InputError, match=match):
        label_table(path, tmp_path / "out.parquet", where, command="")
    rows = CLINVAR.replace("AF_EXAC=0.25", "X=1").replace("CLNSIG=Benign", f"X={value}")
    (tmp_path / "t.vcf").write_text(HEADER.format(date="2026") + rows)
    with pytest.raises(InputError, match=rf"t.vcf, line 5: X is '{value}'"):
        label_clinvar(tmp_path / "t.vcf", tmp_path / "out.parquet", command="", features=["X"])
    pl.DataFrame(
        {"chrom": "1", "pos": [5, 6], "ref": "A", "alt": "C", "label": 1, "x": [1.0, float(value)]}
    ).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t.parquet, row 2: x is -?inf"):
        label_table(
            tmp_path / "t.parquet", tmp_path / "o.parquet", TableColumns(features=["x"]), command=""
        )


def test_exclude_leaves_out_the_same_alleles_in_any_spelling(tmp_path, clinvar):
    """Other names of contigs, untrimmed alleles; not another ALT of the same place."""
    (tmp_path / "train.tsv").write_text("#CHROM\tpos\tref\talt\nchr1\t99\tTA\tTC\n1\t102\tA\tC\n")
    (tmp_path / "train.vcf").write_text(
        HEADER.format(date="2026") + "NC_000001.11\t101\t.\tAG\tT,ACG\t.\t.\t.\n"
    )
    options = {"command": "", "min_stars": 0}
    counts = label_clinvar(
        clinvar, tmp_path / "out.parquet", exclude=[tmp_path / "train.tsv"], **options
    )
    assert read_labels(tmp_path / "out.parquet")["pos"].to_list() == [101, 102, 103]
    assert counts.left_out == {"excluded": 1, "no_alt": 1}
    # What is left out is not among what ClinVar says of the others.
    assert counts.said == {"benign": 1, "uncertain": 1, "conflicting": 1}
    both = [tmp_path / "train.tsv", tmp_path / "train.vcf"]
    label_clinvar(clinvar, tmp_path / "both.parquet", exclude=both, **options)
    assert read_labels(tmp_path / "both.parquet")["pos"].to_list() == [102, 103]
    # LABELS are a table of alleles, too.
    table = tmp_path / "t.tsv"
    table.write_text("chrom\tpos\tref\talt\tlabel\n1\t102\tA\tG\t1\n1\t200\tA\tG\t0\n")
    counts = label_table(
        table,
        tmp_path / "t.parquet",
        TableColumns(),
        command="",
        exclude=[tmp_path / "out.parquet"],
    )
    assert read_labels(tmp_path / "t.parquet")["pos"].to_list() == [200]
    assert (counts.read, counts.written, counts.left_out) == (2, 1, {"excluded": 1})
    (tmp_path / "bad.tsv").write_text("chrom\tpos\tref\talt\n1\t5\tA\t<DEL>\n")
    for name, text in (("bad.tsv", "holds no allele of A"), ("none.vcf", "no such file")):
        with pytest.raises(InputError, match=text):
            label_table(
                table, tmp_path / "n.parquet", TableColumns(), command="", exclude=[tmp_path / name]
            )


@pytest.mark.parametrize("kind", ["finemapped", "pairs"])
def test_exclude_of_qtls(tmp_path, kind):
    (tmp_path / "train.tsv").write_text("chrom\tpos\tref\talt\n1\t100\tA\tC\n")
    source = tmp_path / "Lung.v8.txt"
    source.write_text(CAVIAR if kind == "finemapped" else PAIRS)
    label = label_finemapped if kind == "finemapped" else label_pairs
    counts = label([source], tmp_path / "o.parquet", command="", exclude=[tmp_path / "train.tsv"])
    assert 100 not in read_labels(tmp_path / "o.parquet")["pos"].to_list()
    assert counts.left_out["excluded"] == 1
    assert counts.read == counts.written + counts.left_out.total()


def test_one_class_only_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        table_of(tmp_path, TABLE.replace("benign", "pathogenic"))
    assert "labels are positive only" in caplog.text


def test_a_file_that_holds_no_labels_is_refused(tmp_path):
    pl.DataFrame({"chrom": ["1"], "pos": [1]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="lacks the columns ref, alt, label"):
        read_labels(tmp_path / "x.parquet")
    pl.DataFrame({column.name: ["1"] for column in LABELS}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="not in the form that ntvep labels writes"):
        read_labels(tmp_path / "x.parquet")
