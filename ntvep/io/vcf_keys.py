"""INFO and FORMAT values -> the Number and Type that a header should declare for their key.

Reserved keys have those of the VCF specification, as long as all values of the file agree; where
they do not, the nearest declaration that they do agree with. A declaration that the values belie is
worse than none: other tools drop or cut what does not fit.
"""

import re
from collections.abc import Iterable, Sequence
from math import comb
from typing import Literal, NamedTuple

Field = Literal["INFO", "FORMAT"]


class Shape(NamedTuple):
    """Number and Type of a header line."""

    number: str
    type: str


# What is known of a key that is not reserved.
TEXT = Shape(".", "String")
FLAG = Shape("0", "Flag")

# Column, minor version of VCF 4 since which it holds, Number, Type, keys. VCF specification 4.2 to
# 4.5: sections 1.6.1 (INFO) and 1.6.2 (FORMAT), 3 and 4 (structural variants). Version 4.2 gives
# the keys of sections 1.6 no Number: theirs are those of 4.3.
_TABLE = (
    ("INFO", 2, "0", "Flag", "DB H2 H3 SOMATIC VALIDATED 1000G IMPRECISE NOVEL"),
    ("INFO", 2, "1", "Integer", "AN DP END MQ0 NS CN"),
    ("INFO", 2, "1", "Float", "BQ MQ"),
    ("INFO", 2, "1", "String", "AA SVTYPE DGVID DBVARID DBRIPID PARID EVENT"),
    ("INFO", 2, "2", "Integer", "CIPOS CIEND CILEN CICN"),
    ("INFO", 2, "4", "Integer", "SB"),
    ("INFO", 2, "4", "String", "MEINFO METRANS"),
    ("INFO", 2, "A", "Integer", "AC"),
    ("INFO", 2, "A", "Float", "AF"),
    ("INFO", 2, "A", "String", "CIGAR"),
    ("INFO", 2, "R", "Integer", "AD ADF ADR"),
    ("INFO", 2, ".", "Integer", "SVLEN HOMLEN DPADJ CNADJ CICNADJ"),
    ("INFO", 2, ".", "String", "HOMSEQ BKPTID MATEID"),
    ("INFO", 4, "A", "Integer", "SVLEN HOMLEN RN"),
    ("INFO", 4, "A", "Float", "CN"),
    ("INFO", 4, "A", "String", "HOMSEQ BKPTID DGVID DBVARID DBRIPID MATEID PARID EVENT"),
    ("INFO", 4, "A", "String", "EVENTTYPE SVCLAIM"),
    ("INFO", 4, ".", "Integer", "CIPOS CIEND CILEN RUL RB CIRB RUB"),
    ("INFO", 4, ".", "Float", "CICN RUC CIRUC"),
    ("INFO", 4, ".", "String", "MEINFO METRANS RUS"),
    ("FORMAT", 2, "1", "Integer", "DP GQ MQ PQ PS CN NQ HAP AHAP LEN"),
    ("FORMAT", 2, "1", "Float", "CNQ"),
    ("FORMAT", 2, "1", "String", "GT FT"),
    ("FORMAT", 2, "2", "Integer", "HQ"),
    ("FORMAT", 2, "A", "Integer", "EC"),
    ("FORMAT", 2, "R", "Integer", "AD ADF ADR"),
    ("FORMAT", 2, "G", "Integer", "PL PP"),
    ("FORMAT", 2, "G", "Float", "GL GP CNP"),
    ("FORMAT", 2, ".", "Float", "CNL"),
    ("FORMAT", 2, ".", "String", "GLE"),
    ("FORMAT", 3, "G", "Float", "CNL"),
    ("FORMAT", 4, "1", "Float", "CN"),
    ("FORMAT", 4, "2", "Float", "CICN"),
    ("FORMAT", 4, "P", "String", "PSL"),
    ("FORMAT", 4, "P", "Integer", "PSO PSQ"),
    ("FORMAT", 5, ".", "Integer", "LA LAA"),
    ("FORMAT", 5, "LR", "Integer", "LAD LADF LADR"),
    ("FORMAT", 5, "LA", "Integer", "LEC"),
    ("FORMAT", 5, "LG", "Integer", "LPL LPP LGL LGP"),
    ("FORMAT", 5, "M", "Float", "M5mC M5hmC M5fC M5caC M5hmU M5fU M5caU M6mA M8oxoG MXaoN"),
    ("FORMAT", 5, "M", "Integer", "DPM5mC DPM5hmC DPM5fC DPM5caC DPM5hmU DPM5fU DPM5caU DPM6mA"),
    ("FORMAT", 5, "M", "Integer", "DPM8oxoG DPMXaoN"),
    ("FORMAT", 5, "M", "Integer", "ADM5mC ADM5hmC ADM5fC ADM5caC ADM5hmU ADM5fU ADM5caU ADM6mA"),
    ("FORMAT", 5, "M", "Integer", "ADM8oxoG ADMXaoN"),
)
# Since which minor version a Number may be that; before it, readers know nothing of the letter.
_LETTER_SINCE = {"P": 4, "LA": 5, "LR": 5, "LG": 5, "M": 5}

_INTEGER = re.compile(rb"-?\d{1,10}")
_FLOAT_TEXT = rb"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|nan|inf(?:inity)?)"
_FLOAT = re.compile(_FLOAT_TEXT, re.IGNORECASE)
# One of several values, as quickly as it can be told; integers of 10 digits need a closer look.
_VALUES = {"Integer": rb"-?\d{1,9}", "Float": _FLOAT_TEXT, "String": rb"[^,:\t]*"}
# BCF (section 6.3.3) keeps the eight smallest 32-bit integers for itself.
_INTEGERS = range(-(2**31) + 8, 2**31)


def reserved(field: Field, minor: int) -> dict[bytes, Shape]:
    """Number and Type of all reserved keys, as version 4.``minor`` has them.

    A key that a later version reserved has what the first one says that did: files use keys before
    their version knows them.
    """
    found: dict[bytes, Shape] = {}
    for which, since, number, kind, keys in _TABLE:
        letter = number if minor >= _LETTER_SINCE.get(number, 0) else "."
        for key in keys.encode().split():
            if which == field and (since <= minor or key not in found):
                found[key] = Shape(letter, kind)
    return found


def widened(shape: Shape, value: bytes, alts: int) -> Shape:
    """The nearest Number and Type that a value agrees with, too.

    Args:
        shape: what all values before it agree with.
        value: of one record, or of one sample.
        alts: alternative alleles of its record.
    """
    if value in (b"", b".") or shape == TEXT:
        return shape
    if shape == FLAG:
        return TEXT
    values = value.split(b",")
    number = shape.number if _is_number_of(shape.number, len(values), alts) else "."
    return Shape(number, _type_of(shape.type, values))


def samples_pattern(shapes: Sequence[Shape], alts: int) -> re.Pattern[bytes]:
    """What the columns of all samples match if :func:`widened` would change none of the shapes.

    The converse does not hold: what does not match needs a look at each value.

    Args:
        shapes: of each key in FORMAT.
        alts: alternative alleles of the record.
    """
    sample = b""
    for shape in reversed(shapes):
        # Values at the end of a sample may be dropped.
        rest = b"(?::%s)?+" % sample if sample else b""
        sample = _value_pattern(shape, alts) + rest
    return re.compile(rb"(?:\t%s)*+" % sample, re.IGNORECASE)


def _value_pattern(shape: Shape, alts: int) -> bytes:
    if shape == TEXT:
        return rb"[^:\t]*+"
    value = rb"(?:%s|\.)" % _VALUES[shape.type]
    counts = {"A": [alts], "R": [alts + 1], "G": [(alts + 1) * (alts + 2) // 2, alts + 1]}
    if shape.number.isdecimal():
        counts[shape.number] = [int(shape.number)]
    several = [
        rb"%s(?:,%s){%d}(?![^:\t])" % (value, value, count - 1)
        for count in counts.get(shape.number, [])
        if count
    ]
    if shape.number not in counts:
        several = [rb"%s(?:,%s)*+" % (value, value)]
    return rb"(?:%s)" % b"|".join([*several, rb"\.?(?![^:\t])"])


def _is_number_of(number: str, count: int, alts: int) -> bool:
    if number.isdecimal():
        return count == int(number)
    if number == "A":
        return count == alts
    if number == "R":
        return count == alts + 1
    if number == "G":
        # Unordered genotypes of a sample with this many copies; more than 8 are not looked for.
        return any(count == comb(alts + copies, copies) for copies in range(1, 9))
    # P, LA, LR, LG and M depend on other values of the sample.
    return True


def _type_of(kind: str, values: Iterable[bytes]) -> str:
    given = [value for value in values if value != b"."]
    if kind == "Integer" and not all(map(_is_integer, given)):
        kind = "Float"
    if kind == "Float" and not all(map(_FLOAT.fullmatch, given)):
        kind = "String"
    return kind


def _is_integer(value: bytes) -> bool:
    return bool(_INTEGER.fullmatch(value)) and int(value) in _INTEGERS
