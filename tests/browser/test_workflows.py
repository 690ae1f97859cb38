"""The shipped workflows in the real frontend, in both of its node renderers: they open as they are, nothing lies over
anything else, they mean the same as their API twins, and they run."""

import itertools
import json

import pytest

from tests.browser import find_chromium
from tests.browser.frontend import load, opened, run
from tests.browser.thumbnails import SIDE
from tests.comfyui import Client
from tests.workflows import stand_ins
from tests.workflows.names import FOLDER, api_path, browser_path

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not find_chromium(), reason="no chromium on the PATH, nor at CHROMIUM_PATH"),
]
BROWSER = sorted(FOLDER.glob("*.json"))
named = pytest.mark.parametrize("path", BROWSER, ids=[path.stem for path in BROWSER])
CANVAS = "app.graph.nodes.map(({ id, pos, size }) => [id, pos[0], pos[1] - 30, size[0], size[1] + 30])"
VUE = """[...document.querySelectorAll('[data-node-id]')].map(element => {
  const { x, y, width, height } = element.getBoundingClientRect();
  const scale = app.canvas.ds.scale;
  return [element.dataset.nodeId, x / scale, y / scale, width / scale, height / scale];
})"""
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


@pytest.fixture(scope="module", params=["canvas", "vue"])
def renderer(request):
    return request.param


@pytest.fixture(scope="module")
def page(server, renderer):
    """One page a renderer: starting one is most of a test's time."""
    stand_ins.place(server.base)
    with opened(Client(server), Comfy_VueNodes_Enabled=renderer == "vue") as page:
        yield page


def drawn(page, renderer) -> list[tuple]:
    """Every node as it is drawn: id, left, top, width, height."""
    page.wait_for(f"{VUE}.length === app.graph.nodes.length" if renderer == "vue" else "true")
    for _ in range(2):
        page.evaluate(FRAMES)
    return [tuple(box) for box in page.evaluate(VUE if renderer == "vue" else CANVAS)]


def overlapping(boxes) -> list[tuple]:
    def over(a, b):
        return a[1] < b[1] + b[3] and b[1] < a[1] + a[3] and a[2] < b[2] + b[4] and b[2] < a[2] + a[4]

    return [(a, b) for a, b in itertools.combinations(boxes, 2) if over(a, b)]


@named
def test_it_opens_as_it_is(page, renderer, path):
    load(page, path)
    graph = page.evaluate("app.graphToPrompt().then(made => made.output)")
    meant = json.loads(api_path(path).read_text())
    assert {node: made["inputs"] for node, made in graph.items()} == {
        node: made["inputs"] for node, made in meant.items()
    }
    assert not overlapping(drawn(page, renderer))


@named
@pytest.mark.parametrize("renderer", ["vue"], indirect=True)  # what runs does not depend on how nodes are drawn
def test_it_runs_and_its_pictures_have_room(page, renderer, path):
    load(page, stand_ins.in_small(json.loads(path.read_text())))
    run(page)
    assert not overlapping(drawn(page, renderer))


def test_models_that_are_missing_are_offered(page):
    load(page, browser_path("personalise_sdxl"))
    page.wait_for(
        "[...document.querySelectorAll('button')].some(button => button.textContent.includes('View details'))"
    )
    page.evaluate(
        "[...document.querySelectorAll('button')].find(button => button.textContent.includes('View details')).click()"
    )
    page.wait_for("document.querySelectorAll('[data-testid=missing-model-download]').length === 2")
    said = page.evaluate("document.querySelector('[data-testid=error-group-missing-model]').textContent")
    assert "sd_xl_base_1.0.safetensors" in said
    assert "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors" in said
    assert "ip-adapter" not in said, "it is there"


def test_the_template_browser_shows_titles_and_pictures_and_opens_what_is_clicked(page):
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates').then(() => true)")
    leaf = "[...document.querySelectorAll('[role=dialog] *')].find(each => each.innerHTML.trim() === 'prefgen')"
    page.wait_for(leaf, 60)
    page.evaluate(f"{leaf}.click()")
    cards = "[...document.querySelectorAll('[data-testid^=\"template-workflow-\"]')]"
    page.wait_for(f"{cards}.length === {len(BROWSER)}", 20)
    shown = page.evaluate(f"{cards}.map(card => card.dataset.testid.replace('template-workflow-', '')).sort()")
    assert shown == [path.stem for path in BROWSER]
    for path in BROWSER:  # a picture is loaded when it comes into view
        picture = f"document.querySelector('[data-testid=\"template-workflow-{path.stem}\"] img')"
        page.evaluate(f"document.querySelector('[data-testid=\"template-workflow-{path.stem}\"]').scrollIntoView()")
        page.wait_for(f"{picture}?.naturalWidth === {SIDE}", 20, seen=f"{picture}?.src")
    page.evaluate(f"document.querySelector('[data-testid=\"template-workflow-{BROWSER[0].stem}\"]').click()")
    note = "app.graph.nodes.find(node => node.type === 'MarkdownNote')?.widgets[0].value"
    page.wait_for(f"{note}.startsWith('# {BROWSER[0].stem}')", 20, seen=note)
