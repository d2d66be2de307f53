"""SCORES of every SNV of a region -> a picture: what each base may become, and what is expected.

A heat map of place by ALT base, with the reference's letters; above it, where the scores have
``llr_marginal``, a logo of the model's prediction at the masked place. The logo follows from the
scores: the log-odds of each base against the reference's give the distribution over the four.
"""

from collections.abc import Iterator, Mapping
from html import escape

import numpy as np
import polars as pl
from jaxtyping import Float

from ntvep.errors import InputError

BASES = "ACGT"
MOST_BASES = 5_000
_CELL, _ROW_BASES, _LOGO, _LEFT, _GAP = 14, 80, 56, 84, 26
# Height of a capital of 10 px, in most fonts.
_CAPITAL = 7.2
_STYLE = """
svg { background: #fff; color: #1f2933; --bad: #b5381f; --good: #0b62a4; --line: #d9dfe6;
  --A: #2a7f62; --C: #0b62a4; --G: #a8730c; --T: #c8472b; }
@media (prefers-color-scheme: dark) { svg { background: #14191f; color: #d7dde4; --bad: #ff9b80;
  --good: #79b8f5; --line: #36414d; --A: #6cd3ab; --C: #79b8f5; --G: #f1c765; --T: #ff9b80; } }
text { font: 10px "Liberation Mono", Menlo, Consolas, monospace; fill: currentColor; }
text.m { text-anchor: middle; } text.l { font-weight: bold; text-anchor: middle; }
text.e { text-anchor: end; }
rect { stroke: var(--line); stroke-width: .5; } rect.r { fill: none; stroke: currentColor; }
"""


def draw(table: pl.DataFrame, score: str = "llr") -> str:
    """An SVG of a region; hover a cell for its number.

    Red cells: the ALT base is less likely than the reference's; blue ones, with a dot: likelier.
    The deeper the colour the larger the score. A cell without a score is empty.

    Args:
        table: SCORES; the SNVs among them, of one contig.
        score: a log-likelihood ratio.

    Raises:
        InputError: there is no SNV with this score, more than one contig, or too long a region.
    """
    snvs = table.filter(
        (pl.col("ref").str.len_bytes() == 1) & (pl.col("alt").str.len_bytes() == 1)
    ).with_columns(pl.col("ref", "alt").str.to_uppercase())
    if score not in table.columns or not snvs[score].count():
        raise InputError(f"no SNV has a {score}; expected a table of ntvep scan --scores {score}")
    contigs = snvs["chrom"].unique().to_list()
    first, last = int(snvs["pos"].min()), int(snvs["pos"].max())  # type: ignore[arg-type]
    if len(contigs) > 1 or last - first >= MOST_BASES:
        raise InputError(
            f"SNVs of {len(contigs)} contigs over {last - first + 1:,} bases; expected one region "
            f"of up to {MOST_BASES:,}"
        )
    places = {int(pos): rows for (pos,), rows in snvs.partition_by("pos", as_dict=True).items()}
    strongest = float(np.quantile(snvs[score].drop_nulls().abs(), 0.98)) or 1.0
    has_logo = "llr_marginal" in table.columns and bool(snvs["llr_marginal"].count())
    height = (_LOGO if has_logo else 0) + 6 * _CELL + _GAP
    n_rows = -(-(last - first + 1) // _ROW_BASES)
    width = _LEFT + _CELL * min(_ROW_BASES, last - first + 1) + 10
    body = [
        part
        for row in range(n_rows)
        for part in _row(
            places, first + row * _ROW_BASES, last, 34 + row * height, score, strongest, has_logo
        )
    ]
    title = f"{contigs[0]}:{first:,}-{last:,}, {score}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
            f'height="{34 + n_rows * height}" role="img" aria-label="{escape(title)}">',
            f"<style>{_STYLE}</style>",
            f'<text x="4" y="16">{escape(title)}: red, ALT is less likely than REF; blue with a '
            "dot, likelier. For research, not for diagnosis.</text>",
            *body,
            "</svg>\n",
        ]
    )


def base_probabilities(llr_marginal: Mapping[str, float], ref: str) -> Float[np.ndarray, " base"]:
    """P(A), P(C), P(G), P(T) at a masked place, from log P(ALT) - log P(REF) of the three SNVs."""
    odds = np.exp([0.0 if base == ref else llr_marginal[base] for base in BASES])
    probabilities: Float[np.ndarray, " base"] = odds / odds.sum()
    return probabilities


def _row(
    places: Mapping[int, pl.DataFrame],
    begin: int,
    last: int,
    top: int,
    score: str,
    strongest: float,
    has_logo: bool,
) -> Iterator[str]:
    logo = _LOGO if has_logo else 0
    yield f'<text class="e" x="{_LEFT - 22}" y="{top + logo + 11}">{begin:,}</text>'
    for number, base in enumerate(BASES, 1):
        y = top + logo + number * _CELL + 11
        yield f'<text class="e" x="{_LEFT - 6}" y="{y}">{base}</text>'
    for pos in range(begin, min(begin + _ROW_BASES, last + 1)):
        if pos not in places:
            continue
        rows = places[pos]
        ref = str(rows["ref"][0])
        x = _LEFT + (pos - begin) * _CELL
        yield f'<text class="m" x="{x + _CELL / 2}" y="{top + logo + 11}">{escape(ref)}</text>'
        values = dict(rows.select("alt", score).iter_rows())
        for number, base in enumerate(BASES, 1):
            yield from _cell(x, top + logo + number * _CELL, base, ref, values, strongest, pos)
        if has_logo:
            odds = dict(rows.select("alt", "llr_marginal").drop_nulls().iter_rows())
            if len(odds) == 3:
                yield from _letters(base_probabilities(odds, ref), x, top + _LOGO)


def _cell(
    x: int,
    y: int,
    base: str,
    ref: str,
    values: Mapping[str, float | None],
    strongest: float,
    pos: int,
) -> Iterator[str]:
    box = f'x="{x}" y="{y}" width="{_CELL}" height="{_CELL}"'
    value = values.get(base)
    if base == ref:
        yield f'<rect class="r" {box}/>'
    elif value is None:
        yield f'<rect fill="none" {box}/>'
    else:
        depth = min(1.0, abs(value) / strongest)
        colour = "bad" if value < 0 else "good"
        yield (
            f'<rect {box} style="fill: var(--{colour})" fill-opacity="{depth:.2f}">'
            f"<title>{pos:,} {ref}&gt;{base}: {value:.3f}</title></rect>"
        )
        if value > 0:
            yield f'<circle cx="{x + _CELL / 2}" cy="{y + _CELL / 2}" r="1.6" fill="currentColor"/>'


def _letters(p: Float[np.ndarray, " base"], x: int, bottom: float) -> Iterator[str]:
    """Letters as high as they carry bits (Schneider and Stephens 1990, NAR 18:6097)."""
    bits = 2 + float(np.sum(p * np.log2(np.maximum(p, 1e-12))))
    for number in np.argsort(p):
        height = float(p[number]) * bits / 2 * (_LOGO - 6)
        if height > 0.5:
            yield (
                f'<text class="l" style="fill: var(--{BASES[number]})" transform="translate('
                f'{x + _CELL / 2} {bottom:.1f}) scale(1.6 {height / _CAPITAL:.3f})">'
                f"{BASES[number]}</text>"
            )
            bottom -= height
