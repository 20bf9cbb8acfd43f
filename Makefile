# Each target installs what it needs into .venv/ of this checkout. Requirements: Python 3.11 to 3.13 and git.
#
#   make demo      run five example DAGs against the emulator
#   make airflow   Airflow's web UI with the example DAGs and the emulator; Ctrl-C stops it
#   make test      everything that CI checks
#   make help      all targets

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
# Airflow 2.11 does not run on Python 3.13; if PYTHON is too new, an older interpreter from the PATH is used.
PYTHON_2_11 ?= $(shell for p in $(PYTHON) python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)

VENV := .venv
UV := $(VENV)/tools/bin/uv
AIRFLOW_3 := $(VENV)/airflow-3.3
AIRFLOW_2 := $(VENV)/airflow-2.11
BENCH := $(VENV)/bench
DOCS := $(VENV)/docs
PACKAGING := $(VENV)/packaging
MUTANTS := $(VENV)/mutants
PYTEST := -m pytest -q -p no:cacheprovider
# Without the fault matrix: it tests the clients, which do not depend on the version of Airflow.
SUITE_3 := tests/unit tests/contract tests/reliability tests/security tests/dags
SUITE_2 := tests/unit tests/dags tests/security

# Use the CA store of the system, as pip does: a corporate proxy may have its own CA.
export UV_SYSTEM_CERTS := 1
# Over a hundred processes of the tests import Airflow, which takes twice as long without compiled files.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo airflow test test-lane-1 test-lane-2 lint types test-3 test-2 test-system test-browser test-ui-versions test-soak test-smoke test-package \
	coverage mutants soak bench test-distributed reliability architecture screenshots test-lowest matrix audit-deps docs format pins wheel release clean

help:  ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(AIRFLOW_3)/.ready  ## Install everything for development: Airflow 3.3.2, the package in editable form, test tools, linters

demo: $(AIRFLOW_3)/.ready  ## Run audit, cleanup, gate, training and deployment in a real Airflow, against the emulator
	@$(AIRFLOW_3)/bin/python -m demo.run

airflow: $(AIRFLOW_3)/.ready  ## Airflow's web UI with the example DAGs and the emulator; Ctrl-C stops everything
	@$(AIRFLOW_3)/bin/python -m demo.ui

# Two lanes of about the same duration, for machines with two cores.
test: lint types  ## Everything that CI checks
	@$(MAKE) --no-print-directory -j2 --output-sync=target test-lane-1 test-lane-2

test-lane-1:
	@$(MAKE) --no-print-directory test-3
	@$(MAKE) --no-print-directory test-soak
	@$(MAKE) --no-print-directory test-smoke
	@$(MAKE) --no-print-directory docs

test-lane-2:
	@$(MAKE) --no-print-directory test-2
	@$(MAKE) --no-print-directory test-system
	@$(MAKE) --no-print-directory test-browser
	@$(MAKE) --no-print-directory test-package

lint: $(AIRFLOW_3)/.ready
	$(AIRFLOW_3)/bin/ruff check .
	$(AIRFLOW_3)/bin/ruff format --check .

types: $(AIRFLOW_3)/.ready
	$(AIRFLOW_3)/bin/mypy

test-3: $(AIRFLOW_3)/.ready  ## Unit, contract, fault matrix, security and example DAG tests on Airflow 3.3.2
	$(AIRFLOW_3)/bin/python $(PYTEST) $(SUITE_3)

test-smoke: $(AIRFLOW_3)/.ready  ## Run every benchmark at a very small size and check its counts
	$(AIRFLOW_3)/bin/python $(PYTEST) tests/benchmarks

test-2:  ## Unit, security and example DAG tests on Airflow 2.11.2
	@if [ -z "$(PYTHON_2_11)" ]; then \
		echo 'SKIPPED: Airflow 2.11 requires Python 3.11 or 3.12; neither is on the PATH'; \
	else \
		$(MAKE) --no-print-directory $(AIRFLOW_2)/.ready && \
		echo '$(AIRFLOW_2)/bin/python $(PYTEST) $(SUITE_2)' && \
		$(AIRFLOW_2)/bin/python $(PYTEST) $(SUITE_2); \
	fi

screenshots: $(AIRFLOW_3)/.ready  ## Take the pictures of docs/ui.md with Chromium
	$(AIRFLOW_3)/bin/python -m demo.screenshots

test-system: $(AIRFLOW_3)/.ready  ## Gates and exports in a real deployment of Airflow 3.3.2 whose triggerer is killed
	$(AIRFLOW_3)/bin/python $(PYTEST) tests/system

test-browser: $(AIRFLOW_3)/.ready  ## The page, the HTML reports, Airflow's forms and the example DAGs in Chromium; skipped without one
	$(AIRFLOW_3)/bin/python $(PYTEST) tests/browser --ignore tests/browser/versions

# Not in `make test`: two more environments and servers take minutes.
test-ui-versions: $(AIRFLOW_3)/.ready $(VENV)/airflow-3.1/.ready $(VENV)/fab/.ready  ## The page on Airflow 3.1.8, and with FAB below a sub-path
	SERVER=$(VENV)/airflow-3.1/bin/python $(AIRFLOW_3)/bin/python $(PYTEST) tests/browser/versions
	SERVER=$(VENV)/fab/bin/python AUTH=fab $(AIRFLOW_3)/bin/python $(PYTEST) tests/browser/versions

test-package: $(UV) $(AIRFLOW_3)/.ready $(PACKAGING)/.ready  ## Build the package, check it, and run the tutorial with the wheel in a clean environment
	@rm -rf $(VENV)/package
	$(UV) build -q --out-dir $(VENV)/package
	$(AIRFLOW_3)/bin/python -m tests.package $(VENV)/package $(PACKAGING) $(UV) $(PYTHON)

# Everything but the upload, which needs the credentials of the maintainers.
release: $(PACKAGING)/.ready  ## Check everything, and put wheel, source archive, bill of materials and checksums into dist/
	$(AIRFLOW_3)/bin/python -m tests.package.release check
	$(MAKE) test
	$(AIRFLOW_3)/bin/python -m tests.package.release collect $(VENV)/package $(PACKAGING) dist

# Both versions, because some code runs on one of them only. Subprocesses are not measured.
coverage: $(AIRFLOW_3)/.ready $(AIRFLOW_2)/.ready  ## Branch coverage, combined over both versions of Airflow, into the README; fails below the gate
	$(AIRFLOW_3)/bin/coverage erase
	$(AIRFLOW_3)/bin/coverage run $(PYTEST) tests/unit tests/contract tests/dags
	$(AIRFLOW_2)/bin/coverage run $(PYTEST) tests/unit tests/dags
	$(AIRFLOW_3)/bin/coverage combine -q
	$(AIRFLOW_3)/bin/coverage report
	$(AIRFLOW_3)/bin/python -m tests.coverage_figure

mutants: $(MUTANTS)/.ready  ## Run mutation tests of the decision logic and update docs/mutants.md; ROOMS="selection gates" selects rooms
	$(MUTANTS)/bin/python -m tests.mutants $(ROOMS)

reliability: $(AIRFLOW_3)/.ready  ## Write the fault matrix into docs/fault_matrix.md
	$(AIRFLOW_3)/bin/python -m tests.reliability.matrix

# Warnings are errors: links without a target, pages outside of the contents, docstrings that do not render.
docs: $(DOCS)/.ready  ## Build the documentation site into .venv/site; open .venv/site/index.html
	AIRFLOW_HOME=$(CURDIR)/$(DOCS)/airflow $(DOCS)/bin/sphinx-build -q -E -W --keep-going -b html docs $(VENV)/site

architecture: $(AIRFLOW_3)/.ready  ## Draw docs/architecture.svg from the imports of the package
	$(AIRFLOW_3)/bin/python -m tests.architecture

test-soak: $(AIRFLOW_3)/.ready  ## A minute of `make soak`
	$(AIRFLOW_3)/bin/python -m tests.reliability.soak --seconds 60

soak: $(AIRFLOW_3)/.ready  ## 10 minutes of random operations and 500 gates against a faulty server (SEED=n)
	$(AIRFLOW_3)/bin/python -m tests.reliability.soak --seconds 600 $(if $(SEED),--seed $(SEED)) --json docs/measured/soak.json
	$(AIRFLOW_3)/bin/python -m tests.reliability.page

test-distributed: $(VENV)/distributed/.ready  ## A cleanup on two Celery workers, one of which is killed; installs PostgreSQL and Redis
	$(VENV)/distributed/bin/python -m tests.reliability.distributed --json docs/measured/distributed.json
	$(VENV)/distributed/bin/python -m tests.reliability.page

matrix: $(UV)  ## Run the suite on each Airflow and Python and update docs/compatibility.md; CELLS="3.0.6-3.12 …" selects cells, JOBS=1 runs one at a time
	@$(PYTHON) -m tests.matrix --jobs $(or $(JOBS),2) $(CELLS)

test-lowest: CELLS := lowest-3.11
test-lowest: matrix  ## Run the suite with the lowest versions that pyproject.toml allows

audit-deps: $(UV)  ## Check the pinned versions for known vulnerabilities; needs access to the advisories of PyPI
	for airflow in 3.3 2.11; do \
		$(UV) tool run -q --python $(PYTHON) pip-audit==2.10.1 --strict --no-deps --disable-pip --progress-spinner off \
			-r requirements/airflow-$$airflow.txt; \
	done

bench: $(BENCH)/.ready  ## Compare with the vendor's SDK and Airflow's HTTP provider; writes docs/performance.md
	$(BENCH)/bin/python -m benchmarks run

format: $(AIRFLOW_3)/.ready  ## Format the code and apply the automatic fixes of ruff
	$(AIRFLOW_3)/bin/ruff check --fix .
	$(AIRFLOW_3)/bin/ruff format .

COMPILE := $(UV) pip compile -q --upgrade --universal --python-version 3.11 --no-emit-index-url --extra emulator --extra parquet pyproject.toml

# lowest.txt pins direct dependencies to the lowest versions that pyproject.toml allows; everything else is the newest.
pins: $(UV)  ## Upgrade requirements/*.txt from pyproject.toml and requirements/*.in
	$(COMPILE) requirements/{airflow-3.3,test,test-sdk,test-s3,lint,browser}.in -o requirements/airflow-3.3.txt
	$(COMPILE) --no-deps --no-annotate --resolution lowest-direct -o requirements/lowest.txt
	$(COMPILE) requirements/{airflow-3.3,test,distributed}.in -o requirements/distributed.txt
	$(COMPILE) requirements/{airflow-3.3,test,mutants}.in -o requirements/mutants.txt
	$(COMPILE) requirements/bench.in -o requirements/bench.txt
	$(COMPILE) requirements/{airflow-3.3,fab}.in -o requirements/fab.txt
	$(COMPILE) requirements/{airflow-3.3,docs}.in -o requirements/docs.txt
	$(UV) pip compile -q --upgrade --universal --python-version 3.11 --no-emit-index-url requirements/package.in -o requirements/package.txt
	for airflow in lowest 2.11 3.0 3.1 3.2; do \
		$(COMPILE) requirements/airflow-$$airflow.in requirements/test.in -o requirements/airflow-$$airflow.txt; \
	done

wheel: $(UV)  ## Build the wheel and the source archive into dist/
	$(UV) build -q

clean:  ## Remove everything that was installed or generated
	rm -rf $(VENV) .demo .airflow-ui dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*

$(UV):
	$(PYTHON) -m venv $(VENV)/tools
	$(VENV)/tools/bin/pip install -q --disable-pip-version-check -r requirements/tools.txt

$(AIRFLOW_2)/.ready: PYTHON := $(PYTHON_2_11)
# The folder name contains the pins and, for the matrix, the Python: airflow-3.3, airflow-3.0-3.12.
.SECONDEXPANSION:
$(VENV)/airflow-%/.ready: requirements/airflow-$$(firstword $$(subst -, ,$$*)).txt pyproject.toml \
		vi_airflow_provider/provider_info.py | $(UV)
	$(environment)

$(BENCH)/.ready $(DOCS)/.ready $(VENV)/fab/.ready $(VENV)/distributed/.ready $(VENV)/mutants/.ready: $(VENV)/%/.ready: requirements/%.txt pyproject.toml vi_airflow_provider/provider_info.py | $(UV)
	$(environment)

$(PACKAGING)/.ready: requirements/package.txt | $(UV)
	$(UV) venv -q --clear --python $(PYTHON) $(@D)
	$(UV) pip install -q --python $(@D)/bin/python -r $<
	@touch $@

define environment
	$(UV) venv -q --clear --python $(PYTHON) $(@D)
	$(UV) pip install -q --python $(@D)/bin/python -r $<
	$(UV) pip install -q --python $(@D)/bin/python --no-deps --editable .
	@touch $@
endef
