"""What tests of whole runs share: a few records of the demo, and commands as a user types them."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

REFERENCE = ROOT / "ntvep" / "demo" / "chr22_20012478_20215143.grch38.fa.gz"
DEMO = ROOT / "ntvep" / "demo" / "demo.vcf"
# The commands of this Python, and this checkout's code, wherever ntvep was installed from.
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
}


def without_network():
    """What to put before a command so that it has no network at all; nothing where that cannot be.

    As root in a network namespace of its own; as another user in a user namespace too.
    """
    for words in (["unshare", "--net"], ["unshare", "--user", "--map-current-user", "--net"]):
        try:
            if subprocess.run([*words, "true"], capture_output=True).returncode == 0:
                return words
        except FileNotFoundError:
            break
    return []


NO_NETWORK = without_network()


def run(*command, folder, check=True, network=False):
    """Run a command in a folder, without a network unless it has to fetch; fails with its words."""
    done = subprocess.run(
        [*([] if network else NO_NETWORK), *map(str, command)],
        cwd=folder,
        env=ENVIRONMENT,
        text=True,
        capture_output=True,
    )
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done


def snakemake(folder, *arguments, check=True, network=False):
    """Run the workflow on this machine."""
    main = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "--cores", "2"]
    return run(*main, *arguments, folder=folder, check=check, network=network)


def few_records(path, count):
    """A VCF of this many of the demo's records, next to its odd ones."""
    lines = DEMO.read_text().splitlines(keepends=True)
    header = [line for line in lines if line.startswith("#")]
    records = [line for line in lines if not line.startswith("#")]
    odd = [line for line in records if "SOURCE=odd" in line]
    some = sorted([*odd, *records[100 : 100 + count]], key=records.index)
    path.write_text("".join(header + some))


def annotated(path):
    """The lines of an annotated VCF, without the two that say what command wrote it."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    return [line for line in lines if not line.startswith("##ntvep_")]
