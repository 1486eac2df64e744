# Two commands for everybody:   make demo   and   make test
# For work on the code:         make native, check, fix, slow, bench, asan, fuzz
#
# Everything is installed into $(VENV); nothing outside this folder and pip's cache is written.

VENV ?= .venv
BUILD ?= build
DEMO ?= demo-output
PYTEST_FLAGS ?= -n auto
BENCH_FLAGS ?=

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Build requirements are pinned too: pip hands the first variable to isolated builds up to 25.2, the second from 25.3.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

SOURCES := $(shell find src native -type f ! -name '*.pyc' ! -path '*/_bin/*' ! -name '*.so')
PROJECT := meson.build pyproject.toml constraints.txt $(SOURCES)

.PHONY: help demo test check fix slow bench asan fuzz native wheel clean

help:
	@echo 'make demo    install into $(VENV) and build the embedded dataset: seeds to pairs, report and export'
	@echo 'make test    install with the development tools and run every test'
	@echo 'make slow    the tests that take from half a minute to half an hour each, one after the other'
	@echo 'make check   format, lint and type checks'
	@echo 'make fix     format and lint what can be fixed without thought'
	@echo 'make bench   the measurements of docs/performance.md'
	@echo 'make asan    the tests with the native part under ASan and UBSan'
	@echo 'make fuzz    every fuzzer for FUZZ_SECONDS (5); tests/fuzz/README.md'
	@echo 'make native  build the native part into src/, for work without installing'
	@echo 'make wheel   build the source archive and the wheel into dist/'

demo: $(VENV)/.installed-data
	rm -rf $(DEMO)
	$(VENV)/bin/acedata build demo --dir $(DEMO)/build
	$(VENV)/bin/acedata export $(DEMO)/build --out $(DEMO)/dataset > /dev/null
	$(VENV)/bin/acedata report $(DEMO)/build --out $(DEMO)/report.html > /dev/null
	$(VENV)/bin/acedata show $(DEMO)/build
	@echo
	@echo 'Look at:  $(DEMO)/report.html   funnel, statistics, every question with its test x program matrix'
	@echo '          $(DEMO)/dataset/      the dataset, as datasets.load_dataset opens it; README.md is its card'
	@echo '          $(VENV)/bin/acesandbox demo    how single programs are judged: wrong, hanging, forging, escaping'

test: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest $(PYTEST_FLAGS)

slow: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest -m slow

check: $(VENV)/.installed-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --python-version 3.10 --follow-imports silent src/acesandbox/guest
	$(VENV)/bin/clang-format --dry-run --Werror $$(find native -name '*.[ch]')

fix: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/clang-format -i $$(find native -name '*.[ch]')

bench: $(VENV)/.installed-dev
	$(VENV)/bin/python -m benchmarks $(BENCH_FLAGS)

asan: $(VENV)/.installed-dev
	VENV=$(VENV) sh tests/asan.sh

fuzz: $(VENV)/.installed-dev native
	PYTHON=$(VENV)/bin/python sh tests/fuzz/run.sh

native:
	VENV=$(VENV) BUILD=$(BUILD) sh native/build.sh

wheel: $(VENV)/.installed-dev
	$(VENV)/bin/python -m build --outdir dist .

clean:
	rm -rf $(VENV) $(BUILD) $(DEMO) build-asan build-fuzz dist src/acesandbox/_bin src/acesandbox/guest/*.so

$(VENV)/.created:
	@sh native/find-python.sh > /dev/null
	"$$(sh native/find-python.sh)" -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created $(PROJECT)
	$(VENV)/bin/python -m pip install --quiet .
	@touch $@

$(VENV)/.installed-data: $(VENV)/.created $(PROJECT)
	$(VENV)/bin/python -m pip install --quiet '.[data]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(VENV)/.created $(PROJECT)
	$(VENV)/bin/python -m pip install --quiet '.[dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-data
