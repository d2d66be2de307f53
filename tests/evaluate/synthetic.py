"""Scores and labels of variants that were never there, as files that ntvep wrote."""

from pathlib import Path

import numpy as np
import polars as pl

from ntvep.io.tables import table_writer
from ntvep.provenance import Provenance, fingerprint
from ntvep.schema import LABELS, SCORE_COLUMNS, Column, Status, score_schema
from ntvep.settings import Settings
from tests.toy import identity

TERMS = ("stop_gained", "missense_variant", "synonymous_variant", "intron_variant")


def variants(n: int = 600, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """SCORES (llr, cosine_distance) and LABELS of the same SNVs and indels; llr knows the label."""
    rng = np.random.default_rng(seed)
    term = rng.integers(0, len(TERMS), n)
    label = rng.random(n) < np.array([0.9, 0.5, 0.1, 0.1])[term]
    evidence = label + rng.normal(size=n)
    snv = rng.random(n) < 0.8
    alleles = {
        "chrom": np.where(np.arange(n) < n // 2, "chr20", "chr22"),
        "pos": 1_000 + 7 * np.arange(n),
        "ref": np.where(snv, "A", "CAG"),
        "alt": np.where(snv, "G", "C"),
    }
    scored = rng.random(n) < 0.97
    scores = pl.DataFrame(
        {
            "record": np.arange(n),
            "allele": np.ones(n),
            **alleles,
            "status": np.where(scored, Status.OK.value, Status.TOO_MANY_N.value),
            "llr": -evidence,
            "cosine_distance": np.exp(evidence / 2 + rng.normal(size=n)),
            "frameshifted": ~snv,
        }
    )
    columns = score_schema(("llr", "cosine_distance"), False)
    scores = scores.select(
        pl.when(pl.col("status") == Status.OK).then(c.name).alias(c.name).cast(c.dtype)
        if c.nullable
        else pl.col(c.name).cast(c.dtype)
        for c in columns
    )
    labels = pl.DataFrame(
        {
            **alleles,
            "label": label,
            "effect": evidence + rng.normal(size=n),
            "group": [f"GENE{number}" for number in rng.integers(0, 60, n)],
            "consequence": np.array(TERMS)[term],
            "stars": rng.integers(0, 4, n),
            "source": ["ClinVar 2026-11-01"] * n,
        }
    ).select(pl.col(c.name).cast(c.dtype) for c in LABELS)
    return scores, labels.with_columns(AF=pl.Series(rng.random(n) * np.exp(-evidence)))


def provenance(model: str = "NT", weights: str = "a") -> Provenance:
    """Of scores by a model with these weights."""
    made_by = identity(model, weights_sha256=weights * 64)
    settings = Settings(scores=("llr", "cosine_distance"))
    return Provenance(
        "0.1.0",
        "ntvep score in.vcf",
        made_by,
        settings,
        "GRCh38.fa",
        {"chr20": "0" * 32},
        fingerprint(made_by, settings),
    )


def write_scores(path: Path, scores: pl.DataFrame, made: Provenance | None = None) -> Path:
    """As ``ntvep score --table`` writes it."""
    names = tuple(name for name in SCORE_COLUMNS if name in scores.columns)
    made = made or provenance()
    summary = f'{{"fingerprint": "{made.fingerprint}"}}'
    with table_writer(path, score_schema(names, False), made.to_json(), lambda: summary) as write:
        write(scores)
    return path


def write_labels(path: Path, labels: pl.DataFrame) -> Path:
    """As ``ntvep labels`` writes it."""
    features = [
        Column(name, pl.Float64(), "", "", nullable=True) for name in labels.columns[len(LABELS) :]
    ]
    with table_writer(path, (*LABELS, *features), "{}", lambda: "{}") as write:
        write(labels)
    return path
