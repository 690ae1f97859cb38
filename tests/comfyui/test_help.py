"""Help pages: one of every node, served where the frontend looks for it."""

import pytest

from tests.comfyui.server import PACK

pytestmark = pytest.mark.server

PAGES = sorted((PACK / "web" / "docs").glob("*.md"))


def test_pages_are_served_and_speak_of_the_nodes_inputs(comfy):
    nodes = comfy.object_info()
    ours = {name for name, info in nodes.items() if info["python_module"] == "custom_nodes.prefgen"}
    assert {page.stem for page in PAGES} == ours, "every node has a page, and every page a node"
    for page in PAGES:
        served = comfy.request(f"/extensions/prefgen/docs/{page.name}").decode()
        assert served == page.read_text()
        assert served.startswith(f"# {nodes[page.stem]['display_name']}\n")


def test_the_page_of_the_adapter_names_every_option(comfy):
    given = comfy.object_info("ApplyPreferenceAdapter")["input"]
    text = (PACK / "web" / "docs" / "ApplyPreferenceAdapter.md").read_text()
    sockets = {"model", "preference_model", "embedding"}
    assert not [
        name
        for kind, part in given.items()
        if kind != "hidden"
        for name in part
        if name not in sockets and f"`{name}`" not in text
    ]
