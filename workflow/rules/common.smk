# What the rules share: the chunks, known before anything runs, the folder of each model, options
# from configuration keys, and what a model needs.

# How many chunks there are does not depend on the data, and so neither do the jobs: what a dry run
# shows is what runs, a cluster gets all scoring jobs at once, and no job waits for a checkpoint to
# be read. Their number is in their names where several runs may have had several.
CHUNKS = [
    f"{number:05d}-of-{config['chunks']:05d}" if SAMPLES else f"{number:05d}"
    for number in range(config["chunks"])
]
CHUNK_FOLDER = RESULTS / ("distinct" if SAMPLES else "chunks")
OF_MODEL = "{model}" if SAMPLES else ""
HERE = RESULTS / OF_MODEL


wildcard_constraints:
    model="|".join(map(re.escape, MODELS)),
    chunk=r"\d+(-of-\d+)?",


def settings_of(wildcards):
    """The scoring keys of a rule's model."""
    return MODELS[wildcards.get("model", "")]


def options_of(settings, *names):
    """Command-line options for the keys that are set; a list repeats its option."""
    given = ((name, settings.get(name)) for name in names)
    return " ".join(
        f"--{name.replace('_', '-')}"
        + ("" if value is True else f" {quote(str(value))}")
        for name, values in given
        for value in (values if isinstance(values, list) else [values])
        if value is not None and value is not False
    )


INPUT_OPTIONS = options_of(config, "on_bad_record")
WINDOW = (
    "views",
    "window_bases",
    "window_tokens",
    "beyond_training",
    "anchor",
    "max_n_fraction",
)
MODEL = (
    "softmax",
    "layer",
    "pool",
    "device",
    "precision",
    "batch_size",
    "deterministic",
)


def cache_of(wildcards):
    """Where known scores are kept: of many VCFs always, so that an allele is scored once for all.

    What a cache holds may have been scored in any company, which deterministic forbids.
    """
    settings = settings_of(wildcards)
    own = (
        RESULTS / wildcards.model / "known"
        if SAMPLES and not settings["deterministic"]
        else None
    )
    return options_of({"cache": settings.get("cache", own)}, "cache")


def model_files(wildcards):
    """Other weights in a folder are other scores. What was fetched from a hub never changes."""
    model = settings_of(wildcards)["model"]
    if model in workflow_config.EMBEDDED:
        return []
    suffixes = (".json", ".txt", ".safetensors")
    return [path for path in sorted(Path(model).glob("*")) if path.suffix in suffixes]


MODEL_ENVIRONMENT = (
    "../envs/ntvep-gpu.yaml"
    if any(str(settings["device"]).startswith("cuda") for settings in MODELS.values())
    else "../envs/ntvep.yaml"
)


def gpus(wildcards):
    """GPUs of a scoring job. On a CPU jobs run side by side; on GPUs one a device (profiles/default)."""
    devices = settings_of(wildcards)["device"].split(",")
    return 0 if devices[0].startswith("cpu") else len(devices)


# In the rules and not in a profile, so that they hold under any name that a rule is given.
JOBS = config.get("jobs", {})
SCORING_RESOURCES = {
    "gpu": gpus,
    "mem_mb": lambda wildcards, attempt: attempt * JOBS.get("mem_mb", 16_000),
    "runtime": lambda wildcards, attempt: attempt * JOBS.get("runtime", 60),
} | ({"slurm_partition": JOBS["partition"]} if "partition" in JOBS else {})


@cache
def sound_inputs():
    """Nothing, once it is known that nothing is wrong with the sheet and the start of its VCFs.

    Asked while the jobs are planned: what is wrong is said before any of them, all in one message,
    and targets that need no VCF (resources) do without them. The jobs of a cluster do not ask again.
    """
    if workflow.is_main_process and not config["made_by_rules"]:
        try:
            workflow_config.check_inputs(config)
        except NtvepError as error:
            raise WorkflowError(str(error)) from None
    return []


GENOME = config.get("genome", {})


def scan_options(wildcards):
    """What all shards of a model's scan agree on."""
    place = options_of(GENOME, "bed", "region") or "--genome"
    scores = f"--scores {quote(GENOME.get('scores', 'llr'))} --shards {GENOME.get('shards', 1)}"
    return f"{place} {scores} {options_of(settings_of(wildcards), *WINDOW, *MODEL)}"


def is_drawn(wildcards):
    """Whether a page has pictures, for which the model that scored is asked once more."""
    return config["pictures"] > 0 and settings_of(wildcards)["model"] != "none"


def picture_options(wildcards):
    if not is_drawn(wildcards):
        return ""
    given = settings_of(wildcards) | {"pictures": config["pictures"]}
    return f"{options_of(given, 'model', 'pictures', 'device')} {cache_of(wildcards)}"
