# make demo: the main job on real data.  make test: the tests.  Both set up everything they need in .venv.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RUN := runs/demo
SOURCES := $(wildcard src tests benchmarks examples vectors contracts/tools)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help demo test test-slow test-all lint bench contracts contracts-write clean

help: ## show what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tallystick needs Python 3.11 or newer; set PYTHON=/path/to/one."; exit 1; }
	@echo "== making $(VENV) (once) =="
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/base: pyproject.toml $(VENV)/made
	@echo "== installing tallystick into $(VENV) (about a minute, once) =="
	@$(PIP) -e .
	@touch $@

$(VENV)/dev: pyproject.toml $(VENV)/made
	@echo "== installing the development tools into $(VENV) (a minute or two, once) =="
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/base

$(VENV)/torch: $(VENV)/dev
	@echo "== installing torch into $(VENV) (large, once) =="
	@$(PIP) -e '.[dev,torch]'
	@touch $@

contracts/node_modules/made: contracts/package.json contracts/package-lock.json
	@command -v node >/dev/null || { echo "The contracts need Node 20 or newer."; exit 1; }
	@echo "== installing forge, anvil and solc into contracts/node_modules (once) =="
	@# Not npm ci: it wants other platforms' binaries in the lock file too, which not every registry has.
	@cd contracts && npm install --no-save --no-audit --no-fund --silent
	@touch $@

demo: $(VENV)/base ## train a cancer model among ten hospitals on a real EVM, and audit it
	@rm -rf $(RUN)
	@$(BIN)/tallystick demo cancer --seed 7 --run-dir $(RUN)

test: $(VENV)/dev ## the fast tests
	@$(BIN)/python -m pytest

test-slow: $(VENV)/torch contracts/node_modules/made ## the long tests: Ray, SuperLink, kill -9, torch
	@$(BIN)/python -m pytest -m slow

test-all: $(VENV)/torch contracts/node_modules/made ## every test
	@$(BIN)/python -m pytest -m 'slow or not slow'

lint: $(VENV)/dev ## ruff, mypy strict, the direction of imports
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/torch ## measure everything again, into benchmarks/results
	@$(BIN)/python -m benchmarks

contracts: $(VENV)/made contracts/node_modules/made ## build and test the contracts, compare the shipped artifact
	@contracts/tools/check.sh

contracts-write: $(VENV)/made contracts/node_modules/made ## compile the contracts into the package
	@contracts/tools/check.sh write

clean: ## remove what was made here
	rm -rf $(VENV) runs contracts/node_modules contracts/out contracts/cache dist
