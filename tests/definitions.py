"""The definitions of docs/scores.md for every objective and tokenizer, in plain loops.

One allele, one view, one forward pass at a time; strings and lists; no code of ntvep's. It judges
the fast path. (tests/slow_twin.py does the same for Nucleotide Transformers, and is older.)
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np

COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N", "-": "-"}
# A token: its id, and the bases that it stands for as (start, stop); specials have none.
Token = tuple[int, int, int]


def rc(sequence: str) -> str:
    """The reverse complement."""
    return "".join(COMPLEMENT[b] for b in reversed(sequence))


@dataclass(frozen=True)
class Model:
    """A model as the definitions see it.

    ``tokenize(sequence)`` gives all tokens, specials included (start == stop). ``run(ids)`` gives
    float32 logits (token, vocab) and hidden states of the layer; of a rate model, log rates and
    states of the middle base alone. ``pure`` are the ids that are scored; ``spelled`` the bases of
    a k-mer's id. ``spoiled`` says whether an N keeps one of some tokens from being scored.
    """

    objective: str
    kind: str
    tokenize: Callable[[str], list[Token]]
    run: Callable[[list[int]], tuple[np.ndarray, np.ndarray]]
    mask: int | None
    pure: frozenset[int]
    spoiled: Callable[[list[Token], list[int]], bool]
    spelled: Mapping[int, str]
    bases: Mapping[str, int]
    stride: int = 1
    k: int = 1
    step: int = 1
    max_tokens: int = 10_000
    field: int = 0


@dataclass(frozen=True)
class Definitions:
    """Scores of one allele at a time."""

    model: Model
    genome: Mapping[str, str]
    window: int
    views: int = 2
    anchor: int | None = None
    softmax: str = "all"
    pool: str = "mean"
    max_bases: int = 50
    max_n: float = 0.1

    def score(self, chrom: str, pos: int, ref: str, alt: str) -> dict[str, Any]:
        """A row: ``status`` and, when ok, every column (None where it has no definition)."""
        contig = "".join(b if b in "ACGT" else "N" for b in self.genome[chrom].upper())
        if contig[pos - 1 : pos - 1 + len(ref)] != ref.upper():
            return {"status": "ref_mismatch"}
        p, r, a = pos - 1, ref.upper(), alt.upper()
        while r and a and r[-1] == a[-1]:
            r, a = r[:-1], a[:-1]
        while r and a and r[0] == a[0]:
            p, r, a = p + 1, r[1:], a[1:]
        if max(len(r), len(a)) > self.max_bases:
            return {"status": "allele_too_long"}
        rows, placed = [], False
        for phase in range(self.model.stride) if self.views > 2 else [0]:
            for reverse in [False] if self.views == 1 else [False, True]:
                if self.model.objective == "rates":
                    row = self.rates_view(contig, p, r, a, reverse)
                    placed = True
                else:
                    place = self.place(contig, p, phase)
                    placed |= place is not None
                    row = self.window_view(contig, p, r, a, place, reverse)
                if row is None:
                    continue
                if "status" in row:
                    return row
                rows.append(row)
        if not rows:
            return {"status": "at_contig_end" if placed else "contig_too_short"}
        result: dict[str, Any] = {"status": "ok", "length_change": len(a) - len(r)}
        if self.model.kind == "kmer":
            result["frameshifted"] = (len(a) - len(r)) % self.model.k != 0
        for name in rows[0]:
            values = [row[name] for row in rows]
            undefined = any(value is None for value in values)
            result[name] = None if undefined else mean(values)
            if self.views > 2:
                few = undefined or len(values) < 2
                result[f"{name}_sd"] = None if few else stdev(values)
        return result

    def place(self, contig: str, p: int, phase: int) -> tuple[int, int] | None:
        """Start and stop of the window of a phase."""
        s, step = self.model.stride, self.model.step
        last = phase + (len(contig) - phase) // s * s
        length = min(self.window, (last - phase) // step * step)
        if length <= 0:
            return None
        start = phase + s * (math.floor((p - phase) / s) - math.floor(length / s / 2))
        lattice = self.anchor or s
        start = phase + lattice * math.floor((start - phase) / lattice)
        start = min(max(start, phase), last - length)
        return start, start + length

    def window_view(
        self, contig: str, p: int, r: str, a: str, place: tuple[int, int] | None, reverse: bool
    ) -> dict[str, Any] | None:
        """A view of a masked or causal model."""
        if place is None:
            return None
        start, stop = place
        full = place
        mutant = contig[:p] + a + contig[p + len(r) :]
        while True:
            if not start <= p < stop or p + max(len(r), len(a)) > stop:
                return None
            ref_seq = contig[start:stop]
            shift = 0
            if self.model.kind == "bpe":
                alt_seq = mutant[start : stop + len(a) - len(r)]
            elif self.model.objective == "causal" and reverse:
                # Pinned at its own left end: the same genomic end, bases pulled in from the left.
                end = stop + len(a) - len(r)
                begin = end - (stop - start)
                if p < begin or p + len(a) > end:
                    return None
                alt_seq = mutant[max(0, begin) : end]
                shift = max(0, begin) - start
            else:
                alt_seq = mutant[start:stop]
                if self.model.step != self.model.stride and len(alt_seq) % self.model.step:
                    return None
            if p - start - shift + max(1, len(a)) > len(alt_seq):
                return None
            share = ref_seq.count("N") / len(ref_seq)
            if (start, stop) == full and share > self.max_n:
                return {"status": "too_many_n"}
            counts = [len(self.model.tokenize(s)) for s in (ref_seq, alt_seq)]
            if self.model.kind == "bpe":
                counts += [len(self.model.tokenize(rc(s))) for s in (ref_seq, alt_seq)]
            if max(counts) <= self.model.max_tokens:
                break
            if p - start > stop - 1 - p:
                start += self.model.step
            else:
                stop -= self.model.step
        ref_at, alt_at = p - start, p - start - shift
        if reverse:
            ref_at, alt_at = len(ref_seq) - ref_at - len(r), len(alt_seq) - alt_at - len(a)
            ref_seq, alt_seq, r, a = rc(ref_seq), rc(alt_seq), rc(r), rc(a)
        ref, alt = self.model.tokenize(ref_seq), self.model.tokenize(alt_seq)
        if self.model.kind == "bpe":
            t_ref, t_alt = self.differing(ref, alt, ref_at, alt_at, len(r), len(a))
        else:
            t_ref = self.holding(ref, ref_at, len(r), reverse, len(ref_seq))
            t_alt = self.holding(alt, alt_at, len(a), reverse, len(alt_seq))
        if not t_ref or not t_alt:
            return None
        if self.model.objective == "causal" and min(*t_ref, *t_alt) == 0:
            return None
        if self.model.spoiled(ref, t_ref) or self.model.spoiled(alt, t_alt):
            return {"status": "n_in_variant_token"}
        offset = ref_at - ref[t_ref[0]][1]
        columns = self.causal if self.model.objective == "causal" else self.masked
        return columns(ref, alt, t_ref, t_alt, r, a, offset) | self.embeddings(
            ref, alt, t_ref, t_alt
        )

    def holding(
        self, tokens: list[Token], at: int, bases: int, reverse: bool, length: int
    ) -> list[int]:
        """Tokens that hold a stretch; of a junction (no bases), those the contract names."""
        if bases:
            return [i for i, (_, b, e) in enumerate(tokens) if b < at + bases and at < e]
        # ``at`` is where, on this strand, the first base behind the junction stands.
        if self.model.kind == "overlapping":
            return [i for i, (_, b, e) in enumerate(tokens) if b < at and at < e and b < e]
        one = at if self.model.objective == "causal" or not reverse else at - 1
        return [i for i, (_, b, e) in enumerate(tokens) if b <= one < e]

    def differing(
        self, ref: list[Token], alt: list[Token], ref_at: int, alt_at: int, r: int, a: int
    ) -> tuple[list[int], list[int]]:
        """Byte-pair encoding: prefix, suffix, widen, never empty."""
        x, y = [t[0] for t in ref], [t[0] for t in alt]
        prefix = 0
        while prefix < min(len(x), len(y)) and x[prefix] == y[prefix]:
            prefix += 1
        suffix = 0
        while suffix < min(len(x), len(y)) - prefix and x[-1 - suffix] == y[-1 - suffix]:
            suffix += 1

        def covered() -> bool:
            for tokens, at, n in ((ref, ref_at, r), (alt, alt_at, a)):
                inside = tokens[prefix : len(tokens) - suffix]
                held = {base for _, b, e in inside for base in range(b, e)}
                if not set(range(at, at + n)) <= held:
                    return False
            return True

        def left_of_cover() -> bool:
            for tokens, at, n in ((ref, ref_at, r), (alt, alt_at, a)):
                if n and any(b < at + n and at < e for _, b, e in tokens[:prefix]):
                    return True
            return False

        while not covered():
            if left_of_cover():
                prefix -= 1
            else:
                suffix -= 1
        if len(x) - suffix == prefix or len(y) - suffix == prefix:
            suffix -= 1
        return list(range(prefix, len(x) - suffix)), list(range(prefix, len(y) - suffix))

    def log_probs(self, ids: list[int]) -> np.ndarray:
        """Natural-log probabilities (token, vocab) in float64."""
        logits = self.model.run(ids)[0].astype(np.float64)
        if self.softmax == "acgt":
            four = [self.model.bases[b] for b in "ACGT"]
            kept = np.full_like(logits, -np.inf)
            kept[:, four] = logits[:, four]
            logits = kept
        top = logits.max(axis=1, keepdims=True)
        return logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))

    def masked(
        self,
        ref: list[Token],
        alt: list[Token],
        t_ref: list[int],
        t_alt: list[int],
        r: str,
        a: str,
        offset: int,
    ) -> dict[str, Any]:
        x, y = [t[0] for t in ref], [t[0] for t in alt]

        def masked(ids: list[int], where: list[int]) -> np.ndarray:
            return self.log_probs([self.model.mask if i in where else t for i, t in enumerate(ids)])

        ref_masked, alt_masked = masked(x, t_ref), masked(y, t_alt)
        plain_ref, plain_alt = self.log_probs(x), self.log_probs(y)
        times = 1
        if self.model.kind == "overlapping":
            times = len(t_ref) if len(r) == len(a) == 1 else self.model.k
        row: dict[str, Any] = {}
        row["llr"] = (
            sum(alt_masked[t][y[t]] for t in t_alt) - sum(ref_masked[t][x[t]] for t in t_ref)
        ) / times
        row["llr_marginal"] = None
        if self.model.kind == "kmer" and len(r) == len(a) == 1:
            p = {
                base: sum(
                    math.exp(ref_masked[t_ref[0]][i])
                    for i, kmer in self.model.spelled.items()
                    if kmer[offset] == base
                )
                for base in (r, a)
            }
            row["llr_marginal"] = math.log(p[a]) - math.log(p[r])
        row["llr_unmasked"] = None
        same = [ref[t][1:] for t in t_ref] == [alt[t][1:] for t in t_alt]
        if len(r) == len(a) and t_ref == t_alt and same:
            row["llr_unmasked"] = (
                sum(plain_ref[t][y[t]] - plain_ref[t][x[t]] for t in t_ref) / times
            )
        row["pll_delta"] = self.total(plain_alt, alt, 0, 0) - self.total(plain_ref, ref, 0, 0)
        row["entropy"] = -sum(math.exp(v) * v for v in ref_masked[t_ref[0]] if v > -math.inf)
        return row

    def total(self, log_probs: np.ndarray, tokens: list[Token], since: int, shift: int) -> float:
        """Sum over nucleotide tokens that are scored; ``shift`` 1 for a causal model."""
        return sum(
            log_probs[t - shift][i]
            for t, (i, b, e) in enumerate(tokens)
            if t >= since and b < e and i in self.model.pure
        )

    def causal(
        self,
        ref: list[Token],
        alt: list[Token],
        t_ref: list[int],
        t_alt: list[int],
        r: str,
        a: str,
        offset: int,
    ) -> dict[str, Any]:
        x, y = [t[0] for t in ref], [t[0] for t in alt]
        t0 = 0
        while t0 < min(len(x), len(y)) and x[t0] == y[t0]:
            t0 += 1
        of_ref, of_alt = self.log_probs(x), self.log_probs(y)
        pure = self.model.pure
        counts = [sum(i in pure for i in ids) for ids in (x, y)]
        if self.model.kind == "bpe":
            counts = [len(x) - counts[0], len(y) - counts[1]]
        row: dict[str, Any] = {"llr": None, "llr_marginal": None}
        if counts[0] == counts[1]:
            row["llr"] = self.total(of_alt, alt, t0, 1) - self.total(of_ref, ref, t0, 1)
        row["llr_site"] = sum(of_alt[t - 1][y[t]] for t in t_alt) - sum(
            of_ref[t - 1][x[t]] for t in t_ref
        )
        if self.model.kind == "kmer" and len(r) == len(a) == 1:
            begin = self.model.spelled[x[t_ref[0]]][:offset]
            p = {
                base: sum(
                    math.exp(of_ref[t_ref[0] - 1][i])
                    for i, kmer in self.model.spelled.items()
                    if kmer.startswith(begin + base)
                )
                for base in (r, a)
            }
            row["llr_marginal"] = math.log(p[a]) - math.log(p[r])
        at = min(t0, len(x) - 1) - 1
        row["entropy"] = -sum(math.exp(v) * v for v in of_ref[at] if v > -math.inf)
        return row

    def embeddings(
        self, ref: list[Token], alt: list[Token], t_ref: list[int], t_alt: list[int]
    ) -> dict[str, Any]:
        row = {}
        pools = {}
        for side, (tokens, changed) in enumerate(((ref, t_ref), (alt, t_alt))):
            hidden = self.model.run([t[0] for t in tokens])[1].astype(np.float64)
            first = next(i for i, (_, b, e) in enumerate(tokens) if b < e)
            weights = [
                (e - b if self.model.kind == "bpe" else 1)
                if b < e
                else int(self.pool == "mean_cls" and i < first)
                for i, (_, b, e) in enumerate(tokens)
            ]
            pools["", side] = sum(w * h for w, h in zip(weights, hidden, strict=True)) / sum(
                weights
            )
            some = sum(weights[t] for t in changed)
            pools["_token", side] = sum(weights[t] * hidden[t] for t in changed) / some
        for suffix in ("", "_token"):
            row |= self.distances(pools[suffix, 0], pools[suffix, 1], suffix)
        return row

    @staticmethod
    def distances(x: np.ndarray, y: np.ndarray, suffix: str) -> dict[str, float]:
        cosine = float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))
        return {
            f"cosine_distance{suffix}": 1 - cosine,
            f"l1{suffix}": sum(abs(float(d)) for d in x - y),
            f"l2{suffix}": math.sqrt(sum(float(d) ** 2 for d in x - y)),
            f"dot{suffix}": float(x @ y),
        }

    def rates_view(
        self, contig: str, p: int, r: str, a: str, reverse: bool
    ) -> dict[str, Any] | None:
        """A view of a rate model: the field around p, filled up beyond the contig's ends."""
        half = self.model.field // 2
        if p >= len(contig):
            return None
        mutant = contig[:p] + a + contig[p + len(r) :]
        ref_seq, alt_seq = (
            "".join(s[i] if 0 <= i < len(s) else "-" for i in range(p - half, p + half + 1))
            for s in (contig, mutant)
        )
        if ref_seq.count("N") > self.max_n * self.model.field:
            return {"status": "too_many_n"}
        if alt_seq[half] == "-":
            return {"status": "at_contig_end"}
        if "N" in (ref_seq[half], alt_seq[half]):
            return {"status": "n_in_variant_token"}
        if reverse:
            ref_seq, alt_seq, r, a = rc(ref_seq), rc(alt_seq), rc(r), rc(a)
        answers = [
            self.model.run([t[0] for t in self.model.tokenize(s)]) for s in (ref_seq, alt_seq)
        ]
        (y, e_ref), (_, e_alt) = answers
        row: dict[str, Any] = {"llr": None}
        if len(r) == len(a) == 1:
            row["llr"] = float(y[0]["ACGT".index(a)]) - float(y[0]["ACGT".index(r)])
        return row | self.distances(e_ref[0].astype(np.float64), e_alt[0].astype(np.float64), "")
