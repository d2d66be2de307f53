"""figures that others have published, on other data -> a table to print beside ours."""

import polars as pl

_MISSENSE = "ClinVar missense, pathogenic against benign"
_ROWS = (
    (_MISSENSE, "AUROC", None, "NT-2.5b-multi", 0.599, "GPN-Star"),
    (_MISSENSE, "AUROC", None, "mutation rate", 0.582, "GPN-Star"),
    (_MISSENSE, "AUROC", None, "phyloP", 0.855, "GPN-Star"),
    (_MISSENSE, "AUROC", None, "CADD", 0.914, "GPN-Star"),
    (_MISSENSE, "AUROC", None, "GPN-Star", 0.928, "GPN-Star"),
    ("Mendelian regulatory variants", "AUPRC", 0.10, "NT-2.5b, LLR", 0.120, "TraitGym"),
    ("Mendelian regulatory variants", "AUPRC", 0.10, "NT-2.5b, L2", 0.188, "TraitGym"),
    ("Mendelian regulatory variants", "AUPRC", 0.10, "NT-2.5b, cosine", 0.186, "TraitGym"),
    ("Mendelian regulatory variants", "AUPRC", 0.10, "GPN-MSA", 0.694, "TraitGym"),
    ("Mendelian regulatory variants", "AUPRC", 0.10, "CADD", 0.712, "TraitGym"),
    ("caQTL", "AUROC", None, "NT-v2-500m, likelihood", 0.525, "DART-Eval"),
    ("dsQTL", "AUROC", None, "NT-v2-500m, likelihood", 0.469, "DART-Eval"),
    ("caQTL", "AUROC", None, "NT-v2-500m, embedding", 0.519, "DART-Eval"),
    ("dsQTL", "AUROC", None, "NT-v2-500m, embedding", 0.613, "DART-Eval"),
    ("GTEx eQTL", "AUROC", None, "NT-v2", 0.609, "Feng"),
    ("GTEx eQTL", "AUROC", None, "AlphaGenome", 0.803, "Feng"),
    ("all of ClinVar", "AUROC", None, "consequence rule", 0.971, "VEP-eval"),
    ("all of ClinVar", "AUROC", None, "Evo2-40B", 0.973, "VEP-eval"),
    ("all of ClinVar", "AUROC", None, "NTv3-pre", 0.907, "VEP-eval"),
)  # fmt: skip
_SOURCES = {
    "GPN-Star": "the analysis published with GPN-Star",
    "TraitGym": "the TraitGym benchmark",
    "DART-Eval": "the DART-Eval benchmark, June 2024",
    "Feng": "Feng et al. 2025, Nature Communications",
    "VEP-eval": "the VEP-eval benchmark",
}

PUBLISHED = pl.DataFrame(
    [(*row[:-1], _SOURCES[row[-1]]) for row in _ROWS],
    schema={
        "benchmark": pl.String,
        "metric": pl.String,
        "chance": pl.Float64,
        "model": pl.String,
        "value": pl.Float64,
        "source": pl.String,
    },
    orient="row",
)
