"""files of ClinVar, GTEx or any table -> LABELS in Parquet: ``ntvep labels``."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ntvep.commands.label_files import (
    VCF_SUFFIXES,
    LabelCounts,
    excluded_alleles,
    labels_file,
    report,
    without,
    write_whole,
    writer,
)
from ntvep.errors import ConfigError, InputError, some
from ntvep.evaluate import labels as sources
from ntvep.evaluate import qtl_labels
from ntvep.evaluate.consequences import SEVERITY
from ntvep.evaluate.labels import Classification
from ntvep.evaluate.qtl_labels import FREQUENCIES, Study
from ntvep.io import foreign_tables
from ntvep.io.foreign_tables import LINE
from ntvep.io.vcf_info import STATUS, alleles_with_info
from ntvep.schema import LABELS, Status

_log = logging.getLogger("ntvep")

# GENE replaces GENEINFO where a copy of ClinVar has only the former.
_CLINVAR_KEYS = (
    *(key for keys in sources.CLINVAR_KEYS.values() for key in keys),
    "SCI",
    "ORIGIN",
    "MC",
    "GENEINFO",
    "GENE",
)
_ALLELE = ("chrom", "pos", "ref", "alt")
_SAID = ("label", "effect", "group", "consequence", "stars")
# Rows of a table that are looked at to learn what it is of.
_FIRST_ROWS = 1000


def label_clinvar(
    source: Path,
    output: Path,
    *,
    command: str,
    min_stars: int = 1,
    classification: str = "germline",
    consequences: Sequence[str] = (),
    genes: str | None = None,
    features: Sequence[str] = (),
    exclude: Sequence[Path] = (),
    force: bool = False,
) -> LabelCounts:
    """Write the labels of ClinVar's VCF: (likely) pathogenic against (likely) benign.

    What is conflicting, uncertain or about another question is written too, without a label.

    Args:
        source: ClinVar's VCF.
        output: Parquet.
        command: what was typed.
        min_stars: leave out variants with fewer review stars; what has no assertion criteria has 0.
        classification: a :class:`~ntvep.evaluate.labels.Classification`: which question of
            ClinVar's is asked. Of oncogenicity, records without a class are left out.
        consequences: leave out variants whose most severe consequence is none of these.
        genes: a file with a gene a line, or genes joined by commas: leave out variants of others.
        features: INFO keys that become columns of numbers.
        exclude: files of alleles to leave out.
        force: replace an output that exists.
    """
    question = Classification(classification)
    left_out = _filters(question, min_stars, _terms(consequences), _genes(genes))
    keys = (*_CLINVAR_KEYS, *features)
    _refuse_taken(features, _CLINVAR_KEYS)
    excluded = excluded_alleles(exclude)
    with (
        labels_file([source, *exclude], output, force) as path,
        # A record's MC is of all its ALTs, its commas part consequences.
        alleles_with_info(source, keys, whole=["MC"]) as (release, chunks),
    ):
        if release is None:
            _log.warning("%s: the header has no ##fileDate, so the release is unknown", source)
        name = f"ClinVar {release}" if release else f"ClinVar {source.name}"
        if question is Classification.ONCOGENICITY:
            name += ", oncogenicity"
        with writer(path, features, name, command) as (write, counts):
            for chunk in chunks:
                counts.read += chunk.height
                alleles = chunk.filter(pl.col(STATUS) != Status.NO_ALT)
                counts.left_out["no_alt"] += chunk.height - alleles.height
                alleles = foreign_tables.numbers(alleles, features, pl.Float64(), source)
                records = alleles.with_columns(pl.coalesce("GENEINFO", "GENE"))
                records = records.drop("GENE", LINE, STATUS)
                table, said = sources.clinvar(records, name, question)
                why = table.with_columns(genes=records["GENEINFO"], said=said).select(left_out)
                kept = why.to_series().is_null()
                counts.left_out.update(why.to_series().drop_nulls())
                named, others = without(table.with_columns(_said=said).filter(kept), excluded)
                counts.left_out["excluded"] += others
                counts.said.update(named["_said"])
                write(named.drop("_said"))
            counts.left_out = +counts.left_out
    report(name, counts)
    return counts


def label_finemapped(
    files: Sequence[Path],
    output: Path,
    *,
    command: str,
    positive_pip: float = 0.9,
    negative_pip: float = 0.01,
    release: str | None = None,
    exclude: Sequence[Path] = (),
    force: bool = False,
) -> LabelCounts:
    """Write the labels of fine-mapped variants; see :func:`ntvep.evaluate.qtl_labels.finemapped`.

    Args:
        files: tables of one study, release and phenotype.
        output: Parquet.
        command: what was typed.
        positive_pip: positive: this PIP or more, in any tissue.
        negative_pip: negative: at most this PIP, in all tissues.
        release: of the study, where the files' names do not tell.
        exclude: files of alleles to leave out.
        force: replace an output that exists.
    """
    if not 0 <= negative_pip < positive_pip <= 1:
        raise ConfigError(
            f"--negative-pip is {negative_pip} and --positive-pip {positive_pip}; expected "
            "0 <= negative < positive <= 1"
        )
    excluded = excluded_alleles(exclude)
    with labels_file([*files, *exclude], output, force) as path:
        pairs = _pairs(files, ("variant", "pip", "gene"), FREQUENCIES)
        name = _study(files, release).title("fine-mapped")
        with foreign_tables.reading(*files):
            table, left_out = qtl_labels.finemapped(
                pairs, name, positive_pip=positive_pip, negative_pip=negative_pip
            )
        return write_whole(path, table, name, command, left_out, excluded)


def label_pairs(
    files: Sequence[Path],
    output: Path,
    *,
    command: str,
    max_q: float = 0.05,
    release: str | None = None,
    exclude: Sequence[Path] = (),
    force: bool = False,
) -> LabelCounts:
    """Write the effects of significant pairs; see :func:`ntvep.evaluate.qtl_labels.pairs`.

    Args:
        files: tables of one study, release and phenotype.
        output: Parquet.
        command: what was typed.
        max_q: the largest q-value of a significant gene, where tables have one.
        release: of the study, where the files' names do not tell.
        exclude: files of alleles to leave out.
        force: replace an output that exists.
    """
    if not 0 < max_q <= 1:
        raise ConfigError(f"--max-q is {max_q}; expected more than 0 and at most 1")
    optional = ("p_value", "threshold", "q_value", *FREQUENCIES)
    excluded = excluded_alleles(exclude)
    with labels_file([*files, *exclude], output, force) as path:
        for file in files:
            names = foreign_tables.scan(file).collect_schema().names()
            qtl_labels.columns(names, ("variant", "slope", "gene"), str(file))
            if not qtl_labels.says_significance(names, str(file)):
                _log.warning(
                    "%s: has no threshold, q-value or rank, so every pair is taken as "
                    "significant; a table of all tested pairs would give meaningless effects",
                    file,
                )
        pairs = _pairs(files, ("variant", "slope", "gene"), optional)
        name = _study(files, release).title("significant")
        with foreign_tables.reading(*files):
            table, left_out = qtl_labels.pairs(pairs, name, max_q=max_q)
        return write_whole(path, table, name, command, left_out, excluded)


@dataclass(frozen=True)
class TableColumns:
    """Where a table, or a VCF's INFO, says what; every field is an option of the command line.

    Attributes:
        label, effect, group, consequence, stars: the columns of these, where they have other names.
        positive, negative: the label of positives and of negatives, where it is not a usual word.
        features: columns of numbers that are kept under their names.
    """

    label: str | None = None
    effect: str | None = None
    group: str | None = None
    consequence: str | None = None
    stars: str | None = None
    positive: Sequence[str] = ()
    negative: Sequence[str] = ()
    features: Sequence[str] = ()

    @property
    def columns(self) -> dict[str, str]:
        """Our names -> the source's, of those that were given."""
        given = {ours: getattr(self, ours) for ours in _SAID}
        return {ours: theirs for ours, theirs in given.items() if theirs is not None}


def label_table(
    source: Path,
    output: Path,
    where: TableColumns,
    *,
    command: str,
    name: str | None = None,
    exclude: Sequence[Path] = (),
    force: bool = False,
) -> LabelCounts:
    """Write the labels of any VCF, TSV, CSV or Parquet.

    Args:
        source: VCF or BCF, whose INFO keys are its columns; or a table with a header.
        output: Parquet.
        where: which column says what; label, effect, group, consequence and stars are found by
            these names where they are not given.
        command: what was typed.
        name: of the source, for reports; the file's name if None.
        exclude: files of alleles to leave out.
        force: replace an output that exists.
    """
    name = name or source.name
    _refuse_taken(where.features)
    excluded = excluded_alleles(exclude)
    with labels_file([source, *exclude], output, force) as path:
        read = _info_columns if source.name.endswith(VCF_SUFFIXES) else _table_columns
        table = _typed(read(source, where), where, source)
        if not {"label", "effect"} & {*table.columns}:
            raise InputError(
                f"{source}: has neither labels nor effects; name their column (or INFO key) with "
                "--label or --effect"
            )
        complete = table.drop_nulls(_ALLELE)
        # "." is not an allele; a missing value of a table, which "." is read as, is dropped above.
        whole = complete.filter(~pl.col("alt").is_in([".", "<*>", "<NON_REF>"]))
        nothing = [
            pl.lit(None, c.dtype).alias(c.name) for c in LABELS if c.name not in whole.columns
        ]
        left_out = {
            "incomplete_allele": table.height - complete.height,
            "no_alt": complete.height - whole.height,
        }
        whole = whole.with_columns(nothing).with_columns(source=pl.lit(name))
        whole = whole.select(*(c.name for c in LABELS), *where.features)
        return write_whole(path, whole, name, command, left_out, excluded)


# Reading ------------------------------------------------------------------------------------------


def _info_columns(source: Path, where: TableColumns) -> pl.DataFrame:
    given = where.columns
    keys = given | {ours: ours.upper() for ours in _SAID if ours not in given}
    wanted = [*dict.fromkeys((*keys.values(), *where.features))]
    with alleles_with_info(source, wanted) as (_, chunks):
        tables = [*chunks]
    if not tables:
        raise InputError(f"{source}: has no records")
    table = pl.concat(tables)
    silent = {key for key in wanted if table[key].null_count() == table.height}
    for key in (*given.values(), *where.features):
        if key in silent:
            raise InputError(f"{source}: no record has {key} in INFO; check its spelling")
    found = {ours: key for ours, key in keys.items() if key not in silent}
    return table.select(*_ALLELE, LINE, **{o: pl.col(k) for o, k in found.items()}, **_same(where))


def _table_columns(source: Path, where: TableColumns) -> pl.DataFrame:
    table = foreign_tables.scan(source)
    names = table.collect_schema().names()
    spelled = foreign_tables.allele_columns(names)
    alleles = {ours: spelled.get(ours, ours) for ours in _ALLELE}
    given = alleles | where.columns | {name: name for name in where.features}
    lacking = [theirs for theirs in given.values() if theirs not in names]
    if lacking:
        raise InputError(
            f"{source}: has no column {', '.join(lacking)}; found {some(names)}. Expected "
            "chrom, pos, ref, alt and label (or --label COLUMN)"
        )
    lower = {name.lower(): name for name in names}
    default = {ours: lower[ours] for ours in _SAID if ours in lower and ours not in given}
    with foreign_tables.reading(source):
        return table.select(
            *(pl.col(theirs).alias(ours) for ours, theirs in alleles.items()),
            *(pl.col(k).alias(o) for o, k in (default | where.columns).items()),
            **_same(where),
        ).collect()


def _same(where: TableColumns) -> dict[str, pl.Expr]:
    return {name: pl.col(name) for name in where.features}


def _typed(table: pl.DataFrame, where: TableColumns, source: Path) -> pl.DataFrame:
    """Columns in the types of LABELS, with labels and consequences in our words."""
    text = pl.col("chrom", "ref", "alt", *({"group", "consequence"} & {*table.columns}))
    table = foreign_tables.numbers(
        table.with_columns(text.cast(pl.String)), ["pos"], pl.Int64(), source
    )
    measured = [name for name in ("effect", *where.features) if name in table.columns]
    table = foreign_tables.numbers(table, measured, pl.Float64(), source)
    if "stars" in table.columns:
        table = foreign_tables.numbers(table, ["stars"], pl.UInt8(), source)
    if "label" in table.columns:
        text_labels = table["label"].cast(pl.String)
        truth = sources.truth(text_labels, source.name, where.positive, where.negative)
        table = table.with_columns(truth.alias("label"))
    if "consequence" in table.columns:
        table = table.with_columns(sources.most_severe_of(table["consequence"]))
    return table


def _pairs(files: Sequence[Path], needed: Sequence[str], optional: Sequence[str]) -> pl.LazyFrame:
    """Rows of one or more tables of QTLs, under our names."""
    tables = []
    for path in files:
        table = foreign_tables.scan(path)
        names = table.collect_schema().names()
        found = qtl_labels.columns(names, needed, str(path), optional)
        table = table.select(
            pl.col(theirs)
            .cast(pl.String if ours in ("variant", "gene") else pl.Float64)
            .alias(ours)
            for ours, theirs in found.items()
        )
        if "q_value" in found:
            # A gene that could not be tested; a table without q-values beside it has nulls there.
            table = table.with_columns(pl.col("q_value").fill_null(float("inf")))
        tables.append(table)
    return pl.concat(tables, how="diagonal")


def _study(files: Sequence[Path], release: str | None) -> Study:
    """What the files are of, all of them."""
    found: dict[Study, Path] = {}
    for path in files:
        with foreign_tables.reading(path):
            first = foreign_tables.scan(path).head(_FIRST_ROWS).collect()
        study = qtl_labels.study_of(first, path.name)
        found.setdefault(Study(study.name, release or study.release, study.phenotype), path)
    if len(found) > 1:
        kinds = ", ".join(f"{path.name} of {study.title('')}" for study, path in found.items())
        raise InputError(
            f"files of several studies, releases or phenotypes: {kinds}; give those of one at a "
            "time, or name the release of all of them with --release"
        )
    return next(iter(found))


def _refuse_taken(features: Sequence[str], others: Sequence[str] = ()) -> None:
    """Raise ConfigError if a feature would hide another column."""
    taken = [*(column.name for column in LABELS), *others, LINE, STATUS]
    for place, feature in enumerate(features):
        if feature in taken or feature in features[:place]:
            raise ConfigError(
                f"--feature {feature}: already a column; expected another numeric column"
            )


def _terms(consequences: Sequence[str]) -> list[str] | None:
    unknown = [term for term in consequences if term not in SEVERITY]
    if unknown:
        raise ConfigError(
            f"--consequence {unknown[0]}: not one of Ensembl's Sequence Ontology terms; expected "
            "for instance missense_variant"
        )
    return [*consequences] or None


def _genes(given: str | None) -> list[str] | None:
    if given is None:
        return None
    if Path(given).is_file():
        lines = Path(given).read_text("utf-8").splitlines()
        words = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    else:
        words = [word.strip() for word in given.split(",") if word.strip()]
    if not words or any("/" in word or "." in word for word in words):
        raise ConfigError(
            f"--genes {given}: neither a file nor gene symbols separated by commas, such as "
            "BRCA1,BRCA2"
        )
    return words


def _filters(
    question: Classification, min_stars: int, terms: list[str] | None, genes: list[str] | None
) -> pl.Expr:
    """Why a record of ClinVar is left out; null if it is not."""
    symbols = pl.col("genes").str.replace_all(r":\d+", "").str.split("|")
    has_term = pl.col("consequence").is_in(terms or [])
    has_gene = symbols.list.eval(pl.element().is_in(genes or [])).list.any()
    is_of_germline = pl.lit(question is Classification.GERMLINE)
    # What says nothing of its stars, consequence or gene has none that were asked for.
    return (
        pl.when(~is_of_germline & (pl.col("said") == sources.Significance.OTHER))
        .then(pl.lit("no_oncogenicity"))
        .when(pl.col("stars").fill_null(0) < min_stars)
        .then(pl.lit("fewer_stars"))
        .when(pl.lit(terms is not None) & ~has_term.fill_null(False))
        .then(pl.lit("other_consequence"))
        .when(pl.lit(genes is not None) & ~has_gene.fill_null(False))
        .then(pl.lit("other_gene"))
    )
