"""alleles -> REF and ALT tokens: many SNVs at once, by arithmetic over arrays; the rest one by one.

Nearly every allele is an SNV in a full window without an N, whose tokens all have one length. Then
everything about it follows from where it lies. :func:`ntvep.alleles.preparer` says the same of each
of these, one by one, and is asked about all other alleles.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby, repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Int32, Int64

from ntvep import dna, windows
from ntvep.alleles import Prepared, WindowSequence, preparer
from ntvep.description import Description
from ntvep.dna import Dna
from ntvep.genome import Reference
from ntvep.passes import TokenPair
from ntvep.schema import Status
from ntvep.settings import Settings
from ntvep.tokens import Tokenizer, Tokens
from ntvep.windows import Edit, Grid, Span

# CHROM, POS, REF, ALT.
Key = tuple[str, int, str, str]
PrepareMany = Callable[[Sequence[Key]], list[Status | Prepared]]
Fetch = Callable[[int, int], Dna]
T = TypeVar("T")

_CODE = {letter: dna.codes(letter)[0] for letter in "ACGTacgt"}
_BASE = tuple(bytes((code,)) for code in range(4))


class _Snvs(NamedTuple):
    """SNVs of one stretch of a contig.

    Attributes:
        row: number of each allele among those asked for.
        p: 0-based place.
        ref, alt: base codes.
    """

    row: Int64[np.ndarray, "snv"]
    p: Int64[np.ndarray, "snv"]
    ref: Int64[np.ndarray, "snv"]
    alt: Int64[np.ndarray, "snv"]

    def chosen(self, some: Bool[np.ndarray, "snv"]) -> "_Snvs":
        """Some of them."""
        return _Snvs(*(column[some] for column in self))


class _AltIds(dict[int, tuple[int, ...] | None]):
    """ALT ids by REF id, place in the token, REF and ALT base: few keys for very many SNVs."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def keys_of(
        self,
        ids: Int32[np.ndarray, "snv"],
        place: Int64[np.ndarray, "snv"],
        ref: Int64[np.ndarray, "snv"],
        alt: Int64[np.ndarray, "snv"],
    ) -> Int64[np.ndarray, "snv"]:
        """One number for the four."""
        in_token = ids * np.int64(self._tokenizer.stride) + place
        keys: Int64[np.ndarray, "snv"] = in_token * 16 + ref * 4 + alt
        return keys

    def __missing__(self, key: int) -> tuple[int, ...] | None:
        """Work it out once."""
        rest, bases = divmod(key, 16)
        ref_id, place = divmod(rest, self._tokenizer.stride)
        before, after = _BASE[bases // 4], _BASE[bases % 4]
        self[key] = found = self._tokenizer.substitute((ref_id,), place, before, after)
        return found


class _Strand(NamedTuple):
    """Tokens of windows as one strand reads them.

    Attributes:
        tokens: of each window.
        ids: of the bases that all windows cover; what neighbours share is there once.
        first: where in ``ids`` the bases of each window begin.
    """

    tokens: list[Tokens]
    ids: Int32[np.ndarray, "token"]
    first: Int64[np.ndarray, "window"]


class _Windows(NamedTuple):
    """Distinct windows of one length on one grid, none with an N.

    Attributes:
        start: where each begins, ascending.
        length: bases of each.
        sequences: bases and tokens of each.
        strands: their tokens on the forward and, if it is wanted, on the reverse strand.
        bases: those of the forward strand's ``ids``.
    """

    start: Int64[np.ndarray, "window"]
    length: int
    sequences: list[WindowSequence]
    strands: list[_Strand]
    bases: Dna


def preparer_of_many(reference: Reference, model: Description, settings: Settings) -> PrepareMany:
    """The function that prepares many alleles of A, C, G, T; outcomes are in their order."""
    one = preparer(reference, model, settings)
    tokenizer, alt_ids = model.tokenizer, _AltIds(model.tokenizer)
    regular = tokenizer.joins and tokenizer.coverage == 1 and not model.field
    views = settings.views_of(tokenizer.stride)
    phases = [
        (settings.grid(model, phase), [view.reverse for view in some])
        for phase, some in groupby(views, lambda view: view.phase)
    ]

    def prepare(alleles: Sequence[Key]) -> list[Status | Prepared]:
        found: dict[int, Prepared] = {}
        for chrom, span, snvs in _snvs(alleles, reference) if regular else ():
            fetch = partial(reference.fetch, chrom)
            found |= _prepared(snvs, span, phases, fetch, (model, alt_ids))
        return [found.get(row) or one(*key) for row, key in enumerate(alleles)]

    return prepare


def _snvs(alleles: Sequence[Key], reference: Reference) -> Iterator[tuple[str, Span, _Snvs]]:
    """SNVs by stretch of their contigs."""
    by_contig: dict[str, list[tuple[int, int, int, int]]] = {}
    for row, (chrom, pos, ref, alt) in enumerate(alleles):
        if len(ref) == 1 == len(alt):
            place = windows.zero_based(pos, ref).start
            by_contig.setdefault(chrom, []).append((row, place, _CODE[ref], _CODE[alt]))
    for chrom, rows in by_contig.items():
        snvs = _Snvs(*np.array(rows, np.int64).T)
        for span in reference.spans(chrom):
            inside = snvs.chosen((span.start <= snvs.p) & (snvs.p < span.stop))
            if len(inside.row):
                yield chrom, span, inside


def _prepared(
    snvs: _Snvs,
    span: Span,
    phases: Sequence[tuple[Grid, list[bool]]],
    fetch: Fetch,
    how: tuple[Description, _AltIds],
) -> dict[int, Prepared]:
    """By row, the SNVs with the right REF that lie in a window without an N in every phase."""
    laid: list[_Windows] = []
    model, _ = how
    for grid, strands in phases:
        length, tokenizer = grid.length(span), model.tokenizer
        if length <= 0 or tokenizer.count(np.zeros(length, np.uint8)) > model.max_tokens:
            return {}
        starts = grid.starts(snvs.p, span)
        held = (starts <= snvs.p) & (snvs.p < starts + length)
        found = _windows(np.unique(starts[held]), length, fetch, tokenizer, any(strands))
        snvs = snvs.chosen(held & np.isin(starts, found.start))
        laid.append(found)
    pairs, sequences = [], []
    for (grid, strands), found in zip(phases, laid, strict=True):
        window = np.searchsorted(found.start, grid.starts(snvs.p, span))
        sequences.append([found.sequences[number] for number in window.tolist()])
        pairs += [_pairs(snvs, found, window, reverse, how) for reverse in strands]
    rows, p, ref, alt = (column.tolist() for column in snvs)
    edits = _of(Edit, p, map(_BASE.__getitem__, ref), map(_BASE.__getitem__, alt))
    of_phases, of_views = zip(*sequences, strict=True), zip(*pairs, strict=True)
    prepared = zip(rows, _of(Prepared, edits, of_phases, of_views), strict=True)
    return {row: some for row, some in prepared if None not in some.pairs}


def _windows(
    starts: Int64[np.ndarray, "wanted"],
    length: int,
    fetch: Fetch,
    tokenizer: Tokenizer,
    both: bool,
) -> _Windows:
    """Those of the windows that hold no N, and their tokens; of both strands if both are wanted."""
    kept, sequences, read = [starts[:0]], [], [np.zeros(0, np.uint8)]
    parts: list[list[_Strand]] = [[] for _ in range(1 + both)]
    for some, bases in _clean(starts, length, fetch):
        whole = [tokenizer.encode(bases)]
        if both:
            whole.append(tokenizer.reverse_complement(whole[0], partial(_same, bases)))
        first = (some - some[0]) // tokenizer.stride
        for reverse, tokens in enumerate(whole):
            if reverse:
                first = (len(bases) - length) // tokenizer.stride - first
            parts[reverse].append(_strand(tokens, first, length, tokenizer))
        joined = zip(*(part[-1].tokens for part in parts), strict=True)
        for start, strands in zip(some.tolist(), joined, strict=True):
            fetched = partial(fetch, start, start + length)
            sequences.append(WindowSequence(fetched, tokenizer, *strands))
        kept.append(some)
        read.append(bases)
    together = [_together(some) for some in parts]
    return _Windows(np.concatenate(kept), length, sequences, together, np.concatenate(read))


def _strand(
    whole: Tokens, first: Int64[np.ndarray, "window"], length: int, tokenizer: Tokenizer
) -> _Strand:
    """Windows of a stretch, cut out of its tokens."""
    front, count = len(tokenizer.front), length // tokenizer.stride
    ids = whole.ids[front : len(whole.ids) - len(tokenizer.back)]
    one = tokenizer.join([ids[:count]])
    inputs = np.tile(one.ids, (len(first), 1))
    for some, begin in zip(inputs[:, front : front + count], first.tolist(), strict=True):
        some[:] = ids[begin : begin + count]
    tokens = [Tokens(some, one.places, one.bases, one.even) for some in inputs]
    return _Strand(tokens, ids, first)


def _together(stretches: Sequence[_Strand]) -> _Strand:
    """Windows of several stretches."""
    none = _Strand([], np.zeros(0, np.int32), np.zeros(0, np.int64))
    tokens, ids, first = zip(none, *stretches, strict=True)
    before = np.cumsum([0, *map(len, ids)])
    return _Strand(
        list(chain.from_iterable(tokens)),
        np.concatenate(ids),
        np.concatenate([some + begin for some, begin in zip(first, before, strict=False)]),
    )


def _clean(
    starts: Int64[np.ndarray, "window"], length: int, fetch: Fetch
) -> Iterator[tuple[Int64[np.ndarray, "_"], Dna]]:
    """Windows without an N that overlap or touch, and the bases from their first to their last."""
    for some in _overlapping(starts, length):
        begin = int(some[0])
        bases = fetch(begin, int(some[-1]) + length)
        is_n = bases == dna.N
        if not is_n.any():
            yield some, bases
            continue
        before = np.concatenate(([0], np.cumsum(is_n)))
        without = before[some - begin] == before[some - begin + length]
        for part in _overlapping(some[without], length):
            yield part, fetch(int(part[0]), int(part[-1]) + length)


def _overlapping(
    starts: Int64[np.ndarray, "window"], length: int
) -> Sequence[Int64[np.ndarray, "_"]]:
    """Windows in groups that leave no base out."""
    if not len(starts):
        return ()
    return np.split(starts, np.flatnonzero(np.diff(starts) > length) + 1)


def _pairs(
    snvs: _Snvs,
    found: _Windows,
    window: Int64[np.ndarray, "snv"],
    reverse: bool,
    how: tuple[Description, _AltIds],
) -> list[TokenPair | None]:
    """The pair of each SNV in one view; None where the general way has to look."""
    model, alt_ids = how
    tokenizer, strand, causal = model.tokenizer, found.strands[reverse], model.objective == "causal"
    offset, ref, alt = snvs.p - found.start[window], snvs.ref, snvs.alt
    # A wrong REF is found on the strand that is there in every view.
    begin = found.strands[0].first[window] * tokenizer.stride
    right = found.bases[begin + offset] == ref
    if reverse:
        offset, ref, alt = found.length - 1 - offset, 3 - ref, 3 - alt
    token, place = np.divmod(offset, tokenizer.stride)
    ids = strand.ids[strand.first[window] + token]
    token += len(tokenizer.front)
    # A causal model predicts no first token.
    plain = right & ~(causal & (token == 0))
    numbers, indices, of_ref, *snv = (
        some[plain].tolist() for some in (window, token, ids, place, ref, alt)
    )
    keys = alt_ids.keys_of(*(some[plain] for some in (ids, place, ref, alt))).tolist()
    of_alt = [alt_ids[key] for key in keys]
    changed = [range(index, index + 1) for index in indices]
    pairs = _of(
        TokenPair,
        [strand.tokens[number] for number in numbers],
        repeat(None, len(keys)),
        changed,
        changed,
        zip(of_ref, strict=True),
        of_alt,
        zip(*snv, strict=True),
        *(repeat(value, len(keys)) for value in (True, True, None)),
    )
    by_snv: list[TokenPair | None] = [None] * len(plain)
    for number, pair in zip(np.flatnonzero(plain).tolist(), pairs, strict=True):
        by_snv[number] = None if pair.alt_ids is None else pair
    return by_snv


def _of(kind: type[T], *columns: Iterable[Any]) -> list[T]:
    """Named tuples, each of its line of the columns: all of their fields, in order.

    Calling the class would run a function of Python for each.
    """
    make = partial(tuple.__new__, kind)  # type: ignore[type-var]
    return list(map(make, zip(*columns, strict=True)))


def _same(bases: Dna) -> Dna:
    return bases
