"""SCORES of scans, or a store -> a folder that other programs read: ``ntvep export``."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import quote

import polars as pl

from ntvep.commands.compared import Background, opened_background
from ntvep.commands.store import opened_scan
from ntvep.errors import ConfigError, InputError, ReferenceMismatchError
from ntvep.io.bigwig import Values, write_bigwig
from ntvep.io.exports import (
    PLACE,
    contig_rows,
    contig_writer,
    hub_text,
    tabix_writer,
    write_checksums,
    write_info_header,
)
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.staging import staged_folder
from ntvep.io.store import Store, open_store, table_of
from ntvep.provenance import Provenance
from ntvep.schema import ALLELES, COMPARED, Column, Status
from ntvep.windows import zero_based_places

_log = logging.getLogger("ntvep")

Format = Literal["tsv", "parquet", "bigwig"]
FORMATS: tuple[Format, ...] = get_args(Format)
_CHECKSUMS = "SHA256SUMS"
_TSV, _INFO = "scores.tsv.gz", "scores.header.txt"
_README = "README.md"
_BASES = "ACGT"
_PLACE = list(PLACE)


@dataclass(frozen=True)
class Hub:
    """A UCSC track hub.

    Attributes:
        assembly: UCSC's name of it, such as hg38.
        email: of whom to ask, which UCSC wants.
    """

    assembly: str
    email: str


@dataclass(frozen=True)
class _Source:
    """Scores to export.

    Attributes:
        path: where they are.
        made: how.
        read: tables with PLACE, ``status`` and scores, in order.
    """

    path: Path
    made: Provenance
    read: Callable[[], Iterator[pl.DataFrame]]


@dataclass(frozen=True)
class _Exported:
    """What is exported.

    Attributes:
        made: how the scores were made.
        genome: of the scores.
        columns: of numbers.
        contigs: by name in order, the number of their alleles.
    """

    made: Provenance
    genome: FastaReference
    columns: Sequence[Column]
    contigs: dict[str, int]

    @property
    def lengths(self) -> dict[str, int]:
        """Of the contigs; of a slice as far as it goes."""
        return {name: self.genome.spans(name)[-1].stop for name in self.contigs}

    @property
    def title(self) -> str:
        """A line on what the scores are."""
        return f"{self.made.model.model_id}, fingerprint {self.made.fingerprint}"


def export(
    sources: Sequence[Path],
    reference: Path,
    output: Path,
    *,
    formats: Sequence[Format] = FORMATS,
    background: Path | None = None,
    hub: Hub | None = None,
    force: bool = False,
) -> Mapping[str, int]:
    """Write scores in the formats of other programs, with checksums and a README beside them.

    Args:
        sources: what ``ntvep scan`` or ``score`` wrote (.parquet, .vcf, .vcf.gz, .bcf), in the
            order of their places and each place in one of them; or stores.
        reference: FASTA that the scores were made with.
        output: folder to make.
        formats: which.
        background: that ``llr`` is compared with, as in ``ntvep score``.
        hub: also a UCSC hub of the BigWigs.
        force: replace a folder that an export made.

    Returns:
        Number of alleles by contig.

    Raises:
        ConfigError: an option says nothing that can be done.
        InputError: sources are not of one fingerprint, not in order, or damaged; or hold no score.
        ReferenceMismatchError: the reference has other sequences.
        OutputError: the folder exists, or its disk is full.
    """
    if wrong := [name for name in formats if name not in FORMATS]:
        raise ConfigError(f"--format is {wrong[0]!r}; expected some of {','.join(FORMATS)}")
    if hub is not None and "bigwig" not in formats:
        raise ConfigError("--hub shows BigWigs: add bigwig to --format")
    genome = open_reference(reference)
    given = [_source(path) for path in sources]
    made = _one_making(given)
    _refuse_other_sequences(genome, made)
    among = None
    if background is not None:
        among = opened_background(background, made.fingerprint, made.model.model_id)
        made = replace(made, background=among.sha256)
    columns = [c for c in made.columns[len(ALLELES) :] if c.dtype == pl.Float64]
    what = _Exported(made, genome, columns, {})
    with staged_folder(output, _CHECKSUMS, what="export", force=force) as folder:
        _write_contigs(given, what, among, folder)
        if "tsv" in formats:
            _write_tsv(what, folder)
        tracks = _write_tracks(what, folder) if "bigwig" in formats else {}
        if hub is not None:
            text = hub_text(hub.assembly, hub.email, made.model.model_id, tracks)
            (folder / "hub.txt").write_text(text, encoding="utf-8")
        if "parquet" not in formats:
            for name in what.contigs:
                _parquet(folder, name).unlink()
            (folder / "parquet").rmdir()
        (folder / _README).write_text(_readme(what, formats, tracks), encoding="utf-8")
        write_checksums(folder, _CHECKSUMS)
    return what.contigs


# Reading ------------------------------------------------------------------------------------------


def _source(path: Path) -> _Source:
    if path.is_dir():
        store = open_store(path)
        about = store.about
        made = Provenance(
            version=about.version,
            command=f"ntvep export {path.name}",
            model=about.identity.model,
            settings=about.identity.settings,
            reference=about.reference,
            contigs=about.md5,
            fingerprint=about.identity.fingerprint,
        )
        return _Source(path, made, lambda: _of_store(store))
    scan = opened_scan(path)
    return _Source(path, scan.provenance, scan.parts)


def _of_store(store: Store) -> Iterator[pl.DataFrame]:
    for contig in store.contigs:
        for block in store.blocks(contig.name):
            yield table_of(block, store.about)


def _one_making(sources: Sequence[_Source]) -> Provenance:
    """What made all sources.

    Raises:
        InputError: they are not of one making, or hold no ``llr``.
    """
    first, *others = sources
    for other in others:
        for what, one, two in (
            ("fingerprint", first.made.fingerprint, other.made.fingerprint),
            ("scores", ",".join(first.made.settings.scores), ",".join(other.made.settings.scores)),
            ("background", first.made.background, other.made.background),
        ):
            if one != two:
                raise InputError(
                    f"{other.path}: its {what}: {two}; {first.path} has {one}. Export scores of "
                    "one model and one set of options"
                )
    if "llr" not in first.made.settings.scores:
        raise InputError(f"{first.path}: has no llr; run ntvep scan with --scores llr, or all")
    contigs = {name: md5 for some in sources for name, md5 in some.made.contigs.items()}
    return replace(first.made, contigs=contigs)


def _refuse_other_sequences(genome: FastaReference, made: Provenance) -> None:
    """Refuse a reference whose contigs are not those that were scored."""
    used = [
        contig
        for contig, records in genome.records.items()
        if any(record.name in made.contigs for record in records)
    ]
    found = genome.md5(used)
    for name, md5 in made.contigs.items():
        if found.get(name) != md5:
            raise ReferenceMismatchError(
                f"{genome.path.name}: its {name} has md5 "
                f"{found.get(name, 'none: it is missing')}, but {md5} was scored; expected the "
                f"reference of the scores ({made.reference})"
            )


def _scored(
    sources: Sequence[_Source], what: _Exported, among: Background | None
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Alleles with a score, contig by contig, in the order of their places, each once.

    Raises:
        InputError: sources are not so.
    """
    before = pl.DataFrame(schema=PLACE)
    done: set[str] = set()
    for source in sources:
        for rows in source.read():
            kept = rows.filter(pl.col("status") == Status.OK, pl.col("llr").is_not_null())
            if among is not None:
                kept = among.compared(kept, what.genome)
            runs = kept.with_columns(run=pl.col("chrom").rle_id())
            for part in runs.partition_by("run", maintain_order=True):
                chrom = str(part["chrom"][0])
                if before.height and before["chrom"][0] != chrom:
                    done.add(str(before["chrom"][0]))
                    before = before.clear()
                _refuse_disorder(pl.concat([before, part.select(_PLACE)]), done, source.path)
                before = part.select(_PLACE).filter(pl.col("pos") == pl.col("pos").last())
                yield chrom, part.drop("run")


def _refuse_disorder(rows: pl.DataFrame, done: set[str], path: Path) -> None:
    falls = rows["pos"].diff().fill_null(0) < 0
    twice = rows.is_duplicated()
    if rows["chrom"][0] in done:
        chrom, pos, ref, alt = rows.row(0)
        wrong = "after another contig; expected each contig once"
    elif falls.any():
        chrom, pos, ref, alt = rows.filter(falls).row(0)
        wrong = "after a later position; expected ascending positions"
    elif twice.any():
        chrom, pos, ref, alt = rows.filter(twice).row(-1)
        wrong = "a second time; expected each allele once"
    else:
        return
    raise InputError(
        f"{path}: {chrom}:{pos} {ref}>{alt} comes {wrong}. Give scans in the order of the genome "
        "that do not overlap; type: bcftools sort, or bcftools norm --rm-dup exact"
    )


# Writing ------------------------------------------------------------------------------------------


def _parquet(folder: Path, contig: str) -> Path:
    # A contig may be called anything; a slash in a name would be another folder.
    return folder / "parquet" / f"{quote(contig, safe='')}.parquet"


def _write_contigs(
    sources: Sequence[_Source], what: _Exported, among: Background | None, folder: Path
) -> None:
    """Read all sources once; every other format is made of what is written here."""
    (folder / "parquet").mkdir()
    names = [column.name for column in what.columns]
    for chrom, parts in groupby(_scored(sources, what, among), key=lambda part: part[0]):
        with contig_writer(_parquet(folder, chrom), names) as write:
            count = 0
            for _, rows in parts:
                write(rows)
                count += rows.height
        what.contigs[chrom] = count
        _log.info("%s: %d alleles", chrom, count)
    if not what.contigs:
        raise InputError(
            f"{', '.join(str(source.path) for source in sources)}: no allele has an llr; there is "
            "nothing to export"
        )


def _write_tsv(what: _Exported, folder: Path) -> None:
    """In the manner of CADD: place, alleles, raw score, and its place in the background."""
    wanted = {"llr", *(column.name for column in COMPARED)}
    columns = [column for column in what.columns if column.name in wanted]
    names = [*PLACE, *(column.name for column in columns)]
    comments = [f"ntvep {what.made.version}, {what.title}", f"llr: {_meaning(what, 'llr')}"]
    longest = max(what.lengths.values())
    write_info_header(folder / _INFO, columns)
    with tabix_writer(folder / _TSV, names, comments, longest) as write:
        for contig in what.contigs:
            for rows in contig_rows(_parquet(folder, contig), names):
                write(rows)


def _write_tracks(what: _Exported, folder: Path) -> dict[str, str]:
    """A BigWig for each ALT base of SNVs, and one for the entropy; their files by name."""
    (folder / "bigwig").mkdir()
    entropy = ["entropy"] if any(c.name == "entropy" for c in what.columns) else []
    tracks = {}
    for name in (*(f"llr_{base}" for base in _BASES), *entropy):
        file = f"bigwig/{name}.bw"
        if write_bigwig(folder / file, what.lengths, _values(what, folder, name)):
            tracks[name] = file
    return tracks


def _values(what: _Exported, folder: Path, track: str) -> Iterator[Values]:
    """Places and values of a track."""
    column, _, base = track.partition("_")
    is_snv = (pl.col("ref").str.len_bytes() == 1) & (pl.col("alt").str.len_bytes() == 1)
    wanted = is_snv & (pl.col("alt").str.to_uppercase() == base) if base else is_snv
    last = None
    for contig in what.contigs:
        for rows in contig_rows(_parquet(folder, contig), (*PLACE, column)):
            some = rows.filter(wanted, pl.col(column).is_not_null())
            # The three SNVs of a base have one entropy.
            some = some.unique("pos", keep="first", maintain_order=True)
            some = some.filter(pl.col("pos") != (last if last is not None else -1))
            if some.height:
                last = some["pos"][-1]
                values = some[column].cast(pl.Float64).to_numpy()
                yield contig, zero_based_places(some["pos"].to_numpy()), values
        last = None


def _meaning(what: _Exported, name: str) -> str:
    return next(column.meaning for column in what.columns if column.name == name)


def _readme(what: _Exported, formats: Sequence[Format], tracks: Mapping[str, str]) -> str:
    """What lies here, what it means, how it was made, and how to use it."""
    made = what.made
    files = {
        "tsv": f"| `{_TSV}`, `.tbi` | every allele: {', '.join(PLACE)} "
        "(1-based), `llr`, and its percentile if it was compared "
        "with a background; bgzip, tabix |\n"
        f"| `{_INFO}` | header lines for its columns, for bcftools |",
        "parquet": "| `parquet/CONTIG.parquet` | every allele with all scores, by POS |",
        "bigwig": f"| {', '.join(f'`{file}`' for file in tracks.values())} | SNVs: `llr` of each "
        "ALT base; the entropy of the prediction |",
    }
    columns = [
        f"| `{column.name}` | {column.unit} | {column.meaning.replace('|', '/')} |"
        for column in what.columns
    ]
    rows = [f"| {name} | {count:,} |" for name, count in what.contigs.items()]
    background = "" if made.background is None else f"\n- background: SHA-256 {made.background}"
    return "\n".join(
        [
            "# Scores of variants by a DNA language model",
            "",
            "Zero-shot, for research, not for diagnosis. They are derived from the model's "
            "weights, whose licence `ntvep model info {made.model.model_id}` prints.",
            "",
            f"- model: {made.model.model_id}, revision {made.model.revision or 'unknown'}",
            f"- weights: SHA-256 {made.model.weights_sha256}",
            f"- how: {made.how()}; fingerprint {made.fingerprint}",
            f"- reference: {made.reference}",
            f"- command: `{made.command}`, ntvep {made.version}{background}",
            "",
            "| file | what |",
            "|---|---|",
            *(files[name] for name in FORMATS if name in formats),
            f"| `{_CHECKSUMS}` | type: `sha256sum --check {_CHECKSUMS}` |",
            "",
            "| column | unit | meaning |",
            "|---|---|---|",
            *columns,
            "",
            "| contig | alleles |",
            "|---|---|",
            *rows,
            "",
            "docs/exports.md of ntvep says how to annotate with them (bcftools, vcfanno, VEP, "
            "echtvar) and display them (igv.js, UCSC).",
            "",
        ]
    )
