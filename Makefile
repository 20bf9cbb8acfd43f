# All set-up is done here, into .venv/ of this checkout. It needs Python 3.11 to 3.13 and git, nothing else.
#
#   make demo      the three example DAGs at work, on an emulated Vi
#   make airflow   Airflow's own web UI with the examples and the emulator, to click through; Ctrl-C ends it
#   make test      everything that CI checks
#   make help      all targets

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
# Airflow 2.11 does not run on Python 3.13, so it gets an older one where PYTHON is too new.
PYTHON_2_11 ?= $(shell for p in $(PYTHON) python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)

VENV := .venv
UV := $(VENV)/tools/bin/uv
AIRFLOW_3 := $(VENV)/airflow-3.3
AIRFLOW_2 := $(VENV)/airflow-2.11
PYTEST := -m pytest -q -p no:cacheprovider

# Trust what the machine trusts, as pip does: a company's proxy may have a CA of its own.
export UV_SYSTEM_CERTS := 1

.PHONY: help demo airflow test lint types test-3 test-2 test-system format pins wheel clean

help:  ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(AIRFLOW_3)/.ready  ## The main job: audit, cleanup and gate in a real Airflow, on the emulator
	@$(AIRFLOW_3)/bin/python -m demo.run

airflow: $(AIRFLOW_3)/.ready  ## Airflow's web UI with the examples and the emulator; Ctrl-C ends all of it
	@$(AIRFLOW_3)/bin/python -m demo.ui

test: lint types test-3 test-2 test-system  ## Everything that CI checks

lint: $(AIRFLOW_3)/.ready
	$(AIRFLOW_3)/bin/ruff check .
	$(AIRFLOW_3)/bin/ruff format --check .

types: $(AIRFLOW_3)/.ready
	$(AIRFLOW_3)/bin/mypy

test-3: $(AIRFLOW_3)/.ready  ## Unit, contract and example DAG tests on Airflow 3.3.2
	$(AIRFLOW_3)/bin/python $(PYTEST) tests/unit tests/contract tests/dags

test-2:  ## Unit and example DAG tests on Airflow 2.11.2
	@if [ -z "$(PYTHON_2_11)" ]; then \
		echo 'SKIPPED: Airflow 2.11 needs Python 3.11 or 3.12, and neither is on the PATH'; \
	else \
		$(MAKE) --no-print-directory $(AIRFLOW_2)/.ready && \
		echo '$(AIRFLOW_2)/bin/python $(PYTEST) tests/unit tests/dags' && \
		$(AIRFLOW_2)/bin/python $(PYTEST) tests/unit tests/dags; \
	fi

test-system: $(AIRFLOW_3)/.ready  ## Gates and exports in a real deployment of Airflow 3.3.2, whose triggerer is killed
	$(AIRFLOW_3)/bin/python $(PYTEST) tests/system

format: $(AIRFLOW_3)/.ready  ## Format the code and mend what ruff can mend
	$(AIRFLOW_3)/bin/ruff check --fix .
	$(AIRFLOW_3)/bin/ruff format .

pins: $(UV)  ## Renew requirements/*.txt from pyproject.toml and requirements/*.in
	$(UV) pip compile -q --upgrade --universal --python-version 3.11 --no-emit-index-url --all-extras \
		pyproject.toml requirements/airflow-3.3.in requirements/test.in requirements/test-s3.in requirements/lint.in \
		-o requirements/airflow-3.3.txt
	$(UV) pip compile -q --upgrade --universal --python-version 3.11 --no-emit-index-url --all-extras \
		pyproject.toml requirements/airflow-2.11.in requirements/test.in \
		-o requirements/airflow-2.11.txt

wheel: $(UV)  ## Build the wheel and the source archive into dist/
	$(UV) build -q

clean:  ## Remove all that was set up or produced
	rm -rf $(VENV) .demo .airflow-ui dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

$(UV):
	$(PYTHON) -m venv $(VENV)/tools
	$(VENV)/tools/bin/pip install -q --disable-pip-version-check -r requirements/tools.txt

$(AIRFLOW_2)/.ready: PYTHON := $(PYTHON_2_11)
$(VENV)/airflow-%/.ready: requirements/airflow-%.txt pyproject.toml vi_airflow_provider/provider_info.py | $(UV)
	$(UV) venv -q --clear --python $(PYTHON) $(@D)
	$(UV) pip install -q --python $(@D)/bin/python -r $<
	$(UV) pip install -q --python $(@D)/bin/python --no-deps --editable .
	@touch $@
