# The development habits of this project; `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# Three workers for two cores: many tests wait for real time to pass (measured: 257 s, against 306 s with two).
WORKERS := $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 )))
PYTEST  := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# flake8-async: 9xx are opinions of taste; 114 wants a list of startable functions; 124: a fake may be async and never
# wait; 127 prefers httpx2, whereas httpx is what this package's users configure and pass in.
NOT_LINTED := ASYNC114,ASYNC124,ASYNC127,ASYNC900,ASYNC910,ASYNC911,ASYNC912,ASYNC913

.PHONY: help demo test soak faults lint types bench docs clean

help:       ## what can be made
	@sed -n 's/^\([a-z]*\): .*## /\1\t/p' Makefile

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed    ## list, download and verify checkpoints from the built-in emulator
	$(BIN)/trio-norman demo

test: $(VENV)/.installed    ## the whole test-suite
	$(PYTEST)

soak: $(VENV)/.installed    ## what takes too long for every change: crash loops and long fuzzing
	$(BIN)/python -m pytest -m 'soak and alone'
	$(PYTEST) -m '(soak or fuzz) and not alone' --hypothesis-profile=soak

faults: $(VENV)/.installed  ## write tests/FAULTS.md anew: every fault, its tests, its outcome
	$(BIN)/python -m tests.faults.report

lint: $(VENV)/.installed    ## ruff and flake8-async
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/flake8-async --disable $(NOT_LINTED) $$(find trio_norman tests benchmarks -name '*.py')

types: $(VENV)/.installed   ## mypy --strict
	$(BIN)/mypy

bench: $(VENV)/.installed   ## measure beside the peers (nginx is needed)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.txt
	$(BIN)/python -m benchmarks

docs: $(VENV)/.installed    ## run every example that README.md shows
	$(BIN)/python -m pytest tests/test_readme.py

clean:                      ## forget the environment and what the tools left
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage demo-downloads
