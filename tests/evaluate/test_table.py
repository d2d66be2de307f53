"""``ntvep table``: every line by hand, for each thing that it joins."""

import gzip
import json

import polars as pl
import pytest
from typer.testing import CliRunner

from ntvep.cli import app
from ntvep.commands.table import page_names
from ntvep.evaluate.variant_table import kinds, ranked, worst_entries, zygosity
from ntvep.io.vcf_annotations import ENTRIES
from ntvep.schema import LABELS
from tests.evaluate.annotated import BCSQ, SNPEFF, VEP, said, write_vcf
from tests.evaluate.synthetic import variants, write_labels, write_scores

# Two samples. By hand: of A the SNVs that it carries are ranked 102 (-5), 104 (-2, homozygous),
# 101:C (0.5); 101:T is not carried, 103 is not called, 105 has no score. Indels by pll_delta:
# 108 (-9), 107 (-1), although the llr of 107 is the lower.
RECORDS = [
    ("chr22", 101, "A", "C,T", said("ok,ok", "0.5,-7", "0,-3", "0.1,0.2"), "0/1", "1/2"),
    ("chr22", 102, "A", "G", said("ok", "-5", "-1", "0.3"), "0|1", "0/0"),
    ("chr22", 103, "A", "G", said("ok", "-6", "-1", "0.3"), "./.", "1"),
    ("chr22", 104, "A", "G", said("ok", "-2", "-4", "0.9"), "1/1", "./1"),
    ("chr22", 105, "A", "G", "NTVEP_STATUS=too_many_n", "0/1", "0/1"),
    ("chr22", 106, "AC", "GT", said("ok", "-3", "-1", "0.3"), "0/1", "0/1"),
    ("chr22", 107, "A", "AT", said("ok", "-8", "-1", "0.3"), "0/1", "0/1"),
    ("chr22", 108, "AT", "A", said("ok", "-1", "-9", "0.3"), "0/1", "0/1"),
    ("chr22", 109, "A", "<DEL>", "NTVEP_STATUS=symbolic_allele", "0/1", "0/1"),
]


def table(*words, status=0):
    done = CliRunner().invoke(app, ["table", *map(str, words), "-q"])
    assert done.exit_code == status, (done.output, done.exception)
    return done


def read(path):
    return pl.read_csv(path, separator="," if path.suffix == ".csv" else "\t")


@pytest.fixture
def scored(tmp_path):
    return write_vcf(tmp_path / "scored.vcf", RECORDS, ("A", "B"))


def test_ranked_within_kind_with_genotypes(scored, tmp_path):
    done = table(scored, "-o", tmp_path / "t.tsv")
    assert done.output.splitlines()[0] == (
        "4 SNVs, 2 indels, 1 MNV, 1 other; 2 alleles without a score"
    )
    rows = read(tmp_path / "t.tsv")
    of_a = rows.filter(pl.col("sample") == "A").select("variant", "kind", "rank", "zygosity")
    assert of_a.rows() == [
        ("chr22:102:A:G", "SNV", 1, "heterozygous"),
        ("chr22:104:A:G", "SNV", 2, "homozygous"),
        ("chr22:101:A:C", "SNV", 3, "heterozygous"),
        ("chr22:105:A:G", "SNV", None, "heterozygous"),
        ("chr22:108:AT:A", "indel", 1, "heterozygous"),
        ("chr22:107:A:AT", "indel", 2, "heterozygous"),
        ("chr22:106:AC:GT", "MNV", 1, "heterozygous"),
        ("chr22:109:A:<DEL>", "other", None, "heterozygous"),
    ]
    of_b = rows.filter(pl.col("sample") == "B", pl.col("kind") == "SNV")
    assert of_b.select("variant", "genotype", "zygosity", "llr").rows() == [
        ("chr22:101:A:T", "1/2", "heterozygous", -7.0),
        ("chr22:103:A:G", "1", "hemizygous", -6.0),
        ("chr22:104:A:G", "./1", "partly called", -2.0),
        ("chr22:101:A:C", "1/2", "heterozygous", 0.5),
        ("chr22:105:A:G", "0/1", "heterozygous", None),
    ]
    assert rows["status"].to_list().count("too_many_n") == 2
    assert rows["id"][0] == "rs2"


def test_text_in_each_form_and_what_is_asked_for(scored, tmp_path):
    table(scored, "-o", tmp_path / "t.tsv", "--sample", "A", "--top", "1")
    one = read(tmp_path / "t.tsv")
    assert one["variant"].to_list() == [
        "chr22:102:A:G", "chr22:108:AT:A", "chr22:106:AC:GT", "chr22:109:A:<DEL>",
    ]  # fmt: skip
    table(scored, "-o", tmp_path / "t.csv", "--sample", "A", "--top", "1")
    assert read(tmp_path / "t.csv").equals(one)
    table(scored, "-o", tmp_path / "t.tsv.gz", "--sample", "A", "--top", "1")
    packed = gzip.decompress((tmp_path / "t.tsv.gz").read_bytes())
    assert packed == (tmp_path / "t.tsv").read_bytes()
    table(scored, "-o", tmp_path / "r.tsv", "--sample", "A", "--regions", "22:102-104")
    assert read(tmp_path / "r.tsv")["pos"].to_list() == [102, 104]
    # By another score: the highest distance first, in every kind.
    table(scored, "-o", tmp_path / "b.tsv", "--sample", "A", "--by", "cosine_distance")
    assert read(tmp_path / "b.tsv")["pos"].to_list()[:3] == [104, 102, 101]
    table(scored, "-o", tmp_path / "l.tsv", "--sample", "A", "--by", "cosine_distance:lower")
    assert read(tmp_path / "l.tsv")["pos"].to_list()[:3] == [101, 102, 104]


def test_two_models_in_one_vcf_or_in_two(scored, tmp_path):
    """Side by side, on the same alleles; the first ranks."""
    other = [
        (*record[:4], f"NTVEP_STATUS={'ok,ok' if ',' in record[3] else 'ok'};NTVEP_LLR="
         f"{'1,2' if ',' in record[3] else number}", *record[5:])
        for number, record in enumerate(RECORDS)
        if record[1] != 103
    ]  # fmt: skip
    second = write_vcf(tmp_path / "gpn.vcf.gz", other, ("A", "B"), model="gpn", scores=("llr",))
    table(scored, second, "-o", tmp_path / "t.tsv", "--sample", "A")
    rows = read(tmp_path / "t.tsv")
    found = rows.select("pos", "rank", "llr · NT", "llr · gpn").rows()[:4]
    assert found == [(102, 1, -5, 1), (104, 2, -2, 3), (101, 3, 0.5, 1), (105, None, None, 4)]
    # The same as one VCF with a tag.
    both = [
        (*record[:4], record[4] + ";" + mine[4].replace("NTVEP_", "NTVEP_X_"), *record[5:])
        for record in RECORDS
        for mine in other
        if mine[1] == record[1]
    ]
    tagged = write_vcf(tmp_path / "x.vcf", both, ("A", "B"), "gpn", "X", ("llr",))
    plain = (tmp_path / "scored.vcf").read_text().splitlines()
    head = [line for line in plain if "NTVEP" in line or "ntvep_" in line]
    head = [line for line in head if line.startswith("##")]
    text = tagged.read_text().replace("#CHROM", "\n".join([*head, "#CHROM"]))
    tagged.write_text(text)
    table(tagged, "-o", tmp_path / "x.tsv", "--sample", "A")
    ours = read(tmp_path / "x.tsv").select("variant", "rank", "llr · NT", "llr · gpn")
    assert ours.equals(rows.filter(pl.col("pos") != 103).select(ours.columns))


def test_a_percentile_that_a_later_step_wrote(tmp_path):
    line = '##INFO=<ID=NTVEP_LLR_PERCENTILE,Number=A,Type=Float,Description="percentile">'
    records = [("chr22", 101, "A", "C,T", said("ok,ok", "1,2", "1,2", "1,2")
                + ";NTVEP_LLR_PERCENTILE=3.5,90")]  # fmt: skip
    table(write_vcf(tmp_path / "p.vcf", records, header=[line]), "-o", tmp_path / "t.tsv")
    rows = read(tmp_path / "t.tsv")
    assert rows.select("alt", "llr_percentile").rows() == [("C", 3.5), ("T", 90.0)]


def test_a_parquet_table_is_listed_too(tmp_path):
    scores, _ = variants(40)
    path = write_scores(tmp_path / "s.parquet", scores)
    table(path, "-o", tmp_path / "t.tsv")
    rows = read(tmp_path / "t.tsv")
    assert rows["sample"].null_count() == rows.height == 40
    snvs = rows.filter(pl.col("kind") == "SNV", pl.col("rank").is_not_null())
    wanted = scores.filter(pl.col("ref") == "A", pl.col("llr").is_not_null()).sort("llr")
    assert snvs["llr"].to_list() == pytest.approx(wanted["llr"].to_list(), rel=1e-12)
    # No pll_delta: indels by their distance, the highest first.
    indels = rows.filter(pl.col("kind") == "indel", pl.col("rank").is_not_null())
    assert indels["cosine_distance"].is_sorted(descending=True)
    assert not indels["llr"].is_sorted()


# What others say ----------------------------------------------------------------------------------

ENTRY = "G|{}|HIGH|{}|ENSG|Transcript|{}|{}|{}|{}|{}"


@pytest.mark.parametrize(
    ("header", "info", "wanted"),
    [
        # The most severe counts, of equals MANE Select, then canonical.
        (VEP, "CSQ=" + ",".join([
            ENTRY.format("intron_variant", "G1", "T1", "T1:c.1A>G", "", "YES", "NM_1"),
            ENTRY.format("missense_variant", "G2", "T2", "T2:c.2A>G", "P2:p.A1%3D", "YES", ""),
            ENTRY.format("missense_variant&splice_region_variant", "G3", "T3", "", "", "", "NM_3"),
        ]), ("G3", "missense_variant", "T3", None)),
        (VEP, "CSQ=" + ENTRY.format("synonymous_variant", "", "T2", "T2:c.2A>G", "P:p.A1%3D", "",
                                    ""), (None, "synonymous_variant", "T2", "p.A1=")),
        (SNPEFF, "ANN=G|upstream_gene_variant|MODIFIER|G1|E1|transcript|T1|pc||c.-9A>G||,"
                 "G|stop_gained|HIGH|G2|E2|transcript|T2|pc|1/2|c.4A>G|p.Lys2*|4/9",
         ("G2", "stop_gained", "T2", "p.Lys2*")),
        (BCSQ, "BCSQ=*missense|G1|T1|protein_coding|+|4A>4G|102A>G",
         ("G1", "missense_variant", "T1", "4A>4G")),
        (BCSQ, "BCSQ=3_prime_utr|G1|T1|protein_coding", ("G1", "3_prime_UTR_variant", "T1", None)),
        (BCSQ, "BCSQ=@120", (None, "see 120", None, None)),
    ],
)  # fmt: skip
def test_gene_and_consequence(tmp_path, header, info, wanted):
    records = [("chr22", 102, "A", "G", said("ok", "1", "1", "1") + ";" + info)]
    table(write_vcf(tmp_path / "a.vcf", records, header=[header]), "-o", tmp_path / "t.csv")
    row = read(tmp_path / "t.csv").row(0, named=True)
    assert tuple(row[n] for n in ("gene", "consequence", "transcript", "change")) == wanted


@pytest.mark.parametrize(
    ("header", "info", "wanted"),
    [
        # VEP leaves the shared first base out: A>AT is T, A>G is not spelled otherwise there.
        (VEP, "CSQ=T|frameshift_variant||G1||||||," "-|inframe_deletion||G2||||||",
         ["G1", "G2"]),
        (SNPEFF, "ANN=ACT|a|L|G1,A|b|L|G2", ["G1", "G2"]),
        (BCSQ, "BCSQ=frameshift|G1|T|pc|+|1|102AC>ACT,inframe_deletion|G2|T|pc|+|1|102AC>A",
         ["G1", "G2"]),
        (BCSQ, "BCSQ=intron|G1|T|pc", ["G1", "G1"]),
    ],
)  # fmt: skip
def test_each_alt_has_its_own(tmp_path, header, info, wanted):
    """AC>ACT, AC>A; VEP's spelling of them is CT, - (only the A is shared)."""
    info = info.replace("CSQ=T|", "CSQ=CT|")
    records = [("chr22", 102, "AC", "ACT,A", said("ok,ok", "1,1", "1,2", "1,1") + ";" + info)]
    table(write_vcf(tmp_path / "a.vcf", records, header=[header]), "-o", tmp_path / "t.tsv")
    rows = read(tmp_path / "t.tsv").sort("alt", descending=True)
    assert rows.select("alt", "gene").rows() == [("ACT", wanted[0]), ("A", wanted[1])]


CLINVAR = """##fileformat=VCFv4.1
##fileDate=2026-11-01
##INFO=<ID=CLNSIG,Number=.,Type=String,Description="x">
##INFO=<ID=CLNREVSTAT,Number=.,Type=String,Description="x">
##INFO=<ID=GENEINFO,Number=1,Type=String,Description="x">
##INFO=<ID=MC,Number=.,Type=String,Description="x">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
22\t102\t1\tA\tG\t.\t.\tCLNSIG=Pathogenic/Likely_pathogenic|risk_factor;CLNREVSTAT=\
criteria_provided,_multiple_submitters,_no_conflicts;GENEINFO=TP53:1|X:2;MC=SO:1|missense_variant
22\t104\t2\tA\tT\t.\t.\tCLNSIG=Benign;CLNREVSTAT=reviewed_by_expert_panel
22\t106\t3\tA\tAT\t.\t.\tCLNSIG=Uncertain_significance;CLNREVSTAT=no_assertion_criteria_provided
"""
BASES = "ACGTACGTAC" * 10 + "AAACACAATT"
"""Of a contig whose bases 101 to 108 are AAACACAA; what follows is TT."""


def test_clinvar_beside_scores(scored, tmp_path):
    """By allele; an insertion in a repeat is found once the reference aligns it."""
    (tmp_path / "clinvar.vcf").write_text(CLINVAR)
    (tmp_path / "g.fa").write_text(f">chr22\n{BASES}\n")
    columns = ["pos", "significance", "stars", "label_source", "gene", "consequence"]
    words = ["--sample", "A", "-l", tmp_path / "clinvar.vcf", "--ref-mismatch-limit", "1"]
    table(scored, "-o", tmp_path / "t.tsv", *words)
    rows = read(tmp_path / "t.tsv").filter(pl.col("significance").is_not_null())
    assert rows.select(columns).rows() == [
        (102, "Pathogenic/Likely pathogenic; risk factor", 2, "ClinVar 2026-11-01", "TP53, X",
         "missense_variant"),
    ]  # fmt: skip
    records = [("chr22", 110, "T", "TT", said("ok", "1", "1", "1"))]
    repeat = write_vcf(tmp_path / "r.vcf", records)
    clinvar = tmp_path / "r.clinvar.vcf"
    clinvar.write_text(CLINVAR.replace("22\t106\t3\tA\tAT", "22\t108\t3\tA\tAT"))
    table(repeat, "-o", tmp_path / "without.tsv", "-l", clinvar)
    assert read(tmp_path / "without.tsv")["significance"].to_list() == [None]
    table(repeat, "-o", tmp_path / "r.tsv", "-l", clinvar, "-r", tmp_path / "g.fa")
    row = read(tmp_path / "r.tsv").row(0, named=True)
    assert (row["significance"], row["stars"]) == ("Uncertain significance", 0)


def test_labels_and_scores_of_others(scored, tmp_path):
    labels = pl.DataFrame(
        {"chrom": ["22", "22", "22"], "pos": [102, 104, 101], "ref": ["A"] * 3,
         "alt": ["G", "G", "C"], "label": [True, False, None], "effect": [None] * 3,
         "group": ["G1", None, None], "consequence": [None] * 3, "stars": [3, None, 1],
         "source": ["ClinVar 2026-11-01", "my list", "ClinVar 2026-11-01"]},
    )  # fmt: skip
    labels = labels.select(pl.col(c.name).cast(c.dtype) for c in LABELS)
    path = write_labels(tmp_path / "l.parquet", labels)
    (tmp_path / "cadd.tsv").write_text("chrom\tpos\tref\talt\tPHRED\n22\t102\tA\tG\t31\n")
    table(scored, "-o", tmp_path / "t.tsv", "--sample", "A", "-l", path,
          "--against", f"{tmp_path / 'cadd.tsv'}:PHRED")  # fmt: skip
    rows = read(tmp_path / "t.tsv").head(3)
    assert rows.select("pos", "significance", "stars", "gene", "PHRED").rows() == [
        (102, "pathogenic", 3, "G1", 31),
        (104, "negative", None, None, None),
        (101, "uncertain, conflicting or other", 1, None, None),
    ]


def test_clinvar_that_the_file_itself_has(tmp_path):
    lines = [line for line in CLINVAR.splitlines() if "ID=CLN" in line]
    info = said("ok", "1", "1", "1") + ";CLNSIG=Likely_benign;CLNREVSTAT=practice_guideline"
    vcf = write_vcf(tmp_path / "c.vcf", [("chr22", 1, "A", "G", info)], header=lines)
    table(vcf, "-o", tmp_path / "t.tsv")
    row = read(tmp_path / "t.tsv").row(0, named=True)
    assert (row["significance"], row["stars"]) == ("Likely benign", 4)


# Parts --------------------------------------------------------------------------------------------


def test_kinds_of_alleles():
    alleles = pl.DataFrame(
        [(1, "A", "G"), (1, "CAT", "CGT"), (1, "CAT", "CGG"), (1, "CA", "C"), (1, "C", "CA"),
         (1, "CA", "GTT"), (1, "A", "<DEL>"), (1, "A", "*"), (1, "A", "A"), (1, "n", "a")],
        schema=["pos", "ref", "alt"], orient="row",
    )  # fmt: skip
    assert kinds(alleles).to_list() == [
        "SNV", "SNV", "MNV", "indel", "indel", "indel", "other", "other", "other", "SNV",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("genotype", "allele", "wanted"),
    [
        ("0/1", 1, "heterozygous"), ("1|0", 1, "heterozygous"), ("1/1", 1, "homozygous"),
        ("1", 1, "hemizygous"), ("0", 1, "not carried"), ("0/2", 1, "not carried"),
        ("1/2", 2, "heterozygous"), ("./1", 1, "partly called"), ("./.", 1, "not called"),
        (".", 1, "not called"), ("0/0/1/1", 1, "heterozygous"), ("10/10", 1, "not carried"),
        (None, 1, None),
    ],
)  # fmt: skip
def test_zygosity(genotype, allele, wanted):
    said = zygosity(pl.Series([genotype], dtype=pl.String), pl.Series([allele], dtype=pl.UInt16))
    assert said.to_list() == [wanted]


def test_equal_scores_share_a_rank():
    rows = pl.DataFrame({"kind": ["SNV"] * 4, "llr": [1.0, -1.0, -1.0, None]})
    found = ranked(rows, {"SNV": ("llr", -1)})
    assert found["rank"].to_list() == [1, 1, 3, None]


def test_a_preferred_transcript_decides_between_equals():
    rows = [(0, 1, "intron_variant", gene, None, None, n) for gene, n in (("a", 3), ("b", 1))]
    entries = pl.DataFrame(rows, schema=ENTRIES, orient="row")
    assert worst_entries(entries)["gene"].to_list() == ["b"]


def test_names_of_pages():
    found = page_names(["A", "a", "../etc", "", "<script>", "x" * 300, "index", "Müller 1"])
    assert len({name.lower() for name in found}) == len(found)
    assert found[:5] == ["A.html", "a-2.html", "_etc.html", "sample.html", "_script_.html"]
    assert "index.html" not in found
    assert all("/" not in name and len(name) < 120 and name.isascii() for name in found)


# Pages, and what is refused -----------------------------------------------------------------------


def test_a_page_for_each_sample(scored, tmp_path):
    table(scored, "-o", tmp_path / "pages")
    assert sorted(p.name for p in (tmp_path / "pages").iterdir()) == [
        "A.html", "B.html", "index.html", "ntvep-pages.json",
    ]  # fmt: skip
    index = (tmp_path / "pages" / "index.html").read_text()
    assert 'href="A.html"' in index
    page = (tmp_path / "pages" / "A.html").read_text()
    for words in ("For research, not for diagnosis", "Scored variants of A", "too_many_n",
                  "not carried", "fingerprint of the scores", "chr22:101:A:C"):  # fmt: skip
        assert words in page, words
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["columns"]["variant"][0] == "chr22:102:A:G"
    # Another sample's variants are not on it.
    assert "chr22:103:A:G" not in page
    # It is replaced when asked, and nothing else is.
    assert "--force" in str(table(scored, "-o", tmp_path / "pages", status=1).exception)
    table(scored, "-o", tmp_path / "pages", "--force")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    refused = table(scored, "-o", tmp_path / "mine", "--force", status=1)
    assert "exists and is not a" in str(refused.exception)


def test_what_is_refused(scored, tmp_path):
    out = tmp_path / "o.tsv"
    for words, message in (
        ((scored, "-o", tmp_path / "o.html"), "hold 2 samples; expected the name of a folder"),
        ((scored, "-o", tmp_path / "o.xlsx"), r"o.xlsx: expected a name that ends in .tsv"),
        ((scored, scored, "-o", out), "scored.vcf is given twice"),
        ((scored, "-o", out, "--top", "0"), "--top is 0; expected 1 or more"),
        ((scored, "-o", out, "--sample", "C"), "none of its 2 samples was asked for"),
        ((scored, "-o", out, "--sample", "A", "--sample", "C"), "--sample C: not in any file"),
        ((scored, "-o", out, "--by", "zeal"), "--by zeal: no such score; expected one of llr"),
        ((scored, "-o", out, "-l", scored), "none of its records near a scored one has CLNSIG"),
    ):
        error = CliRunner().invoke(app, ["table", *map(str, words), "-q"]).exception
        assert message in str(error), error
    unscored = tmp_path / "plain.vcf"
    unscored.write_text(CLINVAR)
    error = table(unscored, "-o", out, status=1).exception
    assert "its header does not say how it was scored" in str(error)
    assert not out.exists()
