#!/usr/bin/env bash
# The whole mission on two samples, offline: recipes/demo.sh [CORES], in the root of a clone.
set -euo pipefail
cores=${1:-2}
results=results/demo

say() { printf '\n%s\n' "$*"; }

say "Two samples (simulated genotypes) of 670 records of chr22, two small models that come with ntvep.
Each distinct variant is scored once; then each VCF is annotated, and the scores are judged by labels:
common dbSNP variants against simulated ones. It takes up to three minutes; details: $results/logs"
run() { snakemake --cores "$cores" --configfile .test/config/config.yaml --quiet rules host -- "$@"; }
say "1. Scores of the distinct variants, with each model"
run $results/demo/alleles.parquet $results/demo-6mer/alleles.parquet
say "2. Each sample's VCF annotated, a page for each, and the report"
run
say "3. A picture: the scores of all SNVs of 40 bases, and the bases that the model expects there."
ntvep scan --quiet --force --region chr22:20100000-20100039 --model demo --views 1 --scores llr,entropy \
    --device cpu --reference ntvep/demo/chr22_20012478_20215143.grch38.fa.gz --output $results/scan.vcf.gz \
    --table $results/scan.parquet
ntvep picture $results/scan.parquet --output $results/scan.svg --force
say "Results:
  $results/report/index.html          how well each model tells simulated variants from observed ones
  $results/scan.svg                   the picture
  $results/demo/pages/sample_a.html   a sample's variants, ranked and searchable, with the labels
  $results/demo/sample_a.vcf.gz       a sample, annotated (bgzip, indexed); demo-6mer/ has the other model's
  $results/demo/alleles.parquet       every distinct allele, its scores, and how many samples have it
  $results/demo/samples.tsv           counts of each sample
  $results/logs                       what each step said
The scores are for research, not for diagnosis; these models show that everything works, and have no scientific value."
