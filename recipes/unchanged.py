"""Make tests/unchanged: what ntvep 0.1 (commit af9637b) wrote, before it knew more than one family.

    git worktree add ../first af9637b && cd ../first
    PYTHONPATH=. python ../ntvep/recipes/unchanged.py ../ntvep/tests/unchanged

Run it with that commit and no other: the files say what no later change may move. Half of the
records are the demo's odd ones (statuses, indels, contig ends), half are real common variants.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "ntvep" / "demo" / "chr22_20012478_20215143.grch38.fa.gz"
MODELS = {"demo": "demo", "v1": "tests/golden/v1", "v2": "tests/golden/v2"}
RECORDS = 60


def variants(folder: Path) -> Path:
    """A part of the demo's VCF: its first records, which are odd, and others from all of it."""
    lines = (ROOT / "ntvep" / "demo" / "demo.vcf").read_text().splitlines(keepends=True)
    header = [line for line in lines if line.startswith("#")]
    records = [line for line in lines if not line.startswith("#")]
    odd = [line for line in records if "SOURCE=odd" in line]
    others = [line for line in records if "SOURCE=odd" not in line]
    chosen = odd + others[:: len(others) // RECORDS]
    path = folder / "variants.vcf"
    path.write_text("".join(header + chosen))
    return path


def main(folder: Path) -> None:
    """Score with every model and number of views; the demo also into a cache."""
    folder.mkdir(exist_ok=True)
    source = variants(folder)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    for name, model in MODELS.items():
        for views in ("1", "2", "12"):
            window = [] if (name, views) == ("v2", "1") else ["--window-tokens", "40"]
            cache = ["--cache", str(folder / "cache")] if (name, views) == ("demo", "2") else []
            output = folder / f"{name}_{views}.vcf.gz"
            subprocess.run(
                [
                    "ntvep", "score", str(source), "-r", str(REFERENCE), "-m", str(ROOT / model)
                    if model != "demo" else "demo", "-o", str(output), "--table",
                    str(folder / f"{name}_{views}.parquet"), "--views", views, "--device", "cpu",
                    "--precision", "fp32", "--quiet", "--force", *window, *cache,
                ],
                check=True,
            )  # fmt: skip
            for aside in (f"{output}.summary.json", f"{output}.tbi", f"{output}.csi"):
                Path(aside).unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
