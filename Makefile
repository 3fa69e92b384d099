# `make run` and `make test` set everything up on a fresh machine (python3 3.11-3.13 with venv) and do their job.
PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check

.PHONY: run test test-slow test-torch test-peers lint types clean

run: .venv/installed
	$(PY) -m theory check
	$(PY) -m defenses train
	$(PY) -m sims diversity
	$(PY) -m sims moments
	$(PY) -m sims convergence
	-$(PY) -m sims verify --quick
	$(PY) -m sims attack
	$(PY) -m figures all
	$(PY) -m figures summary
	@$(PY) -m sims verify --quick --json > /dev/null # from its record: the exit status that was passed over above

test: .venv/installed-dev
	$(PY) -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: .venv/installed-dev
	$(PY) -m pytest -m slow

test-torch: .venv/installed-dev # parity with PyTorch; its CPU build is enough
	$(PIP) -e '.[torch]'
	$(PY) -m pytest tests/defenses/own tests/defenses/classifiers/test_torch_parity.py tests/defenses/files/test_torch_pickle.py tests/defenses/weights/test_torch_layouts.py tests/defenses/data/test_imagenet.py tests/defenses/data/test_inputs.py

test-peers: .venv/installed-dev # Foolbox, ART, torchattacks and AutoAttack on our victims; PyTorch's CPU build is enough
	$(PIP) -e '.[peers]'
	$(PIP) --no-deps torchattacks==3.5.1 pyautoattack==0.2.0
	$(PY) -m pytest tests/sims/peers/test_peers.py tests/sims/peers/test_white_box_peers.py -m "not slow"

lint: .venv/installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: .venv/installed-dev
	.venv/bin/pyright

clean:
	rm -rf .venv results build *.egg-info

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	@echo "installing into .venv (a few minutes the first time)"
	$(PIP) -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) -e '.[dev]'
	touch $@
