"""``ntvep export``: what other programs read are the scan's numbers; the recipes of the docs."""

import gzip
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import polars as pl
import pybigtools
import pysam
import pytest

from ntvep.commands.options import Options
from ntvep.commands.scan import scan_regions
from ntvep.commands.store import build
from ntvep.evaluate.background import contexts
from ntvep.io.fasta import open_reference
from ntvep.io.tables import read_metadata, table_writer
from ntvep.provenance import Provenance
from ntvep.schema import CONTEXT, PENTANUCLEOTIDE
from tests.browser import CHROMIUM
from tests.conftest import ROOT
from tests.test_cache import CHR1, like_nt, run  # noqa: F401 - fixtures
from tests.test_store import load_toy

CONTIGS = {"chr1": CHR1, "HLA/2": CHR1[::-1]}
REGIONS = {"a.parquet": ["chr1:61-200", "chr1:301-400"], "b.vcf.gz": ["HLA/2:1-50"]}
DOCS = (ROOT / "docs" / "exports.md").read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Scans of two contigs, with deletions; each as a table and as a VCF."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "ref.fa").write_text("".join(f">{name}\n{s}\n" for name, s in CONTIGS.items()))
    options = Options(window_tokens=9, scores="llr,entropy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ntvep.commands.ready.described", lambda _: (None, like_nt()))
        patch.setattr("ntvep.commands.ready.load_model", load_toy)
        for name, regions in REGIONS.items():
            scan_regions(
                regions, folder / "ref.fa", "toy", folder / f"{name[0]}.vcf.gz", deletions=True,
                table=folder / f"{name[0]}.parquet", options=options, command="scan", quiet=True,
            )  # fmt: skip
    build([folder / "a.parquet", folder / "b.parquet"], folder / "s")
    return folder


@pytest.fixture
def export(made, run, tmp_path):  # noqa: F811
    """In a copy of that folder: the function that exports, and its result."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)

    def call(*words, output="tracks"):
        return run("export", *words, "-r", "ref.fa", "-o", output, "-q")

    return call


def scored(*names):
    tables = pl.concat([pl.read_parquet(name) for name in names])
    return tables.filter(pl.col("status") == "ok", pl.col("llr").is_not_null())


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def lines_of(path):
    lines = [
        line.split("\t") for line in gzip.decompress(Path(path).read_bytes()).decode().split("\n")
    ]
    return [line for line in lines if not line[0].startswith("#") and line != [""]]


# What is in the files -----------------------------------------------------------------------------


def test_the_table_has_every_allele_and_is_indexed(export):
    done = export("a.parquet", "b.parquet")
    assert done.status == 0, done.err
    expected = scored("a.parquet", "b.parquet")
    assert done.out == f"tracks: {expected.height} alleles of 2 contigs\n"
    rows = expected.select("chrom", "pos", "ref", "alt", "llr").rows()
    table = lines_of("tracks/scores.tsv.gz")
    assert [row[:4] for row in table] == [[c, str(pos), r, a] for c, pos, r, a, _ in rows]
    for (*_, llr), found in zip(rows, table, strict=True):
        assert float(found[4]) == pytest.approx(llr, rel=5.1e-6)
        assert len(found[4].lstrip("-0.").replace(".", "").split("e")[0]) <= 6
    with pysam.TabixFile("tracks/scores.tsv.gz") as file:
        assert file.header[-1] == "#chrom\tpos\tref\talt\tllr"
        here = expected.filter(pl.col("chrom") == "chr1", pl.col("pos").is_between(100, 102))
        found = [tuple(row.split("\t")[1:4]) for row in file.fetch("chr1", 99, 102)]
        assert found == [(str(p), r, a) for p, r, a in here.select("pos", "ref", "alt").rows()]
        assert len(found) == 3 * 4
    declared = Path("tracks/scores.header.txt").read_text()
    assert declared.startswith("##INFO=<ID=NTVEP_LLR,Number=A,Type=Float,Description=")


def test_parquet_by_contig(export):
    assert export("a.parquet", "b.parquet", "--format", "parquet").status == 0
    assert names_in("tracks") == ["README.md", "SHA256SUMS", "parquet"]
    assert names_in("tracks/parquet") == ["HLA%2F2.parquet", "chr1.parquet"]
    for name, file in (("a", "chr1"), ("b", "HLA%2F2")):
        found = pl.read_parquet(f"tracks/parquet/{file}.parquet")
        expected = scored(f"{name}.parquet")
        columns = ["chrom", "pos", "ref", "alt"]
        assert found.columns[:4] == columns
        assert found[columns].equals(expected[columns])
        assert {"llr", "entropy"} == set(found.columns[4:])
        for score in found.columns[4:]:
            assert found[score].dtype == pl.Float32
            np.testing.assert_allclose(found[score], expected[score], rtol=1e-6)


def test_each_base_has_its_values(export):
    assert export("a.parquet", "b.parquet", "--format", "bigwig").status == 0
    assert names_in("tracks/bigwig") == [
        "entropy.bw", *(f"llr_{base}.bw" for base in "ACGT"),
    ]  # fmt: skip
    table = scored("a.parquet", "b.parquet").filter(pl.col("ref").str.len_bytes() == 1)
    for track in ("entropy", *(f"llr_{base}" for base in "ACGT")):
        column, _, base = track.partition("_")
        with pybigtools.open(f"tracks/bigwig/{track}.bw") as file:
            assert file.chroms() == {name: len(bases) for name, bases in CONTIGS.items()}
            for chrom, bases in CONTIGS.items():
                expected = np.full(len(bases), np.nan)
                for pos, alt, value in table.filter(pl.col("chrom") == chrom).select(
                    "pos", "alt", column
                ).iter_rows():  # fmt: skip
                    if base in ("", alt):
                        expected[pos - 1] = value
                found = np.asarray(file.values(chrom, 0, len(bases), fillna=None))
                np.testing.assert_allclose(found, expected, rtol=1e-6)
                # None where REF is that base, and none outside the scan.
                there = {"chr1": [*range(60, 200), *range(300, 400)], "HLA/2": range(50)}[chrom]
                known = [place for place in there if bases[place] != base]
                assert np.flatnonzero(~np.isnan(found)).tolist() == known


def test_a_hub_names_files_that_are_there(export):
    assert export("a.parquet", "--hub", "hg38", "--email", "me@example.org").status == 0
    stanzas = [
        dict(line.strip().split(" ", 1) for line in part.splitlines())
        for part in Path("tracks/hub.txt").read_text().split("\n\n")
    ]
    assert stanzas[0].keys() == {"hub", "shortLabel", "longLabel", "useOneFile", "email"}
    assert stanzas[1] == {"genome": "hg38"}
    assert stanzas[2]["container"] == "multiWig"
    shown = {stanza["track"]: stanza["bigDataUrl"] for stanza in stanzas[3:]}
    assert list(shown) == ["llr_A", "llr_C", "llr_G", "llr_T", "entropy"]
    assert all((Path("tracks") / file).is_file() for file in shown.values())
    assert [s.get("parent") for s in stanzas[3:]] == ["llr"] * 4 + [None]
    # UCSC's limits.
    assert all(len(s["shortLabel"]) <= 17 and len(s["longLabel"]) <= 80 for s in stanzas[2:])


def test_checksums_and_readme(export):
    assert export("a.parquet").status == 0
    sums = dict(
        line.split("  ")[::-1] for line in Path("tracks/SHA256SUMS").read_text().splitlines()
    )
    files = {str(p.relative_to("tracks")) for p in Path("tracks").rglob("*") if p.is_file()}
    assert sums.keys() == files - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((Path("tracks") / name).read_bytes()).hexdigest() == digest
    made = json.loads(read_metadata(Path("a.parquet"))[0])
    readme = Path("tracks/README.md").read_text()
    for said in (made["fingerprint"], made["model"]["weights_sha256"], "ref.fa", "`scan`"):
        assert said in readme
    assert f"| chr1 | {scored('a.parquet').height:,} |" in readme


# Where scores come from ---------------------------------------------------------------------------


def test_a_vcf_and_a_store_say_the_same(export):
    for output, names in {
        "tables": ("a.parquet", "b.parquet"), "vcfs": ("a.vcf.gz", "b.vcf.gz"), "store": ("s",)
    }.items():  # fmt: skip
        done = export(*names, output=output)
        assert done.status == 0, done.err
    tables, vcfs, store = (
        lines_of(f"{name}/scores.tsv.gz") for name in ("tables", "vcfs", "store")
    )
    assert [row[:4] for row in vcfs] == [row[:4] for row in tables]
    assert [float(row[4]) for row in vcfs] == pytest.approx([float(row[4]) for row in tables], 1e-5)
    # A store holds SNVs, to within 0.001 nats.
    snvs = [row for row in tables if len(row[2]) == 1]
    assert [row[:4] for row in store] == [row[:4] for row in snvs]
    apart = [abs(float(a[4]) - float(b[4])) for a, b in zip(store, snvs, strict=True)]
    assert 0 < max(apart) <= 0.001 + 1e-5
    assert Path("store/bigwig/entropy.bw").is_file()


def with_background(name="b.bg.parquet"):
    """A background of two contexts, of the fingerprint of the scans."""
    made = Provenance.from_json(read_metadata(Path("a.parquet"))[0], "a.parquet")
    rng = np.random.default_rng(1)
    rows = pl.read_parquet("a.parquet")[:1]
    columns = (*made.columns, CONTEXT, PENTANUCLEOTIDE)
    with table_writer(Path(name), columns, made.to_json(), lambda: "{}") as write:
        for context in ("A[C>T]G", "T[T>A]C"):
            for llr in rng.normal(-1, 2, 40):
                row = rows.with_columns(
                    llr=pl.lit(llr), context=pl.lit(context), pentanucleotide=pl.lit(f"A{context}A")
                )
                write(row.select(column.name for column in columns))
    return name


@pytest.mark.parametrize("source", [("a.parquet", "b.parquet"), ("s",)])
def test_scores_are_compared_on_the_way(export, source):
    among = pl.read_parquet(with_background())
    done = export(*source, "--background", "b.bg.parquet")
    assert done.status == 0, done.err
    with pysam.TabixFile("tracks/scores.tsv.gz") as file:
        assert file.header[-1].split("\t")[4:] == [
            "llr", "llr_percentile", "llr_phred", "llr_calibrated",
        ]  # fmt: skip
    parquet = pl.read_parquet(["tracks/parquet/chr1.parquet", "tracks/parquet/HLA%2F2.parquet"])
    own = contexts(
        parquet.with_columns(status=pl.lit("ok")), open_reference(Path("ref.fa"))
    ).context
    checked = 0
    for row, context, line in zip(
        parquet.iter_rows(named=True), own, lines_of("tracks/scores.tsv.gz"), strict=True
    ):
        known = among.filter(pl.col("context").eq_missing(pl.lit(context)))["llr"]
        if known.is_empty():
            assert row["llr_percentile"] is row["llr_phred"] is None
            assert line[5:] == [".", ".", "."]
            continue
        as_low = (known <= row["llr"]).sum()
        assert row["llr_percentile"] == pytest.approx(100 * as_low / 40, rel=1e-6)
        assert float(line[6]) == pytest.approx(-10 * np.log10((1 + as_low) / 41), abs=1e-4)
        checked += 1
    assert checked > 10


def test_scores_of_a_store_are_compared_as_a_models_are(export, run):  # noqa: F811
    """``ntvep score --known STORE --model none --background``: from a store into a VCF."""
    among = pl.read_parquet(with_background())
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for pos in (*range(61, 201), *range(301, 401)):
        ref = CHR1[pos - 1]
        alts = ",".join(base for base in "TGCA" if base != ref)
        lines.append(f"chr1\t{pos}\t.\t{ref}\t{alts}\t.\t.\t.")
    Path("snvs.vcf").write_text("\n".join([*lines, ""]))
    done = run(
        "score", "snvs.vcf", "-r", "ref.fa", "-m", "none", "--known", "s", "-q",
        "--background", "b.bg.parquet", "-o", "snvs.scored.vcf",
    )  # fmt: skip
    assert done.status == 0, done.err
    checked = 0
    with pysam.VariantFile("snvs.scored.vcf") as file:
        for record in file:
            around = CHR1[record.pos - 2 : record.pos + 1]
            percentiles = record.info.get("NTVEP_LLR_PERCENTILE", (None,) * 3)
            for alt, llr, percentile in zip(
                record.alts, record.info["NTVEP_LLR"], percentiles, strict=True
            ):
                other = str.maketrans("ACGT", "TGCA")
                bases, to = around, alt
                if around[1] in "AG":
                    bases, to = around.translate(other)[::-1], alt.translate(other)
                name = f"{bases[0]}[{bases[1]}>{to}]{bases[2]}"
                known = among.filter(pl.col("context") == name)["llr"]
                if known.is_empty():
                    assert percentile is None
                    continue
                assert percentile == pytest.approx(100 * (known < llr).sum() / 40, abs=1e-4)
                checked += 1
    assert checked > 4


# What is refused ----------------------------------------------------------------------------------


def refused(done, *words, status=1):
    assert (done.status, done.out) == (status, "")
    assert all(word in done.err for word in words), done.err
    assert not Path("tracks").exists()


def test_disorder_is_refused(export):
    assert shutil.copy("a.parquet", "again.parquet")
    refused(
        export("a.parquet", "again.parquet"), "again.parquet: chr1:60 ", "after a later position"
    )
    refused(export("a.parquet", "b.parquet", "again.parquet"), "chr1:60 ", "after another contig")
    table = pl.read_parquet("a.parquet")
    made = Provenance.from_json(read_metadata(Path("a.parquet"))[0], "a.parquet")
    with table_writer(Path("twice.parquet"), made.columns, made.to_json(), lambda: "{}") as write:
        write(table[:9])
        write(table[8:12])
    refused(export("twice.parquet"), "twice.parquet: chr1:", "a second time")


def test_what_does_not_belong_together_is_refused(export):
    text, summary = read_metadata(Path("b.parquet"))
    made = Provenance.from_json(text, "b")
    other = text.replace(made.fingerprint, "f" * 16)
    with table_writer(Path("other.parquet"), made.columns, other, lambda: "{}") as write:
        write(pl.read_parquet("b.parquet"))
    assert summary
    done = export("a.parquet", "other.parquet")
    assert (done.status, "fingerprint" in done.err) == (1, True)
    assert not Path("tracks").exists()
    letters = str.maketrans("ACGT", "CATG")
    Path("ref.fa").write_text(
        "".join(f">{n}\n{s.translate(letters)}\n" for n, s in CONTIGS.items())
    )
    Path("ref.fa.fai").unlink(missing_ok=True)
    refused(export("a.parquet"), "ref.fa: its chr1 has md5", "expected the reference of the scores")


def test_options_that_say_nothing_are_refused(export):
    refused(export("a.parquet", "--format", "tsv,bed"), "--format is 'bed'", status=2)
    refused(export("a.parquet", "--hub", "hg38"), "--hub and --email go together", status=2)
    hub = ("--hub", "hg38", "--email", "a@b.c", "--format", "tsv")
    refused(export("a.parquet", *hub), "add bigwig to --format", status=2)
    refused(export("none.parquet"), "none.parquet: no such")


def test_a_folder_is_replaced_only_if_an_export_made_it(export):
    assert export("a.parquet", "--format", "tsv").status == 0
    before = Path("tracks/SHA256SUMS").read_text()
    assert "add --force" in export("b.parquet").err
    assert Path("tracks/SHA256SUMS").read_text() == before
    assert export("b.parquet", "--force", "--format", "tsv").status == 0
    assert Path("tracks/SHA256SUMS").read_text() != before
    Path("mine").mkdir()
    Path("mine/notes").write_text("keep")
    assert export("a.parquet", "--force", output="mine").status == 1
    assert Path("mine/notes").read_text() == "keep"


@pytest.mark.parametrize("size", [500, 7_000, 14_000])
@pytest.mark.parametrize("format", ["tsv", "parquet", "bigwig"])
def test_a_full_disk_leaves_nothing(export, size, format):
    """No file may be larger: as a full disk does it, somewhere in the middle."""
    export("a.parquet", "--format", format, output="whole")
    largest = max(path.stat().st_size for path in Path("whole").rglob("*") if path.is_file())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        done = export("a.parquet", "--format", format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    if done.status == 0:
        assert largest <= size
        return
    refused(done, "tracks: the disk is full")
    assert not [name for name in names_in(".") if name.startswith(".ntvep")]


# Recipes of the docs ------------------------------------------------------------------------------


def recipe(heading, language):
    section = DOCS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.search(f"```{language}\n(.*?)```", section, re.DOTALL)[1]


@pytest.fixture
def recipes(export):
    """A folder as the docs have it, and a VCF whose records have unsorted ALTs, or one."""
    assert export("a.parquet", "b.parquet").status == 0
    records = [(100, 3), (101, 1), (102, 2)]
    lines = ["##fileformat=VCFv4.2", "##contig=<ID=chr1,length=600>",
             '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
             "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tone"]  # fmt: skip
    for pos, count in records:
        alts = [base for base in "TGCA" if base != CHR1[pos - 1]][:count]
        lines.append(f"chr1\t{pos}\t.\t{CHR1[pos - 1]}\t{','.join(alts)}\t.\t.\t.\tGT\t0/1")
    deleted = CHR1[109:111]
    lines.append(f"chr1\t110\t.\t{deleted}\t{deleted[0]}\t.\t.\t.\tGT\t0/1")
    Path("in.vcf").write_text("\n".join([*lines, ""]))
    pysam.tabix_compress("in.vcf", "in.vcf.gz")


def shell(command):
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, check=True
    ).stdout


def is_annotated(digits):
    """Every allele has its own llr, to so many decimals."""
    known = {row[:4]: row[4] for row in scored("a.parquet").select(
        "chrom", "pos", "ref", "alt", "llr").iter_rows()}  # fmt: skip
    found = 0
    with pysam.VariantFile("annotated.vcf") as file:
        for record in file:
            for alt, llr in zip(record.alts, np.ravel(record.info["NTVEP_LLR"]), strict=True):
                expected = known[record.chrom, record.pos, record.ref, alt]
                assert float(llr) == pytest.approx(expected, abs=0.6 * 10**-digits)
                found += 1
    assert found == 7


def needs(tool):
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool}: apt-get install")


@needs("tabix")
def test_recipe_of_tabix(recipes):
    rows = shell(recipe("tabix", "sh")).splitlines()
    assert [row.split("\t")[1] for row in rows] == [
        str(p) for p in (100, 101, 102) for _ in range(4)
    ]


@needs("bcftools")
def test_recipe_of_bcftools(recipes):
    shell(recipe("bcftools annotate", "sh"))
    is_annotated(5)


@needs("vcfanno")
@needs("bcftools")
def test_recipe_of_vcfanno(recipes):
    Path("vcfanno.toml").write_text(recipe("vcfanno", "toml"))
    shell(recipe("vcfanno", "sh"))
    is_annotated(4)


def test_recipe_of_polars(recipes):
    said = {}
    code = recipe("polars, DuckDB", "python").replace("print(", "said = (")
    exec(code, said)
    expected = scored("a.parquet").filter(pl.col("pos").is_between(100, 102))
    assert said["said"]["pos"].equals(expected["pos"])


@contextmanager
def serving(folder):
    """The folder on 127.0.0.1, with Range."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            """Keep the test's output clean."""

        def do_GET(self):
            path = Path(self.translate_path(self.path))
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if not asked or not path.is_file():
                super().do_GET()
                return
            content = path.read_bytes()
            first, last = int(asked[1]), int(asked[2] or len(content) - 1)
            part = content[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Length", str(len(part)))
            self.send_header(
                "Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}"
            )
            self.end_headers()
            self.wfile.write(part)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


IGV = os.environ.get("NTVEP_IGV_JS", "")
# What igv.js has read of each track for what it shows, and whether it has drawn anything.
ASK = """<script>
shown.then(async browser => {
  const found = {};
  for (const {track, viewports} of browser.trackViews.filter(v => v.track.type === "wig")) {
    for (let i = 0; i < 100 && !viewports[0].canvas; i++) await new Promise(r => setTimeout(r, 50));
    const {width, height} = viewports[0].canvas;
    const pixels = viewports[0].canvas.getContext("2d").getImageData(0, 0, width, height).data;
    const features = await track.getFeatures("chr1", 99, 160, 1);
    found[track.name] = {values: features.map(f => [f.start, f.value]), ink: pixels.some(p => p)};
  }
  const said = document.createElement("pre");
  said.id = "said";
  said.textContent = JSON.stringify(found);
  document.body.append(said);
}).catch(error => { document.title = `failed: ${error}`; });
</script>"""


@pytest.mark.skipif(
    not (CHROMIUM and IGV),
    reason="no chromium, or no igv.js: apt-get install chromium; npm install igv; "
    "NTVEP_IGV_JS=node_modules/igv/dist/igv.min.js",
)
def test_recipe_of_igv_js(recipes, tmp_path):
    """The page of the docs, in a browser without a screen: values read, and something drawn."""
    shutil.copy(IGV, "igv.min.js")
    pysam.faidx("ref.fa")
    Path("page.html").write_text(recipe("igv.js", "html") + ASK)
    with serving(Path.cwd()) as address:
        done = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000",
             f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"{address}/page.html"],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    said = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert said, done.stdout[-1000:] + done.stderr[-2000:]
    found = json.loads(said[1])
    snvs = scored("a.parquet").filter(
        pl.col("ref").str.len_bytes() == 1, pl.col("pos").is_between(100, 160)
    )
    for base in "ACGT":
        track = found[f"llr {base}"]
        assert track["ink"]
        expected = snvs.filter(pl.col("alt") == base)
        values = {start: value for start, value in track["values"] if 99 <= start < 160}
        assert sorted(values) == [pos - 1 for pos in expected["pos"]]
        assert [values[p - 1] for p in expected["pos"]] == pytest.approx(
            expected["llr"].to_list(), rel=1e-5
        )
