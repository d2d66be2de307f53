"""versions, parameters and checksums -> the fingerprint and the provenance of every output."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from ntvep.errors import InputError
from ntvep.schema import SCORE_COLUMNS
from ntvep.settings import Settings
from ntvep.windows import K

_FIELD = re.compile(r'[<,](\w+)=("(?:[^"\\]|\\.)*"|[^,>]*)')
_INFO_ID = re.compile(r"##INFO=<ID=(\w+),")

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
        precision: of the matrix products: fp32, tf32, fp16 or bf16.
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
    def from_json(cls, text: str, name: str) -> "Provenance":
        """Read what :meth:`to_json` wrote.

        Raises:
            InputError: it is of a table without scores, or of another version.
        """
        try:
            content = json.loads(text)
            content["model"] = ModelIdentity(**content["model"])
            scores = tuple(content["settings"].pop("scores"))
            content["settings"] = Settings(scores=scores, **content["settings"])
            return cls(**content)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{name}: does not say how it was scored ({type(error).__name__}: {error}); "
                "expected a table that ntvep score wrote, not that of ntvep variants"
            ) from error

    @classmethod
    def from_vcf_header(cls, header: Sequence[str], name: str) -> "Provenance":
        """Read what :meth:`vcf_lines` and the declarations of INFO say.

        Args:
            header: lines of an annotated VCF.
            name: of the file, for errors.

        Raises:
            InputError: a line of ours is missing.
        """
        lines = {
            kind: next((line for line in header if line.startswith(f"##ntvep_{kind}=<")), "")
            for kind in ("command", "scores")
        }
        given = {
            key: _unquoted(value) if value[:1] == '"' else value
            for line in lines.values()
            for key, value in _FIELD.findall(line)
        }
        declared = {match[1] for line in header if (match := _INFO_ID.match(line))}
        try:
            return cls(
                version=given["Version"],
                command=given["Command"],
                model=ModelIdentity(
                    given["Model"],
                    None if given["Revision"] == "." else given["Revision"],
                    given["WeightsSHA256"],
                    given["VocabularySHA256"],
                    given["Precision"],
                    given["Device"],
                ),
                settings=Settings(
                    scores=tuple(
                        n for n, column in SCORE_COLUMNS.items() if column.vcf in declared
                    ),
                    window_tokens=int(given["WindowTokens"]),
                    max_tokens=int(given["MaxTokens"]),
                    views=int(given["Views"]),
                    layer=None if given["Layer"] == "last" else int(given["Layer"]),
                    pool="mean_cls" if given["Pool"] == "mean_cls" else "mean",
                    max_allele_bases=int(given["MaxAlleleBases"]),
                    max_n_fraction=float(given["MaxNFraction"]),
                ),
                reference=given["Reference"],
                contigs=dict(
                    entry.rpartition(":")[::2] for entry in given["ContigMD5"].split(",") if entry
                ),
                fingerprint=given["Fingerprint"],
            )
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{name}: its header does not say how it was scored ({error}); expected a VCF that "
                "ntvep score wrote, with its lines ##ntvep_command and ##ntvep_scores"
            ) from error

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
            f"WeightsSHA256={model.weights_sha256},VocabularySHA256={model.vocabulary_sha256},"
            f"WindowTokens={self.settings.window_tokens},"
            f"Views={self.settings.views},Layer={_layer_name(self.settings.layer)},"
            f"Pool={self.settings.pool},Precision={model.precision},Device={model.device},"
            f"MaxTokens={self.settings.max_tokens},"
            f"MaxAlleleBases={self.settings.max_allele_bases},"
            f"MaxNFraction={self.settings.max_n_fraction:g},"
            f"Reference={_quoted(self.reference)},ContigMD5={_quoted(used)},"
            f"Fingerprint={self.fingerprint}>",
        ]


def _layer_name(layer: int | None) -> str:
    return "last" if layer is None else str(layer)


def _quoted(text: str) -> str:
    r"""Text for a header line, which ends at a line end and must be UTF-8.

    What is printable stays as it is. A file's name may hold any other byte: ``\x0a``.
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _as_bytes(c) for c in escaped) + '"'


def _as_bytes(character: str) -> str:
    # Bytes of a file's name that are not UTF-8 are lone surrogates in Python.
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _unquoted(text: str) -> str:
    def plain(match: re.Match[bytes]) -> bytes:
        return bytes.fromhex(match[1].decode()) if match[1] else match[2]

    escaped = text[1:-1].encode("utf-8", "surrogateescape")
    whole = re.sub(rb"\\(?:x([0-9a-f]{2})|(.))", plain, escaped)
    return whole.decode("utf-8", "surrogateescape")
