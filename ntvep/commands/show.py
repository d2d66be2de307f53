"""variants that are typed -> everything about each, as text or a page: ``ntvep show``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import polars as pl

from ntvep.commands.against import OtherScore, other_scores
from ntvep.commands.against import parse as parse_against
from ntvep.commands.contexts import (
    Around,
    Variant,
    letters_around,
    options_of,
    picture_of,
    scanned,
)
from ntvep.commands.given import alleles_given, by_records
from ntvep.commands.mismatches import Mismatches
from ntvep.commands.options import Options
from ntvep.commands.picture import logo_of
from ntvep.commands.ready import Ready, ready_with, score_chunks
from ntvep.commands.said_of import said_of
from ntvep.commands.scored_rows import Run
from ntvep.errors import ConfigError
from ntvep.evaluate.scan_picture import BASES, base_probabilities
from ntvep.evaluate.variant_page import (
    ScoreLine,
    ShownPage,
    ShownVariant,
    number_text,
    render_shown,
)
from ntvep.evaluate.variant_table import kinds
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.staging import refuse_overwriting, staged
from ntvep.models.loaded import load_model
from ntvep.pipeline import Scored
from ntvep.schema import ALLELES, STATUS_MEANING, Status
from ntvep.settings import parse_scores
from ntvep.windows import zero_based

_ALLELE = ("chrom", "pos", "ref", "alt")


@dataclass(frozen=True)
class Beside:
    """What is shown beside scores; every field is an option of the command line.

    Attributes:
        labels: ClinVar's VCF or LABELS.
        against: scores of others, ``FILE:COLUMN``.
        genes: GTF or BED, drawn.
    """

    labels: Sequence[Path] = ()
    against: Sequence[str] = ()
    genes: Path | None = None


def show_variants(
    variants: Sequence[str],
    reference: Path,
    model: str,
    output: Path | None,
    *,
    beside: Beside,
    options: Options,
    command: str,
    force: bool = False,
) -> str:
    """Tell everything about a few variants.

    Args:
        variants: CHROM:POS:REF:ALT.
        reference: FASTA of their assembly.
        model: as in :func:`ntvep.commands.score.score_file`; not ``none``.
        output: .html; None for the terminal only.
        beside: what else is shown.
        options: how to score.
        command: what was typed.
        force: replace an output that exists.

    Returns:
        Text for the terminal.

    Raises:
        InputError: a variant has another form, or a file cannot be used.
        ConfigError: an option has a value that cannot be used.
    """
    if output is not None and output.suffix != ".html":
        raise ConfigError(f"--output {output}: expected a name that ends in .html")
    parse_scores(options.scores)
    against = parse_against(beside.against)
    genome = open_reference(reference)
    alleles = alleles_given(list(variants))
    with staged([output] if output else [], force=force) as staging:
        if output:
            refuse_overwriting(output, [reference, *beside.labels])
        loaded = load_model(
            model, device=options.device, precision=options.precision, threads=options.threads
        )
        made = ready_with(loaded, genome, options)
        forward = None
        if made.context.views == 2:
            forward = ready_with(loaded, genome, replace(options, views=1, background=None))
        scores, lines = _lines(made, forward, alleles)
        keys = scores.select(*_ALLELE, "status")
        around = scanned(
            [*keys.select(_ALLELE).iter_rows()], genome, loaded,
            options_of(made.context.settings, options),
        )  # fmt: skip
        others = other_scores(keys, against)
        shown = list(
            _shown(keys, lines, others, around, Around(genome, beside.labels, beside.genes))
        )
        if output:
            provenance = made.provenance(command, keys["chrom"].unique(maintain_order=True))
            page = ShownPage(
                shown, provenance, [p.name for p in beside.labels], version("ntvep"), command
            )
            staging.path(output).write_text(render_shown(page), encoding="utf-8")
    return "\n\n".join(map(as_text, shown))


def _shown(
    keys: pl.DataFrame,
    lines: Sequence[Sequence[ScoreLine]],
    others: Sequence[OtherScore],
    run: Run,
    around: Around,
) -> Iterator[ShownVariant]:
    """Each variant with all that is shown of it."""
    genome = around.genome
    found = Mismatches(genome)
    said = said_of(keys, around.labels, genome)
    rows = zip(keys.iter_rows(), kinds(keys), said.iter_rows(named=True), strict=True)
    for number, ((chrom, pos, ref, alt, status), kind, label) in enumerate(rows):
        variant = (chrom, pos, ref, alt)
        yield ShownVariant(
            variant=variant,
            kind=kind,
            status=status,
            meaning=STATUS_MEANING[Status(status)],
            found=found.bases(chrom, zero_based(pos, ref)),
            reference=genome.path.name,
            scores=lines[number],
            label=label,
            others={one.name: one.values[number] for one in others},
            around=_letters(variant, run, genome),
            picture=picture_of(variant, run, around),
        )


def _scored(made: Ready, alleles: pl.DataFrame) -> pl.DataFrame:
    parts: list[pl.DataFrame] = []

    def use(_: object, scored: Scored) -> None:
        parts.append(made.compared(scored).scores)

    records = alleles["record"].n_unique()
    score_chunks(partial(by_records, alleles), records, made, use, True)
    return pl.concat(parts)


def _lines(
    made: Ready, forward: Ready | None, alleles: pl.DataFrame
) -> tuple[pl.DataFrame, list[list[ScoreLine]]]:
    """SCORES, and for each allele one line per score.

    A score of two views is the mean of the strands: what the reverse one says follows from it and
    from the forward one.
    """
    scores = _scored(made, alleles)
    one_way = None if forward is None else _scored(forward, alleles)
    columns = [c for c in made.columns[len(ALLELES) :] if not c.name.endswith("_sd")]
    lines = []
    for number, row in enumerate(scores.iter_rows(named=True)):
        of_row = []
        for column in columns:
            value = row[column.name]
            if value is None:
                continue
            plus = None
            if one_way is not None and column.name in one_way.columns and column.dtype.is_float():
                plus = one_way[column.name][number]
            spread = row.get(f"{column.name}_sd")
            minus = None if plus is None else 2 * value - plus
            of_row.append(ScoreLine(column, value, plus, minus, spread))
        lines.append(of_row)
    return scores, lines


def _letters(variant: Variant, run: Run, genome: FastaReference) -> tuple[int, str, str]:
    """First place around a variant, the reference's letters, and what the model expects there."""
    first, letters = letters_around(variant, genome)
    logo, _ = logo_of(run) if run.table.height else (None, [])
    if logo is None or not letters:
        return first, letters, ""
    near = run.table.filter(
        pl.col("chrom") == variant[0], pl.col("pos").is_between(first, first + len(letters) - 1)
    )
    expected = {}
    of_places = near.drop_nulls(logo).group_by("pos").agg(pl.col("ref").first(), "alt", logo)
    for pos, ref, alts, odds in of_places.iter_rows():
        if len(alts) == 3:
            p = base_probabilities(dict(zip(alts, odds, strict=True)), ref.upper())
            likeliest = BASES[int(p.argmax())]
            expected[pos] = likeliest if p.max() >= 0.5 else likeliest.lower()
    return first, letters, "".join(expected.get(first + i, " ") for i in range(len(letters)))


# The terminal -------------------------------------------------------------------------------------


def as_text(one: ShownVariant) -> str:
    """A variant as lines for a terminal."""
    chrom, pos, ref, alt = one.variant
    lines = [f"{chrom}:{pos}:{ref}:{alt}  {one.status}: {one.meaning}", f"  {one.ref_words}"]
    has_strands = any(line.forward is not None for line in one.scores)
    has_spread = any(line.spread is not None for line in one.scores)
    width = max((len(line.column.name) for line in one.scores), default=0)
    if one.scores:
        heads = ["mean", "forward", "reverse"] if has_strands else ["score"]
        heads += ["sd"] if has_spread else []
        lines += ["", "  " + " " * width + "".join(f"{head:>13}" for head in heads)]
    for line in one.scores:
        values = [line.value]
        if has_strands:
            values += [line.forward, line.reverse]  # type: ignore[list-item]
        if has_spread:
            values.append(line.spread)  # type: ignore[arg-type]
        cells = "".join(f"{_number(value):>13}" for value in values)
        lines.append(f"  {line.column.name:<{width}}{cells}  {line.column.unit}".rstrip())
    lines += [f"  {name}: {_number(value)}" for name, value in one.others.items()]
    if one.label_words:
        lines.append(f"  called {one.label_words}")
    return "\n".join([*lines, *_picture(one)])


def _number(value: float | bool | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number_text(value, minus="-") if isinstance(value, float) else str(value)


def _picture(one: ShownVariant) -> list[str]:
    """Letters around a variant, with a mark over its first base."""
    first, letters, expected = one.around
    if not letters:
        return []
    place = f"{first:,}"
    margin = max(len(place), len("expected"))
    gap = one.variant[1] - first
    lines = ["", f"  {'':<{margin}} {' ' * gap}v", f"  {place:>{margin}} {letters}"]
    if expected.strip():
        said = "by the model; lower case: it is less than half sure"
        lines += [f"  {'expected':>{margin}} {expected}", f"  {'':<{margin}} {said}"]
    return lines
