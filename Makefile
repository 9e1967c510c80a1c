# OpenVRC: everything a newcomer types. `make help` lists it.
# Needs python3 (3.11 or newer), make and git; no root, no Docker, no Node (the page's build brings one).

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet

# The first interpreter that is new enough; PYTHON=... chooses another one.
NEW_ENOUGH := import sys; raise SystemExit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c "$(NEW_ENOUGH)" 2>/dev/null && echo $$p && break; done)

WEB_SOURCES := $(shell find web -name node_modules -prune -o -type f -print)

.DEFAULT_GOAL := help
.PHONY: help venv venv-dev web demo test check bench bench-queries bench-traffic bench-battery fuzz-gbt32960 lock clean

help: ## list these targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1	\2/p' Makefile

# Python's packages and the page are fetched side by side: the page's 10 s cost nothing then.
demo: ## start the whole platform and print the live page's address; DEMO_ARGS='--for 30 --json'
	@$(MAKE) --no-print-directory -j2 $(VENV)/.run.stamp $(VENV)/.web.stamp
	@$(BIN)/vrc demo $(DEMO_ARGS)

web: ## build the live page into cloud/static
	@rm -f $(VENV)/.web.stamp
	@$(MAKE) --no-print-directory $(VENV)/.web.stamp
	@test -e $(VENV)/.web.stamp

test: ## run every test; TEST_ARGS='-k admit'
	@$(MAKE) --no-print-directory -j2 $(VENV)/.dev.stamp $(VENV)/.web.stamp
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -q $(TEST_ARGS)

check: $(VENV)/.dev.stamp ## ruff, mypy --strict and the import fences
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.run.stamp ## measure the data path; BENCH_ARGS='--quick'
	@$(BIN)/vrc bench $(BENCH_ARGS)

bench-queries: $(VENV)/.dev.stamp ## measure the API's questions on 10 million rows; BENCH_ARGS='--vehicles 1000'
	@$(BIN)/python -m tests.bench.bench_queries $(BENCH_ARGS)

bench-traffic: $(VENV)/.dev.stamp ## measure traffic rules, matching and states; BENCH_ARGS='--only state --seeds 2'
	@$(BIN)/python -m tests.bench.bench_traffic $(BENCH_ARGS)

bench-battery: $(VENV)/.dev.stamp ## measure the battery rules; BENCH_ARGS='--fleet DIR' of vrc simulate fleet --days
	@$(BIN)/python -m tests.bench.bench_battery $(BENCH_ARGS)

fuzz-gbt32960: $(VENV)/.dev.stamp ## fuzz GB/T 32960 for ten minutes; FUZZ_ARGS='--seconds 60 --seed 1'
	@$(BIN)/python -m tests.fuzz.fuzz_gbt32960 $(FUZZ_ARGS)

venv: $(VENV)/.run.stamp ## only install what `make demo` needs
venv-dev: $(VENV)/.dev.stamp ## only install what `make test` needs

# Messages go to stderr: stdout belongs to the command that was asked for.
$(VENV)/.created.stamp:
	@test -n "$(PYTHON)" || { echo "error: OpenVRC needs Python 3.11 or newer; found" \
		"$$(python3 --version 2>&1 || echo none). Install one, or name it:" \
		"make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c "$(NEW_ENOUGH)" || { echo "error: OpenVRC needs Python 3.11 or newer;" \
		"$(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; exit 1; }
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { echo "error: $(PYTHON) cannot make a" \
		"virtual environment (no ensurepip). On Debian or Ubuntu: apt-get install python3-venv" >&2; \
		exit 1; }
	@test -x $(BIN)/python || echo "creating $(VENV) with $$($(PYTHON) --version)" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >&2
	@touch $@

# --no-deps: the lock is complete, so nothing unpinned can slip in.
$(VENV)/.run.stamp: requirements.lock pyproject.toml | $(VENV)/.created.stamp
	@echo "installing what the platform needs (once, about 600 MB on disk)" >&2
	@$(PIP) --no-deps -r requirements.lock >&2
	@$(PIP) --no-deps --no-build-isolation --no-index -e . >&2
	@touch $@

# A page that cannot be built (no network, say) stops nobody: the API serves without it and says so.
$(VENV)/.web.stamp: $(WEB_SOURCES) | $(VENV)/.created.stamp
	@echo "building the live page" >&2
	@if sh web/build.sh $(PYTHON); then touch $@; \
		else echo "warning: the live page could not be built; everything else works. Later: make web" >&2; fi

$(VENV)/.dev.stamp: requirements-dev.lock $(VENV)/.run.stamp
	@echo "installing what the tests need (once)" >&2
	@$(PIP) --no-deps -r requirements-dev.lock >&2
	@touch $@

# One lock for Python 3.11 and newer on Linux and macOS; uv is needed here only.
UV_COMPILE = .venv-lock/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --quiet \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock" $(LOCK_ARGS)

lock: ## pin the newest versions that fit; LOCK_ARGS='--upgrade'
	@test -n "$(PYTHON)" || { echo "error: OpenVRC needs Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python -m pip install --disable-pip-version-check --quiet uv==$(UV_VERSION)
	@$(UV_COMPILE) --group build -o requirements.lock
	@$(UV_COMPILE) --group build --group dev -c requirements.lock -o requirements-dev.lock
	@rm -rf .venv-lock

clean: ## remove the virtual environment and every cache
	@rm -rf $(VENV) .venv-lock .venv-node cloud/static web/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
