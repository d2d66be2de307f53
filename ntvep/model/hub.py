"""model name -> checkpoint folder: the only room that may use a network, and only in ``fetch``."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ntvep.errors import ModelError
from ntvep.home import home

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parents[1] / "demo" / "model"
_HUB_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_TEXTS = (
    "config.json",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "README.md",
)
_SAFETENSORS, _PICKLES = "*.safetensors", "pytorch_model*.bin"
_RECORD = "ntvep.json"
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
        model: ``demo``, a folder, or a hub id (``org/name``, ``org/name@revision``) that
            :func:`fetch` has put in place or that lies in Hugging Face's own cache.

    Raises:
        ModelError: there is none; says what to type.
    """
    if model == DEMO:
        return Source(DEMO_FOLDER, "ntvep-demo", None)
    folder = Path(model)
    if folder.is_dir():
        _refuse_links_outside(folder)
        record = _read_record(folder)
        return Source(folder, record.get("model_id", folder.resolve().name), record.get("revision"))
    match = _HUB_ID.fullmatch(model)
    if not match:
        raise ModelError(
            f"{model}: no such folder, and no hub id; expected demo, a checkpoint folder, or an id "
            "such as InstaDeepAI/nucleotide-transformer-500m-human-ref"
        )
    found = _fetched(match["id"], match["revision"]) or _cached(match["id"], match["revision"])
    if found is None:
        raise ModelError(
            f"{model}: not on this machine; scoring never downloads. On a machine with a network "
            f"type: ntvep model fetch {match['id']}"
            + (f" --revision {match['revision']}" if match["revision"] else "")
            + f" (it goes into {home()}; set NTVEP_HOME to a folder that all nodes see)"
        )
    return found


def fetch(model: str, revision: str | None = None, *, endpoint: str | None = None) -> Source:
    """Download a checkpoint at one commit, verify it, convert a pickle, and put it in place.

    A download that was interrupted goes on where it stopped. Nothing is seen under the final name
    before every file has the size and checksum that the hub states and the model has been read.

    Args:
        model: hub id; or a folder that holds only ``pytorch_model.bin``, which is then converted.
        revision: commit, tag or branch; the newest commit of the main branch if None.
        endpoint: of the hub; Hugging Face's own (or ``$HF_ENDPOINT``) if None.

    Raises:
        ModelError: the hub does not answer or refuses, a file is damaged, or it is no model.
    """
    if Path(model).is_dir():
        return _convert_in_place(Path(model))
    if not _HUB_ID.fullmatch(model) or "@" in model:
        raise ModelError(
            f"{model}: expected a hub id such as org/name, and --revision apart from it"
        )
    from huggingface_hub import HfApi

    with _hub_errors(model, revision):
        info = HfApi(endpoint=endpoint).model_info(model, revision=revision, files_metadata=True)
    commit = str(info.sha)
    final = _folder(model) / commit
    if final.is_dir():
        return Source(final, model, commit)
    wanted = _wanted(model, info.siblings or [])
    partial = final.with_name(f"{commit}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    _refuse_full_disk(partial, sum(file.size or 0 for file in wanted))
    for file in wanted:
        _download(model, commit, file, partial, endpoint)
    _finish(partial, {"model_id": model, "revision": commit})
    partial.rename(final)
    return Source(final, model, commit)


def licence(source: Source) -> str:
    """The licence that a model card states; for NT models without a card, the published one."""
    card = source.folder / "README.md"
    if card.is_file():
        head = card.read_text("utf-8", "replace").split("\n---", 1)[0]
        if stated := re.search(r"^license:\s*(\S.*)$", head, re.MULTILINE):
            name = stated[1].strip().strip("\"'")
            return _NT_LICENCE if name.lower() == "cc-by-nc-sa-4.0" else name
    if "nucleotide-transformer" in source.model_id:
        return _NT_LICENCE
    return "unknown: ask whoever gave you the weights"


# Places -------------------------------------------------------------------------------------------


def _folder(model_id: str) -> Path:
    return home() / "models" / model_id.replace("/", "--")


def _fetched(model_id: str, revision: str | None) -> Source | None:
    if not _folder(model_id).is_dir():
        return None
    found = [
        folder
        for folder in _folder(model_id).iterdir()
        if folder.suffix != ".partial" and folder.name.startswith(revision or "")
    ]
    if not found:
        return None
    newest = max(found, key=lambda folder: (folder.stat().st_mtime_ns, folder.name))
    return Source(newest, model_id, newest.name)


def _cached(model_id: str, revision: str | None) -> Source | None:
    """A snapshot in Hugging Face's own cache, which other tools fill."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = snapshot_download(model_id, revision=revision, local_files_only=True)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
        return None
    return Source(Path(path), model_id, Path(path).name)


def _read_record(folder: Path) -> dict[str, Any]:
    record = folder / _RECORD
    if not record.is_file():
        return {}
    content: dict[str, Any] = json.loads(record.read_text("utf-8"))
    return content


def _refuse_links_outside(folder: Path) -> None:
    root = folder.resolve()
    # A snapshot of Hugging Face's cache is made of links into the blobs beside it.
    if root.parent.name == "snapshots" and (root.parent.parent / "blobs").is_dir():
        root = root.parent.parent
    for path in folder.iterdir():
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise ModelError(
                f"{path}: a link out of the model's folder; expected the file itself. Copy it there"
            )


# Downloading --------------------------------------------------------------------------------------


def _wanted(model: str, siblings: Sequence[Any]) -> list[Any]:
    """The files that we need: texts, and safetensors where there are any, else pickles."""
    by_name = {file.rfilename: file for file in siblings}
    weights = [f for name, f in by_name.items() if fnmatch(name, _SAFETENSORS)]
    weights = weights or [f for name, f in by_name.items() if fnmatch(name, _PICKLES)]
    lacking = [name for name in _TEXTS[:2] if name not in by_name]
    if lacking or not weights:
        raise ModelError(
            f"{model}: the repository lacks {', '.join(lacking) or 'weights'}; expected a "
            "Nucleotide Transformer (config.json, vocab.txt, safetensors or pytorch_model.bin)"
        )
    return [by_name[name] for name in _TEXTS if name in by_name] + weights


def _download(model: str, commit: str, file: Any, folder: Path, endpoint: str | None) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    path = folder / file.rfilename
    url = hf_hub_url(model, file.rfilename, revision=commit, endpoint=endpoint)
    # Not hf_hub_download: it throws away what had arrived when the process dies, gigabytes of it.
    with _hub_errors(model, commit), path.open("ab") as partial:
        http_get(
            url,
            partial,
            resume_size=partial.tell(),
            headers=build_hf_headers(),
            expected_size=file.size,
            displayed_filename=file.rfilename,
        )
    problem = _problem(path, file)
    if problem:
        path.unlink()
        raise ModelError(
            f"{model}: {file.rfilename} was damaged on its way ({problem}) and has been removed; "
            f"type again: ntvep model fetch {model}"
        )


def _problem(path: Path, file: Any) -> str | None:
    """What differs from what the hub states of a file, if anything does."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{size} bytes, expected {file.size}"
    if file.lfs is not None:
        found, expected = _sha256(path), file.lfs.sha256
    else:
        blob = b"blob %d\0" % size + path.read_bytes()
        found, expected = hashlib.sha1(blob, usedforsecurity=False).hexdigest(), file.blob_id
    return None if expected in (None, found) else f"checksum {found}, expected {expected}"


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < 2 * needed:
        raise ModelError(
            f"{folder}: {free / 1e9:.1f} GB free, but fetching and converting needs "
            f"{2 * needed / 1e9:.1f} GB; set NTVEP_HOME to a folder with more room"
        )


@contextmanager
def _hub_errors(model: str, revision: str | None) -> Iterator[None]:
    """Say in our words what a hub's refusal means."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{model}: access must be granted first; accept its licence on its page, then log in: "
            "hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"{model}: the hub has no such model, or it is private; check the id, or: hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{model}: has no revision {revision!r}; leave --revision out") from error
    # Whatever library carries the transfer, and its releases differ in that, has its own errors.
    except Exception as error:
        raise ModelError(
            f"{model}: the hub could not be reached, or broke off ({type(error).__name__}: "
            f"{_first_line(error)}). What has arrived is kept; type again: ntvep model fetch "
            f"{model}. On a cluster do it on a login node, with NTVEP_HOME set to a folder that "
            "all nodes see"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no reason given")


# Converting ---------------------------------------------------------------------------------------


def _convert_in_place(folder: Path) -> Source:
    if list(folder.glob(_SAFETENSORS)):
        raise ModelError(f"{folder}: has safetensors already; nothing to convert")
    _finish(folder, {"model_id": folder.resolve().name, "revision": None})
    return locate(str(folder))


def _finish(folder: Path, identity: Mapping[str, str | None]) -> None:
    """Convert pickles, prove that the model can be read, and record what it was made from."""
    from ntvep import tokens
    from ntvep.model.load import read_checkpoint

    pickles = sorted(folder.glob(_PICKLES))
    converted = {path.name: _sha256(path) for path in pickles}
    if pickles and not list(folder.glob(_SAFETENSORS)):
        _convert(folder, pickles)
    checkpoint, _ = read_checkpoint(folder)
    tokens.vocabulary(checkpoint.tokens)
    record = {**identity, "weights_sha256": checkpoint.weights_sha256, "converted_from": converted}
    (folder / _RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for path in pickles:
        path.unlink()


def _convert(folder: Path, pickles: Sequence[Path]) -> None:
    """Pickles to one safetensors file; ``weights_only``, so that no code in them can run."""
    import pickle

    import torch
    from safetensors.torch import save_file

    state: dict[str, Any] = {}
    for path in pickles:
        try:
            state |= torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise ModelError(
                f"{path}: holds more than weights, or is damaged ({_first_line(error)}); nothing "
                "in it was run. Get the model from a source that you trust"
            ) from error
    tensors = {key: value.clone().contiguous() for key, value in state.items()}
    partial = folder / "model.safetensors.partial"
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.rename(folder / "model.safetensors")
