"""VCF -> alleles -> windows -> tokens -> passes -> scores: zero-shot variant effects.

    import ntvep

    model = ntvep.load("demo")
    table = model.score("in.vcf.gz", reference="GRCh38.fa", scores="llr,cosine_distance")

Scores are for research, not for diagnosis.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ntvep.api import Model, load, scan
    from ntvep.commands.options import Options
    from ntvep.errors import NtvepError

    __version__: str

__all__ = ["Model", "NtvepError", "Options", "__version__", "load", "scan"]

_HOMES = {
    "Model": "ntvep.api",
    "NtvepError": "ntvep.errors",
    "Options": "ntvep.commands.options",
    "load": "ntvep.api",
    "scan": "ntvep.api",
}


def __getattr__(name: str) -> Any:
    """Import on first use: torch takes seconds, and most commands do without it."""
    if name == "__version__":
        return import_module("importlib.metadata").version("ntvep")
    if name == "score":
        raise AttributeError(
            "ntvep.score(vcf, reference, model) is gone; load the model once and ask it: "
            "ntvep.load(model).score(vcf, reference=reference)"
        )
    if name not in _HOMES:
        raise AttributeError(f"module 'ntvep' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
