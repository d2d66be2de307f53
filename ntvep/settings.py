"""options -> frozen settings, validated: what a score is made by, and which alleles get one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from ntvep.defaults import DEFAULT_MAX_ALLELE_BASES, DEFAULT_MAX_N_FRACTION
from ntvep.description import Description
from ntvep.errors import ConfigError
from ntvep.objectives import SCORE_NAMES, Pool, Softmax, defined_scores
from ntvep.schema import sd_column
from ntvep.windows import Grid


@dataclass(frozen=True)
class View:
    """One way to lay tokens over a change."""

    phase: int
    reverse: bool


@dataclass(frozen=True)
class Settings:
    """What is scored, and how.

    Attributes:
        scores: names of score columns, in the order of the table.
        window_bases: length of a full window.
        views: 1 (forward), 2 (both strands), or every phase of the tokens on both strands.
        layer: hidden layer of the embeddings; None for the last, after a final norm.
        pool: what an embedding averages: the nucleotide tokens, or these and the special ones
            before them.
        softmax: over what a prediction is normalised: all tokens, or only A, C, G, T.
        anchor: window starts lie on a lattice of that many bases; None for the model's own.
        max_allele_bases: the most bases that may go or come.
        max_n_fraction: the largest share of N in a window that is scored.
    """

    scores: tuple[str, ...] = SCORE_NAMES
    window_bases: int = 5994
    views: int = 2
    layer: int | None = None
    pool: Pool = "mean"
    softmax: Softmax = "all"
    anchor: int | None = None
    max_allele_bases: int = DEFAULT_MAX_ALLELE_BASES
    max_n_fraction: float = DEFAULT_MAX_N_FRACTION

    def __post_init__(self) -> None:
        """Refuse what no model can be asked.

        Raises:
            ConfigError: naming the option, what was found and what was expected.
        """
        parse_scores(self.scores)
        if self.pool not in get_args(Pool):
            raise ConfigError(f"--pool is {self.pool!r}; expected mean or mean_cls")
        if self.softmax not in get_args(Softmax):
            raise ConfigError(f"--softmax is {self.softmax!r}; expected all or acgt")
        if self.max_allele_bases < 1:
            raise ConfigError(f"--max-allele-bases is {self.max_allele_bases}; expected 1 or more")
        if not 0 <= self.max_n_fraction <= 1:
            raise ConfigError(f"--max-n-fraction is {self.max_n_fraction}; expected 0 to 1")

    @property
    def with_sd(self) -> bool:
        """Whether the spread between views is worth its columns: between two strands it is not."""
        return self.views > 2

    @property
    def score_columns(self) -> tuple[str, ...]:
        """Names of the scores and, where they are worth it, of their spreads."""
        spread = [sd_column(name).name for name in self.scores] if self.with_sd else []
        return (*self.scores, *spread)

    def views_of(self, stride: int) -> tuple[View, ...]:
        """The views, phase by phase."""
        phases = range(stride) if self.views > 2 else range(1)
        strands = (False, True) if self.views > 1 else (False,)
        return tuple(View(phase, reverse) for phase in phases for reverse in strands)

    def grid(self, model: Description, phase: int) -> Grid:
        """Where the windows of a phase may lie."""
        stride = model.tokenizer.stride
        return Grid(stride, phase, self.window_bases, model.step, self.anchor or stride)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; what has its default and came later is left out."""
        content = asdict(self) | {"scores": list(self.scores)}
        for name, default in (("softmax", "all"), ("anchor", None)):
            if content[name] == default:
                del content[name]
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Settings":
        """Read what :meth:`to_dict` wrote, or ntvep 0.1: windows of 6-mers, whose model says more.

        Raises:
            KeyError, TypeError: it is something else.
        """
        given = dict(content)
        if "window_tokens" in given:
            given["window_bases"] = 6 * given.pop("window_tokens")
            del given["max_tokens"]
        return cls(**given | {"scores": tuple(given["scores"])})


def parse_views(text: str | int, model: Description) -> int:
    """Number of views: 1, 2, or ``all`` phases on both strands, which has a number too.

    Raises:
        ConfigError: it is something else.
    """
    stride = model.tokenizer.stride
    known = {"1": 1, "2": 2, "all": 2 * stride, str(2 * stride): 2 * stride}
    if str(text) not in known:
        more = f" ({2 * stride})" if stride > 1 else " (2, for this model)"
        raise ConfigError(f"--views is {text}; expected 1, 2 or all{more}")
    return 1 if model.strands_agree else known[str(text)]


def parse_scores(names: str | Sequence[str], model: Description | None = None) -> tuple[str, ...]:
    """Score names from ``all`` or a comma-separated list, in the order of the table.

    Args:
        names: as given.
        model: ``all`` means the scores that it has; without one, every score.

    Raises:
        ConfigError: a name is unknown; lists the known ones.
    """
    asked = names.split(",") if isinstance(names, str) else list(names)
    asked = [name.strip() for name in asked]
    if asked == ["all"]:
        if model is None:
            return SCORE_NAMES
        return defined_scores(model.objective, model.tokenizer.kind)
    unknown = [name for name in asked if name not in SCORE_NAMES]
    if unknown or not asked:
        raise ConfigError(
            f"unknown score {', '.join(map(repr, unknown)) or '(none given)'}; known scores: all, "
            f"{', '.join(SCORE_NAMES)}"
        )
    return tuple(name for name in SCORE_NAMES if name in asked)


def parse_layer(layer: str | int, layers: int) -> int | None:
    """``last`` or a number from 0 (input embeddings) to the number of layers; None is the last.

    Raises:
        ConfigError: the model has no such layer.
    """
    if layer == "last":
        return None
    try:
        number = int(layer)
    except ValueError:
        number = -1
    if not 0 <= number <= layers:
        raise ConfigError(
            f"--layer is {layer!r}; this model has layers 0 (input embeddings) to {layers} (last)"
        )
    return None if number == layers else number


def fitting(settings: Settings, model: Description, beyond_training: bool = False) -> Settings:
    """The settings, if the model can be asked so.

    Args:
        settings: as asked.
        model: that is asked.
        beyond_training: whether a window may be longer than those it was trained with.

    Raises:
        ConfigError: naming the option, what was found and what was expected.
    """
    if model.objective == "rates" and settings.softmax != "all":
        raise ConfigError("--softmax acgt: this model gives log rates, which are not normalised")
    if model.field:
        if settings.pool == "mean_cls":
            raise ConfigError("--pool mean_cls: this model has no special token before the bases")
        return settings
    _check_window(settings, model, beyond_training)
    stride, bases = model.tokenizer.stride, settings.window_bases
    if settings.pool == "mean_cls" and not model.tokenizer.front:
        raise ConfigError("--pool mean_cls: this model has no special token before the bases")
    if settings.softmax == "acgt" and model.tokenizer.nucleotides is None:
        raise ConfigError("--softmax acgt: this model does not have single-base tokens")
    anchor = stride if settings.anchor is None else settings.anchor
    most = bases // 2 - settings.max_allele_bases
    if anchor != stride and (anchor % stride or not stride <= anchor <= most):
        raise ConfigError(
            f"--anchor is {anchor}; expected a multiple of {stride} up to {most}, half of the "
            f"window of {bases} bases minus --max-allele-bases {settings.max_allele_bases}"
        )
    # The change starts in the middle token, at worst on its last base.
    room = stride * (bases // stride - bases // stride // 2) - (stride - 1)
    if room < settings.max_allele_bases:
        raise ConfigError(
            f"a window of {bases} bases leaves room for {room} changed bases, but "
            f"--max-allele-bases is {settings.max_allele_bases}; use --max-allele-bases {room}"
            " or a longer window"
        )
    return settings


def _check_window(settings: Settings, model: Description, beyond_training: bool) -> None:
    step, bases = model.step, settings.window_bases
    if bases < step or bases % step:
        below, above = bases // step * step, (bases // step + 1) * step
        nearest = f"{below} or {above}" if below else f"{above}"
        raise ConfigError(
            f"a window of {bases} bases is not a multiple of {step}, as this model needs; the "
            f"nearest are --window-bases {nearest}"
        )
    tokenizer = model.tokenizer
    special = len(tokenizer.front) + len(tokenizer.back)
    longest = (model.max_tokens - special + tokenizer.coverage - 1) * tokenizer.stride
    # The number of tokens of a byte-pair encoding depends on the sequence.
    if tokenizer.kind != "bpe" and bases > longest:
        raise ConfigError(
            f"a window of {bases} bases does not fit this model; it takes up to "
            f"{longest} bases ({model.max_tokens} tokens, {special} of them special)"
        )
    if bases > model.trained_bases and not beyond_training:
        raise ConfigError(
            f"a window of {bases} bases is longer than the {model.trained_bases} that this model "
            "was trained with, and its scores there are untested; add --beyond-training to use "
            "it anyway"
        )
