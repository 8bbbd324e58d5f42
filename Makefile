# Two commands: `make demo` and `make test`. Each makes .venv, installs, runs.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-all lint clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

test: $(READY) lint  ## the suite, minutes
	$(BIN)/python -m pytest

test-all: $(READY) lint  ## the slow tests too
	$(BIN)/python -m pytest -m ""

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: $(READY)  ## the main job on real models, against a Hub on this machine
	$(BIN)/python -m examples.sentiment.demo --out .demo

clean:
	rm -rf .venv .demo
