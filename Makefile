# `make` alone lists the targets. Everything installs into .venv, pinned by requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
PAWLINE := $(BIN)/pawline
LOCKS := requirements.lock infra/checkov.lock benchmarks/engine.lock $(wildcard tests/code/*/requirements.lock)
# Nothing is installed whose hash is not in the lock.
INSTALL := $(BIN)/uv pip install --quiet --no-deps --require-hashes
COMPILE := $(BIN)/uv pip compile --quiet --no-header --no-annotate --generate-hashes
# The locks name Linux wheels too; elsewhere the NVIDIA libraries do not exist and torch does not want them.
OF_THIS_SYSTEM = case "$$(uname -s)" in Linux) cat $(1) ;; *) awk '/^[^ ]/ {keep = !/^(nvidia-|cuda-|triton)/} keep' $(1) ;; esac

.DEFAULT_GOAL := help
.PHONY: help setup run upsert-pipeline test test-all test-ray test-awsimage test-install audit check bench bench-full stop clean lock

help: ## list the targets, in the order of use
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: .venv/installed ## create .venv with everything in it (make run and make test do it by themselves)

.venv/installed: requirements.lock pyproject.toml sagelocal/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Pawline needs Python 3.11, 3.12 or 3.13; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	@echo "Setting up .venv (a few minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@awk '/^[^ ]/ {keep = /^uv==/} keep' requirements.lock > .venv/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@$(call OF_THIS_SYSTEM,requirements.lock) > .venv/requirements.txt
	@$(INSTALL) --compile-bytecode --python $(BIN)/python -r .venv/requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e ./sagelocal -e .
	@touch $@

run: setup ## the main job, on the embedded SageMaker: make run [DATA= WEIGHTS= BACKBONE= PARAMS="Epochs=3" ARGS=--json]
	@$(PAWLINE) run $${DATA:+--data "$$DATA"} $${WEIGHTS:+--weights "$$WEIGHTS"} $${BACKBONE:+--backbone "$$BACKBONE"} $$ARGS $$PARAMS

upsert-pipeline: setup ## create or update the pipeline in your AWS account [ARGS=--local: in the embedded SageMaker]
	@$(PAWLINE) upsert $$ARGS

# Two workers: a test has processes of its own. What part of the lines ran is asked only where all tests run.
test: setup ## the tests, and the part of the lines that they run
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile $(if $(ARGS),,--cov) -m "not slow and not ray and not awsimage and not install" $$ARGS

test-all: setup ## the tests, the long ones too
	@$(BIN)/python -m pytest -q -m "not ray and not awsimage and not install" $$ARGS

# Ray, and the torch of AWS's serving image: 7 GB that only this test needs.
.venv/ray/installed: tests/code/ray/requirements.lock | setup
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/ray
	@$(call OF_THIS_SYSTEM,$<) > .venv/ray/requirements.txt
	@$(INSTALL) --compile-bytecode --python .venv/ray/bin/python -r .venv/ray/requirements.txt
	@touch $@

test-ray: setup .venv/ray/installed ## the model archive through Ray Serve, as AWS's image serves it
	@$(BIN)/python -m pytest -q -s -m ray tests/code/test_serve_ray.py $$ARGS

# numpy 2.4 and protobuf 6, as AWS's training images have them; torch, which is too large to have twice, is that of .venv.
.venv/awsimage/installed: tests/code/awsimage/requirements.lock | setup
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/awsimage
	@$(INSTALL) --compile-bytecode --python .venv/awsimage/bin/python -r $<
	@cd $$(echo .venv/awsimage/lib/python*/site-packages) && for part in ../../../../lib/python*/site-packages/torch* \
		../../../../lib/python*/site-packages/functorch ../../../../lib/python*/site-packages/nvidia* \
		../../../../lib/python*/site-packages/cuda* ../../../../lib/python*/site-packages/triton*; do \
		test ! -e "$$part" || ln -sfn "$$part" .; done
	@touch $@

test-awsimage: setup .venv/awsimage/installed ## the Debugger hook and the rules with the numpy and protobuf of AWS's training images
	@$(BIN)/python -m pytest -q -s -m awsimage tests/code/test_awsimage.py $$ARGS

test-install: setup ## sagelocal in an empty environment, and a pipeline on it through plain boto3
	@$(BIN)/python -m pytest -q -s -m install tests/sagelocal/test_install.py $$ARGS

# checkov's own dependencies do not agree with ours, so it has a place of its own.
.venv/checkov/installed: infra/checkov.lock | setup
	@$(PYTHON) -m venv .venv/checkov
	@$(INSTALL) --python .venv/checkov/bin/python -r $<
	@touch $@

audit: setup ## ask OSV's database of advisories about every locked package
	@$(BIN)/python .ci/audit.py $$ARGS $(LOCKS)

check: setup .venv/checkov/installed ## format, lint, types, import table, template
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy --strict sagelocal
	@$(BIN)/mypy pipeline steps contract
	@MYPYPATH=code $(BIN)/mypy code
	@$(BIN)/mypy lambda/deploy
	@$(BIN)/mypy lambda/predict
	@$(BIN)/mypy lambda/retrain
	@$(BIN)/python -m pytest -q tests/test_imports.py
	@$(BIN)/cfn-lint infra/template.yaml
	@.venv/checkov/bin/checkov --config-file infra/checkov.yaml --file infra/template.yaml

# kfp wants another protobuf than ours; the orchestrators that benchmarks/engine.py compares have a place of their own.
.venv/bench/installed: benchmarks/engine.lock | setup
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/bench
	@$(INSTALL) --compile-bytecode --python .venv/bench/bin/python -r $<
	@touch $@

bench: setup .venv/bench/installed ## the figures of the README and docs/performance.md, on subsets: ten to fifteen minutes [ARGS="engine memory"]
	@$(BIN)/python -m benchmarks $$ARGS

bench-full: setup .venv/bench/installed ## the same on all photos and all sizes: hours [ARGS="accuracy sizes"]
	@$(BIN)/python -m benchmarks --full $$ARGS

stop: ## stop the embedded SageMaker of this folder
	@test ! -x $(BIN)/python || $(PAWLINE) stop --server

clean: stop ## remove the embedded SageMaker's state (.sagelocal)
	rm -rf .sagelocal

lock: setup ## write the lock files anew, each from its pyproject.toml or .in file
	$(COMPILE) --extra dev --no-emit-package sagelocal pyproject.toml -o requirements.lock
	$(COMPILE) infra/checkov.in -o infra/checkov.lock
	$(COMPILE) benchmarks/engine.in -o benchmarks/engine.lock
	$(COMPILE) tests/code/ray/requirements.in -o tests/code/ray/requirements.lock
	$(COMPILE) --override tests/code/awsimage/overrides.txt tests/code/awsimage/requirements.in \
		-o tests/code/awsimage/requirements.lock
