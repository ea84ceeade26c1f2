PYTHON ?= python3
# Scripts start from the environment's own interpreter; its stamp is renewed when requirements.txt changes.
BIN := .venv/bin

.PHONY: help run test test-slow test-grid test-cuda test-cluster test-versions torture lint format bench notebook tensorboard clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/ready  ## train LeNet-5 on 1,293 real handwritten digits; no download
	$(BIN)/python experiments/mnist.py --net lenet5 --sample

test: .venv/ready  ## check style and types, then run the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not torture and not grid and not cluster"

test-slow: .venv/ready  ## run the tests that take minutes, such as exporting every network
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

test-grid: .venv/ready  ## compare captured and eager training of every network in every way; takes an hour or two
	$(BIN)/python -m pytest -n 2 --dist worksteal -m grid

test-cuda: .venv/ready  ## run the tests that need a GPU; no other tests do
	$(BIN)/python -m pytest tests/accelerator -m cuda

test-cluster: .venv/ready  ## run the tests that start SLURM, Ray, PostgreSQL and GlusterFS where these are installed; no other tests do
	$(BIN)/python -m pytest tests/cluster -m cluster -rs

test-versions: .venv/ready  ## run the tests on the oldest and newest versions of all packages; writes docs/versions.md
	$(BIN)/python tests/versions.py

torture: .venv/ready  ## kill, signal and damage runs, for half an hour; writes docs/reliability.md
	$(BIN)/python -m pytest tests/reliability -m torture -s

lint: .venv/ready  ## check style and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/ready  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/ready  ## compare the speed of training with a bare loop and a usual pipeline
	$(BIN)/python benchmarks/overhead.py

notebook: .venv/ready  ## run notebooks/tour.ipynb anew, and store its outputs in it
	$(BIN)/python tests/run_notebook.py

tensorboard: .venv/ready  ## show the curves of all runs on http://localhost:6006
	$(BIN)/tensorboard --logdir runs --host localhost

clean:  ## remove the environments; runs and data stay
	rm -rf .venv .venv-versions

.venv/ready: requirements.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 10), "needs Python 3.10 or newer; set PYTHON=python3.x"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	# uv takes a third of pip's time; pip knows the indexes of its own settings.
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt \
		|| $(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@
