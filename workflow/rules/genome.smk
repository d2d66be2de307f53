# Every SNV of the genome, or of a BED, scored once: snakemake --cores 8 genome
GENOME = config.get("genome", {})
SHARDS = [f"{number:05d}" for number in range(GENOME.get("shards", 1))]
PRESCORED = RESULTS / "genome"
SCAN = (
    ("" if {"bed", "region"} & {*GENOME} else "--genome ")
    + options_of(GENOME, "bed", "region")
    + f" --scores {quote(GENOME.get('scores', 'llr'))} --shards {len(SHARDS)}"
    + f" {WINDOW_OPTIONS} {MODEL_OPTIONS}"
)


rule scan_shard:
    input:
        reference=config["reference"],
        bed=GENOME.get("bed", []),
        model=MODEL_FILES,
    output:
        table=PRESCORED / "shards" / "{shard}.parquet",
        summary=PRESCORED / "shards" / "{shard}.parquet.summary.json",
    log:
        LOGS / "genome" / "{shard}.log",
    benchmark:
        BENCHMARKS / "genome" / "{shard}.tsv"
    wildcard_constraints:
        shard=r"\d{5}",
    conda:
        MODEL_ENVIRONMENT
    threads: config["threads"]
    resources:
        gpu=GPUS,
    params:
        model=quote(config["model"]),
        folder=lambda wildcards, output: Path(output.table).parent,
        number=lambda wildcards: int(wildcards.shard),
        options=SCAN,
    shell:
        "ntvep scan --reference {input.reference:q} --model {params.model}"
        " --output {params.folder:q} --shard {params.number} --force --threads {threads}"
        " {params.options} 2> {log:q}"


# Scans nothing that is whole: it looks at each shard, and writes their checksums down.
rule scan_manifest:
    input:
        reference=config["reference"],
        bed=GENOME.get("bed", []),
        tables=expand(PRESCORED / "shards" / "{shard}.parquet", shard=SHARDS),
    output:
        PRESCORED / "shards" / "manifest.json",
    log:
        LOGS / "genome" / "manifest.log",
    benchmark:
        BENCHMARKS / "genome" / "manifest.tsv"
    conda:
        MODEL_ENVIRONMENT
    threads: config["threads"]
    resources:
        gpu=GPUS,
    params:
        model=quote(config["model"]),
        folder=lambda wildcards, output: Path(output[0]).parent,
        options=SCAN,
    shell:
        "ntvep scan --reference {input.reference:q} --model {params.model}"
        " --output {params.folder:q} --threads {threads} {params.options} 2> {log:q}"


rule build_store:
    input:
        PRESCORED / "shards" / "manifest.json",
    output:
        directory(PRESCORED / "store"),
    log:
        LOGS / "genome" / "store.log",
    benchmark:
        BENCHMARKS / "genome" / "store.tsv"
    conda:
        "../../envs/ntvep.yaml"
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
        LOGS / "genome" / "verify.log",
    benchmark:
        BENCHMARKS / "genome" / "verify.tsv"
    conda:
        MODEL_ENVIRONMENT
    resources:
        gpu=GPUS,
    params:
        model=quote(config["model"]),
        sample=GENOME.get("sample", 1000),
        device=options_of(config, "device"),
    shell:
        "ntvep store verify {input.store:q} --reference {input.reference:q}"
        " --model {params.model} --sample {params.sample} {params.device}"
        " > {output:q} 2> {log:q}"


rule genome:
    input:
        expand(PRESCORED / "shards" / "{shard}.parquet", shard=SHARDS),
        PRESCORED / "shards" / "manifest.json",
        PRESCORED / "store",
        PRESCORED / "verified.txt",
    localrule: True
