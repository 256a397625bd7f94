# `make demo` and `make test` need nothing but python3 (3.11 or newer); each makes its own virtual environment.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: demo test lint bench clean fuzz

PYTHON ?= python3
PIP := pip -q --disable-pip-version-check
TEST_VENV := .venv/test
DEMO_VENV := .venv/demo
SOURCES := $(shell find trtswap trtswap_command.py export engines calibration native -type f ! -name '*.pyc') pyproject.toml README.md LICENSE

MINUTES ?= 10

# What the demo shows: the clip of the pack avatar, or any video with a face and any picture of a face.
VIDEO ?=
SOURCE ?=

dist/.built: $(SOURCES)
	@echo "Building the wheel of trtswap"
	$(PYTHON) -m venv .venv/build
	.venv/build/bin/$(PIP) install -c constraints.txt setuptools wheel
	rm -rf dist build trtswap.egg-info
	.venv/build/bin/$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	touch $@

$(TEST_VENV)/.ready: constraints.txt pyproject.toml | dist/.built
	@echo "Installing trtswap and what its tests need into $(TEST_VENV), about 2 GB; once, some minutes"
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/$(PIP) install -c constraints.txt pip
	$(TEST_VENV)/bin/$(PIP) install -c constraints.txt --group test "$$(ls dist/*.whl)[export,openvino]"
	touch $@

$(DEMO_VENV)/.ready: constraints.txt dist/.built
	@echo "Installing trtswap and PyTorch into $(DEMO_VENV), about 1.5 GB; once, a minute or more"
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/$(PIP) install -c constraints.txt "$$(ls dist/*.whl)[export,openvino]"
	touch $@

# What libtrtswap is built with: ONNX Runtime's headers.
.venv/onnxruntime/onnxruntime_c_api.h:
	native/headers.sh .venv/onnxruntime

# What reads and serves model repositories: Triton's client, and its server as nvidia-pytriton has it, for Linux on x86-64.
# Apart, because they want an older protobuf and NumPy.
.venv/triton/.ready:
	@if [ "$$(uname -sm)" != "Linux x86_64" ]; then echo "No Triton server for this machine: its tests are skipped"; exit; fi
	$(PYTHON) -m venv .venv/triton
	.venv/triton/bin/$(PIP) install "tritonclient[grpc]==2.73.0" "numpy==1.26.4" "pillow==13.0.0" "onnxruntime==1.32.0"
	.venv/triton/bin/$(PIP) install --no-deps nvidia-pytriton==0.7.0
	touch $@

test: $(TEST_VENV)/.ready dist/.built .venv/onnxruntime/onnxruntime_c_api.h .venv/triton/.ready
	@start=$$SECONDS
	$(TEST_VENV)/bin/$(PIP) install --no-deps --force-reinstall dist/*.whl
	$(TEST_VENV)/bin/ruff check .
	$(TEST_VENV)/bin/ruff format --check .
	# From another folder, so that mypy and pytest see the installed wheel and not this checkout.
	repo=$$PWD; (cd $(TEST_VENV) && bin/mypy --config-file "$$repo/pyproject.toml" -p trtswap)
	# One torch thread for each of the two workers: pools that share cores wait for each other.
	OMP_NUM_THREADS=1 TRTSWAP_TEST_WHEEL=1 $(TEST_VENV)/bin/pytest -n 2 --durations=25 $(ARGS)
	echo "make test took $$((SECONDS - start)) s, the virtual environment aside"

# Strangers' files by the thousand: make fuzz MINUTES=30 ARGS="--kinds video --seed 7".
fuzz: $(TEST_VENV)/.ready dist/.built
	@$(TEST_VENV)/bin/$(PIP) install --no-deps --force-reinstall dist/*.whl
	# The repository comes last, so that trtswap is the installed wheel and not this checkout.
	$(TEST_VENV)/bin/python -P -c "import sys; sys.path.append('.'); from tests.fuzz.run import main; main()" \
		--minutes $(MINUTES) $(ARGS)

demo: $(DEMO_VENV)/.ready
	@start=$$SECONDS
	# What judges faces, 100 MB, where real ones are given.
	if [ -n "$(VIDEO)$(SOURCE)" ]; then $(DEMO_VENV)/bin/$(PIP) install -c constraints.txt "$$(ls dist/*.whl)[quality]"; fi
	DEMO_VENV=$(DEMO_VENV) VIDEO="$(VIDEO)" SOURCE="$(SOURCE)" bench/demo.sh
	echo "make demo took $$((SECONDS - start)) s, the virtual environment aside"

clean:
	rm -rf .venv build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache
