"""log-probabilities and embeddings -> scores: formulas and signs only.

Natural logarithms. A negative log-ratio says that ALT is less likely than REF; a larger distance
says that ALT moves the embedding farther. Undefined values are NaN.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from ntvep.objectives import defined_scores
from ntvep.passes import AnswerIndex, Answers, Asking, Plan, TokenPair
from ntvep.tokens import Tokenizer


def summed(
    log_probs: Float32[np.ndarray, "query"], asked: AnswerIndex, pairs: int
) -> Float64[np.ndarray, "pair"]:
    """Sum over each pair's changed tokens of log P(token), nats. A pair that asked none gets 0."""
    sums = np.bincount(asked.pair, weights=log_probs[asked.place], minlength=pairs)
    # Of no weights at all numpy makes whole numbers.
    return sums.astype(np.float64, copy=False)


def llr(
    log_probs: Float32[np.ndarray, "query"], alt: AnswerIndex, ref: AnswerIndex, pairs: int
) -> Float64[np.ndarray, "pair"]:
    """Log P(ALT tokens) - log P(REF tokens), nats; negative = ALT less likely than REF.

    With masked tokens the masked-marginal score, with those of the unmasked REF window the
    wild-type-marginal score (Meier et al., NeurIPS 2021).
    """
    difference: Float64[np.ndarray, "pair"] = summed(log_probs, alt, pairs)
    difference -= summed(log_probs, ref, pairs)
    return difference


def llr_marginal(
    bases: Float64[np.ndarray, "snv offset 4"], snvs: Int64[np.ndarray, "snv 3"]
) -> Float64[np.ndarray, "snv"]:
    """Per SNV, log P(ALT base) - log P(REF base) at its place in the masked 6-mer, nats.

    P(base) is the sum of P(6-mer) over the 1,024 6-mers that have the base at that place.

    Args:
        bases: log P(base at offset) at each SNV's masked token.
        snvs: offset of the changed base in its 6-mer, REF base, ALT base (A 0, C 1, G 2, T 3).
    """
    offset, ref, alt = snvs.T
    number = np.arange(len(snvs))
    difference: Float64[np.ndarray, "snv"] = bases[number, offset, alt] - bases[number, offset, ref]
    return difference


def mean_rows(
    hidden: Float64[np.ndarray, "query dim"], asked: AnswerIndex, pairs: int
) -> Float64[np.ndarray, "pair dim"]:
    """Mean of each pair's hidden states, by weight. ``asked`` is in the order of the pairs."""
    first = np.searchsorted(asked.pair, np.arange(pairs))
    states, weights = hidden[asked.place], asked.weight
    if (weights != 1).any():
        states = states * weights[:, None]
    sums = np.add.reduceat(states, first, axis=0)
    total = np.bincount(asked.pair, weights=weights, minlength=pairs)
    means: Float64[np.ndarray, "pair dim"] = sums / total[:, None]
    return means


def cosine_distance(
    ref: Float64[np.ndarray, "pair dim"], alt: Float64[np.ndarray, "pair dim"]
) -> Float64[np.ndarray, "pair"]:
    """1 - cos(ref, alt), from 0 to 2.

    Computed as half the squared distance of the unit vectors: 1 - cos of two nearly equal vectors
    would lose all its digits.
    """
    unit_ref = ref / np.linalg.norm(ref, axis=1, keepdims=True)
    unit_alt = alt / np.linalg.norm(alt, axis=1, keepdims=True)
    half: Float64[np.ndarray, "pair"] = np.sum((unit_ref - unit_alt) ** 2, axis=1) / 2
    return half


def distances(
    ref: Float64[np.ndarray, "pair dim"], alt: Float64[np.ndarray, "pair dim"]
) -> dict[str, Float64[np.ndarray, "pair"]]:
    """The four comparisons of two embeddings of each pair, by column name."""
    return {
        "cosine_distance": cosine_distance(ref, alt),
        "l1": np.abs(ref - alt).sum(axis=1),
        "l2": np.linalg.norm(ref - alt, axis=1),
        "dot": np.sum(ref * alt, axis=1),
    }


def defined(name: str, pairs: Sequence[TokenPair], asking: Asking) -> Bool[np.ndarray, "pair"]:
    """For which pairs a score has a definition at all."""
    model = asking.model
    if name not in defined_scores(model.objective, model.tokenizer.kind):
        return np.zeros(len(pairs), bool)
    if name == "llr_marginal" or (name == "llr" and model.objective == "rates"):
        return np.array([pair.snv is not None for pair in pairs], bool)
    if name == "llr_unmasked":
        return np.array([pair.same_places for pair in pairs], bool)
    if name == "llr" and model.objective == "causal":
        return np.array([_as_many_terms(pair, model.tokenizer) for pair in pairs], bool)
    return np.ones(len(pairs), bool)


def _as_many_terms(pair: TokenPair, tokenizer: Tokenizer) -> bool:
    """Whether REF and ALT are sums of equally many terms.

    Where bases are re-segmented their numbers differ as they must: there only what is not a term
    has to be equal.
    """
    if pair.alt is None:
        return True
    terms = [int(tokenizer.terms[side.ids].sum()) for side in (pair.ref, pair.alt)]
    if tokenizer.kind != "bpe":
        return terms[0] == terms[1]
    return len(pair.ref.ids) - terms[0] == len(pair.alt.ids) - terms[1]


def times_counted(pairs: Sequence[TokenPair], coverage: int) -> Float64[np.ndarray, "pair"]:
    """How often each changed base is counted in a sum over the changed tokens.

    Overlapping k-mers count it k times, an SNV's at a window's end as often as there are tokens.
    """
    if coverage == 1:
        return np.ones(len(pairs))
    return np.array([len(pair.ref_changed) if pair.snv else coverage for pair in pairs], np.float64)


def score(
    pairs: Sequence[TokenPair], asking: Asking, plan: Plan, answers: Answers
) -> dict[str, Float64[np.ndarray, "pair"]]:
    """Every asked score of every pair; NaN where a score has no definition."""
    n, wants = len(pairs), set(asking.scores)
    values = dict.fromkeys(asking.scores, np.full(n, np.nan))
    values |= _log_ratios(pairs, asking, plan, answers)
    if "llr_marginal" in wants and len(answers.bases):
        is_snv = plan.bases >= 0
        snvs = np.array([pair.snv for pair in pairs if pair.snv], np.int64).reshape(-1, 3)
        values["llr_marginal"] = np.full(n, np.nan)
        values["llr_marginal"][is_snv] = llr_marginal(answers.bases[plan.bases[is_snv]], snvs)
    if "entropy" in wants and len(answers.entropy):
        values["entropy"] = answers.entropy[plan.entropy]
    if wants & {"cosine_distance", "l1", "l2", "dot"}:
        if asking.model.objective == "rates":
            # Such a model has one embedding for each base: that of the changed one.
            ref = mean_rows(answers.hidden, plan.hidden_ref, n)
            alt = mean_rows(answers.hidden, plan.hidden_alt, n)
        else:
            ref, alt = answers.pooled[plan.ref_pool], answers.pooled[plan.alt_pool]
        values |= distances(ref, alt)
    if any(name.endswith("_token") for name in wants) and asking.model.objective != "rates":
        ref = mean_rows(answers.hidden, plan.hidden_ref, n)
        alt = mean_rows(answers.hidden, plan.hidden_alt, n)
        values |= {f"{name}_token": column for name, column in distances(ref, alt).items()}
    return {
        name: np.where(defined(name, pairs, asking), values[name], np.nan) for name in asking.scores
    }


def _log_ratios(
    pairs: Sequence[TokenPair], asking: Asking, plan: Plan, answers: Answers
) -> dict[str, Float64[np.ndarray, "pair"]]:
    """Ratios that are sums over tokens."""
    n, objective = len(pairs), asking.model.objective
    times = times_counted(pairs, asking.model.tokenizer.coverage)
    values: dict[str, Float64[np.ndarray, "pair"]] = {}
    if len(plan.alone_ref.pair):
        name = "llr_site" if objective == "causal" else "llr"
        values[name] = llr(answers.tokens, plan.alone_alt, plan.alone_ref, n) / times
    if len(plan.unmasked_ref.pair):
        unmasked = llr(answers.tokens, plan.unmasked_alt, plan.unmasked_ref, n)
        values["llr_unmasked"] = unmasked / times
    if len(answers.likelihood):
        name = "llr" if objective == "causal" else "pll_delta"
        sums = answers.likelihood
        values[name] = sums[plan.alt_sum] - sums[plan.ref_sum]
    return values


def over_views(
    values: Float64[np.ndarray, "variant view"], used: Bool[np.ndarray, "variant view"]
) -> tuple[Float64[np.ndarray, "variant"], Float64[np.ndarray, "variant"]]:
    """Mean and sample standard deviation (ddof 1) over the views used.

    A value that is NaN in one of the views used is NaN in both; with one view used the standard
    deviation is NaN.
    """
    count = used.sum(axis=1)
    kept = np.where(used, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = kept.sum(axis=1) / count
        squares = np.where(used, (values - mean[:, None]) ** 2, 0.0).sum(axis=1)
        sd = np.sqrt(squares / np.where(count > 1, count - 1, np.nan))
    return mean, sd
