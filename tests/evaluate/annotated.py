"""Annotated VCFs whose numbers a test chooses, as ``ntvep score`` writes them."""

import gzip
from dataclasses import replace

from ntvep.provenance import fingerprint
from ntvep.settings import Settings
from tests.evaluate.synthetic import provenance

VEP = (
    '##INFO=<ID=CSQ,Number=.,Type=String,Description="Consequence annotations from Ensembl VEP. '
    "Format: Allele|Consequence|IMPACT|SYMBOL|Gene|Feature_type|Feature|HGVSc|HGVSp|CANONICAL|"
    'MANE_SELECT">'
)
SNPEFF = (
    "##INFO=<ID=ANN,Number=.,Type=String,Description=\"Functional annotations: 'Allele | "
    "Annotation | Annotation_Impact | Gene_Name | Gene_ID | Feature_Type | Feature_ID | "
    "Transcript_BioType | Rank | HGVS.c | HGVS.p | cDNA.pos / cDNA.length' \">"
)
BCSQ = (
    '##INFO=<ID=BCSQ,Number=.,Type=String,Description="Local consequence annotation from '
    "BCFtools/csq, see http://samtools.github.io/bcftools/howtos/csq-calling.html for details. "
    'Format: [*]consequence|gene|transcript|biotype|strand|amino_acid_change|dna_change">'
)
SCORES = {"llr": "LLR", "pll_delta": "PLL_DELTA", "cosine_distance": "COS"}


def write_vcf(path, records, samples=(), model="NT", tag="", scores=tuple(SCORES), header=()):
    """A VCF.

    Args:
        path: .vcf or .vcf.gz (of gzip).
        records: ``(chrom, pos, ref, alt, info, *genotypes)``; info holds all keys.
        samples: their names.
        model: name of the model.
        tag: of its keys.
        scores: that the header declares.
        header: more lines.
    """
    made = provenance(model, weights=model[0].lower())
    settings = Settings(scores=scores)
    made = replace(made, settings=settings, fingerprint=fingerprint(made.model, settings))
    keys = [f"NTVEP_{tag}_{SCORES[n]}" if tag else f"NTVEP_{SCORES[n]}" for n in scores]
    status = f"NTVEP_{tag}_STATUS" if tag else "NTVEP_STATUS"
    lines = [
        "##fileformat=VCFv4.2",
        "##contig=<ID=chr22,length=50818468>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        *header,
        f'##INFO=<ID={status},Number=A,Type=String,Description="why">',
        *(f'##INFO=<ID={key},Number=A,Type=Float,Description="a score">' for key in keys),
        *made.vcf_lines(tag),
        "\t".join(
            ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"]
            + (["FORMAT", *samples] if samples else [])
        ),
    ]
    for number, (chrom, pos, ref, alt, info, *genotypes) in enumerate(records, 1):
        fields = [chrom, pos, f"rs{number}", ref, alt, ".", "PASS", info]
        lines.append("\t".join(map(str, fields + (["GT", *genotypes] if samples else []))))
    text = "\n".join(lines) + "\n"
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        file.write(text)
    return path


def said(status, llr, pll, cos):
    """INFO of a record, its values joined by commas."""
    keys = ("STATUS", "LLR", "PLL_DELTA", "COS")
    values = zip(keys, (status, llr, pll, cos), strict=True)
    return ";".join(f"NTVEP_{key}={value}" for key, value in values)
