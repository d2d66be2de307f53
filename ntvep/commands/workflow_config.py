"""configuration of the workflow -> what is wrong with it, in a sentence, before any job runs."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ntvep.commands.options import Options
from ntvep.commands.ready import NO_MODEL, settings_for
from ntvep.commands.sheet import Sample, check_samples, check_sheet, is_file_name, read_sheet
from ntvep.errors import ConfigError, NtvepError
from ntvep.models.loaded import described

# Models that come with ntvep, and none: they have no folder of files.
EMBEDDED = ("demo", "demo-6mer", NO_MODEL)
# What the workflow itself puts into results.
FOLDERS = ("benchmarks", "chunks", "distinct", "labels", "logs", "report")

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
# Keys that each of several models may have of its own.
SCORING = (
    *_ASKED,
    "model",
    "device",
    "precision",
    "batch_size",
    "deterministic",
    "threads",
    "cache",
    "ref_mismatch_limit",
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


def refuse_no_inputs(config: Mapping[str, Any], here: Path) -> None:
    """Stop where nothing says what to score.

    Args:
        config: as given on the command line.
        here: the configuration that is read where no other one names its inputs.

    Raises:
        ConfigError: neither ``samples`` nor ``vcf``, and ``here`` is missing.
    """
    if not here.is_file():
        given = "reference is given and vcf is not" if "reference" in config else "no inputs"
        raise ConfigError(
            f"{given}: expected samples or vcf, in --config (vcf=IN.vcf.gz), in a --configfile, or "
            f"in {here}, which is not here. The demo: make demo"
        )


def refuse_two_ways(config: Mapping[str, Any]) -> None:
    """Stop where two keys say the same thing, or one has no meaning beside another.

    Raises:
        ConfigError: naming both.
    """
    for one, other in (("samples", "vcf"), ("models", "model")):
        if one in config and other in config:
            raise ConfigError(f"{one} and {other} are both given; expected one of them")
        if one not in config and other not in config:
            raise ConfigError(f"neither {one} nor {other} is given; expected one of them")
    if "compare" in config and {"samples", "models"} & {*config}:
        raise ConfigError(
            "compare tells records of one VCF apart, scored by one model; with samples or models "
            "give labels"
        )


def samples_of(config: Mapping[str, Any]) -> dict[str, str]:
    """VCFs by the names of their samples; none of a single VCF that one model scores.

    Lines of the sheet that are wrong are left out: :func:`check_inputs` names them.

    Raises:
        InputError: there is no sheet, or it lacks a column.
        ConfigError: no sample has the VCF's name.
    """
    if "samples" in config:
        return {one.name: str(one.vcf) for one in read_sheet(Path(config["samples"]))[0]}
    if "models" not in config:
        return {}
    name = Path(config["vcf"]).name
    for suffix in (".gz", ".bgz", ".vcf", ".bcf"):
        name = name.removesuffix(suffix)
    if not is_file_name(name):
        raise ConfigError(f"vcf: {config['vcf']} names no sample; give samples: a table of both")
    return {name: config["vcf"]}


def check_inputs(config: Mapping[str, Any]) -> None:
    """Judge the sample sheet and the first records of its VCFs.

    Raises:
        InputError: all that is wrong.
    """
    how = config["on_bad_record"], config["ref_mismatch_limit"]
    if "samples" in config:
        check_sheet(Path(config["samples"]), Path(config["reference"]), *how)
        return
    samples = [Sample(name, Path(vcf), {}) for name, vcf in samples_of(config).items()]
    check_samples("vcf", samples, [], Path(config["reference"]), *how)


def models_of(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The scoring keys of each model by its name: its own, else those that stand on top.

    A single VCF with a single model has one without a name.

    Raises:
        ConfigError: a model cannot be asked so, or has the name of a folder that the workflow uses.
        ModelError: it is not there.
    """
    common = {name: config[name] for name in SCORING if name in config}
    if "models" in config:
        models = {name: common | entry for name, entry in config["models"].items()}
    elif "samples" in config:
        models = {Path(config["model"]).name: common}
    else:
        models = {"": common}
    for name, settings in models.items():
        try:
            if name in FOLDERS:
                raise ConfigError(f"is a folder of results; call it otherwise than {FOLDERS}")
            _refuse(config, settings)
        except NtvepError as error:
            of = settings["model"] if name in ("", settings["model"]) else name
            raise type(error)(f"model {of}: {error}") from error
    return models


def _refuse(config: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Judge the keys of one model; no weights are read."""
    scores = {name.strip() for name in settings["scores"].split(",")}
    if {"background", "compare"} & {*config} and not {"all", "llr"} & scores:
        raise ConfigError(
            f"scores: {settings['scores']!r} has no llr, which background and compare need"
        )
    if settings["model"] == NO_MODEL:
        return
    _, description = described(settings["model"])
    asked = {name: settings[name] for name in _ASKED if settings.get(name) is not None}
    settings_for(description, Options(**asked))
