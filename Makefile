# `make dev` and `make test` need Python >= 3.11, git and make; everything else they fetch into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: dev test check format clean

dev: .venv/run.stamp  ## the whole bot with a simulated Slack, mailbox and phone (ARGS="--port 9000" for another port)
	@$(BIN)/bot dev $(ARGS)

test: .venv/dev.stamp  ## the tests, on a real Redis of each process (a bundled one where there is none)
	$(BIN)/python -m pytest -n auto --maxprocesses 4

check: .venv/dev.stamp  ## what the tests cannot see: style, types, the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: .venv/dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis

.venv/run.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

.venv/dev.stamp: .venv/run.stamp
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
