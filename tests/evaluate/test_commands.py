"""Each option of ``ntvep labels`` and ``ntvep fetch`` arrives where it is used."""

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from ntvep.cli import app
from ntvep.commands import benchmark, consequences, fetch, labels, match
from ntvep.commands.labels import TableColumns

OUT = Path("out.parquet")


@pytest.fixture
def calls(monkeypatch):
    """Arguments that the commands' functions were called with; nothing is done."""
    made = []

    def record(*arguments, **options):
        made.append((arguments, options))
        return "done"

    for name in ("label_clinvar", "label_finemapped", "label_pairs", "label_table"):
        monkeypatch.setattr(labels, name, record)
    monkeypatch.setattr(match, "match", record)
    monkeypatch.setattr(benchmark, "label_benchmark", record)
    monkeypatch.setattr(consequences, "add_consequences", record)
    monkeypatch.setattr(fetch, "fetch", record)
    monkeypatch.setattr("ntvep.cli.labels.command_line", lambda: "ntvep")
    return made


CLINVAR = {
    "min_stars": 1,
    "classification": "germline",
    "consequences": (),
    "genes": None,
    "features": (),
}
GTEX = {"positive_pip": 0.9, "negative_pip": 0.01, "release": None}
MATCH = {"negatives": 1, "seed": 0, "annotation": None, "distance": None, "frequency": None,
         "near": (), "within": 0.05}  # fmt: skip
FETCH = {"release": None, "md5": None, "sha256": None, "md5_url": None, "unpack": False}
COMMON = {"command": "ntvep", "force": False}
EXCLUDE = {"exclude": ()}


@pytest.mark.parametrize(
    ("typed", "arguments", "options"),
    [
        ("labels clinvar in.vcf -o out.parquet", (Path("in.vcf"), OUT), CLINVAR | EXCLUDE | COMMON),
        (
            "labels clinvar in.vcf --output out.parquet --min-stars 2 --genes A,B --force"
            " --classification oncogenicity --exclude x.vcf --exclude y.tsv"
            " --consequence missense_variant --consequence stop_gained --feature AF --feature B",
            (Path("in.vcf"), OUT),
            {
                "min_stars": 2,
                "classification": "oncogenicity",
                "exclude": [Path("x.vcf"), Path("y.tsv")],
                "genes": "A,B",
                "consequences": ["missense_variant", "stop_gained"],
                "features": ["AF", "B"],
                "command": "ntvep",
                "force": True,
            },
        ),
        (
            "labels gtex finemapped a b -o out.parquet",
            ([Path("a"), Path("b")], OUT),
            GTEX | EXCLUDE | COMMON,
        ),
        (
            "labels gtex finemapped a -o out.parquet --positive-pip 0.8 --negative-pip 0.1"
            " --release v9",
            ([Path("a")], OUT),
            {"positive_pip": 0.8, "negative_pip": 0.1, "release": "v9"} | EXCLUDE | COMMON,
        ),
        (
            "labels gtex pairs a -o out.parquet --release v9 --max-q 0.1 --exclude x --force",
            ([Path("a")], OUT),
            {
                "release": "v9",
                "max_q": 0.1,
                "exclude": [Path("x")],
                "command": "ntvep",
                "force": True,
            },
        ),
        (
            "labels table in.tsv -o out.parquet",
            (Path("in.tsv"), OUT, TableColumns()),
            {"name": None} | EXCLUDE | COMMON,
        ),
        (
            "labels table in.tsv -o out.parquet --label a --positive P --positive Q --negative N"
            " --effect e --group g --consequence c --stars s --feature AF --name mine",
            (
                Path("in.tsv"),
                OUT,
                TableColumns("a", "e", "g", "c", "s", ["P", "Q"], ["N"], ["AF"]),
            ),
            {"name": "mine"} | EXCLUDE | COMMON,
        ),
        (
            "labels benchmark dart-caqtl in.tsv -o out.parquet -r g.fa --subset a --subset b",
            ("dart-caqtl", Path("in.tsv"), OUT),
            {"reference": Path("g.fa"), "subset": [Path("a"), Path("b")]} | COMMON,
        ),
        (
            "labels consequences in.parquet -o out.parquet --annotation a.gtf --annotation b.bed"
            " -r g.fa",
            (Path("in.parquet"), OUT),
            {"annotation": [Path("a.gtf"), Path("b.bed")], "reference": Path("g.fa")} | COMMON,
        ),
        ("labels match in.parquet -o out.parquet", (Path("in.parquet"), OUT), MATCH | COMMON),
        (
            "labels match in.parquet -o out.parquet --negatives 9 --seed 4 --annotation g.gtf"
            " --distance exon --frequency AF --near phyloP --near CADD --within 0.1",
            (Path("in.parquet"), OUT),
            {
                "negatives": 9,
                "seed": 4,
                "annotation": Path("g.gtf"),
                "distance": "exon",
                "frequency": "AF",
                "near": ["phyloP", "CADD"],
                "within": 0.1,
            }
            | COMMON,
        ),
        (
            "fetch https://x/y -o out.parquet",
            ("https://x/y", OUT),
            FETCH | {"force": False, "quiet": False},
        ),
        (
            "fetch https://x/y -o out.parquet --release 7 --md5 a --sha256 b --md5-url c --unpack"
            " --force --quiet",
            ("https://x/y", OUT),
            {
                "release": "7",
                "md5": "a",
                "sha256": "b",
                "md5_url": "c",
                "unpack": True,
                "force": True,
                "quiet": True,
            },
        ),
    ],
    ids=lambda value: value.replace(" ", "_")[:50] if isinstance(value, str) else "",
)
def test_options_arrive(calls, typed, arguments, options):
    done = CliRunner().invoke(app, typed.split())
    assert done.exit_code == 0, done.output
    assert calls == [(arguments, options)]


def test_nan_among_features_says_nothing(tmp_path, monkeypatch):
    """It would be the largest of all numbers, and a positive would be matched to the commonest."""
    monkeypatch.chdir(tmp_path)
    pl.DataFrame(
        {
            "chrom": ["1"] * 3, "pos": [5, 6, 7], "ref": ["A"] * 3, "alt": ["C"] * 3,
            "label": ["1", "0", "0"], "AF": [float("nan"), 0.45, None],
        }
    ).write_parquet("in.parquet")  # fmt: skip
    where = TableColumns(features=["AF"])
    labels.label_table(Path("in.parquet"), Path("out.parquet"), where, command="")
    assert pl.read_parquet("out.parquet")["AF"].to_list() == [None, 0.45, None]
