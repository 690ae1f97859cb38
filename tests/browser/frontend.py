"""ComfyUI's frontend in a page: open it, load workflows, run them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.comfyui import Client

from .chromium import Page, open_page

# Its websocket too: before the server has told the client's id, the end of a run is told to nobody.
READY = "window.app?.graph && window.app.extensionManager && window.app.api.clientId"
SETTINGS = {
    "Comfy.TutorialCompleted": True,  # else the template gallery covers the canvas
    "Comfy.Minimap.Visible": False,  # it covers nodes
}


@contextmanager
def opened(comfy: Client, **settings) -> Iterator[Page]:
    """The frontend, with settings by their names ("_" for ".")."""
    chosen = SETTINGS | {name.replace("_", "."): value for name, value in settings.items()}
    comfy.request("/settings", json.dumps(chosen).encode(), {"Content-Type": "application/json"})
    with open_page(comfy.server.url) as page:
        page.wait_for(READY, 300)  # minutes, where other work keeps the machine busy
        page.wait_for("app.graph.nodes.length", 60)  # the frontend's own first workflow would replace a test's
        yield page


def load(page: Page, workflow: dict | Path) -> None:
    """Open a workflow."""
    text = workflow.read_text() if isinstance(workflow, Path) else json.dumps(workflow)
    page.evaluate(f"app.loadGraphData({text}).then(() => true)")


def run(page: Page, timeout: float = 180.0) -> None:
    """Press Run, and wait for the end. Raises AssertionError with a node's message."""
    # `void`, since a promise that is handed back is awaited
    page.evaluate(
        "void (window.ended = new Promise(done => {"
        " app.api.addEventListener('execution_success', () => done(''));"
        " app.api.addEventListener('execution_error', event => done(event.detail.exception_message)); }))"
    )
    page.evaluate("app.queuePrompt(0).then(() => true)")
    assert page.evaluate("window.ended", timeout=timeout) == ""
    assert not page.evaluate("Object.keys(app.lastNodeErrors ?? {})")
