"""Make the pictures of the templates and of the README.

    make pictures                                                  # all, and what `make demo` painted
    make python ARGS="-m tests.browser.pictures quickstart"        # some of them

Writes workflows/<title>.jpg, the thumbnails in ComfyUI's template browser: what the template makes. A template for
large models gets a card that names them instead, since only pocket models can be run here. Writes docs/<name>.jpg, the
graphs in the README, as the frontend draws them after a run.
"""

import argparse
import io
import json

from PIL import Image

from tests.browser.chromium import Page
from tests.browser.frontend import load, opened, run
from tests.browser.thumbnails import card, grid, parts, sheet
from tests.comfyui import Client, Result, running_server
from tests.comfyui.server import PACK
from tests.workflows import stand_ins
from tests.workflows.names import API, api_path, browser_path

DOCS = PACK / "docs"
GRAPHS = ("quickstart", "rate_and_learn")  # shown in the README
WIDEST = 1400  # pixels of a graph's picture
QUALITY = 85
EDGE = 20  # graph units around the graph
LEFT, TOP, RIGHT, BOTTOM = 100, 200, 60, 100  # pixels of the page that the frontend's own bars cover

AROUND = """(() => {
  const boxes = [
    ...app.graph.nodes.map(({ pos, size }) => [pos[0], pos[1] - 30, pos[0] + size[0], pos[1] + size[1]]),
    ...app.graph.groups.map(({ pos, size }) => [pos[0], pos[1], pos[0] + size[0], pos[1] + size[1]]),
  ];
  const corner = (place, best) => best(...boxes.map(box => box[place]));
  return [corner(0, Math.min), corner(1, Math.min), corner(2, Math.max), corner(3, Math.max)].map(Math.round);
})()"""
SHOWN = "app.graph.nodes.every(node => (node.imgs ?? []).every(image => image.complete))"
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


def photograph(page: Page) -> Image.Image:
    """The whole graph, at a pixel a unit, so that the frontend draws every letter."""
    left, top, right, bottom = page.evaluate(AROUND)
    width, height = right - left + 2 * EDGE, bottom - top + 2 * EDGE
    page.resize(LEFT + width + RIGHT, TOP + height + BOTTOM)
    page.evaluate(f"""(() => {{
      app.canvas.ds.scale = 1;
      app.canvas.ds.offset = [{LEFT + EDGE - left}, {TOP + EDGE - top}];
      app.canvas.setDirty(true, true);
    }})()""")
    page.wait_for(SHOWN)
    for _ in range(3):
        page.evaluate(FRAMES)
    return Image.open(io.BytesIO(page.screenshot((LEFT, TOP, width, height)))).convert("RGB")


def rate(page: Page) -> None:
    """Like the first image of Record Preference and dislike the second."""
    page.wait_for("document.querySelectorAll('.prefgen-card img').length")
    for place, button in ((1, "like"), (2, "dislike")):
        page.click(f".prefgen-card:nth-child({place}) .prefgen-{button}")
    page.wait_for("!document.querySelector('.prefgen-unsaved')")
    page.evaluate("document.activeElement?.blur()")


def forget(page: Page) -> None:
    """Every picture begins with nobody's ratings."""
    page.evaluate("app.api.fetchApi('/prefgen/profiles/me', { method: 'DELETE' }).then(() => true)")


def open_and_run(page: Page, name: str) -> None:
    """Open a template that needs nothing, run it, and rate where it asks for ratings."""
    forget(page)
    workflow = json.loads(browser_path(name).read_text(encoding="utf-8"))
    load(page, workflow)
    run(page)
    if any(node["type"] == "RecordPreference" for node in workflow["nodes"]):
        page.wait_for("document.querySelectorAll('.prefgen-card img').length")
        photograph(page)  # brings the node into view
        rate(page)


def graph(page: Page, name: str) -> Image.Image:
    """The whole graph of a template after a run."""
    open_and_run(page, name)
    made = photograph(page)
    made.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
    return made


def rated_images(page: Page) -> Image.Image:
    """The images in Record Preference with their thumbs."""
    open_and_run(page, "rate_and_learn")
    page.evaluate("""(node => {
      node.setSize([640, 860]);
      app.canvas.setDirty(true, true);
    })(app.graph.nodes.find(node => node.type === 'RecordPreference'))""")
    photograph(page)
    box = page.evaluate("""(() => {
      const { left, top, width, height } = document.querySelector('.prefgen-grid').getBoundingClientRect();
      return [left, top, width, height];
    })()""")
    return Image.open(io.BytesIO(page.screenshot(tuple(box)))).convert("RGB")


def thumbnail(name: str, result: Result, graph: dict) -> Image.Image:
    """What a template has made, from what its nodes have saved and previewed."""
    kept = {kind: [] for kind in ("SaveImage", "PreviewImage")}
    for node, given in graph.items():
        if given["class_type"] in kept:
            kept[given["class_type"]].append(result.pictures(node))
    saved, shown = kept["SaveImage"][0], [pictures[0] for pictures in kept["PreviewImage"]]
    if name == "quickstart":
        return sheet([[("", saved[0])], [("", shown[0])]], (4, 1))
    if name == "compare_with_and_without":
        without, with_taste = parts(saved[0], 2)
        return sheet([[("Without", without), ("With", with_taste)], [("", shown[0])]], (3, 2))
    if name == "blend_two_people":
        ada, both, bo = parts(saved[0], 3)
        return sheet([[("Ada", ada), ("Bo", bo)], [("Both", both)]], (1, 1))
    if name == "score_and_sort":
        return grid(saved, 4)
    if name == "reno":
        before, after = parts(saved[0], 2)
        return sheet([[("Before", before), ("After", after)], [("", shown[0])]], (3, 2))
    raise ValueError(f"No thumbnail is defined for {name!r}.")


def main() -> None:
    names = list(API.values())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"all by default: {', '.join(names)}")
    wanted = parser.parse_args().names or names
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"there is no template {unknown[0]!r}; expected some of {', '.join(names)}")
    with running_server() as server, opened(Client(server), Comfy_VueNodes_Enabled=True) as page:
        for name in wanted:
            path = browser_path(name)
            workflow = json.loads(path.read_text(encoding="utf-8"))
            if stand_ins.needed(workflow):
                made = card(path.stem[2:], stand_ins.needs(workflow))
            elif name == "rate_and_learn":
                made = sheet([[("", rated_images(page))]], (1,))
            else:
                prompt = json.loads(api_path(path).read_text(encoding="utf-8"))
                made = thumbnail(name, Client(server).run(prompt), prompt)
            written = {path.with_suffix(".jpg"): made}
            if name in GRAPHS:
                written[DOCS / f"{name}.jpg"] = graph(page, name)
            for target, picture in written.items():
                picture.save(target, quality=QUALITY, optimize=True)
                print(target.relative_to(PACK))


if __name__ == "__main__":
    main()
