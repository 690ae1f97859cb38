"""Old names of our nodes, so that shared workflows go on working on the day a node is renamed.

Workflow files hold a node's id, and a workflow's widgets are known by their places alone. Whoever renames a node, an
input or an output's place adds an entry to `RENAMED` that says what the old node looked like. ComfyUI then offers to
put the new node in where a workflow with the old one is opened, and does so itself where one is posted to /prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comfy_api.latest import ComfyAPI, io

CONTROL = "control_after_generate"
"""The widget that the browser adds behind a seed: it takes a place among the widgets, and is no input."""


def renamed(
    old_id: str,
    new_id: str,
    widgets: Sequence[str] = (),
    sockets: Sequence[str] = (),
    inputs: Mapping[str, str] | None = None,
    outputs: Sequence[int] = (),
) -> io.NodeReplace:
    """An entry that spells out all of the old node, since ComfyUI carries over nothing that it is not told.

    ComfyUI 0.30 answers a prompt posted to /prompt with an error if it lacks an input listed here (an optional socket,
    say), or the `_meta` that the browser gives each node; what is opened in the browser needs neither.

    Args:
        old_id: what the node was called.
        new_id: the node that takes its place; it must be there, or ComfyUI leaves the old one as it is.
        widgets: the old node's widgets in its order, `CONTROL` behind a seed.
        sockets: its other inputs.
        inputs: new names of those inputs that were renamed too, by their old ones.
        outputs: the place in the new node of each of the old one's outputs, in the old order.
    """
    names = inputs or {}
    carried = [name for name in (*sockets, *widgets) if name != CONTROL]
    return io.NodeReplace(
        new_node_id=new_id,
        old_node_id=old_id,
        old_widget_ids=list(widgets),
        input_mapping=[{"new_id": names.get(name, name), "old_id": name} for name in carried],
        output_mapping=[{"new_idx": new, "old_idx": old} for old, new in enumerate(outputs)],
    )


RENAMED: tuple[io.NodeReplace, ...] = ()
"""Nothing was renamed yet."""


async def register(entries: Sequence[io.NodeReplace] = RENAMED) -> None:
    """Tell ComfyUI, once, when it loads the pack."""
    api = ComfyAPI()
    for entry in entries:
        await api.node_replacement.register(entry)
