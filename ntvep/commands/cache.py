"""known scores -> a summary, fewer files, or a table for others: ``ntvep cache``."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ntvep.errors import ConfigError
from ntvep.io import cache
from ntvep.io.staging import staged

_log = logging.getLogger("ntvep")


def info(folder: Path) -> str:
    """What a cache holds, a paragraph for each fingerprint.

    Raises:
        InputError: the folder is not a cache, or a shard is damaged.
    """
    kinds: dict[str, list[cache.Shard]] = {}
    for shard in cache.shards(folder):
        kinds.setdefault(shard.identity.fingerprint, []).append(shard)
    return "\n\n".join(map(_paragraph, kinds.values())) or f"{folder}: no scores yet"


def _paragraph(shards: Sequence[cache.Shard]) -> str:
    widest = cache.widest_last(shards)[-1]
    model, settings = widest.identity.model, widest.identity.settings
    size = sum(shard.path.stat().st_size for shard in shards)
    lines = {
        "fingerprint": widest.identity.fingerprint,
        "model": f"{model.model_id}, revision {model.revision or '(none)'}",
        "computed in": f"{model.precision} on {model.device}",
        "windows": f"{settings.window_bases} bases, {settings.views} views",
        "embeddings": f"layer {'last' if settings.layer is None else settings.layer}, "
        f"pool {settings.pool}",
        "scores": ", ".join(widest.columns),
        "alleles": f"{sum(shard.rows for shard in shards):,} in {len(shards)} files, "
        f"{size / 1e6:,.1f} MB",
    }
    return "\n".join(f"{name:<12} {value}" for name, value in lines.items())


def merge_caches(folder: Path, others: Sequence[Path]) -> None:
    """Merge the shards of a cache, and those of others into it.

    Raises:
        InputError: a folder is not a cache, or a shard is damaged.
    """
    before = len(list(cache.shards(folder)))
    cache.merge(folder, others)
    after = list(cache.shards(folder))
    _log.info(
        "%s: %d files merged into %d, with scores of %d alleles",
        folder,
        before,
        len(after),
        sum(shard.rows for shard in after),
    )


def export(folder: Path, output: Path, fingerprint: str | None, *, force: bool) -> None:
    """Write the known scores of one fingerprint as a table, sorted by place.

    Args:
        folder: the cache.
        output: .parquet or .tsv, with the columns of ``ntvep.schema.KNOWN_KEY`` and the scores.
        fingerprint: which; None if there is only one.
        force: replace an output that exists.

    Raises:
        ConfigError: there are several fingerprints and none was chosen, or the suffix is unknown.
    """
    if output.suffix not in (".parquet", ".tsv"):
        raise ConfigError(f"--output {output}: expected a name that ends in .parquet or .tsv")
    identity = cache.the_identity(folder, fingerprint)
    with staged([output], force=force) as staging:
        cache.export(folder, identity, staging.path(output))
    _log.info("%s: known scores of fingerprint %s", output, identity.fingerprint)
