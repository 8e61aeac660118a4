# make demo   runs a campaign from a CSV to delivered, in a real Airflow, against a Telekom API on this machine
# make test   runs the tests
# make matrix runs them on every supported Airflow line (CELLS="3.1 3.2/3.12": on these); half an hour
# make docs   makes HTML of docs/ in build/docs
# make bench  measures how fast it is beside other clients, and writes docs/performance.md; a quarter of an hour
# Nothing else is to be set up by hand; both make the virtual environment they need.

VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS := constraints/airflow-3.3.txt
# The first of these that is a Python this package supports.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
    $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
        && command -v $$python && break; done)
PYTEST := $(BIN)/python -m pytest

# Without byte code Airflow is compiled anew at every start.
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1

.PHONY: help demo test test-slow test-all matrix docs bench bench-quick lint types format clean

help:
	@sed -n 's/^# make/  make/p' Makefile

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints $(CONSTRAINTS) --editable '.[dev]'
	@touch $@

demo: $(VENV)/installed
	@$(BIN)/python scripts/demo.py

test: $(VENV)/installed
	$(PYTEST) -m "not slow" -n 2 --dist loadfile

test-slow: $(VENV)/installed
	$(PYTEST) -m slow

test-all: test test-slow

matrix: $(VENV)/installed
	$(BIN)/python scripts/matrix.py $(CELLS)

docs: $(VENV)/installed
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env docs build/docs

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks

bench-quick: $(VENV)/installed
	$(BIN)/python -m benchmarks --quick

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
