# Two commands for a fresh machine: make demo, make test. Everything goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= 2
# A machine without a GPU needs no CUDA: make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt \
    $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# What measures a card: a Python with a CUDA build of torch; PARTS="ceilings sparse" takes some parts.
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,python3)
PARTS ?=

.PHONY: demo test test-quick test-slurm docs lint format clean gpu

demo: $(VENV)/.demo
	@PATH="$(CURDIR)/$(BIN):$$PATH" recipes/demo.sh $(CORES)

test: $(VENV)/.test
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest -q -n 2

# Starts a Slurm of its own; skips, and says why, where there are no packages or no root.
test-quick: $(VENV)/.test
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest -q -n 2 -m "not slow and not slurm"

test-slurm: $(VENV)/.test
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest -q -rs -m slurm tests/slurm

# Pages for a browser: build/site/index.html. A warning, a link to nowhere among them, is an error.
docs: $(VENV)/.test
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs/site . build/site
	@echo "Open build/site/index.html"

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint

# The package is installed in place, so that a change of the code needs no new installation.
$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)
	$(INSTALL) --editable '.[workflow,report]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)
	$(INSTALL) --editable '.[test,slurm]'
	@touch $(VENV)/.demo $@

$(VENV):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit( \
	    "ntvep needs Python 3.11, 3.12 or 3.13; this is %d.%d. Type: make PYTHON=python3.11" % v)'
	$(PYTHON) -m venv $(VENV)

gpu:
	$(GPU_PYTHON) -m benchmarks.gpu $(PARTS)

clean:
	rm -rf $(VENV) .snakemake results
