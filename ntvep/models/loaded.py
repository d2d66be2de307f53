"""model name -> a model on a device, its vocabulary and its identity: all that scoring needs."""

from dataclasses import dataclass

import torch

from ntvep import tokens
from ntvep.errors import ConfigError
from ntvep.models.device import PRECISIONS, be_deterministic, resolve_device, resolve_precision
from ntvep.models.engine import Engine
from ntvep.models.hub import licence, locate
from ntvep.models.load import read_checkpoint
from ntvep.passes import LanguageModel
from ntvep.provenance import ModelIdentity, vocabulary_sha256
from ntvep.tokens import Vocabulary


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run.

    Attributes:
        model: what answers.
        vocabulary: its tokens.
        identity: which model it is.
        max_tokens: the longest input, ``<cls>`` included.
        layer: of the embeddings; None for the last.
        licence: of the weights.
    """

    model: LanguageModel
    vocabulary: Vocabulary
    identity: ModelIdentity
    max_tokens: int
    layer: int | None
    licence: str


def parse_layer(layer: str | int, layers: int) -> int | None:
    """``last`` or a number from 0 (input embeddings) to the number of layers; None is the last.

    Raises:
        ConfigError: the model has no such layer.
    """
    if layer == "last":
        return None
    try:
        number = int(layer)
    except ValueError:
        number = -1
    if not 0 <= number <= layers:
        raise ConfigError(
            f"--layer is {layer!r}; this model has layers 0 (input embeddings) to {layers} (last)"
        )
    return None if number == layers else number


def load_scorer(
    model: str,
    *,
    layer: str | int = "last",
    pool_cls: bool = False,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    deterministic: bool = False,
    threads: int | None = None,
) -> LoadedModel:
    """Load a model by name; never downloads.

    Args:
        model: a folder, a hub id that has been fetched, or ``demo``.
        layer: of the embeddings.
        pool_cls: whether ``<cls>`` counts in the mean.
        device: auto, cpu, cuda or mps.
        precision: auto, fp32, tf32, fp16 or bf16.
        batch_size: passes in a batch; None finds one.
        deterministic: no bit of a score may depend on what else is scored; for the whole process.
        threads: CPU threads, for the whole process; None leaves torch's choice.

    Raises:
        ModelError: the checkpoint is missing, damaged, or no Nucleotide Transformer.
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
    where = resolve_device(device)
    dtype = resolve_precision(precision, where)
    if where.type == "cuda":
        # Settings of the process: products of halves are summed in float32, and torch's own
        # defaults may change with its release.
        products = torch.backends.cuda.matmul
        products.allow_tf32 = dtype == "tf32"
        products.allow_fp16_reduced_precision_reduction = False
        products.allow_bf16_reduced_precision_reduction = False
    source = locate(model)
    checkpoint, module = read_checkpoint(source.folder)
    vocabulary = tokens.vocabulary(checkpoint.tokens)
    engine = Engine(
        module.to(where).multiply_in(PRECISIONS[dtype]),
        vocabulary,
        layer=parse_layer(layer, checkpoint.arch.layers),
        pool_cls=pool_cls,
        batch_size=batch_size,
        deterministic=deterministic,
    )
    identity = ModelIdentity(
        source.model_id,
        source.revision,
        checkpoint.weights_sha256,
        vocabulary_sha256(checkpoint.tokens),
        dtype,
        where.type,
    )
    return LoadedModel(
        engine, vocabulary, identity, checkpoint.arch.max_tokens, engine.layer, licence(source)
    )
