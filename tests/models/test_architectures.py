"""The published checkpoints' shapes: parameter counts and windows as published, without weights."""

import pytest
import torch

from ntvep.models.nt import Architecture, NucleotideTransformer, published_keys

V1 = {
    "position_embedding_type": "absolute",
    "token_dropout": True,
    "max_position_embeddings": 1002,
    "vocab_size": 4105,
}
V2 = {
    "position_embedding_type": "rotary",
    "token_dropout": False,
    "max_position_embeddings": 2050,
    "vocab_size": 4107,
    "add_bias_fnn": False,
}
COMMON = {"layer_norm_eps": 1e-12, "pad_token_id": 1, "mask_token_id": 2}


# Layers, width, feed-forward width, heads; parameters in millions as stated for each model.
@pytest.mark.parametrize(
    ("name", "family", "shape", "millions", "window"),
    [
        ("500m-human-ref, 500m-1000g", V1, (24, 1280, 5120, 20), 485.7, 999),
        ("2.5b-multi-species", V1, (32, 2560, 10240, 20), 2548, 999),
        ("v2-50m", V2, (12, 512, 2048, 16), 54.9, 2047),
        ("v2-100m", V2, (22, 512, 2048, 16), 96.8, 2047),
        ("v2-250m", V2, (24, 768, 3072, 16), 233.5, 2047),
        ("v2-500m", V2, (29, 1024, 4096, 16), 496.2, 2047),
    ],
)
def test_published_shapes(name, family, shape, millions, window):
    layers, dim, ffn, heads = shape
    config = COMMON | family
    config |= {"num_hidden_layers": layers, "hidden_size": dim, "intermediate_size": ffn}
    config["num_attention_heads"] = heads
    arch = Architecture.from_config(config, gated=family is V2)
    with torch.device("meta"):
        model = NucleotideTransformer(arch)
    assert arch.max_tokens - 1 == window
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=1e-3)
    keys = [key for parameter, _ in model.named_parameters() for key in published_keys(parameter)]
    assert len(keys) == len(set(keys))
    last = f"esm.encoder.layer.{layers - 1}"
    assert f"{last}.attention.self.query.bias" in keys
    assert (f"{last}.intermediate.dense.bias" in keys) == (family is V1)
