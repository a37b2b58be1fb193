# `make demo` and `make test` set themselves up: a virtual environment in .venv, with the machine's own torch where its
# Python has one, else with the package index's. TORCH chooses another build, e.g. make test TORCH="torch==2.13.0".
PYTHON ?= python3
TORCH ?= torch
OUT ?= demo
BIN := .venv/bin

.PHONY: demo test test-quick test-unit host-test lint base general-base adapter pictures clean

demo: .venv/ready
	$(BIN)/anomaly-synthesis demo --out $(OUT)

# Rings of tests, from the fastest. Each worker has all tests of a file, or of a ComfyUI, and computes on one thread.
WORKERS ?= 2
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadscope

test: lint
	$(PYTEST)

test-quick: .venv/ready
	$(PYTEST) -m quick tests/unit

test-unit: .venv/ready
	$(PYTEST) tests/unit

host-test: .venv/ready
	$(PYTEST) tests/nodes tests/host

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The pictures of the README, of the templates and of the help pages, from a ComfyUI in a browser.
pictures: .venv/ready
	$(BIN)/pytest tests/host/make_pictures.py

# The bundled base, from nothing; weights/README.md says how long this takes.
base: .venv/ready
	test -d build/surfaces || $(BIN)/anomaly-synthesis surfaces --out build/surfaces --normals 150 --defects 100
	$(BIN)/anomaly-synthesis split --data build/surfaces --share 0.9 --ungrouped --out build/surfaces.json
	$(BIN)/anomaly-synthesis train-base --data build/surfaces --split build/surfaces.json \
		--autoencoder-steps 2500 --steps 3000 --precision bf16 --out build/surfaces.safetensors --resume

# A base for any surface, from drawn crops alone; hours on a CPU. A killed run goes on where it was.
general-base: .venv/ready
	$(BIN)/anomaly-synthesis train-base --drawn --autoencoder-steps 4000 --steps 12000 \
		--latent-noise 0.4 --precision bf16 --out build/general.safetensors --resume

# The bundled adapters, of FAST and then of STAGE beside the same tokens, on the surfaces and the split of `make base`
# and the bundled base.
adapter: .venv/ready
	test -d build/surfaces || $(BIN)/anomaly-synthesis surfaces --out build/surfaces --normals 150 --defects 100
	test -f build/surfaces.json || \
		$(BIN)/anomaly-synthesis split --data build/surfaces --share 0.9 --ungrouped --out build/surfaces.json
	$(BIN)/anomaly-synthesis train --method fast --data build/surfaces --split build/surfaces.json \
		--base weights/surfaces.safetensors --steps 1800 --out build/surfaces-fast.safetensors --resume
	$(BIN)/anomaly-synthesis train --method stage --data build/surfaces --split build/surfaces.json \
		--base weights/surfaces.safetensors --tokens-of build/surfaces-fast.safetensors --widths 32 64 128 64 32 \
		--steps 3000 --out build/surfaces-stage.safetensors --resume

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 10), "Python 3.10 or newer is needed"'
	$(PYTHON) -m venv $(if $(shell $(PYTHON) -c 'import torch' 2>/dev/null && echo found),--system-site-packages) .venv
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/pip install --quiet $(TORCH)
	# torchvision would bring the torch that it was built for; the constraint makes pip choose one for the present torch.
	$(BIN)/python -c 'from importlib.metadata import version; print("torch==" + version("torch"))' >.venv/torch.txt
	$(BIN)/pip install --quiet --constraint .venv/torch.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info
