# `make` alone lists the targets. Everything installs into .venv, pinned by requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
PAWLINE := $(BIN)/python -m pipeline
ON := $(if $(AWS),--aws)

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all check lint-pipeline upsert-pipeline start status retry predict stop clean lock bench

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: .venv/installed ## create .venv with everything in it (make run and make test do it by themselves)

# The lock names Linux wheels too; elsewhere the NVIDIA libraries do not exist and torch does not want them.
.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Pawline needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	@echo "Setting up .venv (a few minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$$(sed -n 's/^uv==//p' requirements.lock)"
	@case "$$(uname -s)" in Linux) cat requirements.lock ;; *) grep -vE '^(nvidia-|cuda-|triton)' requirements.lock ;; esac > .venv/requirements.txt
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps -r .venv/requirements.txt
	@touch $@

run: setup ## the main job, on the embedded SageMaker: make run [DATA= WEIGHTS= BACKBONE= PARAMS="Epochs=3" ARGS=--json]
	@$(PAWLINE) run $${DATA:+--data "$$DATA"} $${WEIGHTS:+--weights "$$WEIGHTS"} $${BACKBONE:+--backbone "$$BACKBONE"} $(ON) $$ARGS $$PARAMS

test: setup ## the tests
	@$(BIN)/python -m pytest -q -m "not slow" $$ARGS

test-all: setup ## the tests, the long ones too
	@$(BIN)/python -m pytest -q $$ARGS

check: setup ## format, lint, types, import table
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy pipeline steps embedded
	@$(BIN)/mypy lambda/deploy
	@$(BIN)/mypy lambda/predict
	@$(BIN)/python -m pytest -q tests/test_imports.py

lint-pipeline: setup ## check the definition against AWS's own service model [FILE=other.json]
	@$(PAWLINE) lint $${FILE:+"$$FILE"} $$ARGS

upsert-pipeline: setup ## create or update the pipeline in your AWS account
	@$(PAWLINE) upsert $$ARGS

start: setup ## start an execution: make start PARAMS="Epochs=3 MaxTuningJobs=4" [AWS=1]
	@$(PAWLINE) start $(ON) $$ARGS $$PARAMS

status: setup ## where the newest execution stands [AWS=1]
	@$(PAWLINE) status $(ON) $$ARGS

retry: setup ## go on with the newest execution from its failed step [AWS=1]
	@$(PAWLINE) retry $(ON) $$ARGS

predict: setup ## make predict FILE=dog.jpg, or URL=https://… [AWS=1]
	@$(PAWLINE) predict $${FILE:+--file "$$FILE"} $${URL:+--url "$$URL"} $(ON) $$ARGS

bench: setup ## the figures of the README
	@$(BIN)/python -m benchmarks

stop: ## stop the embedded SageMaker of this folder
	@test ! -x $(BIN)/python || $(PAWLINE) stop --server

clean: stop ## remove the embedded SageMaker's state (.embedded)
	rm -rf .embedded

lock: setup ## write requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --extra dev pyproject.toml -o requirements.lock
