# The course's commands. `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
NBVAL  := --nbval-current-env --nbval-cell-timeout 600 --nbval-sanitize-with notebooks/nbval_sanitize.cfg
COVER  := --cov=course_lib --cov-report= --cov-config="$(CURDIR)/pyproject.toml"
# Lessons whose every output nbval compares; in the others it compares the cells tagged nbval-check-output.
STRICT := $(wildcard notebooks/01_*.ipynb notebooks/03_*.ipynb)
# JupyterLab keeps its layout in the environment, not in your home; at first the table of contents is open.
LAYOUT := $(CURDIR)/$(VENV)/lab-workspaces
WORKSPACE := default-37a8.jupyterlab-workspace
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.PHONY: help install lab app test test-library test-browser test-notebooks coverage notebooks bench stress mutants colab-check book book-check book-links editions editions-check card stick release clean

help:  ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-15s %s\n", $$1, $$2}'

# Each stamp is newer than pyproject.toml exactly when the environment matches it, so a second call installs nothing.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.lab-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	@touch $@

$(VENV)/.test-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".[test]"
	@touch $@ $(VENV)/.lab-installed

$(VENV)/.bench-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".[test,bench]"
	@touch $@ $(VENV)/.test-installed $(VENV)/.lab-installed

$(VENV)/.book-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".[book]"
	@touch $@

$(VENV)/.mutation-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".[test,mutation]"
	@touch $@

$(VENV)/.slides-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".[slides]"
	@touch $@

$(VENV)/.app-installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e ".[app,faces]"
	@touch $@

install: $(VENV)/.lab-installed  ## set everything up, check the data, and open nothing
	$(BIN)/python -m course_lib data verify studio

lab: $(VENV)/.lab-installed  ## set everything up and open the course in JupyterLab
	$(BIN)/python -m course_lib data verify studio
	@mkdir -p "$(LAYOUT)"; test -e "$(LAYOUT)/$(WORKSPACE)" || cp ".lab/$(WORKSPACE)" "$(LAYOUT)/"
	$(BIN)/jupyter lab $(AS_ROOT) --ServerApp.root_dir="$(CURDIR)" --LabApp.workspaces_dir="$(LAYOUT)" \
	  --ServerApp.tornado_settings="{'websocket_max_message_size': 134217728}" \
	  --LabApp.default_url="/lab/tree/$(firstword $(sort $(wildcard notebooks/*.ipynb)))" $(LAB_ARGS)

app: $(VENV)/.app-installed  ## the uploader of lesson 16 as a page of its own, without notebook and code
	$(BIN)/python -m course_lib.app $(APP_ARGS)

test: test-library test-browser test-notebooks  ## set everything up and run every test

test-library: $(VENV)/.test-installed  ## style, library, recipe and notebook-hygiene tests
	$(BIN)/python -m ruff check .
	OMP_NUM_THREADS=1 $(PYTEST) -q -n 2 --dist loadscope -m "not browser" course_lib/tests

test-browser: $(VENV)/.test-installed  ## JupyterLab in headless Chromium (skipped by name where there is none)
	$(PYTEST) -q -rs -m browser course_lib/tests

# The lessons through nbval under coverage; $(1) is one more option.
define run-lessons
$(PYTEST) -q --nbval-lax $(NBVAL) $(COVER) $(1) $(filter-out $(STRICT),$(sort $(wildcard notebooks/*.ipynb)))
$(if $(STRICT),$(PYTEST) -q --nbval $(NBVAL) $(COVER) --cov-append $(STRICT))
endef

test-notebooks: $(VENV)/.test-installed  ## every lesson run and compared by nbval; prints what they cover of course_lib
	$(call run-lessons)
	@echo "Share of course_lib that the notebooks alone run (branches counted):"
	@$(BIN)/python -m coverage report --skip-empty

coverage: $(VENV)/.test-installed  ## what all tests and lessons together run of course_lib, and each line that nothing runs
	OMP_NUM_THREADS=1 $(PYTEST) -q -n 2 --dist loadscope -m "not browser" $(COVER) course_lib/tests
	@echo "Share of course_lib that the library's tests alone run (branches counted):"
	@$(BIN)/python -m coverage report | tail -1
	$(PYTEST) -q -rs -m browser $(COVER) --cov-append course_lib/tests
	$(call run-lessons,--cov-append)
	@echo "Share of course_lib that all tests and all lessons run (branches counted):"
	@$(BIN)/python -m coverage report --skip-empty --show-missing --fail-under=95

notebooks: $(VENV)/.test-installed  ## run all lessons from a clean kernel and store them normalised
	$(BIN)/python notebooks/make_notebooks.py

bench: $(VENV)/.bench-installed  ## measure performance side by side (takes long), make the README's table from it (BENCH_ARGS="--only data")
	$(BIN)/python figures/bench/run_bench.py $(BENCH_ARGS)
	$(BIN)/python figures/bench/run_bench.py --table

stress: $(VENV)/.test-installed  ## kills, full disks, lost networks, 60,000 damaged pictures, rude clients (STRESS_ARGS="--only disk-full")
	$(BIN)/python course_lib/tests/stress.py $(STRESS_ARGS)

mutants: $(VENV)/.mutation-installed  ## try the tests on 1,800 wrong versions of evaluation, checks and data (MUTANTS_ARGS="--sample 200")
	$(BIN)/python course_lib/tests/mutants.py $(MUTANTS_ARGS)

colab-check: $(VENV)/.lab-installed  ## run the lessons with Colab's versions of everything (CHECK_ARGS="--all")
	$(BIN)/python notebooks/check_colab.py $(CHECK_ARGS)

book: $(VENV)/.book-installed  ## the course as a web site, from the stored lessons, in build/book/html
	$(BIN)/python .book/build.py

book-check: book  ## the site looked at: links, pictures, contrast, search, narrow and dark, in headless Chromium
	$(BIN)/python .book/check.py

book-links: book  ## ask every address outside the site that it names (needs the network)
	$(BIN)/python .book/build.py --builder linkcheck

editions: $(VENV)/.slides-installed  ## for teachers: lessons without solutions, with them, and slides, in build/editions
	$(BIN)/python notebooks/make_editions.py

editions-check: $(VENV)/.slides-installed  ## make the editions once more and compare every byte with build/editions
	$(BIN)/python notebooks/make_editions.py --check

card: $(VENV)/.slides-installed  ## the quick-start card on one A4 page, in build/quick_start.html (and .pdf with Chromium)
	$(BIN)/python notebooks/make_card.py

stick: $(VENV)/.lab-installed  ## the course on a USB stick, installs without a network: make stick STICK=/path (STICK_ARGS=--student)
	@test -n "$(STICK)" || { echo "Say where the stick is: make stick STICK=/path"; exit 2; }
	$(BIN)/python notebooks/make_stick.py "$(STICK)" $(STICK_ARGS)

release: $(VENV)/.test-installed  ## checksums and the archive that installed copies of the library download
	$(BIN)/python -m course_lib data pack

clean:  ## remove the environment and what tests leave behind
	rm -rf $(VENV) .pytest_cache .ruff_cache .coverage .hypothesis build *.egg-info
