"""VCF -> alleles -> windows -> tokens -> passes -> scores: zero-shot variant effects.

    import ntvep

    table = ntvep.score("in.vcf.gz", reference="GRCh38.fa", model="demo", window_tokens=128)

Scores are for research, not for diagnosis.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ntvep.commands.score import score

__all__ = ["score"]


def __getattr__(name: str) -> Any:
    """Import on first use: torch takes seconds, and most commands do without it."""
    if name != "score":
        raise AttributeError(f"module 'ntvep' has no attribute {name!r}")
    from ntvep.commands.score import score

    return score
