"""annotated VCF -> one line: how well ``llr`` tells two groups of records apart."""

from itertools import repeat
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from ntvep.commands.inputs import CHUNK_RECORDS
from ntvep.errors import ConfigError, InputError
from ntvep.io import vcf

_RESAMPLES = 1_000
_LLR = "NTVEP_LLR"


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
    labels, scores, blocks = [], [], []
    with vcf.opened(source) as inspection:
        for chunk in vcf.read_chunks(inspection, repeat(CHUNK_RECORDS)):
            for line in chunk.lines:
                chrom, pos, info = vcf.place_and_info(line)
                if positive in info or negative in info:
                    llrs = next((i for i in info if i.startswith(f"{_LLR}=")), f"{_LLR}=.")
                    for value in llrs.partition("=")[2].split(","):
                        if value != ".":
                            labels.append(positive in info)
                            scores.append(-float(value))
                            blocks.append((chrom, pos // block_bases))
    label, score = np.array(labels, bool), np.array(scores)
    if label.all() or not label.any():
        lacking = negative if len(label) and label.all() else positive
        raise InputError(
            f"{source}: no scored allele with {lacking} in INFO; expected a VCF that ntvep score "
            f"annotated with {_LLR}, with both {positive} and {negative}"
        )
    low, high, resampled = _interval(label, score, blocks)
    return (
        f"llr, {label.sum()} alleles with {positive} against {(~label).sum()} with {negative}: "
        f"AUROC {roc_auc_score(label, score):.3f} (95 % interval {low:.3f} to {high:.3f}, "
        f"bootstrap over {resampled} blocks of {block_bases:,} bases). "
        f"Above 0.5: {positive} has the lower llr."
    )


def _interval(
    label: np.ndarray, score: np.ndarray, blocks: list[tuple[str, int]]
) -> tuple[float, float, int]:
    numbers = {block: number for number, block in enumerate(dict.fromkeys(blocks))}
    block = np.array([numbers[b] for b in blocks])
    members = [np.flatnonzero(block == number) for number in range(len(numbers))]
    rng = np.random.default_rng(0)
    values = []
    for _ in range(_RESAMPLES):
        drawn = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        if 0 < label[drawn].sum() < len(drawn):
            values.append(roc_auc_score(label[drawn], score[drawn]))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high), len(members)
