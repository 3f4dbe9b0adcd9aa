# VisionDrift: the commands that the README names. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
SCENARIO ?= dark
JOBS ?= 2
export DO_NOT_TRACK := 1
export HF_HUB_OFFLINE ?= 1
# Python keeps what it has compiled, whatever is set outside: to compile pandas and SciPy anew takes each start seconds.
export PYTHONDONTWRITEBYTECODE :=

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.run: requirements.txt requirements-torch.txt exporter/install.sh pyproject.toml
	PYTHON=$(PYTHON) exporter/install.sh $(VENV)
	@$(MAKE) --no-print-directory _package && touch $@

$(VENV)/.dev: requirements-dev.txt requirements-torch.txt exporter/install.sh pyproject.toml
	PYTHON=$(PYTHON) exporter/install.sh $(VENV) --dev
	@$(MAKE) --no-print-directory _package && touch $@ $(VENV)/.run

# The checkout itself, editable: `.venv/bin/visiondrift` runs the code that is here.
_package:
	@if command -v uv > /dev/null; then uv pip install --quiet --python $(VENV)/bin/python --no-deps -e .; \
	elif [ -x $(VENV)/bin/uv ]; then $(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps -e .; \
	else $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -e .; fi

setup: $(VENV)/.run ## make .venv with what running needs
dev: $(VENV)/.dev ## make .venv with what developing and testing need

demo: $(VENV)/.run ## play the demo: three cameras, one goes dark (SCENARIO=dark|blurry|black|dusk|healthy, ARGS=--keep)
	$(VENV)/bin/visiondrift demo --scenario $(SCENARIO) $(ARGS)

# A file's tests run in one worker, so that what they share is made once; the large files come first.
test: $(VENV)/.dev ## everything that runs without Docker (JOBS=2: so many tests side by side)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -m "not stack" -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-stack: $(VENV)/.dev ## the containers: the shipped compose file, a Slack stand-in, a demo stream
	$(VENV)/bin/python -m pytest -m stack $(ARGS)

lint: $(VENV)/.dev ## ruff, mypy --strict, import-linter, generated files
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python grafana/source/build.py --check
	$(VENV)/bin/python docs/build.py --check

bench: $(VENV)/.dev ## measure all of it and write docs/benchmarks.md: two to three hours (QUICK=--quick: minutes, elsewhere)
	$(VENV)/bin/python tests/bench/tables.py $(QUICK)

bench-explain: $(VENV)/.dev ## whether causes and cameras are named rightly: 15 minutes, into docs/benchmarks.md (QUICK=--quick)
	$(VENV)/bin/python tests/bench/tables.py $(QUICK) --only explain spread hours

dashboards: $(VENV)/.dev ## regenerate grafana/dashboards from grafana/source
	$(VENV)/bin/python grafana/source/build.py

docs: $(VENV)/.dev ## write the README's tables anew from the code
	$(VENV)/bin/python docs/build.py

lock: ## pin and hash the requirements anew (needs uv)
	exporter/lock.sh

.PHONY: help setup dev demo test test-stack lint bench bench-explain dashboards docs lock _package
