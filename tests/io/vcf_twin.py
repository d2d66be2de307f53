"""A slow twin of the VCF reader and writer: splits text, knows nothing of ntvep's code."""

from collections.abc import Collection
from math import isfinite

BOM = b"\xef\xbb\xbf"
STATUSES = frozenset(
    b"ok ref_mismatch contig_not_in_reference position_out_of_range at_contig_end symbolic_allele "
    b"breakend spanning_deletion no_alt ambiguous_base n_in_variant_token too_many_n "
    b"allele_too_long same_as_ref numerical_failure".split()
)


def split(text: bytes) -> tuple[list[bytes], list[tuple[int, bytes]]]:
    """Header lines, #CHROM last, and the numbered lines behind them; all with their line ends.

    Blank lines are not lines of a VCF, and tabs that end #CHROM are none of its columns.
    """
    lines = text.removeprefix(BOM).split(b"\n")
    whole = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    numbered = [(n, line) for n, line in enumerate(whole, start=1) if line.strip(b"\r\n")]
    columns = next(i for i, (_, line) in enumerate(numbered) if not line.startswith(b"##"))
    header = [line for _, line in numbered[: columns + 1]]
    bare, end = fields(header[-1])
    header[-1] = b"\t".join(bare).rstrip(b"\t") + end
    return header, numbered[columns + 1 :]


def fields(line: bytes) -> tuple[list[bytes], bytes]:
    """The columns of a line, and its line end."""
    bare = line.removesuffix(b"\n")
    while bare.endswith(b"\r"):
        bare = bare[:-1]
    return bare.split(b"\t"), line[len(bare) :]


def is_ours(line: bytes) -> bool:
    return line.startswith((b"##INFO=<ID=NTVEP_", b"##ntvep_"))


def assert_passed_through(before: bytes, after: bytes, left_out: Collection[int] = ()) -> None:
    """``after`` is ``before`` with annotations and nothing else changed.

    Args:
        before: the input's text.
        after: the annotated text.
        left_out: numbers of the input's lines, from 1, that were said to be no records.
    """
    header, records = split(before)
    new_header, new_records = split(after)
    assert not after.startswith(BOM)
    theirs = iter(line for line in new_header if not is_ours(line))
    assert all(any(line == new for new in theirs) for line in header if not is_ours(line))
    kept = [line for n, line in records if n not in left_out]
    assert len(new_records) == len(kept)
    for line, (_, new) in zip(kept, new_records, strict=True):
        assert_annotated(line, new)


def assert_annotated(line: bytes, new: bytes) -> None:
    """A record gained what one status an allele, and finite numbers where it is ok, take."""
    (old_fields, old_end), (new_fields, new_end) = fields(line), fields(new)
    assert (new_fields[:7], new_fields[8:], new_end) == (old_fields[:7], old_fields[8:], old_end)
    theirs = [part for part in old_fields[7].split(b";") if not part.startswith(b"NTVEP_")]
    # Semicolons that end INFO have no part behind them: ours follow with one.
    while theirs and not theirs[-1]:
        theirs.pop()
    theirs = [] if theirs == [b"."] else theirs
    parts = new_fields[7].split(b";")
    assert parts[: len(theirs)] == theirs
    ours = dict(part.split(b"=", 1) for part in parts[len(theirs) :])
    assert all(key.startswith(b"NTVEP_") for key in ours)
    alleles = new_fields[4].split(b",")
    statuses = ours.pop(b"NTVEP_STATUS").split(b",")
    assert len(statuses) == len(alleles)
    assert set(statuses) <= STATUSES
    for values in ours.values():
        numbers = values.split(b",")
        assert len(numbers) == len(alleles)
        for number, status in zip(numbers, statuses, strict=True):
            assert number == b"." if status != b"ok" else isfinite(float(number))
