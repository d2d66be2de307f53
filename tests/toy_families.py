"""Five toy families: what it takes to add one. Each is a network, a tokenizer and a Family."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from ntvep import dna
from ntvep.description import Description
from ntvep.models.family import Family, TensorMap
from ntvep.tokenizers.base import base_tokenizer
from ntvep.tokenizers.bpe import Bpe
from ntvep.tokenizers.kmer import kmer_tokenizer, kmers

DIM = 6
BASES = {"A": 3, "C": 4, "G": 5, "T": 6, "N": 2, "-": 1}
FOUR_MERS = ("<cls>", "<mask>", *kmers(4), *dna.LETTERS)
MERGES = ("CG", "AA", "TT", "AT", "GA", "AAA", "CGCG", "ATT", "GAA", "TTT")
BPE_TOKENS = ("[UNK]", "[CLS]", "[SEP]", "[MASK]", *"ACGT", *MERGES)


class Toy(nn.Module):
    """A convolution that sees neighbours on the sides it may, then logits."""

    def __init__(self, objective: str, vocab: int, reach: int = 2) -> None:
        super().__init__()
        self.objective, self.dim, self.layers, self.max_tokens = objective, DIM, 1, 96
        self.reach, self.margin = reach, reach if objective == "rates" else 0
        self.words = nn.Embedding(vocab, DIM)
        self.mix = nn.Conv1d(DIM, DIM, reach + 1 if objective == "causal" else 2 * reach + 1)
        self.head = nn.Linear(DIM, 4 if objective == "rates" else vocab)

    def hidden(self, ids, layer=None):
        x = self.words(ids)
        pad = {"causal": (self.reach, 0), "masked": (self.reach,) * 2, "rates": (0, 0)}
        y = nn.functional.pad(x.transpose(1, 2), pad[self.objective])
        last = torch.tanh(self.mix(y).transpose(1, 2))
        inside = x[:, self.margin : x.shape[1] - self.margin]
        return (last if layer is None else inside), last

    def logits(self, rows):
        return self.head(rows)

    def in_precision(self, precision, spare=0.0):
        self.mix.to(precision)
        return self


class Remembers(Toy):
    """A causal toy whose states of a prefix can be reused: all of its inputs."""

    def prefix(self, ids, layer=None):
        return *self.hidden(ids, layer), ids

    def go_on(self, state, rows, shared, ids, layer=None):
        whole = torch.cat((state[rows, :shared], ids), dim=1)
        return tuple(x[:, shared:] for x in self.hidden(whole, layer))


def segment(text):
    """Merge the pair of lowest rank, leftmost first, until none is left."""
    parts, at = list(text), 0
    while True:
        pairs = ["".join(pair) for pair in pairwise(parts)]
        pairs = [(MERGES.index(p), i) for i, p in enumerate(pairs) if p in MERGES]
        if not pairs:
            break
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    offsets = []
    for part in parts:
        offsets.append((at, at + len(part)))
        at += len(part)
    return [BPE_TOKENS.index(p) if p in BPE_TOKENS else 0 for p in parts], offsets


def tokenizer(kind):
    if kind == "kmer":
        return kmer_tokenizer(FOUR_MERS, 4)
    if kind == "bpe":
        terms = torch.tensor([t.isalpha() for t in BPE_TOKENS]).numpy()
        return Bpe(segment, 3, (1,), (2,), terms)
    return base_tokenizer(BASES, 7, mask=0, front=())


def family(name, objective, kind, network=Toy):
    vocab = {"kmer": len(FOUR_MERS), "bpe": len(BPE_TOKENS), "base": 7}[kind]
    cut = tokenizer(kind)

    def describe(folder, config):
        field = 5 if objective == "rates" else 0
        return Description(
            name, objective, cut, hashlib.sha256(kind.encode()).hexdigest(), 1, 96, 48, 64,
            step=cut.stride, field=field,
        )  # fmt: skip

    return Family(
        name, f"Toy {name}", (), objective, kind, "48", "none", "none",
        recognises=lambda config: config.get("model_type") == name,
        describe=describe,
        build=lambda config, shapes: network(objective, vocab),
        tensors=lambda config, shapes: TensorMap(lambda ours: (ours,)),
    )  # fmt: skip


TOYS = {
    "toy_masked": family("toy_masked", "masked", "base"),
    "toy_causal": family("toy_causal", "causal", "base", Remembers),
    "toy_rates": family("toy_rates", "rates", "base"),
    "toy_kmer": family("toy_kmer", "masked", "kmer"),
    "toy_bpe": family("toy_bpe", "masked", "bpe"),
    "toy_causal_kmer": family("toy_causal_kmer", "causal", "kmer", Remembers),
    "toy_causal_bpe": family("toy_causal_bpe", "causal", "bpe"),
}


def write(name: str, folder: Path) -> Path:
    """A checkpoint of a toy family with random weights; the folder's path."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(sorted(TOYS).index(name))
    network = TOYS[name].build({}, {})
    state = {key: torch.randn_like(value) for key, value in network.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": name}))
    return folder
