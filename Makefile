# Two commands do everything on a fresh machine: make run, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CLIENTS := $(VENV)/clients
# A process a core, each on one thread: a tiny model loses time by handing work to a second one.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist worksteal

.PHONY: help run test test-slow check lock protos install clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: install ## Run the quickstart pipeline on real text, ending with a promoted model
	$(BIN)/textgate run quickstart

test: install $(CLIENTS)/.installed check ## Lint, check types and run the fast tests (under 15 minutes on 2 cores)
	$(PYTEST)

test-slow: install $(CLIENTS)/.installed ## Run the tests that need real weights for minutes, or a container engine
	$(PYTEST) -m slow

check: install ## Lint and check types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	ln -sfn .. $(VENV)/textgate
	cd $(VENV) && MYPYPATH=. bin/mypy --config-file ../pyproject.toml -p textgate.components -p textgate.pipelines -p textgate.serving

install: $(INSTALLED) ## Make .venv from the lock file

# torch first and alone: once its build is chosen, nothing below replaces it. For the small CPU build on Linux, point
# PIP_EXTRA_INDEX_URL at PyTorch's CPU index (README).
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "textgate needs Python 3.11 or newer: make run PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The clients of others, which pin what textgate has newer, so they need an environment of their own; only tests use it.
$(CLIENTS)/.installed: tests/clients/requirements.lock | $(INSTALLED)
	$(PYTHON) -m venv --without-pip $(CLIENTS)
	$(BIN)/pip --python $(CLIENTS)/bin/python install --quiet --disable-pip-version-check --no-deps --no-compile \
		--require-hashes -r $<
	@touch $@

lock: install ## Resolve requirements.lock again from pyproject.toml, and the lock of the tests' clients
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-package torch --no-header --quiet --output-file requirements.lock
	$(BIN)/uv pip compile tests/clients/requirements.in --universal --python-version 3.11 --generate-hashes \
		--no-header --quiet --output-file tests/clients/requirements.lock

protos: $(CLIENTS)/.installed ## Generate serving/open_inference_pb2.py again from its .proto
	ln -sfn .. $(VENV)/textgate
	cd $(VENV) && clients/bin/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. textgate/serving/open_inference.proto

clean: ## Stop the embedded store and remove the workspace and the virtual environment
	-$(BIN)/textgate store stop
	rm -rf .textgate $(VENV)
