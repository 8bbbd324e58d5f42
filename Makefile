# Two commands: `make demo` and `make test`. Each makes .venv, installs, runs.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
BENCH_CACHE ?= $(HOME)/.cache/hf-soups-bench
BENCH_OPTIONS ?=
PEERS := $(BENCH_CACHE)/mergekit
BENCH := $(BIN)/python -m tests.benchmarks

.PHONY: demo test test-all lint bench bench-peers bench-selection bench-growth clean

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

bench: $(READY)  ## each operation beside cat + cp; 15 GB in BENCH_CACHE
	$(BENCH).run --size 135m --cache $(BENCH_CACHE) --json $(BENCH_CACHE)/135m.json $(BENCH_OPTIONS)
	$(BENCH).run --size 1b --cache $(BENCH_CACHE) --json $(BENCH_CACHE)/1b.json $(BENCH_OPTIONS)

bench-peers: $(READY) $(PEERS)/.ready  ## the same beside mergekit; an hour or more
	$(BENCH).run --size 135m --peers $(PEERS) --cache $(BENCH_CACHE) --json $(BENCH_CACHE)/135m-peers.json $(BENCH_OPTIONS)
	$(BENCH).run --size 1b --peers $(PEERS) --cache $(BENCH_CACHE) --json $(BENCH_CACHE)/1b-peers.json $(BENCH_OPTIONS)

bench-selection: $(READY)  ## choosing among sixteen fine-tunes, which are trained first; an hour
	$(BENCH).selection --cache $(BENCH_CACHE)/sixteen --out $(BENCH_CACHE) $(BENCH_OPTIONS)

bench-growth: $(READY)  ## cost against ingredients and size, memory over time; 9 GB more
	$(BENCH).growth --cache $(BENCH_CACHE) --json $(BENCH_CACHE)/growth.json --figure $(BENCH_CACHE)/memory.png $(BENCH_OPTIONS)

$(PEERS)/.ready:
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet torch==2.13.0
	$(PEERS)/bin/python -m pip install --quiet mergekit==0.1.5
	@touch $@

clean:
	rm -rf .venv .demo
