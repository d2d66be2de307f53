"""Every family against its original implementation, stored: tests/golden/NAME, one entry each.

A family adds a line to ``ENTRIES``; ``recipes/family_golden.py`` cuts its golden. What is special
to a family (damaged tokenizers, kinds that are refused) has a test module of its own.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ntvep import dna
from ntvep.errors import ModelError
from ntvep.models.checkpoint import Checkpoint, describe, read_checkpoint
from ntvep.models.family import Encoder
from ntvep.models.registry import FAMILIES
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"

# Keys of config.json on which no number of an inference in float32 depends, in any family.
METADATA = {
    "_name_or_path", "architectures", "auto_map", "dtype", "initializer_range", "torch_dtype",
    "transformers_version", "use_cache",
}  # fmt: skip


# Of BERT's kin: what matters in training, in other heads or for padding alone.
BERT = frozenset(
    (
        "attention_probs_dropout_prob",
        "gradient_checkpointing",
        "hidden_dropout_prob",
        "pad_token_id",
    )
)


# It adds the same to the scores of all keys of a query; not so where keys are rotated.
KEY_BIAS = r"bert\.encoder\.layer\.\d+\.attention\.self\.key\.bias"


def upper(text: str) -> bool:
    """What reaches a tokenizer: elsewhere these fold no case and know letters beside N."""
    return re.fullmatch(r"[ACGTN]+", text) is not None


@dataclass(frozen=True)
class Entry:
    """A golden, and what of it is special.

    Attributes:
        name: folder in tests/golden.
        family: its name in the registry.
        default_bases: the window of the contract for this checkpoint.
        tolerance: of logits and hidden states.
        without: keys of config.json that are not read, beside ``METADATA``; say why.
        changes: other values for keys whose change by one makes no difference.
        flags: keys that are not in the file -> a value that no published checkpoint has.
        optional: published tensors that may be absent, or whose values are not used (patterns).
        cancels: published tensors whose values cancel in every output, but which must be there.
        layers: layers whose hidden states are compared; None compares all that are stored.
        ids: from the ids that the original tokenizer gives to those that are scored.
        cases: whether a text of the original's tokenizer cases is DNA for us.
        half: how far bfloat16 may move the logits, of their standard deviation.
    """

    name: str
    family: str
    default_bases: int
    tolerance: float = 2e-5
    without: frozenset[str] = frozenset()
    changes: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    cancels: str = "(?!)"
    layers: tuple[int, ...] | None = None
    ids: Callable[[list[int]], list[int]] = list
    cases: Callable[[str], bool] = lambda text: re.fullmatch(r"[A-Za-z.*-]+", text) is not None
    half: float = 0.1

    @property
    def folder(self) -> Path:
        return GOLDEN / self.name


# Integers that config.json holds too, and compared there with the tokenizer.
_COMPLEMENT_MAPS = (r".*\.complement_map",)
# How weights were drawn, the padding's id, and in which precision the authors keep sums.
_CADUCEUS_TRAINING = frozenset(("initializer_cfg", "pad_token_id", "residual_in_fp32"))
# How weights were drawn, which kernels run, and how many; max_seqlen is the longest input alone.
_EVO2_EXECUTION = frozenset((
    "model_name", "max_seqlen", "mlp_init_method", "mlp_output_init_method",
    "make_vocab_size_divisible_by", "inner_size_multiple_of", "log_intermediate_values",
    "model_parallel_size", "pipe_parallel_size", "max_batch_size", "use_flash_attn",
    "use_flash_rmsnorm", "use_flash_depthwise", "use_flashfft", "use_laughing_hyena",
    "inference_mode", "prefill_style", "print_activations",
))  # fmt: skip
_CADUCEUS_FLAGS = {"d_intermediate": 64}

ENTRIES = [
    Entry(
        "gpn_convnet",
        "gpn",
        512,
        changes={"dilation_max": 16},
        flags={"dilation_base": 3, "n_aux_features": 5},
    ),
    Entry(
        "gpn_bytenet",
        "gpn",
        512,
        # Sizes of the feed-forward block and of auxiliary inputs, which a ByteNet does not have;
        # dropout and the padding's id matter in training alone.
        without=frozenset(
            ("intermediate_size", "aux_features_vocab_size", "hidden_dropout_prob", "pad_token_id")
        ),
        changes={"dilation_max": 64},
    ),
    # 73 bases: the golden has 3 stacks, the published model 20, whose window is 481.
    Entry("phylogpn", "phylogpn", 73),
    Entry(
        "dnabert_3mer",
        "dnabert",
        512,
        tolerance=5e-5,
        without=BERT - {"gradient_checkpointing"},
        cancels=KEY_BIAS,
    ),
    Entry(
        "dnabert_6mer",
        "dnabert",
        515,
        tolerance=5e-5,
        without=BERT - {"gradient_checkpointing"},
        cancels=KEY_BIAS,
    ),
    Entry(
        "mutbert",
        "mutbert",
        510,
        tolerance=5e-5,
        # Of its classifiers; and the limit of its inputs, which is not a tensor here.
        without=BERT - {"gradient_checkpointing"}
        | {"classifier_dropout", "pooler_type", "max_position_embeddings"},
        cases=upper,
    ),
    Entry(
        "gena_preln",
        "gena",
        3_000,
        without=BERT,
        optional=(r"bert\.embeddings\.position_ids",),
        cancels=KEY_BIAS,
        cases=upper,
    ),
    Entry(
        "gena_lastln",
        "gena",
        3_000,
        without=BERT,
        flags={"last_layer_norm": False},
        optional=(r"bert\.embeddings\.position_ids",),
        cancels=KEY_BIAS,
        cases=upper,
    ),
    Entry(
        "dnabert2",
        "dnabert2",
        700,
        # Its ALiBi grows with the input, whatever its size at first; positions have no table.
        without=BERT - {"pad_token_id"}
        | {"classifier_dropout", "alibi_starting_size", "max_position_embeddings"},
        cases=upper,
    ),
    Entry(
        "modernbert",
        "moderngena",
        6_000,
        tolerance=5e-5,
        # The limit of its inputs, settings of training, ids of tokens that only other objectives
        # use, and a name of BERT's for norm_eps.
        without=frozenset(
            (
                "attention_dropout",
                "bos_token_id",
                "embedding_dropout",
                "eos_token_id",
                "initializer_cutoff_factor",
                "layer_norm_eps",
                "max_position_embeddings",
                "mlp_dropout",
                "pad_token_id",
            )
        ),
        changes={"local_attention": 24},
        flags={"classifier_bias": True, "classifier_activation": "relu"},
        cases=upper,
    ),
    Entry(
        "hyenadna",
        "hyenadna",
        512,
        # Dropout, the padding's id, and the first values of frequencies that are trained since.
        without=frozenset(
            (
                "activation_freq",
                "embed_dropout",
                "hyena_dropout",
                "hyena_filter_dropout",
                "pad_token_id",
            )
        ),
        # 13 tokens would be padded to 16 as the 12 are.
        changes={"vocab_size": 17},
    ),
    # What one stream has no use for is fused_add_norm, which exchanges two.
    Entry(
        "caduceus_ph",
        "caduceus",
        1024,
        without=_CADUCEUS_TRAINING | {"fused_add_norm"},
        optional=_COMPLEMENT_MAPS,
        flags=_CADUCEUS_FLAGS,
    ),
    Entry(
        "caduceus_ps",
        "caduceus",
        1024,
        without=_CADUCEUS_TRAINING,
        optional=_COMPLEMENT_MAPS,
        flags=_CADUCEUS_FLAGS,
    ),
    Entry(
        "plantcaduceus",
        "caduceus",
        512,
        without=_CADUCEUS_TRAINING,
        optional=_COMPLEMENT_MAPS,
        flags=_CADUCEUS_FLAGS,
    ),
    Entry("ntv3", "ntv3", 8192, tolerance=5e-5),
    Entry(
        "evo2",
        "evo2",
        8192,
        tolerance=5e-5,
        without=_EVO2_EXECUTION,
        changes={"rotary_emb_base": 10, "rotary_emb_scaling_factor": 2},
    ),
    Entry(
        "agront",
        "nt",
        6_138,
        # Dropout; what transformers stores of other models of its class. Any model with
        # token_dropout in its config.json is tried as a Nucleotide Transformer.
        without=frozenset(
            (
                "attention_probs_dropout_prob",
                "hidden_dropout_prob",
                "esmfold_config",
                "vocab_list",
                "model_type",
            )
        ),
        # Contacts are not predicted; a key's bias adds the same to all scores of a query.
        optional=(r"esm\.contact_head\..*", r".*\.key\.bias"),
    ),
    Entry(
        "marin-dna",
        "marin-dna",
        255,
        # What matters in training alone; how long a window may be; windows that slide over keys,
        # which have no width in this file; a key of its authors' training code.
        without=frozenset(
            (
                "attention_dropout",
                "max_position_embeddings",
                "max_window_layers",
                "sliding_window",
                "use_sliding_window",
                "no_bias",
            )
        ),
        changes={
            "rope_theta": 10_000,
            "rope_scaling": {
                "factor": 8.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 64,
                "rope_type": "llama3",
            },
        },
    ),
    Entry(
        "generator",
        "generator",
        8_190,
        # What matters in training alone; how long a window may be; how text is ended.
        without=frozenset(
            ("attention_dropout", "max_position_embeddings", "pretraining_tp", "eos_token_id")
        ),
    ),
    # A stock model, of the last family in the registry.
    Entry(
        "mamba",
        "stock",
        512,
        # Ids that no input holds; keys of the original code, for which transformers has others;
        # how weights began in training; a precision that is ours to choose.
        without=frozenset(
            (
                "bos_token_id",
                "eos_token_id",
                "pad_token_id",
                "d_inner",
                "d_model",
                "n_layer",
                "expand",
                "fused_add_norm",
                "pad_vocab_size_multiple",
                "rms_norm",
                "ssm_cfg",
                "rescale_prenorm_residual",
                "residual_in_fp32",
                "time_step_floor",
                "time_step_max",
                "time_step_min",
                "time_step_init_scheme",
                "time_step_scale",
            )
        ),
    ),
]
NAMES = [entry.name for entry in ENTRIES]


@pytest.fixture(params=ENTRIES, ids=NAMES)
def entry(request) -> Entry:
    return request.param


@cache
def loaded(folder: Path) -> Checkpoint:
    return read_checkpoint(folder)


@cache
def golden(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with np.load(GOLDEN / name / "golden.npz") as arrays:
        return dict(arrays), json.loads((GOLDEN / name / "golden.json").read_text())


def passes(*ids: Any) -> torch.Tensor:
    return torch.tensor(np.array(ids, np.int64))


def outputs(encoder: Encoder, ids: Any) -> np.ndarray:
    """Logits of every output of one pass."""
    return encoder.logits(encoder.hidden(passes(ids))[1][0]).numpy()


def compare(
    found: np.ndarray, stored: Mapping[str, np.ndarray], name: str, entry: Entry, rows: np.ndarray
) -> None:
    """Compare rows of logits with those that the cut golden has kept."""
    expected = stored.get(f"{name}/logits")
    if expected is None:
        expected = stored[f"{name}/log_rates"]
    found = found[rows]
    if f"{name}/columns" in stored:
        total = torch.tensor(found).double().logsumexp(1).numpy()
        np.testing.assert_allclose(total, stored[f"{name}/logsumexp"], rtol=0, atol=entry.tolerance)
        found = found[:, stored[f"{name}/columns"]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=entry.tolerance, err_msg=name)


def test_the_table_is_whole():
    """Each family has an entry, or the tests of its own that Nucleotide Transformer has."""
    # Carbon's 155,776 rows do not fit a small golden; test_stock.py tests what is special about it.
    others = {"nt", "carbon"}
    assert {family.name for family in FAMILIES} == {entry.family for entry in ENTRIES} | others
    assert len(set(NAMES)) == len(NAMES)


def test_size_of_the_golden(entry):
    assert sum(path.stat().st_size for path in entry.folder.iterdir()) <= 1_000_000


def test_logits(entry):
    stored, about = golden(entry.name)
    assert len(about["sequences"]) >= 3
    for name in about["sequences"]:
        found = outputs(loaded(entry.folder).encoder, entry.ids(list(stored[f"{name}/ids"])))
        compare(found, stored, name, entry, stored[f"{name}/rows"])


def test_hidden_states_of_every_layer(entry):
    stored, about = golden(entry.name)
    encoder = loaded(entry.folder).encoder
    compared = set()
    for name in about["sequences"]:
        ids, rows = passes(entry.ids(list(stored[f"{name}/ids"]))), stored[f"{name}/rows"]
        last = encoder.hidden(ids)[1]
        assert last.shape[2] == encoder.dim
        assert torch.equal(encoder.hidden(ids)[0], last)
        np.testing.assert_allclose(
            last[0].numpy()[rows], stored[f"{name}/last"], rtol=0, atol=entry.tolerance
        )
        for layer in range(encoder.layers + 1):
            chosen, same = encoder.hidden(ids, layer)
            torch.testing.assert_close(same, last, rtol=0, atol=0)
            if layer == encoder.layers:
                assert torch.equal(chosen, last)
            elif f"{name}/hidden_{layer}" in stored and layer in (entry.layers or (layer,)):
                expected = stored[f"{name}/hidden_{layer}"]
                np.testing.assert_allclose(
                    chosen[0].numpy()[rows], expected, rtol=0, atol=entry.tolerance
                )
                compared.add(layer)
    wanted = {int(key.rpartition("_")[2]) for key in stored if re.search(r"/hidden_\d+$", key)}
    wanted = wanted if entry.layers is None else set(entry.layers)
    assert compared == wanted - {encoder.layers}


def test_masked_logits(entry):
    stored, _ = golden(entry.name)
    checkpoint = loaded(entry.folder)
    masked = sorted({key.rpartition("/")[0] for key in stored if "/masked_" in key})
    assert bool(masked) == (checkpoint.description.objective == "masked")
    for name in masked:
        ids, at = entry.ids(list(stored[f"{name}/ids"])), stored[f"{name}/at"]
        assert {int(ids[i]) for i in at} == {checkpoint.description.tokenizer.mask}
        compare(outputs(checkpoint.encoder, ids), stored, name, entry, at)


def test_tokenizer(entry):
    """Ids of every sequence, and of the cases that are DNA, as the original gives them."""
    stored, about = golden(entry.name)
    checkpoint = loaded(entry.folder)
    margin = checkpoint.encoder.margin
    cases = {text: list(ids) for text, ids in about["tokenizer_cases"].items() if entry.cases(text)}
    for name, text in about["sequences"].items():
        ids = list(stored[f"{name}/ids"])
        # The golden of a rate model is padded on both sides.
        cases[text] = ids[margin : len(ids) - margin]
    assert len(cases) >= 3
    for text, ids in cases.items():
        tokens = checkpoint.description.tokenizer.encode(dna.encode(text))
        assert tokens.ids.tolist() == entry.ids(ids), text
        assert tokens.bases == len(text)


def test_description(entry):
    """What is known without the weights is what the network is."""
    checkpoint = loaded(entry.folder)
    family, found = describe(entry.folder)
    encoder = checkpoint.encoder
    assert family.name == found.family == entry.family
    assert (found.objective, found.layers, found.max_tokens) == (
        encoder.objective,
        encoder.layers,
        encoder.max_tokens,
    )
    assert found.default_bases == entry.default_bases <= found.trained_bases
    assert found.default_bases % found.step == 0
    assert (found.tokenizer.mask is not None) == (found.objective == "masked")
    assert found.field == (2 * encoder.margin + 1 if found.objective == "rates" else 0)
    assert found.vocabulary_sha256 == checkpoint.description.vocabulary_sha256
    assert re.fullmatch(r"[0-9a-f]{64}", found.vocabulary_sha256)
    assert found.tokenizer.identity() == checkpoint.description.tokenizer.identity()
    assert family.licence
    assert "llr" in family.authors
    assert family.models


def test_passes_do_not_depend_on_each_other(entry):
    """Nor do rows of logits."""
    encoder = loaded(entry.folder).encoder
    stored, about = golden(entry.name)
    names = list(about["sequences"])
    ids = [entry.ids(list(stored[f"{name}/ids"])) for name in names]
    shortest = min(map(len, ids))
    together = encoder.hidden(passes(*(one[:shortest] for one in ids)))[1]
    assert together.shape[:2] == (len(ids), shortest - 2 * encoder.margin)
    for number, one in enumerate(ids):
        alone = encoder.hidden(passes(one[:shortest]))[1][0]
        torch.testing.assert_close(together[number], alone, rtol=0, atol=entry.tolerance)
    rows = together[0]
    for row in (0, len(rows) // 2, len(rows) - 1):
        one = encoder.logits(rows[row : row + 1])
        torch.testing.assert_close(one, encoder.logits(rows)[row : row + 1], rtol=0, atol=1e-5)


def test_half_precision(entry):
    """Matrices of the blocks are held in it, and the outputs stay what they were, about."""
    stored, about = golden(entry.name)
    ids = entry.ids(list(stored[f"{next(iter(about['sequences']))}/ids"]))
    expected = outputs(loaded(entry.folder).encoder, ids)
    encoder = read_checkpoint(entry.folder).encoder.in_precision(torch.bfloat16)
    held = {parameter.dtype for parameter in encoder.parameters()}
    assert held == {torch.bfloat16, torch.float32}
    found = outputs(encoder, ids)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).mean() < entry.half * expected.std()


def test_the_first_blocks_can_be_spared_half_precision(entry):
    def narrow(spare):
        encoder = read_checkpoint(entry.folder).encoder.in_precision(torch.bfloat16, spare)
        held = encoder.named_parameters()
        return {name for name, weight in held if weight.dtype == torch.bfloat16}

    def blocks(names):
        return {int(re.search(r"\.(\d+)\.", name)[1]) for name in names}

    everything, later = narrow(0.0), narrow(0.5)
    assert narrow(1.0) == set()
    assert later < everything
    if entry.name.startswith("ntv3"):
        # Its blocks have three lists: the towers' first, whose filters come before all else.
        assert not any(name.startswith("down.") for name in later)
    else:
        assert max(blocks(everything - later)) < min(blocks(later))


# --- every tensor and every flag matters ---------------------------------------------------------


def copy(entry: Entry, folder: Path) -> Path:
    """The checkpoint, without its golden and its weights, somewhere else."""
    folder.mkdir()
    for path in entry.folder.iterdir():
        if path.suffix not in (".safetensors", ".npz") and path.name != "golden.json":
            shutil.copyfile(path, folder / path.name)
    return folder


def all_outputs(folder: Path, entry: Entry, count: int | None = None) -> np.ndarray:
    """Logits of the shortest sequences, with two masked tokens each where there is a mask."""
    stored, about = golden(entry.name)
    checkpoint = read_checkpoint(folder)
    mask = checkpoint.description.tokenizer.mask
    found = []
    for name in sorted(about["sequences"], key=lambda name: len(about["sequences"][name]))[:count]:
        ids = entry.ids(list(stored[f"{name}/ids"]))
        if mask is not None:
            ids[len(ids) // 3] = ids[len(ids) // 2] = mask
        found.append(outputs(checkpoint.encoder, ids).ravel())
    return np.concatenate(found)


def tensors_of(entry: Entry) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for path in sorted(entry.folder.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def is_optional(name: str, entry: Entry) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in entry.optional)


@pytest.mark.slow
def test_without_any_one_tensor_it_is_refused(entry, tmp_path):
    tensors = tensors_of(entry)
    folder = copy(entry, tmp_path / "model")
    for name in tensors:
        if is_optional(name, entry):
            continue
        save_file({k: v for k, v in tensors.items() if k != name}, folder / "model.safetensors")
        with pytest.raises(ModelError, match=re.escape(name)):
            read_checkpoint(folder)


@pytest.mark.slow
def test_any_one_tensor_that_is_changed_changes_the_output(entry, tmp_path):
    tensors = tensors_of(entry)
    folder = copy(entry, tmp_path / "model")
    save_file(tensors, folder / "model.safetensors")
    before = all_outputs(folder, entry, 1)
    generator = torch.Generator().manual_seed(1)
    unused = []
    for name, tensor in tensors.items():
        if is_optional(name, entry) or re.fullmatch(entry.cancels, name):
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        changed = tensor + 0.1 * (tensor.float().std(correction=0) + 0.1) * noise
        save_file(tensors | {name: changed.to(tensor.dtype)}, folder / "model.safetensors")
        if not np.abs(all_outputs(folder, entry, 1) - before).max() > 1e-5:
            unused.append(name)
    assert not unused


def test_a_tensor_too_many_is_refused(entry, tmp_path):
    folder = copy(entry, tmp_path / "model")
    extra = {"surplus.weight": torch.zeros(3)}
    save_file(tensors_of(entry) | extra, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"surplus\.weight"):
        read_checkpoint(folder)


def other_value(value: Any) -> Any:
    """A value that is not this one, of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return 2 * value + 0.5
        case str():
            return value + "_other"
        case None:
            return 1
        case list() | tuple():
            return [*value, *(value[-1:] or [1])]
        case _:
            return {**value, "other": 1}


def test_any_one_flag_that_is_changed_is_refused_or_changes_the_output(entry, tmp_path):
    folder = copy(entry, tmp_path / "model")
    save_file(tensors_of(entry), folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    before, tokenizer = all_outputs(folder, entry), describe(folder)[1].tokenizer.identity()
    assert not entry.flags.keys() & config.keys()
    assert entry.changes.keys() | entry.without <= config.keys()
    changes = {key: other_value(value) for key, value in config.items()} | dict(entry.changes)
    ignored = []
    for key, value in (changes | dict(entry.flags)).items():
        if key in METADATA | entry.without:
            continue
        (folder / "config.json").write_text(json.dumps(config | {key: value}))
        try:
            after = all_outputs(folder, entry)
        except ModelError:
            continue
        if describe(folder)[1].tokenizer.identity() == tokenizer and (
            after.shape == before.shape and not np.abs(after - before).max() > 1e-5
        ):
            ignored.append(key)
    assert not ignored
