# Canopy: everything a checkout can do. Works with GNU make 3.81; needs Python 3.11 or newer, nothing else.
#
#   make demo [ARGS=…]   training runs grow in the terminal, read from a real Cassandra node
#   make test [ARGS=…]   the tests, against real Cassandra nodes
#   make check           ruff and pyright
#   make bench           the figures, as ratios measured side by side
#   make faults [SEEDS=n]  kills, outages and broken links by seed, against real nodes; then a full scan
#   make screenshots     the pictures of the README, from the real app

PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo $$python; break; fi; done)
BIN := .venv/bin
ARGS ?=
SEEDS ?= 20

.PHONY: help demo test check bench faults screenshots clean

help:
	@sed -n 's/^#  *\(make .*\)/\1/p' Makefile

demo: .venv/.runtime
	@$(BIN)/canopy demo $(ARGS)

test: .venv/.dev
	$(BIN)/python -m tests $(ARGS)

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: .venv/.dev
	$(BIN)/python -m tests.bench $(ARGS)

faults: .venv/.dev
	$(BIN)/python -m tests.faults --seeds $(SEEDS) $(ARGS)

screenshots: .venv/.dev
	$(BIN)/python screenshots/take.py $(ARGS)

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis snapshot_report.html

# The environment. Two stamps, so that the demo does not wait for the development tools.
.venv/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
	  echo "Canopy needs Python 3.11 or newer; this machine's python3 is $$(python3 -V 2>/dev/null || echo missing)." >&2; \
	  echo "Install one (apt install python3.11 python3.11-venv · brew install python@3.13 · uv python install 3.13)," >&2; \
	  echo "or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; fi
	@echo "Making .venv …" >&2
	@if command -v uv >/dev/null 2>&1; then uv venv --quiet --seed --python "$(PYTHON)" .venv; \
	elif "$(PYTHON)" -c 'import venv, ensurepip' >/dev/null 2>&1; then "$(PYTHON)" -m venv .venv; \
	else echo "$(PYTHON) has no venv module. Debian and Ubuntu: apt install $(notdir $(PYTHON))-venv" >&2; exit 1; fi

.venv/.runtime: pyproject.toml | .venv/bin/python
	@echo "Installing Canopy into .venv …" >&2
	@$(call install,.[local])
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	@echo "Installing Canopy and its development tools into .venv …" >&2
	@$(call install,.[dev])
	@touch $@ .venv/.runtime

install = if command -v uv >/dev/null 2>&1; \
	then uv pip install --quiet --python $(BIN)/python -e '$(1)'; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '$(1)'; fi
