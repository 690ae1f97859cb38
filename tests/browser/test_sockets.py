"""Colors of the pack's sockets in the real frontend, in both renderers and after a change of the color palette."""

import pytest

from tests.browser import find_chromium
from tests.browser.frontend import opened
from tests.comfyui import Client

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not find_chromium(), reason="no chromium on the PATH, nor at CHROMIUM_PATH"),
]
TYPES = ("PREFGEN_MODEL", "PREFGEN_HISTORY", "PREFGEN_EMBEDDING")

COLORS = """type => [
  app.canvas.default_connection_color_byType[type],
  app.canvas.constructor.link_type_colors[type],
  getComputedStyle(document.documentElement).getPropertyValue(`--color-datatype-${type}`),
]"""


def colors(page):
    """Return the colors of slots, of links, and of slots in Nodes 2.0, for each type."""
    return {kind: page.evaluate(f"({COLORS})('{kind}')") for kind in TYPES}


def test_every_socket_type_has_its_color_under_every_palette(server):
    with opened(Client(server)) as page:
        page.wait_for("app.canvas.default_connection_color_byType.PREFGEN_MODEL")
        before = colors(page)
        assert [len(set(found)) for found in before.values()] == [1, 1, 1], f"slots and links have one color: {before}"
        assert len({found[0] for found in before.values()}) == len(TYPES), "each type has a color of its own"
        core = page.evaluate("app.canvas.default_connection_color_byType.IMAGE")
        page.evaluate("app.extensionManager.setting.set('Comfy.ColorPalette', 'arc').then(() => true)")
        page.wait_for(f"app.canvas.default_connection_color_byType.IMAGE !== '{core}'", 20)
        assert colors(page) == before
        page.evaluate("app.extensionManager.setting.set('Comfy.ColorPalette', 'dark').then(() => true)")
