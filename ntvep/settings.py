"""options -> frozen settings, validated once: what the numbers depend on, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ntvep.errors import ConfigError
from ntvep.schema import SCORE_NAMES, Column, score_schema, sd_column
from ntvep.windows import K


@dataclass(frozen=True)
class View:
    """One way to lay 6-mers over a change."""

    phase: int
    reverse: bool


VIEWS = {
    1: (View(0, reverse=False),),
    2: (View(0, reverse=False), View(0, reverse=True)),
    12: tuple(View(phase, reverse) for phase in range(K) for reverse in (False, True)),
}
DEFAULT_VIEWS = 2
DEFAULT_MAX_ALLELE_BASES = 50
DEFAULT_MAX_N_FRACTION = 0.1

Pool = Literal["mean", "mean_cls"]


@dataclass(frozen=True)
class Settings:
    """What is scored, and how.

    Attributes:
        scores: names of score columns, in the order of the table.
        window_tokens: number of 6-mers in a full window.
        max_tokens: the model's maximum, ``<cls>`` included.
        views: 1, 2 or 12.
        layer: hidden layer of the embeddings; None for the last, after the final LayerNorm.
        pool: what an embedding averages: the nucleotide tokens, or these and ``<cls>``.
        max_allele_bases: the most bases that may go or come.
        max_n_fraction: the largest share of N in a window that is scored.
    """

    scores: tuple[str, ...] = SCORE_NAMES
    window_tokens: int = 999
    max_tokens: int = 1000
    views: int = DEFAULT_VIEWS
    layer: int | None = None
    pool: Pool = "mean"
    max_allele_bases: int = DEFAULT_MAX_ALLELE_BASES
    max_n_fraction: float = DEFAULT_MAX_N_FRACTION

    def __post_init__(self) -> None:
        """Refuse what cannot be scored.

        Raises:
            ConfigError: naming the option, what was found and what was expected.
        """
        parse_scores(self.scores)
        if self.views not in VIEWS:
            raise ConfigError(f"--views is {self.views}; expected 1, 2 or 12")
        if self.pool not in ("mean", "mean_cls"):
            raise ConfigError(f"--pool is {self.pool!r}; expected mean or mean_cls")
        if self.max_allele_bases < 1:
            raise ConfigError(f"--max-allele-bases is {self.max_allele_bases}; expected 1 or more")
        if not 0 <= self.max_n_fraction <= 1:
            raise ConfigError(f"--max-n-fraction is {self.max_n_fraction}; expected 0 to 1")
        if not 1 <= self.window_tokens < self.max_tokens:
            raise ConfigError(
                f"--window-tokens is {self.window_tokens}; this model takes 1 to "
                f"{self.max_tokens - 1} (its maximum of {self.max_tokens} less <cls>)"
            )
        # The change starts in the middle token, at worst on its last base.
        room = K * (self.window_tokens - self.window_tokens // 2) - (K - 1)
        if room < self.max_allele_bases:
            raise ConfigError(
                f"--window-tokens {self.window_tokens} leaves room for {room} changed bases, but "
                f"--max-allele-bases is {self.max_allele_bases}; use --max-allele-bases {room}"
                " or a longer window"
            )

    @property
    def with_sd(self) -> bool:
        """Whether the spread between views is worth its columns: between two strands it is not."""
        return self.views > 2

    @property
    def score_columns(self) -> tuple[str, ...]:
        """Names of the scores and, where they are worth it, of their spreads."""
        spread = [sd_column(name).name for name in self.scores] if self.with_sd else []
        return (*self.scores, *spread)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a SCORES table made with these settings."""
        return score_schema(self.scores, self.with_sd)


def parse_scores(names: str | Sequence[str]) -> tuple[str, ...]:
    """Score names from ``all`` or a comma-separated list, in the order of the table.

    Raises:
        ConfigError: a name is unknown; lists the known ones.
    """
    asked = names.split(",") if isinstance(names, str) else list(names)
    asked = [name.strip() for name in asked]
    if asked == ["all"]:
        return SCORE_NAMES
    unknown = [name for name in asked if name not in SCORE_NAMES]
    if unknown or not asked:
        raise ConfigError(
            f"unknown score {', '.join(map(repr, unknown)) or '(none given)'}; known scores: all, "
            f"{', '.join(SCORE_NAMES)}"
        )
    return tuple(name for name in SCORE_NAMES if name in asked)
