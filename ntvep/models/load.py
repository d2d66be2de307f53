"""checkpoint folder -> model in memory: the published Hugging Face layout, safetensors only."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ntvep.errors import ModelError, some
from ntvep.files import digest
from ntvep.models.layout import is_pickle, wanted_files
from ntvep.models.nt import Architecture, NucleotideTransformer
from ntvep.tokens import vocabulary

# Published checkpoints hold these beside the model; they are known, and not used.
_UNUSED = (
    re.compile(r"esm\.contact_head\.regression\.(weight|bias)"),
    re.compile(r"esm\.embeddings\.position_ids"),
    re.compile(r"esm\.encoder\.layer\.\d+\.attention\.self\.rotary_embeddings\.inv_freq"),
)
_UNUSED_WITH_ROTARY = re.compile(r"esm\.embeddings\.position_embeddings\.weight")

# Our parameter names -> the published ones, "{i}" being the number of the layer.
_MODEL_KEYS = {
    "words.weight": "esm.embeddings.word_embeddings.weight",
    "positions.weight": "esm.embeddings.position_embeddings.weight",
    "norm_before": "esm.embeddings.layer_norm",
    "final_norm": "esm.encoder.emb_layer_norm_after",
    "head.dense": "lm_head.dense",
    "head.norm": "lm_head.layer_norm",
    "head.decoder.weight": "lm_head.decoder.weight",
    "head.decoder.bias": "lm_head.bias",
}
_LAYER_KEYS = {
    "attention_norm": "attention.LayerNorm",
    "attention_out": "attention.output.dense",
    "ffn_norm": "LayerNorm",
    "ffn_in": "intermediate.dense",
    "ffn_out": "output.dense",
}

# Bounds far beyond every published model: what is outside is a damaged or hostile config.json, and
# must not decide how much memory we ask for.
_NUMBERS = {
    "num_hidden_layers": (1, 1 << 10),
    "hidden_size": (1, 1 << 20),
    "intermediate_size": (1, 1 << 20),
    "num_attention_heads": (1, 1 << 10),
    # Token ids are held in 16 bits.
    "vocab_size": (1, (1 << 15) - 1),
    "max_position_embeddings": (3, 1 << 16),
    "pad_token_id": (0, (1 << 15) - 1),
    "mask_token_id": (0, (1 << 15) - 1),
}
_FLAGS = (
    "token_dropout", "add_bias_fnn", "emb_layer_norm_before", "tie_word_embeddings",
    "is_folding_model",
)  # fmt: skip
_FLOATS = ("F16", "BF16", "F32", "F64")
_LONGEST_TEXT = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder that has been read and found whole.

    Attributes:
        folder: where it lies.
        arch: its architecture.
        tokens: the token strings of vocab.txt; a token's place is its id.
        weights_sha256: of the safetensors file, or of the sorted shards' digests.
        parameters: number of parameters that the model uses.
    """

    folder: Path
    arch: Architecture
    tokens: tuple[str, ...]
    weights_sha256: str
    parameters: int


def published_keys(name: str) -> tuple[str, ...]:
    """The published names of one of our parameters: three for the joined q, k, v, else one."""
    if match := re.fullmatch(r"blocks\.(\d+)\.(\w+)\.(weight|bias)", name):
        layer, part, kind = match.groups()
        prefix = f"esm.encoder.layer.{layer}."
        if part == "qkv":
            return tuple(f"{prefix}attention.self.{p}.{kind}" for p in ("query", "key", "value"))
        return (f"{prefix}{_LAYER_KEYS[part]}.{kind}",)
    if name in _MODEL_KEYS:
        return (_MODEL_KEYS[name],)
    module, _, kind = name.rpartition(".")
    return (f"{_MODEL_KEYS[module]}.{kind}",)


def read_checkpoint(folder: Path) -> tuple[Checkpoint, NucleotideTransformer]:
    """Read a checkpoint in float32 on the CPU.

    Raises:
        ModelError: a file is missing or damaged, a weight is missing, unexpected, of the wrong
            shape or not finite, or the vocabulary does not fit the model.
    """
    config = read_config(folder)
    tokens = _read_vocabulary(folder)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(_no_weights(folder))
    shapes = _read_shapes(files)
    arch = _architecture(folder / "config.json", config, shapes)
    if not arch.vocab_size <= len(tokens):
        raise ModelError(
            f"{folder / 'vocab.txt'}: {len(tokens)} tokens, but the model has "
            f"{arch.vocab_size}; the folder mixes two checkpoints"
        )
    with torch.device("meta"):
        model = NucleotideTransformer(arch)
    _check_keys(folder, model, shapes)
    # Ids behind the model's rows (v1's <eos>, <bos>) cannot be given to it.
    known = tokens[: arch.vocab_size]
    _check_vocabulary(folder, known, arch)
    model.load_state_dict(_read_state(folder, files, model), strict=True, assign=True)
    model.requires_grad_(False).eval()
    parameters = sum(p.numel() for p in model.parameters())
    return Checkpoint(folder, arch, known, weights_sha256(files), parameters), model


def weights_sha256(files: Iterable[Path]) -> str:
    """sha256 of one weights file; of several shards, the sha256 of their hex digests in order."""
    digests = [digest(path) for path in files]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Parse config.json.

    Raises:
        ModelError: it is missing, or no JSON object.
    """
    path = folder / "config.json"
    text = _read_text(
        path,
        "; expected a checkpoint folder in Hugging Face layout (config.json, vocab.txt, "
        "model.safetensors). Get one with: ntvep model fetch "
        "InstaDeepAI/nucleotide-transformer-500m-human-ref",
    )
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not valid JSON ({error}); fetch the model again") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path}: expected a JSON object")
    return config


def _architecture(
    path: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> Architecture:
    """What config.json says, if a model of these numbers can be."""
    ffn_in = shapes.get("esm.encoder.layer.0.intermediate.dense.weight", ())
    try:
        for key, (fewest, most) in _NUMBERS.items():
            # A bool is an int for Python.
            if type(config[key]) is not int or not fewest <= config[key] <= most:
                raise ValueError(
                    f"{key} is {config[key]!r:.40}, expected a number from {fewest} to {most}"
                )
        for key in _FLAGS:
            if config.get(key) not in (None, True, False):
                raise ValueError(f"{key} is {config[key]!r:.40}, expected true or false")
        eps = config["layer_norm_eps"]
        if not isinstance(eps, int | float) or not 0 < eps < 1:
            raise ValueError(f"layer_norm_eps is {eps!r:.40}, expected a number from 0 to 1")
        arch = Architecture.from_config(
            config, gated=ffn_in[:1] == (2 * config["intermediate_size"],)
        )
        if arch.max_tokens < 2:
            raise ValueError("max_position_embeddings leaves no place behind pad_token_id")
        if not arch.learned_positions and arch.dim // arch.heads % 2:
            raise ValueError("rotary positions need an even hidden_size / num_attention_heads")
    except (KeyError, ValueError, TypeError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{path}: {problem}; expected the config.json of a Nucleotide Transformer (v1 or v2) "
            "as published on the Hugging Face hub"
        ) from error
    return arch


def read_published_state(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint under its published name, in float32."""
    state: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as handle:
            state |= {key: handle.get_tensor(key).float() for key in handle.keys()}  # noqa: SIM118
    return state


def _read_vocabulary(folder: Path) -> tuple[str, ...]:
    text = _read_text(
        folder / "vocab.txt",
        ", so token ids are unknown; fetch the model again with: ntvep model fetch ID",
    )
    return tuple(text.splitlines())


def _read_text(path: Path, without: str) -> str:
    """A small text file; ``without`` ends the sentence that it is missing."""
    if not path.exists():
        raise ModelError(f"{path.parent}: no {path.name}{without}")
    try:
        # Before it is opened: a pipe would keep us waiting.
        if not path.is_file():
            raise ModelError(f"{path}: cannot be read (it is no file)")
        if (size := path.stat().st_size) > _LONGEST_TEXT:
            raise ModelError(
                f"{path}: {size} bytes, expected no more than {_LONGEST_TEXT}; fetch the model "
                "again"
            )
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not a text file ({error}); fetch the model again") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def _check_vocabulary(folder: Path, tokens: Sequence[str], arch: Architecture) -> None:
    try:
        mask = vocabulary(tokens).mask
    except ValueError as error:
        raise ModelError(
            f"{folder / 'vocab.txt'}: {error}; expected the 4,096 six-mers, A, C, G, T, N, "
            "<cls> and <mask>, each once"
        ) from error
    if mask != arch.mask_id:
        raise ModelError(
            f"{folder}: <mask> is token {mask} of vocab.txt, but config.json says "
            f"{arch.mask_id}; the folder mixes two checkpoints"
        )


def _no_weights(folder: Path) -> str:
    try:
        pickles = [n for n in wanted_files(p.name for p in folder.iterdir()) if is_pickle(n)]
    except ValueError:
        pickles = []
    if pickles:
        return (
            f"{folder}: only {some(pickles, 3)}, a pickle; weights are read from safetensors "
            f"alone. Convert it once with: ntvep model fetch {folder}"
        )
    return f"{folder}: no *.safetensors file; fetch the model again with: ntvep model fetch ID"


def _read_shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        if not path.is_file():
            raise ModelError(f"{path}: it is no file; fetch the model again")
        try:
            with safe_open(path, "pt") as handle:
                for key in handle.keys():  # noqa: SIM118 (not a dict)
                    if key in shapes:
                        raise ModelError(
                            f"{path}: {key} is in another *.safetensors file of the folder too; "
                            "expected the weights of one model"
                        )
                    shapes[key] = tuple(handle.get_slice(key).get_shape())
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{path}: not a whole safetensors file ({error}); fetch the model again"
            ) from error
    return shapes


def _check_keys(
    folder: Path, model: NucleotideTransformer, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    expected: dict[str, tuple[int, ...]] = {}
    for name, parameter in model.named_parameters():
        keys = published_keys(name)
        shape = (parameter.shape[0] // len(keys), *parameter.shape[1:])
        expected |= dict.fromkeys(keys, shape)
    unused = (*_UNUSED, *(() if model.arch.learned_positions else (_UNUSED_WITH_ROTARY,)))
    missing = sorted(expected.keys() - shapes.keys())
    extra = sorted(
        key
        for key in shapes.keys() - expected.keys()
        if not any(pattern.fullmatch(key) for pattern in unused)
    )
    wrong = sorted(key for key in expected.keys() & shapes.keys() if expected[key] != shapes[key])
    problems = [
        f"{len(keys)} {what} weights (first: {keys[0]})"
        for what, keys in (("missing", missing), ("unexpected", extra))
        if keys
    ]
    problems += [
        f"{key} has shape {shapes[key]}, config.json says {expected[key]}" for key in wrong[:1]
    ]
    if problems:
        raise ModelError(
            f"{folder}: weights and config.json do not describe the same Nucleotide Transformer: "
            f"{'; '.join(problems)}"
        )


def _read_state(
    folder: Path, files: Iterable[Path], model: NucleotideTransformer
) -> dict[str, Tensor]:
    published: dict[str, Tensor] = {}
    wanted = {name: published_keys(name) for name, _ in model.named_parameters()}
    needed = {key for keys in wanted.values() for key in keys}
    for path in files:
        with safe_open(path, "pt") as handle:
            for key in needed.intersection(handle.keys()):
                if (dtype := handle.get_slice(key).get_dtype()) not in _FLOATS:
                    raise ModelError(f"{path}: {key} has type {dtype}, expected one of {_FLOATS}")
                published[key] = handle.get_tensor(key).float()
    for key, tensor in published.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{folder}: {key} holds NaN or infinity; the weights are damaged")
    return {
        name: torch.cat([published.pop(key) for key in keys])
        if len(keys) > 1
        else published.pop(keys[0])
        for name, keys in wanted.items()
    }
