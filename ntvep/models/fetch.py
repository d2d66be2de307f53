"""hub id -> checkpoint folder in place: the only room of the models that uses a network."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ntvep.errors import ModelError, some
from ntvep.files import digest, is_full, is_refused, lacking_room, locked, place, write_json
from ntvep.models.convert import ConversionStoppedError, convert_apart, is_dropped
from ntvep.models.hub import (
    COMMIT,
    MODEL_ID,
    RECORD,
    Source,
    licence,
    locate,
    models_folder,
    read_record,
    refuse_links_outside,
)
from ntvep.models.layout import INDEXES, is_part, is_pickle, wanted_files

_WHOLE = "model.safetensors"
_NO_FOLDER = (FileNotFoundError, NotADirectoryError)
_log = logging.getLogger("ntvep")


def _read(folder: Path) -> None:
    """Read a model as scoring will."""
    from ntvep.models.checkpoint import read_checkpoint

    read_checkpoint(folder)


def fetch(
    model: str,
    revision: str | None = None,
    *,
    endpoint: str | None = None,
    read: Callable[[Path], object] = _read,
) -> Source:
    """Download a checkpoint at one commit, verify it, convert a pickle, and put it in place.

    A download that was interrupted goes on where it stopped. Nothing is seen under the final name
    before every file has the size and checksum that the hub states and the model has been read.
    Which files those are, :func:`ntvep.models.layout.wanted_files` tells.

    Args:
        model: hub id; or a folder that holds only a pickle, which is then converted.
        revision: commit, tag or branch; the newest commit of the main branch if None.
        endpoint: of the hub; Hugging Face's own (or ``$HF_ENDPOINT``) if None.
        read: reads a model's folder; what it refuses with a ModelError is not kept.

    Raises:
        ModelError: the hub does not answer or refuses, a file is damaged, or it is not a model.
    """
    if model and Path(model).is_dir():
        return _convert_in_place(Path(model), read)
    if not MODEL_ID.fullmatch(model):
        raise ModelError(
            f"{model}: expected a hub id such as org/name, and --revision apart from it"
        )
    info = _ask(model, revision, endpoint)
    commit = str(info.sha)
    if not COMMIT.fullmatch(commit):
        raise ModelError(f"{model}: the hub states {commit!r} as its commit; expected 40 digits")
    final = models_folder(model) / commit
    fetched = Source(final, model, commit)
    if final.is_dir() and not os.access(final, os.W_OK):
        return fetched
    advice = "set NTVEP_HOME to a folder that you may write, with room"
    with _disk_errors(final.parent, advice), _alone(final.parent):
        if not final.is_dir():
            _fetch_commit(fetched, info, endpoint, read)
        _remember(final, revision)
    return fetched


def _remember(folder: Path, revision: str | None) -> None:
    """Make this commit the newest fetched, and let the name it was asked for by lead to it."""
    record = read_record(folder)
    names = {*record.get("names", []), *([revision] if revision else [])}
    write_json(folder / RECORD, record | {"names": sorted(names)})


# Downloading --------------------------------------------------------------------------------------


def _ask(model: str, revision: str | None, endpoint: str | None) -> Any:
    """What the hub says of a model at a revision; a model that has moved is asked for there."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint)
    with _hub_errors(model, revision):
        info = api.model_info(model, revision=revision, files_metadata=True)
    if info.id == model:
        return info
    if not MODEL_ID.fullmatch(info.id):
        raise ModelError(f"{model}: the hub redirects to {info.id!r}; expected a hub id")
    _log.warning("%s: the hub now calls it %s; fetched from there", model, info.id)
    # A redirect may have lost what exactly was asked for.
    with _hub_errors(model, revision):
        return api.model_info(info.id, revision=info.sha, files_metadata=True)


def _fetch_commit(
    source: Source, info: Any, endpoint: str | None, read: Callable[[Path], object]
) -> None:
    """Download into a folder beside the final one, and rename it when all is proven."""
    wanted = _wanted(source.model_id, info.siblings or [])
    partial = source.folder.with_name(f"{source.folder.name}.partial")
    partial.mkdir(exist_ok=True)
    _remove_others(partial, {file.rfilename for file in wanted})
    arrived = {path.name: path.stat().st_size for path in partial.iterdir()}
    needed = sum(max(file.size - arrived.get(file.rfilename, 0), 0) for file in wanted)
    _refuse_full_disk(partial, needed + _room_to_convert({f.rfilename: f.size for f in wanted}))
    for file in wanted:
        _download(Source(partial, info.id, source.revision), file, source.model_id, endpoint)
    try:
        _finish(Source(partial, source.model_id, source.revision), read, hub_id=info.id)
    except ConversionStoppedError:
        raise
    except ModelError as error:
        # What arrived is what the hub has: to fetch it again would not help.
        shutil.rmtree(partial)
        problem = str(error).replace(str(partial), source.model_id)
        raise ModelError(
            f"{source.model_id}: was downloaded, but ntvep cannot use it; it was removed: {problem}"
        ) from error
    _remove_others(partial, {*_wanted_here(partial), RECORD})
    place(partial, source.folder)


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove what is not, or no longer, needed: converted pickles, what a killed process left."""
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _wanted(model: str, siblings: Sequence[Any]) -> list[Any]:
    """The files that we need, each with the size and the checksum that the hub states."""
    by_name = {file.rfilename: file for file in siblings}
    try:
        wanted = [by_name[name] for name in wanted_files(by_name)]
    except ValueError as error:
        raise ModelError(f"{model}: the repository {error}") from error
    unsure = [f.rfilename for f in wanted if f.size is None or not (f.lfs or f.blob_id)]
    if unsure:
        raise ModelError(
            f"{model}: the hub states no size or checksum of {unsure[0]}, so that it could not be "
            "verified; fetch from huggingface.co itself"
        )
    return wanted


def _download(source: Source, file: Any, asked: str, endpoint: str | None) -> None:
    """Download what is lacking of a file into ``source.folder``, and verify it."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    name = file.rfilename
    path = source.folder / name
    if path.exists() and path.stat().st_size > file.size:
        path.unlink()
    url = hf_hub_url(source.model_id, name, revision=source.revision, endpoint=endpoint)
    # Not hf_hub_download: it throws away what had arrived when the process dies, gigabytes of it.
    with _hub_errors(asked, source.revision), path.open("ab") as partial:
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
            f"{asked}: {name} was damaged in transit ({problem}) and has been removed; type again: "
            f"ntvep model fetch {asked} --revision {source.revision}"
        )


def _problem(path: Path, file: Any) -> str | None:
    """What differs from what the hub states of a file, if anything does."""
    size = path.stat().st_size
    if size != file.size:
        return f"{size} bytes, expected {file.size}"
    if file.lfs is not None:
        found, expected = digest(path), file.lfs.sha256
    else:
        blob = b"blob %d\0" % size + path.read_bytes()
        found, expected = hashlib.sha1(blob, usedforsecurity=False).hexdigest(), file.blob_id
    return None if expected == found else f"checksum {found}, expected {expected}"


# What can go wrong --------------------------------------------------------------------------------


def _room_to_convert(sizes: dict[str, int]) -> int:
    """Bytes that lie beside pickles until they are converted; parts are joined first."""
    return sum(size * (1 + is_part(name)) for name, size in sizes.items() if is_pickle(name))


def _refuse_full_disk(folder: Path, needed: int) -> None:
    if lacking := lacking_room(folder, needed):
        raise ModelError(
            f"{folder}: {lacking} to fetch and convert; set NTVEP_HOME to a folder with more room"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two fetches of one model would write into the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    busy = ModelError(
        f"{folder}: another ntvep model fetch is writing here; wait until it has ended"
    )
    with locked(folder / ".lock", busy) as held:
        if not held:
            _log.info("%s: this file system has no locks; run one fetch at a time", folder)
        yield


@contextmanager
def _disk_errors(folder: Path, advice: str) -> Iterator[None]:
    """Say in our words that a folder cannot be written."""
    try:
        yield
    except OSError as error:
        what = "no room is left" if is_full(error) else "cannot be written"
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
        if isinstance(error, OSError) and (
            is_full(error) or is_refused(error) or isinstance(error, _NO_FOLDER)
        ):
            raise
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            raise ModelError(
                f"{model}: the hub refused ({status}: {_first_line(error)}); the model is "
                "private, or your login is no longer valid; log in again: hf auth login"
            ) from error
        raise ModelError(
            f"{model}: the hub could not be reached, or the connection broke "
            f"({type(error).__name__}: {_first_line(error)}). What was downloaded is kept; type "
            f"again: ntvep model fetch {model}. On a cluster do it on a login node, with "
            "NTVEP_HOME set to a folder that all nodes see"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")


# Converting ---------------------------------------------------------------------------------------


def _convert_in_place(folder: Path, read: Callable[[Path], object]) -> Source:
    """Give a folder that holds a pickle its safetensors. The pickle is the user's, and stays."""
    if list(folder.glob("*.safetensors")):
        raise ModelError(f"{folder}: has safetensors already; nothing to convert")
    refuse_links_outside(folder)
    record = read_record(folder)
    source = Source(folder, record.get("model_id", folder.resolve().name), record.get("revision"))
    with _disk_errors(folder, "copy the folder to where you may write, and convert the copy"):
        _finish(source, read)
    return locate(str(folder))


def _finish(source: Source, read: Callable[[Path], object], hub_id: str | None = None) -> None:
    """Convert pickles, prove that the model can be read, and record what it was made from."""
    from ntvep.models.folder import weights_sha256

    folder = source.folder
    names = _wanted_here(folder)
    pickles = [folder / name for name in names if is_pickle(name)]
    whole = folder / _WHOLE
    if pickles:
        _convert(pickles, whole)
    try:
        _refuse_incomplete(folder)
        read(folder)
    except BaseException:
        if pickles:
            whole.unlink()
        raise
    kept = _wanted_here(folder)
    record = {
        "model_id": source.model_id,
        "revision": source.revision,
        "moved_to": hub_id if hub_id != source.model_id else None,
        "licence": licence(source),
        "weights_sha256": weights_sha256(sorted(folder.glob("*.safetensors"))),
        "files": {name: digest(folder / name) for name in sorted(kept)},
        "converted_from": {path.name: digest(path) for path in pickles},
        "made_with": {name: version(name) for name in ("huggingface_hub", "safetensors", "torch")},
    }
    write_json(folder / RECORD, record)


def _wanted_here(folder: Path) -> list[str]:
    try:
        return wanted_files(path.name for path in folder.iterdir())
    except ValueError as error:
        raise ModelError(f"{folder}: {error}") from error


def _convert(pickles: Sequence[Path], final: Path) -> None:
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=".ntvep-") as aside:
        made = Path(aside) / final.name
        convert_apart(pickles, made)
        # safetensors lets nobody else read it; who may read the pickle may read this.
        shutil.copymode(pickles[0], made)
        place(made, final)


def _refuse_incomplete(folder: Path) -> None:
    """Raise ModelError if no shard holds a tensor that the shards' index names."""
    from safetensors import SafetensorError, safe_open

    for index in (folder / name for name in INDEXES.values()):
        if not index.is_file():
            continue
        there: set[str] = set()
        try:
            stated = sorted(json.loads(index.read_text("utf-8")).get("weight_map", {}))
            for path in sorted(folder.glob("*.safetensors")):
                with safe_open(path, "pt") as handle:
                    there.update(handle.keys())
        except (ValueError, AttributeError, TypeError, RecursionError, SafetensorError) as error:
            raise ModelError(
                f"{folder}: {index.name} and the weights cannot be compared ({error}); fetch the "
                "model again"
            ) from error
        if lacking := [key for key in stated if key not in there and not is_dropped(key)]:
            raise ModelError(
                f"{index}: names {some(lacking, 3)}, which no file of weights holds; the folder "
                "mixes two checkpoints"
            )
