# Everything runs in .venv, made when it is missing or when pyproject.toml or constraints.txt are newer than it.
# PYTHON chooses the interpreter that makes it: make test PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The oldest pyarrow has wheels up to Python 3.12 only: make test OLDEST_PYTHON=python3.12
OLDEST_PYTHON ?= $(PYTHON)
OLDEST := .venv-oldest
AIRFLOW := .venv-airflow

.PHONY: demo test lint format lab clean setup services oldest check-airflow
.DEFAULT_GOAL := help

help:
	@echo "make demo    the worked case, from data to a retrained model (under 3 minutes)"
	@echo "make test    all tests"
	@echo "make oldest  the oldest pyarrow, for the tests of digests (part of make test)"
	@echo "make check-airflow  a real Airflow runs an exported DAG (some minutes at first; not part of make test)"
	@echo "make lint    style, types, import direction, notebooks without outputs"
	@echo "make lab     JupyterLab on the tutorial"
	@echo "make clean   remove the virtual environment and what demo and tests wrote"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; echo "  -> make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (once; a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

setup: $(READY)

$(OLDEST)/.ready: constraints-oldest.txt
	@echo "setting up $(OLDEST) (once): the oldest pyarrow that is supported"
	@test -x $(OLDEST)/bin/python || $(OLDEST_PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install --quiet --only-binary :all: --requirement constraints-oldest.txt \
	  || { echo "its packages cannot be installed for $$($(OLDEST)/bin/python --version)"; echo "  -> rm -r $(OLDEST); make $(MAKECMDGOALS) OLDEST_PYTHON=/path/to/python3.12"; exit 1; }
	@touch $(OLDEST)/.ready

oldest: $(OLDEST)/.ready

$(AIRFLOW)/.ready: constraints-airflow.txt
	@echo "setting up $(AIRFLOW) (once; some minutes, 800 MB)"
	@test -x $(AIRFLOW)/bin/python || $(PYTHON) -m venv $(AIRFLOW)
	@$(AIRFLOW)/bin/python -m pip install --quiet --constraint constraints-airflow.txt apache-airflow apache-airflow-providers-standard
	@touch $(AIRFLOW)/.ready

check-airflow: $(READY) $(AIRFLOW)/.ready
	@$(BIN)/python tests/airflow/check.py $(AIRFLOW)/bin

demo: $(READY)
	@$(BIN)/python notebooks/flights/demo.py

# A browser and a database server are no Python packages: installed where that is allowed, else said loudly.
define need
	@$(1) >/dev/null 2>&1 || { echo "installing $(2) (for the tests)"; \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(2) >/dev/null; } \
	  || { echo "$(2) is needed for the tests"; echo "  -> sudo apt-get install $(2)"; exit 1; }; }
endef

services:
	$(call need,command -v chromium,chromium)
	$(call need,ls /usr/lib/postgresql/*/bin/initdb,postgresql)

test: $(READY) $(OLDEST)/.ready services
	@$(BIN)/python -m pytest -n 3

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/nbstripout --keep-id --verify $$(git ls-files '*.ipynb')

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lab: $(READY)
	@$(BIN)/jupyter lab $$([ "$$(id -u)" = 0 ] && echo --allow-root) notebooks/flights/quickstart.ipynb

clean:
	rm -rf $(VENV) $(OLDEST) $(AIRFLOW) build dist *.egg-info demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
