"""files -> tables and back: the only room that knows of VCF, FASTA, Parquet and htslib."""
