"""The Python API: one loaded model, many calls; a VCF, a frame and a list give the same numbers."""

import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

import ntvep
from ntvep.evaluate.background import contexts
from ntvep.io.fasta import open_reference
from ntvep.io.tables import read_metadata, table_writer
from ntvep.models import registry
from ntvep.models.checkpoint import read_checkpoint
from ntvep.provenance import Provenance
from ntvep.schema import CONTEXT, PENTANUCLEOTIDE
from tests import toy_families
from tests.conftest import ROOT

DEMO = ROOT / "ntvep" / "demo"
REFERENCE = DEMO / "chr22_20012478_20215143.grch38.fa.gz"
ROWS = [
    ("chr22", 20050000, "A", "G"),
    ("chr22", 20060000, "G", "T,*,A"),
    ("chr22", 20050010, "AT", "A"),
    ("chr22", 20100003, "C", "<DEL>"),
    ("chr1", 5, "A", "C"),
]
FEW = {"scores": "llr,cosine_distance", "window_tokens": 30}


@pytest.fixture(scope="module")
def rows():
    """The rows above, with the reference's own bases as REF."""
    from ntvep import dna
    from ntvep.io.fasta import open_reference

    genome, made = open_reference(REFERENCE), []
    for chrom, pos, ref, alt in ROWS:
        if chrom == "chr22":
            ref = dna.decode(genome.fetch(chrom, pos - 1, pos - 1 + len(ref)))
            alt = ",".join(
                ref[:1] if a == "A" and len(ref) > 1 else "ACGT"[("ACGT".index(ref[0]) + i + 1) % 4]
                if set(a) <= set("ACGT") and len(ref) == 1 else a
                for i, a in enumerate(alt.split(","))
            )  # fmt: skip
        made.append((chrom, pos, ref, alt))
    return made


@pytest.fixture(scope="module")
def model():
    """The demo's model, loaded once."""
    return ntvep.load("demo-6mer", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def expected(model, rows):
    """Scores of the list."""
    return model.score(rows, reference=REFERENCE, quiet=True, **FEW)


def test_a_row_for_each_alt_in_the_order_of_the_input(expected, rows):
    alts = [(c, p, r, one) for c, p, r, a in rows for one in a.split(",")]
    assert expected.select("chrom", "pos", "ref", "alt").rows() == alts
    assert expected.schema["chrom"] == pl.String
    assert expected.schema["pos"] == pl.Int64
    statuses = ["ok", "ok", "spanning_deletion", "ok", "ok", "symbolic_allele"]
    assert expected["status"].to_list() == [*statuses, "contig_not_in_reference"]
    assert expected["llr"].is_null().to_list() == [s != "ok" for s in expected["status"]]
    assert expected.columns[-3:] == ["llr", "cosine_distance", "frameshifted"]


def test_frames_texts_and_a_vcf_give_the_same(model, rows, expected, tmp_path):
    names = ["chrom", "pos", "ref", "alt"]
    texts = [f"{c}:{p}:{r}:{a}" for c, p, r, a in rows]
    (tmp_path / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        + "".join(f"{c}\t{p}\t.\t{r}\t{a}\t.\t.\t.\n" for c, p, r, a in rows)
    )
    frame = pl.DataFrame(rows, schema=names, orient="row")
    others = frame.select("alt", "pos", "ref", "chrom", pl.lit("kept").alias("more"))
    for given in (frame, others, pd.DataFrame(rows, columns=names), texts, tmp_path / "in.vcf"):
        found = model.score(given, reference=str(REFERENCE), quiet=True, **FEW)
        assert_frame_equal(found, expected, abs_tol=1e-6)
    one = model.score(texts[0], reference=REFERENCE, quiet=True, **FEW)
    assert one["llr"].to_list() == pytest.approx(expected["llr"].to_list()[:1], abs=1e-6)


def test_one_model_serves_many_threads(model, rows, expected):
    found = {}

    def work(number):
        found[number] = model.score(rows, reference=REFERENCE, quiet=True, **FEW)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        assert_frame_equal(found[number], expected, abs_tol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pl.DataFrame({"chrom": ["c"], "pos": [1], "ref": ["A"]}), "no column alt"),
        ([("chr22", 1, "A")], "variant 0: .*expected \\(chrom, pos, ref, alt\\)"),
        (["chr22:1:A:C", "chr22-1-A-C"], "variant 1: 'chr22-1-A-C'; expected CHROM:POS:REF:ALT"),
        ([("chr22", 1.5, "A", "C")], "variant 0: pos is 1.5; expected a whole number"),
        ("missing.vcf", "missing.vcf"),
    ],
)
def test_what_is_no_variant_is_named(model, given, message):
    with pytest.raises(ntvep.NtvepError, match=message):
        model.score(given, reference=REFERENCE, quiet=True)


def test_wrong_options_are_named(model, rows):
    with pytest.raises(TypeError, match="unexpected keyword argument 'vews'"):
        model.score(rows, reference=REFERENCE, vews=3)
    with pytest.raises(ntvep.NtvepError, match="--views is 3; expected 1, 2 or all"):
        model.score(rows, reference=REFERENCE, views=3)


def test_scan_gives_every_snv_of_a_region(model):
    found = ntvep.scan(
        model, "chr22:20050000-20050009", reference=REFERENCE, deletions=True, quiet=True, **FEW
    )
    assert found.height == 40
    assert found["pos"].is_sorted()
    some = found.filter(pl.col("ref").str.len_chars() == 1)[:3]
    again = model.score(
        some.select("chrom", "pos", "ref", "alt"), reference=REFERENCE, quiet=True, **FEW
    )
    assert again["llr"].to_list() == pytest.approx(some["llr"].to_list(), abs=1e-6)


def test_a_store_and_a_background_are_those_of_the_command_line(model, rows, tmp_path):
    """``known`` and ``background``: a store's scores first; places among the background."""
    few = ("--window-tokens", "30", "--device", "cpu", "--precision", "fp32", "-q")
    asked = ("-r", REFERENCE, "-m", "demo-6mer", "--scores", "llr", *few)
    place = ("--region", "chr22:20050000-20050009")
    drawn = ("--region", "chr22:20060000-20060400", "--per-context", "20")
    for words in (
        ("scan", *place, *asked, "-o", "scan.parquet"),
        ("store", "build", "scan.parquet", "-o", "s"),
        ("background", "draw", *asked[:4], *few, *drawn, "-o", "b.parquet"),
    ):
        call = [sys.executable, "-c", "from ntvep.cli import main; main()", *map(str, words)]
        subprocess.run(call, cwd=tmp_path, check=True, capture_output=True)
    less = {"scores": "llr", "window_tokens": 30, "reference": REFERENCE, "quiet": True}
    plain = model.score(rows, **less)
    for stores in (tmp_path / "s", [str(tmp_path / "s")]):
        found = model.score(rows, known=stores, **less)
        # The SNV of the first row and none of the others lies in the store.
        assert found.filter(status="ok")["source"].to_list() == ["store", *["model"] * 3]
        assert found["llr"].to_list() == pytest.approx(plain["llr"].to_list(), abs=1e-3)
        assert abs(found["llr"][0] - plain["llr"][0]) > 0
        assert found["llr"][1] == pytest.approx(plain["llr"][1], abs=1e-6)
    # So few places have no context often enough: all of them get that of the first row.
    drawn, first = pl.read_parquet(tmp_path / "b.parquet"), plain[:1]
    there = contexts(first, open_reference(REFERENCE))
    drawn = drawn.with_columns(
        context=pl.lit(there.context[0]), pentanucleotide=pl.lit(there.pentanucleotide[0])
    )
    provenance, _ = read_metadata(tmp_path / "b.parquet")
    made = Provenance.from_json(provenance, "b.parquet")
    columns = (*made.columns, CONTEXT, PENTANUCLEOTIDE)
    with table_writer(tmp_path / "one.parquet", columns, provenance, lambda: "{}") as write:
        write(drawn)
    found = model.score(rows, background=str(tmp_path / "one.parquet"), **less)
    assert found.columns == [*plain.columns, "llr_percentile", "llr_phred", "llr_calibrated"]
    llr, among = found["llr"][0], drawn["llr"].to_numpy()
    assert found["llr_percentile"][0] == pytest.approx(100 * (among < llr).mean(), abs=0.5)
    assert found["llr_calibrated"][0] == pytest.approx(llr - among.mean(), abs=1e-9)
    with pytest.raises(ntvep.NtvepError, match=r"none\.parquet: no such table"):
        model.score(rows, background=tmp_path / "none.parquet", **less)


def test_embeddings_are_means_of_hidden_states(model):
    encoder = read_checkpoint(DEMO / "model").encoder
    tokenizer = model._loaded.description.tokenizer
    sequences = ["ACGTACGTACGTTTGACA", "ACGTAC", "NACGTTGACAGTACCA"]
    found = model.embeddings(sequences)
    assert found.shape == (3, encoder.dim)
    assert found.dtype == np.float64
    from ntvep import dna

    for row, sequence in zip(found, sequences, strict=True):
        ids = torch.tensor([tokenizer.encode(dna.encode(sequence)).ids.tolist()])
        with torch.inference_mode():
            states = encoder.hidden(ids)[1][0, 1:].double().mean(dim=0)
        np.testing.assert_allclose(row, states.numpy(), atol=1e-5)
    with pytest.raises(ntvep.NtvepError, match="this model takes 1 to 513"):
        model.embeddings(["ACGTAC" * 600])


@pytest.mark.parametrize(
    "name", ["toy_masked", "toy_causal", "toy_rates", "toy_kmer", "toy_causal_kmer"]
)
def test_log_probs_equal_a_plain_computation(name, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "FAMILIES", (*toy_families.TOYS.values(), *registry.FAMILIES))
    folder = toy_families.write(name, tmp_path / name)
    model, encoder = ntvep.load(folder, device="cpu"), read_checkpoint(folder).encoder
    tokenizer = model._loaded.description.tokenizer
    sequences, positions = ["ACGTTGCAACGT", "TTGACCAGTACC"], [6, 9]
    if name == "toy_rates":
        sequences, positions = ["ACGTT", "TTGAC"], [2, 2]
    found = model.log_probs(sequences, positions)
    from ntvep import dna

    for row, sequence, position in zip(found, sequences, positions, strict=True):
        ids = tokenizer.encode(dna.encode(sequence)).ids.astype(int).tolist()
        four = "kmer" in name
        at = 1 + position // 4 if four else position
        shown = [tokenizer.mask if i == at and "causal" not in name and "rates" not in name else t
                 for i, t in enumerate(ids)]  # fmt: skip
        with torch.inference_mode():
            logits = encoder.logits(encoder.hidden(torch.tensor([shown]))[1][0]).double()
        if name == "toy_rates":
            expected = logits[0].numpy()
        else:
            p = logits[at - ("causal" in name)].softmax(dim=0).numpy()
            if four:
                vocabulary = toy_families.FOUR_MERS
                begin = sequence[position // 4 * 4 : position] if "causal" in name else ""
                offset = position % 4
                sums = [
                    sum(
                        p[i]
                        for i, t in enumerate(vocabulary)
                        if len(t) == 4 and t[offset] == b and t.startswith(begin)
                    )
                    for b in "ACGT"
                ]
                expected = np.log(np.array(sums) / sum(sums))
            else:
                expected = np.log([p[toy_families.BASES[b]] for b in "ACGT"])
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_what_the_package_shows():
    assert dir(ntvep) == ["Model", "NtvepError", "Options", "__version__", "load", "scan"]
    with pytest.raises(AttributeError, match=r"ntvep.load\(model\).score\(vcf"):
        _ = ntvep.score
    code = "import sys, ntvep; dir(ntvep); ntvep.Options; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_repr_is_a_line(model):
    assert repr(model) == (
        "ntvep.Model('ntvep-demo-6mer', masked, kmer tokens, windows of 3,072 bases, fp32 on cpu)"
    )


@pytest.mark.slow
def test_options_are_typed(tmp_path):
    (tmp_path / "use.py").write_text(
        "import ntvep\n"
        "model = ntvep.load('demo-6mer')\n"
        "table = model.score('in.vcf', reference='x.fa', views=2)\n"
        "table = model.score('in.vcf', reference='x.fa', vews=3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "use.py"],
        cwd=tmp_path, env={"MYPYPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    errors = [
        line
        for line in done.stdout.splitlines()
        if line.startswith("use.py") and " error: " in line
    ]
    assert len(errors) == 1, done.stdout
    assert errors[0].startswith("use.py:4:")
    assert '"vews"' in errors[0]


def test_the_examples_of_the_documentation_run(tmp_path, monkeypatch, capsys):
    """docs/api.md, block after block, on a few records of the demo."""
    lines = (DEMO / "demo.vcf").read_text().splitlines(keepends=True)
    header = [line for line in lines if line.startswith("#")]
    (tmp_path / "in.vcf").write_text("".join([*header, *lines[-3:]]))
    for ending in ("", ".fai", ".gzi"):
        (tmp_path / f"GRCh38.fa{ending}").symlink_to(f"{REFERENCE}{ending}")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "api.md").read_text()
    blocks = [part.partition("```")[0] for part in text.split("```python\n")[1:]]
    assert len(blocks) == 5
    named = {}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), named)
    assert named["both"].height == 1
    assert capsys.readouterr().out.endswith(
        "variant 0: ('chr22', 20050000, 'A'); expected (chrom, pos, ref, alt)\n"
    )
