.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory --warn-undefined-variables

# The interpreter that makes the virtual environments; everything else uses theirs.
PYTHON ?= python3
# What `make test` hands to pytest, as in `make test T="tests/steps -k bind"`.
T ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
STUBS := clients/python/stepwire/v1
GO_STUBS := clients/go/stepwire/v1
PROTOS = $(sort $(wildcard proto/stepwire/v1/*.proto))
SERVICES = $(shell grep -l '^service ' $(PROTOS))
LINTED = $(wildcard service clients/python clients/conformance tests benchmarks docs)

# constraints.txt holds every version. pip reads its plain lines; the generator and the Go tools,
# which live outside of .venv, have theirs in lines that pip takes for comments.
GENERATOR = $(shell sed -n 's/^.gen //p' constraints.txt)
GO_GENERATORS = $(shell sed -n 's/^.gen-go //p' constraints.txt)
GRPCURL = $(shell sed -n 's/^.go //p' constraints.txt)
NODE = $(shell sed -n 's/^.node //p' constraints.txt)

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

# --- use it ---

.PHONY: run
run: models ## Install, fetch the local models and serve on 127.0.0.1:50051
	@exec $(BIN)/stepwired serve

.PHONY: demo
demo: models ## See chat, search, a pipeline and a cancel; starts a server if none runs
	@$(BIN)/stepwire demo

.PHONY: models
models: install
	@$(BIN)/stepwired models pull

.PHONY: install
install: .venv/installed ## Put the server and the CLI into .venv

# Not on every call: only after a version or a dependency has changed. Works offline from then on.
.venv/installed: .venv/created constraints.txt pyproject.toml clients/python/pyproject.toml
	@echo "install: the server, the SDK and what they need, into .venv"
	@$(PIP) install -c constraints.txt pip hatchling
	@$(PIP) install -c constraints.txt --no-build-isolation -e 'clients/python[cli]' -e .
	@$(BIN)/python -c 'import onnxruntime, xllamacpp' || { echo "The local models need a library of the system. If libgomp is named above, on Debian or Ubuntu: apt install libgomp1" >&2; exit 1; }
	@touch $@

.venv/dev: .venv/installed
	@echo "install: what tests and checks need, into .venv"
	@$(PIP) install -c constraints.txt --group dev
	@touch $@

.venv/created:
	@$(call need_python)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@touch $@

# Fails with one line that says what to do.
define need_python
	command -v $(PYTHON) >/dev/null || { echo "No '$(PYTHON)' here. Install Python 3.11 or later, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old. Name a Python 3.11 or later: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot make virtual environments. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
endef

include tests/tools.mk clients/clients.mk

# --- work on it ---

.PHONY: test
test: .venv/dev grpcurl worker aimock callers page-packages clients models ## Run all tests, or some: make test T="tests/steps -k bind"
	@echo "test: pytest $(T)"
	@$(BIN)/python -m pytest -q $(T)

.PHONY: check
check: lint types arch breaking check-gen ## Everything CI runs beside the tests, in its order

.PHONY: lint
lint: .venv/dev ## Style of Python and protos
	@echo "check: ruff"
	@$(BIN)/ruff check -q $(LINTED)
	@$(BIN)/ruff format --check -q $(LINTED) || { $(BIN)/ruff format --check $(LINTED); exit 1; }
	@echo "check: buf lint and format"
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code

.PHONY: format
format: .venv/dev ## Rewrite Python and protos in the one style
	@$(BIN)/ruff check -q --select I --fix $(LINTED)
	@$(BIN)/ruff format -q $(LINTED)
	@$(BIN)/buf format --write

.PHONY: types
types: .venv/dev ## mypy --strict
	@echo "check: mypy"
	@$(BIN)/mypy $(LINTED)

.PHONY: arch
arch: .venv/dev ## Who may import whom
	@echo "check: import contracts"
	@$(BIN)/lint-imports --no-logo

.PHONY: breaking
breaking: .venv/dev ## Compare proto/ with what has landed
	@base=$$({ git rev-parse -q --verify origin/HEAD || git rev-parse -q --verify origin/main; } 2>/dev/null || true); \
	if [ -z "$$base" ] || ! git cat-file -e "$$base:proto" 2>/dev/null; then \
	  echo "check: buf breaking has nothing to compare with, because no protos have landed yet"; \
	else \
	  echo "check: buf breaking against $$(git rev-parse --short "$$base")"; \
	  landed=$$(mktemp -d); trap 'rm -rf "$$landed"' EXIT; \
	  cp buf.yaml "$$landed"; git archive "$$base" proto | tar -x -C "$$landed"; \
	  $(BIN)/buf breaking --against "$$landed"; \
	fi

.tools/gen/installed: constraints.txt
	@$(call need_python)
	@echo "install: the stub generator, into .tools/gen"
	@rm -rf .tools/gen
	@$(PYTHON) -m venv .tools/gen
	@.tools/gen/bin/pip install -q --disable-pip-version-check $(GENERATOR)
	@touch $@

# Generated beside and then moved, so that a failure leaves the old stubs whole.
.PHONY: gen
gen: .tools/gen/installed .venv/installed gen-go ## Regenerate from proto/: the stubs of Python and Go, and docs/errors.md
	@echo "gen: $(STUBS)"
	@rm -rf .tools/stubs && mkdir -p .tools/stubs $(STUBS)
	@PATH="$$PWD/.tools/gen/bin:$$PATH" python -m grpc_tools.protoc -Iproto \
	  --python_out=.tools/stubs --pyi_out=.tools/stubs $(PROTOS)
	@PATH="$$PWD/.tools/gen/bin:$$PATH" python -m grpc_tools.protoc -Iproto \
	  --grpc_python_out=.tools/stubs --mypy_grpc_out=quiet:.tools/stubs $(SERVICES)
	@echo '"""Stubs of the proto package `stepwire.v1`, generated by `make gen`; do not edit."""' > .tools/stubs/stepwire/v1/__init__.py
	@rm -f $(STUBS)/*_pb2*.py*
	@mv .tools/stubs/stepwire/v1/* $(STUBS)/
	@echo "gen: docs/errors.md"
	@$(BIN)/python docs/make_errors.py

.PHONY: gen-go
gen-go: .tools/gen/installed
	@command -v go >/dev/null || $(call LEFT_OUT,gen: $(GO_STUBS) was left out: Go is missing); \
	$(MAKE) -s .tools/gen-go/installed; \
	echo "gen: $(GO_STUBS)"; \
	rm -rf .tools/go-stubs; mkdir -p .tools/go-stubs $(GO_STUBS); \
	PATH="$$PWD/.tools/gen-go:$$PWD/.tools/gen/bin:$$PATH" python -m grpc_tools.protoc -Iproto \
	  --go_out=.tools/go-stubs --go_opt=module=stepwire.dev/go \
	  --go-grpc_out=.tools/go-stubs --go-grpc_opt=module=stepwire.dev/go $(PROTOS); \
	rm -f $(GO_STUBS)/*.pb.go; \
	mv .tools/go-stubs/stepwire/v1/* $(GO_STUBS)/

.tools/gen-go/installed: constraints.txt
	@echo "install: the stub generators for Go, into .tools/gen-go"
	@mkdir -p .tools/gen-go
	@for each in $(GO_GENERATORS); do GOBIN="$$PWD/.tools/gen-go" go install $$each; done
	@touch $@

.PHONY: check-gen
check-gen: gen ## Fail if what is committed is not what proto/ says
	@changed=$$(git status --porcelain -- $(STUBS) $(GO_STUBS) docs/errors.md); \
	test -z "$$changed" || { echo "$$changed" >&2; echo "Run 'make gen' and commit what it wrote." >&2; exit 1; }

.PHONY: bench
bench: .venv/dev ## Measure: CPU per token, latency, memory
	@$(BIN)/python -m benchmarks

.PHONY: soak
soak: .venv/dev ## Kill the server 200 times under load, limit 100 clients, and measure the store; tells what it saw
	@STEPWIRE_KILLS=$${STEPWIRE_KILLS:-200} STEPWIRE_CLIENTS=$${STEPWIRE_CLIENTS:-100} $(BIN)/python -m pytest -q -s tests/soak
	@$(BIN)/python -m tests.soak.figures

.PHONY: clean
clean: ## Remove everything that make has made here; models stay in the user's data folder
	rm -rf .venv .tools dist $(TS)/node_modules $(TS)/dist $(TS)/src/gen $(JAVA)/target .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find service clients/python clients/conformance tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
