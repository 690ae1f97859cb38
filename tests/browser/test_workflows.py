"""The shipped workflows in the real frontend: they open as they are, run, and mean the same as their API twins."""

import json
from pathlib import Path

import pytest

from tests.browser import find_chromium
from tests.browser.frontend import load, opened, run

pytestmark = pytest.mark.skipif(not find_chromium(), reason="no chromium on the PATH, nor at CHROMIUM_PATH")
FOLDER = Path(__file__).resolve().parents[2] / "workflows"
BROWSER = sorted(FOLDER.glob("*.json"))


@pytest.fixture
def page(comfy):
    with opened(comfy) as page:
        yield page


@pytest.mark.parametrize("path", BROWSER, ids=[path.stem for path in BROWSER])
def test_it_opens_and_runs(page, path):
    load(page, path)
    graph = page.evaluate("app.graphToPrompt().then(made => made.output)")
    meant = json.loads((FOLDER / "api" / path.name).read_text())
    assert {node: made["inputs"] for node, made in graph.items()} == {
        node: made["inputs"] for node, made in meant.items()
    }
    run(page)
