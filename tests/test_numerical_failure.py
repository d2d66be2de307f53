"""NaN or infinity is a status, said and never written: through every output, one allele or all."""

import gzip
import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pysam
import pytest
import torch
from safetensors.torch import load_file, save_file

from ntvep import cli
from ntvep.errors import ModelError
from ntvep.models.loaded import load_model
from ntvep.objectives import defined_scores
from tests.conftest import ROOT

MODEL = ROOT / "tests" / "golden" / "v2"
NAMES = defined_scores("masked", "kmer")
CHR1 = "".join(np.random.default_rng(5).choice(list("ACGT"), 1200))
OTHER = str.maketrans("ACGT", "CGTA")
PLACES = (100, 400, 401, 700)
# The token that only the ALT of the first record has: bases 97 to 102 are one 6-mer of the grid.
POISONED = CHR1[96:99] + CHR1[99].translate(OTHER) + CHR1[100:102]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))
    (tmp_path / "ref.fa").write_text(f">chr1\n{CHR1}\n")
    lines = [
        f"chr1\t{p}\t.\t{CHR1[p - 1]}\t{CHR1[p - 1].translate(OTHER)},<DEL>\t.\t.\tX=1\n"
        for p in PLACES
    ]
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (tmp_path / "in.vcf").write_text(head + "".join(lines))

    def call(model: Path, output: str, *options: str) -> tuple[int, str]:
        given = ("-r", "ref.fa", "-m", str(model), "-o", output, "--views", "1")
        window = ("--window-tokens", "16", "--max-allele-bases", "20")
        argv = ["ntvep", "score", "in.vcf", *given, *window, *options]
        monkeypatch.setattr(sys, "argv", argv)
        logging.getLogger("ntvep").handlers = []
        with pytest.raises(SystemExit) as left:
            cli.main()
        return int(left.value.code or 0), capsys.readouterr().err

    return call


def spoiled(tmp_path: Path, weight: str, change: Callable[[torch.Tensor], object]) -> Path:
    """The model with finite weights that overflow when they are used."""
    copy = tmp_path / "spoiled"
    shutil.copytree(MODEL, copy)
    state = load_file(copy / "model.safetensors")
    change(state[weight])
    assert torch.isfinite(state[weight]).all()
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


def infos(path: Path) -> list[str]:
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    return [line.split("\t")[7] for line in text.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("name", ["out.vcf", "out.vcf.gz", "out.bcf", "out.parquet"])
def test_all_fail(run, tmp_path: Path, name: str) -> None:
    model = spoiled(tmp_path, "lm_head.decoder.weight", lambda w: w.fill_(3e38))
    status, said = run(model, name)
    assert status == 4
    assert "NaN or infinity for 4 of 8 alleles, whose status says so" in said
    path = tmp_path / name
    summary = json.loads(path.with_name(name + ".summary.json").read_text())
    assert summary["statuses"] == {"numerical_failure": 4, "symbolic_allele": 4}
    assert summary["ok"] == 0
    if name.endswith(".parquet"):
        table = pl.read_parquet(path)
        assert table["status"].to_list() == ["numerical_failure", "symbolic_allele"] * 4
        assert table.select(NAMES).null_count().row(0) == (8,) * len(NAMES)
        return
    expected = "X=1;NTVEP_STATUS=numerical_failure,symbolic_allele"
    if name.endswith(".bcf"):
        with pysam.VariantFile(str(path)) as variants:
            found = [(v.info["NTVEP_STATUS"], "NTVEP_LLR" in v.info) for v in variants]
        assert found == [(("numerical_failure", "symbolic_allele"), False)] * 4
    else:
        assert infos(path) == [expected] * 4


def test_one_fails_and_the_others_keep_their_numbers(run, tmp_path: Path) -> None:
    """What overflows in one allele's pass is that allele's: all its scores are left out."""
    token = (MODEL / "vocab.txt").read_text().splitlines().index(POISONED)
    weight = "esm.embeddings.word_embeddings.weight"

    def poison(words: torch.Tensor) -> None:
        words[token] = torch.tensor([3e38, -3e38]).repeat(words.shape[1] // 2)

    model = spoiled(tmp_path, weight, poison)
    status, said = run(MODEL, "sound.vcf", "--table", "sound.parquet")
    assert status == 0, said
    status, said = run(model, "out.vcf", "--table", "out.parquet")
    assert status == 4
    assert "NaN or infinity for 1 of 8 alleles" in said
    sound, found = pl.read_parquet("sound.parquet"), pl.read_parquet("out.parquet")
    assert found["status"].to_list() == ["numerical_failure", "symbolic_allele"] + [
        "ok", "symbolic_allele",
    ] * 3  # fmt: skip
    assert found[0].select(NAMES).null_count().row(0) == (1,) * len(NAMES)
    assert sound[0].select("llr", "l2").null_count().row(0) == (0, 0)
    assert found[1:].equals(sound[1:])
    assert infos(tmp_path / "out.vcf")[0] == "X=1;NTVEP_STATUS=numerical_failure,symbolic_allele"
    assert infos(tmp_path / "out.vcf")[1:] == infos(tmp_path / "sound.vcf")[1:]


def overflowing(tmp_path: Path) -> Path:
    """Inner activations beyond the 65,504 of float16, and far within float32."""
    return spoiled(tmp_path, "esm.encoder.layer.0.intermediate.dense.weight", lambda w: w.mul_(1e3))


def test_what_overflows_in_half_precision_is_run_again_in_float32(run, tmp_path: Path) -> None:
    model = overflowing(tmp_path)
    status, said = run(model, "single.parquet", "--precision", "fp32")
    assert status == 0, said
    status, said = run(model, "half.parquet", "--precision", "fp16")
    assert status == 0, said
    summary = json.loads((tmp_path / "half.parquet.summary.json").read_text())
    single = json.loads((tmp_path / "single.parquet.summary.json").read_text())
    # Every pass overflowed, so each was run twice.
    assert (summary["again"], summary["passes"]) == (single["passes"], 2 * single["passes"])
    assert single["again"] == 0
    assert f"{summary['again']} of these passes were run again in float32" in said
    assert (summary["ok"], summary["statuses"]) == (single["ok"], single["statuses"])
    scores = [pl.read_parquet(f"{name}.parquet").select(NAMES) for name in ("half", "single")]
    assert scores[0].equals(scores[1])
    assert scores[0]["llr"].null_count() < len(scores[0])


def test_bfloat16_has_the_range_of_float32(run, tmp_path: Path) -> None:
    status, said = run(overflowing(tmp_path), "out.parquet", "--precision", "bf16")
    assert status == 0, said
    assert json.loads((tmp_path / "out.parquet.summary.json").read_text())["again"] == 0


def test_what_float32_cannot_hold_either_is_said(run, tmp_path: Path) -> None:
    model = spoiled(tmp_path, "lm_head.decoder.weight", lambda w: w.fill_(3e38))
    status, said = run(model, "out.parquet", "--precision", "bf16")
    assert status == 4, said
    summary = json.loads((tmp_path / "out.parquet.summary.json").read_text())
    assert summary["statuses"] == {"numerical_failure": 4, "symbolic_allele": 4}
    assert summary["again"] > 0


def test_weights_that_changed_during_a_run_are_not_used(tmp_path: Path) -> None:
    engine = load_model(str(overflowing(tmp_path)), device="cpu", precision="fp16").model
    state = load_file(tmp_path / "spoiled" / "model.safetensors")
    state["lm_head.bias"] += 1
    save_file(state, tmp_path / "spoiled" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="the weights have changed since this run began"):
        engine.in_float32()
