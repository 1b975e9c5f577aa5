# `make` alone lists the targets. Everything installs into .venv, pinned by requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
PAWLINE := $(BIN)/python -m pipeline
ON := $(if $(AWS),--aws)

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all test-ray test-awsimage test-install check lint-pipeline upsert-pipeline start status retry predict stop clean lock bench bench-full \
	load-test debug doctor cost schedule unschedule idle ec2-train deploy-infra destroy

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: .venv/installed ## create .venv with everything in it (make run and make test do it by themselves)

# The lock names Linux wheels too; elsewhere the NVIDIA libraries do not exist and torch does not want them.
.venv/installed: requirements.lock pyproject.toml sagelocal/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Pawline needs Python 3.11, 3.12 or 3.13; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	@echo "Setting up .venv (a few minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$$(sed -n 's/^uv==//p' requirements.lock)"
	@case "$$(uname -s)" in Linux) cat requirements.lock ;; *) grep -vE '^(nvidia-|cuda-|triton)' requirements.lock ;; esac > .venv/requirements.txt
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps -r .venv/requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e ./sagelocal -e .
	@touch $@

run: setup ## the main job, on the embedded SageMaker: make run [DATA= WEIGHTS= BACKBONE= PARAMS="Epochs=3" ARGS=--json]
	@$(PAWLINE) run $${DATA:+--data "$$DATA"} $${WEIGHTS:+--weights "$$WEIGHTS"} $${BACKBONE:+--backbone "$$BACKBONE"} $(ON) $$ARGS $$PARAMS

# Two workers: a test has processes of its own. What part of the lines ran is asked only where all tests run.
test: setup ## the tests, and the part of the lines that they run
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile $(if $(ARGS),,--cov) -m "not slow and not ray and not awsimage and not install" $$ARGS

test-all: setup ## the tests, the long ones too
	@$(BIN)/python -m pytest -q -m "not ray and not awsimage and not install" $$ARGS

# Ray, and the torch of AWS's serving image: 7 GB that only this test needs.
.venv/ray/installed: tests/code/ray/requirements.lock | setup
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/ray
	@case "$$(uname -s)" in Linux) cat $< ;; *) grep -vE '^(nvidia-|cuda-|triton)' $< ;; esac > .venv/ray/requirements.txt
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .venv/ray/bin/python --no-deps -r .venv/ray/requirements.txt
	@touch $@

test-ray: setup .venv/ray/installed ## the model archive through Ray Serve, as AWS's image serves it
	@$(BIN)/python -m pytest -q -s -m ray tests/code/test_serve_ray.py $$ARGS

# numpy 2.4 and protobuf 6, as AWS's training images have them; torch, which is too large to have twice, is that of .venv.
.venv/awsimage/installed: tests/code/awsimage/requirements.lock | setup
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/awsimage
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .venv/awsimage/bin/python --no-deps -r $<
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
	@$(BIN)/uv pip install --quiet --python .venv/checkov/bin/python --no-deps -r infra/checkov.lock
	@touch $@

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

debug: setup ## what the Debugger rules said of the newest execution; opens the report [EXECUTION= AWS=1]
	@$(PAWLINE) debug --open $(ON) $$ARGS $$EXECUTION

# SECONDS is bash's own variable: the shell would not see ours.
load-test: setup ## requests/s and latency: make load-test [TARGET=endpoint|function ENDPOINT= PHOTO= LEVELS="1 2 4 8" SECONDS=10 SCALING=1 AWS=1]
	@$(PAWLINE) load-test $${TARGET:+--target "$$TARGET"} $${ENDPOINT:+--endpoint "$$ENDPOINT"} $${PHOTO:+--photo "$$PHOTO"} \
		$${LEVELS:+--levels "$$LEVELS"} $(if $(SECONDS),--seconds '$(SECONDS)') $(if $(SCALING),--scaling) $(ON) $$ARGS

doctor: setup ## whether the account can run the pipeline: pass, warn, fail, fix [PARAMS= AWS=1]
	@$(PAWLINE) doctor $(ON) $$ARGS $$PARAMS

cost: setup ## what a run costs, before it; after it: make cost EXECUTION=latest [PARAMS= AWS=1]
	@$(PAWLINE) cost $(ON) $$ARGS $$(for p in $$PARAMS; do echo "-p $$p"; done) $$EXECUTION

schedule: setup ## make schedule CRON="cron(0 3 ? * MON *)" [TIMEZONE=Europe/Berlin PARAMS= AWS=1]
	@$(PAWLINE) schedule $(ON) $$ARGS --timezone "$${TIMEZONE:-UTC}" "$$CRON" $$PARAMS

unschedule: setup ## switch the schedule off [AWS=1]
	@$(PAWLINE) unschedule $(ON) $$ARGS

idle: setup ## endpoints without invocations, and their monthly cost [HOURS=24 AWS=1]
	@$(PAWLINE) idle $(ON) $$ARGS --hours "$${HOURS:-24}"

ec2-train: setup ## train on one EC2 instance that ends itself [PARAMS="epochs=20" ARGS=--dry-run AWS=1]
	@$(PAWLINE) ec2-train $(ON) $$ARGS $$PARAMS

deploy-infra: setup ## bucket, roles, functions, rules in your AWS account [PARAMS="NotificationEmail=me@x.org" ARGS=--yes]
	@$(PAWLINE) deploy-infra $$ARGS $$PARAMS

destroy: setup ## delete everything this project made, listed first [AWS=1 KEEP_DATA=1 ARGS=--yes]
	@$(PAWLINE) destroy $(if $(KEEP_DATA),--keep-data) $(ON) $$ARGS

# kfp wants another protobuf than ours; the orchestrators that benchmarks/engine.py compares have a place of their own.
.venv/bench/installed: benchmarks/engine.lock | setup
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/bench
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .venv/bench/bin/python --no-deps -r $<
	@touch $@

bench: setup .venv/bench/installed ## the figures of the README and docs/performance.md, on subsets: ten to fifteen minutes [ARGS="engine memory"]
	@$(BIN)/python -m benchmarks $$ARGS

bench-full: setup .venv/bench/installed ## the same on all photos and all sizes: hours [ARGS="accuracy sizes"]
	@$(BIN)/python -m benchmarks --full $$ARGS

stop: ## stop the embedded SageMaker of this folder
	@test ! -x $(BIN)/python || $(PAWLINE) stop --server

clean: stop ## remove the embedded SageMaker's state (.sagelocal)
	rm -rf .sagelocal

lock: setup ## write requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --extra dev --no-emit-package sagelocal \
		pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --no-header --no-annotate tests/code/ray/requirements.in -o tests/code/ray/requirements.lock
	$(BIN)/uv pip compile --quiet --no-header --no-annotate benchmarks/engine.in -o benchmarks/engine.lock
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --override tests/code/awsimage/overrides.txt \
		tests/code/awsimage/requirements.in -o tests/code/awsimage/requirements.lock
