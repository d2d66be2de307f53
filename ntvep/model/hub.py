from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    folder: Path
    model_id: str
    revision: str | None


def locate(model: str) -> Source:
    folder = Path(__file__).parents[1] / "demo" / "model" if model == "demo" else Path(model)
    return Source(folder, "ntvep-demo" if model == "demo" else folder.name, None)
