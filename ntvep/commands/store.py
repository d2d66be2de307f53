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
from ntvep.commands.known import refuse_other_sequences
from ntvep.commands.selection import REGION, bounds
from ntvep.commands.shards import shards_in
from ntvep.commands.verify import (
    Verification,
    Which,
    choice,
    compared,
    refuse_differing,
    scored_again,
)
from ntvep.errors import ConfigError, InputError, ReferenceMismatchError, some
from ntvep.genome import canonical
from ntvep.io import tables, vcf
from ntvep.io.cache import Identity
from ntvep.io.fasta import FastaReference, open_reference
from ntvep.io.staging import staged_folder
from ntvep.io.store import (
    ABSENT,
    MARK,
    About,
    Block,
    Snvs,
    Store,
    empty_table,
    open_store,
    refuse_changed_file,
    step_of,
    store_writer,
    table_of,
)
from ntvep.io.vcf_scores import provenance_in, scores_in
from ntvep.provenance import Provenance
from ntvep.schema import ALLELES, SOURCE, Source, Status
from ntvep.windows import Span, one_based_places, zero_based_places

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
            folder of shards stands for all of them.
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
        "size": f"{size / 1e6:,.1f} MB, {size / max(snvs, 1):.2f} bytes an SNV",
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


@dataclass(frozen=True)
class Checked:
    """What :func:`verify` found in order.

    Attributes:
        blocks: read, and of the checksum that the index has.
        snvs: in them.
        again: a sample that was scored again; None if no model was given.
    """

    blocks: int
    snvs: int
    again: Verification | None


def verify(
    folder: Path,
    reference: Path | None,
    model: str | None,
    *,
    sample: int = 100,
    seed: int = 0,
    device: str = "auto",
) -> Checked:
    """Read a store whole, compare its REF with a genome, and score a sample of it again.

    Args:
        folder: the store.
        reference: FASTA; None leaves REF unproven.
        model: the one that made it; None scores nothing.
        sample: how many SNVs to score again.
        seed: of the choice.
        device: where to compute.

    Raises:
        InputError: a file or a block is cut or changed; names it.
        ReferenceMismatchError: it is of another genome.
        VerificationError: a status differs, or a score by more than the store's stated error.
    """
    if model and not reference:
        raise ConfigError("--model scores a sample again, for which it needs --reference FASTA")
    if sample < 1:
        raise ConfigError(f"--sample is {sample}; expected 1 or more")
    store = open_store(folder)
    genome = open_reference(reference) if reference else None
    if genome:
        refuse_other_sequences(store, genome, [contig.name for contig in store.contigs])
    total = sum(contig.snvs for contig in store.contigs)
    chosen = choice(total, sample, seed) if model else np.zeros(0, np.int64)
    parts, blocks, snvs = [], 0, 0
    for contig in store.contigs:
        refuse_changed_file(store, contig)
        before = snvs
        for block in store.blocks(contig.name):
            if genome:
                _compare_bases(store, block, genome)
            behind = snvs + int(np.count_nonzero(block.statuses != ABSENT))
            here = chosen[(chosen >= snvs) & (chosen < behind)] - snvs
            if len(here):
                parts.append(table_of(block, store.about)[here.tolist()])
            blocks, snvs = blocks + 1, behind
        if snvs - before != contig.snvs:
            raise InputError(
                f"{folder / contig.file}: holds {snvs - before} SNVs, expected {contig.snvs}; "
                "build the store again"
            )
    if not (model and genome and parts):
        return Checked(blocks, snvs, None)
    return Checked(blocks, snvs, _again(store, pl.concat(parts), genome, Which(model, device)))


def _compare_bases(store: Store, block: Block, genome: FastaReference) -> None:
    """Stop if a genome has another base than a REF of the store."""
    known = np.flatnonzero(block.ref != dna.N)
    for span in genome.spans(block.contig):
        first, stop = max(span.start, block.start), min(span.stop, block.start + len(block.ref))
        if first >= stop:
            continue
        bases = genome.fetch(block.contig, first, stop)
        here = known[(known >= first - block.start) & (known < stop - block.start)]
        wrong = here[bases[here + block.start - first] != block.ref[here]]
        known = np.setdiff1d(known, here)
        if len(wrong):
            known = wrong
            break
    if len(known):
        pos = int(one_based_places(known[:1] + block.start)[0])
        raise ReferenceMismatchError(
            f"{store.folder}: {block.contig}:{pos} is {dna.decode(block.ref[known[:1]])} there, "
            f"{genome.path.name} has another base or none; give --reference the FASTA of the store "
            f"({store.about.reference})"
        )


def _again(
    store: Store, stored: pl.DataFrame, genome: FastaReference, which: Which
) -> Verification:
    """Score SNVs of a store again, and compare."""
    identity, errors = store.about.identity, store.about.errors
    rows = stored.with_columns(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("record"),
        pl.lit(1, pl.UInt16).alias("allele"),
        pl.lit(Source.STORE, SOURCE.dtype).alias(SOURCE.name),
    )
    fresh = scored_again(rows, store.folder, identity.model, identity.settings, genome, which)
    found = compared(rows, fresh, identity.settings.score_columns, 0.0, errors)
    refuse_differing(found, store.folder, f"the error that the store declares ({errors})")
    return found
