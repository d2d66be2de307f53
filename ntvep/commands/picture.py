"""SCORES of a scanned region -> its picture: ``ntvep picture``."""

from pathlib import Path

from ntvep.errors import ConfigError
from ntvep.evaluate.scan_picture import draw
from ntvep.io.staging import staged
from ntvep.io.tables import read_scores


def draw_scan(scores: Path, output: Path, *, score: str, force: bool = False) -> None:
    """Draw a heat map and a logo of a region as SVG; see :func:`draw`."""
    if output.suffix != ".svg":
        raise ConfigError(f"--output {output}: expected a name that ends in .svg")
    with staged([output], force=force) as staging:
        picture = draw(read_scores(scores), score)
        staging.path(output).write_text(picture, encoding="utf-8")
