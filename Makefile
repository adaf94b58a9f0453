# Two commands do everything on a fresh machine: make run, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CLIENTS := $(VENV)/clients
# One process per core with one thread each: tiny models lose time by splitting work between threads.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist worksteal

.PHONY: help run test test-slow test-long test-gpu test-containers test-cluster check docs images kind-up kind-test kind-down lock protos install clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

run: install ## Run the quickstart pipeline on real text, ending with a promoted model
	$(BIN)/textgate run quickstart

test: install $(CLIENTS)/.installed check ## Lint, check types and run the fast tests (under 15 minutes on 2 cores)
	$(PYTEST)

test-slow: install $(CLIENTS)/.installed ## Run the tests that need real weights for minutes, or a browser
	$(PYTEST) -m slow --ignore tests/containers

test-long: install ## Train on whole corpora and simulate thousands of data sets; not in CI
	$(PYTEST) -m long

test-gpu: install ## Check on a GPU what recipes promise about memory; needs torch's CUDA build, and onnxruntime-gpu
	$(BIN)/pytest -q -m gpu tests/gpu

test-containers: install ## Build the images and run the quickstart in them; needs Docker and debootstrap, as root
	$(BIN)/pytest -q -rs -m slow tests/containers

test-cluster: install ## Test the documented overlay on the cluster of KUBECONFIG, in a namespace of its own
	@$(BIN)/python tests/cluster/run.py

check: install ## Lint and check types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p textgate.components -p textgate.pipelines -p textgate.serving -m textgate

docs: install ## Build the documentation site into build/docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs

install: $(INSTALLED) ## Create .venv from the lock file

# torch first and alone, so that no later install replaces its build. For the small CPU build on Linux, point
# PIP_EXTRA_INDEX_URL at PyTorch's CPU index (docs/quickstart.md).
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "textgate needs Python 3.11 or newer: make run PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Third-party clients for tests. They pin older versions than textgate's, so they need an environment of their own.
$(CLIENTS)/.installed: tests/clients/requirements.lock | $(INSTALLED)
	$(PYTHON) -m venv --without-pip $(CLIENTS)
	$(BIN)/pip --python $(CLIENTS)/bin/python install --quiet --disable-pip-version-check --no-deps --no-compile \
		--require-hashes -r $<
	@touch $@

images: image-pipeline image-train-gpu image-serving image-serving-gpu ## Build the images with the shell's settings of pip and proxies

export REGISTRY ?= textgate
DOCKER_BUILD ?= docker build
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' components/version.py)
FROM_SHELL := BASE_IMAGE HTTP_PROXY HTTPS_PROXY NO_PROXY TRACKING \
	PIP_DEFAULT_TIMEOUT PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_INDEX_URL PIP_TRUSTED_HOST

# A build sees only files in this folder, so the certificates of PIP_CERT are copied here during the build.
image-%:
	rm -f images/ca-bundle.crt
	$(if $(PIP_CERT),cp $(PIP_CERT) images/ca-bundle.crt)
	$(DOCKER_BUILD) --file images/$*.Dockerfile --tag $(REGISTRY)/$*$(if $(TRACKING),-tracking):$(VERSION) \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD) \
		$(foreach name,$(FROM_SHELL),$(if $($(name)),--build-arg $(name))) \
		$(if $(PIP_CERT),--build-arg PIP_CERT=images/ca-bundle.crt) .
	rm -f images/ca-bundle.crt

# The same image with the clients of experiment tracking, as $(REGISTRY)/%-tracking.
image-%-tracking:
	$(MAKE) image-$* TRACKING=1

kind-up: ## Create a cluster on this machine with Kubeflow Pipelines, MinIO and textgate; needs docker, kind, kubectl and git
	@k8s/kind/kind.sh up

kind-test: ## Run the quickstart on that cluster, query its server, run its CronJob once
	@k8s/kind/kind.sh test

kind-down: ## Delete that cluster
	@k8s/kind/kind.sh down

lock: install ## Resolve requirements.lock again from pyproject.toml, and the locks of the tests' clients and of the images
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-package torch --no-header --quiet --output-file requirements.lock
	$(BIN)/uv pip compile tests/clients/requirements.in --universal --python-version 3.11 --generate-hashes \
		--no-header --quiet --output-file tests/clients/requirements.lock
	echo 'setuptools>=77' | $(BIN)/uv pip compile - $(IMAGE_LOCK) --output-file images/build.lock
	$(BIN)/uv pip compile pyproject.toml --extra serving $(IMAGE_LOCK) --output-file images/serving.lock
	echo "onnxruntime-gpu[cuda,cudnn]==$$(sed -n 's/^onnxruntime==\([0-9.]*\).*/\1/p' images/serving.lock)" \
		| $(BIN)/uv pip compile pyproject.toml - --no-config --extra serving --no-emit-package onnxruntime $(IMAGE_LOCK) \
		--output-file images/serving-gpu.lock
	$(BIN)/uv pip compile pyproject.toml --extra pipelines --extra train --no-emit-package torch $(IMAGE_LOCK) \
		--output-file images/pipeline.lock
	$(BIN)/uv pip compile pyproject.toml --extra tracking --extra model-registry $(IMAGE_LOCK) \
		--output-file images/tracking.lock
	echo torch==2.13.0 | $(BIN)/uv pip compile pyproject.toml - --no-config --extra pipelines --extra train --extra gpu $(IMAGE_LOCK) \
		--output-file images/train-gpu.lock

# Subsets of requirements.lock. --no-config ignores the dependency metadata of torch in pyproject.toml, so that the GPU
# lock has torch's CUDA packages. onnxruntime-gpu replaces onnxruntime, with the same version.
IMAGE_LOCK := --constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-header --quiet

protos: $(CLIENTS)/.installed ## Generate serving/open_inference_pb2.py again from its .proto
	$(CLIENTS)/bin/python -m grpc_tools.protoc -I .src --python_out=.src --pyi_out=.src textgate/serving/open_inference.proto

clean: ## Stop the embedded store and remove the workspace and the virtual environment
	-$(BIN)/textgate store stop
	rm -rf .textgate $(VENV)
