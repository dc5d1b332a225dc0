# The two commands are `make run` and `make test`; `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
UV_VERSION := 0.13.9
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help env lock run bi spark-up spark-down spark-night test test-spark test-fast test-long test-rights test-bi containers-trial lint-yaml test-faults test-random fuzz lint audit sbom pictures docs up down clean bench-night bench-load bench-workers bench-growth bench-intake bench-peers bench-memory bench-backfill bench-rotation bench-rights bench-reference

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

env: $(VENV)/.ready ## build the Python environment from the lock file

# uv of the machine if it is installed, else from a separate venv: nothing is installed outside this folder.
define find-uv
uv=$$(command -v uv || true); \
if [ -z "$$uv" ]; then \
  [ -x $(VENV)-uv/bin/uv ] || { $(PYTHON) -m venv $(VENV)-uv && $(VENV)-uv/bin/pip install -q uv==$(UV_VERSION); }; \
  uv=$(VENV)-uv/bin/uv; \
fi
endef

$(VENV)/.ready: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
	  echo "Python 3.11, 3.12 or 3.13 is needed, $$($(PYTHON) --version 2>&1) was found: install one, or name it: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Python's venv module is missing: run 'apt-get install python3-venv' and try again"; exit 2; }
	@set -e; $(find-uv); \
	echo "building $(VENV) from requirements-dev.lock"; \
	[ -x $(BIN)/python ] || $$uv venv -q --python $(PYTHON) $(VENV); \
	$$uv pip sync -q --python $(BIN)/python --require-hashes requirements-dev.lock; \
	$$uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# Linters that need other versions than the project; once installed they need no network.
$(VENV)-lint/.ready: requirements-lint.lock
	@set -e; $(find-uv); \
	echo "building $(VENV)-lint from requirements-lint.lock"; \
	[ -x $(VENV)-lint/bin/python ] || $$uv venv -q --python $(PYTHON) $(VENV)-lint; \
	$$uv pip sync -q --python $(VENV)-lint/bin/python --require-hashes requirements-lint.lock
	@touch $@

# What judges the locks needs nothing of the project, and the project nothing of it.
$(VENV)-audit/.ready: requirements-audit.lock
	@set -e; $(find-uv); \
	echo "building $(VENV)-audit from requirements-audit.lock"; \
	[ -x $(VENV)-audit/bin/python ] || $$uv venv -q --python $(PYTHON) $(VENV)-audit; \
	$$uv pip sync -q --python $(VENV)-audit/bin/python --require-hashes requirements-audit.lock
	@touch $@

# Superset has an environment of its own: its pins contradict those of the pipeline.
$(VENV)-bi/.ready: bi/superset/requirements.lock
	@set -e; $(find-uv); \
	echo "building $(VENV)-bi from bi/superset/requirements.lock"; \
	[ -x $(VENV)-bi/bin/python ] || $$uv venv -q --python $(PYTHON) $(VENV)-bi; \
	$$uv pip sync -q --python $(VENV)-bi/bin/python --require-hashes bi/superset/requirements.lock
	@touch $@

# Spark has an environment of its own: pyspark's pins contradict those of the pipeline. It needs Java 17 besides.
$(VENV)-spark/.ready: spark/requirements.lock
	@set -e; $(find-uv); \
	echo "building $(VENV)-spark from spark/requirements.lock"; \
	[ -x $(VENV)-spark/bin/python ] || $$uv venv -q --python $(PYTHON) $(VENV)-spark; \
	$$uv pip sync -q --python $(VENV)-spark/bin/python --require-hashes spark/requirements.lock
	@touch $@

# What the pull is measured beside, never part of the project.
$(VENV)-peers/.ready: bench/peers.lock
	@set -e; $(find-uv); \
	echo "building $(VENV)-peers from bench/peers.lock"; \
	[ -x $(VENV)-peers/bin/python ] || $$uv venv -q --python $(PYTHON) $(VENV)-peers; \
	$$uv pip sync -q --python $(VENV)-peers/bin/python --require-hashes bench/peers.lock
	@touch $@

lock: ## resolve the dependencies again, those of the images too (uv on the PATH)
	uv pip compile pyproject.toml --group build -o requirements.lock -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade
	uv pip compile pyproject.toml --extra play --group dev --group build -c requirements.lock -o requirements-dev.lock -q --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade
	$(MAKE) -C docker lock
	uv pip compile --group lint -o requirements-lint.lock -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade
	uv pip compile --group audit -o requirements-audit.lock -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade
	uv pip compile bi/superset/requirements.in -o bi/superset/requirements.lock -q --universal --python-version 3.11 \
	  --exclude-newer 2026-05-15 --generate-hashes --no-emit-index-url --no-annotate --no-header
	uv pip compile spark/requirements.in -o spark/requirements.lock -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade
	uv pip compile bench/peers.in -o bench/peers.lock -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade

run: env ## simulate and run three nights through Airflow (later: the next one, or NIGHTS=7), and show the results
	@kkbc play $(if $(NIGHTS),--nights $(NIGHTS))

up: env ## start the embedded PostgreSQL and Airflow of this home
	@kkbc up

bi: env $(VENV)-bi/.ready ## start Superset with the dashboards beside this home's PostgreSQL; `make down` stops it
	@kkbc bi up

spark-up: env $(VENV)-spark/.ready ## start a Spark cluster beside this home: a master, two workers, a Thrift server
	@kkbc spark up $(ARGS)

spark-down: ## stop the Spark cluster of this home
	@kkbc spark down

spark-night: env $(VENV)-spark/.ready ## run one night whose marts Spark makes (ARGS="--source-root DIR --as-of 2024-03-01")
	@kkbc spark up && KKBC_ENGINE=spark kkbc run $(ARGS)

down: ## stop everything of this home
	@if [ -x $(BIN)/kkbc ]; then kkbc down; else echo "nothing was ever started here"; fi

pictures: env ## take the docs' screenshots: reports of an invented campaign, branch board and dashboards of this home, for which `make bi` must be up (needs chromium)
	@PYTHONPATH=. python docs/images/reports.py
	@python docs/images/branch_board.py
	@python docs/images/dashboards.py

docs: env ## write the docs site: these docs, dictionary, lineage of columns, audit results, as static pages
	@kkbc docs $(if $(OUT),--out "$(OUT)")

# Three workers on two cores: many tests wait for a server, a child process or a lock.
test: env ## the test suite on the embedded PostgreSQL, by three workers, without the suites of test-long, test-rights, test-bi and test-spark
	@pytest -n 3 --dist loadfile --no-loadscope-reorder -m 'not (long or rights or bi or spark)'

test-long: env ## whole nights against the truth, kills at every step, 20 nights against full rebuilds, audits of the locks
	@pytest -n 3 --dist loadfile --no-loadscope-reorder -m long

test-rights: env ## kills at every step of erasures, changes of keys, backups and encryption, and whole nights around them
	@pytest -n 3 --dist loadfile --no-loadscope-reorder -m rights

test-bi: env $(VENV)-bi/.ready ## a real Superset: the bundle imported, every chart against the marts, the dashboards in a browser
	@pytest -m bi tests/bi

containers-trial: env ## build the images, start docker-compose.yml and play nights in it while services fail (STEPS, ARGS="--keep --json")
	@python -m kkbc_play.containers $(if $(STEPS),--steps $(STEPS)) $(ARGS)

test-spark: env $(VENV)-spark/.ready ## a real Spark cluster: random histories against PostgreSQL, a killed worker, a dead Thrift server
	@pytest -m spark tests/spark

test-fast: env ## what to run before each commit: all but whole nights, a real Airflow, dbt builds, servers and faults
	@pytest -n 3 --dist loadfile --no-loadscope-reorder -m 'not (slow or long or rights or bi or spark or e2e or airflow or faults)'

test-faults: env ## all fault tests, with the longer half that `make test` leaves out
	@pytest tests/faults -m 'faults or not faults'

test-random: env ## the property tests with new random examples
	@HYPOTHESIS_PROFILE=random pytest tests/intake/reading tests/intake/validation tests/intake/test_process.py

fuzz: env ## read and validate damaged files of every format for MINUTES (10), in a monitored process
	@python -m tests.intake.reading.fuzzing --minutes $(or $(MINUTES),10)

# dbt-score and dbt-bouncer read the manifest of a fresh parse, in a folder of its own.
lint: export DBT_PROJECT_DIR := $(CURDIR)/.lint
lint: env $(VENV)-lint/.ready ## ruff, mypy, import-linter, yamllint, datacontract lint, sqlfluff, SQL of both engines, dbt parse, dbt-score, dbt-bouncer, dashboards, secrets
	@ruff check . && ruff check --preview --select AIR dags plugins && ruff format --check .
	@mypy
	@said=$$(lint-imports --no-logo 2>&1) && echo "$$said" | tail -1 || { echo "$$said"; exit 1; }
	@$(MAKE) --no-print-directory lint-yaml
	@$(VENV)-lint/bin/python supply_chain/scan_secrets.py
	@for contract in contracts/*.odcs.yaml; do \
	  said=$$($(VENV)-lint/bin/datacontract lint $$contract 2>&1) || { echo "$$said"; exit 1; }; \
	done; echo 'datacontract lint: all contracts keep to their standard'
	@sqlfluff lint -q dbt_project/models expectations/sql
	@python spark/travels.py
	@DBT_HOST=none DBT_USER=none DBT_DBNAME=none dbt --quiet --warn-error parse --no-partial-parse --project-dir dbt_project --profiles-dir dbt_project \
	  --target-path $(DBT_PROJECT_DIR)/target --log-level-file none && echo 'dbt parse: no warnings'
	@dbt-score lint --manifest $(DBT_PROJECT_DIR)/target/manifest.json
	@dbt-bouncer run --config-file dbt_project/dbt-bouncer.yml --only manifest_checks
	@kkbc bi check --manifest $(DBT_PROJECT_DIR)/target/manifest.json

lint-yaml: $(VENV)-lint/.ready
	@$(VENV)-lint/bin/yamllint --strict . && echo 'yamllint: no key comes twice'

audit: $(VENV)-audit/.ready ## SBOMs of the images and known vulnerabilities of all locked packages, into .audit
	@$(VENV)-audit/bin/python supply_chain/audit.py

sbom: $(VENV)-audit/.ready ## the SBOMs alone (CycloneDX)
	@$(VENV)-audit/bin/python supply_chain/audit.py --sbom-only

bench-night: env ## time nights through Airflow and in one process, with their parts (SCALE=national, NIGHTS=2)
	@python bench/night.py $(if $(SCALE),--scale $(SCALE)) $(if $(NIGHTS),--nights $(NIGHTS))

bench-load: env ## rows a second from bytes to committed rows, of many small slices and of few large files, beside COPY
	@python bench/load.py

bench-growth: env ## time an ordinary night and a late slice on histories of 0, 0.74 and 3 million contributions (PLOT=growth.svg)
	@python bench/growth.py $(if $(PLOT),--plot $(PLOT))

bench-workers: env ## how the pull of 244 slices grows with 1, 2 and 4 worker processes
	@python bench/workers.py

bench-intake: env ## measure time and memory for a slice of 10 MB, 200 MB, 2 GB from bytes to committed rows (needs 12 GB of disk)
	@python bench/intake.py

# Without the environment of the peers, the program says so of each.
bench-peers: env ## rows a second of the pull beside COPY, Polars, pandas, dlt and Sling, on the same files in one run
	@$(MAKE) --no-print-directory $(VENV)-peers/.ready || echo "the peers' environment cannot be built: only the rest is measured"
	@python bench/peers.py

bench-memory: env ## peak of memory of each step of a build, and of visits to large files and workbooks
	@python bench/memory.py

bench-backfill: env ## rows a second of reading landing again, for several numbers of national nights
	@python bench/backfill.py

bench-rotation: env ## time a change of the key of the tokens on a history of 0.74 million contributions
	@python bench/rotation.py

bench-rights: env ## time backup, erasure with its search, change of the key and restore after two national nights
	@python bench/rights.py

bench-reference: env ## time default nights beside a plain reference pipeline, and compare the marts cell by cell (SCALE=national)
	@python bench/reference/compare.py $(if $(SCALE),--scale $(SCALE))

clean: ## stop everything and remove .local with all that was loaded
	@if [ -n "$$KKBC_HOME" ]; then echo "KKBC_HOME is set, and clean only knows .local: remove $$KKBC_HOME yourself after 'make down'"; exit 2; fi
	@$(MAKE) --no-print-directory down
	rm -rf .local
