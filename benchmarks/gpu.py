"""A card -> benchmarks/gpu.md: what it can do, and what of that ntvep reaches, part by part.

    make gpu                             # all parts, each in a process of its own
    make gpu PARTS="ceilings saturation" # some; each takes 8 minutes at most
    make gpu GPU_PYTHON=python3          # the Python that has a CUDA build of torch

A part adds its table under its heading in ``benchmarks/gpu.md``, with the card, the driver and the
release of torch. Weights are random, in published shapes, and made on the card; bases and variants
come from the repository: nothing is fetched. ``tests`` needs pytest, ``ceilings`` torch alone, and
``steps-...`` numpy and jaxtyping beside it; what scores from VCF to VCF needs what ntvep needs.

Without a card everything is run at tiny sizes on the CPU, as a rehearsal, and nothing is written.
"""

import argparse
import datetime
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTES = Path(__file__).parent / "gpu.md"
NOT_RUN = "Not run."
# Seconds: of one part, whatever it does.
LIMIT = 480
# Name -> its heading in the notes.
PARTS = {
    "tests": "GPU tests: precisions, --deterministic, out of memory, two processes on one card",
    "ceilings": "Ceilings: matrix products, attention, memory",
    "precision": "Precision on the card, against float64",
    "saturation": "NT-500m: every SNV of a region, llr",
    "dense": "NT-500m: a list as dense as ClinVar, SNVs and indels",
    "sparse": "NT-500m: a sparse list",
    "families": "Other families",
    "steps-batches": "Step: larger batches",
    "steps-waits": "Step: nothing waits for a copy",
    "steps-attention": "Step: kernels of attention",
    "steps-qkv": "Step: one product for queries, keys and values",
    "steps-compile": "Step: torch.compile of a block, constant lengths",
    "steps-autotune": "Step: the same, the kernels of products chosen by measurement",
    "steps-graphs": "Step: torch.compile of the encoder in one piece, CUDA graphs",
}
# Packages without which a part cannot run.
_SCORING = ("numpy", "jaxtyping", "polars", "pyarrow", "pysam", "safetensors", "tokenizers")
NEEDS = {
    "tests": (*_SCORING, "pytest", "beartype"),
    "ceilings": (),
    **dict.fromkeys(("precision", "saturation", "dense", "sparse", "families"), _SCORING),
}
_STEPS = ("numpy", "jaxtyping")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run parts; the exit status is 0 if all of them did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--notes", type=Path, help="add to this file instead")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="the card, where there is one")
    parser.add_argument("--here", action="store_true", help="in this process (one part)")
    given = parser.parse_args(arguments)
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"{unknown[0]} is not a part; expected some of {', '.join(PARTS)}")
    device = given.device or _device()
    notes = given.notes or (NOTES if device == "cuda" else None)
    if device == "cpu" and not given.here:
        print("no CUDA device: a rehearsal at tiny sizes on the CPU, which is not a measurement")
    failed = []
    for part in given.parts or PARTS:
        if given.here:
            text = _measured(part, device)
        elif missing := [name for name in NEEDS.get(part, _STEPS) if not _is_there(name)]:
            failed.append(part)
            print(f"{part}: this Python has no {', '.join(missing)}", flush=True)
            continue
        else:
            print(f"{part}: {PARTS[part]}", flush=True)
            text = _in_a_process(part, device)
        if text is None:
            failed.append(part)
            continue
        print(text, flush=True)
        if notes and not given.here:
            add(notes, part, f"{card(device)}\n\n{text}")
    if failed:
        print(f"not run, or failed: {', '.join(failed)}")
    return 1 if failed else 0


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _in_a_process(part: str, device: str) -> str | None:
    """What a part prints; None, said, if it fails or takes too long."""
    argv = [sys.executable, "-m", "benchmarks.gpu", "--here", "--device", device, part]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    try:
        done = subprocess.run(
            argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        print(f"{part}: stopped after {LIMIT} s, nothing is noted", flush=True)
        return None
    if done.returncode:
        print(f"{done.stdout}{part}: exit status {done.returncode}, nothing is noted", flush=True)
        return None
    return done.stdout.strip()


def _measured(part: str, device: str) -> str:
    """The tables of a part."""
    if part == "tests":
        return _tests(device)
    if part == "ceilings":
        from benchmarks import gpu_ceilings

        made = gpu_ceilings.tables(device)
    elif part.startswith("steps-"):
        from benchmarks import gpu_steps

        made = gpu_steps.tables(part.removeprefix("steps-"), device)
    else:
        from benchmarks import gpu_scores

        made = gpu_scores.tables(part, device)
    return "\n\n".join(table(heads, rows) for heads, rows in made)


def _tests(device: str) -> str:
    """The last line of the GPU tests; without a card each skips, and says so.

    Raises:
        SystemExit: one failed.
    """
    argv = [sys.executable, "-m", "pytest", "-q", "-rs", "-m", "gpu", "tests/gpu", "tests/models"]
    if device == "cpu":
        argv.append("--collect-only")
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stdout)
        raise SystemExit(done.returncode)
    lines = done.stdout.strip().splitlines()
    return "\n".join([*(line for line in lines if line.startswith("SKIPPED")), lines[-1]])


def table(heads: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def card(device: str) -> str:
    """The card, its driver, torch, the commit and the day, in one line."""
    import torch

    name = "CPU" if device == "cpu" else torch.cuda.get_device_name()
    parts = [name, f"driver {_driver()}"] if device == "cuda" else [name]
    parts.append(f"torch {torch.__version__}")
    if device == "cuda":
        parts.append(f"cuDNN {torch.backends.cudnn.version()}")
    if commit := _said(["git", "rev-parse", "--short", "HEAD"]):
        parts.append(f"commit {commit}")
    return f"**{', '.join([*parts, datetime.date.today().isoformat()])}**"


def _driver() -> str:
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return _said(asked).splitlines()[0] if _said(asked) else "unknown"


def _said(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def add(notes: Path, part: str, text: str) -> None:
    """Put a part's results under its heading, behind those of earlier runs."""
    heading = f"## {PARTS[part]}"
    whole = notes.read_text() if notes.exists() else "# On a card\n"
    if heading not in whole:
        whole += f"\n{heading}\n\n{NOT_RUN}\n"
    before, _, behind = whole.partition(f"{heading}\n")
    section = re.match(r"(?:(?!## ).*\n)*", behind)
    assert section is not None
    old = section.group().replace(f"{NOT_RUN}\n", "").strip()
    new = "\n\n".join(filter(None, [old, text]))
    rest = behind[section.end() :]
    notes.write_text(f"{before}{heading}\n\n{new}\n{'' if not rest else chr(10)}{rest}")


if __name__ == "__main__":
    sys.exit(main())
