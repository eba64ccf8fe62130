# Vireo's entry points. `make run` serves the demo bundle; `make test` checks everything.

# libfaiss-dev and libopenblas-dev belong in one apt call, or FAISS brings the reference BLAS along.
BUILD_PACKAGES := build-essential cmake ninja-build pkg-config libevent-dev libfaiss-dev libopenblas-dev \
	libsimdjson-dev libmuparser-dev libyaml-dev libssl-dev curl ca-certificates git
RUN_PACKAGES := python3
# FAISS headers include omp.h, which clang (the fuzz build) has from libomp-dev alone.
TEST_PACKAGES := libcriterion-dev clang clang-tidy clang-format libclang-rt-14-dev libomp-dev python3 python3-venv

# Debian's own Python: another one on the PATH may lack what the pinned wheels need.
PYTHON := $(if $(wildcard /usr/bin/python3),/usr/bin/python3,python3)
PIP := .venv/bin/pip --disable-pip-version-check --no-input
REQUIREMENTS := models/requirements.txt models/requirements-test.txt models/constraints.txt
FUZZ_SECONDS ?= 10

.PHONY: all deps deps-test build run test test-long bench bench-long soak bench-gpu format clean
all: build

deps: ## what building and `make run` need
	@tools/deps.sh $(BUILD_PACKAGES) $(RUN_PACKAGES)

deps-test: ## what the tests need on top, the Python oracles included
	@tools/deps.sh $(BUILD_PACKAGES) $(RUN_PACKAGES) $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory .venv/.complete

.venv/.complete: $(REQUIREMENTS) models/pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(PIP) install --quiet --no-cache-dir --no-compile -r models/requirements-test.txt
	$(PIP) install --quiet --no-deps -e models
	@touch $@

build: ## the program, at build/release/vireo
	@cmake --preset release $(if $(VERBOSE),,--log-level=WARNING)
	@cmake --build --preset release

run: ## the demo: serves models/demo and shows one feed
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory build
	@tools/run_demo.sh

test: ## everything, ending with `N passed, N failed, N skipped`
	@$(MAKE) --no-print-directory deps-test
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(PYTHON) tests/run_all.py

test-long: ## the same with more cases and longer fuzzing
	@$(MAKE) --no-print-directory deps-test
	@VIREO_LONG=1 FUZZ_SECONDS=300 $(PYTHON) tests/run_all.py

bench: deps ## this machine against the goals, in five minutes
	@bench/run.sh

bench-long: deps ## the same with runs of full length; the results go to bench/results/
	@bench/run.sh --long

soak: build ## an hour of steady load: flat memory, flat p99, no error
	@$(PYTHON) bench/soak.py

bench-gpu: ## on a machine with a GPU: tests, sanitizers and figures of the CUDA backend, in stages
	@bench/gpu.sh

format: ## brings every source into the checked format
	@git ls-files '*.c' '*.h' '*.cc' '*.cu' '*.cuh' | xargs -r clang-format -i
	@.venv/bin/ruff format models tests bench
	@.venv/bin/ruff check --fix models tests bench

clean:
	rm -rf build
