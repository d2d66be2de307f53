"""shards of a scan -> what is whole already, and a manifest of all of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ntvep.commands.places import Places
from ntvep.errors import ConfigError, InputError
from ntvep.files import digest, write_json
from ntvep.io import tables
from ntvep.io.cache import Identity
from ntvep.io.fasta import FastaReference
from ntvep.provenance import Provenance

MANIFEST = "manifest.json"
_FORMAT = "ntvep shards 1"


@dataclass(frozen=True)
class Shards:
    """Into how many parts a scan is cut, and which are wanted.

    Attributes:
        parts: how many.
        only: number of the one that is wanted, from 0; None for all.
    """

    parts: int
    only: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that name no part.

        Raises:
            ConfigError: they do not.
        """
        if self.parts < 1:
            raise ConfigError(f"--shards is {self.parts}; expected 1 or more")
        if self.only is not None and not 0 <= self.only < self.parts:
            raise ConfigError(f"--shard is {self.only}; expected 0 to {self.parts - 1}")

    @property
    def numbers(self) -> Sequence[int]:
        """Those that are wanted."""
        return range(self.parts) if self.only is None else [self.only]


@dataclass(frozen=True)
class Shard:
    """A line of a manifest.

    Attributes:
        file: in the folder of the manifest.
        records: bases that were scored.
        places: stretches of contigs, ``CONTIG:FIRST-LAST``, 1-based.
        sha256: of the file.
    """

    file: str
    records: int
    places: Sequence[str]
    sha256: str


def name_of(number: int) -> str:
    """File name of a shard."""
    return f"{number:05d}.parquet"


def is_whole(
    path: Path,
    identity: Identity,
    genome: FastaReference,
    places: Places,
    first: tuple[str, int] | None,
    records: int,
) -> bool:
    """Whether a shard is there, of this run.

    Args:
        path: of the shard.
        identity: of the scores.
        genome: the reference.
        places: that it is of.
        first: CHROM and POS of its first record; None if it has none.
        records: how many it has to have.

    Raises:
        InputError: it is of another run, or damaged.
    """
    if not path.exists():
        return False
    text, summary = tables.read_metadata(path)
    provenance = Provenance.from_json(text, str(path))
    rows = next((rows for rows in tables.read_row_groups(path) if rows.height), None)
    found = {
        "fingerprint": provenance.fingerprint,
        "settings": provenance.settings,
        "sequences": dict(provenance.contigs),
        "records": json.loads(summary)["records"],
        "first record": None if rows is None else (rows["chrom"][0], rows["pos"][0]),
    }
    expected = {
        "fingerprint": identity.fingerprint,
        "settings": identity.settings,
        "sequences": genome.md5(chrom for chrom, _ in places),
        "records": records,
        "first record": first,
    }
    if other := [name for name, value in expected.items() if found[name] != value]:
        raise InputError(
            f"{path}: belongs to another run ({', '.join(other)} differ); use another folder, or "
            "--force to score it again"
        )
    return True


def write_manifest(folder: Path, parts: Sequence[Places], fingerprint: str) -> None:
    """Write what is in each shard, and its checksum, into ``manifest.json``."""
    shards = []
    for number, places in enumerate(parts):
        path = folder / name_of(number)
        records = json.loads(tables.read_metadata(path)[1])["records"]
        named = [f"{chrom}:{span.start + 1}-{span.stop}" for chrom, span in places]
        shards.append(asdict(Shard(path.name, records, named, digest(path))))
    content = {"format": _FORMAT, "fingerprint": fingerprint, "shards": shards}
    write_json(folder / MANIFEST, content)


def shards_in(folder: Path) -> list[Path]:
    """The shards of a folder, in order; their checksums are those of its manifest.

    Raises:
        InputError: there is no manifest, or a shard is missing or changed; names it.
    """
    path = folder / MANIFEST
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        shards = [Shard(**shard) for shard in content["shards"]]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: no readable manifest of shards ({type(error).__name__}); finish the scan: "
            f"ntvep scan --shards N -o {folder}"
        ) from error
    for shard in shards:
        file = folder / shard.file
        if not file.exists() or digest(file) != shard.sha256:
            raise InputError(
                f"{file}: does not match {path} (sha256 {shard.sha256}): missing, truncated or "
                f"changed. Delete it and scan again: ntvep scan --shards {len(shards)} -o {folder}"
            )
    return [folder / shard.file for shard in shards]
