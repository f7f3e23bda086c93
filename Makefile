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
