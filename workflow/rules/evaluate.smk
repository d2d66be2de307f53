# Labels of any source in one form, and the report that judges the scores by them.
LABELS = config.get("labels", {})
JUDGED = expand(f"{SCORES}.parquet", model=MODELS)
MATCHED = [name for name, source in LABELS.items() if "match" in source]
USED_LABELS = [
    RESULTS / "labels" / f"{name}{'.matched' if name in MATCHED else ''}.parquet"
    for name in LABELS
]
LABEL_COMMANDS = {
    "clinvar": "clinvar",
    "gtex_finemapped": "gtex finemapped",
    "gtex_pairs": "gtex pairs",
    "table": "table",
}
LABEL_OPTIONS = (
    "min_stars",
    "classification",
    "consequence",
    "genes",
    "positive_pip",
    "negative_pip",
    "max_q",
    "release",
    "exclude",
    "label",
    "positive",
    "negative",
    "effect",
    "group",
    "stars",
    "feature",
    "name",
)


rule labels:
    input:
        files=lambda wildcards: LABELS[wildcards.name]["files"],
        exclude=lambda wildcards: LABELS[wildcards.name].get("exclude", []),
    output:
        RESULTS / "labels" / "{name}.parquet",
    log:
        LOGS / "labels" / "{name}.log",
    benchmark:
        BENCHMARKS / "labels" / "{name}.tsv"
    wildcard_constraints:
        name="[^/.]+",
    conda:
        "../envs/ntvep.yaml"
    params:
        command=lambda wildcards: LABEL_COMMANDS[LABELS[wildcards.name]["source"]],
        options=lambda wildcards: options_of(LABELS[wildcards.name], *LABEL_OPTIONS),
    shell:
        "ntvep labels {params.command} {input.files:q} --output {output:q} --force {params.options} 2> {log:q}"


rule match_labels:
    input:
        labels=RESULTS / "labels" / "{name}.parquet",
        annotation=lambda wildcards: LABELS[wildcards.name]["match"].get(
            "annotation", []
        ),
    output:
        RESULTS / "labels" / "{name}.matched.parquet",
    log:
        LOGS / "labels" / "{name}.matched.log",
    benchmark:
        BENCHMARKS / "labels" / "{name}.matched.tsv"
    wildcard_constraints:
        name="[^/.]+",
    conda:
        "../envs/ntvep.yaml"
    params:
        options=lambda wildcards: options_of(
            LABELS[wildcards.name]["match"],
            "negatives",
            "seed",
            "annotation",
            "distance",
            "frequency",
            "near",
            "within",
        ),
    shell:
        "ntvep labels match {input.labels:q} --output {output:q} --force {params.options} 2> {log:q}"


rule evaluate:
    input:
        scores=JUDGED,
        labels=USED_LABELS,
        reference=config["reference"],
    output:
        report(RESULTS / "report" / "index.html", category="Evaluation"),
    log:
        LOGS / "evaluate.log",
    benchmark:
        BENCHMARKS / "evaluate.tsv"
    conda:
        "../envs/ntvep.yaml"
    params:
        folder=RESULTS / "report",
        labels=lambda wildcards, input: " ".join(
            f"--labels {quote(path)}" for path in input.labels
        ),
        options=options_of(
            config.get("evaluate", {}),
            "matched",
            "direction",
            "against",
            "absolute",
            "ref_mismatch_limit",
        ),
    shell:
        "ntvep evaluate {input.scores:q} {params.labels} --reference {input.reference:q}"
        " --output {params.folder:q} --force {params.options} > {log:q} 2>&1"
