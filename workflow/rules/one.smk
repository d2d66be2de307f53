# One VCF, one model: contiguous chunks, gathered in order.
SCORED = [
    RESULTS / "scores.vcf.gz",
    RESULTS / "scores.parquet",
    *([RESULTS / "compare.txt"] if "compare" in config else []),
]
SCORES = RESULTS / "scores"


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
        "../envs/ntvep.yaml"
    params:
        model=quote(config["model"]),
        options=options_of(
            config, "on_bad_record", *WINDOW, "max_allele_bases", "ref_mismatch_limit"
        ),
    shell:
        "ntvep variants {input.vcf:q} --reference {input.reference:q} --model {params.model}"
        " --output {output:q} --force {params.options} 2> {log:q}"


rule split:
    input:
        vcf=config["vcf"],
        checked=RESULTS / "alleles.parquet",
    output:
        expand(CHUNK_FOLDER / "{chunk}.vcf.gz", chunk=CHUNKS),
    log:
        LOGS / "split.log",
    benchmark:
        BENCHMARKS / "split.tsv"
    conda:
        "../envs/ntvep.yaml"
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        chunks=config["chunks"],
        options=INPUT_OPTIONS,
    shell:
        "ntvep split {input.vcf:q} --output {params.folder:q} --chunks {params.chunks}"
        " {params.options} 2> {log:q}"


rule gather:
    input:
        vcf=config["vcf"],
        reference=config["reference"],
        tables=expand(HERE / "chunks" / "{chunk}.parquet", chunk=CHUNKS),
    output:
        vcf=RESULTS / "scores.vcf.gz",
        table=RESULTS / "scores.parquet",
        summary=RESULTS / "scores.vcf.gz.summary.json",
    log:
        LOGS / "gather.log",
    benchmark:
        BENCHMARKS / "gather.tsv"
    conda:
        "../envs/ntvep.yaml"
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
        "../envs/ntvep.yaml"
    params:
        groups=options_of(config.get("compare", {}), "positive", "negative"),
    shell:
        "ntvep compare {input:q} {params.groups} > {output:q} 2> {log:q}"
