SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3.11
BIN := .venv/bin
HEADWATER_HOME ?= .headwater
export HEADWATER_HOME

.PHONY: run test test-all check lock clean

run: .venv/ready  ## set up, then crawled pages to an aligned assistant
	@$(BIN)/headwater run

test: .venv/ready  ## everything that takes seconds
	@$(BIN)/python -m pytest -q

test-all: .venv/ready  ## also what takes minutes
	@$(BIN)/python -m pytest -q -m ''

check: .venv/ready  ## format, lint, types, import contracts
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lock: .venv/ready  ## pin what is installed now
	@{ head -1 requirements.lock; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//'; } > .venv/lock
	@mv .venv/lock requirements.lock

clean:  ## delete the environment and all state of this folder
	@if [ -x $(BIN)/headwater ]; then $(BIN)/headwater clean --yes; fi
	@rm -rf .venv

# The lock is complete, so pip need not resolve it, which would take minutes; the last step
# finds what a platform needs besides.
PIP = $(BIN)/python -m pip install --disable-pip-version-check --no-compile
LOG = .venv/pip.log
COUNT = awk '/^Collecting/ && ++n % 45 == 0 { print "  " n " packages fetched"; fflush() } \
	/^Installing collected/ { print "  installing"; fflush() }'

.venv/ready: requirements.lock pyproject.toml
	@echo "setting up .venv (once; two minutes or so)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) --no-deps -r requirements.lock 2>&1 | tee $(LOG) | $(COUNT) || { tail -20 $(LOG); exit 1; }
	@$(PIP) --no-build-isolation -e . > $(LOG) 2>&1 || { tail -20 $(LOG); exit 1; }
	@touch $@
