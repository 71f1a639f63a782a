# Two commands matter: `make demo` and `make test`. Both do all the set-up there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BROWSER := $(VENV)/.browser
POSTGRESQL := $(VENV)/.postgresql
STRACE := $(VENV)/.strace
EXIFTOOL := $(VENV)/.exiftool
AXE := $(VENV)/.axe
# Not TMUX: the environment has one, and make would hand ours on to everything it starts.
TMUX_READY := $(VENV)/.tmux
# Two processes more than there are cores: tests wait as well, for a timeout or a server.
# What is started a thousand times is compiled once, also where the environment forbids it (an empty value allows it).
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest --dist worksteal --numprocesses
PROCESSES = $(shell $(PYTHON) -c 'import os; print(min(os.cpu_count(), 4) + 2)')

.PHONY: help setup demo test test-postgresql peers peers-quick soak check format docs mutation-proof clean

help:
	@echo "make demo    paint, train, choose and publish once, in a few minutes, on any computer"
	@echo "make test    every check and every test"
	@echo "make test-postgresql  what paints, on PostgreSQL as well (make test has all the others)"
	@echo "make peers   install servers that we did not write, and hold the channels against them"
	@echo "make peers-quick  those of them that install in two minutes, as CI does"
	@echo "make soak    thousands of kills and made-up lives: for a night, outside CI"
	@echo "make setup   only install, into $(VENV)/"
	@echo "make check   formatting, types and architecture, without the tests"
	@echo "make format  put the code into its form"
	@echo "make docs    write docs/webhook.schema.json and docs/states.md anew from the code"
	@echo "make mutation-proof  take away one protection at a time: some test must notice"
	@echo "make clean   remove what these commands made"

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "artbot needs Python 3.11 or newer; this is %d.%d. Name another: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	@echo "installing (torch is large: this takes a few minutes the first time)"
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(INSTALLED)

$(BROWSER): $(INSTALLED)
	@tests/install-browser.sh
	@touch $(BROWSER)

$(POSTGRESQL): $(INSTALLED)
	@tests/install-postgresql.sh
	@touch $(POSTGRESQL)

$(STRACE): $(INSTALLED)
	@tests/install-strace.sh
	@touch $(STRACE)

$(EXIFTOOL): $(INSTALLED)
	@tests/install-exiftool.sh
	@touch $(EXIFTOOL)

$(AXE): $(INSTALLED)
	@tests/install-axe.sh
	@touch $(AXE)

$(TMUX_READY): $(INSTALLED)
	@tests/install-tmux.sh
	@touch $(TMUX_READY)

demo: $(INSTALLED)
	@$(BIN)/python deploy/demo/demo.py

test: check $(BROWSER) $(POSTGRESQL) $(STRACE) $(EXIFTOOL) $(AXE) $(TMUX_READY)
	$(PYTEST) $(PROCESSES)

test-postgresql: $(INSTALLED) $(POSTGRESQL) $(STRACE)
	ARTBOT_TEST_ALL=1 $(PYTEST) $(PROCESSES) -k postgresql

# Not ours: a Bluesky PDS (700 MB), Matrix Synapse, a Mastodon mock, an S3 server, a verifier of webhooks in
# JavaScript. Without them `make test` skips what needs them, and says so.
peers: $(INSTALLED) $(BROWSER) $(AXE)
	$(BIN)/python -m pip install --quiet --editable '.[dev,peers]'
	@tests/install-peers.sh $(VENV)
	$(PYTEST) $(PROCESSES) tests/contract

peers-quick: $(INSTALLED) $(BROWSER) $(AXE)
	$(BIN)/python -m pip install --quiet --editable '.[dev,peers]'
	@tests/install-peers.sh $(VENV) webhook
	$(PYTEST) $(PROCESSES) tests/contract -k 'mastodon or matrix or s3 or buckets or gallery or webhook'
	@echo "Left out: the Bluesky PDS, 500 MB that are compiled in part. make peers has it."

mutation-proof: $(INSTALLED) $(POSTGRESQL) $(STRACE)
	$(BIN)/python tests/mutation_proof.py

soak: $(INSTALLED) $(POSTGRESQL) $(STRACE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/property/test_life.py --hypothesis-profile=thorough
	ARTBOT_SWEEP=all $(PYTEST) $(PROCESSES) tests/faults/test_kill_sweep.py
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak.soak

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(INSTALLED)
	$(BIN)/python -c 'from artbot.publishing.event import event_schema; print(event_schema(), end="")' > docs/webhook.schema.json
	$(BIN)/python -c 'from artbot.domain import MACHINES; from artbot.domain.machine import draw; print(draw(MACHINES), end="")' > docs/states.md

clean:
	rm -rf $(VENV) demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
