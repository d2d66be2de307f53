"""checkpoint -> the same model in transformers: the second opinion of ``ntvep model check``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from packaging.specifiers import SpecifierSet
from torch import Tensor, nn

from ntvep import dna
from ntvep.errors import ModelError
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.folder import read_config, read_published_state
from ntvep.models.nt import Architecture, NucleotideTransformer

# Their masked logits are wrong for checkpoints with token dropout in padded batches: pads count.
WRONG_TRANSFORMERS = (SpecifierSet(">=4.56.0,<=4.57.6"), SpecifierSet(">=5.0.0,<=5.2.0"))
_AGREEMENT = 5e-4
_UNUSED = re.compile(r"esm\.(contact_head|embeddings\.position_ids)|.*\.inv_freq")


@dataclass(frozen=True)
class Comparison:
    """How far our numbers are from transformers'.

    Attributes:
        logits: largest absolute difference of a logit, masked and unmasked windows, float32.
        ids_equal: whether both tokenise the same sequences to the same ids.
    """

    logits: float
    ids_equal: bool

    @property
    def agrees(self) -> bool:
        """Whether the difference is what another order of float32 operations makes."""
        return self.ids_equal and self.logits <= _AGREEMENT


class SwiGlu(nn.Module):
    """The v2 feed-forward block's first half: SiLU(gate) * value, gate first."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, 2 * inner, bias=False)

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... inner"]:
        """Inner activations."""
        gate, value = self.dense(x).chunk(2, dim=-1)
        inner: Tensor = F.silu(gate) * value
        return inner


def refuse_wrong_transformers(found: str) -> None:
    """Raise ModelError for a release of transformers that computes these models wrongly."""
    if any(wrong.contains(found, prereleases=True) for wrong in WRONG_TRANSFORMERS):
        raise ModelError(
            f"transformers {found} gives wrong masked logits for Nucleotide Transformer v1; "
            "expected 5.3 or newer. Type: pip install -c constraints.txt transformers"
        )


def load_reference(folder: Path) -> Any:
    """Build transformers' ``EsmForMaskedLM`` of a checkpoint: no remote code, float32, CPU.

    v2 checkpoints need their SwiGLU in place of ESM's feed-forward block: the published remote
    code has it, stock transformers has not.

    Raises:
        ModelError: a wrong release of transformers, or a checkpoint that it cannot hold.
    """
    refuse_wrong_transformers(version("transformers"))
    from transformers import EsmConfig, EsmForMaskedLM

    config = read_config(folder)
    config.pop("auto_map", None)
    arch = _architecture(folder)
    model: Any = EsmForMaskedLM(EsmConfig(**config))
    if arch.gated:
        for layer in model.esm.encoder.layer:
            layer.intermediate = SwiGlu(arch.dim, arch.ffn_dim)
            layer.output.dense = nn.Linear(arch.ffn_dim, arch.dim, bias=False)
    state = read_published_state(folder)
    if not arch.learned_positions:
        state.pop("esm.embeddings.position_embeddings.weight", None)
    result = model.load_state_dict(state, strict=False)
    unloaded = [key for key in result.missing_keys if not _UNUSED.match(key)]
    unused = [key for key in result.unexpected_keys if not _UNUSED.match(key)]
    if unloaded or unused:
        raise ModelError(
            f"{folder}: transformers has no place for {unused[:1]} or lacks {unloaded[:1]}"
        )
    return model.eval().requires_grad_(False)


def _architecture(folder: Path) -> Architecture:
    encoder = read_checkpoint(folder).encoder
    if not isinstance(encoder, NucleotideTransformer):
        raise ModelError(f"{folder}: transformers is no second opinion on this family")
    return encoder.arch


def load_tokenizer(folder: Path) -> Any:
    """Transformers' tokenizer of a checkpoint's vocabulary."""
    from transformers import EsmTokenizer

    return EsmTokenizer(  # type: ignore[no-untyped-call]
        str(folder / "vocab.txt"), eos_token=None
    )


def compare(folder: Path) -> Comparison:
    """Run ours and transformers' on the same windows: with an N, with a tail, masked and not."""
    checkpoint = read_checkpoint(folder)
    ours, own = checkpoint.encoder, checkpoint.description.tokenizer
    theirs, tokenizer = load_reference(folder), load_tokenizer(folder)
    mask = int(own.mask or 0)
    rng = np.random.default_rng(0)
    differences, equal = [], True
    # Beside the six-mers: <cls>, an N, and up to five single bases before it and at the end.
    longest = 6 * min(100, checkpoint.description.max_tokens - 13)
    for length in (min(61, longest), longest):
        codes = rng.integers(0, 4, length).astype(np.uint8)
        codes[length // 3] = dna.N
        ids = own.encode(codes).ids.tolist()
        equal &= ids == tokenizer(dna.decode(codes))["input_ids"]
        for masked in ((), (3,), (2, 4, 5)):
            shown = [mask if i in masked else id for i, id in enumerate(ids)]
            differences.append(_largest_difference(ours, theirs, shown))
    # Not Python's max, which loses a NaN.
    return Comparison(float(np.max(differences)), equal)


@torch.inference_mode()
def _largest_difference(ours: Any, theirs: Any, ids: Sequence[int]) -> float:
    batch: Int[Tensor, "1 token"] = torch.tensor([ids])
    mine: Float32[Tensor, "token vocab"] = ours.logits(ours.hidden(batch)[1][0])
    other = theirs(input_ids=batch, attention_mask=torch.ones_like(batch)).logits[0]
    return float((mine - other).abs().max())
