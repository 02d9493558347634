# `make demo` and `make test` do all the set-up themselves; they need Python 3.11 or newer, and pip's network.

VENV := .venv
RUN := $(VENV)/bin/python
# The first interpreter that is new enough; `make PYTHON=/path/to/python3.13 ...` asks for another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PIP := $(RUN) -m pip --disable-pip-version-check --quiet

.PHONY: help demo demo-browser test check bench fuzz interop clean

help:
	@echo "make demo          two processes connect and talk over data channels"
	@echo "make demo-browser  a page on localhost where your browser chats with Python"
	@echo "make test          all tests; ARGS='tests/sctp -k cookie' for some of them"
	@echo "make check         format, lint, types, import contracts, the standards' checklist"
	@echo "make interop       only the tests against Chromium, Pion, aiortc and coturn, and over network namespaces"
	@echo "make bench         side by side with aiortc"
	@echo "make fuzz          the parsers' properties for longer: FUZZ_SECONDS=300 for all together"
	@echo "make clean         remove the environment and what tools left"

demo: $(VENV)/.installed
	@$(RUN) examples/demo.py

demo-browser: $(VENV)/.installed
	@$(RUN) examples/browser.py

test: $(VENV)/.installed-dev
	$(RUN) -m pytest $(ARGS)

check: $(VENV)/.installed-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy tests examples benchmarks
	$(VENV)/bin/lint-imports
	$(RUN) tests/checklist.py

interop: $(VENV)/.installed-dev
	$(RUN) -m pytest -m "interop or netns" $(ARGS)

bench: $(VENV)/.installed-dev
	$(RUN) -m benchmarks $(ARGS)

fuzz: $(VENV)/.installed-dev
	$(RUN) -m pytest -p tests.fuzz.plugin --verbose --tb=short $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: nothing is installed again until pyproject.toml changes.

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "webrtc_py needs Python 3.11 or newer, and there is none on the PATH." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot make an environment: its ensurepip is missing." >&2; \
		echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
