# A fresh machine needs Python 3.11 or newer, make, git and a package registry.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

DEVICE ?= cuda
OUT ?= outputs/gpu

.PHONY: quickstart test test-slow setup check drills bench docs docs-serve gpu gpu-plans

quickstart: $(VENV)/.installed
	$(RUN) run_plan.py --plan_config_path experiment_plans/quickstart/digits.json

test: $(VENV)/.installed-dev
	$(RUN) -m pytest

test-slow: $(VENV)/.installed-dev
	$(RUN) -m pytest -m slow

setup: $(VENV)/.installed

check: $(VENV)/.installed-dev
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

# Kills, full disks, damaged files and wrong plans: some 10 minutes; MINUTES=40 makes the whole.
MINUTES ?= 10

drills: $(VENV)/.installed-dev
	$(RUN) -m tests.drills --minutes $(MINUTES)

bench: $(VENV)/.installed-dev
	$(RUN) -m tests.benchmarks

# The documentation as a site: open outputs/site/index.html. docs-serve shows it while it is written.
export NO_MKDOCS_2_WARNING := 1

docs: $(VENV)/.installed-docs
	$(RUN) -m mkdocs build --strict

docs-serve: $(VENV)/.installed-docs
	$(RUN) -m mkdocs serve

# What only a GPU can show, checked and measured; DEVICE=cpu makes every part scaled down.
gpu: $(VENV)/.installed-dev
	$(RUN) -m tests.gpu --device $(DEVICE) --out $(OUT)

gpu-plans: $(VENV)/.installed-dev
	$(RUN) -m tests.gpu --plans --device $(DEVICE) --out $(OUT)-plans

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --requirement requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-cluster.txt requirements-docs.txt requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --requirement requirements-dev.txt
	@touch $@ $(VENV)/.installed $(VENV)/.installed-docs

$(VENV)/.installed-docs: requirements-docs.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --requirement requirements-docs.txt
	@touch $@
