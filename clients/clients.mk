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
	@rm -rf $(TS)/dist
	@.tools/bin/node $(TS)/node_modules/.bin/tsc -p $(TS)
	@printf '#!/bin/sh\nexec "%s" "%s" "$$@"\n' "$$PWD/.tools/bin/node" "$$PWD/$(TS)/dist/conformance/driver.js" > $@
	@chmod +x $@

GO_SOURCES = $(shell find clients/go -name '*.go') $(addprefix clients/go/,go.mod go.sum stepwire/service_config.json)

.PHONY: client-go
client-go: ## Build the Go client
	@command -v go >/dev/null || $(call LEFT_OUT,the Go client was left out: Go is missing); \
	$(MAKE) -s .tools/bin/conformance-go

# Its examples too, for tests. What was built before goes first, here and below: it would pass for what could not be built.
.tools/bin/conformance-go: $(GO_SOURCES)
	@echo "build: clients/go"
	@rm -rf $@ .tools/go; mkdir -p .tools/bin .tools/go; out="$$PWD/.tools/go"; \
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
	@rm -rf $@ .tools/rust/debug/conformance-rust .tools/rust/debug/examples/chat; mkdir -p .tools/bin; \
	target="$$PWD/.tools/rust"; \
	(cd $(RUST) && CARGO_TARGET_DIR="$$target" cargo build -q --locked --workspace --bins --examples >../../.tools/rust.log 2>&1) \
	  || { cat .tools/rust.log >&2; $(call LEFT_OUT,the Rust client was left out: it could not be built); }; \
	cp .tools/rust/debug/conformance-rust $@

CPP := clients/cpp
CPP_SOURCES = $(shell find $(CPP) -type f -not -name '*.md' -not -path '$(CPP)/build/*') $(PROTOS) $(HEALTH)

.PHONY: client-cpp
client-cpp: ## Build the C++ client
	@{ command -v c++ && command -v cmake && command -v protoc && command -v grpc_cpp_plugin; } >/dev/null \
	  || $(call LEFT_OUT,the C++ client was left out: a C++ compiler or CMake or protoc or gRPC is missing); \
	$(MAKE) -s .tools/bin/conformance-cpp

# Optimised as little as is quick to compile; configured afresh where Ninja has come or gone.
.tools/bin/conformance-cpp: $(CPP_SOURCES)
	@echo "build: $(CPP)"
	@rm -f $@ $(addprefix .tools/cpp/,conformance-cpp chat appends); mkdir -p .tools/bin; \
	configure() { \
	  cmake "$$@" -S $(CPP) -B .tools/cpp $$(command -v ninja >/dev/null && echo -G Ninja) \
	    -DSTEPWIRE_CONFORMANCE=ON -DCMAKE_CXX_FLAGS_RELEASE=-O1; \
	}; \
	{ { configure || configure --fresh; } && cmake --build .tools/cpp -j 2; } >.tools/cpp.log 2>&1 \
	  || { cat .tools/cpp.log >&2; $(call LEFT_OUT,the C++ client was left out: it could not be built); }; \
	cp .tools/cpp/conformance-cpp $@
