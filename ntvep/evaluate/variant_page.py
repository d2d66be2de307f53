"""variants of one sample -> a page: one HTML file that needs nothing else, to search and to sort.

Names of samples, genes, files and alleles come from files of anyone: jinja2 escapes all of them,
rows are JSON without ``<``, and the page's script writes only text, never HTML.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import polars as pl
from jinja2 import Environment, StrictUndefined

from ntvep.evaluate.report import provenance_rows
from ntvep.evaluate.variant_table import KINDS
from ntvep.provenance import Provenance
from ntvep.schema import STATUS_MEANING, Column, Status

# Rows of each kind that stand in the page itself, for a browser without scripts.
_STATIC = 25
_SHOWN_SCORES = 4
_FIRST = ("llr", "pll_delta", "cosine_distance", "entropy")
_TITLES = {
    "rank": "Rank",
    "variant": "Variant",
    "zygosity": "Zygosity",
    "gene": "Gene",
    "consequence": "Consequence",
    "significance": "Called",
    "stars": "Stars",
    "status": "Status",
    "kind": "Kind",
    "id": "ID",
    "filter": "FILTER",
    "genotype": "Genotype",
    "transcript": "Transcript",
    "change": "Change",
    "label_source": "Called by",
}
# What a row shows, before the scores; all else is shown when it is opened.
_SHOWN = ("rank", "variant", "zygosity", "gene", "consequence", "significance", "stars")
_PARTS = ("chrom", "pos", "ref", "alt")
KIND_WORDS = {"SNV": "SNVs", "indel": "Indels", "MNV": "MNVs", "other": "Other alleles"}


@dataclass(frozen=True)
class Picture:
    """A picture of a variant's surroundings.

    Attributes:
        variant: chrom:pos:ref:alt.
        caption: what is shown, and how to read it.
        image: SVG as a data: address.
    """

    variant: str
    caption: str
    image: str


@dataclass(frozen=True, eq=False)
class Page:
    """What a page says.

    Attributes:
        sample: name of the sample; empty where files have no genotypes.
        inputs: names of the files of scores.
        labels: of the label files.
        rows: ranked, the most deleterious of each kind first.
        columns: of scores, by name in the rows.
        by: kind -> by which column it is ranked, and +1 if higher counts as more deleterious.
        statuses: how many alleles have each status.
        cut: how many ranked variants of each kind are not on the page.
        left_out: why alleles of the files are not listed, and how many.
        models: provenance of the scores by the model's name.
        pictures: of the top variants.
        version, command: of this ntvep.
    """

    sample: str
    inputs: Sequence[str]
    labels: Sequence[str]
    rows: pl.DataFrame
    columns: Mapping[str, Column]
    by: Mapping[str, tuple[str, int]]
    statuses: Mapping[str, int]
    cut: Mapping[str, int]
    left_out: Mapping[str, int]
    models: Mapping[str, Provenance]
    pictures: Sequence[Picture]
    version: str
    command: str

    @property
    def title(self) -> str:
        """The sample, or the file where it has no name."""
        return self.sample or self.inputs[0]


def render(page: Page) -> str:
    """The page as HTML."""
    shown = _shown(page)
    kinds = [kind for kind in KINDS if kind in page.rows["kind"]]
    static = page.rows.filter(pl.int_range(pl.len()).over("kind") < _STATIC)
    return _rendered(
        "variants.html.jinja",
        page=page,
        kinds={kind: KIND_WORDS[kind] for kind in kinds},
        counts=dict(page.rows["kind"].value_counts().iter_rows()),
        shown=[_head(name, page) for name in shown],
        static=[
            [_static_cell(name, row) for name in shown] for row in static.iter_rows(named=True)
        ],
        ranked=[
            (KIND_WORDS[kind], column, "highest" if sign > 0 else "lowest")
            for kind, (column, sign) in page.by.items()
            if kind in kinds
        ],
        statuses=[
            (status, count, STATUS_MEANING[Status(status)])
            for status, count in page.statuses.items()
        ],
        scored=page.statuses.get("ok", 0),
        data={**_data(page, shown), "meanings": STATUS_MEANING},
        provenance={name: provenance_rows(made) for name, made in page.models.items()},
    )


def index(pages: Mapping[str, Page]) -> str:
    """A page that leads to those of the samples; ``pages`` by their files' names."""
    return _rendered(
        "samples.html.jinja",
        pages=[
            {
                "file": name,
                "title": page.title,
                "kinds": dict(page.rows["kind"].value_counts().iter_rows()),
                "unscored": sum(page.statuses.values()) - page.statuses.get("ok", 0),
            }
            for name, page in pages.items()
        ],
        kinds=KIND_WORDS,
        page=next(iter(pages.values())),
    )


def _rendered(name: str, **said: object) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source, style = (
        files("ntvep.evaluate").joinpath(file).read_text("utf-8") for file in (name, "variants.css")
    )
    return environment.from_string(source).render(style=style, **said)


def _shown(page: Page) -> list[str]:
    """Columns of the table, without those that say nothing of any row."""
    says = {name for name in page.rows.columns if page.rows[name].count()}
    ranking = [column for column, _ in page.by.values()]
    placed = [name for name in page.columns if "percentile" in name]
    known = [n for first in _FIRST for n in page.columns if n.split(" · ")[0] == first]
    first = [*dict.fromkeys([*ranking, *placed, *known, *page.columns])]
    scores = [n for n in first if n in says and not n.endswith("_sd")][:_SHOWN_SCORES]
    scores.sort(key=[*page.columns].index)
    return [*(n for n in _SHOWN if n in says or n == "rank"), *scores]


def _head(name: str, page: Page) -> Mapping[str, object]:
    """What the head of a column says."""
    column = page.columns.get(name)
    if column is None:
        return {
            "name": name,
            "title": _TITLES.get(name, name),
            "unit": "",
            "meaning": "",
            "number": name in ("rank", "stars"),
            "whole": True,
        }
    title, _, model = name.partition(" · ")
    return {
        "name": name,
        "title": title,
        "unit": " · ".join(filter(None, (model, column.unit))),
        "meaning": column.meaning,
        "number": True,
        "whole": column.dtype.is_integer(),
    }


def _static_cell(name: str, row: Mapping[str, Any]) -> str:
    value = row[name]
    if name == "variant" and row["status"] != Status.OK:
        return f"{value} ({row['status']})"
    if value is None:
        return "\N{EN DASH}"
    if name == "stars":
        return "\N{BLACK STAR}" * value or "0"
    if name == "consequence":
        return str(value).replace("_", " ")
    return number_text(value) if isinstance(value, float) else str(value)


def number_text(value: float, minus: str = "\N{MINUS SIGN}") -> str:
    """A score with three digits after the point, or three that count where it is small."""
    is_small = value and abs(value) < 0.001
    return (f"{value:.2e}" if is_small else f"{value:.3f}").replace("-", minus)


def _data(page: Page, shown: Sequence[str]) -> Mapping[str, object]:
    """The rows column by column; what says nothing of any row is left out."""
    order = [*_PARTS, *dict.fromkeys([*shown, *page.rows.columns])]
    names = [name for name in dict.fromkeys(order) if page.rows[name].count() or name == "rank"]
    rows = page.rows.with_columns(pl.col(pl.Float64).round_sig_figs(6).fill_nan(None))
    return {
        "shown": list(shown),
        # JSON of jinja2 has its keys sorted.
        "order": names,
        "heads": {name: _head(name, page) for name in names},
        "columns": {name: rows[name].to_list() for name in names},
        "pictures": [picture.variant for picture in page.pictures],
    }


# Single variants ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoreLine:
    """One score of a variant.

    Attributes:
        column: what it is.
        value: the mean over the views.
        forward, reverse: what each strand says, where there are two views.
        spread: the standard deviation, where there are more.
    """

    column: Column
    value: float
    forward: float | None = None
    reverse: float | None = None
    spread: float | None = None


@dataclass(frozen=True, eq=False)
class ShownVariant:
    """Everything about a variant.

    Attributes:
        variant: chrom, pos, ref, alt.
        kind: SNV, indel, ...
        status, meaning: of the scores.
        found: what the reference has at REF; a point where it has nothing.
        reference: its name.
        scores: a line each.
        label: what labels call it.
        others: scores of others.
        around: the first place around it, letters, and what the model expects there.
        picture: of its surroundings, where the reference has anything.
    """

    variant: tuple[str, int, str, str]
    kind: str
    status: str
    meaning: str
    found: str
    reference: str
    scores: Sequence[ScoreLine]
    label: Mapping[str, Any]
    others: Mapping[str, float | None]
    around: tuple[int, str, str]
    picture: Picture | None

    @property
    def ref_words(self) -> str:
        """What the reference has at REF."""
        ref = self.variant[2]
        if self.found == ".":
            return f"{self.kind}; {self.reference} has nothing at this place"
        if self.found.upper() == ref.upper():
            return f"{self.kind}; REF is {ref}, as {self.reference} has it"
        return f"{self.kind}; REF is {ref}, but {self.reference} has {self.found}"

    @property
    def label_words(self) -> str:
        """What labels call it; empty if nothing."""
        if self.label["significance"] is None:
            return ""
        stars = self.label["stars"]
        count = "" if stars is None else f", {stars} star{'' if stars == 1 else 's'}"
        return f"{self.label['significance']}{count} ({self.label['label_source']})"


@dataclass(frozen=True, eq=False)
class ShownPage:
    """A page of single variants.

    Attributes:
        variants: in the order in which they were typed.
        made: how they were scored.
        labels: names of the label files.
        version, command: of this ntvep.
    """

    variants: Sequence[ShownVariant]
    made: Provenance
    labels: Sequence[str]
    version: str
    command: str


def _number(value: float | None) -> str:
    if value is None:
        return "\N{EN DASH}"
    return number_text(value) if isinstance(value, float) else str(value)


def render_shown(page: ShownPage) -> str:
    """The page as HTML."""
    return _rendered(
        "show.html.jinja",
        page=page,
        provenance=provenance_rows(page.made),
        number=_number,
    )
