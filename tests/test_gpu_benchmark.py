"""``make gpu`` without a card: each part runs to its end, and notes are kept in their places."""

import importlib.metadata
import sys

import numpy as np
import pytest

from benchmarks import gpu, gpu_scores, gpu_steps
from benchmarks.passes import SLICE
from ntvep.io.fasta import open_reference
from tests.conftest import ROOT

# A compiler does not read what the test run puts around functions to check their arrays.
COMPILED = ("compile", "autotune", "graphs")
STEPS = [part.removeprefix("steps-") for part in gpu.PARTS if part.startswith("steps-")]


def test_the_command_runs_a_part_in_a_process_and_notes_it(tmp_path, capfd):
    notes = tmp_path / "notes.md"
    assert gpu.main(["ceilings", "--device", "cpu", "--notes", str(notes)]) == 0
    assert "which is not a measurement" in capfd.readouterr().out
    text = notes.read_text()
    assert f"## {gpu.PARTS['ceilings']}\n\n**CPU, torch " in text
    assert "| square, the fastest of three: the ceiling | " in text


def test_a_part_that_lacks_a_package_is_said_and_the_others_run(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "_in_a_process", lambda part, device: f"| {part} |")
    monkeypatch.setattr(gpu, "_is_there", lambda name: name != "polars")
    assert gpu.main(["sparse", "ceilings", "--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert "sparse: this Python has no polars" in said
    assert "| ceilings |" in said
    assert "not run, or failed: sparse" in said


def test_a_part_that_fails_leaves_no_note(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", "false")
    notes = tmp_path / "notes.md"
    assert gpu.main(["ceilings", "--device", "cpu", "--notes", str(notes)]) == 1
    assert "exit status 1, nothing is noted" in capsys.readouterr().out
    assert not notes.exists()


def test_notes_go_under_their_heading_behind_earlier_ones(tmp_path):
    notes = tmp_path / "gpu.md"
    notes.write_text((ROOT / "benchmarks" / "gpu.md").read_text())
    gpu.add(notes, "sparse", "first")
    gpu.add(notes, "families", "other")
    gpu.add(notes, "sparse", "second")
    text = notes.read_text()
    assert f"## {gpu.PARTS['sparse']}\n\nfirst\n\nsecond\n\n## {gpu.PARTS['families']}" in text
    assert f"## {gpu.PARTS['families']}\n\nother\n\n## " in text
    assert text.count(gpu.NOT_RUN) == len(gpu.PARTS) - 2


def test_the_notes_have_every_part_and_no_figure_of_a_cpu():
    text = (ROOT / "benchmarks" / "gpu.md").read_text()
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(
        gpu.PARTS.values()
    )
    assert "**CPU" not in text


@pytest.mark.slow
@pytest.mark.parametrize("step", ["compile", "graphs"])
def test_compiled_steps(step, capfd):
    assert gpu.main([f"steps-{step}", "--device", "cpu"]) == 0
    assert "hidden states differ by 0e+00" in capfd.readouterr().out


@pytest.mark.parametrize("step", [step for step in STEPS if step not in COMPILED])
def test_steps(step, monkeypatch):
    monkeypatch.setattr(gpu_steps, "_ROUNDS", 1)
    ((heads, rows),) = gpu_steps.tables(step, "cpu")
    assert len(rows) > 1
    assert {len(row) for row in rows} == {len(heads)}
    assert float(str(rows[0][1]).replace(",", "")) > 0


@pytest.mark.parametrize(
    ("part", "scores"),
    [("saturation", ["llr"]), pytest.param("dense", ["llr", "all scores"], marks=pytest.mark.slow)],
)
def test_from_vcf_to_vcf_beside_the_other_ways(part, scores, monkeypatch):
    monkeypatch.setattr(gpu_scores.command, "ready", gpu_scores.command.ready)
    (heads, rows), _ = gpu_scores.tables(part, "cpu")
    assert [row[1] for row in rows] == scores
    for row in rows:
        found = dict(zip(heads, row, strict=True))
        assert found["alleles"] == "24"
        # The other ways compute the same llr.
        assert float(found["llr: largest difference, Spearman"].split(",")[0]) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("part", ["precision", "families"])
def test_precision_and_families(part, monkeypatch):
    monkeypatch.setattr(gpu_scores.command, "ready", gpu_scores.command.ready)
    for heads, rows in gpu_scores.tables(part, "cpu"):
        assert len(rows) > 10
        assert {len(row) for row in rows} == {len(heads)}


def test_lists_are_of_the_reference():
    chr22 = open_reference(SLICE)
    for make in (gpu_scores.saturation, gpu_scores.dense, gpu_scores.sparse):
        alleles = make(chr22, 300)
        assert alleles.height == 300
        assert alleles["pos"].is_sorted()
        for pos, ref, alt in alleles.select("pos", "ref", "alt").iter_rows():
            assert gpu_scores._bases(chr22, pos - 1, pos - 1 + len(ref)) == ref != alt
    lengths = gpu_scores.dense(chr22, 300)["ref"].str.len_bytes()
    assert 0 < (lengths > 1).sum() < 60


def test_idle_share_is_what_no_span_covers():
    # 0-4 and 2-6 overlap, 3-4 lies within; 2 of 10 are free.
    spans = np.array([[8.0, 10.0], [0.0, 4.0], [2.0, 6.0], [3.0, 4.0]])
    assert gpu_scores.idle(spans) == pytest.approx(0.2)


def test_ranks_correlate_as_by_hand():
    # One swap of neighbours in four: 1 - 6 * 2 / (4 * 15).
    assert gpu_scores.spearman(np.array([1.0, 2, 3, 4]), np.array([5.0, 7, 6, 9])) == pytest.approx(
        0.8
    )


def test_a_checkout_that_is_not_installed_has_a_version(monkeypatch):
    found = importlib.metadata.version
    asked = []

    def missing(name):
        asked.append(name)
        if len(asked) == 1:
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(importlib.metadata, "version", missing)
    gpu_scores._say_the_version()
    assert importlib.metadata.version("ntvep") == "0"
