"""Shows a status text on the running node, below its widgets."""

from __future__ import annotations

from comfy_api.latest import io
from server import PromptServer

HIDDEN = (io.Hidden.unique_id, io.Hidden.extra_pnginfo)
"""The hidden inputs that a node with a status text needs."""

_with_notice: set[tuple[str, str, str]] = set()
"""Nodes that have shown a notice, as (id of the browser, id of the workflow, id of the node)."""


def show_status(node: type[io.ComfyNode], notice: str, fallback: str) -> None:
    """Show a notice on the running node in the browser that queued it.

    Does nothing for prompts that scripts queued. The node's schema needs `hidden=list(HIDDEN)`.

    Args:
        notice: The text, or "" to clear an earlier notice.
        fallback: Text that replaces an earlier notice if `notice` is empty. Nodes that have never shown a notice stay
            unchanged, because the text takes up space.
    """
    server, hidden = PromptServer.instance, getattr(node, "hidden", None)
    if hidden is None or hidden.unique_id is None or server.client_id is None:
        return
    place = (server.client_id, _workflow_id(hidden.extra_pnginfo), hidden.unique_id)
    if notice:
        _with_notice.add(place)
    elif place not in _with_notice:
        return
    server.send_progress_text(notice or fallback, hidden.unique_id, server.client_id)


def _workflow_id(extra_pnginfo: object) -> str:
    """Return the id of the workflow that a browser has sent with the prompt, or ""."""
    workflow = extra_pnginfo.get("workflow") if isinstance(extra_pnginfo, dict) else None
    return str(workflow.get("id")) if isinstance(workflow, dict) else ""
