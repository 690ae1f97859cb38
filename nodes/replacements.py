"""Old names of renamed nodes, so that saved workflows keep working.

A workflow file refers to a node by its id, and to a widget by its position. If you rename a node or an input, or move
an output, add an entry to `RENAMED` that describes the old node. ComfyUI then offers the new node when such a workflow
is opened, and replaces the old node when the workflow is posted to /prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comfy_api.latest import ComfyAPI, io

CONTROL = "control_after_generate"
"""The widget that the frontend adds after a seed. It takes a position among the widgets, but is not an input."""


def renamed(
    old_id: str,
    new_id: str,
    widgets: Sequence[str] = (),
    sockets: Sequence[str] = (),
    inputs: Mapping[str, str] | None = None,
    outputs: Sequence[int] = (),
) -> io.NodeReplace:
    """Describe the replacement of an old node. ComfyUI carries over only what is listed here.

    ComfyUI 0.30 rejects a prompt posted to /prompt if it lacks an input listed here (even an optional socket), or the
    `_meta` that the frontend gives each node. Workflows opened in the frontend need neither.

    Args:
        old_id: Id of the old node.
        new_id: Id of the new node. It must exist, or ComfyUI leaves the old one in place.
        widgets: The old node's widgets in order, with `CONTROL` after a seed.
        sockets: The other inputs of the old node.
        inputs: Mapping from the old to the new names of renamed inputs.
        outputs: For each output of the old node, its position in the new one.
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
"""No node has been renamed since the first release."""


async def register(entries: Sequence[io.NodeReplace] = RENAMED) -> None:
    """Register replacements with ComfyUI. Called once, when the pack is loaded."""
    api = ComfyAPI()
    for entry in entries:
        await api.node_replacement.register(entry)
