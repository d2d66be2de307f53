"""SCORES of SNVs of a region -> a picture: what each base may become, and what is expected.

A heat map of place by ALT base, with the reference's letters; above it a logo of the model's
prediction at the masked place; below it genes. A Vega-Lite specification whose coordinates are
pixels: places are laid out here, in rows of 80 bases.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import vl_convert
from altair.utils.schemapi import debug_mode
from jaxtyping import Float

from ntvep.errors import InputError
from ntvep.evaluate.figures import LIGHT, VEGA_LITE, Spec, themed
from ntvep.schema import COMPARED, SCORE_COLUMNS

BASES = "ACGT"
MOST_BASES = 5_000
_CELL, _ROW_BASES, _LOGO, _LEFT, _GAP, _LANE = 14, 80, 52, 84, 22, 15
_MONO = "Liberation Mono, Menlo, Consolas, monospace"
_RED, _BLUE, _PURPLE, _INK, _LINE = "#b5381f", "#0b62a4", "#5b3a8c", "#1f2933", "#d9dfe6"
_LETTERS = dict(zip(BASES, ("#2a7f62", "#0b62a4", "#a8730c", "#c8472b"), strict=True))
_NAMES = {column.name: column for column in (*SCORE_COLUMNS.values(), *COMPARED)}
_RATIO = "red: ALT is less likely than REF; blue, with a dot: likelier"
_APART = "dark: ALT moves the model's embedding far, of {}"
# How a score is drawn, in words. A colour scheme "both" has red below 0 and blue above.
_WORDS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("llr", "llr_site", "llr_marginal", "llr_unmasked", "pll_delta"),
                    ("both", _RATIO)),
    "entropy": ("one", "dark: the model knows little of this place, whatever ALT is; light: it is "
                       "sure of the base here"),
    **dict.fromkeys(("cosine_distance", "l1", "l2"), ("one", _APART.format("the whole window"))),
    **dict.fromkeys(("cosine_distance_token", "l1_token", "l2_token"),
                    ("one", _APART.format("the changed tokens"))),
    **dict.fromkeys(("dot", "dot_token"), ("one", "dark: REF's and ALT's embeddings are alike, or "
                                                  "long; no distance")),
    "llr_percentile": ("fifty", "red: an llr that few changes of the same context have; blue: an "
                                "llr that most of them fall short of"),
    "llr_phred": ("one", "dark: an llr so low is rare among changes of the same context"),
    "llr_calibrated": ("both", "red: ALT is less likely than its five bases alone explain; blue, "
                               "with a dot: likelier"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Beside:
    """What is drawn beside scores.

    Attributes:
        marks: places (1-based) and the ALT there, or empty: framed.
        labels: ``pos``, ``alt``, ``letter``: what an SNV is called, written into its cell.
        label_words: what the letters mean.
        parts: ``first``, ``last`` (1-based, as GTF has them), ``name``, ``is_box``: genes as lines,
            exons and intervals as boxes.
        bases: REF by place (1-based), where no SNV says it.
        span: first and last place; those of the SNVs if None.
    """

    marks: Sequence[tuple[int, str]] = ()
    labels: pl.DataFrame = field(default_factory=pl.DataFrame)
    label_words: str = ""
    parts: pl.DataFrame = field(default_factory=pl.DataFrame)
    bases: Mapping[int, str] = field(default_factory=dict)
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Layout:
    """Where things lie, in pixels."""

    first: int
    last: int
    logo: int
    lanes: int

    @property
    def rows(self) -> int:
        return -(-(self.last - self.first + 1) // _ROW_BASES)

    @property
    def row_height(self) -> int:
        return self.logo + 5 * _CELL + self.lanes * _LANE + _GAP

    @property
    def width(self) -> int:
        return _LEFT + _CELL * min(_ROW_BASES, self.last - self.first + 1) + 8

    @property
    def height(self) -> int:
        return self.rows * self.row_height - _GAP + 8

    def row(self, pos: int) -> int:
        return (pos - self.first) // _ROW_BASES

    def x(self, pos: int) -> int:
        return _LEFT + (pos - self.first) % _ROW_BASES * _CELL

    def top(self, row: int) -> int:
        """Upper edge of a row's line of reference letters."""
        return row * self.row_height + self.logo

    def cell(self, pos: int, line: int) -> dict[str, float]:
        """The box of a place; line 0 holds the reference's letters, 1 to 4 the ALTs."""
        x, y = self.x(pos), self.top(self.row(pos)) + line * _CELL
        return {"x": x, "x2": x + _CELL, "y": y, "y2": y + _CELL}


def draw(
    table: pl.DataFrame,
    score: str = "llr",
    *,
    logo: str | None = None,
    beside: Beside | None = None,
    notes: Sequence[str] = (),
) -> Spec:
    """The picture of a region. A cell without a score is empty.

    Args:
        table: SCORES; the SNVs among them, of one contig.
        score: that is drawn.
        logo: a column of log-odds of single bases, from which the logo follows; None draws none.
        beside: what else is drawn.
        notes: lines below the title, why there is no logo for instance.

    Raises:
        InputError: there is no SNV with this score, more than one contig, or too long a region.
    """
    beside = beside or Beside()
    snvs = table.filter(
        (pl.col("ref").str.len_bytes() == 1) & (pl.col("alt").str.contains("^[ACGTacgt]$"))
    ).with_columns(pl.col("ref", "alt").str.to_uppercase())
    if beside.span:
        snvs = snvs.filter(pl.col("pos").is_between(*beside.span))
    if score not in table.columns or not (snvs[score].count() or beside.bases):
        raise InputError(f"no SNV has a {score}; expected a table of ntvep scan --scores {score}")
    contigs = snvs["chrom"].unique().to_list()
    first, last = beside.span or (int(snvs["pos"].min()), int(snvs["pos"].max()))  # type: ignore[arg-type]
    if len(contigs) > 1 or last - first >= MOST_BASES:
        raise InputError(
            f"SNVs of {len(contigs)} contigs over {last - first + 1:,} bases; expected one region "
            f"of up to {MOST_BASES:,}"
        )
    has_logo = logo is not None and logo in snvs.columns and snvs[logo].count() > 0
    lanes, parts = _lanes(beside.parts, first, last)
    layout = _Layout(first, last, _LOGO if has_logo else 0, lanes)
    refs = {**beside.bases, **dict(snvs.select("pos", "ref").iter_rows())}
    layers = [
        _cells(snvs, score, layout),
        _frames(refs, layout),
        *_dots(snvs, score, layout),
        *(_logo(snvs, str(logo), layout) if has_logo else ()),
        *_texts(refs, layout),
        *_labels(beside.labels, layout),
        *_parts(parts, layout),
        *_marks(beside.marks, layout),
    ]
    contig = contigs[0] if contigs else ""
    words = _WORDS.get(score, ("one", "dark: high"))[1]
    lines = [f"{score}: {words}", *([beside.label_words] if beside.labels.height else []),
             *(["letters above: what the model expects, as high as it is sure (2 bits at most)"]
               if has_logo else []), *notes, "For research, not for diagnosis."]  # fmt: skip
    title = alt.Title(f"{contig}:{first:,}-{last:,}", subtitle=lines)
    with debug_mode(False):
        chart = (
            alt.layer(*layers)
            .resolve_scale(color="independent")
            .properties(width=layout.width, height=layout.height, title=title)
        )
        spec: Spec = chart.to_dict()
    spec.pop("config", None)
    return spec


def as_file(spec: Mapping[str, Any], suffix: str) -> bytes:
    """A picture as ``.svg``, ``.png`` or ``.pdf``; colours are literal, so any program shows it.

    Hover a cell of the SVG for its number.
    """
    config = LIGHT | {"title": {**LIGHT["title"], "subtitleColor": "#52606d", "offset": 8}}
    svg = vl_convert.vegalite_to_svg(themed(spec, config, "white"), vl_version=VEGA_LITE)
    if suffix == ".svg":
        # What a cell says to those who cannot see it, to those who hover it too.
        return re.sub(
            r'(<path aria-label="([^"]*)"[^>]*aria-roledescription="rect mark"[^>]*)/>',
            r"\1><title>\2</title></path>",
            svg,
        ).encode()
    made: bytes = vl_convert.svg_to_png(svg, scale=2.0) if suffix == ".png" else (
        vl_convert.svg_to_pdf(svg)
    )  # fmt: skip
    return made


def base_probabilities(log_odds: Mapping[str, float], ref: str) -> Float[np.ndarray, " base"]:
    """P(A), P(C), P(G), P(T) at a masked place, from log P(ALT) - log P(REF) of the three SNVs."""
    odds = np.exp([0.0 if base == ref else log_odds[base] for base in BASES])
    probabilities: Float[np.ndarray, " base"] = odds / odds.sum()
    return probabilities


# Cells --------------------------------------------------------------------------------------------


def _chart(rows: list[dict[str, Any]], layout: _Layout) -> alt.Chart:
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, layout.width], nice=False))
    y = alt.Y("y:Q", axis=None,
              scale=alt.Scale(domain=[0, layout.height], nice=False, reverse=True))  # fmt: skip
    return alt.Chart(alt.InlineData(values=rows)).encode(x, y)


def _boxes(chart: alt.Chart) -> alt.Chart:
    return chart.encode(alt.X2("x2:Q"), alt.Y2("y2:Q"))


def _cells(snvs: pl.DataFrame, score: str, layout: _Layout) -> alt.Chart:
    rows = [
        layout.cell(pos, 1 + BASES.index(base))
        | {"value": value, "said": f"{pos:,} {ref}>{base}: {value:.3f}"}
        for pos, ref, base, value in snvs.select("pos", "ref", "alt", score).iter_rows()
        if value is not None
    ]
    values = np.array([row["value"] for row in rows] or [0.0])
    scheme = _WORDS.get(score, ("one", ""))[0]
    far = float(np.quantile(np.abs(values), 0.98)) or 1.0
    low, high = float(np.quantile(values, 0.02)), float(np.quantile(values, 0.98))
    domain, colours = [low, max(high, low + 1e-9)], ["#ffffff", _PURPLE]
    if scheme != "one":
        domain = [-far, 0.0, far] if scheme == "both" else [0.0, 50.0, 100.0]
        colours = [_RED, "#ffffff", _BLUE]
    column = _NAMES.get(score)
    unit = f", {column.unit}" if column and column.unit else ""
    legend = alt.Legend(
        title=f"{score}{unit}", orient="top", direction="horizontal", gradientLength=170,
        gradientThickness=9, tickCount=4, gradientStrokeColor=_LINE,
        gradientStrokeWidth=1, titleFontSize=11, labelFontSize=10,
    )  # fmt: skip
    colour = alt.Color(
        "value:Q",
        scale=alt.Scale(domain=domain, range=colours, clamp=True, interpolate="rgb"),
        legend=legend,
    )
    cells = _boxes(_chart(rows, layout)).mark_rect(stroke=_LINE, strokeWidth=0.5)
    drawn: alt.Chart = cells.encode(colour, description="said:N")
    return drawn


def _frames(refs: Mapping[int, str], layout: _Layout) -> alt.Chart:
    """The cell of REF is framed: there is nothing to score."""
    rows = [
        layout.cell(pos, 1 + BASES.index(ref)) | {"said": f"{pos:,} {ref} (REF)"}
        for pos, ref in refs.items()
        if ref in BASES and layout.first <= pos <= layout.last
    ]
    cells = _boxes(_chart(rows, layout))
    cells = cells.mark_rect(fill="#f0f2f5", stroke="#8a96a3", strokeWidth=0.7)
    drawn: alt.Chart = cells.encode(description="said:N")
    return drawn


def _dots(snvs: pl.DataFrame, score: str, layout: _Layout) -> Iterator[alt.Chart]:
    """Colour is not the only cue."""
    if _WORDS.get(score, ("", ""))[0] == "both":
        rows = [
            {"x": layout.x(pos) + _CELL / 2, "y": layout.cell(pos, 1 + BASES.index(base))["y"] + 7}
            for pos, base, value in snvs.select("pos", "alt", score).iter_rows()
            if value is not None and value > 0
        ]
        yield _chart(rows, layout).mark_circle(size=9, color=_INK, opacity=1)


def _texts(refs: Mapping[int, str], layout: _Layout) -> Iterator[alt.Chart]:
    """Letters of the reference; names of the lines, and places."""
    letters = [
        {"x": layout.x(pos) + _CELL / 2, "y": layout.cell(pos, 0)["y"] + 7, "text": ref}
        for pos, ref in refs.items()
        if layout.first <= pos <= layout.last
    ]
    names = [
        {"x": _LEFT - 6, "y": layout.top(row) + line * _CELL + 7, "text": text}
        for row in range(layout.rows)
        for line, text in enumerate([f"{layout.first + row * _ROW_BASES:,}", *BASES])
    ]
    style: dict[str, Any] = {"font": _MONO, "fontSize": 10.5, "baseline": "middle"}
    text = alt.Text("text:N")
    yield _chart(letters, layout).encode(text).mark_text(align="center", **style)
    yield _chart(names, layout).encode(text).mark_text(align="right", **style)


# Logo ---------------------------------------------------------------------------------------------


def _arc(begin: float, end: float, radius: float) -> list[tuple[float, float]]:
    """Points of an ellipse in the unit square, angles in degrees from the right, upwards."""
    return [
        (0.5 + radius * np.cos(np.radians(a)), 0.5 + radius * np.sin(np.radians(a)))
        for a in np.linspace(begin, end, 13)
    ]


# Outlines in the unit square, y upwards: each looks the same in every program, without a font.
_OUTLINES: Mapping[str, Sequence[Sequence[tuple[float, float]]]] = {
    "A": (
        [(0, 0), (0.22, 0), (0.31, 0.26), (0.69, 0.26), (0.78, 0), (1, 0), (0.62, 1), (0.38, 1)],
        [(0.37, 0.42), (0.5, 0.82), (0.63, 0.42)],
    ),
    "C": ([*_arc(42, 318, 0.5), *_arc(318, 42, 0.28)],),
    "G": ([*_arc(42, 360, 0.5), (1, 0.52), (0.55, 0.52), (0.55, 0.36), (0.76, 0.36),
           *_arc(325, 42, 0.28)],),
    "T": ([(0.39, 0), (0.61, 0), (0.61, 0.82), (1, 0.82), (1, 1), (0, 1), (0, 0.82),
           (0.39, 0.82)],),
}  # fmt: skip


def _logo(snvs: pl.DataFrame, logo: str, layout: _Layout) -> Iterator[alt.Chart]:
    """Letters as high as they carry bits (Schneider and Stephens 1990, NAR 18:6097)."""
    shapes: list[dict[str, Any]] = []
    known = snvs.filter(pl.col(logo).is_not_null()).group_by("pos", maintain_order=True)
    for pos, ref, alts, odds in known.agg(pl.col("ref").first(), "alt", logo).iter_rows():
        log_odds = dict(zip(alts, odds, strict=True))
        if len(log_odds) == 3:
            p = base_probabilities(log_odds, ref)
            shapes += _letters(p, pos, layout)
    if shapes:
        colour = alt.Color(
            "base:N", scale=alt.Scale(domain=[*_LETTERS], range=[*_LETTERS.values()]), legend=None
        )
        yield (
            alt.Chart(alt.InlineData(values=shapes))
            .mark_geoshape(stroke=None)
            .encode(colour, description="said:N")
            .project(type="identity", scale=1, translate=[0, 0])
        )


def _letters(p: Float[np.ndarray, " base"], pos: int, layout: _Layout) -> Iterator[dict[str, Any]]:
    bits = 2 + float(np.sum(p * np.log2(np.maximum(p, 1e-12))))
    x, bottom = layout.x(pos) + 0.5, float(layout.top(layout.row(pos)) - 2)
    for number in np.argsort(p):
        height = float(p[number]) * bits / 2 * (_LOGO - 6)
        if height > 0.5:
            rings = [
                [[x + px * (_CELL - 1), bottom - py * height] for px, py in (*ring, ring[0])]
                for ring in _OUTLINES[BASES[number]]
            ]
            yield {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": rings},
                "base": BASES[number],
                "said": f"{pos:,} {BASES[number]}: {p[number]:.3f}, {p[number] * bits:.2f} bits",
            }
            bottom -= height


# Beside the scores -------------------------------------------------------------------------------


def _labels(labels: pl.DataFrame, layout: _Layout) -> Iterator[alt.Chart]:
    rows = [
        {"x": layout.x(pos) + _CELL / 2, "y": layout.cell(pos, 1 + BASES.index(base))["y"] + 7,
         "text": letter}
        for pos, base, letter in labels.select("pos", "alt", "letter").iter_rows()
        if layout.first <= pos <= layout.last and base in BASES
    ] if labels.height else []  # fmt: skip
    if rows:
        letters = _chart(rows, layout).encode(alt.Text("text:N"))
        style: dict[str, Any] = {"fontSize": 10, "fontWeight": "bold", "baseline": "middle"}
        # A white edge: it can be read on any colour.
        yield letters.mark_text(stroke="white", strokeWidth=3, **style)
        yield letters.mark_text(color=_INK, **style)


def _marks(marks: Sequence[tuple[int, str]], layout: _Layout) -> Iterator[alt.Chart]:
    rows = []
    for pos, base in marks:
        if layout.first <= pos <= layout.last:
            whole = layout.cell(pos, 0) | {"y2": layout.cell(pos, 5)["y"]}
            rows.append({**whole, "width": 1.4})
            if base in BASES and base:
                rows.append({**layout.cell(pos, 1 + BASES.index(base)), "width": 2.6})
    if rows:
        chart = _boxes(_chart(rows, layout)).mark_rect(fill=None, stroke=_INK, opacity=1)
        yield chart.encode(alt.StrokeWidth("width:Q", scale=None, legend=None))


def _lanes(parts: pl.DataFrame, first: int, last: int) -> tuple[int, pl.DataFrame]:
    """Parts that overlap the region, each name in a lane of its own as far as that goes."""
    if not parts.height:
        return 0, parts
    near = parts.filter(pl.col("first") <= last, pl.col("last") >= first)
    names = near["name"].unique(maintain_order=True).to_list()[:4]
    lane = pl.col("name").replace_strict(names, range(len(names)), default=3, return_dtype=pl.Int64)
    return len(names), near.with_columns(lane=lane)


def _parts(parts: pl.DataFrame, layout: _Layout) -> Iterator[alt.Chart]:
    if not parts.height:
        return
    boxes: list[dict[str, Any]] = []
    names: list[dict[str, Any]] = []
    columns = parts.select("first", "last", "name", "is_box", "lane")
    for first, last, name, is_box, lane in columns.iter_rows():
        for row in range(layout.rows):
            begin = layout.first + row * _ROW_BASES
            one = max(first, begin)
            two = min(last, begin + _ROW_BASES - 1, layout.last)
            if one <= two:
                middle = layout.top(row) + 5 * _CELL + lane * _LANE + 8
                half = 4 if is_box else 0.7
                boxes.append({"x": layout.x(one), "x2": layout.x(two) + _CELL,
                              "y": middle - half, "y2": middle + half,
                              "said": f"{name}: {first:,}-{last:,}"})  # fmt: skip
                names.append({"x": _LEFT - 8, "y": middle, "text": name[:11]})
    named = [dict(pair) for pair in dict.fromkeys(tuple(one.items()) for one in names)]
    yield (
        _boxes(_chart(boxes, layout))
        .mark_rect(color="#52606d", opacity=1)
        .encode(description="said:N")
    )
    yield (
        _chart(named, layout)
        .mark_text(align="right", baseline="middle", fontSize=10.5)
        .encode(alt.Text("text:N"))
    )
