"""The header of an annotated VCF says what each number is, for each objective."""

import re

import numpy as np
import pytest

from ntvep.commands.options import Options
from ntvep.commands.score import score_file
from ntvep.commands.verify import verify
from ntvep.io import vcf
from ntvep.io.vcf_scores import provenance_in
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"
# Model -> its window in words, and what the header has to say of its columns.
MODELS = {
    "gpn_convnet": (
        "2 views, 64-base windows",
        {
            "LLR": "masked log-likelihood ratio: .* each with the changed tokens masked; negative",
            "LLR_UNMASKED": "given the unmasked reference window",
            "PLL_DELTA": "over the unmasked ALT window minus the same over the REF window",
            "ENTROPY": "at the first changed token, masked",
            "L2": "of the pooled embeddings .* pool mean",
            "L2_TOKEN": "of the pooled embeddings",
        },
    ),
    "marin-dna": (
        "2 views, 64-base windows",
        {
            "LLR": r"sum of log P\(token \| those before it\) from the first token that differs",
            "LLR_SITE": "of only the changed tokens, given the bases before them",
            "ENTROPY": "of the first token that differs, given those before it",
            "L2": "of the pooled embeddings .* pool mean",
            "L2_TOKEN": "of the pooled embeddings",
        },
    ),
    "phylogpn": (
        "2 views, 73-base windows",
        {
            "LLR": "SNV: log rate of ALT - log rate of REF at the changed base, unmasked; negative",
            "L2": "of the embeddings at the first changed base e_ref, e_alt; layer last, 2 views",
        },
    ),
}
BESIDE = {"STATUS", "LENGTH_CHANGE"}


@pytest.fixture
def files(tmp_path):
    """A genome, and a VCF with an SNV, a deletion, an MNV and one whose REF is wrong."""
    sequence = "".join(np.random.default_rng(2).choice(list("ACGT"), 200))
    (tmp_path / "genome.fa").write_text(f">c\n{sequence}\n")

    def other(bases):
        return bases.translate(str.maketrans("ACGT", "CGTA"))

    records = [
        (80, sequence[79], other(sequence[79])),
        (90, sequence[89:92], sequence[89]),
        (100, sequence[99:101], other(sequence[99:101])),
        (110, other(sequence[109]), sequence[109]),
    ]
    lines = [f"c\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for pos, ref, alt in records]
    (tmp_path / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=c>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        + "".join(lines)
    )
    return tmp_path


def annotated(files, name, **options):
    """Descriptions by key, and the INFO keys of each record."""
    output = files / f"{name}.vcf"
    score_file(
        files / "in.vcf", files / "genome.fa", str(GOLDEN / name), output,
        options=Options(
            device="cpu", window_bases=64, max_allele_bases=8, ref_mismatch_limit=1, **options
        ),
        command="ntvep", quiet=True,
    )  # fmt: skip
    text = output.read_text()
    said = dict(re.findall(r'##INFO=<ID=NTVEP_(\w+),.*Description="(.*)">', text))
    bodies = [line.split("\t")[7] for line in text.splitlines() if line[0] != "#"]
    return said, [dict(part.split("=") for part in body.split(";")) for body in bodies]


@pytest.mark.parametrize("name", MODELS)
def test_the_header_says_what_each_number_is(name, files):
    window, meanings = MODELS[name]
    said, records = annotated(files, name)
    for key, meaning in meanings.items():
        assert re.search(meaning, said[key]), said[key]
        assert said[key].endswith(window)
    distances = {
        f"{distance}{of}"
        for distance in ("COS", "L1", "L2", "DOT")
        for of in ("", "_TOKEN")
        if f"L2{of}" in meanings
    }
    assert {*said} == {*meanings} | distances | BESIDE
    # Every key of a record has its line, and every line has a value somewhere.
    used = {key.removeprefix("NTVEP_") for record in records for key in record}
    assert used == {*said}
    assert [record["NTVEP_STATUS"] for record in records] == ["ok"] * 3 + ["ref_mismatch"]
    # A deletion and an MNV have no llr of a rate model, and no wild-type marginal of a deletion.
    snvs_only = name == "phylogpn"
    assert ["NTVEP_LLR" in r for r in records] == [True, not snvs_only, not snvs_only, False]
    assert [r.get("NTVEP_LENGTH_CHANGE") for r in records] == ["0", "-2", "0", None]


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_never_has_is_not_written_even_if_it_is_asked_for(name, files):
    asked = "llr,llr_site,llr_marginal,llr_unmasked,pll_delta,entropy,l2,l2_token"
    said, records = annotated(files, name, scores=asked)
    assert {*said} == {*MODELS[name][1]} | BESIDE
    assert {key.removeprefix("NTVEP_") for record in records for key in record} == {*said}
    # What was written can be read, and computed again.
    output = files / f"{name}.vcf"
    provenance = provenance_in(vcf.inspect(output, output.name, "fail"))
    assert {*provenance.settings.scores} == {key.lower() for key in MODELS[name][1]}
    assert verify(output, files / "genome.fa", str(GOLDEN / name), sample=10).largest < 1e-4
