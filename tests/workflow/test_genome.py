"""``snakemake genome``: shards, their manifest, a store and its check; nothing whole is redone."""

import json

import polars as pl
import yaml

from tests.workflow.demo import REFERENCE, few_records, run, snakemake

REGIONS = ["chr22:20050001-20050100", "chr22:20100001-20100020"]


def test_a_region_as_a_genome(tmp_path):
    few_records(tmp_path / "small.vcf", 3)
    config = {
        "vcf": "small.vcf",
        "reference": str(REFERENCE),
        "model": "demo",
        "results": "out",
        "window_bases": 64,
        "max_allele_bases": 20,
        "device": "cpu",
        "genome": {"shards": 3, "region": REGIONS, "sample": 30},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    snakemake(tmp_path, "genome", "--configfile", "config.yaml")
    made = tmp_path / "out" / "genome"
    manifest = json.loads((made / "shards" / "manifest.json").read_text())
    assert [shard["records"] for shard in manifest["shards"]] == [40, 40, 40]
    assert manifest["shards"][2]["places"] == ["chr22:20050081-20050100", "chr22:20100001-20100020"]
    assert "30 scores of 30 SNVs reproduced" in (made / "verified.txt").read_text()
    tables = [pl.read_parquet(made / "shards" / f"0000{n}.parquet") for n in range(3)]
    found = run(
        "ntvep", "store", "get", made / "store", "chr22:20050001-20050100", folder=tmp_path
    ).stdout.splitlines()[1:]
    wanted = pl.concat(tables).filter(pl.col("pos") < 20_060_000)
    assert [line.split("\t")[:4] for line in found] == [
        [str(value) for value in row]
        for row in wanted.select("chrom", "pos", "ref", "alt").iter_rows()
    ]
    # A job that died: its shard is scanned again, and what follows from it made anew.
    (made / "shards" / "00001.parquet").unlink()
    again = snakemake(tmp_path, "genome", "--configfile", "config.yaml")
    assert again.stderr.count("rule scan_shard:") == 1
    anew = json.loads((made / "shards" / "manifest.json").read_text())
    # A table says how long it took: its checksum differs, that of the others is not.
    for old, new, same in zip(manifest["shards"], anew["shards"], (True, False, True), strict=True):
        assert [new[key] for key in ("file", "places")] == [old[key] for key in ("file", "places")]
        assert (new["sha256"] == old["sha256"]) == same
