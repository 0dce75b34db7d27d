# Each target sets up what it needs, in a virtual environment in .venv, and again only when the dependencies change.
#
#   make probe    tune a shipped workload on this machine
#   make test     run the tests
#   make lint     ruff and mypy
#   make format   let ruff lay out the code
#   make bench    measure perftune itself
#   make validate predict what others measured, and write benchmarks/validation/README.md
#   make clean    remove the environment and what was measured

PYTHON ?= python3
VENV ?= .venv
PROBE ?= probes/minilm_classifier.yaml
TEST_PROCESSES ?= 2
TESTS ?= tests

BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: probe test lint format bench validate clean
.DEFAULT_GOAL := test

probe: $(INSTALLED)
	$(BIN)/perftune probe $(PROBE)

# A file runs on one process, so that what its tests share is made once. Two processes share the cores: tests compare
# times with each other and never with a clock.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder --benchmark-disable $(TESTS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	$(BIN)/python -m pytest benchmarks --benchmark-enable -s
	$(BIN)/python -m benchmarks.search.compare benchmarks/search/landscapes/*.json

# Tracing about a hundred trainings takes one core half an hour or more; TRACES=folder keeps them for the next time.
validate: $(INSTALLED)
	folder=$${TRACES:-$$(mktemp -d)} && $(BIN)/python -m benchmarks.validation.publish --traces "$$folder"

clean:
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks *.egg-info

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("perftune needs Python 3.10 or later: make PYTHON=python3.11" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
