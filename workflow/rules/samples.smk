# Many VCFs: their distinct alleles are listed, scored once for each model, and each VCF is annotated
# from the table of scores. Jobs take several VCFs each: a job costs a second before it does anything.
NAMES = list(SAMPLES)
PART = config["samples_per_job"]
PARTS = [NAMES[first : first + PART] for first in range(0, len(NAMES), PART)]
SCORED = [
    *expand(HERE / "{sample}.vcf.gz", model=MODELS, sample=NAMES),
    *expand(HERE / "{name}", model=MODELS, name=["summary.json", "samples.tsv"]),
    *expand(
        HERE / "pages" / "{sample}.html",
        model=MODELS,
        sample=NAMES if config["pages"] else [],
    ),
]
SCORES = HERE / "alleles"
MAX_ALLELE_BASES = max(settings["max_allele_bases"] for settings in MODELS.values())


for number, names in enumerate(PARTS):

    rule:
        name:
            f"collect_{number}"
        input:
            vcfs=[SAMPLES[name] for name in names],
            reference=config["reference"],
        output:
            RESULTS / "distinct" / "parts" / f"{number:04d}.parquet",
        log:
            LOGS / "collect" / f"{number:04d}.log",
        benchmark:
            BENCHMARKS / "collect" / f"{number:04d}.tsv"
        conda:
            "../envs/ntvep.yaml"
        params:
            options=options_of(config, "on_bad_record", "ref_mismatch_limit"),
            max_allele_bases=MAX_ALLELE_BASES,
        shell:
            "ntvep cohort collect {input.vcfs:q} --reference {input.reference:q} --output {output:q}"
            " --force --max-allele-bases {params.max_allele_bases} {params.options} 2> {log:q}"


rule distinct:
    input:
        sound=lambda wildcards: sound_inputs(),
        parts=[
            RESULTS / "distinct" / "parts" / f"{number:04d}.parquet"
            for number in range(len(PARTS))
        ],
    output:
        table=RESULTS / "distinct" / "distinct.parquet",
        chunks=expand(CHUNK_FOLDER / "{chunk}.vcf.gz", chunk=CHUNKS),
    log:
        LOGS / "distinct.log",
    benchmark:
        BENCHMARKS / "distinct.tsv"
    conda:
        "../envs/ntvep.yaml"
    params:
        chunks=lambda wildcards, output: " ".join(
            f"--to {quote(path)}" for path in output.chunks
        ),
    shell:
        "ntvep cohort split {input.parts:q} --output {output.table:q} {params.chunks} --force"
        " 2> {log:q}"


rule alleles:
    input:
        distinct=RESULTS / "distinct" / "distinct.parquet",
        tables=expand(
            HERE / "chunks" / "{chunk}.parquet", chunk=CHUNKS, allow_missing=True
        ),
    output:
        table=HERE / "alleles.parquet",
        summary=HERE / "summary.json",
    log:
        LOGS / OF_MODEL / "alleles.log",
    benchmark:
        BENCHMARKS / OF_MODEL / "alleles.tsv"
    conda:
        "../envs/ntvep.yaml"
    shell:
        "ntvep cohort gather {input.distinct:q} {input.tables:q} --output {output.table:q}"
        " --summary {output.summary:q} --force 2> {log:q}"


for number, names in enumerate(PARTS):

    rule:
        name:
            f"annotate_{number}"
        input:
            vcfs=[SAMPLES[name] for name in names],
            reference=config["reference"],
            alleles=HERE / "alleles.parquet",
        output:
            vcfs=[HERE / f"{name}.vcf.gz" for name in names],
            summaries=[HERE / f"{name}.vcf.gz.summary.json" for name in names],
        log:
            LOGS / OF_MODEL / "annotate" / f"{number:04d}.log",
        benchmark:
            BENCHMARKS / OF_MODEL / "annotate" / f"{number:04d}.tsv"
        conda:
            "../envs/ntvep.yaml"
        params:
            outputs=lambda wildcards, output: " ".join(
                f"--output {quote(path)}" for path in output.vcfs
            ),
            options=INPUT_OPTIONS,
        shell:
            "ntvep cohort annotate {input.vcfs:q} --alleles {input.alleles:q}"
            " --reference {input.reference:q} {params.outputs} --force {params.options} 2> {log:q}"


rule counts:
    input:
        sheet=config.get("samples", []),
        summaries=expand(
            HERE / "{sample}.vcf.gz.summary.json", sample=NAMES, allow_missing=True
        ),
    output:
        HERE / "samples.tsv",
    log:
        LOGS / OF_MODEL / "counts.log",
    benchmark:
        BENCHMARKS / OF_MODEL / "counts.tsv"
    conda:
        "../envs/ntvep.yaml"
    params:
        sheet=lambda wildcards, input: options_of(
            {"sheet": input.get("sheet")}, "sheet"
        ),
    shell:
        "ntvep cohort counts {input.summaries:q} {params.sheet} --output {output:q} --force"
        " 2> {log:q}"


# A job loads the model that draws once for all its pages.
for number, names in enumerate(PARTS):

    rule:
        name:
            f"pages_{number}"
        input:
            vcfs=[HERE / f"{name}.vcf.gz" for name in names],
            labels=lambda wildcards: USED_LABELS,
            reference=config["reference"],
            model=lambda wildcards: (
                model_files(wildcards) if is_drawn(wildcards) else []
            ),
        output:
            [
                report(
                    HERE / "pages" / f"{name}.html",
                    category="Samples",
                    labels={"sample": name, "model": "{model}"},
                )
                for name in names
            ],
        log:
            LOGS / OF_MODEL / "pages" / f"{number:04d}.log",
        benchmark:
            BENCHMARKS / OF_MODEL / "pages" / f"{number:04d}.tsv"
        conda:
            MODEL_ENVIRONMENT
        resources:
            **SCORING_RESOURCES
            | {"gpu": lambda wildcards: gpus(wildcards) if is_drawn(wildcards) else 0},
        params:
            labels=lambda wildcards, input: options_of(
                {"labels": list(input.labels)}, "labels"
            ),
            pictures=picture_options,
            outputs=lambda wildcards, output: " ".join(
                f"--output {quote(path)}" for path in output
            ),
        shell:
            "ntvep table {input.vcfs:q} {params.labels} --reference {input.reference:q}"
            " {params.pictures} {params.outputs} --force > {log:q} 2>&1"
