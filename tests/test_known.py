"""``ntvep score --known``: a store's scores first, and everything else as if there were none."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pysam
import pytest

from ntvep.commands.options import Options
from ntvep.commands.scan import scan_regions
from ntvep.commands.store import build
from ntvep.io.tables import read_metadata
from tests.test_cache import CHR1, run  # noqa: F401 - fixture
from tests.test_store import load_toy

# Windows of 54 bases: too many N near the run of N, tokens that Ns break, and both ends.
WITH_N = CHR1[:150] + "N" * 20 + CHR1[170:260] + "N" + CHR1[261:400]
GENOME = {"chr1": CHR1, "chr2": WITH_N, "chr3": CHR1[::-1]}
ASKED = ("-r", "ref.fa", "--window-tokens", 9, "--scores", "llr,entropy", "--max-allele-bases", 6)
NONE = ("-r", "ref.fa", "-m", "none", "--max-allele-bases", 6)


def other(base):
    return "A" if base != "A" else "C"


def snv(chrom, p):
    return chrom, p + 1, GENOME[chrom][p], other(GENOME[chrom][p])


def some_records():
    """Of every kind that a VCF has; chr3 is in no store."""
    rng = np.random.default_rng(3)
    rows = []
    for chrom in GENOME:
        bases = GENOME[chrom]
        places = sorted({0, 1, 149, 170, 259, 261, len(bases) - 1, *rng.integers(0, 400, 60)})
        places = [p for p in places if bases[p] != "N"]
        rows += [snv(chrom, p) for p in places]
        p = places[20]
        rows += [
            (chrom, p + 1, bases[p].lower(), "a,c,g,t,n,*"),
            (chrom, p + 1, bases[p : p + 3], bases[p] + other(bases[p + 1]) + bases[p + 2]),
            (chrom, p + 1, bases[p : p + 2], other(bases[p]) + other(bases[p + 1])),
            (chrom, p + 1, bases[p : p + 2], f"{bases[p]},{bases[p]}AC,<DEL>"),
            (chrom, p + 1, other(bases[p]), bases[p]),
            (chrom, p + 1, other(bases[p]) + bases[p + 1], bases[p : p + 2]),
            (chrom, p + 1, bases[p], "."),
            (chrom, 161, "N", "A"),
            (chrom, 10_000, "A", "C"),
        ]
    rows += [("chr9", 5, "A", "C"), ("1", 31, CHR1[30], other(CHR1[30]))]
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A genome, a VCF, a store of chr1 and one of chr2."""
    folder = tmp_path_factory.mktemp("known")
    text = "".join(f">{name}\n{bases}\n" for name, bases in GENOME.items())
    (folder / "ref.fa").write_text(text)
    lines = [f"{c}\t{p}\t.\t{ref}\t{alt}\t.\t.\tX=1\n" for c, p, ref, alt in some_records()]
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (folder / "in.vcf").write_text(head + "".join(lines))
    options = Options(window_tokens=9, scores="llr,entropy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ntvep.commands.ready.described", lambda _: (None, load_toy("").description))
        patch.setattr("ntvep.commands.ready.load_model", load_toy)
        for chrom in ("chr1", "chr2"):
            scan_regions(
                [chrom],
                folder / "ref.fa",
                "toy",
                folder / f"{chrom}.parquet",
                deletions=False,
                options=options,
                command="",
                quiet=True,
            )
            build([folder / f"{chrom}.parquet"], folder / f"{chrom}.store")
    return folder


@pytest.fixture
def known(made, run, tmp_path, monkeypatch):  # noqa: F811
    """The function that runs a command in a copy of that folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr("ntvep.commands.verify.load_model", load_toy)
    return run


def without_source(path):
    """Records, with what a store may change taken out: the source, and digits of scores."""
    lines = Path(path).read_text().splitlines()
    bare = [re.sub(r"NTVEP_(SOURCE|LLR|ENTROPY)=[^;\t]*;", "", line) for line in lines]
    return [line for line in bare if not line.startswith("##")]


def test_all_is_as_full_scoring_has_it(known):
    both = "chr1.store,chr2.store"
    assert known("score", "in.vcf", *ASKED, "-m", "toy", "-o", "full.vcf").status == 0
    full = ("score", "in.vcf", *ASKED, "-m", "toy", "-o", "full.parquet")
    assert known(*full).status == 0
    done = known("score", "in.vcf", *ASKED, "-m", "toy", "--known", both, "-o", "some.vcf")
    assert done.status == 0, done.err
    again = ("score", "in.vcf", *ASKED, "-m", "toy", "--known", "chr1.store", "--known")
    assert known(*again, "chr2.store", "-o", "some.parquet").status == 0
    assert without_source("some.vcf") == without_source("full.vcf")
    one, two = pl.read_parquet("full.parquet"), pl.read_parquet("some.parquet")
    rest = [name for name in one.columns if name not in ("llr", "entropy")]
    assert two.select(rest).equals(one.select(rest))
    assert {"ok", "too_many_n", "n_in_variant_token", "ref_mismatch"} <= {*one["status"]}
    is_snv = (pl.col("ref").str.len_chars() == 1) & (pl.col("alt").str.len_chars() == 1)
    stored = is_snv & pl.col("chrom").is_in(["chr1", "chr2", "1"]) & (pl.col("status") == "ok")
    # A change of one base, spelled with its neighbours, is an SNV too.
    spelled = (pl.col("ref").str.len_chars() == 3) & pl.col("chrom").is_in(["chr1", "chr2"])
    sources = two.select(
        "source",
        "status",
        wanted=pl.when(pl.col("status") != "ok")
        .then(None)
        .when(stored | spelled)
        .then(pl.lit("store"))
        .otherwise(pl.lit("model")),
    )
    assert (sources["source"].cast(str).eq_missing(sources["wanted"])).all()
    assert sources["wanted"].value_counts().height == 3
    for name in ("llr", "entropy"):
        assert (two[name].is_null() == one[name].is_null()).all()
        off = (two[name] - one[name]).abs()
        assert off.max() <= 0.0009 + 1e-9
        # What the model said is its own number.
        assert off.filter(two["source"] == "model").max() == 0
        assert off.filter(two["source"] == "store").max() > 0.0003


def test_nothing_that_is_stored_is_run(known):
    done = known("score", "in.vcf", *ASKED, "-m", "toy", "-o", "full.parquet")
    assert done.status == 0
    stores = ("--known", "chr1.store,chr2.store")
    assert known("score", "in.vcf", *ASKED, *stores, "-m", "toy", "-o", "some.parquet").status == 0
    full, some = (
        json.loads(Path(f"{n}.parquet.summary.json").read_text()) for n in ("full", "some")
    )
    assert full["statuses"] == some["statuses"]
    table = pl.read_parquet("some.parquet")
    stored = pl.read_parquet("chr1.parquet").height
    assert stored == 3 * len(CHR1)
    assert some["known"] >= (table["source"] == "store").sum() > 100
    assert some["passes"] < full["passes"] / 2


def test_no_model_takes_settings_from_the_store(known):
    done = known("score", "in.vcf", *NONE, "--known", "chr1.store,chr2.store", "-o", "none.vcf.gz")
    assert done.status == 0, done.err
    assert known("score", "in.vcf", *ASKED, "-m", "toy", "-o", "full.parquet").status == 0
    full = pl.read_parquet("full.parquet")
    with pysam.VariantFile("none.vcf.gz") as file:
        records = list(file)
        assert file.header.info["NTVEP_SOURCE"].number == "A"
        assert file.header.info["NTVEP_SOURCE"].type == "String"
    statuses = [s for record in records for s in record.info["NTVEP_STATUS"]]
    sources = [
        s for r in records for s in r.info.get("NTVEP_SOURCE", [None] * len(r.info["NTVEP_STATUS"]))
    ]
    for status, source, wanted in zip(statuses, sources, full["status"], strict=True):
        assert status in (wanted, "not_in_cache")
        assert (source == "store") == (status == "ok")
    assert statuses.count("not_in_cache") > 50


def test_first_the_store_then_the_cache_then_the_model(known):
    cache = ("--cache", "known")
    lines = Path("in.vcf").read_text().splitlines(keepends=True)
    Path("few.vcf").write_text("".join(lines[:130]))
    asked = (*ASKED, "-m", "toy", *cache)
    assert known("score", "few.vcf", *asked, "-o", "first.parquet").status == 0
    done = known("score", "in.vcf", *asked, "--known", "chr1.store", "-o", "second.parquet")
    assert done.status == 0, done.err
    table = pl.read_parquet("second.parquet").filter(status="ok")
    few = pl.read_parquet("first.parquet")["record"].max()
    on_chr1 = (pl.col("chrom") == "chr1") & (pl.col("alt").str.len_chars() == 1)
    snvs = table.filter(on_chr1 & (pl.col("ref").str.len_chars() == 1))
    assert set(snvs["source"]) == {"store"}
    rest = table.filter(pl.col("chrom") == "chr2")
    assert set(rest.filter(pl.col("record") <= few)["source"]) == {"cache"}
    assert set(table.filter(pl.col("record") > few, chrom="chr3")["source"]) <= {"model", "cache"}
    assert "model" in set(table["source"])
    # Without a model, from the store and the cache alone.
    none = ("score", "in.vcf", *NONE, *cache, "--known", "chr1.store", "-o", "third.parquet")
    assert known(*none).status == 0
    third = pl.read_parquet("third.parquet")
    assert third.select("status", "llr", "entropy").equals(
        pl.read_parquet("second.parquet").select("status", "llr", "entropy")
    )


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--views", 1), 2, "--views is 1; the scores of chr1.store were made with 2"),
        (("--window-tokens", 10), 2, "--window-tokens is 10; the scores of chr1.store were made"),
        (("--window-bases", 60), 2, "were made with 54"),
        (("--layer", 0), 2, "--layer is 0; the scores of chr1.store were made with last"),
        (("--pool", "mean_cls"), 2, "--pool is mean_cls"),
        (("--max-n-fraction", 0.2), 2, "--max-n-fraction is 0.2; the scores of chr1.store"),
        (("--fingerprint", "abc"), 2, "--fingerprint is abc"),
        (("--scores", "l1,llr"), 2, "--scores l1: chr1.store has llr, entropy"),
    ],
)
def test_an_option_that_disagrees_is_refused(known, options, status, message):
    asked = ("score", "in.vcf", *NONE, "--known", "chr1.store", "-o", "none.vcf")
    refused = known(*asked, *options)
    assert refused.status == status
    assert message in refused.err
    assert not Path("none.vcf").exists()


def test_options_that_agree_are_fine(known):
    same = ("--views", 2, "--window-tokens", 9, "--scores", "llr", "--max-n-fraction", 0.1)
    asked = ("score", "in.vcf", *NONE, "--known", "chr1.store", "-o", "none.parquet")
    done = known(*asked, *same)
    assert done.status == 0, done.err
    assert "entropy" not in pl.read_parquet("none.parquet").columns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--views", 1), "views 2, not 1"),
        (("--max-n-fraction", 0.2), "give --max-n-fraction 0.1"),
        (("--scores", "llr,l1"), "has llr, entropy, not l1; add --scores llr"),
    ],
)
def test_a_store_of_other_scores_is_refused(known, options, message):
    asked = ("score", "in.vcf", *ASKED, *options, "-m", "toy", "--known", "chr1.store")
    refused = known(*asked, "-o", "out.vcf")
    assert refused.status == 2
    assert message in refused.err
    assert not Path("out.vcf").exists()


def test_another_genome_is_refused(known):
    text = Path("ref.fa").read_text()
    place = text.index(">chr2") - 3
    Path("ref.fa").write_text(text[:place] + other(text[place]) + text[place + 1 :])
    refused = known("score", "in.vcf", *NONE, "--known", "chr1.store", "-o", "out.vcf")
    assert refused.status == 1
    assert "chr1.store: its chr1 is another sequence than in ref.fa" in refused.err
    assert not Path("out.vcf").exists()
    # A change elsewhere is of no concern to a store that does not have the contig.
    assert known("score", "in.vcf", *NONE, "--known", "chr2.store", "-o", "out.vcf").status == 0


def test_a_damaged_block_stops_the_run(known):
    path = Path("chr1.store/chr1.arrow")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused = known("score", "in.vcf", *NONE, "--known", "chr1.store", "-o", "out.vcf")
    assert refused.status == 1
    assert re.search(r"chr1\.arrow: block \d+ \(chr1, .*\) is changed", refused.err)
    assert not Path("out.vcf").exists()


@pytest.mark.parametrize("output", ["out.vcf", "out.parquet"])
def test_verify_knows_the_error(known, output, monkeypatch):
    asked = ("score", "in.vcf", *ASKED, "-m", "toy", "--known", "chr1.store,chr2.store")
    assert known(*asked, "-o", output).status == 0
    whole = ("verify", output, "-r", "ref.fa", "-m", "toy", "--sample", 500)
    done = known(*whole)
    assert done.status == 0, done.err
    # No more than the error, and a score of the model as close as ever.
    if output == "out.vcf":
        text = Path(output).read_text()
        for source, off in (("store", 0.0021), ("model", 0.0005)):
            line = re.search(rf".*NTVEP_LLR=([^;,]*);[^,\n]*NTVEP_SOURCE={source};.*", text)
            changed = line[0].replace(line[1], f"{float(line[1]) + off:.6g}", 1)
            Path(output).write_text(text.replace(line[0], changed))
            refused = known(*whole)
            assert refused.status == 1, source
            assert "1 of" in refused.err


def test_gather_keeps_sources_and_refuses_other_stores(known):
    assert known("split", "in.vcf", "--chunks", 2, "-o", "chunks").status == 0
    asked = (*ASKED, "-m", "toy", "--known", "chr1.store")
    for n in range(2):
        one = ("score", f"chunks/0000{n}.vcf.gz", *asked, "-o", f"chunks/{n}.parquet")
        assert known(*one).status == 0
    tables = ("chunks/0.parquet", "chunks/1.parquet")
    done = known("gather", "in.vcf", *tables, "--reference", "ref.fa", "-o", "all.vcf")
    assert done.status == 0, done.err
    assert known("score", "in.vcf", *asked, "-o", "direct.vcf").status == 0
    one, two = (
        [line for line in Path(name).read_text().splitlines() if "ntvep_command" not in line]
        for name in ("all.vcf", "direct.vcf")
    )
    assert [line for line in one if line not in two] == []
    assert len(one) == len(two)
    plain = ("score", "chunks/00001.vcf.gz", *ASKED, "-m", "toy", "-o", "chunks/1.parquet")
    assert known(*plain, "--force").status == 0
    refused = known("gather", "in.vcf", *tables, "-o", "other.vcf")
    assert refused.status == 1
    assert "scored with other stores" in refused.err


def test_a_background_is_drawn_from_a_store(known):
    """The same variants; those of the store cost no pass and have its numbers."""
    asked = ("background", "draw", "-r", "ref.fa", "--window-tokens", 9, "--per-context", 20)
    assert known(*asked, "-m", "toy", "-o", "full.parquet").status == 0
    stores = ("--known", "chr1.store", "--known", "chr2.store")
    done = known(*asked, "-m", "toy", *stores, "-o", "some.parquet")
    assert done.status == 0, done.err
    full, some = pl.read_parquet("full.parquet"), pl.read_parquet("some.parquet")
    same = ["chrom", "pos", "ref", "alt", "context", "status"]
    assert some.select(same).equals(full.select(same))
    stored = some.filter(pl.col("status") == "ok")
    assert set(stored.filter(pl.col("chrom") == "chr3")["source"]) == {"model"}
    assert set(stored.filter(pl.col("chrom") != "chr3")["source"]) == {"store"}
    assert (some["llr"] - full["llr"]).abs().max() <= 0.0009 + 1e-9
    passes = [
        json.loads(read_metadata(Path(f"{name}.parquet"))[1])["passes"] for name in ("full", "some")
    ]
    assert passes[1] < passes[0] / 2
