"""model name -> what it is: ``ntvep model info``, ``check`` and ``fetch``."""

from ntvep.errors import ModelError
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.fetch import fetch
from ntvep.models.hub import licence, locate


def model_info(model: str) -> dict[str, str]:
    """What a checkpoint is and says of itself, ready to print."""
    source = locate(model)
    checkpoint = read_checkpoint(source.folder)
    family, description = checkpoint.family, checkpoint.description
    tokenizer = description.tokenizer
    unit = f" ({description.default_bases // tokenizer.stride} tokens)"
    return {
        "model": source.model_id,
        "family": family.title,
        "folder": str(source.folder),
        "revision": source.revision or "unknown",
        "objective": description.objective,
        "tokenizer": f"{tokenizer.kind}, {len(tokenizer.terms)} ids",
        "layers": f"{checkpoint.encoder.layers}, width {checkpoint.encoder.dim}",
        "parameters": f"{checkpoint.parameters:,}",
        "default window": f"{description.default_bases:,} bases"
        + (unit if tokenizer.kind == "kmer" else ""),
        "trained window": f"up to {description.trained_bases:,} bases",
        "longest input": f"{description.max_tokens:,} tokens, special ones included",
        "authors' score": family.authors,
        "weights sha256": checkpoint.weights_sha256,
        "licence": licence(source),
        "licence as published": family.licence,
    }


def model_check(model: str) -> str:
    """Compare our numbers for a checkpoint with those of transformers' own implementation.

    Raises:
        ModelError: they differ by more than float32 explains.
    """
    # Here and not above: transformers takes seconds to import, and only this command needs it.
    from ntvep.models.second_opinion import compare

    source = locate(model)
    found = compare(source.folder)
    verdict = (
        f"{source.model_id}: largest difference of a logit {found.logits:.1e}, token ids "
        f"{'equal' if found.ids_equal else 'differ'}"
    )
    if not found.agrees:
        raise ModelError(
            f"{verdict}; expected the numbers of transformers. Do not use this checkpoint's scores"
        )
    return f"{verdict}: agrees with transformers"


def model_fetch(model: str, revision: str | None) -> str:
    """Put a model in place; see :func:`ntvep.models.fetch.fetch`."""
    source = fetch(model, revision)
    return (
        f"{source.model_id} at {source.revision or 'no revision'}: {source.folder}\n"
        f"licence: {licence(source)}"
    )
