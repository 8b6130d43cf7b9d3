# Two commands do everything on a clean machine: `make demo` and `make test`. Neither needs root.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
STAMPS := $(VENV)/.stamps

.PHONY: demo talk test check lint types imports docs help clean

help:
	@echo "make demo    a scripted caller talks to the machine; writes demo/"
	@echo "make talk    talk with it yourself, in the browser"
	@echo "make test    every check and every test"
	@echo "make check   the fast checks, for working on the code"
	@echo "make docs    build the documentation into site/"

$(STAMPS)/venv:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed (set PYTHON=/path/to/python3.11)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip==26.3"
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/talk: $(STAMPS)/venv pyproject.toml constraints.txt
	@echo "installing the conversation (about 400 MB with models, once)"
	$(PIP) --editable ".[talk]"
	@touch $@

$(STAMPS)/dev: $(STAMPS)/talk
	@echo "installing the tools for tests (torch is the CPU build)"
	$(PIP) "torch==2.13.0"
	$(PIP) --editable ".[talk,torch,tune,tasks,forecast,plan,dev]"
	@touch $@

$(STAMPS)/assets: $(STAMPS)/talk src/fullduplex/assets/catalogue.toml
	$(BIN)/fullduplex assets get
	@touch $@

demo: $(STAMPS)/assets
	$(BIN)/fullduplex simulate --scenario demo --out demo

talk: $(STAMPS)/assets
	$(BIN)/fullduplex talk

# Tests that need a model skip, with a reason, where it cannot be fetched.
test: $(STAMPS)/dev
	-@$(MAKE) --no-print-directory $(STAMPS)/assets
	@$(MAKE) --no-print-directory lint types imports docs
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

check: $(STAMPS)/dev lint types imports
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile -m "not slow" -x --quiet

lint: $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMPS)/dev
	$(BIN)/basedpyright --warnings

imports: $(STAMPS)/dev
	$(BIN)/lint-imports

docs: $(STAMPS)/dev
	$(BIN)/mkdocs build --strict --quiet --site-dir site

clean:
	rm -rf $(VENV) site demo
