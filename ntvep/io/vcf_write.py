"""SCORES -> VCF: text passes through, only INFO and the header gain anything."""

import errno
import os
import re
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl
import pysam
import pysam.bcftools
from pysam.utils import SamtoolsError

from ntvep.errors import ConfigError, OutputError
from ntvep.io.open_vcf import BGZF_EOF, quiet_htslib
from ntvep.io.staging import INDEXES, STANDARD_STREAM
from ntvep.io.vcf import Inspection
from ntvep.io.vcf_header import Ours, declared, ours
from ntvep.schema import REF_VCF, STATUS_VCF, Column, Status

# Bytes of text in a bgzip block, as htslib cuts them: even incompressible text then fits in 64 KiB.
_BGZIP_TEXT = 0xFF00
# With fewer bytes free than this, a write that htslib could not do failed for lack of room.
_FULL_DISK = 1 << 20
# INFO types of columns that are not floating-point numbers.
_KINDS = {pl.Boolean: "Integer", pl.Enum: "String"}
_SILENT = "it does not say why"
_HTSLIB_ERROR = re.compile(r"\[E::\w+\] (.*)")


@dataclass(frozen=True)
class Said:
    """What a header says of a run.

    Attributes:
        how: the layer, pool and views, for every description.
        provenance: lines that say what made the file.
        tag: of the run; what runs with another tag added stays.
        show_ref: whether ``NTVEP_REF`` is declared.
    """

    how: str
    provenance: Sequence[str]
    tag: str = ""
    show_ref: bool = False


def output_header(
    inspection: Inspection,
    columns: Sequence[Column],
    said: Said,
    lengths: Mapping[str, int],
) -> list[bytes]:
    """Header lines of the annotated VCF, line ends included.

    Args:
        inspection: of the input; its own lines stay as they are, in their places.
        columns: score columns that are written to INFO.
        said: what the header says of the run.
        lengths: of contigs that the input does not declare, where they are known.
    """
    own = ours(inspection.header, said.tag)
    kept = [line for line in inspection.header if not own.lines.match(line)]
    added = list(inspection.added)
    for place, line in enumerate(added):
        # Other ids need not be UTF-8, as a contig's name must.
        if line.startswith(b"##contig"):
            contig = line.removeprefix(b"##contig=<ID=").removesuffix(b">")
            if length := lengths.get(contig.decode()):
                added[place] = b"##contig=<ID=%s,length=%d>" % (contig, length)
    first = [added.pop(0)] if added and added[0].startswith(b"##fileformat") else []
    statuses = ", ".join(status.value for status in Status)
    infos = [(own.key(STATUS_VCF), "String", f"Why this ALT has scores or has none: {statuses}")]
    for column in columns:
        kind = _KINDS.get(type(column.dtype), "Float")
        unit = f" [{column.unit}]" if column.unit else ""
        infos.append(
            (own.key(column.vcf), kind, f"{column.name}{unit}: {column.meaning}; {said.how}")
        )
    described = [
        f'##INFO=<ID={key},Number=A,Type={kind},Description="{text}">'.encode()
        for key, kind, text in infos
    ]
    if said.show_ref:
        described.append(
            f'##INFO=<ID={own.key(REF_VCF)},Number=1,Type=String,Description="What the reference '
            'has where REF disagrees with it">'.encode()
        )
    end = inspection.newline
    made = [
        line + end for line in (*added, *described, *(line.encode() for line in said.provenance))
    ]
    return [*(line + end for line in first), *kept[:-1], *made, kept[-1]]


def annotate(
    lines: Sequence[bytes],
    scores: pl.DataFrame,
    columns: Sequence[Column],
    own: Ours | None = None,
    differing: Mapping[int, str] | None = None,
) -> list[bytes]:
    """Records with their scores in INFO; every byte outside INFO stays.

    Args:
        lines: the records.
        scores: SCORES of exactly these records, in order.
        columns: score columns to write; one that is null for all ALTs of a record is left out of
            that record. Values have 6 significant digits.
        own: names of the keys, and which of them are replaced.
        differing: what the reference has, by number of the record, for ``NTVEP_REF``.

    Raises:
        ValueError: ``scores`` are of other records. This is a fault of ours, not of the input.
    """
    own = own or ours()
    status_key = own.key(STATUS_VCF)
    counts = scores.group_by("record", maintain_order=True).len()["len"].to_list()
    statuses = scores["status"].cast(pl.String).to_list()
    values = [(f"{own.key(c.vcf)}=", _printed(scores[c.name])) for c in columns]
    chroms, places = scores["chrom"].to_list(), scores["pos"].to_list()
    refs, alts = scores["ref"].to_list(), scores["alt"].to_list()
    records = scores["record"].to_list()
    annotated, begin = [], 0
    for line, count in zip(lines, counts, strict=True):
        # Rows are joined by key, not by order: a score on another record is worse than none.
        fields = line.split(b"\t", 8)
        chrom, pos, _, ref, alt = fields[:5]
        key = chroms[begin], places[begin], refs[begin], ",".join(alts[begin : begin + count])
        if key != (chrom.decode(), int(pos), ref.decode(), alt.decode()):
            raise ValueError(f"scores of {key[0]}:{key[1]} were attached to another record")
        if count == 1:
            parts = [key + column[begin] for key, column in values if column[begin] != "."]
            parts.append(f"{status_key}={statuses[begin]}")
        else:
            end = begin + count
            parts = [
                key + ",".join(column[begin:end])
                for key, column in values
                if any(value != "." for value in column[begin:end])
            ]
            parts.append(f"{status_key}={','.join(statuses[begin:end])}")
        if differing and (bases := differing.get(records[begin])):
            parts.append(f"{own.key(REF_VCF)}={bases}")
        begin += count
        # Only the last column has the line's end behind it.
        info = fields[7] if len(fields) > 8 else fields[7].rstrip(b"\r\n")
        end = fields[7][len(info) :]
        fields[7] = _with_info(info, ";".join(parts).encode(), own) + end
        annotated.append(b"\t".join(fields))
    return annotated


def _printed(column: pl.Series) -> list[str]:
    if column.dtype == pl.Boolean:
        return ["." if value is None else str(int(value)) for value in column.to_list()]
    if column.dtype == pl.Enum:
        return ["." if value is None else value for value in column.cast(pl.String).to_list()]
    return ["." if value is None else f"{value:.6g}" for value in column.to_list()]


def _with_info(info: bytes, added: bytes, own: Ours) -> bytes:
    if b"NTVEP_" in info:
        info = b";".join(part for part in info.split(b";") if not own.keys.match(part))
    info = info.rstrip(b";")
    return added if info in (b"", b".") else info + b";" + added


@contextmanager
def vcf_writer(
    path: Path, inspection: Inspection, header: Sequence[bytes]
) -> Iterator[Callable[[Sequence[bytes]], None]]:
    """Write an annotated VCF; yields the function that takes records.

    Args:
        path: .vcf, .vcf.gz (bgzip, indexed with .tbi or .csi if sorted), .bcf (with .csi), or
            ``-`` for text on standard output.
        inspection: of the input: is it sorted, how far do positions reach.
        header: the output's header lines.

    Raises:
        ConfigError: the suffix names no VCF.
    """
    if path == STANDARD_STREAM:
        sys.stdout.buffer.writelines(header)
        yield sys.stdout.buffer.writelines
        sys.stdout.buffer.flush()
    elif path.name.endswith(".vcf"):
        with path.open("wb") as text:
            text.writelines(header)
            yield text.writelines
    elif path.name.endswith(".vcf.gz"):
        with bgzip_writer(path) as write_packed:
            write_packed(header)
            yield write_packed
        if inspection.is_sorted:
            _index(path, "vcf", csi=inspection.needs_csi)
    elif path.name.endswith(".bcf"):
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            text_path = Path(folder) / "annotated.vcf"
            with vcf_writer(text_path, inspection, header) as write:
                yield write
            _encode_bcf(text_path, path, inspection.is_sorted, header)
    else:
        raise ConfigError(f"{path.name}: expected an output named .vcf, .vcf.gz or .bcf, or -")


@contextmanager
def bgzip_writer(path: Path) -> Iterator[Callable[[Sequence[bytes]], None]]:
    """Write lines into a bgzip file.

    Not by htslib: it does not say why a write failed, and a full disk deserves its own message.
    """
    with path.open("wb") as packed:
        held = bytearray()

        def write(lines: Sequence[bytes]) -> None:
            held.extend(b"".join(lines))
            whole = len(held) - len(held) % _BGZIP_TEXT
            for begin in range(0, whole, _BGZIP_TEXT):
                packed.write(_bgzip_block(held[begin : begin + _BGZIP_TEXT]))
            del held[:whole]

        yield write
        if held:
            packed.write(_bgzip_block(held))
        packed.write(BGZF_EOF)


def _bgzip_block(text: bytes | bytearray) -> bytes:
    """One block: a gzip member that gives its own size (SAM specification, section 4.1)."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = packer.compress(text) + packer.flush()
    head = struct.pack("<4B4x2BH2sHH", 31, 139, 8, 4, 0, 255, 6, b"BC", 2, len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(text), len(text))


def _index(path: Path, preset: Literal["vcf", "bcf"], csi: bool) -> None:
    """Index a sorted file: .tbi; .csi where that does not reach (INFO/END may be beyond POS)."""
    # log2 of the bases in the smallest bin; 0 makes a .tbi. A BCF's index reaches as far as the
    # header says that contigs do, and headers err: a bin of 2^31 bases holds any record.
    smallest_bins = [0, 14, 31] if preset == "vcf" and not csi else [14, 31]
    with quiet_htslib():
        for bits in smallest_bins:
            try:
                pysam.tabix_index(
                    str(path),
                    preset=preset,  # type: ignore[arg-type]
                    csi=bits > 0,
                    min_shift=bits,
                    force=True,
                )
            except (OSError, ValueError) as error:
                failure = error
                for suffix in INDEXES:
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
            else:
                return
    raise OutputError(
        f"{path.name}: htslib cannot index it ({failure}); write .vcf, which has no index"
    ) from failure


def _encode_bcf(text: Path, path: Path, index: bool, header: Sequence[bytes]) -> None:
    try:
        with quiet_htslib():
            _bcftools_view(text, path)
    except SamtoolsError as error:
        if shutil.disk_usage(path.parent).free < _FULL_DISK:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        reason = _without_values(_complaint(text), declared(header))
        raise OutputError(
            f"{path.name}: htslib cannot write these records as BCF ({reason}); write .vcf.gz, "
            "which keeps every byte"
        ) from error
    if index:
        _index(path, "bcf", csi=True)


def _bcftools_view(text: Path, path: Path) -> None:
    # Not with pysam's VariantFile.write: it takes INFO/END out of records, and puts it into others.
    pysam.bcftools.view("--no-version", "-Ob", "-o", str(path), str(text), catch_stdout=False)


def _complaint(text: Path) -> str:
    """What htslib says of records that it has failed to write once, and where.

    htslib only reports to standard error, so the whole process's is captured for a second failure.
    """
    try:
        ours = os.dup(2)
    except OSError:
        return _SILENT  # the process has no standard error
    with tempfile.TemporaryFile() as said, ExitStack() as stack:
        stack.callback(pysam.set_verbosity, pysam.set_verbosity(1))
        stack.callback(os.close, ours)
        stack.callback(os.dup2, ours, 2)
        os.dup2(said.fileno(), 2)
        with suppress(SamtoolsError):
            _bcftools_view(text, Path(os.devnull))
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").splitlines()
    errors = [match[1] for line in lines if (match := _HTSLIB_ERROR.match(line))]
    return errors[0] if errors else _SILENT


def _without_values(reason: str, ids: Mapping[bytes, Collection[bytes]]) -> str:
    """Words of htslib without what they quote, unless it is an id of the header."""
    known = {name.decode("utf-8", "replace") for names in ids.values() for name in names} | {"."}
    return re.sub(
        r"(?<!\w)'([^']*)' ?", lambda quoted: quoted[0] if quoted[1] in known else "", reason
    )
