"""Fetching from a hub on 127.0.0.1: whole, resumed, damaged, refused; and finding it offline."""

import errno
import hashlib
import json
import socket
import stat
from pathlib import Path

import pytest
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.utils import WeakFileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ntvep.errors import ModelError
from ntvep.models.checkpoint import read_checkpoint
from ntvep.models.convert import convert, convert_apart
from ntvep.models.fetch import fetch
from ntvep.models.hub import Source, licence, locate
from tests.conftest import ROOT
from tests.models.hub_server import COMMIT, MODEL, Hub, serving

GOLDEN = ROOT / "tests" / "golden" / "v1"
NAMES = ("config.json", "vocab.txt", "model.safetensors")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """An empty home, and no waiting between the client's retries."""
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("time.sleep", lambda _: None)
    # In this process, which has torch loaded; test_convert.py has the process of its own.
    monkeypatch.setattr("ntvep.models.fetch.convert_apart", convert)
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
    assert read_checkpoint(fetched.folder).weights_sha256 == (
        read_checkpoint(GOLDEN).weights_sha256
    )
    assert not [path for _, path, _ in hub.requests if "flax" in path]
    assert licence(fetched) == "CC BY-NC-SA 4.0: non-commercial use only"
    forbid_network(monkeypatch)
    assert locate(MODEL) == locate(f"{MODEL}@{COMMIT}") == fetched
    assert locate(str(fetched.folder)) == fetched
    assert locate(f"{MODEL}@{COMMIT[:7]}") == fetched
    for other in ("ffff", COMMIT[:3]):
        command = f"type: ntvep model fetch org/tiny-nt --revision {other}"
        with pytest.raises(ModelError, match=command):
            locate(f"{MODEL}@{other}")


def test_a_name_of_a_revision_leads_to_its_commit(hub):
    fetch(MODEL, endpoint=hub.endpoint)
    with pytest.raises(ModelError, match="fetch org/tiny-nt --revision main"):
        locate(f"{MODEL}@main")
    fetched = fetch(MODEL, "main", endpoint=hub.endpoint)
    assert locate(f"{MODEL}@main") == locate(MODEL) == fetched


def test_the_newest_fetched_is_meant(hub, own_home):
    fetched = fetch(MODEL, endpoint=hub.endpoint)
    (fetched.folder.parent / ("f" * 40)).mkdir()
    assert locate(MODEL).revision == "f" * 40
    assert fetch(MODEL, endpoint=hub.endpoint) == locate(MODEL) == fetched


def test_what_was_fetched_is_recorded(hub):
    fetched = fetch(MODEL, "main", endpoint=hub.endpoint)
    record = json.loads((fetched.folder / "ntvep.json").read_text())
    kept = (*NAMES, "README.md")
    assert record["files"] == {n: hashlib.sha256(hub.files[n]).hexdigest() for n in kept}
    assert record["weights_sha256"] == record["files"]["model.safetensors"]
    assert (record["model_id"], record["revision"]) == (MODEL, COMMIT)
    assert (record["names"], record["converted_from"]) == (["main"], {})
    assert (record["licence"], record["moved_to"]) == (licence(fetched), None)
    assert set(record["made_with"]) == {"huggingface_hub", "safetensors", "torch"}


def test_the_server_speaks_to_the_hubs_own_client(hub, tmp_path):
    path = hf_hub_download(
        MODEL, "model.safetensors", endpoint=hub.endpoint, cache_dir=tmp_path / "other"
    )
    assert Path(path).read_bytes() == hub.files["model.safetensors"]


@pytest.mark.parametrize("name", ["../../../evil.safetensors", "onnx/model.safetensors"])
def test_a_listing_does_not_choose_where_we_write(hub, own_home, name):
    hub.files[name] = b"evil"
    fetched = fetch(MODEL, endpoint=hub.endpoint)
    assert not [path for _, path, _ in hub.requests if "evil" in path or "onnx" in path]
    assert sorted(p.name for p in fetched.folder.iterdir()) == sorted(
        [*NAMES, "README.md", "ntvep.json"]
    )
    assert not list(own_home.parent.rglob("evil*"))
    assert not list(own_home.parent.rglob("onnx"))


def test_without_redirects(hub):
    hub.redirects = False
    assert fetch(MODEL, endpoint=hub.endpoint).revision == COMMIT


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


def test_whole_files_are_not_asked_for_again(hub):
    path = f"/{MODEL}/resolve/{COMMIT}/model.safetensors"
    hub.statuses[path] = (500, "")
    with pytest.raises(ModelError, match="What was downloaded is kept"):
        fetch(MODEL, endpoint=hub.endpoint)
    hub.statuses.clear()
    hub.requests.clear()
    fetch(MODEL, endpoint=hub.endpoint)
    assert [p for _, p, _ in hub.requests if "/resolve/" in p] == [path]


def test_more_than_the_hub_has_is_thrown_away(hub, own_home):
    partial = own_home / "models" / "org--tiny-nt" / f"{COMMIT}.partial"
    partial.mkdir(parents=True)
    (partial / "config.json").write_bytes(b"x" * 9999)
    assert fetch(MODEL, endpoint=hub.endpoint).revision == COMMIT


def test_two_fetches_of_one_model(hub, own_home):
    folder = own_home / "models" / "org--tiny-nt"
    folder.mkdir(parents=True)
    with WeakFileLock(folder / ".lock"), pytest.raises(ModelError, match="another ntvep model"):
        fetch(MODEL, endpoint=hub.endpoint)
    assert fetch(MODEL, endpoint=hub.endpoint).revision == COMMIT


def test_a_damaged_file_is_not_kept(hub, own_home):
    whole = hub.files["model.safetensors"]
    hub.lies["model.safetensors"] = whole[:-4] + b"\0\0\0\1"
    with pytest.raises(ModelError, match=r"model.safetensors was damaged in transit \(checksum"):
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
        (f"/api/models/{MODEL}", (401, ""), r"refused \(401: .*log in again"),
        (f"/api/models/{MODEL}", (403, ""), r"refused \(403: .*log in again"),
        (f"/api/models/{MODEL}", (403, "GatedRepo"), "accept its licence"),
        (f"/{MODEL}/resolve/{COMMIT}/config.json", (401, "GatedRepo"), "accept its licence"),
        (f"/{MODEL}/resolve/{COMMIT}/config.json", (403, "GatedRepo"), "accept its licence"),
        (f"/api/models/{MODEL}", (500, ""), "could not be reached, or the connection broke"),
        (f"/api/models/{MODEL}/revision/v9", (404, "RevisionNotFound"), "has no revision 'v9'"),
    ],
)
def test_refusals(hub, path, status, message):
    hub.statuses[path] = status
    revision = "v9" if "revision" in path else None
    with pytest.raises(ModelError, match=message) as raised:
        fetch(MODEL, revision, endpoint=hub.endpoint)
    assert str(raised.value).startswith(f"{MODEL}: ")
    with pytest.raises(ModelError, match="not on this machine"):
        locate(MODEL)


def test_downloads_are_forbidden(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="type: unset HF_HUB_OFFLINE"):
        fetch(MODEL, endpoint=hub.endpoint)
    assert not hub.requests


def test_a_hub_that_states_no_commit(hub, monkeypatch):
    monkeypatch.setattr("tests.models.hub_server.COMMIT", "../../evil")
    with pytest.raises(ModelError, match=r"states '../../evil' as its commit; expected 40 digits"):
        fetch(MODEL, endpoint=hub.endpoint)


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "no room is left"), (errno.EROFS, "cannot be written")],
)
def test_the_disk_fails(hub, monkeypatch, number, message):
    def write(*args, **kwargs):
        raise OSError(number, "as the kernel says it")

    with monkeypatch.context() as patched:
        patched.setattr("huggingface_hub.file_download.http_get", write)
        with pytest.raises(ModelError, match=rf"{message} \(as the kernel.*set NTVEP_HOME"):
            fetch(MODEL, endpoint=hub.endpoint)
    assert fetch(MODEL, endpoint=hub.endpoint).revision == COMMIT


def test_a_home_that_cannot_be(hub, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ModelError, match=r"cannot be written.*set NTVEP_HOME to a folder that you"):
        fetch(MODEL, endpoint=hub.endpoint)


def test_no_hub_at_all():
    with pytest.raises(ModelError, match="On a cluster do it on a login node"):
        fetch(MODEL, endpoint="http://127.0.0.1:9")


def test_no_room(hub, monkeypatch):
    usage = type("Usage", (), {"free": len(hub.files["model.safetensors"])})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(ModelError, match="set NTVEP_HOME to a folder with more room"):
        fetch(MODEL, endpoint=hub.endpoint)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_repository_that_is_no_model(hub, name):
    del hub.files[name]
    lacking = "weights; expected.*found flax_model.msgpack, which ntvep does not read"
    if name == "config.json":
        lacking = "config.json; expected config.json with safetensors"
    with pytest.raises(ModelError, match=rf"^org/tiny-nt: the repository lacks {lacking}"):
        fetch(MODEL, endpoint=hub.endpoint)
    assert not [path for _, path, _ in hub.requests if "/resolve/" in path]


def test_a_model_without_the_vocabulary_that_its_family_needs(hub):
    del hub.files["vocab.txt"]
    with pytest.raises(ModelError, match=r"removed: org/tiny-nt: no vocab\.txt; fetch"):
        fetch(MODEL, endpoint=hub.endpoint)
    with pytest.raises(ModelError, match="not on this machine"):
        locate(MODEL)


def pickled(state, path):
    torch.save(state, path)
    return path.read_bytes()


def test_a_pickle_is_converted_once(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("ntvep.models.fetch.convert_apart", convert_apart)
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
    ours = read_checkpoint(fetched.folder).encoder
    theirs = read_checkpoint(GOLDEN).encoder
    torch.testing.assert_close(
        ours.logits(ours.hidden(ids)[1][0]), theirs.logits(theirs.hidden(ids)[1][0])
    )

    record = json.loads((fetched.folder / "ntvep.json").read_text())
    pickle_sha256 = hashlib.sha256(hub.files["pytorch_model.bin"]).hexdigest()
    assert record["converted_from"] == {"pytorch_model.bin": pickle_sha256}
    # Whoever may read one file of the model may read the weights.
    modes = {stat.S_IMODE((fetched.folder / name).stat().st_mode) for name in NAMES}
    assert len(modes) == 1


def test_a_pickle_keeps_its_precision(hub, tmp_path):
    state = load_file(GOLDEN / "model.safetensors")
    state = {key: value.bfloat16() for key, value in state.items()}
    del hub.files["model.safetensors"]
    hub.files["pytorch_model.bin"] = pickled(state, tmp_path / "weights.bin")
    made = load_file(fetch(MODEL, endpoint=hub.endpoint).folder / "model.safetensors")
    assert {value.dtype for value in made.values()} == {torch.bfloat16}


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_a_sharded_model(hub, tmp_path, kind):
    state = load_file(GOLDEN / "model.safetensors")
    del hub.files["model.safetensors"]
    stem, save = ("model", save_file) if kind == "safetensors" else ("pytorch_model", torch.save)
    for shard in (0, 1):
        part = {key: state[key] for key in sorted(state)[shard::2]}
        save(part, tmp_path / "shard")
        name = f"{stem}-0000{shard + 1}-of-00002.{kind}"
        hub.files[name] = (tmp_path / "shard").read_bytes()
    hub.files[f"{stem}.{kind}.index.json"] = b"{}"
    ids = torch.tensor([[3, 700, 2, 900, 1000]])
    ours = read_checkpoint(fetch(MODEL, endpoint=hub.endpoint).folder).encoder
    theirs = read_checkpoint(GOLDEN).encoder
    torch.testing.assert_close(ours.hidden(ids)[1], theirs.hidden(ids)[1])


def test_a_repository_with_another_vocabulary(hub, own_home):
    hub.files["vocab.txt"] = hub.files["vocab.txt"].replace(b"ACGTAC", b"ACGTAX")
    message = (
        r"downloaded, but ntvep cannot use it.*removed: org/tiny-nt/vocab.txt: 1 tokens are missing"
    )
    with pytest.raises(ModelError, match=message):
        fetch(MODEL, endpoint=hub.endpoint)
    with pytest.raises(ModelError, match="not on this machine"):
        locate(MODEL)
    assert [path.name for path in own_home.glob("models/*/*")] == [".lock"]


def test_no_room_for_what_is_converted(hub, tmp_path, monkeypatch):
    state = load_file(GOLDEN / "model.safetensors")
    del hub.files["model.safetensors"]
    hub.files["pytorch_model.bin"] = pickled(state, tmp_path / "weights.bin")

    def write(*args, **kwargs):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patched:
        patched.setattr("safetensors.torch.save_file", write)
        with pytest.raises(ModelError, match=r"no room is left \(I/O.*set NTVEP_HOME"):
            fetch(MODEL, endpoint=hub.endpoint)
    hub.requests.clear()
    fetch(MODEL, endpoint=hub.endpoint)
    assert not [path for _, path, _ in hub.requests if path.endswith(".bin")], "it had arrived"


def folder_with_pickle(folder, state):
    for name in NAMES[:2]:
        (folder / name).write_bytes((GOLDEN / name).read_bytes())
    pickled(state, folder / "pytorch_model.bin")


def test_a_pickle_of_another_model_leaves_nothing_behind(tmp_path):
    folder_with_pickle(tmp_path, {"another.weight": torch.zeros(2)})
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ModelError, match="do not describe the same Nucleotide Transformer"):
        fetch(str(tmp_path))
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_with_a_pickle_is_converted_in_place(tmp_path):
    folder_with_pickle(tmp_path, load_file(GOLDEN / "model.safetensors"))
    with pytest.raises(ModelError, match="Convert it once with: ntvep model fetch"):
        read_checkpoint(tmp_path)
    assert fetch(str(tmp_path)).folder == tmp_path
    assert read_checkpoint(tmp_path).encoder.arch == read_checkpoint(GOLDEN).encoder.arch
    assert (tmp_path / "pytorch_model.bin").exists(), "it is the user's"
    with pytest.raises(ModelError, match="has safetensors already"):
        fetch(str(tmp_path))


def test_a_pickle_that_is_refused_is_not_kept(hub, tmp_path, own_home, monkeypatch):
    """The refusal comes back from the other process."""
    monkeypatch.setattr("ntvep.models.fetch.convert_apart", convert_apart)
    del hub.files["model.safetensors"]
    hub.files["pytorch_model.bin"] = pickled({"epoch": 3}, tmp_path / "weights.bin")
    message = "removed: org/tiny-nt/pytorch_model.bin: does not hold named weights"
    with pytest.raises(ModelError, match=message):
        fetch(MODEL, endpoint=hub.endpoint)
    assert [path.name for path in own_home.glob("models/*/*")] == [".lock"]


@pytest.mark.parametrize(
    "name",
    ["no-such-thing", "", "../model", "./model", "a/b/c", "a--b/c", "org/name.", "org/name@..",
     "org/name@", "org name/x", "org/x.git"],
)  # fmt: skip
def test_names_that_cannot_be_a_model(monkeypatch, name):
    forbid_network(monkeypatch)
    with pytest.raises(ModelError, match="expected demo, a checkpoint folder, or an id"):
        locate(name)


def test_names_of_no_model_here(monkeypatch):
    forbid_network(monkeypatch)
    with pytest.raises(ModelError, match="scoring never downloads"):
        locate("org/name")
    for name in ("", "no-such-thing", "../x", "org/name@main"):
        with pytest.raises(ModelError, match="expected a hub id such as org/name"):
            fetch(name)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_record(tmp_path, content):
    (tmp_path / "ntvep.json").write_text(content)
    with pytest.raises(ModelError, match=r"ntvep.json: .*remove it, or fetch the model again"):
        locate(str(tmp_path))


@pytest.mark.parametrize(
    ("model", "card", "expected"),
    [
        ("a/b", "---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ("a/b", "---\nlicense: 'MIT'\n---\nlicense: gpl\n", "MIT"),
        ("a/b", "---\nlicense: other\nlicense_name: ntv3\n---\n", "other: ntv3"),
        ("a/b", "---\nlicense: other\n---\n", "other: see its card, README.md"),
        ("a/b", "# A card\nlicense: mit\n", "unknown"),
        ("a/b", None, "unknown"),
        ("InstaDeepAI/nucleotide-transformer-v2-50m-multi-species", None, "CC BY-NC-SA 4.0"),
    ],
)
def test_licences(tmp_path, model, card, expected):
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert licence(Source(tmp_path, model, None)).startswith(expected)


def test_a_licence_that_was_recorded_outlives_the_card(hub):
    hub.files["README.md"] = b"---\nlicense: apache-2.0\n---\n"
    fetched = fetch(MODEL, endpoint=hub.endpoint)
    (fetched.folder / "README.md").unlink()
    assert licence(fetched) == "apache-2.0"


def test_the_demo_needs_no_network(monkeypatch):
    forbid_network(monkeypatch)
    source = locate("demo-6mer")
    assert read_checkpoint(source.folder).parameters > 1e6
    assert licence(source) == "apache-2.0"


def test_a_link_out_of_a_model_folder_is_refused(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").symlink_to(GOLDEN / "config.json")
    with pytest.raises(ModelError, match="links out of the model's folder"):
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
