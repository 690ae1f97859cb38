"""The sidebar's tab in the real frontend: what is rated is on its walls, as it is clicked, and can be turned, forgotten
and moved. What was seen is written to out/browser/ as pictures, to be looked at."""

import json

import pytest

from tests.browser import find_chromium
from tests.browser.frontend import READY, load, opened, run
from tests.browser.test_rating import (
    EXTENSION,
    card,
    digests,
    look_at_rater,
    picture,
    rated,
    wait_for_marks,
    workflow,
)
from tests.comfyui import Client
from tests.nodes.profiles import ROOT, ask

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not find_chromium(), reason="no chromium on the PATH, nor at CHROMIUM_PATH"),
]
TAB = "app.extensionManager.sidebarTab"
OPEN = f"{TAB}.activeSidebarTabId === 'prefgen-profile' || {TAB}.toggleSidebarTab('prefgen-profile')"
WALL = ".prefgen-{}s .prefgen-rated"


@pytest.fixture(scope="module", params=["canvas", "vue"])
def renderer(request):
    return request.param


@pytest.fixture(scope="module")
def page(server, renderer):
    with opened(Client(server), Comfy_VueNodes_Enabled=renderer == "vue") as page:
        yield page


def wall(page, side: str) -> list[str]:
    return page.evaluate(f"[...document.querySelectorAll('{WALL.format(side)}')].map(each => each.dataset.digest)")


def wait_for_walls(page, likes: list[str], dislikes: list[str]) -> None:
    """Until the walls show these images, newest first."""
    for side, wanted in (("like", likes), ("dislike", dislikes)):
        found = f"[...document.querySelectorAll('{WALL.format(side)}')].map(each => each.dataset.digest).join()"
        page.wait_for(f"{found} === {','.join(wanted)!r}")


def choose(page, name: str) -> None:
    page.wait_for(f"[...document.querySelectorAll('.prefgen-choice option')].some(each => each.value === '{name}')")
    page.evaluate(f"""(choice => {{
      choice.value = '{name}';
      choice.dispatchEvent(new Event('change'));
    }})(document.querySelector('.prefgen-choice'))""")


def confirm(page) -> None:
    """Say yes to the frontend's own question."""
    page.wait_for("document.querySelector('.p-dialog, [role=dialog]')")
    page.evaluate("""(() => {
      const buttons = [...document.querySelectorAll('.p-dialog button, [role=dialog] button')];
      buttons.find(button => /delete|confirm/i.test(button.textContent)).click();
    })()""")


def test_walls_follow_the_clicks_and_the_profile_follows_the_walls(page, renderer, server):
    name = f"walls-{renderer}"
    load(page, workflow(name))
    run(page)
    look_at_rater(page)
    page.click(card(0, "like"))
    page.click(card(1, "like"))
    page.click(card(2, "dislike"))
    wait_for_marks(page, "liked", "liked", "disliked", "none")
    shown = digests(page)
    page.evaluate(f"Boolean({OPEN})")
    choose(page, name)
    wait_for_walls(page, [shown[1], shown[0]], [shown[2]])
    page.wait_for("[...document.querySelectorAll('.prefgen-rated img')].every(image => image.naturalWidth)")
    assert page.evaluate("document.querySelector('.prefgen-likes .prefgen-title').textContent") == "Liked (2)"
    picture(page, f"{renderer}-tab")

    page.click(card(3, "dislike"))  # a click on the node is on the wall
    wait_for_walls(page, [shown[1], shown[0]], [shown[3], shown[2]])

    # by keyboard: the wall's buttons are in the order of Tab, and Space presses
    page.evaluate("document.querySelector('.prefgen-likes .prefgen-turn').focus()")
    assert page.evaluate("getComputedStyle(document.querySelector('.prefgen-likes .prefgen-over')).opacity") == "1"
    page.press(" ", "Space", 32, " ")
    wait_for_walls(page, [shown[0]], [shown[1], shown[3], shown[2]])
    wait_for_marks(page, "liked", "disliked", "disliked", "disliked")  # and the wall's click is on the node
    page.click(".prefgen-profile .prefgen-undo")
    wait_for_walls(page, [shown[1], shown[0]], [shown[3], shown[2]])
    assert rated(server, name) == {shown[0]: True, shown[1]: True, shown[2]: False, shown[3]: False}

    page.click(".prefgen-dislikes .prefgen-forget")
    confirm(page)
    wait_for_walls(page, [shown[1], shown[0]], [shown[2]])
    assert shown[3] not in rated(server, name)
    assert ask(server, "GET", f"{ROOT}/{name}/images/{shown[3]}").status == 404
    wait_for_marks(page, "liked", "liked", "disliked", "none")

    page.reload(READY)
    page.evaluate(f"Boolean({OPEN})")
    wait_for_walls(page, [shown[1], shown[0]], [shown[2]])

    page.wait_for("!document.querySelector('.p-blockui-mask')")  # the frontend's own, while it starts
    page.click(".prefgen-forget-all")
    confirm(page)
    page.wait_for(f"![...document.querySelectorAll('.prefgen-choice option')].some(each => each.value === '{name}')")
    assert ask(server, "GET", f"{ROOT}/{name}").status == 404


def test_the_picture_of_the_node_is_shown_in_the_tab(page, renderer, server):
    nodes = {
        "1": {"class_type": "LoadPreferenceModel", "inputs": {"checkpoint": "pocket", "precision": "auto"}},
        "2": {"class_type": "ShowUserProfile", "inputs": {"user": f"seen-{renderer}", "preference_model": ["1", 0]}},
    }
    load(page, workflow(f"seen-{renderer}"))
    run(page)
    look_at_rater(page)
    for place, button in enumerate(("like", "dislike", "like", "dislike")):
        page.click(card(place, button))
    wait_for_marks(page, "liked", "disliked", "liked", "disliked")
    page.evaluate(f"Boolean({OPEN})")
    choose(page, f"seen-{renderer}")
    page.wait_for("!document.querySelector('.prefgen-hint').hidden")
    page.evaluate(f"Promise.resolve(app.loadApiJson({json.dumps(nodes)}, 'seen')).then(() => true)")
    page.wait_for("app.graph.nodes.some(node => node.type === 'ShowUserProfile')")
    run(page, 400)
    page.wait_for("document.querySelector('.prefgen-shown').naturalWidth")
    page.evaluate("document.querySelector('.prefgen-shown').scrollIntoView()")
    page.evaluate("""(node => {
      node.setSize([430, 640]);
      node.pos = [520, 60];
      app.canvas.ds.scale = 1;
      app.canvas.ds.offset = [0, 0];
      app.canvas.setDirty(true, true);
    })(app.graph.nodes.find(node => node.type === 'ShowUserProfile'))""")
    page.evaluate("new Promise(done => setTimeout(() => done(true), 1000))")
    picture(page, f"{renderer}-node")


def test_the_tab_is_in_the_sidebar_under_its_name(page):
    tabs = page.evaluate("app.extensionManager.getSidebarTabs().map(tab => [tab.id, tab.title])")
    assert ["prefgen-profile", "My taste"] in tabs
    assert page.evaluate(f"Boolean({EXTENSION})")
