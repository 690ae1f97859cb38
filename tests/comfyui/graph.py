"""API-format graphs that read like the graph they build.

    graph = Graph()
    image = graph.add("EmptyImage", width=64, height=64)
    graph.add("SaveImage", images=image, filename_prefix="blank")

A node given as an input stands for its first output, `node[1]` for its second.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Node:
    """A node of a graph; `node[i]` is its i-th output."""

    id: str

    def __getitem__(self, output: int) -> list:
        if output < 0:
            raise IndexError(f"output {output} of node {self.id}: outputs are counted from 0")
        return [self.id, output]

    def __iter__(self):
        raise TypeError("a node does not know how many outputs it has: take them as node[0], node[1], ...")


@dataclass
class Graph:
    """Nodes in the order they were added, numbered from "1"."""

    nodes: dict[str, dict] = field(default_factory=dict)

    def add(self, class_type: str, /, **inputs: Any) -> Node:
        """Add a node. Inputs are values, nodes (their first output) or outputs (`node[i]`)."""
        node = Node(str(len(self.nodes) + 1))
        links = {name: value[0] if isinstance(value, Node) else value for name, value in inputs.items()}
        self.nodes[node.id] = {"class_type": class_type, "inputs": links}
        return node

    def images(self, names: list[str]) -> list:
        """Load uploaded images and batch them in this order; returns the IMAGE output."""
        batch = self.add("LoadImage", image=names[0])[0]
        for name in names[1:]:
            batch = self.add("ImageBatch", image1=batch, image2=self.add("LoadImage", image=name))[0]
        return batch

    def api(self) -> dict[str, dict]:
        """The graph as /prompt takes it."""
        return self.nodes
