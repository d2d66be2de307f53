"""CSQ, ANN, BCSQ of INFO -> what VEP, SnpEff and bcftools csq say of each ALT."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from urllib.parse import unquote

import polars as pl

from ntvep.io.vcf import info_of

# Keys in the order in which one is taken: VEP (and as gnomAD calls it), SnpEff, bcftools csq.
_KEYS = ("CSQ", "vep", "ANN", "BCSQ")
_DECLARED = re.compile(r'##INFO=<ID=(\w+),.*Description="(.*)"')
# "... Format: A|B|C" of VEP and bcftools, "... annotations: 'A | B | C' " of SnpEff.
_FORMAT = re.compile(r"(?:Format:|annotations:)\s*'?([^']*)'?")
_NAMES: Mapping[str, Sequence[str]] = {
    "consequence": ("consequence", "annotation"),
    "gene": ("symbol", "gene_name", "gene"),
    "transcript": ("feature", "feature_id", "transcript"),
    "protein": ("hgvsp", "hgvs.p", "amino_acid_change"),
    "dna": ("hgvsc", "hgvs.c", "dna_change"),
    "allele": ("allele",),
    "number": ("allele_num",),
    "mane": ("mane_select",),
    "canonical": ("canonical",),
    "pick": ("pick",),
}
ENTRIES = pl.Schema(
    {
        "record": pl.UInt32(),
        "allele": pl.UInt16(),
        "consequence": pl.String(),
        "gene": pl.String(),
        "transcript": pl.String(),
        "change": pl.String(),
        "preferred": pl.UInt8(),
    }
)
"""Columns of :func:`entries_in`; ``preferred`` is 0 for MANE Select, 1 canonical, 2 picked, 3."""


@dataclass(frozen=True)
class Annotation:
    """Which key a header declares, and the order of the fields in an entry of it.

    Attributes:
        key: of INFO.
        places: our names of parts -> their numbers.
    """

    key: str
    places: Mapping[str, int]


def annotation_in(header: Sequence[bytes]) -> Annotation | None:
    """The annotation that a header declares; None if it declares none that we can read."""
    found = {}
    for line in header:
        match = _DECLARED.match(line.decode("utf-8", "replace"))
        if match and match[1] in _KEYS and (named := _FORMAT.search(match[2])):
            names = [name.strip(" []*").lower() for name in named[1].split("|")]
            places = {
                ours: next((names.index(spelled) for spelled in theirs if spelled in names), -1)
                for ours, theirs in _NAMES.items()
            }
            if places["consequence"] >= 0:
                found[match[1]] = Annotation(match[1], places)
    return next((found[key] for key in _KEYS if key in found), None)


def entries_in(
    alleles: pl.DataFrame, lines: Sequence[bytes], annotation: Annotation
) -> pl.DataFrame:
    """Every entry that is of an allele, in the order of the file: :data:`ENTRIES`.

    Args:
        alleles: ALLELES of these records, in order.
        lines: the records.
        annotation: that their header declares.
    """
    records = alleles.group_by("record", maintain_order=True).agg(pl.col("ref").first(), "alt")
    rows: list[tuple[object, ...]] = []
    start = f"{annotation.key}="
    for line, (record, ref, alts) in zip(lines, records.iter_rows(), strict=True):
        for text in info_of(line).split(";"):
            if text.startswith(start):
                for entry in text.removeprefix(start).split(","):
                    said = _Entry(entry.split("|"), annotation.places)
                    rows += [
                        (record, allele, *said.of_transcript())
                        for allele in said.alleles(str(ref), alts)
                    ]
    return pl.DataFrame(rows, schema=ENTRIES, orient="row")


@dataclass(frozen=True)
class _Entry:
    parts: Sequence[str]
    places: Mapping[str, int]

    def get(self, name: str) -> str:
        place = self.places[name]
        return unquote(self.parts[place]).strip() if 0 <= place < len(self.parts) else ""

    def of_transcript(self) -> tuple[str | int | None, ...]:
        # bcftools csq: "*" after a stop; "@123": told at that record, for the two act together.
        consequence = self.get("consequence").lstrip("*")
        if consequence.startswith("@"):
            consequence = f"see {consequence[1:]}"
        marks = (self.get("mane"), self.get("canonical") == "YES", self.get("pick") == "1")
        preferred = len([*takewhile(lambda mark: not mark, marks)])
        # ENSP00000300305.3:p.Val600Glu: the change only; its transcript has a field of its own.
        change = (self.get("protein") or self.get("dna")).rpartition(":")[2]
        said = (consequence, self.get("gene"), self.get("transcript"), change)
        return (*(text or None for text in said), preferred)

    def alleles(self, ref: str, alts: Sequence[str]) -> Iterator[int]:
        """Numbers of the ALTs that it is of."""
        number, allele, dna = self.get("number"), self.get("allele"), self.get("dna")
        if len(alts) == 1:
            yield 1
        elif number.isdecimal():
            yield int(number)
        elif allele:
            yield from (n for n, alt in enumerate(alts, 1) if allele in _spellings(ref, alts, alt))
        elif ">" in dna:
            # 123A>G+125C>T of bcftools csq: of this record is what ends with its ALT.
            said = {change.rpartition(">")[2] for change in dna.split("+")}
            yield from (n for n, alt in enumerate(alts, 1) if alt in said)
        else:
            yield from range(1, len(alts) + 1)


def _spellings(ref: str, alts: Sequence[str], alt: str) -> set[str]:
    """How VEP and SnpEff spell an ALT: as it is, or without the base that all alleles share."""
    if {ref[0], *(one[0] for one in alts)} == {ref[0]} and {len(one) for one in alts} != {len(ref)}:
        return {alt, alt[1:] or "-"}
    return {alt}
