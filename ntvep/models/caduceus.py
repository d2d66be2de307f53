"""tokens -> hidden states -> logits: Caduceus (Ph, PS) and PlantCaduceus.

A bidirectional Mamba (Gu and Dao, arXiv:2312.00752) over single bases: Schiff et al., Caduceus,
arXiv:2403.03234; Zhai et al., PlantCaduceus, PNAS 2025. `Ph` was trained on both strands; `PS` and
PlantCaduceus carry a second stream of channels for the other strand, and agree between strands by
construction. Each block of these two **exchanges** the streams: they were trained with a fused
kernel (``fused_add_norm``) that feeds the second half of the channels to the forward part, and the
un-fused code with the same weights is another function.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from ntvep.description import Description
from ntvep.errors import ModelError
from ntvep.models.characters import CHARACTERS_SHA256, character_tokenizer
from ntvep.models.expected import check_config, check_small, refused
from ntvep.models.family import Config, Family, Shapes, TensorMap
from ntvep.models.folder import parse_json, read_text
from ntvep.models.layers import Product, causal_depthwise, hold
from ntvep.models.scan import selective_scan
from ntvep.tokenizers.base import Base, base_tokenizer


@dataclass(frozen=True)
class Architecture:
    """What config.json says about a checkpoint.

    Attributes:
        step_rank: channels that step sizes are computed from.
        two_streams: PS and PlantCaduceus.
        complement: of each token's id, that of its complement; may be empty for one stream.
    """

    layers: int
    dim: int
    vocab_size: int
    inner: int
    states: int
    taps: int
    step_rank: int
    eps: float
    two_streams: bool
    complement: tuple[int, ...]


class Direction(nn.Module):
    """What one direction of a Mamba block has for itself: short filter, step sizes, rates, skip."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.sizes = (arch.step_rank, arch.states, arch.states)
        self.taps = nn.Parameter(torch.empty(arch.inner, 1, arch.taps))
        self.taps_bias = nn.Parameter(torch.empty(arch.inner))
        self.project = nn.Linear(arch.inner, sum(self.sizes), bias=False)
        self.step = nn.Linear(arch.step_rank, arch.inner)
        self.log_rates = nn.Parameter(torch.empty(arch.inner, arch.states))
        self.skip = nn.Parameter(torch.empty(arch.inner))

    def forward(
        self, u: Float32[Tensor, "pass token inner"]
    ) -> Float32[Tensor, "pass token inner"]:
        """Filter and selective scan, from left to right; float32, as sums of exponents need."""
        u = F.silu(causal_depthwise(u, self.taps, self.taps_bias))
        step, into, out_of = self.project(u).split(self.sizes, dim=-1)
        dt = F.softplus(self.step(step))
        return selective_scan(u, dt, -self.log_rates.exp(), into, out_of).addcmul_(u, self.skip)


class Block(nn.Module):
    """RMS norm and a Mamba that reads both ways; the directions share their outer projections."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(arch.dim, eps=arch.eps)
        self.project_in = Product(arch.dim, 2 * arch.inner, bias=False)
        self.forwards = Direction(arch)
        self.backwards = Direction(arch)
        self.project_out = Product(arch.inner, arch.dim, bias=False)

    def forward(self, residual: Float[Tensor, "pass token dim"]) -> Float[Tensor, "pass token dim"]:
        """What the block adds to the residual."""
        u, gate = self.project_in(self.norm(residual)).float().chunk(2, dim=-1)
        both = self.forwards(u) + self.backwards(u.flip(1)).flip(1)
        out: Tensor = self.project_out(both * F.silu(gate))
        return out.float()


def other_strand(x: Float[Tensor, "*pass token dim"]) -> Float[Tensor, "*pass token dim"]:
    """Hidden states as the other strand reads them: tokens and channels in reverse order."""
    return x.flip(-2, -1)


class Caduceus(nn.Module):
    """One stream (Ph) or two (PS, PlantCaduceus).

    Layer 0 is the embeddings, layer k < `layers` what block k adds to the residual, as the original
    returns it; the last layer is the residual after the final norm.
    """

    objective = "masked"
    margin = 0
    # No limit is built in; this is the longest that a published model was trained with.
    max_tokens = 131_072

    complement: Tensor

    def __init__(self, arch: Architecture, repeated: tuple[str, ...] = ()) -> None:
        """The network; ``repeated``: our names of tensors that the file holds twice."""
        super().__init__()
        self.layers, self.two_streams, self._pairs = arch.layers, arch.two_streams, repeated
        self._complement = arch.complement
        self.dim = arch.dim * (1 + self.two_streams)
        self.words = nn.Embedding(arch.vocab_size, arch.dim)
        self.blocks = nn.ModuleList(Block(arch) for _ in range(arch.layers))
        self.final_norm = nn.RMSNorm(arch.dim, eps=arch.eps)
        self.copies = nn.ParameterList(
            torch.empty_like(self.get_parameter(name)) for name in repeated
        )

    def loaded(self) -> None:
        """Compare what the file holds twice, and write down the complements.

        Raises:
            ModelError: two tensors that the network shares are not equal.
        """
        for name, copy in zip(self._pairs, self.copies, strict=True):
            if not torch.equal(self.get_parameter(name), copy):
                raise ModelError(
                    f"*.safetensors: the second copy of {name} (of the head, or of the reading "
                    "from right to left) differs from the first; expected equal tensors, as "
                    "Caduceus shares them. Fetch the model again with: ntvep model fetch ID"
                )
        del self.copies
        self.register_buffer("complement", torch.tensor(self._complement), persistent=False)

    def hidden(
        self, ids: Int[Tensor, "pass token"], layer: int | None = None
    ) -> tuple[Float[Tensor, "pass token dim"], Float[Tensor, "pass token dim"]]:
        """Hidden states of ``layer`` (None: the last) and of the last layer."""
        chosen, last = (self._two if self.two_streams else self._one)(ids, layer)
        return (last if layer in (None, self.layers) else chosen), last

    def _one(self, ids: Int[Tensor, "pass token"], layer: int | None) -> tuple[Tensor, Tensor]:
        added = chosen = self.words(ids)
        residual = torch.zeros_like(added)
        for number, block in enumerate(self.blocks, start=1):
            residual = residual + added
            added = block(residual)
            if number == layer:
                chosen = added
        return chosen, self.final_norm(residual + added)

    def _two(self, ids: Int[Tensor, "pass token"], layer: int | None) -> tuple[Tensor, Tensor]:
        """Both streams pass the blocks as rows of one batch; the second as its own strand reads."""
        passes = len(ids)
        added = torch.cat((self.words(ids), self.words(self.complement[ids].flip(1))))
        chosen = self._together(added)
        residual = torch.zeros_like(added)
        for number, block in enumerate(self.blocks, start=1):
            residual = residual + added
            # The exchange: each stream goes on from what the other has come to.
            residual = other_strand(residual.roll(passes, 0))
            added = block(residual)
            if number == layer:
                chosen = self._together(added)
        return chosen, self._together(self.final_norm(residual + added))

    @staticmethod
    def _together(x: Float[Tensor, "stream token dim"]) -> Float[Tensor, "pass token wide"]:
        first, second = x.chunk(2)
        return torch.cat((first, other_strand(second)), dim=-1)

    def logits(self, rows: Float[Tensor, "row dim"]) -> Float32[Tensor, "row vocab"]:
        """Logits of rows of the last layer; the output matrix is that of the embeddings."""
        words = self.words.weight
        if not self.two_streams:
            return (rows @ words.T).float()
        first, second = rows.chunk(2, dim=-1)
        return (first @ words.T + second.flip(-1) @ words[self.complement].T).float()

    def in_precision(self, dtype: torch.dtype, spare: float = 0.0) -> "Caduceus":
        """Hold the outer projections of the blocks in ``dtype``; all else stays float32."""
        hold(self.blocks, dtype, spare)
        return self


_TITLE = "Caduceus or PlantCaduceus"
_NUMBERS = {
    "n_layer": (1, 256),
    "d_model": (1, 1 << 14),
    "vocab_size": (1, 1 << 10),
    "pad_vocab_size_multiple": (1, 1 << 10),
}
_FLAGS: dict[str, tuple[object, ...]] = {
    "rms_norm": (True,),
    "bidirectional": (True,),
    "bidirectional_strategy": ("add",),
    "bidirectional_weight_tie": (True,),
    "rcps": (False, True),
    "d_intermediate": (0,),
    # How sums are kept in half precision; ours are float32.
    "residual_in_fp32": (False, True),
}
_SSM_NUMBERS = {"d_state": (1, 256), "d_conv": (1, 64), "expand": (1, 16)}
_SSM_FLAGS: dict[str, tuple[object, ...]] = {
    "bias": (False,),
    "conv_bias": (True,),
    "layer": ("Mamba1",),
}
# How weights were drawn before training, and which of the authors' kernels runs.
_SSM_TRAINING = {"dt_init", "dt_init_floor", "dt_max", "dt_min", "dt_scale", "use_fast_path"}
_SSM_DEFAULTS = {"d_state": 16, "d_conv": 4, "expand": 2, "dt_rank": "auto"}


def architecture(config: Config, path: Path = Path("config.json")) -> Architecture:
    """What config.json says.

    Raises:
        ModelError: no model of this family says this.
    """
    check_config(path, _TITLE, config, _NUMBERS, _FLAGS)
    ssm = {**_SSM_DEFAULTS, **(config.get("ssm_cfg") or {})}
    check_config(path, _TITLE, ssm, _SSM_NUMBERS, _SSM_FLAGS)
    rank = ssm["dt_rank"]
    if rank == "auto":
        rank = -(-config["d_model"] // 16)
    check_config(path, _TITLE, {"dt_rank": rank}, {"dt_rank": (1, 1 << 14)}, {})
    if unknown := sorted(ssm.keys() - _SSM_DEFAULTS.keys() - _SSM_FLAGS.keys() - _SSM_TRAINING):
        problem = ValueError(f"ssm_cfg has {unknown[0]!r:.40}, which is not a known key")
        raise refused(path, _TITLE, problem)
    two_streams = config.get("rcps") is True
    if two_streams and config.get("fused_add_norm", True) is not True:
        raise ModelError(
            f"{path}: fused_add_norm is {config['fused_add_norm']!r:.40} and rcps is true; "
            "expected true, with which the published weights were trained: their two streams are "
            "exchanged in each block, and without it the same weights are another function (the "
            "setting is changed to run the authors' code on a CPU; ntvep needs no such change). "
            "Put back fused_add_norm: true"
        )
    multiple = config["pad_vocab_size_multiple"]
    vocab_size = -(-config["vocab_size"] // multiple) * multiple
    complement: tuple[int, ...] = ()
    if two_streams or "complement_map" in config:
        complement = complements(config, vocab_size, path)
    return Architecture(
        layers=config["n_layer"],
        dim=config["d_model"],
        vocab_size=vocab_size,
        inner=ssm["expand"] * config["d_model"],
        states=ssm["d_state"],
        taps=ssm["d_conv"],
        step_rank=rank,
        eps=check_small(path, _TITLE, config, "norm_epsilon"),
        two_streams=two_streams,
        complement=complement,
    )


def complements(config: Config, vocab_size: int, path: Path) -> tuple[int, ...]:
    """Of each id, that of the complement; rows that pad the vocabulary are their own.

    Raises:
        ModelError: config.json has no such map.
    """
    given = config.get("complement_map")
    ids = dict(given) if isinstance(given, Mapping) else {}
    padding = {str(i): i for i in range(config["vocab_size"], vocab_size)}
    found = tuple((padding | ids).get(str(i)) for i in range(vocab_size))
    if len(ids | padding) != vocab_size or not all(
        type(i) is int and 0 <= i < vocab_size and found[i] == own for own, i in enumerate(found)
    ):
        problem = ValueError(
            f"complement_map is {given!r:.80}, expected each id up to {vocab_size - 1} with that "
            "of its complement, whose complement it is"
        )
        raise refused(path, _TITLE, problem)
    return tuple(i for i in found if i is not None)


def _describe(folder: Path, config: Config) -> Description:
    path = folder / "config.json"
    arch = architecture(config, path)
    plant = (folder / "tokenizer.json").exists()
    if plant:
        tokenizer, sha256 = _lower_case_tokenizer(folder / "tokenizer.json", arch.vocab_size)
    else:
        tokenizer = character_tokenizer(folder, arch.vocab_size, masks=True)
        sha256 = CHARACTERS_SHA256
    if arch.complement:
        a, c, g, t = (arch.complement[i] for i in tokenizer.nucleotides)
        if (t, g, c, a) != tokenizer.nucleotides:
            raise ModelError(
                f"{path}: by complement_map A, C, G, T ({tokenizer.nucleotides}) become "
                f"{(a, c, g, t)}, expected T, G, C, A: this tokenizer and this config.json belong "
                "to two different models; fetch the model again with: ntvep model fetch ID"
            )
    # The length is not in config.json: models of 1 kb have 4 layers, those of 131 kb have 16.
    trained = 512 if plant else 1024 if arch.layers <= 4 else Caduceus.max_tokens
    return Description(
        family="caduceus",
        objective="masked",
        tokenizer=tokenizer,
        vocabulary_sha256=sha256,
        layers=arch.layers,
        max_tokens=Caduceus.max_tokens,
        default_bases=min(trained, 8192),
        trained_bases=trained,
        strands_agree=arch.two_streams,
    )


def _lower_case_tokenizer(path: Path, vocab_size: int) -> tuple[Base, str]:
    """PlantCaduceus has the tokenizer of GPN: a, c, g, t; all else is [UNK]; nothing is added."""
    text = read_text(path)
    content = parse_json(path, text)
    try:
        vocabulary = content["model"]["vocab"]
        if content["post_processor"] is not None or content["model"]["merges"]:
            raise ValueError("it adds or merges tokens")
        if content["normalizer"] != {"type": "Lowercase"}:
            raise ValueError(f"its normalizer is {content['normalizer']!r:.60}")
        ids = {letter: vocabulary[letter.lower()] for letter in "ACGT"} | {"N": vocabulary["[UNK]"]}
        tokenizer = base_tokenizer(ids, vocab_size, mask=vocabulary["[MASK]"])
    except (KeyError, ValueError, TypeError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            f"{path}: {problem}; expected the tokenizer of GPN, which PlantCaduceus is published "
            "with ([PAD], [MASK], [UNK], a, c, g, t); fetch the model again with: "
            "ntvep model fetch ID"
        ) from error
    return tokenizer, hashlib.sha256(text.encode()).hexdigest()


_BLOCK_KEYS = {"project_in": "mamba_fwd.in_proj", "project_out": "mamba_fwd.out_proj"}
_DIRECTION_KEYS = {
    "taps": "conv1d.weight",
    "taps_bias": "conv1d.bias",
    "project.weight": "x_proj.weight",
    "step.weight": "dt_proj.weight",
    "step.bias": "dt_proj.bias",
    "log_rates": "A_log",
    "skip": "D",
}
_DIRECTIONS = {"forwards": "mamba_fwd", "backwards": "mamba_rev"}
_COMPLEMENT_MAPS = re.compile(r"(.*\.word_embeddings|lm_head)\.complement_map")


def _published(name: str, prefix: str, mixer: str, words: str) -> str:
    """The published name of one of our parameters."""
    if name == "words.weight":
        return f"{prefix}embeddings.word_embeddings.{words}weight"
    if name == "final_norm.weight":
        return f"{prefix}norm_f.weight"
    _, block, part = name.split(".", 2)
    layer = f"{prefix}layers.{block}."
    if part == "norm.weight":
        return layer + part
    module, _, kind = part.partition(".")
    if module in _DIRECTIONS:
        return f"{layer}{mixer}{_DIRECTIONS[module]}.{_DIRECTION_KEYS[kind]}"
    return f"{layer}{mixer}{_BLOCK_KEYS[module]}.{kind}"


def _names(config: Config, shapes: Shapes) -> tuple[str, str, str]:
    """Prefix of all tensors, of the mixer's, and of the embedding's, in this checkpoint."""
    # A model without its head lacks the first word.
    head = any(name.startswith("caduceus.") for name in shapes)
    two = config.get("rcps") is True
    prefix = f"{'caduceus.' * head}backbone."
    return prefix, "mixer.submodule." if two else "mixer.", "embedding." if two else ""


def _repeated(config: Config, shapes: Shapes) -> dict[str, str]:
    """Published names of shared tensors that this file holds a second time -> our name of each."""
    prefix, mixer, _ = _names(config, shapes)
    twice = {"lm_head.weight": "words.weight", "lm_head.lm_head.weight": "words.weight"}
    for block in range(config["n_layer"]):
        for ours, part in _BLOCK_KEYS.items():
            theirs = f"{prefix}layers.{block}.{mixer}{part.replace('_fwd', '_rev')}.weight"
            twice[theirs] = f"blocks.{block}.{ours}.weight"
    return {theirs: ours for theirs, ours in twice.items() if theirs in shapes}


def _build(config: Config, shapes: Shapes) -> Caduceus:
    return Caduceus(architecture(config), tuple(_repeated(config, shapes).values()))


def _tensors(config: Config, shapes: Shapes) -> TensorMap:
    names = _names(config, shapes)
    repeated = tuple(_repeated(config, shapes))

    def published(name: str) -> tuple[str, ...]:
        if name.startswith("copies."):
            return (repeated[int(name.removeprefix("copies."))],)
        return (_published(name, *names),)

    # Integers; the same map is read from config.json, and compared with the tokenizer.
    return TensorMap(published, (_COMPLEMENT_MAPS,))


CADUCEUS = Family(
    name="caduceus",
    title="Caduceus (Ph, PS), PlantCaduceus",
    models=(
        "kuleshov-group/caduceus-ph_seqlen-131k_d_model-256_n_layer-16",
        "kuleshov-group/caduceus-ps_seqlen-131k_d_model-256_n_layer-16",
        *(
            f"kuleshov-group/caduceus-{kind}_seqlen-1k_d_model-{dim}_n_layer-4_lr-8e-3"
            for kind in ("ph", "ps")
            for dim in (118, 256)
        ),
        *(f"kuleshov-group/PlantCaduceus_l{layers}" for layers in (20, 24, 28, 32)),
    ),
    objective="masked",
    tokens="bases",
    window="8,192 (131k), 1,024 (1k), 512 (Plant)",
    licence="Apache-2.0 (the models of 1 kb name none)",
    authors=(
        "Caduceus: none without training. TraitGym's masked log-odds of the 131 kb PS model, mean "
        "of both strands, is llr (window 131,071). PlantCaduceus: log(p_alt / p_ref) over a, c, g, "
        "t at base 255 of 512, forward strand, is llr (base 256 of 512)"
    ),
    recognises=lambda config: config.get("model_type") == "caduceus",
    describe=_describe,
    build=_build,
    tensors=_tensors,
)
