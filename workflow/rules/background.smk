# How unusual each llr is for its trinucleotide context: among SNVs at random places.
BACKGROUND = config.get("background", {})
# What a report judges: with the percentiles, if they are asked for.
JUDGED = expand(
    f"{SCORES}.percentiles.parquet" if "background" in config else f"{SCORES}.parquet",
    model=MODELS,
)


rule background:
    input:
        reference=config["reference"],
        bed=BACKGROUND.get("bed", []),
        model=model_files,
    output:
        HERE / "background.parquet",
    log:
        LOGS / OF_MODEL / "background.log",
    benchmark:
        BENCHMARKS / OF_MODEL / "background.tsv"
    conda:
        MODEL_ENVIRONMENT
    threads: lambda wildcards: settings_of(wildcards)["threads"]
    resources:
        **SCORING_RESOURCES,
    params:
        model=lambda wildcards: quote(settings_of(wildcards)["model"]),
        options=lambda wildcards: options_of(settings_of(wildcards), *WINDOW, *MODEL),
        cache=cache_of,
        draw=options_of(BACKGROUND, "bed", "region", "per_context", "seed"),
    shell:
        "ntvep background draw --reference {input.reference:q} --model {params.model}"
        " --output {output:q} --force --threads {threads} {params.options} {params.cache}"
        " {params.draw} 2> {log:q}"


rule percentiles:
    input:
        scores=f"{SCORES}.parquet",
        background=HERE / "background.parquet",
        reference=config["reference"],
    output:
        f"{SCORES}.percentiles.parquet",
    log:
        LOGS / OF_MODEL / "percentiles.log",
    benchmark:
        BENCHMARKS / OF_MODEL / "percentiles.tsv"
    conda:
        "../envs/ntvep.yaml"
    shell:
        "ntvep background apply {input.scores:q} --background {input.background:q}"
        " --reference {input.reference:q} --output {output:q} --force > {log:q} 2>&1"
