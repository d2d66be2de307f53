"""analyses -> a report: one HTML file that needs nothing else, its figures, and their data.

Names of genes, sources, files and alleles come from files of anyone: jinja2 escapes all of them, in
data they are in JSON without ``<``, and pictures of figures are images, in which no script runs.
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

import polars as pl
import vl_convert
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ntvep.evaluate.analysis import TOO_FEW as TOO_FEW_WORDS
from ntvep.evaluate.analysis import Analysis, Score
from ntvep.evaluate.figures import DARK, LIGHT, VEGA_LITE, Figure, figures, themed
from ntvep.evaluate.methods import methods
from ntvep.evaluate.metrics import TOO_FEW, in_words
from ntvep.evaluate.published import PUBLISHED
from ntvep.genome import canonical
from ntvep.provenance import Provenance

MARK = "ntvep-report.json"
"""File by which a folder is known to be a report."""
_ROWS_SHOWN = 200
_GENES_SHOWN = 20
_PNG_SCALE = 2.0


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
        releases: ``source``, ``positives``, ``negatives``, ``unlabelled``: what they hold.
        software: versions of what computes the numbers.
        version, command: of this ntvep.
    """

    sets: Sequence[LabelSet]
    models: Mapping[str, Provenance | None]
    labels: Sequence[str]
    releases: pl.DataFrame
    software: Mapping[str, str]
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
            svg = vl_convert.vegalite_to_svg(light, vl_version=VEGA_LITE)
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
    environment.filters |= {
        "cell": _cell,
        "interval": _interval,
        "three": _three,
        "score": _score,
        "breakable": _breakable,
    }
    source = files("ntvep.evaluate").joinpath("report.html.jinja").read_text("utf-8")
    return environment.from_string(source).render(
        report=report,
        sets=sets,
        methods=[
            *methods(
                report.models,
                report.releases,
                [labels.analysis for labels in report.sets],
                report.software,
            )
        ],
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
    bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]
    return bundle.replace("</script", "<\\/script")


def _set(
    labels: LabelSet, prefix: str, drawn: Sequence[Mapping[str, object]]
) -> Mapping[str, object]:
    analysis = labels.analysis
    headline = analysis.tables["headline"].to_dicts()
    first = headline[0]
    statuses = analysis.tables["statuses"]
    kinds = [
        kind for kind in ("snv", "indel") if first[f"{kind}_positives"] + first[f"{kind}_negatives"]
    ]
    # SNVs apart from indels, where there are both.
    kinds = kinds if len(kinds) > 1 else []
    matched = _dicts(analysis, "match_groups")
    return {
        "prefix": prefix,
        "kinds": kinds,
        "scores": _scores(headline, kinds),
        "common": _scores(_dicts(analysis, "common"), []),
        "sensitivity": _by_specificity(_dicts(analysis, "sensitivity")),
        # All scores of a subset together.
        "matched": [
            row
            for subset in dict.fromkeys(row["subset"] for row in matched)
            for row in matched
            if row["subset"] == subset and row["kind"] == "score"
        ],
        "leaks": _by_subset([row for row in matched if row["kind"] != "score"]),
        "genes": _genes(analysis),
        "hits": _listed(analysis, "hits"),
        "few": _few(analysis),
        "analysis": analysis,
        "notes": [*labels.notes, *_of_one_gene(headline)],
        "labelled": analysis.positives + analysis.negatives,
        "first": first,
        "cards": list(_cards(analysis, headline, kinds)),
        "figures": drawn,
        "outcomes": _rows(labels.outcomes, labels.outcomes.height),
        "statuses": _rows(statuses, statuses.height),
        "surprising": _listed(analysis, "surprising"),
    }


def _dicts(analysis: Analysis, name: str) -> list[dict[str, Any]]:
    return analysis.tables[name].to_dicts() if name in analysis.tables else []


_KINDS = {
    "score": "Scores",
    "baseline": "Rules that read no sequence",
    "feature": "Columns of the labels, and scores of others",
    "gene": "What the gene alone tells",
}


def _scores(rows: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> Mapping[str, Any] | None:
    """A table of scores by kind; notes on rows follow below it, each once."""
    if not rows:
        return None
    notes = list(dict.fromkeys(row["note"] for row in rows if row["note"]))
    marked = [{**row, "mark": notes.index(row["note"]) + 1 if row["note"] else ""} for row in rows]
    of_kind = {
        words: [row for row in marked if row["kind"] == kind] for kind, words in _KINDS.items()
    }
    return {
        "kinds": kinds,
        "groups": {words: found for words, found in of_kind.items() if found},
        "notes": notes,
    }


def _cards(
    analysis: Analysis, headline: Sequence[Mapping[str, Any]], kinds: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """The few numbers on top: title, number, and what must be known of it."""
    first = headline[0]
    for kind in kinds or [""]:
        name = f"{kind}_auroc" if kind else "auroc"
        of_kind = {"snv": ", SNVs", "indel": ", indels", "": ""}[kind]
        if first[name] is None:
            words = f"fewer than {TOO_FEW} of a class"
        elif first[f"{name}_low"] is None:
            words = "no interval: too few clusters"
        else:
            words = "95 % interval " + in_words(first[f"{name}_low"], first[f"{name}_high"])
        yield f"AUROC of {first['score']}{of_kind}", _three(first[name]), words
    for row in headline:
        # The other models' score of this name, beside the first.
        same = row["score"].split(" · ")[0] == first["score"].split(" · ")[0]
        if same and row["kind"] == "score" and row is not first:
            yield f"AUROC of {row['score']}", _three(row["auroc"]), _interval_words(row, "auroc")
    rule = next((row for row in headline if row["score"] == "consequence rule"), None)
    if rule is not None and rule["auroc"] is not None:
        said = rule["note"] or "a rule that reads no sequence"
        yield "AUROC of the consequence alone", _three(rule["auroc"]), said
    prevalence = f"chance is the prevalence, {_three(first['prevalence'])}"
    yield f"AUPRC of {first['score']}", _three(first["auprc"]), prevalence
    labelled = analysis.positives + analysis.negatives
    if labelled:
        yield (
            "Labelled variants with a score",
            f"{100 * (1 - first['without_score'] / labelled):.1f} %",
            f"of {analysis.positives:,} positives and {analysis.negatives:,} negatives",
        )


def _three(value: float | None) -> str:
    return TOO_FEW_WORDS if value is None else f"{value:.3f}"


def _interval_words(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return f"fewer than {TOO_FEW} of a class"
    return in_words(row[f"{name}_low"], row[f"{name}_high"], "95 % interval ")


def _of_one_gene(headline: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Where a rule's or a feature's figure rests on one gene, and the primary score's does not."""
    for row in headline:
        if row["kind"] in ("baseline", "feature") and " lie in " in row["note"]:
            said = "; ".join(part for part in row["note"].split("; ") if " lie in " in part)
            if said not in headline[0]["note"]:
                yield f"{row['score']}: {said}. Its figure is a figure of that gene."


def _by_specificity(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """One row per score, one column per specificity."""
    if not rows:
        return None
    levels = list(dict.fromkeys(row["specificity"] for row in rows))
    scores = dict.fromkeys(row["score"] for row in rows)
    found = {(row["score"], row["specificity"]): row for row in rows}
    return {
        "levels": [f"{100 * level:g} %" for level in levels],
        "rows": {score: [found[score, level] for level in levels] for score in scores},
    }


def _by_subset(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """AUROC of what reads no sequence: one row per subset, one column per rule."""
    subsets, scores = (dict.fromkeys(row[name] for row in rows) for name in ("subset", "score"))
    found = {(row["subset"], row["score"]): row for row in rows}
    return {
        "scores": list(scores),
        "rows": {s: [found[s, score] for score in scores] for s in subsets},
    }


def _listed(analysis: Analysis, name: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Variants with links, by kind and label."""
    tables: dict[str, list[Mapping[str, Any]]] = {}
    for row in _dicts(analysis, name):
        words = f"{'Positives' if row['label'] else 'Negatives'}, {row['kind']}s"
        tables.setdefault(words, []).append(row | {"links": _links(row)})
    return tables


def _genes(analysis: Analysis) -> Mapping[str, Any] | None:
    """The primary score gene by gene, those with most pairs first."""
    found = [r for r in _dicts(analysis, "genes") if r["score"] == analysis.primary.name]
    return {"rows": found[:_GENES_SHOWN], "height": len(found)} if found else None


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
        # As an image: no script inside it would run.
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
        return {"made by": "unknown: the table does not state it, or was changed later"}
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


def _score(value: float) -> str:
    """Of a column of scores: three decimals, more where they are small."""
    return f"{value:.3f}" if abs(value) >= 0.01 or not value else f"{value:.3g}"


def _breakable(text: str) -> Markup:
    """Text that may be broken behind each underscore."""
    return Markup("_<wbr>").join(text.split("_"))


def _interval(row: Mapping[str, Any], name: str) -> tuple[str, str]:
    """A number and, apart from it, its interval; or why there is none."""
    if row.get(name) is None:
        return (TOO_FEW_WORDS if row.get("note") == TOO_FEW_WORDS else "\N{EN DASH}"), ""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.3f}", "no interval" if low is None else f"{low:.3f} to {high:.3f}"
