"""Graphs about a taste, on a tiny preference model that the test writes: nothing here leans on what was trained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.comfyui import Client, Graph, Node, NodeError, Server
from tests.prefgen import checkpoints

SIZE = 24
CHECKPOINT = "tiny.safetensors"


def folder_of(server: Server) -> Path:
    """The server's models/prefgen."""
    return server.base / "models" / "prefgen"


def write_tiny(server: Server) -> str:
    """Put the tiny base model and its checkpoint where the server finds them; return the base's revision."""
    revision = checkpoints.write_base(folder_of(server) / "base")
    path = folder_of(server) / CHECKPOINT
    if not path.exists():
        checkpoints.write_checkpoint(path, revision)
    return revision


def noise(graph: Graph, fault: str = "none", batch: int = 2, seed: int = 0) -> Node:
    """Noise images, with a fault on request."""
    return graph.add("ProbeImage", fault=fault, batch=batch, size=SIZE, seed=seed)


def history(graph: Graph, seed: int = 0, **inputs) -> Node:
    """BuildUserHistory of two pairs; `inputs` replace the defaults."""
    images = {"liked": noise(graph, seed=2 * seed), "disliked": noise(graph, seed=2 * seed + 1)}
    return graph.add("BuildUserHistory", **images | {"prompts": "a cat", "name": "ada"} | inputs)


def scored(graph: Graph, checkpoint: str = CHECKPOINT, **inputs) -> Node:
    """PreferenceScore of three images; `inputs` replace the defaults."""
    preference_model = graph.add("LoadPreferenceModel", checkpoint=checkpoint)
    chosen = {"preference_model": preference_model, "prompt": "a cat"} | inputs
    chosen.setdefault("history", history(graph))
    chosen.setdefault("images", noise(graph, batch=3, seed=9))
    return graph.add("PreferenceScore", **chosen)


def refused(comfy: Client, graph: Graph, node: str, *expected: str) -> None:
    """The graph fails at this node, its message short and holding all of `expected`; then the server still works."""
    with pytest.raises(NodeError) as caught:
        comfy.run(graph)
    assert caught.value.node_type == node
    for text in expected:
        assert text in caught.value.message
    assert len(caught.value.message) < 400
    assert re.search(r"[.:;] ?\w.*\.$", caught.value.message, re.DOTALL), "it says what is expected, or what to do"
    healthy = Graph()
    node = scored(healthy)
    assert len(comfy.run(healthy).of(node)["scores"]) == 3
