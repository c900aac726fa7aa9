# Prunus. Every target does its own set-up: it creates .venv once and reuses it.
#   make demo   compile the example for three kinds of hardware       make lint    ruff: rules and format
#   make test   the tests (the slow ones: make test-slow)             make types   mypy, strict
#   make bench  the measurements behind the claims                    make wheel   build the wheel and test it

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
NATIVE := pyproject.toml constraints.txt kernels/CMakeLists.txt $(wildcard kernels/*.cc kernels/include/prunus/*.h kernels/src/*/*)

export PYTHONDONTWRITEBYTECODE ?= 1

.PHONY: demo test test-slow lint types bench wheel clean
.DEFAULT_GOAL := test

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# `demo` needs the two lowerings; `dev` adds the training framework, the tests and the checkers.
$(VENV)/.demo: $(BIN)/python $(NATIVE)
	@echo "Installing Prunus and its backends into $(VENV) (a few minutes the first time) …"
	$(PIP) install -c constraints.txt -e '.[fpga,tvm]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "Installing what the tests need …"
	$(PIP) install -c constraints.txt torch scikit-learn -e '.[all,dev]'
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy resolves `prunus.*` from a folder of that name
types: $(VENV)/.dev
	mkdir -p build/typing && ln -sfn ../.. build/typing/prunus
	cd build/typing && MYPYPATH=. ../../$(BIN)/python -m mypy --config-file ../../pyproject.toml \
	  -p prunus.compiler -p prunus.targets -p prunus.kernels

$(VENV)/.peers: $(VENV)/.dev
	@echo "Installing the engines to measure against …"
	$(PIP) install -c constraints.txt -e '.[peers]'
	@touch $@

bench: $(VENV)/.peers
	for script in tests/bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# The wheel, in an environment of its own and away from the checkout.
wheel: $(VENV)/.dev
	rm -rf dist build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build --wheel --outdir dist . > build/wheel/build.log 2>&1 || (cat build/wheel/build.log; exit 1)
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip --disable-pip-version-check --quiet install -c constraints.txt \
	  "$$(ls dist/*.whl)[fpga,tvm,test]"
	cp -r tests examples pyproject.toml build/wheel/
	cd build/wheel && PRUNUS_MODELS="$${PRUNUS_MODELS:-$(CURDIR)/../shared/models}" PRUNUS_EXPECT_WHEEL=1 \
	  venv/bin/python -m pytest -m "not slow" tests/kernels tests/acceptance

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
