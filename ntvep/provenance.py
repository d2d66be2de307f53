"""versions, parameters and checksums -> the fingerprint and the provenance of every output."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self, get_args

from ntvep.description import Description
from ntvep.errors import InputError
from ntvep.objectives import Objective
from ntvep.schema import COMPARED, SCORE_COLUMNS, SOURCE, Column, score_schema, tagged_key
from ntvep.settings import Settings
from ntvep.tokenizers.blank import blank

_FIELD = re.compile(r'[<,](\w+)=("(?:[^"\\]|\\.)*"|[^,>]*)')
_INFO_ID = re.compile(r"##INFO=<ID=(\w+),")

# Raised when a definition in docs/scores.md changes what a number means.
DEFINITIONS_VERSION = 1


@dataclass(frozen=True)
class ModelIdentity:
    """Which model computed the scores, and how; enough to find an allele's windows without it.

    Attributes:
        model_id: hub id, or the folder's name.
        revision: commit of the hub, if known.
        weights_sha256: of the safetensors.
        vocabulary_sha256: of the token strings in order, or of the tokenizer's file.
        precision: of the matrix products: fp32, tf32, fp16, bf16 or mixed.
        device: cpu, cuda or mps.
        family, objective, max_tokens, step, field, strands_agree: see
            :class:`ntvep.description.Description`.
        tokenizer: what of it changes a score.
    """

    model_id: str
    revision: str | None
    weights_sha256: str
    vocabulary_sha256: str
    precision: str
    device: str
    family: str
    objective: Objective
    tokenizer: Mapping[str, Any]
    max_tokens: int
    step: int
    field: int = 0
    strands_agree: bool = False

    @classmethod
    def of(cls, model: Description, **which: Any) -> Self:
        """The identity of a described model; ``which`` gives the first six attributes."""
        return cls(
            vocabulary_sha256=model.vocabulary_sha256,
            family=model.family,
            objective=model.objective,
            tokenizer=dict(model.tokenizer.identity()),
            max_tokens=model.max_tokens,
            step=model.step,
            field=model.field,
            strands_agree=model.strands_agree,
            **which,
        )

    @property
    def kind(self) -> Any:
        """Kind of the tokenizer."""
        return self.tokenizer.get("kind", "kmer")

    def description(self) -> Description:
        """As much of the model as finding windows needs: its ids are not the model's.

        Raises:
            ConfigError: its windows cannot be found without its tokenizer's file.
        """
        return Description(
            family=self.family,
            objective=self.objective,
            tokenizer=blank(self.tokenizer),
            vocabulary_sha256=self.vocabulary_sha256,
            layers=0,
            max_tokens=self.max_tokens,
            default_bases=0,
            trained_bases=0,
            step=self.step,
            field=self.field,
            strands_agree=self.strands_agree,
        )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], max_tokens: int | None = None) -> Self:
        """Read what ``asdict`` gave, or ntvep 0.1, which only knew Nucleotide Transformers.

        Raises:
            KeyError, TypeError: it is something else.
        """
        first = {"family": "nt", "objective": "masked", "tokenizer": {"k": 6}, "step": 6}
        known = {} if "family" in content else first | {"max_tokens": max_tokens}
        made = cls(**{**content, **known})
        if made.objective not in get_args(Objective):
            raise ValueError(f"objective is {made.objective!r}")
        return made


def fingerprint(model: ModelIdentity, settings: Settings) -> str:
    """Identity of a score: with the same reference bases and allele it says the same number.

    The name of the model does not count, nor do limits that only decide whether an allele is
    scored: they change no number.
    """
    content: dict[str, object] = {
        "definitions": DEFINITIONS_VERSION,
        "weights": model.weights_sha256,
        "vocabulary": model.vocabulary_sha256,
        "max_tokens": model.max_tokens,
        "views": settings.views,
        "layer": settings.layer,
        "pool": settings.pool,
        "precision": model.precision,
        "device": model.device,
    }
    if model.family == "nt":
        k = model.tokenizer["k"]
        content |= {"k": k, "window_tokens": settings.window_bases // k}
    else:
        content |= {
            "family": model.family,
            "tokenizer": model.tokenizer,
            "window_bases": model.field or settings.window_bases,
        }
    if settings.anchor is not None and not model.field:
        content["anchor"] = settings.anchor
    if settings.softmax != "all":
        content["softmax"] = settings.softmax
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class StoreUsed:
    """A store that scores were taken from.

    Attributes:
        name: of its folder.
        sha256: of its description.
        errors: by score, how far a value may lie from what the model says.
    """

    name: str
    sha256: str
    errors: Mapping[str, float]

    def vcf_line(self, word: str) -> str:
        """A header line of an annotated VCF; ``word`` is as in :meth:`Provenance.vcf_lines`."""
        errors = ",".join(f"{name}:{error:g}" for name, error in sorted(self.errors.items()))
        return (
            f"##ntvep_{word}store=<Name={_quoted(self.name)},SHA256={self.sha256},"
            f"Errors={_quoted(errors)}>"
        )

    @classmethod
    def from_vcf_line(cls, line: str) -> "StoreUsed":
        """Read what :meth:`vcf_line` wrote.

        Raises:
            KeyError, ValueError: it is something else.
        """
        given = _fields(line)
        errors = (entry.rpartition(":") for entry in given["Errors"].split(","))
        return cls(given["Name"], given["SHA256"], {name: float(e) for name, _, e in errors})


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
        background: sha256 of the table that ``llr`` was compared with; None for none.
        stores: that scores were looked up in, if any.
    """

    version: str
    command: str
    model: ModelIdentity
    settings: Settings
    reference: str
    contigs: Mapping[str, str]
    fingerprint: str
    background: str | None = None
    stores: tuple[StoreUsed, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a SCORES table made so."""
        compared = () if self.background is None else COMPARED
        source = (SOURCE,) if self.stores else ()
        return (*scored_columns(self.model, self.settings), *source, *compared)

    @property
    def errors(self) -> dict[str, float]:
        """By score, how far one from a store may lie from what the model says."""
        names = {name for store in self.stores for name in store.errors}
        return {name: max(s.errors.get(name, 0.0) for s in self.stores) for name in names}

    def to_json(self) -> str:
        """For a Parquet file's metadata and the summary."""
        content = asdict(self) | {"settings": self.settings.to_dict()}
        if self.background is None:
            del content["background"]
        if not self.stores:
            del content["stores"]
        return json.dumps(content, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, name: str) -> "Provenance":
        """Read what :meth:`to_json` wrote.

        Raises:
            InputError: it is of a table without scores, or of another version.
        """
        try:
            content = json.loads(text)
            settings = content["settings"]
            content["model"] = ModelIdentity.from_dict(content["model"], settings.get("max_tokens"))
            content["settings"] = Settings.from_dict(settings)
            stores = tuple(StoreUsed(**store) for store in content.pop("stores", ()))
            return cls(**content, stores=stores)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{name}: does not say how it was scored ({type(error).__name__}: {error}); "
                "expected a table that ntvep score wrote, not that of ntvep variants"
            ) from error

    @classmethod
    def from_vcf_header(cls, header: Sequence[str], name: str, tag: str = "") -> "Provenance":
        """Read what :meth:`vcf_lines` and the declarations of INFO say.

        Args:
            header: lines of an annotated VCF.
            name: of the file, for errors.
            tag: of the run that is asked for.

        Raises:
            InputError: a line of ours is missing.
        """
        word = f"{tag}_" if tag else ""
        lines = {
            kind: next((line for line in header if line.startswith(f"##ntvep_{word}{kind}=<")), "")
            for kind in ("command", "scores")
        }
        given = _fields("".join(lines.values()))
        declared = {match[1] for line in header if (match := _INFO_ID.match(line))}
        try:
            return cls(
                version=given["Version"],
                command=given["Command"],
                model=_model_in(given),
                settings=Settings(
                    scores=tuple(
                        n
                        for n, column in SCORE_COLUMNS.items()
                        if tagged_key(column.vcf, tag) in declared
                    ),
                    window_bases=_window_in(given),
                    views=int(given["Views"]),
                    layer=None if given["Layer"] == "last" else int(given["Layer"]),
                    pool="mean_cls" if given["Pool"] == "mean_cls" else "mean",
                    softmax="acgt" if given.get("Softmax") == "acgt" else "all",
                    anchor=int(given["Anchor"]) if "Anchor" in given else None,
                    max_allele_bases=int(given["MaxAlleleBases"]),
                    max_n_fraction=float(given["MaxNFraction"]),
                ),
                reference=given["Reference"],
                contigs=dict(
                    entry.rpartition(":")[::2] for entry in given["ContigMD5"].split(",") if entry
                ),
                fingerprint=given["Fingerprint"],
                background=given.get("BackgroundSHA256"),
                stores=tuple(
                    StoreUsed.from_vcf_line(line)
                    for line in header
                    if line.startswith(f"##ntvep_{word}store=<")
                ),
            )
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{name}: its header does not say how it was scored ({error}); expected a VCF that "
                "ntvep score wrote, with its lines ##ntvep_command and ##ntvep_scores"
            ) from error

    def how(self) -> str:
        """Layer, pool and views, in the words of a column's description."""
        settings, model = self.settings, self.model
        window = (
            f"{settings.window_bases // model.tokenizer['k']}-token"
            if model.kind == "kmer"
            else f"{model.field or settings.window_bases}-base"
        )
        views = "1 strand" if model.strands_agree else f"{settings.views} views"
        # Of a rate model nothing is averaged.
        pool = "" if model.objective == "rates" else f"pool {settings.pool}, "
        return f"layer {_layer_name(settings.layer)}, {pool}{views}, {window} windows"

    def vcf_lines(self, tag: str = "") -> list[str]:
        """Two header lines of an annotated VCF; ``tag`` is that of ``--tag``."""
        word = f"{tag}_" if tag else ""
        model, settings = self.model, self.settings
        used = ",".join(f"{contig}:{md5}" for contig, md5 in self.contigs.items())
        more = "" if settings.softmax == "all" else f"Softmax={settings.softmax},"
        more += "" if settings.anchor is None else f"Anchor={settings.anchor},"
        more += "" if self.background is None else f"BackgroundSHA256={self.background},"
        return [
            f"##ntvep_{word}command=<Version={self.version},Command={_quoted(self.command)}>",
            f"##ntvep_{word}scores=<Model={_quoted(model.model_id)},"
            f"Revision={model.revision or '.'},"
            f"WeightsSHA256={model.weights_sha256},VocabularySHA256={model.vocabulary_sha256},"
            f"{_window_out(model, settings)}"
            f"Views={settings.views},Layer={_layer_name(settings.layer)},"
            f"Pool={settings.pool},{more}Precision={model.precision},Device={model.device},"
            f"MaxTokens={model.max_tokens},"
            f"MaxAlleleBases={settings.max_allele_bases},"
            f"MaxNFraction={settings.max_n_fraction:g},"
            f"Reference={_quoted(self.reference)},ContigMD5={_quoted(used)},"
            f"Fingerprint={self.fingerprint}>",
            *(store.vcf_line(word) for store in self.stores),
        ]


def _fields(line: str) -> dict[str, str]:
    """Keys and values of a header line."""
    return {
        key: _unquoted(value) if value[:1] == '"' else value for key, value in _FIELD.findall(line)
    }


def scored_columns(model: ModelIdentity, settings: Settings) -> tuple[Column, ...]:
    """The columns of a SCORES table made by a model with these settings."""
    with_length = model.family != "nt"
    return score_schema(settings.scores, settings.with_sd, model.objective, model.kind, with_length)


def _window_out(model: ModelIdentity, settings: Settings) -> str:
    """Windows in a header line; of Nucleotide Transformers in 6-mers, as ntvep 0.1 wrote them."""
    if model.family == "nt":
        return f"WindowTokens={settings.window_bases // model.tokenizer['k']},"
    tokenizer = json.dumps(model.tokenizer, sort_keys=True)
    agree = ",StrandsAgree=1" if model.strands_agree else ""
    return (
        f"Family={model.family},Objective={model.objective},Tokenizer={_quoted(tokenizer)},"
        f"WindowBases={settings.window_bases},Step={model.step},Field={model.field}{agree},"
    )


def _window_in(given: Mapping[str, str]) -> int:
    if "WindowBases" in given:
        return int(given["WindowBases"])
    return 6 * int(given["WindowTokens"])


def _model_in(given: Mapping[str, str]) -> ModelIdentity:
    """The model that a header line names."""
    content: dict[str, Any] = {
        "model_id": given["Model"],
        "revision": None if given["Revision"] == "." else given["Revision"],
        "weights_sha256": given["WeightsSHA256"],
        "vocabulary_sha256": given["VocabularySHA256"],
        "precision": given["Precision"],
        "device": given["Device"],
    }
    max_tokens = int(given["MaxTokens"])
    if "Family" in given:
        content |= {
            "family": given["Family"],
            "objective": given["Objective"],
            "tokenizer": json.loads(given["Tokenizer"]),
            "max_tokens": max_tokens,
            "step": int(given["Step"]),
            "field": int(given["Field"]),
            "strands_agree": given.get("StrandsAgree") == "1",
        }
    return ModelIdentity.from_dict(content, max_tokens)


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


class Made(Protocol):
    """What says how scores were made."""

    @property
    def model(self) -> ModelIdentity:
        """Which model."""
        ...

    @property
    def settings(self) -> Settings:
        """Which windows and scores."""
        ...


def difference(found: Made, asked: Made, names: Sequence[str] | None = None) -> str:
    """In what two ways of making scores differ, for an error; empty if in nothing that is named.

    Args:
        found: how some were made.
        asked: how others were, or will be.
        names: of fields of the model and the settings that may be told; None tells all.
    """
    parts = []
    for one, other in ((found.model, asked.model), (found.settings, asked.settings)):
        before, now = asdict(one), asdict(other)
        parts += [
            f"{name} {str(before[name])[:40]}, not {str(now[name])[:40]}"
            for name in before
            if (names is None or name in names) and before[name] != now[name]
        ]
    return "; ".join(parts)
