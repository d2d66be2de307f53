"""The recipes of ``docs/recipes.md``, as they are written; what they select is known by hand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pysam
import pytest

from tests.conftest import ROOT

# Other programs.
pytestmark = pytest.mark.slow

DOCS = (ROOT / "docs" / "recipes.md").read_text()
BASES = "TCAG"
# The standard genetic code, in the order of NCBI's table 1.
AMINO = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
CODE = dict(zip((a + b + c for a in BASES for b in BASES for c in BASES), AMINO, strict=True))
RNG = np.random.default_rng(3)
# A gene of one exon on the plus strand, at 2001 to 2300, in a contig of random bases.
CODONS = ["ATG", *RNG.choice([c for c in CODE if CODE[c] != "*"], 98), "TAA"]
CONTIG = "".join(RNG.choice(list(BASES), 2000)) + "".join(CODONS)
CONTIG += "".join(RNG.choice(list(BASES), 2000))
WORDS = {"same": "synonymous", "other": "missense", "stop": "stop_gained"}


def changes(codon):
    """Each SNV of a codon: place in it, ALT, and what it does."""
    for place in range(3):
        for alt in BASES.replace(codon[place], ""):
            amino = CODE[codon[:place] + alt + codon[place + 1 :]]
            what = "same" if amino == CODE[codon] else "stop" if amino == "*" else "other"
            yield place, alt, what


def chosen():
    """For each consequence three SNVs of the gene, each in a codon of its own; POS, ALT, which."""
    wanted = ["same", "other", "stop"] * 3
    for number, codon in enumerate(CODONS[1:-1], 1):
        for place, alt, what in changes(codon):
            if wanted and what == wanted[0]:
                wanted.pop(0)
                yield 2001 + 3 * number + place, alt, WORDS[what]
                break
    assert not wanted


SNVS = [*chosen()]
# A site of two ALTs outside the gene, a deletion, and what is not scored.
SITE = [(1000, alt) for alt in BASES.replace(CONTIG[999], "")[:2]]
CARRIED = {SITE[1], *((pos, alt) for pos, alt, _ in SNVS[::2])}
CLINVAR = ["Pathogenic", "Conflicting_classifications_of_pathogenicity", "Benign",
           "Likely_pathogenic", "Pathogenic/Likely_pathogenic"]  # fmt: skip


def records(info=lambda *_: "."):
    """Lines of a VCF in order; INFO of an SNV of the gene by its POS, ALT and consequence."""
    lines = [(1000, CONTIG[999], ",".join(alt for _, alt in SITE), ".", "0/2"),
             (1100, CONTIG[1099:1102], CONTIG[1099], ".", "0/1"),
             (1200, CONTIG[1199], "<DEL>", ".", "0/1")]  # fmt: skip
    for pos, alt, what in SNVS:
        genotype = "0/1" if (pos, alt) in CARRIED else "0/0"
        lines.append((pos, CONTIG[pos - 1], alt, info(pos, alt, what), genotype))
    return "".join(
        f"chr1\t{pos}\t.\t{ref}\t{alt}\t.\tPASS\t{said}\tGT\t{genotype}\n"
        for pos, ref, alt, said, genotype in lines
    )


HEADER = """##fileformat=VCFv4.2
##contig=<ID=chr1,length=4300>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
"""
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
# As VEP writes with --pick --symbol.
CSQ = (
    '##INFO=<ID=CSQ,Number=.,Type=String,Description="Consequence annotations from Ensembl VEP. '
    'Format: Allele|Consequence|IMPACT|SYMBOL|Gene|Feature_type|Feature|BIOTYPE">\n'
)


def as_vep(_, alt, what):
    kind = what if what == "stop_gained" else f"{what}_variant"
    impact = {"synonymous": "LOW", "missense": "MODERATE", "stop_gained": "HIGH"}[what]
    return f"CSQ={alt}|{kind}|{impact}|GENE1|G1|Transcript|T1|protein_coding"


def gff():
    ids = {"gene": "ID=gene:G1;biotype=protein_coding;Name=GENE1",
           "mRNA": "ID=transcript:T1;Parent=gene:G1;biotype=protein_coding",
           "exon": "Parent=transcript:T1", "CDS": "ID=CDS:P1;Parent=transcript:T1"}  # fmt: skip
    lines = (
        f"chr1\t.\t{kind}\t2001\t2300\t.\t+\t{'0' if kind == 'CDS' else '.'}\t{said}\n"
        for kind, said in ids.items()
    )
    return "##gff-version 3\n" + "".join(lines)


def clinvar():
    """Five SNVs of the gene, on a contig ``1``."""
    lines = [
        f"1\t{pos}\t{number}\t{CONTIG[pos - 1]}\t{alt}\t.\t.\tCLNSIG={significance};"
        "CLNREVSTAT=criteria_provided,_single_submitter\n"
        for number, ((pos, alt, _), significance) in enumerate(zip(SNVS, CLINVAR, strict=False))
    ]
    keys = "".join(
        f'##INFO=<ID={key},Number=.,Type=String,Description="of ClinVar">\n'
        for key in ("CLNSIG", "CLNREVSTAT")
    )
    return (
        f"##fileformat=VCFv4.1\n##fileDate=2026-11-01\n##contig=<ID=1>\n{keys}{COLUMNS}\n"
        + "".join(lines)
    )


# Running ------------------------------------------------------------------------------------------


def recipe(start):
    """The command line or lines of the docs, or the file, that have these words."""
    blocks = re.findall(r"```(?:sh|toml)\n(.*?)```", DOCS, re.DOTALL)
    (found,) = (block for block in blocks if start in block)
    return found


def shell(folder, start):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Debian's snpEff writes into a home.
    own = {"PATH": path, "HOME": str(folder)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", recipe(start)], cwd=folder,
        capture_output=True, text=True, check=False, env=os.environ | own,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def needs(*tools):
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(bool(missing), reason=f"apt-get install {' '.join(missing)}".lower())


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """The folder in which the recipes begin, the first of them done; llr by POS and ALT."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "ref.fa").write_text(f">chr1\n{CONTIG}\n")
    pysam.faidx(str(folder / "ref.fa"))
    (folder / "genes.gff3").write_text(gff())
    (folder / "in.vcf").write_text(f"{HEADER}{COLUMNS}\tFORMAT\tone\n{records()}")
    (folder / "vep.vcf").write_text(f"{HEADER}{CSQ}{COLUMNS}\tFORMAT\tone\n{records(as_vep)}")
    (folder / "clinvar.vcf").write_text(clinvar())
    (folder / "names.txt").write_text("1\tchr1\n")
    for name in ("in.vcf", "clinvar.vcf"):
        pysam.tabix_compress(str(folder / name), str(folder / f"{name}.gz"))
    shell(folder, "ntvep score in.vcf.gz")
    return folder, llr_of(folder / "scored.vcf.gz")


@pytest.fixture(scope="module")
def split(scored):
    shell(scored[0], "bcftools norm")
    return scored


def llr_of(path):
    """POS and ALT -> llr, in order."""
    found = {}
    with pysam.VariantFile(str(path)) as file:
        for record in file:
            if "NTVEP_LLR" in record.info:
                found |= zip(
                    ((record.pos, alt) for alt in record.alts),
                    record.info["NTVEP_LLR"],
                    strict=True,
                )
    return found


def lower(llr, limit):
    chosen = {key: value for key, value in llr.items() if value < limit}
    # Else a filter that takes all, or none, would do.
    assert 0 < len(chosen) < len(llr)
    return chosen


def table(path):
    return pl.read_csv(path, separator="\t")


def of_gene(rows):
    """POS, ALT, consequence of the gene's SNVs in a table, as ``SNVS`` has them."""
    rows = rows.filter(pl.col("pos") > 2000).sort("pos")
    assert set(rows["gene"]) == {"GENE1"}
    return rows.select("pos", "alt", pl.col("consequence").str.replace("_variant", "")).rows()


# Recipes ------------------------------------------------------------------------------------------


@needs("bcftools")
def test_filters(split):
    folder, llr = split
    shell(folder, "-o low.vcf")
    assert llr_of(folder / "low.vcf") == lower(llr, -1)
    shell(folder, "-o carried.vcf")
    carried = {key: value for key, value in lower(llr, -1).items() if key in CARRIED}
    assert llr_of(folder / "carried.vcf") == carried
    assert carried
    unscored = shell(folder, "NTVEP_STATUS != ").splitlines()
    assert unscored == [f"chr1\t1200\t{CONTIG[1199]}\t<DEL>\tsymbolic_allele"]


def test_the_lowest(scored):
    folder, llr = scored
    shell(folder, "-o lowest.tsv")
    genes = {(pos, alt): llr[pos, alt] for pos, alt, _ in SNVS if (pos, alt) in CARRIED}
    lowest = sorted(genes, key=genes.__getitem__)[:2]
    assert table(folder / "lowest.tsv").select("pos", "alt").rows() == lowest


@needs("bcftools")
def test_csq_and_split_vep(split):
    folder, llr = split
    shell(folder, "bcftools csq")
    shell(folder, "-o consequences.tsv")
    carried = [one for one in SNVS if one[:2] in CARRIED]
    assert of_gene(table(folder / "consequences.tsv")) == carried
    lines = [line.split("\t") for line in shell(folder, "-a BCSQ -d").splitlines()]
    assert [(int(pos), alt, what) for pos, _, alt, _, _, what in lines] == SNVS
    assert [float(number) for *_, number, _, _ in lines] == pytest.approx(
        [llr[pos, alt] for pos, alt, _ in SNVS], abs=1e-4
    )
    shell(folder, "-o missense.vcf")
    missense = {(pos, alt) for pos, alt, what in SNVS if what == "missense"}
    assert set(llr_of(folder / "missense.vcf")) == missense & set(lower(llr, 0))


@needs("bcftools")
def test_vep(scored):
    folder, llr = scored
    shell(folder, "ntvep score vep.vcf")
    assert of_gene(table(folder / "vep.tsv")) == [one for one in SNVS if one[:2] in CARRIED]
    assert llr_of(folder / "vep.scored.vcf.gz") == llr
    lines = [line.split("\t") for line in shell(folder, "-s worst").splitlines()]
    found = [(int(pos), alt, what.replace("_variant", "")) for pos, _, alt, _, _, what in lines]
    assert [one for one in found if one[0] > 2000] == SNVS


@needs("bcftools", "snpEff")
def test_snpeff(split):
    folder, llr = split
    shell(folder, "snpEff build")
    shell(folder, "> snpeff.vcf")
    assert of_gene(table(folder / "snpeff.tsv")) == [one for one in SNVS if one[:2] in CARRIED]
    assert llr_of(folder / "snpeff.vcf") == llr


def called(path):
    """POS, ALT -> CLNSIG, where there is one."""
    with pysam.VariantFile(str(path)) as file:
        return {(record.pos, record.alts[0]): record.info["CLNSIG"][0] for record in file
                if "CLNSIG" in record.info}  # fmt: skip


@needs("bcftools")
def test_clinvar(split):
    folder, _ = split
    known = {(pos, alt): said for (pos, alt, _), said in zip(SNVS, CLINVAR, strict=False)}
    shell(folder, "-o clinvar.tsv")
    rows = table(folder / "clinvar.tsv").drop_nulls("significance").sort("pos")
    assert rows.select("pos", "alt", "significance", "stars").rows() == [
        (*one, known[one].replace("_", " "), 1) for one in known if one in CARRIED
    ]
    shell(folder, "bcftools annotate --rename-chrs")
    assert called(folder / "significance.vcf.gz") == known
    shell(folder, "-o pathogenic.vcf")
    wanted = {one: said for one, said in known.items()
              if said.startswith(("Pathogenic", "Likely_pathogenic"))}  # fmt: skip
    assert len(wanted) == 3
    assert called(folder / "pathogenic.vcf") == wanted


@needs("bcftools", "vcfanno")
def test_vcfanno(split):
    folder, llr = split
    known = {(pos, alt): said for (pos, alt, _), said in zip(SNVS, CLINVAR, strict=False)}
    (folder / "clinvar.toml").write_text(recipe("[[annotation]]"))
    shell(folder, "vcfanno clinvar.toml")
    assert called(folder / "vcfanno.vcf") == known
    assert llr_of(folder / "vcfanno.vcf") == llr


def test_every_recipe_is_run():
    """A block of the docs that no test here names is one that nobody has tried."""
    own = Path(__file__).read_text()
    starts = re.findall(r'(?:shell\(\w+(?:\[0\])?, |recipe\()"([^"]*)"', own)
    for block in re.findall(r"```(?:sh|toml)\n(.*?)```", DOCS, re.DOTALL):
        assert [start for start in starts if start in block], block
