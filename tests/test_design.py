"""A family is a network, a tokenizer and a Family: toys go through every command as they are.

Each toy is compared with the definitions in plain loops (tests/definitions.py).
"""

import numpy as np
import polars as pl
import pytest
import torch

from ntvep.commands.options import Options
from ntvep.commands.scan import scan_regions
from ntvep.commands.score import score_file
from ntvep.commands.verify import verify
from ntvep.errors import VerificationError
from ntvep.models import registry
from ntvep.models.checkpoint import read_checkpoint
from tests import toy_families
from tests.definitions import Definitions, Model

NAMES = sorted(toy_families.TOYS)
RNG_ALLELES = 60


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setattr(registry, "FAMILIES", (*toy_families.TOYS.values(), *registry.FAMILIES))


@pytest.fixture(scope="module")
def genome():
    """Contigs: one of two letters' cases, one with Ns, one with a repeat, one that is short."""
    rng = np.random.default_rng(7)

    def text(length, letters="ACGT"):
        return "".join(rng.choice(list(letters), length))

    with_n = list(text(150))
    for place in rng.integers(0, 150, 4):
        with_n[place] = "N"
    return {
        "long": text(220, "ACGTacgt"),
        "n": "".join(with_n),
        "repeat": text(60) + "CA" * 15 + "AAAAAAAAAAAA" + text(50),
        "short": text(40),
        "tiny": text(3),
    }


@pytest.fixture(scope="module")
def rows(genome):
    """Alleles at random places and at the ends: SNVs, MNVs, insertions, deletions, both."""
    rng = np.random.default_rng(11)
    found = []
    for chrom, contig in genome.items():
        ends = [0, 1, len(contig) - 2, len(contig) - 1]
        for place in [*ends, *rng.integers(0, len(contig), RNG_ALLELES // 2).tolist()]:
            gone = contig[place : place + int(rng.choice([1, 1, 1, 2, 3, 5]))].upper()
            come = "".join(rng.choice(list("ACGT"), int(rng.choice([1, 1, 1, 2, 4]))))
            if set(gone) <= set("ACGT") and gone != come:
                found.append((chrom, place + 1, gone, come))
    return found


@pytest.fixture(scope="module")
def files(genome, rows, tmp_path_factory):
    """The genome and the alleles as files."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "genome.fa").write_text("".join(f">{n}\n{s}\n" for n, s in genome.items()))
    header = "##fileformat=VCFv4.2\n" + "".join(f"##contig=<ID={n}>\n" for n in genome)
    lines = [f"{c}\t{p}\t.\t{r}\t{a}\t.\t.\t.\n" for c, p, r, a in rows]
    (folder / "in.vcf").write_text(
        header + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "".join(lines)
    )
    return folder


def as_the_definitions_see_it(folder):
    checkpoint = read_checkpoint(folder)
    encoder, model = checkpoint.encoder, checkpoint.description
    kind, objective = model.tokenizer.kind, model.objective

    def tokenize(sequence):
        if kind == "base":
            return [(toy_families.BASES[b], i, i + 1) for i, b in enumerate(sequence)]
        if kind == "bpe":
            ids, offsets = toy_families.segment(sequence)
            places = [(i, *o) for i, o in zip(ids, offsets, strict=True)]
            return [(1, 0, 0), *places, (2, len(sequence), len(sequence))]
        tokens, at = [(0, 0, 0)], 0
        while at < len(sequence):
            run = len(sequence[at:].partition("N")[0])
            size = 4 if run >= 4 else 1
            part = sequence[at : at + size]
            tokens.append((toy_families.FOUR_MERS.index(part), at, at + size))
            at += size
        return tokens

    def run(ids):
        with torch.inference_mode():
            hidden = encoder.hidden(torch.tensor([ids]))[1]
            return encoder.logits(hidden[0]).numpy(), hidden[0].numpy()

    names = {"base": "..NACGT", "bpe": toy_families.BPE_TOKENS, "kmer": toy_families.FOUR_MERS}
    vocabulary = list(names[kind])
    pure = {i for i, t in enumerate(vocabulary) if set(t) <= set("ACGT")}
    every = set(range(len(vocabulary)))
    n = vocabulary.index("N") if kind == "kmer" else None

    def spoiled(tokens, changed):
        if kind != "kmer":
            return any(tokens[t][0] not in pure for t in changed)
        single = any(tokens[t][2] - tokens[t][1] == 1 for t in changed)
        return single and any(i == n for i, _, _ in tokens)

    return Model(
        objective, kind, tokenize, run,
        mask={"base": 0, "bpe": 3, "kmer": 1}[kind],
        pure=frozenset(every if kind == "kmer" else pure),
        spoiled=spoiled,
        spelled={i: t for i, t in enumerate(vocabulary) if len(t) == 4 and i in pure},
        bases=toy_families.BASES,
        stride=4 if kind == "kmer" else 1,
        k=4,
        step=4 if kind == "kmer" else 1,
        max_tokens=96,
        field=model.field,
    )  # fmt: skip


def score(files, model, output, **options):
    return score_file(
        files / "in.vcf", files / "genome.fa", str(model), output,
        options=Options(device="cpu", max_allele_bases=8, ref_mismatch_limit=1, **options),
        command="ntvep", quiet=True,
    )  # fmt: skip


WAYS = [{}, {"views": 1, "window_bases": 24}, {"views": "all", "window_bases": 32, "pool": "mean"}]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", WAYS, ids=["default", "forward", "all"])
def test_scores_equal_the_definitions(name, way, genome, rows, files, tmp_path):
    folder = toy_families.write(name, tmp_path / name)
    score(files, folder, tmp_path / "out.parquet", **way)
    found = pl.read_parquet(tmp_path / "out.parquet")
    views = way.get("views", 2)
    if views == "all":
        views = 8 if "kmer" in name else 2
    twin = Definitions(
        as_the_definitions_see_it(folder), genome, way.get("window_bases", 48), views, max_bases=8
    )
    statuses = set()
    for ours, allele in zip(found.iter_rows(named=True), rows, strict=True):
        theirs = twin.score(*allele)
        assert ours["status"] == theirs["status"], (allele, theirs)
        statuses.add(ours["status"])
        for column in found.columns[7:]:
            if column in ("tokens_ref", "tokens_alt"):
                continue
            expected = theirs.get(column)
            if expected is None:
                assert ours[column] is None, (allele, column, ours[column])
            else:
                assert ours[column] == pytest.approx(expected, abs=1e-5, rel=1e-5), (
                    allele,
                    column,
                )
    assert "ok" in statuses
    assert len(statuses) > 1


@pytest.mark.parametrize("name", ["toy_masked", "toy_causal"])
def test_four_letter_softmax_and_anchors_equal_the_definitions(name, genome, rows, files, tmp_path):
    folder = toy_families.write(name, tmp_path / name)
    score(files, folder, tmp_path / "out.parquet", softmax="acgt", anchor=12)
    found = pl.read_parquet(tmp_path / "out.parquet")
    model = as_the_definitions_see_it(folder)
    twin = Definitions(model, genome, 48, 2, anchor=12, softmax="acgt", max_bases=8)
    for ours, allele in zip(found.iter_rows(named=True), rows, strict=True):
        theirs = twin.score(*allele)
        assert ours["status"] == theirs["status"], allele
        for column in ("llr", "llr_site", "pll_delta", "entropy", "l2"):
            if column in ours and theirs.get(column) is not None:
                assert ours[column] == pytest.approx(theirs[column], abs=1e-5), (allele, column)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_a_toy_as_it_is(name, files, tmp_path):
    folder = toy_families.write(name, tmp_path / name)
    first = score(files, folder, tmp_path / "first.vcf", cache=tmp_path / "cache")
    again = score(files, folder, tmp_path / "again.vcf", cache=tmp_path / "cache")
    assert first.passes > 0
    assert (again.passes, again.known) == (0, again.ok)
    bodies = [
        [line for line in (tmp_path / n).read_text().splitlines() if line[:9] != "##ntvep_c"]
        for n in ("first.vcf", "again.vcf")
    ]
    assert bodies[0] == bodies[1]
    reference = files / "genome.fa"
    assert verify(tmp_path / "first.vcf", reference, str(folder), sample=30).largest < 1e-4
    scan_regions(
        ["long:101-110"], reference, str(folder), tmp_path / "scan.parquet", deletions=True,
        options=Options(device="cpu", scores="llr"), command="ntvep", quiet=True,
    )  # fmt: skip
    scanned = pl.read_parquet(tmp_path / "scan.parquet")
    assert scanned.height == 40
    verify(tmp_path / "scan.parquet", reference, str(folder), sample=40)
    changed = scanned.with_columns(llr=pl.col("llr") + 0.01)
    metadata = pl.read_parquet_metadata(tmp_path / "scan.parquet")
    metadata.pop("ARROW:schema", None)
    changed.write_parquet(tmp_path / "changed.parquet", metadata=metadata)
    with pytest.raises(VerificationError):
        verify(tmp_path / "changed.parquet", reference, str(folder), sample=40)
    if "bpe" not in name:
        known = score(files, "none", tmp_path / "known.parquet", cache=tmp_path / "cache")
        assert (known.passes, known.ok) == (0, first.ok)
