# What the rules share: the chunks, known before anything runs, and options from configuration keys.
CHUNKS = [f"{number:05d}" for number in range(config["chunks"])]


def options_of(settings, *names):
    """Command-line options for the keys that are set; a list repeats its option."""
    given = ((name, settings.get(name)) for name in names)
    return " ".join(
        f"--{name.replace('_', '-')}" + ("" if value is True else f" {quote(str(value))}")
        for name, values in given
        for value in (values if isinstance(values, list) else [values])
        if value is not None and value is not False
    )


INPUT_OPTIONS = options_of(config, "on_bad_record")
ALLELE_OPTIONS = options_of(
    config,
    "views",
    "window_tokens",
    "max_allele_bases",
    "max_n_fraction",
    "ref_mismatch_limit",
)
MODEL_OPTIONS = options_of(
    config,
    "scores",
    "layer",
    "pool",
    "device",
    "precision",
    "batch_size",
    "deterministic",
    "cache",
)
