"""Rating in the real frontend, in both of its node renderers: click, see it in the profile, run again, undo, reload.

What was seen is written to out/browser/ as pictures, to be looked at.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from prefgen.embedding import load_embedding
from tests.browser import find_chromium
from tests.browser.frontend import READY, load, opened, run
from tests.comfyui import Client, Graph
from tests.comfyui.server import PACK
from tests.nodes.profiles import ROOT, ask
from tests.workflows.names import browser_path

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not find_chromium(), reason="no chromium on the PATH, nor at CHROMIUM_PATH"),
]
OUT = PACK / "out" / "browser"
STEPS = 4  # of 12 in the shipped workflow: enough to see a difference
CARDS = "[...document.querySelectorAll('.prefgen-card')]"
RATER = "app.graph.nodes.find(node => node.type === 'RecordPreference')"
EXTENSION = "app.extensions.find(extension => extension.name === 'prefgen.RecordPreference')"


@pytest.fixture(scope="module", params=["canvas", "vue"])
def renderer(request):
    return request.param


@pytest.fixture(scope="module")
def page(server, renderer):
    """One page a renderer: starting one is most of a test's time."""
    with opened(Client(server), Comfy_VueNodes_Enabled=renderer == "vue") as page:
        yield page


def workflow(profile: str) -> dict:
    """The shipped workflow for a profile of this test's own, in few steps."""
    made = json.loads(browser_path("rate_and_learn").read_text())
    for node in made["nodes"]:
        if node["type"] in ("PrimitiveString", "LoadUserHistory", "RecordPreference"):
            node["widgets_values"][0] = profile
        if node["type"] == "KSampler":
            node["widgets_values"][2] = STEPS
    return made


def marks(page) -> list[str]:
    return page.evaluate(f"{CARDS}.map(card => card.dataset.mark)")


def wait_for_marks(page, *wanted: str) -> None:
    """Until the server has them: an image whose rating is on its way is marked as unsaved."""
    page.wait_for(
        f"JSON.stringify({CARDS}.map(card => card.dataset.mark)) === '{json.dumps(wanted, separators=(',', ':'))}'"
        " && !document.querySelector('.prefgen-unsaved')",
        seen=f"{CARDS}.map(card => card.className + ' ' + card.dataset.mark)"
        ".concat([...document.querySelectorAll('.prefgen-message')].map(each => each.textContent))",
    )


def digests(page) -> list[str]:
    return page.evaluate(f"{CARDS}.map(card => card.dataset.digest)")


def look_at_rater(page) -> None:
    """Bring the node into view, and wait for its pictures."""
    page.evaluate(f"""(node => {{
      app.canvas.ds.scale = 1;
      app.canvas.ds.offset = [460 - node.pos[0], 120 - node.pos[1]];
      app.canvas.setDirty(true, true);
    }})({RATER})""")
    page.wait_for(f"{CARDS}.length && {CARDS}.every(card => card.querySelector('img').naturalWidth)")
    # two frames: the first moves the widget
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")


def card(place: int, button: str) -> str:
    return f".prefgen-card:nth-child({place + 1}) .prefgen-{button}"


def picture(page, name: str) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.png").write_bytes(page.screenshot())


def on_disk(server, profile: str) -> dict[str, bool]:
    """What the profile's file says, line by line: image -> liked. No test here takes back what it reads so."""
    text = (Path(server.base) / "user/default/prefgen/profiles" / profile / "ratings.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return {line["image"]: line["liked"] for line in lines if "liked" in line}


def rated(server, profile: str) -> dict[str, bool]:
    """What counts, as the route tells it."""
    told = ask(server, "GET", f"{ROOT}/{profile}/ratings").json["ratings"]
    return {rating["image"]: rating["liked"] for rating in told}


def taste(server, profile: str) -> dict[str, np.ndarray]:
    """The person's embedding, part by part."""
    graph = Graph()
    model = graph.add("LoadPreferenceModel", checkpoint="pocket")
    history = graph.add("LoadUserHistory", user=profile)
    encoded = graph.add("EncodeUserHistory", preference_model=model, history=history[0])
    graph.add("SaveUserEmbedding", embedding=encoded, filename=profile)
    Client(server).run(graph)
    made = load_embedding(server.base / "user" / "prefgen" / "embeddings" / f"{profile}.safetensors")
    return {part: vector.numpy() for part, vector in made.vectors.items()}


def said(page, node: str) -> str:
    """What a node says of its last run, below its widgets."""
    widget = "node.widgets.find(widget => widget.name === '$$node-text-preview')"
    return page.evaluate(f"(node => {widget}?.value)(app.graph.nodes.find(node => node.type === '{node}'))")


def test_a_newcomer_paints_plainly_then_by_likes_alone_and_is_told_so(page, renderer, server):
    name = f"newcomer-{renderer}"
    load(page, workflow(name))
    run(page)
    look_at_rater(page)
    assert said(page, "ApplyPreferenceAdapter") == f"{name} has not liked an image yet; the MODEL is unchanged."
    plain = digests(page)
    page.click(card(0, "like"))
    wait_for_marks(page, "liked", "none", "none", "none")
    run(page)
    look_at_rater(page)
    assert said(page, "EncodeUserHistory").startswith(f"{name} has 1 liked image and no disliked one")
    look = f"Personalised for {name} by the look of the liked images."
    assert said(page, "ApplyPreferenceAdapter") == look
    second = digests(page)
    assert not set(second) & set(plain)
    picture(page, f"{renderer}-img-alone")
    page.click(card(1, "dislike"))
    wait_for_marks(page, "none", "disliked", "none", "none")
    run(page)
    assert said(page, "EncodeUserHistory") == f"{name}: 1 pair", "nothing is missing any more"
    assert said(page, "ApplyPreferenceAdapter") == f"Personalised for {name}."
    assert said(page, "LoadUserHistory") is None, "who has nothing to notice takes no room for it"
    page.evaluate("""(node => {
      node.widgets.find(widget => widget.name === "strength").value = 0;
    })(app.graph.nodes.find(node => node.type === "ApplyPreferenceAdapter"))""")
    run(page)
    assert said(page, "ApplyPreferenceAdapter") == f"The strength for {name} is 0; the MODEL is unchanged."


def test_clicks_become_ratings_and_the_next_run_knows_them(page, renderer, server):
    name = f"clicks-{renderer}"
    load(page, workflow(name))
    run(page)
    look_at_rater(page)
    assert marks(page) == ["none"] * 4
    widgets = page.evaluate(f"{RATER}.widgets.map(widget => widget.name)")
    assert widgets == ["profile", "prompt", "liked", "disliked", "ratings"]
    plain = digests(page)

    page.click(card(0, "like"))
    page.click(card(1, "like"))
    page.click(card(2, "dislike"))
    wait_for_marks(page, "liked", "liked", "disliked", "none")
    picture(page, f"{renderer}-rated")
    assert on_disk(server, name) == {plain[0]: True, plain[1]: True, plain[2]: False}
    assert page.evaluate("document.querySelector('.prefgen-counts').textContent") == f"{name}: 2 liked, 1 disliked"

    run(page)
    look_at_rater(page)
    first, knew = digests(page), taste(server, name)
    assert not set(first) & set(plain), "the same seeds, painted to the taste"
    picture(page, f"{renderer}-to-taste")

    # by keyboard: the next button is a Tab away, and Space presses it
    page.evaluate(f"document.querySelector('{card(0, 'like')}').focus()")
    page.press("Tab", "Tab", 9)
    focused = "document.activeElement === document.querySelector('{}')".format(card(0, "dislike"))
    assert page.evaluate(focused)
    picture(page, f"{renderer}-focus")
    page.press(" ", "Space", 32, " ")
    wait_for_marks(page, "disliked", "none", "none", "none")
    page.click(card(3, "like"))
    wait_for_marks(page, "disliked", "none", "none", "liked")
    run(page)
    look_at_rater(page)
    second, knows = digests(page), taste(server, name)
    assert not set(second) & set(first), "two clicks, and nothing else, changed the images"
    assert all(np.abs(knows[part] - knew[part]).max() > 1e-3 for part in ("sem", "core", "img"))


def test_undo_and_what_is_there_when_the_page_is_loaded_again(page, renderer, server):
    name = f"reloads-{renderer}"
    load(page, workflow(name))
    run(page)
    look_at_rater(page)
    shown = digests(page)
    for place, button in enumerate(("like", "dislike", "like")):
        page.click(card(place, button))
    wait_for_marks(page, "liked", "disliked", "liked", "none")
    page.click(".prefgen-undo")
    wait_for_marks(page, "liked", "disliked", "none", "none")
    page.click(card(0, "like"))  # the same again takes it back
    wait_for_marks(page, "none", "disliked", "none", "none")
    page.click(card(1, "like"))  # another mind
    wait_for_marks(page, "none", "liked", "none", "none")
    assert rated(server, name) == {shown[1]: True}

    page.reload(READY)
    page.wait_for(f"{CARDS}.length === 4", 300)
    look_at_rater(page)
    wait_for_marks(page, "none", "liked", "none", "none")
    assert digests(page) == shown
    assert page.evaluate("document.querySelector('.prefgen-like[aria-pressed=true]').ariaLabel") == "Like image 2 of 4"
    picture(page, f"{renderer}-reloaded")


def test_a_rating_that_cannot_be_saved_is_shown_kept_and_tried_again(page, renderer, server):
    name = f"blocked-{renderer}"
    load(page, workflow(name))
    run(page)
    look_at_rater(page)
    shown = digests(page)
    folder = Path(server.base) / "user/default/prefgen/profiles" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file where the profile's folder should be")
    page.click(card(0, "like"))
    page.wait_for("!document.querySelector('.prefgen-retry').hidden")
    assert "One rating is not saved. " in page.evaluate("document.querySelector('.prefgen-message').textContent")
    assert marks(page)[0] == "liked"
    picture(page, f"{renderer}-not-saved")
    folder.unlink()
    page.click(".prefgen-retry")
    wait_for_marks(page, "liked", "none", "none", "none")
    assert rated(server, name) == {shown[0]: True}

    # and where the page is left before anybody tries again
    aside = folder.rename(Path(server.base) / f"aside-{renderer}")
    folder.write_text("once more")
    page.click(card(1, "dislike"))
    page.wait_for("!document.querySelector('.prefgen-retry').hidden")
    folder.unlink()
    aside.rename(folder)
    page.reload(READY)
    page.wait_for(f"{CARDS}.length === 4", 300)
    look_at_rater(page)
    wait_for_marks(page, "liked", "disliked", "none", "none")
    assert rated(server, name) == {shown[0]: True, shown[1]: False}


def test_no_other_node_is_touched(page):
    assert page.evaluate(f"Object.keys({EXTENSION}).sort()") == [
        *("afterConfigureGraph", "name", "nodeCreated", "onNodeOutputsUpdated", "refreshComboInNodes", "setup")
    ]
    # modules are strict: to write to a frozen object throws
    untouched = page.evaluate(f"""(async () => {{
      const ours = LiteGraph.createNode("RecordPreference").constructor.nodeData.python_module;
      const types = Object.values(LiteGraph.registered_node_types);
      const others = ["KSampler", "SaveImage", "PreviewImage", "LoadImage", "CLIPTextEncode", "MarkdownNote"];
      const pack = types.filter(type => type.nodeData?.python_module === ours).map(type => type.nodeData.name);
      const names = [...others, ...pack.filter(name => name !== "RecordPreference")];
      const nodes = names.map(name => LiteGraph.createNode(name));
      const nodeData = {{ category: "another pack" }};
      const stranger = {{ constructor: {{ comfyClass: "RecordPreference", nodeData }} }};
      for (const node of [...nodes, stranger]) await {EXTENSION}.nodeCreated(Object.freeze(node));
      return nodes.filter(node => !node.widgets?.some(widget => widget.type === "PREFGEN_RATINGS")).length;
    }})()""")
    assert untouched > 10


def test_no_prototype_is_patched():
    modules = [*PACK.glob("web/**/*.js")]
    assert modules
    assert not [path.name for path in modules if "prototype" in path.read_text()]
