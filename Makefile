# `make run` and `make test` need nothing but Python 3.11 or newer, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# make soak SEED=7 SECONDS=3600
SEED ?= $(shell date +%s)
SECONDS ?= 600

# make run UP_ARGS="--nodes 5 --port 7101"
UP_ARGS ?=
PYTEST_ARGS ?=
# make test WORKERS=0: one after the other, in one process
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) + 1)')

# make bench BENCH_ARGS=--quick
BENCH_ARGS ?=

.PHONY: help run test static check fix soak bench clean

help:
	@echo "make run     a three-node cluster on this machine"
	@echo "make test    the tests"
	@echo "make check   format, lint, types and tests; changes nothing"
	@echo "make fix     rewrites what format and lint can"
	@echo "make soak    simulator twice, kill rounds, consistency, hostile clients, chaos: SECONDS=$(SECONDS) each, from SEED"
	@echo "make bench   the benchmarks, about 25 minutes; BENCH_ARGS=--quick for about 4"

run: $(VENV)/.installed
	@exec $(BIN)/raftkv up $(UP_ARGS)

# Much of the time tests wait for elections and disks: a test more than there are cores fills it.
# Whoever keeps Python from writing bytecode would have it compiled for each of the hundreds of nodes.
test: $(VENV)/.installed-dev
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

static: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: static test

fix: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: $(VENV)/.installed-dev
	$(BIN)/python -m tests.simulator --seed $(SEED) --seeds 2000 --seconds $(SECONDS)
	$(BIN)/python -m tests.simulator --seed $(SEED) --seconds $(SECONDS) --profile churn
	$(BIN)/python -m tests.integration.kill_rounds --seed $(SEED) --seconds $(SECONDS)
	$(BIN)/python -m tests.consistency --seed $(SEED) --seconds $(SECONDS)
	$(BIN)/python -m tests.integration.rolling --seed $(SEED) --rounds 5
	$(BIN)/python -m tests.hostile --seed $(SEED) --seconds $(SECONDS)
	$(BIN)/python -m tests.chaos --seed $(SEED) --seconds $(SECONDS) || test $$? -eq 77  # 77: not on this machine

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The stamps are written last, so that what was interrupted is done again.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "raftkv needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; \
		exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed
