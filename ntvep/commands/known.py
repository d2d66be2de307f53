"""``--known`` -> stores that fit a genome and settings, and what they have of ALLELES."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int64

from ntvep import dna
from ntvep.alleles import locator
from ntvep.commands.options import Options
from ntvep.dna import Dna
from ntvep.errors import ConfigError, ReferenceMismatchError
from ntvep.genome import canonical
from ntvep.io.cache import Identity
from ntvep.io.fasta import FastaReference
from ntvep.io.store import ABSENT, Found, Store, open_store
from ntvep.provenance import difference, scored_columns
from ntvep.schema import ALLELES, FRAMESHIFTED, LENGTH_CHANGE, STATUS_DTYPE, Status
from ntvep.settings import Settings, parse_scores
from ntvep.windows import zero_based_places

# Options that say how scores are made: with the model ``none`` they are those of the store, and one
# that says otherwise is refused.
_FIXED = ("layer", "pool", "softmax", "anchor", "max_n_fraction")
_DEFAULT = Options()
_KEY = ("chrom", "pos", "ref", "alt")


def identity_asked(paths: Sequence[Path], options: Options) -> Identity:
    """What the scores of stores were made with, if options do not disagree.

    Raises:
        ConfigError: an option disagrees; names it, with what the store has.
        InputError: a store is none, or damaged.
    """
    store = open_store(paths[0])
    identity = store.about.identity
    model, settings = identity.model, identity.settings
    k = model.tokenizer.get("k", 1) if model.kind == "kmer" else 1
    last = settings.layer is None
    has: dict[str, object] = {
        "fingerprint": identity.fingerprint,
        "window_bases": settings.window_bases,
        "window_tokens": settings.window_bases // k,
        "views": settings.views,
        **{name: getattr(settings, name) for name in _FIXED},
        "layer": "last" if last else settings.layer,
    }
    for name, value in has.items():
        asked = getattr(options, name)
        if asked == getattr(_DEFAULT, name) or str(asked) == str(value):
            continue
        if name == "views" and asked == "all" and settings.views > 2:
            continue
        raise ConfigError(
            f"--{name.replace('_', '-')} is {asked}; the scores of {paths[0]} were made with "
            f"{value}. Omit the option, or give the model itself"
        )
    unknown = [
        name
        for name in ([] if options.scores == "all" else parse_scores(options.scores))
        if name not in store.about.steps
    ]
    if unknown:
        raise ConfigError(
            f"--scores {','.join(unknown)}: {paths[0]} has {', '.join(store.about.steps)}; "
            "request those, or give the model itself"
        )
    return identity


def fitting_stores(paths: Sequence[Path], identity: Identity) -> tuple[Store, ...]:
    """Stores, if their scores are those that are asked for.

    Raises:
        ConfigError: one has other scores; says what differs.
        InputError: one is none, or damaged.
    """
    return tuple(_fitting(open_store(path), identity) for path in paths)


def _fitting(store: Store, asked: Identity) -> Store:
    found = store.about.identity
    if found.fingerprint != asked.fingerprint:
        differing = difference(found, asked, _TELLING)
        raise ConfigError(
            f"{store.folder}: its fingerprint is {found.fingerprint}, that of this run "
            f"{asked.fingerprint}: {differing or _OTHER}. Use the options of the store, give "
            "--model none without other options, or remove the store from --known"
        )
    limits = found.settings.max_n_fraction, asked.settings.max_n_fraction
    if limits[0] != limits[1]:
        raise ConfigError(
            f"{store.folder}: was made with --max-n-fraction {limits[0]:g}, not {limits[1]:g}, "
            f"which its statuses depend on: give --max-n-fraction {limits[0]:g}"
        )
    lacking = [name for name in asked.settings.score_columns if name not in store.about.steps]
    if lacking:
        kept = [name for name in found.settings.scores if name in asked.settings.scores]
        raise ConfigError(
            f"{store.folder}: has {', '.join(store.about.steps)}, not {', '.join(lacking)}; add "
            f"--scores {','.join(kept or found.settings.scores)}"
        )
    return store


_OTHER = "made by another version of ntvep's definitions"
_TELLING = (
    "weights_sha256",
    "vocabulary_sha256",
    "precision",
    "device",
    "family",
    "window_bases",
    "views",
    "layer",
    "pool",
    "softmax",
    "anchor",
)


def refuse_other_sequences(store: Store, genome: FastaReference, contigs: Iterable[str]) -> None:
    """Stop if a genome has other bases than those that a store's scores are of.

    Args:
        store: the store.
        genome: the reference that is given now.
        contigs: that matter; those that the store does not have are of no concern.

    Raises:
        ReferenceMismatchError: naming the contig.
    """
    scored = {canonical(record): digits for record, digits in store.about.md5.items()}
    shared = [chrom for chrom in contigs if store.name_of(genome.contig(chrom) or chrom)]
    for record, digits in genome.md5(shared).items():
        if scored.get(canonical(record)) != digits:
            raise ReferenceMismatchError(
                f"{store.folder}: its {record} is another sequence than in {genome.path.name} "
                f"(md5 {digits}): another assembly, or another slice of it? Give --reference "
                f"{store.about.reference}, or use a store of this reference"
            )


@dataclass(frozen=True)
class KnownStores:
    """Stores, as the pipeline sees them; see :class:`ntvep.pipeline.Prescored`.

    Attributes:
        stores: asked one after the other.
        settings: whose scores are wanted.
        genome: the reference.
    """

    stores: Sequence[Store]
    settings: Settings
    genome: FastaReference
    _proven: set[str] = field(default_factory=set, repr=False)

    def find(self, alleles: pl.DataFrame) -> pl.DataFrame:
        """What the stores have of alleles, the first that has an allele.

        Raises:
            ReferenceMismatchError: a store is of another genome.
            InputError: a block is damaged; names it.
        """
        parts = [self._table(_NOTHING, Found(np.zeros(0, np.uint8), {}), self.stores[0])]
        for (chrom,), rows in alleles.group_by("chrom", maintain_order=True):
            left = self._snvs(rows)
            for store in self.stores:
                if not len(left.rows) or store.name_of(self._prove(str(chrom))) is None:
                    continue
                found = store.find(str(chrom), left.places, left.refs, left.alts)
                there = found.statuses != ABSENT
                parts.append(self._table(left.chosen(there), found.chosen(there), store))
                left = left.chosen(~there)
        return pl.concat(parts)

    def _prove(self, chrom: str) -> str:
        """A contig's name, once its sequence has been compared with that of the stores."""
        name = self.genome.contig(chrom) or chrom
        if name not in self._proven:
            for store in self.stores:
                refuse_other_sequences(store, self.genome, [name])
            self._proven.add(name)
        return name

    def _snvs(self, alleles: pl.DataFrame) -> "_Snvs":
        """Those of the alleles of a contig that are SNVs, however they are spelled."""
        ref, alt = pl.col("ref").str.len_bytes(), pl.col("alt").str.len_bytes()
        plain = alleles.filter((ref == 1) & (alt == 1))
        longer = self._trimmed(alleles.filter((ref == alt) & (ref > 1)))
        refs, alts = ("".join(plain[side]) for side in ("ref", "alt"))
        return _Snvs(
            np.concatenate((plain["row"].to_numpy(), longer[:, 0])),
            np.concatenate((zero_based_places(plain["pos"].to_numpy()), longer[:, 1])),
            np.concatenate((dna.encode(refs), longer[:, 2].astype(np.uint8))),
            np.concatenate((dna.encode(alts), longer[:, 3].astype(np.uint8))),
        )

    def _trimmed(self, alleles: pl.DataFrame) -> Int64[np.ndarray, "snv 4"]:
        """Row, place, REF and ALT of SNVs that are spelled with bases beside them."""
        locate, found = locator(self.genome, self.settings.max_allele_bases), []
        for row, chrom, pos, ref, alt in alleles.select("row", *_KEY).iter_rows():
            edit = locate(chrom, pos, ref, alt)
            if not isinstance(edit, Status) and len(edit[0].ref) == 1:
                found.append((row, edit[0].start, edit[0].ref[0], edit[0].alt[0]))
        return np.array(found, np.int64).reshape(-1, 4)

    def _table(self, snvs: "_Snvs", found: Found, store: Store) -> pl.DataFrame:
        """Rows of the pipeline: statuses, scores and what goes beside them."""
        known = pl.Series(store.about.statuses, dtype=STATUS_DTYPE)
        made: dict[str, pl.Series] = {
            "row": pl.Series(snvs.rows, dtype=pl.UInt32),
            "status": known.gather(found.statuses),
        }
        columns = scored_columns(store.about.identity.model, self.settings)[len(ALLELES) :]
        for column in columns:
            if column.name == LENGTH_CHANGE.name:
                values = pl.repeat(0, len(snvs.rows), dtype=column.dtype, eager=True)
            elif column.name == FRAMESHIFTED.name:
                values = pl.repeat(False, len(snvs.rows), dtype=column.dtype, eager=True)
            else:
                values = pl.Series(found.scores.get(column.name, []), dtype=column.dtype)
            made[column.name] = values.fill_nan(None) if column.dtype.is_float() else values
        return pl.DataFrame(made)


@dataclass(frozen=True)
class _Snvs:
    """SNVs of a contig.

    Attributes:
        rows: of the input.
        places: 0-based.
        refs, alts: base codes.
    """

    rows: Int64[np.ndarray, "snv"]
    places: Int64[np.ndarray, "snv"]
    refs: Dna
    alts: Dna

    def chosen(self, some: np.ndarray) -> "_Snvs":
        """Some of them."""
        return _Snvs(self.rows[some], self.places[some], self.refs[some], self.alts[some])


_NOTHING = _Snvs(
    np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.uint8)
)
