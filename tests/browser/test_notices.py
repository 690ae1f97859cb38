"""What the pack's nodes tell a person in the real frontend, in both of its node renderers: why a run was refused or
failed, whom the ratings train, and what a click on a thumb did in another tab. What was seen is written to out/browser/
as pictures, to be looked at."""

import json

import pytest

from tests.browser import find_chromium
from tests.browser.frontend import READY, load, opened, run
from tests.browser.test_rating import (
    RATER,
    card,
    look_at_rater,
    marks,
    picture,
    rated,
    wait_for_marks,
    workflow,
)
from tests.comfyui import Client

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not find_chromium(), reason="no chromium on the PATH, nor at CHROMIUM_PATH"),
]
ERRORS = "[...document.querySelectorAll('.prefgen-error')].map(each => each.textContent)"
NOTICE = "document.querySelector('.prefgen-notice:not([hidden])')"
EMPTY = {"nodes": [], "links": [], "groups": [], "config": {}, "extra": {}, "version": 0.4}
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


@pytest.fixture(scope="module", params=["canvas", "vue"])
def renderer(request):
    return request.param


@pytest.fixture(scope="module")
def page(server, renderer):
    with opened(Client(server), Comfy_VueNodes_Enabled=renderer == "vue") as page:
        yield page


def add(page, *kinds: str) -> None:
    """Open an empty workflow, and add nodes side by side as a person would."""
    load(page, EMPTY)
    page.evaluate(f"""(() => {{
      for (const [place, kind] of {json.dumps(kinds)}.entries()) {{
        const node = LiteGraph.createNode(kind);
        node.pos = [150 + 420 * place, 150];
        app.graph.add(node);
      }}
      app.canvas.ds.scale = 1;
      app.canvas.ds.offset = [0, 0];
      app.canvas.setDirty(true, true);
    }})()""")
    page.evaluate(FRAMES)


def put(page, kind: str, name: str, value: str) -> None:
    """Set an input as a person does: its callback is called, and the workflow has changed."""
    page.evaluate(f"""(node => {{
      const widget = node.widgets.find(widget => widget.name === {name!r});
      widget.value = {json.dumps(value)};
      widget.callback?.(widget.value);
      app.api.dispatchEvent(new CustomEvent('graphChanged'));
    }})(app.graph.nodes.find(node => node.type === {kind!r}))""")


def queue(page) -> None:
    page.evaluate("app.queuePrompt(0).then(() => true)")


def test_why_a_run_was_refused_or_failed_stands_in_the_node_until_the_next(page, renderer):
    add(page, "EmptyImage", "RecordPreference", "ShowUserProfile")
    page.evaluate("void app.graph.nodes[0].connect(0, app.graph.nodes[1], 0)")
    put(page, "RecordPreference", "profile", "a/b")
    queue(page)
    page.wait_for(f"{ERRORS}.length", 10)
    (refusal,) = page.evaluate(ERRORS)
    assert refusal.startswith("'a/b' is not a profile name; expected")
    page.evaluate("new Promise(done => setTimeout(() => done(true), 1500))")
    picture(page, f"{renderer}-refused")
    assert page.evaluate(ERRORS) == [refusal], "what could run has run; the refusal stays"

    put(page, "RecordPreference", "profile", f"fails-{renderer}")
    put(page, "ShowUserProfile", "user", "nobody")
    queue(page)
    page.wait_for(f"{ERRORS}.join().includes('nobody')", 20)
    page.evaluate("new Promise(done => setTimeout(() => done(true), 1000))")
    picture(page, f"{renderer}-failed")
    assert page.evaluate(ERRORS) == ["There is no profile 'nobody'. Rate an image first."]

    put(page, "ShowUserProfile", "user", "ada")
    run(page)
    assert page.evaluate(ERRORS) == []
    saved = page.evaluate("app.graph.serialize().nodes.map(node => node.widgets_values?.length)")
    assert saved == page.evaluate(
        "app.graph.nodes.map(node => node.widgets.filter(each => each.serialize !== false).length)"
    )


def test_a_new_rater_shows_all_of_itself(page, renderer):
    add(page, "RecordPreference")
    if renderer == "vue":
        page.wait_for("document.querySelector('[data-node-id] .prefgen-rating')")
    page.wait_for("document.querySelector('.prefgen-undo')?.getBoundingClientRect().height")
    page.evaluate(FRAMES)
    picture(page, f"{renderer}-fresh")
    bottom, inside = page.evaluate("""(() => {
      const part = document.querySelector('.prefgen-footer').getBoundingClientRect();
      const widget = document.querySelector('.prefgen-rating').getBoundingClientRect();
      const [node] = app.graph.nodes;
      return [node.pos[1] + node.size[1] + app.canvas.canvas.getBoundingClientRect().top - part.bottom,
              widget.bottom - part.bottom];
    })()""")
    assert inside >= 0, "counts and Undo are not cut off by the widget"
    assert bottom >= 0, "nor do they leave the node"


def test_a_workflow_that_loads_somebody_else_says_so(page, renderer):
    name = f"mine-{renderer}"
    load(page, workflow(name))
    page.evaluate(FRAMES)
    page.wait_for(f"!{NOTICE}", 5)  # one name for rating and loading
    page.evaluate("""(() => {
      for (const node of app.graph.nodes)
        for (const name of ["profile", "user"])
          if (node.findInputSlot(name) >= 0) node.disconnectInput(node.findInputSlot(name));
    })()""")
    put(page, "RecordPreference", "profile", "other")
    page.wait_for(NOTICE, 5)
    assert page.evaluate(f"{NOTICE}.textContent") == (
        f'Load User History loads "{name}", but these ratings go to "other". To learn from them, choose "other" there.'
    )
    picture(page, f"{renderer}-other-user")
    put(page, "LoadUserHistory", "user", "other")
    page.wait_for(f"!{NOTICE}", 5)
    put(page, "LoadUserHistory", "user", "ada")
    page.wait_for(NOTICE, 5)
    page.evaluate("""(node => {
      node.mode = 4;
      app.api.dispatchEvent(new CustomEvent('graphChanged'));
    })(app.graph.nodes.find(node => node.type === 'LoadUserHistory'))""")
    page.wait_for(f"!{NOTICE}", 5)


def test_a_profile_that_does_not_exist_yet_is_no_error(page, renderer):
    load(page, workflow(f"unborn-{renderer}"))
    values = """(node => {
      const { values } = node.widgets.find(widget => widget.name === 'user').options;
      return typeof values === 'function' ? values() : values;
    })(app.graph.nodes.find(node => node.type === 'LoadUserHistory'))"""
    assert f"unborn-{renderer}" in page.evaluate(values)
    page.evaluate(FRAMES)
    assert not page.evaluate("document.querySelector('[aria-invalid=true]')?.ariaLabel")
    page.evaluate("app.refreshComboInNodes().then(() => true)")
    assert f"unborn-{renderer}" in page.evaluate(values)
    page.evaluate(FRAMES)
    assert not page.evaluate("document.querySelector('[aria-invalid=true]')?.ariaLabel")


def test_another_tab_and_another_program_are_followed(page, renderer, server):
    name = f"tabs-{renderer}"
    load(page, workflow(name))
    run(page)
    look_at_rater(page)
    with page.second_tab(server.url) as other:
        other.wait_for(READY, 300)
        load(other, workflow(name))
        other.wait_for("document.querySelectorAll('.prefgen-card').length === 4", 60)
        look_at_rater(other)
        other.click(card(2, "dislike"))
        wait_for_marks(other, "none", "none", "disliked", "none")
    wait_for_marks(page, "none", "none", "disliked", "none")
    assert page.evaluate("document.querySelector('.prefgen-counts').textContent") == f"{name}: 0 liked, 1 disliked"

    # a script or another browser: whoever comes back to the tab sees it
    image = page.evaluate(f"document.querySelector('{card(0, 'like')}').closest('.prefgen-card').dataset.digest")
    body = json.dumps({"image": image, "liked": True}).encode()
    Client(server).request(f"/prefgen/profiles/{name}/ratings", body, {"Content-Type": "application/json"})
    assert marks(page)[0] == "none"
    page.evaluate("void document.dispatchEvent(new Event('visibilitychange'))")
    wait_for_marks(page, "liked", "none", "disliked", "none")


def test_a_thumb_pressed_again_leaves_the_image_unrated_whatever_it_was_before(page, renderer, server):
    name = f"again-{renderer}"
    load(page, workflow(name))
    run(page)
    look_at_rater(page)
    for button, mark in (("like", "liked"), ("dislike", "disliked"), ("dislike", "none"), ("like", "liked")):
        page.click(card(0, button))
        wait_for_marks(page, mark, "none", "none", "none")
    # faster than the server answers
    page.evaluate("""(() => {
      const of = button => document.querySelector(`.prefgen-card .prefgen-${button}`);
      for (const thumb of [of("dislike"), of("like"), of("like")]) thumb.click();
    })()""")
    wait_for_marks(page, "none", "none", "none", "none")
    assert rated(server, name) == {}
    assert page.evaluate(f"{RATER}.widgets.length") == 5


WORDS = {
    "taste": "Apply Preference Adapter (Taste)",
    "like": "Record Preference (Like, Dislike)",
    "dislike": "Record Preference (Like, Dislike)",
    "score": "Score Images (Preference Score)",
    "favourite": "Load User History",
    "favorite": "Load User History",
}


def test_a_search_for_plain_words_lists_the_pack_first(page):
    load(page, EMPTY)
    page.evaluate("app.extensionManager.command.execute('Workspace.SearchBox.Toggle').then(() => true)")
    page.wait_for("document.querySelector('[role=listbox] [data-testid=result-item]')", 20)
    found = {}
    for word in WORDS:
        page.evaluate(f"""(field => {{
          field.focus();
          Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, '{word}');
          field.dispatchEvent(new Event('input', {{ bubbles: true }}));
        }})(document.querySelector('#results-list')?.closest('[class*=flex-col]').querySelector('input'))""")
        page.evaluate("new Promise(done => setTimeout(() => done(true), 600))")
        found[word] = page.evaluate("document.querySelector('[data-testid=result-item]').innerText.split('\\n')[0]")
    page.evaluate("app.extensionManager.command.execute('Workspace.SearchBox.Toggle').then(() => true)")
    assert found == WORDS


def test_one_node_names_the_profile_for_rating_and_loading(page, renderer, server):
    """As in the shipped workflow: whatever it says is rated and loaded, before the first run and after it."""
    name = f"named-{renderer}"
    load(page, workflow(name))
    counts = "document.querySelector('.prefgen-counts').textContent"
    page.wait_for(f"{counts} === '{name}: 0 liked, 0 disliked'", 10, seen=counts)
    run(page)
    look_at_rater(page)
    put(page, "PrimitiveString", "value", f"{name}-too")
    page.wait_for(f"{counts} === '{name}-too: 0 liked, 0 disliked'", 10, seen=counts)
    assert not page.evaluate(f"Boolean({NOTICE})")
    page.click(card(0, "like"))
    wait_for_marks(page, "liked", "none", "none", "none")
    assert len(rated(server, f"{name}-too")) == 1
    before = page.evaluate(f"document.querySelector('{card(0, 'like')}').closest('.prefgen-card').dataset.digest")
    run(page)
    look_at_rater(page)
    after = page.evaluate(f"document.querySelector('{card(0, 'like')}').closest('.prefgen-card').dataset.digest")
    assert after != before, "the next pictures follow the like"
