"""Measurements: each script prints a table of benchmarks/README.md."""
