"""BigWig -> values of places, a stretch at a time; values of places -> BigWig."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pybigtools
from jaxtyping import Float64, Int64

from ntvep.errors import InputError
from ntvep.genome import canonical

# Of a contig: 0-based places, and the value of each.
Values = tuple[str, Int64[np.ndarray, " place"], Float64[np.ndarray, " place"]]

# Places that are so near are read together, and no stretch is longer than this.
_GAP, _LONGEST = 1_000, 1_000_000


def values_at(
    path: Path,
    contig: Int64[np.ndarray, " place"],
    names: list[str],
    position: Int64[np.ndarray, " place"],
) -> Float64[np.ndarray, " place"]:
    """The value at each place; NaN where the file has none.

    Args:
        path: a BigWig on this machine.
        contig: number of each place's contig among the names.
        names: of contigs, in any spelling of GRCh38's.
        position: 0-based.

    Raises:
        InputError: missing, damaged, or no BigWig; none of the contigs is in it.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a BigWig (.bw, .bigWig)")
    values = np.full(len(position), np.nan)
    try:
        with pybigtools.open(str(path)) as file:
            lengths = {canonical(name): (name, size) for name, size in file.chroms().items()}
            known = [canonical(name) for name in names]
            if names and not {*known} & {*lengths}:
                raise InputError(
                    f"{path}: has none of the contigs {', '.join(names[:5])}; it has "
                    f"{', '.join(list(lengths)[:5])}"
                )
            for number, name in enumerate(known):
                theirs, length = lengths.get(name, ("", 0))
                here = np.flatnonzero((contig == number) & (position >= 0) & (position < length))
                for some in _stretches(here[np.argsort(position[here], kind="stable")], position):
                    first, last = int(position[some[0]]), int(position[some[-1]])
                    read = file.values(theirs, first, last + 1, fillna=None)
                    values[some] = np.asarray(read, np.float64)[position[some] - first]
    except BaseException as error:
        # Damage ends in a panic of the library's Rust, which Python sees as no Exception.
        is_panic = type(error).__name__ == "PanicException"
        if not is_panic and not isinstance(error, pybigtools.BBIReadError | OSError | ValueError):
            raise
        what = "it is damaged" if is_panic else str(error)
        raise InputError(
            f"{path}: cannot be read as BigWig ({what}); expected a whole .bw file. Copy it again "
            "and compare checksums"
        ) from error
    return values


def write_bigwig(
    path: Path,
    lengths: Mapping[str, int],
    stretches: Iterable[Values],
) -> int:
    """Write a value for each of some places; memory does not grow with their number.

    Args:
        path: where to write; nothing is written where there is no value.
        lengths: of the contigs.
        stretches: contig, 0-based places and their values; a contig's stand together, ascending.

    Returns:
        The number of values.

    Raises:
        OSError: not all of them could be written.
    """
    written, failure = 0, []

    def rows() -> Iterator[tuple[str, int, int, float]]:
        # An exception in here is printed by the library, and lost.
        nonlocal written
        try:
            for contig, places, values in stretches:
                written += len(places)
                yield from zip(
                    repeat(contig), places.tolist(), (places + 1).tolist(), values.tolist(),
                    strict=False,
                )  # fmt: skip
        except BaseException as error:
            failure.append(error)

    coming = rows()
    first = next(coming, None)
    if first is not None:
        writer = pybigtools.open(str(path), "w")
        writer.write(dict(lengths), chain([first], coming))
    if failure:
        raise failure[0]
    # Nor does it say when it could not write.
    if written and _values_in(path) != written:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    return written


def _values_in(path: Path) -> int | None:
    """How many bases a BigWig has a value of; None if it is damaged."""
    try:
        with pybigtools.open(str(path)) as file:
            return int(file.info()["summary"]["basesCovered"])
    except (pybigtools.BBIReadError, OSError, ValueError):
        return None


def _stretches(
    order: Int64[np.ndarray, " some"], position: Int64[np.ndarray, " place"]
) -> Iterator[Int64[np.ndarray, " few"]]:
    """Places in order, cut where the next one is far or a stretch grows long."""
    start = 0
    sorted_places = position[order]
    for index in range(1, len(order) + 1):
        if (
            index == len(order)
            or sorted_places[index] - sorted_places[index - 1] > _GAP
            or sorted_places[index] - sorted_places[start] >= _LONGEST
        ):
            yield order[start:index]
            start = index
