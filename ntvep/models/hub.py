"""model name -> checkpoint folder and licence on this machine: no network (``fetch`` has one)."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ntvep.cache_dir import cache_dir
from ntvep.errors import ModelError

_DEMOS = Path(__file__).parents[1] / "demo"
# Models that come with ntvep: a small GPN, and a small Nucleotide Transformer.
EMBEDDED = {"demo": _DEMOS / "gpn", "demo-6mer": _DEMOS / "model"}
# As the hub itself has it, so that a mistyped path is not taken for an id.
MODEL_ID = re.compile(r"(?!.*(--|\.\.|\.git$))\b[\w.-]+\b/\b[\w.-]{1,96}\b", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
# What a fetched folder says of itself.
RECORD = "ntvep.json"
_REVISION = re.compile(r"(?!.*\.\.)[\w./-]+", re.ASCII)
_NT_LICENCE = "CC BY-NC-SA 4.0: non-commercial use only"


@dataclass(frozen=True)
class Source:
    """Where a checkpoint lies.

    Attributes:
        folder: in Hugging Face layout.
        model_id: hub id, or the folder's name.
        revision: commit of the hub, if known.
    """

    folder: Path
    model_id: str
    revision: str | None


def locate(model: str) -> Source:
    """Find a checkpoint on this machine; never asks a network.

    Args:
        model: ``demo``, ``demo-6mer``, a folder, or a hub id (``org/name``,
            ``org/name@revision``) that :func:`ntvep.models.fetch.fetch` has put in place or
            that lies in Hugging Face's own cache.

    Raises:
        ModelError: there is none; says what to type.
    """
    if model in EMBEDDED:
        return Source(EMBEDDED[model], f"ntvep-{model}", None)
    folder = Path(model)
    if model and folder.is_dir():
        refuse_links_outside(folder)
        record = read_record(folder)
        return Source(folder, record.get("model_id", folder.resolve().name), record.get("revision"))
    model_id, at, revision = model.partition("@")
    if not MODEL_ID.fullmatch(model_id) or (at and not _REVISION.fullmatch(revision)):
        raise ModelError(
            f"{model}: neither a folder nor a hub id; expected demo, a checkpoint folder, or an id "
            "such as InstaDeepAI/nucleotide-transformer-500m-human-ref"
        )
    found = _fetched(model_id, revision or None) or _cached(model_id, revision or None)
    if found is None:
        raise ModelError(
            f"{model}: no such folder, and a model of that hub id is not on this machine; scoring "
            f"never downloads. On a machine with a network type: ntvep model fetch {model_id}"
            + (f" --revision {revision}" if revision else "")
            + f" (it goes into {cache_dir()}; set NTVEP_HOME to a folder that all nodes see)"
        )
    return found


def licence(source: Source) -> str:
    """The licence that a model card states, or stated when it was fetched.

    For NT models without a card it is the published one.
    """
    card = source.folder / "README.md"
    if card.is_file():
        text = card.read_text("utf-8", "replace")
        head = text.split("\n---", 1)[0] if text.startswith("---") else ""
        if name := _stated(head, "license"):
            if name.lower() == "other":
                # The hub's word for what is in its list under no name.
                name = "other: " + (_stated(head, "license_name") or "see its card, README.md")
            return _NT_LICENCE if name.lower() == "cc-by-nc-sa-4.0" else name
    if recorded := read_record(source.folder).get("licence"):
        return str(recorded)
    if "nucleotide-transformer" in source.model_id:
        return _NT_LICENCE
    return "unknown: ask whoever gave you the weights"


def _stated(head: str, field: str) -> str:
    """A field of a model card's head; empty if it is not there."""
    found = re.search(rf"^{field}:[ \t]*(\S.*)$", head, re.MULTILINE)
    return found[1].strip().strip("\"'") if found else ""


# Places -------------------------------------------------------------------------------------------


def models_folder(model_id: str) -> Path:
    """Where the commits of a model that were fetched lie, a folder each."""
    return cache_dir() / "models" / model_id.replace("/", "--")


def _fetched(model_id: str, revision: str | None) -> Source | None:
    if not models_folder(model_id).is_dir():
        return None
    found = [
        folder
        for folder in models_folder(model_id).iterdir()
        if COMMIT.fullmatch(folder.name) and _is_at(folder, revision)
    ]
    if not found:
        return None
    newest = max(found, key=lambda folder: (folder.stat().st_mtime_ns, folder.name))
    return Source(newest, model_id, newest.name)


def _is_at(folder: Path, revision: str | None) -> bool:
    """Whether a fetched commit is the one meant: any, by its first digits, or by a name."""
    if revision is None or (len(revision) >= 7 and folder.name.startswith(revision)):
        return True
    return revision in read_record(folder).get("names", [])


def _cached(model_id: str, revision: str | None) -> Source | None:
    """A snapshot in Hugging Face's own cache, which other tools fill."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = snapshot_download(model_id, revision=revision, local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{model_id}: Hugging Face's cache cannot be read ({error})") from error
    return Source(Path(path), model_id, Path(path).name)


def read_record(folder: Path) -> dict[str, Any]:
    """What was recorded when a folder was fetched or converted; empty if nothing was.

    Raises:
        ModelError: the record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: damaged ({error}); remove it, or fetch the model again"
        ) from error
    if not isinstance(record, dict):
        raise ModelError(f"{path}: expected a JSON object; remove it, or fetch the model again")
    return record


def refuse_links_outside(folder: Path) -> None:
    """Raise ModelError if a file of a model's folder is a link to somewhere else."""
    root = folder.resolve()
    # A snapshot of Hugging Face's cache is made of links into the blobs beside it.
    if root.parent.name == "snapshots" and (root.parent.parent / "blobs").is_dir():
        root = root.parent.parent
    for path in folder.iterdir():
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise ModelError(
                f"{path}: links out of the model's folder; expected the file itself. Copy it there"
            )
