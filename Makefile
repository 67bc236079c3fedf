# Targets a newcomer types: demo, hub, test, bench, lint. Everything lands in .venv and .demo.
PYTHON ?= python3
# Tests at once. Files of slow ones stay together: their hubs and servers are started once a file or a worker.
WORKERS ?= 2
BIN := .venv/bin

.PHONY: demo hub test bench lint clean

.venv/.created:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	touch $@

.venv/.%: .venv/.created pyproject.toml
	$(BIN)/python -m pip install -q -e '.[$*]'
	touch $@

demo: .venv/.example
	$(BIN)/python examples/demo.py

hub: .venv/.local-hub
	@$(BIN)/python examples/hub/run.py

test: .venv/.test
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist=worksteal
	$(BIN)/python -m pytest -m slow -n $(WORKERS) --dist=loadfile

bench: .venv/.bench
	$(BIN)/python -m benchmarks

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .demo
