"""Many VCFs: each distinct allele is scored once, and each VCF gets what scoring it alone gives."""

import gzip
import json
import random
import sys

import polars as pl
import pytest

from benchmarks import null
from ntvep import cli
from ntvep.commands import cohort, ready
from ntvep.commands.sheet import is_file_name
from ntvep.errors import InputError
from ntvep.models import nt
from tests.conftest import ROOT

REFERENCE = ROOT / "ntvep" / "demo" / "chr22_20012478_20215143.grch38.fa.gz"
DEMO = ROOT / "ntvep" / "demo" / "demo.vcf"
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
LINES = DEMO.read_text().splitlines(keepends=True)
HEADER = [line for line in LINES if line.startswith("##")]
RECORDS = [line for line in LINES if not line.startswith("#")]
SMALL = ("--model", str(ROOT / "tests" / "golden" / "v2"), "--window-tokens", "16",
         "--max-allele-bases", "20", "--scores", "llr,entropy", "--device", "cpu")  # fmt: skip


def ntvep(*words):
    """A command; its exit status."""
    sys.argv = ["ntvep", *map(str, words)]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def write(path, records):
    path.write_text("".join([*HEADER, COLUMNS, *records]))


def scored(folder, names, chunks=2, options=SMALL, limit=20):
    """What the workflow runs, command after command; the summary of the scoring."""
    made = {"reference": REFERENCE, "max_allele_bases": limit, "ref_mismatch_limit": 0.1}
    for name in names:
        cohort.collect([folder / f"{name}.vcf"], output=folder / f"{name}.part.parquet",
                       force=True, **made)  # fmt: skip
    parts = [folder / f"{name}.part.parquet" for name in names]
    vcfs = [folder / f"{number}.of.{chunks}.vcf.gz" for number in range(chunks)]
    cohort.split(parts, folder / "distinct.parquet", vcfs, force=True)
    tables = [path.with_suffix(".parquet") for path in vcfs]
    for path, table in zip(vcfs, tables, strict=True):
        command = ("score", "-q", path, "-r", REFERENCE, *options, "-o", table, "--force")
        assert not ntvep(*command, "--cache", folder / "known")
    cohort.gather(folder / "distinct.parquet", tables, folder / "alleles.parquet",
                  folder / "summary.json", command="ntvep", force=True)  # fmt: skip
    outputs = [word for name in names for word in ("-o", folder / f"{name}.scored.vcf.gz")]
    inputs = [folder / f"{name}.vcf" for name in names]
    assert not ntvep("cohort", "annotate", "-q", *inputs, "--alleles", folder / "alleles.parquet",
                     "-r", REFERENCE, *outputs, "--force")  # fmt: skip
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three VCFs of the demo's records, the odd ones in each; one spells contigs otherwise."""
    folder = tmp_path_factory.mktemp("cohort")
    odd = [line for line in RECORDS if "SOURCE=odd" in line]
    for number, name in enumerate("abc"):
        some = [*odd, *RECORDS[300 + 10 * number : 330 + 10 * number]]
        write(folder / f"{name}.vcf", sorted(some, key=RECORDS.index))
    text = (folder / "c.vcf").read_text()
    (folder / "c.vcf").write_text(text.replace("\nchr22\t", "\n22\t").replace("ID=chr22", "ID=22"))
    return folder, scored(folder, "abc")


def test_each_vcf_is_as_if_scored_alone(three):
    """Byte for byte, but for the line that names the command."""
    folder, _ = three
    for name in "abc":
        alone = folder / f"{name}.alone.vcf.gz"
        command = ("score", "-q", folder / f"{name}.vcf", "-r", REFERENCE, *SMALL)
        assert not ntvep(*command, "-o", alone)
        texts = [
            gzip.decompress(path.read_bytes()).splitlines()
            for path in (alone, folder / f"{name}.scored.vcf.gz")
        ]
        differ = [pair for pair in zip(*texts, strict=True) if pair[0] != pair[1]]
        assert [one.partition(b"=")[0] for one, _ in differ] == [b"##ntvep_command"]
        # Another sample's file is nobody's business.
        assert b"b.vcf" not in texts[1][texts[1].index(differ[0][1])] or name == "b"
        assert (folder / f"{name}.scored.vcf.gz.tbi").is_file()
        assert any(b"NTVEP_LLR=" in line for line in texts[1])


def test_the_table_says_who_has_an_allele(three):
    """Counted here from the VCFs' text, without ntvep's trimming: SNVs."""
    folder, summary = three
    seen = {}
    for name in "abc":
        found = set()
        for line in (folder / f"{name}.vcf").read_text().splitlines():
            if line.startswith("#"):
                continue
            _, pos, _, ref, alts, _ = line.upper().split("\t", 5)
            found |= {(int(pos), ref, a) for a in alts.split(",") if len(ref) == len(a) == 1}
        for one in found:
            seen[one] = seen.get(one, 0) + 1
    table = pl.read_parquet(folder / "alleles.parquet")
    snvs = table.filter(pl.col("ref").str.len_bytes() == 1, pl.col("alt").str.len_bytes() == 1)
    assert snvs.height > 40
    for pos, ref, alt, samples in snvs.select("pos", "ref", "alt", "samples").iter_rows():
        assert seen[pos, ref, alt] == samples
    assert {1, 2, 3} == set(snvs["samples"])
    assert summary["distinct"] == table.height
    assert set(table["chrom"]) == {"chr22"}
    alleles = sum(
        line.split("\t")[4].count(",") + 1
        for name in "abc"
        for line in (folder / f"{name}.vcf").read_text().splitlines()
        if not line.startswith("#")
    )
    assert summary["alleles"] == alleles
    # What scored it can be asked of the table as of any other.
    assert not ntvep("verify", folder / "alleles.parquet", "-r", REFERENCE, *SMALL[:2])


def test_spellings_of_one_allele_are_one(tmp_path):
    """chr22:20050001 on: the bases that the reference has there are looked up, not assumed."""
    from ntvep import dna
    from ntvep.io.fasta import open_reference

    r = dna.decode(open_reference(REFERENCE).fetch("chr22", 20_050_000, 20_050_004))
    other = "ACGT".replace(r[1], "")[0]
    one = [f"chr22\t20050002\t.\t{r[1]}\t{other}\t.\t.\t.\n"]
    padded = [f"22\t20050001\t.\t{r}\t{r[0]}{other}{r[2:]}\t.\t.\t.\n"]
    # Twice in one VCF, once in lower case beside a second ALT: still one sample.
    twice = [*one, f"chr22\t20050002\t.\t{r[1].lower()}{r[2]}\t{other.lower()}{r[2]},*\t.\t.\t.\n"]
    for name, records in zip("abc", (one, padded, twice), strict=True):
        write(tmp_path / f"{name}.vcf", records)
    summary = scored(tmp_path, "abc", chunks=3)
    (row,) = pl.read_parquet(tmp_path / "alleles.parquet").iter_rows(named=True)
    assert (row["pos"], row["ref"], row["alt"]) == (20050002, r[1], other)
    assert (row["start"], row["removed"], row["inserted"]) == (20050001, r[1], other)
    assert row["samples"] == 3
    assert (summary["alleles"], summary["distinct"]) == (5, 1)


def test_a_new_sample_costs_its_own_passes_alone(three, tmp_path):
    folder, before = three
    for name in "abc":
        (tmp_path / f"{name}.vcf").write_bytes((folder / f"{name}.vcf").read_bytes())
    (tmp_path / "known").symlink_to(folder / "known")
    again = scored(tmp_path, "abc", chunks=3)
    assert (again["passes"], again["known"]) == (0, before["statuses"]["ok"])
    write(tmp_path / "d.vcf", RECORDS[350:353])
    more = scored(tmp_path, "abcd", chunks=1)
    assert 0 < more["passes"] <= 3 * 4
    assert more["known"] == before["statuses"]["ok"]


def test_parts_that_do_not_belong_are_refused(three, tmp_path):
    folder, _ = three
    tables = [folder / f"{number}.of.2.vcf.parquet" for number in range(2)]
    to = (tmp_path / "alleles.parquet", tmp_path / "summary.json")
    for wrong, said in (
        (tables[:1], "the last part is missing"),
        (tables[::-1], "its scores do not match the next alleles"),
        ([*tables, tables[1]], "its scores do not match the next alleles"),
    ):
        with pytest.raises(InputError, match=said):
            cohort.gather(folder / "distinct.parquet", wrong, *to, command="")
        assert not list(tmp_path.iterdir())


def test_a_vcf_that_the_table_is_not_of(three, tmp_path, capsys):
    folder, _ = three
    write(tmp_path / "x.vcf", RECORDS[500:502])
    command = ("cohort", "annotate", tmp_path / "x.vcf", "--alleles", folder / "alleles.parquet")
    assert ntvep(*command, "-r", REFERENCE, "-o", tmp_path / "y.vcf") == 1
    assert "alleles.parquet has no chr22:" in capsys.readouterr().err
    lines = gzip.decompress(REFERENCE.read_bytes()).decode().splitlines()
    (tmp_path / "other.fa").write_text("\n".join([*lines[:-1], lines[-1][::-1]]) + "\n")
    assert ntvep(*command, "-r", tmp_path / "other.fa", "-o", tmp_path / "y.vcf") == 1
    assert "was scored with" in capsys.readouterr().err
    assert not (tmp_path / "y.vcf").exists()


def test_passes_of_fifty_samples_are_those_of_their_union(tmp_path, monkeypatch):
    """Counted in the network: 50 VCFs that share 80 % of their alleles take 1.1 times at most."""
    inputs = 0

    def counting(block):
        def counted(self, ids, *more):
            nonlocal inputs
            # A small batch is filled up with passes that it has already.
            inputs += len(ids.unique(dim=0))
            return block(self, ids, *more)

        return counted

    for name in ("last_at", "hidden"):
        monkeypatch.setattr(
            nt.NucleotideTransformer, name, counting(getattr(nt.NucleotideTransformer, name))
        )
    draw = random.Random(7)
    usable = [line for line in RECORDS if "SOURCE=odd" not in line]
    chosen = draw.sample(range(len(usable)), 160 + 50 * 2)
    shared, own = chosen[:160], chosen[160:]
    names = [f"s{number}" for number in range(50)]
    for number, name in enumerate(names):
        some = [*draw.sample(shared, 8), *own[2 * number : 2 * number + 2]]
        write(tmp_path / f"{name}.vcf", [usable[n] for n in sorted(some)])
    options = (*SMALL[:-4], "--scores", "llr", "--views", "1", "--device", "cpu")
    summary = scored(tmp_path, names, chunks=2, options=options)
    many, inputs = inputs, 0
    union = {
        line
        for name in names
        for line in (tmp_path / f"{name}.vcf").read_text().splitlines(keepends=True)
        if not line.startswith("#")
    }
    write(tmp_path / "union.vcf", sorted(union, key=RECORDS.index))
    command = ("score", "-q", tmp_path / "union.vcf", "-r", REFERENCE, *options)
    assert not ntvep(*command, "-o", tmp_path / "union.parquet")
    assert summary["alleles"] == 50 * 10
    assert 0 < many <= 1.1 * inputs
    assert summary["passes"] <= 1.1 * inputs


def test_annotation_loads_no_model(three, monkeypatch):
    folder, _ = three
    monkeypatch.setattr(ready, "load_model", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    inputs = ("cohort", "annotate", "-q", folder / "a.vcf", "--alleles", folder / "alleles.parquet")
    assert not ntvep(*inputs, "-r", REFERENCE, "-o", folder / "again.vcf")


def test_a_large_table_is_read_by_places(three, monkeypatch, tmp_path):
    folder, _ = three
    monkeypatch.setattr("ntvep.io.tables._FEW_ROWS", 0)
    inputs = ("cohort", "annotate", "-q", folder / "a.vcf", "--alleles", folder / "alleles.parquet")
    assert not ntvep(*inputs, "-r", REFERENCE, "-o", tmp_path / "a.vcf")
    whole = gzip.decompress((folder / "a.scored.vcf.gz").read_bytes()).splitlines()
    found = (tmp_path / "a.vcf").read_bytes().splitlines()
    assert [line for line in found if line[:2] != b"##"] == [
        line for line in whole if line[:2] != b"##"
    ]


def test_all_that_is_wrong_with_a_sheet_is_said_at_once(tmp_path, capsys):
    write(tmp_path / "good.vcf", RECORDS[300:330])
    write(tmp_path / "empty.vcf", [])
    fields = [line.split("\t") for line in RECORDS[300:360]]
    moved = ["\t".join([f[0], str(int(f[1]) + 1), *f[2:]]) for f in fields]
    write(tmp_path / "moved.vcf", moved)
    few = [line.replace("length=50818468", "length=51304566") for line in HEADER]
    (tmp_path / "grch37.vcf").write_text("".join([*few, COLUMNS, *RECORDS[300:302]]))
    (tmp_path / "grch38.vcf").write_text("".join([*HEADER, COLUMNS, *RECORDS[300:302]]))
    lines = ["sample\tvcf\tsex", "one\tgood.vcf\tF", "one\tgood.vcf\tF", "../up\tgood.vcf\tF",
             "gone\tgone.vcf\tF", "empty\tempty.vcf\tF", "moved\tmoved.vcf\tF", "short\tgood.vcf",
             "new\tgrch38.vcf\tF", "old\tgrch37.vcf\tF"]  # fmt: skip
    sheet = tmp_path / "samples.tsv"
    sheet.write_text("\n".join(lines).replace("\t", "\t").replace("good", f"{tmp_path}/good"))
    sheet.write_text(
        sheet.read_text().replace("\tempty", f"\t{tmp_path}/empty")
        .replace("\tmoved.", f"\t{tmp_path}/moved.").replace("\tgrch", f"\t{tmp_path}/grch")
    )  # fmt: skip
    assert ntvep("cohort", "check", sheet, "-r", REFERENCE) == 1
    said = capsys.readouterr().err
    for words in (
        "7 problems",
        "line 3: sample one occurs twice",
        "line 4: sample '../up' cannot be a file name",
        "line 8: has 2 columns; expected 3",
        "sample gone: gone.vcf: no such file",
        "sample empty: ",
        "has no records; remove it",
        "sample moved: ",
        "wrong build?",
        "sample old: ",
        "its chr22 has 51304566 bases",
    ):
        assert words in said, words
    sheet.write_text("sample\tfile\na\tx.vcf\n")
    assert ntvep("cohort", "check", sheet, "-r", REFERENCE) == 1
    assert "has no column vcf; found sample, file" in capsys.readouterr().err
    sheet.write_text("sample\tvcf\n")
    assert ntvep("cohort", "check", sheet, "-r", REFERENCE) == 1
    assert "has no samples" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["NA12878", "Müller_2", "a.b-c", "患者1"])
def test_names_that_can_be_a_files(name):
    assert is_file_name(name)


@pytest.mark.parametrize("name", ["", ".x", "-x", "a/b", "a b", "a{b}", "a\tb", "x" * 201, "<b>"])
def test_names_that_cannot(name):
    assert not is_file_name(name)


def test_counts_keep_the_sheets_columns(three, tmp_path):
    folder, _ = three
    sheet = tmp_path / "samples.tsv"
    sheet.write_text("sample\tvcf\tsex\nb.scored\tb.vcf\tmale\na.scored\ta.vcf\t\n")
    found = [folder / f"{name}.scored.vcf.gz.summary.json" for name in "ba"]
    cohort.counts(found, tmp_path / "counts.tsv", sheet)
    table = pl.read_csv(tmp_path / "counts.tsv", separator="\t")
    assert table.select("sample", "sex").rows() == [("b.scored", "male"), ("a.scored", None)]
    assert table.columns[2:5] == ["records", "alleles", "ok"]
    statuses = table.columns[4:]
    assert (table["alleles"] == table.select(pl.sum_horizontal(statuses)).to_series()).all()


def test_the_null_model_stands_for_any(tmp_path, monkeypatch):
    """benchmarks/cohort.py measures with it."""
    monkeypatch.setattr(ready, "load_model", lambda _, **options: null.null_model())
    monkeypatch.setattr(ready, "described", lambda _: (None, null.DESCRIPTION))
    write(tmp_path / "a.vcf", [line for line in RECORDS[300:330] if "SOURCE=odd" not in line][:20])
    options = ("--model", "null", "--scores", "llr")
    assert scored(tmp_path, "a", 1, options, 50)["statuses"] == {"ok": 20}
