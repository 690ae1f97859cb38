"""What a node says of its run, on the node itself: the frontend shows such a text below its widgets."""

from __future__ import annotations

from comfy_api.latest import io
from server import PromptServer

_said: set[tuple[str, str]] = set()
"""The pages and nodes whose last word is a notice."""


def show_status(node: type[io.ComfyNode], notice: str, fallback: str) -> None:
    """Show a notice on the running node, to whoever queued it; nobody is told where a script did. The node's schema
    asks for `hidden=[io.Hidden.unique_id]`.

    otherwise: what is said where there is no notice (""), and one of an earlier run still stands there. A node that
    never had one stays as it is: the text takes room.
    """
    server, hidden = PromptServer.instance, getattr(node, "hidden", None)
    if hidden is None or hidden.unique_id is None or server.client_id is None:
        return
    place = (server.client_id, hidden.unique_id)
    if notice:
        _said.add(place)
    elif place in _said:
        _said.remove(place)
    else:
        return
    server.send_progress_text(notice or fallback, hidden.unique_id, server.client_id)
