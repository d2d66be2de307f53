"""shape -> a checkpoint of random weights, in the published layout."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

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
