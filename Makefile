# lossbench: `make help` lists the targets. Everything runs in .venv, made from the hash-locked requirements.lock.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup extras test long lint types wheel faults lock reproduce-tables reference report simulate look tensorboard benchmark clean

# Python keeps its compiled files whatever the environment says: else each process compiles torch anew, about 1.5 s.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
BIN := .venv/bin
PORT ?= 6006

# Options of reproduce-tables and report; the ones left empty keep their defaults (conf/reproduce.yaml).
PROFILE ?=
TABLES ?=
SEEDS ?=
DRY ?=
RESULTS ?=
BUDGET_MIN ?=
ARGS ?=
at_a_time := --numprocesses auto --maxprocesses 4 --dist loadfile
empty :=
space := $(empty) $(empty)
comma := ,
options = $(if $(PROFILE),profile=$(PROFILE)) $(if $(TABLES),'tables=[$(subst $(space),$(comma),$(strip $(subst $(comma),$(space),$(TABLES))))]') $(if $(SEEDS),seeds=$(SEEDS))

help:  ## list the targets
	@awk -F ':.*##' '/^[a-z-]+:.*##/ {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready  ## create .venv and install the locked packages

# uv and setuptools are installed first, also by hash, so that the rest needs no other downloads to build.
.venv/ready: requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lossbench needs Python 3.11 or later, and $(PYTHON) is $$("$(PYTHON)" --version 2>&1); choose another with PYTHON=..."; exit 1; }
	@echo "installing the locked packages into .venv (about 5 GB with a plain torch; under a minute with a fast connection)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@awk '/^[a-z]/ {keep = /^(uv|setuptools)==/} keep' requirements.lock > .venv/first.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/first.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --no-build-isolation requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

extras: .venv/extras  ## add Slurm's and Ray's Python packages, and readers of Parquet, also by hash (about 400 MB)

.venv/extras: requirements.extras.lock .venv/ready
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.extras.lock
	@touch $@

test: setup  ## run the tests except the long ones; a few minutes (ARGS="-k npz")
	$(BIN)/python -m pytest -m "not long" $(at_a_time) --no-loadscope-reorder $(ARGS)

long: setup  ## run the long tests: killed sweeps, complete commands, fuzzing, pages in a browser, LaTeX
	$(BIN)/python -m pytest -m long $(at_a_time) --no-loadscope-reorder $(ARGS)

lint: setup  ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## check types (mypy --strict)
	$(BIN)/mypy

wheel: setup  ## build the package into dist/, with conf/ and the committed records, without arrays
	@$(BIN)/uv build --quiet --offline --no-build-isolation --wheel --python $(BIN)/python --out-dir dist

reproduce-tables: setup  ## train missing runs and write Tables 3-5 and Figures 1-2 (PROFILE=paper|quick TABLES="3 5" SEEDS=1 DRY=1)
	@$(BIN)/python scripts/reproduce.py $(options) $(if $(DRY),dry=true) $(if $(RESULTS),"results_dir=$(RESULTS)") $(ARGS)

reference: setup  ## train the planned reference runs, in order of importance, into results/ (BUDGET_MIN=60 DRY=1)
	@$(BIN)/python scripts/reference.py $(if $(BUDGET_MIN),runtime.budget_min=$(BUDGET_MIN)) $(if $(DRY),dry=true) $(ARGS)

report: setup  ## write tables and figures from the records without training (PROFILE=paper|quick)
	@$(BIN)/python scripts/report.py $(if $(PROFILE),profile=$(PROFILE)) $(if $(RESULTS),"results_dir=$(RESULTS)") $(ARGS)

simulate: setup  ## simulate Table 1, about a minute on two cores (ARGS="--publish")
	@$(BIN)/lossbench simulate $(ARGS)

look: setup  ## open the report in headless Chromium at two widths, light and dark, and print it; pictures in outputs/look (PROFILE=paper|quick)
	@$(BIN)/python tools/looking.py outputs/report/$(or $(PROFILE),paper)/index.html --out outputs/look/$(or $(PROFILE),paper) $(ARGS)

tensorboard: setup  ## show all runs in TensorBoard (PORT=6006)
	$(BIN)/tensorboard --logdir outputs/runs --samples_per_plugin images=0,scalars=0 --port $(PORT)

benchmark: setup  ## compare speed with a conventional training loop and the hardware's limit (ARGS="--device cuda")
	@$(BIN)/python benchmarks/benchmark.py $(ARGS)

faults: setup  ## kill real sweeps 100 times and compare their results (ARGS="--kills 20")
	@$(BIN)/python tools/killing.py $(ARGS)

lock: setup  ## regenerate both locks from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header --upgrade --quiet --output-file requirements.lock
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["engines"], sep="\n")' | \
	  $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --constraints requirements.lock \
	  --no-annotate --no-header --upgrade --quiet --output-file requirements.extras.lock

clean:  ## remove .venv and caches; run folders, reports and data stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
