# One job each for contiguous chunks, gathered in order.
rule check:
    input:
        vcf=config["vcf"],
        reference=config["reference"],
    output:
        RESULTS / "alleles.parquet",
    log:
        LOGS / "check.log",
    benchmark:
        BENCHMARKS / "check.tsv"
    conda:
        "../../envs/ntvep.yaml"
    params:
        model=quote(config["model"]),
        options=f"{INPUT_OPTIONS} {WINDOW_OPTIONS} {ALLELE_OPTIONS}",
    shell:
        "ntvep variants {input.vcf:q} --reference {input.reference:q} --model {params.model}"
        " --output {output:q} --force {params.options} 2> {log:q}"


rule split:
    input:
        vcf=config["vcf"],
        checked=RESULTS / "alleles.parquet",
    output:
        expand(RESULTS / "chunks" / "{chunk}.vcf.gz", chunk=CHUNKS),
    log:
        LOGS / "split.log",
    benchmark:
        BENCHMARKS / "split.tsv"
    conda:
        "../../envs/ntvep.yaml"
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        chunks=config["chunks"],
        options=INPUT_OPTIONS,
    shell:
        "ntvep split {input.vcf:q} --output {params.folder:q} --chunks {params.chunks}"
        " {params.options} 2> {log:q}"


rule score:
    input:
        vcf=RESULTS / "chunks" / "{chunk}.vcf.gz",
        reference=config["reference"],
        known=config.get("known", []),
        model=MODEL_FILES,
    output:
        table=RESULTS / "chunks" / "{chunk}.parquet",
        summary=RESULTS / "chunks" / "{chunk}.parquet.summary.json",
    log:
        LOGS / "score" / "{chunk}.log",
    benchmark:
        BENCHMARKS / "score" / "{chunk}.tsv"
    conda:
        MODEL_ENVIRONMENT
    threads: config["threads"]
    resources:
        gpu=GPUS,
    params:
        model=quote(config["model"]),
        options=f"{options_of(config, 'scores', 'known')} {WINDOW_OPTIONS} {ALLELE_OPTIONS} {MODEL_OPTIONS}",
    shell:
        "ntvep score {input.vcf:q} --reference {input.reference:q} --model {params.model}"
        " --output {output.table:q} --force --threads {threads} {params.options} 2> {log:q}"


rule gather:
    input:
        vcf=config["vcf"],
        reference=config["reference"],
        tables=expand(RESULTS / "chunks" / "{chunk}.parquet", chunk=CHUNKS),
    output:
        vcf=RESULTS / "scores.vcf.gz",
        table=RESULTS / "scores.parquet",
        summary=RESULTS / "scores.vcf.gz.summary.json",
    log:
        LOGS / "gather.log",
    benchmark:
        BENCHMARKS / "gather.tsv"
    conda:
        "../../envs/ntvep.yaml"
    params:
        options=INPUT_OPTIONS,
    shell:
        "ntvep gather {input.vcf:q} {input.tables:q} --reference {input.reference:q}"
        " --output {output.vcf:q} --table {output.table:q} --force {params.options} 2> {log:q}"


rule compare:
    input:
        RESULTS / "scores.vcf.gz",
    output:
        RESULTS / "compare.txt",
    log:
        LOGS / "compare.log",
    benchmark:
        BENCHMARKS / "compare.tsv"
    conda:
        "../../envs/ntvep.yaml"
    params:
        groups=options_of(config.get("compare", {}), "positive", "negative"),
    shell:
        "ntvep compare {input:q} {params.groups} > {output:q} 2> {log:q}"
