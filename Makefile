# Two commands for a fresh machine: `make quickstart` and `make test`.
# Without a GPU, point pip at PyTorch's CPU wheels to save gigabytes: make quickstart PIP_FLAGS="--extra-index-url …"
PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -q -n auto --dist loadfile
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt

.PHONY: ladder ladder-full quickstart test test-all check fix format lint types docs site clean

quickstart: .venv/installed  ## install, then curate, inspect, train, evaluate and compare on the tiny models
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/quickstart.sh

test: .venv/installed-dev  ## run the unit tests, a few minutes on two cores
	$(PYTEST) -m "not slow"

test-all: .venv/installed-dev  ## run all tests
	$(PYTEST)

check: .venv/installed-dev format lint types test-all  ## all that continuous integration asks for

format: .venv/installed-dev  ## fails when a file is not formatted; `make fix` formats
	$(BIN)/ruff format --check .

lint: .venv/installed-dev
	$(BIN)/ruff check .

types: .venv/installed-dev
	$(BIN)/mypy

fix: .venv/installed-dev  ## format, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/installed-dev  ## write docs/cli.md and docs/config.md anew
	$(BIN)/python scripts/build_docs.py

site: .venv/installed-docs  ## build the documentation as a site, strictly, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	$(BIN)/python scripts/check_site.py site

ladder: .venv/installed-dev  ## both papers in miniature: half an hour on two cores, goes on where it stopped
	$(BIN)/python -m benchmarks.ladder

ladder-full: .venv/installed-dev  ## the ablations of the papers' open points, too
	$(BIN)/python -m benchmarks.ladder --full

clean:  ## remove the environment and the quick start's runs
	rm -rf .venv runs/quickstart site

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@echo "installing distill into .venv (a minute or two)"
	$(PIP) -e .
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP) -e '.[dev,scale,gym,plot]'
	@touch $@

.venv/installed-docs: .venv/installed
	$(PIP) -e '.[docs]'
	@touch $@
