# Needs python3.11 with venv, git and make. Every target that runs Python sets up .venv by itself, once.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_FLAGS ?= -n 2
DATA ?=
DEMO_FLAGS ?=

.PHONY: help venv demo test micro-test micro-tools lint format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## set up .venv from constraints.txt

$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "constraints.txt is for Python 3.11. Install python3.11 and python3.11-venv, or name yours:" \
	       "make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

demo: $(STAMP) ## train an exported file on digits it has never seen; DATA=folder/ takes your own images
	$(BIN)/python examples/demo.py $(if $(DATA),--data='$(DATA)') $(DEMO_FLAGS)

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

micro-test: micro-tools $(STAMP) ## test the C kernels: host, sanitizers, Cortex-M4, M7 and M55 in QEMU
	$(BIN)/python -m pytest $(PYTEST_FLAGS) tests/micro

# Debian's names. Only what is missing is installed.
MICRO_PACKAGES := gcc g++ libc6-dev binutils gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm

micro-tools:
	@missing=$$(dpkg-query -W -f '$${db:Status-Abbrev}$${binary:Package}\n' $(MICRO_PACKAGES) 2>&1 >/dev/null | \
	  sed -n 's/.*no packages found matching //p'); \
	if [ -n "$$missing" ]; then \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update && $$sudo apt-get install --yes --no-install-recommends $$missing; \
	fi

lint: $(STAMP) ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## repair style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove .venv and everything built
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
