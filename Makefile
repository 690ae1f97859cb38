# Every target prepares its own environment with scripts/environment.py.
PYTHON ?= python3
RUN = $(PYTHON) scripts/environment.py run --
ARGS ?=
PYTEST = OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: help demo learn-demo pictures test test-all bars python lint lock

help:
	@echo "make demo                 paint three prompts for two people in a real ComfyUI; see out/demo/sheet.png"
	@echo "make learn-demo           simulated users rate their pictures, round after round; see out/learn/plot.png"
	@echo "make pictures             renew the pictures of the README and of the templates (needs chromium)"
	@echo "make test                 lint and tests"
	@echo "make test-all             the same, with the slow tests"
	@echo "make bars                 run every benchmark that has a target; takes hours; see out/bars/bars.md"
	@echo "make python ARGS='-m x'   run any Python module in the same environment"
	@echo "make lint                 format the code and fix lint errors"
	@echo "make lock                 resolve requirements/environment.lock (needs uv)"

demo:
	$(RUN) -m demo

learn-demo:
	$(RUN) -m demo.learn $(ARGS)

pictures: demo
	$(RUN) -m demo.pictures
	$(RUN) -m tests.browser.pictures

test:
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(PYTEST) -m "not slow" $(ARGS)

test-all:
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(PYTEST) $(ARGS)

lint:
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bars:
	$(RUN) -m benchmarks.bars $(ARGS)

python:
	$(RUN) $(ARGS)

lock:
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate --upgrade \
		pyproject.toml --extra train --extra idefics2 --extra rewards --extra cli --extra test requirements/comfyui.in \
		--output-file requirements/environment.lock
