"""Applies a mutation to one of ComfyUI's own nodes. If core's node fails in the same way, the failure is not ours."""

from typing import Any

from .base_graphs import Graph
from .mutations import Mutation, input_specs, mutate, num_outputs

STOCK = {
    "INT": ("scale", "width"),
    "FLOAT": ("sampler", "cfg"),
    "STRING": ("prompt", "text"),
    "COMBO": ("scale", "upscale_method"),
    "IMAGE": ("scale", "image"),
    "LATENT": ("decode", "samples"),
    "VAE": ("decode", "vae"),
    "CONDITIONING": ("sampler", "positive"),
}
"""For each type of input, a node of `stock_graph` with such an input. Other types use the sampler's MODEL."""


def stock_graph() -> Graph:
    """Return a graph of ComfyUI's own nodes, except for the node that loads the models."""
    link = {name: ["loader", output] for output, name in enumerate(("model", "clip", "vae"))}
    sampling = {"seed": 1, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    nodes = {
        "loader": ("LoadPocketGenerator", {}),
        "prompt": ("CLIPTextEncode", {"clip": link["clip"], "text": "a cat"}),
        "latent": ("EmptyLatentImage", {"width": 96, "height": 96, "batch_size": 1}),
        "sampler": (
            "KSampler",
            {"model": link["model"], "positive": ["prompt", 0], "negative": ["prompt", 0]}
            | {"latent_image": ["latent", 0]}
            | sampling,
        ),
        "decode": ("VAEDecode", {"samples": ["sampler", 0], "vae": link["vae"]}),
        "scale": (
            "ImageScale",
            {"image": ["decode", 0], "upscale_method": "area", "width": 96, "height": 96, "crop": "disabled"},
        ),
        "preview": ("PreviewImage", {"images": ["scale", 0]}),
    }
    return {name: {"class_type": class_type, "inputs": inputs} for name, (class_type, inputs) in nodes.items()}


def control_graph(graph: Graph, mutation: Mutation, object_info: dict) -> Graph:
    """Apply a graph's mutation to the stock graph, if possible to a node of the same class."""
    class_type = graph[mutation.node]["class_type"]
    specs = input_specs(object_info, class_type)
    kind = specs.get(mutation.input, ("*", {}))[0]
    node, name = STOCK.get("COMBO" if isinstance(kind, list) else kind, ("sampler", "model"))
    same_class = [name for name, stock in stock_graph().items() if stock["class_type"] == class_type]
    if same_class:
        node, name = same_class[0], mutation.input
    if mutation.input not in specs:  # ComfyUI does not check inputs that no schema names
        name = mutation.input
    if mutation.kind == "class":  # a loader has several outputs, as most of our nodes have
        node = "loader"
    moved = Mutation(mutation.kind, node, name, move_link(graph, mutation, node, object_info))
    return mutate(stock_graph(), [moved])


def move_link(graph: Graph, mutation: Mutation, node: str, object_info: dict) -> Any:
    """Return a mutation's value. A link becomes a link in the stock graph that is wrong in the same way."""
    value = mutation.value
    if mutation.kind not in ("value", "rewired", "extra", "through any") or not is_link(value):
        return value
    source, output = value
    if source not in graph:
        return ["nowhere", 0]
    if output >= num_outputs(object_info, graph[source]):
        return [node if source == mutation.node else "loader", 99]
    if mutation.node in nodes_before(graph, source):
        return [node, 0] if source == mutation.node or node == "scale" else ["scale", 0]  # a cycle
    return ["loader", 0]


def is_link(value: Any) -> bool:
    """Return whether ComfyUI treats a value as a link."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def nodes_before(graph: Graph, node: str) -> set[str]:
    """Return a node and all nodes that it depends on."""
    visited, waiting = set(), [node]
    while waiting:
        current = waiting.pop()
        if current in graph and current not in visited:
            visited.add(current)
            waiting += [value[0] for value in graph[current]["inputs"].values() if is_link(value)]
    return visited
