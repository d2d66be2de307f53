"""variants, genome, model -> the 30 bases on either side of each: scored, drawn, in letters."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl

from ntvep import dna
from ntvep.commands.given import by_records
from ntvep.commands.options import Options
from ntvep.commands.picture import LETTER_WORDS, letters_of, logo_of, parts_of
from ntvep.commands.ready import Ready, ready_with, score_chunks
from ntvep.commands.scan import alleles_of
from ntvep.commands.scored_rows import Run
from ntvep.evaluate.scan_picture import Beside, as_file, draw
from ntvep.evaluate.variant_page import Picture
from ntvep.io.fasta import FastaReference
from ntvep.models.loaded import LoadedModel
from ntvep.pipeline import Scored
from ntvep.provenance import Provenance
from ntvep.settings import Settings
from ntvep.windows import Span, merged, zero_based

AROUND = 30
"""Bases on either side of a variant."""

Variant = tuple[str, int, str, str]


@dataclass(frozen=True)
class Around:
    """What is drawn around variants beside their scores.

    Attributes:
        genome: the reference.
        labels: files of labels.
        genes: GTF or BED, or None.
    """

    genome: FastaReference
    labels: Sequence[Path] = ()
    genes: Path | None = None


def options_of(settings: Settings, options: Options) -> Options:
    """Options that ask for what these settings asked for: the same numbers for other alleles."""
    return replace(
        options,
        window_bases=settings.window_bases,
        window_tokens=None,
        views=settings.views,
        layer="last" if settings.layer is None else settings.layer,
        pool=settings.pool,
        softmax=settings.softmax,
        anchor=settings.anchor,
        max_n_fraction=settings.max_n_fraction,
        max_allele_bases=settings.max_allele_bases,
        beyond_training=True,
    )


def scanned(
    variants: Sequence[Variant], genome: FastaReference, loaded: LoadedModel, options: Options
) -> Run:
    """Every SNV around some variants, scored with what a logo needs."""
    model = loaded.description
    marginal = model.objective != "rates" and model.tokenizer.kind == "kmer"
    asked = replace(options, scores="llr,llr_marginal" if marginal else "llr", background=None)
    made = ready_with(loaded, genome, asked)
    places = merged(place for one in variants if (place := span_around(one, genome)))
    alleles = alleles_of(genome, places, False)
    parts = [pl.DataFrame(schema={c.name: c.dtype for c in made.context.columns})]

    def use(_: object, scored: Scored) -> None:
        parts.append(scored.scores)

    if alleles.height:
        records = alleles["record"].n_unique()
        score_chunks(partial(by_records, alleles), records, made, use, True)
    return _run(made, pl.concat(parts))


def _run(made: Ready, table: pl.DataFrame) -> Run:
    provenance: Provenance = made.provenance("", [])
    return Run(provenance, provenance.columns, table)


def span_around(variant: Variant, genome: FastaReference) -> tuple[str, Span] | None:
    """A variant's place with 30 bases on either side, as far as the reference has it."""
    chrom, pos, ref, _ = variant
    bases = zero_based(pos, ref if ref.isalpha() else "N")
    for span in genome.spans(chrom):
        start, stop = max(span.start, bases.start - AROUND), min(span.stop, bases.stop + AROUND)
        if span.start <= bases.start < span.stop:
            # Of a long allele its beginning.
            return chrom, Span(start, min(stop, bases.start + 2 * AROUND + 1))
    return None


def letters_around(variant: Variant, genome: FastaReference) -> tuple[int, str]:
    """The first place (1-based) around a variant, and the reference's letters from there on."""
    found = span_around(variant, genome)
    if found is None:
        return variant[1], ""
    chrom, span = found
    return span.start + 1, dna.decode(genome.fetch(chrom, *span))


def picture_of(
    variant: Variant, run: Run, around: Around, others: Sequence[Variant] = ()
) -> Picture | None:
    """The picture of a variant and its surroundings; None where the reference has nothing.

    Args:
        variant: that is marked.
        run: scores of SNVs around it.
        around: what else is drawn.
        others: further variants, framed too.
    """
    chrom, pos, _, _ = variant
    first, letters = letters_around(variant, around.genome)
    if not letters:
        return None
    last = first + len(letters) - 1
    table = run.table.filter(pl.col("chrom") == chrom, pl.col("pos").is_between(first, last))
    score = "llr" if "llr" in run.table.columns else run.columns[-1].name
    logo, note = logo_of(replace(run, table=table)) if table.height else (None, [])
    beside = Beside(
        marks=[
            (at, alt.upper() if len(gone) == len(alt) == 1 else "")
            for name, at, gone, alt in [variant, *others]
            if name == chrom
        ],
        labels=letters_of(table.select("chrom", "pos", "ref", "alt", "status"), around.labels),
        label_words=LETTER_WORDS,
        parts=parts_of(around.genes, chrom),
        bases={place: base for place, base in enumerate(letters, first) if base in "ACGT"},
        span=(first, last),
    )
    spec = draw(table, score, logo=logo, beside=beside, notes=note)
    image = base64.b64encode(as_file(spec, ".svg")).decode()
    caption = (
        f"{chrom}:{first:,}-{last:,}: {score} of every SNV by {run.made.model.model_id}; the "
        f"variant at {pos:,} is framed."
        if table.height
        else f"{chrom}:{first:,}-{last:,}"
    )
    name = ":".join(map(str, variant))
    return Picture(name, caption, f"data:image/svg+xml;base64,{image}")
