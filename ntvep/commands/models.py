"""model name -> what it is: ``ntvep model info``, ``check`` and ``fetch``."""

from ntvep.errors import ModelError
from ntvep.models.fetch import fetch
from ntvep.models.hub import licence, locate
from ntvep.models.load import read_checkpoint
from ntvep.windows import K


def model_info(model: str) -> dict[str, str]:
    """What a checkpoint says of itself, ready to print."""
    source = locate(model)
    checkpoint, _ = read_checkpoint(source.folder)
    arch = checkpoint.arch
    window = arch.max_tokens - 1
    positions = "learned" if arch.learned_positions else "rotary"
    block = "SwiGLU" if arch.gated else "GELU"
    return {
        "model": source.model_id,
        "folder": str(source.folder),
        "revision": source.revision or "unknown",
        "layers": f"{arch.layers}, width {arch.dim}, {arch.heads} heads",
        "feed-forward": f"{block}, width {arch.ffn_dim}, biases: {arch.ffn_bias}",
        "positions": positions,
        "token dropout": "yes" if arch.token_dropout else "no",
        "layer norm eps": f"{arch.layer_norm_eps:g}",
        "parameters": f"{checkpoint.parameters:,}",
        "window": f"up to {window} tokens ({window * K:,} bases) and <cls>",
        "vocabulary": f"{arch.vocab_size} tokens",
        "weights sha256": checkpoint.weights_sha256,
        "licence": licence(source),
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
