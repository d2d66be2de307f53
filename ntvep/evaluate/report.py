"""analyses -> a report: one HTML file that needs nothing else, its figures, and their data.

Names of genes, sources, files and alleles come from files of anyone: jinja2 escapes all of them, in
data they stand in JSON without ``<``, and pictures of figures are images, in which no script runs.
"""

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import altair
import polars as pl
import vl_convert
from jinja2 import Environment, StrictUndefined

from ntvep.evaluate.analysis import TOO_FEW as TOO_FEW_WORDS
from ntvep.evaluate.analysis import Analysis, Score
from ntvep.evaluate.figures import DARK, LIGHT, Figure, figures, themed
from ntvep.evaluate.metrics import TOO_FEW, in_words
from ntvep.evaluate.published import PUBLISHED
from ntvep.genome import canonical
from ntvep.provenance import Provenance

MARK = "ntvep-report.json"
"""File by which a folder is known to be a report."""
_ROWS_SHOWN = 200
_GENES_SHOWN = 30
_PNG_SCALE = 2.0
# Vega-Lite as vl-convert names it: 6.4 for altair's v6.4.1.
_VEGA_LITE = ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


@dataclass(frozen=True)
class LabelSet:
    """One set of labels, judged.

    Attributes:
        analysis: its tables.
        scores: what was judged.
        outcomes: what became of each row of its labels: ``model``, ``outcome``, ``labels``,
            ``meaning``.
        notes: what a reader of its numbers must know.
    """

    analysis: Analysis
    scores: Sequence[Score]
    outcomes: pl.DataFrame
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """What a report says.

    Attributes:
        sets: the sets of labels.
        models: provenance of the scores by the model's name in the report.
        labels: the label files.
        version, command: of this ntvep.
    """

    sets: Sequence[LabelSet]
    models: Mapping[str, Provenance | None]
    labels: Sequence[str]
    version: str
    command: str


def render(report: Report) -> Iterator[tuple[str, bytes]]:
    """The report's files, one after the other: path inside its folder, and content."""
    specs: dict[str, Any] = {}
    sets = []
    for number, labels in enumerate(report.sets, 1):
        prefix = "" if len(report.sets) == 1 else f"{number}-"
        drawn = []
        for figure in figures(labels.analysis, labels.scores):
            light = json.dumps(themed(figure.spec, LIGHT, "white"))
            svg = vl_convert.vegalite_to_svg(light, vl_version=_VEGA_LITE)
            name = prefix + figure.name
            yield f"figures/{name}.svg", svg.encode()
            yield f"figures/{name}.png", vl_convert.svg_to_png(svg, scale=_PNG_SCALE)
            specs[f"figure-{name}"] = figure.spec
            drawn.append(_drawn(figure, name, svg, prefix, labels.analysis))
        tables = {**labels.analysis.tables, "outcomes": labels.outcomes}
        for name, table in tables.items():
            yield from _data_files(prefix + name, table)
        sets.append(_set(labels, prefix, drawn))
    yield from _data_files("published", PUBLISHED)
    yield "index.html", _page(report, sets, specs).encode()
    content = {
        "version": report.version,
        "command": report.command,
        "fingerprints": {
            name: made.fingerprint if made else None for name, made in report.models.items()
        },
        "labels": [labels.analysis.name for labels in report.sets],
    }
    yield MARK, (json.dumps(content, indent=2) + "\n").encode()


def _data_files(name: str, table: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
    parquet = io.BytesIO()
    table.write_parquet(parquet)
    yield f"data/{name}.parquet", parquet.getvalue()
    yield f"data/{name}.tsv", table.write_csv(separator="\t", null_value="").encode()


# The page -----------------------------------------------------------------------------------------


def _page(report: Report, sets: Sequence[Mapping[str, object]], specs: Mapping[str, Any]) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"cell": _cell, "interval": _interval}
    source = files("ntvep.evaluate").joinpath("report.html.jinja").read_text("utf-8")
    return environment.from_string(source).render(
        report=report,
        sets=sets,
        published=_rows(PUBLISHED, len(PUBLISHED)),
        provenance={name: provenance_rows(made) for name, made in report.models.items()},
        specs=specs,
        themes={"light": LIGHT, "dark": DARK},
        # The one text that is not escaped: a library of ours, with no end of a script in it.
        bundle=_bundle(),
    )


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; nothing in it may end the script's element."""
    bundle = vl_convert.javascript_bundle(vl_version=_VEGA_LITE)  # type: ignore[call-arg]
    return bundle.replace("</script", "<\\/script")


def _set(
    labels: LabelSet, prefix: str, drawn: Sequence[Mapping[str, object]]
) -> Mapping[str, object]:
    analysis = labels.analysis
    headline = analysis.tables["headline"].to_dicts()
    first = headline[0]
    rule = next((row for row in headline if row["score"] == "consequence rule"), None)
    labelled = analysis.positives + analysis.negatives
    statuses = analysis.tables["statuses"]
    kinds = [
        kind for kind in ("snv", "indel") if first[f"{kind}_positives"] + first[f"{kind}_negatives"]
    ]
    return {
        "prefix": prefix,
        # SNVs apart from indels, where there are both.
        "kinds": kinds if len(kinds) > 1 else [],
        "common": analysis.tables.get("common", pl.DataFrame()).to_dicts(),
        "genes": _tabled(analysis, "genes", pl.col("score") == analysis.primary.name),
        "hits": [
            row | {"links": _links(row)}
            for row in analysis.tables.get("hits", pl.DataFrame()).to_dicts()
        ],
        "few": _few(analysis),
        "analysis": analysis,
        "notes": labels.notes,
        "headline": headline,
        "first": first,
        "rule": rule,
        "labelled": labelled,
        "coverage": 1 - first["without_score"] / labelled if labelled else None,
        "figures": drawn,
        "outcomes": _rows(labels.outcomes, labels.outcomes.height),
        "statuses": _rows(statuses, statuses.height),
        "surprising": [
            row | {"links": _links(row)}
            for row in analysis.tables.get("surprising", pl.DataFrame()).to_dicts()
        ],
    }


def _tabled(
    analysis: Analysis, name: str, which: pl.Expr | None = None
) -> Mapping[str, object] | None:
    if name not in analysis.tables:
        return None
    table = analysis.tables[name]
    table = (table if which is None else table.filter(which)).drop("kind", "model", strict=False)
    return {**_rows(table, _GENES_SHOWN), "height": table.height}


def _few(analysis: Analysis) -> str:
    """In words, if a class is absent or too small for a number; else empty."""
    counts = {"positives": analysis.positives, "negatives": analysis.negatives}
    small = [f"{n or 'no'} {name}" for name, n in counts.items() if n < TOO_FEW]
    if not analysis.positives + analysis.negatives:
        return ""
    return (
        f"Among the scores are {' and '.join(small)}: too few for AUROC and AUPRC, which need "
        f"{TOO_FEW} of each."
        if small
        else ""
    )


def _drawn(
    figure: Figure, name: str, svg: str, prefix: str, analysis: Analysis
) -> Mapping[str, object]:
    table = analysis.tables[figure.table]
    return {
        "id": f"figure-{name}",
        "name": name,
        "title": figure.title,
        "caption": figure.caption,
        # As an image: what stands in it, no script of it would run.
        "image": "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(),
        "table": prefix + figure.table,
        "rows": _rows(table, _ROWS_SHOWN),
        "height": table.height,
    }


def _rows(table: pl.DataFrame, most: int) -> Mapping[str, object]:
    return {"columns": table.columns, "rows": table.head(most).rows()}


def _links(row: Mapping[str, Any]) -> Mapping[str, str]:
    """Pages of browsers that show a place of GRCh38."""
    chrom, pos = canonical(row["chrom"]), row["pos"]
    around = f"{max(1, pos - 50)}-{pos + 50}"
    bare = chrom.removeprefix("chr")
    allele = quote(f"{bare}-{pos}-{row['ref']}-{row['alt']}", safe="")
    return {
        "Ensembl": "https://www.ensembl.org/Homo_sapiens/Location/View?r="
        + quote(f"{bare}:{around}", safe=""),
        "UCSC": "https://genome.ucsc.edu/cgi-bin/hgTracks?db=hg38&position="
        + quote(f"{chrom}:{around}", safe=""),
        "gnomAD": f"https://gnomad.broadinstitute.org/variant/{allele}?dataset=gnomad_r4",
    }


def provenance_rows(made: Provenance | None) -> Mapping[str, object]:
    """What made scores, as names and values for a page."""
    if made is None:
        return {"made by": "unknown: the table does not say it, or was changed since"}
    contigs = ", ".join(f"{name} {md5}" for name, md5 in made.contigs.items())
    return {
        "model": made.model.model_id,
        "revision": made.model.revision or "not known",
        "sha256 of the weights": made.model.weights_sha256,
        "how": made.how(),
        "precision, device": f"{made.model.precision}, {made.model.device}",
        "reference": made.reference,
        "md5 of the contigs": contigs,
        "fingerprint of the scores": made.fingerprint,
        "made by": f"ntvep {made.version}: {made.command}",
    }


def _cell(value: object) -> str:
    """A value of a table as people read it."""
    if value is None or value != value:
        return "\N{EN DASH}"
    if isinstance(value, bool):
        return "positive" if value else "negative"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _interval(row: Mapping[str, Any], name: str) -> str:
    """Value (low to high), or why there is none."""
    if row.get(name) is None:
        return TOO_FEW_WORDS if row.get("note") == TOO_FEW_WORDS else "\N{EN DASH}"
    return f"{row[name]:.3f} ({in_words(row[f'{name}_low'], row[f'{name}_high'])})"
