"""Write the demo's VCF: observed variants, equally many simulated ones, and two dozen odd records.

    python recipes/demo_vcf.py        # writes ntvep/demo/demo.vcf, the same bytes every time

A simulated SNV repeats an observed one's trinucleotide and substitution at another place, drawn at
random. A simulated indel repeats an observed one's class and length; it is left-aligned, as the
observed ones are. No simulated variant touches an observed one or another simulated one.
"""

import argparse
import gzip
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SLICE = ROOT / "ntvep" / "demo" / "chr22_20012478_20215143.grch38.fa.gz"
OBSERVED = ROOT / "recipes" / "dbsnp_common.grch38.vcf"
OUTPUT = ROOT / "ntvep" / "demo" / "demo.vcf"

HEADER = """\
##fileformat=VCFv4.3
##reference=GRCh38
##source=recipes/demo_vcf.py, seed {seed}
##contig=<ID=chr21,length=46709983,assembly=GRCh38>
##contig=<ID=chr22,length=50818468,assembly=GRCh38>
##ALT=<ID=CNV,Description="Copy number variation">
##ALT=<ID=DEL,Description="Deletion">
##ALT=<ID=NON_REF,Description="Any other allele">
##INFO=<ID=SOURCE,Number=1,Type=String,Description="observed: common dbSNP variant (public domain, \
recipes/dbsnp_common.grch38.vcf); simulated: drawn at random in the same slice, matched one by one \
to the observed: SNVs in trinucleotide and substitution, indels in class and length, never at an \
observed site, inserted bases copied from a random place of the slice; odd: written by hand, what \
a scorer must survive">
##INFO=<ID=EXPECTED,Number=.,Type=String,Description="Odd records: the status that each ALT must \
get, with windows of 128 tokens of this slice, 2 views and alleles of up to 50 bases">
##INFO=<ID=SVTYPE,Number=1,Type=String,Description="Type of structural variant">
##INFO=<ID=END,Number=1,Type=Integer,Description="Last position of the record">
##INFO=<ID=MATEID,Number=.,Type=String,Description="ID of the mate breakend">
#CHROM	POS	ID	REF	ALT	QUAL	FILTER	INFO
"""


@dataclass(frozen=True)
class Slice:
    """A stretch of a contig: ``bases[0]`` is at ``start`` (1-based)."""

    start: int
    bases: str

    @property
    def stop(self) -> int:
        """The last position, 1-based."""
        return self.start + len(self.bases) - 1

    def at(self, pos: int, length: int = 1) -> str:
        """``length`` bases from ``pos`` (1-based)."""
        if not self.start <= pos <= pos + length - 1 <= self.stop:
            raise ValueError(f"{pos} + {length} lies outside {self.start}-{self.stop}")
        return self.bases[pos - self.start : pos - self.start + length]


@dataclass(frozen=True)
class Record:
    """One line of the VCF."""

    pos: int
    id: str
    ref: str
    alt: str
    info: str
    chrom: str = "chr22"
    filter: str = "PASS"

    def line(self) -> str:
        """The text of this record."""
        fields = (self.chrom, self.pos, self.id, self.ref, self.alt, ".", self.filter, self.info)
        return "\t".join(map(str, fields)) + "\n"


def read_slice(path: Path = SLICE) -> Slice:
    """Read the reference slice, whose record is named contig:start-end."""
    with gzip.open(path, "rt", encoding="ascii") as handle:
        name = handle.readline()[1:].split()[0]
        bases = "".join(line.strip() for line in handle).upper()
    start, stop = map(int, name.rpartition(":")[2].split("-"))
    if stop - start + 1 != len(bases):
        raise ValueError(f"{path}: {len(bases)} bases, but the name says {name}")
    return Slice(start, bases)


def read_observed(path: Path = OBSERVED) -> list[Record]:
    """Read the observed variants: biallelic SNVs, deletions and insertions."""
    records = []
    for line in path.read_text("ascii").splitlines():
        if not line.startswith("#"):
            _, pos, identifier, ref, alt = line.split("\t")[:5]
            records.append(Record(int(pos), identifier, ref, alt, "SOURCE=observed"))
    return records


def simulate(observed: list[Record], chr22: Slice, rng: random.Random) -> list[Record]:
    """One simulated variant for each observed one, in the same order."""
    taken = {pos for r in observed for pos in range(r.pos - 1, r.pos + len(r.ref) + 1)}
    places: dict[str, list[int]] = {}
    for pos in range(chr22.start + 1, chr22.stop):
        places.setdefault(chr22.at(pos - 1, 3), []).append(pos)
    records = []
    for like in observed:
        while True:
            if len(like.ref) == len(like.alt):
                choice = places[chr22.at(like.pos - 1, 3)]
                new = _simulated(choice[_below(rng, len(choice))], like.ref, like.alt)
            else:
                new = _indel(like, chr22, rng)
            span = range(new.pos, new.pos + len(new.ref))
            if taken.isdisjoint(span):
                break
        taken.update(span)
        records.append(new)
    return records


def _below(rng: random.Random, limit: int) -> int:
    """A number from 0 to limit - 1. Only random() is promised to stay the same across Pythons."""
    return int(rng.random() * limit)


def _simulated(pos: int, ref: str, alt: str) -> Record:
    return Record(pos, ".", ref, alt, "SOURCE=simulated")


def _indel(like: Record, chr22: Slice, rng: random.Random) -> Record:
    """An indel of the same class and length somewhere, left-aligned, with its base before it."""
    size = abs(len(like.ref) - len(like.alt))
    pos = chr22.start + 1 + _below(rng, len(chr22.bases) - size - 1)
    if len(like.ref) > len(like.alt):
        changed = chr22.at(pos, size)
    else:
        changed = chr22.at(chr22.start + _below(rng, len(chr22.bases) - size), size)
    before = chr22.at(pos - 1)
    while before == changed[-1] and pos - 1 > chr22.start:
        pos, changed = pos - 1, before + changed[:-1]
        before = chr22.at(pos - 1)
    if len(like.ref) > len(like.alt):
        return _simulated(pos - 1, before + changed, before)
    return _simulated(pos - 1, before, before + changed)


def odd(chr22: Slice, twice: Record) -> Iterator[Record]:
    """Records that a scorer must survive, with the status that each ALT must get."""

    def record(
        pos: int, name: str, alt: str, expected: str, size: int = 1, ref: str = "", more: str = ""
    ) -> Record:
        info = f"SOURCE=odd;EXPECTED={expected}{more}"
        return Record(pos, f"odd_{name}", ref or chr22.at(pos, size), alt, info)

    def other(pos: int, step: int = 1) -> str:
        """A base that the reference does not have at ``pos``."""
        return "ACGT"[("ACGT".index(chr22.at(pos)) + step) % 4]

    yield Record(
        20_100_000,
        "odd_other_contig",
        "A",
        "G",
        "SOURCE=odd;EXPECTED=contig_not_in_reference",
        chrom="chr21",
    )
    yield record(20_012_000, "before_slice", "G", "position_out_of_range", ref="A")
    yield record(20_215_500, "behind_slice", "A", "position_out_of_range", ref="G")
    # Phase 0 of the genome-wide grid leaves one base over at the slice's start, three at its end.
    yield record(chr22.start, "first_base", other(chr22.start), "at_contig_end")
    yield record(chr22.start + 1, "second_base", other(chr22.start + 1), "ok")
    yield record(chr22.stop, "last_base", other(chr22.stop), "at_contig_end")
    pos = 20_020_000
    yield record(pos, "ref_mismatch", other(pos, 2), "ref_mismatch", ref=other(pos))
    pos = 20_025_000
    yield record(pos, "swapped", chr22.at(pos), "ref_mismatch", ref=other(pos))
    pos = 20_030_000
    more = f";SVTYPE=DEL;END={pos + 1000}"
    yield record(pos, "symbolic_del", "<DEL>", "symbolic_allele", more=more)
    pos = 20_035_000
    more = f";SVTYPE=CNV;END={pos + 1000}"
    yield record(pos, "symbolic_cnv", f"{other(pos)},<CNV>", "ok,symbolic_allele", more=more)
    left, right = 20_040_000, 20_045_000
    for here, there, name, mate in (
        (left, right, "breakend_1", "breakend_2"),
        (right, left, "breakend_2", "breakend_1"),
    ):
        base = chr22.at(here)
        alt = f"{base}[chr22:{there}[" if here < there else f"]chr22:{there}]{base}"
        yield record(here, name, alt, "breakend", more=f";SVTYPE=BND;MATEID=odd_{mate}")
    pos = 20_050_000
    yield record(pos, "single_breakend", f"{chr22.at(pos)}.", "breakend", more=";SVTYPE=BND")
    pos = 20_055_000
    yield record(pos, "star", "*", "spanning_deletion")
    pos = 20_060_000
    alt = f"{other(pos)},*,{other(pos, 2)}"
    yield record(pos, "star_among_bases", alt, "ok,spanning_deletion,ok")
    yield record(20_065_000, "no_alt", ".", "no_alt")
    pos = 20_070_000
    yield record(pos, "gvcf_block", "<NON_REF>", "no_alt", more=f";END={pos + 99}")
    pos = 20_075_000
    yield record(pos, "gvcf_variant", f"{other(pos)},<NON_REF>", "ok,no_alt")
    yield record(20_080_000, "n_in_alt", "N", "ambiguous_base")
    pos = 20_085_000
    yield record(pos, "n_in_ref", other(pos), "ambiguous_base", ref="N")
    pos = 20_090_000
    yield record(pos, "long_deletion", chr22.at(pos), "allele_too_long", size=61)
    pos = 20_095_000
    alt = chr22.at(pos) + chr22.at(20_150_000, 60)
    yield record(pos, "long_insertion", alt, "allele_too_long")
    pos = 20_100_000
    yield record(pos, "same_as_ref", chr22.at(pos), "same_as_ref")
    pos = 20_105_000
    alt = f"{other(pos)},{other(pos)}{chr22.at(pos + 1)},{other(pos)}{other(pos + 1)}"
    yield record(pos, "multi_allelic", alt, "ok,ok,ok", size=2)
    pos = 20_110_000
    yield record(pos, "mnv", other(pos) + other(pos + 1) + other(pos + 2), "ok", size=3)
    pos = 20_115_000
    yield record(pos, "delins", other(pos) + other(pos + 4), "ok", size=5)
    pos = 20_120_000
    yield record(pos, "six_bp_deletion", chr22.at(pos), "ok", size=7)
    pos = 20_125_000
    yield record(pos, "lower_case", other(pos).lower(), "ok", ref=chr22.at(pos).lower())
    pos = 20_130_000
    alt = chr22.at(pos) + other(pos + 1) + chr22.at(pos + 2)
    yield record(pos, "padded_snv", alt, "ok", size=3)
    yield record(twice.pos, "duplicate", twice.alt, "ok", ref=twice.ref)


def demo_vcf(chr22: Slice, observed: list[Record], seed: int) -> str:
    """The whole file, sorted."""
    rng = random.Random(seed)
    records = [*observed, *simulate(observed, chr22, rng), *odd(chr22, observed[0])]
    records.sort(key=lambda r: (r.chrom, r.pos))
    return HEADER.format(seed=seed) + "".join(record.line() for record in records)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, default=SLICE)
    parser.add_argument("--observed", type=Path, default=OBSERVED)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    text = demo_vcf(read_slice(options.reference), read_observed(options.observed), options.seed)
    options.output.write_text(text, encoding="ascii", newline="\n")


if __name__ == "__main__":
    main()
