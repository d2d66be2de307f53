"""Negatives are drawn like the positives; distances and strata are compared with plain loops."""

import gzip

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from ntvep.commands.match import match
from ntvep.errors import ConfigError, InputError
from ntvep.evaluate.matching import DISTANCE_EDGES, distances, match_negatives
from ntvep.io.intervals import read_intervals
from ntvep.io.tables import read_labels, table_writer
from ntvep.schema import LABELS, Column
from tests.evaluate.tables import labels

GTF = """\
#!genome-build GRCh38
chr1	X	gene	101	500	.	+	.	gene_id "A";
chr1	X	transcript	101	500	.	+	.	gene_id "A";
chr1	X	exon	101	150	.	+	.	gene_id "A";
chr1	X	exon	401	500	.	+	.	gene_id "A";
chr1	X	transcript	121	480	.	+	.	gene_id "A";
chr1	X	exon	121	200	.	+	.	gene_id "A";
2	X	transcript	1001	2000	.	-	.	gene_id "B";
2	X	exon	1001	2000	.	-	.	gene_id "B";
"""


def random_labels(count=4000, seed=3):
    """Positives sit near TSS, are rarer alleles, and are missense more often: all of it leaks."""
    rng = np.random.default_rng(seed)
    label = rng.random(count) < 0.15
    distance = np.where(label, rng.exponential(800, count), rng.exponential(30_000, count))
    return pl.DataFrame(
        {
            "chrom": rng.choice(["chr1", "chr2", "2"], count),
            "pos": rng.integers(1, 10**6, count),
            "label": pl.Series(label),
            "consequence": np.where(
                rng.random(count) < np.where(label, 0.7, 0.4), "missense_variant", "intron_variant"
            ),
            "tss_distance": distance.round(),
            "AF": np.where(rng.random(count) < 0.1, np.nan, 10 ** -rng.uniform(0, 5, count)),
        }
    ).with_columns(
        pl.col("AF").fill_nan(None),
        # Some rows have no label.
        label=pl.when(pl.int_range(pl.len()) % 50 != 7).then("label"),
    )


EDGES = {"tss_distance": DISTANCE_EDGES, "AF": (0.001, 0.01, 0.1)}


def strata(table):
    """Stratum of each row, by plain loops."""

    def bin_of(value, edges):
        return None if value is None else sum(value >= edge for edge in edges)

    return [
        (
            f"chr{row['chrom'].removeprefix('chr')}",
            row["consequence"],
            *(bin_of(row[name], edges) for name, edges in EDGES.items()),
        )
        for row in table.iter_rows(named=True)
    ]


@pytest.mark.parametrize("negatives", [1, 3])
def test_each_positive_has_its_negatives_in_its_stratum(negatives):
    table = random_labels()
    matched = match_negatives(table, negatives, seed=1, bins=EDGES)
    kept = matched.table
    assert kept["label"].null_count() == 0
    before = [*zip(strata(table), table["label"], strict=True)]
    after = [*zip(strata(kept), kept["label"], strict=True)]
    for stratum in {*strata(table)}:
        positives, others = (before.count((stratum, truth)) for truth in (True, False))
        expected = min(positives, others // negatives)
        assert after.count((stratum, True)) == expected
        assert after.count((stratum, False)) == expected * negatives
    assert matched.positives == kept["label"].sum() > 100
    assert matched.positives + matched.unmatched == table["label"].sum()
    assert matched.unused + matched.positives * negatives == (~table["label"]).sum()


def test_what_was_matched_tells_nothing_any_more():
    """The leak check: AUROC of a matched feature alone, before and after."""
    table = random_labels().filter(pl.col("label").is_not_null())
    kept = match_negatives(table, 2, seed=1, bins=EDGES).table

    def auroc(rows, feature):
        return roc_auc_score(rows["label"], rows[feature])

    numbers = pl.col("consequence") == "missense_variant"
    table, kept = (rows.with_columns(missense=numbers.cast(pl.Float64)) for rows in (table, kept))
    assert auroc(table, "missense") > 0.6
    assert auroc(kept, "missense") == pytest.approx(0.5, abs=1e-12)
    assert auroc(table, "tss_distance") < 0.1
    assert 0.4 < auroc(kept, "tss_distance") < 0.5


def test_the_draw_depends_on_the_seed_alone():
    table = random_labels(1000)
    first, again, other = (
        match_negatives(table, 1, seed=seed, bins=EDGES).table for seed in (1, 1, 2)
    )
    assert first.equals(again)
    assert not first.equals(other)
    # Rows stay in their order.
    numbered = table.with_row_index()
    kept = match_negatives(numbered, 1, seed=1, bins=EDGES).table["index"]
    assert kept.is_sorted()


def test_distances_equal_plain_loops():
    rng = np.random.default_rng(0)
    intervals = pl.DataFrame(
        {"chrom": rng.choice(["chr1", "2"], 60), "start": rng.integers(0, 5000, 60)}
    ).with_columns(stop=pl.col("start") + pl.Series(rng.integers(1, 400, 60)))
    variants = pl.DataFrame(
        {"chrom": rng.choice(["1", "chr2", "chr3"], 400), "pos": rng.integers(1, 6000, 400)}
    )
    expected = []
    for chrom, pos in variants.iter_rows():
        gaps = [
            max(start - (pos - 1), (pos - 1) - (stop - 1), 0)
            for name, start, stop in intervals.iter_rows()
            if name.removeprefix("chr") == chrom.removeprefix("chr")
        ]
        expected.append(float(min(gaps)) if gaps else None)
    assert distances(variants, intervals).to_list() == expected
    assert {None, 0.0} < {*expected}


@pytest.mark.parametrize("packed", [False, True])
def test_annotations(tmp_path, packed):
    path = tmp_path / ("genes.gtf.gz" if packed else "genes.gtf")
    path.write_bytes(gzip.compress(GTF.encode()) if packed else GTF.encode())
    found = read_intervals(path)
    assert sorted(found["tss"].rows()) == [
        ("2", 1999, 2000),
        ("chr1", 100, 101),
        ("chr1", 120, 121),
    ]
    assert sorted(found["exon"].rows()) == [
        ("2", 1000, 2000), ("chr1", 100, 150), ("chr1", 120, 200), ("chr1", 400, 500),
    ]  # fmt: skip
    places = pl.DataFrame({"chrom": ["1", "1", "chr2"], "pos": [101, 301, 2010]})
    assert distances(places, found["tss"]).to_list() == [0, 180, 10]
    assert distances(places, found["exon"]).to_list() == [0, 100, 10]
    bed = tmp_path / "peaks.bed"
    bed.write_text("track name=peaks\nchr1\t100\t200\tx\nchr1\t300\t301\ty\n")
    assert read_intervals(bed)["interval"].rows() == [("chr1", 100, 200), ("chr1", 300, 301)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "x", "expected a name with .gtf, .gff or .bed"),
        ("a.gtf", "chr1\tX\tintron\t1\t2\t.\t+\t.\tx\n", "has neither transcripts nor genes"),
        ("a.gtf", "chr1\tX\texon\t1\n", "expected lines of 7 columns or more"),
        ("a.bed", "chr1\tone\t2\n", "not a whole table"),
    ],
)
def test_bad_annotations(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_intervals(tmp_path / name)
    with pytest.raises(InputError, match="no such annotation"):
        read_intervals(tmp_path / "none.gtf")


@pytest.fixture
def labels_file(tmp_path):
    rng = np.random.default_rng(4)
    rows = [
        {"at": f"chr1:{pos}:A:C", "label": bool(rng.random() < 0.2), "AF": float(rng.random())}
        for pos in rng.integers(1, 5000, 500)
    ]
    table = labels(*rows, consequence="intron_variant")
    path = tmp_path / "labels.parquet"
    columns = (*LABELS, Column("AF", pl.Float64(), "", "", nullable=True))
    with table_writer(path, columns, "{}", lambda: "{}") as write:
        write(table)
    (tmp_path / "genes.gtf").write_text(GTF)
    return path


def test_match_gives_labels_with_the_distance_as_a_feature(labels_file, tmp_path):
    out = tmp_path / "out.parquet"
    counts = match(
        labels_file, out, command="", negatives=2, annotation=tmp_path / "genes.gtf", frequency="AF"
    )
    kept = read_labels(out)
    assert kept.columns[len(LABELS) :] == ["AF", "tss_distance", "exon_distance"]
    assert counts.positive * 2 == counts.negative > 20
    assert counts.written + counts.left_out.total() == counts.read == 500
    place = kept["pos"] - 1
    assert kept["tss_distance"].to_list() == [min(abs(p - 100), abs(p - 120)) for p in place]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"negatives": 0}, ConfigError, "expected 1 or more"),
        ({"negatives": 400}, InputError, "no positive has 400 negatives"),
        ({"distance": "tss"}, ConfigError, "needs --annotation"),
        ({"frequency": "MAF"}, InputError, "has no feature MAF; found AF"),
    ],
)
def test_bad_matchings(labels_file, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        match(labels_file, tmp_path / "out.parquet", command="", **options)
    with pytest.raises(ConfigError, match=r"--distance interval: .*has tss, exon"):
        match(
            labels_file,
            tmp_path / "out.parquet",
            command="",
            annotation=tmp_path / "genes.gtf",
            distance="interval",
        )
    assert not (tmp_path / "out.parquet").exists()
