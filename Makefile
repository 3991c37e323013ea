# A fresh machine needs Python 3.11 or newer, make, git and a package registry.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: quickstart test setup check bench

quickstart: $(VENV)/.installed
	$(RUN) run_plan.py --plan_config_path experiment_plans/quickstart/digits.json

test: $(VENV)/.installed-dev
	$(RUN) -m pytest

setup: $(VENV)/.installed

check: $(VENV)/.installed-dev
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/.installed-dev
	$(RUN) -m tests.benchmarks

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --requirement requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --requirement requirements-dev.txt
	@touch $@ $(VENV)/.installed
