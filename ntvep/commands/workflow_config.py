"""configuration of the workflow -> what is wrong with it, in a sentence, before any job runs."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ntvep.commands.options import Options
from ntvep.commands.ready import settings_for
from ntvep.errors import ConfigError
from ntvep.models.loaded import described

# Keys of the configuration that decide what a model is asked.
_ASKED = (
    "scores",
    "window_bases",
    "window_tokens",
    "beyond_training",
    "views",
    "anchor",
    "softmax",
    "layer",
    "pool",
    "max_allele_bases",
    "max_n_fraction",
)


def refuse_unknown_keys(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Name each key that the workflow does not have, and the one that was probably meant.

    Args:
        config: of the user.
        schema: JSON schema of the workflow.

    Raises:
        ConfigError: a key is unknown.
    """
    wrong = list(_unknown("", config, schema, schema))
    if wrong:
        raise ConfigError(f"{'; '.join(wrong)}. config/README.md explains every key")


def _unknown(
    where: str, config: Mapping[str, Any], part: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[str]:
    known = part.get("properties", {})
    others = part.get("additionalProperties")
    for key, value in config.items():
        if key in known:
            inner = known[key]
        elif isinstance(others, Mapping):
            inner = _variant(others, value, schema)
        elif others is False:
            near = get_close_matches(key, known, 1, 0.5)
            then = f"did you mean {near[0]}" if near else f"expected one of {', '.join(known)}"
            yield f"{where}{key}: no such key; {then}"
            continue
        else:
            continue
        while "$ref" in inner:
            inner = schema["$defs"][inner["$ref"].rpartition("/")[2]]
        if isinstance(value, Mapping):
            yield from _unknown(f"{where}{key}: ", value, inner, schema)


def _variant(
    part: Mapping[str, Any], value: object, schema: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The part of the schema for a value whose key ``source`` says which it is."""
    source = value.get("source") if isinstance(value, Mapping) else None
    return schema.get("$defs", {}).get(source, part) if "allOf" in part else part


def refuse_half_a_demo(config: Mapping[str, Any]) -> None:
    """Stop where a reference was given and no VCF: the demo's is of another genome.

    Args:
        config: as given on the command line, before the demo's configuration is read.

    Raises:
        ConfigError: ``reference`` without ``vcf``.
    """
    if "reference" in config and "vcf" not in config:
        raise ConfigError(
            "reference is given and vcf is not; expected both, or neither (the demo). Add "
            "vcf=IN.vcf.gz to --config, or a --configfile that has it"
        )


def refuse_what_the_model_cannot(config: Mapping[str, Any]) -> None:
    """Judge windows, views, scores and layer by a model's config.json; no weights are read.

    Raises:
        ConfigError: the model cannot be asked so.
        ModelError: it is not there.
    """
    _, description = described(config["model"])
    asked = {name: config[name] for name in _ASKED if config.get(name) is not None}
    settings_for(description, Options(**asked))
