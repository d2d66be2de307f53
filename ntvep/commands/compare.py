"""annotated VCF -> one line: how well ``llr`` tells two groups of records apart."""

from dataclasses import replace
from itertools import repeat
from pathlib import Path

import polars as pl

from ntvep.commands.inputs import CHUNK_RECORDS
from ntvep.errors import ConfigError
from ntvep.evaluate import metrics
from ntvep.io import vcf
from ntvep.io.vcf_scores import refuse_other_tags, values_of_groups
from ntvep.schema import SCORE_COLUMNS, tagged_key

_LLR = SCORE_COLUMNS["llr"]
_GENES = "GENEINFO"


def compare_groups(source: Path, positive: str, negative: str, tag: str = "") -> str:
    """AUROC of ``-llr`` for one group of records against another, with a 95 % interval.

    The sign is fixed beforehand: a lower ``llr`` (ALT less likely) counts for the positive group.
    Clusters and the rule for too few are those of ``ntvep evaluate``: genes where INFO has
    GENEINFO, else blocks of 1 Mb; fewer than 10 alleles of a group give no number.

    Args:
        source: a VCF with NTVEP_LLR.
        positive: ``INFO_KEY=value`` of one group.
        negative: ``INFO_KEY=value`` of the other.
        tag: of the run whose scores are compared; empty for one without.

    Raises:
        InputError: the VCF only has scores of other tags.
        ConfigError: a group is not of the form ``INFO_KEY=value``.
    """
    for name, group in (("--positive", positive), ("--negative", negative)):
        if not group.partition("=")[2]:
            raise ConfigError(f"{name} is {group!r}; expected INFO_KEY=value")
    data, clusters = _scored(source, positive, negative, tag)
    counts = (
        f"llr, {data.positives} alleles with {positive} against {data.negatives} with {negative}: "
    )
    if not data.is_enough:
        return (
            f"{counts}too few for an AUROC, which needs {metrics.TOO_FEW} scored alleles of each "
            f"(those with {tagged_key(_LLR.vcf, tag)} in INFO)"
        )
    found = metrics.discrimination(data)
    auroc, support = found.auroc, found.support
    interval = metrics.in_words(auroc.low, auroc.high, "95 % interval ")
    effective = f"{support.positives:.1f} and {support.negatives:.1f} effective"
    return (
        f"{counts}AUROC {auroc.value:.3f} ({interval}; {clusters}, {effective}). "
        f"Above 0.5: {positive} has the lower llr."
    )


def _scored(source: Path, positive: str, negative: str, tag: str) -> tuple[metrics.Ranked, str]:
    """The scored alleles of both groups, and what their clusters are."""
    column = replace(_LLR, vcf=tagged_key(_LLR.vcf, tag))
    with vcf.opened(source) as inspection:
        refuse_other_tags(inspection, tag)
        chunks = vcf.read_chunks(inspection, repeat(CHUNK_RECORDS))
        parts = [
            values_of_groups(chunk.lines, column, positive, negative, [_GENES]) for chunk in chunks
        ]
    # Without a record there is no chunk.
    found = pl.concat([values_of_groups((), column, positive, negative, [_GENES]), *parts])
    group = pl.col(_GENES).alias("group")
    table = found.select("chrom", "pos", group, label="is_first", score=-pl.col("value"))
    clusters = metrics.clusters(table)
    label = table["label"].to_numpy().astype(bool)
    return metrics.ranked(label, table["score"].to_numpy(), clusters), clusters.choice
