"""A generator of odd VCFs: what the specification allows, and lines that must be refused."""

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.io.files import SITES

# Every status that text can cause has an ALT here; the others need a reference.
ALTS = (
    "C", "a", "GT", "ACGTACGT", "<DEL>", "<INS:ME:ALU>", "<CNV:TR>", "<*>", "<NON_REF>", ".", "*",
    "N", "CRY", "G]17:198982]", "]13:123456]T", "C[<ctg1>:7[", ".A", "A.", "<a|b>", "A" * 60,
)  # fmt: skip
CHROMS = ("1", "chr1", "20", "HLA-A*01:01", "<ctg1>", "NC_000001.11", "é", "chrUn_KI270302v1")
INFOS = (
    "DP=5", "DB", "AF=0.5,.", "X=%3D%3B%25%2C", 'Q="quoted;', "E=", "=v", "K=a=b", "é=ü", "A B=c",
    "END=100", "CSQ=a|b|c&d", "NTVEP_LLR=1", "NTVEP_STATUS=ok", "NTVEPX=2", "CIGAR=1M2D", "x" * 300,
)  # fmt: skip
GENOTYPES = ("0/1", "1|0", ".", "./.", "0", "0/1/2/3", "/0|1", "|1", ".|.", "0|0|1", "10/11")
HEADER = (
    '##INFO=<ID=DP,Number=1,Type=Integer,Description="depth \\"really\\", \\\\ and <,>">',
    '##INFO=<Description="ID last, with a comma",Number=A,Type=Float,ID=AF>',
    '##INFO=<ID=NTVEP_LLR,Number=A,Type=Float,Description="of an earlier run">',
    "##ntvep_scores=<Model=old>",
    '##FILTER=<ID=q10,Description="">',
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype",IDX=7>',
    "##contig=<ID=1,length=249250621,md5=1b22,assembly=B37,species=\"Homo sapiens\">",
    "##contig=<ID=HLA-A*01:01,length=3503>",
    "##contig=<ID=20>",
    '##ALT=<ID=DEL,Description="é %2C">',
    "##META=<ID=Assay,Type=String,Number=.,Values=[a, b]>",
    "##SAMPLE=<ID=S0,Genomes=Germline;Tumor,Mixture=.3;.7>",
    "##PEDIGREE=<Child=S0,Mother=S1>",
    "##source=a b\tc",
    "##",
    "##=",
    "##key",
)  # fmt: skip
BAD = (
    "1\t5", "1 5 . A C . . .", "1\tx\t.\tA\tC\t.\t.\t.", "1\t-1\t.\tA\tC\t.\t.\t.",
    "1\t9\t.\t\tC\t.\t.\t.", "1\t9\t.\tA\tC,,G\t.\t.\t.", "#1\t9\t.\tA\tC\t.\t.\t.",
    "##INFO=<ID=X>",
    "1\t9\t.\tA\tC\t.\t.\tX=\0", "1\t2147483648\t.\tA\tC\t.\t.\t.", "\t\t\t\t\t\t\t",
)  # fmt: skip


@dataclass(frozen=True)
class OddVcf:
    """A VCF's text, the numbers of those of its lines that are not records, and how many are."""

    text: bytes
    bad: tuple[int, ...]
    records: int


@st.composite
def odd_vcfs(draw: st.DrawFn, most_records: int = 6) -> OddVcf:
    samples = draw(st.sampled_from([0, 0, 1, 2, 3, 50, 1000]))
    head = ["##fileformat=VCFv4." + str(draw(st.integers(0, 5)))] * draw(st.integers(0, 1))
    head += draw(st.permutations(HEADER))[: draw(st.integers(0, len(HEADER)))]
    names = "".join(f"\tS{i}" for i in range(samples))
    blank = draw(st.sampled_from([0, 0, 0, 1, len(head)]))
    head[blank:blank] = [""] if blank else []
    head.append(SITES.decode() + ("\tFORMAT" + names if samples else ""))
    head[-1] += draw(st.sampled_from(["", "", "", "\t", "\t\t"]))
    lines, bad, records = [*head], [], 0
    for _ in range(draw(st.integers(0, most_records))):
        if draw(st.integers(0, 9)) == 0:
            lines.append("")
        elif draw(st.integers(0, 9)) == 0:
            wrong = draw(st.sampled_from(BAD))
            lines.append(wrong + "\tGT" + "\t0/1" * samples if samples else wrong)
            bad.append(len(lines))
        else:
            lines.append(draw(_records(samples)))
            records += 1
    ends = draw(st.lists(st.sampled_from(["\n", "\n", "\r\n"]), min_size=1, max_size=3))
    text = "".join(line + ends[i % len(ends)] for i, line in enumerate(lines))
    # Without its last line end; but a blank line that has none is not a line.
    if lines[-1] and draw(st.booleans()):
        text = text.rstrip("\r\n") if lines[-1].strip("\t") else text
    bom = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    return OddVcf(bom + text.encode(), tuple(bad), records)


@st.composite
def _records(draw: st.DrawFn, samples: int) -> str:
    few = st.lists(st.sampled_from(ALTS), min_size=1, max_size=4)
    many = st.lists(st.sampled_from(ALTS), min_size=100, max_size=100)
    alts = draw(st.one_of(few, few, few, many))
    infos = draw(st.lists(st.sampled_from(INFOS), max_size=5))
    fields = [
        draw(st.sampled_from(CHROMS)),
        str(draw(st.one_of(st.integers(0, 300), st.just(2**31 - 1), st.just(10**8)))),
        draw(st.sampled_from([".", "rs1", "rs1;rs2", "é", "", "a b"])),
        draw(st.sampled_from(["A", "ACGT", "n", "T", "."])),
        ",".join(alts),
        draw(st.sampled_from([".", "30", "1e-5", "inf", ""])),
        draw(st.sampled_from([".", "PASS", "q10;s50", "0", ""])),
        ";".join(infos) or draw(st.sampled_from([".", "", ";"])),
    ]
    if samples:
        keys = draw(st.sampled_from(["GT", "GT:DP:FT", "DP:GT", "."]))
        genotypes = draw(st.lists(st.sampled_from(GENOTYPES), min_size=1, max_size=4))
        fields += [keys, *(genotypes[i % len(genotypes)] for i in range(samples))]
    return "\t".join(fields)
