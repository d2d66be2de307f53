"""annotated VCF -> one line: how well ``llr`` tells two groups of records apart."""

from itertools import repeat
from pathlib import Path

import polars as pl

from ntvep.commands.inputs import CHUNK_RECORDS
from ntvep.errors import ConfigError, InputError
from ntvep.evaluate import metrics
from ntvep.io import vcf
from ntvep.io.vcf_scores import values_of_groups
from ntvep.schema import SCORE_COLUMNS

_LLR = SCORE_COLUMNS["llr"]


def compare_groups(source: Path, positive: str, negative: str, *, block_bases: int) -> str:
    """AUROC of ``-llr`` for one group of records against another, with a 95 % interval.

    The sign is fixed beforehand: a lower ``llr`` (ALT less likely) counts for the positive group.
    The interval is that of a bootstrap over blocks of the genome (percentiles 2.5 and 97.5 of
    1,000 resamples, seeded): neighbours share windows, so single variants are not independent.

    Args:
        source: a VCF with NTVEP_LLR.
        positive: ``INFO_KEY=value`` of one group.
        negative: ``INFO_KEY=value`` of the other.
        block_bases: length of a block.

    Raises:
        InputError: a group has no scored allele.
        ConfigError: a group is not of the form ``INFO_KEY=value``.
    """
    for name, group in (("--positive", positive), ("--negative", negative)):
        if not group.partition("=")[2]:
            raise ConfigError(f"{name} is {group!r}; expected INFO_KEY=value")
    with vcf.opened(source) as inspection:
        chunks = vcf.read_chunks(inspection, repeat(CHUNK_RECORDS))
        parts = [values_of_groups(chunk.lines, _LLR, positive, negative) for chunk in chunks]
    # Without a record there is no chunk.
    found = pl.concat([values_of_groups((), _LLR, positive, negative), *parts])
    table = found.select("chrom", "pos", label="is_first", score=-pl.col("value"))
    label = table["label"].to_numpy()
    if label.all() or not label.any():
        lacking = negative if len(label) and label.all() else positive
        raise InputError(
            f"{source}: no scored allele with {lacking} in INFO; expected a VCF that ntvep score "
            f"annotated with {_LLR.vcf}, with both {positive} and {negative}"
        )
    clusters = metrics.clusters(table, block_bases=block_bases)
    data = metrics.ranked(label, table["score"].to_numpy(), clusters)
    auroc = metrics.discrimination(data).auroc
    return (
        f"llr, {data.positives} alleles with {positive} against {data.negatives} with {negative}: "
        f"AUROC {auroc.value:.3f} ({metrics.in_words(auroc.low, auroc.high, '95 % interval ')}, "
        f"bootstrap over {clusters.choice}). Above 0.5: {positive} has the lower llr."
    )
