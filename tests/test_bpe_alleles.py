"""Byte-pair alleles against a twin that cuts strings: ids of both windows, and which change."""

import gzip
import random
from pathlib import Path

import numpy as np
import pytest

from ntvep import dna
from ntvep.alleles import Prepared, preparer
from ntvep.description import Description
from ntvep.models.tokenizer_files import read_byte_pairs
from ntvep.schema import Status
from ntvep.settings import Settings
from ntvep.windows import Span
from tests.models.test_tokenizer_files import TINY, plain_bpe

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


class OneContig:
    """A reference of one contig in memory."""

    def __init__(self, sequence: str) -> None:
        self.codes = dna.encode(sequence)

    def spans(self, chrom: str) -> list[Span]:
        return [Span(0, len(self.codes))]

    def fetch(self, chrom: str, start: int, stop: int) -> np.ndarray:
        return self.codes[start:stop]


def described(path: Path, vocab: int, max_tokens: int = 4_096) -> Description:
    file, tokenizer = read_byte_pairs(path, vocab)
    return Description(
        family="gena",
        objective="masked",
        tokenizer=tokenizer,
        vocabulary_sha256=file.sha256,
        layers=2,
        max_tokens=max_tokens,
        default_bases=300,
        trained_bases=9_000,
    )


def twin_sides(path, sequence, p, ref, alt, bases, reverse):
    """Ids of REF and ALT, and the indices of their changed tokens, by the definition in words."""
    start = max(0, min(p - bases // 2, len(sequence) - bases))
    stop = min(len(sequence), start + bases)
    sides = []
    for allele in (ref, alt):
        text = sequence[start:p] + allele + sequence[p + len(ref) : stop]
        first, last = p - start, p - start + len(allele)
        if reverse:
            text = text[::-1].translate(COMPLEMENT)
            first, last = len(text) - last, len(text) - first
        ids, spans = plain_bpe(path, text)
        spans = [(0, 0), *spans, (len(text), len(text))]
        held = [i for i, (a, b) in enumerate(spans) if any(a <= x < b for x in range(first, last))]
        sides.append(([1, *ids, 2], held))
    r, a = (ids for ids, _ in sides)
    left = 0
    while left < min(len(r), len(a)) and r[left] == a[left]:
        left += 1
    right = 0
    while right < min(len(r), len(a)) - left and r[-1 - right] == a[-1 - right]:
        right += 1
    for ids, held in sides:
        if held:
            left = min(left, held[0])
            right = min(right, len(ids) - 1 - held[-1])
    if left + right == min(len(r), len(a)):
        right -= 1
    return r, a, range(left, len(r) - right), range(left, len(a) - right)


def alleles_of(sequence: str, draws: random.Random, count: int) -> list[tuple[int, str, str]]:
    """Trimmed alleles: SNVs, MNVs, insertions, deletions, both, and copies of what stands there."""
    found = []
    while len(found) < count:
        p = draws.randrange(5, len(sequence) - 30)
        ref = sequence[p : p + draws.choice((0, 1, 1, 1, 1, 2, 3, 6, 17))]
        alt = "".join(draws.choices("ACGT", k=draws.choice((0, 1, 1, 1, 1, 2, 3, 6, 17))))
        if draws.random() < 0.2:
            # One more unit of a repeat, or one less.
            unit = sequence[p : p + draws.choice((1, 2, 3, 4))]
            ref, alt = draws.choice((("", unit), (unit, "")))
        both = ref and alt
        if ref == alt or "N" in ref or (both and (ref[0] == alt[0] or ref[-1] == alt[-1])):
            continue
        found.append((p, ref, alt))
    return found


def record(sequence: str, p: int, ref: str, alt: str) -> tuple[int, str, str]:
    """POS, REF and ALT of a record, with an anchor where a side is empty."""
    if ref and alt:
        return p + 1, ref, alt
    return p, sequence[p - 1] + ref, sequence[p - 1] + alt


def agree(path: Path, vocab: int, sequence: str, bases: int, count: int) -> dict[str, int]:
    model = described(path, vocab)
    settings = Settings(window_bases=bases, max_n_fraction=1)
    prepare = preparer(OneContig(sequence), model, settings)
    seen = {"unequal": 0, "scored": 0, "spoiled": 0}
    for p, ref, alt in alleles_of(sequence, random.Random(3), count):
        pos, ref_text, alt_text = record(sequence, p, ref, alt)
        # Repeats: the record is trimmed from the right first, so a copy moves to its left end.
        edit_p, edit_ref, edit_alt = trimmed(pos, ref_text, alt_text)
        found = prepare("1", pos, ref_text, alt_text)
        twins = [
            twin_sides(path, sequence, edit_p, edit_ref, edit_alt, bases, reverse)
            for reverse in (False, True)
        ]
        if found is Status.N_IN_VARIANT_TOKEN:
            terms = model.tokenizer.terms
            assert not all(
                terms[ids[i]] for r, a, rs, as_ in twins for ids, some in ((r, rs), (a, as_))
                for i in some
            )  # fmt: skip
            seen["spoiled"] += 1
            continue
        assert isinstance(found, Prepared), (found, pos, ref_text, alt_text)
        for pair, (r, a, r_changed, a_changed) in zip(found.pairs, twins, strict=True):
            assert pair.ref.ids.tolist() == r
            assert pair.alt.ids.tolist() == a
            assert (pair.ref_changed, pair.alt_changed) == (r_changed, a_changed)
            assert pair.ref_ids == tuple(r[i] for i in r_changed)
            assert pair.alt_ids == tuple(a[i] for i in a_changed)
            masked = [
                [*ids[: some.start], *[4] * len(some), *ids[some.stop :]]
                for ids, some in ((r, r_changed), (a, a_changed))
            ]
            assert pair.one_mask == (masked[0] == masked[1])
            seen["unequal"] += len(r_changed) != len(a_changed)
            seen["scored"] += 1
        means = [sum(len(twin[i]) for twin in twins) / 2 for i in (2, 3)]
        assert found.token_counts == tuple(means)
    return seen


def trimmed(pos: int, ref: str, alt: str) -> tuple[int, str, str]:
    while ref and alt and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0] == alt[0]:
        pos, ref, alt = pos + 1, ref[1:], alt[1:]
    return pos - 1, ref, alt


@pytest.mark.parametrize("name", TINY)
def test_random_alleles(name):
    draws = random.Random(8)
    parts = ["".join(draws.choices("ACGT", k=400)), "AC" * 40, "N" * 30, "CAG" * 30]
    parts += ["".join(draws.choices("ACGTN", (4, 4, 4, 4, 1), k=300)), "A" * 60, "GATTACA" * 12]
    seen = agree(TINY[name], 512, "".join(parts), 120, 100)
    assert seen["unequal"] > 50
    assert seen["scored"] > 150
    assert seen["spoiled"] > 3


@pytest.mark.slow
@pytest.mark.parametrize(("name", "vocab"), [("dnabert2", 4_096), ("gena_preln", 32_000)])
def test_alleles_of_real_sequence_with_the_real_vocabularies(name, vocab, shared):
    with gzip.open(shared / "data/real/chrX_18400001_18680000.grch38.fa.gz", "rt") as lines:
        next(lines)
        sequence = "".join(line.strip() for line in lines).upper()[100_000:140_000]
    path = shared / "golden/families" / name / "real_tokenizer/tokenizer.json"
    seen = agree(path, vocab, sequence, 400, 100)
    assert seen["scored"] == 200
    assert seen["unequal"] > 50


def test_a_window_of_too_many_tokens_is_shortened_from_the_far_end():
    """REF and ALT alike, base by base, until both strands of both fit."""
    draws = random.Random(4)
    sequence = "".join(draws.choices("ACGT", k=500))
    p, alt = 250, "ACGT"["CGTA".index(sequence[250])]
    model = described(TINY["gena_preln"], 512, max_tokens=35)
    prepare = preparer(OneContig(sequence), model, Settings(window_bases=160))
    found = prepare("1", p + 1, sequence[p], alt)
    start, stop = p - 80, p + 80
    while True:
        texts = [sequence[start:stop], sequence[start:p] + alt + sequence[p + 1 : stop]]
        texts += [text[::-1].translate(COMPLEMENT) for text in texts]
        if max(len(plain_bpe(TINY["gena_preln"], text)[0]) for text in texts) + 2 <= 35:
            break
        if p - start > stop - 1 - p:
            start += 1
        else:
            stop -= 1
    assert found.pairs[0].ref.bases == stop - start < 160
    assert found.pairs[0].ref.ids[1:-1].tolist() == plain_bpe(TINY["gena_preln"], texts[0])[0]
    assert found.pairs[1].alt.ids[1:-1].tolist() == plain_bpe(TINY["gena_preln"], texts[3])[0]
