"""a model -> what windows, tokens and scores have to know of it; no weights, no torch."""

from dataclasses import dataclass
from typing import Literal

from ntvep.objectives import Objective
from ntvep.tokens import Tokenizer


@dataclass(frozen=True)
class Description:
    """What config.json and the files of the tokenizer say of a checkpoint.

    Attributes:
        family: name of the family.
        objective: what its outputs are.
        tokenizer: how its inputs are made of bases.
        vocabulary_sha256: of the vocabulary's or the tokenizer's file.
        layers: number of hidden layers.
        max_tokens: the longest input, special tokens included.
        default_bases: the window if none is asked for.
        trained_bases: the longest window that it was trained with.
        step: a window is a multiple of it, itself a multiple of the tokenizer's stride.
        field: bases that an output depends on, of a model whose windows have no other length
            (rates); else 0.
        strands_agree: whether both strands give the same by construction.
        half: the precision of its products on a GPU, unless another is asked for.
        on_cpu: the same on a CPU that multiplies in bfloat16.
    """

    family: str
    objective: Objective
    tokenizer: Tokenizer
    vocabulary_sha256: str
    layers: int
    max_tokens: int
    default_bases: int
    trained_bases: int
    step: int = 1
    field: int = 0
    strands_agree: bool = False
    half: Literal["fp16", "bf16"] = "fp16"
    on_cpu: Literal["fp32", "mixed"] = "fp32"
