"""Models that transformers has itself: loaded as it loads them, probed, and refused by name."""

import json
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from typer.testing import CliRunner

from ntvep import dna
from ntvep.cli import app
from ntvep.errors import ModelError
from ntvep.models.carbon import CARBON, carbon_tokenizer
from ntvep.models.checkpoint import describe, read_checkpoint
from ntvep.models.family import GoesOn
from ntvep.models.generator import GENERATOR
from ntvep.models.native import Native
from ntvep.models.probes import probe
from ntvep.models.registry import FAMILIES
from ntvep.models.stock_tokenizer import read_tokenizer, read_vocabulary
from ntvep.tokenizers.blank import blank
from ntvep.tokenizers.kmer import WholeKmers
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"
LETTERS = ("<unk>", "<pad>", "<mask>", "<cls>", "A", "T", "C", "G", "N", "<eos>", "<bos>")
MASKED = ("bert", "roberta")

COMMON = {
    "vocab_size": 11, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 12, "intermediate_size": 64,
    "max_position_embeddings": 72, "initializer_range": 0.3, "pad_token_id": 1,
    "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
SSM = {
    "vocab_size": 11, "hidden_size": 48, "num_hidden_layers": 2, "state_size": 8,
    "initializer_range": 0.3, "bos_token_id": None, "eos_token_id": None, "pad_token_id": 1,
}  # fmt: skip
CONFIGS = {
    "llama": COMMON,
    "qwen3": COMMON,
    "mistral": COMMON | {"sliding_window": 16},
    "mixtral": COMMON | {"num_local_experts": 4},
    "gpt2": COMMON | {"n_positions": 72},
    "gpt_neox": COMMON,
    "gemma": COMMON,
    "olmo": COMMON,
    "jamba": COMMON
    | {"num_experts": 2, "mamba_d_state": 8, "attn_layer_period": 2, "attn_layer_offset": 1},
    "mamba": SSM,
    "mamba2": SSM | {"num_heads": 4, "head_dim": 24, "n_groups": 1},
    "bert": COMMON,
    "roberta": COMMON,
}
STATES = ("llama", "qwen3", "mistral", "mixtral", "gpt2", "gpt_neox", "gemma", "olmo")


def tokenizer_files(folder: Path, tokens=LETTERS) -> None:
    (folder / "vocab.txt").write_text("\n".join(tokens))
    settings = {"unk_token": "<unk>", "mask_token": "<mask>", "cls_token": "<cls>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def save(folder: Path, kind: str, *, tied: bool = True, **changes) -> transformers.PreTrainedModel:
    """A random model of a kind, as transformers saves it."""
    auto = (
        transformers.AutoModelForMaskedLM if kind in MASKED else transformers.AutoModelForCausalLM
    )
    config = CONFIG_MAPPING[kind].from_dict(CONFIGS[kind] | {"tie_word_embeddings": tied} | changes)
    torch.manual_seed(20261121)
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer_files(folder)
    return model


def random_ids(rows: int, tokens: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(2, 11, (rows, tokens), generator=torch.Generator().manual_seed(seed))


def change_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def change_weights(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path, metadata={"format": "pt"})


@pytest.fixture
def marin(tmp_path) -> Path:
    """A copy of MarinDNA's checkpoint, to break."""
    return copy_of("marin-dna", tmp_path)


def copy_of(name: str, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / name, folder, ignore=shutil.ignore_patterns("golden.*"))
    return folder


# --- transformers' own class, as it would load it ------------------------------------------------


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_it_is_the_model_that_transformers_loads(kind, tied, tmp_path):
    model = save(tmp_path, kind, tied=tied)
    checkpoint = read_checkpoint(tmp_path)
    encoder, ids = checkpoint.encoder, random_ids(3, 60)
    assert checkpoint.family.name == "stock"
    assert encoder.objective == ("masked" if kind in MASKED else "causal")
    with torch.inference_mode():
        expected = model(ids, output_hidden_states=True)
        last = encoder.hidden(ids)[1]
        found = encoder.logits(last.flatten(0, 1)).view(expected.logits.shape)
        torch.testing.assert_close(found, expected.logits, rtol=0, atol=2e-5)
        # Mamba's lists begin behind the first block.
        for layer in range(1 if kind.startswith("mamba") else 0, encoder.layers):
            states = expected.hidden_states[layer - kind.startswith("mamba")]
            torch.testing.assert_close(encoder.hidden(ids, layer)[0], states, rtol=0, atol=2e-5)
    embedded = encoder.hidden(ids, 0)[0]
    assert embedded.shape == (3, 60, 48)
    assert not torch.equal(embedded, encoder.hidden(ids, 1)[0])
    assert isinstance(encoder, GoesOn) == (kind in STATES)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*STATES, "bert", "jamba", "mamba2"])
def test_every_tensor_is_used(kind, tmp_path):
    """As in test_families, for the layouts that have no golden."""
    save(tmp_path, kind)
    ids = random_ids(1, 60)

    def logits() -> torch.Tensor:
        encoder = read_checkpoint(tmp_path).encoder
        assert isinstance(encoder, Native)
        with torch.inference_mode():
            return encoder.logits(encoder.run(ids, None)[1][0])

    before = logits()
    tensors = load_file(tmp_path / "model.safetensors")
    unused = []
    for name, tensor in tensors.items():
        rest = {k: v for k, v in tensors.items() if k != name}
        save_file(rest, tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match="missing weights"):
            read_checkpoint(tmp_path)
        noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2))
        save_file(rest | {name: tensor + 0.1 * noise}, tmp_path / "model.safetensors")
        try:
            if not (logits() - before).abs().max() > 1e-5:
                unused.append(name)
        except ModelError as error:
            assert "one tensor" in str(error)  # noqa: PT017
    # A key's bias adds the same to all scores of a query.
    assert [n for n in unused if not n.endswith("key.bias")] == []


# --- states of prefixes --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STATES)
def test_going_on_is_running_the_whole(kind, tmp_path):
    """From any pass of several, behind any token, for several continuations of one length."""
    save(tmp_path, kind)
    encoder = read_checkpoint(tmp_path).encoder
    encoder.probe()
    ids = random_ids(3, 60)
    rows = torch.tensor([2, 0, 2, 1])
    with torch.inference_mode():
        for layer in (None, 0, 1):
            chosen, last, state = encoder.prefix(ids, layer)
            torch.testing.assert_close((chosen, last), encoder.hidden(ids, layer))
            for shared in (0, 1, 17, 18, 59):
                rest = random_ids(4, 60 - shared, seed=shared + 2)
                whole = encoder.hidden(torch.cat((ids[rows, :shared], rest), dim=1), layer)
                found = encoder.go_on(state, rows, shared, rest, layer)
                for one, other in zip(found, whole, strict=True):
                    torch.testing.assert_close(one, other[:, shared:], rtol=0, atol=2e-5)
            # States are shared: going on has to leave them as they were.
            assert {kept.shape[2] for pair in state.layers for kept in pair} == {60}


def test_mamba_goes_on_wrongly_in_transformers_and_is_run_without(tmp_path):
    """If a release of transformers repairs it, the reason is no longer its numbers."""
    model = save(tmp_path, "mamba").backbone
    ids = random_ids(1, 64)
    with torch.inference_mode():
        whole = model(ids).last_hidden_state[:, 40:]
        cache = model(ids[:, :40], use_cache=True).cache_params
        rest = model(ids[:, 40:], cache_params=cache).last_hidden_state
    assert (rest - whole).abs().max() > 1e-2
    encoder = read_checkpoint(tmp_path).encoder
    encoder.probe()
    assert not isinstance(encoder, GoesOn)
    assert encoder.not_shared == "0 of its 2 blocks keep keys and values"


# --- probes --------------------------------------------------------------------------------------


@pytest.fixture
def llama(tmp_path) -> Native:
    save(tmp_path, "llama")
    encoder = read_checkpoint(tmp_path).encoder
    assert isinstance(encoder, Native)
    return encoder


def test_what_is_probed_is_found(llama):
    assert not isinstance(llama, GoesOn)
    found = probe(llama)
    assert found.pads
    assert found.not_shared is None


def test_states_that_are_off_are_not_shared(llama, monkeypatch):
    """Values of the first token are lost, as a cache would that forgets: a planted fault."""
    go_on = Native.run_on

    def forget(self, state, *args):
        layers = tuple((keys, values.clone()) for keys, values in state.layers)
        for _, values in layers:
            values[:, :, 0] = 0
        return go_on(self, replace(state, layers=layers), *args)

    monkeypatch.setattr(Native, "run_on", forget)
    llama.probe()
    assert not isinstance(llama, GoesOn)
    assert "continuing after 1 of 64 tokens changes logits by" in llama.not_shared


def test_states_of_another_pass_are_not_shared(llama, monkeypatch):
    go_on = Native.run_on
    monkeypatch.setattr(
        Native, "run_on", lambda self, state, rows, *args: go_on(self, state, rows * 0, *args)
    )
    assert "continuing" in probe(llama).not_shared


def test_a_causal_model_that_looks_ahead_is_refused(llama):
    for block in llama.blocks:
        block.self_attn.is_causal = False
    llama.model.config.is_causal = False
    inner = llama.base.forward
    # Every state gets some of the last one's.
    mixed = lambda *args, **more: mix(inner(*args, **more))  # noqa: E731

    def mix(output):
        output.last_hidden_state = output.last_hidden_state + 0.1 * output.last_hidden_state[:, -1:]
        return output

    llama.base.forward = mixed
    with pytest.raises(ModelError, match="the last token changes predictions to its left by"):
        llama.hidden(random_ids(1, 20))


def test_a_masked_model_that_looks_back_alone_is_refused(tmp_path):
    save(tmp_path, "bert")
    encoder = read_checkpoint(tmp_path).encoder
    inner = encoder.base.forward

    def causal(input_ids, **more):
        output = inner(input_ids=input_ids)
        output.last_hidden_state = torch.cat(
            [inner(input_ids=input_ids[:, : i + 1]).last_hidden_state[:, -1:]
             for i in range(input_ids.shape[1])], dim=1,
        )  # fmt: skip
        return output

    encoder.base.forward = causal
    encoder.max_tokens = 8
    with pytest.raises(ModelError, match="a token does not change the predictions to its left"):
        encoder.probe()


def test_a_head_that_does_more_is_refused(tmp_path):
    """Gemma 2 caps its logits."""
    config = CONFIG_MAPPING["gemma2"].from_dict(COMMON | {"tie_word_embeddings": True})
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer_files(tmp_path)
    encoder = read_checkpoint(tmp_path).encoder
    with pytest.raises(ModelError, match="the class does more after its last layer"):
        encoder.probe()


def test_logits_that_overflow_are_refused(tmp_path):
    save(tmp_path, "llama", tied=False)
    change_weights(tmp_path, lambda state: state["lm_head.weight"].mul_(1e38))
    encoder = read_checkpoint(tmp_path).encoder
    with pytest.raises(ModelError, match=r"logits of an input of 72 tokens are not all finite"):
        encoder.hidden(random_ids(1, 20))


def test_a_model_that_remembers_longer_inputs_is_refused(tmp_path):
    """Frequencies that follow the longest input: rope of the dynamic type."""
    save(
        tmp_path,
        "llama",
        rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 100.0},
        max_position_embeddings=48,
    )
    encoder = read_checkpoint(tmp_path).encoder
    encoder.max_tokens = 72
    with pytest.raises(ModelError, match="after a longer input the same input has logits that"):
        encoder.probe()


def test_padding_that_changes_what_is_before_it_is_found(llama):
    """A planted fault: every state depends on how long the input is."""
    inner = llama.base.forward

    def longer(input_ids, **more):
        output = inner(input_ids=input_ids, **more)
        output.last_hidden_state = output.last_hidden_state * (1 + 0.01 * input_ids.shape[1])
        return output

    llama.base.forward = longer
    found = probe(llama)
    assert not found.pads
    assert found.not_shared.startswith("continuing after 1 of 64 tokens changes logits")


# --- the tokenizer -------------------------------------------------------------------------------


def char_file(folder: Path, vocabulary: dict[str, int], **parts) -> None:
    """A tokenizer.json of single letters, in the layout of MarinDNA's."""
    read = json.loads((GOLDEN / "marin-dna" / "tokenizer.json").read_text())
    read["model"]["vocab"] = vocabulary
    (folder / "tokenizer.json").write_text(json.dumps(read | parts))


def byte_pairs(folder: Path) -> tokenizers.Tokenizer:
    """A byte-pair encoding trained on random DNA."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=60, special_tokens=["<unk>", "<cls>", "<mask>"], show_progress=False
    )
    random = np.random.default_rng(3)
    texts = ["".join(random.choice(list("ACGT"), 500)) for _ in range(20)]
    made.train_from_iterator(texts, trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<cls> $A", special_tokens=[("<cls>", 1)]
    )
    made.enable_truncation(50)
    made.enable_padding(length=80)
    made.save(str(folder / "tokenizer.json"))
    return made


def test_byte_pairs_are_cut_as_the_file_says(tmp_path):
    """Neither cut off nor padded, which the file asks for."""
    made = byte_pairs(tmp_path)
    made.no_truncation()
    made.no_padding()
    found = read_tokenizer(tmp_path, 64, masked=True)
    tokenizer = found.tokenizer
    assert (tokenizer.kind, tokenizer.front, tokenizer.back, tokenizer.mask) == ("bpe", (1,), (), 2)
    assert 1.5 < found.bases_per_token < 4
    for text in (
        "ACGT" * 50,
        "ACGTNACGGNNNNNNNNNNNNNNNTTGCA",
        "TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTA",
    ):
        tokens = tokenizer.encode(dna.encode(text))
        expected = made.encode(text)
        assert tokens.ids.tolist() == expected.ids
        starts, stops = tokens.places.starts[1:], tokens.places.stops[1:]
        assert [0, *stops] == [*starts, len(text)]
    spelled = {token for token, i in made.get_vocab().items() if tokenizer.terms[i]}
    assert spelled == {token for token in made.get_vocab() if set(token) <= set("ACGT")}


def test_fixed_kmers_with_one_unknown_token_are_ntveps_own(tmp_path):
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[BOS]": 2} | {
        "".join(letters): i for i, letters in enumerate(product("tgca", repeat=3), 3)
    }
    split = {
        "type": "Split", "pattern": {"Regex": ".{1,3}"}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    char_file(tmp_path, vocabulary, pre_tokenizer=split)
    tokenizer = read_tokenizer(tmp_path, 67, masked=False).tokenizer
    assert isinstance(tokenizer, WholeKmers)
    assert (tokenizer.k, tokenizer.front, tokenizer.unknown) == (3, (2,), 1)
    made = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("ACGTTG", "ACGTT", "NACGTNACGTACGT", "AC"):
        assert tokenizer.encode(dna.encode(text)).ids.tolist() == made.encode(text).ids


def test_runs_of_n_that_are_one_token_are_no_single_bases(tmp_path):
    """Such a file is read by itself: its tokens have several lengths."""
    letters = {
        "type": "Split", "pattern": {"Regex": "n+|."}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[BOS]": 2, "a": 3, "c": 4, "g": 5, "t": 6}
    char_file(tmp_path, vocabulary, pre_tokenizer=letters)
    tokenizer = read_tokenizer(tmp_path, 7, masked=False).tokenizer
    assert tokenizer.kind == "bpe"
    tokens = tokenizer.encode(dna.encode("ACNNNNGT"))
    assert tokens.ids.tolist() == [2, 3, 4, 1, 5, 6]
    assert tokens.places.stops.tolist() == [0, 1, 2, 6, 7, 8]


def test_both_formats_of_a_vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("A 1\nC 0\nG 3\nT 2\n")
    assert read_vocabulary(path) == ("C", "A", "T", "G")
    path.write_text("C\nA\nT\nG\n")
    assert read_vocabulary(path) == ("C", "A", "T", "G")
    path.write_text("A 1\nC 1\nG 3\nT 2\n")
    with pytest.raises(ModelError, match="4 tokens, whose ids are not 0 to 3, each once"):
        read_vocabulary(path)


# --- GENERator and Carbon ------------------------------------------------------------------------


def slow_whole(text: str, ids: dict[str, int], front: int, unknown: int) -> list[int]:
    """The rule, 6-mer by 6-mer."""
    parts = [text[start : start + 6] for start in range(0, len(text), 6)]
    return [front, *(ids.get(part, unknown) for part in parts)]


def test_six_mers_of_generator_by_the_rule():
    tokenizer = describe(GOLDEN / "generator")[1].tokenizer
    ids = {"".join(kmer): i for i, kmer in enumerate(product("ATCG", repeat=6), 32)}
    random = np.random.default_rng(5)
    for length in (0, 1, 5, 6, 7, 41, 42, 120, 121):
        for share in (0, 0.02, 0.5):
            n = random.random(length) < share
            bases = np.where(n, 4, random.integers(0, 4, length)).astype(np.uint8)
            tokens = tokenizer.encode(bases)
            text = dna.decode(bases)
            assert tokens.ids.tolist() == slow_whole(text, ids, 1, 0)
            assert tokenizer.count(bases) == len(tokens.ids)
            assert tokens.places.starts[1:].tolist() == list(range(0, length, 6))
            assert tokens.places.stops[1:].tolist() == [
                min(start + 6, length) for start in range(0, length, 6)
            ]
            reverse = dna.reverse_complement(bases)
            other = tokenizer.reverse_complement(tokens, lambda bases=bases: bases)
            assert other.ids.tolist() == tokenizer.encode(reverse).ids.tolist()
            # An identity tells where tokens end, without the model.
            there = blank(tokenizer.identity()).encode(bases)
            assert there.places.stops.tolist() == tokens.places.stops.tolist()
            for i in range(1, len(tokens.ids)):
                part = text[6 * i - 6 : 6 * i]
                scored = len(part) == 6 and "N" not in part
                assert tokenizer.spoiled(tokens, range(i, i + 1)) != scored


def test_carbon_by_the_rule():
    """Ids of the fact sheet: computed from the order of the published vocabulary."""
    tokenizer = carbon_tokenizer()
    cases = {"CCCCCC": 154_402, "AAAAAA": 151_672, "NNNNNN": 151_671, "GGGGGG": 155_767}
    for text, token in cases.items():
        assert tokenizer.encode(dna.encode(text)).ids.tolist() == [151_669, token]
    assert tokenizer.encode(dna.encode("acgtacAAANAA")).ids.tolist()[2] == 151_671
    assert tokenizer.terms.sum() == 4_096
    assert len(tokenizer.terms) == 155_776


def carbon_config() -> dict:
    return json.loads((GOLDEN / "generator" / "config.json").read_text()) | {
        "vocab_size": 155_776, "max_position_embeddings": 8_192, "hidden_size": 4,
        "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True,
        "intermediate_size": 8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config.json", {"added_tokens_decoder": {"151670": {"content": "<dna>"}}}),
        ("added_tokens.json", {"<oov>": 5}),
        ("vocab.json", {"CCCCCC": 91_443, "</dna>": 1}),
        ("tokenizer.json", {"added_tokens": [{"id": 3, "content": "<dna>"}]}),
    ],
)
def test_files_that_place_carbons_six_mers_elsewhere_are_refused(name, content, tmp_path):
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ModelError, match="are not where those of Carbon are"):
        CARBON.describe(tmp_path, carbon_config())


def test_carbon_is_read_without_its_tokenizer_of_text(tmp_path):
    """The smallest has its embeddings tied: they are in memory once."""
    (tmp_path / "config.json").write_text(json.dumps(carbon_config()))
    settings = {"added_tokens_decoder": {"151669": {"content": "<dna>"}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    state = load_file(GOLDEN / "generator" / "model.safetensors")
    shapes = {
        name: torch.randn([{16: 4, 8: 2, 48: 8, 4128: 155_776}[n] for n in tensor.shape])
        for name, tensor in state.items()
        if name != "lm_head.weight"
    }
    for name in list(shapes):
        if name.endswith("q_proj.weight") or name.endswith("o_proj.weight"):
            shapes[name] = torch.randn(4, 4)
        elif name.endswith(("k_proj.weight", "v_proj.weight")):
            shapes[name] = torch.randn(2, 4)
    save_file(shapes, tmp_path / "model.safetensors")
    checkpoint = read_checkpoint(tmp_path)
    assert (checkpoint.family.name, checkpoint.description.default_bases) == ("carbon", 8_190)
    model = checkpoint.encoder.model
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert isinstance(checkpoint.description.tokenizer, WholeKmers)


def test_the_score_of_generators_authors_is_the_marginal_at_the_first_base():
    """P(base) at offset 0, of the golden, from the tables that the engine sums over."""
    arrays = np.load(GOLDEN / "generator" / "golden.npz")
    checkpoint = read_checkpoint(GOLDEN / "generator")
    tokenizer, encoder = checkpoint.description.tokenizer, checkpoint.encoder
    ids = torch.tensor(arrays["plain/ids"].astype(np.int64))[None]
    logits = encoder.logits(encoder.hidden(ids)[1][0]).double()
    probabilities = logits.softmax(1)
    found = torch.stack(
        [probabilities[:, torch.tensor(some)].sum(1) for some in tokenizer.members[0]]
    )
    spelled = [
        [i for i, kmer in enumerate(product("ATCG", repeat=6), 32) if kmer[0] == base]
        for base in "ACGT"
    ]
    expected = torch.stack([probabilities[:, some].sum(1) for some in spelled])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


# --- MarinDNA, from a VCF to a score --------------------------------------------------------------


@pytest.mark.parametrize(
    ("views", "softmax", "expected"),
    # Of the authors' own function (mean of -2.6040542 and -0.4676943 over both strands), and over
    # the whole vocabulary, which they do not use.
    [
        (1, "acgt", -2.6040542),
        (2, "acgt", -1.5358742),
        (1, "all", -2.5242338),
        (2, "all", -0.9817079),
    ],
)
def test_the_score_of_marindnas_authors(views, softmax, expected, tmp_path):
    """The state of the shared prefix is reused on the way: the model can."""
    window = (
        "CGGAGAACCGGCCGTGGACTATAGCACCGAGTACCCCGGGTTTTGACCTTTTTATGATATGGACGCGATGTGGATCTCTCTAGATGCGAA"
        "CCTATTGGAGTAAGACACAACTCCCCGGGC"
    )
    (tmp_path / "ref.fa").write_text(f">c\n{(window * 3)[:255]}\n")
    (tmp_path / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        "c\t128\t.\tC\tT\t.\t.\t.\n"
    )
    done = CliRunner().invoke(
        app,
        [
            "score", str(tmp_path / "in.vcf"), "--reference", str(tmp_path / "ref.fa"),
            "--model", str(GOLDEN / "marin-dna"), "--views", str(views), "--softmax", softmax,
            "--device", "cpu", "-o", str(tmp_path / "out.parquet"),
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["status"].to_list() == ["ok"]
    assert table["llr"].to_list() == pytest.approx([expected], abs=2e-5)


# --- bad input -----------------------------------------------------------------------------------


def test_which_family_takes_what(tmp_path):
    assert [family.name for family in FAMILIES][-1] == "stock"
    for name in ("marin-dna", "generator"):
        config = json.loads((GOLDEN / name / "config.json").read_text())
        claimed = [family.name for family in FAMILIES if family.recognises(config)]
        assert claimed == [name, "stock"]
    assert CARBON.recognises(carbon_config())
    assert not GENERATOR.recognises(carbon_config())


@pytest.mark.parametrize(
    ("tensor", "architecture"),
    [
        ("bert.encoder.layer.0.attention.self.Wqkv.weight", "MosaicBERT, the architecture of"),
        ("bert.encoder.layer.0.pre_attention_ln.weight", "normalises before its blocks, the"),
    ],
)
def test_another_bert_is_refused_by_the_names_of_its_tensors(tensor, architecture, tmp_path):
    save(tmp_path, "bert")
    change_weights(tmp_path, lambda state: state.update({tensor: torch.zeros(48)}))
    with pytest.raises(ModelError, match=f"the weights hold {tensor}: this is .*{architecture}"):
        read_checkpoint(tmp_path)


def test_code_of_its_own_is_never_run(tmp_path):
    """Of a family that ntvep has not: refused. Of a model_type of transformers: not looked at."""
    save(tmp_path, "llama")
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    change_config(tmp_path, auto_map={"AutoModelForCausalLM": "evil.Evil"})
    read_checkpoint(tmp_path).encoder.hidden(random_ids(1, 20))
    change_config(tmp_path, model_type="hybridna")
    with pytest.raises(ModelError, match="its auto_map names custom code, which ntvep never"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: change_weights(f, lambda s: s.pop("model.layers.2.mlp.up_proj.weight")),
            r"1 missing weights \(first: model\.layers\.2\.mlp\.up_proj\.weight\)",
        ),
        (
            lambda f: (f / "model.safetensors").write_bytes(
                (f / "model.safetensors").read_bytes()[:100_000]
            ),
            "not a whole safetensors file",
        ),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            "only pytorch_model.bin, a pickle",
        ),
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json and no vocab.txt"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizers cannot read it"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "tokenizer_config.json").write_text("[]"), "expected a JSON object"),
        (lambda f: change_config(f, num_hidden_layers=2), "9|unexpected weights"),
        (lambda f: change_config(f, num_hidden_layers=1 << 20), "num_hidden_layers is 1048576"),
        (lambda f: change_config(f, hidden_size="48"), "hidden_size is '48', expected a number"),
        (lambda f: change_config(f, hidden_act="nothing"), "transformers cannot build|hidden_act"),
        (lambda f: change_config(f, quantization_config={"bits": 4}), "the weights are quantised"),
        (
            lambda f: char_file(
                f, {"[PAD]": 0, "[UNK]": 1, "[BOS]": 2, "a": 3, "g": 4, "c": 5, "t": 6}
            ),
            "expected .*'c': 4, 'g': 5",
        ),
        (
            lambda f: char_file(
                f, {"[PAD]": 0, "[UNK]": 1, "[BOS]": 2, "a": 3, "c": 4, "g": 5, "t": 7}
            ),
            "token 't' has the id 7, but the model's vocab_size is 7",
        ),
        (
            lambda f: (f / "tokenizer_config.json").write_text(
                json.dumps({"added_tokens_decoder": {"0": {"content": "[BOS]"}}})
            ),
            r"'\[BOS\]' is token 2, but tokenizer_config.json says 0; the folder mixes",
        ),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(spoil, message, marin):
    spoil(marin)
    with pytest.raises(ModelError, match=message) as caught:
        read_checkpoint(marin)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (("A", "C", "G", "T", "AA"), "tokens of several bases .first: AA., and no file says how"),
        (("A", "C", "G", "<unk>"), "no token for T"),
        (("A", "C", "G", "T", "A", "<unk>"), "token 'A' occurs twice"),
        ((*(f"<{i}>" for i in range(9)), "A", "C", "G", "T", "N"), "token 'N' has the id 13"),
    ],
)
def test_a_vocabulary_that_is_not_the_models_is_refused(tokens, message, tmp_path):
    save(tmp_path, "llama")
    tokenizer_files(tmp_path, tokens)
    with pytest.raises(ModelError, match=message):
        describe(tmp_path)


def test_a_masked_model_needs_a_mask(tmp_path):
    save(tmp_path, "bert")
    tokenizer_files(tmp_path, [token for token in LETTERS if token != "<mask>"])
    with pytest.raises(ModelError, match="is a masked language model, but its tokenizer has none"):
        describe(tmp_path)


def test_two_tensors_for_one_are_refused(tmp_path):
    save(tmp_path, "llama")
    other = {"lm_head.weight": torch.zeros(11, 48)}
    change_weights(tmp_path, lambda state: state.update(other))
    with pytest.raises(ModelError, match="are one tensor, but the weights hold two different ones"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: lines[:-1], "4127 tokens, but the model has 4128"),
        (lambda lines: ["<oo> 0", *lines[1:]], "1 tokens are missing .first: '<oov>'"),
        (lambda lines: ["<s> 0", "<oov> 1", *lines[2:]], "<s> is token 0, but config.json says"),
        (lambda lines: [*lines[:-1], "AAAAAA 4127"], "1 tokens are missing .first: 'GGGGGG'"),
    ],
)
def test_a_vocabulary_that_is_not_generators_is_refused(spoil, message, tmp_path):
    folder = copy_of("generator", tmp_path)
    path = folder / "vocab.txt"
    path.write_text("\n".join(spoil(path.read_text().splitlines())))
    with pytest.raises(ModelError, match=message):
        describe(folder)


def test_no_network_no_code_no_pickle_is_asked_for(monkeypatch, tmp_path):
    """The two doors of transformers are opened with their locks: from_config, and no other."""
    save(tmp_path, "qwen3")
    asked = []
    real = transformers.AutoModelForCausalLM.from_config.__func__

    def watched(cls, *args, **more):
        asked.append(more)
        return real(cls, *args, **more)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_config", classmethod(watched))
    for name in ("from_pretrained",):
        monkeypatch.setattr(transformers.PreTrainedModel, name, None)
    read_checkpoint(tmp_path).encoder.hidden(random_ids(1, 20))
    assert [more["trust_remote_code"] for more in asked] == [False]
    assert [more["dtype"] for more in asked] == [torch.float32]
