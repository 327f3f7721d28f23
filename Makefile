# Every command of this project. `make help` shows them.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The first Python that is new enough; 3.11 and 3.12 have every package ready to install.
ifndef PYTHON
PYTHON := $(shell for python in python3.12 python3.11 python3 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
endif
RUN := .venv/bin/python
CHECKED := drive_project files blocks notifications sync_client tests

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up
up: environment ## Start Drive on http://127.0.0.1:8000 (DRIVE_BIND), data in var/ (DRIVE_DATA_DIR)
	@exec $(RUN) -m drive_project.up

# Real processes share this machine: what fails beside the others runs once more, alone. Both
# runs are in the output, and what fails twice fails.
ALONE := --last-failed
BESIDE := -n auto --dist loadfile --no-loadscope-reorder
# Those of the server also run on PostgreSQL. PYTEST="tests/files -k trash" runs some, once.
ON_POSTGRES := tests/files tests/blocks tests/notifications tests/contracts \
	tests/drive_project/test_fsck.py tests/drive_project/test_scrub.py tests/drive_project/test_backup.py

.PHONY: test
test: environment-dev browser ## Run all tests, with the databases, stores and browser they need
ifdef PYTEST
	$(RUN) -m pytest $(PYTEST)
else
	$(RUN) -m pytest $(BESIDE) || $(RUN) -m pytest $(ALONE)
	export DRIVE_TEST_DATABASE=postgres && \
	set -- -m "not journey and not browser" $(ON_POSTGRES) && \
	{ $(RUN) -m pytest $(BESIDE) "$$@" || $(RUN) -m pytest $(ALONE) "$$@"; }
endif

.PHONY: check
check: environment-dev ## Format, lint, types, import rules, generated files: what the pipeline runs
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy $(CHECKED)
	.venv/bin/lint-imports
	@made=$$(mktemp -d) && trap 'rm -rf "$$made"' EXIT && set -ex && \
	$(PROTOC) --python_out="$$made" --pyi_out="$$made" $(PROTO) && \
	for file in blocks_pb2.py blocks_pb2.pyi; do \
	diff blocks/rpc/$$file "$$made/blocks/rpc/$$file" || { echo "Run: make protos" >&2; exit 1; }; done
	$(RUN) -m pip check
	@export DRIVE_DATA_DIR=$$(mktemp -d) && trap 'rm -rf "$$DRIVE_DATA_DIR"' EXIT && set -ex && \
	$(RUN) manage.py check && \
	$(RUN) manage.py makemigrations --check --dry-run && \
	$(RUN) manage.py settings_docs --check && \
	$(RUN) manage.py spectacular --validate --fail-on-warn --file /dev/null

.PHONY: screenshots
screenshots: environment-dev browser ## Take pictures of every page into var/screenshots, and those of the docs anew
	$(RUN) -m tests.screenshots

.PHONY: soak
soak: environment-dev ## Long runs on PostgreSQL and S3: thousands of commits beside a collector (half an hour)
	DRIVE_TEST_DATABASE=postgres DRIVE_SOAK=full $(RUN) -m pytest tests/files/test_soak.py \
		tests/drive_project/test_kill.py tests/journeys/test_outages.py \
		tests/notifications/test_outages.py -o log_cli=true -o log_cli_level=WARNING
	DRIVE_EXAMPLES=100000 $(RUN) -m pytest tests/sync_client/test_planner.py
	$(RUN) -m tests.simulation --seeds 1000000 --steps 1000000

.PHONY: simulate
# SEED="360 --only 3,7" shows one run, or a part of it. ACTS, SEEDS and FIRST as wanted.
simulate: environment-dev ## Run the sync client's simulation: 1,000 seeds (SEEDS=), or show one (SEED=)
	$(RUN) -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0))

.PHONY: mutants
mutants: environment-dev ## Take one safeguard away at a time: the tests must fail (ONLY= for some)
	$(RUN) -m tests.simulation.mutants $(if $(ONLY),--only "$(ONLY)")

.PHONY: bench
bench: environment-dev ## Measure the paths whose speed was promised
	$(RUN) -m tests.bench
	$(RUN) -m tests.bench_client
	$(RUN) -m tests.bench_rpc
	$(RUN) -m tests.bench_blocks
	$(RUN) -m tests.bench_blocks --postgres

.PHONY: bench-notifications
bench-notifications: environment-dev ## Measure 10,000 sockets and 2,000 long polls on this machine (some minutes)
	$(RUN) -m tests.bench_notifications

.PHONY: format
format: environment-dev ## Format the code and sort its imports
	$(RUN) -m ruff check --select I --fix .
	$(RUN) -m ruff format .

PROTO := blocks/rpc/blocks.proto
PROTOC := $(RUN) -m grpc_tools.protoc -I .

.PHONY: protos
protos: environment-dev ## Write the code that is generated from blocks/rpc/blocks.proto
	$(PROTOC) --python_out=. --pyi_out=. $(PROTO)

.PHONY: settings-docs
settings-docs: environment ## Write docs/settings.md from the settings
	$(RUN) manage.py settings_docs

.PHONY: requirements
requirements: environment-dev ## Pin what requirements.in and requirements-dev.in ask for
	CUSTOM_COMPILE_COMMAND="make requirements" .venv/bin/pip-compile -q --strip-extras \
		--no-emit-index-url --no-emit-find-links -o requirements.txt requirements.in
	CUSTOM_COMPILE_COMMAND="make requirements" .venv/bin/pip-compile -q --strip-extras \
		--no-emit-index-url --no-emit-find-links -o requirements-dev.txt requirements-dev.in

.PHONY: environment environment-dev browser python
python:
	@test -n "$(PYTHON)" || { echo "Drive needs Python 3.11 or newer. Install it with: apt-get install python3 python3-venv (or name one: make up PYTHON=/path/to/python3)" >&2; exit 1; }

environment: python
	@$(PYTHON) -m drive_project.environment

environment-dev: python
	@$(PYTHON) -m drive_project.environment --dev

browser: python
	@$(PYTHON) -m drive_project.environment --dev --browser
