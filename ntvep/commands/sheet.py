"""sample sheet -> its samples, or all that is wrong with it and the start of its VCFs, at once."""

import csv
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ntvep.commands.inputs import FEWEST_CHECKED, judge_alleles
from ntvep.commands.options import OnBadRecord
from ntvep.errors import InputError, some
from ntvep.genome import canonical
from ntvep.io import vcf
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.vcf_header import contig_lengths

COLUMNS = ("sample", "vcf")
# Records of each VCF that are looked at: enough to know its assembly, and 200 VCFs take seconds.
_RECORDS = 200
# What a file system takes in a name, less what outputs have behind it (.vcf.gz.summary.json).
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Sample:
    """A line of the sheet.

    Attributes:
        name: what its outputs are called.
        vcf: its VCF or BCF.
        more: what the sheet says in its other columns.
    """

    name: str
    vcf: Path
    more: Mapping[str, str]


def read_sheet(path: Path) -> tuple[list[Sample], list[str]]:
    """Read a sheet: tab-separated, or .csv, its columns named in the first line.

    Returns:
        Its samples, those of sound lines; and what is wrong with the others, a sentence each.

    Raises:
        InputError: the file is missing, no text, or lacks a column.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such sample sheet; expected a tab-separated table with the columns "
            "sample and vcf"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error}); expected UTF-8") from error
    lines = text.splitlines()
    rows = list(csv.reader(lines, delimiter="," if path.suffix == ".csv" else "\t"))
    header = [name.strip() for name in rows[0]] if rows else []
    if lacking := [name for name in COLUMNS if name not in header]:
        found = some(header) if any(header) else "none"
        raise InputError(
            f"{path}: has no column {' and no column '.join(lacking)}; found {found}. Expected "
            "sample and vcf, separated by tabs (by commas in a .csv)"
        )
    problems = [
        f"column {name or '(no name)'} is there twice"
        for number, name in enumerate(header)
        if name in header[:number]
    ]
    samples: list[Sample] = []
    for number, row in enumerate(rows[1:], start=2):
        if not any(map(str.strip, row)):
            continue
        if len(row) != len(header):
            problems.append(f"line {number}: has {len(row)} columns; expected {len(header)}")
            continue
        cells = dict(zip(header, map(str.strip, row), strict=True))
        wrong = list(_wrong_line(cells, [sample.name for sample in samples]))
        problems += [f"line {number}: {problem}" for problem in wrong]
        if not wrong:
            more = {name: cell for name, cell in cells.items() if name not in COLUMNS}
            samples.append(Sample(cells["sample"], Path(cells["vcf"]), more))
    if not samples and not problems:
        problems.append("has no samples; expected one line for each after the header")
    return samples, problems


def _wrong_line(cells: Mapping[str, str], before: Collection[str]) -> list[str]:
    name, problems = cells["sample"], []
    if not is_file_name(name):
        problems.append(
            f"sample {name!r} cannot be a file name; expected letters, digits, . _ - and no . or "
            "- at the beginning"
        )
    # Some file systems take a and A for one name.
    elif name.casefold() in {one.casefold() for one in before}:
        problems.append(f"sample {name} occurs twice; expected a different name for each VCF")
    if not cells["vcf"]:
        problems.append(f"sample {name}: has no VCF")
    return problems


def is_file_name(name: str) -> bool:
    """Whether a file can be called so everywhere, in a shell and in a workflow's wildcards too."""
    return (
        0 < len(name.encode()) <= _LONGEST_NAME
        and name[0] not in ".-"
        and all(letter in "._-+@=" or unicodedata.category(letter)[0] in "LNM" for letter in name)
    )


def check_sheet(
    path: Path, reference: Path, on_bad_record: OnBadRecord, limit: float
) -> list[Sample]:
    """The samples of a sheet, if nothing is wrong with it and the first records of its VCFs.

    Args:
        path: of the sheet.
        reference: FASTA that all VCFs must be of.
        on_bad_record: whether lines that are not records count as faults.
        limit: the share of REF disagreements that is a wrong build.

    Raises:
        InputError: all that is wrong, a line each.
    """
    samples, problems = read_sheet(path)
    check_samples(str(path), samples, problems, reference, on_bad_record, limit)
    return samples


def check_samples(
    name: str,
    samples: Sequence[Sample],
    found: Sequence[str],
    reference: Path,
    on_bad_record: OnBadRecord,
    limit: float,
) -> None:
    """Stop if anything is wrong with the first records of some VCFs.

    Args:
        name: of what lists them, for messages.
        samples: the VCFs.
        found: what is wrong already.
        reference: FASTA that all must be of.
        on_bad_record: whether lines that are not records count as faults.
        limit: the share of REF disagreements that is a wrong build.

    Raises:
        InputError: all that is wrong, a line each.
    """
    problems, genome = list(found), None
    try:
        genome = open_reference(reference)
    except InputError as error:
        problems.append(str(error))
    lengths: dict[str, tuple[str, int]] = {}
    for sample in samples:
        try:
            problems += _wrong_vcf(sample, genome, (on_bad_record, limit), lengths)
        except InputError as error:
            problems.append(f"sample {sample.name}: {error}")
    if problems:
        many = f"{len(problems)} problems:\n  " if len(problems) > 1 else ""
        raise InputError(f"{name}: {many}" + "\n  ".join(problems))


def _wrong_vcf(
    sample: Sample,
    genome: FastaReference | None,
    how: tuple[OnBadRecord, float],
    lengths: dict[str, tuple[str, int]],
) -> list[str]:
    """What the start of a VCF says against it; ``lengths`` are those that others have declared."""
    on_bad_record, limit = how
    with vcf.streamed(sample.vcf, _RECORDS, on_bad_record) as (header, chunks):
        first = next(chunks, None)
    if first is None:
        return [f"sample {sample.name}: {sample.vcf}: has no records; remove it from the sheet"]
    contigs = first.alleles["chrom"].unique(maintain_order=True)
    records = len(first.lines)
    checked = 0
    if genome is not None:
        checked = judge_alleles(str(sample.vcf), contigs, records, [first.alleles], genome, limit)
    if checked >= FEWEST_CHECKED or limit == 1:
        return []
    # Of a few records REF says nothing; lengths of contigs tell assemblies apart too.
    declared = contig_lengths(header)
    there = genome.lengths(declared) if genome else {}
    for contig, length in declared.items():
        of, expected = str(genome.path) if genome else "", there.get(contig)
        if expected is None:
            of, expected = lengths.setdefault(canonical(contig), (str(sample.vcf), length))
        if length != expected:
            return [
                f"sample {sample.name}: {sample.vcf}: its {contig} has {length} bases, that of "
                f"{of} {expected}: these are different assemblies"
            ]
    return []
