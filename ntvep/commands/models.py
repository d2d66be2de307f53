"""model name -> what it is: ``ntvep model info``, ``check`` and ``fetch``."""

from ntvep import tokens
from ntvep.model.hub import locate
from ntvep.model.load import read_checkpoint
from ntvep.windows import K

# Float32 on another implementation's order of operations; see docs/scores.md.
_AGREEMENT = 5e-4


def model_info(model: str) -> dict[str, str]:
    """What a checkpoint says of itself, ready to print."""
    source = locate(model)
    checkpoint, _ = read_checkpoint(source.folder)
    tokens.vocabulary(checkpoint.tokens)
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
        "licence": licence(source.model_id, source.folder),
    }
