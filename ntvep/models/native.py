"""config.json -> a class of transformers itself, without weights; tokens -> its hidden states.

The networks are those of the library transformers; nothing of the checkpoint's folder is run. Which
of them can be trusted with what is measured on the loaded weights before anything is scored, see
:mod:`ntvep.models.probes`.

Rows of one batch all have the same length: nothing is ever padded, so no attention mask is needed.
"""

import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from ntvep.errors import ModelError
from ntvep.models.family import Config, Shapes, TensorMap
from ntvep.models.probes import probe
from ntvep.objectives import Objective

# A configuration of transformers; the library is imported where it is needed, because that takes
# seconds and most families do without it.
NativeConfig = Any

# Masked models: the layers between the last hidden states and the logits, in this order.
_HEADS: Mapping[str, tuple[str, ...]] = {
    "bert": ("cls",),
    "roberta": ("lm_head",),
}
# Far beyond every published model: what is outside is a damaged or hostile config.json, and must
# not decide how much memory we ask for. Some models hold a table of position x position.
_MOST = {
    "num_hidden_layers": 1 << 10,
    "num_attention_heads": 1 << 12,
    "num_local_experts": 1 << 10,
    "hidden_size": 1 << 17,
    "intermediate_size": 1 << 19,
    "vocab_size": 1 << 20,
    "max_position_embeddings": 1 << 24,
}
# These have no weights of their own, or belong to a task that is not asked for.
_IGNORED = (
    r".*\.position_ids",
    r".*\.rotary_emb(eddings)?\.inv_freq",
    r"(transformer\.)?h\.\d+\.attn\.(masked_)?bias",
    r"gpt_neox\.layers\.\d+\.attention\.(masked_)?bias",
    r"(bert|roberta)\.pooler\.dense\.(weight|bias)",
    r"cls\.seq_relationship\.(weight|bias)",
)
# Signs of another architecture under a model_type of transformers.
_FOREIGN = {
    "Wqkv": "MosaicBERT, the architecture of DNABERT-2",
    "pre_attention_ln": "a BERT that normalises before its blocks, the architecture of GENA-LM",
}


@dataclass(frozen=True)
class _Experts:
    """How a mixture of experts is published: the tensors of each expert one by one.

    Attributes:
        number: the key of config.json that says how many there are.
        block: the name of the mixture in the file, and in transformers 5.
        gate_up: the two parts of what transformers holds as one matrix.
        down: the third matrix.
    """

    number: str
    block: tuple[str, str]
    gate_up: tuple[str, str]
    down: str

    def published(self, name: str, native: NativeConfig) -> tuple[str, ...]:
        """The published names of one of transformers' tensors."""
        name = name.replace(f".{self.block[1]}.", f".{self.block[0]}.")
        match = re.fullmatch(r"(.*\.experts)\.parametrizations\.(\w+)\.original", name)
        if match is None:
            return (name,)
        parts = self.gate_up if match[2] == "gate_up_proj" else (self.down,)
        several = range(getattr(native, self.number))
        return tuple(f"{match[1]}.{i}.{part}.weight" for i in several for part in parts)


_EXPERTS = {
    "mixtral": _Experts("num_local_experts", ("block_sparse_moe", "mlp"), ("w1", "w3"), "w2"),
    "jamba": _Experts(
        "num_experts", ("feed_forward", "feed_forward"), ("gate_proj", "up_proj"), "down_proj"
    ),
}
# Keys that choose an implementation, or code, from elsewhere.
_NOT_OURS = re.compile(r"auto_map|_?attn_implementation.*|_?experts_implementation.*|_commit_hash")


@dataclass(frozen=True)
class States:
    """Keys and values of every token of some passes, by layer: what later tokens attend to."""

    layers: tuple[tuple[Tensor, Tensor], ...]


def is_native(config: Config) -> bool:
    """Whether transformers has a language model of this model_type that ntvep can run."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config.get("model_type")
    return kind in _HEADS or kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def objective_of(config: Config) -> Objective:
    """``masked`` or ``causal``; the probe of the weights confirms it."""
    return "masked" if config["model_type"] in _HEADS else "causal"


def native_config(config: Config) -> NativeConfig:
    """Transformers' own reading of a config.json by transformers itself, defaults filled in.

    Raises:
        ModelError: it describes no model that can be, or none that is read here.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        for key, most in _MOST.items():
            value = config.get(key)
            if value is not None and (type(value) is not int or not 0 < value <= most):
                raise ValueError(f"{key} is {value!r:.40}, expected a number from 1 to {most}")
        if "quantization_config" in config:
            raise ValueError("the weights are quantised, expected floating-point numbers")
        if config.get("is_decoder") and objective_of(config) == "masked":
            raise ValueError("is_decoder is true for a masked language model")
        # A copy: transformers writes into the dictionaries that it is given.
        ours = {
            key: _special_floats(deepcopy(value))
            for key, value in config.items()
            if not _NOT_OURS.fullmatch(key)
        }
        # Defaults of transformers name ids of an English vocabulary.
        absent = {key: None for key in ("bos_token_id", "eos_token_id") if key not in ours}
        with _quiet():
            read: NativeConfig = CONFIG_MAPPING[config["model_type"]].from_dict(ours | absent)
        for key in ("num_hidden_layers", "hidden_size", "vocab_size"):
            value = getattr(read, key, None)
            if type(value) is not int or not 0 < value <= _MOST[key]:
                raise ValueError(
                    f"{key} is {value!r:.40}, expected a number from 1 to {_MOST[key]}"
                )
    except (StrictDataclassError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"config.json of model_type {config.get('model_type')!r:.40}: {_line(error)}; expected "
            "that of a language model as transformers writes it. See what ntvep scores "
            "with: ntvep model list"
        ) from error
    read.use_cache = False
    return read


def _special_floats(value: Any) -> Any:
    """Infinities, which transformers 5 writes as objects."""
    if isinstance(value, dict) and value.keys() == {"__float__"}:
        return float(value["__float__"])
    if isinstance(value, list):
        return [_special_floats(one) for one in value]
    return value


def most_tokens(config: Config) -> int | None:
    """The longest input by its positions, special tokens included; None without such a limit."""
    most = getattr(native_config(config), "max_position_embeddings", None)
    if most is None:
        return None
    # RoBERTa's positions begin after the padding index.
    return int(most) - (
        config.get("pad_token_id", 1) + 1 if config["model_type"] == "roberta" else 0
    )


class Native(nn.Module):
    """A language model of transformers as an :class:`ntvep.models.family.Encoder`.

    A causal one whose probe shows that the states of a prefix can be reused also has ``prefix`` and
    ``go_on``, see :class:`ntvep.models.family.GoesOn`.

    Attributes:
        pads: whether tokens after the end of an input change nothing before it.
        not_shared: why there is no ``prefix``; None where there is one.
    """

    margin = 0
    # Steps of transformers need more room for a token than ours: two windows of 512 bases.
    cpu_batch_tokens = 1_280

    def __init__(self, config: Config, shapes: Shapes, max_tokens: int) -> None:
        super().__init__()
        _refuse_foreign(config, shapes)
        native = native_config(config)
        self.objective: Objective = objective_of(config)
        self.dim: int = native.hidden_size
        self.layers: int = native.num_hidden_layers
        self.vocab_size: int = native.vocab_size
        self.max_tokens = max_tokens
        self.pads = False
        self.not_shared: str | None = "it has not been probed yet"
        self._tied = {
            f"model.{copy}": f"model.{original}"
            for copy, original in _ties(native).items()
            if native.tie_word_embeddings
        }
        self._probed = False
        self.model = _without_weights(native, self.objective)
        for module in self.model.modules():
            _flatten_experts(module)

    @property
    def base(self) -> nn.Module:
        """The network without its head."""
        found: nn.Module = getattr(self.model, self.model.base_model_prefix)
        return found

    @property
    def blocks(self) -> nn.ModuleList:
        """Its blocks, in order."""
        for module in self.base.modules():
            if isinstance(module, nn.ModuleList) and len(module) == self.layers:
                return module
        raise ModelError(
            f"{type(self.model).__name__} of transformers has no list of {self.layers} blocks, so "
            "its hidden layers cannot be told apart; ntvep does not run this architecture"
        )

    def loaded(self) -> None:
        """Share what the checkpoint says is shared.

        Raises:
            ModelError: the file has two different tensors for one.
        """
        for copy, original in self._tied.items():
            parameters = dict(self.named_parameters())
            if not torch.equal(parameters[copy], parameters[original]):
                raise ModelError(
                    f"config.json says that {copy.removeprefix('model.')} and "
                    f"{original.removeprefix('model.')} are one tensor, but the weights hold two "
                    "different ones; fetch the model again with: ntvep model fetch ID"
                )
            module, _, name = copy.rpartition(".")
            setattr(self.get_submodule(module), name, parameters[original])

    def probe(self) -> None:
        """Measure what this network can be trusted with, where it lies and in its precision.

        Called once, before the first answer at the latest; see :mod:`ntvep.models.probes`.

        Raises:
            ModelError: it is not what its config.json says, or its outputs are not numbers.
        """
        if self._probed:
            return
        self._probed = True
        with torch.inference_mode():
            found = probe(self)
        self.pads, self.not_shared = found.pads, found.not_shared
        if found.not_shared is None:
            # Only now: the engine shares prefixes where it finds these.
            self.prefix, self.go_on = self.run_prefix, self.run_on

    def hidden(
        self, ids: Int[Tensor, "pass token"], layer: int | None = None
    ) -> tuple[Float[Tensor, "pass token dim"], Float[Tensor, "pass token dim"]]:
        """Hidden states of a layer (None: the last), and of the last; inputs of one length."""
        self.probe()
        return self.run(ids, layer)

    def logits(self, rows: Float[Tensor, "row dim"]) -> Float32[Tensor, "row vocab"]:
        """Logits of rows of the last layer."""
        if self.objective == "causal":
            heads: list[Any] = [self.model.get_output_embeddings()]
        else:
            heads = [getattr(self.model, name) for name in _HEADS[self.model.config.model_type]]
        for head in heads:
            rows = head(rows)
        return rows.float()

    def in_precision(self, precision: torch.dtype, spare: float = 0.0) -> "Native":
        """Hold the matrices of the blocks in a precision; their inputs and outputs stay float32.

        Embeddings, norms, residual sums, attention and the head stay in float32, and so do the
        matrices of mixtures of experts and the small one for the time steps of Mamba, which its
        code multiplies with by itself.
        """
        if precision is torch.float32:
            return self
        from transformers.pytorch_utils import Conv1D

        first = math.ceil(spare * self.layers)
        for name, module in self.blocks[first:].named_modules():
            if isinstance(module, nn.Linear | Conv1D) and not name.endswith("dt_proj"):
                module.to(precision)
                module.register_forward_pre_hook(_to_weights)
                module.register_forward_hook(_to_float32)
        return self

    def run(
        self, ids: Int[Tensor, "pass token"], layer: int | None, cache: Any = None
    ) -> tuple[Float[Tensor, "pass token dim"], Float[Tensor, "pass token dim"]]:
        """``hidden`` of tokens that follow those of a cache, which then holds them too."""
        memory = {} if cache is None else {"past_key_values": cache, "use_cache": True}
        with self._noting(layer) as noted:
            last: Tensor = self.base(input_ids=ids, **memory).last_hidden_state
        return (noted[0] if noted else last), last

    def run_prefix(
        self, ids: Int[Tensor, "pass token"], layer: int | None = None
    ) -> tuple[Float[Tensor, "pass token dim"], Float[Tensor, "pass token dim"], States]:
        """``prefix`` of :class:`ntvep.models.family.GoesOn`."""
        # Without the model's config: a window that slides over keys could not be cut back.
        from transformers import DynamicCache

        cache = DynamicCache()
        chosen, last = self.run(ids, layer, cache)
        layers: Any = cache.layers
        return chosen, last, States(tuple((kept.keys, kept.values) for kept in layers))

    def run_on(
        self,
        state: States,
        rows: Int[Tensor, "go"],
        shared: int,
        ids: Int[Tensor, "go rest"],
        layer: int | None = None,
    ) -> tuple[Float[Tensor, "go rest dim"], Float[Tensor, "go rest dim"]]:
        """``go_on`` of :class:`ntvep.models.family.GoesOn`."""
        from transformers import DynamicCache

        cache = DynamicCache()
        for number, (keys, values) in enumerate(state.layers):
            # Selecting copies only what is needed; cropping (whose sign differs between releases)
            # would need a copy of everything.
            cache.update(keys[:, :, :shared][rows], values[:, :, :shared][rows], number)
        return self.run(ids, layer, cache)

    @contextmanager
    def _noting(self, layer: int | None) -> Iterator[list[Tensor]]:
        """Keep the hidden states of one layer: the input of the block after it."""
        noted: list[Tensor] = []
        if layer in (None, self.layers):
            yield noted
            return

        def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            noted.append(args[0] if args else kwargs["hidden_states"])

        hook = self.blocks[layer].register_forward_pre_hook(note, with_kwargs=True)
        try:
            yield noted
        finally:
            hook.remove()


def native_tensors(config: Config, shapes: Shapes) -> TensorMap:
    """Which published tensors :class:`Native` is made of: transformers' names, but for experts."""
    native = native_config(config)
    kind = _model_class(native, objective_of(config))
    prefix = f"{kind.base_model_prefix}."
    # Some checkpoints were saved without their head, and without the name in front.
    bare = not any(name.startswith(prefix) for name in shapes)
    names = _EXPERTS.get(config["model_type"])

    def in_file(theirs: str) -> tuple[str, ...]:
        name = theirs.removeprefix(prefix) if bare else theirs
        if name == "lm_head.weight" and "embed_out.weight" in shapes:
            # GPT-NeoX, before transformers gave all heads one name.
            return ("embed_out.weight",)
        return (name,) if names is None else names.published(name, native)

    tied = {in_file(copy)[0]: in_file(original)[0] for copy, original in _ties(native).items()}
    return TensorMap(
        lambda name: in_file(name.removeprefix("model.")),
        tuple(re.compile(pattern) for pattern in _IGNORED),
        tied,
    )


def _refuse_foreign(config: Config, shapes: Shapes) -> None:
    kind = config["model_type"]
    for part, architecture in _FOREIGN.items():
        if name := next((name for name in shapes if f".{part}." in name), None):
            raise ModelError(
                f"config.json says model_type {kind}, but the weights hold {name}: this is "
                f"{architecture}, and transformers' {kind} would start most of it at random. "
                "See which families ntvep scores with: ntvep model list"
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' advice on config.json, which users cannot follow: it is published."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        transformers_logging.set_verbosity(level)


class _Empty(TorchFunctionMode):
    """What is made to be filled from a file takes no memory; what is computed is computed.

    A network made on the device ``meta`` would lose its tables of frequencies and positions, which
    no checkpoint holds.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Send the results of ``torch.empty`` to the device ``meta``."""
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def _auto(objective: Objective) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    return AutoModelForCausalLM if objective == "causal" else AutoModelForMaskedLM


def _model_class(native: NativeConfig, objective: Objective) -> Any:
    kind: Any = _auto(objective)._model_mapping[type(native)]
    return kind


def _without_weights(native: NativeConfig, objective: Objective) -> Any:
    """Transformers' network; its tables that no file holds are there, its weights are not."""
    with _quiet():
        apart = type(native).from_dict(native.to_dict())
    # They are shared once they are loaded; assigning weights would part them.
    apart.tie_word_embeddings = False
    try:
        with torch.device("cpu"), _Empty(), _quiet():
            model: Any = _auto(objective).from_config(
                apart, trust_remote_code=False, dtype=torch.float32
            )
    except (ImportError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"transformers cannot build its {native.model_type} from this config.json: "
            f"{_line(error)}; fetch the model again, or update transformers"
        ) from error
    for module in model.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if name.endswith("inv_freq"):
                # Computed from config.json; some releases would want it from the file.
                module.register_buffer(name, buffer, persistent=False)
    return model


def _ties(native: NativeConfig) -> dict[str, str]:
    """Names of transformers' tensors -> the ones they share values with."""
    tied = _model_class(native, objective_of({"model_type": native.model_type}))._tied_weights_keys
    if not isinstance(tied, Mapping):
        return {}
    # Files with embeddings of their own for the head may yet leave out its second name for a bias.
    return {
        copy: original
        for copy, original in tied.items()
        if native.tie_word_embeddings or copy.endswith(".bias")
    }


class _Stacked(nn.Module):
    """Matrices one below the other, as a file gives them, seen as a stack."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, flat: Float[Tensor, "rows dim"]) -> Float[Tensor, "number part dim"]:
        """The stack."""
        return flat.view(self.number, -1, flat.shape[1])

    def right_inverse(self, stack: Float[Tensor, "number part dim"]) -> Float[Tensor, "rows dim"]:
        """The matrices one below the other."""
        return stack.flatten(0, 1)


def _flatten_experts(module: nn.Module) -> None:
    """Experts: one stack in transformers 5, one tensor each in published files."""
    for name in ("gate_up_proj", "down_proj"):
        stack = getattr(module, name, None)
        if isinstance(stack, nn.Parameter) and stack.ndim == 3:
            stacked = _Stacked(stack.shape[0])
            parametrize.register_parametrization(module, name, stacked, unsafe=True)


def _line(error: Exception) -> str:
    """An error of a library in one line."""
    return " ".join(str(error).split())[:300]


def _to_weights(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    weight: Tensor = module.weight  # type: ignore[assignment]
    return (args[0].to(weight.dtype), *args[1:])


def _to_float32(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
    return output.float()
