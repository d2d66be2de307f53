"""checkpoint -> the same model in transformers: the second opinion of ``ntvep model check``."""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from ntvep.models.checkpoint import Checkpoint, read_checkpoint
from ntvep.models.folder import read_config, read_published_state
from ntvep.models.native import Native
from ntvep.models.nt import Architecture, NucleotideTransformer

# Their masked logits are wrong for checkpoints with token dropout in padded batches: pads count.
WRONG_TRANSFORMERS = (SpecifierSet(">=4.56.0,<=4.57.6"), SpecifierSet(">=5.0.0,<=5.2.0"))
_AGREEMENT = 5e-4
_UNUSED = re.compile(
    r"esm\.contact_head.*|.*\.position_ids|.*\.inv_freq|.*\.attn\.(masked_)?bias"
    r"|bert\.pooler\..*|cls\.seq_relationship\..*"
)
# The class of transformers that computes what a network of our own computes, by family.
_SAME_NETWORK = {"dnabert": "BertForMaskedLM", "moderngena": "ModernBertForMaskedLM"}
# Tokens of the windows that are compared.
_SHORT, _LONG = 12, 100


@dataclass(frozen=True)
class Comparison:
    """How far our numbers are from transformers'.

    Attributes:
        logits: largest absolute difference of a logit, masked and unmasked windows, float32.
        ids_equal: whether both tokenise the same sequences to the same ids; None where transformers
            has no tokenizer for the folder's files.
    """

    logits: float
    ids_equal: bool | None

    @property
    def agrees(self) -> bool:
        """Whether the difference is what another order of float32 operations makes."""
        return self.ids_equal is not False and self.logits <= _AGREEMENT


@dataclass(frozen=True)
class Reference:
    """A checkpoint as transformers loads it.

    Attributes:
        model: in evaluation mode, float32, on the CPU.
        ids: its tokenizer; None where it has none for the folder's files.
    """

    model: Any
    ids: Callable[[str], list[int]] | None


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
    code has it, stock transformers does not.

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
    _refuse_random_weights(folder, result.missing_keys, result.unexpected_keys)
    return model.eval().requires_grad_(False)


def _refuse_random_weights(folder: Path, missing: Sequence[str], unexpected: Sequence[str]) -> None:
    unloaded = [key for key in sorted(missing) if not _UNUSED.fullmatch(key)]
    unused = [key for key in sorted(unexpected) if not _UNUSED.fullmatch(key)]
    if unloaded or unused:
        raise ModelError(
            f"{folder}: transformers has no place for {unused[:1]} or lacks {unloaded[:1]}"
        )


def _architecture(folder: Path) -> Architecture:
    encoder = read_checkpoint(folder).encoder
    if not isinstance(encoder, NucleotideTransformer):
        raise ModelError(
            f"{folder}: transformers' EsmForMaskedLM cannot give a second opinion on it"
        )
    return encoder.arch


def load_tokenizer(folder: Path) -> Any:
    """Transformers' tokenizer of a checkpoint's vocabulary."""
    from transformers import EsmTokenizer

    return EsmTokenizer(  # type: ignore[no-untyped-call]
        str(folder / "vocab.txt"), eos_token=None
    )


def reference(checkpoint: Checkpoint) -> Reference | None:
    """A checkpoint as transformers' own class loads it; None where transformers has no such class.

    Nothing of the folder is run, and nothing is asked of a network.

    Raises:
        ModelError: transformers cannot hold the checkpoint, or not all of it.
    """
    folder, name = checkpoint.folder, checkpoint.family.name
    if isinstance(checkpoint.encoder, NucleotideTransformer):
        # In this order: a wrong release of transformers is refused before it is used.
        model, tokenizer = load_reference(folder), load_tokenizer(folder)
        return Reference(model, lambda text: _ids(tokenizer, text))
    if isinstance(checkpoint.encoder, Native):
        auto = "Causal" if checkpoint.encoder.objective == "causal" else "Masked"
        return Reference(_whole(folder, f"AutoModelFor{auto}LM"), _tokenizer_of_file(folder))
    if name not in _SAME_NETWORK:
        return None
    ids = _tokenizer_of_file(folder)
    k = checkpoint.description.tokenizer.coverage
    if ids is None and checkpoint.description.tokenizer.kind == "overlapping":
        ids = _overlapping(folder, k)
    return Reference(_whole(folder, _SAME_NETWORK[name]), ids)


def _whole(folder: Path, kind: str) -> Any:
    """A checkpoint read by transformers itself, if it finds a place for every tensor."""
    import transformers

    with _quiet():
        try:
            model, found = getattr(transformers, kind).from_pretrained(
                str(folder),
                dtype=torch.float32,
                attn_implementation="eager",
                trust_remote_code=False,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
            problem = " ".join(str(error).split())[:300]
            raise ModelError(f"{folder}: transformers' {kind} cannot read it: {problem}") from error
    missing = [*found["missing_keys"], *(str(key[0]) for key in found["mismatched_keys"])]
    _refuse_random_weights(folder, missing, [*found["unexpected_keys"]])
    return model.eval().requires_grad_(False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar of progress and its advice."""
    from transformers.utils import logging as of_transformers

    theirs: Any = of_transformers
    level, bar = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity(logging.ERROR)
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if bar:
            theirs.enable_progress_bar()


def _ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text)["input_ids"]
    return found


def _tokenizer_of_file(folder: Path) -> Callable[[str], list[int]] | None:
    """The tokenizer of tokenizer.json as transformers runs it, if the folder has one."""
    from transformers import PreTrainedTokenizerFast

    path = folder / "tokenizer.json"
    if not path.exists():
        return None
    kind: Any = PreTrainedTokenizerFast
    tokenizer = kind(tokenizer_file=str(path))
    return lambda text: _ids(tokenizer, text)


def _overlapping(folder: Path, k: int) -> Callable[[str], list[int]]:
    """BERT's tokenizer of words; they are the k-mers, as its users have to write them."""
    from transformers import BertTokenizer

    tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=False)
    return lambda text: _ids(tokenizer, " ".join(text[i : i + k] for i in range(len(text) - k + 1)))


def compare(folder: Path) -> Comparison | None:
    """Run ours and transformers' on the same windows: with an N, with a tail, masked and not.

    Returns:
        The differences; None where transformers has no class for it.

    Raises:
        ModelError: transformers cannot hold the checkpoint, or not all of it.
    """
    checkpoint = read_checkpoint(folder)
    theirs = reference(checkpoint)
    if theirs is None:
        return None
    own = checkpoint.description.tokenizer
    rng = np.random.default_rng(0)
    differences, equal = [], None if theirs.ids is None else True
    for length in _lengths(checkpoint):
        codes = rng.integers(0, 4, length).astype(np.uint8)
        codes[length // 3] = dna.N
        ids = own.encode(codes).ids.tolist()
        if theirs.ids is not None:
            equal = equal and ids == theirs.ids(dna.decode(codes))
        differences.append(_largest_difference(checkpoint.encoder, theirs.model, ids))
        for masked in ((3,), (2, 4, 5)):
            if own.mask is None:
                break
            shown = [own.mask if i in masked else id for i, id in enumerate(ids)]
            differences.append(_largest_difference(checkpoint.encoder, theirs.model, shown))
    # Not Python's max, which loses a NaN.
    return Comparison(float(np.max(differences)), equal)


def _lengths(checkpoint: Checkpoint) -> tuple[int, int]:
    """Bases of a short window with a tail, and of a longer one; both fit the model."""
    tokenizer = checkpoint.description.tokenizer
    stride = tokenizer.stride
    # Beside the k-mers: special tokens, an N, and up to k - 1 single bases before it and at the
    # end.
    most = checkpoint.description.max_tokens - 2 * stride - 1
    longest = stride * max(1, min(_LONG, most))
    short = min(stride * (_SHORT - 2) + 1, longest)
    return max(short, tokenizer.coverage + 4), max(longest, tokenizer.coverage + 4)


@torch.inference_mode()
def _largest_difference(ours: Any, theirs: Any, ids: Sequence[int]) -> float:
    batch: Int[Tensor, "1 token"] = torch.tensor([ids])
    mine: Float32[Tensor, "token vocab"] = ours.logits(ours.hidden(batch)[1][0])
    other = theirs(input_ids=batch, attention_mask=torch.ones_like(batch)).logits[0]
    return float((mine - other).abs().max())
