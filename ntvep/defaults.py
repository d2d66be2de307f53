"""an option that was not given -> its value: plain numbers, which ``--help`` reads at once."""

DEFAULT_VIEWS = "2"
DEFAULT_MAX_ALLELE_BASES = 50
DEFAULT_MAX_N_FRACTION = 0.1
# The share of REF disagreements that stops a run.
DEFAULT_MISMATCH_LIMIT = 0.1
