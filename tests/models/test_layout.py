"""Which files of a repository are fetched: by its names, and from a hub on 127.0.0.1."""

import hashlib
import io
import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file

from ntvep.errors import ModelError
from ntvep.models.convert import ConversionStoppedError, convert
from ntvep.models.fetch import fetch
from ntvep.models.folder import weight_files
from ntvep.models.hub import licence, locate
from ntvep.models.layout import wanted_files
from tests.models.hub_server import COMMIT, MODEL, Hub, serving

# What hubs and training programs put beside a model; a pickle among them runs whose code?
NOT_OURS = (
    ".gitattributes", "modeling_bert.py", "configuration_bert.py", "tokenization_dna.py",
    "bert_padding.py", "tf_model.h5", "flax_model.msgpack", "rust_model.ot", "model.onnx",
    "model.Q4_K_M.gguf", "training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt",
    "scaler.pt", "rng_state.pth", "trainer_state.json", "generation_config.json",
    "adapter_model.safetensors", "adapter_model.bin", "model.safetensors.index.json.bak",
    "onnx/model.onnx", "checkpoint-500/model.safetensors", "checkpoint-500/config.json",
    "../../pytorch_model.bin", "..\\model.safetensors", "model.safetensors/../x.safetensors",
)  # fmt: skip


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        # songlab/gpn-brassicales: pickle and safetensors of the same weights.
        (
            "README.md config.json model.safetensors pytorch_model.bin special_tokens_map.json "
            "tokenizer.json tokenizer_config.json",
            "config.json tokenizer.json tokenizer_config.json special_tokens_map.json README.md "
            "model.safetensors",
        ),
        # zhihan1996/DNA_bert_6
        (
            "config.json pytorch_model.bin special_tokens_map.json tokenizer_config.json vocab.txt",
            "config.json tokenizer_config.json special_tokens_map.json vocab.txt pytorch_model.bin",
        ),
        # NTv3: a vocabulary in JSON
        (
            "config.json model.safetensors vocab.json LICENSE",
            "config.json vocab.json LICENSE model.safetensors",
        ),
        # Carbon-3B and other large ones
        (
            "config.json model-00002-of-00002.safetensors model-00001-of-00002.safetensors "
            "model.safetensors.index.json tokenizer.json pytorch_model.bin.index.json",
            "config.json tokenizer.json model.safetensors.index.json "
            "model-00001-of-00002.safetensors model-00002-of-00002.safetensors",
        ),
        (
            "config.json pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin "
            "pytorch_model.bin.index.json vocab.txt",
            "config.json vocab.txt pytorch_model.bin.index.json pytorch_model-00001-of-00002.bin "
            "pytorch_model-00002-of-00002.bin",
        ),
        # one file needs no index
        (
            "config.json model.safetensors model.safetensors.index.json",
            "config.json model.safetensors",
        ),
        # LongSafari/hyenadna-tiny-1k-seqlen
        ("config.json weights.ckpt", "config.json weights.ckpt"),
        # arcinstitute/evo2_7b, evo2_40b
        ("README.md config.json evo2_7b.pt", "config.json README.md evo2_7b.pt"),
        (
            "config.json evo2_40b.pt.part1 evo2_40b.pt.part0",
            "config.json evo2_40b.pt.part0 evo2_40b.pt.part1",
        ),
        ("config.json x.pt.part10 " + " ".join(f"x.pt.part{i}" for i in range(10)),
         "config.json " + " ".join(f"x.pt.part{i}" for i in range(11))),
        # of one model's two files the one that says what it is
        ("config.json consolidated.safetensors model.safetensors", "config.json model.safetensors"),
        ("config.json consolidated.safetensors", "config.json consolidated.safetensors"),
    ],
)  # fmt: skip
def test_the_files_that_are_wanted(names, expected):
    assert wanted_files([*names.split(), *NOT_OURS]) == expected.split()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("vocab.txt model.safetensors", "lacks config.json; expected config.json with safetensors"),
        ("config.json vocab.txt", "lacks weights; expected config.json with safetensors"),
        ("", "lacks config.json and weights"),
        (
            "config.json tf_model.h5 m.Q4.gguf",
            r"lacks weights.*, found m\.Q4\.gguf, tf_model\.h5, which ntvep does not read",
        ),
        (
            "config.json model-00001-of-00003.safetensors model-00003-of-00003.safetensors",
            "lacks some of its weights: found .*, expected number 2 too",
        ),
        (
            "config.json model-00002-of-00002.safetensors pytorch_model.bin",
            "lacks some of its weights: found .*, expected number 1 too",
        ),
        ("config.json model-1-of-99999999999999.safetensors", "expected number 2 too"),
        ("config.json model-1-of-2.safetensors model-01-of-2.safetensors", "each once"),
        ("config.json model-1-of-2.safetensors model-3-of-2.safetensors", "expected number 2 too"),
        ("config.json model-1-of-1.safetensors model-1-of-2.safetensors", "of several models"),
        ("config.json evo2.pt.part1", "lacks some of its weights.*expected number 0 too"),
        ("config.json evo2.pt.part0 evo2.pt.part2", "expected number 1 too"),
        ("config.json a.pt.part0 b.pt.part1", r"of several models \(a.pt.part0, b.pt.part1\)"),
        ("config.json a.pt b.pt", r"weights of several models \(a.pt, b.pt\); expected those of o"),
        ("config.json a.ckpt b.ckpt", "of several models"),
        ("config.json a.safetensors b.safetensors", "of several models"),
    ],
)
def test_layouts_that_are_none(names, message):
    with pytest.raises(ValueError, match=message):
        wanted_files(names.split())


# From a hub ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("NTVEP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("ntvep.models.fetch.convert_apart", convert)
    return tmp_path / "home"


WORDS = torch.arange(24.0).reshape(6, 4)
# A tied decoder, as a .bin has it.
STATE = {
    "bert.words.weight": WORDS,
    "bert.dense.weight": torch.linspace(-1, 1, 16).reshape(4, 4),
    "bert.norm.bias": torch.ones(4, dtype=torch.bfloat16),
    "cls.decoder.weight": WORDS,
}
TEXTS = {
    "config.json": b'{"model_type": "of a family that is read by another"}',
    "README.md": b"---\nlicense: apache-2.0\n---\nA model\n",
}
CARD = ["README.md", "config.json"]


def saved(state, tmp_path, *, safe: bool = False) -> bytes:
    path = tmp_path / "weights"
    if safe:
        save_file({key: value.clone() for key, value in state.items()}, path)
    else:
        torch.save(state, path)
    return path.read_bytes()


def sharded(tmp_path, stem: str, suffix: str) -> dict[str, bytes]:
    keys = sorted(STATE)
    files, places = {}, {}
    for shard in (0, 1):
        name = f"{stem}-0000{shard + 1}-of-00002.{suffix}"
        part = {key: STATE[key] for key in keys[shard::2]}
        files[name] = saved(part, tmp_path, safe=suffix == "safetensors")
        places |= dict.fromkeys(part, name)
    index = {"metadata": {}, "weight_map": places}
    return files | {f"{stem}.{suffix}.index.json": json.dumps(index).encode()}


def evo_like(tmp_path) -> bytes:
    extra = {"blocks.0.projections._extra_state": io.BytesIO(b"FP8")}
    return saved(STATE | extra, tmp_path)


def layout(kind: str, tmp_path) -> dict[str, bytes]:
    """The weights of a repository and its tokenizer's files."""
    match kind:
        case "safetensors":
            return {"model.safetensors": saved(STATE, tmp_path, safe=True), "vocab.txt": b"A\n"}
        case "sharded safetensors":
            return sharded(tmp_path, "model", "safetensors") | {"tokenizer.json": b"{}"}
        case "bin":
            return {"pytorch_model.bin": saved(STATE, tmp_path), "vocab.json": b"{}"}
        case "sharded bin":
            return sharded(tmp_path, "pytorch_model", "bin")
        case "ckpt":
            return {"weights.ckpt": saved({"state_dict": STATE, "epoch": 1}, tmp_path)}
        case "pt":
            return {"evo2_7b.pt": evo_like(tmp_path)}
        case _:
            whole = evo_like(tmp_path)
            return {"evo2.pt.part0": whole[:700], "evo2.pt.part1": whole[700:]}


def read(folder):
    """As a family's loader: config.json, and every tensor of every safetensors."""
    assert json.loads((folder / "config.json").read_text())
    found = {}
    for path in folder.glob("*.safetensors"):
        found |= load_file(path)
    return found


KINDS = (
    "safetensors", "sharded safetensors", "bin", "sharded bin", "ckpt", "pt", "parts of a pt",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_layout(tmp_path, kind):
    weights = layout(kind, tmp_path)
    beside = dict.fromkeys(NOT_OURS, b"not ours")
    with serving(Hub(TEXTS | weights | beside)) as hub:
        fetched = fetch(MODEL, endpoint=hub.endpoint, read=read)
    asked = {path.rpartition(f"{COMMIT}/")[2] for _, path, _ in hub.requests if COMMIT in path}
    assert asked == {*TEXTS, *weights}, "these alone"

    found = read(fetched.folder)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], STATE[key]) for key in STATE)
    assert all(found[key].dtype == STATE[key].dtype for key in STATE)

    pickled = "safetensors" not in kind
    pickles = {n for n in weights if pickled and not n.endswith(".json")}
    tokenizer = {n for n in weights if n.startswith(("vocab", "tokenizer"))}
    kept = {*CARD, *tokenizer, "model.safetensors"} if pickled else {*CARD, *weights}
    assert {path.name for path in fetched.folder.iterdir()} == kept | {"ntvep.json"}
    record = json.loads((fetched.folder / "ntvep.json").read_text())
    assert record["files"].keys() == kept
    assert record["converted_from"] == {
        name: hashlib.sha256(weights[name]).hexdigest() for name in pickles
    }
    assert (record["revision"], record["licence"]) == (COMMIT, "apache-2.0")
    assert licence(fetched) == "apache-2.0"
    assert locate(MODEL) == fetched


@pytest.mark.parametrize("kind", ["sharded safetensors", "sharded bin"])
def test_an_index_that_names_more_than_there_is(tmp_path, kind, own_home):
    weights = layout(kind, tmp_path)
    index = next(name for name in weights if name.endswith(".json"))
    stated = json.loads(weights[index])
    stated["weight_map"] |= {"bert.lost.weight": "somewhere", "b._extra_state": "somewhere"}
    weights[index] = json.dumps(stated).encode()
    message = rf"removed: org/tiny-nt/{index}: names bert\.lost\.weight, which no file of weights"
    with (
        serving(Hub(TEXTS | weights)) as hub,
        pytest.raises(ModelError, match=message),
    ):
        fetch(MODEL, endpoint=hub.endpoint, read=read)
    assert [path.name for path in own_home.glob("models/*/*")] == [".lock"]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"weight_map": 3}'])
def test_an_index_that_is_none(tmp_path, content):
    weights = layout("sharded safetensors", tmp_path) | {"model.safetensors.index.json": content}
    message = r"model\.safetensors\.index\.json and the weights cannot be compared"
    with (
        serving(Hub(TEXTS | weights)) as hub,
        pytest.raises(ModelError, match=message),
    ):
        fetch(MODEL, endpoint=hub.endpoint, read=read)


def test_a_conversion_that_is_killed_costs_no_download(tmp_path, monkeypatch):
    def stop(*args):
        raise ConversionStoppedError("w.bin: converting it ended by SIGKILL")

    weights = layout("bin", tmp_path)
    with serving(Hub(TEXTS | weights)) as hub:
        with monkeypatch.context() as patched:
            patched.setattr("ntvep.models.fetch.convert_apart", stop)
            with pytest.raises(ModelError, match=r"^w\.bin: converting it ended by SIGKILL"):
                fetch(MODEL, endpoint=hub.endpoint, read=read)
        with pytest.raises(ModelError, match="not on this machine"):
            locate(MODEL)
        hub.requests.clear()
        fetch(MODEL, endpoint=hub.endpoint, read=read)
    assert not [path for _, path, _ in hub.requests if "/resolve/" in path]


def test_what_a_killed_conversion_left_is_not_kept(tmp_path, own_home, monkeypatch):
    """Neither a whole file that was not proven, nor a folder of a process that was killed."""
    weights = layout("bin", tmp_path)
    partial = own_home / "models" / "org--tiny-nt" / f"{COMMIT}.partial"
    (partial / ".ntvep-abc").mkdir(parents=True)
    (partial / ".ntvep-abc" / "model.safetensors").write_bytes(b"half")
    (partial / "model.safetensors").write_bytes(b"half")
    (partial / "pytorch_model.bin").write_bytes(weights["pytorch_model.bin"])
    with serving(Hub(TEXTS | weights)) as hub:
        fetched = fetch(MODEL, endpoint=hub.endpoint, read=read)
    assert not [path for _, path, _ in hub.requests if path.endswith(".bin")], "it had arrived"
    assert {path.name for path in fetched.folder.iterdir()} == {
        *CARD, "vocab.json", "model.safetensors", "ntvep.json"
    }  # fmt: skip
    assert torch.equal(read(fetched.folder)["cls.decoder.weight"], WORDS)


@pytest.mark.parametrize(("kind", "times"), [("bin", 2), ("parts of a pt", 3), ("safetensors", 1)])
def test_room_for_what_lies_side_by_side(tmp_path, monkeypatch, kind, times):
    weights = layout(kind, tmp_path)
    texts = TEXTS | {n: c for n, c in weights.items() if n.startswith("vocab")}
    large = sum(len(content) for name, content in weights.items() if name not in texts)
    needed = times * large + sum(map(len, texts.values()))
    with serving(Hub(texts | weights)) as hub:
        for free in (needed - 1, needed):
            usage = type("Usage", (), {"free": free})
            monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
            if free < needed:
                with pytest.raises(ModelError, match="GB needed to fetch and convert; set NTVEP_H"):
                    fetch(MODEL, endpoint=hub.endpoint, read=read)
                assert not [path for _, path, _ in hub.requests if "/resolve/" in path]
            else:
                fetch(MODEL, endpoint=hub.endpoint, read=read)


@pytest.mark.parametrize("kind", ["sharded bin", "ckpt", "pt", "parts of a pt"])
def test_a_folder_is_converted_in_place(tmp_path, kind):
    folder = tmp_path / "mine"
    folder.mkdir()
    weights = layout(kind, tmp_path)
    for name, content in (TEXTS | weights).items():
        (folder / name).write_bytes(content)
    (folder / "vocab.txt").touch()
    with pytest.raises(ModelError, match=f"a pickle; .*: ntvep model fetch {folder}$"):
        weight_files(folder)
    assert fetch(str(folder), read=read).folder == folder
    found = read(folder)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], STATE[key]) for key in STATE)
    there = {path.name for path in folder.iterdir()}
    assert there == {*TEXTS, *weights, "vocab.txt", "model.safetensors", "ntvep.json"}, (
        "pickles are the user's"
    )
    with pytest.raises(ModelError, match="has safetensors already"):
        fetch(str(folder), read=read)


def test_a_folder_with_nothing_to_convert(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=f"^{tmp_path}: lacks weights; expected config.json"):
        fetch(str(tmp_path), read=read)


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository(tmp_path, status):
    """Its card can be read by all, its files by those who accepted its licence."""
    with serving(Hub(TEXTS | layout("pt", tmp_path))) as hub:
        hub.statuses[f"/{MODEL}/resolve/{COMMIT}/evo2_7b.pt"] = (status, "GatedRepo")
        with pytest.raises(ModelError) as raised:
            fetch(MODEL, endpoint=hub.endpoint, read=read)
        assert str(raised.value) == (
            f"{MODEL}: access must be granted first; accept its licence on its page, then log in: "
            "hf auth login"
        )
        hub.statuses.clear()
        hub.requests.clear()
        assert fetch(MODEL, endpoint=hub.endpoint, read=read).revision == COMMIT
    files = [path for _, path, _ in hub.requests if "/resolve/" in path]
    assert files == [f"/{MODEL}/resolve/{COMMIT}/evo2_7b.pt"], "the others had arrived"


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_repository_that_has_moved(tmp_path, caplog, revision):
    """It goes by the name that it was asked for by, and the log and the record say where it is."""
    caplog.set_level(logging.WARNING, "ntvep")
    with serving(Hub(TEXTS | layout("bin", tmp_path), moved_from="before/tiny")) as hub:
        fetched = fetch("before/tiny", revision, endpoint=hub.endpoint, read=read)
    assert (fetched.model_id, fetched.revision) == ("before/tiny", COMMIT)
    assert [record.getMessage() for record in caplog.records] == [
        "before/tiny: the hub now calls it org/tiny-nt; fetched from there"
    ]
    assert locate("before/tiny") == fetched
    record = json.loads((fetched.folder / "ntvep.json").read_text())
    assert (record["model_id"], record["moved_to"]) == ("before/tiny", MODEL)


def test_a_hub_that_sends_us_to_no_model(tmp_path, monkeypatch):
    with serving(Hub(TEXTS | layout("bin", tmp_path))) as hub:
        listing = hub.listing
        monkeypatch.setattr(
            hub, "listing", lambda **how: listing(**how).replace(MODEL.encode(), b"../../evil")
        )
        with pytest.raises(
            ModelError, match=r"^org/tiny-nt: the hub redirects to '\.\./\.\./evil'; exp"
        ):
            fetch(MODEL, endpoint=hub.endpoint, read=read)
