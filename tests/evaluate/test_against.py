"""Scores of others are joined by allele or place, each way that files come, and counted."""

import gzip
import logging

import numpy as np
import polars as pl
import pybigtools
import pysam
import pytest

from ntvep.commands.against import Against, other_scores, parse
from ntvep.errors import ConfigError, InputError
from ntvep.evaluate.directions import direction, known_direction, parse_directions


@pytest.mark.parametrize(
    ("names", "sign"),
    [
        ("CADD cadd_phred PHRED RawScore CADD_raw", 1),
        ("REVEL revel_score", 1),
        ("AlphaMissense am_pathogenicity alphamissense-score", 1),
        ("PolyPhen polyphen2_hdiv_score Polyphen-2", 1),
        ("phyloP phyloP100way_vertebrate phylop241 phyloP-mammalian hg38.phyloP100way", 1),
        ("GERP GERP++_RS gerp_rs phastCons30way", 1),
        ("SIFT sift_score SIFT4G", -1),
        ("SIFT_converted_rankscore GPN-MSA_absLLR", 1),
        ("GPN-MSA gpn_msa GPN-Star gpnstar GPN_MSA_LLR", -1),
        ("AF MAF AF_EXAC AF_TGP gnomAD_AF gnomADe_AF_nfe AF_popmax FAF95 allele_frequency AC", -1),
        ("tss_distance exon_distance mutation_rate Roulette_MR", -1),
        ("score LEAF AFFINITY ACMG phenotype SAFE distance_rank raw", None),
    ],
)
def test_directions_in_any_spelling(names, sign):
    assert {name: known_direction(name) for name in names.split()} == dict.fromkeys(
        names.split(), sign
    )


def test_an_unknown_name_needs_a_direction():
    said = parse_directions(["x:lower", "AF:higher", "a:b:lower"])
    assert said == {"x": -1, "AF": 1, "a:b": -1}
    assert [direction(name, said, "") for name in ("x", "AF", "MAF")] == [-1, 1, -1]
    with pytest.raises(ConfigError, match=r"^y: is lower or higher .* type --direction y:lower or"):
        direction("y", said, "--direction y")
    for texts, message in (
        (["x"], "--direction x: expected NAME:lower or NAME:higher"),
        ([":lower"], "--direction :lower: expected NAME"),
        (["x:lower", "x:higher"], "--direction x: was said to be lower and higher"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse_directions(texts)


# Ours: SNVs, one with another contig name, an untrimmed one, an insertion, a deletion.
ALLELES = pl.DataFrame(
    [
        ("chr1", 100, "A", "C"),
        ("1", 100, "A", "G"),
        ("chr1", 200, "TC", "TG"),
        ("chr1", 300, "G", "GAA"),
        ("chr2", 400, "CTT", "C"),
        ("chrX", 500, "A", "T"),
        ("chr1", 600, "A", "<DEL>"),
    ],
    ["chrom", "pos", "ref", "alt"],
    orient="row",
)
# Theirs, in another order, trimmed otherwise, with neighbours that must not match.
ROWS = [
    ("1", 99, "A", "C", "9"),
    ("1", 100, "A", "C", "1.5"),
    ("1", 100, "A", "T", "9"),
    ("1", 201, "C", "G", "-2"),
    ("1", 300, "G", "GA", "9"),
    ("1", 300, "G", "GAA", "3"),
    ("2", 100, "A", "G", "9"),
    ("2", 400, "CTT", "C", "4e0"),
    ("2", 401, "TT", "", "9"),
    ("X", 500, "A", "T", "."),
]
EXPECTED = [1.5, None, -2.0, 3.0, 4.0, None, None]


def text_of(rows, header="#Chrom\tPos\tRef\tAlt\tmine\tPHRED", preamble="## CADD v1.7\n"):
    lines = (f"{c}\t{p}\t{r}\t{a}\tx\t{v}" for c, p, r, a, v in rows)
    return preamble + header + "\n" + "\n".join(lines) + "\n"


def indexed(tmp_path, text, **options):
    path = tmp_path / "cadd.tsv"
    path.write_text(text)
    options = {"seq_col": 0, "start_col": 1, "end_col": 1, "force": True} | options
    pysam.tabix_index(str(path), **options)
    return tmp_path / "cadd.tsv.gz"


def vcf_of(rows):
    lines = "".join(
        f"{c}\t{p}\t.\t{r}\t{a}\t.\t.\tPHRED={v}\n" for c, p, r, a, v in rows if a and v != "."
    )
    return "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + lines


def written(tmp_path, kind):
    """The same scores in a file of each kind."""
    sound = [row for row in ROWS if row[3]]
    if kind == "tabix":
        return indexed(tmp_path, text_of(sound))
    if kind == "tabix-first-line":
        text = text_of(sound, header="chr\tpos\tref\talt\tmine\tPHRED", preamble="")
        return indexed(tmp_path, text, line_skip=1, meta_char="#")
    path = tmp_path / {"vcf": "s.vcf.gz", "parquet": "s.parquet", "tsv": "s.tsv"}[kind]
    if kind == "vcf":
        path.write_bytes(gzip.compress(vcf_of(sound).encode()))
    elif kind == "tsv":
        path.write_text(text_of(ROWS))
    else:
        frame = pl.DataFrame(ROWS, ["chrom", "pos", "ref", "alt", "PHRED"], orient="row")
        frame.with_columns(pl.col("PHRED").cast(pl.Float32, strict=False)).write_parquet(path)
    return path


@pytest.mark.parametrize("kind", ["tabix", "tabix-first-line", "vcf", "parquet", "tsv"])
def test_scores_of_alleles(tmp_path, caplog, kind):
    path = written(tmp_path, kind)
    with caplog.at_level(logging.INFO, "ntvep"):
        (found,) = other_scores(ALLELES, parse([f"{path}:PHRED"]))
    assert (found.name, found.sign) == ("PHRED", 1)
    assert found.values.to_list() == EXPECTED
    assert "PHRED: 3 of 7 alleles have none" in caplog.text


def test_only_places_that_are_asked_for_are_read(tmp_path, monkeypatch):
    """Of an indexed file of any size, memory holds what is near our alleles."""
    rows = [("1", pos, "A", "C", str(pos)) for pos in range(1, 60_000)]
    path = indexed(tmp_path, text_of(rows))
    alleles = pl.DataFrame(
        {"chrom": "chr1", "pos": [10, 50_000, 30_000, 30_400], "ref": "A", "alt": "C"}
    )
    seen = []
    from ntvep.commands import against

    rows_at = against.rows_at

    def counted(*arguments):
        for table in rows_at(*arguments):
            seen.append(table.height)
            yield table

    monkeypatch.setattr(against, "rows_at", counted)
    (found,) = other_scores(alleles, parse([f"{path}:PHRED"]))
    assert found.values.to_list() == [10, 50_000, 30_000, 30_400]
    assert sum(seen) < 450


@pytest.mark.parametrize(
    ("sign", "expected"), [("higher", [0.5, 0.25, 0.02, 2.0]), ("lower", [0.125, 0.25, 0.02, 1.0])]
)
def test_of_several_scores_the_most_deleterious_counts(tmp_path, sign, expected):
    """One a transcript, in a field or in lines; VEP's words with the number in brackets."""
    values = ["0.125;.;0.5", "tolerated(0.25)", "deleterious(0.02)", "1", "2"]
    rows = [("1", 10 + min(n, 3), "A", "C", value) for n, value in enumerate(values)]
    (tmp_path / "s.tsv").write_text(text_of(rows))
    alleles = pl.DataFrame({"chrom": "chr1", "pos": [10, 11, 12, 13], "ref": "A", "alt": "C"})
    (found,) = other_scores(alleles, parse([f"{tmp_path}/s.tsv:PHRED:{sign}"]))
    assert found.values.to_list() == expected


def test_bigwig_by_place(tmp_path):
    """An SNV its base, a deletion the mean of its bases, an insertion of the two it parts."""
    path = tmp_path / "hg38.phyloP100way.bw"
    values = [
        ("1", 99, 100, 1.5), ("1", 200, 201, -2.0), ("1", 299, 300, 3.0), ("1", 300, 301, 5.0),
        ("2", 400, 401, 1.0), ("2", 401, 402, 2.0), ("2", 402, 403, 100.0),
    ]  # fmt: skip
    pybigtools.open(str(path), "w").write({"1": 5_000_000, "2": 500}, values)
    (found,) = other_scores(ALLELES, parse([str(path)]))
    assert (found.name, found.sign) == ("hg38.phyloP100way", 1)
    assert found.values.to_list() == [1.5, 1.5, -2.0, 4.0, 1.5, None, None]


def test_bigwig_equals_what_was_written_everywhere(tmp_path):
    """Stretches are cut and joined: random places of random runs, past a contig's end too."""
    rng = np.random.default_rng(5)
    truth = np.full(3_000_000, np.nan)
    starts = np.sort(rng.choice(2_999_000, 3_000, replace=False))
    runs = []
    for start, following in zip(starts, [*starts[1:], 3_000_000], strict=True):
        stop = min(start + int(rng.integers(1, 900)), following)
        value = float(np.float32(rng.normal()))
        truth[start:stop] = value
        runs.append(("chr7", int(start), int(stop), value))
    path = tmp_path / "x.bw"
    pybigtools.open(str(path), "w").write({"chr7": 3_000_000}, runs)
    places = np.concatenate([rng.integers(0, 3_000_000, 4_000), [0, 2_999_999, 3_000_000]])
    alleles = pl.DataFrame({"chrom": "7", "pos": places + 1, "ref": "A", "alt": "C"})
    (found,) = other_scores(alleles, parse([f"{path}:lower"]))
    expected = np.append(truth, np.nan)[places]
    assert found.sign == -1
    np.testing.assert_array_equal(found.values.to_numpy(), expected)


def test_what_is_typed(tmp_path):
    (tmp_path / "a:b.tsv").write_text("x")
    (tmp_path / "cadd.tsv.gz").write_text("x")
    (tmp_path / "phyloP.bw").write_text("x")
    (tmp_path / "phyloP.tsv").write_text("x")
    at = [tmp_path / name for name in ("a:b.tsv", "cadd.tsv.gz", "phyloP.bw", "phyloP.tsv")]
    typed = [f"{at[0]}:my:x:lower", f"{at[1]}:PHRED", str(at[2]), f"{at[1]}:score"]
    assert parse(typed) == [
        Against(at[0], "my:x", "my:x", -1),
        Against(at[1], "PHRED", "PHRED", 1),
        Against(at[2], "", "phyloP", 1),
        Against(at[1], "score", "score", 1),
    ]
    # What is said goes before what is known; two of a name are told apart by their files.
    twice = parse([f"{at[1]}:AF:higher", f"{at[3]}:AF"])
    assert [(one.name, one.sign) for one in twice] == [
        ("AF of cadd.tsv.gz", 1),
        ("AF of phyloP.tsv", -1),
    ]
    with pytest.raises(ConfigError, match=r"PHRED of cadd.tsv.gz was given twice"):
        parse([f"{at[1]}:PHRED", f"{at[1]}:PHRED"])
    for text, message in (
        ("none.tsv:PHRED", "--against none.tsv:PHRED: no such file"),
        (str(at[1]), "name the score's column: FILE:COLUMN"),
        (f"{at[2]}:mean", "a BigWig has no columns"),
        (f"{at[0]}:x", "is lower or higher more deleterious.*a:b.tsv:x:lower or"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse([text])


@pytest.mark.parametrize(
    ("value", "message"),
    [("high", "PHRED is 'high' at 1:100, and 1 scores"), ("inf", "PHRED is 'inf' at 1:100")],
)
def test_what_is_no_score_is_refused(tmp_path, value, message):
    path = tmp_path / "s.tsv"
    path.write_text(text_of([("1", 100, "A", "C", value), ("1", 7, "A", "C", "z")]))
    with pytest.raises(InputError, match=message):
        other_scores(ALLELES, parse([f"{path}:PHRED"]))
    with pytest.raises(InputError, match="has no column REVEL; found Chrom, Pos"):
        other_scores(ALLELES, parse([f"{path}:REVEL"]))


def test_damaged_files(tmp_path):
    sound = tmp_path / "s.bw"
    pybigtools.open(str(sound), "w").write(
        {"chr1": 1000}, [("chr1", n, n + 1, float(n % 7)) for n in range(900)]
    )
    data = sound.read_bytes()
    alleles = ALLELES.head(1)
    for damaged in (data[:300], b"", bytes([*data[:700], *[255] * 40, *data[740:]])):
        (tmp_path / "d.bw").write_bytes(damaged)
        with pytest.raises(InputError, match=r"d.bw: cannot be read as BigWig"):
            other_scores(alleles, parse([f"{tmp_path}/d.bw:higher"]))
    with pytest.raises(InputError, match="has none of the contigs chr2; it has chr1"):
        other_scores(ALLELES.with_columns(chrom=pl.lit("chr2")), parse([f"{sound}:higher"]))
    path = indexed(tmp_path, text_of([row for row in ROWS if row[3]]))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"cannot be read by its index|cut|damaged"):
        other_scores(ALLELES, parse([f"{path}:PHRED"]))


def test_another_assembly_is_said(tmp_path, caplog):
    path = written(tmp_path, "tsv")
    with caplog.at_level(logging.WARNING, "ntvep"):
        moved = ALLELES.with_columns(pos=pl.col("pos") + 7)
        (found,) = other_scores(moved, parse([f"{path}:PHRED"]))
    assert found.values.null_count() == 7
    assert "has no score of any allele; is it for another assembly" in caplog.text
