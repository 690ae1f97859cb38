# Every command prepares its own environment: see scripts/environment.py.
PYTHON ?= python3
RUN = $(PYTHON) scripts/environment.py run --
ARGS ?=

.PHONY: help demo learn-demo pictures test bars python lint lock

help:
	@echo "make demo                 paint three prompts for two people in a real ComfyUI; see out/demo/sheet.png"
	@echo "make learn-demo           agents rate what they get, round after round; see out/learn/plot.png and strip.png"
	@echo "make pictures             the pictures of the README and of the workflows, anew (needs chromium)"
	@echo "make test                 lint and tests"
	@echo "make bars                 every measurement that the project has set itself a bar for; hours; see out/bars/bars.md"
	@echo "make python ARGS='-m x'   Python in the same environment, for every other command"
	@echo "make lock                 resolve requirements/environment.lock anew (needs uv)"

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
	$(RUN) -m pytest $(ARGS)

lint:
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bars:
	$(RUN) -m benchmarks.bars $(ARGS)

python:
	$(RUN) $(ARGS)

lock:
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate --upgrade \
		pyproject.toml --extra train --extra rewards --extra test requirements/comfyui.in \
		--output-file requirements/environment.lock
