"""Annotated VCFs: text that passes through, headers that others accept, indexes that work."""

import shutil
import subprocess
import warnings
from pathlib import Path

import polars as pl
import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ntvep.errors import ConfigError, OutputError
from ntvep.io.vcf_write import annotate, vcf_writer
from ntvep.schema import SCORE_COLUMNS
from tests.io.files import (
    COLUMNS,
    HEADER,
    SITES,
    annotated_lines,
    chunks,
    header_lines,
    inspected,
    inspected_text,
    many,
    record,
    records_of,
    scored,
    sites,
    text_of,
    without_ours,
    write,
)

SUFFIXES = [".vcf", ".vcf.gz", ".bcf"]
needs_bcftools = pytest.mark.skipif(
    not shutil.which("bcftools"), reason="bcftools is not installed"
)


def bcftools(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["bcftools", *map(str, arguments)], check=True, capture_output=True, text=True
    )
    assert "[E::" not in done.stderr
    return done.stdout


def infos(lines: list[bytes]) -> list[bytes]:
    return [line.rstrip(b"\r\n").split(b"\t")[7] for line in lines]


# Records ------------------------------------------------------------------------------------------


def test_values_stand_in_the_order_of_the_alleles(tmp_path: Path) -> None:
    text = sites(
        record(10, "A", "C,*,G", info="AC=1,2,3"),
        record(11, "A", "<DEL>"),
        record(12, "A", "C", info="DB"),
    )
    assert infos(annotated_lines(inspected_text(tmp_path, text))) == [
        b"AC=1,2,3;NTVEP_LLR=-0.1,.,-0.3;NTVEP_COS=0.0333333,.,0.1;NTVEP_FRAMESHIFTED=0,.,0;"
        b"NTVEP_STATUS=ok,spanning_deletion,ok",
        b"NTVEP_STATUS=symbolic_allele",
        b"DB;NTVEP_LLR=-2.1;NTVEP_COS=0.7;NTVEP_FRAMESHIFTED=0;NTVEP_STATUS=ok",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(-1234567.0, "-1.23457e+06"), (1e-9, "1e-09"), (0.1 + 0.2, "0.3"), (0.0, "0"), (-0.0, "-0")],
)
def test_values_have_six_digits(tmp_path: Path, value: float, text: str) -> None:
    (chunk,) = chunks(inspected_text(tmp_path, sites(record())))
    table = scored(chunk.alleles).with_columns(llr=pl.lit(value))
    (line,) = annotate(chunk.lines, table, COLUMNS[:1])
    assert infos([line]) == [f"NTVEP_LLR={text};NTVEP_STATUS=ok".encode()]


def test_scores_of_other_records_are_refused(tmp_path: Path) -> None:
    (chunk,) = chunks(
        inspected_text(tmp_path, sites(record(10), record(11), record(12, alt="C,G")))
    )
    table = scored(chunk.alleles)
    for wrong in (
        table.with_columns(pos=pl.col("pos") + 1),
        table.with_columns(chrom=pl.lit("chr2")),
        table.with_columns(ref=pl.lit("T")),
        table.with_columns(alt=pl.lit("T")),
        table.filter(~((pl.col("record") == 2) & (pl.col("allele") == 1))),
        pl.concat([table[1:2], table[:1], table[2:]]),
        table[1:],
    ):
        with pytest.raises(ValueError, match=r"another record|shorter|longer"):
            annotate(chunk.lines, wrong, COLUMNS)


PRINTABLE = st.characters(codec="utf-8", exclude_characters="\t\n\r\0", exclude_categories=["Cs"])
FIELD = st.text(PRINTABLE, max_size=12)
INFO = st.one_of(
    st.just("."),
    st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_characters="\t\n\r\0;", exclude_categories=["Cs"]),
            min_size=1,
        ).filter(lambda part: not part.startswith("NTVEP_") and part != "."),
        min_size=1,
        max_size=4,
    ).map(";".join),
)
ALLELE = st.text("ACGTNacgt<>[]*.:=RYK", min_size=1, max_size=8)


@st.composite
def random_records(draw: st.DrawFn) -> bytes:
    samples = draw(st.integers(0, 3))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    names = "".join(f"\tS{i}" for i in range(samples))
    lines = [
        HEADER.decode().replace("\n", end) + SITES.decode() + ("\tFORMAT" + names if names else "")
    ]
    for _ in range(draw(st.integers(0, 6))):
        fields = [
            draw(st.sampled_from(["1", "chrX", "HLA-A*01:01", "<2>", "é"])),
            str(draw(st.integers(0, 2**31 - 1))),
            draw(FIELD),
            draw(ALLELE),
            ",".join(draw(st.lists(ALLELE, min_size=1, max_size=4))),
            draw(FIELD),
            draw(FIELD),
            draw(INFO),
            *(draw(FIELD) for _ in range(samples + 1 if samples else 0)),
        ]
        lines.append("\t".join(fields))
    return (end.join(lines) + draw(st.sampled_from([end, ""]))).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(random_records(), st.sampled_from([1, 2, 1000]))
def test_taking_our_keys_out_gives_the_input_back(tmp_path: Path, text: bytes, size: int) -> None:
    inspection = inspected_text(tmp_path, text)
    lines = annotated_lines(inspection, size)
    expected = text.split(SITES, 1)[1].split(b"\n")[1:]
    assert b"\n".join(expected) == b"".join(map(without_ours, lines))
    again = inspected_text(tmp_path, b"".join(header_lines(inspection)) + b"".join(lines))
    assert annotated_lines(again, size) == lines
    assert not again.added


def test_thousands_of_samples_pass_through(tmp_path: Path) -> None:
    names = b"".join(b"\tS%d" % i for i in range(3000))
    genotypes = b"".join(b"\t%d|%d:%d" % (i % 2, i % 3, i) for i in range(3000))
    line = record(10).rstrip(b"\n") + b"\tGT:DP" + genotypes + b"\n"
    text = HEADER + SITES + b"\tFORMAT" + names + b"\n" + line * 3
    lines = annotated_lines(inspected_text(tmp_path, text))
    assert list(map(without_ours, lines)) == [line] * 3


# Header -------------------------------------------------------------------------------------------


def test_the_header_gains_lines_and_loses_none(tmp_path: Path) -> None:
    text = sites(record(), record(chrom="chr2", info="AC=1;NEW=3"))
    inspection = inspected_text(tmp_path, text)
    lines = header_lines(inspection, {"chr2": 77})
    kept = [line for line in lines if line in inspection.header]
    assert kept == list(inspection.header)
    added = [line for line in lines if line not in inspection.header]
    assert b"##contig=<ID=chr2,length=77>\n" in added
    assert any(line.startswith(b"##INFO=<ID=NEW,Number=.,Type=String,") for line in added)
    assert b"##ntvep_version=1\n" in added
    assert lines[-1] == SITES + b"\n"
    assert inspection.notes == ("header completed with 2 lines for what it uses but lacks",)


def test_our_header_lines_say_what_the_numbers_are(tmp_path: Path) -> None:
    lines = header_lines(inspected_text(tmp_path, sites()))
    (llr,) = (line.decode() for line in lines if b"ID=NTVEP_LLR," in line)
    assert llr.startswith('##INFO=<ID=NTVEP_LLR,Number=A,Type=Float,Description="llr [nats]: ')
    assert SCORE_COLUMNS["llr"].meaning in llr
    assert "layer 4" in llr
    (status,) = (line for line in lines if b"ID=NTVEP_STATUS," in line)
    assert status.startswith(b"##INFO=<ID=NTVEP_STATUS,Number=A,Type=String,")


def test_own_output_as_input_gives_the_same_output(tmp_path: Path) -> None:
    inspection = inspected_text(tmp_path, sites(record(10, "A", "C,G", info="AC=1"), record(12)))
    first = write(inspection, tmp_path / "first.vcf")
    once = inspected(first)
    assert once.notes == ("annotations of an earlier ntvep run are replaced",)
    assert write(once, tmp_path / "second.vcf").read_bytes() == first.read_bytes()


def test_old_keys_go_wherever_they_stand(tmp_path: Path) -> None:
    texts = ["NTVEP_LLR=9;AC=1", "AC=1;NTVEP_OLD=7", "AC=1;NTVEP_A=1;DB;NTVEP_B", "NTVEP_STATUS=ok"]
    text = sites(*(record(10 + i, info=info) for i, info in enumerate(texts)))
    found = infos(annotated_lines(inspected_text(tmp_path, text)))
    assert [info.split(b"NTVEP_")[0] for info in found] == [b"AC=1;", b"AC=1;", b"AC=1;DB;", b""]
    assert all(info.count(b"NTVEP_LLR=") == info.count(b"NTVEP_STATUS=") == 1 for info in found)
    assert not any(b"NTVEP_OLD" in info for info in found)


BARE = (
    SITES
    + b"\tFORMAT\ts1\n"
    + b"chr1\t10\t.\tA\tC\t50\tq10;weak\tDP=5;SOMATIC;END=10\tGT:DP\t0/1:5\n"
    + b"chr2\t0\t.\tA\tC,<*>\t.\tPASS\t.\tGT\t./.\n"
)


@pytest.mark.parametrize("suffix", SUFFIXES)
@needs_bcftools
def test_an_undeclared_header_is_completed(tmp_path: Path, suffix: str) -> None:
    inspection = inspected_text(tmp_path, BARE)
    assert len(inspection.added) == 10
    assert inspection.notes == ("header completed with 10 lines for what it uses but lacks",)
    output = write(inspection, tmp_path / f"out{suffix}")
    done = subprocess.run(["bcftools", "view", str(output)], capture_output=True, check=True)
    assert b"not defined" not in done.stderr
    assert done.stdout.startswith(b"##fileformat=VCFv4.2\n")
    lines = [line.rstrip(b"\n") for line in records_of(done.stdout)]
    assert list(map(without_ours, lines)) == BARE.splitlines()[1:]


def test_an_id_that_fits_in_no_header_line_does_not_break_the_header(tmp_path: Path) -> None:
    text = sites(record(info='A B=1;"k=2;<x=3;a,b'))
    inspection = inspected_text(tmp_path, text)
    assert inspection.added == ()
    assert inspection.notes == (
        "4 ids that it uses cannot be declared in the header; other tools may refuse it",
    )
    output = write(inspection, tmp_path / "out.vcf")
    assert list(map(without_ours, records_of(output.read_bytes()))) == records_of(text)
    with pytest.raises(OutputError, match=r"out\.bcf: .*write \.vcf\.gz"):
        write(inspection, tmp_path / "out.bcf")
    assert not (tmp_path / "out.bcf").exists()


# Files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@needs_bcftools
def test_bcftools_filters_by_our_scores(tmp_path: Path, suffix: str) -> None:
    text = sites(
        *(record(10 + i, "A", "C,G" if i % 2 else "C") for i in range(8)), record(30, "A", ".")
    )
    output = write(inspected_text(tmp_path, text), tmp_path / f"out{suffix}")
    query = bcftools("query", "-f", "%POS %NTVEP_LLR %NTVEP_STATUS\n", output).splitlines()
    assert query[0] == "10 -0.1 ok"
    assert query[1] == "11 -1.1,-1.2 ok,ok"
    assert query[-1] == "30 . no_alt"
    below = bcftools("query", "-i", "NTVEP_LLR<-5", "-f", "%POS\n", output).split()
    assert below == ["15", "16", "17"]
    assert len(records_of(bcftools("view", "-i", "NTVEP_LLR<-5", output).encode())) == 3
    no_alt = bcftools("view", "-H", "-i", 'NTVEP_STATUS="no_alt"', output)
    assert no_alt.startswith("chr1\t30\t")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cyvcf2_reads_what_we_wrote(tmp_path: Path, suffix: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cyvcf2 = pytest.importorskip("cyvcf2")
    text = sites(record(10, "A", "C,G"), record(20, "A", "<DEL>"), record(20, "A", "C"))
    output = write(inspected_text(tmp_path, text), tmp_path / f"out{suffix}")
    found = [(v.POS, v.INFO.get("NTVEP_LLR"), v.INFO["NTVEP_STATUS"]) for v in cyvcf2.VCF(output)]
    assert found == [
        (10, (pytest.approx(-0.1), pytest.approx(-0.2)), "ok,ok"),
        (20, None, "symbolic_allele"),
        (20, pytest.approx(-2.1), "ok"),
    ]


@pytest.mark.parametrize(
    ("pos", "suffix", "index"),
    [
        (100, ".vcf.gz", ".tbi"),
        (2**29 + 5, ".vcf.gz", ".csi"),
        (2**31 - 1, ".vcf.gz", ".csi"),
        (100, ".bcf", ".csi"),
        (2**29 + 5, ".bcf", ".csi"),
        (100, ".vcf", None),
    ],
)
def test_a_sorted_output_is_indexed(
    tmp_path: Path, pos: int, suffix: str, index: str | None
) -> None:
    text = sites(record(1), record(pos), record(5, chrom="chr2"))
    output = write(inspected_text(tmp_path, text), tmp_path / f"out{suffix}")
    expected = {output.name, "in.vcf"} | ({output.name + index} if index else set())
    assert {path.name for path in tmp_path.iterdir()} == expected
    if index:
        with pysam.VariantFile(str(output)) as variants:
            assert [v.pos for v in variants.fetch("chr1", pos - 1, pos)] == [pos]
            assert [v.pos for v in variants.fetch("chr2")] == [5]


def test_a_record_that_ends_beyond_a_tbi_is_indexed_too(tmp_path: Path) -> None:
    text = sites(record(2**29 - 9, "A", "<DEL>", info=f"END={2**29 + 9}"))
    inspection = inspected_text(tmp_path, text)
    assert not inspection.needs_csi
    write(inspection, tmp_path / "out.vcf.gz")
    assert list(tmp_path.glob("out.vcf.gz.*"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_unsorted_output_is_written_in_its_order_without_an_index(
    tmp_path: Path, suffix: str
) -> None:
    text = sites(record(20), record(10), record(5, chrom="chr2"), record(15), record(15))
    inspection = inspected_text(tmp_path, text)
    output = tmp_path / f"out{suffix}"
    # The index of an earlier, sorted file of that name would lead readers astray.
    write(inspected_text(tmp_path, sites(record(10))), output)
    write(inspected_text(tmp_path, text), output, force=True)
    assert {path.name for path in tmp_path.iterdir()} == {output.name, "in.vcf"}
    with pysam.VariantFile(str(output)) as variants:
        assert [v.pos for v in variants] == [20, 10, 5, 15, 15]
    assert not inspection.is_sorted


@needs_bcftools
def test_bcf_keeps_every_value(tmp_path: Path) -> None:
    """INFO/END above all: pysam's own writer takes it away, or adds it."""
    header = (
        HEADER
        + b'##INFO=<ID=END,Number=1,Type=Integer,Description="end">\n'
        + b'##INFO=<ID=SVLEN,Number=A,Type=Integer,Description="length">\n'
        + b'##INFO=<ID=DB,Number=0,Type=Flag,Description="known">\n'
        + b'##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">\n'
        + SITES
        + b"\tFORMAT\ts1\ts2\n"
    )
    body = (
        b"chr1\t10\trs1\tA\tC\t30\tPASS\tAC=1;END=10\tGT\t0|1\t./.\n"
        b"chr1\t11\t.\tA\t<NON_REF>\t.\tPASS\tEND=90\tGT\t0/0\t1/1\n"
        b"chr1\t12\t.\tA\t<DEL>\t.\tPASS\tSVLEN=-30;DB\tGT\t0/0\t1\n"
        b"chr1\t13\t.\tA\t.\t.\t.\t.\tGT\t0/0\t.\n"
    )
    output = write(inspected_text(tmp_path, header + body), tmp_path / "out.bcf")
    lines = bcftools("view", "-H", output).encode().splitlines(keepends=True)
    assert b"".join(map(without_ours, lines)) == body
    again = write(inspected(output), tmp_path / "again.bcf")
    assert bcftools("view", "-H", again).encode().splitlines(keepends=True) == lines


def test_bgzip_output_is_the_text(tmp_path: Path) -> None:
    inspection = inspected_text(tmp_path, many(5000))
    plain = write(inspection, tmp_path / "out.vcf").read_bytes()
    assert text_of(write(inspection, tmp_path / "out.vcf.gz")) == plain
    assert text_of(write(inspected_text(tmp_path, sites()), tmp_path / "none.vcf.gz")).endswith(
        SITES + b"\n"
    )


def test_standard_output_is_plain_text(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    inspection = inspected_text(tmp_path, sites(record()))
    header = header_lines(inspection)
    with vcf_writer(Path("-"), inspection, header) as write_lines:
        write_lines(annotated_lines(inspection))
    assert capfdbinary.readouterr().out == b"".join(header + annotated_lines(inspection))


def test_a_suffix_that_is_no_vcf_is_an_error(tmp_path: Path) -> None:
    inspection = inspected_text(tmp_path, sites())
    with (
        pytest.raises(ConfigError, match=r"out\.txt: expected an output named"),
        vcf_writer(tmp_path / "out.txt", inspection, []),
    ):
        pass
