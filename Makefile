# costream. `make demo` and `make test` need Python >= 3.11, git and make; everything else goes into .venv and .cache.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
UV := UV_CACHE_DIR=.cache/uv $(BIN)/uv
INSTALLED := .venv/.installed

.PHONY: help demo test test-slow test-all check format schemas lock test-containers chaos bench detect clean
.DEFAULT_GOAL := help

help: ## What can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Run the main job on 28,185 real requests, embedded
	$(BIN)/costream demo $(ARGS)

# The runners share one broker and one engine (tests/support/shared.py). Three on two cores: some tests wait for processes.
PYTEST := $(BIN)/pytest -q -n 3 --dist worksteal --durations 10 --durations-min 10

test: $(INSTALLED) ## The tests that answer in minutes, on a real Kafka: COSTREAM_TEST_KAFKA, a container, or a local JVM
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: $(INSTALLED) ## The rest: chaos, processes, hosts, both engines in full, and each property on all of its examples
	$(PYTEST) -m "slow or hypothesis" --hypothesis-profile=ci $(ARGS)

test-all: $(INSTALLED) ## Everything
	$(PYTEST) --hypothesis-profile=ci $(ARGS)

check: $(INSTALLED) ## What a machine can check of style, types and published files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.tidy
	$(BIN)/pytest -q tests/test_layers.py tests/test_published_files.py

format: $(INSTALLED) ## Put imports and lines in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schemas: $(INSTALLED) ## Write anew what is published from the code: JSON Schemas, the reference, views, Grafana's boards
	$(BIN)/python -m costream.schema --write
	$(BIN)/python -m stream.cli.reference --write
	$(BIN)/python -m sinks.clickhouse.views.writing --write
	$(BIN)/python -m sinks.clickhouse.catalogue --write
	$(BIN)/python -m sinks.dashboards --write
	$(BIN)/python -m sinks.api --write

lock: $(INSTALLED) ## Resolve every version anew, with hashes, for all platforms
	$(UV) pip compile pyproject.toml producers/pyproject.toml --extra embedded --group dev --universal --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-emit-package costream --custom-compile-command 'make lock' \
	  --upgrade --quiet --output-file requirements.lock

test-containers: $(INSTALLED) ## The Kafka tests against a broker in a container, and docker-compose.yml started for real
	tests/images/run-container-tests

chaos: $(INSTALLED) ## 200,000 events, kills, outages and rebalances on real Kafka; then a recount
	$(BIN)/python -m tests.chaos.run $(ARGS)

bench: $(INSTALLED) ## Side by side with plain Faust, Quix Streams and a raw loop; about ten minutes, on a quiet machine
	$(BIN)/python -m benchmarks.run $(ARGS)

detect: $(INSTALLED) ## How much the rules about unusual hours find, at an equal number of false alarms; a minute or two
	$(BIN)/python -m benchmarks.detect $(ARGS)

clean: ## Remove what was installed and cached here
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The lock carries hashes; the bootstrapping pip checks that of uv, and uv those of all else.
$(INSTALLED): requirements.lock pyproject.toml producers/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "costream needs Python >= 3.11; $$($(PYTHON) --version) is $$(command -v $(PYTHON)). Try: make PYTHON=python3.12"; exit 1; }
	@mkdir -p .cache
	$(PYTHON) -m venv .venv
	awk '/^uv==/ {found=1} found {print} found && !/\\$$/ {exit}' requirements.lock > .cache/uv.lock.txt
	$(BIN)/python -m pip install --quiet --cache-dir .cache/pip --require-hashes --requirement .cache/uv.lock.txt
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable producers --editable .
	@touch $@
