# How unusual each llr is for its trinucleotide context: among SNVs at random places.
BACKGROUND = config.get("background", {})
# What a report judges: with the percentiles, if they are asked for.
JUDGED = RESULTS / (
    "scores.percentiles.parquet" if "background" in config else "scores.parquet"
)


rule background:
    input:
        reference=config["reference"],
        bed=BACKGROUND.get("bed", []),
        model=MODEL_FILES,
    output:
        RESULTS / "background.parquet",
    log:
        LOGS / "background.log",
    benchmark:
        BENCHMARKS / "background.tsv"
    conda:
        MODEL_ENVIRONMENT
    threads: config["threads"]
    resources:
        gpu=GPUS,
    params:
        model=quote(config["model"]),
        options=f"{WINDOW_OPTIONS} {MODEL_OPTIONS} "
        + options_of(BACKGROUND, "bed", "region", "per_context", "seed"),
    shell:
        "ntvep background draw --reference {input.reference:q} --model {params.model}"
        " --output {output:q} --force --threads {threads} {params.options} 2> {log:q}"


rule percentiles:
    input:
        scores=RESULTS / "scores.parquet",
        background=RESULTS / "background.parquet",
        reference=config["reference"],
    output:
        RESULTS / "scores.percentiles.parquet",
    log:
        LOGS / "percentiles.log",
    benchmark:
        BENCHMARKS / "percentiles.tsv"
    conda:
        "../../envs/ntvep.yaml"
    shell:
        "ntvep background apply {input.scores:q} --background {input.background:q}"
        " --reference {input.reference:q} --output {output:q} --force > {log:q} 2>&1"
