# Targets a newcomer types: demo, hub, panel, test, screenshots, bench, lint. Everything lands in .venv and .demo.
PYTHON ?= python3
# Tests at once. Files of slow ones stay together: their hubs and servers are started once a file or a worker.
WORKERS ?= 2
BIN := .venv/bin
# With the Node.js of .venv, so that none is needed on the machine.
WITH_NODE := PATH=$(CURDIR)/$(BIN):$$PATH
NPM := $(WITH_NODE) npm --prefix labextension
# What is built last.
PANEL := jupyter_mlops/labextension/package.json
SOURCES := $(wildcard labextension/*.json labextension/*.mjs) $(shell find labextension/src labextension/schema -type f)

# What is compiled is kept for the next process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo hub panel test screenshots bench lint clean

.venv/.created:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	touch $@

# Of what tests need, most is never imported: it is compiled when it is.
.venv/.%: .venv/.created pyproject.toml
	$(BIN)/python -m pip install -q $(if $(filter test,$*),--no-compile) -e '.[$*]'
	touch $@

demo: .venv/.example
	$(BIN)/python examples/demo.py

hub: .venv/.local-hub
	@$(BIN)/python examples/hub/run.py

# An installation has what it built the panel with here, and the panel: neither is made twice.
labextension/node_modules/.package-lock.json: labextension/package-lock.json | .venv/.test
	$(NPM) ci
	touch $@

# The proxy of hubs, and what stands for an object store of Azure.
tests/node/node_modules/.package-lock.json: .venv/.test tests/node/package-lock.json
	$(WITH_NODE) npm --prefix tests/node ci
	touch $@

# The panel and the service's page, from their sources; `jupyter labextension develop` once shows each new build.
panel: $(PANEL)
$(PANEL): labextension/node_modules/.package-lock.json $(SOURCES)
	$(NPM) run build
	touch $@

test: .venv/.test panel tests/node/node_modules/.package-lock.json
	$(NPM) test
	$(BIN)/python -m tests.hub.chromium
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist=worksteal
	$(BIN)/python -m pytest -m slow -n $(WORKERS) --dist=loadfile --no-loadscope-reorder

# The pictures in the README and the docs, from the test in which people use the panel.
screenshots: .venv/.test panel tests/node/node_modules/.package-lock.json
	MLOPS_PICTURES=$(CURDIR)/docs/images $(BIN)/python -m pytest tests/hub/test_panel_story.py

bench: .venv/.bench
	$(BIN)/python -m benchmarks

lint: .venv/.test labextension/node_modules/.package-lock.json
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(WITH_NODE) $(BIN)/python labextension/schema.py --check
	$(NPM) run lint

clean:
	rm -rf .venv .demo tests/node/node_modules labextension/node_modules labextension/lib jupyter_mlops/labextension jupyter_mlops/service/page
