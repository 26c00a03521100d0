# How to work with textgen. `make` or `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# What users may set
PORT ?= 8000
TEXTGEN_HOME ?= ./.textgen
CORPUS ?=
ARGS ?=
REPEAT ?= 30
SECONDS_LONG ?= 3600
# How many test files run at once. Most of a test's time is waiting for processes to start.
TEST_PROCESSES ?= 2
TORCH ?= 2.13.0
# Another index for torch alone, e.g. https://download.pytorch.org/whl/cpu; empty: pip's own.
TORCH_INDEX ?=
# The first Python on the PATH that is new enough.
PYTHON ?= $(shell for each in python3 python3.12 python3.11 python3.13; do \
	"$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$each" && break; done; true)

VENV := .venv
BIN := $(VENV)/bin
# Only the environment is remembered here; the sources are used where they lie.
STAMP := $(VENV)/.installed-torch-$(TORCH)
TORCH_FROM := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))

export PORT TEXTGEN_HOME

.PHONY: help install demo test test-all serve bench chaos soak lint audit format docs lock messages browser clients clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with everything in it (nothing to do when it is there)

$(STAMP): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "textgen needs Python 3.11 or newer and found none (python3 is" \
			"$$(python3 --version 2>&1 || true))." >&2; \
		echo "Install one, or name it: make install PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "textgen needs Python 3.11 or newer; $(PYTHON) is" \
			"$$("$(PYTHON)" --version 2>&1)." >&2; \
		echo "Name a newer one: make install PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments." >&2; \
		echo "On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/pip || { echo "Making $(VENV) with $$("$(PYTHON)" --version)"; \
		rm -rf $(VENV); "$(PYTHON)" -m venv $(VENV); }
	@echo "Installing the packages of requirements.lock, each checked against its hash"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements.lock
	@echo "Installing torch $(TORCH)$(if $(TORCH_INDEX), from $(TORCH_INDEX)); the large one"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(TORCH_FROM) "torch==$(TORCH)"
	@echo "Installing textgen itself, from this folder"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check \
		--no-deps --no-build-isolation -e .
	@echo "Building the engine's kernel, where there is a C++ compiler"
	@$(BIN)/python -m textgen.engine.kernels.build
	@touch $@
	@echo "Done. Next: make demo"

demo: install ## train on real text and run a batch of prompts (CORPUS=path for your own text)
	@exec $(BIN)/python -m web.cli.demo $(if $(CORPUS),--corpus "$(CORPUS)") $(ARGS)

serve: install ## run the whole stack in the foreground (PORT, TEXTGEN_HOME)
	@exec $(BIN)/textgen up

PYTEST = $(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile

test: install ## every test that a change must pass (ARGS goes to pytest)
	@$(PYTEST) -m "not slow and not chaos and not soak" $(ARGS)

test-all: install clients lint ## make test, and what takes longer
	@$(PYTEST) -m "not chaos and not soak" $(ARGS)

bench: install ## the benchmarks, each ends with a line of JSON (ARGS names one)
	@for file in $(if $(ARGS),$(ARGS),$(filter-out %/__init__.py,$(sort $(wildcard benchmarks/*.py)))); do \
		echo "== $$file"; PYTHONPATH=. $(BIN)/python "$$file"; done

chaos: install ## the fault suite at full length (REPEAT of each kill; ARGS="-k sqlite" for a part)
	@mkdir -p build && : > build/faults.jsonl
	@status=0; TEXTGEN_CHAOS_REPEAT=$(REPEAT) TEXTGEN_CHAOS_RESULTS=build/faults.jsonl \
		$(BIN)/pytest tests/chaos tests/unit/web/test_every_operation.py \
		tests/integration/test_job_life.py -o timeout=0 $(ARGS) || status=$$?; \
		PYTHONPATH=. $(BIN)/python -m tests.chaos.report build/faults.jsonl docs/reliability.md; \
		exit $$status

soak: install ## a long mixed load under which nothing may grow (SECONDS_LONG)
	@TEXTGEN_SOAK_SECONDS=$(SECONDS_LONG) $(BIN)/pytest tests/soak -s $(ARGS)

lint: install ## style, types, direction of imports, known faults of dependencies
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@if grep -q importlinter pyproject.toml; then $(BIN)/lint-imports --no-cache; fi
	@$(MAKE) audit

audit: install ## known faults of the locked packages (says what could not be looked at)
	@$(BIN)/python .ci/audit.py requirements.lock requirements-image.lock --also torch==$(TORCH)

format: install ## put the sources into the common form
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

docs: install ## build the documentation into build/site; a broken link fails
	@$(BIN)/python docs/generate.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "build/site/index.html"

# torch is bound to its CPU build here, so that no CUDA library gets into the locks (where pip's
# own index has none, set TORCH_INDEX); which build is used is decided by `make install`.
# The lock is whole but for torch, which opacus asks for, so pip is told not to look for more.
# pip-compile drops the platform conditions of an extra's packages; sed puts pgserver's back.
COMPILE = $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --unsafe-package torch \
	--constraint $(VENV)/constraints.txt --no-emit-index-url --no-emit-trusted-host \
	--no-emit-find-links --no-emit-options --no-header --no-annotate \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(LOCK_ARGS)

lock: install ## write both locks anew (LOCK_ARGS=--upgrade for newer versions)
	@echo "torch==$(TORCH)+cpu" > $(VENV)/constraints.txt
	@$(COMPILE) --extra dev --output-file requirements.lock pyproject.toml
	@condition=$$(sed -n 's/^ *"pgserver==[^;]*; \(.*\)",$$/\1/p' pyproject.toml); \
		sed -i.old -e '/^# WARNING/,$$d' -e "s/^\(pgserver==[^ ]*\) \\\\/\1 ; $$condition \\\\/" \
		requirements.lock
	@grep -oE '^[a-z0-9-]+==[^ ]+' requirements.lock >> $(VENV)/constraints.txt
	@$(COMPILE) --extra s3 --extra parquet --output-file requirements-image.lock pyproject.toml
	@sed -i.old -e '/^# WARNING/,$$d' requirements-image.lock
	@rm -f requirements.lock.old requirements-image.lock.old
	@echo "requirements.lock (for work) and requirements-image.lock (for the image) are written"

messages: install ## bring web/translations up to date with the code; then fill in what is empty
	@mkdir -p build && cd web && export PYTHONPATH=.. && \
		for domain in messages commands errors reports names evaluations; do \
		../$(BIN)/pybabel -q extract -F "translations/$$domain.cfg" --no-location --sort-output \
		--omit-header -o "../build/$$domain.pot" . && ../$(BIN)/pybabel -q update -D "$$domain" \
		-i "../build/$$domain.pot" -d translations -l zh --no-fuzzy-matching --ignore-obsolete \
		--omit-header -N; done

browser: ## install Debian's Chromium for the browser tests
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
		run=""; [ "$$(id -u)" = 0 ] || run=sudo; \
		$$run apt-get update -qq && $$run apt-get install -y -qq chromium chromium-driver; }
	@chromium --version

# Only tests need them, so what cannot be had is left out, and its tests say so. The harness is taken
# without what it needs to run tasks (datasets and more): its client of an API needs none of that. s3fs
# is the image's; boto3, which moto brings, has the numbers of botocore, so pip need not search.
clients: install ## install other people's clients, for the tests of docs/clients.md
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e ".[clients]" \
		--no-build-isolation || echo "Not all clients could be installed; their tests are left out."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps "lm_eval==0.4.13" \
		|| echo "lm_eval could not be installed; its test is left out."
	@$(BIN)/python -m venv build/litellm && build/litellm/bin/pip install -qq \
		--disable-pip-version-check litellm \
		|| echo "litellm could not be installed; its test is left out."
	@$(BIN)/python -m venv build/datasets && build/datasets/bin/pip install -qq \
		--disable-pip-version-check datasets httpx openai pydantic \
		|| echo "datasets could not be installed; its test is left out."
	@$(BIN)/python -m venv build/s3 && build/s3/bin/pip install -qq --disable-pip-version-check \
		$$(sed -nE 's/^((s3fs|botocore)==[^ ]+).*/\1/p; s/^botocore(==[^ ]+).*/boto3\1/p' \
		requirements-image.lock) 'moto[server]' \
		|| echo "s3fs and a server that speaks S3 could not be installed; their tests are left out."
	@mkdir -p build/node && if command -v npm >/dev/null; then cd build/node \
		&& npm install --no-audit --no-fund --loglevel=error openai \
		|| echo "openai's package for Node could not be installed; its test is left out."; \
		else echo "There is no npm, so the test with Node is left out."; fi

clean: ## remove .venv and caches; TEXTGEN_HOME stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
