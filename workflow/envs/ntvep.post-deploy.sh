#!/usr/bin/env bash
# Snakemake runs this in an environment that it has just made (--sdm conda): ntvep itself goes in.
set -euo pipefail

sources=${NTVEP_SOURCES:-$PWD}
if ! grep -qs '^name = "ntvep"' "$sources/pyproject.toml"; then
    echo "no sources of ntvep in $sources; type: export NTVEP_SOURCES=the folder of its checkout" >&2
    exit 1
fi
pip install --no-deps "$sources"
