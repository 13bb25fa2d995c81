# The commands of this project; `make` alone lists them. They run in .venv, which is made from the lock files.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
UI_PORT ?= 5000
POOL ?= cpu
# Two test processes more than cores, as some always wait for a server or a worker
TESTERS ?= $(shell $(PYTHON) -c 'import os; print(min(6, os.cpu_count() + 2))')
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
.PHONY: help train test check docs ui lab serve deploy worker lock clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 12

train: $(READY) ## train, evaluate and promote a GPT; ARGS='train.steps=200' changes values for this run alone
	@$(BIN)/python -m flows.train_gpt $(ARGS)

test: $(READY) ## run the tests; ARGS='-k resume' selects some
	$(BIN)/python -m pytest --numprocesses=$(TESTERS) $(ARGS)

check: $(READY) ## lint, formatting, types, which layer may import which, and whether the pages of docs/ make a site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MKDOCS)

docs: $(READY) ## make a site of docs/ and of all docstrings, in build/docs
	@$(MKDOCS)

ui: $(READY) ## Prefect, MLflow and a worker on this machine, until Ctrl-C
	@UI_PORT=$(UI_PORT) $(BIN)/python -m flows.services.ui

lab: $(READY) ## run, watch, compare, talk and promote in the browser, until Ctrl-C; ARGS='--port 8080', see --help
	@UI_PORT=$(UI_PORT) $(BIN)/python -m lab $(ARGS)

serve: $(READY) ## answer requests in OpenAI's form with gpt@champion; INT8=1 for 8-bit weights, ARGS='--port 8080 --slots 32', see --help
	@$(BIN)/python -m serving $(if $(INT8),--int8) $(ARGS)

deploy: $(READY) ## create or update pools, deployments and automations on the server at PREFECT_API_URL; POOLS='gpu gpu-docker' adds these
	@$(BIN)/python -m flows.services.deploy $(POOLS)

worker: $(READY) ## run flows from a work pool: make worker POOL=gpu; LIMIT=2 runs two at once
	@$(BIN)/python -m flows.services.worker $(POOL) $(if $(LIMIT),--limit $(LIMIT))

lock: ## renew requirements.lock from pyproject.toml, with uv; ARGS=--upgrade takes newer versions
	uv pip compile --quiet pyproject.toml --output-file requirements.lock $(ARGS)

clean: ## remove .venv, tool caches and data/scratch; keep results, DVC cache and mlflow.db
	rm -rf .venv data/scratch build *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so that make repeats an interrupted installation
$(READY): torch.lock requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python 3.11 or newer is needed, \
	$(PYTHON) is %d.%d; name another: make PYTHON=python3.12" % v[:2])'
	@echo "Setting up .venv from the lock files: a few minutes, once"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check -r torch.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(READY)
