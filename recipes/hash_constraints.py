"""constraints.txt -> constraints-hashes.txt: the sha256 of every file that pip may install.

    python recipes/hash_constraints.py DOWNLOADS

Run it after each change of constraints.txt. It downloads every pinned file but torch's for Linux
x86-64 and each Python that pyproject.toml allows, half a gigabyte, into the folder; what is there
already is not fetched again.
"""

import hashlib
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
GLIBC = ("_2_28", "_2_27", "_2_26", "_2_24", "_2_17", "2014", "_2_12", "2010", "_2_5", "1")
# These have no wheel: pip builds them from their sources.
SOURCES = ("connection_pool",)
# Its files are of one CPU or CUDA build each; docs/dependencies.md tells.
WITHOUT = ("torch",)
HEAD = """\
# The pins of constraints.txt with the sha256 of every file for Linux x86-64, Python 3.11 to 3.13;
# without torch, see docs/dependencies.md. Made by recipes/hash_constraints.py.
# pip install --require-hashes --no-deps -r constraints-hashes.txt
"""


def download(pins: list[str], folder: Path) -> None:
    """Fetch the files of all pins, for every Python."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder)]
    platforms = [f"--platform=manylinux{glibc}_x86_64" for glibc in GLIBC]
    sources = [pin for pin in pins if pin.split("==")[0] in SOURCES]
    wheels = [pin for pin in pins if pin not in sources]
    for python in PYTHONS:
        only = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
        subprocess.run([*pip, *only, *platforms, *wheels], check=True)
    subprocess.run([*pip, "--no-binary=:all:", *sources], check=True)


def main() -> None:
    """Download, hash, write."""
    folder = Path(sys.argv[1])
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if "==" in line and not line.startswith("#")]
    pins = [pin for pin in pins if pin.split("==")[0] not in WITHOUT]
    download(pins, folder)
    hashes = defaultdict(list)
    for path in sorted(folder.iterdir()):
        parse = parse_wheel_filename if path.suffix == ".whl" else parse_sdist_filename
        name, version = parse(path.name)[:2]
        hashes[name, version].append(hashlib.sha256(path.read_bytes()).hexdigest())
    entries = []
    for pin in pins:
        name, version = pin.split("==")
        found = sorted(hashes[canonicalize_name(name), Version(version)])
        entries.append(" \\\n".join([pin, *(f"    --hash=sha256:{one}" for one in found)]))
    (ROOT / "constraints-hashes.txt").write_text(HEAD + "\n".join(entries) + "\n")


if __name__ == "__main__":
    main()
