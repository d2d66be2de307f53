"""tables of an analysis -> figures: Vega-Lite specifications that hold their own data.

Colour is never the only cue: lines have dashes and points have shapes too. A figure names no
colour of its own; :data:`LIGHT` and :data:`DARK` give them, so that one specification serves both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import polars as pl
from altair.utils.schemapi import debug_mode

from ntvep.evaluate.analysis import FAMILIES, Analysis, Score
from ntvep.evaluate.calibration import ODDS

Spec = dict[str, Any]
# Vega-Lite as vl-convert names it: 6.4 for altair's v6.4.1.
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
_Panel = alt.LayerChart | alt.FacetChart

_PREFERRED = ("llr", "cosine_distance", "pll_delta", "entropy")
_MOST_SHOWN = 6
_WIDTH = 320
_NARROW = 260
_THIRD = 250
_STEP = 20
_DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [10, 4], [4, 2, 1, 2, 1, 2]]
_SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]


def _theme(ink: str, faint: str, colours: Sequence[str]) -> Spec:
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "titleFontSize": 12}
    return {
        "background": None,
        "font": "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif",
        "view": {"stroke": None},
        "axis": {
            **text,
            "titleFontWeight": "normal",
            "gridColor": faint,
            "domainColor": ink,
            "tickColor": ink,
            # A long consequence with its counts.
            "labelLimit": 400,
        },
        # Below: beside the panels, long names would be cut at the edge of the page.
        "legend": {**text, "titleFontWeight": "normal", "labelLimit": 440, "symbolSize": 90,
                   "symbolStrokeWidth": 2, "orient": "bottom", "columns": 2, "columnPadding": 24},
        "header": {**text, "titleFontWeight": "normal"},
        "title": {"color": ink, "fontSize": 13, "fontWeight": 600, "anchor": "start"},
        "rule": {"color": ink},
        "tick": {"color": ink},
        "text": {"color": ink, "fontSize": 12},
        "point": {"color": colours[0]},
        "line": {"color": colours[0], "strokeWidth": 2},
        "area": {"color": colours[0]},
        "range": {"category": list(colours), "symbol": _SHAPES},
    }  # fmt: skip


LIGHT = _theme(
    "#1f2933", "#e4e7eb", ("#0b62a4", "#c8472b", "#2a7f62", "#7b4ea3", "#a8730c", "#4a5560")
)
DARK = _theme(
    "#d7dde4", "#333d49", ("#79b8f5", "#ff9b80", "#6cd3ab", "#c9a6f2", "#f1c765", "#b3bdc9")
)


@dataclass(frozen=True)
class Figure:
    """A figure with the text that a reader needs.

    Attributes:
        name: of its files.
        title, caption: for people; the caption says what is shown, and how to read it.
        spec: Vega-Lite.
        table: name of the analysis' table that it shows, or a part of it.
    """

    name: str
    title: str
    caption: str
    spec: Spec
    table: str


def shown(analysis: Analysis, scores: Sequence[Score]) -> list[Score]:
    """The few scores that crowded figures show, by a rule that looks at no result.

    ``llr``, ``cosine_distance``, ``pll_delta`` and ``entropy`` of each model, then others in the
    order of the table, and always the consequence rule.
    """
    rule = [s for s in scores if s.column == "consequence_rank"]
    own = [s for s in scores if s.kind == "score"]
    preferred = [s for name in _PREFERRED for s in own if s.column.split(" · ")[0] == name]
    chosen = [*preferred, *(s for s in own if s not in preferred)]
    chosen.sort(key=lambda s: s is not analysis.primary)
    features = [s for s in scores if s.kind == "feature"]
    return [*chosen, *features][: _MOST_SHOWN - len(rule)] + rule


def figures(analysis: Analysis, scores: Sequence[Score]) -> list[Figure]:
    """All figures for which there is a table, in the order of the report."""
    few = [score.name for score in shown(analysis, scores)]
    # altair would check every part of every figure against Vega-Lite's schema: most of the time.
    with debug_mode(False):
        return [figure for figure in _figures(analysis, few) if figure is not None]


def _figures(analysis: Analysis, few: Sequence[str]) -> Iterable[Figure | None]:
    return (
        _headline(analysis),
        _curves(analysis, few),
        _differences(analysis),
        _distributions(analysis, few),
        _consequences(analysis),
        _strata(analysis, few),
        _averages(analysis),
        _severity(analysis),
        _effects(analysis),
        _scatter(analysis),
        _leaks(analysis),
        _calibration(analysis, few),
    )


# Figures ------------------------------------------------------------------------------------------


def _headline(analysis: Analysis) -> Figure | None:
    data = _numbers(analysis.tables["headline"], "auroc")
    if not data.height:
        return None
    panels = [
        _dots(data, value, title, _chance(data, value), shape="kind", y_labels=value == "auroc")
        for value, title in (("auroc", "AUROC"), ("auprc", "AUPRC (average precision)"))
    ]
    return Figure(
        "headline",
        "How well each score tells positives from negatives",
        "Points with 95 % intervals; a point without one has too few clusters. Dashed: chance, "
        "which for AUPRC is the prevalence. Baselines and label columns are evaluated like the "
        "scores.",
        _spec(alt.hconcat(*panels, spacing=24)),
        "headline",
    )


def _curves(analysis: Analysis, few: Sequence[str]) -> Figure | None:
    if "curves" not in analysis.tables:
        return None
    data = analysis.tables["curves"].filter(pl.col("score").is_in(few))
    if not data.height:
        return None
    called = _names_with_counts(analysis)
    names = [called[name] for name in few if name in data["score"]]
    data = data.with_columns(pl.col("score").replace(called))
    prevalence = analysis.positives / (analysis.positives + analysis.negatives)
    pick = alt.selection_point(fields=["score"], bind="legend", name="picked")
    panels: list[_Panel] = []
    for curve, x, y in (
        ("ROC", "false-positive rate", "true-positive rate"),
        ("precision-recall", "recall", "precision"),
    ):
        base = alt.Chart(
            _data(data.filter(pl.col("curve") == curve), "score", "x", "y", "low", "high")
        )
        colour = _colour("score", names, of_lines=True)
        seen = alt.condition(pick, alt.value(1), alt.value(0.12))
        band = base.mark_area().encode(
            alt.X("x:Q", title=x, scale=alt.Scale(domain=[0, 1])),
            alt.Y("low:Q", title=y, scale=alt.Scale(domain=[0, 1])),
            alt.Y2("high:Q"),
            colour,
            opacity=alt.condition(pick, alt.value(0.14), alt.value(0.02)),
        )
        line = base.mark_line().encode(
            alt.X("x:Q"),
            alt.Y("y:Q"),
            colour,
            _dash("score", names),
            opacity=seen,
            tooltip=["score:N", *_rounded(x=x, y=y, low="low", high="high")],
        )
        chance = (
            (
                alt.Chart(_inline([{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
                if curve == "ROC"
                else alt.Chart(_inline([{"x": 0, "y": prevalence}, {"x": 1, "y": prevalence}]))
            )
            .mark_line(strokeDash=[2, 4], strokeWidth=1, color="gray")
            .encode(x="x:Q", y="y:Q")
        )
        if not panels:
            line = line.add_params(pick)
        title = "ROC" if curve == "ROC" else "Precision and recall"
        panels.append(
            alt.layer(chance, band, line).properties(width=_WIDTH, height=_WIDTH, title=title)
        )
    return Figure(
        "curves",
        "ROC and precision-recall curves",
        "Bands are pointwise 95 % intervals. Dotted: chance. Click a name in the legend to "
        "highlight it. At most six are drawn, chosen without looking at results; the data files "
        "hold all.",
        _spec(alt.hconcat(*panels, spacing=32)),
        "curves",
    )


def _differences(analysis: Analysis) -> Figure | None:
    table = analysis.tables.get("differences")
    if table is None or "auroc_difference" not in table.columns:
        return None
    score, model = (
        [pl.col(of).str.split(" · ").list.get(at, null_on_oob=True) for of in "ab"] for at in (0, 1)
    )
    # Names of models are long: what both sides share is said once.
    short = pl.format("{}: {} minus {}", score[0], *model)
    data = _numbers(table, "auroc_difference").with_columns(
        score=pl.when(score[0] == score[1])
        .then(short)
        .when(pl.col("a") == analysis.primary.name)
        .then(pl.format("minus {}", "b"))
        .otherwise(pl.format("{} minus {}", "a", "b"))
    )
    if not data.height:
        return None
    panels = [
        _dots(data, value, title, [0.0], domain=None, y_labels=value.startswith("auroc"))
        for value, title in (
            ("auroc_difference", "difference of AUROC"),
            ("auprc_difference", "difference of AUPRC"),
        )
    ]
    return Figure(
        "differences",
        "Paired differences",
        "Both scores on the variants that have both. Unless two names are given, a row is "
        f"{analysis.primary.name} minus the score named. Where an interval contains 0, these "
        "labels cannot tell the two apart; this does not mean that they are equal.",
        _spec(alt.hconcat(*panels, spacing=24)),
        "differences",
    )


def _distributions(analysis: Analysis, few: Sequence[str]) -> Figure | None:
    if "distributions" not in analysis.tables:
        return None
    data = analysis.tables["distributions"].filter(pl.col("score").is_in(few))
    names = [name for name in few if name in data["score"]][:4]
    panels = []
    for name in names:
        part = data.filter(pl.col("score") == name)
        scale = alt.Scale(type=part["axis"][0], nice=False)
        base = alt.Chart(_data(part, "label", "from", "to", "share", "variants")).encode(
            alt.X("from:Q", title=name, scale=scale),
            alt.Y("share:Q", title="share of the class", stack=None, axis=alt.Axis(format=".0%")),
            _colour("label", ["positive", "negative"], of_lines=True),
            tooltip=[
                "label:N",
                *_rounded(**{"from": "from", "to": "to"}),
                "variants:Q",
                alt.Tooltip("share:Q", format=".2%"),
            ],
        )
        area = base.mark_area(interpolate="step-after", opacity=0.18)
        line = base.mark_line(interpolate="step-after").encode(
            _dash("label", ["positive", "negative"])
        )
        sizes = dict(part.group_by("label").agg(pl.col("variants").sum()).iter_rows())
        title = f"{name} (n = {sizes.get('positive', 0)} + {sizes.get('negative', 0)})"
        panels.append(alt.layer(area, line).properties(width=_WIDTH, height=150, title=title))
    if not panels:
        return None
    return Figure(
        "distributions",
        "Scores of positives and of negatives",
        "Each class adds up to 100 %. The outermost bins include everything beyond them.",
        _spec(alt.concat(*panels, columns=2, spacing=32)),
        "distributions",
    )


def _consequences(analysis: Analysis) -> Figure | None:
    if "severity_levels" not in analysis.tables:
        return None
    name = analysis.primary.name
    data = analysis.tables["severity_levels"].filter(pl.col("score") == name)
    if not data.height:
        return None
    # Groups of fewer than ten are not drawn: the numbers need their labels.
    counted = pl.format("{} {}", "variants", "label").str.join(", ").over("consequence")
    data = data.sort("consequence_rank", "label", descending=[False, True]).with_columns(
        consequence=pl.format("{} ({})", "consequence", counted)
    )
    order = list(dict.fromkeys(data["consequence"]))
    labels = [x for x in ("positive", "negative", "unlabelled") if x in data["label"]]
    base = alt.Chart(_data(data)).encode(
        alt.Y("consequence:N", sort=order, title=None),
        alt.YOffset("label:N", sort=labels),
        _colour("label", labels),
        tooltip=["consequence:N", "label:N", "variants:Q",
                 *_rounded(low="5 %", lower_quartile="25 %", median="median",
                           upper_quartile="75 %", high="95 %")],
    )  # fmt: skip
    whisker = base.mark_rule(strokeWidth=1).encode(alt.X("low:Q", title=name), alt.X2("high:Q"))
    box = base.mark_rule(strokeWidth=5, opacity=0.45).encode(
        alt.X("lower_quartile:Q"), alt.X2("upper_quartile:Q")
    )
    middle = base.mark_point(filled=True, size=45, opacity=1).encode(
        alt.X("median:Q"), _shape("label", labels),
    )  # fmt: skip
    chart = alt.layer(whisker, box, middle).properties(
        width=480, height=alt.Step(14 if len(labels) > 1 else _STEP)
    )
    return Figure(
        "consequences",
        f"{name} by consequence",
        "Median, middle half and middle nine tenths, for groups of ten variants or more; the "
        "most severe first, in Ensembl's order.",
        _spec(chart),
        "severity_levels",
    )


def _strata(analysis: Analysis, few: Sequence[str]) -> Figure | None:
    if "strata" not in analysis.tables:
        return None
    table = analysis.tables["strata"]
    names = [n for n in few if n in (analysis.primary.name, "consequence rule")]
    rows = table.filter(pl.col("score").is_in(names))
    # Chromosomes are many: they have a column of their own.
    columns: tuple[list[_Panel], list[_Panel]] = ([], [])
    lowest = min([0.45, *_numbers(rows, "auroc")["auroc"], *rows["auroc_low"].drop_nulls()])
    scale = alt.Scale(domain=[max(0.0, lowest - 0.05), 1])
    for family in dict.fromkeys(rows["family"]):
        part = rows.filter(pl.col("family") == family)
        # The n of the primary score; the tooltip has that of the others.
        sizes = part.filter(pl.col("score") == names[0]).select(
            "stratum", named=_with_counts("stratum", part.columns)
        )
        part = part.with_columns(pl.col("stratum").replace(dict(sizes.iter_rows())))
        order = list(dict.fromkeys(part["stratum"]))
        enough, too_few = _numbers(part, "auroc"), part.filter(pl.col("auroc").is_null())
        tooltip = ["score:N", "stratum:N", "positives:Q", "negatives:Q", "without_score:Q"]
        place = (alt.Y("stratum:N", sort=order, title=None), alt.YOffset("score:N", sort=names))
        base = alt.Chart(_data(enough)).encode(*place, _colour("score", names))
        interval = base.mark_rule(strokeWidth=2).encode(
            alt.X("auroc_low:Q", scale=scale, title="AUROC"), alt.X2("auroc_high:Q")
        )
        point = base.mark_point(filled=True, size=60, opacity=1).encode(
            alt.X("auroc:Q", scale=scale),
            _shape("score", names),
            tooltip=[*tooltip, *_rounded(auroc="AUROC", auroc_low="low", auroc_high="high")],
        )
        nothing = (
            alt.Chart(_data(too_few))
            .mark_text(align="left", dx=6, fontSize=10, fontStyle="italic", opacity=0.8)
            .encode(
                *place, alt.XDatum(0.5, scale=scale), text=alt.value("too few"), tooltip=tooltip
            )
        )
        layers = [_rule([0.5], scale), interval, point, *([nothing] if too_few.height else [])]
        columns[family == FAMILIES["chrom"]].append(
            alt.layer(*layers).properties(
                width=_NARROW, height=22 * len(order), title=f"by {family}"
            )
        )
    if not any(columns):
        return None
    return Figure(
        "strata",
        "Groups of variants",
        "AUROC with 95 % intervals. Fewer than ten positives or negatives: no value. Fewer than "
        "ten effective clusters of either: no interval.",
        _spec(alt.hconcat(*(alt.vconcat(*p) for p in columns if p), spacing=28)),
        "strata",
    )


_AVERAGES = {
    "auroc": "all pairs",
    "within_genes": "pairs within a gene",
    "auroc_by_block": "500-kb blocks equally",
    "auroc_by_consequence": "consequences equally",
}


def _averages(analysis: Analysis) -> Figure | None:
    """The pooled AUROC beside the balanced ones, a panel for each."""
    table = analysis.tables.get("averages")
    if table is None:
        return None
    shown = [name for name in _AVERAGES if table[name].count()]
    panels = [
        _dots(table, name, f"AUROC, {_AVERAGES[name]}", [0.5], y_labels=not index).properties(
            width=_WIDTH // 2
        )
        for index, name in enumerate(shown)
    ]
    return Figure(
        "averages",
        "AUROC within genes, and balanced by block and consequence",
        "A score that only knows the gene of a variant has 0.5 within genes. In the other "
        "panels, blocks of 500 kb, or consequences with 30 variants or more, count equally.",
        _spec(alt.hconcat(*panels, spacing=16)),
        "averages",
    )


def _severity(analysis: Analysis) -> Figure | None:
    if "severity" not in analysis.tables:
        return None
    data = analysis.tables["severity"]
    chart = _dots(data, "spearman", "Spearman's rank correlation", [0.0], domain=None)
    return Figure(
        "severity",
        "Correlation with the severity of the consequence",
        "Positive: variants with the more severe consequences have the more deleterious scores. "
        "Severity is Ensembl's order of terms.",
        _spec(chart),
        "severity",
    )


def _effects(analysis: Analysis) -> Figure | None:
    if "effects" not in analysis.tables:
        return None
    data = analysis.tables["effects"]
    panels = [
        _dots(part, "spearman", "Spearman's rank correlation", [0.0], domain=None,
              y_labels=not index).properties(title=str(effect))
        for index, ((effect,), part) in enumerate(data.group_by("effect", maintain_order=True))
    ]  # fmt: skip
    return Figure(
        "effects",
        "Correlation with the effect that the labels give",
        "As signed: ALT against REF. Size: whether more deleterious scores go with larger effects.",
        _spec(alt.hconcat(*panels, spacing=24)),
        "effects",
    )


def _scatter(analysis: Analysis) -> Figure | None:
    """Score against measured effect, and the effect along the gene."""
    if "scatter" not in analysis.tables:
        return None
    data, name = analysis.tables["scatter"], analysis.primary.name
    found = analysis.tables["effects"].filter(pl.col("score") == name).row(0, named=True)
    rho = f"Spearman {found['spearman']:.3f}, n = {found['variants']:,}"
    effect = alt.Y("effect:Q", title="measured effect", scale=alt.Scale(zero=False))
    points = alt.Chart(_data(data)).mark_point(size=26, opacity=0.45, filled=True)
    tooltip = ["chrom:N", "pos:Q", "ref:N", "alt:N", *_rounded(score=name, effect="effect")]
    against = points.encode(
        alt.X("score:Q", title=name, scale=alt.Scale(zero=False)), effect, tooltip=tooltip
    ).properties(width=_WIDTH, height=_THIRD, title=rho)
    along = (
        points.encode(
            alt.X("pos:Q", title=f"position on {data['chrom'][0]}", scale=alt.Scale(zero=False),
                  axis=alt.Axis(format="~f", tickCount=4)),
            effect.title(None),
            alt.Color("score:Q", title=name, scale=alt.Scale(scheme="viridis")),
            tooltip=tooltip,
        )
        .properties(width=_WIDTH, height=_THIRD, title="along the gene")
    )  # fmt: skip
    return Figure(
        "scatter",
        f"{name} against the measured effect in {analysis.within}",
        "One point a variant, 3,000 at most. The interval of Spearman's correlation is of 20 "
        "blocks of neighbouring places within the gene or element: it holds only for this one.",
        _spec(alt.hconcat(against, along, spacing=32)),
        "scatter",
    )


def _leaks(analysis: Analysis) -> Figure | None:
    table = analysis.tables["headline"].filter(pl.col("kind") != "score")
    data = _numbers(table, "auroc")
    if not data.height:
        return None
    return Figure(
        "leaks",
        "Leak check: AUROC of each feature alone",
        "If a rule that does not read the sequence is far from 0.5, positives and negatives "
        "differ in what it reads, and a score may be good only because of that. Matching brings "
        "these to 0.5.",
        _spec(_dots(data, "auroc", "AUROC", [0.5], shape="kind")),
        "headline",
    )


def _calibration(analysis: Analysis, few: Sequence[str]) -> Figure | None:
    if "calibration" not in analysis.tables:
        return None
    table = analysis.tables["calibration"]
    names = [name for name in few if name in table["score"]][:2]
    if not names:
        return None
    panels: list[_Panel] = []
    for name in names:
        data = table.filter(pl.col("score") == name)
        top = max(40.0, float(data["high"].max() or 0))  # type: ignore[arg-type]
        bottom = min(0.2, float(data["low"].min() or 0.2))  # type: ignore[arg-type]
        y = alt.Scale(type="log", domain=[max(bottom, 1e-3), top], clamp=True)
        base = alt.Chart(_data(data)).encode(alt.X("value:Q", title=name))
        band = base.mark_area(opacity=0.18).encode(
            alt.Y("low:Q", scale=y, title="local likelihood ratio"), alt.Y2("high:Q")
        )
        line = base.mark_line().encode(
            alt.Y("ratio:Q", scale=y),
            tooltip=["positives:Q", "negatives:Q", *_rounded(
                value=name, ratio="ratio", low="low", high="high")],
        )  # fmt: skip
        odds = [{"odds": o, "name": f"{o:g}"} for o in (1.0, *ODDS.values()) if o <= top]
        lines = alt.Chart(_inline(odds)).mark_rule(strokeDash=[3, 3], opacity=0.6).encode(
            alt.Y("odds:Q", scale=y))  # fmt: skip
        words = lines.mark_text(align="right", dy=-6, fontSize=10).encode(
            alt.Text("name:N"), x=alt.value(_THIRD)
        )
        n = _names_with_counts(analysis)[name]
        panels.append(
            alt.layer(lines, words, band, line).properties(width=_THIRD, height=_THIRD, title=n)
        )
    # With one cluster there is no other that could predict.
    if "reliability" in analysis.tables:
        held = analysis.tables["reliability"].filter(pl.col("score").is_in(names))
        panels.append(_reliability(held, names))
    return Figure(
        "calibration",
        "Local likelihood ratio",
        "How much more likely a value is among positives than among negatives, in the smallest "
        "window of 100 variants or 3 % of them (Pejaver et al. 2022), with 95 % bands; not shown "
        "where the window is too wide or one-sided. Dashed: odds of 2.4, 5.8, 33.5 and 1,124, by "
        "which Tavtigian et al. measure evidence at a prior of 4.4 %. Right: ratios predicted by "
        "cross-fitting over five folds of genes against those observed. A curve for research; no "
        "variant is called anything here.",
        _spec(alt.hconcat(*panels, spacing=32)),
        "calibration",
    )


def _reliability(held: pl.DataFrame, names: Sequence[str]) -> _Panel:
    """Ratios that other genes predict against those observed."""
    scale = alt.Scale(type="log")
    base = alt.Chart(_data(held)).encode(
        alt.X("predicted:Q", scale=scale, title="predicted from other genes"),
        _colour("score", names),
    )
    ends = [held["predicted"].min(), held["predicted"].max()]
    diagonal = alt.Chart(_inline([{"v": v} for v in ends])).mark_line(
        strokeDash=[2, 4], strokeWidth=1, color="gray").encode(
        alt.X("v:Q", scale=scale), alt.Y("v:Q", scale=scale))  # fmt: skip
    interval = base.mark_rule().encode(
        alt.Y("low:Q", scale=scale, title="observed"), alt.Y2("high:Q")
    )
    point = base.mark_point(filled=True, size=60, opacity=1).encode(
        alt.Y("observed:Q", scale=scale),
        _shape("score", names),
        tooltip=["score:N", "positives:Q", "negatives:Q",
                 *_rounded(predicted="predicted", observed="observed", low="low", high="high")],
    )  # fmt: skip
    return alt.layer(diagonal, interval, point).properties(
        width=_THIRD, height=_THIRD, title="Does it hold in genes not seen?"
    )


# Parts of figures ---------------------------------------------------------------------------------


def _dots(
    table: pl.DataFrame,
    value: str,
    title: str,
    chance: Iterable[float],
    *,
    domain: tuple[float, float] | None = (0.0, 1.0),
    shape: str | None = None,
    y_labels: bool = True,
) -> _Panel:
    """A point with its interval for each score, in the order of the table; n beside its name."""
    table = table.with_columns(score=_with_counts("score", table.columns))
    order = table["score"].to_list()
    scale = alt.Scale(domain=list(domain)) if domain else alt.Scale(zero=False)
    axis = alt.Axis(labelLimit=520) if y_labels else alt.Axis(labels=False, ticks=False)
    counts = [f"{name}:Q" for name in ("variants", "positives", "negatives", "without_score")
              if name in table.columns]  # fmt: skip
    base = alt.Chart(_data(table)).encode(alt.Y("score:N", sort=order, title=None, axis=axis))
    interval = base.mark_rule(strokeWidth=2, opacity=0.7).encode(
        alt.X(f"{value}_low:Q", scale=scale, title=title), alt.X2(f"{value}_high:Q")
    )
    point = base.mark_point(filled=True, size=75, opacity=1).encode(
        alt.X(f"{value}:Q", scale=scale),
        tooltip=["score:N", *_rounded(**{
            value: title, f"{value}_low": "low", f"{value}_high": "high"}), *counts],
    )  # fmt: skip
    if shape:
        kinds = [k for k in ("score", "baseline", "feature", "gene") if k in table[shape]]
        point = point.encode(_shape(shape, kinds), _colour(shape, kinds))
    return alt.layer(_rule(chance, scale), interval, point).properties(
        width=_NARROW, height=alt.Step(_STEP)
    )


def _with_counts(name: str, columns: Sequence[str]) -> pl.Expr:
    """A column of names with how many variants stand behind each: n = positives + negatives."""
    counts = [c for c in ("positives", "negatives") if c in columns] or [
        c for c in ("variants",) if c in columns
    ]
    words = " + ".join(["{}"] * len(counts))
    return pl.format(f"{{}} (n = {words})", name, *counts) if counts else pl.col(name)


def _names_with_counts(analysis: Analysis) -> dict[str, str]:
    """Name of each score -> with its positives and negatives."""
    named = _with_counts("score", ("positives", "negatives"))
    return dict(analysis.tables["headline"].select("score", named=named).iter_rows())


def _colour(field: str, values: Sequence[str], *, of_lines: bool = False) -> alt.Color:
    legend = alt.Legend(symbolOpacity=1, symbolType="stroke" if of_lines else alt.Undefined)
    return alt.Color(
        f"{field}:N",
        sort=list(values),
        scale=alt.Scale(domain=list(values)),
        title=None,
        legend=legend,
    )


def _dash(field: str, values: Sequence[str]) -> alt.StrokeDash:
    scale = alt.Scale(domain=list(values), range=_DASHES[: len(values)])
    return alt.StrokeDash(f"{field}:N", sort=list(values), scale=scale, title=None)


def _shape(field: str, values: Sequence[str]) -> alt.Shape:
    scale = alt.Scale(domain=list(values), range=_SHAPES[: len(values)])
    return alt.Shape(f"{field}:N", sort=list(values), scale=scale, title=None)


def _rule(at: Iterable[float], scale: alt.Scale) -> _Panel | alt.Chart:
    values = [{"at": float(x)} for x in at]
    chart: _Panel | alt.Chart = (
        alt.Chart(_inline(values))
        .mark_rule(strokeDash=[4, 3], opacity=0.6)
        .encode(alt.X("at:Q", scale=scale))
    )
    return chart


def _chance(table: pl.DataFrame, value: str) -> list[float]:
    if value == "auroc":
        return [0.5]
    return sorted({round(float(p), 3) for p in table["prevalence"]})


def _numbers(table: pl.DataFrame, value: str) -> pl.DataFrame:
    return table.filter(pl.col(value).is_not_null())


def _data(table: pl.DataFrame, *columns: str) -> alt.InlineData:
    chosen = table.select(columns) if columns else table
    chosen = chosen.with_columns(pl.col(pl.Float64).round_sig_figs(5).fill_nan(None))
    parse = {name: "number" if d.is_numeric() else "string" for name, d in chosen.schema.items()}
    # As one text: altair copies rows of JSON value by value, and they are three times as long.
    return alt.InlineData(
        values=chosen.write_csv(separator="\t"),
        format=alt.CsvDataFormat(type="tsv", parse=parse),
    )


def _rounded(**titles: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(f"{field}:Q", title=title, format=".3~g") for field, title in titles.items()
    ]


def _inline(rows: list[dict[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=rows)


def _spec(chart: alt.TopLevelMixin) -> Spec:
    spec: Spec = chart.to_dict()
    # The theme is chosen where the figure is drawn.
    spec.pop("config", None)
    return spec


def themed(spec: Mapping[str, Any], theme: Spec, background: str | None = None) -> Spec:
    """A specification with its colours, for a file."""
    return {**spec, "config": {**theme, "background": background}}
