"""A slow twin of the VCF reader and writer: splits text, knows nothing of ntvep's code."""

from collections.abc import Collection
from math import isfinite

BOM = b"\xef\xbb\xbf"
STATUSES = frozenset(
    b"ok ref_mismatch contig_not_in_reference position_out_of_range at_contig_end symbolic_allele "
    b"breakend spanning_deletion no_alt ambiguous_base n_in_variant_token too_many_n "
    b"allele_too_long same_as_ref numerical_failure".split()
)


def split(text: bytes) -> tuple[list[bytes], list[bytes]]:
    """Header lines, #CHROM last, and the lines behind them; all with their line ends."""
    lines = text.removeprefix(BOM).split(b"\n")
    whole = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    columns = next(i for i, line in enumerate(whole) if not line.startswith(b"##"))
    return whole[: columns + 1], whole[columns + 1 :]


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
    kept = [line for n, line in enumerate(records, start=len(header) + 1) if n not in left_out]
    assert len(new_records) == len(kept)
    for line, new in zip(kept, new_records, strict=True):
        assert_annotated(line, new)


def assert_annotated(line: bytes, new: bytes) -> None:
    """A record gained what one status an allele, and finite numbers where it is ok, take."""
    (old_fields, old_end), (new_fields, new_end) = fields(line), fields(new)
    assert (new_fields[:7], new_fields[8:], new_end) == (old_fields[:7], old_fields[8:], old_end)
    theirs = [part for part in old_fields[7].split(b";") if not part.startswith(b"NTVEP_")]
    theirs = [] if theirs in ([b""], [b"."]) else theirs
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
