"""files of ClinVar, GTEx or any table -> LABELS in Parquet: ``ntvep labels``."""

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import polars as pl

from ntvep.errors import ConfigError, InputError, some
from ntvep.evaluate import labels as sources
from ntvep.evaluate.consequences import SEVERITY
from ntvep.evaluate.matching import (
    DISTANCE_EDGES,
    FREQUENCY_EDGES,
    distances,
    match_negatives,
)
from ntvep.io import foreign_tables, vcf
from ntvep.io.intervals import read_intervals
from ntvep.io.staging import refuse_overwriting, staged
from ntvep.io.tables import read_labels, table_writer
from ntvep.schema import LABELS, Column, check_labels

_log = logging.getLogger("ntvep")

# Records in memory at once, where a source is read as a stream.
_CHUNK = 50_000
_VCF_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
_CLINVAR_KEYS = ("CLNSIG", "CLNREVSTAT", "MC", "GENEINFO", "GENE")
_FILE_DATE = re.compile(rb"##fileDate=(\S+)")
_GTEX_RELEASE = re.compile(r"[._](v\d+)[._]", re.IGNORECASE)
# Our names of what an allele is told by -> the spellings of others, in lower case.
_ALLELE: Mapping[str, Sequence[str]] = {
    "chrom": ("chrom", "chr", "chromosome", "contig"),
    "pos": ("pos", "position"),
    "ref": ("ref", "reference", "ref_allele"),
    "alt": ("alt", "alternate", "alt_allele"),
}
_SAID = ("label", "effect", "group", "consequence", "stars")


@dataclass
class LabelCounts:
    """What became of the alleles of a source; the file's metadata has these keys.

    Attributes:
        read: alleles (of a VCF), pairs (of GTEx) or rows that were read.
        written: rows of LABELS; ``positive``, ``negative`` and ``unlabelled`` make them up.
        said: what ClinVar calls those written, and how many of them.
        left_out: how many were not written, and why; with ``written`` they make up ``read``.
    """

    read: int = 0
    written: int = 0
    positive: int = 0
    negative: int = 0
    unlabelled: int = 0
    said: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> str:
        """For the file's metadata."""
        return json.dumps(vars(self))


def label_clinvar(
    source: Path,
    output: Path,
    *,
    command: str,
    min_stars: int = 0,
    consequences: Sequence[str] = (),
    genes: str | None = None,
    features: Sequence[str] = (),
    force: bool = False,
) -> LabelCounts:
    """Write the labels of ClinVar's VCF: (likely) pathogenic against (likely) benign.

    What is conflicting, uncertain or about another question is written too, without a label.

    Args:
        source: ClinVar's VCF.
        output: Parquet.
        command: what was typed.
        min_stars: leave out variants with fewer review stars.
        consequences: leave out variants whose most severe consequence is none of these.
        genes: a file with a gene a line, or genes joined by commas: leave out variants of others.
        features: INFO keys that become columns of numbers.
        force: replace an output that exists.
    """
    left_out = _filters(min_stars, _terms(consequences), _genes(genes))
    keys = (*_CLINVAR_KEYS, *features)
    _refuse_taken(features, _CLINVAR_KEYS)
    with (
        _labels_file([source], output, force) as path,
        vcf.streamed(source, _CHUNK) as (header, chunks),
    ):
        dates = (
            match[1].decode("utf-8", "replace")
            for line in header
            if (match := _FILE_DATE.match(line))
        )
        release = next(dates, None)
        if release is None:
            _log.warning("%s: the header has no ##fileDate: the release is not known", source)
        name = f"ClinVar {release}" if release else f"ClinVar {source.name}"
        with _writer(path, features, name, command) as (write, counts):
            for chunk in chunks:
                records = _with_info(chunk, keys)
                records = records.with_columns(pl.coalesce("GENEINFO", "GENE")).drop("GENE")
                records = foreign_tables.numbers(records, features, pl.Float64(), source)
                table, said = sources.clinvar(records, name)
                why = table.with_columns(genes=records["GENEINFO"]).select(left_out).to_series()
                counts.read += table.height
                counts.left_out.update(why.drop_nulls())
                counts.said.update(said.filter(why.is_null()))
                write(table.filter(why.is_null()))
    _report(name, counts)
    return counts


def label_finemapped(
    files: Sequence[Path],
    output: Path,
    *,
    command: str,
    positive_pip: float = 0.9,
    negative_pip: float = 0.01,
    release: str | None = None,
    force: bool = False,
) -> LabelCounts:
    """Write the labels of GTEx's fine-mapped variants; see :func:`sources.gtex_finemapped`."""
    if not 0 <= negative_pip < positive_pip <= 1:
        raise ConfigError(
            f"--negative-pip is {negative_pip} and --positive-pip {positive_pip}; expected "
            "0 <= negative < positive <= 1"
        )
    name = " ".join(["GTEx", *_gtex_release(files, release), "fine-mapped eQTLs"])
    with _labels_file(files, output, force) as path:
        pairs = _gtex_pairs(files, ("variant", "pip", "gene"))
        with foreign_tables.reading(*files):
            table, left_out = sources.gtex_finemapped(
                pairs, name, positive_pip=positive_pip, negative_pip=negative_pip
            )
        return _write_whole(path, table, name, command, left_out)


def label_pairs(
    files: Sequence[Path],
    output: Path,
    *,
    command: str,
    release: str | None = None,
    force: bool = False,
) -> LabelCounts:
    """Write the effects of GTEx's significant pairs; see :func:`sources.gtex_pairs`."""
    name = " ".join(["GTEx", *_gtex_release(files, release), "significant eQTLs"])
    with _labels_file(files, output, force) as path:
        pairs = _gtex_pairs(files, ("variant", "slope", "gene"), ("p_value", "frequency"))
        with foreign_tables.reading(*files):
            table, left_out = sources.gtex_pairs(pairs, name)
        return _write_whole(path, table, name, command, left_out)


@dataclass(frozen=True)
class TableColumns:
    """Where a table, or a VCF's INFO, says what; every field is an option of the command line.

    Attributes:
        label, effect, group, consequence, stars: the columns of these, where they have other names.
        positive, negative: the label of positives and of negatives, where it is no usual word.
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
        force: replace an output that exists.
    """
    name = name or source.name
    _refuse_taken(where.features)
    with _labels_file([source], output, force) as path:
        read = _info_columns if source.name.endswith(_VCF_SUFFIXES) else _table_columns
        table = _typed(read(source, where), where, source)
        if not {"label", "effect"} & {*table.columns}:
            raise InputError(
                f"{source}: has neither labels nor effects; name their column (or INFO key) with "
                "--label or --effect"
            )
        whole = table.drop_nulls(_ALLELE)
        nothing = [
            pl.lit(None, c.dtype).alias(c.name) for c in LABELS if c.name not in whole.columns
        ]
        whole = whole.with_columns(nothing).with_columns(source=pl.lit(name))
        whole = whole.select(*(c.name for c in LABELS), *where.features)
        left_out = {"incomplete_allele": table.height - whole.height}
        return _write_whole(path, whole, name, command, left_out)


def match(
    source: Path,
    output: Path,
    *,
    command: str,
    negatives: int = 1,
    seed: int = 0,
    annotation: Path | None = None,
    distance: str | None = None,
    frequency: str | None = None,
    force: bool = False,
) -> LabelCounts:
    """Write those labels in which each positive has negatives like it.

    Args:
        source: LABELS.
        output: Parquet; with an annotation it gains ``tss_distance`` and the like as features.
        command: what was typed.
        negatives: for each positive, from its chromosome and consequence.
        seed: of the draw.
        annotation: GTF or BED; negatives then come from the positive's bin of distance, too.
        distance: ``tss``, ``exon`` or ``interval`` (of a BED); what there is first if None.
        frequency: feature that is matched in bins of allele frequency.
        force: replace an output that exists.
    """
    if negatives < 1:
        raise ConfigError(f"--negatives is {negatives}; expected 1 or more")
    table = read_labels(source)
    bins: dict[str, Sequence[float]] = {}
    if annotation is not None:
        intervals = read_intervals(annotation)
        measured = distance or next(iter(intervals))
        if measured not in intervals:
            raise ConfigError(
                f"--distance {measured}: {annotation} has {', '.join(intervals)}; choose of these"
            )
        table = table.with_columns(
            distances(table, some).alias(f"{kind}_distance") for kind, some in intervals.items()
        )
        bins[f"{measured}_distance"] = DISTANCE_EDGES
    elif distance is not None:
        raise ConfigError(f"--distance {distance}: needs --annotation GTF or BED")
    if frequency is not None:
        if frequency not in table.columns[len(LABELS) :]:
            found = some(table.columns[len(LABELS) :]) or "none"
            raise InputError(f"{source}: has no feature {frequency}; found {found}")
        bins[frequency] = FREQUENCY_EDGES
    matched = match_negatives(table, negatives, seed=seed, bins=bins)
    if not matched.positives:
        raise InputError(
            f"{source}: no positive has {negatives} negatives of its chromosome, consequence"
            f"{''.join(f', {name}' for name in bins)}; match on less, or give more negatives"
        )
    left_out = {
        "positive_without_match": matched.unmatched,
        "negative_not_drawn": matched.unused,
        "without_label": table["label"].null_count(),
    }
    with _labels_file([source], output, force) as path:
        name = ", ".join(table["source"].unique().sort())
        return _write_whole(path, matched.table, name, command, left_out)


# Reading ------------------------------------------------------------------------------------------


def _with_info(chunk: vcf.Chunk, keys: Sequence[str]) -> pl.DataFrame:
    """Alleles with the values of INFO keys as text; null where a record has none.

    A value for each ALT, joined by commas, is taken apart; any other holds for all of them.
    """
    # Between semicolons, so that a key has one at both ends: plain text is found fastest.
    infos = pl.Series("info", [f";{vcf.info_of(line)};" for line in chunk.lines])
    alleles = chunk.alleles.with_columns(
        info=infos.gather(chunk.alleles["record"] - chunk.alleles["record"][0]),
        alts=pl.len().over("record"),
    )
    return alleles.select(
        "chrom", "pos", "ref", "alt", *(_info_value(key).alias(key) for key in keys)
    )


def _info_value(key: str) -> pl.Expr:
    value = pl.col("info").str.extract(rf";{re.escape(key)}=([^;]*)")
    is_flag = pl.col("info").str.contains(f";{key};", literal=True)
    parts = value.str.split(",")
    is_of_alts = (pl.col("alts") > 1) & (parts.list.len() == pl.col("alts"))
    own = pl.when(is_of_alts).then(parts.list.get(pl.col("allele") - 1, null_on_oob=True))
    chosen = pl.when(is_flag).then(pl.lit("1")).otherwise(own.otherwise(value))
    return pl.when(~chosen.is_in([".", ""])).then(chosen)


def _info_columns(source: Path, where: TableColumns) -> pl.DataFrame:
    given = where.columns
    keys = given | {ours: ours.upper() for ours in _SAID if ours not in given}
    with vcf.streamed(source, _CHUNK) as (_, chunks):
        tables = [
            _with_info(chunk, [*dict.fromkeys((*keys.values(), *where.features))])
            for chunk in chunks
        ]
    if not tables:
        raise InputError(f"{source}: has no records")
    table = pl.concat(tables)
    silent = {key for key in table.columns if table[key].null_count() == table.height}
    for key in (*given.values(), *where.features):
        if key in silent:
            raise InputError(f"{source}: no record has {key} in INFO; check its spelling")
    found = {ours: key for ours, key in keys.items() if key not in silent}
    return table.select(*_ALLELE, **{o: pl.col(k) for o, k in found.items()}, **_same(where))


def _table_columns(source: Path, where: TableColumns) -> pl.DataFrame:
    table = foreign_tables.scan(source)
    names = table.collect_schema().names()
    lower = {name.lower(): name for name in names}
    alleles = {
        ours: next((lower[s] for s in spellings if s in lower), ours)
        for ours, spellings in _ALLELE.items()
    }
    given = alleles | where.columns | {name: name for name in where.features}
    lacking = [theirs for theirs in given.values() if theirs not in names]
    if lacking:
        raise InputError(
            f"{source}: has no column {', '.join(lacking)}; found {some(names)}. Expected "
            "chrom, pos, ref, alt and label (or --label COLUMN)"
        )
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


def _gtex_pairs(
    files: Sequence[Path], needed: Sequence[str], optional: Sequence[str] = ()
) -> pl.LazyFrame:
    """Rows of one or more GTEx tables, under our names."""
    tables = []
    for path in files:
        table = foreign_tables.scan(path)
        names = table.collect_schema().names()
        found = sources.gtex_columns(names, needed, str(path), optional)
        tables.append(
            table.select(
                pl.col(theirs)
                .cast(pl.String if ours in ("variant", "gene") else pl.Float64)
                .alias(ours)
                for ours, theirs in found.items()
            )
        )
    return pl.concat(tables, how="diagonal")


def _gtex_release(files: Sequence[Path], given: str | None) -> list[str]:
    if given:
        return [given]
    found = {match[1].lower() for path in files if (match := _GTEX_RELEASE.search(path.name))}
    if len(found) > 1:
        raise InputError(
            f"files of GTEx releases {' and '.join(sorted(found))}; give those of one release, or "
            "say what they are with --release"
        )
    return [*found]


def _refuse_taken(features: Sequence[str], others: Sequence[str] = ()) -> None:
    """Raise ConfigError if a feature would hide another column."""
    taken = [*(column.name for column in LABELS), *others]
    for place, feature in enumerate(features):
        if feature in taken or feature in features[:place]:
            raise ConfigError(
                f"--feature {feature}: is a column already; expected another column of numbers"
            )


def _terms(consequences: Sequence[str]) -> list[str] | None:
    unknown = [term for term in consequences if term not in SEVERITY]
    if unknown:
        raise ConfigError(
            f"--consequence {unknown[0]}: no Sequence Ontology term of Ensembl's; expected "
            "missense_variant, for instance"
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
            f"--genes {given}: no such file, and no gene symbols joined by commas such as "
            "BRCA1,BRCA2"
        )
    return words


def _filters(min_stars: int, terms: list[str] | None, genes: list[str] | None) -> pl.Expr:
    """Why a record of ClinVar is left out; null if it is not."""
    symbols = pl.col("genes").str.replace_all(r":\d+", "").str.split("|")
    has_term = pl.col("consequence").is_in(terms or [])
    has_gene = symbols.list.eval(pl.element().is_in(genes or [])).list.any()
    # What says nothing of its stars, consequence or gene has none that were asked for.
    return (
        pl.when(pl.col("stars").fill_null(0) < min_stars)
        .then(pl.lit("fewer_stars"))
        .when(pl.lit(terms is not None) & ~has_term.fill_null(False))
        .then(pl.lit("other_consequence"))
        .when(pl.lit(genes is not None) & ~has_gene.fill_null(False))
        .then(pl.lit("other_gene"))
    )


# Writing ------------------------------------------------------------------------------------------


@contextmanager
def _labels_file(files: Sequence[Path], output: Path, force: bool) -> Iterator[Path]:
    if output.suffix != ".parquet":
        raise ConfigError(f"--output {output.name}: expected a name that ends in .parquet")
    refuse_overwriting(output, files)
    with staged([output], force=force) as staging:
        yield staging.path(output)


@contextmanager
def _writer(
    path: Path, features: Sequence[str], name: str, command: str
) -> Iterator[tuple[Callable[[pl.DataFrame], None], LabelCounts]]:
    """Yields the function that takes LABELS, and what it and the caller count."""
    extra = [
        Column(feature, pl.Float64(), "of the source", "a feature of the source", nullable=True)
        for feature in features
    ]
    provenance = {"version": version("ntvep"), "command": command, "source": name}
    counts = LabelCounts()

    def add(table: pl.DataFrame) -> None:
        positive, unlabelled = int(table["label"].sum()), table["label"].null_count()
        counts.written += table.height
        counts.positive += positive
        counts.unlabelled += unlabelled
        counts.negative += table.height - positive - unlabelled
        write(check_labels(table))

    with table_writer(path, (*LABELS, *extra), json.dumps(provenance), counts.to_json) as write:
        yield add, counts


def _write_whole(
    path: Path, table: pl.DataFrame, name: str, command: str, left_out: Mapping[str, int]
) -> LabelCounts:
    with _writer(path, table.columns[len(LABELS) :], name, command) as (write, counts):
        # Without those that are none.
        counts.left_out = +Counter(left_out)
        counts.read = table.height + counts.left_out.total()
        write(table)
    _report(name, counts)
    return counts


def _report(name: str, counts: LabelCounts) -> None:
    _log.info(
        "%s: %d read, %d written: %d positive, %d negative, %d without a label",
        name, counts.read, counts.written, counts.positive, counts.negative, counts.unlabelled,
    )  # fmt: skip
    for what in (counts.said, counts.left_out):
        for reason, count in what.most_common():
            _log.info("  %d %s%s", count, "" if what is counts.said else "left out: ", reason)
    if (counts.positive == 0) != (counts.negative == 0):
        only = "positive" if counts.positive else "negative"
        _log.warning(
            "%s: labels are %s only: with one class there is nothing to tell apart", name, only
        )
