"""UI-format workflows to API format, by the rules that ComfyUI's frontend follows.

A node's `widgets_values` are its widgets in the order of the schema (required, then optional), linked or not; a seed is
followed by what should happen to it after a run, an image upload by its button.
"""

from typing import Any

WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
ONLY_SHOWN = ("Note", "MarkdownNote")  # nodes that only the browser knows
MUTED, BYPASSED = 2, 4


def inputs(info: dict) -> dict[str, tuple[Any, dict]]:
    """Name -> (type, options) of every input, in the schema's order."""
    parts = (info["input"].get(part, {}) for part in ("required", "optional"))
    return {name: (given[0], given[1] if len(given) > 1 else {}) for part in parts for name, given in part.items()}


def is_widget(kind: Any, options: dict) -> bool:
    return (isinstance(kind, list) or kind in WIDGETS or "widgetType" in options) and not options.get("forceInput")


def extra_widgets(name: str, kind: Any, options: dict) -> int:
    """How many more values the frontend keeps after this one."""
    if kind == "INT" and (options.get("control_after_generate") or name in ("seed", "noise_seed")):
        return 1
    return int(any(options.get(flag) for flag in ("image_upload", "video_upload", "audio_upload")))


def widget_values(node: dict, info: dict) -> dict[str, Any]:
    """Name -> value of a node's widgets; raises ValueError if the file's list has another length than the schema."""
    waiting = list(node.get("widgets_values") or [])
    values = {}
    for name, (kind, options) in inputs(info).items():
        if is_widget(kind, options):
            if not waiting:
                raise ValueError(f"node {node['id']} ({node['type']}) has no value for {name!r}")
            values[name] = waiting.pop(0)
            del waiting[: extra_widgets(name, kind, options)]
    if waiting:
        raise ValueError(f"node {node['id']} ({node['type']}) has values too many: {waiting}")
    return values


def to_api(workflow: dict, object_info: dict) -> dict[str, dict]:
    """Convert a workflow; raises ValueError for what a browser would not run."""
    links = {link[0]: link for link in workflow["links"]}
    graph = {}
    for node in workflow["nodes"]:
        if node["type"] in ONLY_SHOWN:
            continue
        if node["mode"] in (MUTED, BYPASSED) or node["type"] not in object_info:
            raise ValueError(f"node {node['id']} ({node['type']}) would not run: unknown, muted or bypassed")
        given = widget_values(node, object_info[node["type"]])
        for slot, socket in enumerate(node.get("inputs", [])):
            if socket.get("link") is None:
                continue
            _, source, output, target, target_slot, _ = links[socket["link"]]
            if (target, target_slot) != (node["id"], slot):
                raise ValueError(f"link {socket['link']} does not end at input {slot} of node {node['id']}")
            given[socket["name"]] = [str(source), output]
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": given}
    return graph
