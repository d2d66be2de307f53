"""model name -> a model on a device, its description and identity: all that scoring needs."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from ntvep.description import Description
from ntvep.errors import ConfigError, ModelError
from ntvep.models.checkpoint import describe, read_checkpoint
from ntvep.models.device import (
    PRECISIONS,
    SPARED,
    be_deterministic,
    resolve_devices,
    resolve_precision,
)
from ntvep.models.engine import Engine, Fleet
from ntvep.models.family import Encoder, Family
from ntvep.models.hub import licence, locate
from ntvep.models.native import Native
from ntvep.passes import LanguageModel
from ntvep.provenance import ModelIdentity


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run.

    Attributes:
        model: what answers.
        description: what it says of itself.
        identity: which model it is.
        licence: of the weights.
    """

    model: LanguageModel
    description: Description
    identity: ModelIdentity
    licence: str


def described(model: str) -> tuple[Family, Description]:
    """What config.json and the tokenizer say of a model; its weights are not read.

    Raises:
        ModelError: it is not there, or ntvep has no such family.
    """
    return describe(locate(model).folder)


def load_model(
    model: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    deterministic: bool = False,
    threads: int | None = None,
) -> LoadedModel:
    """Load a model by name; never downloads.

    Args:
        model: a folder, a hub id that has been fetched, or ``demo``.
        device: auto, cpu, cuda, mps; a GPU as cuda:1; or several as cuda:0,cuda:1.
        precision: auto, fp32, tf32, fp16, bf16 or mixed.
        batch_size: passes in a batch; None finds one.
        deterministic: no bit of a score may depend on what else is scored; for the whole process.
        threads: CPU threads, for the whole process; None leaves torch's choice.

    Raises:
        ModelError: the checkpoint is missing, damaged, or of no family that ntvep has.
        ConfigError: an option does not fit this machine or this model.
    """
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f"--batch-size is {batch_size}; expected auto, or 1 or more")
    if threads is not None:
        if threads < 1:
            raise ConfigError(f"--threads is {threads}; expected 1 or more")
        torch.set_num_threads(threads)
    if deterministic:
        be_deterministic()
    devices, source = resolve_devices(device), locate(model)
    where = devices[0]
    own = describe(source.folder)[1]
    dtype = resolve_precision(precision, where, own.half, own.on_cpu)
    checkpoint = read_checkpoint(source.folder)
    description = checkpoint.description
    # Copied before it lies on a device, which may have no room for two.
    copies = [checkpoint.encoder, *(deepcopy(checkpoint.encoder) for _ in devices[1:])]
    engines = [
        engine_of(copy, description, one, dtype, batch_size, deterministic)
        for copy, one in zip(copies, devices, strict=True)
    ]

    def in_float32() -> Engine:
        again = read_checkpoint(source.folder)
        if again.weights_sha256 != checkpoint.weights_sha256:
            raise ModelError(
                f"{source.folder}: the weights have changed since this run began; what overflows "
                "in half precision cannot be run again in float32. Type the same command again"
            )
        return engine_of(again.encoder, description, where, "fp32", batch_size, deterministic)

    if PRECISIONS[dtype].itemsize < 4:
        engines[0].make_full = in_float32
    identity = ModelIdentity.of(
        description,
        model_id=source.model_id,
        revision=source.revision,
        weights_sha256=checkpoint.weights_sha256,
        precision=dtype,
        device=where.type,
    )
    model_on_devices = engines[0] if len(engines) == 1 else Fleet(engines)
    return LoadedModel(model_on_devices, description, identity, licence(source))


def engine_of(
    encoder: Encoder,
    description: Description,
    where: torch.device,
    precision: str,
    batch_size: int | None = None,
    deterministic: bool = False,
) -> Engine:
    """A network that was read in float32, on its device and in its precision, ready to answer.

    On CUDA it settles for the whole process what a product of that precision is.

    Raises:
        ModelError: a network of transformers is not what its config.json says.
    """
    if where.type == "cuda":
        # Settings of the process: products of halves are summed in float32, and torch's own
        # defaults may change with its release.
        products = torch.backends.cuda.matmul
        products.allow_tf32 = precision == "tf32"
        products.allow_fp16_reduced_precision_reduction = False
        products.allow_bf16_reduced_precision_reduction = False
        # torch lets convolutions use tf32 unless this is switched off.
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if isinstance(encoder, nn.Module):
        encoder.to(where)
    encoder = encoder.in_precision(PRECISIONS[precision], SPARED.get(precision, 0.0))
    if isinstance(encoder, Native):
        # Before the engine asks what it can share.
        encoder.probe()
    half_on_cpu = where.type == "cpu" and PRECISIONS[precision].itemsize < 4
    # Windows of byte pairs and of rate models have many lengths, each with batches of its own: too
    # many to fill. Causal models share states, which differ with their company anyway.
    one_length = description.objective == "masked" and description.tokenizer.kind != "bpe"
    fills = half_on_cpu and one_length
    return Engine(encoder, description.tokenizer, batch_size, deterministic, fills)
