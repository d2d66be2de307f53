"""Make tests/golden: tiny random checkpoints of both families, and transformers' numbers for them.

    python recipes/golden.py

The weights are random (seeded) and large enough that every part of the model moves the output.
The numbers come from transformers' own ESM, so they hold ours to an implementation that shares no
code with it. Stored: inputs, and hidden states and logits of a few rows, in float32.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.nt import Architecture, NucleotideTransformer, published_keys
from ntvep.models.second_opinion import load_reference

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "golden"
SIX_MERS = ["".join("ATCG"[i // 4**j % 4] for j in range(5, -1, -1)) for i in range(4096)]
BASES = ["A", "T", "C", "G", "N"]
VOCABULARIES = {
    "v1": ["<unk>", "<pad>", "<mask>", "<cls>", *SIX_MERS, *BASES, "<eos>", "<bos>"],
    "v2": ["<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>", *SIX_MERS, *BASES],
}
COMMON = {
    "architectures": ["EsmForMaskedLM"],
    "emb_layer_norm_before": False,
    "hidden_size": 16,
    "intermediate_size": 24,
    "is_folding_model": False,
    "layer_norm_eps": 1e-12,
    "mask_token_id": 2,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "pad_token_id": 1,
    "tie_word_embeddings": False,
}
CONFIGS = {
    "v1": COMMON
    | {
        "max_position_embeddings": 66,
        "model_type": "esm",
        "position_embedding_type": "absolute",
        "token_dropout": True,
        "vocab_size": 4105,
    },
    "v2": COMMON
    | {
        "add_bias_fnn": False,
        "auto_map": {"AutoModelForMaskedLM": "modeling_esm.EsmForMaskedLM"},
        "max_position_embeddings": 66,
        "position_embedding_type": "rotary",
        "token_dropout": False,
        "vocab_size": 4107,
    },
}


def write_checkpoint(kind: str, folder: Path, seed: int) -> None:
    """A random checkpoint in the published layout, with the keys that we know and do not use."""
    arch = Architecture.from_config(CONFIGS[kind], gated=kind == "v2")
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, parameter in NucleotideTransformer(arch).named_parameters():
        scale = 0.5 if "norm" in name or name.endswith("bias") else 1.5 / arch.dim**0.5
        value = torch.randn(parameter.shape, generator=generator) * scale
        value += "norm" in name and name.endswith("weight")
        keys = published_keys(name)
        state |= {
            key: part.contiguous() for key, part in zip(keys, value.chunk(len(keys)), strict=True)
        }
    state["esm.contact_head.regression.weight"] = torch.zeros(1, 4)
    state["esm.contact_head.regression.bias"] = torch.zeros(1)
    if kind == "v2":
        state["esm.embeddings.position_embeddings.weight"] = torch.ones(66, 16)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIGS[kind], indent=1) + "\n")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARIES[kind]))


def inputs(folder: Path) -> dict[str, list[int]]:
    """Token ids: whole, with an N, with a tail, masked once and thrice, as long as it gets."""
    model = read_checkpoint(folder).description
    rng = np.random.default_rng(7)
    window = rng.integers(0, 4, 120).astype(np.uint8)
    with_n = window.copy()
    with_n[50] = 4
    longest = rng.integers(0, 4, 6 * (model.max_tokens - 1)).astype(np.uint8)
    made = {
        name: model.tokenizer.encode(codes).ids.tolist()
        for name, codes in (
            ("window", window),
            ("with_n", with_n),
            ("with_tail", window[:71]),
            ("longest", longest),
        )
    }
    for name, places in (("masked", [9]), ("masked_thrice", [1, 9, 20])):
        made[name] = [2 if i in places else id for i, id in enumerate(made["window"])]
    return made


def main() -> None:
    """Write both families."""
    for seed, kind in enumerate(CONFIGS, start=11):
        write_checkpoint(kind, FOLDER / kind, seed)
        theirs = load_reference(FOLDER / kind)
        arrays = {}
        for name, ids in inputs(FOLDER / kind).items():
            with torch.inference_mode():
                out = theirs(
                    input_ids=torch.tensor([ids]),
                    attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                    output_hidden_states=True,
                )
            rows = np.array([0, 1, 9, len(ids) - 1])
            arrays[f"{name}/ids"] = np.array(ids, np.int16)
            arrays[f"{name}/rows"] = rows
            arrays[f"{name}/logits"] = out.logits[0, rows].numpy()
            arrays[f"{name}/hidden"] = torch.stack(out.hidden_states)[:, 0, rows].numpy()
        np.savez_compressed(FOLDER / kind / "golden.npz", **arrays)


if __name__ == "__main__":
    main()
