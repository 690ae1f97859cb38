"""Finds the inputs for prompt, seed and size in a workflow in API format, and fills them in."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.data.render.server import RenderError

# Input names of ComfyUI's nodes for text (SD, SDXL and FLUX), seeds and sizes, and of primitives.
PROMPTS = ("text", "prompt", "string", "value", "text_g", "text_l", "clip_l", "t5xxl")
SEEDS = ("seed", "noise_seed", "value")
SIZES = ("width", "height")
IMAGE_NODES = ("SaveImage", "PreviewImage")


@dataclass(frozen=True)
class Places:
    """Nodes by title or id. None selects the only suitable node."""

    prompt: str | None = None
    seed: str | None = None
    size: str | None = None
    image: str | None = None


class Workflow:
    """A workflow with its inputs for prompt, seed and size.

    Args:
        nodes: Workflow in API format.
        places: Nodes that are selected explicitly.
        sized: Whether a size will be set.

    Raises:
        RenderError: The workflow is not in API format, or not exactly one node is suitable.
    """

    def __init__(self, nodes: dict[str, Any], places: Places = Places(), sized: bool = True) -> None:
        if not isinstance(nodes, dict) or not all(isinstance(n, dict) and "class_type" in n for n in nodes.values()):
            kind = "in the format of the canvas" if isinstance(nodes, dict) and "nodes" in nodes else "other JSON"
            raise RenderError(f"The workflow is {kind}; expected ComfyUI's API format. Export it with Export (API).")
        self.nodes = nodes
        self.prompt = self._inputs("prompt", places.prompt, PROMPTS)
        self.seed = self._inputs("seed", places.seed, SEEDS)
        self.size = self._inputs("size", places.size, SIZES, together=True) if sized else None
        self.image = self._node("image", places.image, self._of_type(IMAGE_NODES))

    @classmethod
    def read(cls, file: Path, places: Places = Places(), sized: bool = True) -> Workflow:
        """Read a file in API format."""
        try:
            nodes = json.loads(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RenderError(
                f"{file} cannot be read ({error}). Pass a workflow exported with Export (API)."
            ) from error
        return cls(nodes, places, sized)

    @property
    def digest(self) -> str:
        """SHA-256 digest (hex) of the workflow and its inputs."""
        content = json.dumps([self.nodes, self.prompt, self.seed, self.size, self.image], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def filled(self, prompt: str, seed: int, size: tuple[int, int] | None) -> dict[str, Any]:
        """Return a copy with a prompt, a seed and a size (width, height) in pixels."""
        nodes = copy.deepcopy(self.nodes)
        for (node, names), value in ((self.prompt, prompt), (self.seed, seed)):
            nodes[node]["inputs"] |= dict.fromkeys(names, value)
        if self.size:
            node, names = self.size
            nodes[node]["inputs"] |= dict(zip(names, size, strict=True))
        return nodes

    def named(self, node: str) -> str:
        """Return a node's id and title for messages."""
        title = self.nodes.get(node, {}).get("_meta", {}).get("title")
        return f"{node} ({title or self.nodes.get(node, {}).get('class_type', 'unknown')})"

    def _inputs(self, what: str, selected: str | None, names: tuple[str, ...], together: bool = False):
        """Return the node for a value, and its inputs that are not linked to other nodes."""
        free_inputs = {node: self._free(node, names, together) for node in self.nodes}
        # The "value" of a primitive can mean anything, so it is only used if the node was selected explicitly.
        sure = [node for node, free in free_inputs.items() if set(free) - {"value"}]
        node = self._node(what, selected, sure)
        if not free_inputs[node]:
            linked = sorted(set(names) & set(self.nodes[node]["inputs"]))
            reason = f"{' and '.join(linked)} is linked to another node" if linked else "it has no such input"
            raise RenderError(
                f"Node {self.named(node)} cannot take the {what}, because {reason}; expected an unlinked input "
                f"{', '.join(names)}. Select another node with --{what}-node."
            )
        return node, free_inputs[node]

    def _free(self, node: str, names: tuple[str, ...], together: bool) -> list[str]:
        inputs = self.nodes[node].get("inputs", {})
        free = [name for name in names if name in inputs and not isinstance(inputs[name], list)]
        return free if not together or len(free) == len(names) else []

    def _of_type(self, types: tuple[str, ...]) -> list[str]:
        return [node for node, definition in self.nodes.items() if definition["class_type"] in types]

    def _node(self, what: str, selected: str | None, candidates: list[str]) -> str:
        if selected is not None:
            titled = [node for node, n in self.nodes.items() if n.get("_meta", {}).get("title") == selected]
            candidates = [selected] if selected in self.nodes else titled
        if len(candidates) == 1:
            return candidates[0]
        names = ", ".join(map(self.named, candidates)) or "none"
        criterion = f"with id or title {selected!r}" if selected is not None else f"suitable for the {what}"
        raise RenderError(f"Nodes {criterion}: {names}; expected one. Select it with --{what}-node.")
