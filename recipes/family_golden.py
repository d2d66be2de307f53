"""Goldens of model families, cut for the repository: reference outputs -> tests/golden/NAME.

    python recipes/family_golden.py ../shared/golden/families gpn_convnet gpn_bytenet

The source holds, for each family, a checkpoint in its published layout with random weights
(``model/``), what the original implementation makes of some sequences (``golden.npz``) and what is
what (``meta.json``). Here sequences and inputs stay whole. Hidden states and logits are kept at
some tokens only, and of a large vocabulary some columns, with the logarithm of the sum of all.
"""

import argparse
import json
import re
import shutil
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ROWS, COLUMNS = 12, 64
KEPT = ("family", "vocabulary_licence", "hidden_convention", "mask_id")
MODEL_FILES = ("*.json", "*.txt", "*.safetensors", "*.model")


def some(count: int, kept: int) -> np.ndarray:
    """Numbers from 0 to count - 1, both among them, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, kept)).round().astype(np.int64))


def one_layout(family: str, arrays: dict[str, np.ndarray], meta: dict) -> dict[str, np.ndarray]:
    """Arrays of the causal models, whose source names them otherwise, under the names used here."""
    if not any(key.endswith("_ids") for key in arrays):
        return arrays
    sequences = meta["sequences"]
    if family == "generator":
        # As ntvep does, in upper case: the original makes each lower-case letter an <oov>.
        for name in ("soft", "odd"):
            sequences[f"{name}_upper"] = sequences.pop(name).upper()
    if family == "hyenadna":
        sequences["soft_upper"] = sequences.pop("soft").upper()
    if family in ("hyenadna", "evo2"):
        # To the first letter that the original spells in its own way, and ntvep as upper case or
        # as N: what stands before it does not depend on it.
        sequences |= {n: re.sub(r"[^ACGTN].*", "", text) for n, text in sequences.items()}
    if family == "mamba":
        # Its R is <unk> for the original, and an N, which this vocabulary has, for ntvep.
        del sequences["odd"]
    # transformers' Mamba does not give the input of the first block, but the output of the last
    # one before the final norm.
    first = 1 if family == "mamba" else 0
    kept = {}
    for name in sequences:
        # Special tokens stand before the bases of the other families.
        count = len(sequences[name]) if family in ("hyenadna", "evo2") else None
        for key in ("ids", "logits", "logsumexp"):
            if f"{name}_{key}" in arrays:
                kept[f"{name}/{key}"] = arrays[f"{name}_{key}"][:count]
        if "columns" in arrays:
            kept[f"{name}/columns"] = arrays["columns"]
        *inner, last = arrays[f"{name}_hidden"][:, :count]
        if f"{name}_last" in arrays:
            # Its last one is from before the final norm.
            last = arrays[f"{name}_last"][:count]
        inner = inner[: len(inner) - first]
        kept |= {f"{name}/hidden_{i}": states for i, states in enumerate(inner, start=first)}
        kept[f"{name}/last"] = last
    return kept


def cut_logits(logits: np.ndarray, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of logits; of a large vocabulary some columns, those of the input's tokens included."""
    if logits.shape[1] <= COLUMNS:
        return {"logits": logits}
    columns = np.union1d(some(logits.shape[1], COLUMNS), ids[:COLUMNS])
    top = logits.max(axis=1).astype(np.float64)
    total = top + np.log(np.exp(logits - top[:, None].astype(np.float64)).sum(axis=1))
    return {"logits": logits[:, columns], "columns": columns, "logsumexp": total}


def tokens_of_logits(logits: int, tokens: int, note: str) -> np.ndarray:
    """The tokens whose logits the source has: all, every tenth, or, by its note, the first ones."""
    every_tenth = logits == -(-tokens // 10) < tokens and "first" not in note
    return np.arange(logits) * (10 if every_tenth else 1)


def cut(arrays: dict[str, np.ndarray], names: list[str], note: str) -> dict[str, np.ndarray]:
    """The arrays that are kept."""
    kept: dict[str, np.ndarray] = {}
    for name in names:
        ids = arrays[f"{name}/ids"]
        # Of a rate model the outputs are fewer than the tokens.
        outputs = arrays.get(f"{name}/logits", arrays.get(f"{name}/log_rates"))
        assert outputs is not None, f"no logits of {name}"
        chosen = some(len(outputs), ROWS)
        rows = tokens_of_logits(len(outputs), len(arrays[f"{name}/last"]), note)[chosen]
        kept |= {f"{name}/ids": ids.astype(np.int32), f"{name}/rows": rows}
        if f"{name}/columns" in arrays:
            kept |= {
                f"{name}/logits": outputs[chosen],
                f"{name}/columns": arrays[f"{name}/columns"],
                f"{name}/logsumexp": arrays[f"{name}/logsumexp"][chosen],
            }
        else:
            parts = cut_logits(outputs[chosen], ids)
            kept |= {f"{name}/{key}": part for key, part in parts.items()}
        for key, value in arrays.items():
            place, _, kind = key.rpartition("/")
            if place == name and re.fullmatch(r"hidden_\d+|last", kind):
                kept[key] = value[rows]
            elif re.fullmatch(re.escape(name) + r"/masked_\d+", place):
                if kind == "logits":
                    parts = cut_logits(value, arrays[f"{place}/ids"])
                    kept |= {f"{place}/{part}": array for part, array in parts.items()}
                else:
                    kept[key] = value.astype(np.int32)
    return kept


def main() -> None:
    """Cut each family that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--output", type=Path, default=ROOT / "tests" / "golden")
    options = parser.parse_args()
    for family in options.names:
        source, output = options.source / family, options.output / family
        output.mkdir(parents=True, exist_ok=True)
        for pattern in MODEL_FILES:
            for path in sorted((source / "model").glob(pattern)):
                shutil.copyfile(path, output / path.name)
        meta = json.loads((source / "meta.json").read_text())
        with np.load(source / "golden.npz") as stored:
            arrays = one_layout(family, dict(stored), meta)
        arrays = cut(arrays, list(meta["sequences"]), meta.get("note", ""))
        np.savez_compressed(output / "golden.npz", **arrays)
        about = {key: meta[key] for key in KEPT if key in meta} | {
            "sequences": meta["sequences"],
            # Of a vocabulary that was cut for the golden, the cases of the cut one.
            "tokenizer_cases": {
                text: ids["tiny"] if isinstance(ids, dict) else ids
                for text, ids in meta.get("tokenizer_cases", {}).items()
            },
        }
        (output / "golden.json").write_text(json.dumps(about, indent=1) + "\n")
        size = sum(path.stat().st_size for path in output.iterdir())
        print(f"{output}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
