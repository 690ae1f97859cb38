"""The shipped workflows in the real frontend: they open as they are, run, and mean the same as their API twins."""

import json
from pathlib import Path

import pytest

from tests.browser import find_chromium, open_page

pytestmark = pytest.mark.skipif(not find_chromium(), reason="no chromium on the PATH, nor at CHROMIUM_PATH")
FOLDER = Path(__file__).resolve().parents[2] / "workflows"
BROWSER = sorted(FOLDER.glob("*.json"))


@pytest.fixture
def page(comfy):
    settings = json.dumps({"Comfy.TutorialCompleted": True}).encode()  # else the template gallery covers the canvas
    comfy.request("/settings", settings, {"Content-Type": "application/json"})
    with open_page(comfy.server.url) as page:
        page.wait_for("window.app?.graph && window.app.extensionManager", 120)
        yield page


@pytest.mark.parametrize("path", BROWSER, ids=[path.stem for path in BROWSER])
def test_it_opens_and_runs(page, comfy, path):
    page.evaluate(f"app.loadGraphData({path.read_text()}).then(() => true)")
    graph = page.evaluate("app.graphToPrompt().then(made => made.output)")
    meant = json.loads((FOLDER / "api" / path.name).read_text())
    assert {node: made["inputs"] for node, made in graph.items()} == {
        node: made["inputs"] for node, made in meant.items()
    }
    # `void`, since a promise that is handed back is awaited
    page.evaluate(
        "void (window.ended = new Promise(done => {"
        " app.api.addEventListener('execution_success', () => done(''));"
        " app.api.addEventListener('execution_error', event => done(event.detail.exception_message)); }))"
    )
    page.evaluate("app.queuePrompt(0).then(() => true)")
    assert page.evaluate("window.ended", timeout=180) == ""
    assert not page.evaluate("Object.keys(app.lastNodeErrors ?? {})")
