# `make help` lists what there is. By default everything runs in .venv, made on first use.
# VENV=none PY=python3 uses an existing Python and its torch as they are, and installs nothing.
VENV   ?= .venv
PYTHON ?= python3
TORCH  ?= 2.13.0
JOBS   ?= auto
ARGS   ?=

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

SOURCES := CMakeLists.txt pyproject.toml $(shell find csrc cmake -type f)

ifeq ($(VENV),none)
PY     ?= python3
# One build for each Python and torch it is used with.
STAGE  := build/$(or $(shell $(PY) -c "import sys, torch; print(sys.implementation.cache_tag + '-torch' + torch.__version__)"),$(error VENV=none: $(PY) is no Python with torch; set PY))
RUN    := PYTHONPATH=$(CURDIR)/$(STAGE) $(PY)
BUILT  := $(STAGE)/.built
BASIC  :=
EXTRA   = $(BUILT)
else
PY     := $(VENV)/bin/python
RUN    := $(PY)
BASIC  := $(VENV)/.torch
BUILT  := $(VENV)/.built
EXTRA   = $(VENV)/.extra-$(1)
endif

.PHONY: help build demo test test-gpu bench lint format check-cuda dist info clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  VENV=none PY=python3 make test   uses that Python and its torch, and installs nothing"
	@echo "  TORCH=2.12.0 make build          the torch release that a new .venv gets"
	@echo "  JOBS=1 make test                 the tests in one process; as many as processors otherwise"
	@echo "  ARGS='...' make demo|test|bench  further arguments for the program that is run"

build: $(BUILT) ## set up .venv and (re)build the extension
info: $(BUILT) ## versions, CPU capability, GPUs, and what to do when something is missing
	@$(RUN) -m colloc info

demo: $(call EXTRA,examples) ## solve the Helmholtz problem; results in runs/demo
	$(RUN) examples/helmholtz.py --output runs/demo $(ARGS)

test: $(call EXTRA,test) ## the whole test suite, in JOBS processes
	$(RUN) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-gpu: $(call EXTRA,test) ## the tests that need an NVIDIA GPU
	@$(RUN) -c "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 'make test-gpu: torch sees no NVIDIA GPU here; see colloc info')"
	$(RUN) -m pytest -m cuda $(ARGS)

bench: $(call EXTRA,bench) ## the benchmarks; results in benchmarks/results
	$(RUN) -m benchmarks $(ARGS)

lint: $(call EXTRA,lint) $(call EXTRA,test) ## ruff, mypy, clang-format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(dir $(shell command -v $(PY)))clang-format --dry-run --Werror $$(git ls-files '*.cpp' '*.h' '*.cu' '*.cuh')

format: $(call EXTRA,lint) ## apply ruff and clang-format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(dir $(shell command -v $(PY)))clang-format -i $$(git ls-files '*.cpp' '*.h' '*.cu' '*.cuh')

check-cuda: $(BASIC) ## compile the CUDA sources for sm_80, sm_90 and PTX; needs nvcc, no GPU
	@tools/cmake.sh $(PY) -S . -B build/check-cuda -DCOLLOC_CHECK_CUDA=ON -DCOLLOC_CUDA=ON
	@tools/cmake.sh $(PY) --build build/check-cuda --target colloc_cuda
	@echo "check-cuda: the CUDA sources compile"

dist: $(BASIC) ## sdist and wheel in dist/
	$(PY) -m pip install -q build
	$(PY) -m build --no-isolation -o dist .

clean: ## remove what was built (.venv and runs stay)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache $(VENV)/.built

# ---- the environment -------------------------------------------------------------------

ifneq ($(VENV),none)
$(VENV)/bin/python:
	@$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 10) else 'colloc needs Python 3.10 or later, $(PYTHON) is ' + sys.version.split()[0] + '; set PYTHON=...')"
	@command -v g++ >/dev/null || { echo "colloc needs a C++ compiler: install g++"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: tools/install_torch.sh | $(VENV)/bin/python
	tools/install_torch.sh $(VENV)/bin/python $(TORCH)
	$(VENV)/bin/python -m pip install -q numpy "scikit-build-core>=0.10" "pybind11>=2.13" ninja cmake
	@touch $@

$(VENV)/.built: $(VENV)/.torch $(SOURCES)
	@echo "building the extension: some minutes"
	$(VENV)/bin/python -m pip install -q --no-build-isolation --no-deps -e . --config-settings=cmake.define.COLLOC_HOST_LAUNCH=ON
	@touch $@

# colloc is installed by now, so this adds the packages that the extra names, nothing else.
$(VENV)/.extra-%: pyproject.toml | $(VENV)/.built
	$(VENV)/bin/python -m pip install -q "colloc[$*]"
	@touch $@
else
# A package folder of links into python/colloc, with the compiled libraries beside them.
$(STAGE)/.built: $(SOURCES) $(shell find python/colloc -maxdepth 1)
	@tools/cmake.sh $(PY) -S . -B $(STAGE)/cmake -DCOLLOC_HOST_LAUNCH=ON
	@tools/cmake.sh $(PY) --build $(STAGE)/cmake
	@mkdir -p $(STAGE)/colloc && find $(STAGE)/colloc -type l -delete
	@tools/cmake.sh $(PY) --install $(STAGE)/cmake --prefix $(CURDIR)/$(STAGE)/colloc
	@ln -s $(CURDIR)/python/colloc/* $(STAGE)/colloc/
	@touch $@
endif
