# Everything a developer or a newcomer runs. `make help` lists it.
# Needs python3 (3.11 or newer, with venv), git and make; the rest is installed into this folder.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

export UV_PYTHON_DOWNLOADS := never
export ORT_DISABLE_TELEMETRY := 1
UV_VERSION := 0.13.9
UV := .tools/bin/uv
BIN := .venv/bin
PYTHON := $(BIN)/python
DISTRIBUTIONS := protos libs/common libs/media services/encoder services/search services/ingest \
	services/gateway clients/python
PYPROJECTS := $(addsuffix /pyproject.toml,$(DISTRIBUTIONS))
SOURCES := libs services clients protos/generate.py tests

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-zA-Z_-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

# --- environment -----------------------------------------------------------------------------

$(UV):
	python3 -m venv .tools
	.tools/bin/python -m pip install --quiet "uv==$(UV_VERSION)"

.venv/.synced: requirements.lock pyproject.toml $(PYPROJECTS) | $(UV)
	test -x $(PYTHON) || $(UV) venv --quiet --python "$$(command -v python3)" .venv
	$(UV) pip sync --quiet --require-hashes requirements.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation $(addprefix -e ,$(addprefix ./,$(DISTRIBUTIONS)))
	touch $@

.PHONY: sync
sync: .venv/.synced generate ## Install the pinned environment and generate the stubs

.PHONY: lock
lock: $(UV) ## Resolve the dependencies again, keeping what still fits
	$(UV) pip compile --quiet --universal --generate-hashes --no-annotate --no-header \
		--python-version 3.11 --group dev --extra all --extra cpu --extra install \
		$(foreach name,lookalike lookalike-protos lookalike-common lookalike-media lookalike-encoder \
		lookalike-search lookalike-ingest lookalike-gateway,--no-emit-package $(name)) \
		$(PYPROJECTS) -o requirements.lock

.PHONY: generate
generate: .venv/.synced ## Generate stubs and the descriptor image from protos/
	@$(PYTHON) protos/generate.py

# Tests run side by side; each worker has servers of its own, on ports of their own.
TEST_WORKERS := 2
ROUNDS := 50
ITEMS := 100000

# --- checks and tests ------------------------------------------------------------------------

.PHONY: check
check: sync ## Format, lint, types, import contracts, API lint, generated code and lock up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(PYTHON) tools/check_tree.py
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf format --diff --exit-code protos
	$(BIN)/buf lint
	$(PYTHON) tools/check_breaking.py
	$(PYTHON) protos/generate.py --check
	cp requirements.lock .venv/requirements.before
	$(MAKE) --silent lock
	diff .venv/requirements.before requirements.lock

.PHONY: format
format: sync ## Format the code and the protos, and apply safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/buf format --write protos

.PHONY: test
test: sync models ## Unit, contract, integration and end-to-end tests, side by side
	$(BIN)/pytest -n $(TEST_WORKERS) --dist loadscope --no-loadscope-reorder  # a module's tests stay together, so what they share is made once

.PHONY: test-ingest
test-ingest: sync models ## Ingestion's slow suites: processes that are killed, large jobs
	$(BIN)/pytest -n $(TEST_WORKERS) --dist worksteal tests/ingest_slow

.PHONY: test-postgres
test-postgres: sync ## Ingest's tests with its jobs in a real PostgreSQL, which is fetched once
	$(PYTHON) -m tests.support.postgres_server
	$(BIN)/pytest --database postgresql -n $(TEST_WORKERS) --dist worksteal tests/integration/ingest \
		tests/ingest_slow/test_ingest_kills.py

.PHONY: test-chaos
test-chaos: sync models ## Rounds of kill -9 over all programs during mixed jobs; ROUNDS=50
	LOOKALIKE_TEST_ROUNDS=$(ROUNDS) $(BIN)/pytest -x tests/ingest_slow/test_chaos.py

.PHONY: test-large
test-large: sync models ## 100,000 items through the whole suite (half an hour); ITEMS=20000 for fewer
	LOOKALIKE_TEST_ITEMS=$(ITEMS) $(BIN)/pytest tests/ingest_slow/test_large_job.py

.PHONY: test-milvus
test-milvus: sync ## Search's tests on a real Milvus 2.3.5, which is fetched once and runs unreachable
	$(PYTHON) -m tests.support.milvus_server
	$(PYTHON) -c 'from tests.support.real_data import drugs; drugs()'
	$(PYTHON) -m tests.support.loopback_only $(BIN)/pytest --milvus server -n 4 --dist worksteal \
		tests/contract tests/integration/search

.PHONY: test-deploy
test-deploy: sync dist ## Images' and manifests' static checks, wheels in an empty environment
	$(BIN)/pytest tests/deploy

.PHONY: test-models
test-models: sync ## Models that are installed only when asked for, as far as they are
	$(BIN)/pytest tests/models

.PHONY: test-relevance
test-relevance: sync models ## What hybrid search and reranking find, on WordNet and real models
	$(BIN)/pytest -s tests/relevance

.PHONY: test-cluster
test-cluster: sync models dist ## The rendered `local` overlay in containers; needs root and podman
	$(BIN)/pytest tests/cluster

.PHONY: dist
dist: sync ## Wheels, their locks and the API bundle, into dist/
	$(PYTHON) tools/build_dist.py

.PHONY: models
models: sync ## Install the models that tests and demo use (fetched once, checked by hash)
	@LOOKALIKE_ENCODER__MODELS_DIR=.lookalike/models $(BIN)/lookalike-encoder models install

.PHONY: bench
bench: sync models ## All benchmarks; the last line of each is one JSON object
	for file in tests/bench/bench_*.py; do echo "== $$file"; \
		$(PYTHON) -m "tests.bench.$$(basename "$$file" .py)"; done

.PHONY: bench-encoder
bench-encoder: sync models ## Encoder against its limit and other servers; ARGS="--rounds 1 --seconds 0.3" for a look
	$(PYTHON) -m tests.bench.bench_encoder --peers litserve mlserver triton $(ARGS)

.PHONY: bench-search
bench-search: sync ## Search against pymilvus, on Lite and the real Milvus; ARGS="--rows 1000000 --backends 2.3.5"
	$(PYTHON) -m tests.bench.bench_search $(ARGS)

.PHONY: bench-ingest
bench-ingest: sync models ## Ingestion by the encoder's limit, memory, the engine, searches meanwhile; ARGS="--parts rates"
	$(PYTHON) -m tests.bench.bench_ingest $(ARGS)

.PHONY: bench-gpu
bench-gpu: ## Encoders on an NVIDIA GPU, offline; WHEELS= a folder with onnxruntime-gpu and CUDA
	@test -d "$(WHEELS)" || { echo "WHEELS= must name a folder of wheels; see docs/encoders.md"; exit 2; }
	$(PYTHON) -m pip install --quiet --no-index --find-links "$(WHEELS)" --no-deps --upgrade \
		--target .lookalike/gpu "$(WHEELS)"/*.whl
	PYTHONPATH=.lookalike/gpu $(PYTHON) -m tests.bench.gpu

# --- using it --------------------------------------------------------------------------------

.PHONY: demo
demo: sync ## Install everything, ingest real photos, search with edited copies, show the hits
	$(PYTHON) -m lookalike_client.demo

.PHONY: up
up: sync models ## Run the suite on this machine until Ctrl-C
	LOOKALIKE_ENCODER__MODELS_DIR=.lookalike/models $(BIN)/lookalike up

.PHONY: clean
clean: ## Remove everything that was generated, installed or stored here
	rm -rf .venv .tools .lookalike demo dist protos/gen third_party .mypy_cache .ruff_cache \
		.pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
