"""what was judged, and how -> the paragraphs of methods that a paper can take over."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from ntvep.evaluate import metrics, uncertainty
from ntvep.evaluate.analysis import Analysis
from ntvep.provenance import Provenance


def methods(
    models: Mapping[str, Provenance | None],
    releases: pl.DataFrame,
    analyses: Sequence[Analysis],
    software: Mapping[str, str],
) -> Iterator[str]:
    """Paragraphs, with every version, count and seed on which the numbers depend.

    Args:
        models: provenance of the scores by the model's name in the report.
        releases: ``source``, ``positives``, ``negatives``, ``unlabelled`` of the labels as given.
        analyses: of the sets of labels.
        software: versions by name.
    """
    yield "Scores. " + " ".join(_scored(name, made) for name, made in models.items())
    yield "Labels. " + "; ".join(
        f"{row['source']}: {row['positives']:,} positives, {row['negatives']:,} negatives and "
        f"{row['unlabelled']:,} without a label"
        for row in releases.iter_rows(named=True)
    ) + "." + "".join(_judged(analysis) for analysis in analyses)  # fmt: skip
    named = ", ".join(f"{name} {version}" for name, version in software.items())
    yield (
        "Statistics. AUROC and average precision (AUPRC) are computed as scikit-learn does, rank "
        "correlations as scipy does. 95 % intervals of AUROC, AUPRC and paired differences are by "
        "deletion of one cluster after the other, on the logit scale, with quantiles of Student's "
        "t for the effective number of clusters (Kish) of the scarcer class less one; there is no "
        f"interval with fewer than {uncertainty.FEWEST_CLUSTERS:.0f} effective clusters of a "
        f"class, and no number with fewer than {metrics.TOO_FEW} variants of one. Bands of curves, "
        "sensitivities, correlations and calibration have percentiles of "
        f"{metrics.RESAMPLES:,} resamples of whole clusters (seed {metrics.SEED}; matched "
        "negatives, if any were drawn, seed 0). Which way each score points was fixed before "
        f"labels were read. Software: {named}."
    )


def _scored(name: str, made: Provenance | None) -> str:
    if made is None:
        return f"{name}: what made these scores is not known."
    model = made.model
    revision = f", revision {model.revision}" if model.revision else ""
    return (
        f"Scores of {model.model_id}{revision} (SHA-256 of the weights "
        f"{model.weights_sha256[:16]}) were computed with ntvep {made.version} on "
        f"{made.reference or 'a reference that is not named'} ({made.how()}; {model.precision} on "
        f"{model.device}; fingerprint {made.fingerprint})."
    )


def _judged(analysis: Analysis) -> str:
    return (
        f" Of {analysis.name}, {analysis.positives:,} positives and {analysis.negatives:,} "
        f"negatives are among the scores; clusters are {analysis.clusters}."
    )
