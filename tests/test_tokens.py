"""Tokens equal those of transformers' own tokenizer, on every string over ACGTN."""

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import EsmTokenizer

from ntvep import dna
from ntvep.tokenizers.kmer import kmer_tokenizer
from ntvep.windows import Span
from tests.conftest import ROOT
from tests.toy import TOKENIZER

V1 = ("<unk>", "<pad>", "<mask>", "<cls>", "SIX", "A", "T", "C", "G", "N", "<eos>", "<bos>")
V2 = ("<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>", "SIX", "A", "T", "C", "G", "N")


def published_order(layout):
    """The published vocabularies: six-mers in the order of product("ATCG", repeat=6)."""
    six = ["".join("ATCG"[i // 4**j % 4] for j in range(5, -1, -1)) for i in range(4096)]
    return [token for part in layout for token in (six if part == "SIX" else [part])]


@pytest.fixture(scope="module", params=[V1, V2], ids=["v1", "v2"])
def both(request, tmp_path_factory):
    """Our vocabulary and transformers' tokenizer for one published layout."""
    order = published_order(request.param)
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(order))
    theirs = EsmTokenizer(str(path), eos_token=None)
    return kmer_tokenizer(order), theirs


SEQUENCES = st.text("ACGTN", min_size=1, max_size=80) | st.text("ACGT", min_size=1, max_size=80)


@given(sequence=SEQUENCES)
@example(sequence="ACGNGTACGTGT")
@example(sequence="N")
@example(sequence="ACGTGTACNTGCACGGANCGACTAGTCTGA")
def test_ids_equal_the_checkpoints_tokenizer(both, sequence):
    vocabulary, theirs = both
    assert vocabulary.encode(dna.encode(sequence)).ids.tolist() == theirs(sequence)["input_ids"]


@given(sequence=st.text("ACGTNacgtnRYKMSWBDHV-", min_size=1, max_size=60))
def test_soft_masked_bases_count_and_other_letters_are_n(both, sequence):
    vocabulary, theirs = both
    shown = "".join(c if c in "ACGT" else "N" for c in sequence.upper())
    assert vocabulary.encode(dna.encode(sequence)).ids.tolist() == theirs(shown)["input_ids"]


def test_golden_cases(both):
    """Strings over ACGTN whose ids transformers' tokenizer gave, equal to the authors' own."""
    vocabulary, theirs = both
    kind = "v1" if theirs.convert_tokens_to_ids("<eos>") > 4096 else "v2"
    cases = json.loads((ROOT / "tests" / "golden" / "tokenizer_cases.json").read_text())
    checked = 0
    for name, case in cases.items():
        if name.startswith(kind) and case["seq"] and set(case["seq"]) <= set("ACGTN"):
            ids = vocabulary.encode(dna.encode(case["seq"])).ids.tolist()
            assert ids == case["hf_ids"], name
            checked += 1
    assert checked >= 10


def slow_places(sequence):
    """Where tokens begin and end, letter by letter."""
    places, at = [], 0
    while at < len(sequence):
        run = len(sequence[at:].partition("N")[0])
        size = 6 if run >= 6 else 1
        places.append((at, at + size))
        at += size
    return places


@given(sequence=SEQUENCES, data=st.data())
def test_tokens_that_hold_a_stretch(sequence, data):
    codes = dna.encode(sequence)
    found = TOKENIZER.encode(codes)
    start = data.draw(st.integers(0, len(sequence) - 1))
    stop = data.draw(st.integers(start + 1, len(sequence)))
    places = [(0, 0), *slow_places(sequence)]
    pairs = zip(found.places.starts.tolist(), found.places.stops.tolist(), strict=True)
    assert list(pairs) == places
    slow = [i for i, (first, end) in enumerate(places) if first < stop and start < end]
    held = found.places.holding(Span(start, stop))
    assert list(held) == slow
    single = any(places[i][1] - places[i][0] == 1 for i in slow)
    assert TOKENIZER.spoiled(found, held) == (single and "N" in sequence)


@given(sequence=SEQUENCES)
def test_both_strands_have_equally_many_tokens(sequence):
    codes = dna.encode(sequence)
    count = TOKENIZER.count(codes)
    assert count == 1 + len(slow_places(sequence))
    assert count == len(TOKENIZER.encode(dna.reverse_complement(codes)).ids)


@given(sequence=SEQUENCES)
def test_the_other_strand_equals_tokenizing_it(both, sequence):
    vocabulary, theirs = both
    codes = dna.encode(sequence)
    forward = vocabulary.encode(codes)
    other = "".join(dict(zip("ACGTN", "TGCAN", strict=True))[base] for base in reversed(sequence))
    found = vocabulary.reverse_complement(forward, lambda: codes)
    assert found.ids.tolist() == theirs(other)["input_ids"]
    assert dna.decode(dna.reverse_complement(codes)) == other


@given(
    sequence=st.text("ACGT", min_size=36, max_size=36),
    place=st.integers(0, 33),
    alt=st.text("ACGT", min_size=1, max_size=3),
    tail=st.text("ACGTN", max_size=20),
)
def test_substitute_equals_tokenizing_again(sequence, place, alt, tail):
    ref = dna.encode(sequence + tail)
    before, after = sequence[place : place + len(alt)], alt
    changed_text = sequence[:place] + after + sequence[place + len(alt) :] + tail
    ref_tokens = TOKENIZER.encode(ref)
    changed = ref_tokens.places.holding(Span(place, place + len(alt)))
    first = int(ref_tokens.places.starts[changed.start])
    fast = TOKENIZER.substitute(
        ref_tokens.at(changed), place - first, dna.codes(before), dna.codes(after)
    )
    slow = TOKENIZER.encode(dna.encode(changed_text))
    assert list(fast) == slow.ids[changed.start : changed.stop].tolist()
    rest = np.delete(slow.ids, list(changed))
    np.testing.assert_array_equal(rest, np.delete(ref_tokens.ids, list(changed)))


def test_members_are_the_six_mers_with_that_base(both):
    vocabulary, theirs = both
    for offset in range(6):
        for base in range(4):
            six_mers = theirs.convert_ids_to_tokens(vocabulary.members[offset, base].tolist())
            assert len(set(six_mers)) == 1024
            assert {six_mer[offset] for six_mer in six_mers} == {dna.LETTERS[base]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda order: order[:-1], r"1 tokens are missing \(first: 'N'\)"),
        (lambda order: [*order, "ACGTAC"], "'ACGTAC' occurs twice"),
        (lambda order: [t for t in order if t != "GGGGGG"], "first: 'GGGGGG'"),
    ],
)
def test_a_wrong_vocabulary_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        kmer_tokenizer(change(published_order(V2)))
