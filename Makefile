# Two commands for a fresh clone: `make demo` and `make test`. Both make .venv when it is not there.
#   make demo PYTHON=python3.12              another interpreter
#   make test LTCLS_TEST_DATA=../data        also the tests that read real data
#   make test PYTEST_ARGS='-k plugin -x'     options for pytest; -n 0 for one process

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SETUP := setup.cfg setup.py pyproject.toml requirements/runtime.txt

.PHONY: demo test clean
.DELETE_ON_ERROR:

demo: $(VENV)/.runtime
	$(BIN)/python tools/demo.py

# A process for each core, with one thread each; the tests of a file share what they have trained.
test: $(VENV)/.tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile --durations=10 $(PYTEST_ARGS)

# An environment whose interpreter is gone, or that was made for another folder, is made again.
MADE_FOR := $(shell $(BIN)/python -c 'import pip' 2>/dev/null && cat $(VENV)/.made 2>/dev/null)
ifneq ($(MADE_FOR),$(CURDIR))
.PHONY: $(VENV)/.made
endif

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo 'ltcls needs Python 3.10 or newer, e.g. make PYTHON=python3.12'; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) || \
	    { echo '$(PYTHON) makes no virtual environments; on Debian: apt install python3-venv'; exit 1; }
	@echo '$(CURDIR)' > $@

# mmengine asks for opencv-python, which needs the system's libGL; the headless build does not.
$(VENV)/.runtime: $(VENV)/.made $(SETUP)
	$(PIP) install -q -e .
	@$(BIN)/python -c 'import cv2' 2>/dev/null || \
	    $(PIP) install -q --force-reinstall --no-deps opencv-python-headless
	@touch $@

$(VENV)/.tests: $(VENV)/.runtime requirements/tests.txt
	$(PIP) install -q -r requirements/tests.txt
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache
