"""Known scores: read instead of computed, the same numbers, safe for many writers."""

import json
import logging
import multiprocessing
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from ntvep import cli, dna, pipeline
from ntvep.io import cache as known_scores
from ntvep.io.cache import Identity, ScoreCache
from ntvep.models.loaded import LoadedModel
from ntvep.pipeline import score_alleles
from ntvep.schema import KNOWN_KEY
from tests.toy import Genome, Unigram, alleles, context, identity, like_nt
from tests.toy import settings as settings_of

RNG = np.random.default_rng(11)
CHR1 = "".join(RNG.choice(list("ACGT"), 600))
GENOME = Genome({"chr1": CHR1, "chr2": CHR1[::-1]})
SETTINGS = settings_of(window_tokens=9, views=2, max_allele_bases=6)
MODEL = identity("toy")


def toy():
    rng = np.random.default_rng(12)
    return Unigram(np.log(rng.dirichlet(np.ones(4103))), rng.normal(size=(4103, 4)))


def some_alleles(places=range(100, 400, 7), chrom="chr1"):
    sequence = GENOME.contigs[chrom]
    rows = [(chrom, p + 1, sequence[p], "A" if sequence[p] != "A" else "C") for p in places]
    rows += [(chrom, p + 1, sequence[p : p + 3], sequence[p]) for p in list(places)[:4]]
    return alleles(*rows)


def setup(folder, model, settings=SETTINGS, genome=GENOME, fingerprint="f" * 16):
    known = ScoreCache(folder, Identity(fingerprint, MODEL, settings))
    return context(genome, model, settings, known)


def test_known_scores_are_read_and_equal(tmp_path):
    model = toy()
    table = some_alleles()
    first = score_alleles(table, setup(tmp_path, model))
    assert (first.known, first.passes) == (0, len(model.passes))
    again = score_alleles(table, setup(tmp_path, model))
    assert (again.known, again.passes) == (table.height, 0)
    assert_frame_equal(again.scores, first.scores, check_exact=True)
    # Without a cache the same numbers; without a model too.
    fresh = score_alleles(table, context(GENOME, toy(), SETTINGS))
    assert_frame_equal(fresh.scores, first.scores, check_exact=True)
    alone = score_alleles(table, setup(tmp_path, None))
    assert_frame_equal(alone.scores, first.scores, check_exact=True)


def test_only_novel_alleles_are_run(tmp_path):
    score_alleles(some_alleles(range(100, 200, 7)), setup(tmp_path, toy()))
    model, both = toy(), some_alleles(range(100, 300, 7))
    found = score_alleles(both, setup(tmp_path, model))
    novel = score_alleles(some_alleles(range(205, 300, 7)), context(GENOME, toy(), SETTINGS))
    assert found.known == len(range(100, 200, 7)) + 4
    assert 0 < found.passes <= novel.passes
    fresh = score_alleles(both, context(GENOME, toy(), SETTINGS))
    assert_frame_equal(found.scores, fresh.scores, check_exact=True)


def test_another_spelling_is_the_same_allele(tmp_path):
    """Contig alias and a longer spelling: one minimal allele, one set of windows."""
    p = 120
    alt = "A" if CHR1[p] != "A" else "C"
    score_alleles(alleles(("chr1", p + 1, CHR1[p], alt)), setup(tmp_path, toy()))
    other = Genome({"1": CHR1})
    spelled = alleles(("1", p, CHR1[p - 1 : p + 1], CHR1[p - 1] + alt))
    assert score_alleles(spelled, setup(tmp_path, toy(), genome=other)).passes == 0


def test_other_bases_in_the_window_are_another_score(tmp_path):
    """A reference that differs 20 bases away: the checksum of the window says so."""
    p = 120
    row = alleles(("chr1", p + 1, CHR1[p], "A" if CHR1[p] != "A" else "C"))
    score_alleles(row, setup(tmp_path, toy()))
    at = p - 20
    changed = CHR1[:at] + ("A" if CHR1[at] != "A" else "C") + CHR1[at + 1 :]
    for there, passes in ((at, 6), (5, 0)):
        text = changed if there == at else "ACGTA" + CHR1[5:]
        found = score_alleles(row, setup(tmp_path, toy(), genome=Genome({"chr1": text})))
        assert found.passes == passes


def test_fingerprints_do_not_mix(tmp_path):
    table = some_alleles()
    score_alleles(table, setup(tmp_path, toy()))
    assert score_alleles(table, setup(tmp_path, toy(), fingerprint="e" * 16)).known == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e" * 16, "f" * 16]


def test_more_scores_than_are_known_are_computed(tmp_path):
    table = some_alleles()
    few = settings_of(("llr",), 9, views=2, max_allele_bases=6)
    score_alleles(table, setup(tmp_path, toy(), few))
    assert score_alleles(table, setup(tmp_path, toy())).known == 0
    # Fewer are there.
    one = settings_of(("l1",), 9, views=2, max_allele_bases=6)
    wide = score_alleles(table, setup(tmp_path, toy(), one))
    assert wide.known == table.height
    assert wide.scores["l1"].null_count() == 0


def test_what_the_cache_lacks_has_its_status_without_a_model(tmp_path):
    score_alleles(some_alleles(range(100, 107, 7)), setup(tmp_path, toy()))
    found = score_alleles(some_alleles(range(100, 121, 7)), setup(tmp_path, None)).scores
    assert found["status"].to_list() == ["ok", *["not_in_cache"] * 2, "ok", *["not_in_cache"] * 2]
    assert found["llr"].is_not_null().to_list() == [s == "ok" for s in found["status"]]


def test_a_run_that_dies_repeats_no_finished_plan(tmp_path, monkeypatch):
    """The model fails in the third plan: the scores of two plans are there."""
    monkeypatch.setattr(pipeline, "PAIRS_PER_PLAN", 20)
    table = some_alleles(range(100, 500, 5))

    class Dying(Unigram):
        calls = 0

        def answer(self, questions, on_passes=None):
            self.calls += 1
            if self.calls == 3:
                raise KeyboardInterrupt
            return super().answer(questions, on_passes)

    model = toy()
    with pytest.raises(KeyboardInterrupt):
        score_alleles(table, setup(tmp_path, Dying(model.log_probs, model.embeddings)))
    again = score_alleles(table, setup(tmp_path, toy()))
    assert again.known == 20
    whole = score_alleles(table, context(GENOME, toy(), SETTINGS))
    assert_frame_equal(again.scores, whole.scores, check_exact=True)


def fill(folder, start):
    score_alleles(some_alleles(range(start, start + 100, 3)), setup(folder, toy()))


def test_many_writers_share_a_folder(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=fill, args=(tmp_path, 100 + 50 * i)) for i in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    everything = some_alleles(range(100, 200, 3))
    found = score_alleles(everything, setup(tmp_path, toy()))
    assert found.passes == 0
    assert not list(tmp_path.glob("*/.*"))


def test_shards_that_are_merged_meanwhile_are_found(tmp_path, monkeypatch):
    for places in (range(100, 205, 7), range(205, 300, 7)):
        score_alleles(some_alleles(places), setup(tmp_path, toy()))
    listed, read = [], known_scores._read_shard

    def merged_first(path):
        if not listed:
            listed.append(path)
            known_scores.merge(tmp_path, [])
        return read(path)

    # The merge itself reads them in peace.
    monkeypatch.setattr(known_scores, "_read_shard", merged_first)
    found = score_alleles(some_alleles(range(100, 300, 7)), setup(tmp_path, None))
    assert found.known == found.scores.height
    assert not listed[0].exists()


def test_merge_keeps_each_allele_once(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    fill(own, 100)
    fill(own, 200)
    fill(other, 150)
    fill(other, 200)
    reader = setup(own, None)
    known_scores.merge(own, [other])
    (shard,) = known_scores.shards(own)
    table = pl.read_parquet(shard.path)
    keys = list(KNOWN_KEY)
    assert table.height == table.select(keys).n_unique() == shard.rows
    assert_frame_equal(table.select(keys), table.select(keys).sort("chrom", "start", "ref", "alt"))
    assert len(list(known_scores.shards(other))) == 2
    for start in (100, 150, 200):
        rows = some_alleles(range(start, start + 100, 3))
        # A run that had opened the cache before finds its rows in the new file.
        assert "not_in_cache" not in score_alleles(rows, reader).scores["status"].to_list()
    known_scores.merge(own, [])
    assert [s.path for s in known_scores.shards(own)] == [shard.path]


@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_shard_is_named(tmp_path, damage):
    fill(tmp_path, 100)
    (path,) = tmp_path.glob("*/*.parquet")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "other":
        pq.write_table(pl.DataFrame({"x": [1]}).to_arrow(), path)
    else:
        path.write_bytes(b"")
    with pytest.raises(known_scores.InputError, match=f"{path.name}: not a whole shard .* delete"):
        setup(tmp_path, toy())


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """``run("score", ...)`` on the command line, with a toy model that counts its passes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))
    (tmp_path / "ref.fa").write_text(f">chr1\n{CHR1}\n>chr2\n{CHR1[::-1]}\n")
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    form = "{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t."
    lines += [form.format(**row) for row in some_alleles().iter_rows(named=True)]
    (tmp_path / "in.vcf").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr("ntvep.commands.ready.described", lambda _: (None, like_nt()))
    monkeypatch.setattr(
        "ntvep.commands.ready.load_model",
        lambda _, **options: LoadedModel(toy(), like_nt(), MODEL, "none"),
    )

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ntvep", *map(str, arguments)])
        logging.getLogger("ntvep").handlers = []
        with pytest.raises(SystemExit) as left:
            cli.main()
        captured = capsys.readouterr()
        return SimpleNamespace(status=left.value.code or 0, out=captured.out, err=captured.err)

    return call


ASKED = ("in.vcf", "-r", "ref.fa", "--window-tokens", 9, "--max-allele-bases", 6)


def summary(name):
    return json.loads(Path(f"{name}.summary.json").read_text())


def test_command_line(run, tmp_path):
    assert run("score", *ASKED, "-m", "toy", "-o", "plain.vcf").status == 0
    first = run("score", *ASKED, "-m", "toy", "-o", "first.vcf", "--cache", "known")
    assert first.status == 0, first.err
    again = run("score", *ASKED, "-m", "toy", "-o", "again.vcf", "--cache", "known")
    assert "of these scores came from a store or the cache" in again.err
    assert summary("first.vcf")["passes"] == summary("plain.vcf")["passes"] > 0
    assert summary("again.vcf")["passes"] == 0
    assert summary("again.vcf")["known"] == summary("again.vcf")["ok"]
    # Windows and views are those of the cache.
    limit = ("--max-allele-bases", 6)
    none = run("score", *ASKED[:3], *limit, "-m", "none", "-o", "none.vcf", "--cache", "known")
    assert none.status == 0, none.err
    bodies = [
        [line for line in (tmp_path / name).read_text().splitlines() if line[:9] != "##ntvep_c"]
        for name in ("plain.vcf", "first.vcf", "again.vcf", "none.vcf")
    ]
    assert bodies[0] == bodies[1] == bodies[2] == bodies[3]


def test_cache_commands(run, tmp_path):
    run("score", *ASKED, "-m", "toy", "-o", "first.vcf", "--cache", "known")
    told = run("cache", "info", "known").out
    rows = some_alleles().height
    assert "toy, revision (none)" in told
    assert f"{rows} in 1 files" in told
    assert run("cache", "export", "known", "-o", "known.tsv").status == 0
    table = pl.read_csv("known.tsv", separator="\t", schema_overrides=dict(KNOWN_KEY))
    assert table.height == rows
    assert table["start"].to_list()[0] == 100
    assert run("cache", "export", "known", "-o", "known.parquet").status == 0
    assert pl.read_parquet("known.parquet").height == rows
    assert run("cache", "merge", "known", "nowhere").status == 1
    assert run("cache", "merge", "known").status == 0


@pytest.mark.parametrize(
    ("extra", "status", "message"),
    [
        ((), 2, "reads known scores: add --cache DIR"),
        (("--cache", "nowhere"), 1, "nowhere: no such cache"),
        (("--cache", "known"), 2, "scores of 2 kinds; choose one with --fingerprint"),
        (("--cache", "known", "--fingerprint", "abc"), 1, "ntvep cache info known"),
    ],
)
def test_no_model_and_no_choice(run, extra, status, message):
    for window in (9, 10):
        asked = ("in.vcf", "-r", "ref.fa", "--window-tokens", window, "--max-allele-bases", 6)
        run("score", *asked, "-m", "toy", "-o", f"{window}.vcf", "--cache", "known")
    refused = run("score", *ASKED[:3], "-m", "none", "-o", "none.vcf", *extra)
    assert refused.status == status
    assert message in refused.err


def test_scan_makes_every_snv_and_deletion(run):
    asked = ("-r", "ref.fa", "-m", "toy", "--window-tokens", 12, "-o", "scan.parquet")
    done = run("scan", "--region", "chr1:101-130", "--deletions", *asked)
    assert done.status == 0, done.err
    table = pl.read_parquet("scan.parquet")
    wanted = []
    for p in range(100, 130):
        wanted.append(("chr1", p, CHR1[p - 1 : p + 1], CHR1[p - 1]))
        wanted += [("chr1", p + 1, CHR1[p], alt) for alt in "ACGT" if alt != CHR1[p]]
    assert table.select("chrom", "pos", "ref", "alt").rows() == wanted
    assert set(table["status"]) == {"ok"}
    # 30 bases from the 101st on lie in 6 six-mers: at most one masked pass each and strand for all
    # of their SNVs.
    snvs = run("scan", "--region", "chr1:101-130", *asked[:-1], "snv.parquet", "--scores", "llr")
    assert snvs.status == 0
    assert summary("snv.parquet")["passes"] == 2 * 6


def test_a_scanned_base_is_one_record_with_all_alts(run, tmp_path):
    """A deletion is a record of its own, so that what follows it is not of two lengths."""
    asked = ("-r", "ref.fa", "-m", "toy", "--window-tokens", 12, "-o", "scan.vcf")
    done = run("scan", "--region", "chr1:101-103", "--deletions", *asked, "--scores", "llr")
    assert done.status == 0, done.err
    lines = (tmp_path / "scan.vcf").read_text().splitlines()
    found = [line.split("\t") for line in lines if not line.startswith("#")]
    wanted = []
    for p in range(100, 103):
        wanted.append([str(p), CHR1[p - 1 : p + 1], CHR1[p - 1]])
        wanted.append([str(p + 1), CHR1[p], ",".join("ACGT".replace(CHR1[p], ""))])
    assert [[fields[1], *fields[3:5]] for fields in found] == wanted
    assert all(fields[7].endswith("NTVEP_STATUS=ok,ok,ok") for fields in found[1::2])
    counted = summary("scan.vcf")
    assert (counted["records"], counted["alleles"], counted["ok"]) == (6, 12, 12)


def test_a_region_is_a_base_or_a_contig_too(run, tmp_path):
    asked = ("-r", "ref.fa", "-m", "toy", "--window-tokens", 9, "--scores", "llr", "--views", 1)
    assert run("scan", "--region", "chr1:7", *asked, "-o", "base.parquet").status == 0
    base = pl.read_parquet("base.parquet")
    assert base.select("chrom", "pos").rows() == [("chr1", 7)] * 3
    (tmp_path / "short.fa").write_text(f">chr2\n{CHR1[:70]}\n")
    short = ("-r", "short.fa", *asked[2:])
    assert run("scan", "--region", "chr2", *short, "-o", "all.parquet").status == 0
    whole = pl.read_parquet("all.parquet")
    assert whole["pos"].to_list() == [pos for pos in range(1, 71) for _ in range(3)]
    assert set(whole["chrom"]) == {"chr2"}
    # Contigs of which the reference holds several slices are not one stretch.
    (tmp_path / "slices.fa").write_text(f">c:1-60\n{CHR1[:60]}\n>c:101-160\n{CHR1[:60]}\n")
    refused = run("scan", "--region", "c", "-r", "slices.fa", *asked[2:], "-o", "slices.parquet")
    assert refused.status == 1
    assert "has c:1-60, c:101-160; expected a region inside it" in refused.err


def test_regions_that_overlap_are_scanned_once(run):
    regions = [word for region in ("chr2:5-6", "chr1:103-106", "chr1:101-104", "chr1:101-104")
               for word in ("--region", region)]  # fmt: skip
    asked = ("-r", "ref.fa", "-m", "toy", "--window-tokens", 9, "-o", "scan.vcf.gz")
    done = run("scan", *regions, *asked, "--table", "scan.parquet", "--scores", "llr")
    assert done.status == 0, done.err
    assert Path("scan.vcf.gz.tbi").exists()
    found = pl.read_parquet("scan.parquet").select("chrom", "pos").unique(maintain_order=True)
    assert found.rows() == [*(("chr1", pos) for pos in range(101, 107)), ("chr2", 5), ("chr2", 6)]


def test_scan_at_the_ends_and_over_n(run, tmp_path):
    (tmp_path / "ref.fa").write_text(">c\nACNGT" + "ACGTAC" * 20 + "\n")
    asked = ("-r", "ref.fa", "-m", "toy", "--window-tokens", 3, "-o", "scan.parquet", "--views", 1)
    done = run("scan", "--region", "c:1-4", "--deletions", "--max-n-fraction", 1, *asked)
    assert done.status == 0, done.err
    assert "1 bases are N" in done.err
    found = pl.read_parquet("scan.parquet").select("pos", "ref", "alt").rows()
    first = [(1, "AC", "C"), (1, "A", "C"), (1, "A", "G"), (1, "A", "T")]
    second = [(1, "AC", "A"), (2, "C", "A"), (2, "C", "G"), (2, "C", "T")]
    fourth = [(4, "GT", "T"), (4, "G", "A"), (4, "G", "C"), (4, "G", "T")]
    assert found == [*first, *second, *fourth]


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("chr1:", "expected CONTIG:FIRST-LAST"),
        ("chr1:5-", "expected CONTIG:FIRST-LAST"),
        ("chr1:,-5", "expected CONTIG:FIRST-LAST"),
        ("chr1:1-99999999999999", "has chr1:1-600"),
        ("chr1:10-5", "has chr1:1-600"),
        ("chr1:590-601", "has chr1:1-600"),
        ("chr1:0-5", "has chr1:1-600"),
        ("chr1:601", "has chr1:1-600"),
        ("chr9:1-5", "no such contig"),
        ("chr9", "no such contig"),
    ],
)
def test_scan_refuses_what_is_not_there(run, region, message):
    asked = ("-r", "ref.fa", "-m", "toy", "--window-tokens", 9, "-o", "scan.parquet")
    refused = run("scan", "--region", region, *asked)
    assert refused.status in (1, 2)
    assert message in refused.err


def test_reference_bases_of_a_key(tmp_path):
    """The key in a shard is the minimal allele: 0-based, without the shared base."""
    score_alleles(alleles(("chr1", 101, CHR1[100:103], CHR1[100])), setup(tmp_path, toy()))
    (shard,) = known_scores.shards(tmp_path)
    (row,) = pl.read_parquet(shard.path).iter_rows(named=True)
    found = (row["chrom"], row["start"], row["ref"], row["alt"])
    assert found == ("chr1", 101, dna.decode(dna.encode(CHR1[101:103])), "")
