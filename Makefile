# make run and make test are all a new machine needs; each makes the environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test check setup setup-cpu format size slow soak soak-50 fuzz clean

run: $(VENV)/.runtime
	@$(BIN)/python main.py $(ARGS)

test: $(VENV)/.tools
	$(BIN)/python -m pytest $(ARGS)

slow: $(VENV)/.tools
	$(BIN)/python -m pytest -m slow $(ARGS)

# The real engine is killed 30 times at random moments and must end where an uninterrupted run ends, bit for bit.
soak: $(VENV)/.runtime
	$(BIN)/python -m tests.soak $(ARGS)

# 50 MB at the tiny preset with flat memory. BYTES=5000000 reads less, SOURCE=PATH something else.
soak-50: $(VENV)/.runtime
	$(BIN)/python -m tests.soak_50 --bytes $(or $(BYTES),50000000) $(if $(SOURCE),--source $(SOURCE))

# Every parser against N hostile inputs a test, new ones each time: 150,000 in all, about ten minutes.
N ?= 4000
fuzz: $(VENV)/.tools
	H2Q_FUZZ=$(N) $(BIN)/python -m pytest tests/fuzz tests/test_sanitise_lets_no_control_through.py \
		tests/tui/test_the_worlds_text_stays_aligned.py $(ARGS)

check: $(VENV)/.tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

setup: $(VENV)/.tools

# Without triton, which is 200 MB and idle where there is no GPU.
setup-cpu: $(VENV)/bin/python
	grep -v '^triton' requirements.txt > $(VENV)/requirements-cpu.txt
	$(BIN)/python -m pip install --quiet -r $(VENV)/requirements-cpu.txt
	touch $(VENV)/.runtime

format: $(VENV)/.tools
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Lines a file, the longest functions, the total: the house rule is 300 and 60.
size: $(VENV)/.runtime
	@$(BIN)/python tests/size.py

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "H2Q needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11 run")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -r requirements.txt
	@touch $@

$(VENV)/.tools: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	@touch $@
