"""Mutations of a graph. Each one gives an input of a node a value that only a careless or hostile client sends."""

import copy
import json
import random
from dataclasses import dataclass
from typing import Any

from .base_graphs import Graph

PATHS = ["../../etc/passwd", "C:\\Windows\\win.ini", "/dev/zero"]
TEXTS = ["", " ", "some text", "a" * 5000, "\ud800", "\x00", "漢字", "<image>", *PATHS]
NUMBERS = [0, -1, 1, 2, 0.5, -0.0, 7.25, 1e308, -1e308, 10**9, 10**30, -(10**30), 2**64, float("nan"), float("inf")]
OTHERS = [None, True, False, {}, {"a": 1}, {"samples": 3}, [[]], ["1"], ["1", 0, 0], [None, 0]]
VALUES = [*TEXTS, *NUMBERS, *OTHERS]
"""Values of wrong types, signs and sizes. Two-element lists are links and come from other mutations."""

FAULTS = ["nan", "inf", "rank 3", "rank 5", "one channel", "empty"]
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
WRONG_LINKS = 0.05
"""Share of mutations with links to nowhere. It is small, because some of them end ComfyUI's worker (see control.py)."""

SIZES = [8, 16, 24, 40, 88, 104, 136, 200]
"""Widths and heights of images and latents in pixels. They are small, because ComfyUI's samplers accept any size."""


@dataclass(frozen=True)
class Mutation:
    """A change to a graph.

    Attributes:
        kind: The kind of change; see `apply`.
        node: Id of the changed node.
        input: Name of the changed input.
        value: Depends on the kind.
    """

    kind: str
    node: str
    input: str
    value: Any = None


def mutate(graph: Graph, mutations: list[Mutation]) -> Graph:
    """Return a mutated copy of a graph."""
    mutated = copy.deepcopy(graph)
    for number, mutation in enumerate(mutations):
        apply(mutated, mutation, number)
    return mutated


def apply(graph: Graph, mutation: Mutation, number: int) -> None:
    """Apply a mutation in place. `number` makes the ids of added nodes unique."""
    inputs, name, value = graph[mutation.node]["inputs"], mutation.input, mutation.value

    def add(class_type: str, **inputs_of_node: Any) -> list:
        graph[f"added{number}"] = {"class_type": class_type, "inputs": inputs_of_node}
        return [f"added{number}", 0]

    match mutation.kind:
        case "value" | "rewired":
            inputs[name] = value
        case "linked value":
            inputs[name] = add("ProbeValue", json=json.dumps(value))
        case "linked list":
            inputs[name] = add("ProbeList", json=json.dumps(value))
        case "through any":
            inputs[name] = add("ProbePass", value=value)
        case "missing":
            inputs.pop(name, None)
        case "extra":
            inputs[f"extra_{number}"] = value
        case "listed":
            inputs[name] = [inputs.get(name)] * value
        case "wrapped":
            inputs[name] = {"__value__": [inputs.get(name)] * value}
        case "faulty image":
            inputs[name] = add("ProbeImage", fault=value, batch=2, size=24, seed=number)
        case "image list":
            inputs[name] = add("ProbeImageList", sizes=value, seed=number)
        case "class":
            graph[mutation.node]["class_type"] = value


def draw_mutations(graph: Graph, object_info: dict, ours: set[str], rng: random.Random) -> list[Mutation]:
    """Draw one to three mutations, mostly of the pack's nodes."""
    nodes = [node for node in graph if graph[node]["class_type"] in ours]
    count = rng.choice((1, 1, 1, 2, 3))
    chosen = [rng.choice(nodes if nodes and rng.random() < 0.85 else list(graph)) for _ in range(count)]
    return [draw_mutation(graph, node, object_info, rng) for node in chosen]


def draw_mutation(graph: Graph, node: str, object_info: dict, rng: random.Random) -> Mutation:
    """Draw a mutation of one node."""
    specs = input_specs(object_info, graph[node]["class_type"])
    name = rng.choice([*specs, *graph[node]["inputs"]] or ["input"])
    kind, options = specs.get(name, ("*", {}))
    links = [[other, output] for other in graph for output in range(num_outputs(object_info, graph[other]))]
    if rng.random() < WRONG_LINKS:
        links = [["nowhere", 0], [rng.choice(list(graph)), 99], [node, 0]]
    is_widget = kind in WIDGETS or isinstance(kind, list) or "widgetType" in options
    draw = rng.random()
    if draw < 0.12:
        return Mutation("value", node, name, rng.choice(VALUES))
    if draw < 0.16:
        return Mutation("missing", node, name)
    if draw < 0.24:
        return Mutation("extra", node, name, rng.choice([*VALUES, *links]))
    if draw < 0.27:
        return Mutation(rng.choice(("listed", "wrapped")), node, name, rng.choice((0, 1, 2, 3)))
    if draw < 0.32:
        return Mutation("rewired", node, name, rng.choice(links))
    if draw < 0.33:
        return Mutation("class", node, name, rng.choice(("Nothing", "KSampler", "", None)))
    if draw < 0.43:
        return Mutation("through any", node, name, rng.choice(links))
    if kind == "IMAGE":
        fault = Mutation("faulty image", node, name, rng.choice(FAULTS))
        return rng.choice([fault, Mutation("image list", node, name, rng.choice(("", "24", "24 40", "40 40 16")))])
    if draw < 0.47:
        return Mutation("linked list", node, name, [rng.choice(VALUES) for _ in range(rng.choice((0, 1, 3)))])
    if is_widget and draw < 0.68:
        return Mutation("linked value", node, name, rng.choice(VALUES))
    return Mutation("value", node, name, draw_fitting(kind, options, graph[node]["inputs"].get(name), rng))


def draw_fitting(kind: Any, options: dict, current: Any, rng: random.Random) -> Any:
    """Draw a value that ComfyUI accepts, so that the graph is executed. Counts and sizes stay small."""
    choices = kind if isinstance(kind, list) else options.get("options")
    if choices:
        return rng.choice(choices)
    low, high = options.get("min", 0), options.get("max", 10)
    if kind == "INT":
        sizes = [size for size in SIZES if low <= size <= high] if high >= 1024 and current in [*SIZES, 96] else []
        return rng.choice(sizes or [low, min(high, low + 1), min(high, low + 3), min(high, max(low, 2))])
    if kind == "FLOAT":
        return rng.choice([low, high, (low + high) / 2, max(low, min(high, 0.33))])
    if kind == "BOOLEAN":
        return rng.random() < 0.5
    return rng.choice(TEXTS) if kind == "STRING" else current


def num_outputs(object_info: dict, node: dict) -> int:
    """Return how many outputs a graph's node has."""
    return len(object_info.get(node["class_type"], {}).get("output", ()))


def input_specs(object_info: dict, class_type: str | None) -> dict[str, tuple[Any, dict]]:
    """Return the type and the options of each of a node's inputs, by name."""
    declared = object_info.get(class_type or "", {}).get("input", {})
    parts = (declared.get(part, {}) for part in ("required", "optional"))
    return {name: (spec[0], spec[1] if len(spec) > 1 else {}) for part in parts for name, spec in part.items()}
