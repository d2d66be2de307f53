"""Many SNVs at once against the same alleles one by one."""

import random

import numpy as np
import pytest

from ntvep.alleles import Prepared, preparer
from ntvep.description import Description
from ntvep.schema import Status
from ntvep.settings import Settings
from ntvep.snvs import preparer_of_many
from ntvep.tokenizers.base import base_tokenizer
from ntvep.tokenizers.kmer import kmer_tokenizer, kmers
from tests.toy import Genome, like_nt

IDS = {"A": 3, "C": 4, "G": 5, "T": 6, "N": 2}
FOUR = kmer_tokenizer(("<mask>", "<cls>", *kmers(4), *"ACGTN"), k=4)


def described(objective, tokenizer, bases, step=None):
    special = len(tokenizer.front) + len(tokenizer.back)
    step = step or tokenizer.stride
    most = bases // tokenizer.stride + special
    return Description("toy", objective, tokenizer, "", 1, most, bases, bases, step=step)


MODELS = {
    "6-mers": like_nt(9),
    "4-mers": described("masked", FOUR, 40),
    "bases": described("masked", base_tokenizer(IDS, 9, mask=1), 41),
    "framed bases": described("causal", base_tokenizer(IDS, 9, front=(0,), back=(1, 7)), 30),
    "causal, no special token": described("causal", base_tokenizer(IDS, 9), 30),
    "pairs of bases": described("masked", base_tokenizer(IDS, 9, mask=1), 40, step=8),
}


def random_case(rng):
    """Contigs with Ns, soft-masking and ends near by, and alleles of every kind on them."""

    def text(length, letters="ACGTacgt"):
        return "".join(rng.choices(letters, k=length))

    contigs = {
        "long": text(700),
        "gaps": text(130) + "N" * 5 + text(37) + "n" + text(90) + "N" + text(4),
        "short": text(rng.randint(1, 60)),
    }
    rows = []
    for _ in range(50):
        chrom = rng.choice([*contigs, "none"])
        sequence = contigs.get(chrom, "ACGT")
        p = rng.randrange(len(sequence))
        ref = sequence[p : p + rng.choice([1, 1, 1, 1, 2])]
        if rng.random() < 0.1 or set(ref.upper()) - set("ACGT"):
            ref = text(1)
        alt = rng.choice([b for b in "ACGTacgt" if b.upper() != ref.upper()])
        rows.append((chrom, p + 1 + 800 * (rng.random() < 0.03), ref, alt))
    return Genome(contigs), rows


def told(outcome):
    """All that an outcome says, spelled out."""
    if isinstance(outcome, Status):
        return outcome
    sequences = [(some.digest, some.token_count) for some in outcome.sequences]
    pairs = [
        pair
        and (
            pair.ref.ids.tolist(),
            pair.ref.bases,
            pair.ref.places.starts.tolist(),
            pair.alt and pair.alt.ids.tolist(),
            *pair[2:],
        )
        for pair in outcome.pairs
    ]
    return outcome.edit, sequences, pairs


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("views", [1, 2, 6])
def test_many_at_once_are_what_each_is_alone(name, views):
    model, rng = MODELS[name], random.Random(f"{name}{views}")
    settings = Settings(
        scores=("entropy",),
        window_bases=model.default_bases,
        views=2 * model.tokenizer.stride if views == 6 else views,
        max_n_fraction=0.2,
    )
    at_once = 0
    for _ in range(2):
        genome, rows = random_case(rng)
        one, fetched = preparer(genome, model, settings), []
        many = preparer_of_many(genome, model, settings)(rows)
        for row, outcome in zip(rows, many, strict=True):
            assert told(outcome) == told(one(*row)), row
        prepared = [some for some in many if isinstance(some, Prepared)]
        fetched += [some for some in prepared if some.sequences[0].mirrored or views == 1]
        at_once += len(fetched)
    assert at_once > 10, "the test looks at the general way alone"


def test_neighbours_share_one_window():
    """As many token arrays as windows: 60 SNVs in ten 6-mers' windows, on both strands."""
    genome = Genome({"c": "ACGGTCATTGCA" * 30})
    rows = [
        ("c", p + 1, genome.contigs["c"][p], "ACGT"["CGTA".index(genome.contigs["c"][p])])
        for p in range(120, 180)
    ]
    made = preparer_of_many(genome, like_nt(9), Settings(window_bases=48))(rows)
    assert {len(some.pairs) for some in made} == {2}
    for view in range(2):
        assert len({id(some.pairs[view].ref) for some in made}) == 10


def test_a_window_s_bases_are_read_once_for_all_that_overlap():
    """Dense SNVs take one read of the genome, whatever their number."""
    genome, reads = Genome({"c": "ACGGTCATTGCA" * 300}), []

    class Counted(Genome):
        def fetch(self, chrom, start, stop):
            reads.append((start, stop))
            return super().fetch(chrom, start, stop)

    rows = [("c", p + 1, genome.contigs["c"][p], "N".replace("N", "A")) for p in range(900, 2000)]
    rows = [row for row in rows if row[2] != "A"]
    preparer_of_many(Counted(genome.contigs), like_nt(9), Settings(window_bases=48))(rows)
    assert len(reads) == 1
    assert np.ptp(reads[0]) < 1_100 + 2 * 48
