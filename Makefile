# Two commands do everything on a machine with Python >= 3.11 and make:
#   make demo   one day of mixed work on four fleets, side by side
#   make test   formatting, lint, types and all tests but the long ones
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

.PHONY: demo test test-long lint bench curves lock clean

demo: $(READY)
	$(BIN)/inferencesim demo --out demo.png

test: $(READY) lint
	$(BIN)/python -m inferencesim.simulation.warm_up
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not long"

test-long: $(READY) lint
	$(BIN)/python -m inferencesim.simulation.warm_up
	$(BIN)/python -m pytest -q -n $(WORKERS)
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q -n $(WORKERS) -m "not long"

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/bench.py --json bench.json

# After a change of policies, physics or kernel that is wanted: what it changes is then in the diff.
curves: $(READY)
	$(BIN)/inferencesim curves update curves/*.yaml

# What `make` installs: resolved from pyproject.toml, every version pinned.
lock: $(READY)
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra dev --strip-extras --unsafe-package inferencesim \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements.lock pyproject.toml

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "inferencesim needs Python >= 3.11; name one with make PYTHON=python3.x"; exit 1; }
	@echo "Installing into $(VENV) (once, a minute or two) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(READY)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis demo.png
