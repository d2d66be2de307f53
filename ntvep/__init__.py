"""VCF -> alleles -> windows -> tokens -> passes -> scores: zero-shot variant effects.

    import ntvep

    table = ntvep.score("in.vcf.gz", reference="GRCh38.fa", model="demo", window_tokens=128)

Scores are for research, not for diagnosis.
"""

from typing import Any

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    """Import on first use: torch takes seconds, and most commands do without it."""
    raise AttributeError(f"module 'ntvep' has no attribute {name!r}")
