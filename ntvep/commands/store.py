"""scans -> a store of their SNVs, what it holds, and whether it still does: ``ntvep store``."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import polars as pl

from ntvep import dna
from ntvep.commands.given import ONE_VARIANT
from ntvep.commands.inputs import CHUNK_RECORDS
from ntvep.commands.selection import REGION, bounds
from ntvep.commands.shards import shards_in
from ntvep.errors import ConfigError, InputError, some
from ntvep.genome import canonical
from ntvep.io import tables, vcf
from ntvep.io.cache import Identity
from ntvep.io.staging import staged_folder
from ntvep.io.store import (
    MARK,
    About,
    Snvs,
    Store,
    empty_table,
    open_store,
    step_of,
    store_writer,
    table_of,
)
from ntvep.io.vcf_scores import provenance_in, scores_in
from ntvep.provenance import Provenance
from ntvep.schema import ALLELES, Status
from ntvep.windows import Span, zero_based_places

_log = logging.getLogger("ntvep")

# What a place and a window decide. All other statuses are of an input's own text, or of a run.
_OF_PLACES = (
    Status.OK,
    Status.AT_CONTIG_END,
    Status.CONTIG_TOO_SHORT,
    Status.N_IN_VARIANT_TOKEN,
    Status.TOO_MANY_N,
    Status.NUMERICAL_FAILURE,
)
_NUMBERS = {status: number for number, status in enumerate(Status)}


@dataclass(frozen=True)
class Scan:
    """A scored file that goes into a store.

    Attributes:
        path: VCF, BCF or Parquet.
        provenance: what made its scores.
    """

    path: Path
    provenance: Provenance

    def parts(self) -> Iterator[pl.DataFrame]:
        """ALLELES with status and scores, some thousands at a time."""
        if self.path.suffix == ".parquet":
            yield from tables.read_row_groups(self.path)
            return
        columns = self.provenance.columns
        with vcf.opened(self.path) as inspection:
            for part in vcf.read_chunks(inspection, repeat(CHUNK_RECORDS)):
                yield scores_in(part.alleles, part.lines, columns, inspection.name)


def build(scans: Sequence[Path], output: Path, *, force: bool = False) -> Store:
    """Make a store of scans: VCFs or tables of one model and one set of settings.

    Args:
        scans: in the order of their places; those that begin on one contig are put in order. A
            folder of shards means all of them.
        output: the store, a folder.
        force: replace a store that exists.

    Raises:
        InputError: a scan is damaged, of other settings, or overlaps another.
    """
    given = (shards_in(path) if path.is_dir() else [path] for path in scans)
    opened = [opened_scan(path) for path in chain.from_iterable(given)]
    about = _about(opened)
    left_out = 0
    with (
        staged_folder(output, MARK, what="store", force=force) as folder,
        store_writer(folder, about) as write,
    ):
        for scan in _in_order(opened):
            for part in scan.parts():
                kept = part.filter(_is_snv())
                left_out += part.height - kept.height
                for snvs in _by_contig(kept, about):
                    write(snvs, str(scan.path))
    if left_out:
        _log.info("%s: %d alleles that are not scored SNVs were left out", output, left_out)
    return open_store(output)


def opened_scan(path: Path) -> Scan:
    """A scored file and what made it.

    Raises:
        InputError: it is damaged, or does not say.
    """
    if path.suffix == ".parquet":
        return Scan(path, Provenance.from_json(tables.read_metadata(path)[0], str(path)))
    with vcf.opened(path) as inspection:
        return Scan(path, provenance_in(inspection))


def _about(scans: Sequence[Scan]) -> About:
    """What a store of these scans says of itself; they have to agree.

    Raises:
        InputError: they do not, or have no score that a store can hold.
    """
    first, md5 = scans[0], dict[str, str]()
    for scan in scans:
        made, other = first.provenance, scan.provenance
        pairs = {
            "fingerprint": (made.fingerprint, other.fingerprint),
            "scores": (",".join(made.settings.scores), ",".join(other.settings.scores)),
            "--max-n-fraction": (made.settings.max_n_fraction, other.settings.max_n_fraction),
        }
        for what, (one, another) in pairs.items():
            if one != another:
                raise InputError(
                    f"{scan.path}: {what} {another}; {first.path} has {one}. A store holds one "
                    "model and one set of settings: scan again, or build two stores"
                )
        for record, digits in other.contigs.items():
            if md5.setdefault(record, digits) != digits:
                raise InputError(
                    f"{scan.path}: was scored with another sequence of {record} than the previous "
                    "scans; give scans of one reference"
                )
    names = [column.name for column in first.provenance.columns[len(ALLELES) :]]
    stored = {name: both for name in names if (both := step_of(name))}
    scores = tuple(name for name in first.provenance.settings.scores if name in stored)
    if not scores:
        raise InputError(
            f"{first.path}: has {', '.join(first.provenance.settings.scores)}, none of which a "
            "store can hold; expected a score in nats. Scan with --scores llr"
        )
    if unfit := [n for n in first.provenance.settings.score_columns if n not in stored]:
        _log.warning("%s cannot be stored: a store holds scores in nats", ", ".join(unfit))
    made = first.provenance
    return About(
        identity=Identity(made.fingerprint, made.model, replace(made.settings, scores=scores)),
        reference=made.reference,
        md5=md5,
        steps={name: both[0] for name, both in stored.items()},
        errors={name: both[1] for name, both in stored.items()},
        statuses=list(Status),
        version=version("ntvep"),
    )


def _in_order(scans: Sequence[Scan]) -> list[Scan]:
    """Scans that begin on one contig by their first place, contigs as they come."""
    firsts: dict[str, list[tuple[int, int]]] = {}
    for number, scan in enumerate(scans):
        part = next((part for part in scan.parts() if part.height), None)
        if part is not None:
            chrom = canonical(part["chrom"][0])
            firsts.setdefault(chrom, []).append((part["pos"][0], number))
    return [scans[number] for _, number in chain(*map(sorted, firsts.values()))]


def _is_snv() -> pl.Expr:
    bases = list("ACGTacgt")
    of_bases = pl.col("ref").is_in(bases) & pl.col("alt").is_in(bases)
    return of_bases & pl.col("status").is_in([*map(str, _OF_PLACES)])


def _by_contig(snvs: pl.DataFrame, about: About) -> Iterator[Snvs]:
    for (chrom,), rows in snvs.group_by("chrom", maintain_order=True):
        numbers = rows["status"].cast(pl.String).replace_strict(_NUMBERS, return_dtype=pl.UInt8)
        yield Snvs(
            chrom=str(chrom),
            places=zero_based_places(rows["pos"].to_numpy()),
            refs=dna.encode("".join(rows["ref"])),
            alts=dna.encode("".join(rows["alt"])),
            statuses=numbers.to_numpy(),
            scores={name: rows[name].fill_null(np.nan).to_numpy() for name in about.steps},
        )


def info(folder: Path) -> str:
    """What a store holds, in lines for people.

    Raises:
        InputError: it is not a store, or incomplete.
    """
    store = open_store(folder)
    about, contigs = store.about, store.contigs
    model, settings = about.identity.model, about.identity.settings
    snvs, size = sum(c.snvs for c in contigs), sum(c.bytes for c in contigs)
    lines = {
        "fingerprint": about.identity.fingerprint,
        "model": f"{model.model_id}, revision {model.revision or '(none)'}",
        "computed in": f"{model.precision} on {model.device}",
        "windows": f"{settings.window_bases} bases, {settings.views} views",
        "max N": f"{settings.max_n_fraction:g} of a window",
        "reference": f"{about.reference} ({len(about.md5)} sequences)",
        "scores": ", ".join(
            f"{name} (steps of {step:g}, error up to {about.errors[name]:g})"
            for name, step in about.steps.items()
        ),
        "SNVs": f"{snvs:,} on {len(contigs)} contigs: {some(c.name for c in contigs)}",
        "size": f"{size / 1e6:,.1f} MB, {size / max(snvs, 1):.2f} bytes per SNV",
    }
    return "\n".join(f"{name:<12} {value}" for name, value in lines.items())


def get(folder: Path, places: Sequence[str]) -> pl.DataFrame:
    """Scores of places, an SNV a row.

    Args:
        folder: the store.
        places: ``CHROM:POS:REF:ALT``, or ``CHROM:FIRST-LAST``, 1-based, for every SNV of a stretch.

    Raises:
        ConfigError: a place has another form.
        InputError: the store does not have it, or is damaged.
    """
    store = open_store(folder)
    return pl.concat([_of_place(store, text) for text in places])


def _of_place(store: Store, text: str) -> pl.DataFrame:
    variant, region = ONE_VARIANT.fullmatch(text), REGION.fullmatch(text)
    if variant:
        chrom, first, last = variant["chrom"], int(variant["pos"]), int(variant["pos"])
    elif region:
        chrom, (first, last) = region["contig"], bounds(region)
    else:
        raise ConfigError(f"{text!r}: expected CHROM:POS:REF:ALT, CHROM:POS or CHROM:FIRST-LAST")
    contig = store.name_of(chrom)
    if contig is None:
        raise InputError(
            f"{store.folder}: has no contig {chrom}, only {some(c.name for c in store.contigs)}"
        )
    blocks = store.blocks(contig, Span(first - 1, last))
    inside = pl.col("pos").is_between(first, last)
    found = pl.concat(
        [
            empty_table(store.about),
            *(table_of(block, store.about).filter(inside) for block in blocks),
        ]
    )
    if variant:
        wanted = pl.col("ref") == variant["ref"].upper(), pl.col("alt") == variant["alt"].upper()
        found = found.filter(*wanted)
    if found.is_empty():
        raise InputError(
            f"{store.folder}: has no SNV {text}; see what it holds with: ntvep store info "
            f"{store.folder}"
        )
    return found
