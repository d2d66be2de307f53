"""``ntvep scan --bed``, ``--genome`` and ``--shards``: the same records, however they are cut."""

import json
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pysam
import pytest

from ntvep.commands.places import part_of, places_of
from ntvep.io.fasta import open_reference
from ntvep.windows import Span
from tests.test_cache import CHR1, run  # noqa: F401 - fixture

ASKED = ("-r", "ref.fa", "-m", "toy", "--window-tokens", 9, "--scores", "llr")
KEY = ("chrom", "pos", "ref", "alt", "status", "llr")


def shards_of(folder):
    tables = [pl.read_parquet(path) for path in sorted(Path(folder).glob("*.parquet"))]
    return pl.concat([table.select(KEY) for table in tables])


def test_a_genome_in_shards_is_a_genome(run):  # noqa: F811
    whole = run("scan", "--genome", *ASKED, "-o", "whole.parquet")
    assert whole.status == 0, whole.err
    done = run("scan", "--genome", *ASKED, "-o", "shards", "--shards", 7)
    assert done.status == 0, done.err
    assert shards_of("shards").equals(pl.read_parquet("whole.parquet").select(KEY))
    assert pl.read_parquet("whole.parquet").height == 2 * 3 * 600
    manifest = json.loads(Path("shards/manifest.json").read_text())
    places = [place for shard in manifest["shards"] for place in shard["places"]]
    # 1,200 bases in 7 parts of 171 or 172; the fourth goes over a contig's end.
    assert places == [
        "chr1:1-171",
        "chr1:172-342",
        "chr1:343-514",
        "chr1:515-600",
        "chr2:1-85",
        "chr2:86-257",
        "chr2:258-428",
        "chr2:429-600",
    ]
    assert [shard["records"] for shard in manifest["shards"]] == [171, 171, 172, 171, 172, 171, 172]


def test_a_manifest_has_the_checksums_of_sha256sum(run):  # noqa: F811
    assert run("scan", "--genome", *ASKED, "-o", "shards", "--shards", 3).status == 0
    shards = json.loads(Path("shards/manifest.json").read_text())["shards"]
    lines = "".join(f"{shard['sha256']}  {shard['file']}\n" for shard in shards)
    checked = subprocess.run(
        ["sha256sum", "--check"], cwd="shards", input=lines, text=True, capture_output=True
    )
    assert checked.stdout.count(": OK") == 3, checked


def test_only_what_is_missing_is_done_again(run):  # noqa: F811
    asked = ("scan", "--genome", *ASKED, "-o", "shards", "--shards", 4)
    for number in (3, 1):
        assert run(*asked, "--shard", number).status == 0
        assert not Path("shards/manifest.json").exists()
    times = {path: path.stat().st_mtime_ns for path in Path("shards").glob("*.parquet")}
    assert {path.name for path in times} == {"00001.parquet", "00003.parquet"}
    done = run(*asked)
    assert done.status == 0, done.err
    assert done.err.count("is whole") == 2
    assert {path: path.stat().st_mtime_ns for path in times} == times
    again = run(*asked)
    assert again.err.count("is whole") == 4
    # Cut in the middle of its writing, it would have no final name.
    Path("shards/00002.parquet").unlink()
    assert run(*asked).err.count("is whole") == 3
    assert run(*asked, "--force").err.count("is whole") == 0


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (("--views", 1), "fingerprint, settings differ"),
        (("--shards", 5), "records differ"),
        (("--max-n-fraction", 0.3), "settings differ"),
    ],
)
def test_shards_of_another_run_are_not_taken(run, more, what):  # noqa: F811
    asked = ("scan", "--genome", *ASKED, "-o", "shards", "--shards", 4)
    assert run(*asked).status == 0
    before = Path("shards/00001.parquet").read_bytes()
    refused = run(*asked, *more)
    assert refused.status == 1
    assert "belongs to another run" in refused.err
    assert what in refused.err
    assert Path("shards/00001.parquet").read_bytes() == before


def test_shards_of_a_slice(run, tmp_path):  # noqa: F811
    """The reference is a part of a contig, which its record's name says."""
    (tmp_path / "ref.fa").write_text(f">c:1001-1600\n{CHR1}\n")
    asked = ("scan", "--region", "c:1101-1160", *ASKED, "-o", "shards", "--shards", 2)
    assert run(*asked).status == 0
    again = run(*asked)
    assert again.status == 0, again.err
    assert again.err.count("is whole") == 2


def test_another_genome_is_another_run(run):  # noqa: F811
    asked = ("scan", "--genome", *ASKED, "-o", "shards", "--shards", 4)
    assert run(*asked).status == 0
    text = Path("ref.fa").read_text()
    Path("ref.fa.fai").unlink()
    Path("ref.fa").write_text(text[:20] + ("A" if text[20] != "A" else "C") + text[21:])
    refused = run(*asked)
    assert "00000.parquet: belongs to another run (sequences differ)" in refused.err


def test_a_cut_shard_is_named(run):  # noqa: F811
    asked = ("scan", "--genome", *ASKED, "-o", "shards", "--shards", 2)
    assert run(*asked).status == 0
    path = Path("shards/00001.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    refused = run(*asked)
    assert refused.status == 1
    assert "00001.parquet: not a whole Parquet file" in refused.err
    built = run("store", "build", "shards", "-o", "s")
    assert built.status == 1
    assert "00001.parquet: does not match shards/manifest.json" in built.err
    assert not Path("s").exists()


def test_a_store_of_shards(run):  # noqa: F811
    assert run("scan", "--genome", *ASKED, "-o", "shards", "--shards", 5).status == 0
    built = run("store", "build", "shards", "-o", "s")
    assert built.status == 0, built.err
    assert "3,600 on 2 contigs: chr1, chr2" in run("store", "info", "s").out
    refused = run("store", "build", "home", "-o", "t")
    assert "finish the scan" in refused.err or refused.status == 1


def test_a_shard_of_n_alone_is_whole(run, tmp_path):  # noqa: F811
    (tmp_path / "ref.fa").write_text(f">c\n{'N' * 200}{CHR1[:100]}\n")
    asked = ("scan", "--genome", *ASKED, "-o", "shards", "--shards", 3)
    assert run(*asked).status == 0
    assert [pl.read_parquet(f"shards/0000{n}.parquet").height for n in range(3)] == [0, 0, 300]
    assert run(*asked).err.count("is whole") == 3
    assert run("store", "build", "shards", "-o", "s").status == 0
    assert "300 on 1 contigs" in run("store", "info", "s").out


def test_a_bed(run):  # noqa: F811
    Path("in.bed").write_text(
        "track name=exons\n#chrom\n1\t10\t20\tfirst\nchr2\t0\t3\nchr1\t15\t25\t.\t0\t+\n"
    )
    done = run("scan", "--bed", "in.bed", *ASKED, "-o", "scan.parquet")
    assert done.status == 0, done.err
    found = pl.read_parquet("scan.parquet").select("chrom", "pos").unique(maintain_order=True)
    wanted = [*(("chr1", pos) for pos in range(11, 26)), *(("chr2", pos) for pos in range(1, 4))]
    assert found.rows() == wanted
    # Regions may stand beside it.
    both = run("scan", "--bed", "in.bed", "--region", "chr2:3-9", *ASKED, "-o", "both.parquet")
    assert both.status == 0
    assert pl.read_parquet("both.parquet").height == 3 * (15 + 9)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "chr1\t590\t601",
            "in.bed, line 2: chr1, bases 590 to 601 (0-based); ref.fa has chr1:1-600",
        ),
        ("chr9\t0\t5", "in.bed, line 2: chr9, bases 0 to 5 (0-based); ref.fa has only chr1, chr2"),
        ("chr1\t9\t9", "in.bed, line 2: chr1, bases 9 to 9"),
        ("chr1\t-1\t9", "in.bed, line 2: expected CHROM, START and END"),
        ("chr1 5 9", "in.bed, line 2: expected CHROM, START and END"),
        ("chr1\t5\tx", "in.bed, line 2: expected CHROM, START and END"),
    ],
)
def test_a_bed_off_the_contigs(run, line, message):  # noqa: F811
    Path("in.bed").write_text(f"chr1\t5\t9\n{line}\n")
    refused = run("scan", "--bed", "in.bed", *ASKED, "-o", "scan.parquet")
    assert refused.status == 1
    assert message in refused.err
    assert not Path("scan.parquet").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give --region or --bed, or --genome"),
        (("--genome", "--region", "chr1"), "give --region or --bed, or --genome"),
        (("--genome", "--shard", 1), "--shard needs --shards"),
        (("--genome", "--shards", 2, "--shard", 2), "--shard is 2; expected 0 to 1"),
        (("--genome", "--shards", 2, "--table", "t.parquet"), "--table: shards are tables"),
    ],
)
def test_what_does_not_go_together(run, words, message):  # noqa: F811
    refused = run("scan", *words, *ASKED, "-o", "out")
    assert refused.status == 2
    assert message in refused.err


def test_parts_hold_every_base_once(tmp_path):
    (tmp_path / "ref.fa").write_text(f">a\n{CHR1[:7]}\n>b:11-13\nACG\n>b:14-20\nACGTACG\n")
    places = places_of(open_reference(tmp_path / "ref.fa"))
    # Slices of one contig stay apart, though they touch.
    assert places == [("a", Span(0, 7)), ("b", Span(10, 13)), ("b", Span(13, 20))]
    for parts in (1, 2, 3, 5, 17, 40):
        cut = [part_of(places, number, parts) for number in range(parts)]
        bases = [(chrom, base) for part in cut for chrom, span in part for base in range(*span)]
        assert bases == [(chrom, base) for chrom, span in places for base in range(*span)]
        sizes = [sum(span.stop - span.start for _, span in part) for part in cut]
        assert max(sizes) - min(sizes) <= 1


@pytest.fixture
def scanned(run):  # noqa: F811
    """A scan of 40 bases, ``llr`` of each SNV, and sites with ALTs joined, split, in any order."""
    for name in ("scan.vcf.gz", "scan.parquet"):
        assert run("scan", "--region", "chr1:101-140", *ASKED, "-o", name).status == 0
    rows = pl.read_parquet("scan.parquet").select("pos", "ref", "alt", "llr").iter_rows()
    llr = {(pos, ref, alt): value for pos, ref, alt, value in rows}
    asked = []
    for p in range(100, 140):
        first, second, third = (alt for alt in "ACGT" if alt != CHR1[p])
        kinds = ([[third, first]], [[third], [second], [first]], [[first, second, third]])
        asked += [(p + 1, CHR1[p], alts) for alts in kinds[p % 3]]
    head = "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=600>\n"
    head += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    lines = [f"chr1\t{pos}\t.\t{ref}\t{','.join(alts)}\t.\t.\t.\n" for pos, ref, alts in asked]
    Path("in.vcf").write_text(head + "".join(lines))
    return llr, asked


# As docs/genome.md has it.
ANNOTATE = """
bcftools norm --multiallelics +any in.vcf -Ob -o joined.bcf && bcftools index joined.bcf
bcftools annotate -a scan.vcf.gz -c INFO/NTVEP_LLR,INFO/NTVEP_STATUS joined.bcf -o annotated.vcf
"""


@pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools is not installed")
def test_bcftools_takes_every_alt(scanned):
    llr, asked = scanned
    done = subprocess.run(["bash", "-ec", ANNOTATE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = Path("annotated.vcf").read_text()
    found = [line.split("\t") for line in text.splitlines() if line[0] != "#"]
    wanted = {}
    for pos, ref, alts in asked:
        wanted.setdefault((pos, ref), []).extend(alts)
    assert len(found) == len(wanted) == 40
    for fields, ((pos, ref), alts) in zip(found, wanted.items(), strict=True):
        assert (int(fields[1]), fields[3], fields[4]) == (pos, ref, ",".join(alts))
        info = dict(entry.split("=") for entry in fields[7].split(";"))
        values = [float(value) for value in info["NTVEP_LLR"].split(",")]
        assert values == pytest.approx([llr[pos, ref, alt] for alt in alts], rel=1e-5)
        assert info["NTVEP_STATUS"] == ",".join(["ok"] * len(alts))


def test_pysam_finds_every_alt(scanned):
    """At random: by place, then by ALT."""
    llr, asked = scanned
    with pysam.VariantFile("scan.vcf.gz") as file:
        for pos, ref, alts in asked:
            (record,) = file.fetch("chr1", pos - 1, pos)
            assert record.ref == ref
            for alt in alts:
                value = record.info["NTVEP_LLR"][record.alts.index(alt)]
                assert value == pytest.approx(llr[pos, ref, alt], rel=1e-5)


def test_a_new_scan_of_the_same_sites_says_the_same(scanned, run):  # noqa: F811
    """Sites in any form, through ``ntvep score``."""
    llr, asked = scanned
    asked_of = ("score", "in.vcf", *ASKED, "--max-allele-bases", 6, "-o", "scored.parquet")
    assert run(*asked_of).status == 0
    rows = pl.read_parquet("scored.parquet").select("pos", "ref", "alt", "llr").rows()
    assert rows == [(pos, ref, alt, llr[pos, ref, alt]) for pos, ref, alts in asked for alt in alts]
