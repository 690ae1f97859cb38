"""Make the pictures of the workflows: each one opened in the real frontend, run, and photographed.

    make pictures                                                  # and the README's, from what `make demo` painted
    make python ARGS="-m tests.browser.pictures quickstart"        # some of them

Writes workflows/<name>.jpg. Where a workflow names big models, pocket models paint in their
place, as the picture shows.
"""

import argparse
import io
import json
from pathlib import Path

from PIL import Image

from tests.browser.chromium import Page
from tests.browser.frontend import load, opened, run
from tests.comfyui import Client, running_server
from tests.comfyui.server import PACK
from tests.workflows import stand_ins

FOLDER = PACK / "workflows"
WIDEST = 1400  # pixels of a picture
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


def make(page: Page, path: Path) -> None:
    """Open, run and photograph one workflow."""
    forget(page)
    workflow = stand_ins.in_small(json.loads(path.read_text(encoding="utf-8")))
    load(page, workflow)
    run(page)
    made = photograph(page)
    if any(node["type"] == "RecordPreference" for node in workflow["nodes"]):
        rate(page)
        made = photograph(page)
    made.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
    made.save(path.with_suffix(".jpg"), quality=88)


def main() -> None:
    names = sorted(path.stem for path in FOLDER.glob("*.json"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"all by default: {', '.join(names)}")
    wanted = parser.parse_args().names or names
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"there is no workflow {unknown[0]!r}, there are {', '.join(names)}")
    with running_server() as server:
        stand_ins.place(server.base)
        with opened(Client(server), Comfy_VueNodes_Enabled=True) as page:
            for name in wanted:
                make(page, FOLDER / f"{name}.json")
                print(f"workflows/{name}.jpg")


if __name__ == "__main__":
    main()
