# The only rule that asks a model for what is in the VCFs: one job, one process, one load of the model.
rule score:
    input:
        vcf=CHUNK_FOLDER / "{chunk}.vcf.gz",
        reference=config["reference"],
        known=config.get("known", []),
        background=HERE / "background.parquet" if "background" in config else [],
        model=model_files,
    output:
        table=HERE / "chunks" / "{chunk}.parquet",
        summary=HERE / "chunks" / "{chunk}.parquet.summary.json",
    log:
        LOGS / OF_MODEL / "score" / "{chunk}.log",
    benchmark:
        BENCHMARKS / OF_MODEL / "score" / "{chunk}.tsv"
    conda:
        MODEL_ENVIRONMENT
    threads: lambda wildcards: settings_of(wildcards)["threads"]
    resources:
        **SCORING_RESOURCES,
    params:
        model=lambda wildcards: quote(settings_of(wildcards)["model"]),
        options=lambda wildcards: options_of(
            settings_of(wildcards),
            "scores",
            "known",
            *WINDOW,
            "max_allele_bases",
            "ref_mismatch_limit",
            *MODEL,
        ),
        cache=cache_of,
        background=lambda wildcards, input: options_of(
            {"background": input.get("background")}, "background"
        ),
    shell:
        "ntvep score {input.vcf:q} --reference {input.reference:q} --model {params.model}"
        " --output {output.table:q} --force --threads {threads} {params.options} {params.cache}"
        " {params.background} 2> {log:q}"
