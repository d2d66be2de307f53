"""Write the workflow demo's inputs: two samples' VCFs, a sheet and labels, out of the demo's VCF.

    python recipes/demo_samples.py    # writes .test/, the same bytes every time

The genotypes are simulated; nobody has them. Each sample has a part of the observed and of the
simulated variants, half of it in common with the other, and all odd records.
"""

import random
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "ntvep" / "demo" / "demo.vcf"
OUTPUT = ROOT / ".test"
# Matched pairs of an observed and a simulated variant that both samples have, and each alone.
SHARED, OWN = 200, 120
SEXES = {"sample_a": "female", "sample_b": "male"}
FORMAT = '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype, simulated">\n'


def main() -> None:
    """Write all files."""
    lines = SOURCE.read_text().splitlines(keepends=True)
    header = [line for line in lines if line.startswith("##")]
    records = [line for line in lines if not line.startswith("#")]
    sorts = {sort: [] for sort in ("observed", "simulated", "odd")}
    for number, line in enumerate(records):
        sorts[line.split("SOURCE=")[1].split(";")[0].strip()].append(number)
    draw = random.Random(1)
    size = SHARED + 2 * OWN
    chosen = [draw.sample(sorts[sort], size) for sort in ("observed", "simulated")]
    (OUTPUT / "samples").mkdir(parents=True, exist_ok=True)
    sheet, labels = ["sample\tvcf\tsex\n"], ["chrom\tpos\tref\talt\tsource\n"]
    for which, (name, sex) in enumerate(SEXES.items()):
        own = slice(SHARED + which * OWN, SHARED + (which + 1) * OWN)
        some = [*sorts["odd"], *(n for sort in chosen for n in (*sort[:SHARED], *sort[own]))]
        body = [_with_genotype(records[number], draw) for number in sorted(some)]
        columns = "#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT".replace(" ", "\t")
        text = "".join([*header, FORMAT, f"{columns}\t{name}\n", *body])
        (OUTPUT / "samples" / f"{name}.vcf").write_text(text)
        sheet.append(f"{name}\t.test/samples/{name}.vcf\t{sex}\n")
    for sort, numbers in zip(("observed", "simulated"), chosen, strict=True):
        for number in sorted(numbers):
            chrom, pos, _, ref, alt, _ = records[number].split("\t", 5)
            labels.append(f"{chrom}\t{pos}\t{ref}\t{alt}\t{sort}\n")
    (OUTPUT / "samples.tsv").write_text("".join(sheet))
    (OUTPUT / "labels.tsv").write_text("".join(labels))


def _with_genotype(record: str, draw: random.Random) -> str:
    alleles = record.split("\t")[4].count(",") + 1
    genotype = sorted(draw.choice(((0, 1), (1, 1), (0, alleles))))
    return f"{record.rstrip()}\tGT\t{genotype[0]}/{genotype[1]}\n"


if __name__ == "__main__":
    main()
