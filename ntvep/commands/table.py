"""scored files -> one line per variant, ranked: text, or pages for people: ``ntvep table``."""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ntvep.commands.against import other_scores
from ntvep.commands.against import parse as parse_against
from ntvep.commands.options import Options
from ntvep.commands.said_of import in_words, said_of
from ntvep.commands.scored_rows import Together, read_rows, together
from ntvep.commands.selection import selection
from ntvep.errors import ConfigError, InputError, some
from ntvep.evaluate.analysis import SIGN, model_column
from ntvep.evaluate.directions import SIGNS, direction
from ntvep.evaluate.labels import stars
from ntvep.evaluate.variant_table import (
    KINDS,
    NOT_CALLED,
    NOT_CARRIED,
    kinds,
    ranked,
    rankings,
    zygosity,
)
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.staging import refuse_overwriting, staged, staged_folder
from ntvep.io.text_tables import SUFFIXES, text_writer
from ntvep.schema import Column

if TYPE_CHECKING:
    from ntvep.evaluate.variant_page import Page, Picture
    from ntvep.models.loaded import LoadedModel

_log = logging.getLogger("ntvep")

MARK = "ntvep-pages.json"
"""File that marks a folder of pages."""
_PAGE_ROWS = 10_000
_FRONT = (
    "sample", "rank", "kind", "variant", "chrom", "pos", "ref", "alt", "id", "filter", "genotype",
    "zygosity", "gene", "consequence", "transcript", "change", "significance", "stars",
    "label_source", "status",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What a table is to hold. Every field is an option of the command line.

    Attributes:
        labels: LABELS or ClinVar's VCF.
        regions: ``CONTIG:FIRST-LAST`` or BED files.
        top: number of variants of each kind; None for all (a page holds 10,000 of each).
        samples: those that are listed; all if there are none.
        by: ``SCORE`` or ``SCORE:higher``: ranks every kind.
        against: scores of others, ``FILE:COLUMN``.
        reference: FASTA: left-aligns indels of labels.
        ref_mismatch_limit: share of labels with another REF that stops as wrong assembly.
        model: draws the surroundings of the first variants; None draws nothing.
        pictures: on each page, of this many SNVs and this many indels.
        genes: GTF or BED, drawn in pictures.
        device: of the model.
        cache: folder of known scores.
    """

    labels: Sequence[Path] = ()
    regions: Sequence[str] = ()
    top: int | None = None
    samples: Sequence[str] = ()
    by: str | None = None
    against: Sequence[str] = ()
    reference: Path | None = None
    ref_mismatch_limit: float = 0.01
    model: str | None = None
    pictures: int = 3
    genes: Path | None = None
    device: str = "auto"
    cache: Path | None = None


@dataclass(frozen=True, eq=False)
class Listed:
    """Variants of one sample.

    Attributes:
        sample: its name; empty where files have no genotypes.
        rows: ranked; the columns of the text table, less ``sample``.
        by: kind -> by what it is ranked, and +1 if higher counts as more deleterious.
        statuses: how many alleles have each status, left out or not.
        left_out: why alleles of the files are not among the rows, and how many.
    """

    sample: str
    rows: pl.DataFrame
    by: Mapping[str, tuple[str, int]]
    statuses: Mapping[str, int]
    left_out: Mapping[str, int]


def write_pages(
    inputs: Sequence[Path],
    outputs: Sequence[Path],
    request: Request,
    *,
    command: str,
    force: bool = False,
) -> list[str]:
    """Write a page of each scored file; the model that draws is loaded once for all.

    Args:
        inputs: as for :func:`write_table`, each by itself.
        outputs: a page for each, .html.
        request: what each is to hold.
        command: what was typed.
        force: replace outputs that exist.

    Raises:
        ConfigError: there is not one page for each file.
    """
    if len(outputs) != len(inputs) or not all(map(is_page, outputs)):
        raise ConfigError(
            f"--output is given {len(outputs)} times; expected one name, or a name that ends in "
            f".html for each of the {len(inputs)} files"
        )
    load = cache(_loaded)
    return [
        line
        for path, output in zip(inputs, outputs, strict=True)
        for line in write_table([path], output, request, command=command, force=force, load=load)
    ]


def _loaded(model: str, device: str) -> "LoadedModel":
    # Here and not above: text needs no torch.
    from ntvep.models.loaded import load_model

    return load_model(model, device=device)


def write_table(
    inputs: Sequence[Path],
    output: Path,
    request: Request,
    *,
    command: str,
    force: bool = False,
    load: Callable[[str, str], "LoadedModel"] = _loaded,
) -> list[str]:
    """Write the variants of scored files, ranked within their kind.

    Args:
        inputs: annotated VCFs or Parquet of ``ntvep score``: parts, samples, or models.
        output: .tsv, .tsv.gz, .csv; .html for a page of one sample; another name for a folder of
            pages, one a sample.
        request: what it is to hold.
        command: what was typed.
        force: replace an output that exists.
        load: model and device -> what draws pictures.

    Returns:
        A line for each sample.

    Raises:
        InputError: a file cannot be used.
        ConfigError: an option has a value that cannot be used.
    """
    if request.top is not None and request.top < 1:
        raise ConfigError(f"--top is {request.top}; expected 1 or more")
    whole = [path.resolve() for path in inputs]
    if repeated := next((path for path in whole if whole.count(path) > 1), None):
        raise ConfigError(f"{repeated.name} is given twice; give each file once")
    refuse_overwriting(output, [*inputs, *request.labels])
    is_text = output.name.endswith(SUFFIXES)
    if request.model is not None and request.reference is None:
        raise ConfigError("--model draws pictures, for which it reads the genome: add --reference")
    if not is_text and not is_page(output) and output.suffix and not output.is_dir():
        raise ConfigError(
            f"--output {output}: expected a name that ends in {', '.join(SUFFIXES)} or .html, or "
            "a folder for several samples"
        )
    genome = None if request.reference is None else open_reference(request.reference)
    found = gathered(inputs, request, genome)
    samples = listed(found, request)
    if is_text:
        _write_text(output, samples, found, force)
    else:
        drawn = _pictures(samples, found, request, genome, load)
        _write_pages(output, samples, found, (inputs, request, command, drawn), force)
    return [_line(one) for one in samples]


def is_page(output: Path) -> bool:
    """Whether an output is one page, and not a folder of them."""
    return output.suffix == ".html"


def gathered(inputs: Sequence[Path], request: Request, genome: FastaReference | None) -> Together:
    """Rows of all files with what labels and others say of them."""
    against = parse_against(request.against)
    files = [read_rows(path, request.samples) for path in inputs]
    there = {name for file in files for name in file.samples}
    if unknown := [name for name in request.samples if name not in there]:
        raise ConfigError(
            f"--sample {unknown[0]}: not in any file; to list samples, type: bcftools query -l "
            f"{inputs[0]}"
        )
    found = together(files)
    alleles = found.rows.select("chrom", "pos", "ref", "alt", "status").unique(maintain_order=True)
    said = said_of(alleles, request.labels, genome, request.ref_mismatch_limit)
    others = other_scores(alleles, against)
    names = [one.name if one.name not in found.rows.columns else f"{one.name} (file)"
             for one in others]  # fmt: skip
    beside = (
        alleles.drop("status")
        .hstack(said)
        .with_columns(one.values.alias(name) for name, one in zip(names, others, strict=True))
    )
    key = ["chrom", "pos", "ref", "alt"]
    beside = beside.unique(key, keep="first", maintain_order=True)
    rows = found.rows.join(beside, key, how="left", maintain_order="left")
    columns = dict(found.columns)
    for name, one, asked in zip(names, others, against, strict=True):
        which = "higher" if one.sign > 0 else "lower"
        meaning = f"{one.name} of {asked.path.name}; {which} is more deleterious"
        columns[name] = Column(name, pl.Float64(), "", meaning, nullable=True)
    return replace(found, rows=_completed(rows), columns=columns)


def _completed(rows: pl.DataFrame) -> pl.DataFrame:
    """Gene and consequence of the labels where the file has none; ClinVar of the file likewise."""
    own = in_words(pl.col("CLNSIG"))
    has_label = pl.col("label_source").is_not_null() | own.is_null()
    return rows.with_columns(
        gene=pl.coalesce("gene", "label_gene"),
        consequence=pl.coalesce("consequence", "label_consequence"),
        significance=pl.when(has_label).then("significance").otherwise(own),
        stars=pl.when(has_label).then("stars").otherwise(_stars(pl.col("CLNREVSTAT"))),
        label_source=pl.when(has_label)
        .then("label_source")
        .otherwise(pl.lit("CLNSIG of the file")),
    )


def _stars(reviews: pl.Expr) -> pl.Expr:
    return reviews.map_elements(stars, pl.UInt8)


def listed(found: Together, request: Request) -> list[Listed]:
    """Rows of each sample that it carries and that were asked for, ranked."""
    rows = found.rows.with_columns(
        kinds(found.rows),
        variant=pl.format("{}:{}:{}:{}", "chrom", "pos", "ref", "alt"),
        zygosity=zygosity(found.rows["genotype"], found.rows["allele"]),
    )
    within = pl.Series([True] * rows.height, dtype=pl.Boolean)
    if request.regions and (chosen := selection(Options(regions=request.regions))):
        within = pl.Series(chosen.within(rows), dtype=pl.Boolean)
    not_there = pl.col("zygosity").is_in([NOT_CARRIED, NOT_CALLED])
    why = pl.when(~within).then(pl.lit("outside --regions")).when(not_there).then("zygosity")
    rows = rows.with_columns(why.alias("why"))
    made = []
    for (sample,), some_rows in rows.group_by("sample", maintain_order=True):
        kept = some_rows.filter(pl.col("why").is_null())
        by = _by(kept, found, request.by)
        statuses = kept["status"].cast(pl.String).value_counts(sort=True)
        left_out = some_rows["why"].drop_nulls().value_counts(sort=True)
        shown = [n for n in (*_FRONT[1:], *found.columns) if n in {*kept.columns, "rank"}]
        made.append(
            Listed(
                str(sample),
                ranked(kept, by, request.top).select(shown),
                by,
                dict(statuses.iter_rows()),
                dict(left_out.iter_rows()),
            )
        )
    if not made:
        raise InputError("no file has a variant; there is nothing to list")
    return made


def _by(rows: pl.DataFrame, found: Together, asked: str | None) -> Mapping[str, tuple[str, int]]:
    """How each kind is ranked."""
    models = [*found.models]
    if asked is None:
        names = {name: model_column(name, models[0], models) for name in SIGN}
        return rankings(rows, {n: c for n, c in names.items() if c in found.columns})
    name, _, word = asked.rpartition(":")
    name, said = (name, SIGNS[word]) if name and word in SIGNS else (asked, None)
    column = model_column(name, models[0], models)
    column = column if column in found.columns else name
    if column not in found.columns:
        raise ConfigError(f"--by {asked}: no such score; expected one of {some(found.columns)}")
    sign = said or SIGN.get(name) or direction(name, {}, f"--by {asked}")
    return dict.fromkeys(KINDS[:-1], (column, sign))


# Outputs ------------------------------------------------------------------------------------------

# Inputs, what is asked of them, what was typed, and pictures by variant.
_Asked = tuple[Sequence[Path], Request, str, Mapping[str, "Picture"]]


def _write_text(output: Path, samples: Sequence[Listed], found: Together, force: bool) -> None:
    parts = [
        one.rows.select(pl.lit(one.sample or None, pl.String()).alias("sample"), pl.all())
        for one in samples
    ]
    table = pl.concat(parts)
    columns = [Column(name, dtype, "", "") for name, dtype in table.schema.items()]
    with staged([output], force=force) as staging, text_writer(staging.path(output), columns) as w:
        w(table)


def _write_pages(
    output: Path,
    samples: Sequence[Listed],
    found: Together,
    asked: _Asked,
    force: bool,
) -> None:
    # Here and not above: text needs no jinja2.
    from ntvep.evaluate.variant_page import index, render

    pages = {name: _page(one, found, asked) for name, one in zip(
        page_names([one.sample or asked[0][0].name.split(".")[0] for one in samples]),
        samples, strict=True,
    )}  # fmt: skip
    if is_page(output):
        if len(pages) > 1:
            raise ConfigError(
                f"--output {output}: the files hold {len(pages)} samples; expected the name of a "
                "folder for a page each, or --sample NAME"
            )
        (page,) = pages.values()
        with staged([output], force=force) as staging:
            staging.path(output).write_text(render(page), encoding="utf-8")
        return
    with staged_folder(output, MARK, force=force) as folder:
        for name, page in pages.items():
            (folder / name).write_text(render(page), encoding="utf-8")
        (folder / "index.html").write_text(index(pages), encoding="utf-8")
        content = {"version": version("ntvep"), "command": asked[2], "pages": len(pages)}
        (folder / MARK).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def page_names(samples: Sequence[str]) -> list[str]:
    """Names of files for samples, of which each may hold any character; no two are the same."""
    taken, names = {"index.html"}, []
    for sample in samples:
        safe = re.sub(r"[^\w.+-]+", "_", sample, flags=re.ASCII).lstrip(".")[:100] or "sample"
        name, number = f"{safe}.html", 1
        while name.lower() in taken:
            number += 1
            name = f"{safe}-{number}.html"
        taken.add(name.lower())
        names.append(name)
    return names


def _line(one: Listed) -> str:
    """What was listed, in a line; no name of a sample."""
    counts = one.rows["kind"].value_counts(sort=True)
    kinds_said = ", ".join(f"{n:,} {_plural(str(kind), n)}" for kind, n in counts.iter_rows())
    unscored = sum(n for status, n in one.statuses.items() if status != "ok")
    text = kinds_said or "no variant"
    return f"{text}; {unscored:,} alleles without a score" if unscored else text


def _plural(kind: str, n: int) -> str:
    return kind if n == 1 or kind == "other" else f"{kind}s"


def _page(one: Listed, found: Together, asked: _Asked) -> "Page":
    """What a page says of a sample."""
    from ntvep.evaluate.variant_page import Page

    inputs, request, command, drawn = asked
    most = pl.int_range(pl.len()).over("kind") < (request.top or _PAGE_ROWS)
    cut = one.rows.filter(~most)["kind"].value_counts(sort=True)
    return Page(
        sample=one.sample,
        inputs=[path.name for path in inputs],
        labels=[path.name for path in request.labels],
        rows=one.rows.filter(most),
        columns={name: c for name, c in found.columns.items() if one.rows[name].count()},
        by=one.by,
        statuses=one.statuses,
        cut=dict(cut.iter_rows()),
        left_out=one.left_out,
        models=found.models,
        pictures=[drawn[name] for name in _first_variants(one, request) if name in drawn],
        version=version("ntvep"),
        command=command,
    )


def _first_variants(one: Listed, request: Request) -> list[str]:
    """The variants of a page that are drawn."""
    rows = one.rows.filter(pl.col("kind").is_in(["SNV", "indel"]), pl.col("rank").is_not_null())
    first = rows.filter(pl.int_range(pl.len()).over("kind") < request.pictures)
    return first["variant"].to_list()


def _pictures(
    samples: Sequence[Listed],
    found: Together,
    request: Request,
    genome: FastaReference | None,
    load: Callable[[str, str], "LoadedModel"],
) -> Mapping[str, "Picture"]:
    """Pictures of the first variants of all samples, each drawn once."""
    if request.model is None or genome is None or request.pictures < 1:
        return {}
    # Here and not above: tables of text need neither torch nor a plotting library.
    from ntvep.commands.contexts import Around, options_of, picture_of, scanned

    names = dict.fromkeys(name for one in samples for name in _first_variants(one, request))
    wanted = found.rows.select("chrom", "pos", "ref", "alt").unique(maintain_order=True)
    wanted = wanted.filter(pl.format("{}:{}:{}:{}", "chrom", "pos", "ref", "alt").is_in([*names]))
    variants = {":".join(map(str, row)): row for row in wanted.iter_rows()}
    loaded = load(request.model, request.device)
    weights = loaded.identity.weights_sha256
    made = next((one for one in found.models.values() if one.model.weights_sha256 == weights), None)
    if made is None:
        raise ConfigError(
            f"--model {request.model}: its weights are not those that scored; expected "
            f"{some(found.models)}"
        )
    options = options_of(made.settings, Options(device=request.device, cache=request.cache))
    run = scanned([*variants.values()], genome, loaded, options)
    around = Around(genome, request.labels, request.genes)
    drawn = {name: picture_of(variants[name], run, around) for name in names}
    return {name: picture for name, picture in drawn.items() if picture}
