"""Consequences by hand on a small gene, and against plain loops over random transcripts."""

import gzip
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from ntvep import dna
from ntvep.commands.consequences import add_consequences
from ntvep.errors import ConfigError, InputError
from ntvep.evaluate.consequences import SEVERITY
from ntvep.evaluate.gene_consequences import REGION_CLASSES, consequences
from ntvep.io.fasta import open_reference
from ntvep.io.intervals import read_regions, read_transcripts
from ntvep.io.tables import read_labels, table_writer
from ntvep.schema import LABELS
from tests.evaluate.tables import labels

# A gene on the forward strand, bases counted from 1:
#   exon 1 101..130: 5' UTR 101..110, start codon ATG 111..113, coding 111..130
#   intron 131..190: GT ... AG
#   exon 2 191..220: coding 191..203, stop codon TAA 204..206, 3' UTR 207..220
# 20 + 13 coding bases, then the stop: 11 codons; the 7th spans the exons: 129, 130, 191.
EXON_1, EXON_2 = "CCCCCCCCCCATGAAACCCGGGTTTCATTG", "GCCCGTGGATATTTAACCCCCCCCCCCCCC"
INTRON = "GTAAGT" + "C" * 52 + "AG"
CONTIG = "T" * 100 + EXON_1 + INTRON + EXON_2 + "T" * 10_000
GTF = """\
#!genome-build GRCh38
chr1	X	gene	101	220	.	+	.	gene_id "G";
chr1	X	transcript	101	220	.	+	.	gene_id "G"; transcript_id "T";
chr1	X	exon	101	130	.	+	.	gene_id "G"; transcript_id "T";
chr1	X	CDS	111	130	.	+	0	gene_id "G"; transcript_id "T";
chr1	X	start_codon	111	113	.	+	0	gene_id "G"; transcript_id "T";
chr1	X	exon	191	220	.	+	.	gene_id "G"; transcript_id "T";
chr1	X	CDS	191	203	.	+	1	gene_id "G"; transcript_id "T";
chr1	X	stop_codon	204	206	.	+	0	gene_id "G"; transcript_id "T";
chr1	X	exon	301	310	.	+	.	gene_id "L"; transcript_id "N";
"""
BY_HAND = [
    # 5,000 bases before the first transcript's TSS are chr1's whole beginning here.
    ("100:T:C", "upstream_gene_variant"),
    ("101:C:A", "5_prime_UTR_variant"),
    ("111:A:G", "start_lost"),
    ("113:G:A", "start_lost"),
    ("114:A:G", "missense_variant"),  # AAA -> GAA, Lys -> Glu
    ("116:A:G", "synonymous_variant"),  # AAA -> AAG
    ("114:A:T", "stop_gained"),  # AAA -> TAA
    ("122:G:A", "synonymous_variant"),  # GGG -> GGA
    ("125:T:TA", "frameshift_variant"),
    ("123:TTT:T", "frameshift_variant"),
    ("122:GTTT:G", "inframe_deletion"),
    ("122:G:GAAA", "inframe_insertion"),
    ("123:TTT:AAAAAA", "protein_altering_variant"),
    ("123:TT:AA", "missense_variant"),  # TTT -> AAT
    # The codon TGG spans the exons: TG | G.
    ("129:T:A", "missense_variant"),
    ("130:G:A", "stop_gained"),
    ("191:G:A", "stop_gained"),
    ("191:G:C", "missense_variant"),
    # ATT TAA: the codon before the stop.
    ("202:T:A", "missense_variant"),
    ("203:T:A", "synonymous_variant"),
    ("131:G:A", "splice_donor_variant"),
    ("132:T:C", "splice_donor_variant"),
    ("133:A:C", "splice_region_variant"),
    ("135:G:A", "splice_donor_5th_base_variant"),
    ("138:C:A", "splice_region_variant"),
    ("139:C:A", "intron_variant"),
    ("173:C:A", "intron_variant"),
    ("174:C:A", "splice_polypyrimidine_tract_variant"),
    ("182:C:A", "splice_polypyrimidine_tract_variant"),
    ("183:C:A", "splice_region_variant"),
    ("189:A:C", "splice_acceptor_variant"),
    ("190:G:C", "splice_acceptor_variant"),
    ("206:A:G", "stop_retained_variant"),  # TAA -> TAG
    ("204:T:C", "stop_lost"),
    ("203:TT:T", "frameshift_variant"),
    ("207:C:A", "3_prime_UTR_variant"),
    ("221:T:A", "upstream_gene_variant"),  # of the transcript that follows
    ("305:T:A", "non_coding_transcript_exon_variant"),
    ("311:T:A", "downstream_gene_variant"),
    ("5310:T:A", "downstream_gene_variant"),
    ("5311:T:A", "intergenic_variant"),
    # Between an exon and an intron: neither's; between two bases of a splice site.
    ("130:G:GA", "splice_region_variant"),
    ("131:G:GA", "splice_donor_variant"),
    # A deletion over the border takes the donor away.
    ("129:TGG:T", "splice_donor_variant"),
    ("300:T:<DEL>", None),
]


def variants_of(rows: list[str]) -> pl.DataFrame:
    split = [row.split(":") for row in rows]
    return pl.DataFrame(
        [("chr1", int(pos), ref, alt) for pos, ref, alt in split],
        ["chrom", "pos", "ref", "alt"],
        orient="row",
    )


def fasta(folder, contig=CONTIG, name="1"):
    path = folder / "genome.fa"
    path.write_text(f">{name}\n{contig}\n")
    return path


def test_the_gene_is_as_it_is_described():
    assert CONTIG[110:113] == "ATG"
    assert CONTIG[130:132] + CONTIG[188:190] == "GTAG"
    assert CONTIG[128:130] + CONTIG[190] == "TGG"
    assert CONTIG[200:206] == "ATTTAA"
    for row, _ in BY_HAND:
        pos, ref, _ = row.split(":")
        assert CONTIG[int(pos) - 1 :].startswith(ref), row


@pytest.mark.parametrize("packed", [False, True])
def test_by_hand(tmp_path, packed):
    path = tmp_path / ("genes.gtf.gz" if packed else "genes.gtf")
    path.write_bytes(gzip.compress(GTF.encode()) if packed else GTF.encode())
    genes, reference = read_transcripts(path), open_reference(fasta(tmp_path))
    found = consequences(variants_of([row for row, _ in BY_HAND]), genes, None, reference)
    assert dict(zip((row for row, _ in BY_HAND), found, strict=True)) == dict(BY_HAND)


def test_without_a_reference_coding_substitutions_are_coding(tmp_path):
    (tmp_path / "genes.gtf").write_text(GTF)
    genes = read_transcripts(tmp_path / "genes.gtf")
    found = consequences(variants_of([row for row, _ in BY_HAND]), genes, None, None)
    of_bases = {"missense_variant", "synonymous_variant", "stop_gained", "start_lost", "stop_lost",
                "stop_retained_variant"}  # fmt: skip
    for (row, by_hand), term in zip(BY_HAND, found, strict=True):
        at_exon_end = row.split(":")[0] in ("129", "130", "191")
        coding = "splice_region_variant" if at_exon_end else "coding_sequence_variant"
        assert term == (coding if by_hand in of_bases else by_hand), row


@pytest.mark.parametrize("strand", ["+", "-"])
def test_what_is_near_is_within_5000_bases(tmp_path, strand):
    line = f'chr1\tX\texon\t6001\t6010\t.\t{strand}\t.\tgene_id "G"; transcript_id "T";\n'
    (tmp_path / "genes.gtf").write_text(line)
    places = variants_of([f"{pos}:A:C" for pos in (1000, 1001, 6000, 6011, 11010, 11011)])
    found = consequences(places, read_transcripts(tmp_path / "genes.gtf"), None, None).to_list()
    before, behind = ["upstream_gene_variant"] * 2, ["downstream_gene_variant"] * 2
    near = [*before, *behind] if strand == "+" else [*behind, *before]
    assert found == ["intergenic_variant", *near, "intergenic_variant"]


# The slow twin ------------------------------------------------------------------------------------

CODE = dict(
    zip(
        (a + b + c for a in "TCAG" for b in "TCAG" for c in "TCAG"),
        "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG",
        strict=True,
    )
)
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def random_genes(rng, contig: str) -> list[dict]:
    """Transcripts of one to four exons on either strand, with and without coding sequence."""
    made = []
    for number in range(30):
        cuts = np.sort(rng.choice(np.arange(6_000, len(contig) - 6_000), 8, replace=False))
        exons = [(int(a), int(b)) for a, b in cuts.reshape(4, 2) if b - a > 40]
        exons = [e for k, e in enumerate(exons) if k == 0 or e[0] - exons[k - 1][1] > 40]
        if not exons:
            continue
        bases = [p for start, stop in exons for p in range(start, stop)]
        strand = "+-"[number % 2]
        coding: list[int] = []
        if number % 3 and len(bases) > 30:
            size = 3 * int(rng.integers(3, (len(bases) - 10) // 3))
            first = int(rng.integers(1, len(bases) - size))
            coding = bases[first : first + size]
        made.append({"name": f"T{number}", "strand": strand, "exons": exons, "coding": coding})
    return made


def runs(places: list[int]) -> Iterator[tuple[int, int]]:
    """Stretches of neighbouring places."""
    start = None
    for here, following in zip(places, [*places[1:], -1], strict=False):
        start = here if start is None else start
        if following != here + 1:
            yield start, here + 1
            start = None


def as_gtf(genes: list[dict]) -> str:
    lines = []
    for gene in genes:
        said = f'gene_id "{gene["name"]}"; transcript_id "{gene["name"]}";'

        def line(kind, start, stop, frame, said=said, gene=gene):
            fields = ("2", "X", kind, start + 1, stop, ".", gene["strand"], frame, said)
            lines.append("\t".join(map(str, fields)))

        for start, stop in gene["exons"]:
            line("exon", start, stop, ".")
        read = gene["coding"] if gene["strand"] == "+" else gene["coding"][::-1]
        for start, stop in runs(sorted(read[:-3])):
            line("CDS", start, stop, ".")
        for kind, codon in (("start_codon", read[:3]), ("stop_codon", read[-3:])):
            for start, stop in runs(sorted(codon)):
                line(kind, start, stop, "0")
    return "\n".join(lines) + "\n"


def twin(gene: dict, contig: str, place: int, alt: str) -> Iterator[str]:
    """Terms of an SNV in one transcript, told base by base."""
    exons, strand, coding = gene["exons"], gene["strand"], gene["coding"]
    first, last = exons[0][0], exons[-1][1]
    if not first <= place < last:
        gap = first - place if place < first else place - last + 1
        if gap <= 5000:
            is_before = (place < first) == (strand == "+")
            yield "upstream_gene_variant" if is_before else "downstream_gene_variant"
        return
    for (_, left), (right, _) in pairwise(exons):
        into_left, into_right = place - left + 1, right - place
        if into_left >= 1 and into_right >= 1:
            yield "intron_variant"
        donor, acceptor = (into_left, into_right) if strand == "+" else (into_right, into_left)
        # 1 is the intron's first base, 0 the exon's last.
        names = {
            "splice_donor_variant": 1 <= donor <= 2,
            "splice_acceptor_variant": 1 <= acceptor <= 2,
            "splice_donor_5th_base_variant": donor == 5,
            "splice_donor_region_variant": 3 <= donor <= 6,
            "splice_polypyrimidine_tract_variant": 3 <= acceptor <= 17,
            "splice_region_variant": -2 <= donor <= 8 or -2 <= acceptor <= 8,
        }
        yield from (name for name, holds in names.items() if holds)
    if not any(start <= place < stop for start, stop in exons):
        return
    if not coding:
        yield "non_coding_transcript_exon_variant"
    elif place in coding:
        changed = contig[:place] + alt + contig[place + 1 :]
        spelled = ["".join(text[p] for p in coding) for text in (contig, changed)]
        if strand == "-":
            spelled = [text[::-1].translate(COMPLEMENT) for text in spelled]
        index = coding.index(place) if strand == "+" else len(coding) - 1 - coding.index(place)
        was, becomes = (CODE[text[index // 3 * 3 :][:3]] for text in spelled)
        if index < 3:
            yield "start_retained_variant" if becomes == "M" else "start_lost"
        elif was == "*":
            yield "stop_retained_variant" if becomes == "*" else "stop_lost"
        elif becomes == "*":
            yield "stop_gained"
        else:
            yield "synonymous_variant" if was == becomes else "missense_variant"
    else:
        is_five = (place < coding[0]) == (strand == "+")
        yield "5_prime_UTR_variant" if is_five else "3_prime_UTR_variant"


@pytest.mark.parametrize("seed", [1, 2])
def test_snvs_equal_plain_loops(tmp_path, seed):
    rng = np.random.default_rng(seed)
    contig = dna.decode(rng.integers(0, 4, 24_000).astype(np.uint8))
    genes = random_genes(rng, contig)
    (tmp_path / "genes.gtf").write_text(as_gtf(genes))
    places = rng.choice(len(contig), 800, replace=False)
    alts = ["ACGT".replace(contig[p], "")[int(rng.integers(3))] for p in places]
    variants = pl.DataFrame(
        {"chrom": "chr2", "pos": places + 1, "ref": [contig[p] for p in places], "alt": alts}
    )
    reference = open_reference(fasta(tmp_path, contig, "2"))
    found = consequences(variants, read_transcripts(tmp_path / "genes.gtf"), None, reference)
    expected = []
    for place, alt in zip(places, alts, strict=True):
        terms = [term for gene in genes for term in twin(gene, contig, int(place), alt)]
        expected.append(min(terms, key=SEVERITY.__getitem__, default="intergenic_variant"))
    assert found.to_list() == expected
    assert len({*expected}) >= 10


# Regions and the command --------------------------------------------------------------------------

CCRE = """\
chr1	130	140	EH38D1	EH38E1	dELS,CTCF-bound
chr1	135	136	EH38D2	EH38E2	PLS
chr1	300	400	EH38D3	EH38E3	CA-TF
1	5990	6010	EH38D4	EH38E4	something
"""


@pytest.fixture
def annotation(tmp_path):
    (tmp_path / "genes.gtf").write_text(GTF)
    (tmp_path / "ccre.bed").write_text(CCRE)
    fasta(tmp_path)
    return tmp_path


def test_elements_name_what_is_outside_exons(annotation):
    regions = read_regions(annotation / "ccre.bed", REGION_CLASSES)
    assert regions["name"].to_list() == ["dELS", "PLS", "CA-TF", None]
    rows = ["131:G:A", "139:C:A", "305:T:A", "350:T:A", "6000:T:A", "7000:T:A"]
    genes = read_transcripts(annotation / "genes.gtf")
    both = consequences(variants_of(rows), genes, regions, None)
    assert both.to_list() == [
        "splice_donor_variant", "dELS", "non_coding_transcript_exon_variant", "CA-TF",
        "regulatory_region_variant", "intergenic_variant",
    ]  # fmt: skip
    alone = consequences(variants_of([*rows, "136:T:A"]), None, regions, None)
    assert alone.to_list() == [
        "dELS", "dELS", "CA-TF", "CA-TF", "regulatory_region_variant", None, "PLS",
    ]  # fmt: skip


def test_only_labels_without_a_consequence_get_one(annotation):
    table = labels(
        {"at": "1:114:A:G", "label": True},
        {"at": "1:116:A:G", "label": True, "consequence": "intron_variant"},
        {"at": "chr1:139:C:A", "label": False},
        {"at": "chr7:139:C:A", "label": False},
    )
    source, out = annotation / "in.parquet", annotation / "out.parquet"
    with table_writer(source, LABELS, "{}", lambda: "{}") as write:
        write(table)
    given = {"command": "", "annotation": [annotation / "genes.gtf"]}
    counts = add_consequences(source, out, reference=annotation / "genome.fa", **given)
    # chr7 has no gene in this annotation: nothing is known of it.
    assert read_labels(out)["consequence"].to_list() == [
        "missense_variant", "intron_variant", "intron_variant", None,
    ]  # fmt: skip
    assert (counts.read, counts.written) == (4, 4)
    beds = [annotation / "ccre.bed", annotation / "ccre.bed"]
    for options, message in (
        ({"annotation": beds}, "given 0 GTFs and 2 BEDs"),
        ({"annotation": []}, "expected one of either"),
        ({"annotation": beds[:1], "reference": annotation / "genome.fa"}, "--annotation genes.gtf"),
    ):
        with pytest.raises(ConfigError, match=message):
            add_consequences(source, annotation / "no.parquet", command="", **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GTF.replace('transcript_id "T"', "transcript=T"), r'exons without transcript_id "..."'),
        ("chr1\tX\tgene\t1\t9\t.\t+\t.\tx\n", "expected lines of exon, CDS"),
        (GTF.replace("\t101\t130", "\tx\t130"), "not a complete table"),
    ],
)
def test_bad_gtfs(tmp_path, text, message):
    (tmp_path / "genes.gtf").write_text(text)
    with pytest.raises(InputError, match=message):
        read_transcripts(tmp_path / "genes.gtf")
    with pytest.raises(InputError, match="no such annotation"):
        read_transcripts(tmp_path / "none.gtf")


def test_mitochondria_have_a_code_of_their_own(tmp_path):
    """TGA is Trp there: AGA is a stop."""
    contig = "C" * 20 + "ATGTGGTTAAGA" + "C" * 20
    gtf = GTF.splitlines()[2].replace("chr1", "chrM").replace("\t101\t220", "\t{}\t{}")
    kinds = [("exon", 21, 32), ("CDS", 21, 29), ("start_codon", 21, 23), ("stop_codon", 30, 32)]
    lines = [gtf.format(a, b).replace("transcript\t", f"{kind}\t", 1) for kind, a, b in kinds]
    (tmp_path / "m.gtf").write_text("\n".join(lines) + "\n")
    rows = [("MT", 26, "G", "A"), ("MT", 23, "G", "A"), ("MT", 32, "A", "G"), ("MT", 30, "A", "C")]
    variants = pl.DataFrame(rows, ["chrom", "pos", "ref", "alt"], orient="row")
    reference = open_reference(fasta(tmp_path, contig, "chrM"))
    found = consequences(variants, read_transcripts(tmp_path / "m.gtf"), None, reference)
    assert found.to_list() == [
        "synonymous_variant", "start_retained_variant", "stop_retained_variant", "stop_lost",
    ]  # fmt: skip
