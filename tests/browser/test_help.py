"""Help pages in the real frontend: what the info panel of a selected node shows."""

import json
import re

import pytest

from tests.browser import find_chromium
from tests.browser.frontend import load, opened
from tests.comfyui import Client
from tests.comfyui.server import PACK

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not find_chromium(), reason="no chromium on the PATH, nor at CHROMIUM_PATH"),
]
PAGES = sorted((PACK / "web" / "docs").glob("*.md"))


NUMBER = re.compile(r"^\s*\d+\.")  # of a list: the browser counts by itself
SHOWN = r"(document.body.innerText.match(/[\p{L}\p{N}_]+/gu) ?? []).join(' ')"


def words(text: str) -> str:
    """What markdown and a page have in common."""
    return " ".join(re.findall(r"\w+", text))


def graph() -> dict:
    """A node of each kind."""
    nodes = [
        {"id": number, "type": page.stem, "pos": [400 * number, 300], "size": [300, 300], "flags": {}, "mode": 0}
        | {"order": number, "inputs": [], "outputs": [], "properties": {}}
        for number, page in enumerate(PAGES, 1)
    ]
    return {"nodes": nodes, "links": [], "last_node_id": len(nodes), "last_link_id": 0, "version": 0.4}


def test_every_page_is_shown(server):
    with opened(Client(server), Comfy_VueNodes_Enabled=True) as page:
        load(page, graph())
        for place, source in enumerate(PAGES):
            page.evaluate(f"""(() => {{
              const node = app.graph.nodes.find(node => node.type === {json.dumps(source.stem)});
              app.canvas.deselectAll();
              app.canvas.selectNode(node);
            }})()""")
            if place == 0:
                page.wait_for("document.querySelector('[data-testid=info-button]')")
                page.evaluate("document.querySelector('[data-testid=info-button]').click()")
            last = words(NUMBER.sub("", source.read_text(encoding="utf-8").splitlines()[-1]))
            page.wait_for(f"{SHOWN}.includes({json.dumps(last)})")
