"""The definitions of docs/scores.md once more, in plain loops over strings: the fast path's judge.

One allele, one view, one forward pass at a time; nothing shared, nothing vectorised, no code of
ntvep's. Tokens come from transformers' tokenizer, logits and hidden states from its model.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np

COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N"}


@dataclass(frozen=True)
class Twin:
    """What the definitions depend on.

    ``tokenize(sequence)`` gives token strings without ``<cls>``; ``ids`` their ids;
    ``run(ids)`` gives float32 logits (token, vocab) and the hidden states of every layer.
    """

    genome: Mapping[str, str]
    tokenize: Callable[[str], list[str]]
    ids: Mapping[str, int]
    run: Callable[[list[int]], tuple[np.ndarray, list[np.ndarray]]]
    n: int
    max_tokens: int
    views: int = 2
    layer: int = -1
    mean_cls: bool = False
    max_bases: int = 50
    max_n: float = 0.1

    def score(self, chrom: str, pos: int, ref: str, alt: str) -> dict[str, Any]:
        """A row: ``status`` and, when ok, every column."""
        if chrom not in self.genome:
            return {"status": "contig_not_in_reference"}
        contig = "".join(b if b in "ACGT" else "N" for b in self.genome[chrom].upper())
        if pos < 1 or pos - 1 + len(ref) > len(contig):
            return {"status": "position_out_of_range"}
        if contig[pos - 1 : pos - 1 + len(ref)] != ref.upper():
            return {"status": "ref_mismatch"}
        p, r, a = pos - 1, ref.upper(), alt.upper()
        while r and a and r[-1] == a[-1]:
            r, a = r[:-1], a[:-1]
        while r and a and r[0] == a[0]:
            p, r, a = p + 1, r[1:], a[1:]
        if len(r) > self.max_bases or len(a) > self.max_bases:
            return {"status": "allele_too_long"}
        phases = range(6) if self.views == 12 else [0]
        strands = [False] if self.views == 1 else [False, True]
        rows = []
        for phase in phases:
            for reverse in strands:
                row = self.view(contig, p, r, a, phase, reverse)
                if row is None:
                    continue
                if "status" in row:
                    return row
                rows.append(row)
        if not rows:
            return {"status": "at_contig_end"}
        result: dict[str, Any] = {"status": "ok", "frameshifted": (len(a) - len(r)) % 6 != 0}
        for name in rows[0]:
            values = [row[name] for row in rows]
            undefined = any(value is None for value in values)
            result[name] = None if undefined else mean(values)
            if self.views == 12:
                few = undefined or len(values) < 2
                result[f"{name}_sd"] = None if few else stdev(values)
        return result

    def view(
        self, contig: str, p: int, r: str, a: str, phase: int, reverse: bool
    ) -> dict[str, Any] | None:
        starts = [s for s in range(phase, len(contig), 6) if s + 6 * self.n <= len(contig)]
        if starts:
            token = math.floor((p - phase) / 6)
            wanted = phase + 6 * (token - self.n // 2)
            start = min(starts, key=lambda s: abs(s - wanted))
            stop = start + 6 * self.n
        else:
            start, stop = phase, phase + (len(contig) - phase) // 6 * 6
            if stop <= start:
                return None
        if contig[start:stop].count("N") > self.max_n * (stop - start):
            return None if self.outside(contig, p, r, a, start, stop) else {"status": "too_many_n"}
        while True:
            if self.outside(contig, p, r, a, start, stop):
                return None
            ref_seq, alt_seq = self.sequences(contig, p, r, a, start, stop)
            if max(len(self.tokenize(s)) for s in (ref_seq, alt_seq)) + 1 <= self.max_tokens:
                break
            if p - start > stop - 1 - p:
                start += 6
            else:
                stop -= 6
        o = p - start
        ref_bases = set(range(o, o + max(1, len(r))))
        alt_bases = set(range(o, o + max(1, len(a))))
        base_ref, base_alt = r, a
        if reverse:
            ref_bases = {len(ref_seq) - 1 - b for b in ref_bases}
            alt_bases = {len(alt_seq) - 1 - b for b in alt_bases}
            ref_seq = "".join(COMPLEMENT[b] for b in reversed(ref_seq))
            alt_seq = "".join(COMPLEMENT[b] for b in reversed(alt_seq))
            base_ref = "".join(COMPLEMENT[b] for b in reversed(r))
            base_alt = "".join(COMPLEMENT[b] for b in reversed(a))
        ref_tokens, alt_tokens = self.tokenize(ref_seq), self.tokenize(alt_seq)
        t_ref = self.holding(ref_tokens, ref_bases)
        t_alt = self.holding(alt_tokens, alt_bases)
        for tokens, changed in ((ref_tokens, t_ref), (alt_tokens, t_alt)):
            if "N" in "".join(tokens) and any(len(tokens[t]) == 1 for t in changed):
                return {"status": "n_in_variant_token"}
        offset = min(ref_bases) - sum(len(t) for t in ref_tokens[: t_ref[0]])
        return self.columns(ref_tokens, alt_tokens, t_ref, t_alt, base_ref, base_alt, offset)

    def outside(self, contig: str, p: int, r: str, a: str, start: int, stop: int) -> bool:
        if p < start or p >= stop or p + len(r) > stop:
            return True
        _, alt_seq = self.sequences(contig, p, r, a, start, stop)
        return p - start + max(1, len(a)) > len(alt_seq)

    @staticmethod
    def sequences(contig: str, p: int, r: str, a: str, start: int, stop: int) -> tuple[str, str]:
        mutant = contig[:p] + a + contig[p + len(r) :]
        return contig[start:stop], mutant[start : start + (stop - start)]

    @staticmethod
    def holding(tokens: list[str], bases: set[int]) -> list[int]:
        found, at = [], 0
        for i, token in enumerate(tokens):
            if bases & set(range(at, at + len(token))):
                found.append(i)
            at += len(token)
        return found

    def columns(
        self,
        ref_tokens: list[str],
        alt_tokens: list[str],
        t_ref: list[int],
        t_alt: list[int],
        r: str,
        a: str,
        offset: int,
    ) -> dict[str, Any]:
        substitution = len(r) == len(a)
        ref_ids, alt_ids = ([self.ids[t] for t in tokens] for tokens in (ref_tokens, alt_tokens))
        ref_masked = self.log_probs(ref_ids, masked=t_ref)
        alt_masked = self.log_probs(alt_ids, masked=t_alt)
        ref_plain = self.log_probs(ref_ids, masked=[])
        alt_plain = self.log_probs(alt_ids, masked=[])
        row: dict[str, Any] = {}
        row["llr"] = sum(alt_masked[t][alt_ids[t]] for t in t_alt) - sum(
            ref_masked[t][ref_ids[t]] for t in t_ref
        )
        row["llr_marginal"] = None
        if len(r) == len(a) == 1 and len(ref_tokens[t_ref[0]]) == 6:
            probability = {
                base: sum(
                    math.exp(ref_masked[t_ref[0]][i])
                    for token, i in self.ids.items()
                    if len(token) == 6 and set(token) <= set("ACGT") and token[offset] == base
                )
                for base in (r, a)
            }
            row["llr_marginal"] = math.log(probability[a]) - math.log(probability[r])
        row["llr_unmasked"] = None
        if substitution:
            row["llr_unmasked"] = sum(
                ref_plain[t][alt_ids[t]] - ref_plain[t][ref_ids[t]] for t in t_ref
            )
        row["pll_delta"] = sum(alt_plain[t][i] for t, i in enumerate(alt_ids)) - sum(
            ref_plain[t][i] for t, i in enumerate(ref_ids)
        )
        row["entropy"] = -sum(math.exp(x) * x for x in ref_masked[t_ref[0]].tolist())
        ref_hidden, alt_hidden = self.hidden(ref_ids), self.hidden(alt_ids)
        first = 0 if self.mean_cls else 1
        pools = {
            "": (ref_hidden[first:].mean(axis=0), alt_hidden[first:].mean(axis=0)),
            "_token": (
                np.mean([ref_hidden[1 + t] for t in t_ref], axis=0),
                np.mean([alt_hidden[1 + t] for t in t_alt], axis=0),
            ),
        }
        for suffix, (x, y) in pools.items():
            cosine = float(x @ y) / math.sqrt(float(x @ x) * float(y @ y))
            row[f"cosine_distance{suffix}"] = 1 - cosine
            row[f"l1{suffix}"] = sum(abs(float(d)) for d in x - y)
            row[f"l2{suffix}"] = math.sqrt(sum(float(d) ** 2 for d in x - y))
            row[f"dot{suffix}"] = float(x @ y)
        return row

    def log_probs(self, ids: list[int], masked: list[int]) -> np.ndarray:
        """Natural-log probabilities (token, vocab) in float64, ``<cls>``'s row left off."""
        shown = [self.ids["<mask>"] if t in masked else i for t, i in enumerate(ids)]
        logits = self.run([self.ids["<cls>"], *shown])[0][1:].astype(np.float64)
        top = logits.max(axis=1, keepdims=True)
        return logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))

    def hidden(self, ids: list[int]) -> np.ndarray:
        return self.run([self.ids["<cls>"], *ids])[1][self.layer].astype(np.float64)
