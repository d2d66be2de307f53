"""--regions, --pass-only -> which records are scored; the others stay in the output."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from ntvep.commands.options import Options
from ntvep.errors import ConfigError
from ntvep.genome import canonical
from ntvep.io.intervals import read_intervals
from ntvep.io.vcf import Chunk
from ntvep.schema import STATUS_DTYPE, Status
from ntvep.windows import zero_based

REGION = re.compile(
    r"(?P<contig>[^\s:]+)(?::(?P<first>\d[\d,]{0,14})(?:-(?P<last>\d[\d,]{0,14}))?)?"
)
# Beyond the end of any contig.
_END = 1 << 40


@dataclass(frozen=True)
class Selection:
    """Which records are scored.

    Attributes:
        places: by contig, first bases and ends (0-based, half-open) that do not overlap, in order;
            None for the whole genome.
        pass_only: FILTER has to be PASS or missing.
    """

    places: Mapping[str, tuple[Int64[np.ndarray, "place"], Int64[np.ndarray, "place"]]] | None
    pass_only: bool

    def applied(self, chunk: Chunk) -> Chunk:
        """A chunk whose records that are not selected have that status."""
        records = chunk.alleles.unique("record", maintain_order=True)
        kept = np.ones(records.height, bool)
        if self.pass_only:
            filters = [line.split(b"\t", 7)[6] for line in chunk.lines]
            kept &= np.array([value in (b"PASS", b".") for value in filters], bool)
        if self.places is not None:
            kept &= self.within(records)
        if kept.all():
            return chunk
        left_out = pl.col("record").is_in(records["record"].filter(pl.Series(~kept)).implode())
        status = pl.when(left_out).then(pl.lit(Status.NOT_SELECTED, STATUS_DTYPE))
        return Chunk(
            chunk.lines,
            chunk.alleles.with_columns(status.otherwise("status").alias("status")),
        )

    def within(self, records: pl.DataFrame) -> Bool[np.ndarray, "record"]:
        """Which records overlap one of the places."""
        rows = records.select("chrom", "pos", "ref").iter_rows()
        kept: Bool[np.ndarray, "record"] = np.array([self._overlaps(*row) for row in rows], bool)
        return kept

    def _overlaps(self, chrom: str, pos: int, ref: str) -> bool:
        starts, stops = (self.places or {}).get(canonical(chrom), (_NONE, _NONE))
        bases = zero_based(pos, ref)
        # The last place that begins before REF ends.
        last = int(np.searchsorted(starts, bases.stop, side="left")) - 1
        return last >= 0 and bool(stops[last] > bases.start)


_NONE = np.zeros(0, np.int64)


def selection(options: Options) -> Selection | None:
    """What ``--regions`` and ``--pass-only`` select; None for everything.

    Raises:
        ConfigError: a region is neither a place nor a BED.
        InputError: a BED cannot be read.
    """
    if not options.regions:
        return Selection(None, True) if options.pass_only else None
    parts = [_intervals(text) for text in options.regions]
    table = pl.concat(parts).with_columns(pl.col("chrom").map_elements(canonical, pl.String))
    places = {
        str(name): _merged(rows["start"].to_numpy(), rows["stop"].to_numpy())
        for (name,), rows in table.sort("start").group_by("chrom", maintain_order=True)
    }
    return Selection(places, options.pass_only)


def _intervals(text: str) -> pl.DataFrame:
    """``chrom``, ``start``, ``stop`` of a BED or of CONTIG:FIRST-LAST."""
    if ".bed" in Path(text).suffixes:
        return read_intervals(Path(text))["interval"].select("chrom", "start", "stop")
    match = REGION.fullmatch(text)
    first, last = bounds(match) if match else (0, 0)
    if match is None or not 1 <= first <= last:
        raise ConfigError(
            f"--regions is {text!r}; expected CONTIG:FIRST-LAST, 1-based, or a file that ends in "
            ".bed or .bed.gz"
        )
    schema = {"chrom": pl.String(), "start": pl.Int64(), "stop": pl.Int64()}
    return pl.DataFrame([(match["contig"], first - 1, last)], schema=schema, orient="row")


def bounds(match: re.Match[str]) -> tuple[int, int]:
    """First and last base, 1-based, of what :data:`REGION` matched; a contig has all of them."""
    if match["first"] is None:
        return 1, _END
    first = int(match["first"].replace(",", ""))
    return first, int((match["last"] or match["first"]).replace(",", ""))


def _merged(
    starts: Int64[np.ndarray, "given"], stops: Int64[np.ndarray, "given"]
) -> tuple[Int64[np.ndarray, "place"], Int64[np.ndarray, "place"]]:
    """Sorted intervals, those that overlap or touch made one."""
    ends = np.maximum.accumulate(stops)
    first: Bool[np.ndarray, "given"] = np.r_[True, starts[1:] > ends[:-1]]
    last = np.r_[first[1:], True]
    return starts[first], ends[last]
