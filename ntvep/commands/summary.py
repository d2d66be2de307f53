"""statuses and passes -> what a run did, for people (a log) and for programs (JSON)."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import polars as pl

from ntvep.schema import STATUS_MEANING, Status

_log = logging.getLogger("ntvep")


@dataclass
class Summary:
    """What a run did; ``OUT.summary.json`` has these keys.

    Attributes:
        records, alleles, ok: how many there were; ok are those with scores.
        statuses: number of alleles by status, those that occur.
        passes: forward passes run.
        again: how many of these were in float32, because others had overflowed in half precision.
        known: alleles whose scores were looked up, in a store or a cache.
        seconds: wall time, loading included.
        fingerprint: identity of the scores.
        bad_records: lines left out, with their reasons.
        contig_aliases: contig names of the input -> of the reference, where they differ.
    """

    records: int = 0
    alleles: int = 0
    ok: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    passes: int = 0
    again: int = 0
    known: int = 0
    seconds: float = 0.0
    fingerprint: str = ""
    bad_records: Sequence[Mapping[str, object]] = ()
    contig_aliases: Mapping[str, str] = field(default_factory=dict)

    def count(self, statuses: pl.Series, passes: int = 0, known: int = 0, again: int = 0) -> None:
        """Add the alleles of one chunk."""
        self.add(Counter(statuses.cast(pl.String).to_list()), passes, known, again)

    def add(self, statuses: Mapping[str, int], passes: int, known: int = 0, again: int = 0) -> None:
        """Add what a part of the run counted."""
        counts = Counter(self.statuses) + Counter(statuses)
        # In the order of the definitions, so that two summaries compare line by line.
        self.statuses = {s.value: counts[s.value] for s in Status if counts[s.value]}
        self.alleles = counts.total()
        self.ok = counts[Status.OK]
        self.passes += passes
        self.known += known
        self.again += again

    @property
    def passes_per_allele(self) -> float | None:
        """Forward passes run for each allele that has scores; None where none has."""
        return self.passes / self.ok if self.ok else None

    def to_json(self) -> str:
        """With the rates that follow from the counts."""
        each = self.passes_per_allele
        rates = {
            "passes_per_allele": None if each is None else round(each, 4),
            "alleles_per_second": round(self.alleles / self.seconds, 2) if self.seconds else None,
        }
        return json.dumps(asdict(self) | rates, indent=2) + "\n"

    def log(self, ok: str = "scored") -> None:
        """Say it; ``ok`` is the word for alleles of that status."""
        _log.info("%d records, %d alleles, %d %s", self.records, self.alleles, self.ok, ok)
        for status, count in self.statuses.items():
            if status != Status.OK:
                _log.info("  %d %s: %s", count, status, STATUS_MEANING[Status(status)])
        if self.alleles and not self.ok:
            reasons = ", ".join(f"{count} {status}" for status, count in self.statuses.items())
            _log.warning("no allele has a score: %s", reasons)
        if self.known:
            _log.info("%d of these scores came from a store or the cache", self.known)
        if self.passes:
            self._log_passes(ok)
        if self.again:
            _log.info(
                "%d of these passes were run again in float32: their numbers overflow in half "
                "precision",
                self.again,
            )
        if self.contig_aliases:
            pairs = ", ".join(f"{ours} = {theirs}" for ours, theirs in self.contig_aliases.items())
            _log.info("contig names of the input and the reference: %s", pairs)

    def _log_passes(self, ok: str) -> None:
        """How many, and how fast; a dry run has needed no time for them."""
        each = self.passes_per_allele
        per = "" if each is None else f" ({each:.2f} per {ok} allele)"
        if not self.seconds:
            _log.info("%d forward passes needed%s", self.passes, per)
            return
        rate = self.alleles / self.seconds
        _log.info(
            "%d forward passes%s in %.1f s, %.1f alleles/s", self.passes, per, self.seconds, rate
        )
