"""Negatives are drawn like the positives; distances and strata are compared with plain loops."""

import gzip

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from ntvep.commands.match import match
from ntvep.errors import ConfigError, InputError
from ntvep.evaluate.matching import (
    COUNT_EDGES,
    DISTANCE_EDGES,
    FREQUENCY_EDGES,
    distances,
    edges_of,
    match_negatives,
)
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


@pytest.mark.parametrize("near", [(), ("x", "y")])
def test_groups_tell_for_whom_a_negative_was_drawn(near):
    rng = np.random.default_rng(8)
    table = random_labels().with_columns(
        x=pl.Series(rng.normal(size=4000)), y=pl.Series(rng.normal(size=4000) * 1e6)
    )
    bins = {} if near else EDGES
    matched = match_negatives(table, 3, seed=1, bins=bins, near=near)
    kept = matched.table.with_columns(matched.groups)
    for (group,), rows in kept.group_by("match_group"):
        assert rows["label"].sort().to_list() == [False] * 3 + [True], group
        stratum = [[row[0][3:] if row[0][:3] == "chr" else row[0], *row[1:]] for row in
                   rows.select("chrom", "consequence").rows()]  # fmt: skip
        assert len({*map(tuple, stratum)}) == 1
    assert kept["match_group"].n_unique() == matched.positives > 100
    assert kept["match_group"].min() == 0
    assert kept["match_group"].max() == matched.positives - 1


def test_the_nearest_free_negatives_equal_plain_loops():
    """In ranks, none farther than the limit, positives in the order of their lot."""
    rng = np.random.default_rng(2)
    count, negatives, seed = 300, 2, 5
    table = pl.DataFrame(
        {
            "chrom": rng.choice(["1", "chr1", "2"], count),
            "label": rng.random(count) < 0.3,
            "consequence": rng.choice(["a", "b"], count),
            "x": rng.normal(size=count),
            "y": rng.exponential(1e5, count),
        }
    ).with_columns(x=pl.when(pl.int_range(pl.len()) % 40 != 3).then("x"))
    matched = match_negatives(table, negatives, seed=seed, bins={}, near=["x", "y"], within=0.2)
    lot = np.random.default_rng(seed).permutation(count)
    rows = table.rows(named=True)

    def share(name, value):
        numbers = [row[name] for row in rows if row[name] is not None]
        below = sum(number < value for number in numbers)
        return (below + (numbers.count(value) + 1) / 2) / len(numbers)

    def key(row):
        return row["chrom"].removeprefix("chr"), row["consequence"]

    groups, taken = {}, set()
    for stratum in sorted({key(row) for row in rows}):
        here = [n for n in np.argsort(lot) if key(rows[n]) == stratum and rows[n]["x"] is not None]
        positives = [n for n in here if rows[n]["label"]]
        others = [n for n in here if not rows[n]["label"]]
        for place in positives:

            def far(other, place=place):
                return max(
                    abs(share(name, rows[place][name]) - share(name, rows[other][name]))
                    for name in ("x", "y")
                )

            free = [n for n in others if n not in taken and far(n) <= 0.2]
            if len(free) >= negatives:
                nearest = sorted(free, key=far)[:negatives]
                taken.update(nearest)
                groups[place] = {place, *nearest}
    assert 20 < len(groups) < table["label"].sum()
    kept = matched.table.with_columns(matched.groups)
    assert matched.positives == len(groups)
    found = [
        {*map(tuple, some.select("x", "y").rows())} for _, some in kept.group_by("match_group")
    ]
    expected = [{(rows[n]["x"], rows[n]["y"]) for n in group} for group in groups.values()]
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))


def test_nearest_negatives_take_a_leak_away_that_bins_leave():
    table = random_labels().filter(pl.col("label").is_not_null())
    matched = match_negatives(table, 1, seed=1, bins={}, near=["tss_distance"], within=0.01)
    near = matched.table
    binned = match_negatives(table, 1, seed=1, bins=EDGES).table
    leak = [
        abs(roc_auc_score(rows["label"], rows["tss_distance"]) - 0.5) for rows in (near, binned)
    ]
    assert matched.positives > 50
    assert leak[0] < 0.02 < leak[1]


def test_counts_have_edges_of_their_own():
    """As frequencies, all counts above 1 would be one bin, and counts would tell the label."""
    rng = np.random.default_rng(3)
    label = rng.random(5000) < 0.5
    counts = np.where(label, rng.geometric(0.2, 5000), rng.geometric(0.001, 5000)).astype(float)
    table = pl.DataFrame({"chrom": "1", "label": label, "consequence": "a", "AC": counts})
    edges = edges_of("AC", table["AC"])
    assert edges == COUNT_EDGES
    kept = match_negatives(table, 1, seed=0, bins={"AC": edges}).table
    assert abs(roc_auc_score(kept["label"], kept["AC"]) - 0.5) < 0.1
    as_frequencies = match_negatives(table, 1, seed=0, bins={"AC": FREQUENCY_EDGES}).table
    assert abs(roc_auc_score(as_frequencies["label"], as_frequencies["AC"]) - 0.5) > 0.4
    shares = pl.Series([0.0, 0.5, None])
    for name in ("AF", "MAF", "AF_EXAC", "gnomad_AF_nfe", "allele_freq", "FAF95"):
        assert edges_of(name, shares) == FREQUENCY_EDGES
        # In percent, or counts under a wrong name.
        assert edges_of(name, pl.Series([0.5, 12.0])) is None
    assert edges_of("gnomad_AC", shares) == edges_of("allele_count", shares) == COUNT_EDGES
    assert edges_of("tss_distance", pl.Series([5.0])) == DISTANCE_EDGES
    assert edges_of("CADD", shares) is edges_of("LEAF", shares) is None


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
        ("a.bed", "chr1\tone\t2\n", "not a complete table"),
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
    table = table.with_columns(percent=pl.col("AF") * 100)
    columns = (
        *LABELS,
        *(Column(name, pl.Float64(), "", "", nullable=True) for name in ("AF", "percent")),
    )
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
    assert kept.columns[len(LABELS) :] == [
        "AF", "percent", "tss_distance", "exon_distance", "match_group",
    ]  # fmt: skip
    assert counts.positive * 2 == counts.negative > 20
    assert counts.written + counts.left_out.total() == counts.read == 500
    place = kept["pos"] - 1
    assert kept["tss_distance"].to_list() == [min(abs(p - 100), abs(p - 120)) for p in place]
    assert kept["match_group"].value_counts()["count"].unique().to_list() == [3]
    # Again, on what was matched: the groups are those of the last matching.
    match(out, tmp_path / "again.parquet", command="", negatives=1, near=["AF"])
    again = read_labels(tmp_path / "again.parquet")
    assert again.columns == kept.columns
    assert again["match_group"].value_counts()["count"].unique().to_list() == [2]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"negatives": 0}, ConfigError, "expected 1 or more"),
        ({"negatives": 400}, InputError, "no positive has 400 negatives"),
        ({"distance": "tss"}, ConfigError, "requires --annotation"),
        ({"frequency": "MAF"}, InputError, "has no feature MAF; found AF"),
        ({"within": 0}, ConfigError, "--within is 0; expected a share"),
        ({"near": ["CADD"]}, InputError, "has no feature CADD; found AF"),
        (
            {"frequency": "percent"},
            ConfigError,
            r"percent: has values outside 0.*--near p",
        ),
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
