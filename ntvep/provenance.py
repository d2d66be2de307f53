"""versions, parameters and checksums -> the fingerprint and the provenance of every output."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from ntvep.settings import Settings
from ntvep.windows import K

# Raised when a definition in docs/scores.md changes what a number means.
DEFINITIONS_VERSION = 1


@dataclass(frozen=True)
class ModelIdentity:
    """Which model computed the scores, and how.

    Attributes:
        model_id: hub id, or the folder's name.
        revision: commit of the hub, if known.
        weights_sha256: of the safetensors.
        vocabulary_sha256: of the token strings in order.
        precision: fp32, fp16 or bf16.
        device: cpu, cuda or mps.
    """

    model_id: str
    revision: str | None
    weights_sha256: str
    vocabulary_sha256: str
    precision: str
    device: str


def vocabulary_sha256(tokens: Sequence[str]) -> str:
    """sha256 of the token strings, one a line."""
    return hashlib.sha256("\n".join(tokens).encode()).hexdigest()


def fingerprint(model: ModelIdentity, settings: Settings) -> str:
    """Identity of a score: with the same reference bases and allele it says the same number.

    The name of the model does not count, nor do limits that only decide whether an allele is
    scored: they change no number.
    """
    content: Mapping[str, object] = {
        "definitions": DEFINITIONS_VERSION,
        "weights": model.weights_sha256,
        "vocabulary": model.vocabulary_sha256,
        "k": K,
        "window_tokens": settings.window_tokens,
        "max_tokens": settings.max_tokens,
        "views": settings.views,
        "layer": settings.layer,
        "pool": settings.pool,
        "precision": model.precision,
        "device": model.device,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Provenance:
    """What made an output: enough to make it again.

    Attributes:
        version: of ntvep.
        command: as typed, paths reduced to file names.
        model, settings: see there.
        reference: FASTA file name.
        contigs: md5 of the upper-case sequence of each contig used, as in a SAM header's M5.
        fingerprint: see :func:`fingerprint`.
    """

    version: str
    command: str
    model: ModelIdentity
    settings: Settings
    reference: str
    contigs: Mapping[str, str]
    fingerprint: str

    def to_json(self) -> str:
        """For a Parquet file's metadata and the summary."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Provenance":
        """Read what :meth:`to_json` wrote."""
        content = json.loads(text)
        content["model"] = ModelIdentity(**content["model"])
        scores = tuple(content["settings"].pop("scores"))
        content["settings"] = Settings(scores=scores, **content["settings"])
        return cls(**content)

    def how(self) -> str:
        """Layer, pool and views, in the words of a column's description."""
        settings = self.settings
        return (
            f"layer {_layer_name(settings.layer)}, pool {settings.pool}, {settings.views} views, "
            f"{settings.window_tokens}-token windows"
        )

    def vcf_lines(self) -> list[str]:
        """Two header lines of an annotated VCF."""
        model = self.model
        used = ",".join(f"{contig}:{md5}" for contig, md5 in self.contigs.items())
        return [
            f"##ntvep_command=<Version={self.version},Command={_quoted(self.command)}>",
            f"##ntvep_scores=<Model={_quoted(model.model_id)},Revision={model.revision or '.'},"
            f"WeightsSHA256={model.weights_sha256},WindowTokens={self.settings.window_tokens},"
            f"Views={self.settings.views},Layer={_layer_name(self.settings.layer)},"
            f"Pool={self.settings.pool},Precision={model.precision},Device={model.device},"
            f"Reference={_quoted(self.reference)},ContigMD5={_quoted(used)},"
            f"Fingerprint={self.fingerprint}>",
        ]


def _layer_name(layer: int | None) -> str:
    return "last" if layer is None else str(layer)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
