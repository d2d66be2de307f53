"""checkpoint folder -> a network with its weights, and what it says of itself."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ntvep.description import Description
from ntvep.models.family import Encoder, Family, Finishes
from ntvep.models.folder import (
    check_tensors,
    read_config,
    read_shapes,
    read_state,
    weight_files,
    weights_sha256,
)
from ntvep.models.registry import family_of


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder that has been read and found whole.

    Attributes:
        folder: where it lies.
        family: its family.
        description: what it says of itself.
        encoder: the network with its weights, in float32 on the CPU.
        weights_sha256: of the safetensors file, or of the sorted shards' digests.
        parameters: number of parameters that the model uses.
    """

    folder: Path
    family: Family
    description: Description
    encoder: Encoder
    weights_sha256: str
    parameters: int


def describe(folder: Path) -> tuple[Family, Description]:
    """What a folder's config.json and tokenizer say, without its weights.

    Raises:
        ModelError: a file is missing or damaged, or ntvep has no such family.
    """
    config = read_config(folder)
    family = family_of(folder, config)
    return family, family.describe(folder, config)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint in float32 on the CPU.

    Raises:
        ModelError: a file is missing or damaged, a weight is missing, unexpected, of the wrong
            shape or not finite, or the vocabulary does not fit the model.
    """
    config = read_config(folder)
    family = family_of(folder, config)
    description = family.describe(folder, config)
    files = weight_files(folder)
    shapes = read_shapes(files)
    with torch.device("meta"):
        module = family.build(config, shapes)
    tensors = family.tensors(config, shapes)
    check_tensors(folder, family.title, module, tensors, shapes)
    state = read_state(folder, files, module, tensors)
    module.load_state_dict(state, strict=True, assign=True)
    module.requires_grad_(False).eval()
    parameters = sum(p.numel() for p in module.parameters())
    if not isinstance(module, Encoder):
        raise TypeError(f"{type(module).__name__} is not an Encoder")
    if isinstance(module, Finishes):
        module.loaded()
    return Checkpoint(
        folder,
        family,
        description,
        module,
        weights_sha256(files),
        parameters,
    )
