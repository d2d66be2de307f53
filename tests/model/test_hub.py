"""Fetching from a hub on 127.0.0.1: whole, resumed, damaged, refused; and finding it offline."""

import pickle
import socket

import pytest
import torch
from safetensors.torch import load_file

from ntvep.errors import ModelError
from ntvep.model import hub as hub_module
from ntvep.model.hub import fetch, licence, locate
from ntvep.model.load import read_checkpoint
from tests.conftest import ROOT
from tests.model.hub_server import COMMIT, MODEL, Hub, serving

GOLDEN = ROOT / "tests" / "golden" / "v1"
NAMES = ("config.json", "vocab.txt", "model.safetensors")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """An empty home, and no waiting between the client's retries."""
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("time.sleep", lambda _: None)
    return tmp_path / "home"


@pytest.fixture
def hub():
    files = {name: (GOLDEN / name).read_bytes() for name in NAMES}
    card = b"---\nlicense: cc-by-nc-sa-4.0\ntags:\n- dna\n---\n# A model\n"
    with serving(Hub(files | {"README.md": card, "flax_model.msgpack": b"not ours"})) as served:
        yield served


def forbid_network(monkeypatch):
    def refuse(*args):
        raise AssertionError("a network call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_fetch_then_locate_without_a_network(hub, monkeypatch):
    fetched = fetch(MODEL, endpoint=hub.endpoint)
    assert (fetched.model_id, fetched.revision) == (MODEL, COMMIT)
    assert read_checkpoint(fetched.folder)[0].weights_sha256 == (
        read_checkpoint(GOLDEN)[0].weights_sha256
    )
    assert not [path for _, path, _ in hub.requests if "flax" in path]
    assert licence(fetched) == "CC BY-NC-SA 4.0: non-commercial use only"
    forbid_network(monkeypatch)
    assert locate(MODEL) == locate(f"{MODEL}@{COMMIT}") == fetched
    assert locate(str(fetched.folder)) == fetched
    with pytest.raises(ModelError, match="type: ntvep model fetch org/tiny-nt --revision ffff"):
        locate(f"{MODEL}@ffff")


def test_fetched_again_asks_for_the_commit_alone(hub):
    fetch(MODEL, endpoint=hub.endpoint)
    before = hub.sent
    fetch(MODEL, endpoint=hub.endpoint)
    assert hub.sent - before < 2_000


@pytest.mark.parametrize("killed", [False, True], ids=["by the server", "by a kill"])
def test_an_interrupted_fetch_goes_on_where_it_stopped(hub, own_home, monkeypatch, killed):
    # What is buffered is lost; the client's buffer of 10 MB holds this whole model.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 14)
    name, size = "model.safetensors", len(hub.files["model.safetensors"])
    hub.cut_after[name] = size // 2
    if killed:
        with monkeypatch.context() as patched:
            # The client waits before it asks again: a good moment to be killed.
            patched.setattr("time.sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                fetch(MODEL, endpoint=hub.endpoint)
        with pytest.raises(ModelError, match="not on this machine"):
            locate(MODEL)
    fetch(MODEL, endpoint=hub.endpoint)
    asked = [wanted for _, path, wanted in hub.requests if path.endswith(name) and wanted]
    starts = [int(wanted.removeprefix("bytes=").rstrip("-")) for wanted in asked]
    assert size // 3 < max(starts) <= size // 2
    assert locate(MODEL).revision == COMMIT
    # The half that had arrived was not sent again.
    everything = sum(len(content) for file, content in hub.files.items() if "flax" not in file)
    assert hub.sent < everything + size / 3


def test_a_damaged_file_is_not_kept(hub, own_home):
    whole = hub.files["model.safetensors"]
    hub.lies["model.safetensors"] = whole[:-4] + b"\0\0\0\1"
    with pytest.raises(ModelError, match=r"model.safetensors was damaged on its way \(checksum"):
        fetch(MODEL, endpoint=hub.endpoint)
    with pytest.raises(ModelError, match="not on this machine"):
        locate(MODEL)
    assert not list(own_home.rglob("*.safetensors"))
    hub.lies.clear()
    assert fetch(MODEL, endpoint=hub.endpoint).revision == COMMIT


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        (f"/api/models/{MODEL}", (404, "RepoNotFound"), "the hub has no such model"),
        (f"/api/models/{MODEL}", (403, "GatedRepo"), "accept its licence"),
        (f"/api/models/{MODEL}", (500, ""), "could not be reached, or broke off"),
        (f"/api/models/{MODEL}/revision/v9", (404, "RevisionNotFound"), "has no revision 'v9'"),
    ],
)
def test_refusals(hub, path, status, message):
    hub.statuses[path] = status
    revision = "v9" if "revision" in path else None
    with pytest.raises(ModelError, match=message):
        fetch(MODEL, revision, endpoint=hub.endpoint)


def test_no_hub_at_all():
    with pytest.raises(ModelError, match="On a cluster do it on a login node"):
        fetch(MODEL, endpoint="http://127.0.0.1:9")


def test_no_room(hub, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(hub_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ModelError, match="set NTVEP_HOME to a folder with more room"):
        fetch(MODEL, endpoint=hub.endpoint)


def test_a_repository_that_is_no_model(hub):
    del hub.files["vocab.txt"]
    with pytest.raises(ModelError, match=r"the repository lacks vocab.txt"):
        fetch(MODEL, endpoint=hub.endpoint)


def pickled(state, path):
    torch.save(state, path)
    return path.read_bytes()


def test_a_pickle_is_converted_once(hub, tmp_path):
    state = load_file(GOLDEN / "model.safetensors")
    del hub.files["model.safetensors"]
    hub.files["pytorch_model.bin"] = pickled(state, tmp_path / "weights.bin")
    fetched = fetch(MODEL, endpoint=hub.endpoint)
    assert sorted(path.name for path in fetched.folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "ntvep.json",
        "vocab.txt",
    ]
    ids = torch.tensor([[3, 700, 2, 900, 1000]])
    _, ours = read_checkpoint(fetched.folder)
    _, theirs = read_checkpoint(GOLDEN)
    torch.testing.assert_close(ours.head(ours(ids)[1][0]), theirs.head(theirs(ids)[1][0]))


def test_a_folder_with_a_pickle_is_converted_in_place(tmp_path):
    for name in NAMES[:2]:
        (tmp_path / name).write_bytes((GOLDEN / name).read_bytes())
    pickled(load_file(GOLDEN / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="Convert it once with: ntvep model fetch"):
        read_checkpoint(tmp_path)
    assert fetch(str(tmp_path)).folder == tmp_path
    assert read_checkpoint(tmp_path)[0].arch == read_checkpoint(GOLDEN)[0].arch
    with pytest.raises(ModelError, match="has safetensors already"):
        fetch(str(tmp_path))


class Malicious:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("code in a pickle was run",))


@pytest.mark.parametrize("save", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x))])
def test_a_pickle_that_runs_code_is_refused(hub, tmp_path, save):
    del hub.files["model.safetensors"]
    save({"x": Malicious()}, tmp_path / "weights.bin")
    hub.files["pytorch_model.bin"] = (tmp_path / "weights.bin").read_bytes()
    with pytest.raises(ModelError, match="holds more than weights, or is damaged"):
        fetch(MODEL, endpoint=hub.endpoint)


def test_names_that_are_no_model(tmp_path, monkeypatch):
    forbid_network(monkeypatch)
    with pytest.raises(ModelError, match="expected demo, a checkpoint folder, or an id"):
        locate("no-such-thing")
    with pytest.raises(ModelError, match="scoring never downloads"):
        locate("org/name")
    with pytest.raises(ModelError, match="expected a hub id such as org/name"):
        fetch("no-such-thing")


def test_a_link_out_of_a_model_folder_is_refused(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").symlink_to(GOLDEN / "config.json")
    with pytest.raises(ModelError, match="a link out of the model's folder"):
        locate(str(folder))


def test_a_snapshot_in_the_hubs_own_cache_is_found(tmp_path):
    cached = tmp_path / "hf" / "models--org--cached"
    (cached / "blobs").mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)
    snapshot = cached / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name in NAMES:
        (cached / "blobs" / name).write_bytes((GOLDEN / name).read_bytes())
        (snapshot / name).symlink_to(cached / "blobs" / name)
    found = locate("org/cached")
    assert (found.folder, found.revision) == (snapshot, COMMIT)
    assert locate(str(snapshot)).folder == snapshot
