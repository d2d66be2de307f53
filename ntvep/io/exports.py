"""scores of alleles <-> Parquet of a contig; -> a table for tabix, a track hub, checksums."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pysam

from ntvep.files import digest
from ntvep.io.open_vcf import quiet_htslib
from ntvep.io.vcf_header import TBI_END
from ntvep.io.vcf_write import bgzip_writer
from ntvep.schema import Column

PLACE = {"chrom": pl.String(), "pos": pl.Int64(), "ref": pl.String(), "alt": pl.String()}
_ROW_GROUP = 1 << 17
# log2 of the bases in the smallest bin of a .csi, for contigs that a .tbi does not reach over.
_CSI_BIN = 14


@contextmanager
def contig_writer(path: Path, names: Sequence[str]) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Write the alleles of a contig and their scores, as float32; yields what takes rows.

    Row groups say from which POS to which they go, so that readers skip all others.
    """
    schema = PLACE | dict.fromkeys(names, pl.Float32())
    arrow = pl.DataFrame(schema=schema).to_arrow().schema
    held = pl.DataFrame(schema=schema)
    with pq.ParquetWriter(path, arrow, compression="zstd") as writer:

        def put(rows: pl.DataFrame) -> None:
            writer.write_table(rows.to_arrow().cast(arrow), row_group_size=rows.height)

        def write(rows: pl.DataFrame) -> None:
            nonlocal held
            held = pl.concat([held, rows.select(list(schema)).cast(schema)])  # type: ignore[arg-type]
            while held.height >= _ROW_GROUP:
                put(held[:_ROW_GROUP])
                held = held[_ROW_GROUP:]

        yield write
        if held.height:
            put(held)


def contig_rows(path: Path, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """These columns of what :func:`contig_writer` wrote, some thousands of rows at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=list(names)):
            rows = pl.from_arrow(pa.Table.from_batches([batch]))
            assert isinstance(rows, pl.DataFrame)
            yield rows


@contextmanager
def tabix_writer(
    path: Path, names: Sequence[str], comments: Sequence[str], longest: int
) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Write a bgzipped table with an index beside it; yields the function that takes rows.

    Args:
        path: .tsv.gz.
        names: of its columns; the first four are those of :data:`PLACE`.
        comments: lines above that of the names, without ``##``.
        longest: the last place that a row can have.
    """
    head = [*(f"## {line}\n" for line in comments), "#" + "\t".join(names) + "\n"]
    with bgzip_writer(path) as write_packed:
        write_packed([line.encode() for line in head])

        def write(rows: pl.DataFrame) -> None:
            # As in a VCF: 6 digits, and a point for what is not known.
            numbers = pl.selectors.float().cast(pl.Float64).round_sig_figs(6)
            text = rows.select(names).with_columns(numbers).write_csv(
                separator="\t", include_header=False, null_value="."
            )  # fmt: skip
            write_packed([text.encode()])

        yield write
    with quiet_htslib():
        pysam.tabix_index(
            str(path), seq_col=0, start_col=1, end_col=1, meta_char="#", force=True,
            csi=longest > TBI_END, min_shift=_CSI_BIN if longest > TBI_END else 0,
        )  # fmt: skip


def write_info_header(path: Path, columns: Sequence[Column]) -> None:
    """Declarations of INFO keys, for ``bcftools annotate --header-lines``."""
    lines = [
        f'##INFO=<ID={c.vcf},Number=A,Type=Float,Description="{c.name}: {c.meaning}">\n'
        for c in columns
    ]
    path.write_text("".join(lines), encoding="utf-8")


def write_checksums(folder: Path, name: str) -> None:
    """SHA-256 of each file below a folder, as ``sha256sum --check`` reads them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{digest(path)}  {path.relative_to(folder)}\n" for path in paths]
    (folder / name).write_text("".join(lines), encoding="utf-8")


# One for each base, as browsers colour them.
_COLOURS = {"A": "0,150,0", "C": "0,0,200", "G": "209,113,5", "T": "200,0,0"}


def hub_text(assembly: str, email: str, title: str, tracks: Mapping[str, str]) -> str:
    """``hub.txt`` of a UCSC track hub in one file.

    Args:
        assembly: UCSC's name of it.
        email: of whom to ask.
        title: of all tracks.
        tracks: ``llr_A`` to ``llr_T`` and ``entropy``, those that there are -> their files.
    """
    short = f"hub ntvep\nshortLabel ntvep\nlongLabel {title}\nuseOneFile on\nemail {email}\n"
    parts = [f"{short}\ngenome {assembly}\n"]
    bases = [name for name in tracks if name.startswith("llr_")]
    if bases:
        parts.append(
            "track llr\ncontainer multiWig\nshortLabel llr\n"
            f"longLabel {title}: llr of each ALT; low = less likely than REF\n"
            "type bigWig\naggregate transparentOverlay\nshowSubtrackColorOnUi on\n"
            "autoScale on\nalwaysZero on\nvisibility full\nmaxHeightPixels 200:80:16\n"
        )
    parts += [
        f"    track {name}\n    parent llr\n    type bigWig\n    shortLabel {name[-1]}\n"
        f"    longLabel llr of ALT {name[-1]}\n    bigDataUrl {tracks[name]}\n"
        f"    color {_COLOURS[name[-1]]}\n"
        for name in bases
    ]
    if "entropy" in tracks:
        parts.append(
            "track entropy\ntype bigWig\nshortLabel entropy\n"
            f"longLabel {title}: entropy of the prediction\nbigDataUrl {tracks['entropy']}\n"
            "autoScale on\nalwaysZero on\nvisibility full\nmaxHeightPixels 200:48:16\n"
        )
    return "\n".join(parts)
