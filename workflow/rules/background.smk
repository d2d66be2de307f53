# Variants at random places: scoring jobs say how unusual each llr is among those of its context.
BACKGROUND = config.get("background", {})


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
        draw=options_of(
            BACKGROUND, "bed", "region", "per_context", "indel_bases", "seed"
        ),
    shell:
        "ntvep background draw --reference {input.reference:q} --model {params.model}"
        " --output {output:q} --force --threads {threads} {params.options} {params.cache}"
        " {params.draw} 2> {log:q}"
