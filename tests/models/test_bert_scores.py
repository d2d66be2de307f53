"""Scores of BERT's kin, file to file, against the definitions in plain loops.

Tokens are cut by other code than ntvep's: k-mers by slicing, byte pairs by the rule in loops.
"""

import gzip
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from ntvep.commands.options import Options
from ntvep.commands.score import score_file
from ntvep.models.checkpoint import read_checkpoint
from tests.definitions import Definitions, Model, Token
from tests.models.test_tokenizer_files import plain_bpe
from tests.test_bpe_alleles import alleles_of, record, trimmed, twin_sides

GOLDEN = Path(__file__).parents[1] / "golden"
SLOW = [
    pytest.param(name, marks=pytest.mark.slow) for name in ("mutbert", "dnabert2", "modernbert")
]
# Ids of [CLS] and [SEP]; [MASK] is 4 in all of them.
ENDS = {"dnabert_3mer": (2, 3)}


def cutter(folder: Path) -> tuple[str, list[str], Callable[[str], list[tuple[int, int, int]]]]:
    """Kind, spelling of each id, and a function from a sequence to its tokens."""
    if (folder / "vocab.txt").exists():
        vocabulary = (folder / "vocab.txt").read_text().split()
        k = len(vocabulary[-1])

        def kmers(sequence: str) -> list[Token]:
            parts = [sequence[i : i + k] for i in range(len(sequence) - k + 1)]
            ids = [vocabulary.index(part) if "N" not in part else 1 for part in parts]
            return [(token, i, i + k) for i, token in enumerate(ids)]

        return "overlapping", vocabulary, kmers
    path = folder / "tokenizer.json"
    ids = json.loads(path.read_text())["model"]["vocab"]
    vocabulary = sorted(ids, key=ids.get)

    def pieces(sequence: str) -> list[Token]:
        return [(i, *span) for i, span in zip(*plain_bpe(path, sequence), strict=True)]

    return ("base" if len(ids) == 9 else "bpe"), vocabulary, pieces


def as_the_definitions_see_it(folder: Path, max_tokens: int) -> Model:
    kind, vocabulary, cut = cutter(folder)
    encoder = read_checkpoint(folder).encoder
    first, last = ENDS.get(folder.name, (1, 2))
    pure = frozenset(i for i, token in enumerate(vocabulary) if set(token) <= set("ACGT"))

    def run(ids):
        with torch.inference_mode():
            hidden = encoder.hidden(torch.tensor([ids]))[1][0]
            return encoder.logits(hidden).numpy(), hidden.numpy()

    return Model(
        objective="masked",
        kind=kind,
        tokenize=lambda s: [(first, 0, 0), *cut(s), (last, len(s), len(s))],
        run=run,
        mask=4,
        pure=pure,
        spoiled=lambda tokens, changed: any(tokens[t][0] not in pure for t in changed),
        spelled={},
        bases={base: vocabulary.index(base) for base in "ACGT" if base in vocabulary},
        k=len(vocabulary[-1]) if kind == "overlapping" else 1,
        max_tokens=max_tokens,
    )


def score(folder: Path, genome: dict[str, str], rows, output: Path, **options) -> pl.DataFrame:
    fasta, vcf = output.with_suffix(".fa"), output.with_suffix(".vcf")
    fasta.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in genome.items()))
    contigs = "".join(f"##contig=<ID={name}>\n" for name in genome)
    lines = "".join(f"{c}\t{p}\t.\t{r}\t{a}\t.\t.\t.\n" for c, p, r, a in rows)
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    vcf.write_text(f"##fileformat=VCFv4.2\n{contigs}{columns}{lines}")
    score_file(
        vcf,
        fasta,
        str(folder),
        output,
        options=Options(device="cpu", max_allele_bases=20, ref_mismatch_limit=1, **options),
        command="ntvep",
        quiet=True,
    )
    return pl.read_parquet(output)


def rows_of(
    genome: dict[str, str], seed: int, count: int, ends: str
) -> list[tuple[str, int, str, str]]:
    """Alleles at random places, and at both ends of one contig."""
    draws, rows = random.Random(seed), []
    for chrom, sequence in genome.items():
        upper = sequence.upper()
        made = [record(upper, *allele) for allele in alleles_of(upper, draws, count)]
        rows += [(chrom, *row) for row in made if "N" not in row[1]]
    upper = genome[ends].upper()
    for place in (0, 1, len(upper) - 2, len(upper) - 1):
        ref = upper[place]
        rows.append((ends, place + 1, ref, "ACGT"["CGTA".index(ref)]))
        rows.append((ends, place + 1, ref, ref + "GG"))
    for chrom, sequence in genome.items():
        for n in [i for i in range(9, len(sequence)) if sequence[i] == "N"][:2]:
            if (ref := sequence[n - 1].upper()) != "N":
                rows.append((chrom, n, ref, "ACGT"["CGTA".index(ref)]))
    return [*rows, (ends, 1, upper[:4], upper[3])]


def compare(found: pl.DataFrame, twin: Definitions, rows) -> dict[str, int]:
    statuses: dict[str, int] = {}
    for ours, allele in zip(found.iter_rows(named=True), rows, strict=True):
        theirs = twin.score(*allele)
        assert ours["status"] == theirs["status"], (allele, theirs)
        statuses[theirs["status"]] = statuses.get(theirs["status"], 0) + 1
        for column in found.columns[7:]:
            if column in ("tokens_ref", "tokens_alt"):
                continue
            expected = theirs.get(column)
            if expected is None:
                assert ours[column] is None, (allele, column, ours[column])
            else:
                close = pytest.approx(expected, abs=1e-5, rel=1e-5)
                assert ours[column] == close, (allele, column)
    return statuses


@pytest.mark.parametrize("name", ["dnabert_3mer", "gena_preln", *SLOW])
def test_scores_equal_the_definitions(name, tmp_path):
    draws = random.Random(name)
    long = "".join(draws.choices("ACGTacgt", k=130)) + "CAG" * 12 + "A" * 25 + "N" * 14
    genome = {
        "long": long + "".join(draws.choices("ACGT", k=90)),
        "n": "".join(draws.choices("ACGTN", (9, 9, 9, 9, 1), k=150)),
        "short": "".join(draws.choices("ACGT", k=45)),
    }
    rows = rows_of(genome, 5, 5, "short")
    found = score(GOLDEN / name, genome, rows, tmp_path / "out.parquet", window_bases=64)
    model = as_the_definitions_see_it(
        GOLDEN / name, read_checkpoint(GOLDEN / name).encoder.max_tokens
    )
    twin = Definitions(model, genome, 64, 2, max_bases=20)
    statuses = compare(found, twin, rows)
    assert statuses["ok"] > 10
    # Of k-mers, those beside an N hold it.
    assert "n_in_variant_token" in statuses or model.kind != "overlapping"


def with_vocabulary(name: str, tokenizer: Path, vocab: int, folder: Path) -> Path:
    """A golden's checkpoint with random embeddings for a larger vocabulary."""
    shutil.copytree(GOLDEN / name, folder)
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    config = json.loads((folder / "config.json").read_text()) | {"vocab_size": vocab}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(6)
    for key, tensor in tensors.items():
        if tensor.shape[:1] == (512,) and "position" not in key:
            spread = float(tensor.std())
            shape = (vocab, *tensor.shape[1:])
            tensors[key] = spread * torch.randn(shape, generator=generator)
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("name", "vocab"), [("dnabert2", 4_096), ("gena_preln", 32_000)])
def test_real_sequence_with_the_real_vocabularies(name, vocab, shared, tmp_path):
    """SNVs whose number of tokens changes, indels, repeats, and runs of N."""
    with gzip.open(shared / "data/real/chrX_18400001_18680000.grch38.fa.gz", "rt") as lines:
        next(lines)
        sequence = "".join(line.strip() for line in lines)[150_000:150_900]
    parts = (sequence[:200], "TN", sequence[200:350], "N" * 12, sequence[350:600], "CA" * 20)
    genome = {"X": "".join((*parts, sequence[600:]))}
    tokenizer = shared / "golden/families" / name / "real_tokenizer/tokenizer.json"
    folder = with_vocabulary(name, tokenizer, vocab, tmp_path / name)
    rows = rows_of(genome, 9, 45, "X")
    found = score(folder, genome, rows, tmp_path / "out.parquet", window_bases=200)
    model = as_the_definitions_see_it(folder, read_checkpoint(folder).encoder.max_tokens)
    statuses = compare(found, Definitions(model, genome, 200, 2, max_bases=20), rows)
    assert statuses["ok"] > 40
    # GENA-LM has a token TN.
    assert "n_in_variant_token" in statuses or name != "gena_preln"
    upper, unequal = genome["X"].upper(), 0
    for ours, (_, *allele) in zip(found.iter_rows(named=True), rows, strict=True):
        p, ref, alt = trimmed(*allele)
        if ours["status"] == "ok":
            sides = [
                twin_sides(folder / "tokenizer.json", upper, p, ref, alt, 200, reverse)
                for reverse in (False, True)
            ]
            assert ours["tokens_ref"] == np.mean([len(side[2]) for side in sides])
            assert ours["tokens_alt"] == np.mean([len(side[3]) for side in sides])
            unequal += len(ref) == len(alt) == 1 and ours["tokens_ref"] != ours["tokens_alt"]
    assert unequal > 3
