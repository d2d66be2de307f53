# Contiguous chunks, known before anything runs: one scoring job each, gathered in order.
CHUNKS = [f"{number:05d}" for number in range(config["chunks"])]


def options(*names):
    """Command-line options for the configuration keys that are set."""
    given = ((name, config[name]) for name in names if config.get(name) is not None)
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in given)


INPUT_OPTIONS = options("on_bad_record")
ALLELE_OPTIONS = options(
    "views", "window_tokens", "max_allele_bases", "max_n_fraction", "ref_mismatch_limit"
)
MODEL_OPTIONS = options("scores", "layer", "pool", "device", "precision", "batch_size")


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
    shell:
        "ntvep variants {input.vcf} --reference {input.reference} --output {output} --force"
        " {INPUT_OPTIONS} {ALLELE_OPTIONS} 2> {log}"


rule split:
    input:
        vcf=config["vcf"],
        checked=RESULTS / "alleles.parquet",
    output:
        expand(RESULTS / "chunks" / "{chunk}.vcf.gz", chunk=CHUNKS),
    params:
        folder=RESULTS / "chunks",
        chunks=config["chunks"],
    log:
        LOGS / "split.log",
    benchmark:
        BENCHMARKS / "split.tsv"
    shell:
        "ntvep split {input.vcf} --output {params.folder} --chunks {params.chunks}"
        " {INPUT_OPTIONS} 2> {log}"


rule score:
    input:
        vcf=RESULTS / "chunks" / "{chunk}.vcf.gz",
        reference=config["reference"],
    output:
        RESULTS / "chunks" / "{chunk}.parquet",
    params:
        model=config["model"],
    log:
        LOGS / "score" / "{chunk}.log",
    benchmark:
        BENCHMARKS / "score" / "{chunk}.tsv"
    resources:
        gpu=1,
    shell:
        "ntvep score {input.vcf} --reference {input.reference} --model {params.model}"
        " --output {output} --force {ALLELE_OPTIONS} {MODEL_OPTIONS} 2> {log}"


rule gather:
    input:
        vcf=config["vcf"],
        tables=expand(RESULTS / "chunks" / "{chunk}.parquet", chunk=CHUNKS),
    output:
        vcf=RESULTS / "scores.vcf.gz",
        table=RESULTS / "scores.parquet",
        summary=RESULTS / "scores.vcf.gz.summary.json",
    log:
        LOGS / "gather.log",
    benchmark:
        BENCHMARKS / "gather.tsv"
    shell:
        "ntvep gather {input.vcf} {input.tables} --output {output.vcf} --table {output.table}"
        " --force {INPUT_OPTIONS} 2> {log}"
