# What the rules share: the chunks, known before anything runs, options from configuration keys, and
# what a model needs.
CHUNKS = [f"{number:05d}" for number in range(config["chunks"])]


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
WINDOW_OPTIONS = options_of(
    config,
    "views",
    "window_bases",
    "window_tokens",
    "beyond_training",
    "anchor",
    "max_n_fraction",
)
ALLELE_OPTIONS = options_of(config, "max_allele_bases", "ref_mismatch_limit")
MODEL_OPTIONS = options_of(
    config,
    "softmax",
    "layer",
    "pool",
    "device",
    "precision",
    "batch_size",
    "deterministic",
    "cache",
)
# Other weights in a folder are other scores. What was fetched from a hub never changes.
MODEL_FILES = [
    path
    for path in sorted(Path(config["model"]).glob("*"))
    if config["model"] not in ("demo", "demo-6mer")
    and path.suffix in (".json", ".txt", ".safetensors")
]
MODEL_ENVIRONMENT = (
    "../../envs/ntvep-gpu.yaml"
    if config["device"] == "cuda"
    else "../../envs/ntvep.yaml"
)
# On a CPU jobs run side by side; on a GPU they take turns (profiles/default).
GPUS = 0 if config["device"] == "cpu" else 1
