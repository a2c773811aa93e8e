# Two commands are enough: `make demo` and `make test`. Both make the environment they need; run again, both are quick.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c

VENV ?= .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/.installed
# The first of these that runs and is 3.10 or 3.11; PyBullet has no wheels for later ones.
PYTHONS ?= python3.11 python3.10 python3 python
TEST_WORKERS ?= 2

export PATH := $(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo paper results test check lint types tests format clean

help: ## This list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

install: $(STAMP) ## Environment with everything, in .venv.

$(STAMP): pyproject.toml constraints.txt
	@if [ ! -x "$(BIN)/python" ]; then
	  for candidate in $(PYTHONS); do
	    if "$$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null; then found="$$candidate"; break; fi
	  done
	  if [ -z "$${found:-}" ]; then echo "error: Python 3.10 or 3.11 is needed; none of: $(PYTHONS)" >&2; exit 1; fi
	  echo "creating $(VENV) with $$("$$found" --version)"
	  "$$found" -m venv "$(VENV)"
	fi
	echo "installing (about two minutes the first time)"
	"$(BIN)/python" -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch "$(STAMP)"

demo: $(STAMP) ## The whole experiment with params.yaml: collect to report; prints the tables.
	@git rev-parse --git-dir >/dev/null 2>&1 || dvc config --local core.no_scm true
	# The paper's networks come with the package: their table needs no training, and is there first.
	dvc repro ablate
	echo
	cat results/ablation/ablation.md
	dvc repro
	echo
	cat results/evaluation/*/table.md results/ablation/ablation.md results/noise/noise.md
	echo
	echo "the page to look at: results/report/report.html (pictures of cases: results/evaluation/*/figures)"

paper: $(STAMP) ## The paper's full scale (weeks on two cores, a day or two with 32 cores and a GPU).
	@mkdir -p runs/paper
	srcli collect --task pick --params params-paper.yaml --out runs/paper/pick.h5
	srcli collect --task place --params params-paper.yaml --out runs/paper/place.h5
	srcli featurize runs/paper/pick.h5 runs/paper/place.h5 --params params-paper.yaml --out runs/paper/features.h5 --device auto
	for method in sr sr_a base a2; do
	  srcli train runs/paper/features.h5 --method $$method --params params-paper.yaml --out runs/paper/policies/$$method-0.h5 --device auto
	done
	own=runs/paper/policies
	given="-m sr=$$own/sr-0.h5 -m untrained:sr -m sr_a=$$own/sr_a-0.h5 -m base=$$own/base-0.h5 -m a2=$$own/a2-0.h5 -m untrained:a2"
	run() { task=$$1; out=$$2; shift 2; srcli evaluate --task $$task --params params-paper.yaml $$given "$$@" --device auto --out runs/paper/evaluation/$$out; }
	run pick pick -m similarity -m random -m expert
	# The paper disturbs placements and does not say by how much: two sizes of ours.
	run place place -m random -m expert
	run place place-disturbed -m random -m expert --perturb-translation 0.005 --perturb-rotation 0.05
	run place place-disturbed-more -m random -m expert --perturb-translation 0.015 --perturb-rotation 0.15
	run pick_place pick_place -m similarity -m random -m expert
	srcli ablate runs/paper/features.h5 --params params-paper.yaml --policies-dir runs/paper/policies --out runs/paper/ablation --device auto
	srcli noise-sweep runs/paper/features.h5 --params params-paper.yaml --policies-dir runs/paper/policies --out runs/paper/noise --device auto
	srcli report runs/paper --params params-paper.yaml --out runs/paper/report

results: $(STAMP) ## Measure what docs/results.md shows (hours; goes on where it was stopped) and write it.
	srcli results

test: $(STAMP) lint types tests ## Everything that has to pass: ruff, mypy, pytest.

check: lint types ## Ruff and mypy alone.

lint: $(STAMP)
	ruff check .
	ruff format --check .

types: $(STAMP)
	mypy

tests: $(STAMP)
	pytest -n $(TEST_WORKERS) --dist worksteal

format: $(STAMP) ## Format and fix what ruff can fix.
	@ruff check --fix .
	ruff format .

clean: ## Remove environment, results and caches. Demonstrations in data/ stay.
	rm -rf .venv .venv-* results .mypy_cache .ruff_cache .pytest_cache
