"""What is fuzzed: each target takes any bytes and must end well, or with an error of ours.

``recipes/fuzz.py`` runs them under atheris; the tests here run them on the seeds and on every case
that was found. A target fails by any other exception, by a wrong answer, or by a signal.
"""

import gzip
import json
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow as pa
import pysam
import yaml

from ntvep import dna
from ntvep.commands import labels as commands
from ntvep.errors import ConfigError, InputError, ModelError, NtvepError, OutputError
from ntvep.io import fasta
from ntvep.io import store as stores
from ntvep.io.store import BASES, Snvs, store_writer
from ntvep.io.tables import read_labels
from ntvep.io.vcf import place_and_info
from ntvep.io.vcf_write import bgzip_writer
from ntvep.models.checkpoint import read_checkpoint
from ntvep.settings import parse_scores
from tests.conftest import ROOT
from tests.io.files import annotated_lines, chunks, header_lines, inspected, record, sites, write
from tests.io.test_store import about, snvs_of
from tests.io.vcf_twin import assert_passed_through

CHECKPOINT = ROOT / "tests" / "golden" / "v2"
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
# Parts of one input: a byte sequence that no text format here has.
BETWEEN = b"\n\x00\xff\n"


@contextmanager
def only(*errors: type[NtvepError]) -> Iterator[None]:
    """Swallow an error of these kinds, if its text is one that a user can read."""
    try:
        yield
    except errors as error:
        text = str(error)
        assert text
        assert "\n" not in text
        assert text.isprintable(), text
        assert len(text) < 1000, text


def vcf(data: bytes, folder: Path) -> None:
    """Text: read, annotated and read by the twin. Anything else: read."""
    path = folder / "in.vcf"
    path.write_bytes(data)
    for mode in ("fail", "skip"):
        with only(InputError):
            inspection = inspected(path, mode)
            lines = annotated_lines(inspection, 3)
            assert len(lines) == inspection.records
            for line in lines:
                place_and_info(line)
            if not data.startswith((b"\x1f\x8b", b"BCF")):
                left_out = {bad.line for bad in inspection.bad}
                whole = b"".join((*header_lines(inspection), *lines))
                assert_passed_through(data, whole, left_out)


def vcf_files(data: bytes, folder: Path) -> None:
    """Text through the writers that hand it to htslib: bgzip with its index, and BCF and back."""
    path = folder / "in.vcf"
    path.write_bytes(data)
    for suffix in (".vcf.gz", ".bcf"):
        output = folder / f"out{suffix}"
        written = False
        with only(InputError, OutputError):
            inspection = inspected(path, "skip")
            write(inspection, output, force=True)
            written = True
            assert inspected(output, "skip").records == inspection.records
        assert output.exists() == written
        for left in folder.glob("out*"):
            left.unlink()


def bcf(data: bytes, folder: Path) -> None:
    """The inside of a BCF, compressed whole: what lies behind the checksums."""
    path = folder / "in.bcf"
    with bgzip_writer(path) as write_packed:
        write_packed([data])
    with only(InputError):
        chunks(inspected(path, "skip"), 3)


def reference(data: bytes, folder: Path) -> None:
    """A FASTA, or one and its index: every base is the file's, or there is an error.

    The first byte says what the rest is: ``z`` is text to be compressed, ``r`` a compressed file as
    it is, anything else plain text.
    """
    mode, (text, *index) = data[:1], data[1:].split(BETWEEN, 2)
    path = folder / ("in.fa.gz" if mode in (b"z", b"r") else "in.fa")
    if mode == b"z":
        with bgzip_writer(path) as write_packed:
            write_packed([text])
    else:
        path.write_bytes(text)
    for suffix, content in zip((".fai", ".gzi"), index, strict=False):
        path.with_name(path.name + suffix).write_bytes(content)
    with only(InputError):
        opened = fasta.open_reference(path)
        expected = plain_fasta(gzip.decompress(text) if text.startswith(b"\x1f\x8b") else text)
        for contig, records in opened.records.items():
            for one in records:
                # Slices may overlap: the first that holds a stretch is asked.
                asked = next(
                    r
                    for r in records
                    if r.span.start <= one.span.start and one.span.stop <= r.span.stop
                )
                begin, end = (place - asked.span.start for place in (one.span.start, one.span.stop))
                whole = opened.fetch(contig, one.span.start, one.span.stop)
                # An index may name records without bases that are not there.
                letters = expected.get(asked.name, "")[begin:end]
                np.testing.assert_array_equal(whole, dna.encode(letters))
        opened.md5(opened.records)
    for left in folder.iterdir():
        left.unlink()


def plain_fasta(text: bytes) -> dict[str, str]:
    """A FASTA's records by their names, read line by line."""
    found: dict[str, list[str]] = {}
    for line in text.split(b"\n"):
        if line.startswith(b">"):
            words = line[1:].split() or [b""]
            current = found.setdefault(words[0].decode("utf-8", "replace"), [])
        elif found:
            current.append("".join(chr(byte) for byte in line if 32 < byte < 127))
    return {name: "".join(lines) for name, lines in found.items()}


def config(data: bytes, folder: Path) -> None:
    """A workflow's configuration against the schema, and the names of scores."""
    try:
        found = yaml.safe_load(data.decode("utf-8", "replace"))
        jsonschema.validate(found, yaml.safe_load(SCHEMA.read_text()))
    except (yaml.YAMLError, jsonschema.ValidationError, ValueError, RecursionError):
        # yaml's and jsonschema's own refusals: Snakemake shows them.
        return
    with only(ConfigError):
        parse_scores(found.get("scores", "all"))


def checkpoint(data: bytes, folder: Path) -> None:
    """config.json, the header of the weights and vocab.txt of a small checkpoint.

    Each part is the whole text if it begins with ``{``; else lines ``key=value`` that replace
    entries of the sound text, so that what is odd about one of them is reached.
    """
    folder = folder / "model"
    folder.mkdir(exist_ok=True)
    parts = [*data.split(BETWEEN, 2), b"", b""]
    sound = (CHECKPOINT / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(sound[:8], "little")
    header = patched(sound[8:start], parts[1])
    (folder / "config.json").write_bytes(
        patched((CHECKPOINT / "config.json").read_bytes(), parts[0])
    )
    (folder / "model.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + sound[start:]
    )
    (folder / "vocab.txt").write_bytes(parts[2] or (CHECKPOINT / "vocab.txt").read_bytes())
    with only(ModelError):
        read_checkpoint(folder)


def patched(sound: bytes, part: bytes) -> bytes:
    """JSON with some values replaced by any text."""
    if part.startswith(b"{") or not part:
        return part or sound
    entries = {key.encode(): json.dumps(value).encode() for key, value in json.loads(sound).items()}
    for line in part.split(b"\n"):
        key, equals, value = line.partition(b"=")
        if equals:
            entries[key] = value
    return b"{" + b",".join(b'"%s": %s' % entry for entry in entries.items()) + b"}"


def labels(data: bytes, folder: Path) -> None:
    """Files of labels: the first byte says whose, the rest is the file. What is read is LABELS."""
    kind, text = data[:1], data[1:]
    path, made = folder / ("in.vcf" if kind == b"c" else "in.tsv"), folder / "out.parquet"
    path.write_bytes(text)
    with only(InputError, ConfigError):
        if kind == b"c":
            counts = commands.label_clinvar(path, made, command="", force=True)
        elif kind == b"f":
            counts = commands.label_finemapped([path], made, command="", force=True)
        elif kind == b"p":
            counts = commands.label_pairs([path], made, command="", force=True)
        else:
            where = commands.TableColumns()
            counts = commands.label_table(path, made, where, command="", force=True)
        assert read_labels(made).height == counts.written


def store(data: bytes, folder: Path) -> None:
    """A store of which a file was cut or changed: its true numbers, or an error; never others.

    The first byte says which file: ``s`` store.json, ``S`` the same with its checksum made again,
    ``i`` the index, else a contig. Then, for each change: three bytes of place, one of length, and
    what is there now; length 0 cuts the file.
    """
    sound, truth = _sound_store()
    name = {b"s": "store.json", b"S": "store.json", b"i": "index.arrow"}.get(data[:1], _CONTIG)
    changed, cut = _changed(sound[name], data[1:])
    if data[:1] == b"S":
        changed = _summed(changed)
    made = folder / "store"
    made.mkdir()
    for other, content in sound.items():
        (made / other).write_bytes(changed if other == name else content)
    said = ""
    try:
        with only(InputError):
            try:
                _compare(made, truth)
            except InputError as error:
                said = str(error)
                raise
    finally:
        shutil.rmtree(made)
    # Some bytes of a file say nothing: zeros behind a number, what lies between blocks.
    assert said or (
        not cut and (data[:1] == b"S" or name == _CONTIG or _same(changed, sound[name]))
    )
    if name == _CONTIG and not cut and len(changed) == len(sound[name]):
        table = pa.ipc.open_file(pa.py_buffer(sound["index.arrow"])).read_all().to_pylist()
        for number, row in enumerate(table):
            block = slice(row["offset"], row["offset"] + row["size"])
            if changed[block] != sound[name][block]:
                assert f"{_CONTIG}: block {number} (chr1, " in said, said
                break
        else:
            assert not said, said


_CONTIG = "chr1.arrow"


@cache
def _sound_store() -> tuple[dict[str, bytes], Snvs]:
    """The files of a store of three blocks, and what it was made of."""
    truth = snvs_of("chr1", BASES - 20, BASES + 40)
    with tempfile.TemporaryDirectory() as name:
        with store_writer(Path(name), about()) as write:
            write(truth, "seed")
        return {path.name: path.read_bytes() for path in Path(name).iterdir()}, truth


def _changed(content: bytes, changes: bytes) -> tuple[bytes, bool]:
    """What is left of a file, and whether it was cut."""
    made = bytearray(content)
    while len(changes) > 4:
        place, length = int.from_bytes(changes[:3]) % len(made), changes[3]
        if length == 0:
            return bytes(made[:place]), True
        new = changes[4 : 4 + length][: len(made) - place]
        made[place : place + len(new)] = new
        changes = changes[4 + length :]
    return bytes(made), False


def _same(changed: bytes, sound: bytes) -> bool:
    """Whether two files say the same."""
    with suppress(ValueError):
        return bool(changed == sound or json.loads(changed) == json.loads(sound))
    return False


def _summed(text: bytes) -> bytes:
    """store.json with the checksum that belongs to it, if it is JSON at all."""
    try:
        content = json.loads(text)
        content["sha256"] = stores._own_sum(content)
        return json.dumps(content).encode()
    except (ValueError, TypeError, RecursionError):
        return text


def _compare(made: Path, truth: Snvs) -> None:
    """Every SNV of a store against what it was made of."""
    opened = stores.open_store(made)
    if [one.name for one in opened.contigs] != ["chr1"] or opened.about.steps != about().steps:
        return
    found = opened.find("chr1", truth.places, truth.refs, truth.alts)
    there = found.statuses != stores.ABSENT
    assert (found.statuses == truth.statuses)[there].all()
    assert there.all()
    for name, values in truth.scores.items():
        step = opened.about.steps[name]
        np.testing.assert_allclose(found.scores[name], values, rtol=0, atol=step / 2 + 1e-9)


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    target.__name__: target
    for target in (vcf, vcf_files, bcf, reference, config, checkpoint, labels, store)
}


def seeds(target: str) -> list[bytes]:
    """Sound inputs to begin with."""
    texts = [
        sites(record(10), record(11, "ACG", "A,<DEL>,*,A[chr1:5["), record(12, info="AC=1")),
        sites(record(10, chrom="2"), record(0, alt="."), header=b"").replace(b"\n", b"\r\n"),
        sites(record(5))
        .replace(b"INFO\n", b"INFO\tFORMAT\tS1\tS2\n")
        .replace(b".\t.\n", b".\tNTVEP_LLR=1;X=%3D\tGT:DP\t0|1:3\t./.:.\n"),
    ]
    if target in ("vcf", "vcf_files"):
        packed = zlib.compressobj(wbits=31)
        return [*texts, packed.compress(texts[0]) + packed.flush()]
    if target == "bcf":
        return [_plain_bcf(texts[0])]
    if target == "reference":
        text = b">chr1 words\nACGTNNacgt\nRYKM\n>chr2:11-14\nACGT\n"
        index = b"chr1\t14\t12\t10\t11\nchr2:11-14\t4\t40\t4\t5\n"
        return [
            *(mode + text for mode in (b"-", b"z")),
            b"-" + text.replace(b"\n", b"\r\n"),
            b"-" + text + BETWEEN + index,
            b"z" + text + BETWEEN + index + BETWEEN + bytes(8),
            b"r" + _bgzip(text),
            b"r" + _bgzip(text) + BETWEEN + index + BETWEEN + bytes(8),
        ]
    if target == "config":
        return [path.read_bytes() for path in sorted((ROOT / "config").glob("*.yaml"))]
    if target == "labels":
        keys = b"CLNSIG=Pathogenic|other;CLNREVSTAT=reviewed_by_expert_panel;GENEINFO=A:1|B:2"
        said = b"##fileDate=2026-01-04\n"
        return [
            b"c" + said + sites(record(10), record(11, info=keys.decode())),
            b"fvariant_id\ttissue\tgene\tpip\nchr1_13550_G_A_b38\tLiver\tA\t0.95\n"
            b"chr1_9_G_A_b38\tLiver\tA\t0.001\n",
            b"pvariant_id\tgene_id\tslope\tpval_nominal\nchr1_13550_G_A_b38\tA\t-0.5\t1e-9\n",
            b"tchrom\tpos\tref\talt\tlabel\tgroup\teffect\nchr1\t5\tA\tC\t1\tg\t0.5\n1\t7\tA\tC\t0\tg\t\n",
        ]
    if target == "store":
        size = len(_sound_store()[0][_CONTIG])
        middle = (size // 2).to_bytes(3)
        return [
            b"a",
            b"a" + middle + b"\x01\x00",
            b"a" + middle + b"\x00\x00",
            b"i\x00\x01\x40\x02\xff\xff",
            b"s\x00\x00\x30\x01Z",
            b"S\x00\x00\x05\x03xyz",
        ]
    whole = (CHECKPOINT / "model.safetensors").read_bytes()
    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    tensors = [key for key in header if "layer.0." in key or "embeddings" in key]
    text = (CHECKPOINT / "config.json").read_bytes()
    return [
        text,
        *(f"{key}={json.dumps(value)}".encode() for key, value in json.loads(text).items()),
        *(
            b"".join((BETWEEN, key.encode(), b"=", json.dumps(header[key]).encode()))
            for key in tensors
        ),
    ]


def _bgzip(text: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "packed.gz"
        with bgzip_writer(path) as write_packed:
            write_packed([text])
        return path.read_bytes()


def _plain_bcf(text: bytes) -> bytes:
    """A VCF as BCF, not compressed."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.vcf", Path(folder) / "out.bcf"
        source.write_bytes(text)
        with (
            pysam.VariantFile(str(source)) as read,
            pysam.VariantFile(str(target), "wb", header=read.header) as written,
        ):
            for one in read:
                written.write(one)
        return gzip.decompress(target.read_bytes())
