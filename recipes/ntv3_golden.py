"""A small random NTv3 and what ntvep's own forward makes of it -> a source for family_golden.py.

    python recipes/ntv3_golden.py FOLDER && python recipes/family_golden.py FOLDER ntv3

The authors' code is non-commercial, and its outputs are not in this repository: these numbers hold
what ntvep computed on the day when it agreed with that code (tests/models/test_ntv3.py compares
with its outputs where they lie beside a checkout). The vocabulary is a list of eleven tokens.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ntvep.models.ntv3 import NTV3

TOKENS = ("<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>", "A", "T", "C", "G", "N")
CONFIG = {
    "architectures": ["NTv3PreTrained"],
    "model_type": "ntv3",
    "alphabet_size": len(TOKENS),
    "pad_token_id": 1,
    "mask_token_id": 2,
    "num_downsamples": 2,
    "attention_heads": 3,
    "key_size": 8,
    "token_embed_dim": 12,
    "conv_init_embed_dim": 16,
    "embed_dim": 28,
    "ffn_embed_dim": 40,
    "num_layers": 1,
    "layer_norm_eps": 1e-05,
    "num_hidden_layers_head": 0,
    "use_skip_connection": True,
    "deconv_upsample_type": "repeat+conv",
    "deconv_phase": "odd",
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}
LENGTHS = {"plain": 120, "with_n": 96, "short": 24}


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Random weights under the published names."""
    draw = torch.Generator().manual_seed(20261121)
    found = {}
    for name, tensor in network.state_dict().items():
        keys = NTV3.tensors(CONFIG, {}).published(name)
        fan_in = tensor[0].numel() if tensor.ndim > 1 else 25
        values = torch.randn(tensor.shape, generator=draw) * (0.8 / fan_in**0.5)
        if name.endswith("norm.weight"):
            values += 1
        found |= dict(zip(keys, values.chunk(len(keys)), strict=True))
    return {name: tensor.clone() for name, tensor in found.items()}


def main() -> None:
    """Write FOLDER/ntv3."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder / "ntv3"
    (folder / "model").mkdir(parents=True)
    network = NTV3.build(CONFIG, {})
    published = weights(network)
    save_file(published, folder / "model" / "model.safetensors")
    (folder / "model" / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    (folder / "model" / "vocab.json").write_text(json.dumps(vocabulary, indent=1) + "\n")
    names = NTV3.tensors(CONFIG, {}).published
    network.load_state_dict(
        {ours: torch.cat([published[key] for key in names(ours)]) for ours in network.state_dict()}
    )
    network.eval()
    draw = np.random.default_rng(20261121)
    sequences = {name: "".join(draw.choice(list("ACGT"), n)) for name, n in LENGTHS.items()}
    sequences["with_n"] = f"{sequences['with_n'][:40]}NNNNN{sequences['with_n'][45:]}"
    arrays = {}
    for name, text in sequences.items():
        ids = np.array([vocabulary[letter] for letter in text])
        masked = ids.copy()
        at = np.array([len(ids) // 3, len(ids) // 2])
        masked[at] = CONFIG["mask_token_id"]
        with torch.inference_mode():
            first, last = network.hidden(torch.tensor(ids[None]), 0)
            others = network.logits(network.hidden(torch.tensor(masked[None]))[1][0, at])
            arrays |= {
                f"{name}/ids": ids,
                f"{name}/hidden_0": first[0].numpy(),
                f"{name}/last": last[0].numpy(),
                f"{name}/logits": network.logits(last[0]).numpy(),
                f"{name}/masked_0/ids": masked,
                f"{name}/masked_0/at": at,
                f"{name}/masked_0/logits": others.numpy(),
            }
    np.savez_compressed(folder / "golden.npz", **arrays)
    about = {
        "family": "ntv3",
        "mask_id": CONFIG["mask_token_id"],
        "hidden_convention": "hidden_0 = output of the stem; last = what the head gets",
        "sequences": sequences,
        "tokenizer_cases": {"ACGTN": [6, 8, 9, 7, 10]},
    }
    (folder / "meta.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
