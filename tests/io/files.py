"""Small VCFs, invented scores for them, and one call that takes a file through the whole room."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from ntvep.io import vcf
from ntvep.io.staging import staged
from ntvep.io.vcf_write import Said, annotate, output_header, vcf_writer
from ntvep.schema import ALLELES, FRAMESHIFTED, SCORE_COLUMNS, Status, check

COLUMNS = (SCORE_COLUMNS["llr"], SCORE_COLUMNS["cosine_distance"], FRAMESHIFTED)
SITES = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
HEADER = (
    b"##fileformat=VCFv4.2\n##contig=<ID=chr1,length=10000>\n"
    b'##INFO=<ID=AC,Number=A,Type=Integer,Description="n">\n'
)


def record(
    pos: int | str = 10, ref: str = "A", alt: str = "C", chrom: str = "chr1", info: str = "."
) -> bytes:
    return f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t{info}\n".encode()


def sites(*records: bytes, header: bytes = HEADER) -> bytes:
    return header + SITES + b"\n" + b"".join(records)


def many(n: int) -> bytes:
    """Records whose text compresses badly, so that a bgzip file of them has several blocks."""
    return sites(*(record(10 + i, info=f"AC={i * 7919 % 100003}") for i in range(n)))


def inspected(
    path: Path, on_bad_record: Literal["fail", "skip"] = "fail", **more: bool
) -> vcf.Inspection:
    return vcf.inspect(path, path.name, on_bad_record, **more)


def inspected_text(
    folder: Path, text: bytes, on_bad_record: Literal["fail", "skip"] = "fail"
) -> vcf.Inspection:
    path = folder / "in.vcf"
    path.write_bytes(text)
    return inspected(path, on_bad_record)


def chunks(inspection: vcf.Inspection, size: int = 1000) -> list[vcf.Chunk]:
    return list(vcf.read_chunks(inspection, [size] * (inspection.records // size + 2)))


def alleles(inspection: vcf.Inspection) -> pl.DataFrame:
    return pl.concat(chunk.alleles for chunk in chunks(inspection))


def scored(table: pl.DataFrame) -> pl.DataFrame:
    """SCORES in which every number tells its record and allele."""
    ok = pl.col("status") == Status.OK
    llr = -(pl.col("record") + pl.col("allele") / 10.0)
    return check(
        table.with_columns(
            pl.when(ok).then(llr.cast(pl.Float64)).alias("llr"),
            pl.when(ok).then(llr.cast(pl.Float64) / -3).alias("cosine_distance"),
            pl.when(ok).then(pl.col("allele") % 2 == 0).alias("frameshifted"),
        ),
        (*ALLELES, *COLUMNS),
    )


def annotated_lines(inspection: vcf.Inspection, size: int = 1000) -> list[bytes]:
    return [
        line
        for chunk in chunks(inspection, size)
        for line in annotate(chunk.lines, scored(chunk.alleles), COLUMNS)
    ]


def header_lines(inspection: vcf.Inspection, lengths: dict[str, int] | None = None) -> list[bytes]:
    return output_header(inspection, COLUMNS, Said("layer 4", ["##ntvep_version=1"]), lengths or {})


def write(inspection: vcf.Inspection, output: Path, *, force: bool = False) -> Path:
    with staged([output], force=force) as staging:
        header = header_lines(inspection)
        with vcf_writer(staging.path(output), inspection, header) as write_lines:
            for chunk in chunks(inspection):
                write_lines(annotate(chunk.lines, scored(chunk.alleles), COLUMNS))
    return output


def without_ours(line: bytes) -> bytes:
    """What a record was before it was annotated; written apart from the code under test."""
    end = line[len(line.rstrip(b"\r\n")) :]
    fields = line.rstrip(b"\r\n").split(b"\t")
    kept = [part for part in fields[7].split(b";") if not part.startswith(b"NTVEP_")]
    fields[7] = b";".join(kept) or b"."
    return b"\t".join(fields) + end


def text_of(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def records_of(text: bytes) -> Sequence[bytes]:
    return [line for line in text.splitlines(keepends=True) if not line.startswith(b"#")]
