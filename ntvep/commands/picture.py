"""SCORES of a region -> its picture: ``ntvep picture``; and of a variant's surroundings."""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ntvep.commands.said_of import said_of
from ntvep.commands.scored_rows import Run, read_rows
from ntvep.commands.selection import REGION, bounds
from ntvep.errors import ConfigError, InputError
from ntvep.evaluate.scan_picture import Beside, as_file, draw
from ntvep.genome import canonical
from ntvep.io.intervals import read_parts
from ntvep.io.staging import refuse_overwriting, staged
from ntvep.provenance import Provenance

SUFFIXES = (".svg", ".png", ".pdf")
_MARK = re.compile(r"(?:(?P<chrom>[^\s:]+):)?(?P<pos>[\d,]+)(?::[ACGTacgt]:(?P<alt>[ACGTacgt]))?")
# How labels are written into cells.
_LETTER = {"pathogenic": "P", "benign": "B", "positive": "+", "negative": "\N{MINUS SIGN}"}
LETTER_WORDS = (
    "letters in cells: P pathogenic, B benign, + positive, \N{MINUS SIGN} negative, ? other"
)


def draw_scan(
    scores: Path,
    output: Path,
    *,
    score: str = "llr",
    region: str | None = None,
    marks: Sequence[str] = (),
    labels: Sequence[Path] = (),
    genes: Path | None = None,
    force: bool = False,
) -> None:
    """Draw a heat map and a logo of a region; see :func:`draw`.

    Args:
        scores: what ``ntvep scan`` wrote: Parquet or VCF.
        output: .svg, .png or .pdf.
        score: that is drawn.
        region: ``CONTIG:FIRST-LAST``: a part of it.
        marks: ``CONTIG:POS`` or ``CONTIG:POS:REF:ALT``: framed.
        labels: ClinVar's VCF or LABELS: written into the cells.
        genes: GTF or BED: drawn below.
        force: replace an output that exists.

    Raises:
        ConfigError: an option has a value that cannot be used.
        InputError: a file cannot be used, or has no SNV with this score.
    """
    if output.suffix not in SUFFIXES:
        raise ConfigError(f"--output {output}: expected a name that ends in {', '.join(SUFFIXES)}")
    refuse_overwriting(output, [scores, *labels, *([genes] if genes else [])])
    with staged([output], force=force) as staging:
        found = read_rows(scores)
        run = found.runs[0]
        table = found.rows.hstack(run.table)
        span = None
        if region is not None:
            chrom, span = _part(region)
            table = table.filter(
                pl.col("chrom").map_elements(canonical, pl.String) == canonical(chrom),
                pl.col("pos").is_between(*span),
            )
        if table.is_empty():
            raise InputError(f"{scores}: has no variant there; expected a region that was scanned")
        contig = str(table["chrom"][0])
        beside = Beside(
            marks=[_mark(text, contig) for text in marks],
            labels=letters_of(table, labels),
            label_words=LETTER_WORDS,
            parts=parts_of(genes, contig),
            span=span,
        )
        logo, note = logo_of(run)
        spec = draw(table, score, logo=logo, beside=beside, notes=note)
        staging.path(output).write_bytes(as_file(spec, output.suffix))


def logo_of(run: Run) -> tuple[str | None, list[str]]:
    """The column of log-odds of single bases that a run has, or a sentence why there is none."""
    made, names = run.made, {column.name for column in run.columns}
    if "llr_marginal" in names and run.table["llr_marginal"].count():
        return "llr_marginal", []
    model = made.model
    if model.kind == "base" and model.objective == "masked":
        # Of single-base tokens llr itself compares two bases at one masked place.
        return ("llr", []) if "llr" in names else (None, [_no_logo(made, "llr")])
    if model.kind == "kmer":
        return None, [_no_logo(made, "llr_marginal")]
    return None, [
        f"No logo: {model.model_id} ({model.objective}, {model.kind} tokens) predicts no single "
        "base of a masked place."
    ]


def _no_logo(made: Provenance, needed: str) -> str:
    scores = ",".join(dict.fromkeys([*made.settings.scores, needed]))
    return f"No logo: it follows from {needed}, which was not scored; add --scores {scores}."


def letters_of(table: pl.DataFrame, files: Sequence[Path]) -> pl.DataFrame:
    """What SNVs are called, in one letter: ``pos``, ``alt``, ``letter``."""
    if not files:
        return pl.DataFrame()
    # Labels of a region are few: of another assembly the pictures of a genome are not judged.
    said = said_of(table, files, None, ref_mismatch_limit=1)["significance"].str.to_lowercase()
    first = said.str.extract(f"^(?:likely )?({'|'.join(_LETTER)})")
    letter = first.replace_strict(_LETTER, default="?", return_dtype=pl.String)
    rows = table.select("pos", pl.col("alt").str.to_uppercase(), letter=letter)
    return rows.filter(said.is_not_null())


def parts_of(genes: Path | None, contig: str) -> pl.DataFrame:
    """Genes, exons or intervals of one contig."""
    if genes is None:
        return pl.DataFrame()
    parts = read_parts(genes)
    names = {name: canonical(name) for name in parts["chrom"].unique()}
    return parts.filter(pl.col("chrom").replace(names) == canonical(contig))


def _part(region: str) -> tuple[str, tuple[int, int]]:
    match = REGION.fullmatch(region)
    if match is None or match["first"] is None or bounds(match)[0] > bounds(match)[1]:
        raise ConfigError(f"--region is {region!r}; expected CONTIG:FIRST-LAST, 1-based")
    return match["contig"], bounds(match)


def _mark(text: str, contig: str) -> tuple[int, str]:
    match = _MARK.fullmatch(text)
    if match is None or (match["chrom"] and canonical(match["chrom"]) != canonical(contig)):
        raise ConfigError(f"--mark {text}: expected {contig}:POS or {contig}:POS:REF:ALT of an SNV")
    return int(match["pos"].replace(",", "")), (match["alt"] or "").upper()
