"""Scores of each kind of family, from alleles to numbers, against the definitions in plain loops.

The checkpoints are the small goldens; tokens are cut here, by hand. (BERT's kin, k-mers that
overlap and byte pairs: tests/models/test_bert_scores.py.)
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.engine import Engine
from ntvep.models.native import Native
from ntvep.objectives import defined_scores
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.settings import Settings
from tests.conftest import ROOT
from tests.definitions import Definitions, Model
from tests.toy import Genome, alleles

GOLDEN = ROOT / "tests" / "golden"
CHARACTERS = {"A": 7, "C": 8, "G": 9, "T": 10, "N": 11}


@dataclass(frozen=True)
class Letters:
    """A model whose tokens are bases, as its authors describe its tokenizer.

    Attributes:
        ids: of the letters.
        mask: of a masked model.
        front: the special token before the bases.
        window: bases.
    """

    ids: dict[str, int]
    mask: int | None = None
    front: int | None = None
    window: int = 40


LETTERS = {
    "gpn_convnet": Letters({"A": 3, "C": 4, "G": 5, "T": 6, "N": 2}, mask=1),
    "gpn_bytenet": Letters({"A": 3, "C": 4, "G": 5, "T": 6, "N": 2}, mask=1),
    "ntv3": Letters({"A": 6, "T": 7, "C": 8, "G": 9, "N": 10}, mask=2),
    "caduceus_ph": Letters(CHARACTERS, mask=3),
    "caduceus_ps": Letters(CHARACTERS, mask=3),
    "plantcaduceus": Letters({"A": 3, "C": 4, "G": 5, "T": 6, "N": 2}, mask=1),
    "marin-dna": Letters({"A": 3, "C": 4, "G": 5, "T": 6, "N": 1}, front=2, window=41),
    "hyenadna": Letters(CHARACTERS),
    "evo2": Letters({letter: ord(letter) for letter in "ACGTN"}),
    "phylogpn": Letters({"A": 0, "C": 1, "G": 2, "T": 3, "N": 4, "-": 5}),
}
QUICK = ("gpn_convnet", "ntv3", "marin-dna", "hyenadna", "phylogpn", "generator")
SLOW = ("gpn_bytenet", "caduceus_ph", "evo2")
# Both strands are the same by construction: one is run.
AGREE = ("caduceus_ps", "plantcaduceus")
MOST_BASES = 6


@cache
def genome() -> dict[str, str]:
    """Contigs with soft-masked letters, with Ns, shorter than a window, and of three bases."""
    rng = np.random.default_rng(17)

    def text(length: int, letters: str = "ACGT") -> str:
        return "".join(rng.choice(list(letters), length))

    return {
        "long": text(70, "ACGTacgt") + "CACACACACA" + "AAAAAAA" + text(40),
        "n": text(30) + "N" + text(21) + "NN" + text(30),
        "short": text(30),
        "tiny": text(3),
    }


@cache
def rows() -> tuple[tuple[str, int, str, str], ...]:
    """SNVs, MNVs, insertions, deletions and both at once, beside Ns and at the contigs' ends."""
    rng = np.random.default_rng(23)
    found = []
    for chrom, count in (("long", 9), ("n", 4), ("short", 2), ("tiny", 0)):
        contig = genome()[chrom]
        places = [0, len(contig) - 1, *rng.integers(1, len(contig) - 1, count).tolist()]
        for place in places:
            gone = contig[place : place + int(rng.choice([1, 1, 2, 3]))].upper()
            come = "".join(rng.choice(list("ACGT"), int(rng.choice([1, 1, 2, 4]))))
            if set(gone) <= set("ACGT") and gone != come:
                found.append((chrom, place + 1, gone, come))
    for chrom, place in (("long", 45), ("long", 74), ("n", 29), ("n", 31), ("short", 0)):
        ref = genome()[chrom][place].upper()
        found.append((chrom, place + 1, ref, "ACGT"["CGTA".index(ref)]))
    # An MNV, a deletion within a repeat, and an allele that is too long.
    contig = genome()["long"].upper()
    swapped = contig[50:53].translate(str.maketrans("ACGT", "CGTA"))
    found += [("long", 51, contig[50:53], swapped), ("long", 71, "CAC", "C")]
    found.append(("long", 21, contig[20], "G" * (MOST_BASES + 3)))
    return tuple(found)


def as_the_definitions_see_it(folder: Path) -> tuple[Model, int]:
    """The golden for the slow twin, and the window."""
    checkpoint = read_checkpoint(folder)
    encoder, description = checkpoint.encoder, checkpoint.description

    def run(ids):
        with torch.inference_mode():
            hidden = encoder.hidden(torch.tensor([ids]))[1][0]
            return encoder.logits(hidden).numpy(), hidden.numpy()

    if folder.name == "generator":
        return of_six_mers(folder, run), 48
    known = LETTERS[folder.name]
    pure = frozenset(known.ids[base] for base in "ACGT")

    def tokenize(sequence):
        front = [] if known.front is None else [(known.front, 0, 0)]
        return [*front, *((known.ids[b], i, i + 1) for i, b in enumerate(sequence))]

    model = Model(
        objective=description.objective,
        kind="base",
        tokenize=tokenize,
        run=run,
        mask=known.mask,
        pure=pure,
        spoiled=lambda tokens, changed: any(tokens[t][0] not in pure for t in changed),
        spelled={},
        bases=known.ids,
        step=4 if folder.name == "ntv3" else 1,
        max_tokens=encoder.max_tokens,
        field=73 if folder.name == "phylogpn" else 0,
    )
    return model, known.window


def of_six_mers(folder: Path, run) -> Model:
    """GENERator: <s>, whole 6-mers; one with another letter is <oov>, and so is a rest."""
    lines = [line.split() for line in (folder / "vocab.txt").read_text().splitlines()]
    ids = {token: int(number) for token, number in lines}
    spelled = {i: t for t, i in ids.items() if len(t) == 6 and set(t) <= set("ACGT")}
    assert len(spelled) == 4096

    def tokenize(sequence):
        parts = [(sequence[i : i + 6], i) for i in range(0, len(sequence), 6)]
        whole = [(ids.get(part, ids["<oov>"]), i, i + len(part)) for part, i in parts]
        return [(ids["<s>"], 0, 0), *whole]

    return Model(
        objective="causal",
        kind="kmer",
        tokenize=tokenize,
        run=run,
        mask=None,
        pure=frozenset(spelled),
        spoiled=lambda tokens, changed: any(tokens[t][0] not in spelled for t in changed),
        spelled=spelled,
        bases={},
        stride=6,
        k=6,
        step=6,
        max_tokens=1_000,
    )


def scored(folder: Path, window: int, views: int = 2, step: int = 1, **options) -> list[dict]:
    """The fast path, for each allele or for some."""
    checkpoint = read_checkpoint(folder)
    description, encoder = checkpoint.description, checkpoint.encoder
    if isinstance(encoder, Native):
        encoder.probe()
    settings = Settings(
        scores=defined_scores(description.objective, description.tokenizer.kind),
        window_bases=window,
        views=1 if description.strands_agree else views,
        max_allele_bases=MOST_BASES,
        **options,
    )
    context = ScoringContext(
        Genome(genome()), Engine(encoder, description.tokenizer), description, settings
    )
    return score_alleles(alleles(*rows()[::step]), context).scores.to_dicts()


def compare(
    found: list[dict], twin: Definitions, step: int = 1, leave_out=lambda name, row: False
) -> set[str]:
    """Every column of every allele; the statuses that there were."""
    statuses = set()
    for ours, row in zip(found, rows()[::step], strict=True):
        theirs = twin.score(*row)
        assert ours["status"] == theirs["status"], (row, theirs)
        statuses.add(theirs["status"])
        if theirs["status"] == "ok":
            assert {*ours} >= {name for name in theirs if theirs[name] is not None}
        for name, value in ours.items():
            if name in theirs and name != "status" and not leave_out(name, row):
                close = theirs[name] if theirs[name] is None else near(theirs[name], name)
                assert value == close, (row, name)
    return statuses


def near(value: float, name: str) -> object:
    """1e-5; of a difference of two sums over a window, of these sums: some 40 terms of 1 to 10."""
    summed = name in ("pll_delta", "llr")
    return pytest.approx(value, abs=5e-5 if summed else 1e-5, rel=1e-5)


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_scores_equal_the_definitions(name):
    model, window = as_the_definitions_see_it(GOLDEN / name)
    found = scored(GOLDEN / name, window)
    twin = Definitions(model, genome(), window, 2, max_bases=MOST_BASES)
    statuses = compare(found, twin)
    assert statuses >= {"ok", "allele_too_long", "n_in_variant_token"} - (
        {"n_in_variant_token"} if model.kind == "base" else set()
    )
    assert sum(row["status"] == "ok" for row in found) > 10
    changes = [row["llr"] for row in found if row["llr"] is not None]
    assert np.std(changes) > 0.01


@pytest.mark.parametrize(
    "name", ["caduceus_ps", pytest.param("plantcaduceus", marks=pytest.mark.slow)]
)
def test_one_strand_has_the_scores_of_both_where_they_agree(name):
    """All but the entropy of alleles of several bases: its first token is another one there."""
    model, window = as_the_definitions_see_it(GOLDEN / name)
    found = scored(GOLDEN / name, window, step=3)

    def several(name, row):
        return name == "entropy" and len(row[2]) + len(row[3]) > 2

    both = Definitions(model, genome(), window, 2, max_bases=MOST_BASES)
    assert "ok" in compare(found, both, 3, several)
    one = Definitions(model, genome(), window, 1, max_bases=MOST_BASES)
    compare(found, one, 3)


def test_anchors_and_four_letters_equal_the_definitions():
    model, window = as_the_definitions_see_it(GOLDEN / "marin-dna")
    found = scored(GOLDEN / "marin-dna", window, anchor=10, softmax="acgt")
    twin = Definitions(model, genome(), window, 2, anchor=10, softmax="acgt", max_bases=MOST_BASES)
    compare(found, twin)


@pytest.mark.slow
def test_all_phases_of_six_mers_equal_the_definitions():
    model, window = as_the_definitions_see_it(GOLDEN / "generator")
    found = scored(GOLDEN / "generator", window, views=12)
    compare(found, Definitions(model, genome(), window, 12, max_bases=MOST_BASES))
