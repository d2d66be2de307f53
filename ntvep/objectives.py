"""a model's objective and tokenizer -> which scores it has; only their names."""

from typing import Literal

# What the outputs of a model are: a token given all others, a token given those before it, or log
# rates of A, C, G, T at every base of an unmasked window.
Objective = Literal["masked", "causal", "rates"]
# How bases become tokens: k-mers that do not overlap, single bases, k-mers at every base, or
# byte-pair encoding.
Kind = Literal["kmer", "base", "overlapping", "bpe"]
# What an embedding of a window averages: nucleotide tokens, or these and the special ones before.
Pool = Literal["mean", "mean_cls"]
# Over what a prediction is normalised: all tokens, or only A, C, G, T.
Softmax = Literal["all", "acgt"]

DISTANCES = ("cosine_distance", "l1", "l2", "dot")
# In the order of the table.
SCORE_NAMES = (
    "llr",
    "llr_site",
    "llr_marginal",
    "llr_unmasked",
    "pll_delta",
    "entropy",
    *DISTANCES,
    *(f"{name}_token" for name in DISTANCES),
)


def defined_scores(objective: Objective, kind: Kind) -> tuple[str, ...]:
    """Names of the scores that a model of this kind has, in the order of the table."""
    no_marginal = set() if kind == "kmer" else {"llr_marginal"}
    none = {
        "masked": {"llr_site"} | no_marginal,
        "causal": {"llr_unmasked", "pll_delta"} | no_marginal,
        "rates": {"llr_site", "llr_marginal", "llr_unmasked", "pll_delta", "entropy"}
        | {f"{name}_token" for name in DISTANCES},
    }[objective]
    return tuple(name for name in SCORE_NAMES if name not in none)
