"""The fast path against the slow twin: every column, on random genomes and alleles."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.engine import Engine
from ntvep.models.second_opinion import load_reference, load_tokenizer
from ntvep.objectives import defined_scores
from ntvep.pipeline import ScoringContext, score_alleles
from ntvep.settings import Settings
from tests.conftest import ROOT
from tests.slow_twin import Twin
from tests.toy import Genome, alleles


@pytest.fixture(scope="module", params=["v1", "v2"])
def folder(request):
    """A small random checkpoint."""
    return ROOT / "tests" / "golden" / request.param


def forward(folder, whose):
    """``run(ids)``: one sequence at a time, all logits, every layer; ours or transformers'."""
    if whose == "transformers":
        theirs = load_reference(folder)

        def outputs(batch):
            mask = torch.ones_like(batch)
            out = theirs(input_ids=batch, attention_mask=mask, output_hidden_states=True)
            return out.logits, out.hidden_states
    else:
        ours = read_checkpoint(folder).encoder

        def outputs(batch):
            layers = [ours.hidden(batch, layer)[0] for layer in range(ours.layers + 1)]
            return ours.logits(layers[-1][0])[None], layers

    @cache
    def run(ids):
        with torch.inference_mode():
            logits, layers = outputs(torch.tensor([ids]))
        return logits[0].numpy(), [hidden[0].numpy() for hidden in layers]

    return lambda ids: run(tuple(ids))


def random_genome(rng):
    def text(length, letters="ACGT"):
        return "".join(rng.choice(list(letters), length))

    with_n = list(text(160))
    for place in rng.integers(0, 160, 6):
        with_n[place] = "N"
    return {
        "long": text(240, "ACGTacgt"),
        "n": "".join(with_n),
        "gap": text(60) + "N" * 40 + text(60),
        "short": text(39),
        "tiny": text(5),
        "iupac": text(70, "ACGTACGTACGTACGTR"),
    }


def random_alleles(rng, genome, number):
    """SNVs, MNVs, delins, indels; every contig end; some that disagree or reach outside."""
    rows = []
    while len(rows) < number:
        chrom = str(rng.choice(list(genome)))
        sequence = genome[chrom].upper()
        edge = rng.random() < 0.4
        length = len(sequence)
        start = int(rng.choice([0, 1, 5, 6, length - 1, length - 2, length - 6]) if edge
                    else rng.integers(length))  # fmt: skip
        ref = sequence[start : start + int(rng.choice([1, 1, 1, 2, 3, 6, 7, 9]))]
        alt = "".join(rng.choice(list("ACGT"), int(rng.choice([1, 1, 1, 2, 3, 6, 7, 9]))))
        if start >= 0 and ref and set(ref) <= set("ACGT") and ref != alt:
            rows.append((chrom, start + 1, ref, alt))
    beside_n = [
        ("n", place, genome["n"][place - 1], "A" if genome["n"][place - 1] != "A" else "C")
        for place in range(1, 160)
        if genome["n"][place] == "N" and genome["n"][place - 1] != "N"
    ]
    return [
        *rows,
        *beside_n,
        ("long", 10, "A", "C"),
        ("long", 239, "ACG", "A"),
        ("no", 1, "A", "C"),
    ]


@pytest.mark.parametrize(
    ("whose", "tolerance", "views", "n", "layer", "pool", "number"),
    [
        ("ours", 1e-5, 1, 9, None, "mean", 60),
        ("ours", 1e-5, 2, 16, 1, "mean_cls", 60),
        ("ours", 1e-5, 12, 9, None, "mean", 25),
        # Another implementation of the same model adds its own float32 noise.
        ("transformers", 2e-4, 2, 9, None, "mean", 30),
    ],
)
def test_fast_path_equals_the_slow_twin(folder, whose, tolerance, views, n, layer, pool, number):
    checkpoint = read_checkpoint(folder)
    tokenizer = load_tokenizer(folder)

    @cache
    def tokenize(sequence):
        return tokenizer.convert_ids_to_tokens(tokenizer(sequence)["input_ids"])[1:]

    ids = tokenizer.get_vocab()
    ids = {token: i for token, i in ids.items() if i < checkpoint.encoder.arch.vocab_size}
    rng = np.random.default_rng(100 * views + n)
    genome = random_genome(rng)
    rows = random_alleles(rng, genome, number)
    # A maximum close to the window makes Ns and tails shorten it.
    max_tokens = n + 3
    twin = Twin(
        genome,
        tokenize,
        ids,
        forward(folder, whose),
        n,
        max_tokens,
        views,
        -1 if layer is None else layer,
        pool == "mean_cls",
        max_bases=8,
    )
    settings = Settings(
        scores=defined_scores("masked", "kmer"),
        window_bases=6 * n,
        views=views,
        layer=layer,
        pool=pool,
        max_allele_bases=8,
    )
    description = replace(checkpoint.description, max_tokens=max_tokens)
    engine = Engine(checkpoint.encoder, description.tokenizer, batch_size=16)
    context = ScoringContext(Genome(genome), engine, description, settings)
    found = score_alleles(alleles(*rows), context).scores
    statuses = set()
    for row, fast in zip(rows, found.iter_rows(named=True), strict=True):
        slow = twin.score(*row)
        assert fast["status"] == slow["status"], row
        statuses.add(slow["status"])
        for name, expected in slow.items():
            if isinstance(expected, float):
                assert fast[name] == pytest.approx(expected, rel=tolerance, abs=tolerance), (
                    row,
                    name,
                )
            else:
                assert fast[name] == expected, (row, name)
        if slow["status"] == "ok":
            extra = set(fast) - set(slow) - {"record", "allele", "chrom", "pos", "ref", "alt"}
            assert not extra
    assert {"ok", "at_contig_end", "n_in_variant_token", "allele_too_long"} <= statuses
    assert {"ref_mismatch", "contig_not_in_reference", "position_out_of_range"} <= statuses
    assert found["llr"].is_not_null().sum() > number / 3
