"""A user's workflow in API format, and where in it a prompt, a seed and a size belong."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.data.render.server import RenderError

# What the inputs are called: stock nodes for text of SD, SDXL and FLUX, for seeds and for sizes, and the primitives.
PROMPTS = ("text", "prompt", "string", "value", "text_g", "text_l", "clip_l", "t5xxl")
SEEDS = ("seed", "noise_seed", "value")
SIZES = ("width", "height")
IMAGE_NODES = ("SaveImage", "PreviewImage")


@dataclass(frozen=True)
class Places:
    """Nodes by title or id. None: the only node that can be meant."""

    prompt: str | None = None
    seed: str | None = None
    size: str | None = None
    image: str | None = None


class Workflow:
    """A workflow with its places found. sized: whether a size is to be set.

    Raises RenderError for a file that is no API-format workflow, and where a place is missing or could be several.
    """

    def __init__(self, nodes: dict[str, Any], places: Places = Places(), sized: bool = True) -> None:
        if not isinstance(nodes, dict) or not all(isinstance(n, dict) and "class_type" in n for n in nodes.values()):
            told = "the format that the canvas is saved in" if isinstance(nodes, dict) and "nodes" in nodes else "JSON"
            raise RenderError(
                f"the workflow is {told}, expected ComfyUI's API format: export it there with Export (API)."
            )
        self.nodes = nodes
        self.prompt = self._inputs("prompt", places.prompt, PROMPTS)
        self.seed = self._inputs("seed", places.seed, SEEDS)
        self.size = self._inputs("size", places.size, SIZES, together=True) if sized else None
        self.image = self._node("image", places.image, self._of_type(IMAGE_NODES))

    @classmethod
    def read(cls, file: Path, places: Places = Places(), sized: bool = True) -> Workflow:
        """Read an API-format file."""
        try:
            nodes = json.loads(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RenderError(f"{file} could not be read ({error}): name a workflow exported as API.") from error
        return cls(nodes, places, sized)

    @property
    def digest(self) -> str:
        """sha256 (hex) of the workflow and its places."""
        told = json.dumps([self.nodes, self.prompt, self.seed, self.size, self.image], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    def filled(self, prompt: str, seed: int, size: tuple[int, int] | None) -> dict[str, Any]:
        """A copy with these values. size: (width, height) in pixels."""
        nodes = copy.deepcopy(self.nodes)
        for (node, names), value in ((self.prompt, prompt), (self.seed, seed)):
            nodes[node]["inputs"] |= dict.fromkeys(names, value)
        if self.size:
            node, names = self.size
            nodes[node]["inputs"] |= dict(zip(names, size, strict=True))
        return nodes

    def named(self, node: str) -> str:
        """A node as a person knows it: id and title."""
        title = self.nodes.get(node, {}).get("_meta", {}).get("title")
        return f"{node} ({title or self.nodes.get(node, {}).get('class_type', 'unknown')})"

    def _inputs(self, what: str, wanted: str | None, names: tuple[str, ...], together: bool = False):
        """The node of a place, and which of its inputs can be set: those that no other node gives."""
        found = {node: self._free(node, names, together) for node in self.nodes}
        # A primitive's "value" may be anything: only a node that was named is set there.
        sure = [node for node, free in found.items() if set(free) - {"value"}]
        node = self._node(what, wanted, sure)
        if not found[node]:
            given = sorted(set(names) & set(self.nodes[node]["inputs"]))
            told = f"its {' and '.join(given)} come from another node" if given else "it has no such input"
            raise RenderError(
                f"node {self.named(node)} cannot take the {what}: {told}, expected a value for one of "
                f"{', '.join(names)}: name another node with --{what}-node."
            )
        return node, found[node]

    def _free(self, node: str, names: tuple[str, ...], together: bool) -> list[str]:
        inputs = self.nodes[node].get("inputs", {})
        free = [name for name in names if name in inputs and not isinstance(inputs[name], list)]
        return free if not together or len(free) == len(names) else []

    def _of_type(self, types: tuple[str, ...]) -> list[str]:
        return [node for node, given in self.nodes.items() if given["class_type"] in types]

    def _node(self, what: str, wanted: str | None, candidates: list[str]) -> str:
        if wanted is not None:
            titled = [node for node, n in self.nodes.items() if n.get("_meta", {}).get("title") == wanted]
            candidates = [wanted] if wanted in self.nodes else titled
        if len(candidates) == 1:
            return candidates[0]
        found = ", ".join(map(self.named, candidates)) or "none"
        asked = f"with the id or title {wanted!r}" if wanted is not None else f"that could be meant for the {what}"
        raise RenderError(f"of nodes {asked} the workflow has {found}, expected one: name it with --{what}-node.")
