"""The graphs that are mutated: every shipped workflow, with pocket models and few steps."""

import copy
import json
from typing import Any

from scripts.compare_revisions.stand_ins import use_pocket_models
from tests.comfyui.server import PACK

Graph = dict[str, dict[str, Any]]
"""A graph in API format."""

SMALL = {
    "KSampler": {"steps": 2},
    "EmptyLatentImage": {"width": 96, "height": 96, "batch_size": 1},
    "ReNOOptimize": {"iterations": 2, "steps": 1},
    "SDTurboScheduler": {"steps": 1},
}
"""Settings that make a run short: a benchmark posts thousands of graphs."""


def load_base_graphs() -> dict[str, Graph]:
    """Return the shipped workflows by name."""
    graphs = {}
    for path in sorted((PACK / "workflows" / "api").glob("*.json")):
        graph = copy.deepcopy(use_pocket_models(json.loads(path.read_text())))
        for node in graph.values():
            settings = SMALL.get(node["class_type"], {})
            node["inputs"].update({name: value for name, value in settings.items() if name in node["inputs"]})
        graphs[path.stem] = graph
    return graphs
