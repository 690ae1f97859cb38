"""Inputs and options of the pack's nodes that were renamed, and the translation of a graph for a server."""

import copy
from typing import Any

PACK_MODULE = "custom_nodes.prefgen"

INPUTS: dict[str, dict[str, str]] = {
    "EncodeUserHistory": {"model": "preference_model"},
    "PreferenceScore": {"model": "preference_model"},
    "ShowUserProfile": {"model": "preference_model"},
    "ApplyPreferenceAdapter": {"start": "start_percent", "end": "end_percent"},
    "ReNOOptimize": {"sense": "direction", "reward": "objective", "starts": "num_initial_noises"},
}
"""Node id -> old input name -> new input name."""

OPTIONS: dict[tuple[str, str], dict[str, str]] = {}
"""(node id, old input name) -> old option of the combo box -> new option."""


def translate(graph: dict[str, dict], object_info: dict[str, Any]) -> dict[str, dict]:
    """Rename the inputs and options of a graph for a server that knows only the new names.

    Args:
        graph: Graph in API format, with old or new names.
        object_info: The server's response to /object_info.

    Returns:
        A graph that the server accepts. Nodes of other packs stay as they are.

    Raises:
        ValueError: The server lacks a node, or an input under either name.
    """
    translated = copy.deepcopy(graph)
    for node in translated.values():
        node_id = node["class_type"]
        if node_id not in object_info:
            raise ValueError(f"the server has no node {node_id}")
        if object_info[node_id]["python_module"] == PACK_MODULE:
            node["inputs"] = translate_inputs(node_id, node["inputs"], schema_inputs(object_info[node_id]))
    return translated


def translate_inputs(node_id: str, inputs: dict[str, Any], schema: dict[str, list]) -> dict[str, Any]:
    """Translate the inputs of one node; `schema` maps input name -> [type, options]."""
    translated = {}
    for name, value in inputs.items():
        new_name = name if name in schema else INPUTS.get(node_id, {}).get(name)
        if new_name not in schema:
            raise ValueError(f"{node_id} has no input {name!r}; add its new name to renames.INPUTS")
        new_value = OPTIONS.get((node_id, name), {}).get(value, value) if isinstance(value, str) else value
        translated[new_name] = new_value if new_value in combo_options(schema[new_name]) else value
    return translated


def schema_inputs(info: dict[str, Any]) -> dict[str, list]:
    """Return the required and optional inputs of a node: name -> [type, options]."""
    return info["input"].get("required", {}) | info["input"].get("optional", {})


def combo_options(declared: list) -> list:
    """Return the options of a combo box, or [] for other kinds of inputs."""
    if isinstance(declared[0], list):
        return declared[0]
    return declared[1].get("options", []) if declared[0] == "COMBO" else []
