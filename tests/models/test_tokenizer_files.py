"""Tokenizer files: ids as plain byte-pair encoding has them, spans that tile, what is refused."""

import gzip
import json
import random
import re
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ntvep import dna
from ntvep.errors import ModelError
from ntvep.models.tokenizer_files import (
    check_ids,
    check_spelling,
    read_byte_pairs,
    read_tokenizer_json,
    read_vocabulary_json,
    read_vocabulary_lines,
    tile,
)

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = {name: GOLDEN / name / "tokenizer.json" for name in ("dnabert2", "gena_preln")}


@lru_cache
def rules(path: Path) -> tuple[dict[str, int], dict[tuple[str, str], int], int, str]:
    """Ids, ranks of pairs, the unknown id, and the pattern of runs that are one token."""
    file = json.loads(path.read_text())
    vocab = file["model"]["vocab"]
    merges = [m.split(" ") if isinstance(m, str) else m for m in file["model"]["merges"]]
    rank = {(a, b): i for i, (a, b) in enumerate(merges)}
    # GENA-LM's normalizer: a run of ten or more N is one token, which nothing merges with.
    runs = "N{10,}" if file["normalizer"] else "(?!)"
    return vocab, rank, vocab[file["model"]["unk_token"]], runs


def plain_bpe(path: Path, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Byte-pair encoding by its rule, in loops: merge the leftmost pair of the lowest rank."""
    vocab, rank, unknown, runs = rules(path)
    ids, spans = [], []
    for piece in re.finditer(f"{runs}|(?:(?!{runs}).)+", text):
        if re.fullmatch(runs, piece[0]):
            ids.append(vocab["-"])
            spans.append(piece.span())
            continue
        symbols = list(piece[0])
        while True:
            ranks = [rank.get(pair, len(rank)) for pair in pairwise(symbols)]
            if not ranks or min(ranks) == len(rank):
                break
            at = ranks.index(min(ranks))
            symbols[at : at + 2] = ["".join(symbols[at : at + 2])]
        place = piece.start()
        for symbol in symbols:
            ids.append(vocab.get(symbol, unknown))
            spans.append((place, place + len(symbol)))
            place += len(symbol)
    return ids, spans


def hard_texts(sequence: str, draws: random.Random) -> list[str]:
    """Windows of a sequence with all that changes how they are cut."""
    texts = ["", "A", "N", "N" * 9, "N" * 10, "N" * 37 + "ACG", "ACG" + "N" * 10 + "T" + "N" * 9]
    for _ in range(12):
        start = draws.randrange(len(sequence) - 300)
        window = sequence[start : start + draws.randrange(150, 300)]
        at = draws.randrange(20, len(window) - 20)
        unit = window[at : at + draws.choice((1, 2, 3, 4, 6))]
        n_run = "N" * draws.choice((1, 2, 5, 9, 10, 11, 25))
        texts += [
            window,
            window[:at] + draws.choice("ACGT") + window[at + 1 :],
            window[:at] + window[at + draws.choice((1, 2, 6)) :],
            window[:at] + "".join(draws.choices("ACGT", k=draws.choice((1, 3, 7)))) + window[at:],
            window[:at] + unit * 20 + window[at:],
            window[:at] + n_run + window[at:],
            n_run + window,
            window + n_run,
        ]
    return texts


def agrees(path: Path, sequence: str) -> None:
    file = read_tokenizer_json(path)
    for text in hard_texts(sequence, random.Random(path.parent.name)):
        assert file.segment(text) == plain_bpe(path, text), text


@pytest.mark.parametrize("name", TINY)
def test_segments_are_those_of_plain_byte_pair_encoding(name):
    draws = random.Random(5)
    agrees(TINY[name], "".join(draws.choices("ACGT", k=3_000)))


@pytest.mark.parametrize("name", TINY)
def test_segments_with_the_real_vocabularies_on_real_sequence(name, shared):
    with gzip.open(shared / "data/real/chrX_18400001_18680000.grch38.fa.gz", "rt") as lines:
        next(lines)
        sequence = "".join(line.strip() for line in lines).upper()
    assert len(sequence) == 280_000
    agrees(shared / "golden/families" / name / "real_tokenizer/tokenizer.json", sequence)


def test_tokenised_windows_hold_all_bases_once():
    _, tokenizer = read_byte_pairs(TINY["gena_preln"], 512)
    bases = dna.encode("ACGTTGNNNNNNNNNNNNNNACGNA")
    tokens = tokenizer.encode(bases)
    assert tokens.ids[[0, -1]].tolist() == [1, 2]
    places = tokens.places
    assert (places.starts[0], places.stops[0]) == (0, 0)
    assert (places.starts[-1], places.stops[-1]) == (len(bases), len(bases))
    spans = zip(places.starts[1:-1].tolist(), places.stops[1:-1].tolist(), strict=True)
    held = [i for start, stop in spans for i in range(start, stop)]
    assert held == list(range(len(bases)))
    assert 14 in (places.stops - places.starts)
    # One length more than tokens have: ids that only pad the model's matrix are not terms.
    _, wider = read_byte_pairs(TINY["gena_preln"], 600)
    assert wider.terms.shape == (600,)
    assert not wider.terms[512:].any()
    spelled = read_tokenizer_json(TINY["gena_preln"]).tokens
    assert {t for t, scored in zip(spelled, wider.terms[:512], strict=True) if scored} == {
        t for t in spelled if re.fullmatch("[ACGT]+", t)
    }


def test_a_vocabulary_without_merges_is_one_of_bases():
    file, tokenizer = read_byte_pairs(GOLDEN / "mutbert/tokenizer.json", 9)
    assert (tokenizer.kind, tokenizer.mask, tokenizer.nucleotides) == ("base", 4, (5, 6, 7, 8))
    assert tokenizer.encode(dna.encode("ACGTN")).ids.tolist() == [1, 5, 6, 7, 8, 0, 2]
    assert (file.front, file.back) == ((1,), (2,))


def test_a_run_of_n_reported_at_one_place_is_held_whole():
    path = Path("tokenizer.json")
    # As the library reports a run of 4 that one token stands for: its last N, or its first.
    assert tile(path, "ANNNNC", [(0, 1), (4, 5), (5, 6)]) == [(0, 1), (1, 5), (5, 6)]
    assert tile(path, "NNNN", [(0, 1)]) == [(0, 4)]
    for text, offsets in (
        ("ACGT", [(0, 1), (2, 4)]),
        ("ACGT", [(0, 3), (2, 4)]),
        ("ACGT", [(0, 3)]),
        ("ACNN", [(0, 2)]),
        ("AC", [(0, 2), (2, 2)]),
        ("NN", []),
    ):
        with pytest.raises(ModelError, match=r"tile|placed"):
            tile(path, text, offsets)


def changed(tmp_path: Path, change) -> Path:
    file = json.loads(TINY["dnabert2"].read_text())
    change(file)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    return path


def test_the_length_of_somebodys_training_run_cuts_nothing(tmp_path):
    def cut(file):
        file["truncation"] = {
            "direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0
        }  # fmt: skip
        file["padding"] = {
            "strategy": {"Fixed": 512}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 3, "pad_type_id": 0, "pad_token": "[PAD]",
        }  # fmt: skip

    text = "ACGTTGCA" * 30
    expected = read_tokenizer_json(TINY["dnabert2"]).segment(text)
    assert read_tokenizer_json(changed(tmp_path, cut)).segment(text) == expected


def test_refused_files(tmp_path):
    def drop(file):
        file["model"]["dropout"] = 0.1

    def protein(file):
        file["model"]["vocab"] = {"[UNK]": 0, "M": 1, "K": 2}
        file["model"]["merges"] = []
        file["added_tokens"] = []
        file["post_processor"] = None

    def lower(file):
        file["normalizer"] = {"type": "Lowercase"}

    for change, said in ((drop, "at random"), (protein, "letter by letter"), (lower, "letter by")):
        with pytest.raises(ModelError, match=said):
            read_tokenizer_json(changed(tmp_path, change))
    path = tmp_path / "tokenizer.json"
    for damaged in ("{}", "[", TINY["dnabert2"].read_text()[:5_000]):
        path.write_text(damaged)
        with pytest.raises(ModelError, match=r"not a whole tokenizer\.json"):
            read_tokenizer_json(path)
    with pytest.raises(ModelError, match=r"no other\.json"):
        read_tokenizer_json(tmp_path / "other.json")


def test_refused_vocabularies(tmp_path):
    with pytest.raises(ModelError, match=r"id 511, but config\.json says vocab_size 500"):
        read_byte_pairs(TINY["dnabert2"], 500)
    tokens = read_tokenizer_json(TINY["dnabert2"]).tokens
    check_ids(Path("v"), tokens, 512)
    check_spelling(Path("v"), tokens, {0: "[UNK]", 5: "A"})
    with pytest.raises(ModelError, match=r"id 0 is '\[UNK\]', but .*'\[PAD\]'"):
        check_spelling(Path("v"), tokens, {0: "[PAD]"})
    with pytest.raises(ModelError, match="id 900 is None"):
        check_spelling(Path("v"), tokens, {900: "A"})


def test_vocabularies_of_lines_and_of_json(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\nA\nC\n")
    assert read_vocabulary_lines(tmp_path / "vocab.txt") == ("[PAD]", "A", "C")
    path = tmp_path / "vocab.json"
    path.write_text('{"C": 2, "A": 0}')
    assert read_vocabulary_json(path) == ("A", "", "C")
    for text in ('{"A": 0, "C": 0}', '{"A": -1}', '{"A": 1e9}', '{"A": 99999999}', "[]", "{}", "{"):
        path.write_text(text)
        with pytest.raises(ModelError, match=r"vocab\.json"):
            read_vocabulary_json(path)


def test_windows_of_a_real_genome_resynchronise_within_sixty_bases(shared):
    """What the definition of changed tokens rests on: one variant changes few tokens."""
    path = shared / "golden/families/gena_preln/real_tokenizer/tokenizer.json"
    _, tokenizer = read_byte_pairs(path, 32_000)
    with gzip.open(shared / "data/real/chrX_18400001_18680000.grch38.fa.gz", "rt") as lines:
        next(lines)
        sequence = "".join(line.strip() for line in lines)
    draws = np.random.default_rng(1)
    for start in draws.integers(0, 270_000, 20).tolist():
        ref = dna.encode(sequence[start : start + 3_000])
        alt = ref.copy()
        alt[1_500] = (alt[1_500] + 1) % 4
        before, after = tokenizer.encode(ref), tokenizer.encode(alt)
        same = set(zip(before.places.starts.tolist(), before.ids.tolist(), strict=True))
        other = [
            a for a, i in zip(after.places.starts.tolist(), after.ids.tolist(), strict=True)
            if (a, i) not in same
        ]  # fmt: skip
        assert 0 < len(other) <= 6
        assert 1_440 < min(other) <= max(other) < 1_560
