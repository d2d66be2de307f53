"""this machine and the files of a run -> whether a run can start, or what to type first."""

import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import polars as pl
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ntvep.cache_dir import cache_dir
from ntvep.defaults import DEFAULT_MISMATCH_LIMIT
from ntvep.errors import InputError, NtvepError, some
from ntvep.schema import ALLELES, LABELS

# What may be missing or broken, torch for instance, is imported by the check that needs it: to find
# that out is what this command is for.

State = Literal["ok", "warn", "FAIL"]

# With the sources, not with an installed package.
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
_AGAIN = "pip install -c constraints.txt '.[workflow,report]'"
# An annotated VCF of a genome and its table are a few GB; below the second nothing useful fits.
_ROOM_BYTES, _NO_ROOM_BYTES = 5e9, 1e8
# Weights on their way into memory exist about twice.
_MEMORY_PER_WEIGHT = 2.0
# Length of chromosome 1, which tells human assemblies apart.
_ASSEMBLIES = {248_956_422: "GRCh38", 249_250_621: "GRCh37", 248_387_328: "T2T-CHM13"}


@dataclass(frozen=True)
class Check:
    """One thing that a run needs.

    Attributes:
        name: what was looked at.
        state: ``ok``; ``warn``, a run may start; ``FAIL``, it cannot.
        found: what there is.
        next: what to type or do about it; empty where ``found`` says it, or all is well.
    """

    name: str
    state: State
    found: str
    next: str = ""


@dataclass(frozen=True)
class Files:
    """What a run is made of; what is None is not looked at."""

    vcf: Path | None = None
    reference: Path | None = None
    model: str | None = None
    labels: Path | None = None


def examine(files: Files, device: str = "auto") -> list[Check]:
    """Look at everything that a run needs, in the order in which one puts it in place."""
    checks: Sequence[tuple[str, Callable[[], Iterator[Check]]]] = (
        ("python", _python),
        ("packages", _packages),
        ("device", lambda: _device(device)),
        ("memory", _memory),
        ("disk", _disk),
        ("slurm", _slurm),
        ("model", lambda: _model(files.model)),
        ("reference", lambda: _reference(files.reference)),
        ("vcf", lambda: _variants(files.vcf, files.reference)),
        ("labels", lambda: _labels(files.labels, files.reference)),
    )
    found: list[Check] = []
    for name, look in checks:
        try:
            found += look()
        except (NtvepError, OSError) as error:
            found.append(Check(name, "FAIL", str(error)))
        except ImportError as error:
            found.append(Check(name, "FAIL", f"cannot be inspected: {error}", _AGAIN))
    return found


def is_ready(checks: Sequence[Check]) -> bool:
    """Whether a run can start."""
    return all(check.state != "FAIL" for check in checks)


def to_text(checks: Sequence[Check], files: Files) -> str:
    """A line each for people, and what to type now."""
    lines = []
    for check in checks:
        then = f". Next: {check.next}" if check.next else ""
        lines.append(f"{check.state:<5} {check.name:<10} {check.found}{then}")
    return "\n".join([*lines, _verdict(checks, files)])


def to_json(checks: Sequence[Check]) -> str:
    """The same for programs."""
    content = {"ready": is_ready(checks), "checks": [asdict(check) for check in checks]}
    return json.dumps(content, indent=2)


def _verdict(checks: Sequence[Check], files: Files) -> str:
    failed = [check.name for check in checks if check.state == "FAIL"]
    if failed:
        return f"not ready: {', '.join(failed)}"
    if files.vcf is None or files.reference is None or files.model is None:
        return (
            "this machine is ready; with your files: ntvep doctor IN.vcf -r REFERENCE.fa -m MODEL"
        )
    words = ("ntvep", "score", files.vcf, "-r", files.reference, "-m", files.model)
    return f"ready: {shlex.join(map(str, words))} -o scored.vcf.gz"


def _python() -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Check("python", "ok", found)
    else:
        yield Check("python", "FAIL", f"{found}; expected 3.11 to 3.13", "make PYTHON=python3.11")


def _packages() -> Iterator[Check]:
    """Each requirement against what is installed, and that against what was tested."""
    pins = _pins(CONSTRAINTS) if CONSTRAINTS.is_file() else {}
    wanted = [Requirement(line) for line in requires("ntvep") or ()]
    wanted = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    problem = False
    for requirement in wanted:
        again = f"pip install -c constraints.txt '{requirement.name}{requirement.specifier}'"
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Check("packages", "FAIL", f"{requirement.name} is not installed", again)
            problem = True
            continue
        pin = pins.get(canonicalize_name(requirement.name))
        if not requirement.specifier.contains(found, prereleases=True):
            text = f"{requirement.name} {found}; expected {requirement.specifier}"
            yield Check("packages", "FAIL", text, again)
            problem = True
        # A CUDA build of the same version is 2.13.0+cu130.
        elif pin and found.partition("+")[0] != pin:
            text = f"{requirement.name} {found}; tested with {pin}"
            yield Check("packages", "warn", text, _AGAIN)
            problem = True
    if not problem:
        tested = ", as in constraints.txt" if pins else ""
        yield Check("packages", "ok", f"ntvep {version('ntvep')}, {len(wanted)} others{tested}")


def _pins(constraints: Path) -> dict[str, str]:
    lines = constraints.read_text("utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): pin for name, pin in pairs}


def _device(name: str) -> Iterator[Check]:
    from ntvep.models.device import describe, resolve_devices

    device, *others = resolve_devices(name)
    check = Check("device", "ok", describe(device))
    if device.type == "cpu" and name == "auto":
        driver = shutil.which("nvidia-smi")
        found = "there is an NVIDIA driver, but torch cannot use it: " if driver else "no GPU: "
        then = (
            "install the CUDA build of torch that the README names"
            if driver
            else "run on a node with a GPU, or expect a slow run (demo and "
            "small models run well on a CPU)"
        )
        check = replace(check, state="warn", found=found + check.found, next=then)
    yield check
    for other in others:
        yield Check("device", "ok", describe(other))


def _memory() -> Iterator[Check]:
    yield Check("memory", "ok", f"{_memory_bytes() / 1e9:.1f} GB")


def _memory_bytes() -> int:
    """Bytes that this process may have: of the machine, or of the container or job it runs in."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = Path(path).read_text("ascii") if Path(path).is_file() else ""
        limits += [int(number) for number in re.findall(r"\d+", text)]
    return min(limits)


def _disk() -> Iterator[Check]:
    cache = cache_dir()
    kept = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    folders: Sequence[tuple[str, Path, State]] = (
        ("here, for results", Path.cwd(), "FAIL"),
        # Models that are there can be read by everybody; only ntvep model fetch writes.
        (f"for models, in {cache}", kept, "warn"),
    )
    for what, folder, unwritable in folders:
        try:
            # As root, permissions say yes where the file system says no.
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            found = f"cannot write to {folder} ({error.strerror}), {what}"
            yield Check("disk", unwritable, found, "use another folder (models: set NTVEP_HOME)")
            continue
        free = shutil.disk_usage(folder).free
        state: State = "ok" if free > _ROOM_BYTES else "warn" if free > _NO_ROOM_BYTES else "FAIL"
        then = "" if state == "ok" else "free space, or use another folder (models: set NTVEP_HOME)"
        yield Check("disk", state, f"{free / 1e9:.1f} GB free {what}", then)


def _slurm() -> Iterator[Check]:
    """Nothing to report on a machine outside a Slurm cluster."""
    if shutil.which("sbatch") is None:
        return
    plugin = "snakemake-executor-plugin-slurm"
    try:
        yield Check("slurm", "ok", f"{plugin} {version(plugin)}")
    except PackageNotFoundError:
        then = f"pip install -c constraints.txt {plugin}"
        yield Check("slurm", "warn", f"sbatch is here, {plugin} is not", then)


def _model(model: str | None) -> Iterator[Check]:
    if model is None:
        return
    from ntvep.models.checkpoint import read_checkpoint
    from ntvep.models.hub import licence, locate

    source = locate(model)
    checkpoint = read_checkpoint(source.folder)
    yield Check(
        "model",
        "ok",
        f"{source.model_id}: {checkpoint.family.title}, {checkpoint.parameters:,} parameters, "
        f"windows of {checkpoint.description.default_bases:,} bases; licence: {licence(source)}",
    )
    needed = _MEMORY_PER_WEIGHT * 4 * checkpoint.parameters
    if needed > _memory_bytes():
        found = f"{_memory_bytes() / 1e9:.1f} GB; loading this model takes {needed / 1e9:.1f} GB"
        yield Check("memory", "warn", found, "request more memory, or use a smaller model")


def _reference(path: Path | None) -> Iterator[Check]:
    if path is None:
        return
    from ntvep.io.fasta import open_reference

    genome = open_reference(path)
    first = genome.lengths(["chr1"]).get("chr1")
    assembly = f", {_ASSEMBLIES[first]}" if first in _ASSEMBLIES else ""
    bases = sum(r.span.stop - r.span.start for part in genome.records.values() for r in part)
    found = f"{path}: {len(genome.records)} contigs, {bases:,} bases{assembly}"
    yield Check("reference", "ok", found)


def _variants(vcf: Path | None, reference: Path | None, name: str = "vcf") -> Iterator[Check]:
    if vcf is None:
        return
    from ntvep.commands.inputs import judge_assembly
    from ntvep.io.fasta import open_reference
    from ntvep.io.vcf import opened

    with opened(vcf) as inspection:
        found = f"{vcf}: {inspection.records:,} records"
        if reference is None:
            yield _unmatched(name, found)
            return
        genome = open_reference(reference)
        judge_assembly(inspection, genome, DEFAULT_MISMATCH_LIMIT)
        if inspection.contigs and not any(map(genome.contig, inspection.contigs)):
            known = f"{some(inspection.contigs, 3)} beside {some(genome.records, 3)}"
            then = "give the reference that the variants were called against"
            yield Check(name, "FAIL", f"{found}, none on a contig of the reference ({known})", then)
            return
    yield Check(name, "ok", f"{found}, of the reference's assembly")


def _labels(labels: Path | None, reference: Path | None) -> Iterator[Check]:
    """A VCF, or a table with the key columns of LABELS."""
    if labels is None:
        return
    if labels.suffix != ".parquet":
        yield from _variants(labels, reference, "labels")
        return
    from ntvep.commands.inputs import judge_alleles
    from ntvep.io.fasta import open_reference

    key = [column.name for column in LABELS[:4]]
    try:
        table = pl.read_parquet(labels, columns=key)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{labels}: cannot be read ({error}); expected Parquet with columns {', '.join(key)}"
        ) from error
    found = f"{labels}: {table.height:,} alleles"
    if reference is None:
        yield _unmatched("labels", found)
        return
    judge_alleles(
        str(labels),
        table["chrom"].unique().to_list(),
        table.height,
        map(_as_alleles, table.iter_slices(1_000)),
        open_reference(reference),
        DEFAULT_MISMATCH_LIMIT,
    )
    yield Check("labels", "ok", f"{found}, of the reference's assembly")


def _as_alleles(labels: pl.DataFrame) -> pl.DataFrame:
    from ntvep.io.vcf import text_status

    statuses = [text_status(ref, alt) for ref, alt in labels.select("ref", "alt").iter_rows()]
    given = labels.with_row_index("record").with_columns(allele=1, status=pl.Series(statuses))
    return given.select(pl.col(column.name).cast(column.dtype) for column in ALLELES)


def _unmatched(name: str, found: str) -> Check:
    then = "give --reference to check that the assembly is the same"
    return Check(name, "warn", found, then)
