# Every SNV of the genome, or of a BED, scored once: snakemake --cores 8 genome
SHARDS = [f"{number:05d}" for number in range(GENOME.get("shards", 1))]
PRESCORED = HERE / "genome"
OF_GENOME = LOGS / OF_MODEL / "genome"


rule scan_shard:
    input:
        reference=config["reference"],
        bed=GENOME.get("bed", []),
        model=model_files,
    output:
        table=PRESCORED / "shards" / "{shard}.parquet",
        summary=PRESCORED / "shards" / "{shard}.parquet.summary.json",
    log:
        OF_GENOME / "{shard}.log",
    benchmark:
        BENCHMARKS / OF_MODEL / "genome" / "{shard}.tsv"
    wildcard_constraints:
        shard=r"\d{5}",
    conda:
        MODEL_ENVIRONMENT
    threads: lambda wildcards: settings_of(wildcards)["threads"]
    resources:
        **SCORING_RESOURCES,
    params:
        model=lambda wildcards: quote(settings_of(wildcards)["model"]),
        folder=lambda wildcards, output: Path(output.table).parent,
        number=lambda wildcards: int(wildcards.shard),
        options=scan_options,
    shell:
        "ntvep scan --reference {input.reference:q} --model {params.model}"
        " --output {params.folder:q} --shard {params.number} --force --threads {threads}"
        " {params.options} 2> {log:q}"


# Scans nothing that is whole: it looks at each shard, and writes their checksums down.
rule scan_manifest:
    input:
        reference=config["reference"],
        bed=GENOME.get("bed", []),
        tables=expand(
            PRESCORED / "shards" / "{shard}.parquet", shard=SHARDS, allow_missing=True
        ),
    output:
        PRESCORED / "shards" / "manifest.json",
    log:
        OF_GENOME / "manifest.log",
    benchmark:
        BENCHMARKS / OF_MODEL / "genome" / "manifest.tsv"
    conda:
        MODEL_ENVIRONMENT
    threads: lambda wildcards: settings_of(wildcards)["threads"]
    resources:
        **SCORING_RESOURCES,
    params:
        model=lambda wildcards: quote(settings_of(wildcards)["model"]),
        folder=lambda wildcards, output: Path(output[0]).parent,
        options=scan_options,
    shell:
        "ntvep scan --reference {input.reference:q} --model {params.model}"
        " --output {params.folder:q} --threads {threads} {params.options} 2> {log:q}"


rule build_store:
    input:
        PRESCORED / "shards" / "manifest.json",
    output:
        directory(PRESCORED / "store"),
    log:
        OF_GENOME / "store.log",
    benchmark:
        BENCHMARKS / OF_MODEL / "genome" / "store.tsv"
    conda:
        "../envs/ntvep.yaml"
    params:
        shards=lambda wildcards, input: Path(input[0]).parent,
    shell:
        "ntvep store build {params.shards:q} --output {output:q} --force 2> {log:q}"


rule verify_store:
    input:
        store=PRESCORED / "store",
        reference=config["reference"],
    output:
        PRESCORED / "verified.txt",
    log:
        OF_GENOME / "verify.log",
    benchmark:
        BENCHMARKS / OF_MODEL / "genome" / "verify.tsv"
    conda:
        MODEL_ENVIRONMENT
    resources:
        **SCORING_RESOURCES,
    params:
        model=lambda wildcards: quote(settings_of(wildcards)["model"]),
        sample=GENOME.get("sample", 1000),
        device=lambda wildcards: options_of(settings_of(wildcards), "device"),
    shell:
        "ntvep store verify {input.store:q} --reference {input.reference:q}"
        " --model {params.model} --sample {params.sample} {params.device}"
        " > {output:q} 2> {log:q}"


rule genome:
    input:
        expand(PRESCORED / "shards" / "{shard}.parquet", model=MODELS, shard=SHARDS),
        expand(PRESCORED / "shards" / "manifest.json", model=MODELS),
        expand(PRESCORED / "store", model=MODELS),
        expand(PRESCORED / "verified.txt", model=MODELS),
    localrule: True
