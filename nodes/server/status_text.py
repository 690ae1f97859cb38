"""Shows a status text on the running node, below its widgets."""

from __future__ import annotations

from comfy_api.latest import io
from server import PromptServer

_with_notice: set[tuple[str, str]] = set()
"""Client and node ids of the nodes that have shown a notice."""


def show_status(node: type[io.ComfyNode], notice: str, fallback: str) -> None:
    """Show a notice on the running node in the browser that queued it.

    Does nothing for prompts that scripts queued. The node's schema needs `hidden=[io.Hidden.unique_id]`.

    Args:
        notice: The text, or "" to clear an earlier notice.
        fallback: Text of a run without a notice, once the node has shown one. Nodes that never had a notice stay
            unchanged, because the text takes up space.
    """
    server, hidden = PromptServer.instance, getattr(node, "hidden", None)
    if hidden is None or hidden.unique_id is None or server.client_id is None:
        return
    place = (server.client_id, hidden.unique_id)
    if notice:
        _with_notice.add(place)
    elif place not in _with_notice:
        return
    server.send_progress_text(notice or fallback, hidden.unique_id, server.client_id)
