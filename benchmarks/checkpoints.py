"""shape -> a checkpoint of random weights in the published layout, or a network of it."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.family import Encoder, Finishes
from ntvep.models.folder import read_config, read_shapes, weight_files
from ntvep.models.loaded import LoadedModel, engine_of
from ntvep.models.registry import family_of
from ntvep.provenance import ModelIdentity
from ntvep.tokenizers.kmer import kmers

_WEIGHTS = "model.safetensors"
VOCABULARY = ("<unk>", "<pad>", "<mask>", "<cls>", *kmers(6), *"ATCGN", "<eos>", "<bos>")


@dataclass(frozen=True)
class Shape:
    """Layers, width, feed-forward width and heads of an encoder of the first generation."""

    layers: int
    dim: int
    ffn_dim: int
    heads: int

    @property
    def flops_per_token(self) -> int:
        """Of the matrix products of the encoder, attention's scores not counted."""
        return 2 * self.layers * (4 * self.dim**2 + 2 * self.dim * self.ffn_dim)

    def flops(self, tokens: int) -> int:
        """Of one pass through the encoder."""
        return tokens * self.flops_per_token + 4 * self.layers * tokens**2 * self.dim


SHAPES = {
    "6x512": Shape(6, 512, 2048, 16),
    "50m": Shape(12, 512, 2048, 16),
    "500m": Shape(24, 1280, 5120, 20),
}


def make(folder: Path, shape: Shape) -> Path:
    """Write a checkpoint; the weights are those that transformers begins a training with."""
    from transformers import EsmConfig, EsmForMaskedLM

    config = EsmConfig(
        vocab_size=4105,
        mask_token_id=2,
        pad_token_id=1,
        hidden_size=shape.dim,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.ffn_dim,
        max_position_embeddings=1002,
        position_embedding_type="absolute",
        token_dropout=True,
        emb_layer_norm_before=False,
        layer_norm_eps=1e-12,
        tie_word_embeddings=False,
        attention_probs_dropout_prob=0.0,
        hidden_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    # Not save_pretrained, which gives some weights names that no published checkpoint has.
    state = EsmForMaskedLM(config).state_dict()
    save_file({name: weights.contiguous() for name, weights in state.items()}, folder / _WEIGHTS)
    config.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    return folder


GOLDEN = Path(__file__).parents[1] / "tests" / "golden"


@dataclass(frozen=True)
class Published:
    """A published shape of a family, of which the repository has a small checkpoint.

    Attributes:
        golden: its folder in ``tests/golden``, for the tokenizer and the values of weights.
        changes: of its config.json.
        gated: the first matrix of its feed-forward block is twice as tall as config.json says.
    """

    golden: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    gated: bool = False


def _bert(layers: int, dim: int, heads: int, inner: int) -> dict[str, int]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": dim,
        "num_attention_heads": heads,
        "intermediate_size": inner,
    }


PUBLISHED = {
    "nt-500m": Published("v1", _bert(24, 1280, 20, 5120) | {"max_position_embeddings": 1002}),
    "nt-v2-50m": Published(
        "v2", _bert(12, 512, 16, 2048) | {"max_position_embeddings": 2050}, gated=True
    ),
    "nt-v2-500m": Published(
        "v2", _bert(29, 1024, 16, 4096) | {"max_position_embeddings": 2050}, gated=True
    ),
    "gpn": Published("gpn_convnet", {"hidden_size": 512, "n_layers": 25}),
    "phylogpn": Published(
        "phylogpn", {"outer_dim": 960, "inner_dim": 480, "num_stacks": 20, "stack_size": 2}
    ),
    "dnabert2": Published("dnabert2", _bert(12, 768, 12, 3072)),
    "mutbert": Published("mutbert", _bert(12, 768, 12, 3072)),
    "hyenadna": Published(
        "hyenadna",
        {"d_model": 256, "d_inner": 1024, "n_layer": 8, "filter_order": 64, "max_seq_len": 160_002},
    ),
    "caduceus": Published("caduceus_ps", {"d_model": 256, "n_layer": 16}),
    "marin-dna": Published(
        "marin-dna", _bert(19, 1920, 15, 7680) | {"head_dim": 128, "num_key_value_heads": 15}
    ),
}


def small(shape: Published) -> Published:
    """The shape of the repository's own checkpoint."""
    return Published(shape.golden)


def drawn(
    folder: Path, shape: Published, device: str = "cpu", precision: str = "fp32"
) -> LoadedModel:
    """A model of a shape with weights made where it lies; none are written to a disk.

    Args:
        folder: for config.json and the tokenizer's files; it must not exist.
        shape: of the network.
        device: where it is made.
        precision: of its products.
    """
    golden = GOLDEN / shape.golden
    shutil.copytree(golden, folder, ignore=shutil.ignore_patterns("*.safetensors", "golden.*"))
    config = read_config(golden) | dict(shape.changes)
    (folder / "config.json").write_text(json.dumps(config))
    family = family_of(folder, config)
    shapes = read_shapes(weight_files(golden))
    if shape.gated:
        first = "esm.encoder.layer.0.intermediate.dense.weight"
        shapes[first] = (2 * config["intermediate_size"], config["hidden_size"])
    with torch.device(device):
        module = family.build(config, shapes)
    _give_room(module, device)
    draw(module, read_checkpoint(golden).encoder.state_dict())
    module.requires_grad_(False).eval()
    if isinstance(module, Finishes):
        module.loaded()
    assert isinstance(module, Encoder)
    description, where = family.describe(folder, config), torch.device(device)
    identity = ModelIdentity.of(
        description,
        model_id=folder.name,
        revision=None,
        weights_sha256="0" * 64,
        precision=precision,
        device=where.type,
    )
    engine = engine_of(module, description, where, precision)
    return LoadedModel(engine, description, identity, "none")


def _give_room(module: nn.Module, device: str) -> None:
    """Networks of transformers come without their weights: make them, and keep their tables."""
    for name, parameter in list(module.named_parameters()):
        if parameter.is_meta:
            owner, _, leaf = name.rpartition(".")
            made = nn.Parameter(torch.empty_like(parameter, device=device), requires_grad=False)
            setattr(module.get_submodule(owner), leaf, made)


def draw(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Fill weights with draws from those of the same name in a smaller network.

    What a kind of weight may be (positive, near 1, a decay) is kept so; a matrix is scaled by the
    root of how many inputs it has, as trainings begin. The draws are the same every time.
    """
    tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    with torch.no_grad():
        for number, (name, parameter) in enumerate(module.named_parameters()):
            source = _same(name, values)
            device = parameter.device
            generator = torch.Generator(device).manual_seed(number)
            flat = source.flatten().to(device)
            places = torch.randint(len(flat), parameter.shape, generator=generator, device=device)
            parameter.copy_(flat[places])
            if parameter.ndim > 1 and id(parameter) not in tables:
                inputs, before = parameter[0].numel(), source[0].numel()
                parameter *= (before / inputs) ** 0.5


def _same(name: str, values: Mapping[str, Tensor]) -> Tensor:
    """Values of this weight, or of the same weight in a block that the smaller network has."""
    if name in values:
        return values[name]
    pattern = re.compile(re.sub(r"\\\.\d+\\\.", r"\\.\\d+\\.", re.escape(name)))
    return values[next(other for other in values if pattern.fullmatch(other))]
