"""files -> files: one module a command, composing io, model and the pipeline."""
