"""model name -> checkpoint folder: the only room that may use a network, and only in ``fetch``."""

import errno
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ntvep.cache_dir import cache_dir
from ntvep.errors import ModelError

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parents[1] / "demo" / "model"
# As the hub itself has it, so that a mistyped path is not taken for an id.
_ID = re.compile(r"(?!.*(--|\.\.|\.git$))\b[\w.-]+\b/\b[\w.-]{1,96}\b", re.ASCII)
_REVISION = re.compile(r"(?!.*\.\.)[\w./-]+", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NEEDED = ("config.json", "vocab.txt")
_WELCOME = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "model.safetensors.index.json",
    "README.md",
    "LICENSE",
)
# The first of these that a repository has. No name holds a slash: a listing from elsewhere must
# not choose where we write.
_SAFETENSORS = (
    re.compile(r"model\.safetensors"),
    re.compile(r"model-\d+-of-\d+\.safetensors"),
)
_PICKLES = (re.compile(r"pytorch_model\.bin"), re.compile(r"pytorch_model-\d+-of-\d+\.bin"))
_RECORD = "ntvep.json"
_LOCK_SECONDS = 0.5
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)
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
    if model and folder.is_dir():
        _refuse_links_outside(folder)
        record = _read_record(folder)
        return Source(folder, record.get("model_id", folder.resolve().name), record.get("revision"))
    model_id, at, revision = model.partition("@")
    if not _ID.fullmatch(model_id) or (at and not _REVISION.fullmatch(revision)):
        raise ModelError(
            f"{model}: no such folder, and no hub id; expected demo, a checkpoint folder, or an id "
            "such as InstaDeepAI/nucleotide-transformer-500m-human-ref"
        )
    found = _fetched(model_id, revision or None) or _cached(model_id, revision or None)
    if found is None:
        raise ModelError(
            f"{model}: no such folder, and as a hub id not on this machine; scoring never "
            f"downloads. On a machine with a network type: ntvep model fetch {model_id}"
            + (f" --revision {revision}" if revision else "")
            + f" (it goes into {cache_dir()}; set NTVEP_HOME to a folder that all nodes see)"
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
    if model and Path(model).is_dir():
        return _convert_in_place(Path(model))
    if not _ID.fullmatch(model):
        raise ModelError(
            f"{model}: expected a hub id such as org/name, and --revision apart from it"
        )
    from huggingface_hub import HfApi

    with _hub_errors(model, revision):
        info = HfApi(endpoint=endpoint).model_info(model, revision=revision, files_metadata=True)
    commit = str(info.sha)
    if not _COMMIT.fullmatch(commit):
        raise ModelError(f"{model}: the hub states {commit!r} as its commit; expected 40 digits")
    final = _folder(model) / commit
    fetched = Source(final, model, commit)
    if final.is_dir() and not os.access(final, os.W_OK):
        return fetched
    with (
        _disk_errors(final.parent, "set NTVEP_HOME to a folder that you may write, with room"),
        _one_at_a_time(final.parent),
    ):
        if not final.is_dir():
            _fetch_commit(fetched, _wanted(model, info.siblings or []), endpoint)
        _remember(final, revision)
    return fetched


def licence(source: Source) -> str:
    """The licence that a model card states; for NT models without a card, the published one."""
    card = source.folder / "README.md"
    if card.is_file():
        text = card.read_text("utf-8", "replace")
        head = text.split("\n---", 1)[0] if text.startswith("---") else ""
        if stated := re.search(r"^license:[ \t]*(\S.*)$", head, re.MULTILINE):
            name = stated[1].strip().strip("\"'")
            return _NT_LICENCE if name.lower() == "cc-by-nc-sa-4.0" else name
    if "nucleotide-transformer" in source.model_id:
        return _NT_LICENCE
    return "unknown: ask whoever gave you the weights"


# Places -------------------------------------------------------------------------------------------


def _folder(model_id: str) -> Path:
    return cache_dir() / "models" / model_id.replace("/", "--")


def _fetched(model_id: str, revision: str | None) -> Source | None:
    if not _folder(model_id).is_dir():
        return None
    found = [
        folder
        for folder in _folder(model_id).iterdir()
        if _COMMIT.fullmatch(folder.name) and _is_at(folder, revision)
    ]
    if not found:
        return None
    newest = max(found, key=lambda folder: (folder.stat().st_mtime_ns, folder.name))
    return Source(newest, model_id, newest.name)


def _is_at(folder: Path, revision: str | None) -> bool:
    """Whether a fetched commit is the one meant: any, by its first digits, or by a name."""
    if revision is None or (len(revision) >= 7 and folder.name.startswith(revision)):
        return True
    return revision in _read_record(folder).get("names", [])


def _remember(folder: Path, revision: str | None) -> None:
    """Make this commit the newest fetched, and let the name it was asked for by lead to it."""
    record = _read_record(folder)
    names = {*record.get("names", []), *([revision] if revision else [])}
    partial = folder / f"{_RECORD}.partial"
    _write_record(partial, record | {"names": sorted(names)})
    partial.replace(folder / _RECORD)


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


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / _RECORD
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


def _write_record(path: Path, record: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


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


def _fetch_commit(source: Source, wanted: Sequence[Any], endpoint: str | None) -> None:
    """Download into a folder beside the final one, and rename it when all is proven."""
    partial = source.folder.with_name(f"{source.folder.name}.partial")
    partial.mkdir(exist_ok=True)
    arrived = {path.name: path.stat().st_size for path in partial.iterdir()}
    needed = sum(max(file.size - arrived.get(file.rfilename, 0), 0) for file in wanted)
    # A pickle and what it is converted to lie side by side for a moment.
    needed += sum(file.size for file in wanted if file.rfilename.endswith(".bin"))
    _refuse_full_disk(partial, needed)
    for file in wanted:
        _download(source, file, partial, endpoint)
    try:
        pickles = _finish(partial, source.model_id, source.revision)
    except ModelError as error:
        # What arrived is what the hub has: to fetch it again would not help.
        shutil.rmtree(partial)
        problem = str(error).replace(str(partial), source.model_id)
        raise ModelError(
            f"{source.model_id}: arrived whole, but ntvep cannot use it, and it has been removed: "
            f"{problem}"
        ) from error
    for path in pickles:
        path.unlink()
    partial.rename(source.folder)


def _wanted(model: str, siblings: Sequence[Any]) -> list[Any]:
    """The files that we need: texts, and safetensors where there are any, else pickles."""
    by_name = {file.rfilename: file for file in siblings}
    weights = _first_kind(by_name, (*_SAFETENSORS, *_PICKLES))
    lacking = [name for name in _NEEDED if name not in by_name]
    if lacking or not weights:
        raise ModelError(
            f"{model}: the repository lacks {', '.join(lacking) or 'weights'}; expected a "
            "Nucleotide Transformer (config.json, vocab.txt, safetensors or pytorch_model.bin)"
        )
    wanted = [by_name[name] for name in (*_NEEDED, *_WELCOME, *weights) if name in by_name]
    unsure = [f.rfilename for f in wanted if f.size is None or not (f.lfs or f.blob_id)]
    if unsure:
        raise ModelError(
            f"{model}: the hub states no size or checksum of {unsure[0]}, so that it could not be "
            "verified; fetch from huggingface.co itself"
        )
    return wanted


def _first_kind(names: Iterable[str], kinds: Sequence[re.Pattern[str]]) -> list[str]:
    found = ([n for n in sorted(names) if kind.fullmatch(n)] for kind in kinds)
    return next(filter(None, found), [])


def _download(source: Source, file: Any, folder: Path, endpoint: str | None) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    model, name = source.model_id, file.rfilename
    path = folder / name
    if path.exists() and path.stat().st_size > file.size:
        path.unlink()
    url = hf_hub_url(model, name, revision=source.revision, endpoint=endpoint)
    # Not hf_hub_download: it throws away what had arrived when the process dies, gigabytes of it.
    with _hub_errors(model, source.revision), path.open("ab") as partial:
        http_get(
            url,
            partial,
            resume_size=partial.tell(),
            headers=build_hf_headers(),
            expected_size=file.size,
            displayed_filename=name,
        )
    problem = _problem(path, file)
    if problem:
        path.unlink()
        raise ModelError(
            f"{model}: {name} was damaged on its way ({problem}) and has been removed; type again: "
            f"ntvep model fetch {model} --revision {source.revision}"
        )


def _problem(path: Path, file: Any) -> str | None:
    """What differs from what the hub states of a file, if anything does."""
    size = path.stat().st_size
    if size != file.size:
        return f"{size} bytes, expected {file.size}"
    if file.lfs is not None:
        found, expected = _sha256(path), file.lfs.sha256
    else:
        blob = b"blob %d\0" % size + path.read_bytes()
        found, expected = hashlib.sha1(blob, usedforsecurity=False).hexdigest(), file.blob_id
    return None if expected == found else f"checksum {found}, expected {expected}"


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ModelError(
            f"{folder}: {free / 1e9:.1f} GB free, but fetching and converting needs "
            f"{needed / 1e9:.1f} GB more; set NTVEP_HOME to a folder with more room"
        )


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two fetches of one model would write into the same files."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(folder / ".lock", timeout=_LOCK_SECONDS))
        except TimeoutError as error:
            raise ModelError(
                f"{folder}: another ntvep model fetch is writing here; wait until it has ended"
            ) from error
        yield


@contextmanager
def _disk_errors(folder: Path, advice: str) -> Iterator[None]:
    """Say in our words that a folder cannot be written."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL or "No space left" in str(error)
        what = "no room is left" if full else "cannot be written"
        raise ModelError(f"{folder}: {what} ({error.strerror or error}); {advice}") from error


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
    except errors.OfflineModeIsEnabled as error:
        raise ModelError(
            f"{model}: HF_HUB_OFFLINE forbids any download; type: unset HF_HUB_OFFLINE"
        ) from error
    # Whatever library carries the transfer, and its releases differ in that, has its own errors.
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (*_FULL, *_REFUSED):
            raise
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise ModelError(
                f"{model}: the hub refused ({status}: {_first_line(error)}); the model is "
                "private, or your login is not valid any more; log in again: hf auth login"
            ) from error
        raise ModelError(
            f"{model}: the hub could not be reached, or broke off ({type(error).__name__}: "
            f"{_first_line(error)}). What has arrived is kept; type again: ntvep model fetch "
            f"{model}. On a cluster do it on a login node, with NTVEP_HOME set to a folder that "
            "all nodes see"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")


# Converting ---------------------------------------------------------------------------------------


def _convert_in_place(folder: Path) -> Source:
    """Give a folder that holds a pickle its safetensors. The pickle is the user's, and stays."""
    if list(folder.glob("*.safetensors")):
        raise ModelError(f"{folder}: has safetensors already; nothing to convert")
    _refuse_links_outside(folder)
    record = _read_record(folder)
    with _disk_errors(folder, "copy the folder to where you may write, and convert the copy"):
        _finish(folder, record.get("model_id", folder.resolve().name), record.get("revision"))
    return locate(str(folder))


def _finish(folder: Path, model_id: str, revision: str | None) -> list[Path]:
    """Convert pickles, prove that the model can be read, and record what it was made from.

    Returns:
        The pickles, which are not needed any more.
    """
    from ntvep.models.checkpoint import read_checkpoint

    names = [path.name for path in folder.iterdir()]
    pickles = [folder / name for name in _first_kind(names, _PICKLES)]
    whole = folder / "model.safetensors"
    convert = bool(pickles) and not _first_kind(names, _SAFETENSORS)
    if convert:
        _convert(pickles, whole)
    try:
        checkpoint = read_checkpoint(folder)
    except BaseException:
        if convert:
            whole.unlink()
        raise
    kept = [path for path in sorted(folder.iterdir()) if _is_ours(path.name)]
    record = {
        "model_id": model_id,
        "revision": revision,
        "weights_sha256": checkpoint.weights_sha256,
        "files": {path.name: _sha256(path) for path in kept},
        "converted_from": {path.name: _sha256(path) for path in pickles},
        "made_with": {name: version(name) for name in ("huggingface_hub", "safetensors", "torch")},
    }
    _write_record(folder / _RECORD, record)
    return pickles


def _is_ours(name: str) -> bool:
    return name in (*_NEEDED, *_WELCOME) or any(kind.fullmatch(name) for kind in _SAFETENSORS)


def _convert(pickles: Sequence[Path], path: Path) -> None:
    """Pickles to one safetensors file; ``weights_only``, so that no code in them can run."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    state: dict[str, Any] = {}
    for pickle in pickles:
        state |= _unpickle(pickle)
    # Apart from each other, as safetensors has it: no two tensors share memory.
    tensors = {key: value.clone().contiguous() for key, value in state.items()}
    partial = path.with_name(f"{path.name}.partial")
    try:
        save_file(tensors, partial, metadata={"format": "pt"})
        # save_file lets nobody else read it; who may read the pickle may read this.
        shutil.copymode(pickles[0], partial)
        partial.rename(path)
    except SafetensorError as error:
        # That is how it says that a disk is full.
        raise OSError(_first_line(error)) from error
    finally:
        partial.unlink(missing_ok=True)


def _unpickle(path: Path) -> dict[str, Any]:
    import torch

    try:
        # Pickles of old releases of torch are no zip files, and cannot be mapped.
        state = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    # A damaged pickle can raise anything; what came of it is never used.
    except Exception as error:
        raise ModelError(
            f"{path}: holds more than weights, or is damaged ({_first_line(error)}); nothing in it "
            "was run. Get the model from a source that you trust"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ModelError(
            f"{path}: holds something else than named weights; expected a state dictionary, as "
            "published on the Hugging Face hub"
        )
    return dict(state)
