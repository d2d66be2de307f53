"""The workflow as a part of another one, and as the workflow catalogue deploys it."""

import re
import shutil

import polars as pl
import yaml

from tests.conftest import ROOT
from tests.workflow.demo import REFERENCE, few_records, run

OTHER = f"""
module ntvep:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: config["scoring"]

use rule * from ntvep as ntvep_*

rule size:
    default_target: True
    input: rules.ntvep_gather.output.table
    output: "size.txt"
    shell: "wc -c < {{input}} > {{output}}"
"""


def test_as_a_module_of_another_workflow(tmp_path):
    """Nothing of the other's folder is taken for ours, and the demo's configuration is not read."""
    few_records(tmp_path / "in.vcf", 3)
    (tmp_path / "Snakefile").write_text(OTHER)
    settings = {"vcf": "in.vcf", "reference": str(REFERENCE), "model": "demo-6mer",
                "results": "scored",
                "window_tokens": 16, "max_allele_bases": 20, "device": "cpu"}  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"scoring": settings}))
    run("snakemake", "--cores", "2", "--configfile", "config.yaml", folder=tmp_path)
    table = tmp_path / "scored" / "scores.parquet"
    assert int((tmp_path / "size.txt").read_text()) == table.stat().st_size
    assert pl.read_parquet(table).filter(pl.col("status") == "ok").height >= 3
    assert not (tmp_path / "scored" / "compare.txt").exists()


def test_what_jobs_request_arrives_under_any_prefix(tmp_path):
    """A profile of a cluster cannot know the names that rules get in another workflow."""
    few_records(tmp_path / "in.vcf", 3)
    (tmp_path / "Snakefile").write_text(OTHER.replace("ntvep_", "X_"))
    settings = {"vcf": "in.vcf", "reference": str(REFERENCE), "model": "demo", "results": "scored",
                "device": "cuda:0,cuda:1", "background": {},
                "jobs": {"mem_mb": 9000, "runtime": 45, "partition": "big"}}  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"scoring": settings}))
    command = ["snakemake", "size.txt", "X_genome", "--dry-run", "--cores", "2"]
    done = run(*command, "--configfile", "config.yaml", folder=tmp_path)
    jobs = dict(re.findall(r"^rule (\w+):\n((?: .*\n)+)", done.stdout, re.M))
    asked = {name: set(re.findall(r"[\w]+=[^,\s]+", job)) for name, job in jobs.items()}
    requests = {"gpu=2", "mem_mb=9000", "runtime=45", "slurm_partition=big"}
    with_model = {
        "X_score", "X_background", "X_scan_shard", "X_scan_manifest", "X_verify_store",
    }  # fmt: skip
    assert {name for name, found in asked.items() if requests <= found} == with_model
    assert not any(requests & asked[name] for name in {*asked} - with_model)
    assert {"X_check", "X_split", "X_gather", "X_build_store", "size"} <= {*asked}


def test_a_deployment_into_an_empty_folder_starts(tmp_path):
    """As snakedeploy leaves it: the configuration copied, a Snakefile that names this workflow."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow" / "Snakefile").write_text(f"""
configfile: "config/config.yaml"

module ntvep:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: config

use rule * from ntvep
""")
    few_records(tmp_path / "in.vcf", 3)
    (tmp_path / "config" / "samples.tsv").write_text("sample\tvcf\nme\tin.vcf\n")
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config |= {"reference": str(REFERENCE)}
    (tmp_path / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    done = run("snakemake", "--dry-run", "--cores", "1", "all", folder=tmp_path)
    assert "results/demo/me.vcf.gz" in done.stdout
    # The template as it is names files that are not there: said, all of them, before any job.
    shutil.copytree(ROOT / "config", tmp_path / "config", dirs_exist_ok=True)
    done = run("snakemake", "--dry-run", "--cores", "1", "all", folder=tmp_path, check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "config/samples.tsv: 3 problems" in said
    assert "sample patient_2: vcfs/patient_2.vcf.gz: no such file" in said


def test_what_the_workflow_catalogue_looks_for():
    catalogue = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert catalogue["usage"]["software-stack-deployment"]["conda"] is True
    for needed in (
        "workflow/Snakefile",
        "config/README.md",
        "config/config.yaml",
        ".test/config/config.yaml",
        "LICENSE",
    ):
        assert (ROOT / needed).is_file()
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme
    assert "workflow" in readme


def test_every_rule_has_an_environment_with_ntvep_in_it():
    texts = [path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk")]
    rules = [rule for text in texts for rule in re.split(r"^rule ", text, flags=re.M)[1:]]
    for rule in (rule for rule in rules if "shell:" in rule):
        assert re.search(r'conda:\s+("../envs/ntvep.yaml"|MODEL_ENVIRONMENT)\n', rule), rule
    for name in re.findall(r'"\.\./envs/([\w.-]+)\.yaml"', "".join(texts)):
        assert (ROOT / "workflow" / "envs" / f"{name}.yaml").is_file()
        assert (ROOT / "workflow" / "envs" / f"{name}.post-deploy.sh").is_file()


def test_the_environments_get_this_checkout(tmp_path):
    """The script that Snakemake runs in a new environment, with a pip that only writes down."""
    pip = tmp_path / "pip"
    pip.write_text('#!/bin/sh\necho "$@"\n')
    pip.chmod(0o755)
    for name in ("ntvep", "ntvep-gpu"):
        script = ROOT / "workflow" / "envs" / f"{name}.post-deploy.sh"
        command = ["env", f"PATH={tmp_path}:/usr/bin:/bin", "bash", script]
        done = run(*command, folder=ROOT)
        assert done.stdout == f"install --no-deps {ROOT}\n"
        refused = run(*command, folder=tmp_path, check=False)
        assert refused.returncode == 1
        assert "NTVEP_SOURCES" in refused.stderr
        elsewhere = ["env", f"NTVEP_SOURCES={ROOT}", *command]
        assert run(*elsewhere, folder=tmp_path).stdout == f"install --no-deps {ROOT}\n"
